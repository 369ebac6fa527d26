//! `lifecycle sbom`

use std::path::Path;

use lifecycle_image::{Image, Platform};
use lifecycle_spec::SbomFormat;
use lifecycle_spec::label::{self, LifecycleLabel};

use crate::arguments::SbomArguments;
use crate::failure::Failure;
use crate::sboms::{self, SbomFile};
use crate::session::Session;

pub(crate) fn run(arguments: &SbomArguments, session: &Session) -> Result<(), Failure> {
    let found = session.find(&arguments.image)?;
    let image = found.image(arguments.platform.as_ref().unwrap_or(&Platform::host()))?;
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
    let files = sboms::read(&image, &label, session.scratch()?, &session.console)?;
    match &arguments.directory {
        Some(directory) => save(&files, directory, session),
        None => print(&files, &image, &found.place.to_string(), session),
    }
}

fn save(files: &[SbomFile], directory: &Path, session: &Session) -> Result<(), Failure> {
    for file in files {
        let path = directory.join(&file.path);
        fs_err::create_dir_all(path.parent().unwrap_or(directory))?;
        fs_err::write(&path, &file.bytes)?;
        session.console.result(&path.display().to_string())?;
    }
    Ok(())
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
