//! Builds in the root file system of the base image (EXT-01, EXT-08).

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use lifecycle_executor::{LiveRoot, Offline, Options, Surroundings, build};
use lifecycle_image::layout::Layout;
use lifecycle_image::{Image, NoProgress, Platform, Reference, Sink, Source};
use lifecycle_layers::{ExtractOptions, extract};

use super::support::{Bench, Built, Recording, entries, tell};

/// A root that a container engine made from an image, of which only manifest and configuration are at hand.
struct Container {
    bench: Bench,
    layout: Layout,
}

impl Container {
    fn new() -> Self {
        let bench = Bench::new();
        let name: Reference = "busybox".parse().unwrap();
        let image = bench.store.image(&name, &Platform::linux("amd64")).unwrap();
        let layout = Layout::create(bench.directory.path().join("layout"))
            .unwrap()
            .sparse();
        layout.begin(&[name]).unwrap().finish(&image).unwrap();
        let container = Self { bench, layout };
        container.start(&image);
        container
    }

    /// A new container of the image.
    fn start(&self, image: &Image) {
        let root = self.root();
        if root.exists() {
            fs::remove_dir_all(&root).unwrap();
        }
        fs::create_dir(&root).unwrap();
        let directory = fs::File::open(&root).unwrap();
        for layer in image.layers() {
            let compression = layer.descriptor().unwrap().media_type.compression();
            let options = ExtractOptions::default();
            let reader = layer.open(0).unwrap();
            extract(
                reader,
                compression,
                std::os::fd::AsFd::as_fd(&directory),
                &options,
                &NoProgress,
            )
            .unwrap();
        }
        for place in ["layers", "workspace"] {
            fs::create_dir(root.join(place)).unwrap();
        }
    }

    fn restart(&self) {
        let name = "busybox".parse().unwrap();
        self.start(&self.bench.store.image(&name, &Platform::linux("amd64")).unwrap());
    }

    fn root(&self) -> PathBuf {
        self.bench.directory.path().join("root")
    }

    fn options(&self, dockerfile: &str) -> Options {
        let mut options = self.bench.options(dockerfile);
        let exclude = ["/layers", "/workspace"].map(PathBuf::from);
        options.live_root = Some(LiveRoot::new(self.root(), exclude).unwrap());
        options
    }

    fn try_build(&self, options: &Options) -> Result<Built, String> {
        let reporter = Recording::default();
        let surroundings = Surroundings {
            images: &self.layout,
            ..self.bench.surroundings(&Offline, &reporter)
        };
        let report = build(options, surroundings).map_err(|error| tell(&error))?;
        let (executed, cached) = (report.executed, report.cached);
        Ok(reporter.built(report.finish().unwrap(), executed, cached))
    }

    fn build(&self, dockerfile: &str) -> Built {
        self.try_build(&self.options(dockerfile)).unwrap()
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.root().join(path)).unwrap()
    }
}

const DOCKERFILE: &str = "ARG base_image=busybox\nFROM ${base_image}\nARG build_id\nCOPY --chown=alice a /sl/\n\
    RUN cat /etc/conf.d/a && echo lost > /layers/lost && rm /bin/nc && echo \"in /\" > /made\nUSER alice\nWORKDIR /home/alice\n\
    RUN touch owned\n";

#[test]
fn steps_change_the_root_and_become_layers_ext_01_ext_08() {
    let container = Container::new();
    container.bench.file("a", "A\n");
    let built = container.build(DOCKERFILE);
    assert_eq!(built.output, "A\n");
    // Through the link that is in the base, whose layers nobody has.
    assert_eq!(container.read("etc/conf.d/a"), "A\n");
    assert_eq!(container.read("made"), "in /\n");
    assert!(fs::symlink_metadata(container.root().join("bin/nc")).is_err());
    assert_eq!(
        fs::metadata(container.root().join("home/alice/owned"))
            .unwrap()
            .uid(),
        1000
    );

    let layers = built.image.layers();
    let own: Vec<_> = layers[layers.len() - 4..]
        .iter()
        .map(|layer| entries(&**layer))
        .collect();
    assert_eq!(own[0]["etc/conf.d/a"].owner, (1000, 1001));
    assert!(own[1].contains_key("made") && own[1].contains_key("bin/.wh.nc"));
    assert!(
        !own[1].keys().any(|path| path.starts_with("layers")),
        "{:?}",
        own[1].keys()
    );
    assert_eq!(own[3]["home/alice/owned"].owner, (1000, 1001));
    assert_eq!(built.config().config.user.as_deref(), Some("alice"));
}

#[test]
fn an_earlier_result_is_unpacked_into_the_root_dkf_06() {
    let container = Container::new();
    container.bench.file("a", "A\n");
    let first = container.build(DOCKERFILE);
    container.restart();
    let second = container.build(DOCKERFILE);
    assert_eq!((second.executed, second.cached), (0, 4));
    assert_eq!(second.digest(), first.digest());
    assert_eq!(container.read("made"), "in /\n");
    assert!(fs::symlink_metadata(container.root().join("bin/nc")).is_err());
    // A step that uses the id of the build is never the same again, nor is what follows it.
    let with_id = |id: &str| {
        container.restart();
        let text = "ARG base_image=busybox\nFROM ${base_image}\nRUN true\nARG build_id\nRUN echo $build_id\nRUN true\n";
        let mut options = container.options(text);
        options.build_args = [("build_id".to_owned(), id.to_owned())].into_iter().collect();
        let built = container.try_build(&options).unwrap();
        (built.executed, built.cached)
    };
    assert_eq!(
        [with_id("1"), with_id("2"), with_id("2")],
        [(3, 0), (2, 1), (0, 3)]
    );
}

#[test]
fn a_live_root_has_one_stage_3_3() {
    let container = Container::new();
    let error = container.try_build(&container.options("FROM busybox AS a\nRUN true\nFROM a\nRUN true\n"));
    let error = error.err().unwrap();
    assert!(
        error.contains("Dockerfile:3:6") && error.contains("several stages"),
        "{error}"
    );
}
