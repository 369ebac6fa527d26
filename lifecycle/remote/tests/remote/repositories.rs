//! Repositories, by the program git and by the library in its place (H29, H30; platforms.md MP-04).

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use lifecycle_registry::Secret;
use lifecycle_remote::{Checkout, Depth, GitAuthorization, GitSettings, RemoteError, Repository};

use crate::file_server::FileServer;

/// Who fetches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Program,
    Library,
}

pub(crate) const WAYS: [Way; 2] = [Way::Program, Way::Library];

impl Way {
    pub(crate) fn settings(self) -> GitSettings {
        match self {
            Self::Program => GitSettings::default(),
            Self::Library => GitSettings {
                program: "/nowhere/git".into(),
                ..GitSettings::default()
            },
        }
    }
}

/// A directory with repositories, and a host that serves them.
pub(crate) struct Bench {
    directory: tempfile::TempDir,
    pub(crate) server: FileServer,
}

impl Bench {
    /// A repository `r.git` with three commits, a branch, tags, and what hosts call a pull request.
    pub(crate) fn new() -> Self {
        let bench = Self {
            directory: tempfile::tempdir().unwrap(),
            server: FileServer::start(),
        };
        bench.shell(
            "git -c init.defaultBranch=trunk init -q r; cd r
             mkdir -p deep/down; echo one >file; echo x >deep/down/f; printf '#!/bin/sh\n' >run; chmod 700 run
             ln -s file link; ln -s /etc outside; git add .; git commit -qm 1; git tag v1
             echo two >>file; git commit -qam 2; git rev-parse HEAD >../second
             git update-ref refs/pull/7/head HEAD
             echo three >>file; git commit -qam 3; git branch side v1; git tag -a -m tag annotated
             cd ..; git clone -q --mirror r r.git; cd r.git; git update-server-info",
        );
        bench.server.keep_repository("/r.git", &bench.path("r.git"));
        bench
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn shell(&self, script: &str) {
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

    /// Makes the bare repository `name.git` of the working tree `name`, and serves it.
    pub(crate) fn serve(&self, name: &str) -> Repository {
        self.shell(&format!("git clone -q --mirror {name} {name}.git"));
        let path = format!("/{name}.git");
        self.server.keep_repository(&path, &self.path(&path[1..]));
        Repository::new(self.server.url(&path))
    }

    pub(crate) fn repository(&self) -> Repository {
        Repository::new(self.server.url("/r.git"))
    }

    pub(crate) fn check_out(
        &self,
        way: Way,
        repository: &Repository,
        into: &str,
    ) -> Result<Checkout, RemoteError> {
        self.check_out_with(way.settings(), repository, into)
    }

    pub(crate) fn check_out_with(
        &self,
        git: GitSettings,
        repository: &Repository,
        into: &str,
    ) -> Result<Checkout, RemoteError> {
        std::fs::create_dir(self.path(into)).unwrap();
        crate::remote(git).check_out(repository, &self.path(into))
    }

    /// Checks out both ways, and holds that the trees are the same in everything but the times of the checkout itself.
    pub(crate) fn both(&self, repository: &Repository, into: &str) -> Checkout {
        let checkouts = WAYS.map(|way| {
            let into = format!("{into}-{way:?}");
            let checkout = self.check_out(way, repository, &into).unwrap();
            (checkout, self.listing(&into, repository.commit_time))
        });
        let [program, library] = checkouts;
        assert_eq!(program, library);
        program.0
    }

    /// Every file with its kind, mode, content or target, and time where that is the commit's.
    fn listing(&self, of: &str, with_time: bool) -> String {
        let time = if with_time { "%T@" } else { "" };
        let script = format!(
            "cd '{of}'; find . -mindepth 1 -path ./.git -prune -o -mindepth 1 -printf '%P %y %m %l {time}\\n' | LC_ALL=C sort
             find . -path ./.git -prune -o -type f -exec sha256sum '{{}}' + | LC_ALL=C sort"
        );
        let mut command = Command::new("sh");
        let output = command
            .args(["-euc", &script])
            .current_dir(self.directory.path())
            .output()
            .unwrap();
        assert!(output.status.success());
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    pub(crate) fn lines(&self, into: &str) -> usize {
        std::fs::read_to_string(self.path(into).join("file"))
            .unwrap()
            .lines()
            .count()
    }
}

pub(crate) fn names(directory: &Path) -> Vec<String> {
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
        (Some("refs/pull/7/head"), 2),
        (Some(second.as_str()), 2),
        (Some(&second[..8]), 2),
    ] {
        let into = format!("into-{}", reference.unwrap_or_default().replace('/', "-"));
        let checkout = bench.both(&bench.repository().at(reference), &into);
        let into = format!("{into}-Library");
        assert_eq!(bench.lines(&into), lines, "{reference:?}");
        assert_eq!((checkout.commit.len(), checkout.time), (40, 1_500_000_000));
        assert!(lines != 2 || checkout.commit == second);
        assert_eq!(
            names(&bench.path(&into)),
            ["deep", "file", "link", "outside", "run"]
        );
    }
    for way in WAYS {
        for reference in ["nothing", "deadbeef", "0123456789012345678901234567890123456789"] {
            let into = format!("{reference}-{way:?}");
            let error = bench
                .check_out(way, &bench.repository().at(Some(reference)), &into)
                .unwrap_err();
            assert!(error.to_string().contains(reference), "{error}");
            assert_eq!(names(&bench.path(&into)), [] as [&str; 0]);
        }
    }
}

#[test]
fn modes_and_times_are_the_same_everywhere_h29() {
    let bench = Bench::new();
    let repository = Repository {
        commit_time: true,
        ..bench.repository()
    };
    bench.both(&repository, "into");
    for (name, mode) in [
        ("file", 0o644),
        ("run", 0o755),
        ("deep", 0o755),
        ("deep/down/f", 0o644),
        ("link", 0o777),
    ] {
        let metadata = std::fs::symlink_metadata(bench.path("into-Library").join(name)).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o7777, mode, "{name}");
        assert_eq!(metadata.mtime(), 1_500_000_000, "{name}");
    }
}

/// What attributes make of files: line endings, encodings, keywords; what they only name for other programs changes nothing.
#[test]
fn attributes_of_a_repository_hold_both_ways() {
    let bench = Bench::new();
    bench.shell(
        r#"git init -q -b main a; cd a; mkdir sub
        printf '*.crlf text eol=crlf\n*.lf text eol=lf\n*.auto text=auto\n*.id ident\n*.big filter=lfs diff=lfs merge=lfs -text\nleft-out export-ignore\n' >.gitattributes
        printf '*.crlf -text\n' >sub/.gitattributes
        printf 'a\nb\n' >x.crlf; printf 'a\nb\n' >sub/x.crlf; printf 'a\r\nb\r\n' >x.lf; printf 'a\r\nb\n' >x.auto
        printf '$Id$\n' >x.id; printf 'version https://git-lfs.github.com/spec/v1\n' >x.big; echo x >left-out; : >empty
        printf x >"$(printf 'not-utf8-\377')"; printf x >'with space'; ln -s no/where dangling; chmod 755 empty
        head -c 300000 /dev/urandom >random
        git add .; git commit -qm 1"#,
    );
    bench.both(&bench.serve("a"), "into");
    assert_eq!(
        std::fs::read(bench.path("into-Library/x.crlf")).unwrap(),
        b"a\r\nb\r\n"
    );
    assert_eq!(
        std::fs::read(bench.path("into-Library/sub/x.crlf")).unwrap(),
        b"a\nb\n"
    );
}

#[test]
fn a_kept_git_directory_is_shallow_and_the_same_each_time_h29() {
    let bench = Bench::new();
    let repository = Repository {
        keep_git_directory: true,
        ..bench.repository()
    };
    for way in WAYS {
        for into in ["a", "b"] {
            bench
                .check_out(way, &repository, &format!("{into}-{way:?}"))
                .unwrap();
        }
        bench.shell(&format!(
            "diff -r a-{way:?} b-{way:?}; cd a-{way:?}; test -z \"$(git status --short)\"
             git fsck --strict; test \"$(git rev-list --all)\" = \"$(git rev-parse HEAD)\""
        ));
        bench.shell(&format!(
            "test \"$(git -C a-{way:?} for-each-ref --format='%(refname)' refs/heads)\" = refs/heads/trunk"
        ));
        let whole = Repository {
            depth: Depth::Whole,
            ..repository.clone()
        };
        bench.check_out(way, &whole, &format!("c-{way:?}")).unwrap();
        bench.shell(&format!(
            "test \"$(git -C c-{way:?} rev-list HEAD | wc -l)\" -eq 3"
        ));
    }
    // What git asks its own directory, it answers the same.
    bench.shell(
        "for way in Program Library; do cd a-$way
         { git log --format='%H %s'; git for-each-ref; git remote -v; git config --list; git rev-parse --is-shallow-repository
           cat .git/HEAD .git/shallow; git ls-files --stage; } >../said-$way; cd ..; done; diff said-Program said-Library",
    );
}

#[test]
fn a_subdirectory_is_one_of_the_repository_cve_2026_33748() {
    let bench = Bench::new();
    let at = |path: &str| Repository {
        subdirectory: Some(path.to_owned()),
        ..bench.repository()
    };
    bench.both(&at("deep/down"), "into");
    assert_eq!(names(&bench.path("into-Library")), ["f"]);
    for way in WAYS {
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
            let into = format!("refused-{number}-{way:?}");
            let error = bench.check_out(way, &at(path), &into).unwrap_err();
            assert!(error.to_string().contains(path), "{error}");
            assert_eq!(names(&bench.path(&into)), [] as [&str; 0]);
        }
    }
}

#[test]
fn submodules_come_along_by_full_and_relative_addresses_h29() {
    let bench = Bench::new();
    bench.shell(&format!(
        "git init -q -b main inner; cd inner; git submodule --quiet add {0} r; git commit -qm inner; cd ..
         git clone -q --mirror inner inner.git
         git init -q -b main s; cd s; git submodule --quiet add --name 'n a/me' {0} deep/sub
         git -C deep/sub checkout -q v1; git submodule --quiet add --name '{1}' {0} rooted; git add .; git commit -qm s",
        bench.server.url("/r.git"),
        // A name that looks like a path from the root is one below git's own directory all the same.
        bench.path("canary").display()
    ));
    bench
        .server
        .keep_repository("/inner.git", &bench.path("inner.git"));
    bench.shell(&format!(
        "cd s; git submodule --quiet add {} inner; git config -f .gitmodules submodule.inner.url ../inner.git
         git config -f .gitmodules submodule.left.path left; git config -f .gitmodules submodule.left.url ../none.git
         git add .; git commit -qm relative",
        bench.server.url("/inner.git")
    ));
    let served = bench.serve("s");
    bench.both(&served, "into");
    assert_eq!(bench.lines("into-Library/deep/sub"), 1);
    assert_eq!(bench.lines("into-Library/inner/r"), 3);
    let without = Repository {
        submodules: false,
        ..served.clone()
    };
    bench.both(&without, "without");
    assert_eq!(names(&bench.path("without-Library/inner")), [] as [&str; 0]);
    let kept = Repository {
        keep_git_directory: true,
        ..served
    };
    for way in WAYS {
        bench.check_out(way, &kept, &format!("kept-{way:?}")).unwrap();
        bench.shell(&format!(
            "cd kept-{way:?}; test -z \"$(git status --short)\"; git submodule status --recursive | cut -d' ' -f1-3 >../status-{way:?}
             git -C inner/r rev-parse HEAD"
        ));
    }
    bench.shell("diff status-Program status-Library");
    assert!(!bench.path("canary").exists());
}

#[test]
fn over_http_credentials_are_given_when_asked_for_and_never_shown_h30() {
    // `user:s3cret`
    const SECRET: &str = "Basic dXNlcjpzM2NyZXQ=";
    let bench = Bench::new();
    let server = &bench.server;
    server.require(SECRET);
    let basic = GitAuthorization::Basic {
        username: "user".into(),
        password: Secret::new("s3cret"),
    };
    let header = GitAuthorization::Header(Secret::new(SECRET));
    for way in WAYS {
        for (number, authorization) in [basic.clone(), header.clone()].into_iter().enumerate() {
            let repository = Repository {
                authorization: Some(authorization),
                keep_git_directory: true,
                ..bench.repository()
            };
            let into = format!("into-{number}-{way:?}");
            bench.check_out(way, &repository, &into).unwrap();
            assert_eq!(bench.lines(&into), 3);
        }
        let named = format!("http://user:s3cret@{}/r.git", server.address());
        let repository = Repository {
            keep_git_directory: true,
            ..Repository::new(named)
        };
        bench
            .check_out(way, &repository, &format!("named-{way:?}"))
            .unwrap();
        for into in ["into-0", "into-1", "named"] {
            bench.shell(&format!(
                "test -d {into}-{way:?}/.git; ! grep -r -e s3cret -e dXNlcjpzM2NyZXQ {into}-{way:?}"
            ));
        }
        let wrong = Repository::new(format!("http://user:wr0ng-pw@{}/r.git", server.address()));
        let error = bench
            .check_out(way, &wrong, &format!("wrong-{way:?}"))
            .unwrap_err();
        let text = format!("{error} {error:?}");
        assert!(!text.contains("wr0ng-pw") && text.contains("127.0.0.1"), "{text}");
        // Another host that the settings know nothing of gets nothing.
        let other = FileServer::start();
        let stranger = Repository {
            authorization: Some(basic.clone()),
            ..Repository::new(other.url("/r.git"))
        };
        assert!(
            bench
                .check_out(way, &stranger, &format!("stranger-{way:?}"))
                .is_err()
        );
        assert!(
            other
                .seen()
                .iter()
                .all(|seen| !seen.headers.contains_key("authorization"))
        );
    }
}

#[test]
fn what_the_library_cannot_reach_takes_the_program_and_says_so() {
    let bench = Bench::new();
    bench.server.keep_directory("/files.git", &bench.path("r.git"));
    let files = Repository::new(bench.server.url("/files.git"));
    bench.check_out(Way::Program, &files, "files").unwrap();
    bench.shell(
        "git init -q -b main wide; cd wide; echo '*.txt working-tree-encoding=UTF-16LE' >.gitattributes
         printf 'w\\n' | iconv -t UTF-16LE >wide.txt; git add .; git commit -qm 1
         cd ..; git init -q --object-format=sha256 long; cd long; git commit -q --allow-empty -m 1",
    );
    let (wide, long) = (bench.serve("wide"), bench.serve("long"));
    for (into, repository) in [("wide", &wide), ("long", &long)] {
        bench
            .check_out(Way::Program, repository, &format!("{into}-Program"))
            .unwrap();
    }
    for (number, (url, reason)) in [
        (files.url.as_str(), "gives files"),
        (&wide.url, "its file wide.txt has the encoding UTF-16LE"),
        (&long.url, "SHA-256"),
        ("ssh://git@h.test/r.git", "ssh"),
        ("git@h.test:r.git", "ssh"),
    ]
    .into_iter()
    .enumerate()
    {
        let into = format!("into-{number}");
        let error = bench
            .check_out(Way::Library, &Repository::new(url), &into)
            .unwrap_err();
        assert!(matches!(error, RemoteError::NoGit { .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains(reason) && text.contains("install git"), "{text}");
    }
}
