//! Bad input of `lifecycle slug`: what is said, how it ends, and that nothing is left of it.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::accounts::is_root;
use crate::support::file_server::FileServer;
use crate::support::{Finished, Machine, images};

/// Path, mode, owner, seconds and nanoseconds of its time, and bytes or a link's target.
type Found = (PathBuf, u32, u32, i64, i64, Vec<u8>);

/// Everything below a directory, as it is.
pub(super) fn content(directory: &Path) -> Vec<Found> {
    let (mut found, mut waiting) = (Vec::new(), vec![directory.to_owned()]);
    while let Some(path) = waiting.pop() {
        let metadata = path.symlink_metadata().unwrap();
        let bytes = if metadata.is_dir() {
            waiting.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            Vec::new()
        } else if metadata.is_symlink() {
            fs::read_link(&path)
                .unwrap()
                .into_os_string()
                .into_encoded_bytes()
        } else {
            fs::read(&path).unwrap()
        };
        let time = (metadata.mtime(), metadata.mtime_nsec());
        found.push((path, metadata.mode(), metadata.uid(), time.0, time.1, bytes));
    }
    found.sort();
    found
}

/// A machine with an app, buildpacks, and a cache that a good build has left.
struct Bench {
    machine: Machine,
    cache: Vec<Found>,
}

impl Bench {
    fn new() -> Self {
        let machine = Machine::with_builder();
        machine.files("app", &[("page", "hello\n"), ("Procfile", "web: cat page\n")]);
        let bench = Self {
            machine,
            cache: Vec::new(),
        };
        let keep =
            "echo compiled; mkdir -p \"$2/deep\"; echo x >>\"$2/deep/count\"; ln -sf deep/count \"$2/link\"";
        bench.buildpack("good", &[("compile", keep)]);
        // What everything that fails does to the cache first.
        let spoil = "rm -rf \"$2\"/*; echo spoilt >\"$2/spoilt\"; echo 'the last words'";
        bench.buildpack("failing", &[("compile", &format!("{spoil}; exit 7"))]);
        bench.buildpack("killed", &[("compile", &format!("{spoil}; kill -9 $$"))]);
        bench.buildpack("never", &[("detect", "exit 1"), ("compile", "true")]);
        for (name, release) in [
            ("open-list", "default_process_types:\\n  web: [\\n"),
            ("no-types", "default_process_types: web\\n"),
            ("bad-type", "default_process_types:\\n  we b: run\\n"),
            ("bad-var", "config_vars:\\n  A-B: c\\n"),
            ("anchor", "config_vars:\\n  A: &x c\\n"),
        ] {
            let release = format!("printf '{release}'");
            bench.buildpack(name, &[("compile", spoil), ("release", &release)]);
        }
        bench.build(&["-b", "good"]).with_code(0);
        assert!(bench.machine.path("slug.tgz").exists());
        fs::remove_file(bench.machine.path("slug.tgz")).unwrap();
        let cache = content(&bench.machine.path("cache"));
        assert_eq!(cache.len(), 4);
        Self { cache, ..bench }
    }

    fn buildpack(&self, name: &str, scripts: &[(&str, &str)]) {
        let detect = format!("echo {name}");
        let scripts = [&[("detect", detect.as_str())], scripts].concat();
        for (script, text) in scripts {
            let text = format!("#!/bin/sh\n{text}\n");
            self.machine.files(name, &[(&format!("bin/{script}"), &text)]);
        }
    }

    /// `lifecycle slug build app` with more words.
    fn build(&self, words: &[&str]) -> Finished {
        self.build_of("app", words)
    }

    fn build_of(&self, source: &str, words: &[&str]) -> Finished {
        let own = [
            "slug",
            "build",
            source,
            "-o",
            "slug.tgz",
            "--cache",
            "./cache",
            "--build-image",
            images::BUILD,
            "--run-image",
            images::RUN,
        ];
        self.machine.lifecycle(&[&own[..], words].concat()).run()
    }

    /// It must have failed so, and have left everything as it was.
    #[track_caller]
    fn refused(&self, finished: Finished, code: i32, message: &str) -> Finished {
        let finished = finished.with_code(code).says(message);
        assert_eq!(content(&self.machine.path("cache")), self.cache, "{message}");
        for left in ["slug.tgz", "cache.next", "cache.previous"] {
            assert!(!self.machine.path(left).exists(), "{message}: {left}");
        }
        finished
    }

    fn shell(&self, script: &str) {
        let mut shell = Command::new("sh");
        let output = shell
            .args(["-euc", script])
            .current_dir(self.machine.path(""))
            .output();
        let output = output.unwrap();
        assert!(
            output.status.success(),
            "{script}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

#[test]
fn no_buildpack_takes_the_app() {
    let bench = Bench::new();
    bench.refused(
        bench.build(&["--detect", "never"]),
        1,
        "Unable to select a buildpack: none of never takes the app; choose one with `--buildpack`, or list some in `.buildpacks`",
    );
    bench.refused(
        bench.build(&[]),
        1,
        "Unable to select a buildpack: there is none to try; choose one with `--buildpack`",
    );
    bench.shell("printf '%s\\n' \"$PWD/good\" \"$PWD/never\" >app/.buildpacks");
    let message = format!(
        "buildpack {} of .buildpacks does not take the app, so nothing is built",
        bench.machine.text("never")
    );
    bench.refused(bench.build(&[]), 1, &message);
}

/// Whatever is wrong with the second buildpack, the first has not compiled.
#[test]
fn a_buildpack_that_does_not_exist_stops_the_build_mp_06() {
    let bench = Bench::new();
    let server = FileServer::start();
    server.keep("/text.tgz", "not an archive", &[]);
    bench.shell("mkdir -p other; touch other/file; tar czf other.tgz other");
    let at = |path: &str| server.url(path);
    for (address, message) in [
        (
            at("/missing.tgz"),
            "cannot fetch buildpack ADDRESS: there is nothing at that address",
        ),
        (at("/missing.git#v1"), "cannot fetch buildpack ADDRESS: "),
        (at("/text.tgz"), "ADDRESS: "),
        (
            "http://127.0.0.1:1/b.tgz".to_owned(),
            "cannot fetch buildpack ADDRESS: ",
        ),
        (
            "./nowhere".to_owned(),
            "`ADDRESS` is not a buildpack: there is no such directory or archive",
        ),
        (
            "ftp://h.test/b.tgz".to_owned(),
            "`ADDRESS` is not a buildpack: nobody here speaks `ftp`",
        ),
        (
            "./other.tgz".to_owned(),
            "cannot fetch buildpack ADDRESS: there is no bin/compile in it, so it is no classic buildpack",
        ),
    ] {
        let message = message.replace("ADDRESS", &address);
        bench
            .refused(bench.build(&["-b", "good", "-b", &address]), 1, &message)
            .does_not_say("compiled");
    }
}

#[test]
fn a_compile_that_fails_among_others_ends_the_build_with_its_code_sb_04() {
    let bench = Bench::new();
    for (name, code) in [("failing", 7), ("killed", 137)] {
        let message = format!("bin/compile of {name} failed with exit code {code}");
        bench
            .refused(
                bench.build(&["-b", "good", "-b", name, "-b", "never"]),
                code,
                &message,
            )
            .says("-----> good app detected\n       compiled\n")
            .says("       the last words\n")
            .does_not_say("never does not take the app");
    }
}

#[test]
fn a_bad_line_of_a_procfile_is_named_pf_06() {
    let bench = Bench::new();
    for (text, message) in [
        (
            "web: a\nnonsense\n",
            "Procfile:2: expected `name: command`, found `nonsense`",
        ),
        (
            "# types\n\nwe b: a\n",
            "Procfile:3: `we b` is not the name of a process type; use letters, digits, `-` and `_`",
        ),
        (
            "web: a\r\nworker:\r\n",
            "Procfile:2: process type `worker` has no command",
        ),
    ] {
        fs::write(bench.machine.path("app/Procfile"), text).unwrap();
        bench.refused(bench.build(&["-b", "good"]), 1, message);
        // The same of a slug that is to be run.
        bench.refused(
            bench
                .machine
                .lifecycle(&["slug", "run", "app", "--run-image", images::RUN, "start", "web"])
                .run(),
            1,
            message,
        );
    }
}

#[test]
fn a_malformed_release_is_named() {
    let bench = Bench::new();
    for (name, message) in [
        ("open-list", "bin/release:2: `]` is missing"),
        (
            "no-types",
            "bin/release: `default_process_types`: expected names with values",
        ),
        (
            "bad-type",
            "`we b` is not the name of a process type; use letters, digits, `-` and `_`",
        ),
        (
            "bad-var",
            "`A-B` is not the name of a config var; use letters, digits and `_`, and no digit first",
        ),
        ("anchor", "bin/release:2: "),
    ] {
        bench
            .refused(bench.build(&["-b", name]), 1, message)
            .says("the last words");
    }
}

#[test]
fn a_hostile_archive_is_refused_as_source_and_as_slug_sl_08() {
    let bench = Bench::new();
    bench.shell(
        "mkdir h; cd h; echo x >f; echo 'web: true' >Procfile
         tar cf ../up.tar --transform 's,^f$,../escaped,' f
         mkdir ../outside; ln -s ../outside link; tar cf ../through.tar link; tar rf ../through.tar --transform 's,^f$,link/escaped,' f
         ln -s /etc etc; tar cf ../absolute.tar etc; tar rf ../absolute.tar --transform 's,^f$,etc/escaped,' f
         tar cf ../link.tar Procfile; ln -sf /etc/passwd Procfile; tar cf ../outside.tar Procfile
         head -c 2000 /dev/urandom >../garbage.tar; head -c 700 ../up.tar >../short.tar",
    );
    // Devices need no root in an archive: they are an entry like any other.
    let mut device = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Block);
    header.set_device_major(8).unwrap();
    header.set_device_minor(0).unwrap();
    header.set_mode(0o666);
    header.set_size(0);
    device.append_data(&mut header, "disk", &[][..]).unwrap();
    fs::write(bench.machine.path("device.tar"), device.into_inner().unwrap()).unwrap();
    for (archive, message) in [
        ("up.tar", "leads out of the directory"),
        ("through.tar", "cannot unpack"),
        ("absolute.tar", "cannot unpack"),
        ("outside.tar", "Procfile: it is a link that leads out of "),
        ("garbage.tar", "garbage.tar: "),
        ("short.tar", "short.tar: "),
        (
            "device.tar",
            "the archive holds the device \"disk\", and devices are refused here",
        ),
    ] {
        let archive = &format!("./{archive}");
        let run = ["slug", "run", archive, "--run-image", images::RUN];
        let import = [
            "slug",
            "import",
            archive,
            "-t",
            "slugs/hostile",
            "--run-image",
            images::RUN,
        ];
        let all: [&[&str]; 3] = [&run, &import, &["slug", "inspect", archive]];
        let others = all.map(|words| bench.machine.lifecycle(words).run());
        for finished in others
            .into_iter()
            .chain([bench.build_of(archive, &["-b", "good"])])
        {
            bench.refused(finished, 1, message).does_not_say("root:x:0:0");
        }
        for outside in [
            bench.machine.path("escaped"),
            bench.machine.path("outside/escaped"),
            bench.machine.store().join("escaped"),
            "/etc/escaped".into(),
        ] {
            assert!(!outside.exists(), "{archive}: {}", outside.display());
        }
    }
    bench
        .machine
        .lifecycle(&["inspect", "store:slugs/hostile"])
        .fails(1);
}

#[test]
fn a_config_var_whose_name_is_none_is_refused() {
    let bench = Bench::new();
    bench.machine.files("vars", &[("GOOD", "x"), ("1BAD", "x")]);
    for (words, name) in [
        (["-e", "A-B=c"], "A-B"),
        (["-e", "1A=c"], "1A"),
        (["-e", "é=c"], "é"),
        (["--env-dir", "vars"], "1BAD"),
    ] {
        let message = format!(
            "`{name}` is not the name of a config var; use letters, digits and `_`, and no digit first"
        );
        bench
            .refused(bench.build(&[&["-b", "good"], &words[..]].concat()), 1, &message)
            .does_not_say("compiled");
    }
    for text in ["=c", "../x=c", "A B=c"] {
        bench.refused(
            bench.build(&["-b", "good", "-e", text]),
            1,
            &format!("{text:?} is not NAME or NAME=VALUE"),
        );
    }
}

#[test]
fn a_slug_that_does_not_fit_on_the_disk_leaves_nothing() {
    let bench = Bench::new();
    let line = |number: u64| format!("{:016x}\n", number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let noise: String = (0..60_000).map(line).collect();
    fs::write(bench.machine.path("app/noise"), noise).unwrap();
    fs::create_dir(bench.machine.path("small")).unwrap();
    let script = r#"
        mount -t tmpfs -o size=64k tmpfs small
        "$@"; code=$?
        [ -z "$(ls -A small)" ] || { ls -lA small; exit 97; }
        exit "$code""#;
    let mut wrapper = vec!["unshare", "--mount"];
    if !is_root() {
        wrapper.extend(["--map-root-user", "--map-auto"]);
    }
    let words = [
        "slug",
        "build",
        "app",
        "-b",
        "good",
        "-o",
        "small/slug.tgz",
        "--cache",
        "none",
        "--build-image",
        images::BUILD,
        "--run-image",
        images::RUN,
    ];
    bench
        .machine
        .lifecycle(&words)
        .under(&[&wrapper[..], &["sh", "-c", script, "sh"]].concat())
        .fails(1)
        .says("No space left on device")
        .says("/small/");
}
