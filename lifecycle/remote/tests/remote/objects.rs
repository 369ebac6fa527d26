//! Objects of stores (platforms.md SB-05, SB-06).

use std::io::{Read as _, Write as _};

use lifecycle_registry::{Registry, Secret, Settings};
use lifecycle_remote::{GitSettings, Object, Remote, StoreSettings};

use crate::file_server::{Action, FileServer};

fn remote(variables: &[(&str, &str)]) -> Remote {
    let variables = variables
        .iter()
        .map(|(name, value)| ((*name).to_owned(), Secret::new(*value)));
    let stores = StoreSettings {
        variables: variables.collect(),
        profile: None,
    };
    Remote::new(
        Registry::new(Settings::default()).unwrap().web(),
        GitSettings::default(),
        stores,
    )
}

fn object(text: &str) -> Object {
    Object::parse(text).unwrap().unwrap()
}

/// Puts so many bytes, gets them back, and looks where they are.
fn there_and_back(server: &FileServer, remote: &Remote, address: &str, path: &str, size: usize) {
    let content: Vec<u8> = (0..size)
        .map(|number| u8::try_from(number * 7 % 251).unwrap())
        .collect();
    let mut from = tempfile::tempfile().unwrap();
    from.write_all(&content).unwrap();
    remote.put(&from, &object(address)).unwrap();
    assert!(
        server.kept(path).is_some_and(|kept| kept == content),
        "{address} {size}"
    );
    let mut into = tempfile::tempfile().unwrap();
    into.write_all(b"old").unwrap();
    let download = remote.get(&object(address), size as u64, &mut into).unwrap();
    let mut back = Vec::new();
    into.read_to_end(&mut back).unwrap();
    assert!(
        back == content && download.size == size as u64,
        "{address} {size}"
    );
}

const S3: [(&str, &str); 3] = [
    ("AWS_ACCESS_KEY_ID", "key-id"),
    ("AWS_SECRET_ACCESS_KEY", "s3cret-key"),
    ("AWS_REGION", "eu-test-1"),
];

#[test]
fn s3_and_what_speaks_like_it_sb_06() {
    let server = FileServer::start();
    let endpoint = server.url("");
    let remote = remote(
        &[
            &S3[..],
            &[("S3_ENDPOINT", &endpoint), ("AWS_SESSION_TOKEN", "t0ken")],
        ]
        .concat(),
    );
    there_and_back(
        &server,
        &remote,
        "s3://bucket/a/slug.tgz",
        "/bucket/a/slug.tgz",
        1000,
    );
    there_and_back(&server, &remote, "s3://bucket/empty", "/bucket/empty", 0);
    // In parts, one of which is refused at first.
    server.once("PUT /bucket/large?partNumber=2", Action::Answer(503, Vec::new()));
    there_and_back(&server, &remote, "s3://bucket/large", "/bucket/large", 20 << 20);
    let seen = server.seen();
    assert!(
        seen.iter()
            .filter(|seen| seen.target.contains("partNumber"))
            .count()
            >= 4
    );
    for seen in &seen {
        let header = |name: &str| seen.headers.get(name).map(String::as_str).unwrap_or_default();
        let authorization = header("authorization");
        assert!(
            authorization.starts_with("AWS4-HMAC-SHA256 Credential=key-id/"),
            "{authorization}"
        );
        assert!(
            authorization.contains("/eu-test-1/s3/aws4_request"),
            "{authorization}"
        );
        // What is sent is signed with its own digest.
        assert_eq!(header("x-amz-content-sha256").len(), 64, "{seen:?}");
        assert_eq!(header("x-amz-security-token"), "t0ken");
        assert!(!format!("{seen:?}").contains("s3cret-key"));
    }
}

#[test]
fn a_missing_object_a_refusal_and_a_limit_are_told_apart_sb_06() {
    let server = FileServer::start();
    let endpoint = server.url("");
    let remote = remote(&[&S3[..], &[("AWS_ENDPOINT_URL", &endpoint)]].concat());
    let mut into = tempfile::tempfile().unwrap();
    let mut get = |key: &str, limit| {
        let error = remote
            .get(&object(&format!("s3://bucket/{key}")), limit, &mut into)
            .unwrap_err();
        (error.is_not_found(), format!("{error:?}"))
    };
    let (is_not_found, text) = get("missing", 10);
    assert!(is_not_found && text.contains("s3://bucket/missing"), "{text}");
    server.keep("/bucket/large", "more than that", &[]);
    assert!(get("large", 10).1.contains("TooLarge"));
    server.once("GET /bucket/large", Action::Answer(403, Vec::new()));
    let (is_not_found, text) = get("large", 100);
    assert!(
        !is_not_found && text.contains("403") && !text.contains("s3cret-key"),
        "{text}"
    );
}

#[test]
fn virtual_hosts_are_used_when_asked_for_sb_06() {
    let server = FileServer::start();
    // `localhost` and everything below it is this machine.
    let port = server.address().rsplit_once(':').unwrap().1.to_owned();
    let endpoint = format!("http://bucket.localhost:{port}");
    let style = ("AWS_VIRTUAL_HOSTED_STYLE_REQUEST", "true");
    let remote = remote(&[&S3[..], &[("AWS_ENDPOINT_URL", &endpoint), style]].concat());
    there_and_back(&server, &remote, "s3://bucket/key", "/key", 10);
    assert!(
        server
            .seen()
            .iter()
            .all(|seen| seen.headers["host"].starts_with("bucket.localhost"))
    );
}

#[test]
fn google_cloud_storage_sb_06() {
    let server = FileServer::start();
    let key = format!(
        r#"{{"gcs_base_url":"{}","disable_oauth":true,"client_email":"","private_key":"","private_key_id":""}}"#,
        server.url("")
    );
    let remote = remote(&[("GOOGLE_SERVICE_ACCOUNT_KEY", &key)]);
    there_and_back(&server, &remote, "gs://bucket/a/key", "/bucket/a/key", 1000);
    there_and_back(&server, &remote, "gs://bucket/large", "/bucket/large", 9 << 20);
}

#[test]
fn azure_blobs_sb_06() {
    let server = FileServer::start();
    let endpoint = server.url("/account");
    let remote = remote(&[
        ("AZURE_STORAGE_ACCOUNT_NAME", "account"),
        ("AZURE_STORAGE_ACCESS_KEY", "c2VjcmV0"),
        ("AZURE_STORAGE_ENDPOINT", &endpoint),
    ]);
    there_and_back(
        &server,
        &remote,
        "az://container/a/key",
        "/account/container/a/key",
        1000,
    );
    there_and_back(
        &server,
        &remote,
        "az://container/large",
        "/account/container/large",
        9 << 20,
    );
    assert!(
        server
            .seen()
            .iter()
            .all(|seen| seen.headers["authorization"].starts_with("SharedKey account:"))
    );
}
