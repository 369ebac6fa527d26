//! What a hostile registry, image or network must not get: kaniko.md 5.4.

use std::collections::BTreeMap;
use std::sync::Arc;

use lifecycle_image::{Descriptor, Digest, Image, Layer, Manifest, MediaType, Source, TransferErrorKind};
use lifecycle_registry::{Credential, Keychain, Registry, Secret, Settings};

use crate::fake_registry::{Action, Auth, FakeRegistry, Options, Tokens};
use crate::samples::{
    Making, MakingLayer, chain, image, image_of, noise, pull, push, read_layer, reference, registry,
    settings, stock,
};

const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// A registry that knows a user, and somebody who is that user.
fn guarded(change: impl FnOnce(&mut Tokens)) -> (FakeRegistry, Registry) {
    let fake = FakeRegistry::start();
    let mut tokens = Tokens {
        user: Some(("me".to_owned(), "hunter22".to_owned())),
        anonymous: true,
        lifetime: 300,
        ..Tokens::default()
    };
    change(&mut tokens);
    fake.change(|options| options.auth = Auth::Token(tokens));
    let credential = Credential::Basic {
        username: "me".to_owned(),
        password: Secret::new("hunter22"),
    };
    let keychain = Keychain::default().with_credential("the test", fake.address(), credential);
    let (settings, _) = settings();
    (fake, Registry::new(Settings { keychain, ..settings }).unwrap())
}

/// The same port under another name: another host as far as credentials go.
fn alias(fake: &FakeRegistry) -> String {
    fake.address().replace("127.0.0.1", "localhost")
}

fn no_secret_reached(fake: &FakeRegistry) {
    for seen in fake.seen() {
        assert!(
            !seen.headers.contains_key("authorization"),
            "{} {}",
            seen.method,
            seen.target
        );
        assert!(!String::from_utf8_lossy(&seen.body).contains("hunter22"));
    }
}

#[test]
fn blobs_on_another_host_get_no_authorization() {
    let (fake, registry) = guarded(|_| {});
    let storage = FakeRegistry::start();
    let content = noise(1, 10_000);
    let image = stock(&fake, "a", "t", &[&content]);
    let digest = image.layers()[0].descriptor().unwrap().digest;
    storage.put_blob("s", &content);
    let elsewhere = format!("http://{}/v2/s/blobs/{digest}?signature=s3cret", alias(&storage));
    // The challenge comes first: the rule would hide it.
    let pulled = pull(&registry, &format!("{}/a:t", fake.address())).unwrap();
    for status in [301, 302, 303, 307, 308] {
        let redirect = Action::Answer(status, vec![("Location", elsewhere.clone())], Vec::new());
        fake.rule("GET", digest.as_str(), 1, redirect);
        assert_eq!(read_layer(&pulled, 0).unwrap(), content, "{status}");
    }
    assert_eq!(storage.count("GET", digest.as_str()), 5);
    no_secret_reached(&storage);
    let redirect = Action::Answer(307, vec![("Location", elsewhere)], Vec::new());
    fake.rule("GET", digest.as_str(), 1000, redirect);
    assert!(
        fake.seen()
            .iter()
            .any(|seen| seen.headers.contains_key("authorization"))
    );
    // What storage says about a broken address does not show its signature.
    storage.rule(
        "GET",
        "/v2/s",
        1000,
        Action::Answer(403, Vec::new(), b"<Error/>".to_vec()),
    );
    let error = read_layer(&pulled, 0).unwrap_err();
    assert!(!chain(&error).contains("s3cret"), "{}", chain(&error));
}

#[test]
fn redirects_end() {
    let fake = FakeRegistry::start();
    let to = |text: &str| Action::Answer(302, vec![("Location", text.to_owned())], Vec::new());
    let name = format!("{}/a:t", fake.address());
    fake.rule("GET", "manifests", 9, to("/v2/a/manifests/t"));
    let error = pull(&registry(), &name).unwrap_err();
    assert!(
        chain(&error).contains("redirects more than 8 times"),
        "{}",
        chain(&error)
    );
    for target in ["file:///etc/passwd", "http://u:p@elsewhere.test/", "http://["] {
        fake.rule("GET", "manifests", 1, to(target));
        let error = pull(&registry(), &name).unwrap_err();
        assert_eq!(
            error.kind,
            TransferErrorKind::Corrupt,
            "{target}: {}",
            chain(&error)
        );
    }
}

/// What a machine's cloud tells it is for the machine, and never for an image (kaniko.md 5.2, SSRF).
#[test]
fn nobody_leads_to_the_metadata_of_a_cloud_kaniko_5_2() {
    let fake = FakeRegistry::start();
    let name = format!("{}/a:t", fake.address());
    stock(&fake, "a", "t", &[b"layer"]);
    let pulled = pull(&registry(), &name).unwrap();
    for target in [
        "http://169.254.169.254/latest/meta-data/iam",
        "http://2852039166/",
        "http://0xa9.0xfe.0xa9.0xfe/",
        "http://[fe80::a9fe:a9fe]/",
        "http://[::ffff:169.254.169.254]/computeMetadata/v1/",
        "https://169.254.170.2/v2/credentials",
    ] {
        let to = || Action::Answer(307, vec![("Location", target.to_owned())], Vec::new());
        fake.rule("GET", "manifests", 1, to());
        let error = pull(&registry(), &name).unwrap_err();
        assert!(
            chain(&error).contains("where clouds tell"),
            "{target}: {}",
            chain(&error)
        );
        fake.rule("GET", "blobs", 1, to());
        let error = read_layer(&pulled, 0).unwrap_err();
        assert!(
            chain(&error).contains("where clouds tell"),
            "{target}: {}",
            chain(&error)
        );
    }
}

#[test]
fn upload_locations_on_another_host_get_no_authorization() {
    let (fake, registry) = guarded(|_| {});
    let storage = FakeRegistry::start();
    // The session lives at the other host under the same path.
    let session = format!("http://{}/v2/a/blobs/uploads/session-1", alias(&storage));
    fake.rule("POST", "uploads", 1000, Action::Header("Location", session));
    for _ in 0..2 {
        storage.rule("PUT", "uploads", 1, Action::Answer(201, Vec::new(), Vec::new()));
    }
    let name = format!("{}/a:t", fake.address());
    push(&registry, &image(&[b"x"]), &[&name]).unwrap();
    assert_eq!(storage.count("PUT", "uploads"), 2, "{}", storage.log());
    no_secret_reached(&storage);
}

#[test]
fn a_token_server_elsewhere_needs_tls_o_1004() {
    // Another registry's challenge names a server without TLS on a host that nobody allowed.
    let (fake, registry) = guarded(|tokens| tokens.realm = Some("http://auth.evil.test/token".to_owned()));
    let error = pull(&registry, &format!("{}/a:t", fake.address())).unwrap_err();
    assert_eq!(error.kind, TransferErrorKind::Unauthorized);
    assert!(
        chain(&error).contains("auth.evil.test has no TLS"),
        "{}",
        chain(&error)
    );
    for realm in ["ftp://auth.test/", "https://me@auth.test/token"] {
        let (fake, registry) = guarded(|tokens| tokens.realm = Some(realm.to_owned()));
        let error = pull(&registry, &format!("{}/a:t", fake.address())).unwrap_err();
        assert_eq!(error.kind, TransferErrorKind::Unauthorized, "{}", chain(&error));
    }
}

#[test]
fn redirects_of_a_token_server_are_not_followed_o_1004() {
    let (fake, registry) = guarded(|_| {});
    let thief = FakeRegistry::start();
    let elsewhere = format!("http://{}/token", alias(&thief));
    fake.rule(
        "GET",
        "/token",
        1000,
        Action::Answer(307, vec![("Location", elsewhere)], Vec::new()),
    );
    let error = pull(&registry, &format!("{}/a:t", fake.address())).unwrap_err();
    assert!(chain(&error).contains("307"), "{}", chain(&error));
    assert_eq!(thief.seen().len(), 0);
}

#[test]
fn credentials_do_not_go_to_look_alikes_o_1004() {
    let (fake, _) = guarded(|_| {});
    let (settings, _) = settings();
    let credential = Credential::Basic {
        username: "me".to_owned(),
        password: Secret::new("hunter22"),
    };
    // Known for the name, not for the address; for another port; for a longer path.
    let port: u16 = fake.address().rsplit_once(':').unwrap().1.parse().unwrap();
    for registry in [
        alias(&fake),
        format!("127.0.0.1:{}", port ^ 1),
        format!("{}/a/b", fake.address()),
    ] {
        let keychain = Keychain::default()
            .with_file_text(
                "f",
                &serde_json::json!({"auths": {registry: {"auth": "bWU6aHVudGVyMjI="}}}).to_string(),
            )
            .unwrap()
            .with_credential("other", "r.test", credential.clone());
        let registry = Registry::new(Settings {
            keychain,
            ..settings.clone()
        })
        .unwrap();
        drop(pull(&registry, &format!("{}/a:t", fake.address())));
        let basic = |seen: &crate::fake_registry::Seen| {
            seen.headers
                .get("authorization")
                .is_some_and(|header| header.starts_with("Basic"))
        };
        assert!(!fake.seen().iter().any(basic), "{}", fake.log());
    }
}

#[test]
fn foreign_layers_are_fetched_without_credentials_cve_2020_15157() {
    let (fake, registry) = guarded(|_| {});
    let elsewhere = FakeRegistry::start();
    let content = noise(2, 5000);
    let digest = elsewhere.put_blob("s", &content);
    let kind = MediaType::new("application/vnd.docker.image.rootfs.foreign.diff.tar");
    let write = |url: String, kind: &MediaType, tag: &str| {
        let image = image(&[&content]);
        let config = image.encode_config().unwrap();
        fake.put_blob("a", &config.bytes);
        let layer = Descriptor {
            urls: vec![url],
            ..Descriptor::of(kind.clone(), &content)
        };
        let manifest = Manifest {
            schema_version: 2,
            media_type: Some(MediaType::new(OCI_MANIFEST)),
            artifact_type: None,
            config: config.descriptor,
            layers: vec![layer],
            subject: None,
            annotations: BTreeMap::new(),
        };
        let document = manifest.encode().unwrap();
        fake.put_manifest("a", tag, OCI_MANIFEST, &document.bytes);
    };
    write(
        format!("http://{}/v2/s/blobs/{digest}", elsewhere.address()),
        &kind,
        "t",
    );
    let pulled = pull(&registry, &format!("{}/a:t", fake.address())).unwrap();
    assert_eq!(read_layer(&pulled, 0).unwrap(), content);
    no_secret_reached(&elsewhere);
    // Even when the address is that of the registry itself.
    fake.put_blob("private", &content);
    write(
        format!("http://{}/v2/private/blobs/{digest}", fake.address()),
        &kind,
        "u",
    );
    let pulled = pull(&registry, &format!("{}/a:u", fake.address())).unwrap();
    assert!(read_layer(&pulled, 0).is_err());
    let sent = |seen: &&crate::fake_registry::Seen| seen.target.contains("private");
    assert!(
        fake.seen()
            .iter()
            .filter(sent)
            .all(|seen| !seen.headers.contains_key("authorization"))
    );
    // Without TLS nothing is fetched from afar, and ordinary layers are never fetched from elsewhere.
    write("http://far.test/blob".to_owned(), &kind, "v");
    let pulled = pull(&registry, &format!("{}/a:v", fake.address())).unwrap();
    let error = read_layer(&pulled, 0).unwrap_err();
    assert!(chain(&error).contains("has to have TLS"), "{}", chain(&error));
    elsewhere.forget();
    let plain = MediaType::new("application/vnd.oci.image.layer.v1.tar");
    write(
        format!("http://{}/v2/s/blobs/{digest}", elsewhere.address()),
        &plain,
        "w",
    );
    let pulled = pull(&registry, &format!("{}/a:w", fake.address())).unwrap();
    assert!(read_layer(&pulled, 0).is_err());
    assert_eq!(elsewhere.seen().len(), 0);
}

#[test]
fn documents_with_two_meanings_are_refused_cve_2021_41190() {
    let fake = FakeRegistry::start();
    let config = Descriptor::of(MediaType::new("application/vnd.oci.image.config.v1+json"), b"{}");
    let both =
        serde_json::json!({"schemaVersion": 2, "config": config, "layers": [], "manifests": []}).to_string();
    let index = "application/vnd.oci.image.index.v1+json";
    for (tag, kind) in [("m", OCI_MANIFEST), ("i", index)] {
        fake.put_manifest("a", tag, kind, both.as_bytes());
        let error = registry()
            .artifact(&reference(&format!("{}/a:{tag}", fake.address())))
            .unwrap_err();
        assert_eq!(error.kind, TransferErrorKind::Corrupt);
    }
    // Delivered as one thing, saying it is another.
    let list = serde_json::json!({"schemaVersion": 2, "mediaType": index, "config": config, "layers": []})
        .to_string();
    fake.put_manifest("a", "x", OCI_MANIFEST, list.as_bytes());
    let error = registry()
        .artifact(&reference(&format!("{}/a:x", fake.address())))
        .unwrap_err();
    assert!(chain(&error).contains("was delivered as"), "{}", chain(&error));
}

#[test]
fn digests_that_are_none_are_refused_cve_2024_3727() {
    let fake = FakeRegistry::start();
    let kind = "application/vnd.oci.image.config.v1+json";
    for digest in [
        "sha256:../../x",
        "sha256:12",
        "md5:d41d8cd98f00b204e9800998ecf8427e",
        "../x",
    ] {
        let config = serde_json::json!({"mediaType": kind, "digest": digest, "size": 2});
        let manifest = serde_json::json!({"schemaVersion": 2, "config": config, "layers": []}).to_string();
        fake.put_manifest("a", "t", OCI_MANIFEST, manifest.as_bytes());
        let error = pull(&registry(), &format!("{}/a:t", fake.address())).unwrap_err();
        assert_eq!(error.kind, TransferErrorKind::Corrupt, "{digest}");
    }
    assert_eq!(fake.count("GET", "blobs"), 0);
}

#[test]
fn content_that_is_not_what_was_promised_is_refused_blob_integrity() {
    let fake = FakeRegistry::start();
    let content = noise(3, 100_000);
    let image = stock(&fake, "a", "t", &[&content]);
    let layer = image.layers()[0].descriptor().unwrap().digest;
    let config = image.encode_config().unwrap().descriptor.digest;
    let name = format!("{}/a:t", fake.address());
    let by_digest = format!("{}/a@{}", fake.address(), image.digest().unwrap());
    let refused = |what: &str, result: Result<Image, lifecycle_image::TransferError>| {
        let error = result.map(drop).unwrap_err();
        assert_eq!(
            error.kind,
            TransferErrorKind::Corrupt,
            "{what}: {}",
            chain(&error)
        );
    };
    // Manifests: another byte, by digest and by tag; another digest in the header.
    for name in [&name, &by_digest] {
        fake.rule("GET", "manifests", 1, Action::FlipByte);
        refused("manifest", pull(&registry(), name));
    }
    let other = Digest::of(b"other").to_string();
    fake.rule(
        "GET",
        "manifests",
        1,
        Action::Header("Docker-Content-Digest", other),
    );
    refused("header", pull(&registry(), &name));
    // Configurations: another byte, more than promised.
    for action in [Action::FlipByte, Action::Append(1)] {
        fake.rule("GET", config.as_str(), 1, action);
        refused("configuration", pull(&registry(), &name));
    }
    // Layers: another byte, more, and less that looks complete.
    let pulled = pull(&registry(), &name).unwrap();
    for action in [
        Action::FlipByte,
        Action::Append(1000),
        Action::Answer(200, Vec::new(), content[..50_000].to_vec()),
        Action::Answer(206, Vec::new(), content.clone()),
    ] {
        fake.rule("GET", layer.as_str(), 1, action);
        let error = read_layer(&pulled, 0).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidData, "{}", chain(&error));
    }
    assert_eq!(read_layer(&pulled, 0).unwrap(), content);
    // A registry that says it stored something else.
    fake.rule(
        "PUT",
        "manifests",
        1,
        Action::Header("Docker-Content-Digest", Digest::of(b"z").to_string()),
    );
    let error = push(&registry(), &image, &[&name]).unwrap_err();
    assert_eq!(error.kind, TransferErrorKind::Corrupt);
}

#[test]
fn answers_without_end_are_not_read_to_their_end() {
    let fake = FakeRegistry::start();
    fake.put_manifest("a", "t", OCI_MANIFEST, &vec![b' '; 5 * 1024 * 1024]);
    let error = pull(&registry(), &format!("{}/a:t", fake.address())).unwrap_err();
    assert!(
        chain(&error).contains("larger than 4194304 bytes"),
        "{}",
        chain(&error)
    );
    // An error page of any size is an error.
    fake.rule(
        "GET",
        "manifests",
        1,
        Action::Answer(404, Vec::new(), vec![b'x'; 10_000_000]),
    );
    let error = pull(&registry(), &format!("{}/a:t", fake.address())).unwrap_err();
    assert_eq!(error.kind, TransferErrorKind::NotFound);
    assert!(chain(&error).len() < 1000);
}

#[test]
fn what_a_registry_repeats_of_our_secrets_is_not_shown() {
    let (fake, registry) = guarded(|_| {});
    let echo = br#"{"errors":[{"code":"DENIED","message":"me:hunter22 and token-1 are not enough"}]}"#;
    fake.rule_after(
        1,
        "GET",
        "manifests",
        1,
        Action::Answer(403, Vec::new(), echo.to_vec()),
    );
    let error = pull(&registry, &format!("{}/a:t", fake.address())).unwrap_err();
    let text = format!("{} {error:?}", chain(&error));
    assert!(!text.contains("hunter22") && !text.contains("token-1"), "{text}");
    assert!(text.contains("me:*** and *** are not enough"), "{text}");
    let debug = format!("{registry:?} {:?}", settings().0);
    assert!(!debug.contains("hunter22"));
}

#[test]
fn a_location_without_sense_is_an_error() {
    for location in ["", "http://[", "ftp://x/"] {
        let fake = FakeRegistry::start();
        fake.rule(
            "POST",
            "uploads",
            1000,
            Action::Header("Location", location.to_owned()),
        );
        let result = push(
            &registry(),
            &image(&[b"x"]),
            &[&format!("{}/a:t", fake.address())],
        );
        assert!(result.is_err(), "{location}");
    }
    let fake = FakeRegistry::start_with(Options::default());
    fake.rule(
        "POST",
        "uploads",
        1000,
        Action::Answer(202, Vec::new(), Vec::new()),
    );
    let error = push(
        &registry(),
        &image(&[b"x"]),
        &[&format!("{}/a:t", fake.address())],
    )
    .unwrap_err();
    assert!(chain(&error).contains("no Location"), "{}", chain(&error));
}

#[test]
fn dropping_an_upload_names_nothing() {
    let fake = FakeRegistry::start();
    let making = Arc::new(Making::default());
    let made: Arc<dyn Layer> = Arc::new(MakingLayer(Arc::clone(&making)));
    let registry = registry();
    let name = reference(&format!("{}/a:t", fake.address()));
    let mut upload = lifecycle_image::Sink::begin(&registry, &[name]).unwrap();
    upload.layer(Arc::clone(&made));
    drop(upload);
    making.finish();
    drop(image_of(&[made]));
    assert!(fake.tags("a").is_empty());
}
