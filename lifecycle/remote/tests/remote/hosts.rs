//! Hosts of repositories: how they speak, where they lead, and how slow they may be.

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use lifecycle_registry::{Secret, Timeouts};
use lifecycle_remote::{GitAuthorization, RemoteError, Repository};

use crate::file_server::{Action, FileServer};
use crate::repositories::{Bench, Way, names};

/// Git's own server, for as many connections as come. Returns its address.
fn daemon(bench: &Bench) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let base = format!("--base-path={}", bench.path("").display());
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let output = OwnedFd::from(stream.try_clone().unwrap());
            let daemon = Command::new("git")
                .args([
                    "-c",
                    "safe.directory=*",
                    "daemon",
                    "--inetd",
                    "--export-all",
                    &base,
                ])
                .stdin(OwnedFd::from(stream))
                .stdout(output)
                .stderr(Stdio::null())
                .status();
            daemon.unwrap();
        }
    });
    format!("git://{address}/r.git")
}

#[test]
fn git_s_own_protocol_is_spoken() {
    let bench = Bench::new();
    let repository = Repository::new(daemon(&bench));
    bench.both(&repository, "branch");
    bench.both(&repository.at(Some("v1")), "tag");
    assert_eq!(bench.lines("tag-Library"), 1);
}

#[test]
fn a_host_that_knows_only_the_first_protocol_is_understood() {
    let bench = Bench::new();
    bench.server.keep_old_repository("/old.git", &bench.path("r.git"));
    let repository = Repository::new(bench.server.url("/old.git"));
    // It gives commits by their name only where a branch or tag is there.
    let second = std::fs::read_to_string(bench.path("second")).unwrap();
    for (into, reference, lines) in [
        ("head", None, 3),
        ("tag", Some("v1"), 1),
        ("commit", Some(second.trim()), 2),
    ] {
        bench.both(&repository.clone().at(reference), into);
        assert_eq!(bench.lines(&format!("{into}-Library")), lines);
    }
}

#[test]
fn a_host_that_leads_on_is_followed_without_what_is_for_it_alone() {
    let bench = Bench::new();
    let first = FileServer::start();
    let basic = GitAuthorization::Basic {
        username: "user".into(),
        password: Secret::new("t0ken"),
    };
    let header = GitAuthorization::Header(Secret::new("Bearer t0ken"));
    for (number, (way, authorization)) in [
        (Way::Program, basic.clone()),
        (Way::Program, header.clone()),
        (Way::Library, basic),
        (Way::Library, header),
    ]
    .into_iter()
    .enumerate()
    {
        let location = bench.server.url("/r.git/info/refs?service=git-upload-pack");
        // The program asks more than once.
        for _ in 0..4 {
            let answer = Action::Answer(302, vec![("Location", location.clone())]);
            first.once("/moved.git/info/refs", answer);
        }
        let is_header = matches!(authorization, GitAuthorization::Header(_));
        let repository = Repository {
            authorization: Some(authorization),
            ..Repository::new(first.url("/moved.git"))
        };
        let into = format!("into-{number}");
        let checkout = bench.check_out(way, &repository, &into);
        // The program would take a header along.
        if way == Way::Program && is_header {
            checkout.unwrap_err();
        } else {
            checkout.unwrap();
            assert_eq!(bench.lines(&into), 3);
        }
    }
    let knows = |server: &FileServer| {
        let seen = server.seen();
        seen.iter()
            .filter(|seen| seen.headers.contains_key("authorization"))
            .count()
    };
    assert!(knows(&first) > 0);
    assert_eq!(knows(&bench.server), 0);
}

#[test]
fn nobody_leads_the_library_to_where_clouds_keep_secrets() {
    let bench = Bench::new();
    for host in ["169.254.169.254", "[::ffff:169.254.169.254]", "2852039166"] {
        let location = format!("http://{host}/r.git/info/refs?service=git-upload-pack");
        bench.server.once(
            "/moved.git/info/refs",
            Action::Answer(302, vec![("Location", location)]),
        );
        let repository = Repository::new(bench.server.url("/moved.git"));
        let into = bench.path("into");
        std::fs::create_dir_all(&into).unwrap();
        let error = crate::remote(Way::Library.settings())
            .check_out(&repository, &into)
            .unwrap_err();
        let text = crate::sentence(&error);
        assert!(text.contains("where clouds tell a machine its secrets"), "{text}");
    }
}

#[test]
fn a_host_that_drips_or_breaks_off_does_not_keep_the_library_waiting() {
    let timeouts = Timeouts {
        idle: Duration::from_millis(200),
        commit: Duration::from_millis(200),
        ..Timeouts::default()
    };
    let remote = crate::remote_with(Way::Library.settings(), timeouts);
    for part in ["info/refs", "POST /r.git/git-upload-pack"] {
        let bench = Bench::new();
        // However often it is asked again.
        for _ in 0..20 {
            bench.server.once(part, Action::Drip(Duration::from_millis(20)));
        }
        let into = bench.path("into");
        std::fs::create_dir(&into).unwrap();
        let error = remote.check_out(&bench.repository(), &into).unwrap_err();
        assert!(matches!(error, RemoteError::Transfer(_)), "{error}");
        assert_eq!(names(&into), [] as [&str; 0]);
    }
    // Who breaks off is asked again.
    let bench = Bench::new();
    bench.server.once("info/refs", Action::Cut(20));
    bench.server.once("POST /r.git/git-upload-pack", Action::Cut(20));
    bench.check_out(Way::Library, &bench.repository(), "cut").unwrap();
    assert_eq!(bench.lines("cut"), 3);
}
