//! The rows of kaniko.md 5.1 to 5.3 that concern a whole build, each with a canary outside that must not change.
//! `docs/security.md` lists them with those that are held elsewhere.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::PathBuf;
use std::sync::Arc;

use lifecycle_dockerfile::GitReference;
use lifecycle_executor::{Checkout, Download, ExecutorError, Remote, RemoteError, Secret, unpack_context};
use lifecycle_image::{
    BytesLayer, Compression, DiffId, Digest, Family, History, Image, MediaType, Platform, mutate,
};
use lifecycle_layers::{Entry, Kind};

use crate::support::{Bench, Built, contains, everything, holds, tar, tell};

/// A build with a file and a directory beside its context and store.
struct Arena {
    bench: Bench,
    before: Vec<Trace>,
}

/// Path, links, mode, owner, time and content.
type Trace = (PathBuf, u64, u32, u32, i64, i64, Vec<u8>);

impl Arena {
    fn new() -> Self {
        let bench = Bench::new();
        let outer = bench.directory.path();
        fs::create_dir(outer.join("outside")).unwrap();
        for path in ["canary", "outside/canary"] {
            fs::write(outer.join(path), "CANARY").unwrap();
        }
        let mut arena = Self {
            bench,
            before: Vec::new(),
        };
        arena.before = arena.traces();
        arena
    }

    fn outside(&self) -> PathBuf {
        self.bench.directory.path().join("outside")
    }

    fn traces(&self) -> Vec<Trace> {
        let outer = self.bench.directory.path();
        ["canary", "outside", "outside/canary"]
            .map(|name| {
                let path = outer.join(name);
                let metadata = fs::symlink_metadata(&path).unwrap();
                let content = fs::read(&path).unwrap_or_default();
                (
                    path,
                    metadata.nlink(),
                    metadata.mode(),
                    metadata.uid(),
                    metadata.mtime(),
                    metadata.mtime_nsec(),
                    content,
                )
            })
            .to_vec()
    }

    /// The canaries live, and nothing of them is in the image.
    fn is_safe(&self, built: Option<&Built>, name: &str) {
        assert_eq!(self.before, self.traces(), "{name}");
        assert_eq!(fs::read_dir(self.outside()).unwrap().count(), 1, "{name}");
        if let Some(built) = built {
            assert!(!contains(&everything(built), b"CANARY"), "{name}");
        }
    }
}

/// What an archive that tries to leave ends in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Refused(&'static str),
    /// Everything stays below, which is legal.
    Kept,
}

type Attack = (&'static str, Vec<(Entry<'static>, &'static [u8])>, End);

fn attacks(arena: &Arena) -> Vec<Attack> {
    let outside = arena.outside().into_os_string().into_encoded_bytes();
    let file = |path: &'static str| (Entry::file(path.as_bytes(), 4), &b"evil"[..]);
    let link = |path: &'static str, target: Vec<u8>| (Entry::symlink(path.as_bytes(), target), &b""[..]);
    let hard = |path: &'static str, target: &'static str| {
        let entry = Entry {
            kind: Kind::HardLink(target.as_bytes().into()),
            ..Entry::file(path.as_bytes(), 0)
        };
        (entry, &b""[..])
    };
    vec![
        ("dots", vec![file("../canary")], End::Refused("..")),
        ("dots within", vec![file("a/../../canary")], End::Refused("..")),
        ("dots behind one", vec![file("./../canary")], End::Refused("..")),
        (
            "through a link",
            vec![link("d", outside.clone()), file("d/canary")],
            End::Refused("No such file or directory"),
        ),
        (
            "through a relative link",
            vec![link("d", b"../../../../outside".to_vec()), file("d/canary")],
            End::Refused("No such file or directory"),
        ),
        (
            "through a chain",
            vec![link("e", outside), link("d", b"e".to_vec()), file("d/canary")],
            End::Refused("No such file or directory"),
        ),
        (
            "loop",
            vec![
                link("a", b"b".to_vec()),
                link("b", b"a".to_vec()),
                file("a/canary"),
            ],
            End::Refused("symbolic links"),
        ),
        (
            "too many dots in a link",
            vec![link("l", b"../../../../../../../../../../x".to_vec())],
            End::Kept,
        ),
        ("hard link", vec![hard("h", "../canary")], End::Refused("..")),
        (
            "hard link from the root",
            vec![hard("h", "/canary")],
            End::Refused("canary"),
        ),
    ]
}

/// A program's output for these bytes.
fn filter(program: &str, bytes: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut child = std::process::Command::new(program)
        .args(["-c"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(bytes).unwrap();
    child.wait_with_output().unwrap().stdout
}

fn ends_as(result: Result<Option<Built>, ExecutorError>, end: End, arena: &Arena, name: &str) {
    match (result, end) {
        (Ok(built), End::Kept) => arena.is_safe(built.as_ref(), name),
        (Err(error), End::Refused(why)) => {
            let message = tell(&error);
            assert!(message.contains(why), "{name}: {message}");
            assert!(!message.contains("CANARY"), "{name}: {message}");
            arena.is_safe(None, name);
        }
        (Ok(_), End::Refused(_)) => panic!("{name}: it builds"),
        (Err(error), End::Kept) => panic!("{name}: {}", tell(&error)),
    }
}

#[test]
fn archives_that_add_unpacks_stay_inside_cve_2026_28406() {
    let arena = Arena::new();
    for (name, entries, end) in attacks(&arena) {
        let plain = tar(&entries);
        for (form, bytes) in [
            ("plain", plain.clone()),
            ("gzip", filter("gzip", &plain)),
            ("xz (CVE-2014-9356)", filter("xz", &plain)),
        ] {
            fs::write(arena.bench.context().join("evil"), bytes).unwrap();
            let options = arena.bench.options("FROM busybox\nADD evil /x/y/\n");
            let result = arena.bench.try_build(&options).map(Some);
            if let Ok(Some(built)) = &result {
                assert!(built.layer(0).keys().all(|path| path.starts_with('x')), "{name}");
            }
            ends_as(result, end, &arena, &format!("{name}, {form}"));
        }
    }
}

#[test]
fn archives_that_are_contexts_stay_inside_cve_2026_28406() {
    let arena = Arena::new();
    for (number, (name, entries, end)) in attacks(&arena).into_iter().enumerate() {
        let path = arena.bench.directory.path().join("context.tar");
        fs::write(&path, tar(&entries)).unwrap();
        let into = arena.bench.directory.path().join(format!("into-{number}"));
        fs::create_dir(&into).unwrap();
        let result = unpack_context(fs::File::open(&path).unwrap(), "context.tar", &into);
        ends_as(result.map(|()| None), end, &arena, name);
    }
}

#[test]
fn layers_of_base_images_stay_inside_cve_2026_28406() {
    for isolation in ["overlay", "copy"] {
        let arena = Arena::new();
        for (name, entries, end) in attacks(&arena) {
            let bytes = tar(&entries);
            let diff_id = DiffId(Digest::of(&bytes));
            let layer = BytesLayer::new(MediaType::layer(Family::Oci, Compression::None), bytes, diff_id);
            let image = mutate::append(
                Image::empty(&Platform::linux("amd64")),
                Arc::new(layer),
                History::default(),
            );
            arena.bench.put("evil", image);
            let mut options = arena
                .bench
                .options("FROM evil\nCOPY --from=busybox / /\nENV PATH=/bin\nRUN ls / > /dev/null\n");
            if isolation == "copy" {
                options.isolation = lifecycle_executor::IsolationMode::Forced(lifecycle_sandbox::Rung::Copy);
            }
            let result = arena.bench.try_build(&options).map(Some);
            ends_as(result, end, &arena, &format!("{name}, {isolation}"));
        }
    }
}

/// A web that answers everything with the same bytes.
#[derive(Debug)]
struct Mirror(Vec<u8>);

impl Remote for Mirror {
    fn download(&self, _: &str, into: &mut fs::File) -> Result<Download, RemoteError> {
        std::io::Write::write_all(into, &self.0).unwrap();
        Ok(Download::default())
    }

    fn checkout(&self, _: &GitReference, into: &std::path::Path) -> Result<Checkout, RemoteError> {
        symlink("/", into.join("root")).unwrap();
        symlink("../../..", into.join("up")).unwrap();
        Ok(Checkout {
            commit: "0123456789abcdef0123456789abcdef01234567".into(),
        })
    }
}

#[test]
fn archives_from_addresses_stay_inside_cve_2020_10696() {
    let arena = Arena::new();
    for (name, entries, end) in attacks(&arena) {
        let options = arena
            .bench
            .options("FROM busybox\nADD --unpack http://host.test/a.tar /x/y/\n");
        let web = Mirror(tar(&entries));
        let result = arena.bench.try_build_with(&options, &web).map(Some);
        ends_as(result, end, &arena, name);
    }
}

#[test]
fn names_in_addresses_are_only_names_buildkit_2026() {
    let arena = Arena::new();
    let long = format!("http://host.test/{}", "n".repeat(4096));
    for (url, expected) in [
        ("http://host.test/a/..%2f..%2fcanary", "x/canary"),
        ("http://host.test/", "x/__unnamed__"),
        ("http://host.test", "x/__unnamed__"),
        ("http://host.test/a/%2e%2e", "x/__unnamed__"),
        ("http://host.test/a/%2e%2e%2f", "x/__unnamed__"),
        ("http://host.test/a%00b", "x/__unnamed__"),
        (long.as_str(), "x/__unnamed__"),
    ] {
        let options = arena.bench.options(&format!("FROM busybox\nADD {url} /x/\n"));
        let built = arena
            .bench
            .try_build_with(&options, &Mirror(b"bytes".to_vec()))
            .unwrap_or_else(|error| panic!("{url}: {}", tell(&error)));
        let paths: Vec<String> = built.layer(0).into_keys().collect();
        assert_eq!(paths, ["x", expected], "{url}");
        arena.is_safe(Some(&built), url);
    }
}

#[test]
fn links_of_a_repository_lead_nowhere_cve_2026_33748() {
    let arena = Arena::new();
    let outside = arena.outside();
    let path = outside.to_str().unwrap().trim_start_matches('/');
    for source in [
        format!("/g/root/{path}/canary"),
        "/g/up/outside/canary".to_owned(),
    ] {
        let options = arena.bench.options(&format!(
            "FROM scratch AS g\nADD https://host.test/r.git#main /g/\nFROM scratch\nCOPY --from=g {source} /x\n"
        ));
        let result = arena.bench.try_build_with(&options, &Mirror(Vec::new()));
        let message = result.map_or_else(|error| tell(&error), |_| panic!("{source}: it builds"));
        assert!(message.contains("not found"), "{message}");
        arena.is_safe(None, &source);
    }
}

#[test]
fn a_working_directory_is_no_descriptor_cve_2024_21626() {
    let arena = Arena::new();
    for number in 3..16 {
        let directory = format!("/proc/self/fd/{number}");
        let options = arena.bench.options(&format!(
            "FROM busybox\nWORKDIR {directory}\nRUN cat ../../../canary ../../outside/canary 2>/dev/null; ls ..; pwd; true\n"
        ));
        match arena.bench.try_build(&options) {
            Ok(built) => {
                assert!(!built.output.contains("canary"), "{directory}: {}", built.output);
                arena.is_safe(Some(&built), &directory);
            }
            Err(error) => {
                let message = tell(&error);
                assert!(message.contains("cannot make /proc/self/fd"), "{message}");
            }
        }
    }
    let built = arena
        .bench
        .build("FROM busybox\nRUN [\"ls\", \"/proc/self/fd\"]\n");
    // Its own three, and the directory that it lists.
    assert_eq!(built.output, "0\n1\n2\n3\n");
}

#[test]
fn a_shared_cache_that_is_swapped_leads_nowhere_cve_2024_23651() {
    let arena = Arena::new();
    let outside = arena.outside();
    let outside = outside.to_str().unwrap();
    // One stage turns a directory of the cache into a link to the machine's root and back, while the other has it
    // mounted and writes.
    let dockerfile = format!(
        "FROM busybox AS swap\n\
         RUN --mount=type=cache,target=/c,sharing=shared for i in $(seq 100); do mkdir -p /c/d; mv /c/d /c/e; ln -s {outside} /c/d; rm /c/d; mv /c/e /c/d; done\n\
         FROM busybox AS write\n\
         RUN --mount=type=cache,target=/c,sharing=shared for i in $(seq 100); do cat /c/d/canary >> /seen 2>/dev/null; echo evil > /c/d/canary 2>/dev/null; done; touch /seen\n\
         FROM busybox\nCOPY --from=swap /bin/sh /swap\nCOPY --from=write /seen /seen\n"
    );
    let built = arena.bench.build(&dockerfile);
    assert!(built.files().contains_key("seen"));
    arena.is_safe(Some(&built), "swap");
}

#[test]
fn propagation_is_no_option_of_a_mount_cve_2024_9407() {
    let arena = Arena::new();
    for option in [
        "bind-propagation=shared",
        "bind-propagation=rshared,ro",
        "bind-nonrecursive",
    ] {
        let message = arena.bench.fail(&format!(
            "FROM busybox\nRUN --mount=type=bind,{option},target=/m true\n"
        ));
        assert!(
            message.contains("Dockerfile:2:") && message.contains("bind-"),
            "{message}"
        );
    }
}

#[test]
fn name_services_of_an_image_are_not_loaded_cve_2019_14271() {
    let arena = Arena::new();
    arena
        .bench
        .file("nsswitch.conf", "passwd: hostile files\ngroup: hostile\n");
    arena.bench.file("libnss_hostile.so.2", "not a library");
    let built = arena.bench.build(
        "FROM busybox\nCOPY nsswitch.conf /etc/\nCOPY libnss_hostile.so.2 /lib/\nCOPY --chown=alice libnss_hostile.so.2 /x\n\
         USER alice\nRUN id -u\n",
    );
    assert_eq!(built.output, "1000\n");
    assert_eq!(built.files()["x"].owner, (1000, 1001));
}

#[test]
fn nothing_of_secrets_and_tokens_stays_kaniko_5_3() {
    let arena = Arena::new();
    let bench = &arena.bench;
    let dockerfile = "FROM busybox\n\
        RUN --mount=type=secret,id=s --mount=type=secret,id=s,env=TOKEN --mount=type=cache,target=/c \
        grep -q SECRET-7f.a /run/secrets/s && env | grep -q TOKEN=SECRET-7f.a && env | grep -q PROXY-51c.\n\
        ADD https://host.test/file /file\n\
        RUN --mount=type=secret,id=s,target=/etc/token cat /etc/token > /dev/null; exit EXIT\n";
    let mut logs = Vec::new();
    for exit in ["3", "0"] {
        let mut options = bench.options(&dockerfile.replace("EXIT", exit));
        options
            .secrets
            .insert("s".into(), Secret::new("SECRET-7f3a").unwrap());
        options.build_args = [("https_proxy", "http://user:PROXY-51c9@proxy.test")]
            .into_iter()
            .collect();
        match bench.try_build_with(&options, &Mirror(b"file".to_vec())) {
            Ok(built) => {
                assert_eq!(exit, "0");
                for text in ["SECRET-7f3a", "PROXY-51c9"] {
                    assert!(!contains(&everything(&built), text.as_bytes()), "{text}");
                }
                let steps = format!("{:?}", built.steps);
                logs.extend([built.output, built.warnings.concat(), steps]);
            }
            Err(error) => {
                assert_eq!(exit, "3");
                logs.push(tell(&error));
            }
        }
        logs.push(format!("{:?}", options.secrets));
    }
    for text in ["SECRET-7f3a", "PROXY-51c9"] {
        let log = logs.concat();
        assert!(!log.contains(text), "{text} in {log}");
        assert!(!holds(bench.store.path(), text), "{text} in the store");
    }
}
