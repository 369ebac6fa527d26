//! `lifecycle rebase`

mod members;

use std::path::Path;

use lifecycle_image::archive::Archive;
use lifecycle_image::layout::Layout;
use lifecycle_image::{
    Artifact, Digest, Image, Index, Platform, Receipt, Reference, Sink, Source, TransferError,
};
use lifecycle_phases::{Identifiers, Images, RebaseOptions, RebaseReport};
use lifecycle_spec::{PlatformApi, ReportToml};

use self::members::Members;
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

/// Rebases one image, or all images of an index.
fn rebase(image: &str, arguments: &RebaseArguments, session: &Session) -> Result<(), Failure> {
    let place = settle(Place::parse(image, Place::Nearest)?, session)?;
    let found = session.find_at(&place)?;
    let index = match &found.artifact {
        Artifact::Index(index) => Some(index.clone()),
        Artifact::Image(_) => None,
    };
    let is_in_place = arguments.tags.is_empty() && arguments.output.is_none();
    if index.is_some() && arguments.platform.is_some() && is_in_place {
        return Err(Failure::new(
            "index",
            format!("{place} is an index of images, which the image of one platform would replace"),
        )
        .help(
            "leave --platform out to rebase all of them, or give the result a name of its own with --tag",
        ));
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
    let work = Work {
        image,
        options: &options,
        source: &source,
        session,
    };
    let receipt = if let (Some(index), None) = (&index, &arguments.platform) {
        work.all(index, &destination)?
    } else {
        let platform = arguments.platform.clone().unwrap_or_else(Platform::host);
        work.one(&platform, &*destination.sink)?.receipt
    };
    for name in &receipt.names {
        let exact = name.repository().at(&receipt.digest);
        session.console.result(&exact.to_string())?;
    }
    Ok(())
}

/// What is rebased, and with which options.
struct Work<'a> {
    /// As it was asked for.
    image: &'a str,
    options: &'a RebaseOptions,
    source: &'a dyn Source,
    session: &'a Session,
}

impl Work<'_> {
    /// The image of one platform.
    fn one(&self, platform: &Platform, sink: &dyn Sink) -> Result<RebaseReport, Failure> {
        let images = Images {
            source: self.source,
            sink,
            identifiers: &Identifiers::Registry,
            access: None,
            platform,
        };
        let rebased =
            lifecycle_phases::rebase(self.options, &images, &self.session.console).map_err(|error| {
                let code = error.exit_code().number();
                Failure::from(error).with_code(code)
            })?;
        self.session.console.info(format!(
            "rebased {} on {}: {} layers of the old run image replaced, {} bytes sent",
            self.image, rebased.run_image, rebased.replaced, rebased.receipt.sent
        ));
        Ok(rebased)
    }

    /// Every image of an index, each on the run image of its platform; nothing changes before all of them are written.
    fn all(&self, index: &Index, destination: &Destination) -> Result<Receipt, Failure> {
        let members = Members::begin(&*destination.sink, &destination.names)?;
        let mut count = 0;
        for member in index.images() {
            let platform = member.platform.as_ref().ok_or_else(|| {
                let text = format!("{}: member {} has no platform", self.image, member.digest);
                Failure::new("index", text)
            })?;
            self.one(platform, &members)?;
            count += 1;
        }
        if count < index.manifests.len() {
            self.session.console.warning(format!(
                "{}: what the index says about the old images (attestations) is left out",
                self.image
            ));
        }
        let receipt = members.finish(index)?;
        let report = ReportToml {
            tags: receipt.names.iter().map(ToString::to_string).collect(),
            digest: Some(receipt.digest.to_string()),
            manifest_size: Some(receipt.manifest_size),
            ..ReportToml::default()
        };
        fs_err::write(&self.options.report, report.to_toml(self.options.api))?;
        Ok(receipt)
    }
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
