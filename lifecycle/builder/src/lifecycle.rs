//! The lifecycle that a builder carries: this program, or one from an archive or image (platforms.md 1.9).

use std::collections::BTreeMap;
use std::io::{BufReader, Read};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use lifecycle_image::{Hasher, Image, LayerError};
use lifecycle_layers::{FilesLayer, Kind as EntryKind, Stamp, Style, TarReader, decoder};
use lifecycle_sbom::Document;
use lifecycle_spec::{Apis, LifecycleToml};

use crate::BuilderError;

/// The phases that the program answers to by name; each is a link to it in a builder and in a release.
pub const PHASES: [&str; 8] = [
    "analyzer", "builder", "creator", "detector", "exporter", "extender", "rebaser", "restorer",
];

/// Without these, nothing is a lifecycle (LT-01).
const DEMANDED: [&str; 7] = [
    "analyzer", "builder", "creator", "detector", "exporter", "launcher", "restorer",
];

/// The most that the programs of a lifecycle may take.
const LARGEST: u64 = 1 << 30;

/// The lifecycle of a builder.
#[derive(Debug, Clone)]
pub struct Lifecycle {
    /// Its version.
    pub version: String,
    /// What it speaks.
    pub apis: Apis,
    /// Its files by name, below `/cnb/lifecycle`.
    files: BTreeMap<String, LifecycleFile>,
}

#[derive(Debug, Clone)]
enum LifecycleFile {
    Disk(PathBuf),
    Memory { bytes: Arc<[u8]>, mode: u32 },
    Link(Vec<u8>),
}

impl Lifecycle {
    /// This program: `program` on disk is every phase, by its name.
    pub fn own(version: impl Into<String>, program: PathBuf, launcher: Arc<[u8]>) -> Self {
        let mut files: BTreeMap<String, LifecycleFile> = PHASES
            .iter()
            .map(|phase| ((*phase).to_owned(), LifecycleFile::Link(b"lifecycle".to_vec())))
            .collect();
        files.insert("lifecycle".to_owned(), LifecycleFile::Disk(program));
        let launcher = LifecycleFile::Memory {
            bytes: launcher,
            mode: 0o755,
        };
        files.insert("launcher".to_owned(), launcher);
        Self {
            version: version.into(),
            apis: Apis::own(),
            files,
        }
    }

    /// With SBOMs of one of its programs beside it (LCI-04).
    #[must_use]
    pub fn with_sboms(mut self, program: &str, sboms: Vec<Document>) -> Self {
        for sbom in sboms {
            let name = format!("{program}.sbom.{}", sbom.format.extension());
            let bytes = sbom.text.into_bytes().into();
            self.files
                .insert(name, LifecycleFile::Memory { bytes, mode: 0o644 });
        }
        self
    }

    /// Reads a lifecycle's archive: `lifecycle.toml` at its root, and what lies exactly one directory deep (LCI-01).
    pub fn read(archive: impl Read, name: &str) -> Result<Self, BuilderError> {
        Self::read_below(archive, name, None)
    }

    /// Reads a lifecycle image: its last layer, below `/cnb` (LCI-03).
    pub fn of_image(image: &Image, name: &str) -> Result<Self, BuilderError> {
        let layer = image.layers().last().ok_or_else(|| BuilderError::Lifecycle {
            name: name.to_owned(),
            reason: "the image has no layer".to_owned(),
        })?;
        Self::read_below(layer.open(0)?, name, Some("cnb"))
    }

    fn read_below(archive: impl Read, name: &str, below: Option<&str>) -> Result<Self, BuilderError> {
        let wrong = |reason: String| BuilderError::Lifecycle {
            name: name.to_owned(),
            reason,
        };
        let unreadable = |error: &dyn std::fmt::Display| wrong(format!("it cannot be read: {error}"));
        let tar = decoder(archive, None).map_err(|error| unreadable(&error))?;
        let mut reader = TarReader::new(BufReader::new(tar.take(LARGEST)));
        let mut descriptor = None;
        let mut files = BTreeMap::new();
        while let Some(entry) = reader.next_entry().map_err(|error| unreadable(&error))? {
            let path = String::from_utf8_lossy(&entry.path).into_owned();
            let Some(parts) = parts(&path, below) else {
                continue;
            };
            let mut content = || -> Result<Vec<u8>, BuilderError> {
                let mut bytes = Vec::new();
                loop {
                    let chunk = reader.chunk().map_err(|error| unreadable(&error))?;
                    if chunk.is_empty() {
                        return Ok(bytes);
                    }
                    bytes.extend_from_slice(chunk);
                    let count = chunk.len();
                    reader.consume(count);
                }
            };
            match (parts.as_slice(), entry.kind) {
                ([file], EntryKind::File { .. }) if file == "lifecycle.toml" => descriptor = Some(content()?),
                ([_, file], EntryKind::File { .. }) => {
                    let mode = if entry.mode & 0o111 == 0 { 0o644 } else { 0o755 };
                    let bytes = content()?.into();
                    files.insert(file.clone(), LifecycleFile::Memory { bytes, mode });
                }
                ([_, file], EntryKind::Symlink(target)) => {
                    files.insert(file.clone(), LifecycleFile::Link(target.into_owned()));
                }
                _ => {}
            }
        }
        let bytes = descriptor.ok_or_else(|| wrong("it has no lifecycle.toml".to_owned()))?;
        let descriptor = LifecycleToml::parse(&Path::new(name).join("lifecycle.toml"), &bytes)?;
        if semver::Version::parse(&descriptor.version).is_err() {
            return Err(wrong(format!(
                "its version {:?} is not a semantic version",
                descriptor.version
            )));
        }
        for program in DEMANDED {
            match files.get(program) {
                None => return Err(wrong(format!("it has no program {program}"))),
                Some(LifecycleFile::Link(target)) => {
                    let target = String::from_utf8_lossy(target);
                    if !files.contains_key(&*target) {
                        return Err(wrong(format!(
                            "its {program} is a link to {target}, which is not beside it"
                        )));
                    }
                }
                Some(_) => {}
            }
        }
        Ok(Self {
            version: descriptor.version,
            apis: descriptor.apis,
            files,
        })
    }

    /// A name for what is in [`Self::layer`]. For a file on disk stands its [`Stamp`], or what is in it, if it was changed a
    /// moment ago.
    pub(crate) fn key(&self) -> Result<String, BuilderError> {
        let mut hasher = Hasher::default();
        for (name, file) in &self.files {
            let (kind, bytes) = match file {
                LifecycleFile::Disk(path) => {
                    let failed = |cause| LayerError::new("lifecycle", cause);
                    let mut file = fs_err::File::open(path).map_err(failed)?;
                    let stamp = Stamp::of(&rustix::fs::fstat(&file).map_err(|error| failed(error.into()))?);
                    if stamp.is_settled() {
                        ("on disk".to_owned(), stamp.to_bytes().as_slice().into())
                    } else {
                        let mut bytes = Vec::new();
                        file.read_to_end(&mut bytes).map_err(failed)?;
                        ("just changed".to_owned(), bytes.into())
                    }
                }
                LifecycleFile::Memory { bytes, mode } => (format!("{mode:o}"), Arc::clone(bytes)),
                LifecycleFile::Link(target) => ("link".to_owned(), target.as_slice().into()),
            };
            hasher.update(format!("{name:?} {kind} {}\n", bytes.len()).as_bytes());
            hasher.update(&bytes);
        }
        Ok(format!("lifecycle of a builder {}", hasher.finish()))
    }

    /// `/cnb/lifecycle`, and the link to it that old platforms know.
    pub(crate) fn layer(&self) -> FilesLayer {
        let layer =
            FilesLayer::new("lifecycle", Style::Reference).symlink("/lifecycle", "/cnb/lifecycle", 0o777);
        self.files.iter().fold(layer, |layer, (name, file)| {
            let path = format!("/cnb/lifecycle/{name}");
            match file {
                LifecycleFile::Disk(from) => layer.copy(path, 0o755, from),
                LifecycleFile::Memory { bytes, mode } => layer.file(path, *mode, Arc::clone(bytes)),
                LifecycleFile::Link(target) => layer.symlink(path, target.clone(), 0o777),
            }
        })
    }
}

/// The names in a path of an archive; none for what does not count.
fn parts(path: &str, below: Option<&str>) -> Option<Vec<String>> {
    let mut parts = Vec::new();
    for component in Path::new(path).components() {
        match component {
            Component::Normal(name) => parts.push(name.to_str()?.to_owned()),
            Component::CurDir => {}
            // In an image every name may be absolute; in an archive such names do not count (platforms.md 1.9).
            Component::RootDir if below.is_some() => {}
            _ => return None,
        }
    }
    match below {
        Some(below) if parts.first().is_some_and(|first| first == below) => Some(parts.split_off(1)),
        Some(_) => None,
        None => Some(parts),
    }
}
