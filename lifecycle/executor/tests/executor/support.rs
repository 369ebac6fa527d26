//! A base image, contexts, builds, and a look into what came out.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufReader, Read};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use lifecycle_dockerfile::{Platform as Target, Platforms};
use lifecycle_executor::{
    BuildContext, BuildReport, ExecutorError, Offline, Options, Remote, Reporter, StepName, StepOutcome,
    Surroundings, build,
};
use lifecycle_image::{
    Compression, History, Image, ImageConfig, Layer, NoProgress, Platform, Reference, Sink, mutate,
};
use lifecycle_layers::{Entry, FilesLayer, Kind, Packing, Style, TarReader};
use lifecycle_store::{Expected, Store};

/// A time for builds; nothing depends on which.
pub(crate) const NOW: i64 = 1_700_000_000;

/// A place to build in: a store with the image `busybox`, and a context.
pub(crate) struct Bench {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) store: Store,
}

/// What a build gave.
pub(crate) struct Built {
    pub(crate) image: Image,
    pub(crate) executed: usize,
    pub(crate) cached: usize,
    pub(crate) output: String,
    pub(crate) steps: Vec<(String, StepOutcome)>,
    pub(crate) warnings: Vec<String>,
}

/// An entry of a layer or of the whole image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) kind: char,
    pub(crate) mode: u32,
    pub(crate) owner: (u32, u32),
    pub(crate) mtime: i64,
    pub(crate) target: String,
    pub(crate) content: String,
    pub(crate) xattrs: Vec<(String, Vec<u8>)>,
}

#[derive(Debug, Default)]
pub(crate) struct Recording {
    output: Mutex<String>,
    steps: Mutex<Vec<(String, StepOutcome)>>,
    warnings: Mutex<Vec<String>>,
}

impl Reporter for Recording {
    fn output(&self, _: &StepName, bytes: &[u8]) {
        self.output
            .lock()
            .unwrap()
            .push_str(&String::from_utf8_lossy(bytes));
    }

    fn end(&self, step: &StepName, outcome: StepOutcome) {
        self.steps.lock().unwrap().push((step.text.clone(), outcome));
    }

    fn warn(&self, warning: &lifecycle_diagnostics::Diagnostic) {
        self.warnings.lock().unwrap().push(warning.to_string());
    }
}

impl Recording {
    pub(crate) fn built(self, image: Image, executed: usize, cached: usize) -> Built {
        Built {
            image,
            executed,
            cached,
            output: self.output.into_inner().unwrap(),
            steps: self.steps.into_inner().unwrap(),
            warnings: self.warnings.into_inner().unwrap(),
        }
    }
}

pub(crate) fn busybox_contents() -> FilesLayer {
    let applets = [
        "sh", "cat", "echo", "env", "false", "id", "ls", "mkdir", "rm", "sleep", "stat", "touch", "true",
        "chmod", "chown", "cp", "mv", "ln", "grep", "find", "test", "head", "wc", "tr", "sort", "dd",
        "readlink", "setsid", "mkfifo", "hostname", "pwd", "sync", "seq", "date", "nc", "ip", "rmdir",
        "uname", "printf", "mount", "basename",
    ];
    let mut layer = FilesLayer::new("busybox", Style::Oci { latest: None })
        .mtime(1_600_000_000)
        .copy("bin/busybox", 0o755, "/bin/busybox")
        .file(
            "etc/passwd",
            0o644,
            *b"root:x:0:0:root:/root:/bin/sh\nbin:x:2:3:bin:/bin:/bin/sh\nalice:x:1000:1001:Alice:/home/alice:/bin/sh\n",
        )
        .file(
            "etc/group",
            0o644,
            *b"root:x:0:\nbin:x:3:\nalice:x:1001:\nstaff:x:50:alice,bin\nwheel:x:10:alice\n",
        )
        .directory("root", 0o700)
        .directory("tmp", 0o1777)
        .directory("dev", 0o755)
        .directory("proc", 0o755)
        .directory("sys", 0o755)
        .directory("etc/conf.d", 0o750)
        .symlink("sl", *b"/etc/conf.d", 0o777)
        .symlink("escape", *b"/../../../../../etc", 0o777);
    for applet in applets {
        layer = layer.symlink(format!("bin/{applet}"), *b"busybox", 0o777);
    }
    layer
}

impl Bench {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("store")).unwrap();
        fs::create_dir(directory.path().join("context")).unwrap();
        let bench = Self { directory, store };
        let layer = bench.pack(busybox_contents());
        let image = Image::empty(&Platform::linux("amd64"));
        let history = History {
            created: Some("2020-01-01T00:00:00Z".into()),
            created_by: Some("busybox".into()),
            ..History::default()
        };
        let image = mutate::append(image, layer, history);
        bench.put(
            "busybox",
            mutate::configure(image, |config| {
                config.config.cmd = Some(vec!["sh".into()]);
                config.config.env = Some(vec!["PATH=/bin".into()]);
            }),
        );
        bench
    }

    pub(crate) fn pack(&self, contents: FilesLayer) -> Arc<dyn Layer> {
        let packing = Packing {
            compression: Compression::Gzip,
            ..Packing::default()
        };
        self.store
            .pack(Arc::new(contents), packing, Expected::New, Arc::new(NoProgress))
    }

    pub(crate) fn put(&self, name: &str, image: Image) {
        let reference: Reference = name.parse().unwrap();
        let mut upload = self.store.begin(&[reference]).unwrap();
        for layer in image.layers() {
            upload.layer(Arc::clone(layer));
        }
        upload.finish(&image).unwrap();
    }

    pub(crate) fn context(&self) -> PathBuf {
        self.directory.path().join("context")
    }

    /// Writes a file of the context, with the directories above it.
    pub(crate) fn file(&self, path: &str, content: &str) -> PathBuf {
        let path = self.context().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    pub(crate) fn mode(&self, path: &str, mode: u32) {
        fs::set_permissions(self.context().join(path), fs::Permissions::from_mode(mode)).unwrap();
    }

    pub(crate) fn link(&self, path: &str, target: &str) {
        let path = self.context().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(target, path).unwrap();
    }

    pub(crate) fn options(&self, dockerfile: &str) -> Options {
        let platforms = Platforms::native(Target::new("linux", "amd64"));
        let mut options = Options::new(
            "Dockerfile",
            dockerfile,
            BuildContext::Directory(self.context()),
            platforms,
        );
        options.now = NOW;
        options
    }

    pub(crate) fn surroundings<'a>(
        &'a self,
        remote: &'a dyn Remote,
        reporter: &'a dyn Reporter,
    ) -> Surroundings<'a> {
        Surroundings {
            images: &self.store,
            remote,
            store: &self.store,
            reporter,
        }
    }

    pub(crate) fn try_build(&self, options: &Options) -> Result<Built, ExecutorError> {
        self.try_build_with(options, &Offline)
    }

    pub(crate) fn try_build_with(
        &self,
        options: &Options,
        remote: &dyn Remote,
    ) -> Result<Built, ExecutorError> {
        self.try_build_then(options, remote, |_| ())
    }

    /// Builds, and does something with the report before it is given away.
    pub(crate) fn try_build_then(
        &self,
        options: &Options,
        remote: &dyn Remote,
        then: impl FnOnce(&BuildReport),
    ) -> Result<Built, ExecutorError> {
        let reporter = Recording::default();
        let report = build(options, self.surroundings(remote, &reporter))?;
        let (executed, cached) = (report.executed, report.cached);
        then(&report);
        Ok(reporter.built(report.finish()?, executed, cached))
    }

    pub(crate) fn build(&self, dockerfile: &str) -> Built {
        self.build_with(&self.options(dockerfile))
    }

    pub(crate) fn build_with(&self, options: &Options) -> Built {
        match self.try_build(options) {
            Ok(built) => built,
            Err(error) => panic!("{:#?}", error.diagnostics()),
        }
    }

    /// The message of the error that a build ends with, `file:line:column: text`, with its causes.
    pub(crate) fn fail(&self, dockerfile: &str) -> String {
        self.fail_with(&self.options(dockerfile))
    }

    pub(crate) fn fail_with(&self, options: &Options) -> String {
        match self.try_build(options) {
            Ok(_) => panic!("it builds"),
            Err(error) => tell(&error),
        }
    }
}

pub(crate) fn tell(error: &ExecutorError) -> String {
    let diagnostics = error.diagnostics();
    let texts = diagnostics.iter().map(|diagnostic| {
        let causes = diagnostic.causes.iter().map(|cause| format!(": {cause}"));
        format!("{diagnostic}{}", causes.collect::<String>())
    });
    texts.collect::<Vec<_>>().join("\n")
}

impl Built {
    pub(crate) fn config(&self) -> &ImageConfig {
        self.image.config()
    }

    pub(crate) fn digest(&self) -> String {
        self.image.digest().unwrap().to_string()
    }

    /// The lines of this build's instructions.
    pub(crate) fn history(&self) -> Vec<(String, bool)> {
        self.config()
            .history
            .iter()
            .map(|line| (line.created_by.clone().unwrap_or_default(), line.empty_layer))
            .filter(|(text, _)| text != "busybox")
            .collect()
    }

    /// The entries of a layer, counted from the top: 0 is the last one.
    pub(crate) fn layer(&self, from_top: usize) -> BTreeMap<String, Found> {
        let layers = self.image.layers();
        entries(&*layers[layers.len() - 1 - from_top])
    }

    /// The paths of a layer in the order of the archive.
    pub(crate) fn order(&self, from_top: usize) -> Vec<String> {
        let layers = self.image.layers();
        let mut paths = Vec::new();
        read(&*layers[layers.len() - 1 - from_top], |path, _| paths.push(path));
        paths
    }

    /// The whole file system.
    pub(crate) fn files(&self) -> BTreeMap<String, Found> {
        let mut files: BTreeMap<String, Found> = BTreeMap::new();
        for layer in self.image.layers() {
            for (path, found) in entries(&**layer) {
                let (above, name) = path
                    .rsplit_once('/')
                    .map_or(("", path.as_str()), |(above, name)| (above, name));
                if let Some(gone) = name.strip_prefix(".wh.") {
                    let gone = if above.is_empty() {
                        gone.to_owned()
                    } else {
                        format!("{above}/{gone}")
                    };
                    files.retain(|path, _| *path != gone && !path.starts_with(&format!("{gone}/")));
                } else {
                    files.insert(path, found);
                }
            }
        }
        files
    }

    pub(crate) fn content(&self, path: &str) -> String {
        match self.files().get(path) {
            Some(found) => found.content.clone(),
            None => panic!("{path} is not there: {:?}", self.files().keys()),
        }
    }

    pub(crate) fn outcomes(&self) -> Vec<StepOutcome> {
        self.steps.iter().map(|(_, outcome)| *outcome).collect()
    }
}

fn plain(layer: &dyn Layer) -> Vec<u8> {
    let mut bytes = Vec::new();
    let stored = layer.open(0).unwrap();
    match layer.descriptor().unwrap().media_type.compression() {
        Some(Compression::Gzip) => flate2::read::MultiGzDecoder::new(stored)
            .read_to_end(&mut bytes)
            .unwrap(),
        Some(Compression::Zstd) => panic!("tests pack with gzip"),
        _ => {
            let mut stored = stored;
            stored.read_to_end(&mut bytes).unwrap()
        }
    };
    bytes
}

fn read(layer: &dyn Layer, mut each: impl FnMut(String, Found)) {
    let bytes = plain(layer);
    let mut reader = TarReader::new(BufReader::new(&bytes[..]));
    while let Some(entry) = reader.next_entry().unwrap() {
        let path = String::from_utf8_lossy(&entry.path)
            .trim_end_matches('/')
            .to_owned();
        let (kind, target) = match &entry.kind {
            Kind::File { .. } => ('f', String::new()),
            Kind::Directory => ('d', String::new()),
            Kind::Symlink(target) => ('l', String::from_utf8_lossy(target).into_owned()),
            Kind::HardLink(target) => ('h', String::from_utf8_lossy(target).into_owned()),
            Kind::Fifo => ('p', String::new()),
            Kind::CharDevice(_) => ('c', String::new()),
            Kind::BlockDevice(_) => ('b', String::new()),
        };
        let mut content = Vec::new();
        loop {
            let chunk = reader.chunk().unwrap();
            if chunk.is_empty() {
                break;
            }
            let count = chunk.len();
            content.extend_from_slice(chunk);
            reader.consume(count);
        }
        let xattrs = entry.xattrs.iter();
        each(
            path,
            Found {
                kind,
                mode: entry.mode,
                owner: (entry.owner.uid, entry.owner.gid),
                mtime: entry.mtime,
                target,
                content: String::from_utf8_lossy(&content).into_owned(),
                xattrs: xattrs
                    .map(|xattr| {
                        (
                            String::from_utf8_lossy(&xattr.name).into_owned(),
                            xattr.value.clone(),
                        )
                    })
                    .collect(),
            },
        );
    }
}

pub(crate) fn entries(layer: &dyn Layer) -> BTreeMap<String, Found> {
    let mut all = BTreeMap::new();
    read(layer, |path, found| drop(all.insert(path, found)));
    all
}

/// All bytes of an image's layers and documents, unpacked, for looking for what must not be there.
pub(crate) fn everything(built: &Built) -> Vec<u8> {
    let mut all = built.image.encode_config().unwrap().bytes.to_vec();
    for layer in built.image.layers() {
        all.extend(plain(&**layer));
    }
    all
}

/// Whether any file below a directory holds a text. What vanishes meanwhile holds nothing: the store tidies up.
pub(crate) fn holds(directory: &Path, text: &str) -> bool {
    let entries = fs::read_dir(directory).into_iter().flatten();
    entries.map(|entry| entry.unwrap().path()).any(|path| {
        if path.is_dir() && !path.is_symlink() {
            return holds(&path, text);
        }
        path.is_file() && fs::read(&path).is_ok_and(|bytes| contains(&bytes, text.as_bytes()))
    })
}

pub(crate) fn contains(bytes: &[u8], text: &[u8]) -> bool {
    bytes.windows(text.len()).any(|window| window == text)
}

/// A tar of these files, for archives to ADD.
pub(crate) fn tar(entries: &[(Entry<'static>, &[u8])]) -> Vec<u8> {
    let mut writer = lifecycle_layers::TarWriter::new(Vec::new(), Style::Oci { latest: None });
    for (entry, data) in entries {
        writer.entry(entry).unwrap();
        if !data.is_empty() {
            writer.data(data).unwrap();
        }
    }
    writer.finish().unwrap()
}
