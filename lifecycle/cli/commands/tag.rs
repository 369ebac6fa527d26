//! `lifecycle tag`

use lifecycle_image::Reference;

use crate::arguments::TagArguments;
use crate::failure::Failure;
use crate::session::Session;

pub(crate) fn run(arguments: &TagArguments, session: &Session) -> Result<(), Failure> {
    let existing: Reference = arguments.image.parse()?;
    let names: Vec<Reference> = arguments
        .names
        .iter()
        .map(|name| name.parse())
        .collect::<Result<_, _>>()?;
    for name in names {
        session.store()?.tag(&existing, &name)?;
        session
            .console
            .info(format!("{} is now also {}", existing.familiar(), name.familiar()));
    }
    Ok(())
}
