//! Caches elsewhere (section Q): the same image on an empty store, and never a wrong one.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use lifecycle_executor::cache::{CacheMode, CacheReceipt, CacheSource, CacheTarget, export};
use lifecycle_executor::{IsolationMode, NoCache, Offline, Options, Secret, StepOutcome};
use lifecycle_image::layout::Layout;
use lifecycle_image::{Artifact, Image, Reference, Sink, Source};

use crate::support::{Bench, Built, NOW, contains, holds};

const DAY: u64 = 24 * 60 * 60;
const STAGES: &str = "FROM busybox AS one\nRUN echo 1 > /one\nCOPY a /two\n\
                      FROM busybox\nCOPY --from=one /one /x/\nADD d /y/\nRUN cat /x/one > /z\n";

fn bench() -> Bench {
    let bench = Bench::new();
    bench.file("a", "A");
    bench.file("d/b", "B");
    bench
}

/// A layout that stands for a registry.
struct Shelf {
    directory: PathBuf,
    reference: Reference,
}

impl Shelf {
    fn new(bench: &Bench) -> Self {
        Self {
            directory: bench.directory.path().join("cache"),
            reference: "registry.test/app:cache".parse().unwrap(),
        }
    }

    fn layout(&self) -> Layout {
        Layout::create(&self.directory).unwrap()
    }

    fn source(&self) -> CacheSource {
        CacheSource {
            source: Arc::new(self.layout()),
            reference: self.reference.clone(),
            max_age: None,
            mounts: true,
        }
    }

    fn target(&self, mode: CacheMode) -> CacheTarget {
        CacheTarget {
            sink: Arc::new(self.layout()),
            source: Arc::new(self.layout()),
            reference: self.reference.clone(),
            mode,
            mounts: true,
            keep: Duration::from_secs(14 * DAY),
            now: NOW,
            image: None,
        }
    }

    /// Builds and exports.
    fn fill(&self, bench: &Bench, options: &Options, mode: CacheMode) -> (Built, CacheReceipt) {
        Self::fill_with(bench, options, &self.target(mode))
    }

    fn fill_with(bench: &Bench, options: &Options, target: &CacheTarget) -> (Built, CacheReceipt) {
        let mut receipt = None;
        let built = bench.try_build_then(options, &Offline, |report| {
            receipt = Some(export(&[report], &bench.store, target).unwrap());
        });
        (built.unwrap(), receipt.unwrap())
    }

    fn artifact(&self) -> Image {
        match self.layout().artifact(&self.reference).unwrap() {
            Artifact::Image(image) => *image,
            Artifact::Index(_) => panic!("a cache is one artifact"),
        }
    }

    fn put(&self, image: &Image) {
        let mut upload = self
            .layout()
            .begin(std::slice::from_ref(&self.reference))
            .unwrap();
        for layer in image.layers() {
            upload.layer(Arc::clone(layer));
        }
        upload.finish(image).unwrap();
    }
}

/// What happens to a cache.
type Spoil<'a> = &'a dyn Fn(&Shelf);

/// The options of `bench`, for a build with this cache on another, empty store.
fn elsewhere(bench: &Bench, dockerfile: &str, shelf: &Shelf) -> Options {
    let mut options = bench.options(dockerfile);
    options.imports = vec![shelf.source()];
    options.now = NOW + 5000;
    options
}

#[test]
fn an_imported_cache_gives_the_same_image_on_an_empty_store_q1_u11() {
    let bench = bench();
    let shelf = Shelf::new(&bench);
    let (cold, receipt) = shelf.fill(&bench, &bench.options(STAGES), CacheMode::Max);
    // COPY --from is known by where it comes from and by content, whichever is cheaper to know.
    assert_eq!((cold.executed, receipt.records), (5, 6), "{receipt:?}");
    let other = Bench::new();
    let before = blobs(&other);
    let mut options = elsewhere(&bench, STAGES, &shelf);
    options.isolation = IsolationMode::NoRun;
    let built = other.build_with(&options);
    assert_eq!((built.executed, built.cached), (0, 5), "{:?}", built.warnings);
    assert_eq!(built.digest(), cold.digest());
    assert_eq!(built.warnings, [""; 0]);
    // Nobody read a layer, so none was fetched or unpacked.
    assert_eq!(blobs(&other), before);
    assert_eq!(built.content("z"), "1\n");
    // A build that found everything says nothing new.
    let (_, again) = shelf.fill(&bench, &bench.options(STAGES), CacheMode::Max);
    assert!(again.unchanged);
}

fn blobs(bench: &Bench) -> usize {
    fs::read_dir(bench.store.path().join("blobs/sha256"))
        .unwrap()
        .count()
}

#[test]
fn min_holds_the_image_and_max_all_stages_q2() {
    let bench = bench();
    let shelf = Shelf::new(&bench);
    let (_, receipt) = shelf.fill(&bench, &bench.options(STAGES), CacheMode::Min);
    assert_eq!((receipt.records, shelf.artifact().layers().len()), (4, 3));
    let (_, receipt) = shelf.fill(&bench, &bench.options(STAGES), CacheMode::Max);
    assert_eq!((receipt.records, shelf.artifact().layers().len()), (6, 5));
    assert_eq!(
        shelf.artifact().artifact_type(),
        Some("application/vnd.lifecycle.build-cache.v1")
    );
}

#[test]
fn steps_on_top_of_imported_layers_fetch_what_they_read() {
    let bench = bench();
    let shelf = Shelf::new(&bench);
    shelf.fill(&bench, &bench.options(STAGES), CacheMode::Max);
    let other = Bench::new();
    let more = format!("{STAGES}COPY --chown=alice a /y/more\nRUN cat /z /y/more > /w\n");
    let built = other.build_with(&elsewhere(&bench, &more, &shelf));
    assert_eq!((built.executed, built.cached), (2, 5), "{:?}", built.warnings);
    assert_eq!(built.content("w"), "1\nA");
}

#[test]
fn a_broken_cache_is_a_miss_with_a_warning_and_never_a_wrong_image() {
    let dockerfile = "FROM busybox\nRUN echo 1 > /one\nCOPY a /two\n";
    let all = format!("{dockerfile}RUN cat /one /two > /three\n");
    let spoil_blob = |shelf: &Shelf, change: &dyn Fn(&mut Vec<u8>)| {
        for layer in shelf.artifact().layers() {
            let digest = layer.descriptor().unwrap().digest;
            let path = shelf.directory.join("blobs/sha256").join(digest.hex());
            let mut bytes = fs::read(&path).unwrap();
            change(&mut bytes);
            fs::remove_file(&path).unwrap();
            if !bytes.is_empty() {
                fs::write(&path, bytes).unwrap();
            }
        }
    };
    let respell = |shelf: &Shelf, change: &dyn Fn(&str) -> String| {
        let image = shelf.artifact();
        let mut config = image.encode_config().unwrap();
        let text = change(std::str::from_utf8(&config.bytes).unwrap());
        config = lifecycle_image::RawDocument::new(config.descriptor.media_type, text.into_bytes());
        let kind = image.artifact_type().unwrap().to_owned();
        shelf.put(&Image::artifact(kind, config, image.layers().to_vec()));
    };
    let cases: [(&str, Spoil<'_>, &str); 8] = [
        (
            "truncated",
            &|shelf| spoil_blob(shelf, &|bytes| bytes.truncate(9)),
            "is broken",
        ),
        (
            "missing",
            &|shelf| spoil_blob(shelf, &|bytes| bytes.clear()),
            "is broken",
        ),
        (
            "flipped",
            &|shelf| spoil_blob(shelf, &|bytes| bytes[20] ^= 1),
            "is broken",
        ),
        (
            // Every key leads to the other layer.
            "lying",
            &|shelf| {
                respell(shelf, &|text| {
                    let mut value: serde_json::Value = serde_json::from_str(text).unwrap();
                    let layers = value["layers"].as_object_mut().unwrap();
                    let digests: Vec<_> = layers.values().rev().cloned().collect();
                    layers.values_mut().zip(digests).for_each(|(old, new)| *old = new);
                    value.to_string()
                });
            },
            "is broken",
        ),
        (
            "no JSON",
            &|shelf| respell(shelf, &|_| "{".to_owned()),
            "is not used",
        ),
        (
            "newer",
            &|shelf| respell(shelf, &|text| text.replace("\"version\":1", "\"version\":2")),
            "is not used",
        ),
        (
            "foreign blobs",
            &|shelf| {
                respell(shelf, &|text| {
                    text.replace("sha256:", "sha256:0").replace("0\"", "\"")
                });
            },
            "is not used",
        ),
        (
            "foreign",
            &|shelf| {
                let config = lifecycle_image::RawDocument::new(
                    lifecycle_image::MediaType::new("application/vnd.buildkit.cacheconfig.v0"),
                    *b"{\"layers\":[],\"records\":[]}",
                );
                shelf.put(&Image::artifact("application/x-other", config, Vec::new()));
            },
            "is not used",
        ),
    ];
    for (name, spoil, warning) in cases {
        let bench = bench();
        let shelf = Shelf::new(&bench);
        shelf.fill(&bench, &bench.options(dockerfile), CacheMode::Max);
        spoil(&shelf);
        let other = Bench::new();
        let built = other.build_with(&elsewhere(&bench, &all, &shelf));
        assert_eq!(built.content("three"), "1\nA", "{name}");
        assert_eq!(built.executed, 3, "{name}: {:?}", built.warnings);
        assert!(
            built.warnings.iter().any(|text| text.contains(warning)),
            "{name}: {:?}",
            built.warnings
        );
    }
}

#[test]
fn what_nobody_uses_expires() {
    let bench = bench();
    let shelf = Shelf::new(&bench);
    let one = "FROM busybox\nRUN echo 1 > /one\n";
    let two = "FROM busybox\nRUN echo 2 > /two\n";
    shelf.fill(&bench, &bench.options(one), CacheMode::Min);
    let (_, receipt) = shelf.fill(&bench, &bench.options(two), CacheMode::Min);
    assert_eq!(receipt.records, 2, "what another build left stays");
    let later = CacheTarget {
        now: NOW + 10 * i64::try_from(DAY).unwrap(),
        ..shelf.target(CacheMode::Min)
    };
    Shelf::fill_with(&bench, &bench.options(two), &later);
    let latest = CacheTarget {
        now: later.now + 10 * i64::try_from(DAY).unwrap(),
        ..later
    };
    let (_, receipt) = Shelf::fill_with(&bench, &bench.options(two), &latest);
    assert_eq!((receipt.records, shelf.artifact().layers().len()), (1, 1));
    // Who asks for results of a certain age gets no older ones, as with kaniko's --cache-ttl.
    let mut options = elsewhere(&bench, two, &shelf);
    options.imports[0].max_age = Some(Duration::from_secs(4999));
    assert_eq!(Bench::new().build_with(&options).executed, 1);
    options.imports[0].max_age = Some(Duration::from_secs(5001));
    assert_eq!(Bench::new().build_with(&options).executed, 0);
}

#[test]
fn an_image_carries_the_cache_of_its_own_layers_q1() {
    let bench = bench();
    let shelf = Shelf::new(&bench);
    let mut digests = Vec::new();
    for _ in 0..2 {
        let built = bench.try_build_then(&bench.options(STAGES), &Offline, |report| {
            let image = report.with_inline_cache().unwrap();
            digests.push(image.digest().unwrap());
            shelf.put(&image);
        });
        built.unwrap();
    }
    assert_eq!(digests[0], digests[1], "a repeated build is the same image");
    // The other stage is not in the image.
    let built = Bench::new().build_with(&elsewhere(&bench, STAGES, &shelf));
    assert_eq!((built.executed, built.cached), (2, 3), "{:?}", built.warnings);
}

#[test]
fn cache_mounts_come_along_q3() {
    let bench = bench();
    let shelf = Shelf::new(&bench);
    let dockerfile = "FROM busybox\nARG N=1\n\
                      RUN --mount=type=cache,target=/c,mode=0770 echo $N >> /c/f; ln -sf f /c/.wh.l; cat /c/f > /seen; stat -c %a /c > /mode\n";
    shelf.fill(&bench, &bench.options(dockerfile), CacheMode::Min);
    let other = Bench::new();
    let mut options = elsewhere(&bench, dockerfile, &shelf);
    options.build_args = [("N", "2")].into_iter().collect();
    let built = other.build_with(&options);
    assert_eq!(built.content("seen"), "1\n2\n", "{:?}", built.warnings);
    assert_eq!(built.content("mode"), "770\n");
    // Who does not ask for mounts gets none.
    options.imports[0].mounts = false;
    assert_eq!(Bench::new().build_with(&options).content("seen"), "2\n");
}

#[test]
fn every_step_is_looked_for_not_only_those_before_the_first_miss() {
    let bench = bench();
    let dockerfile = "FROM busybox\nRUN --mount=target=/m,source=d echo same > /one\nRUN cat /one > /two\n";
    let mut options = bench.options(dockerfile);
    options.epoch = Some(NOW - 1000);
    let cold = bench.build_with(&options);
    bench.file("d/b", "changed");
    // The first RUN is done again and comes to the same, so the second one is found on top of it (K5).
    let built = bench.build_with(&options);
    assert_eq!(built.outcomes(), [StepOutcome::Done, StepOutcome::Cached]);
    assert_eq!(built.digest(), cold.digest());
}

#[test]
fn no_cache_holds_for_caches_elsewhere_k6() {
    let bench = bench();
    let shelf = Shelf::new(&bench);
    shelf.fill(&bench, &bench.options(STAGES), CacheMode::Max);
    let mut options = elsewhere(&bench, STAGES, &shelf);
    options.no_cache = NoCache::All;
    assert_eq!(Bench::new().build_with(&options).cached, 0);
}

#[test]
fn nothing_of_a_secret_is_in_a_cache() {
    let bench = bench();
    let shelf = Shelf::new(&bench);
    let dockerfile = "FROM busybox\nRUN --mount=type=secret,id=s,env=S --mount=type=cache,target=/c test -n \"$S\" && echo x > /x\n";
    let mut options = bench.options(dockerfile);
    options
        .secrets
        .insert("s".into(), Secret::new("canary-4711").unwrap());
    shelf.fill(&bench, &options, CacheMode::Max);
    let hash = lifecycle_image::Digest::of(b"canary-4711");
    let hash = hash.hex();
    assert!(!holds(&shelf.directory, "canary-4711"));
    assert!(!holds(&shelf.directory, hash));
    assert!(!contains(
        &shelf.artifact().encode_config().unwrap().bytes,
        hash.as_bytes()
    ));
}
