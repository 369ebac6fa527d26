//! What kaniko leaves behind: the image where it was asked for, and files with digests.

use std::io::Write as _;
use std::path::Path;

use lifecycle_image::archive::{ArchiveKind, ArchiveSink};
use lifecycle_image::layout::Layout;
use lifecycle_image::{Digest, Image, Reference, Sink};

use super::settings::Settings;
use crate::failure::Failure;
use crate::session::{Destination, Session};
use crate::transfer;

/// Writes the image to files, then pushes it, then writes the digest files: they name what is there.
pub(super) fn write(
    image: &Image,
    destinations: &[Reference],
    settings: &Settings,
    session: &Session,
) -> Result<(), Failure> {
    let progress = session.progress();
    if let Some(path) = &settings.layout_path {
        let layout = empty_layout(path)?.watched(progress.clone());
        to(image, Box::new(layout), &[])?;
        session.console.info(format!("Wrote {}", path.display()));
    }
    if let Some(path) = &settings.tar_path {
        if let Some(parent) = path.parent() {
            fs_err::create_dir_all(parent)?;
        }
        let archive = ArchiveSink::create(ArchiveKind::Docker, path).watched(progress);
        to(image, Box::new(archive), destinations)?;
        session.console.info(format!("Wrote {}", path.display()));
    }
    if settings.no_push {
        session.console.info("not pushed, because of --no-push");
    } else {
        push(image, destinations, session)?;
    }
    write_digests(&image.digest()?, destinations, settings, session)
}

/// A layout without images: whoever reads one of kaniko's asks for its only image, and not by name.
fn empty_layout(path: &Path) -> Result<Layout, Failure> {
    let layout = Layout::create(path)?;
    fs_err::write(path.join("index.json"), r#"{"schemaVersion":2,"manifests":[]}"#)?;
    Ok(layout)
}

/// Pushes an image under all its names, registry by registry.
pub(super) fn push(image: &Image, destinations: &[Reference], session: &Session) -> Result<(), Failure> {
    let mut registries: Vec<&str> = Vec::new();
    for name in destinations {
        if !registries.contains(&name.registry()) {
            registries.push(name.registry());
        }
    }
    for registry in registries {
        let here = destinations.iter().filter(|name| name.registry() == registry);
        let names: Vec<Reference> = here.cloned().collect();
        let receipt = to(image, Box::new(session.registry()?.clone()), &names)?;
        for name in receipt.names {
            session
                .console
                .info(format!("Pushed {}", name.repository().at(&receipt.digest)));
        }
    }
    Ok(())
}

fn to(image: &Image, sink: Box<dyn Sink>, names: &[Reference]) -> Result<lifecycle_image::Receipt, Failure> {
    let destination = Destination {
        sink,
        names: names.to_vec(),
    };
    transfer::write(image, &destination)
}

/// The three digest files, and the list that cloud builders read.
fn write_digests(
    digest: &Digest,
    destinations: &[Reference],
    settings: &Settings,
    session: &Session,
) -> Result<(), Failure> {
    let lines = |name: fn(&Reference) -> String| -> String {
        let lines = destinations
            .iter()
            .map(|reference| format!("{}@{digest}\n", name(reference)));
        lines.collect()
    };
    let files = [
        (&settings.digest_file, digest.to_string()),
        (
            &settings.name_digest_file,
            lines(|name| name.repository().to_string()),
        ),
        (&settings.name_tag_digest_file, lines(tagged)),
    ];
    for (place, text) in files {
        if let Some(place) = place {
            write_text(place, &text, session)?;
        }
    }
    if let (Some(directory), false) = (session.environment.path("BUILDER_OUTPUT"), settings.no_push) {
        let images = destinations.iter().map(|name| {
            let image = serde_json::json!({ "name": tagged(name), "digest": digest.to_string() });
            format!("{image}\n")
        });
        fs_err::write(directory.join("images"), images.collect::<String>())?;
    }
    Ok(())
}

/// `registry/name:tag`, with the tag that a name without one means.
fn tagged(name: &Reference) -> String {
    format!("{}:{}", name.repository(), name.tag().unwrap_or("latest"))
}

/// A file of this machine, or an address that takes one, as stores of objects give out for an hour.
fn write_text(place: &str, text: &str, session: &Session) -> Result<(), Failure> {
    if place.starts_with("https://") {
        let mut file = tempfile::tempfile_in(session.scratch()?)?;
        file.write_all(text.as_bytes())?;
        session
            .remote()?
            .upload(&file, &lifecycle_remote::File::parse(place)?)?;
        return Ok(());
    }
    let path = Path::new(place);
    if let Some(parent) = path.parent() {
        fs_err::create_dir_all(parent)?;
    }
    Ok(fs_err::write(path, text)?)
}
