//! Proxies and private certificate authorities, for files, objects and repositories (platforms.md SB-06; complaints 2, 3).

use std::io::{Read as _, Write as _};

use lifecycle_registry::{Pem, Proxies, Registry, Secret, Settings};
use lifecycle_remote::{File, GitSettings, Object, Remote, Repository, StoreSettings};

use crate::file_server::{FileServer, Signer};
use crate::proxy::Proxy;
use crate::repositories::{Bench, WAYS, Way};
use crate::sentence;
use crate::tls_front::TlsFront;

/// What comes of a way there and back.
const CAME: [&str; 2] = ["hello", "sent"];
/// `me:hunter22`
const PASSWORD: &str = "Basic bWU6aHVudGVyMjI=";

/// One who brings, with these proxies and authorities, and the store behind `endpoint`.
fn remote(proxies: Proxies, authority: Option<&TlsFront>, endpoint: &str) -> Remote {
    let mut settings = Settings {
        clock: std::sync::Arc::new(crate::QuickClock),
        proxies,
        ..Settings::default()
    };
    settings.roots.extra.extend(authority.map(|front| Pem {
        origin: "ca.pem".into(),
        text: std::fs::read(front.authority()).unwrap(),
    }));
    let stores = StoreSettings {
        variables: [
            ("AWS_ACCESS_KEY_ID", "key-id"),
            ("AWS_SECRET_ACCESS_KEY", "s3cret-key"),
            ("AWS_REGION", "eu-test-1"),
            ("S3_ENDPOINT", endpoint),
        ]
        .map(|(name, value)| (name.to_owned(), Secret::new(value)))
        .to_vec(),
        profile: None,
    };
    Remote::new(
        Registry::new(settings).unwrap().web(),
        GitSettings::default(),
        stores,
    )
}

fn stocked() -> FileServer {
    let server = FileServer::start();
    server.keep("/f", "hello", &[]);
    server.require_signed(
        "/bucket/",
        Signer::S3 {
            key_id: "key-id",
            secret: "s3cret-key",
            region: "eu-test-1",
            token: None,
        },
    );
    server
}

/// Brings a file, puts one, puts an object, and brings it: what came.
fn there_and_back(remote: &Remote, base: &str) -> Result<[String; 2], lifecycle_remote::RemoteError> {
    let (mut from, mut into) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
    from.write_all(b"sent").unwrap();
    let file = |path: &str| File::parse(&format!("{base}{path}")).unwrap();
    remote.download(&file("/f"), &mut into)?;
    let mut came = [String::new(), String::new()];
    into.read_to_string(&mut came[0]).unwrap();
    remote.upload(&from, &file("/put"))?;
    let object = Object::parse("s3://bucket/key").unwrap()?;
    remote.put(&from, &object)?;
    remote.get(&object, 100, &mut into)?;
    into.read_to_string(&mut came[1]).unwrap();
    Ok(came)
}

#[test]
fn a_proxy_is_asked_by_full_address_with_its_password() {
    let server = stocked();
    let proxy = Proxy::start(&[("files.test:80", server.address())], Some(PASSWORD));
    let with = |user: &str, no_proxy: &str| {
        let proxies = Proxies {
            http: Some(Secret::new(proxy.url(user))),
            https: None,
            no_proxy: no_proxy.to_owned(),
        };
        remote(proxies, None, "http://files.test")
    };
    assert_eq!(
        there_and_back(&with("me:hunter22@", ""), "http://files.test").unwrap(),
        CAME
    );
    let asked = proxy.take();
    for line in [
        "GET http://files.test/f",
        "PUT http://files.test/put",
        "PUT http://files.test/bucket/key",
        "GET http://files.test/bucket/key",
    ] {
        assert!(asked.iter().any(|asked| asked == line), "{line}: {asked:?}");
    }
    assert_eq!(server.forged(), [] as [&str; 0]);
    assert_eq!(server.kept("/put").as_deref(), Some(&b"sent"[..]));
    assert!(
        server
            .seen()
            .iter()
            .all(|seen| !seen.headers.contains_key("proxy-authorization"))
    );

    let error = there_and_back(&with("me:wr0ng-pw@", ""), "http://files.test").unwrap_err();
    let text = format!("{} {error:?}", sentence(&error));
    assert!(text.contains("407") && !text.contains("wr0ng-pw"), "{text}");
    // Who is to be reached directly is not asked for, and this machine never is.
    proxy.take();
    assert!(there_and_back(&with("me:hunter22@", "files.test"), "http://files.test").is_err());
    let mut into = tempfile::tempfile().unwrap();
    let file = File::parse(&server.url("/f")).unwrap();
    with("me:hunter22@", "").download(&file, &mut into).unwrap();
    assert_eq!(proxy.take(), [] as [&str; 0]);
}

#[test]
fn tls_goes_through_a_tunnel_and_ends_at_a_private_authority() {
    let server = stocked();
    let front = TlsFront::before(server.address());
    let proxy = Proxy::start(&[("files.test:443", front.address())], Some(PASSWORD));
    let proxies = || Proxies {
        http: None,
        https: Some(Secret::new(proxy.url("me:hunter22@"))),
        no_proxy: String::new(),
    };
    let base = "https://files.test";
    assert_eq!(
        there_and_back(&remote(proxies(), Some(&front), base), base).unwrap(),
        CAME
    );
    let asked = proxy.take();
    assert!(
        !asked.is_empty() && asked.iter().all(|line| line == "CONNECT files.test:443"),
        "{asked:?}"
    );
    assert_eq!(server.forged(), [] as [&str; 0]);

    let error = there_and_back(&remote(proxies(), None, base), base).unwrap_err();
    assert!(
        sentence(&error).contains("name its authority"),
        "{}",
        sentence(&error)
    );
    assert!(!format!("{error:?}").contains("hunter22"));
}

#[test]
fn without_a_proxy_a_private_authority_is_trusted_when_it_is_named() {
    let server = stocked();
    let front = TlsFront::before(server.address());
    let base = format!("https://{}", front.address());
    assert_eq!(
        there_and_back(&remote(Proxies::default(), Some(&front), &base), &base).unwrap(),
        CAME
    );
    let stranger = remote(Proxies::default(), None, &base);
    let seen = server.seen().len();
    assert!(there_and_back(&stranger, &base).is_err());
    let mut from = tempfile::tempfile().unwrap();
    from.write_all(b"x").unwrap();
    let object = Object::parse("s3://bucket/key").unwrap().unwrap();
    assert!(stranger.put(&from, &object).is_err());
    assert_eq!(server.seen().len(), seen, "nothing was said to a stranger");
}

/// Both are told of the authority, and believe no other one; unless nobody is to be checked.
#[test]
fn a_repository_behind_a_private_authority_is_checked_out() {
    let bench = Bench::new();
    let front = TlsFront::before(bench.server.address());
    let repository = Repository::new(format!("https://{}/r.git", front.address()));
    let other = TlsFront::before(bench.server.address());
    for way in WAYS {
        let settings = |authority: &TlsFront, verify| GitSettings {
            authorities: Some(authority.authority()),
            verify,
            ..way.settings()
        };
        for (into, settings) in [
            ("known", settings(&front, true)),
            ("unchecked", settings(&other, false)),
        ] {
            let into = format!("{into}-{way:?}");
            bench.check_out_with(settings, &repository, &into).unwrap();
            assert_eq!(bench.lines(&into), 3);
        }
        let stranger =
            bench.check_out_with(settings(&other, true), &repository, &format!("stranger-{way:?}"));
        let text = sentence(&stranger.unwrap_err());
        assert!(text.contains("certificate"), "{text}");
    }
}

/// The program has its own proxies; the library takes those that files come through.
#[test]
fn the_library_reaches_repositories_through_a_proxy() {
    let bench = Bench::new();
    let proxy = Proxy::start(&[("git.test:80", bench.server.address())], Some(PASSWORD));
    let proxies = Proxies {
        http: Some(Secret::new(proxy.url("me:hunter22@"))),
        https: None,
        no_proxy: String::new(),
    };
    let remote = remote(proxies, None, "").with_git(Way::Library.settings());
    let into = bench.path("into");
    std::fs::create_dir(&into).unwrap();
    remote
        .check_out(&Repository::new("http://git.test/r.git"), &into)
        .unwrap();
    assert_eq!(bench.lines("into"), 3);
    let asked = proxy.take();
    assert!(
        !asked.is_empty() && asked.iter().all(|line| line.contains("http://git.test/r.git/")),
        "{asked:?}"
    );
}
