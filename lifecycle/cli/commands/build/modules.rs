//! The buildpacks and extensions that a build asks for, on top of a builder.

use std::path::Path;

use lifecycle_builder::{
    Address, BuilderError, Descriptor, Flatten, Folder, Kind, Module, ModuleName, Origins, Package,
    Workbench, fetch, inline, place,
};
use lifecycle_image::{Image, Platform};
use lifecycle_spec::label::{self, ModuleLayers, OrderLabel};
use lifecycle_spec::{BuildpackId, ExecEnvs, OrderEntry, OrderGroup, OrderToml, Script, Target, Version};

use crate::commands::builder::warn;
use crate::failure::Failure;
use crate::origins::SessionOrigins;
use crate::session::Session;

/// A module that is asked for.
#[derive(Debug, Clone)]
pub(super) enum Wanted {
    /// By its address. Paths start from the folder.
    Address(String, Folder),
    /// By its id, in the builder or in a registry.
    Id(ModuleName),
    /// Written into a project's descriptor (PRJ-05).
    Inline(BuildpackId, Version, Script),
}

impl Wanted {
    /// What a command line says. Paths start from where the program is.
    pub(super) fn of_arguments(texts: &[String]) -> Vec<Self> {
        let here = Folder::Disk(Path::new(".").to_owned());
        texts
            .iter()
            .map(|text| Self::Address(text.clone(), here.clone()))
            .collect()
    }
}

/// Everything that is asked for.
#[derive(Debug, Default)]
pub(super) struct Asked {
    /// In place of the builder's order.
    pub(super) buildpacks: Vec<Wanted>,
    /// In front of every group.
    pub(super) pre: Vec<Wanted>,
    /// Behind every group.
    pub(super) post: Vec<Wanted>,
    /// In place of the builder's order of extensions.
    pub(super) extensions: Vec<Wanted>,
}

/// A builder to which modules are added.
pub(super) struct Chosen<'a> {
    image: Image,
    layers: [(Kind, ModuleLayers); 2],
    added: Vec<Module>,
    origins: SessionOrigins<'a>,
    session: &'a Session,
    target: Target,
}

/// What a wanted module adds to a group.
enum Entries {
    Modules(Vec<OrderEntry>),
    /// The builder's groups, one after the other.
    WholeOrder,
}

impl<'a> Chosen<'a> {
    pub(super) fn new(image: Image, session: &'a Session) -> Result<Self, Failure> {
        let layers = |kind, key| -> Result<_, Failure> {
            let text = image.config().label(key);
            Ok((
                kind,
                text.map_or(Ok(ModuleLayers::default()), ModuleLayers::parse)?,
            ))
        };
        let layers = [
            layers(Kind::Buildpack, label::BUILDPACK_LAYERS)?,
            layers(Kind::Extension, label::EXTENSION_LAYERS)?,
        ];
        let Platform {
            os,
            architecture,
            variant,
            ..
        } = image.platform();
        Ok(Self {
            layers,
            added: Vec::new(),
            origins: SessionOrigins::new(session)?,
            session,
            target: Target {
                os,
                arch: architecture,
                variant: variant.unwrap_or_default(),
                ..Target::default()
            },
            image,
        })
    }

    /// The order that is asked for, if any is, and the builder with what it needs.
    pub(super) fn add(mut self, asked: &Asked) -> Result<(Image, Option<OrderToml>), Failure> {
        let pre = self.entries_around(&asked.pre)?;
        let post = self.entries_around(&asked.post)?;
        let groups = self.groups(&asked.buildpacks)?;
        let mut extensions = Vec::new();
        for wanted in &asked.extensions {
            match self.entries(wanted, Kind::Extension)? {
                Entries::Modules(entries) => extensions.extend(entries),
                Entries::WholeOrder => return Err(not_around("from=builder")),
            }
        }
        if asked.is_empty() {
            return Ok((self.image, None));
        }
        let groups = match groups {
            Some(groups) => groups,
            None => self.own_order(label::BUILDPACK_ORDER, Kind::Buildpack)?,
        };
        let around = |group: OrderGroup| OrderGroup {
            group: pre
                .iter()
                .cloned()
                .chain(group.group)
                .chain(post.iter().cloned())
                .collect(),
        };
        let order_extensions = if extensions.is_empty() {
            self.own_order(label::EXTENSION_ORDER, Kind::Extension)?
        } else {
            vec![OrderGroup { group: extensions }]
        };
        let order = OrderToml {
            order: groups.into_iter().map(around).collect(),
            order_extensions,
        };
        let progress = self.session.progress();
        let bench = Workbench {
            store: self.session.store()?,
            progress: &progress,
        };
        let image = place(self.image, &self.added, &Flatten::Nothing, &bench)?;
        Ok((image, Some(order)))
    }

    /// The groups that stand in place of the builder's order, if any do. `from=builder` among them stands for the
    /// builder's own groups.
    fn groups(&mut self, wanted: &[Wanted]) -> Result<Option<Vec<OrderGroup>>, Failure> {
        if wanted.is_empty() {
            return Ok(None);
        }
        let mut groups = vec![OrderGroup::default()];
        let mut has_whole_order = false;
        for wanted in wanted {
            match self.entries(wanted, Kind::Buildpack)? {
                Entries::Modules(entries) => {
                    for group in &mut groups {
                        group.group.extend(entries.clone());
                    }
                }
                Entries::WholeOrder if has_whole_order => {
                    return Err(Failure::new("buildpack", "from=builder is asked for twice"));
                }
                Entries::WholeOrder => {
                    has_whole_order = true;
                    let first = groups.remove(0).group;
                    groups = self.own_order(label::BUILDPACK_ORDER, Kind::Buildpack)?;
                    for group in &mut groups {
                        group.group.splice(0..0, first.clone());
                    }
                }
            }
        }
        Ok(Some(groups))
    }

    fn entries_around(&mut self, wanted: &[Wanted]) -> Result<Vec<OrderEntry>, Failure> {
        let mut all = Vec::new();
        for wanted in wanted {
            match self.entries(wanted, Kind::Buildpack)? {
                Entries::Modules(entries) => all.extend(entries),
                Entries::WholeOrder => return Err(not_around("from=builder")),
            }
        }
        Ok(all)
    }

    /// What a wanted module adds to a group; what the builder does not have is fetched.
    fn entries(&mut self, wanted: &Wanted, kind: Kind) -> Result<Entries, Failure> {
        let package = match wanted {
            Wanted::Id(name) if self.has(kind, name) => return self.of_builder(kind, name),
            Wanted::Id(name) => self.fetch(&Address::Registered(name.clone()), &here())?,
            Wanted::Inline(id, version, script) => {
                let directory = self.origins.scratch().map_err(|cause| BuilderError::Origin {
                    what: id.to_string(),
                    cause,
                })?;
                inline(&directory, id, version, script)?;
                Package {
                    module: Module::read(Folder::Disk(directory), &self.target)?,
                    dependencies: Vec::new(),
                }
            }
            Wanted::Address(text, folder) => {
                let is_in_builder = |name: &ModuleName| self.has(kind, name);
                match Address::parse(text, folder, &is_in_builder).map_err(BuilderError::from)? {
                    Address::WholeBuilder => return Ok(Entries::WholeOrder),
                    Address::OfBuilder(name) => return self.of_builder(kind, &name),
                    address => self.fetch(&address, folder)?,
                }
            }
        };
        let descriptor = &package.module.descriptor;
        if descriptor.kind != kind {
            return Err(Failure::new(
                "buildpack",
                format!(
                    "{} is not one of the kind that is asked for: it is an image {}",
                    descriptor.label(),
                    descriptor.kind.word()
                ),
            )
            .help("buildpacks are named with --buildpack, extensions with --extension"));
        }
        let entry = entry(descriptor);
        self.added.extend(package.into_modules());
        Ok(Entries::Modules(vec![entry]))
    }

    fn fetch(&self, address: &Address, folder: &Folder) -> Result<Package, Failure> {
        let progress = self.session.progress();
        let bench = Workbench {
            store: self.session.store()?,
            progress: &progress,
        };
        let package = fetch(address, folder, &self.target, &self.origins, &bench)?;
        for module in package.modules() {
            warn(&module.warnings, &self.session.console);
        }
        Ok(package)
    }

    fn layers(&self, kind: Kind) -> &ModuleLayers {
        let [buildpacks, extensions] = &self.layers;
        match kind {
            Kind::Buildpack => &buildpacks.1,
            Kind::Extension => &extensions.1,
        }
    }

    fn has(&self, kind: Kind, name: &ModuleName) -> bool {
        let versions = self.layers(kind).0.get(&name.id);
        versions.is_some_and(|versions| {
            name.version
                .as_ref()
                .is_none_or(|version| versions.contains_key(version))
        })
    }

    fn of_builder(&self, kind: Kind, name: &ModuleName) -> Result<Entries, Failure> {
        let version = match &name.version {
            Some(version) if self.has(kind, name) => version.clone(),
            Some(_) => return Err(self.unknown(kind, name)),
            None => self.only_version(kind, &name.id)?,
        };
        Ok(Entries::Modules(vec![OrderEntry {
            id: name.id.clone(),
            version,
            optional: false,
            exec_env: ExecEnvs::default(),
        }]))
    }

    /// The builder's own groups, every entry with its version.
    fn own_order(&self, key: &str, kind: Kind) -> Result<Vec<OrderGroup>, Failure> {
        let label = self
            .image
            .config()
            .label(key)
            .map(OrderLabel::parse)
            .transpose()?;
        let mut groups = Vec::new();
        for group in label.unwrap_or_default().0 {
            let mut entries = Vec::new();
            for entry in group.group {
                let version = match entry.version {
                    Some(version) => version,
                    None => self.only_version(kind, &entry.id)?,
                };
                entries.push(OrderEntry {
                    id: entry.id,
                    version,
                    optional: entry.optional,
                    exec_env: entry.exec_env,
                });
            }
            groups.push(OrderGroup { group: entries });
        }
        Ok(groups)
    }

    /// The version of a module that the builder has once (BU-03).
    fn only_version(&self, kind: Kind, id: &BuildpackId) -> Result<Version, Failure> {
        let versions: Vec<&Version> = self
            .layers(kind)
            .0
            .get(id)
            .into_iter()
            .flat_map(|versions| versions.keys())
            .collect();
        match versions.as_slice() {
            [version] => Ok((*version).clone()),
            [] => Err(self.unknown(
                kind,
                &ModuleName {
                    id: id.clone(),
                    version: None,
                },
            )),
            several => {
                let several: Vec<String> = several.iter().map(ToString::to_string).collect();
                Err(
                    Failure::new("buildpack", format!("the builder has several versions of {id}")).help(
                        format!(
                            "choose one, as in {id}@{}; it has {}",
                            several[0],
                            several.join(", ")
                        ),
                    ),
                )
            }
        }
    }

    fn unknown(&self, kind: Kind, name: &ModuleName) -> Failure {
        let known: Vec<String> = self
            .layers(kind)
            .0
            .iter()
            .flat_map(|(id, versions)| versions.keys().map(move |version| format!("{id}@{version}")))
            .collect();
        Failure::new("buildpack", format!("the builder has no {} {name}", kind.word()))
            .help(format!("it has {}", known.join(", ")))
    }
}

impl Asked {
    fn is_empty(&self) -> bool {
        [&self.buildpacks, &self.pre, &self.post, &self.extensions]
            .into_iter()
            .all(Vec::is_empty)
    }
}

fn entry(descriptor: &Descriptor) -> OrderEntry {
    OrderEntry {
        id: descriptor.info.id.clone(),
        version: descriptor.info.version.clone(),
        optional: false,
        exec_env: ExecEnvs::default(),
    }
}

fn here() -> Folder {
    Folder::Disk(Path::new(".").to_owned())
}

fn not_around(what: &str) -> Failure {
    Failure::new(
        "buildpack",
        format!("{what} stands for whole groups, and cannot be put around or beside them"),
    )
    .help("name it with --buildpack")
}
