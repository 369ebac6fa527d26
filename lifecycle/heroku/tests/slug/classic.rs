//! The bundled buildpack that runs classic buildpacks in a CNB build.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use lifecycle_spec::{BuildpackApi, LaunchToml, read_exec_d};

use crate::support::{buildpack, read};

/// The directories of a CNB build.
struct Build {
    directory: tempfile::TempDir,
}

impl Build {
    fn new(files: &[(&str, &str)]) -> Self {
        let build = Self {
            directory: tempfile::tempdir().unwrap(),
        };
        for directory in ["app", "layers", "platform/env"] {
            std::fs::create_dir_all(build.path(directory)).unwrap();
        }
        for (name, text) in files {
            let path = build.path(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        build
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn phase(&self, script: &str) -> Output {
        let bundled = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../buildpacks/classic");
        let mut command = Command::new(bundled.join("bin").join(script));
        command
            .current_dir(self.path("app"))
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("CNB_BUILDPACK_DIR", &bundled);
        command
            .env("CNB_LAYERS_DIR", self.path("layers"))
            .env("CNB_PLATFORM_DIR", self.path("platform"));
        command
            .env("CNB_BUILD_PLAN_PATH", self.path("plan"))
            .env("CNB_BP_PLAN_PATH", self.path("plan"));
        command
            .env("CNB_TARGET_DISTRO_NAME", "debian")
            .env("CNB_TARGET_DISTRO_VERSION", "12");
        command.output().unwrap()
    }

    fn build(&self) -> String {
        let output = self.phase("build");
        let log = [output.stdout, output.stderr]
            .map(|text| String::from_utf8(text).unwrap())
            .concat();
        assert!(output.status.success(), "{log}");
        log
    }

    fn launch(&self) -> LaunchToml {
        let path = self.path("layers/launch.toml");
        LaunchToml::parse(&path, read(&path).as_bytes(), BuildpackApi::V0_11)
            .unwrap()
            .0
    }
}

fn chosen(names: &[&str]) -> String {
    names
        .iter()
        .map(|name| buildpack(name).display().to_string())
        .collect::<Vec<_>>()
        .join(" ")
}

#[test]
fn nothing_is_detected_unless_somebody_asks_cs_01() {
    for (file, code) in [
        ("app/Procfile", 100),
        ("app/.buildpacks", 0),
        ("platform/env/BP_CLASSIC_BUILDPACKS", 0),
    ] {
        assert_eq!(
            Build::new(&[(file, "x: y")]).phase("detect").status.code(),
            Some(code),
            "{file}"
        );
    }
}

#[test]
fn results_become_layers_and_processes_cs_01_cs_02_cs_03() {
    let b = Build::new(&[
        ("app/contract", ""),
        ("app/Procfile", "web: exec serve \"$PORT\"\n"),
        (
            "platform/env/BP_CLASSIC_BUILDPACKS",
            &chosen(&["second", "contract"]),
        ),
        ("platform/env/SECRET", "s3cret"),
    ]);
    let log = b.build();
    for line in [
        "exported: nothing",
        "secret as variable: none, as file: s3cret",
        "STACK=debian-12 ",
        "WARNING: stack debian-12 is none of Heroku's: buildpacks may have no programs for it; BP_CLASSIC_STACK names another",
        "---> Process worker: sleep 100",
    ] {
        assert!(log.contains(line), "{log}");
    }
    for (layer, types) in [("cache", "cache"), ("exports", "build"), ("profile", "launch")] {
        assert_eq!(
            read(b.path(&format!("layers/{layer}.toml"))),
            format!("[types]\n{types} = true\n")
        );
    }
    assert_eq!(
        read(b.path("layers/exports/env.build/CONTRACT.override")),
        "from export"
    );
    assert_eq!(read(b.path("layers/profile/env.launch/PORT.default")), "5000");
    assert_eq!(
        read(b.path("layers/profile/env.launch/MOTTO.default")),
        "it's \"$HOME\" `id`"
    );
    let launch = b.launch();
    let commands: Vec<_> = launch
        .processes
        .iter()
        .map(|process| {
            (
                process.process_type.as_str(),
                process.command[2].as_str(),
                process.default,
            )
        })
        .collect();
    assert_eq!(
        commands,
        [
            ("web", "exec serve \"$PORT\"", true),
            ("worker", "sleep 100", false)
        ]
    );

    assert!(
        launch
            .processes
            .iter()
            .all(|process| process.command[..2] == ["bash", "-c"])
    );
    assert_eq!(log.matches("none of Heroku's").count(), 1, "{log}");

    // The cache is there the next time.
    assert!(b.build().contains("builds before this one: 1"));
}

#[test]
fn a_path_that_is_exported_is_put_before_what_was_there_cs_02() {
    let export = "#!/bin/sh\necho 'export PATH=/x/bin:$PATH LIBRARY_PATH=/x/lib OTHER=y' >\"$(dirname \"$0\")/../export\"\n";
    let b = Build::new(&[
        ("app/bp/bin/detect", "#!/bin/sh\necho X\n"),
        ("app/bp/bin/compile", export),
        ("app/.buildpacks", "# one\r\nbp\r\n"),
    ]);
    b.build();
    let variable = |name: &str| read(b.path("layers/exports/env.build").join(name));
    assert_eq!(variable("PATH.prepend"), "/x/bin");
    assert_eq!(variable("PATH.delim"), ":");
    assert_eq!(variable("LIBRARY_PATH.prepend"), "/x/lib");
    assert_eq!(variable("OTHER.override"), "y");
}

#[test]
fn a_failing_buildpack_fails_the_build_cs_05() {
    let b = Build::new(&[(
        "platform/env/BP_CLASSIC_BUILDPACKS",
        &chosen(&["second", "failing"]),
    )]);
    let output = b.phase("build");
    let log = String::from_utf8(output.stderr).unwrap();
    assert!(
        !output.status.success() && log.contains("ERROR: bin/compile of Failing failed"),
        "{log}"
    );
    // What may be missing: as an ordinary user nearly everything, and `/app` unless this machine happens to have it.
    let place = "WARNING: /app is no directory that can be written here; buildpacks that need it work with `lifecycle slug build`";
    assert_eq!(log.contains(place), !Path::new("/app").is_dir(), "{log}");
    let user = "WARNING: buildpacks run as user ";
    assert_eq!(log.contains(user), !rustix::process::geteuid().is_root(), "{log}");

    let list = format!(
        "{}\n{}\n",
        buildpack("second").display(),
        buildpack("never").display()
    );
    let b = Build::new(&[("app/.buildpacks", &list)]);
    let output = b.phase("build");
    assert!(
        !output.status.success()
            && String::from_utf8(output.stderr)
                .unwrap()
                .contains("does not take the app")
    );

    let b = Build::new(&[("app/.buildpacks", "/nowhere/b.git#v1\n")]);
    let output = b.phase("build");
    assert!(
        !output.status.success()
            && String::from_utf8(output.stderr)
                .unwrap()
                .contains("cannot be fetched")
    );

    let b = Build::new(&[("platform/env/BP_CLASSIC_BUILDPACKS", &chosen(&["malformed"]))]);
    let output = b.phase("build");
    let log = String::from_utf8(output.stderr).unwrap();
    assert!(
        !output.status.success() && log.contains("ERROR: bin/release:2: `[` is not a plain or quoted value"),
        "{log}"
    );
}

/// More than a pipe holds, in several writes: the first line is the name, and the rest is read too.
#[test]
fn a_buildpack_that_talks_while_it_detects_takes_the_app() {
    let talk = "#!/bin/sh\necho Talker\nsleep 0.1\ni=0; while [ $i -lt 5000 ]; do i=$((i+1)); echo \"reason number $i\"; done\n";
    let script = |name: &'static str| (name, talk);
    let b = Build::new(&[
        script("app/one/bin/detect"),
        script("app/two/bin/detect"),
        ("app/one/bin/compile", "#!/bin/sh\n"),
        ("app/two/bin/compile", "#!/bin/sh\n"),
        ("app/.buildpacks", "one\ntwo\n"),
    ]);
    assert_eq!(b.build().matches("---> Talker app detected").count(), 2);
}

#[test]
fn profile_scripts_reach_every_process_cs_03() {
    let b = Build::new(&[
        (
            "app/.profile.d/1.sh",
            "export A=\"one \\\"quoted\\\" \\\\ $HOME\"\nnot_exported=x\nexport PATH=/first:$PATH\necho said",
        ),
        ("app/.profile.d/2.sh", "export B=\"$A\nsecond line\"\nfalse"),
        ("app/.profile.d/3.sh", "export UNCHANGED=$UNCHANGED"),
    ]);
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../buildpacks/classic/lib/profile");
    for shell in ["bash", "dash", "/bin/busybox sh"] {
        let script = format!("{shell} {} 3>out", program.display());
        let mut command = Command::new("sh");
        command
            .args(["-c", &script])
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("UNCHANGED", "u")
            .env("HOME", "/root");
        let output = command.current_dir(b.path("app")).output().unwrap();
        let log = String::from_utf8(output.stderr).unwrap();
        assert!(
            output.status.success() && output.stdout.is_empty(),
            "{shell}: {log}"
        );
        assert!(
            log.contains("said\n") && log.contains("2.sh ended with status 1\n"),
            "{shell}: {log}"
        );
        let written = read(b.path("app/out"));
        let mut found = read_exec_d(Path::new("profile"), written.as_bytes()).unwrap();
        found.sort();
        let home = b.path("app").display().to_string();
        let first = format!("one \"quoted\" \\ {home}");
        let expected = [
            ("A", first.clone()),
            ("B", format!("{first}\nsecond line")),
            ("PATH", "/first:/usr/bin:/bin".to_owned()),
        ];
        assert_eq!(
            found,
            expected.map(|(name, value)| (name.to_owned(), value)),
            "{shell}"
        );
    }
}
