//! What tests of several phases need: a place with a store for a registry, and buildpacks as small scripts.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use fs_err as fs;
use lifecycle_image::{
    Image, Meter, NoProgress, Platform, Progress, Reference, Sink as _, Source as _, Step, mutate,
};
use lifecycle_layers::{FilesLayer, Owner, Packing, Style};
use lifecycle_spec::label::{self, LauncherVersion, LifecycleLabel};
use lifecycle_spec::{Environment, ExecEnv, ExperimentalMode, PlatformApi};
use lifecycle_store::{Expected, Store};

use crate::{
    AnalyzeOptions, BaseImages, BuildOptions, CacheImage, CacheOptions, Cancellation, CreateError,
    CreateOptions, CreateReport, DetectOptions, ExportOptions, ExtendKind, ExtendOptions, Identifiers,
    ImageIds, Images, Phase, Place, RebaseOptions, Reporter, RestoreOptions, Restored, Surroundings,
};

/// Keeps what it is told.
#[derive(Debug, Default)]
pub(crate) struct Recorder(Mutex<Vec<String>>);

impl Recorder {
    fn push(&self, kind: &str, text: &str) {
        self.0.lock().unwrap().push(format!("{kind}: {text}"));
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    pub(crate) fn has(&self, text: &str) -> bool {
        self.lines().iter().any(|line| line.contains(text))
    }
}

impl Progress for Recorder {
    fn begin(&self, step: Step, name: &str, total: Option<u64>) -> Box<dyn Meter> {
        NoProgress.begin(step, name, total)
    }
}

impl Reporter for Recorder {
    fn phase(&self, phase: Phase) {
        self.push("phase", phase.title());
    }

    fn info(&self, text: &str) {
        self.push("info", text);
    }

    fn debug(&self, text: &str) {
        self.push("debug", text);
    }

    fn warning(&self, text: &str) {
        self.push("warning", text);
    }

    fn output(&self, line: &[u8]) {
        self.push("output", &String::from_utf8_lossy(line));
    }
}

/// A builder's directories, an app, and a store that serves as a registry.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) store: Store,
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) api: PlatformApi,
    pub(crate) platform: Platform,
    pub(crate) identifiers: Identifiers,
    pub(crate) exec_env: ExecEnv,
}

pub(crate) const RUN_IMAGE: &str = "registry.example/run:1";
pub(crate) const APP_IMAGE: &str = "registry.example/app:1";

impl World {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("store")).unwrap();
        let world = Self {
            directory,
            store,
            recorder: Arc::default(),
            api: PlatformApi::LATEST,
            platform: Platform::linux("amd64"),
            identifiers: Identifiers::Registry,
            exec_env: ExecEnv::default(),
        };
        for name in [
            "layers",
            "app",
            "platform/env",
            "build-config/env",
            "buildpacks",
            "extensions",
        ] {
            fs::create_dir_all(world.path(name)).unwrap();
        }
        world.write("launcher", "launcher\n");
        world.write("os-release", "ID=debian\nVERSION_ID=\"12\"\n");
        world.write("app/hello.txt", "hello\n");
        world.write("run.toml", &format!("[[images]]\nimage = '{RUN_IMAGE}'\n"));
        world.push_run_image(
            RUN_IMAGE,
            "base\n",
            &[
                (label::BASE_DISTRO_NAME, "debian"),
                (label::BASE_DISTRO_VERSION, "12"),
            ],
        );
        world
    }

    /// A world whose order has one buildpack, `a`, which fits everything and builds with a script.
    pub(crate) fn of_script(build: &str) -> Self {
        let world = Self::new();
        world.builds("a", build);
        world.order(&["a"]);
        world
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    pub(crate) fn script(&self, name: &str, text: &str) {
        let path = self.write(name, &format!("#!/bin/sh\n{text}\n"));
        make_executable(&path);
    }

    /// A buildpack with two scripts; `more` goes into buildpack.toml.
    pub(crate) fn buildpack(&self, id: &str, api: &str, more: &str, detect: &str, build: &str) {
        let root = format!("buildpacks/{}/1", id.replace('/', "_"));
        let toml = format!("api = '{api}'\n[buildpack]\nid = '{id}'\nversion = '1'\n{more}\n");
        self.write(&format!("{root}/buildpack.toml"), &toml);
        self.script(&format!("{root}/bin/detect"), detect);
        self.script(&format!("{root}/bin/build"), build);
    }

    /// A buildpack that fits everything.
    pub(crate) fn builds(&self, id: &str, build: &str) {
        self.buildpack(id, "0.10", "", "", build);
    }

    /// A composite buildpack.
    pub(crate) fn composite(&self, id: &str, groups: &[&str]) {
        let toml = format!(
            "api = '0.10'\n[buildpack]\nid = '{id}'\nversion = '1'\n{}",
            order_toml(groups, "order")
        );
        self.write(
            &format!("buildpacks/{}/1/buildpack.toml", id.replace('/', "_")),
            &toml,
        );
    }

    /// An extension with two scripts.
    pub(crate) fn extension(&self, id: &str, detect: &str, generate: &str) {
        let root = format!("extensions/{}/1", id.replace('/', "_"));
        let toml = format!("api = '0.11'\n[extension]\nid = '{id}'\nversion = '1'\n");
        self.write(&format!("{root}/extension.toml"), &toml);
        self.script(&format!("{root}/bin/detect"), detect);
        self.script(&format!("{root}/bin/generate"), generate);
    }

    /// Groups as words; a `?` behind a word makes it optional.
    pub(crate) fn order(&self, groups: &[&str]) {
        self.write("order.toml", &order_toml(groups, "order"));
    }

    pub(crate) fn images(&self) -> Images<'_> {
        Images {
            source: &self.store,
            sink: &self.store,
            identifiers: &self.identifiers,
            access: None,
            platform: &self.platform,
        }
    }

    /// Puts a run image with one file into the registry.
    pub(crate) fn push_run_image(&self, name: &str, content: &str, labels: &[(&str, &str)]) -> Image {
        let files = FilesLayer::new("base", Style::Reference).file("/etc/base", 0o644, content.as_bytes());
        let layer = self.store.pack(
            Arc::new(files),
            Packing::default(),
            Expected::New,
            Arc::new(NoProgress),
        );
        let image = mutate::append(
            Image::empty(&self.platform),
            layer,
            lifecycle_image::History::default(),
        );
        let image = mutate::configure(image, |config| {
            config.config.set_env("PATH", "/usr/bin:/bin");
            config.config.user = Some("1001:1000".to_owned());
            for (key, value) in labels {
                config.set_label(*key, *value);
            }
        });
        self.push(name, &image);
        self.image(name)
    }

    pub(crate) fn push(&self, name: &str, image: &Image) {
        self.store
            .begin(&[name.parse().unwrap()])
            .unwrap()
            .finish(image)
            .unwrap();
    }

    pub(crate) fn image(&self, name: &str) -> Image {
        self.store.image(&name.parse().unwrap(), &self.platform).unwrap()
    }

    pub(crate) fn label(&self, name: &str) -> LifecycleLabel {
        LifecycleLabel::parse(self.image(name).config().label(label::LIFECYCLE).unwrap()).unwrap()
    }

    pub(crate) fn surroundings(&self) -> Surroundings {
        Surroundings {
            api: self.api,
            app: self.path("app"),
            platform: self.path("platform"),
            build_config: self.path("build-config"),
            inherited: Environment::for_buildpacks([
                ("PATH".into(), "/usr/bin:/bin".into()),
                ("HOME".into(), self.path("home").into()),
                ("SECRET".into(), "x".into()),
            ]),
            exec_env: self.exec_env.clone(),
            os_release: self.path("os-release"),
            uid: 1000,
        }
    }

    pub(crate) fn analyze_options(&self) -> AnalyzeOptions {
        AnalyzeOptions {
            api: self.api,
            image: APP_IMAGE.parse().unwrap(),
            tags: Vec::new(),
            previous_image: None,
            run_image: None,
            run: self.path("run.toml"),
            stack: self.path("stack.toml"),
            layers: self.layers(),
            launch_cache: None,
            skip_layers: false,
            analyzed: self.path("layers/analyzed.toml"),
        }
    }

    pub(crate) fn detect_options(&self) -> DetectOptions {
        DetectOptions {
            surroundings: self.surroundings(),
            buildpacks: self.path("buildpacks"),
            extensions: self.path("extensions"),
            order: self.path("order.toml"),
            system: self.path("system.toml"),
            run: self.path("run.toml"),
            analyzed: self.path("layers/analyzed.toml"),
            group: self.path("layers/group.toml"),
            plan: self.path("layers/plan.toml"),
            generated: self.path("layers/generated"),
            experimental: ExperimentalMode::Error,
        }
    }

    pub(crate) fn build_options(&self) -> BuildOptions {
        BuildOptions {
            surroundings: self.surroundings(),
            buildpacks: self.path("buildpacks"),
            layers: self.path("layers"),
            group: self.path("layers/group.toml"),
            plan: self.path("layers/plan.toml"),
            analyzed: self.path("layers/analyzed.toml"),
        }
    }

    pub(crate) fn restore_options(&self) -> RestoreOptions {
        RestoreOptions {
            api: self.api,
            layers: self.layers(),
            group: self.path("layers/group.toml"),
            analyzed: self.path("layers/analyzed.toml"),
            run: self.path("run.toml"),
            build_image: None,
            skip_layers: false,
        }
    }

    pub(crate) fn export_options(&self) -> ExportOptions {
        ExportOptions {
            api: self.api,
            images: vec![APP_IMAGE.parse().unwrap()],
            app: Place {
                here: self.path("app"),
                shown: "/workspace".into(),
            },
            layers: self.layers(),
            extended: self.path("layers/extended"),
            analyzed: self.path("layers/analyzed.toml"),
            group: self.path("layers/group.toml"),
            run: self.path("run.toml"),
            stack: self.path("stack.toml"),
            project_metadata: self.path("project-metadata.toml"),
            report: self.path("report.toml"),
            launcher: self.path("launcher"),
            launcher_version: LauncherVersion::default(),
            launcher_sbom: Some(self.path("sbom")),
            launcher_sbom_is_default: true,
            process_type: None,
            owner: Owner::new(1234, 1000),
            source_date_epoch: None,
            exec_env: self.exec_env.clone(),
            parallel: false,
            launch_cache: None,
            packing: Packing::default(),
        }
    }

    pub(crate) fn extend_options(&self, kind: ExtendKind) -> ExtendOptions {
        ExtendOptions {
            api: self.api,
            kind,
            analyzed: self.path("layers/analyzed.toml"),
            group: self.path("layers/group.toml"),
            generated: self.path("layers/generated"),
            extended: self.path("layers/extended"),
            app: self.path("app"),
            base_images: self.path("kaniko/cache/base"),
            root: self.path("root"),
            volumes: vec![PathBuf::from("/layers")],
            build_id: "1".to_owned(),
            proxies: Vec::new(),
            packing: Packing::default(),
        }
    }

    pub(crate) fn bases(&self) -> BaseImages<'_> {
        BaseImages {
            directory: self.path("kaniko/cache/base"),
            source: &self.store,
            platform: &self.platform,
        }
    }

    pub(crate) fn rebase_options(&self, run_image: Option<&str>) -> RebaseOptions {
        RebaseOptions {
            api: self.api,
            images: vec![APP_IMAGE.parse().unwrap()],
            previous_image: None,
            run_image: run_image.map(str::to_owned),
            force: false,
            report: self.path("report.toml"),
        }
    }

    pub(crate) fn create_options(&self) -> CreateOptions {
        CreateOptions {
            analyze: self.analyze_options(),
            detect: self.detect_options(),
            restore: self.restore_options(),
            build: self.build_options(),
            export: self.export_options(),
        }
    }

    /// Builds the app with a cache directory, in an empty layers directory, as a second build on a fresh machine does.
    pub(crate) fn create(&mut self) -> Result<CreateReport, CreateError> {
        self.create_with(&self.create_options())
    }

    pub(crate) fn create_with(&self, options: &CreateOptions) -> Result<CreateReport, CreateError> {
        self.create_among(options, &self.images(), &self.cache())
    }

    /// The same with other images or caches.
    pub(crate) fn create_among(
        &self,
        options: &CreateOptions,
        images: &Images<'_>,
        cache: &CacheOptions<'_>,
    ) -> Result<CreateReport, CreateError> {
        fs::remove_dir_all(self.path("layers")).unwrap();
        fs::create_dir_all(self.path("layers")).unwrap();
        let (store, reporter) = (&self.store, self.reporter());
        crate::create(options, images, cache, store, &Cancellation::default(), &reporter)
    }

    /// An image of this registry as a cache.
    pub(crate) fn cache_image(&self, name: &str) -> CacheImage<'_> {
        CacheImage {
            reference: reference(name),
            source: &self.store,
            sink: &self.store,
            access: None,
            platform: &self.platform,
        }
    }

    pub(crate) fn cache(&self) -> CacheOptions<'_> {
        CacheOptions {
            directory: Some(self.path("cache")),
            image: None,
            unpacked: None,
        }
    }

    pub(crate) fn reporter(&self) -> Arc<dyn Reporter> {
        Arc::clone(&self.recorder) as Arc<dyn Reporter>
    }

    pub(crate) fn new_recorder(&mut self) {
        self.recorder = Arc::default();
    }

    pub(crate) fn layers(&self) -> Place {
        Place {
            here: self.path("layers"),
            shown: "/layers".into(),
        }
    }
}

/// How many layers came back with what is in them.
pub(crate) fn count_contents(report: &CreateReport) -> usize {
    let layers = report.restored.layers.iter();
    layers
        .filter(|layer| layer.restored == Restored::Contents)
        .count()
}

/// A daemon that calls images by the digest of their configuration.
#[derive(Debug)]
pub(crate) struct ConfigIds;

impl ImageIds for ConfigIds {
    fn id(&self, image: &Image) -> Result<String, lifecycle_image::TransferError> {
        Ok(image.encode_config()?.descriptor.digest.hex().to_owned())
    }
}

pub(crate) fn reference(text: &str) -> Reference {
    text.parse().unwrap()
}

fn make_executable(path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

fn order_toml(groups: &[&str], table: &str) -> String {
    let entry = |word: &str| {
        let id = word.trim_end_matches('?');
        let optional = word.ends_with('?');
        format!("[[{table}.group]]\nid = '{id}'\nversion = '1'\noptional = {optional}\n")
    };
    let group = |group: &&str| {
        let entries: String = group.split_whitespace().map(entry).collect();
        format!("[[{table}]]\n{entries}")
    };
    groups.iter().map(group).collect()
}

/// An order of extensions, to be put behind an order.
pub(crate) fn extension_order_toml(groups: &[&str]) -> String {
    order_toml(groups, "order-extensions").replace("optional = false\n", "")
}

/// A buildpack with a layer of each sort, which tells what it found.
pub(crate) const LAYERS: &str = r#"
ls "$CNB_LAYERS_DIR" | grep -v '^build.toml' | tr '\n' ' ' > found
add() {
  mkdir -p "$CNB_LAYERS_DIR/$1"
  [ -e "$CNB_LAYERS_DIR/$1/made" ] || echo "$1" > "$CNB_LAYERS_DIR/$1/made"
  printf '[types]\n%s\n[metadata]\nversion = "1"\n' "$2" > "$CNB_LAYERS_DIR/$1.toml"
  echo "{\"of\":\"$1\"}" > "$CNB_LAYERS_DIR/$1.sbom.cdx.json"
}
add b 'build = true'
add bc "build = true
cache = true"
add bcl "build = true
cache = true
launch = true"
add c 'cache = true'
add cl "cache = true
launch = true"
if [ -e "$CNB_LAYERS_DIR/l.toml" ] && [ -z "$FRESH" ]; then
  printf '[types]\nlaunch = true\n[metadata]\nversion = "2"\n' > "$CNB_LAYERS_DIR/l.toml"
else
  add l 'launch = true'
fi
printf '[metadata]\nkept = "yes"\n' > "$CNB_LAYERS_DIR/store.toml"
printf '[[processes]]\ntype = "web"\ncommand = ["run"]\ndefault = true\n[[labels]]\nkey = "own"\nvalue = "label"\n' > "$CNB_LAYERS_DIR/launch.toml"
"#;

pub(crate) const CYCLONE: &str = "sbom-formats = ['application/vnd.cyclonedx+json']";

pub(crate) fn world_with_layers() -> World {
    let world = World::new();
    world.buildpack("acme/a", "0.10", CYCLONE, "", LAYERS);
    world.order(&["acme/a"]);
    world
}
