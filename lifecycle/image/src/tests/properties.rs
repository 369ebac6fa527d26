//! What is written is read back the same; what comes from outside never brings the program down.

use proptest::prelude::*;

use crate::{
    Digest, Family, Image, Index, Manifest, MediaType, Platform, RawDocument, Reference, canonical_json,
};

fn digests() -> impl Strategy<Value = String> {
    prop_oneof!["sha256:[0-9a-f]{64}", "sha512:[0-9a-f]{128}"]
}

fn references() -> impl Strategy<Value = String> {
    let registry = prop_oneof![
        Just(String::new()),
        "[a-z][a-z0-9]{0,5}\\.test(:[1-9][0-9]{0,3})?/",
        Just("localhost:5000/".to_owned()),
        Just("[::1]:5000/".to_owned()),
    ];
    // With a dot, the first component would be a registry.
    let path = "[a-z0-9]{1,8}((_|__|-{1,3})[a-z0-9]{1,8}){0,2}(/[a-z0-9]{1,8}((\\.|_|__|-{1,3})[a-z0-9]{1,8}){0,2}){0,2}";
    let tag = prop_oneof![Just(String::new()), ":[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}"];
    let digest = prop_oneof![
        Just(String::new()),
        digests().prop_map(|digest| format!("@{digest}"))
    ];
    (registry, path, tag, digest)
        .prop_map(|(registry, path, tag, digest)| format!("{registry}{path}{tag}{digest}"))
}

/// JSON that looks somewhat like a manifest.
fn documents() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<i64>().prop_map(serde_json::Value::from),
        Just(serde_json::Value::from(2)),
        "[ -~]{0,12}".prop_map(serde_json::Value::from),
        digests().prop_map(serde_json::Value::from),
        Just(serde_json::Value::from(MediaType::manifest(Family::Oci).as_str())),
    ];
    let keys = prop::sample::select(vec![
        "schemaVersion",
        "mediaType",
        "config",
        "layers",
        "manifests",
        "digest",
        "size",
        "platform",
        "annotations",
        "subject",
        "rootfs",
        "diff_ids",
        "history",
    ]);
    leaf.prop_recursive(4, 32, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(serde_json::Value::from),
            prop::collection::btree_map(keys.clone().prop_map(str::to_owned), inner, 0..6)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

fn parse_everything(bytes: &[u8]) {
    for family in [Family::Oci, Family::Docker] {
        let manifest = MediaType::manifest(family);
        if let Ok(parsed) = Manifest::parse(bytes, &manifest) {
            let again = canonical_json(&parsed).unwrap();
            assert_eq!(Manifest::parse(&again, &manifest).unwrap(), parsed);
        }
        if let Ok(parsed) = Index::parse(bytes, &MediaType::index(family)) {
            assert_eq!(&*parsed.encode().unwrap().bytes, bytes);
            parsed.select(&Platform::linux("amd64"));
        }
        drop(Image::assemble(
            RawDocument::new(MediaType::config(family), bytes),
            Vec::new(),
        ));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn references_survive_being_written(text in references()) {
        let reference: Reference = text.parse().unwrap();
        prop_assert_eq!(reference.to_string().parse::<Reference>().unwrap(), reference.clone());
        prop_assert_eq!(reference.familiar().parse::<Reference>().unwrap(), reference);
    }

    #[test]
    fn any_text_is_a_reference_or_none(text in "\\PC{0,60}") {
        if let Ok(reference) = text.parse::<Reference>() {
            prop_assert_eq!(reference.to_string().parse::<Reference>().unwrap(), reference);
        }
    }

    #[test]
    fn digests_survive_being_written(text in digests()) {
        let digest: Digest = text.parse().unwrap();
        prop_assert_eq!(digest.to_string(), text);
        let json = serde_json::to_string(&digest).unwrap();
        prop_assert_eq!(serde_json::from_str::<Digest>(&json).unwrap(), digest);
    }

    #[test]
    fn platforms_survive_being_written(text in "[a-z0-9]{1,8}/[a-z0-9]{1,8}(/[a-z0-9.]{1,4})?") {
        let platform: Platform = text.parse().unwrap();
        prop_assert_eq!(platform.to_string().parse::<Platform>().unwrap(), platform.clone());
        let json = serde_json::to_string(&platform).unwrap();
        prop_assert_eq!(serde_json::from_str::<Platform>(&json).unwrap(), platform.clone());
        prop_assert!(platform.satisfies(&platform));
    }

    #[test]
    fn parsing_bytes_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        parse_everything(&bytes);
    }

    #[test]
    fn parsing_documents_never_panics(document in documents()) {
        parse_everything(&serde_json::to_vec(&document).unwrap());
    }
}
