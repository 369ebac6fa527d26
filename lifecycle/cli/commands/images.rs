//! `lifecycle images`

use std::time::SystemTime;

use lifecycle_image::{Artifact, Reference, Source};
use lifecycle_store::Store;
use serde::Serialize;

use crate::arguments::{ImagesArguments, OutputForm};
use crate::console::{Column, Table, human_age, human_size};
use crate::failure::Failure;
use crate::session::Session;

/// One image of the store, as programs see it.
#[derive(Debug, Serialize)]
struct Listed {
    name: String,
    digest: String,
    platforms: Vec<String>,
    size: Option<u64>,
    used: String,
    #[serde(skip)]
    used_at: SystemTime,
    #[serde(skip)]
    shown: String,
}

pub(crate) fn run(arguments: &ImagesArguments, session: &Session) -> Result<(), Failure> {
    let store = session.store()?;
    let mut images = Vec::new();
    for image in store.images()? {
        let (platforms, size) = summary(store, &image.name);
        images.push(Listed {
            name: image.name.to_string(),
            digest: image.descriptor.digest.to_string(),
            platforms,
            size,
            used: jiff::Timestamp::try_from(image.used)
                .unwrap_or_default()
                .to_string(),
            used_at: image.used,
            shown: image.name.familiar(),
        });
    }
    match arguments.output {
        OutputForm::Json => session.console.json(&images),
        OutputForm::Text if images.is_empty() => {
            session
                .console
                .info("the store has no images yet; `lifecycle build` and `lifecycle pull` bring some");
            Ok(())
        }
        OutputForm::Text => Ok(session.console.result(&table(&images).to_string())?),
    }
}

fn table(images: &[Listed]) -> Table {
    let titles = [
        Column::Left("NAME"),
        Column::Left("DIGEST"),
        Column::Left("PLATFORM"),
        Column::Right("SIZE"),
        Column::Right("USED"),
    ];
    let mut table = Table::new(titles);
    for image in images {
        let digest = image.digest.split(':').nth(1).unwrap_or_default();
        table.row([
            image.shown.clone(),
            digest.chars().take(12).collect(),
            image.platforms.join(", "),
            image.size.map_or_else(|| "?".to_owned(), human_size),
            human_age(image.used_at),
        ]);
    }
    table
}

/// The platforms of an image or index, and the size of what of it is here. A damaged image is listed all the same.
fn summary(store: &Store, name: &Reference) -> (Vec<String>, Option<u64>) {
    match store.artifact(name) {
        Ok(Artifact::Image(image)) => {
            let sizes: Option<u64> = image
                .layers()
                .iter()
                .map(|layer| layer.known().map(|known| known.size))
                .sum();
            (vec![image.platform().to_string()], sizes)
        }
        Ok(Artifact::Index(index)) => {
            let platforms = index.images().filter_map(|member| member.platform.as_ref());
            let layers = index
                .images()
                .filter_map(|member| store.member(name, &member.digest).ok());
            let size = layers
                .flat_map(|image| image.layers().to_vec())
                .filter_map(|layer| layer.known());
            (
                platforms.map(ToString::to_string).collect(),
                Some(size.map(|known| known.size).sum()),
            )
        }
        Err(_) => (Vec::new(), None),
    }
}
