//! Which builder builds, and in which order its buildpacks are tried.

use std::path::Path;
use std::sync::Arc;

use lifecycle_builder::stack;
use lifecycle_builder::{BuilderError, Folder, Module};
use lifecycle_image::{History, Image, Layer, Platform, mutate};
use lifecycle_layers::Packing;
use lifecycle_spec::label::{self, BuilderLabel, ModuleLayers, OrderLabel};
use lifecycle_spec::{BuilderToml, BuildpackId, OrderEntry, OrderGroup, OrderToml, RunToml, Version};
use lifecycle_store::Expected;

use super::project::Project;
use crate::commands::builder as builders;
use crate::commands::stack as stacks;
use crate::failure::Failure;
use crate::session::Session;

/// The builder when none is named.
const DEFAULT: &str = "debian-12";

/// A builder that is to be used: a definition to make one from, or an image.
pub(super) enum Builder {
    Definition(Folder),
    Image(String),
}

/// A builder that is there.
pub(super) struct Made {
    pub(super) name: String,
    pub(super) image: Image,
    /// In place of the builder's own, when buildpacks were asked for.
    pub(super) order: Option<OrderToml>,
    pub(super) run_images: RunToml,
}

impl Builder {
    /// The builder that a user names: a folder, an embedded one, or an image.
    pub(super) fn choose(name: Option<&str>) -> Result<Self, Failure> {
        let name = name.unwrap_or(DEFAULT);
        match Folder::find("builder", name, "builder.toml") {
            Ok(folder) => Ok(Self::Definition(folder)),
            Err(BuilderError::Unknown { .. }) => Ok(Self::Image(name.to_owned())),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes the embedded stack that a definition builds on, unless it is there.
    pub(super) fn make_stack(&self, session: &Session) -> Result<(), Failure> {
        let Self::Definition(folder) = self else {
            return Ok(());
        };
        let bytes = folder.read("builder.toml")?;
        let (toml, _) = BuilderToml::parse(&folder.path().join("builder.toml"), &bytes)?;
        for folder in Folder::embedded("stack") {
            let definition = stack::Definition::read(&folder)?;
            let name = definition.reference(stack::Part::Build)?;
            if toml.build_image.parse::<lifecycle_image::Reference>()? == name {
                stacks::make_apart(&definition, session)?;
            }
        }
        Ok(())
    }

    /// The builder as an image, with the buildpacks that were asked for.
    pub(super) fn open(
        &self,
        asked: &[String],
        project: &Project,
        session: &Session,
    ) -> Result<Made, Failure> {
        let (name, image) = match self {
            Self::Definition(folder) => (folder.name().into_owned(), builders::create(folder, session)?),
            Self::Image(name) => (name.clone(), session.find(name)?.image(&Platform::host())?),
        };
        let text = image.config().label(label::BUILDER).ok_or_else(|| {
            Failure::new("no-builder", format!("{name} is not a builder: it has no label {}", label::BUILDER))
                .help("--builder takes a builder image, a directory with a builder.toml, or the name of an embedded one")
        })?;
        let builder = BuilderLabel::parse(text)?;
        let images = if builder.images.is_empty() {
            vec![builder.stack.run_image]
        } else {
            builder.images
        };
        let mut chosen = Chosen { image, session };
        let order = chosen.order(asked, project)?;
        Ok(Made {
            name,
            image: chosen.image,
            order,
            run_images: RunToml { images },
        })
    }
}

/// A builder to which buildpacks are added.
struct Chosen<'a> {
    image: Image,
    session: &'a Session,
}

impl Chosen<'_> {
    /// The order that command line and project ask for, if they do: the command line beats the project (PK-51).
    fn order(&mut self, asked: &[String], project: &Project) -> Result<Option<OrderToml>, Failure> {
        let asked = if asked.is_empty() {
            project.buildpacks()?
        } else {
            asked.to_vec()
        };
        let (pre, post) = (self.entries(&project.pre()?)?, self.entries(&project.post()?)?);
        let groups = match asked.as_slice() {
            [] if pre.is_empty() && post.is_empty() => return Ok(None),
            [] => self.own_order()?,
            asked => vec![OrderGroup {
                group: self.entries(asked)?,
            }],
        };
        let around = |group: OrderGroup| OrderGroup {
            group: pre
                .iter()
                .cloned()
                .chain(group.group)
                .chain(post.iter().cloned())
                .collect(),
        };
        Ok(Some(OrderToml {
            order: groups.into_iter().map(around).collect(),
            order_extensions: Vec::new(),
        }))
    }

    fn own_order(&self) -> Result<Vec<OrderGroup>, Failure> {
        let label = self
            .image
            .config()
            .label(label::BUILDPACK_ORDER)
            .map(OrderLabel::parse)
            .transpose()?;
        let mut groups = Vec::new();
        for group in label.unwrap_or_default().0 {
            let mut entries = Vec::new();
            for entry in group.group {
                let version = match entry.version {
                    Some(version) => version,
                    None => self.only_version(&entry.id)?,
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

    fn entries(&mut self, buildpacks: &[String]) -> Result<Vec<OrderEntry>, Failure> {
        buildpacks.iter().map(|buildpack| self.entry(buildpack)).collect()
    }

    /// One buildpack: a folder, or an id of the builder with or without version.
    fn entry(&mut self, buildpack: &str) -> Result<OrderEntry, Failure> {
        let path = Path::new(buildpack.strip_prefix("file://").unwrap_or(buildpack));
        let (id, version) = if path.join("buildpack.toml").is_file() {
            let module = Module::read(Folder::Disk(path.to_owned()))?;
            self.add(&module)?;
            let info = module.descriptor.buildpack;
            (info.id, info.version)
        } else {
            let text = buildpack.strip_prefix("urn:cnb:builder:").unwrap_or(buildpack);
            let (id, version) = match text.split_once('@') {
                Some((id, version)) => (id, Some(version)),
                None => (text, None),
            };
            let wrong = |reason: String| {
                Failure::new("buildpack", format!("{buildpack:?} names no buildpack: {reason}")).help(
                    "give the id of one of the builder's buildpacks, or a directory with a buildpack.toml",
                )
            };
            let id = BuildpackId::new(id).map_err(|error| wrong(error.to_string()))?;
            let version = match version {
                Some(version) => Version::new(version).map_err(|error| wrong(error.to_string()))?,
                None => self.only_version(&id)?,
            };
            (id, version)
        };
        Ok(OrderEntry {
            id,
            version,
            optional: false,
            exec_env: lifecycle_spec::ExecEnvs::default(),
        })
    }

    /// The version of a buildpack that the builder has once.
    fn only_version(&self, id: &BuildpackId) -> Result<Version, Failure> {
        let layers = self
            .image
            .config()
            .label(label::BUILDPACK_LAYERS)
            .map(ModuleLayers::parse)
            .transpose()?;
        let layers = layers.unwrap_or_default();
        let versions: Vec<&Version> = layers
            .0
            .get(id)
            .into_iter()
            .flat_map(|versions| versions.keys())
            .collect();
        match versions.as_slice() {
            [version] => Ok((*version).clone()),
            [] => {
                let known: Vec<String> = layers.0.keys().map(ToString::to_string).collect();
                Err(
                    Failure::new("buildpack", format!("the builder has no buildpack {id}"))
                        .help(format!("it has {}", known.join(", "))),
                )
            }
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

    /// Puts a buildpack on top of the builder, for this build.
    fn add(&mut self, module: &Module) -> Result<(), Failure> {
        let contents = Arc::new(module.layer()?);
        let store = self.session.store()?;
        let layer: Arc<dyn Layer> = store.pack(
            contents,
            Packing::default(),
            Expected::here(),
            self.session.progress(),
        );
        self.image = mutate::append(self.image.clone(), layer, History::default());
        Ok(())
    }
}
