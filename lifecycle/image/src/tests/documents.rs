//! Another library reads every document that we write; media types are never mixed.

use std::sync::Arc;

use oci_spec::image::{ImageConfiguration, ImageIndex, ImageManifest};

use super::samples::{image_in, layer, reference, write};
use crate::layout::Layout;
use crate::{
    Compression, Descriptor, Family, History, Image, Index, Manifest, MediaType, Platform, Sink, mutate,
};

fn families(image: &Image) -> Vec<Option<Family>> {
    let document = image.encode_manifest().unwrap();
    let manifest = Manifest::parse(&document.bytes, &document.descriptor.media_type).unwrap();
    assert_eq!(
        manifest.media_type.as_ref(),
        Some(&document.descriptor.media_type)
    );
    let all = manifest.layers.iter().map(|layer| layer.media_type.family());
    all.chain([
        document.descriptor.media_type.family(),
        manifest.config.media_type.family(),
    ])
    .collect()
}

#[test]
fn oci_spec_reads_every_document_of_a_layout() {
    let directory = tempfile::tempdir().unwrap();
    let layout = Layout::create(directory.path()).unwrap();
    let image = mutate::annotate(
        image_in(Family::Oci, Compression::Zstd, &["a", "b"]),
        |annotations| {
            annotations.insert("org.test".into(), "1".into());
        },
    );
    write(&layout, &image, &["r.test/app:1"]);
    let mut upload = layout.begin(&[reference("r.test/many:1")]).unwrap();
    let other = image_in(Family::Oci, Compression::Gzip, &["c"]);
    let members = [&image, &other].map(|member| {
        let receipt = upload.member(member).unwrap();
        Descriptor {
            platform: Some(member.platform()),
            ..Descriptor::new(
                MediaType::manifest(Family::Oci),
                receipt.digest,
                receipt.manifest_size,
            )
        }
    });
    upload
        .finish_index(&Index::new(Family::Oci, members.to_vec()))
        .unwrap();

    let index = ImageIndex::from_file(directory.path().join("index.json")).unwrap();
    assert_eq!(index.manifests().len(), 2);
    let blob = |digest: &oci_spec::image::Digest| directory.path().join("blobs/sha256").join(digest.digest());
    let list = ImageIndex::from_file(blob(index.manifests()[1].digest())).unwrap();
    for manifest in [index.manifests()].into_iter().chain([list.manifests()]) {
        let manifest = ImageManifest::from_file(blob(manifest[0].digest())).unwrap();
        assert_eq!(manifest.layers().len(), 2);
        let config = ImageConfiguration::from_file(blob(manifest.config().digest())).unwrap();
        assert_eq!(config.rootfs().diff_ids().len(), 2);
        assert_eq!(config.history().as_ref().map(Vec::len), Some(2));
        assert_eq!(
            config.config().as_ref().unwrap().env().as_ref().unwrap(),
            &["PATH=/bin"]
        );
    }
    oci_spec::image::OciLayout::from_file(directory.path().join("oci-layout")).unwrap();
}

#[test]
fn media_types_are_never_mixed_whatever_is_put_together() {
    for family in [Family::Oci, Family::Docker] {
        let image = image_in(family, Compression::Gzip, &["base"]);
        for layer_family in [Family::Oci, Family::Docker] {
            let upper = layer("x", "y", layer_family, Compression::Zstd);
            let mixed = mutate::append(image.clone(), Arc::clone(&upper), History::default());
            assert_eq!(families(&mixed), [Some(family); 4]);
            for target in [Family::Oci, Family::Docker] {
                let converted = mutate::convert(mixed.clone(), target);
                assert_eq!(families(&converted), [Some(target); 4]);
                let rebased = mutate::replace_base(
                    converted,
                    1,
                    &image_in(layer_family, Compression::None, &["1", "2"]),
                );
                assert_eq!(families(&rebased), [Some(target); 5]);
            }
        }
    }
}

#[test]
fn converting_there_and_back_gives_the_same_digest() {
    let directory = tempfile::tempdir().unwrap();
    let layout = Layout::create(directory.path()).unwrap();
    let image = image_in(Family::Oci, Compression::Gzip, &["a"]);
    write(&layout, &image, &["r.test/app:1"]);
    let read = crate::Source::image(&layout, &reference("r.test/app:1"), &Platform::linux("amd64")).unwrap();
    let docker = mutate::convert(read.clone(), Family::Docker);
    assert_ne!(docker.digest().unwrap(), read.digest().unwrap());
    assert_eq!(
        docker.encode_config().unwrap().bytes,
        read.encode_config().unwrap().bytes
    );
    let back = mutate::convert(docker, Family::Oci);
    assert_eq!(back.digest().unwrap(), image.digest().unwrap());
}
