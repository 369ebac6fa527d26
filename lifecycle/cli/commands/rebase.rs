//! `lifecycle rebase`

use std::path::Path;

use lifecycle_image::archive::Archive;
use lifecycle_image::layout::Layout;
use lifecycle_image::{Artifact, Digest, Image, Platform, Reference, Source, TransferError};
use lifecycle_phases::{Identifiers, Images, RebaseOptions};
use lifecycle_spec::PlatformApi;

use crate::arguments::RebaseArguments;
use crate::failure::Failure;
use crate::place::Place;
use crate::session::{Destination, Found, Nearest, Session};

pub(crate) fn run(arguments: &RebaseArguments, session: &Session) -> Result<(), Failure> {
    let is_for_one = !arguments.tags.is_empty() || arguments.report.is_some();
    if arguments.images.len() > 1 && is_for_one {
        return Err(
            Failure::new("name", "several images cannot share one name or one report").help(
                "leave --tag and --report out to rebase each image where it is, or rebase them one by one",
            ),
        );
    }
    arguments
        .images
        .iter()
        .try_for_each(|image| rebase(image, arguments, session))
}

/// Rebases one image.
fn rebase(image: &str, arguments: &RebaseArguments, session: &Session) -> Result<(), Failure> {
    let place = settle(Place::parse(image, Place::Nearest)?, session)?;
    let found = session.find_at(&place)?;
    let platform = arguments.platform.clone().unwrap_or_else(Platform::host);
    if matches!(found.artifact, Artifact::Index(_)) && arguments.tags.is_empty() && arguments.output.is_none()
    {
        return Err(Failure::new(
            "index",
            format!("{place} is an index of images, which the image of one platform would replace"),
        )
        .help("choose one with --platform and give the result a name of its own with --tag"));
    }
    let app = match &found.name {
        Some(name) => name.clone(),
        // What lies in a layout or archive may be called anything; the phase wants to call it something.
        None => "app".parse()?,
    };
    let names: Vec<Reference> = match arguments.tags.as_slice() {
        [] => vec![app.clone()],
        tags => tags.iter().map(|tag| tag.parse()).collect::<Result<_, _>>()?,
    };
    let destination = match &arguments.output {
        Some(output) => session.output(output, &names)?,
        None => beside(&place, &names, arguments.tags.is_empty(), session)?,
    };

    let report = match &arguments.report {
        Some(path) => path.clone(),
        None => session.scratch()?.join("report.toml"),
    };
    let options = RebaseOptions {
        api: PlatformApi::LATEST,
        images: destination.names.clone(),
        previous_image: Some(app.to_string()),
        run_image: arguments.run_image.clone(),
        force: arguments.force,
        report,
    };
    let source = AppAndNearest {
        name: app,
        app: found,
        others: session.images()?,
    };
    let images = Images {
        source: &source,
        sink: &*destination.sink,
        identifiers: &Identifiers::Registry,
        access: None,
        platform: &platform,
    };
    let rebased = lifecycle_phases::rebase(&options, &images, &session.console).map_err(|error| {
        let code = error.exit_code().number();
        Failure::from(error).with_code(code)
    })?;
    session.console.info(format!(
        "rebased {image} on {}: {} layers of the old run image replaced, {} bytes sent",
        rebased.run_image, rebased.replaced, rebased.receipt.sent
    ));
    for name in &rebased.receipt.names {
        let exact = name.repository().at(&rebased.receipt.digest);
        session.console.result(&exact.to_string())?;
    }
    Ok(())
}

/// Where the app is: of a name without a prefix, the store if it has it, else the registry; of a layout or archive
/// with one image, that image's name.
fn settle(place: Place, session: &Session) -> Result<Place, Failure> {
    let unnamed = |path: &Path| {
        Failure::new(
            "name",
            format!("{} does not hold exactly one image with a name", path.display()),
        )
        .help("name the image, as in oci:DIR:NAME")
    };
    let only = |names: Vec<String>, path: &Path| match <[String; 1]>::try_from(names) {
        Ok([name]) if !name.contains("sha256:") => Ok(name),
        _ => Err(unnamed(path)),
    };
    let spool = session.environment.temporary_directory();
    Ok(match place {
        Place::Nearest(reference) => {
            let is_stored = session
                .store_directory()
                .is_ok_and(Path::exists)
                .then(|| session.store())
                .transpose()?
                .is_some_and(|store| store.artifact(&reference).is_ok());
            if is_stored {
                Place::Store(reference)
            } else {
                Place::Registry(reference)
            }
        }
        Place::Layout(path, None) => {
            let names = Layout::open(&path)?.names()?;
            let name = only(names, &path)?;
            Place::Layout(path, Some(name))
        }
        Place::OciArchive(path, None) => {
            let name = only(Archive::open(&path, &spool)?.names(), &path)?;
            Place::OciArchive(path, Some(name))
        }
        Place::DockerArchive(path, None) => {
            let name = only(Archive::open(&path, &spool)?.names(), &path)?;
            Place::DockerArchive(path, Some(name))
        }
        place => place,
    })
}

/// Where the result goes when nobody says: in the place of the app, or with other names beside it.
fn beside(
    place: &Place,
    names: &[Reference],
    in_place: bool,
    session: &Session,
) -> Result<Destination, Failure> {
    match place {
        Place::Store(_) | Place::Nearest(_) => session.output("store", names),
        Place::Registry(_) => session.output("registry", names),
        place if in_place => {
            let name = names.first();
            session.destination(place, name)
        }
        Place::Layout(path, _) => session.output(&format!("oci:{}", path.display()), names),
        Place::OciArchive(..) | Place::DockerArchive(..) => Err(Failure::new(
            "output",
            format!("{place} is an archive of one image, which is no place for a second name"),
        )
        .help("say with --output where the result goes")),
    }
}

/// The app from where it was found, and all other images from wherever they are nearest.
#[derive(Debug)]
struct AppAndNearest {
    name: Reference,
    app: Found,
    others: Nearest,
}

impl Source for AppAndNearest {
    fn artifact(&self, reference: &Reference) -> Result<Artifact, TransferError> {
        if *reference == self.name {
            return Ok(self.app.artifact.clone());
        }
        self.others.artifact(reference)
    }

    fn member(&self, reference: &Reference, digest: &Digest) -> Result<Image, TransferError> {
        if *reference == self.name {
            return self.app.source().member(reference, digest);
        }
        self.others.member(reference, digest)
    }
}
