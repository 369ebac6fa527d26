//! `lifecycle sbom`

use std::path::{Path, PathBuf};

use lifecycle_image::{Image, Platform};
use lifecycle_spec::SbomFormat;
use lifecycle_spec::label::{self, LifecycleLabel};

use crate::arguments::SbomArguments;
use crate::attestations;
use crate::failure::Failure;
use crate::place::Place;
use crate::sboms::{self, SbomFile};
use crate::session::{Found, Session};

pub(crate) fn run(arguments: &SbomArguments, session: &Session) -> Result<(), Failure> {
    let found = session.find(&arguments.image)?;
    let image = found.image(arguments.platform.as_ref().unwrap_or(&Platform::host()))?;
    if image.config().label(label::LIFECYCLE).is_none() {
        return attested(arguments, &found, &image, session);
    }
    let files = files(&image, &found, session)?;
    match &arguments.directory {
        Some(directory) => {
            for path in save(&files, directory)? {
                session.console.result(&path.display().to_string())?;
            }
            Ok(())
        }
        None => print(&files, &image, &found.place.to_string(), session),
    }
}

/// The SBOMs that are attached to an image that no buildpack made.
fn attested(
    arguments: &SbomArguments,
    found: &Found,
    image: &Image,
    session: &Session,
) -> Result<(), Failure> {
    let mut sboms = attestations::statements(found, &image.digest()?, session)?;
    sboms.retain(attestations::is_sbom);
    let Some(first) = sboms.first() else {
        return Err(
            Failure::new("no-sbom", format!("{} is no app image and has no SBOM attached", found.place)).help(
                "`lifecycle build --sbom` attaches one; `lifecycle sbom` reads it, and what buildpacks wrote down",
            ),
        );
    };
    let Some(directory) = &arguments.directory else {
        return session.console.json(&first.predicate);
    };
    fs_err::create_dir_all(directory)?;
    for (number, sbom) in sboms.iter().enumerate() {
        let path = directory.join(format!("sbom-{}.json", number + 1));
        fs_err::write(&path, format!("{:#}\n", sbom.predicate))?;
        session.console.result(&path.display().to_string())?;
    }
    Ok(())
}

/// Saves every SBOM file of the image at a place below a directory.
pub(crate) fn save_all(place: &Place, directory: &Path, session: &Session) -> Result<(), Failure> {
    let found = session.find_at(place)?;
    let image = found.image(&Platform::host())?;
    save(&files(&image, &found, session)?, directory).map(drop)
}

/// The SBOM files of an app image.
fn files(image: &Image, found: &Found, session: &Session) -> Result<Vec<SbomFile>, Failure> {
    let Some(text) = image.config().label(label::LIFECYCLE) else {
        return Err(Failure::new(
            "no-sbom",
            format!(
                "{} is not an app image: it has no label {}",
                found.place,
                label::LIFECYCLE
            ),
        )
        .help("`lifecycle sbom` reads what buildpacks wrote down; other images carry nothing of that kind"));
    };
    let label = LifecycleLabel::parse(text)?;
    Ok(sboms::read(image, &label, session.scratch()?, &session.console)?)
}

/// Saves the files and says where.
fn save(files: &[SbomFile], directory: &Path) -> Result<Vec<PathBuf>, Failure> {
    let mut paths = Vec::new();
    for file in files {
        let path = directory.join(&file.path);
        fs_err::create_dir_all(path.parent().unwrap_or(directory))?;
        fs_err::write(&path, &file.bytes)?;
        paths.push(path);
    }
    Ok(paths)
}

fn print(files: &[SbomFile], image: &Image, name: &str, session: &Session) -> Result<(), Failure> {
    if !files.iter().any(|file| file.format == SbomFormat::CycloneDx) {
        return Err(Failure::new(
            "no-sbom",
            format!("no buildpack of {name} wrote a CycloneDX file"),
        )
        .help("files of other formats are saved with --directory"));
    }
    let merged = sboms::merge(files, name, image.digest()?.as_str())?;
    session.console.json(&merged)
}
