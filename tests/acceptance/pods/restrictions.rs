//! Builds under what a namespace restricts its pods by.

use std::fs;

use super::{Job, RANDOM_USER, Site, digest, imposed, message};
use crate::support::kubelet::{self, Imposed};

#[test]
fn a_dockerfile_without_run_is_built_in_a_restricted_pod_ps_01_ps_02_ps_03() {
    if !kubelet::is_possible() {
        return;
    }
    let site = Site::new();
    let source = site.source(
        "FROM scratch\nCOPY --chown=7:8 page.txt /srv/\nENV A=1\n",
        &[
            ("page.txt", "first\n"),
            (".dockerignore", "secret\n"),
            ("secret", "no\n"),
        ],
    );
    let job = site.job(&source, &[""; 0]);
    let ended = job.run("nonroot", None);
    assert_eq!(message(&ended)["tags"][0], site.registry.name("app:1"));
    assert_eq!(
        digest(&ended),
        site.local_digest(&source),
        "the same as on this machine"
    );
    let random = job.digest("random", Some(RANDOM_USER));
    assert_eq!(digest(&ended), random, "whoever the user is");
}

#[test]
fn buildpacks_build_in_a_restricted_pod_ps_01_ps_02_ps_03_ps_04_ps_05() {
    if !kubelet::is_possible() {
        return;
    }
    let site = Site::with_builder();
    let credentials = site
        .machine
        .files("credentials", &[("config.json", r#"{"auths": {}}"#)]);
    let config = credentials.join("config.json").to_str().unwrap().to_owned();
    let more = [
        "--env=FX_KEY=7",
        "--registry-config",
        &config,
        "--cache=pvc:cache",
    ];
    let arguments = [&site.builder()[..], &more.map(str::to_owned)].concat();
    let job = site.job(&site.machine.app(), &arguments);
    let ended = job.run("builder-user", None);
    let steps: Vec<&str> = ended.iter().map(|ended| ended.step.as_str()).collect();
    assert_eq!(
        steps,
        [
            "source", "analyze", "detect", "restore", "build", "export", "result"
        ]
    );
    // The variable reached the buildpacks through a Secret's links.
    let built = ended[4].finished.text();
    assert!(built.contains("fx-layers: none: metadata=no"), "{built}");
    // The next pod, with another user of the same group, reads the cache.
    let again = job.run("builder-user", Some(RANDOM_USER));
    assert_eq!(digest(&again), digest(&ended), "with layers from the cache");
    let restored = again[4].finished.text();
    assert!(
        restored.contains("build-cache: metadata=yes contents=yes"),
        "{restored}"
    );
    let random = job.digest("random", Some(RANDOM_USER));
    assert_eq!(random, digest(&ended), "whoever the user is");
}

#[test]
fn run_needs_more_than_restricted_and_the_error_names_the_lines_that_grant_it() {
    if !kubelet::is_possible() {
        return;
    }
    let site = Site::with_builder();
    let base = site.registry.name("run");
    let dockerfile = format!("FROM {base}\nUSER root\nRUN echo made >/made && chown 5:6 /made\n");
    let source = site.source(&dockerfile, &[]);
    let refused = site.job(&source, &["--pod-security", "restricted"]);
    let refused = refused.run("restricted", None);
    let last = refused.last().unwrap();
    assert_eq!(last.step, "build");
    assert!(!last.finished.status().success());
    let text = last.finished.text();
    let place = |line: &str| text.find(line).unwrap_or_else(|| panic!("no {line} in {text}"));
    assert!(
        place("`hostUsers: false`") < place("`procMount: Unmasked`"),
        "{text}"
    );
    let chroot = site.job(&source, &["--pod-security", "baseline"]);
    assert!(chroot.digest("baseline", None).starts_with("sha256:"));
    // Fully isolated: it sees no process but its own.
    let alone = format!("FROM {base}\nUSER root\nRUN test $(ls -d /proc/[0-9]* | wc -l) -lt 6\n");
    let full = site.job(&site.source(&alone, &[]), &["--pod-security", "user-namespace"]);
    assert!(full.digest("user-namespace", None).starts_with("sha256:"));
}

#[test]
fn a_memory_limit_that_is_hit_is_named_with_its_line_ps_09() {
    if !kubelet::is_possible() {
        return;
    }
    let site = Site::with_builder();
    let base = site.registry.name("run");
    let named = [
        "out of memory: 256 MiB is the limit",
        "resources: {limits: {memory:",
        "--pod-memory",
    ];
    // Both a command that the kernel ends and one whose child it ends: the shell goes on, and says 137.
    for hungry in ["exec tail /dev/zero", "tail /dev/zero; exit $?"] {
        let source = site.source(&format!("FROM {base}\nUSER root\nRUN {hungry}\n"), &[]);
        let job = site.job(&source, &["--pod-security", "baseline"]);
        let ended = job.run("hungry", None);
        let last = ended.last().unwrap();
        assert_eq!(last.step, "build");
        let text = last.finished.text();
        // Begun again it would hit the limit again, so that this is no build that was killed.
        assert_eq!(last.finished.status().code(), Some(1), "{text}");
        says(&text, &named);
    }
    // A buildpack whose child the kernel ends.
    let hungry = ["--buildpack=fx-fail-build", "--env=FX_FIRST=tail /dev/zero"].map(str::to_owned);
    let job = site.job(&site.machine.app(), &[&site.builder()[..], &hungry].concat());
    let ended = job.run("buildpack", None);
    let last = ended.last().unwrap();
    assert_eq!(last.step, "build");
    assert_eq!(last.finished.status().code(), Some(51));
    says(&last.finished.text(), &named);
}

#[test]
fn a_volume_that_is_full_is_named_with_its_lines_ps_09() {
    if !kubelet::is_possible() {
        return;
    }
    let site = Site::with_builder();
    let base = site.registry.name("run");
    let lines = [
        "emptyDir: {sizeLimit: …}",
        "resources: {limits: {ephemeral-storage: …}}",
    ];
    let run = |pod: &str, job: &Job<'_>, volume: &'static str| {
        site.send(pod, &job.source);
        let imposed = Imposed {
            room: Some(("build", volume, 16 << 20)),
            ..imposed(None)
        };
        let ended = site.kubelet(pod, imposed).run(&job.objects);
        let last = ended.last().unwrap();
        assert_eq!(last.step, "build", "{}", last.finished.text());
        assert!(!last.finished.status().success());
        last.finished.text()
    };
    // A command of the image, one that leaves nothing behind, and the step itself.
    let fill = "dd if=/dev/zero of=/big bs=1M count=64";
    let command = site.source(&format!("FROM {base}\nUSER root\nRUN {fill}\n"), &[]);
    let job = site.job(&command, &["--pod-security", "baseline"]);
    let text = run("command", &job, "/store");
    says(&text, &["no space is left at /store", lines[0], lines[1]]);
    let copy = site.source("FROM scratch\nCOPY big /\n", &[]);
    // Nothing makes it smaller.
    let mut number = 1_u64;
    let large: Vec<u8> = std::iter::repeat_with(|| {
        number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        number.to_be_bytes()
    })
    .take(4 << 20)
    .flatten()
    .collect();
    fs::write(copy.join("big"), large).unwrap();
    let text = run("copy", &site.job(&copy, &[""; 0]), "/store");
    says(&text, &lines);
    // A buildpack.
    let fill = "--env=FX_FIRST=dd if=/dev/zero of=/tmp/big bs=1M count=64";
    let hungry = ["--buildpack=fx-fail-build", fill].map(str::to_owned);
    let job = site.job(&site.machine.app(), &[&site.builder()[..], &hungry].concat());
    let text = run("buildpack", &job, "/tmp");
    says(&text, &["no space is left at /tmp", lines[0], lines[1]]);
}

#[track_caller]
fn says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part} is not in {text}");
    }
}

#[test]
fn a_command_that_ends_as_if_it_had_been_killed_is_not_begun_again_jc_10() {
    if !kubelet::is_possible() {
        return;
    }
    let site = Site::with_builder();
    let base = site.registry.name("run");
    for (code, ends_with) in [(137, 1), (143, 1), (113, 1), (7, 7)] {
        let source = site.source(&format!("FROM {base}\nUSER root\nRUN exit {code}\n"), &[]);
        let ended = site
            .job(&source, &["--pod-security", "baseline"])
            .run("pod", None);
        let last = ended.last().unwrap();
        assert_eq!(last.finished.status().code(), Some(ends_with));
        says(&last.finished.text(), &[&format!("exit code: {code}")]);
    }
}
