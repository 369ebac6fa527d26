//! Several platforms in one build (F12).

use lifecycle_dockerfile::Platform as Target;
use lifecycle_executor::{BuildReport, ExecutorError, NoCache, Offline, Options, StepOutcome, build_all};

use crate::support::{Bench, Built, Recording, tell};

/// Two platforms whose commands this processor runs.
fn targets() -> [Target; 2] {
    [Target::new("linux", "amd64"), Target::new("linux", "386")]
}

fn try_build(bench: &Bench, options: &Options) -> (Result<Vec<BuildReport>, ExecutorError>, Built) {
    let recording = Recording::default();
    let reports = build_all(options, &targets(), bench.surroundings(&Offline, &recording));
    let (executed, cached) = reports.as_ref().map_or((0, 0), |reports| {
        let sum = |count: fn(&BuildReport) -> usize| reports.iter().map(count).sum();
        (sum(|report| report.executed), sum(|report| report.cached))
    });
    let nothing = lifecycle_image::Image::empty(&lifecycle_image::Platform::linux("amd64"));
    let built = recording.built(nothing, executed, cached);
    (reports, built)
}

/// What the images have in common is in the first, but for the image, which each has of its own.
fn build(bench: &Bench, options: &Options) -> Vec<Built> {
    let (reports, all) = try_build(bench, options);
    let reports = reports.unwrap_or_else(|error| panic!("{}", tell(&error)));
    let images = reports.into_iter().map(|report| report.finish().unwrap());
    images
        .map(|image| Built {
            image,
            executed: all.executed,
            cached: all.cached,
            output: all.output.clone(),
            steps: all.steps.clone(),
            warnings: all.warnings.clone(),
        })
        .collect()
}

/// Each command waits for the other one's file: one after the other none would end by itself.
#[test]
fn platforms_are_built_at_the_same_time_f12() {
    let bench = Bench::new();
    let dockerfile = "FROM --platform=$BUILDPLATFORM busybox\nARG TARGETARCH\n\
                      RUN --mount=type=cache,target=/c touch /c/$TARGETARCH && for i in $(seq 3000); do \
                      test -e /c/amd64 && test -e /c/386 && exit 0; sleep 0.1; done; exit 1\n";
    let built = build(&bench, &bench.options(dockerfile));
    assert_eq!((built[0].executed, built[0].cached), (2, 0));
}

#[test]
fn platforms_together_give_what_they_give_one_after_the_other_f12() {
    let dockerfile = "FROM --platform=$BUILDPLATFORM busybox AS tools\nRUN echo tool > /tool\n\
                      FROM scratch\nARG TARGETARCH\nLABEL arch=$TARGETARCH\nCOPY f /f\nWORKDIR /w\n\
                      COPY --from=tools /tool /$TARGETARCH\nCOPY --from=tools /bin /bin\n\
                      RUN [\"/bin/busybox\", \"touch\", \"/made\"]\n";
    let bench = || {
        let bench = Bench::new();
        let file = bench.file("f", "F");
        let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_500_000_001);
        std::fs::File::open(file).unwrap().set_modified(time).unwrap();
        bench
    };
    let options = |bench: &Bench| {
        let mut options = bench.options(dockerfile);
        options.epoch = Some(1_600_000_000);
        options
    };
    let together = bench();
    let together: Vec<String> = build(&together, &options(&together))
        .iter()
        .map(Built::digest)
        .collect();
    let apart = bench();
    let mut digests = Vec::new();
    for target in targets() {
        let mut options = options(&apart);
        options.platforms.target = target;
        digests.push(apart.build_with(&options).digest());
    }
    assert_eq!(together, digests);
    assert_ne!(together[0], together[1]);
}

/// Whatever is said about results of earlier builds: this is the same build.
#[test]
fn steps_that_platforms_share_are_carried_out_once_f12() {
    let bench = Bench::new();
    bench.file("f", "F");
    let dockerfile = "FROM --platform=$BUILDPLATFORM busybox AS tools\nCOPY f /f\n\
                      RUN cat /proc/sys/kernel/random/uuid > /same\nARG TARGETARCH\n\
                      RUN echo $TARGETARCH > /other\n\
                      FROM scratch\nCOPY --from=tools /same /other /\n";
    let mut options = bench.options(dockerfile);
    options.no_cache = NoCache::All;
    let built = build(&bench, &options);
    assert_eq!(built[0].content("same"), built[1].content("same"));
    assert_eq!(built[0].content("other"), "amd64\n");
    assert_eq!(built[1].content("other"), "386\n");
    // Two are the same for both, and two of each are its own.
    assert_eq!((built[0].executed, built[0].cached), (6, 0));
    let shared = |outcome: &&StepOutcome| **outcome == StepOutcome::Shared;
    assert_eq!(built[0].outcomes().iter().filter(shared).count(), 2);
}

/// Stages of one image as well.
#[test]
fn steps_that_stages_share_are_carried_out_once_f12() {
    let bench = Bench::new();
    let built = bench.build(
        "FROM busybox AS one\nRUN cat /proc/sys/kernel/random/uuid > /u\n\
         FROM busybox AS two\nRUN cat /proc/sys/kernel/random/uuid > /u\n\
         FROM scratch\nCOPY --from=one /u /one\nCOPY --from=two /u /two\n",
    );
    assert_eq!(built.content("one"), built.content("two"));
    assert_eq!(built.executed, 3);
}

/// The error is told once, with its place, and ends what runs for the other platform.
#[test]
fn a_failure_ends_all_platforms_f12() {
    let bench = Bench::new();
    for (dockerfile, place) in [
        (
            "FROM --platform=$BUILDPLATFORM busybox\nRUN exit 3\n",
            "Dockerfile:2:1",
        ),
        (
            "FROM --platform=$BUILDPLATFORM busybox\nARG TARGETARCH\nRUN test $TARGETARCH = 386 || sleep 3600; exit 3\n",
            "Dockerfile:3:1",
        ),
    ] {
        let (reports, _) = try_build(&bench, &bench.options(dockerfile));
        let error = reports.unwrap_err();
        assert!(
            matches!(error, ExecutorError::Command { code: 3, .. }),
            "{}",
            tell(&error)
        );
        assert!(tell(&error).starts_with(place), "{}", tell(&error));
    }
}

/// What is found in the file is told once.
#[test]
fn findings_that_platforms_share_are_told_once_f12_n2() {
    let bench = Bench::new();
    let built = build(&bench, &bench.options("FROM scratch\nMAINTAINER me\n"));
    assert_eq!(built[0].warnings.len(), 1, "{:?}", built[0].warnings);
}
