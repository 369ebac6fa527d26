//! Configuration and history (sections G and L).

use lifecycle_executor::{IgnoreFile, NamedContext};
use lifecycle_image::mutate;
use serde_json::{Value, json};

use crate::support::{Bench, NOW};

fn container(bench: &Bench, lines: &str) -> Value {
    let built = bench.build(&format!("FROM busybox\n{lines}\n"));
    serde_json::to_value(&built.config().config).unwrap()
}

#[test]
fn instructions_set_the_configuration_g1_to_g12() {
    let bench = Bench::new();
    for (lines, key, expected) in [
        ("CMD a b", "Cmd", json!(["/bin/sh", "-c", "a b"])),
        ("CMD a", "ArgsEscaped", json!(true)),
        (
            "SHELL [\"/bin/ash\", \"-ec\"]\nCMD a",
            "Cmd",
            json!(["/bin/ash", "-ec", "a"]),
        ),
        ("CMD [\"a\"]\nCMD [\"b\"]", "Cmd", json!(["b"])),
        ("ENTRYPOINT [\"e\"]", "Entrypoint", json!(["e"])),
        ("ENTRYPOINT [\"e\"]", "Cmd", Value::Null),
        ("CMD [\"c\"]\nENTRYPOINT [\"e\"]", "Cmd", json!(["c"])),
        ("SHELL [\"/x\"]", "Shell", json!(["/x"])),
        ("ENV A=1 B=2\nENV A=3", "Env", json!(["PATH=/bin", "A=3", "B=2"])),
        ("LABEL a=1 b=2", "Labels", json!({"a": "1", "b": "2"})),
        (
            "EXPOSE 80-81 53/UDP",
            "ExposedPorts",
            json!({"80/tcp": {}, "81/tcp": {}, "53/udp": {}}),
        ),
        ("EXPOSE $UNSET", "ExposedPorts", Value::Null),
        ("VOLUME /a [b]", "Volumes", json!({"/a": {}, "[b]": {}})),
        ("USER alice:staff", "User", json!("alice:staff")),
        ("WORKDIR /a\nWORKDIR b", "WorkingDir", json!("/a/b")),
        ("STOPSIGNAL SIGQUIT", "StopSignal", json!("SIGQUIT")),
        (
            "HEALTHCHECK --interval=5s --retries=3 CMD x y",
            "Healthcheck",
            json!({"Test": ["CMD-SHELL", "x y"], "Interval": 5_000_000_000_u64, "Retries": 3}),
        ),
        ("HEALTHCHECK NONE", "Healthcheck", json!({"Test": ["NONE"]})),
        (
            "ONBUILD RUN x\nONBUILD COPY a b",
            "OnBuild",
            json!(["RUN x", "COPY a b"]),
        ),
        // WorkingDir is / when it was never set (L4).
        ("ENV a=b", "WorkingDir", json!("/")),
    ] {
        assert_eq!(container(&bench, lines)[key], expected, "{lines}");
    }
    let built = bench.build("FROM busybox\nMAINTAINER me\n");
    assert_eq!(built.config().author.as_deref(), Some("me"));
}

#[test]
fn scratch_gets_path_and_directory_e10() {
    let bench = Bench::new();
    let built = bench.build("FROM scratch\nLABEL a=b\n");
    let config = &built.config().config;
    assert_eq!(
        config.env.as_deref().unwrap(),
        ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]
    );
    assert_eq!(config.working_dir.as_deref(), Some("/"));
    assert!(built.image.layers().is_empty());
}

#[test]
fn an_entrypoint_clears_the_command_of_another_stage_g2() {
    let bench = Bench::new();
    let built = bench.build("FROM busybox AS one\nCMD [\"c\"]\nFROM one\nENTRYPOINT [\"e\"]\n");
    assert_eq!(built.config().config.cmd, None);
}

#[test]
fn unknown_keys_of_the_base_survive_l4() {
    let bench = Bench::new();
    let built = bench.build("FROM busybox\n");
    let image = mutate::configure(built.image, |config| {
        config.config.other.insert("Future".into(), json!({"x": 1}));
        config.other.insert("vendor".into(), json!("v"));
    });
    bench.put("future", image);
    let built = bench.build("FROM future\nENV A=b\n");
    assert_eq!(built.config().config.other["Future"]["x"], 1);
    assert_eq!(built.config().other["vendor"], "v");
}

#[test]
fn history_is_told_as_buildkit_tells_it_l1_l2() {
    let bench = Bench::new();
    bench.file("a", "A");
    let built = bench.build(
        "FROM busybox\nARG V=1\nENV E=2\nRUN true\nRUN [\"true\", \"x\"]\nCOPY --chown=1:2 a /b\nWORKDIR /w\nWORKDIR /\n\
         USER alice\nEXPOSE 80\nLABEL l=m\nCMD [\"c\", \"d\"]\nCOPY <<x /x\nx\nONBUILD RUN y\n",
    );
    let expected = [
        ("ARG V=1", true),
        ("ENV E=2", true),
        ("RUN |1 V=1 /bin/sh -c true # buildkit", false),
        ("RUN |1 V=1 true x # buildkit", false),
        ("COPY --chown=1:2 a /b # buildkit", false),
        ("WORKDIR /w", false),
        ("WORKDIR /", true),
        ("USER alice", true),
        ("EXPOSE [80/tcp]", true),
        ("LABEL l=m", true),
        ("CMD [\"c\" \"d\"]", true),
        ("COPY <<x /x # buildkit", false),
    ];
    let history = built.history();
    let history: Vec<(&str, bool)> = history
        .iter()
        .map(|(text, empty)| (text.as_str(), *empty))
        .collect();
    assert_eq!(history, expected);
    let lines = &built.config().history;
    assert!(
        lines[1..]
            .iter()
            .all(|line| line.comment.as_deref() == Some("buildkit.dockerfile.v0"))
    );
    assert!(
        lines[1..]
            .iter()
            .all(|line| line.created.as_deref() == Some("2023-11-14T22:13:20Z"))
    );
    assert_eq!(lines[0].created.as_deref(), Some("2020-01-01T00:00:00Z"));
    let filled = lines.iter().filter(|line| !line.empty_layer).count();
    assert_eq!(filled, built.image.layers().len());
    assert_eq!(built.config().created.as_deref(), Some("2023-11-14T22:13:20Z"));
    assert_eq!(built.config().architecture, "amd64");
}

#[test]
fn layers_without_a_line_get_one_l2() {
    let bench = Bench::new();
    let base = bench.build("FROM busybox\n").image;
    bench.put("silent", mutate::configure(base, |config| config.history.clear()));
    let built = bench.build("FROM silent\nENV a=b\n");
    let first = &built.config().history[0];
    assert_eq!(first.comment.as_deref(), Some("buildkit.exporter.image.v0"));
    assert!(!first.empty_layer);
}

#[test]
fn labels_of_the_command_line_come_last_g5() {
    let bench = Bench::new();
    let mut options = bench.options("FROM busybox\nLABEL a=1 b=2\n");
    options.labels = vec![("a".into(), "9".into())];
    let built = bench.build_with(&options);
    assert_eq!(built.config().label("a"), Some("9"));
    assert_eq!(built.config().label("b"), Some("2"));
    assert_eq!(built.history().len(), 1);
}

#[test]
fn directories_are_made_by_workdir_g10() {
    let bench = Bench::new();
    let built = bench
        .build("FROM busybox\nUSER alice\nWORKDIR /a/b\nWORKDIR ../c\nWORKDIR /etc/conf.d\nWORKDIR /sl/x\n");
    let made = built.layer(3);
    assert_eq!((made["a/b"].mode, made["a/b"].owner), (0o755, (1000, 1001)));
    assert_eq!(made["a"].owner, (1000, 1001));
    assert_eq!(built.order(2), ["a", "a/c"]);
    assert!(built.layer(1).is_empty(), "what exists is untouched");
    assert_eq!(built.order(0), ["etc", "etc/conf.d", "etc/conf.d/x"]);
    let message = bench.fail("FROM busybox\nWORKDIR /etc/passwd/x\n");
    assert!(
        message.contains("Dockerfile:2:1: mkdir /etc/passwd: not a directory"),
        "{message}"
    );
    let message = bench.fail("FROM busybox\nUSER nobody\nWORKDIR /x\n");
    assert!(
        message.contains("/etc/passwd of this stage has no user nobody"),
        "{message}"
    );
}

#[test]
fn triggers_fire_in_children_only_g14() {
    let bench = Bench::new();
    let base = bench.build("FROM busybox\nONBUILD RUN echo fired > /fired\nONBUILD ENV F=1\n");
    assert_eq!(base.history(), []);
    bench.put("base", base.image);
    let child = bench.build("FROM base\n");
    assert_eq!(child.content("fired"), "fired\n");
    assert_eq!(child.config().config.on_build, None);
    assert_eq!(child.config().config.env("F"), Some("1"));
    assert_eq!(child.history().len(), 2);
    bench.put("child", child.image);
    assert_eq!(bench.build("FROM child\n").history().len(), 2);
    let copying = bench.build("FROM busybox\nONBUILD COPY --from=busybox /etc/group /copied\n");
    bench.put("copying", copying.image);
    assert!(
        bench
            .build("FROM copying\n")
            .content("copied")
            .starts_with("root:")
    );
    let stages = bench.build("FROM busybox AS one\nONBUILD RUN echo $0 > /fired\nFROM one\n");
    assert!(stages.files().contains_key("fired"));
}

#[test]
fn only_what_the_target_needs_is_built_f5() {
    let bench = Bench::new();
    let dockerfile = "FROM busybox AS one\nRUN echo 1 > /one\nFROM nowhere AS bad\nRUN false\nFROM busybox AS three\nCOPY --from=0 /one /x\n";
    let built = bench.build(dockerfile);
    assert_eq!(built.content("x"), "1\n");
    let mut options = bench.options(dockerfile);
    options.target = Some("ONE".into());
    assert_eq!(bench.build_with(&options).content("one"), "1\n");
    options.target = Some("bad".into());
    let message = bench.fail_with(&options);
    assert!(
        message.contains("Dockerfile:3:6") && message.contains("nowhere"),
        "{message}"
    );
}

#[test]
fn everything_is_inherited_from_a_stage_f8() {
    let bench = Bench::new();
    let built = bench.build(
        "FROM busybox AS one\nENV A=1\nUSER alice\nWORKDIR /w\nENTRYPOINT [\"e\"]\nLABEL l=1\nVOLUME /v\nARG X=arg\n\
         FROM one\nRUN echo $A $X $(pwd) $(id -u)\n",
    );
    assert_eq!(built.output, "1 arg /w 1000\n");
    let config = &built.config().config;
    assert_eq!(config.entrypoint.as_deref().unwrap(), ["e"]);
    assert!(config.volumes.as_ref().unwrap().contains_key("/v"));
    assert_eq!(built.config().label("l"), Some("1"));
}

#[test]
fn named_contexts_replace_f9() {
    let bench = Bench::new();
    let other = bench.directory.path().join("other");
    std::fs::create_dir(&other).unwrap();
    std::fs::write(other.join("f"), "other").unwrap();
    std::fs::write(other.join("ignored"), "x").unwrap();
    std::fs::write(other.join(".dockerignore"), "ignored\n").unwrap();
    let changed = bench.build("FROM busybox\nRUN echo changed > /which\n");
    bench.put("changed", changed.image);
    let image = NamedContext::Image {
        source: None,
        reference: "changed".parse().unwrap(),
    };
    let mut options = bench
        .options("FROM alpine:latest\nCOPY --from=files . /x/\nRUN --mount=from=files,target=/m cat /m/f\n");
    options.contexts.insert("alpine".into(), image.clone());
    options.contexts.insert(
        "files".into(),
        NamedContext::Directory {
            path: other.clone(),
            ignore: IgnoreFile::Usual,
        },
    );
    let built = bench.build_with(&options);
    assert_eq!(built.content("which"), "changed\n");
    assert_eq!(built.content("x/f"), "other");
    assert!(!built.files().contains_key("x/ignored"));
    assert_eq!(built.output, "other");
    let mut options = bench.options("FROM busybox AS one\nRUN false\nFROM one\n");
    options.contexts.insert("one".into(), image);
    assert_eq!(bench.build_with(&options).content("which"), "changed\n");
    let mut options = bench.options("FROM files\n");
    options.contexts.insert(
        "files".into(),
        NamedContext::Directory {
            path: other,
            ignore: IgnoreFile::Absent,
        },
    );
    assert!(
        bench.fail_with(&options).contains("Dockerfile:1:6"),
        "a place is named"
    );
}

#[test]
fn times_end_at_the_epoch_m5_m6() {
    let bench = Bench::new();
    bench.file("a", "A");
    let dockerfile = "FROM busybox\nCOPY a /x/a\nRUN echo 1 > /r\nWORKDIR /w\nENV A=b\n";
    let mut digests = Vec::new();
    for now in [NOW, NOW + 1000] {
        let mut options = bench.options(dockerfile);
        options.now = now;
        options.no_cache = lifecycle_executor::NoCache::All;
        options.build_args = [("SOURCE_DATE_EPOCH", "1600000001")].into_iter().collect();
        let built = bench.build_with(&options);
        assert!(built.files().values().all(|found| found.mtime <= 1_600_000_001));
        let lines = &built.config().history;
        assert!(
            lines[1..]
                .iter()
                .all(|line| line.created.as_deref() == Some("2020-09-13T12:26:41Z"))
        );
        assert_eq!(lines[0].created.as_deref(), Some("2020-01-01T00:00:00Z"));
        digests.push(built.digest());
    }
    assert_eq!(digests[0], digests[1]);
    let mut options = bench.options(dockerfile);
    options.build_args = [("SOURCE_DATE_EPOCH", "context")].into_iter().collect();
    assert!(bench.fail_with(&options).contains("SOURCE_DATE_EPOCH"));
}

#[test]
fn errors_of_the_language_come_before_any_work() {
    let bench = Bench::new();
    for (dockerfile, place) in [
        ("FROM busybox\nCOPPY a b\n", "Dockerfile:2:1"),
        (
            "FROM busybox\nRUN echo 1\nFROM busybox\nCOPY --from=5 a b\n",
            "Dockerfile:4",
        ),
        ("FROM busybox\nRUN touch /x\nENV A=${X:?}\n", "Dockerfile:3"),
        ("FROM nowhere\n", "Dockerfile:1:6"),
        ("FROM busybox\nCOPY --from=nowhere a b\n", "Dockerfile:2:1"),
        ("# check=error=true\nfrom busybox\nRUN true\n", ""),
    ] {
        let message = bench.fail(dockerfile);
        assert!(message.contains(place), "{dockerfile}: {message}");
    }
}

#[test]
fn findings_are_told_and_can_stop_the_build_n2_b6() {
    let bench = Bench::new();
    let built = bench.build("FROM busybox\nMAINTAINER me\n");
    assert!(
        built
            .warnings
            .iter()
            .any(|warning| warning.contains("Dockerfile:2:1")),
        "{:?}",
        built.warnings
    );
    let message = bench.fail("# check=error=true\nFROM busybox\nMAINTAINER me\n");
    assert!(message.contains("lint violation"), "{message}");
}

#[test]
fn an_image_without_new_layers_is_as_old_as_its_base_l2() {
    let bench = Bench::new();
    let built = bench.build("FROM busybox\nLABEL a=b\n");
    assert_eq!(built.config().created.as_deref(), Some("2020-01-01T00:00:00Z"));
}

#[test]
fn the_top_of_a_configuration_l3() {
    let bench = Bench::new();
    let mut options = bench.options("FROM scratch\nMAINTAINER Ann\nENV a=b\n");
    options.platforms.target = lifecycle_dockerfile::Platform {
        variant: "v7".into(),
        ..lifecycle_dockerfile::Platform::new("linux", "arm")
    };
    let built = bench.build_with(&options);
    let config: serde_json::Value =
        serde_json::from_slice(&built.image.encode_config().unwrap().bytes).unwrap();
    let top = config.as_object().unwrap();
    for (key, value) in [
        ("author", "Ann"),
        ("architecture", "arm"),
        ("variant", "v7"),
        ("os", "linux"),
        ("created", "2023-11-14T22:13:20Z"),
    ] {
        assert_eq!(top[key], value, "{key}");
    }
    assert_eq!(top["history"].as_array().unwrap().len(), 2);
    assert_eq!(top["rootfs"]["type"], "layers");
    assert!(top["config"].is_object());
}
