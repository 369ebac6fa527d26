//! Small images to test with.

use std::io::Write;
use std::sync::Arc;

use crate::{
    BytesLayer, Compression, DiffId, Digest, Family, History, Image, Layer, MediaType, Platform, Reference,
    Sink, mutate,
};

pub(crate) fn reference(text: &str) -> Reference {
    text.parse().unwrap()
}

/// The tar of one file in one directory.
pub(crate) fn tar(name: &str, content: &str) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut directory = tar::Header::new_ustar();
    directory.set_entry_type(tar::EntryType::Directory);
    directory.set_mode(0o755);
    directory.set_size(0);
    builder
        .append_data(&mut directory, "etc/", &mut std::io::empty())
        .unwrap();
    let mut header = tar::Header::new_ustar();
    header.set_mode(0o644);
    header.set_size(content.len() as u64);
    builder
        .append_data(&mut header, format!("etc/{name}"), content.as_bytes())
        .unwrap();
    builder.into_inner().unwrap()
}

pub(crate) fn compressed(tar: &[u8], compression: Compression) -> Vec<u8> {
    match compression {
        Compression::None => tar.to_vec(),
        Compression::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(tar).unwrap();
            encoder.finish().unwrap()
        }
        Compression::Zstd => zstd::encode_all(tar, 1).unwrap(),
    }
}

pub(crate) fn layer(name: &str, content: &str, family: Family, compression: Compression) -> Arc<dyn Layer> {
    let tar = tar(name, content);
    Arc::new(BytesLayer::new(
        MediaType::layer(family, compression),
        compressed(&tar, compression),
        DiffId(Digest::of(&tar)),
    ))
}

/// An image whose layers hold one file each, with what `contents` say.
pub(crate) fn image_in(family: Family, compression: Compression, contents: &[&str]) -> Image {
    let mut image = mutate::convert(Image::empty(&Platform::linux("amd64")), family);
    for (number, content) in contents.iter().enumerate() {
        let layer = layer(&format!("file{number}"), content, family, compression);
        let history = History {
            created_by: Some(format!("layer {number}")),
            ..History::default()
        };
        image = mutate::append(image, layer, history);
    }
    mutate::configure(image, |config| {
        config.created = Some("1980-01-01T00:00:01Z".into());
        config.config.env = Some(vec!["PATH=/bin".into()]);
        config.set_label("org.test", contents.first().copied().unwrap_or("none"));
    })
}

pub(crate) fn image(contents: &[&str]) -> Image {
    image_in(Family::Oci, Compression::Gzip, contents)
}

/// Writes `image` as a program would: layers first.
pub(crate) fn write(sink: &dyn Sink, image: &Image, names: &[&str]) -> crate::Receipt {
    let names: Vec<_> = names.iter().map(|name| reference(name)).collect();
    let mut upload = sink.begin(&names).unwrap();
    for layer in image.layers() {
        upload.layer(Arc::clone(layer));
    }
    upload.finish(image).unwrap()
}

/// Reads every byte of an image.
pub(crate) fn read_all(image: &Image) -> std::io::Result<()> {
    for layer in image.layers() {
        std::io::copy(&mut layer.open(0)?, &mut std::io::sink())?;
    }
    Ok(())
}

pub(crate) fn diff_ids(image: &Image) -> Vec<DiffId> {
    image
        .layers()
        .iter()
        .map(|layer| layer.diff_id().unwrap())
        .collect()
}
