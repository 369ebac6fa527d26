//! `lifecycle rmi`

use lifecycle_image::Reference;

use crate::arguments::RmiArguments;
use crate::failure::Failure;
use crate::session::Session;

pub(crate) fn run(arguments: &RmiArguments, session: &Session) -> Result<(), Failure> {
    let names: Vec<Reference> = arguments
        .images
        .iter()
        .map(|name| name.parse())
        .collect::<Result<_, _>>()?;
    let mut missing = Vec::new();
    for name in names {
        if session.store()?.remove(&name)? {
            session.console.info(format!("removed {}", name.familiar()));
        } else {
            missing.push(name.familiar());
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    Err(Failure::new(
        "not-found",
        format!("the store has no image {}", missing.join(", ")),
    )
    .help("`lifecycle images` lists what it has"))
}
