//! `lifecycle copy`

use crate::arguments::CopyArguments;
use crate::failure::Failure;
use crate::place::Place;
use crate::session::Session;
use crate::transfer;

pub(crate) fn run(arguments: &CopyArguments, session: &Session) -> Result<(), Failure> {
    // What is wrong with a destination is said before the first byte moves.
    let places: Vec<Place> = arguments
        .to
        .iter()
        .map(|text| text.parse())
        .collect::<Result<_, _>>()?;
    let found = session.find(&arguments.from)?;
    let single = arguments
        .platform
        .as_ref()
        .map(|platform| found.image(platform))
        .transpose()?;
    let mut digest = None;
    for place in places {
        let to = session.destination(&place, found.name.as_ref())?;
        let receipt = match &single {
            Some(image) => transfer::write(image, &to)?,
            None => transfer::copy(&found, &to)?,
        };
        session.console.info(format!("copied to {place}"));
        digest = Some(receipt.digest);
    }
    match digest {
        Some(digest) => Ok(session.console.result(digest.as_str())?),
        None => Ok(()),
    }
}
