//! Manifests, indexes and configurations: no document is two of them, and what is read can be written.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lifecycle_image::{
    Family, Image, ImageConfig, Index, Manifest, MediaType, Platform, RawDocument, canonical_json,
};

fuzz_target!(|bytes: &[u8]| {
    let platform = Platform::linux("amd64");
    for family in [Family::Oci, Family::Docker] {
        let manifest = Manifest::parse(bytes, &MediaType::manifest(family));
        let index = Index::parse(bytes, &MediaType::index(family));
        // CVE-2021-41190
        assert!(manifest.is_err() || index.is_err(), "one document is both");
        if let Ok(manifest) = manifest {
            let written = manifest.encode().expect("a manifest can be written");
            let again = Manifest::parse(&written.bytes, &written.descriptor.media_type);
            assert_eq!(again.ok(), Some(manifest));
        }
        if let Ok(index) = index {
            index.select(&platform);
            index.platforms();
            assert_eq!(*index.encode().expect("an index can be written").bytes, *bytes);
        }
    }
    if let Ok(config) = serde_json::from_slice::<ImageConfig>(bytes) {
        config.platform();
        let written = canonical_json(&config).expect("a configuration can be written");
        assert_eq!(serde_json::from_slice::<ImageConfig>(&written).ok(), Some(config));
    }
    if let Ok(image) = Image::assemble(
        RawDocument::new(MediaType::config(Family::Oci), bytes),
        Vec::new(),
    ) {
        image.digest().expect("an image without layers has a digest");
    }
});
