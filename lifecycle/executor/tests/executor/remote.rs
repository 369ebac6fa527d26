//! Contexts that are archives, and what ADD fetches (H27 to H30, J6).

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use lifecycle_dockerfile::GitReference;
use lifecycle_executor::{
    BuildContext, Checkout, Download, IgnoreFile, Ingredient, NamedContext, Offline, Options, Remote,
    RemoteError, unpack_context,
};
use lifecycle_image::{Digest, Layer};
use lifecycle_layers::Entry;

use crate::support::{Bench, tar, tell};

/// A web with one file, and one repository.
#[derive(Debug, Default)]
struct Web {
    content: Vec<u8>,
    last_modified: Option<i64>,
    fetched: AtomicUsize,
}

impl Remote for Web {
    fn download(&self, url: &str, into: &mut File) -> Result<Download, RemoteError> {
        self.fetched.fetch_add(1, Ordering::SeqCst);
        if url.ends_with("/missing") {
            return Err(RemoteError::new(format!("{url}: 404 Not Found")));
        }
        into.write_all(&self.content).unwrap();
        Ok(Download {
            last_modified: self.last_modified,
        })
    }

    fn checkout(&self, repository: &GitReference, into: &Path) -> Result<Checkout, RemoteError> {
        if repository.reference.as_deref() != Some("main") {
            return Err(RemoteError::new("no such branch"));
        }
        fs::create_dir(into.join("src")).unwrap();
        fs::write(into.join("src/main"), "code").unwrap();
        Ok(Checkout {
            commit: "0123456789abcdef0123456789abcdef01234567".into(),
        })
    }
}

const SUM_OF_X: &str = "sha256:2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881";

#[test]
fn downloads_h27() {
    let bench = Bench::new();
    let web = Web {
        content: b"x".to_vec(),
        last_modified: Some(1_500_000_000),
        ..Web::default()
    };
    let options = bench.options("FROM busybox\nADD http://example.test/a/file /x/\n");
    let built = bench.try_build_with(&options, &web).unwrap();
    let file = built.layer(0)["x/file"].clone();
    assert_eq!(
        (file.mode, file.owner, file.mtime, file.content.as_str()),
        (0o600, (0, 0), 1_500_000_000, "x")
    );
    let options = bench.options("FROM busybox\nADD --chmod=644 --chown=3:4 http://example.test/ /x/\n");
    let built = bench.try_build_with(&options, &web).unwrap();
    let file = built.layer(0)["x/__unnamed__"].clone();
    assert_eq!((file.mode, file.owner), (0o644, (3, 4)));
    let options = bench.options("FROM busybox\nADD http://example.test/missing /x/\n");
    let error = bench.try_build_with(&options, &web).err().unwrap();
    assert!(
        tell(&error).contains("Dockerfile:2:1: http://example.test/missing: 404"),
        "{}",
        tell(&error)
    );
    assert!(
        bench
            .try_build_with(
                &bench.options("FROM busybox\nADD http://example.test/x /x/\n"),
                &Offline
            )
            .is_err()
    );
}

#[test]
fn downloads_are_unpacked_only_when_asked_h27() {
    let bench = Bench::new();
    let web = Web {
        content: tar(&[(Entry::file(&b"in"[..], 1), b"x")]),
        ..Web::default()
    };
    for (flag, path) in [("", "x/a.tar"), ("--unpack=true ", "x/in")] {
        let options = bench.options(&format!(
            "FROM busybox\nADD {flag}http://example.test/a.tar /x/\n"
        ));
        let built = bench.try_build_with(&options, &web).unwrap();
        assert!(built.files().contains_key(path), "{flag}");
    }
}

#[test]
fn checksums_stop_the_build_and_nothing_is_remembered_h28_kaniko_5_2() {
    let bench = Bench::new();
    let lines = |sum: &str| format!("FROM busybox\nADD --checksum={sum} http://example.test/f /x\n");
    let good = Web {
        content: b"x".to_vec(),
        ..Web::default()
    };
    let evil = Web {
        content: b"evil".to_vec(),
        ..Web::default()
    };
    for _ in 0..2 {
        let error = bench
            .try_build_with(&bench.options(&lines(SUM_OF_X)), &evil)
            .err()
            .unwrap();
        let message = tell(&error);
        assert!(
            message.contains(SUM_OF_X) && message.contains("Dockerfile:2:1"),
            "{message}"
        );
    }
    let built = bench
        .try_build_with(&bench.options(&lines(SUM_OF_X)), &good)
        .unwrap();
    assert_eq!(built.content("x"), "x");
    // The next build is not served from the cache when the content has changed.
    assert!(
        bench
            .try_build_with(&bench.options(&lines(SUM_OF_X)), &evil)
            .is_err()
    );
}

#[test]
fn downloads_count_by_content_k3() {
    let bench = Bench::new();
    let options = bench.options("FROM busybox\nADD http://example.test/f /x\n");
    let one = Web {
        content: b"1".to_vec(),
        ..Web::default()
    };
    assert_eq!(bench.try_build_with(&options, &one).unwrap().executed, 1);
    assert_eq!(bench.try_build_with(&options, &one).unwrap().executed, 0);
    let two = Web {
        content: b"2".to_vec(),
        ..Web::default()
    };
    assert_eq!(bench.try_build_with(&options, &two).unwrap().executed, 1);
    let later = Web {
        content: b"2".to_vec(),
        last_modified: Some(5),
        ..Web::default()
    };
    assert_eq!(bench.try_build_with(&options, &later).unwrap().executed, 1);
}

#[test]
fn repositories_h29() {
    let bench = Bench::new();
    let build = |lines: &str| {
        let options = bench.options(&format!("FROM busybox\n{lines}\n"));
        bench.try_build_with(&options, &Web::default())
    };
    let built = build("ADD https://example.test/r.git#main /x").unwrap();
    assert_eq!(built.content("x/src/main"), "code");
    let built = build("ADD --exclude=src https://example.test/r.git#main /x").unwrap();
    assert!(!built.files().contains_key("x/src"));
    assert!(build("ADD --checksum=0123456 https://example.test/r.git#main /x").is_ok());
    let error = build("ADD --checksum=fedcba9 https://example.test/r.git#main /x")
        .err()
        .unwrap();
    assert!(
        tell(&error).contains("expected the digest fedcba9"),
        "{}",
        tell(&error)
    );
}

/// Also when the result is there already: it was fetched to know that.
#[test]
fn what_was_fetched_is_told_with_its_digest_p1() {
    let bench = Bench::new();
    let web = Web {
        content: b"x".to_vec(),
        ..Web::default()
    };
    let options = bench.options(
        "FROM busybox\nADD http://example.test/a/file https://example.test/r.git#main /x/\nCOPY --from=busybox /bin/sh /s\n",
    );
    for _ in 0..2 {
        let mut used = Vec::new();
        let told = |report: &lifecycle_executor::BuildReport| used.clone_from(&report.ingredients);
        bench.try_build_then(&options, &web, told).unwrap();
        let [
            Ingredient::Image {
                name,
                is_local: false,
                ..
            },
            file,
            repository,
        ] = used.as_slice()
        else {
            panic!("{used:?}")
        };
        assert_eq!(name, "busybox");
        let url = "http://example.test/a/file".to_owned();
        let digest = Digest::of(b"x");
        assert_eq!(*file, Ingredient::File { url, digest });
        let expected = Ingredient::Repository {
            url: "https://example.test/r.git".into(),
            reference: Some("main".into()),
            commit: "0123456789abcdef0123456789abcdef01234567".into(),
        };
        assert_eq!(*repository, expected);
    }
}

#[test]
fn archives_are_contexts_too_j6() {
    let bench = Bench::new();
    let plain = tar(&[
        (Entry::file(&b"f"[..], 1), b"F"),
        (Entry::file(&b"g"[..], 1), b"G"),
        (Entry::file(&b".dockerignore"[..], 2), b"g\n"),
        (Entry::symlink(&b"l"[..], &b"/etc/passwd"[..]), b""),
    ]);
    let path = bench.directory.path().join("context.tar");
    for bytes in [zstd::encode_all(&plain[..], 1).unwrap(), plain] {
        fs::write(&path, bytes).unwrap();
        let unpacked = bench.directory.path().join("unpacked");
        fs::create_dir(&unpacked).unwrap();
        unpack_context(fs::File::open(&path).unwrap(), "context.tar", &unpacked).unwrap();
        let mut options = bench.options("FROM busybox\nCOPY f g /x/\n");
        options.context = BuildContext::Directory(unpacked.clone());
        // An ignore file in an archive is just a file, unless somebody says otherwise.
        options.ignore = IgnoreFile::Absent;
        assert_eq!(bench.build_with(&options).content("x/g"), "G");
        options.ignore = IgnoreFile::Given {
            name: "ignore".into(),
            bytes: b"g\n".to_vec(),
        };
        assert!(bench.fail_with(&options).contains("not found"));
        options.dockerfile = b"FROM busybox\nCOPY l /x/\n".to_vec();
        assert!(
            bench.fail_with(&options).contains("not found"),
            "links end in the context"
        );
        fs::remove_dir_all(&unpacked).unwrap();
    }
    let mut options = bench.options("FROM busybox\nCOPY x /x/\n");
    options.context = BuildContext::Empty;
    assert!(
        bench
            .fail_with(&options)
            .contains("Dockerfile:2:1: \"/x\": not found")
    );
}

/// Moves `real` away and puts a link to `outside` in its place, again and again, while `work` goes on.
fn while_it_moves(real: &Path, outside: &Path, work: impl FnOnce()) {
    let over = std::sync::atomic::AtomicBool::new(false);
    let aside = real.with_extension("aside");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::SeqCst) {
                fs::rename(real, &aside).unwrap();
                std::os::unix::fs::symlink(outside, real).unwrap();
                fs::remove_file(real).unwrap();
                fs::rename(&aside, real).unwrap();
            }
        });
        // The mover ends even if this fails.
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        over.store(true, Ordering::SeqCst);
        if let Err(panic) = ended {
            std::panic::resume_unwind(panic);
        }
    });
}

/// Builds while files move. Whether that goes well depends on the moment; how it fails, and what is in the image, does not.
fn lead_nowhere(bench: &Bench, options: &Options, lines: &[&str], reasons: &[&str]) {
    let (mut built, mut failed) = (0, 0);
    let mut tries = 0;
    while tries < 40 || (built == 0 && tries < 4000) {
        tries += 1;
        for lines in lines {
            let mut options = options.clone();
            options.dockerfile = format!("FROM scratch\n{lines}\n").into_bytes();
            let image = bench.try_build(&options);
            // A layer is read while it is written: what goes wrong then is the layer's error.
            let image = image.map_err(|error| tell(&error)).and_then(|image| {
                let mut layers = image.image.layers().iter();
                let broken = layers.find_map(|layer| Layer::descriptor(&**layer).err());
                broken.map_or(Ok(image), |error| Err(format!("{error:?}")))
            });
            match image {
                Ok(image) => {
                    built += 1;
                    let all = crate::support::everything(&image);
                    assert!(!crate::support::contains(&all, b"CANARY"), "{lines}");
                }
                Err(message) => {
                    failed += 1;
                    assert!(
                        reasons.iter().any(|reason| message.contains(reason)) && !message.contains("CANARY"),
                        "{lines}: {message}"
                    );
                }
            }
        }
    }
    assert!(built > 0, "{failed} builds failed and none succeeded");
}

const MOVED: [&str; 5] = [
    "not found",
    "No such file",
    "changed",
    "symbolic links",
    "Not a directory",
];

/// A directory beside everything with a file that must not be seen.
fn outside(bench: &Bench) -> PathBuf {
    let outside = bench.directory.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("f"), "CANARY").unwrap();
    outside
}

#[test]
fn files_that_move_while_they_are_copied_lead_nowhere_cve_2018_15664() {
    let bench = Bench::new();
    let outside = outside(&bench);
    bench.file("d/f", "inside");
    while_it_moves(&bench.context().join("d"), &outside, || {
        let lines = ["COPY d/f /x", "COPY d /y", "COPY . /z"];
        lead_nowhere(&bench, &bench.options(""), &lines, &MOVED);
    });
}

/// What COPY --from reads from is a directory of this machine as well, when a context has that name.
#[test]
fn files_of_a_named_context_that_move_lead_nowhere_cve_2018_15664() {
    let bench = Bench::new();
    let outside = outside(&bench);
    let other = bench.directory.path().join("other");
    fs::create_dir_all(other.join("d")).unwrap();
    fs::write(other.join("d/f"), "inside").unwrap();
    let mut options = bench.options("");
    let context = NamedContext::Directory {
        path: other.clone(),
        ignore: IgnoreFile::Usual,
    };
    options.contexts.insert("other".to_owned(), context);
    while_it_moves(&other.join("d"), &outside, || {
        let lines = [
            "COPY --from=other d/f /x",
            "COPY --from=other d /y",
            "COPY --from=other --link . /z",
            "COPY --from=other --parents d/f /p/",
        ];
        lead_nowhere(&bench, &options, &lines, &MOVED);
    });
}

/// An archive that becomes a link to another one between the look and the unpacking.
#[test]
fn archives_that_move_while_they_are_unpacked_lead_nowhere_cve_2018_15664() {
    let bench = Bench::new();
    let archive = |content: &'static [u8]| tar(&[(Entry::file(&b"f"[..], content.len() as u64), content)]);
    let outside = bench.directory.path().join("outside.tar");
    fs::write(&outside, archive(b"CANARY")).unwrap();
    let inside = bench.context().join("a.tar");
    fs::write(&inside, archive(b"inside")).unwrap();
    while_it_moves(&inside, &outside, || {
        lead_nowhere(
            &bench,
            &bench.options(""),
            &["ADD a.tar /x/", "ADD --unpack=false a.tar /y", "ADD *.tar /z/"],
            &MOVED,
        );
    });
}
