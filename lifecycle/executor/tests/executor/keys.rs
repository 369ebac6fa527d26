//! Cache keys (section K): what is done again, and what is not.

use std::fs;
use std::time::{Duration, SystemTime};

use lifecycle_executor::{NoCache, Options, Secret, StepOutcome};
use lifecycle_image::Compression;
use lifecycle_layers::Packing;

use crate::support::{Bench, NOW, holds};

const ALL: &str = "FROM busybox AS one\nARG A=1\nRUN echo $A > /one\nCOPY a /two\nWORKDIR /three\n\
                   FROM busybox\nCOPY --from=one /one /x/\nADD d /y/\nCOPY <<h /h\nh\nRUN --mount=target=/m cat /m/a /x/one\n";

fn bench() -> Bench {
    let bench = Bench::new();
    bench.file("a", "A");
    bench.file("d/b", "B");
    bench
}

#[test]
fn a_second_build_does_nothing_and_gives_the_same_image_u11() {
    let bench = bench();
    let cold = bench.build(ALL);
    assert_eq!((cold.executed, cold.cached), (7, 0));
    let mut options = bench.options(ALL);
    // Later, and nothing could be run.
    options.now = NOW + 5000;
    options.isolation = lifecycle_executor::IsolationMode::NoRun;
    let warm = bench.build_with(&options);
    assert_eq!((warm.executed, warm.cached), (0, 7));
    assert_eq!(warm.output, "");
    assert_eq!(warm.digest(), cold.digest());
    assert!(warm.outcomes().contains(&StepOutcome::Cached));
}

#[test]
fn layers_have_the_same_form_whatever_was_built_before_u11() {
    let built = |before: &dyn Fn(&Bench), options: &dyn Fn(&Bench) -> Options| {
        let bench = bench();
        before(&bench);
        let built = bench.build_with(&options(&bench));
        let forms: Vec<_> = built
            .image
            .layers()
            .iter()
            .map(|layer| layer.media_type())
            .collect();
        (built.digest(), forms, built.executed, bench)
    };
    // What a command writes has the time of its bench otherwise.
    let all = |bench: &Bench| Options {
        epoch: Some(NOW),
        ..bench.options(ALL)
    };
    let target = |bench: &Bench| Options {
        target: Some("one".to_owned()),
        ..all(bench)
    };
    let zstd = |bench: &Bench| {
        let mut options = target(bench);
        options.packing.compression = Compression::Zstd;
        options
    };
    let (cold, forms, executed, _) = built(&|_| (), &target);
    assert_eq!(executed, 3);
    assert!(
        forms
            .iter()
            .all(|form| form.compression() == Some(Compression::Gzip))
    );

    // Of another image it was only copied from.
    let (warm, warm_forms, executed, bench) = built(&|bench| drop(bench.build_with(&all(bench))), &target);
    assert_eq!((&warm, &warm_forms, executed), (&cold, &forms, 0));
    // It was in another form before.
    let own = bench.build_with(&target(&bench)).image.layers()[1]
        .diff_id()
        .unwrap();
    let kept = Packing {
        compression: Compression::Zstd,
        level: Some(1),
        ..Packing::default()
    };
    assert!(bench.store.packed(&own, &kept).unwrap().is_some());
    // Whoever wants them in that form has them in it.
    let (other, ..) = built(&|_| (), &zstd);
    assert_ne!(other, cold);
    assert_eq!(
        built(&|bench| drop(bench.build_with(&all(bench))), &zstd).0,
        other
    );
    assert_eq!(
        built(&|bench| drop(bench.build_with(&zstd(bench))), &target).0,
        cold
    );
    assert_eq!(
        built(&|bench| drop(bench.build_with(&target(bench))), &zstd).0,
        other
    );
}

#[test]
fn a_step_that_the_image_shares_with_another_stage_has_the_form_of_the_image_f12() {
    let dockerfile =
        "FROM busybox AS one\nRUN echo > /a\nFROM busybox\nRUN echo > /a\nCOPY --from=one /a /b\n";
    let built = bench().build(dockerfile);
    assert_eq!(built.executed, 2);
    for layer in built.image.layers() {
        assert_eq!(layer.media_type().compression(), Some(Compression::Gzip));
    }
}

#[test]
fn nothing_is_unpacked_for_a_hit_or_for_a_copy_u11() {
    let bench = bench();
    let dockerfile = "FROM busybox\nCOPY --chown=alice a /sl/\nWORKDIR /w\n";
    bench.build(dockerfile);
    bench.build(dockerfile);
    let trees = fs::read_dir(bench.store.path().join("trees")).unwrap().count();
    assert_eq!(trees, 0);
}

/// How many steps a changed build carries out, after the first has filled the cache.
fn again(dockerfile: &str, change: impl FnOnce(&Bench) -> String) -> usize {
    let bench = bench();
    bench.build(dockerfile);
    let changed = change(&bench);
    bench
        .build(if changed.is_empty() { dockerfile } else { &changed })
        .executed
}

#[test]
fn contents_count_and_times_do_not_k2() {
    let dockerfile = "FROM busybox\nCOPY d /d/\nRUN true\n";
    let none = String::new;
    let touch = |bench: &Bench| {
        let file = fs::File::options()
            .write(true)
            .open(bench.context().join("d/b"))
            .unwrap();
        file.set_modified(SystemTime::now() + Duration::from_secs(100))
            .unwrap();
        none()
    };
    assert_eq!(again(dockerfile, touch), 0, "touch");
    assert_eq!(
        again(dockerfile, |bench| {
            bench.mode("d/b", 0o600);
            none()
        }),
        2,
        "chmod"
    );
    assert_eq!(
        again(dockerfile, |bench| {
            bench.file("d/b", "C");
            none()
        }),
        2,
        "content"
    );
    assert_eq!(
        again(dockerfile, |bench| {
            bench.file("d/c", "");
            none()
        }),
        2,
        "another file"
    );
    assert_eq!(
        again(dockerfile, |bench| {
            bench.file("unused", "");
            none()
        }),
        0,
        "unused file"
    );
    let rename = |bench: &Bench| {
        fs::rename(bench.context().join("d/b"), bench.context().join("d/c")).unwrap();
        none()
    };
    assert_eq!(again(dockerfile, rename), 2, "rename (kaniko mz873)");
    assert_eq!(
        again(dockerfile, |bench| {
            bench.file(".dockerignore", "d/b\n");
            none()
        }),
        2,
        "ignore file (mz762)"
    );
}

#[test]
fn keys_hold_what_decides_k1_k4() {
    let base = "FROM busybox\nARG A=1\nENV E=1\nWORKDIR /w\nRUN echo x\n";
    for (changed, executed, why) in [
        (
            "FROM busybox\nARG A=1\nENV E=1\nWORKDIR /w\nLABEL l=1\nEXPOSE 1\nCMD x\nRUN echo x\n",
            0,
            "labels",
        ),
        (
            "FROM busybox\nARG A=2\nENV E=1\nWORKDIR /w\nRUN echo x\n",
            1,
            "an argument in scope, used or not",
        ),
        (
            "FROM busybox\nARG A=1\nARG B=1\nENV E=1\nWORKDIR /w\nRUN echo x\n",
            1,
            "another argument",
        ),
        (
            "FROM busybox\nARG A=1\nENV E=2\nWORKDIR /w\nRUN echo x\n",
            1,
            "environment",
        ),
        (
            "FROM busybox\nARG A=1\nENV E=1\nWORKDIR /v\nRUN echo x\n",
            2,
            "directory",
        ),
        (
            "FROM busybox\nARG A=1\nENV E=1\nWORKDIR /w\nUSER bin\nRUN echo x\n",
            1,
            "user",
        ),
        (
            "FROM busybox\nARG A=1\nENV E=1\nWORKDIR /w\nRUN echo  x\n",
            1,
            "command",
        ),
        (
            "FROM busybox\nARG A=1\nENV E=1\nWORKDIR /w\nRUN [\"echo\", \"x\"]\n",
            1,
            "form",
        ),
        (
            "FROM busybox\nARG A=1\nENV E=1\nWORKDIR /w\nRUN --network=none echo x\n",
            1,
            "network",
        ),
        (
            "FROM busybox\nARG A=1\nENV E=1\nWORKDIR /w\nRUN --mount=type=tmpfs,target=/t echo x\n",
            1,
            "mount",
        ),
        (
            "FROM busybox\nARG A=1\nENV E=1\nWORKDIR /w\nRUN <<x\n#!/bin/sh\necho x\nx\n",
            1,
            "script",
        ),
        (
            "FROM busybox AS other\nARG A=1\nENV E=1\nWORKDIR /w\nRUN echo x\n",
            0,
            "the stage's name",
        ),
    ] {
        assert_eq!(again(base, |_| changed.to_owned()), executed, "{why}");
    }
}

#[test]
fn proxies_and_secrets_are_not_in_keys_k1_e7() {
    let bench = bench();
    let dockerfile = "FROM busybox\nRUN --mount=type=secret,id=s --mount=type=cache,target=/c true\n";
    let mut options = bench.options(dockerfile);
    options.secrets.insert("s".into(), Secret::new("one").unwrap());
    options.build_args = [("HTTP_PROXY", "one")].into_iter().collect();
    bench.build_with(&options);
    options.secrets.insert("s".into(), Secret::new("two").unwrap());
    options.build_args = [("HTTP_PROXY", "two")].into_iter().collect();
    assert_eq!(bench.build_with(&options).executed, 0);
    let other_cache = dockerfile.replace("type=cache,", "type=cache,id=other,sharing=locked,");
    assert_eq!(bench.build(&other_cache).executed, 0);
}

#[test]
fn bind_sources_count_by_content_k1() {
    let dockerfile = "FROM busybox\nRUN --mount=target=/m,source=d cat /m/b\n";
    assert_eq!(
        again(dockerfile, |bench| {
            bench.file("a", "other");
            String::new()
        }),
        0
    );
    assert_eq!(
        again(dockerfile, |bench| {
            bench.file("d/b", "other");
            String::new()
        }),
        1
    );
}

#[test]
fn a_copy_from_a_stage_depends_on_the_files_it_takes_k5() {
    let one = "FROM busybox AS one\nCOPY a /same\nRUN echo 1 > /other\nFROM busybox\nCOPY --from=one /same /x\nRUN cat /x\n";
    // The stage is built again, what is copied is the same.
    assert_eq!(again(one, |_| one.replace("echo 1", "echo 2")), 1);
    assert_eq!(
        again(one, |bench| {
            bench.file("a", "B");
            String::new()
        }),
        4
    );
}

#[test]
fn linked_copies_do_not_depend_on_what_is_below_k7() {
    let dockerfile = "FROM busybox\nRUN echo 1 > /f\nCOPY --link a /x\n";
    assert_eq!(again(dockerfile, |_| dockerfile.replace("echo 1", "echo 2")), 1);
    let plain = dockerfile.replace(" --link", "");
    assert_eq!(again(&plain, |_| plain.replace("echo 1", "echo 2")), 2);
}

#[test]
fn no_cache_is_whole_or_by_stage_k6() {
    let bench = bench();
    let dockerfile = "FROM busybox AS one\nRUN --mount=type=cache,target=/c echo x >> /c/f; cat /c/f > /one\n\
                      FROM busybox AS two\nRUN echo 2 > /two\nFROM scratch\nCOPY --from=one /one /\nCOPY --from=two /two /\n";
    bench.build(dockerfile);
    let mut options = bench.options(dockerfile);
    options.no_cache = NoCache::Stages(["two".to_owned()].into());
    let built = bench.build_with(&options);
    assert_eq!((built.executed, built.cached), (1, 3));
    options.no_cache = NoCache::All;
    let built = bench.build_with(&options);
    assert_eq!(built.executed, 4);
    assert_eq!(built.content("one"), "x\nx\n", "cache mounts stay");
    // What was made anew is what later builds find.
    assert_eq!(bench.build(dockerfile).content("one"), "x\nx\n");
}

#[test]
fn platforms_have_keys_of_their_own_kaniko_g3350() {
    let bench = bench();
    let dockerfile = "FROM scratch\nCOPY --from=busybox / /\nRUN true\n";
    bench.build(dockerfile);
    assert_eq!(bench.build(dockerfile).executed, 0);
    let mut options = bench.options(dockerfile);
    options.platforms.target = lifecycle_dockerfile::Platform::new("linux", "386");
    // The same image is taken for both, so the copies are equal; what a command makes of them is not known to be.
    let other = bench.build_with(&options);
    assert_eq!((other.executed, other.cached), (1, 1));
    assert_eq!(other.config().architecture, "386");
    let again = bench.build_with(&options);
    assert_eq!((again.executed, again.cached), (0, 2));
}

#[test]
fn a_failed_build_keeps_what_was_done() {
    let bench = bench();
    let message = bench.fail("FROM busybox\nRUN echo 1 > /one\nRUN false\n");
    assert!(message.contains("Dockerfile:3:1"), "{message}");
    let built = bench.build("FROM busybox\nRUN echo 1 > /one\nRUN true\n");
    assert_eq!((built.executed, built.cached), (1, 1));
}

#[test]
fn crafted_history_is_no_cache_hit_cve_2024_24557() {
    let dockerfile = "FROM busybox\nRUN echo 1 > /one\n";
    let attacker = Bench::new();
    let honest = attacker.build(dockerfile).image.config().clone();
    let evil = attacker.build("FROM busybox\nRUN echo evil > /one\n").image;
    // An image that says of itself to be the very result of the build, and whose layer is another one.
    let crafted = lifecycle_image::mutate::configure(evil, |config| {
        config.history.clone_from(&honest.history);
        config.config.clone_from(&honest.config);
    });
    let bench = Bench::new();
    bench.put("crafted", crafted);
    let built = bench.build(dockerfile);
    assert_eq!((built.executed, built.cached), (1, 0));
    assert_eq!(built.content("one"), "1\n");
    // On top of it nothing is taken for done either.
    let built = bench.build("FROM crafted\nRUN echo 1 > /one\n");
    assert_eq!((built.executed, built.cached), (1, 0));
    assert_eq!(built.content("one"), "1\n");
}

#[test]
fn a_mode_that_is_given_counts_k2() {
    let dockerfile = "FROM busybox\nCOPY a /x\n";
    for changed in [
        "COPY --chmod=600 a /x",
        "COPY --chown=1 a /x",
        "COPY a /y",
        "ADD a /x",
        "COPY d/b /x",
    ] {
        assert_eq!(
            again(dockerfile, |_| format!("FROM busybox\n{changed}\n")),
            1,
            "{changed}"
        );
    }
}

#[test]
fn stages_of_the_build_platform_run_once_for_all_targets_f12() {
    let bench = bench();
    let dockerfile = "FROM --platform=$BUILDPLATFORM busybox AS tools\nRUN echo tool > /tool\n\
                      FROM scratch\nARG TARGETARCH\nCOPY --from=tools /tool /$TARGETARCH\n";
    let first = bench.build(dockerfile);
    assert_eq!((first.executed, first.cached), (2, 0));
    assert_eq!(first.content("amd64"), "tool\n");
    let mut options = bench.options(dockerfile);
    options.platforms.target = lifecycle_dockerfile::Platform::new("linux", "arm64");
    let second = bench.build_with(&options);
    assert_eq!((second.executed, second.cached), (1, 1));
    assert_eq!(second.content("arm64"), "tool\n");
}

#[test]
fn files_that_an_earlier_build_has_read_are_not_read_again_k5() {
    let bench = bench();
    let path = bench.file("big", "content");
    // What was changed a moment ago is not relied on.
    std::thread::sleep(std::time::Duration::from_millis(120));
    let dockerfile = "FROM busybox\nCOPY big /big\n";
    bench.build(dockerfile);
    let record = || holds(&bench.store.path().join("records"), "files of ");
    assert!(record());
    for change in ["CONTENT", "content"] {
        // Same size, same time of modification: only the time that nobody can set tells.
        let modified = fs::metadata(&path).unwrap().modified().unwrap();
        fs::write(&path, change).unwrap();
        fs::File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_modified(modified)
            .unwrap();
        assert_eq!(bench.build(dockerfile).content("big"), change);
    }
    assert_eq!(bench.build(dockerfile).executed, 0);
}
