//! `lifecycle pull`

use crate::arguments::PullArguments;
use crate::failure::Failure;
use crate::place::Place;
use crate::session::Session;
use crate::transfer;

pub(crate) fn run(arguments: &PullArguments, session: &Session) -> Result<(), Failure> {
    let found = session.find_at(&Place::parse(&arguments.image, Place::Registry)?)?;
    let name = match (&arguments.tag, &found.name) {
        (Some(tag), _) => tag.parse()?,
        (None, Some(name)) => name.clone(),
        (None, None) => {
            return Err(
                Failure::new("name", format!("{} has no name for the store", found.place))
                    .help("give it one with --tag NAME"),
            );
        }
    };
    let store = session.destination(&Place::Store(name), None)?;
    let receipt = match &arguments.platform {
        Some(platform) => transfer::write(&found.image(platform)?, &store)?,
        None => transfer::copy(&found, &store)?,
    };
    for name in &receipt.names {
        session.console.info(format!("pulled {}", name.familiar()));
    }
    Ok(session.console.result(receipt.digest.as_str())?)
}
