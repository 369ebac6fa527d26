//! Repositories (H29, H30; platforms.md MP-04).

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use lifecycle_registry::Secret;
use lifecycle_remote::{Checkout, Depth, GitAuthorization, GitSettings, RemoteError, Repository};

use crate::file_server::FileServer;

struct Bench {
    directory: tempfile::TempDir,
}

impl Bench {
    /// A repository `r.git` with three commits, a branch and a tag.
    fn new() -> Self {
        let bench = Self {
            directory: tempfile::tempdir().unwrap(),
        };
        bench.shell(
            "git -c init.defaultBranch=trunk init -q r; cd r
             mkdir -p deep/down; echo one >file; echo x >deep/down/f; printf '#!/bin/sh\n' >run; chmod 700 run
             ln -s file link; ln -s /etc outside; git add .; git commit -qm 1; git tag v1
             echo two >>file; git commit -qam 2; git rev-parse HEAD >../second
             echo three >>file; git commit -qam 3; git branch side v1; git tag -a -m tag annotated
             cd ..; git clone -q --bare r r.git; cd r.git; git update-server-info",
        );
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn shell(&self, script: &str) {
        let mut command = Command::new("sh");
        command.args(["-euc", script]).current_dir(self.directory.path());
        for (name, value) in [("NAME", "a"), ("EMAIL", "a@b"), ("DATE", "1500000000 +0000")] {
            command
                .env(format!("GIT_AUTHOR_{name}"), value)
                .env(format!("GIT_COMMITTER_{name}"), value);
        }
        command.env("GIT_CONFIG_GLOBAL", "/dev/null");
        assert!(command.status().unwrap().success(), "{script}");
    }

    fn local(&self) -> Repository {
        Repository::new(format!("file://{}", self.path("r.git").display()))
    }

    fn check_out(&self, repository: &Repository, into: &str) -> Result<Checkout, RemoteError> {
        let git = GitSettings {
            local: true,
            ..GitSettings::default()
        };
        self.check_out_with(git, repository, into)
    }

    fn check_out_with(
        &self,
        git: GitSettings,
        repository: &Repository,
        into: &str,
    ) -> Result<Checkout, RemoteError> {
        std::fs::create_dir(self.path(into)).unwrap();
        crate::remote(git).check_out(repository, &self.path(into))
    }

    fn lines(&self, into: &str) -> usize {
        std::fs::read_to_string(self.path(into).join("file"))
            .unwrap()
            .lines()
            .count()
    }
}

fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn the_default_branch_a_branch_a_tag_or_a_commit_is_checked_out_h29_mp_04() {
    let bench = Bench::new();
    let second = std::fs::read_to_string(bench.path("second"))
        .unwrap()
        .trim()
        .to_owned();
    for (reference, lines) in [
        (None, 3),
        (Some("trunk"), 3),
        (Some("side"), 1),
        (Some("v1"), 1),
        (Some("annotated"), 3),
        (Some("refs/tags/v1"), 1),
        (Some(second.as_str()), 2),
        (Some(&second[..8]), 2),
    ] {
        let into = format!("into-{}", reference.unwrap_or_default().replace('/', "-"));
        let checkout = bench.check_out(&bench.local().at(reference), &into).unwrap();
        assert_eq!(bench.lines(&into), lines, "{reference:?}");
        assert_eq!((checkout.commit.len(), checkout.time), (40, 1_500_000_000));
        assert!(lines != 2 || checkout.commit == second);
        assert_eq!(
            names(&bench.path(&into)),
            ["deep", "file", "link", "outside", "run"]
        );
    }
    for reference in ["nothing", "deadbeef", "0123456789012345678901234567890123456789"] {
        let error = bench
            .check_out(&bench.local().at(Some(reference)), reference)
            .unwrap_err();
        assert!(error.to_string().contains(reference), "{error}");
        assert_eq!(names(&bench.path(reference)), [] as [&str; 0]);
    }
}

#[test]
fn modes_and_times_are_the_same_everywhere_h29() {
    let bench = Bench::new();
    let repository = Repository {
        commit_time: true,
        ..bench.local()
    };
    bench.check_out(&repository, "into").unwrap();
    for (name, mode) in [
        ("file", 0o644),
        ("run", 0o755),
        ("deep", 0o755),
        ("deep/down/f", 0o644),
        ("link", 0o777),
    ] {
        let metadata = std::fs::symlink_metadata(bench.path("into").join(name)).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o7777, mode, "{name}");
        assert_eq!(metadata.mtime(), 1_500_000_000, "{name}");
    }
}

#[test]
fn a_kept_git_directory_is_shallow_and_the_same_each_time_h29() {
    let bench = Bench::new();
    let repository = Repository {
        keep_git_directory: true,
        ..bench.local()
    };
    for into in ["a", "b"] {
        bench.check_out(&repository, into).unwrap();
    }
    bench.shell("diff -r a b; cd a; test -z \"$(git status --short)\"; test \"$(git rev-list --all)\" = \"$(git rev-parse HEAD)\"");
    assert_eq!(names(&bench.path("a/.git/refs/heads")), ["trunk"]);
    let whole = Repository {
        depth: Depth::Whole,
        ..repository
    };
    bench.check_out(&whole, "c").unwrap();
    bench.shell("test \"$(git -C c rev-list HEAD | wc -l)\" -eq 3");
}

#[test]
fn a_subdirectory_is_one_of_the_repository_cve_2026_33748() {
    let bench = Bench::new();
    let at = |path: &str| Repository {
        subdirectory: Some(path.to_owned()),
        ..bench.local()
    };
    bench.check_out(&at("deep/down"), "into").unwrap();
    assert_eq!(names(&bench.path("into")), ["f"]);
    for (number, path) in [
        "../..",
        "outside",
        "outside/ssl",
        "missing",
        "file",
        "deep/../../x",
    ]
    .iter()
    .enumerate()
    {
        let into = format!("refused-{number}");
        let error = bench.check_out(&at(path), &into).unwrap_err();
        assert!(error.to_string().contains(path), "{error}");
        assert_eq!(names(&bench.path(&into)), [] as [&str; 0]);
    }
}

#[test]
fn submodules_come_along_but_never_from_this_machine_cve_2022_39253() {
    let bench = Bench::new();
    let server = FileServer::start();
    server.keep_directory("/r.git", &bench.path("r.git"));
    bench.shell(&format!(
        "git init -q -b main s; cd s; git submodule --quiet add {} sub; git commit -qm s; git rev-parse HEAD; cd ..; git clone -q --bare s s.git
         git init -q -b main evil; cd evil; git -c protocol.file.allow=always submodule --quiet add ../r.git sub; git commit -qm e",
        server.url("/r.git")
    ));
    let repository = |name: &str| Repository::new(bench.path(name).to_string_lossy());
    bench.check_out(&repository("s.git"), "into").unwrap();
    assert_eq!(
        names(&bench.path("into/sub")),
        ["deep", "file", "link", "outside", "run"]
    );
    let without = Repository {
        submodules: false,
        ..repository("s.git")
    };
    bench.check_out(&without, "without").unwrap();
    assert_eq!(names(&bench.path("without/sub")), [] as [&str; 0]);
    let error = bench
        .check_out(&repository("evil"), "refused")
        .unwrap_err()
        .to_string();
    assert!(error.contains("transport 'file' not allowed"), "{error}");
}

#[test]
fn hooks_and_drivers_of_a_repository_do_not_run_cve_2018_11235() {
    let bench = Bench::new();
    bench.shell(
        "mkdir template template/hooks; printf '#!/bin/sh\ntouch %s/canary\n' \"$PWD\" >template/hooks/post-checkout
         chmod 755 template/hooks/post-checkout
         cd r; echo '* filter=evil' >.gitattributes; git config filter.evil.smudge \"touch $PWD/../canary\"; git add .; git commit -qm a",
    );
    bench.shell("GIT_TEMPLATE_DIR=$PWD/template git init -q hooked; test -e hooked/.git/hooks/post-checkout");
    bench
        .check_out(&Repository::new(bench.path("r").to_string_lossy()), "into")
        .unwrap();
    assert!(!bench.path("canary").exists());
}

#[test]
fn over_http_credentials_are_given_when_asked_for_and_never_shown_h30() {
    let bench = Bench::new();
    let server = FileServer::start();
    server.keep_directory("/r.git", &bench.path("r.git"));
    // `user:s3cret`
    server.require("Basic dXNlcjpzM2NyZXQ=");
    let basic = GitAuthorization::Basic {
        username: "user".into(),
        password: Secret::new("s3cret"),
    };
    let header = GitAuthorization::Header(Secret::new("Basic dXNlcjpzM2NyZXQ="));
    for (number, authorization) in [basic.clone(), header].into_iter().enumerate() {
        let repository = Repository {
            authorization: Some(authorization),
            keep_git_directory: true,
            ..Repository::new(server.url("/r.git"))
        };
        let into = format!("into-{number}");
        bench
            .check_out_with(GitSettings::default(), &repository, &into)
            .unwrap();
        assert_eq!(bench.lines(&into), 3);
    }
    let named = format!("http://user:s3cret@{}/r.git", server.address());
    let repository = Repository {
        keep_git_directory: true,
        ..Repository::new(named)
    };
    bench.check_out(&repository, "named").unwrap();
    for into in ["into-0", "into-1", "named"] {
        bench.shell(&format!(
            "test -d {into}/.git; ! grep -r -e s3cret -e dXNlcjpzM2NyZXQ {into}"
        ));
    }
    let wrong = Repository::new(format!("http://user:wr0ng-pw@{}/r.git", server.address()));
    let error = bench.check_out(&wrong, "wrong").unwrap_err();
    let text = format!("{error} {error:?}");
    assert!(
        !text.contains("wr0ng-pw") && text.contains("***@127.0.0.1"),
        "{text}"
    );
    // Another host that the settings know nothing of gets nothing.
    let other = FileServer::start();
    let stranger = Repository {
        authorization: Some(basic),
        ..Repository::new(other.url("/r.git"))
    };
    assert!(bench.check_out(&stranger, "stranger").is_err());
    assert!(
        other
            .seen()
            .iter()
            .all(|seen| !seen.headers.contains_key("authorization"))
    );
}

#[test]
fn repositories_of_this_machine_are_read_only_when_allowed() {
    let bench = Bench::new();
    for (number, url) in [bench.local().url, bench.path("r.git").display().to_string()]
        .iter()
        .enumerate()
    {
        let into = format!("into-{number}");
        let error = bench
            .check_out_with(GitSettings::default(), &Repository::new(url), &into)
            .unwrap_err();
        assert!(matches!(error, RemoteError::Address { .. }), "{error}");
    }
}

#[test]
fn without_git_the_error_says_so() {
    let bench = Bench::new();
    let git = GitSettings {
        program: "/nowhere/git".into(),
        ..GitSettings::default()
    };
    let error = bench
        .check_out_with(git, &Repository::new("https://h.test/r.git"), "into")
        .unwrap_err();
    assert!(matches!(error, RemoteError::NoGit { .. }), "{error}");
}
