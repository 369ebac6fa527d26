//! A daemon as source and sink, against a small fake of its interface that can be told to be difficult.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "tests")]

#[path = "../../../tests/support/executable.rs"]
#[expect(dead_code, reason = "shared with tests that copy programs")]
mod executable;
mod fake;
mod remote;

use std::io::Read as _;
use std::sync::Arc;

use lifecycle_daemon::{Address, Daemon, DaemonError};
use lifecycle_image::{
    Artifact, BytesLayer, Compression, DiffId, Digest, Family, History, Image, ImageConfig, Layer, MediaType,
    Platform, Reference, Sink as _, Source as _, TransferErrorKind, mutate,
};

use fake::{FakeDaemon, Manner};

fn reference(name: &str) -> Reference {
    name.parse().unwrap()
}

fn layer(content: &str) -> Arc<dyn Layer> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    tar.append_data(&mut header, "file", content.as_bytes()).unwrap();
    let bytes = tar.into_inner().unwrap();
    let diff_id = DiffId(Digest::of(&bytes));
    Arc::new(BytesLayer::new(
        MediaType::layer(Family::Oci, Compression::None),
        bytes,
        diff_id,
    ))
}

fn image(layers: &[&str]) -> Image {
    let image = layers
        .iter()
        .fold(Image::empty(&Platform::linux("amd64")), |image, content| {
            let line = History {
                created_by: Some(format!("made {content}")),
                created: Some("1980-01-01T00:00:01Z".to_owned()),
                ..History::default()
            };
            mutate::append(image, layer(content), line)
        });
    mutate::configure(image, |config| {
        config.variant = Some("v2".to_owned());
        config.author = Some("me".to_owned());
        config.config.user = Some("1000".to_owned());
        config.config.set_env("PATH", "/bin:a=b");
        config.set_label("key", "value");
    })
}

fn write(daemon: &Daemon, image: &Image, names: &[&str]) -> lifecycle_image::Receipt {
    let names: Vec<_> = names.iter().map(|name| reference(name)).collect();
    daemon.begin(&names).unwrap().finish(image).unwrap()
}

fn read(daemon: &Daemon, name: &str) -> Image {
    match daemon.artifact(&reference(name)).unwrap() {
        Artifact::Image(image) => *image,
        Artifact::Index(_) => panic!("an index"),
    }
}

fn as_written(image: &Image) -> ImageConfig {
    serde_json::from_slice(&image.encode_config().unwrap().bytes).unwrap()
}

fn content(layer: &Arc<dyn Layer>) -> Vec<u8> {
    let mut bytes = Vec::new();
    layer.open(0).unwrap().read_to_end(&mut bytes).unwrap();
    bytes
}

#[test]
fn an_image_comes_back_as_it_went() {
    let fake = FakeDaemon::start(Manner::default());
    let daemon = fake.connect();
    let written = image(&["one", "two"]);
    let receipt = write(&daemon, &written, &["example.test/app:1", "busybox"]);
    assert_eq!(fake.tags(), ["busybox:latest", "example.test/app:1"]);
    let id = daemon.id(&written).unwrap();
    assert_eq!((receipt.digest.hex(), receipt.existed), (&*id, 0));

    // Another process, which has not seen the image.
    let daemon = fake.connect();
    let found = read(&daemon, "example.test/app:1");
    assert_eq!(daemon.id(&found).unwrap(), id);
    let (old, new) = (as_written(&written), found.config());
    assert_eq!(new.config, old.config);
    assert_eq!((&new.rootfs, &new.history), (&old.rootfs, &old.history));
    assert_eq!((&new.variant, &new.author), (&old.variant, &old.author));
    let by_id = format!("sha256:{id}").parse().unwrap();
    assert_eq!(daemon.member(&reference("x"), &by_id).unwrap().config(), new);

    // A layer's bytes are to be had, and the image is saved once for all of them.
    for (old, new) in written.layers().iter().zip(found.layers()) {
        assert_eq!(content(new), content(old));
        assert_eq!(new.descriptor().unwrap().size, old.descriptor().unwrap().size);
    }
    assert_eq!(fake.count("/get"), 1);
}

#[test]
fn layers_that_the_daemon_has_are_not_sent_again_1_7() {
    let fake = FakeDaemon::start(Manner::default());
    write(&fake.connect(), &image(&["base", "old"]), &["base"]);
    let daemon = fake.connect();
    let base = read(&daemon, "base");
    let app = mutate::append(base, layer("app"), History::default());
    let receipt = write(&daemon, &app, &["app"]);
    assert_eq!(receipt.existed, 2);
    assert_eq!(receipt.sent, app.layers()[2].descriptor().unwrap().size);
    assert_eq!(fake.count("/get"), 0);
    // Above a layer that is new, the same layer is another one.
    let upper = mutate::append(
        mutate::append(image(&["base"]), layer("new"), History::default()),
        layer("old"),
        History::default(),
    );
    assert_eq!(write(&daemon, &upper, &["upper"]).existed, 1);
}

#[test]
fn daemons_that_want_everything_get_everything() {
    let fake = FakeDaemon::start(Manner {
        wants_all: true,
        ..Manner::default()
    });
    write(&fake.connect(), &image(&["base"]), &["base"]);
    let daemon = fake.connect();
    let app = mutate::append(read(&daemon, "base"), layer("app"), History::default());
    let receipt = write(&daemon, &app, &["app"]);
    assert_eq!(
        (receipt.existed, fake.count("/load"), fake.count("/get")),
        (0, 3, 1)
    );
    assert_eq!(read(&daemon, "app").config().rootfs, as_written(&app).rootfs);
}

#[test]
fn refusals_say_what_the_daemon_said() {
    let fake = FakeDaemon::start(Manner {
        full: true,
        ..Manner::default()
    });
    let daemon = fake.connect();
    let error = daemon
        .begin(&[reference("app")])
        .unwrap()
        .finish(&image(&["x"]))
        .unwrap_err();
    assert!(error.message.contains("no space left on device"), "{error}");
    let missing = daemon.artifact(&reference("gone")).unwrap_err();
    assert_eq!(missing.kind, TransferErrorKind::NotFound);
    let by_digest = format!("app@{}", Digest::of(b"x"));
    assert!(daemon.begin(&[reference(&by_digest)]).is_err());
    assert!(
        daemon
            .begin(&[reference("a")])
            .unwrap()
            .member(&image(&["x"]))
            .is_err()
    );
}

#[test]
fn a_connection_that_was_closed_meanwhile_is_made_again() {
    let fake = FakeDaemon::start(Manner {
        closes: true,
        ..Manner::default()
    });
    let daemon = fake.connect();
    // What was sent into a connection cannot be taken back, so its end has to have arrived.
    fake.wait_until_closed();
    write(&daemon, &image(&["x"]), &["app"]);
    for _ in 0..3 {
        read(&daemon, "app");
    }
}

#[test]
fn what_is_no_daemon_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let address = Address::Unix(directory.path().join("none"));
    let error = Daemon::connect(&address, None, directory.path()).unwrap_err();
    assert!(matches!(error, DaemonError::Unreachable { .. }), "{error}");
    let fake = FakeDaemon::start(Manner::default());
    let error = Daemon::connect(&fake.address(), Some("9.9"), directory.path());
    assert!(error.is_ok(), "a ping has no version");
}
