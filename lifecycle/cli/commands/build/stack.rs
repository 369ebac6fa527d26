//! `FROM stack/build` and `FROM stack/run`: a stack's images under one name, whichever stack is chosen.

use std::collections::BTreeMap;
use std::sync::Arc;

use lifecycle_builder::Folder;
use lifecycle_builder::stack::{Definition, Part};
use lifecycle_executor::NamedContext;

use crate::commands::stack as stacks;
use crate::failure::Failure;
use crate::session::Session;

/// The stack when none is named.
const DEFAULT: &str = "debian-12";

/// The names in a Dockerfile, and what they stand for.
const NAMES: [(&str, Part); 2] = [("stack/build", Part::Build), ("stack/run", Part::Run)];

/// Whether a Dockerfile speaks of a stack's images.
pub(super) fn is_mentioned(dockerfile: &[u8]) -> bool {
    let text = String::from_utf8_lossy(dockerfile);
    NAMES.iter().any(|(name, _)| text.contains(name))
}

fn definition(name: Option<&str>) -> Result<Definition, Failure> {
    let folder = Folder::find("stack", name.unwrap_or(DEFAULT), "stack.toml")?;
    Ok(Definition::read(&folder)?)
}

/// Makes the stack unless it is there. Only before a namespace is entered.
pub(super) fn make(name: Option<&str>, session: &Session) -> Result<(), Failure> {
    stacks::make_apart(&definition(name)?, session)
}

/// Adds the stack's images to the named contexts; what the command line calls by these names stays.
pub(super) fn add(
    name: Option<&str>,
    contexts: &mut BTreeMap<String, NamedContext>,
    session: &Session,
) -> Result<(), Failure> {
    let definition = definition(name)?;
    if !stacks::missing(&definition, session)?.is_empty() {
        let message = format!("the store does not have the stack {}", definition.id);
        return Err(Failure::new("no-stack", message).help(format!(
            "make it with `lifecycle stack create {}`",
            name.unwrap_or(DEFAULT)
        )));
    }
    for (context, part) in NAMES {
        let image = NamedContext::Image {
            source: Some(Arc::new(session.store()?.clone())),
            reference: definition.reference(part)?,
        };
        contexts.entry(context.to_owned()).or_insert(image);
    }
    Ok(())
}
