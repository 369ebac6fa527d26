//! What nobody needs to be asked for: blobs that lie where manifests say they lie.

use std::sync::Arc;

use lifecycle_image::{Image, Layer};
use lifecycle_registry::{Registry, Settings};

use crate::fake_registry::{Action, FakeRegistry, Mount, Options};
use crate::samples::{image_of, layer, noise, pull, push, registry, settings, stock};

/// The contents of base layers; those of one version differ from those of another.
fn base(version: u64, layers: u64) -> Vec<Vec<u8>> {
    (0..layers)
        .map(|number| noise(1000 * version + number, 100))
        .collect()
}

fn slices(contents: &[Vec<u8>]) -> Vec<&[u8]> {
    contents.iter().map(Vec::as_slice).collect()
}

/// Where an app lies, seen from its run image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Neighborhood {
    Repository,
    Registry,
    World,
}

/// Exchanges the run image of an app, as a rebase does: both are read, and the app's layers go on the new base's.
/// Gives the number of requests to the app's registry, and that of blobs read there or at the base.
fn rebase(app_at: Neighborhood, old: &[Vec<u8>], new: &[Vec<u8>]) -> (usize, usize) {
    let (apps, bases) = (FakeRegistry::start(), FakeRegistry::start());
    let (bases, run, app) = match app_at {
        Neighborhood::Repository => (&apps, "one", "one"),
        Neighborhood::Registry => (&apps, "run", "app"),
        Neighborhood::World => (&bases, "run", "app"),
    };
    stock(bases, run, "new", &slices(new));
    let own = noise(7, 100);
    stock(&apps, app, "t", &[&slices(old)[..], &[&own]].concat());

    let registry = registry();
    let name = format!("{}/{app}:t", apps.address());
    let before = pull(&registry, &name).unwrap();
    let run_image = pull(&registry, &format!("{}/{run}:new", bases.address())).unwrap();
    let mut layers: Vec<Arc<dyn Layer>> = run_image.layers().to_vec();
    layers.push(Arc::clone(&before.layers()[old.len()]));
    let after = image_of(&layers);
    push(&registry, &after, &[&name]).unwrap();
    for layer in after.layers() {
        let digest = layer.descriptor().unwrap().digest;
        assert!(apps.blob(app, &digest).is_some(), "{digest}\n{}", apps.log());
    }
    let config = after.encode_config().unwrap().descriptor.digest;
    assert!(apps.blob(app, &config).is_some());

    let everywhere = [
        apps.seen(),
        if app_at == Neighborhood::World {
            bases.seen()
        } else {
            Vec::new()
        },
    ]
    .concat();
    let is_blob =
        |seen: &&crate::fake_registry::Seen| seen.method == "GET" && seen.target.contains("/blobs/");
    // Two configurations are read, and they are blobs as well.
    let read = everywhere.iter().filter(is_blob).count() - 2;
    (everywhere.len(), read)
}

/// Two manifests and two configurations are read, one of each is written, which takes two requests and one. That is
/// seven; five if nothing is new, as the configuration is the old one then. A layer of the new base that the app's repository does not have costs one request if the registry has it in
/// another repository; it has to be brought from another registry, which takes four. Everything else costs nothing.
#[test]
fn a_rebase_costs_seven_requests_and_one_for_each_new_layer_reb_05() {
    for layers in [2, 6, 10, 20] {
        for changed in [0, 1, 2, layers] {
            let old = base(1, layers);
            let kept = usize::try_from(layers - changed).unwrap();
            let new = [&old[..kept], &base(2, changed)].concat();
            let changed = usize::try_from(changed).unwrap();
            let what = format!("{changed} of {layers} layers are new");
            let documents = if changed == 0 { 5 } else { 7 };
            for (app_at, each, read) in [
                (Neighborhood::Repository, 0, 0),
                (Neighborhood::Registry, 1, 0),
                (Neighborhood::World, 4, changed),
            ] {
                let expected = (documents + each * changed, read);
                assert_eq!(rebase(app_at, &old, &new), expected, "{what}, {app_at:?}");
            }
        }
    }
}

/// An app and its run image in two repositories of a registry, as one program sees them.
fn neighbors(options: Options) -> (FakeRegistry, Registry, Image) {
    let fake = FakeRegistry::start_with(options);
    let contents = base(1, 3);
    stock(&fake, "run", "t", &slices(&contents));
    // One after another, so that the second can learn from the first.
    let registry = Registry::new(Settings {
        parallel: 1,
        ..settings().0
    })
    .unwrap();
    let run_image = pull(&registry, &format!("{}/run:t", fake.address())).unwrap();
    fake.forget();
    (fake, registry, run_image)
}

/// Which layer is the first to go is open; each of them finds out the same.
#[test]
fn a_registry_that_does_not_mount_is_asked_once_and_then_looked_at_first() {
    for mount in [Mount::Accepted, Mount::Refused] {
        for there in [true, false] {
            let (fake, registry, run_image) = neighbors(Options {
                mount,
                ..Options::default()
            });
            for content in base(1, 3).iter().filter(|_| there) {
                fake.put_blob("app", content);
            }
            let name = format!("{}/app:t", fake.address());
            let receipt = push(&registry, &run_image, &[&name]).unwrap();
            let existed = if there { 3 } else { 0 };
            assert_eq!((receipt.existed, receipt.mounted), (existed, 0), "{}", fake.log());
            for layer in run_image.layers() {
                let digest = layer.descriptor().unwrap().digest;
                assert!(fake.blob("app", &digest).is_some());
                assert_eq!(fake.count("HEAD", digest.as_str()), 1, "{}", fake.log());
            }
            // What is not there may still be mounted, as from any repository that had it once; nothing is lost by asking.
            let asked = if there { 1 } else { 3 };
            assert_eq!(fake.count("POST", "mount="), asked, "{}", fake.log());
            // What had begun for nothing is not left lying about.
            let cancelled = usize::from(there && mount == Mount::Accepted);
            assert_eq!(fake.count("DELETE", "uploads"), cancelled, "{}", fake.log());
        }
    }
}

#[test]
fn a_blob_that_a_registry_has_lost_is_sent_again_when_the_manifest_is_refused() {
    let unknown = br#"{"errors":[{"code":"MANIFEST_BLOB_UNKNOWN","message":"blob unknown to registry"}]}"#;
    for status in [400, 404] {
        let fake = FakeRegistry::start();
        let contents = base(1, 2);
        stock(&fake, "app", "t", &slices(&contents));
        let registry = registry();
        let name = format!("{}/app:t", fake.address());
        let before = pull(&registry, &name).unwrap();
        let layers = [
            Arc::clone(&before.layers()[0]),
            layer(&contents[1]),
            layer(b"new"),
        ];
        let image = image_of(&layers);
        let lost = layers[1].descriptor().unwrap().digest;
        fake.lose_blob("app", &lost);
        fake.rule(
            "PUT",
            "manifests",
            1,
            Action::Answer(status, Vec::new(), unknown.to_vec()),
        );
        fake.forget();
        let receipt = push(&registry, &image, &[&name]).unwrap();
        let config = image.encode_config().unwrap().descriptor.size;
        assert_eq!(receipt.sent, 100 + 3 + config, "{}", fake.log());
        assert_eq!((receipt.existed, receipt.mounted), (1, 0));
        assert_eq!(fake.blob("app", &lost).as_ref(), Some(&contents[1]));
        assert_eq!(fake.count("PUT", "manifests"), 2);
        // The two that were believed to be there are looked for, and the one that was sent is not.
        assert_eq!(fake.count("HEAD", "blobs"), 3, "{}", fake.log());
    }
    // A refusal for another reason is told as it is, and soon.
    let fake = FakeRegistry::start();
    stock(&fake, "app", "t", &[b"x"]);
    let registry = registry();
    let name = format!("{}/app:t", fake.address());
    let image = pull(&registry, &name).unwrap();
    let invalid = br#"{"errors":[{"code":"MANIFEST_INVALID","message":"no"}]}"#;
    fake.rule(
        "PUT",
        "manifests",
        9,
        Action::Answer(400, Vec::new(), invalid.to_vec()),
    );
    let error = push(&registry, &image, &[&name]).unwrap_err();
    assert!(crate::samples::chain(&error).contains("MANIFEST_INVALID"));
    assert_eq!(fake.count("PUT", "manifests"), 2);
}

/// The manifest of a mirror says what the mirror has.
#[test]
fn what_a_mirror_has_the_origin_may_not_have() {
    let (mirror, origin) = (FakeRegistry::start(), FakeRegistry::start());
    stock(&mirror, "a", "t", &[b"x"]);
    let registry = Registry::new(Settings {
        mirrors: vec![lifecycle_registry::Mirrors {
            of: origin.address().to_owned(),
            at: vec![mirror.address().to_owned()],
            fallback: true,
        }],
        ..settings().0
    })
    .unwrap();
    let name = format!("{}/a:t", origin.address());
    let image = pull(&registry, &name).unwrap();
    assert_eq!(origin.seen().len(), 0);
    let receipt = push(&registry, &image, &[&name]).unwrap();
    assert_eq!(receipt.existed, 0);
    let digest = image.layers()[0].descriptor().unwrap().digest;
    assert_eq!(origin.blob("a", &digest).as_deref(), Some(&b"x"[..]));
}
