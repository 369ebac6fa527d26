//! What refers to an image.

use std::collections::BTreeMap;

use lifecycle_image::MediaType;
use lifecycle_registry::Attachment;

use crate::fake_registry::{FakeRegistry, Options};
use crate::samples::{reference, registry, stock};

fn attachment(kind: &str, content: &[u8]) -> Attachment {
    Attachment {
        artifact_type: kind.to_owned(),
        files: vec![(MediaType::new(kind), content.into())],
        annotations: BTreeMap::from([("k".to_owned(), "v".to_owned())]),
    }
}

#[test]
fn artifacts_are_listed_with_and_without_the_registrys_help() {
    for referrers in [true, false] {
        let fake = FakeRegistry::start_with(Options {
            referrers,
            ..Options::default()
        });
        let image = stock(&fake, "a", "t", &[b"x"]);
        let subject = image.encode_manifest().unwrap().descriptor;
        let repository = reference(&format!("{}/a", fake.address())).repository().clone();
        let registry = registry();
        let list = |kind| registry.referrers(&repository, &subject.digest, kind).unwrap();
        assert!(list(None).is_empty());
        let sbom = attachment("application/vnd.cyclonedx+json", b"{}");
        let one = registry.attach(&repository, &subject, &sbom).unwrap();
        // Again: no second entry.
        registry.attach(&repository, &subject, &sbom).unwrap();
        let two = registry
            .attach(&repository, &subject, &attachment("application/x", b"y"))
            .unwrap();
        assert_eq!(list(None).len(), 2);
        let found = list(Some("application/vnd.cyclonedx+json"));
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].digest, one.digest);
        assert_eq!(list(Some("application/x"))[0].digest, two.digest);
        assert!(list(Some("application/y")).is_empty());
        let fallback = format!("sha256-{}", subject.digest.hex());
        assert_eq!(fake.tags("a").contains(&fallback), !referrers);
        // The file is in the artifact.
        let manifest = fake.manifest("a", two.digest.as_str()).unwrap();
        assert!(
            String::from_utf8(manifest)
                .unwrap()
                .contains(subject.digest.as_str())
        );
    }
}
