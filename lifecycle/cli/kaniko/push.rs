//! `executor push`: an image from a file to registries.

use std::path::{Path, PathBuf};

use lifecycle_image::Platform;

use super::executor::{check_push, destinations};
use super::settings::Settings;
use super::{outputs, registries};
use crate::console::Console;
use crate::environment::Environment;
use crate::failure::Failure;
use crate::place::Place;
use crate::session::Session;
use crate::signals::Interruption;

pub(super) fn run(
    settings: &Settings,
    words: &[String],
    environment: Environment,
    console: &Console,
    interruption: &Interruption,
) -> Result<(), Failure> {
    let [path] = words else {
        return Err(Failure::new("argument", "executor push takes one image")
            .help("name a file that docker save wrote, or the directory of an OCI layout"));
    };
    let names = destinations(settings)?;
    if names.is_empty() {
        return Err(
            Failure::new("destination", "there is nowhere to push to").help("name it with --destination")
        );
    }
    let speaking = registries::settings(&settings.registry, &names, &environment)?;
    let session = Session::with_registry(
        settings.store.clone(),
        speaking,
        environment,
        console.clone(),
        interruption.clone(),
    )?;
    interruption.listen(console)?;
    if !settings.skip_push_check {
        check_push(&names, &session)?;
    }
    let path = PathBuf::from(path);
    let place = if Path::is_dir(&path) {
        Place::Layout(path, None)
    } else {
        Place::DockerArchive(path, None)
    };
    let image = session.find_at(&place)?.image(&Platform::host())?;
    outputs::push(&image, &names, &session)
}
