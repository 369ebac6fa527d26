//! Objects of stores (platforms.md SB-05, SB-06).

use std::io::{Read as _, Write as _};

use base64::Engine as _;
use lifecycle_registry::{Registry, Secret, Settings};
use lifecycle_remote::{GitSettings, Object, Remote, StoreSettings};

use crate::file_server::{Action, FileServer, Signer};

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

fn signer(token: Option<&'static str>) -> Signer {
    Signer::S3 {
        key_id: "key-id",
        secret: "s3cret-key",
        region: "eu-test-1",
        token,
    }
}

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
    server.require_signed("/", signer(Some("t0ken")));
    there_and_back(
        &server,
        &remote,
        "s3://bucket/a/slug.tgz",
        "/bucket/a/slug.tgz",
        1000,
    );
    there_and_back(&server, &remote, "s3://bucket/empty", "/bucket/empty", 0);
    // A key with letters that are written otherwise in an address.
    there_and_back(
        &server,
        &remote,
        "s3://bucket/home/app:git/a b+c=d~%C3%A9",
        "/bucket/home/app%3Agit/a%20b%2Bc%3Dd~%C3%A9",
        10,
    );
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
    // The server has computed every signature again.
    assert_eq!(server.forged(), [] as [&str; 0]);
    assert!(!format!("{seen:?}").contains("s3cret-key"));
}

/// Somebody else's key, region, session or bucket is refused: what lets the others in is their signature alone.
#[test]
fn a_store_refuses_who_signs_as_somebody_else_sb_06() {
    let server = FileServer::start();
    let endpoint = server.url("");
    server.keep("/bucket/key", "secret", &[]);
    server.require_signed("/", signer(None));
    let refused = |name: &str, value: &str, reason: &str| {
        let mut settings = [&S3[..], &[("S3_ENDPOINT", &endpoint)]].concat();
        settings.retain(|(own, _)| *own != name);
        settings.push((name, value));
        let mut into = tempfile::tempfile().unwrap();
        let error = remote(&settings)
            .get(&object("s3://bucket/key"), 100, &mut into)
            .unwrap_err();
        let text = format!("{error:?}");
        assert!(text.contains("403") && !text.contains(value), "{name}: {text}");
        assert!(
            server.forged().last().unwrap().contains(reason),
            "{name}: {:?}",
            server.forged()
        );
        assert_eq!(into.metadata().unwrap().len(), 0);
    };
    refused(
        "AWS_SECRET_ACCESS_KEY",
        "an0ther-key",
        "the signature is not that of",
    );
    refused("AWS_ACCESS_KEY_ID", "an0ther-id", "does not begin with");
    refused("AWS_REGION", "us-else-2", "does not begin with");
    refused("AWS_SESSION_TOKEN", "an0ther-token", "another session");
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
    server.require_signed("/", signer(None));
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

/// Where a platform hands out tokens and no keys: the token is exchanged for a key that is good for a while.
#[test]
fn a_token_of_the_platform_stands_for_a_key_sb_06() {
    let server = FileServer::start();
    server.require_signed("/bucket/", signer(Some("t0ken")));
    let credentials = "<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials>\
        <SessionToken>t0ken</SessionToken><SecretAccessKey>s3cret-key</SecretAccessKey><AccessKeyId>key-id</AccessKeyId>\
        <Expiration>2999-01-01T00:00:00Z</Expiration>\
        </Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>";
    server.keep("/sts", credentials, &[]);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("token");
    std::fs::write(&file, "statement.of.the-platform").unwrap();
    let settings = [
        ("AWS_WEB_IDENTITY_TOKEN_FILE", file.to_str().unwrap()),
        ("AWS_ROLE_ARN", "arn:aws:iam::1:role/slugs"),
        ("AWS_ENDPOINT_URL_STS", &server.url("/sts")),
        ("AWS_REGION", "eu-test-1"),
        ("S3_ENDPOINT", &server.url("")),
    ];
    there_and_back(
        &server,
        &remote(&settings),
        "s3://bucket/key",
        "/bucket/key",
        1000,
    );
    assert_eq!(server.forged(), [] as [&str; 0]);
    let seen = server.seen();
    let asked = seen.iter().find(|seen| seen.target.starts_with("/sts?")).unwrap();
    for part in [
        "Action=AssumeRoleWithWebIdentity",
        "WebIdentityToken=statement.of.the-platform",
        "role%2Fslugs",
    ] {
        assert!(asked.target.contains(part), "{}", asked.target);
    }
    // A token that is refused is not shown.
    server.once("POST /sts", Action::Answer(403, Vec::new()));
    let mut into = tempfile::tempfile().unwrap();
    let error = remote(&settings)
        .get(&object("s3://bucket/key"), 1000, &mut into)
        .unwrap_err();
    let text = format!("{error} {error:?}");
    assert!(
        text.contains("403") && !text.contains("of.the-platform"),
        "{text}"
    );
}

#[test]
fn google_cloud_storage_sb_06() {
    let server = FileServer::start();
    server.require("Bearer t0ken");
    let base = ("GOOGLE_BASE_URL", server.url(""));
    let settings = |token| [(base.0, base.1.as_str()), ("GOOGLE_BEARER_TOKEN", token)];
    let remote_with = |token| remote(&settings(token));
    there_and_back(
        &server,
        &remote_with("t0ken"),
        "gs://bucket/a/key",
        "/bucket/a/key",
        1000,
    );
    there_and_back(
        &server,
        &remote_with("t0ken"),
        "gs://bucket/large",
        "/bucket/large",
        9 << 20,
    );
    let mut into = tempfile::tempfile().unwrap();
    let error = remote_with("an0ther")
        .get(&object("gs://bucket/a/key"), 1000, &mut into)
        .unwrap_err();
    let text = format!("{error:?}");
    assert!(text.contains("401") && !text.contains("an0ther"), "{text}");
}

/// The key of a service account never leaves this machine: it signs a statement of who asks, which openssl verifies.
#[test]
fn a_service_account_of_google_signs_for_itself_sb_06() {
    let shell = |script: &str, directory: &std::path::Path| {
        let mut command = std::process::Command::new("sh");
        command.args(["-euc", script]).current_dir(directory).output()
    };
    let directory = tempfile::tempdir().unwrap();
    let made = shell("openssl genrsa 2048 2>/dev/null", directory.path()).unwrap();
    if !made.status.success() {
        println!("skipped: openssl not found");
        return;
    }
    let private = String::from_utf8(made.stdout).unwrap();
    let server = FileServer::start();
    server.keep("/bucket/key", "content", &[]);
    let account = serde_json::json!({
        "gcs_base_url": server.url(""),
        "client_email": "slugs@project.test",
        "private_key": private,
        "private_key_id": "number-1",
    });
    let remote = remote(&[("GOOGLE_SERVICE_ACCOUNT_KEY", &account.to_string())]);
    let mut into = tempfile::tempfile().unwrap();
    remote.get(&object("gs://bucket/key"), 100, &mut into).unwrap();
    let seen = server.seen();
    let token = seen[0].headers["authorization"].strip_prefix("Bearer ").unwrap();
    let parts: Vec<&str> = token.split('.').collect();
    let decode = |part: &str| {
        base64::engine::general_purpose::URL_SAFE_NO_PAD
            .decode(part)
            .unwrap()
    };
    let claims: serde_json::Value = serde_json::from_slice(&decode(parts[1])).unwrap();
    assert_eq!(claims["iss"], "slugs@project.test");
    assert!(claims["exp"].as_u64().unwrap() > claims["iat"].as_u64().unwrap());
    for (name, content) in [
        ("key.pem", private.clone().into_bytes()),
        ("statement", format!("{}.{}", parts[0], parts[1]).into_bytes()),
        ("signature", decode(parts[2])),
    ] {
        std::fs::write(directory.path().join(name), content).unwrap();
    }
    let verify = "openssl rsa -in key.pem -pubout -out public.pem 2>/dev/null; openssl dgst -sha256 -verify public.pem -signature signature statement";
    let verified = shell(verify, directory.path()).unwrap();
    assert!(verified.status.success(), "{verified:?}");
    assert!(!format!("{seen:?}").contains("PRIVATE KEY"));
}

#[test]
fn azure_blobs_sb_06() {
    let server = FileServer::start();
    let endpoint = server.url("/account");
    server.require_signed(
        "/",
        Signer::Azure {
            account: "account",
            key: "c2VjcmV0",
        },
    );
    let with_key = |key: &str| {
        remote(&[
            ("AZURE_STORAGE_ACCOUNT_NAME", "account"),
            ("AZURE_STORAGE_ACCESS_KEY", key),
            ("AZURE_STORAGE_ENDPOINT", &endpoint),
        ])
    };
    let remote = with_key("c2VjcmV0");
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
    assert_eq!(server.forged(), [] as [&str; 0]);
    let mut into = tempfile::tempfile().unwrap();
    let error = with_key("b3RoZXI=").get(&object("az://container/a/key"), 1000, &mut into);
    let text = format!("{:?}", error.unwrap_err());
    assert!(text.contains("403") && !text.contains("b3RoZXI="), "{text}");
    assert!(server.forged()[0].contains("the signature is not that of"));
}
