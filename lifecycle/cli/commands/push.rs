//! `lifecycle push`

use lifecycle_image::{Artifact, Reference};

use crate::arguments::PushArguments;
use crate::console::human_size;
use crate::failure::Failure;
use crate::place::Place;
use crate::session::{Found, Session};
use crate::transfer;

pub(crate) fn run(arguments: &PushArguments, session: &Session) -> Result<(), Failure> {
    let found = session.find_at(&Place::parse(&arguments.image, Place::Store)?)?;
    let destinations: Vec<Reference> = match (arguments.destinations.as_slice(), &found.name) {
        ([], Some(name)) => vec![name.clone()],
        ([], None) => {
            return Err(
                Failure::new("name", format!("{} has no name to push to", found.place))
                    .help("say where it shall go: lifecycle push IMAGE REGISTRY/NAME"),
            );
        }
        (given, _) => given.iter().map(|name| name.parse()).collect::<Result<_, _>>()?,
    };
    for (registry, names) in by_registry(destinations) {
        let mut destination = session.destination(&Place::Registry(names[0].clone()), None)?;
        destination.names = names;
        let receipt = transfer::copy(&found, &destination)?;
        remember_origins(&found, &destination.names, session)?;
        session.console.debug(format!(
            "{registry}: {} blobs were there, {} mounted",
            receipt.existed, receipt.mounted
        ));
        let mut pushed: Vec<String> = Vec::new();
        for name in &receipt.names {
            session.console.info(format!(
                "pushed {} ({})",
                name.familiar(),
                human_size(receipt.sent)
            ));
            let exact = name.repository().at(&receipt.digest).to_string();
            if !pushed.contains(&exact) {
                session.console.result(&exact)?;
                pushed.push(exact);
            }
        }
    }
    Ok(())
}

/// The next push to another repository of the same registry mounts what is in these.
fn remember_origins(found: &Found, names: &[Reference], session: &Session) -> Result<(), Failure> {
    let (Place::Store(_), Artifact::Image(image)) = (&found.place, &found.artifact) else {
        return Ok(());
    };
    for layer in image.layers() {
        let digest = layer.descriptor()?.digest;
        for name in names {
            session.store()?.remember_origin(&digest, name.repository())?;
        }
    }
    Ok(())
}

/// All names on one registry are written at once: the blobs move once.
fn by_registry(names: Vec<Reference>) -> Vec<(String, Vec<Reference>)> {
    let mut groups: Vec<(String, Vec<Reference>)> = Vec::new();
    for name in names {
        let key = name.registry().to_owned();
        match groups.iter_mut().find(|(registry, _)| *registry == key) {
            Some((_, group)) => group.push(name),
            None => groups.push((key, vec![name])),
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_on_one_registry_are_written_together() {
        let names = ["a.test/x:1", "b.test/x:1", "a.test/y:2"].map(|name| name.parse().unwrap());
        let groups = by_registry(names.to_vec());
        let sizes: Vec<_> = groups
            .iter()
            .map(|(registry, names)| (registry.as_str(), names.len()))
            .collect();
        assert_eq!(sizes, [("a.test", 2), ("b.test", 1)]);
    }
}
