//! Files of the web (H27, H28; platforms.md SB-05).

use std::error::Error;
use std::io::Read;
use std::time::Duration;

use lifecycle_image::Digest;
use lifecycle_registry::{Secret, Timeouts};
use lifecycle_remote::{Download, File, GitSettings, RemoteError};

use crate::file_server::{Action, FileServer};

fn noise(length: usize) -> Vec<u8> {
    (0..length)
        .map(|number| u8::try_from(number * 7 % 251).unwrap())
        .collect()
}

fn fetch(file: &File) -> Result<(Vec<u8>, Download), RemoteError> {
    let mut into = tempfile::tempfile().unwrap();
    let download = crate::remote(GitSettings::default()).download(file, &mut into)?;
    let mut bytes = Vec::new();
    into.read_to_end(&mut bytes).unwrap();
    Ok((bytes, download))
}

fn file(server: &FileServer, path: &str) -> File {
    File::parse(&server.url(path)).unwrap()
}

fn sentence(error: &RemoteError) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}

#[test]
fn a_file_comes_with_its_time_h27() {
    let server = FileServer::start();
    server.keep("/f", "hello", &[]);
    let (bytes, download) = fetch(&file(&server, "/f?x=1#part")).unwrap();
    assert_eq!((bytes.as_slice(), download.size), (&b"hello"[..], 5));
    assert_eq!(download.last_modified, Some(784_111_777));
    assert_eq!(server.seen()[0].target, "/f?x=1");
    server.keep("/undated", "", &[("Last-Modified", "")]);
    assert_eq!(fetch(&file(&server, "/undated")).unwrap().1.last_modified, None);
}

#[test]
fn a_cut_connection_goes_on_where_it_ended() {
    let server = FileServer::start();
    let content = noise(300_000);
    server.keep("/f", content.clone(), &[]);
    for cut in [100_000, 0, 50_000] {
        server.once("GET /f", Action::Cut(cut));
    }
    assert_eq!(fetch(&file(&server, "/f")).unwrap().0, content);
    let ranges: Vec<_> = server
        .seen()
        .iter()
        .map(|seen| seen.headers.get("range").cloned())
        .collect();
    let range = |from: u32| Some(format!("bytes={from}-"));
    assert_eq!(ranges, [None, range(100_000), range(100_000), range(150_000)]);
}

#[test]
fn a_file_that_changes_on_the_way_is_fetched_anew() {
    let server = FileServer::start();
    server.keep("/f", noise(200_000), &[]);
    server.once("GET /f", Action::Cut(100_000));
    // Changed between the first and the second request.
    let changer = FileServer::start();
    changer.keep("/f", noise(200_000), &[("ETag", "\"old\"")]);
    changer.once("GET /f", Action::Cut(100_000));
    assert_eq!(fetch(&file(&changer, "/f")).unwrap().0, noise(200_000));
    assert!(changer.seen()[1].headers["if-range"].contains("old"));
    // Nothing tells whether it is the same: everything again, not forever.
    let blind = FileServer::start();
    blind.keep("/f", noise(200_000), &[("ETag", ""), ("Last-Modified", "")]);
    for _ in 0..20 {
        blind.once("GET /f", Action::Cut(100_000));
    }
    assert!(fetch(&file(&blind, "/f")).is_err());
    assert!(
        blind
            .seen()
            .iter()
            .all(|seen| !seen.headers.contains_key("range"))
    );
    assert!(blind.seen().len() < 12, "{}", blind.seen().len());
}

#[test]
fn what_may_pass_is_tried_again_and_what_cannot_is_not() {
    let server = FileServer::start();
    server.keep("/f", "hello", &[]);
    for status in [503, 429, 408] {
        server.once("GET /f", Action::Answer(status, Vec::new()));
    }
    assert_eq!(fetch(&file(&server, "/f")).unwrap().0, b"hello");
    assert_eq!(server.seen().len(), 4);
    let error = sentence(&fetch(&file(&server, "/missing")).unwrap_err());
    assert!(
        error.contains("cannot download") && error.contains("404 Not Found"),
        "{error}"
    );
    assert_eq!(server.seen().len(), 5);
    assert!(fetch(&File::parse("http://127.0.0.1:1/f").unwrap()).is_err());
    for text in ["ftp://h/f", "file:///etc/passwd", "f", "http://"] {
        assert!(File::parse(text).is_err(), "{text}");
    }
}

#[test]
fn limits_and_checksums_hold_h28() {
    let server = FileServer::start();
    server.keep("/f", noise(1000), &[]);
    let limited = |limit| File {
        limit,
        ..file(&server, "/f")
    };
    assert!(fetch(&limited(1000)).is_ok());
    let error = sentence(&fetch(&limited(999)).unwrap_err());
    assert!(error.contains("larger than 999 bytes"), "{error}");
    let checked = |content: &[u8]| File {
        checksum: Some(Digest::of(content)),
        ..file(&server, "/f")
    };
    assert!(fetch(&checked(&noise(1000))).is_ok());
    let error = fetch(&checked(b"other")).unwrap_err();
    assert!(matches!(error, RemoteError::Checksum { .. }), "{error}");
}

#[test]
fn passwords_go_to_their_origin_alone_and_are_never_shown() {
    let (server, other) = (FileServer::start(), FileServer::start());
    server.require("Basic dXNlcjpwQHNz");
    server.keep("/f", "hello", &[]);
    other.keep("/f", "elsewhere", &[]);
    let address = format!("http://user:p%40ss@{}", server.address());
    assert_eq!(
        fetch(&File::parse(&format!("{address}/f")).unwrap()).unwrap().0,
        b"hello"
    );
    // A redirect to the same origin keeps them, one to another loses them.
    server.once(
        "GET /there",
        Action::Answer(302, vec![("Location", "/f".to_owned())]),
    );
    server.once(
        "GET /away",
        Action::Answer(307, vec![("Location", other.url("/f"))]),
    );
    assert_eq!(
        fetch(&File::parse(&format!("{address}/there")).unwrap())
            .unwrap()
            .0,
        b"hello"
    );
    assert_eq!(
        fetch(&File::parse(&format!("{address}/away")).unwrap())
            .unwrap()
            .0,
        b"elsewhere"
    );
    assert!(!other.seen()[0].headers.contains_key("authorization"));
    let error = fetch(&File::parse(&format!("{address}/missing?sig=s1gnature")).unwrap()).unwrap_err();
    let text = format!("{} {error:?}", sentence(&error));
    assert!(!text.contains("p@ss") && !text.contains("p%40ss"), "{text}");
    assert!(
        !text.contains("dXNlcjpwQHNz") && !text.contains("s1gnature"),
        "{text}"
    );
    let own = File {
        authorization: Some(Secret::new("Basic dXNlcjpwQHNz")),
        ..file(&server, "/f")
    };
    assert!(fetch(&own).is_ok() && !format!("{own:?}").contains("dXNl"));
}

#[test]
fn files_are_put_and_tried_again_sb_05() {
    let server = FileServer::start();
    let content = noise(700_000);
    let mut from = tempfile::tempfile().unwrap();
    std::io::Write::write_all(&mut from, &content).unwrap();
    server.once("PUT /slug", Action::Answer(500, Vec::new()));
    let remote = crate::remote(GitSettings::default());
    remote.upload(&from, &file(&server, "/slug?signature=x")).unwrap();
    assert_eq!(server.kept("/slug"), Some(content));
    server.once("PUT /slug", Action::Answer(403, Vec::new()));
    let error = sentence(&remote.upload(&from, &file(&server, "/slug?sig=x")).unwrap_err());
    assert!(error.contains("403") && !error.contains("sig=x"), "{error}");
}

#[test]
fn redirects_lead_to_the_web_and_end_kaniko_5_2() {
    let canary = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(canary.path(), "CANARY").unwrap();
    let server = FileServer::start();
    let leads = |path: &str, to: &str| {
        let answer = Action::Answer(302, vec![("Location", to.to_owned())]);
        server.once(&format!("GET {path}"), answer);
    };
    for to in [
        format!("file://{}", canary.path().display()),
        format!("FILE:{}", canary.path().display()),
        "ftp://localhost/f".to_owned(),
    ] {
        leads("/away", &to);
        let error = fetch(&file(&server, "/away")).unwrap_err();
        let text = format!("{} {error:?}", sentence(&error));
        assert!(!text.contains("CANARY"), "{to}: {text}");
    }
    for _ in 0..100 {
        leads("/circle", "/circle");
    }
    let before = server.seen().len();
    let error = sentence(&fetch(&file(&server, "/circle")).unwrap_err());
    assert!(error.contains("redirects more than 8 times"), "{error}");
    assert!(server.seen().len() - before < 100, "{error}");
}

/// Whoever sends a byte now and then keeps nobody waiting for ever.
#[test]
fn who_drips_is_left_kaniko_5_2() {
    let server = FileServer::start();
    server.keep("/f", noise(300_000), &[]);
    for _ in 0..100 {
        server.once("GET /f", Action::Drip(Duration::from_millis(20)));
    }
    let timeouts = Timeouts {
        // Long enough for a first byte on a busy machine.
        idle: Duration::from_secs(2),
        ..Timeouts::default()
    };
    let mut into = tempfile::tempfile().unwrap();
    let remote = crate::remote_with(GitSettings::default(), timeouts);
    let error = remote.download(&file(&server, "/f"), &mut into).unwrap_err();
    assert!(
        sentence(&error).contains("less than 64 KiB came"),
        "{}",
        sentence(&error)
    );
    assert!(server.seen().len() <= 6, "{}", server.seen().len());
}

/// What a machine's cloud tells it is for the machine: a Dockerfile may name it, but nobody else leads there.
#[test]
fn nobody_leads_to_the_metadata_of_a_cloud_kaniko_5_2() {
    let server = FileServer::start();
    for to in [
        "http://169.254.169.254/latest/meta-data/iam",
        "http://2852039166/",
        "http://[fe80::a9fe:a9fe]/",
        "http://[::ffff:169.254.169.254]/",
    ] {
        let answer = Action::Answer(302, vec![("Location", to.to_owned())]);
        server.once("GET /away", answer);
        let error = sentence(&fetch(&file(&server, "/away")).unwrap_err());
        assert!(
            error.contains("where clouds tell a machine its secrets"),
            "{to}: {error}"
        );
    }
}
