//! Puts modules onto an image: layers, and labels that say where they lie (BDR-05 to BDR-07).

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufReader, Write};
use std::sync::Arc;

use lifecycle_image::{DiffId, History, Image, Layer, Progress, mutate};
use lifecycle_layers::{
    Contents, Entry, FilesLayer, Kind as EntryKind, PackError, Packing, Style, TarReader, TarWriter, decoder,
};
use lifecycle_spec::Target;
use lifecycle_spec::label::{ModuleLayer, ModuleLayers};
use lifecycle_store::{Expected, Record, Store};

use crate::module::ModuleContent;
use crate::{BuilderError, CREATED, Kind, Module, ModuleName};

/// Where layers are made, and who watches.
#[derive(Debug, Clone, Copy)]
pub struct Workbench<'a> {
    /// What packs and keeps them.
    pub store: &'a Store,
    /// Who watches.
    pub progress: &'a Arc<dyn Progress>,
}

impl Workbench<'_> {
    pub(crate) fn pack(&self, contents: impl Contents + 'static) -> Arc<dyn Layer> {
        self.pack_expected(contents, Expected::here())
    }

    /// Packs contents that are the same as long as their `key` is. They are read once in the life of the store.
    pub(crate) fn pack_once(
        &self,
        key: String,
        contents: impl Contents + 'static,
    ) -> Result<Arc<dyn Layer>, BuilderError> {
        let known = self.store.record(&key)?;
        let diff_id = known.and_then(|record| record.value.as_str()?.parse::<DiffId>().ok());
        if let Some(diff_id) = diff_id {
            return Ok(self.pack_expected(contents, Expected::known(diff_id, &[])));
        }
        let layer = self.pack(contents);
        self.store.remember(&Record {
            key,
            value: layer.diff_id()?.to_string().into(),
            blobs: Vec::new(),
        })?;
        Ok(layer)
    }

    fn pack_expected(&self, contents: impl Contents + 'static, expected: Expected) -> Arc<dyn Layer> {
        let progress = Arc::clone(self.progress);
        self.store
            .pack(Arc::new(contents), Packing::default(), expected, progress)
    }
}

/// Which modules share a layer. File systems allow few layers, and platforms show many small ones slowly.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Flatten {
    /// None: every module has a layer of its own.
    #[default]
    Nothing,
    /// All but these.
    AllBut(Vec<ModuleName>),
    /// Those of each group.
    Groups(Vec<Vec<ModuleName>>),
}

impl Flatten {
    /// Splits modules into those that share a layer. Names that no module has are an error.
    fn split<'a>(&self, modules: &[&'a Module]) -> Result<Vec<Vec<&'a Module>>, BuilderError> {
        let is = |module: &Module, name: &ModuleName| {
            let info = &module.descriptor.info;
            info.id == name.id
                && name
                    .version
                    .as_ref()
                    .is_none_or(|version| *version == info.version)
        };
        let named: Vec<&ModuleName> = match self {
            Self::Nothing => Vec::new(),
            Self::AllBut(names) => names.iter().collect(),
            Self::Groups(groups) => groups.iter().flatten().collect(),
        };
        for name in named {
            if !modules.iter().any(|module| is(module, name)) {
                return Err(BuilderError::Flatten {
                    name: name.to_string(),
                });
            }
        }
        let group = |module: &Module| match self {
            Self::Nothing => None,
            Self::AllBut(names) => (!names.iter().any(|name| is(module, name))).then_some(0),
            Self::Groups(groups) => groups
                .iter()
                .position(|group| group.iter().any(|name| is(module, name))),
        };
        let mut split: Vec<(Option<usize>, Vec<&Module>)> = Vec::new();
        for module in modules {
            let group = group(module);
            match split.iter_mut().find(|(own, _)| own.is_some() && *own == group) {
                Some((_, members)) => members.push(module),
                None => split.push((group, vec![module])),
            }
        }
        Ok(split.into_iter().map(|(_, members)| members).collect())
    }
}

/// `image` with modules on top, buildpacks first, sorted by id and version. A module that is there already stays as it
/// is; one of the same name with other files is replaced.
pub fn place(
    image: Image,
    modules: &[Module],
    flatten: &Flatten,
    bench: &Workbench<'_>,
) -> Result<Image, BuilderError> {
    let mut image = mutate::align_history(image);
    let mut sorted: Vec<&Module> = modules.iter().collect();
    sorted.sort_by_key(|module| key(module));
    refuse_twins(&sorted)?;
    sorted.dedup_by(|one, other| key(one) == key(other));

    let mut listed: BTreeMap<Kind, ModuleLayers> = BTreeMap::new();
    for kind in Kind::ALL {
        let label = image.config().label(kind.layers_label());
        listed.insert(
            kind,
            label.map_or(Ok(ModuleLayers::default()), ModuleLayers::parse)?,
        );
    }
    let mut there = BTreeSet::new();
    // Of a layer in the making it is not known yet which it is, but it is none of a module.
    for layer in image.layers().iter().filter(|layer| layer.known().is_some()) {
        there.insert(layer.diff_id()?);
    }
    let mut entries = Vec::new();
    for members in flatten.split(&sorted)? {
        let layer = layer_of(&members, bench)?;
        for module in &members {
            let info = &module.descriptor.info;
            let versions = listed
                .get(&module.descriptor.kind)
                .and_then(|layers| layers.0.get(&info.id));
            let Some(old) = versions.and_then(|versions| versions.get(&info.version)) else {
                continue;
            };
            if old.layer_diff_id != layer.diff_id()?.as_str() {
                image = append(
                    image,
                    bench.pack(whiteout(module)),
                    format!("Replace {}", module.label()),
                );
            }
        }
        entries.extend(members.iter().map(|module| (*module, Arc::clone(&layer))));
        // A layer in the making is new: waiting for it would stop the packer of the next.
        if layer.known().is_some() && !there.insert(layer.diff_id()?) {
            continue;
        }
        let labels: Vec<String> = members.iter().map(|module| module.label()).collect();
        let kind = match members[0].descriptor.kind {
            Kind::Buildpack => "Buildpack",
            Kind::Extension => "Extension",
        };
        image = append(image, layer, format!("{kind} {}", labels.join(", ")));
    }
    for (module, layer) in entries {
        let info = &module.descriptor.info;
        let entry = describe(module, &layer.diff_id()?);
        listed
            .entry(module.descriptor.kind)
            .or_default()
            .0
            .entry(info.id.clone())
            .or_default()
            .insert(info.version.clone(), entry);
    }
    Ok(mutate::configure(image, |config| {
        for (kind, layers) in listed.into_iter().filter(|(_, layers)| !layers.0.is_empty()) {
            config.set_label(kind.layers_label(), layers.to_json());
        }
    }))
}

/// `image` with one more layer, and what made it.
pub(crate) fn append(image: Image, layer: Arc<dyn Layer>, created_by: String) -> Image {
    let history = History {
        created: Some(CREATED.to_owned()),
        created_by: Some(created_by),
        ..History::default()
    };
    mutate::append(image, layer, history)
}

fn key(module: &Module) -> (Kind, String) {
    (module.descriptor.kind, module.label())
}

/// Two modules of one name must be the same one.
fn refuse_twins(sorted: &[&Module]) -> Result<(), BuilderError> {
    for pair in sorted.windows(2) {
        if key(pair[0]) == key(pair[1]) && pair[0].descriptor != pair[1].descriptor {
            return Err(BuilderError::Twins {
                module: pair[0].label(),
            });
        }
    }
    Ok(())
}

/// The layer of modules that share one.
fn layer_of(members: &[&Module], bench: &Workbench<'_>) -> Result<Arc<dyn Layer>, BuilderError> {
    let layers: Vec<Arc<dyn Layer>> = members
        .iter()
        .map(|module| match &module.content {
            ModuleContent::Files { folder, description } => {
                Ok(bench.pack(module.files(folder, description.as_deref())?))
            }
            ModuleContent::Layer(layer) => Ok(Arc::clone(layer)),
        })
        .collect::<Result<_, BuilderError>>()?;
    match layers.as_slice() {
        [layer] => Ok(Arc::clone(layer)),
        several => {
            let mut parts: Vec<Arc<dyn Layer>> = Vec::new();
            let mut seen = BTreeSet::new();
            for layer in several {
                if seen.insert(layer.diff_id()?) {
                    let stored = bench.store.fetch(&**layer, &**bench.progress)?;
                    parts.push(Arc::new(stored));
                }
            }
            let name = members
                .iter()
                .map(|module| module.label())
                .collect::<Vec<_>>()
                .join(", ");
            Ok(bench.pack(Merged { name, parts }))
        }
    }
}

/// Hides what a lower layer has of a module, so that its files do not mix with those of the new one (BDR-07).
fn whiteout(module: &Module) -> FilesLayer {
    let directory = module.directory();
    let name = format!(
        ".wh.{}",
        directory.file_name().unwrap_or_default().to_string_lossy()
    );
    FilesLayer::new(format!("replacement of {}", module.label()), Style::Reference).file(
        directory.with_file_name(name),
        0o644,
        &b""[..],
    )
}

/// What a label says of a module. One without targets and stacks, which has a program for Linux, is for Linux.
fn describe(module: &Module, diff_id: &DiffId) -> ModuleLayer {
    let descriptor = &module.descriptor;
    let says_nothing =
        descriptor.targets.is_empty() && descriptor.stacks.is_empty() && !descriptor.is_composite();
    let targets = if says_nothing && descriptor.kind == Kind::Buildpack {
        vec![Target {
            os: "linux".to_owned(),
            ..Target::default()
        }]
    } else {
        descriptor.targets.clone()
    };
    ModuleLayer {
        api: descriptor.api.clone(),
        stacks: descriptor.stacks.clone(),
        targets,
        order: descriptor.order.clone(),
        layer_diff_id: diff_id.to_string(),
        homepage: descriptor.info.homepage.clone(),
        name: descriptor.info.name.clone(),
    }
}

/// Several layers as one.
#[derive(Debug)]
struct Merged {
    name: String,
    parts: Vec<Arc<dyn Layer>>,
}

impl Contents for Merged {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn write(&self, tar: &mut dyn Write) -> Result<(), PackError> {
        let failed = |cause| PackError::Io {
            path: self.name.clone(),
            cause,
        };
        let mut writer = TarWriter::new(&mut *tar, Style::Reference);
        let mut directories = BTreeSet::new();
        for part in &self.parts {
            let stored = part.open(0).map_err(|error| failed(error.into()))?;
            let plain = decoder(stored, None).map_err(failed)?;
            let mut reader = TarReader::new(BufReader::with_capacity(256 << 10, plain));
            let unreadable = |error| failed(std::io::Error::other(error));
            while let Some(entry) = reader.next_entry().map_err(unreadable)? {
                let path = plain_path(&entry.path);
                if path.is_empty()
                    || (entry.kind == EntryKind::Directory && !directories.insert(path.clone()))
                {
                    continue;
                }
                if entry.sparse.is_some() {
                    return Err(failed(std::io::Error::other(
                        "a sparse file in it cannot be copied",
                    )));
                }
                let kind = match entry.kind {
                    EntryKind::HardLink(target) => EntryKind::HardLink(plain_path(&target).into()),
                    kind => kind,
                };
                writer.entry(&Entry {
                    path: path.into(),
                    kind,
                    mode: entry.mode,
                    owner: entry.owner,
                    mtime: entry.mtime,
                    xattrs: Vec::new(),
                })?;
                loop {
                    let chunk = reader.chunk().map_err(unreadable)?;
                    if chunk.is_empty() {
                        break;
                    }
                    writer.data(chunk)?;
                    let count = chunk.len();
                    reader.consume(count);
                }
            }
        }
        writer.finish().map(drop)
    }
}

/// A name in an archive as entries have it.
fn plain_path(path: &[u8]) -> Vec<u8> {
    let parts = path
        .split(|byte| *byte == b'/')
        .filter(|part| !part.is_empty() && *part != b".");
    parts.collect::<Vec<_>>().join(&b'/')
}
