//! From a `builder.toml` to a builder image.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use lifecycle_image::{History, Image, Layer, Progress, mutate};
use lifecycle_layers::{FilesLayer, Owner, Packing, Style};
use lifecycle_spec::label::{
    self, BuilderLabel, BuilderModuleLabel, CreatedBy, LifecycleVersions, MinimumApis, ModuleLayer,
    ModuleLayers, OrderLabel, OrderLabelEntry, OrderLabelGroup, SystemLabel, SystemLabelBuildpacks,
};
use lifecycle_spec::{
    Apis, BuilderEntry, BuilderToml, BuildpackId, Flaw, OrderEntry, OrderGroup, OrderToml, RunToml,
    StackToml, SystemToml, Version,
};
use lifecycle_store::{Expected, Store};

use crate::{BuilderError, Folder, Module};

/// The time of everything in a builder (platforms.md 1.8).
const CREATED: &str = "1980-01-01T00:00:01Z";

/// The phases that the program answers to by name; each is a link to it in a builder and in a release.
pub const PHASES: [&str; 8] = [
    "analyzer", "builder", "creator", "detector", "exporter", "extender", "rebaser", "restorer",
];

/// What goes into a builder.
#[derive(Debug, Clone)]
pub struct Definition {
    /// The file.
    pub toml: BuilderToml,
    /// What the file does not say as it should, without being wrong.
    pub warnings: Vec<Flaw>,
    /// The buildpacks, sorted by id and version.
    pub modules: Vec<Module>,
    /// The order, with the version of every entry.
    pub order: OrderToml,
}

/// The lifecycle of a builder: this program.
#[derive(Debug, Clone)]
pub struct Lifecycle {
    /// Its version.
    pub version: String,
    /// The program on disk.
    pub program: PathBuf,
    /// The launcher.
    pub launcher: Arc<[u8]>,
}

impl Definition {
    /// Reads `builder.toml` and the buildpacks that it names.
    pub fn read(folder: &Folder) -> Result<Self, BuilderError> {
        let bytes = folder.read("builder.toml")?;
        let (toml, warnings) = BuilderToml::parse(&folder.path().join("builder.toml"), &bytes)?;
        if toml.lifecycle.is_some() {
            return Err(BuilderError::ForeignLifecycle);
        }
        if let Some(extension) = toml.extensions.first() {
            return Err(BuilderError::ModuleKind {
                uri: extension.uri.clone(),
            });
        }
        let mut modules = Vec::new();
        for entry in &toml.buildpacks {
            if entry.uri.contains("://") {
                return Err(BuilderError::ModuleKind {
                    uri: entry.uri.clone(),
                });
            }
            let module = Module::read(folder.join(&entry.uri))?;
            check_identity(&module, entry.id.as_ref(), entry.version.as_ref(), &entry.uri)?;
            modules.push(module);
        }
        modules.sort_by_key(Module::label);
        let order = resolve(&toml, &modules)?;
        Ok(Self {
            toml,
            warnings,
            modules,
            order,
        })
    }
}

fn check_identity(
    module: &Module,
    id: Option<&BuildpackId>,
    version: Option<&Version>,
    uri: &str,
) -> Result<(), BuilderError> {
    let info = &module.descriptor.buildpack;
    let id_differs = id.is_some_and(|id| *id != info.id);
    let version_differs = version.is_some_and(|version| *version != info.version);
    if !id_differs && !version_differs {
        return Ok(());
    }
    let part = |text: Option<String>| text.unwrap_or_else(|| "any".to_owned());
    Err(BuilderError::WrongModule {
        uri: uri.to_owned(),
        found: module.label(),
        expected: format!(
            "{}@{}",
            part(id.map(ToString::to_string)),
            part(version.map(ToString::to_string))
        ),
    })
}

/// Every entry of the order names exactly one module (BU-03).
fn resolve(toml: &BuilderToml, modules: &[Module]) -> Result<OrderToml, BuilderError> {
    let entry = |entry: &BuilderEntry| {
        let infos = modules.iter().map(|module| &module.descriptor.buildpack);
        let versions: Vec<&Version> = infos
            .filter(|info| {
                info.id == entry.id
                    && entry
                        .version
                        .as_ref()
                        .is_none_or(|wanted| *wanted == info.version)
            })
            .map(|info| &info.version)
            .collect();
        match versions.as_slice() {
            [version] => Ok(OrderEntry {
                id: entry.id.clone(),
                version: (*version).clone(),
                optional: entry.optional,
                exec_env: entry.exec_env.clone(),
            }),
            several => Err(BuilderError::Order {
                wanted: entry
                    .version
                    .as_ref()
                    .map_or(entry.id.to_string(), |version| format!("{}@{version}", entry.id)),
                found: match several {
                    [] => "none".to_owned(),
                    _ => several
                        .iter()
                        .map(ToString::to_string)
                        .collect::<Vec<_>>()
                        .join(" and "),
                },
            }),
        }
    };
    let group = |group: &Vec<BuilderEntry>| {
        Ok(OrderGroup {
            group: group.iter().map(entry).collect::<Result<_, BuilderError>>()?,
        })
    };
    Ok(OrderToml {
        order: toml
            .order
            .iter()
            .map(group)
            .collect::<Result<_, BuilderError>>()?,
        order_extensions: Vec::new(),
    })
}

/// Makes the builder image: `build_image` with the layers and labels of platforms.md 1.8.
///
/// The layers are packed into `store`; the same definition on the same image gives the same digest (BU-04).
pub fn create(
    definition: &Definition,
    build_image: Image,
    lifecycle: &Lifecycle,
    store: &Store,
    progress: &Arc<dyn Progress>,
) -> Result<Image, BuilderError> {
    let owner = build_user(&build_image, &definition.toml.build_image)?;
    let pack = |layer: FilesLayer| {
        store.pack(
            Arc::new(layer),
            Packing::default(),
            Expected::here(),
            Arc::clone(progress),
        )
    };
    let mut layers: Vec<(Arc<dyn Layer>, String)> = Vec::new();
    layers.push((pack(directories(owner)), "Directories of the builder".to_owned()));
    layers.push((
        pack(lifecycle_layer(lifecycle)),
        format!("Lifecycle {}", lifecycle.version),
    ));
    let mut module_layers = Vec::new();
    for module in &definition.modules {
        let layer = pack(module.layer()?);
        layers.push((Arc::clone(&layer), format!("Buildpack {}", module.label())));
        module_layers.push(layer);
    }
    for (name, text) in configuration_files(definition) {
        let path = format!("/cnb/{name}");
        let layer = FilesLayer::new(&path, Style::Reference).file(&path, 0o644, text.into_bytes());
        layers.push((pack(layer), format!("Builder's {name}")));
    }
    if !definition.toml.build_env.is_empty() {
        layers.push((pack(build_config(definition)), "Operator's variables".to_owned()));
    }
    let platform_env = FilesLayer::new("/platform/env", Style::Reference).directory("/platform/env", 0o755);
    layers.push((pack(platform_env), "User's variables".to_owned()));

    let mut image = mutate::align_history(build_image);
    for (layer, created_by) in layers {
        let history = History {
            created: Some(CREATED.to_owned()),
            created_by: Some(created_by),
            ..History::default()
        };
        image = mutate::append(image, layer, history);
    }
    let labels = labels(definition, lifecycle, &module_layers)?;
    Ok(mutate::configure(image, |config| {
        config.created = Some(CREATED.to_owned());
        config.config.working_dir = Some("/layers".to_owned());
        // A builder is entered through a phase's path, never started as it is.
        config.config.entrypoint = None;
        config.config.cmd = None;
        for (key, value) in labels {
            config.set_label(key, value);
        }
    }))
}

/// The user that builds, which the build image names in two variables (BAS, BU-01).
fn build_user(image: &Image, name: &str) -> Result<Owner, BuilderError> {
    let id = |variable: &str| {
        let missing = |reason: String| BuilderError::BuildImage {
            image: name.to_owned(),
            reason,
        };
        let text = image.config().config.env(variable);
        let text = text.ok_or_else(|| {
            missing(format!(
                "has no variable {variable}, which names the user that builds"
            ))
        })?;
        text.parse()
            .map_err(|_| missing(format!("has {variable}={text}, which is not a number")))
    };
    Ok(Owner::new(id("CNB_USER_ID")?, id("CNB_GROUP_ID")?))
}

fn directories(owner: Owner) -> FilesLayer {
    let own = ["/workspace", "/layers"];
    let roots = [
        "/cnb",
        "/cnb/buildpacks",
        "/cnb/extensions",
        "/platform",
        "/platform/env",
        "/cnb/build-config",
        "/cnb/build-config/env",
    ];
    let layer = FilesLayer::new("directories of the builder", Style::Reference).owner(owner);
    let layer = own
        .iter()
        .fold(layer, |layer, path| layer.directory(path, 0o755))
        .owner(Owner::ROOT);
    roots
        .iter()
        .fold(layer, |layer, path| layer.directory(path, 0o755))
}

fn lifecycle_layer(lifecycle: &Lifecycle) -> FilesLayer {
    let layer = FilesLayer::new("lifecycle", Style::Reference)
        .copy("/cnb/lifecycle/lifecycle", 0o755, &lifecycle.program)
        .file("/cnb/lifecycle/launcher", 0o755, Arc::clone(&lifecycle.launcher))
        .symlink("/lifecycle", "/cnb/lifecycle", 0o777);
    PHASES.iter().fold(layer, |layer, phase| {
        layer.symlink(format!("/cnb/lifecycle/{phase}"), "lifecycle", 0o777)
    })
}

/// The files in `/cnb`, in the order of their layers.
fn configuration_files(definition: &Definition) -> Vec<(&'static str, String)> {
    let toml = &definition.toml;
    let mut files = vec![("order.toml", definition.order.to_toml())];
    if toml.system != SystemToml::default() {
        files.push(("system.toml", toml.system.to_toml()));
    }
    files.push(("stack.toml", old_stack(toml).to_toml()));
    files.push((
        "run.toml",
        RunToml {
            images: toml.run_images.clone(),
        }
        .to_toml(),
    ));
    files
}

/// What platforms read that do not know run.toml (BU-05).
fn old_stack(toml: &BuilderToml) -> StackToml {
    StackToml {
        run_image: toml.run_images.first().cloned().unwrap_or_default(),
    }
}

fn build_config(definition: &Definition) -> FilesLayer {
    let mut files: BTreeMap<String, &str> = BTreeMap::new();
    for variable in &definition.toml.build_env {
        let name = match variable.suffix {
            Some(suffix) => format!("{}.{}", variable.name, suffix.as_str()),
            None => variable.name.clone(),
        };
        files.insert(name, &variable.value);
        if let Some(delim) = &variable.delim {
            files.insert(format!("{}.delim", variable.name), delim);
        }
    }
    let layer = FilesLayer::new("/cnb/build-config/env", Style::Reference);
    files.into_iter().fold(layer, |layer, (name, value)| {
        layer.file(format!("/cnb/build-config/env/{name}"), 0o644, value.as_bytes())
    })
}

fn labels(
    definition: &Definition,
    lifecycle: &Lifecycle,
    module_layers: &[Arc<dyn Layer>],
) -> Result<Vec<(&'static str, String)>, BuilderError> {
    let toml = &definition.toml;
    let apis = Apis::own();
    let oldest = |list: &lifecycle_spec::ApiList| list.supported.first().cloned().unwrap_or_default();
    let builder = BuilderLabel {
        description: toml.description.clone().unwrap_or_default(),
        buildpacks: definition.modules.iter().map(module_label).collect(),
        extensions: Vec::new(),
        stack: old_stack(toml),
        lifecycle: LifecycleVersions {
            version: lifecycle.version.clone(),
            api: MinimumApis {
                buildpack: oldest(&apis.buildpack),
                platform: oldest(&apis.platform),
            },
            apis: apis.clone(),
        },
        created_by: CreatedBy {
            name: "lifecycle".to_owned(),
            version: lifecycle.version.clone(),
        },
        images: toml.run_images.clone(),
    };
    let mut layers = ModuleLayers::default();
    for (module, layer) in definition.modules.iter().zip(module_layers) {
        let info = &module.descriptor.buildpack;
        let entry = ModuleLayer {
            api: module.descriptor.api.clone(),
            stacks: module.descriptor.stacks.clone(),
            targets: module.descriptor.targets.clone(),
            order: module.descriptor.order.iter().map(order_group).collect(),
            layer_diff_id: layer.diff_id()?.to_string(),
            homepage: info.homepage.clone(),
            name: info.name.clone(),
        };
        layers
            .0
            .entry(info.id.clone())
            .or_default()
            .insert(info.version.clone(), entry);
    }
    let mut labels = vec![
        (label::BUILDER, builder.to_json()),
        (
            label::BUILDPACK_ORDER,
            OrderLabel(definition.order.order.iter().map(order_group).collect()).to_json(),
        ),
        (label::BUILDPACK_LAYERS, layers.to_json()),
        // Tekton compares this text (BU-06).
        (label::EXTENSION_LAYERS, "{}".to_owned()),
        (label::LIFECYCLE_VERSION, lifecycle.version.clone()),
        (label::LIFECYCLE_APIS, apis.to_json()),
    ];
    if toml.system != SystemToml::default() {
        let buildpacks = |entries: &[OrderEntry]| SystemLabelBuildpacks {
            buildpacks: entries.iter().map(order_entry).collect(),
        };
        let system = SystemLabel {
            pre: buildpacks(&toml.system.pre),
            post: buildpacks(&toml.system.post),
        };
        labels.push((label::BUILDPACK_SYSTEM, system.to_json()));
    }
    Ok(labels)
}

fn module_label(module: &Module) -> BuilderModuleLabel {
    let info = module.descriptor.buildpack.clone();
    BuilderModuleLabel {
        id: info.id,
        name: info.name,
        version: info.version,
        description: info.description,
        homepage: info.homepage,
        keywords: info.keywords,
        exec_env: info.exec_env,
        licenses: info.licenses,
        clear_env: info.clear_env,
    }
}

fn order_group(group: &OrderGroup) -> OrderLabelGroup {
    OrderLabelGroup {
        group: group.group.iter().map(order_entry).collect(),
    }
}

fn order_entry(entry: &OrderEntry) -> OrderLabelEntry {
    OrderLabelEntry {
        id: entry.id.clone(),
        version: Some(entry.version.clone()),
        optional: entry.optional,
        exec_env: entry.exec_env.clone(),
    }
}

#[cfg(test)]
mod tests {
    use lifecycle_image::{NoProgress, Platform};

    use super::*;

    fn lifecycle(directory: &std::path::Path) -> Lifecycle {
        let program = directory.join("program");
        fs_err::write(&program, "program").unwrap();
        Lifecycle {
            version: "1.2.3".to_owned(),
            program,
            launcher: b"launcher"[..].into(),
        }
    }

    fn base() -> Image {
        mutate::configure(Image::empty(&Platform::linux("amd64")), |config| {
            config.config.set_env("CNB_USER_ID", "1000");
            config.config.set_env("CNB_GROUP_ID", "1001");
            config.config.cmd = Some(vec!["sh".to_owned()]);
        })
    }

    fn create_in(directory: &std::path::Path, base: Image) -> Result<Image, BuilderError> {
        let store = Store::open(&directory.join("store")).unwrap();
        let folder = Folder::find("builder", "debian-12", "builder.toml").unwrap();
        let definition = Definition::read(&folder).unwrap();
        let progress: Arc<dyn Progress> = Arc::new(NoProgress);
        let image = create(&definition, base, &lifecycle(directory), &store, &progress)?;
        // Layers live as long as their store works on them.
        image.digest().unwrap();
        Ok(image)
    }

    #[test]
    fn the_same_definition_gives_the_same_digest_bu_04() {
        let directories = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let digests = directories
            .each_ref()
            .map(|directory| create_in(directory.path(), base()).unwrap().digest().unwrap());
        assert_eq!(digests[0], digests[1]);
    }

    #[test]
    fn labels_are_what_platforms_read_bu_01_bu_05_bu_06() {
        let directory = tempfile::tempdir().unwrap();
        let image = create_in(directory.path(), base()).unwrap();
        let config = image.config();
        let builder = BuilderLabel::parse(config.label(label::BUILDER).unwrap()).unwrap();
        assert_eq!(builder.stack.run_image.image, "lifecycle/debian-12:run");
        assert_eq!(builder.images[0], builder.stack.run_image);
        assert_eq!(builder.lifecycle.version, "1.2.3");
        assert!(
            builder
                .lifecycle
                .apis
                .platform
                .supported
                .contains(&"0.15".to_owned())
        );
        let order = OrderLabel::parse(config.label(label::BUILDPACK_ORDER).unwrap()).unwrap();
        let first: Vec<&str> = order.0.iter().map(|group| group.group[0].id.as_str()).collect();
        assert_eq!(first[..2], ["lifecycle/classic", "lifecycle/go"]);
        let layers = ModuleLayers::parse(config.label(label::BUILDPACK_LAYERS).unwrap()).unwrap();
        let diff_ids: Vec<String> = image
            .layers()
            .iter()
            .map(|layer| layer.diff_id().unwrap().to_string())
            .collect();
        for module in layers.0.values().flat_map(BTreeMap::values) {
            assert!(diff_ids.contains(&module.layer_diff_id));
        }
        assert_eq!(config.label(label::EXTENSION_LAYERS), Some("{}"));
        assert_eq!(config.config.working_dir.as_deref(), Some("/layers"));
        assert_eq!(config.config.cmd, None);
        assert_eq!(config.history.len(), image.layers().len());
    }

    #[test]
    fn a_build_image_names_its_user_bu_01() {
        let directory = tempfile::tempdir().unwrap();
        let nameless = mutate::configure(base(), |config| config.config.env = None);
        let error = create_in(directory.path(), nameless).unwrap_err().to_string();
        assert!(error.contains("has no variable CNB_USER_ID"), "{error}");
        let odd = mutate::configure(base(), |config| config.config.set_env("CNB_GROUP_ID", "staff"));
        let error = create_in(directory.path(), odd).unwrap_err().to_string();
        assert!(
            error.contains("CNB_GROUP_ID=staff, which is not a number"),
            "{error}"
        );
    }

    #[test]
    fn the_order_names_modules_that_are_there_bu_03() {
        let directory = tempfile::tempdir().unwrap();
        let write = |order: &str| {
            let text = format!(
                "[build]\nimage = 'b'\n[[run.images]]\nimage = 'r'\n[[buildpacks]]\nuri = 'a'\n{order}"
            );
            fs_err::write(directory.path().join("builder.toml"), text).unwrap();
            Definition::read(&Folder::Disk(directory.path().to_owned()))
        };
        fs_err::create_dir(directory.path().join("a")).unwrap();
        let buildpack = "api = '0.10'\n[buildpack]\nid = 'x/a'\nversion = '1.0.0'\n";
        fs_err::write(directory.path().join("a/buildpack.toml"), buildpack).unwrap();

        let found = write("[[order]]\n[[order.group]]\nid = 'x/a'\n").unwrap();
        assert_eq!(found.order.order[0].group[0].version.as_str(), "1.0.0");
        let error = write("[[order]]\n[[order.group]]\nid = 'x/b'\n")
            .unwrap_err()
            .to_string();
        assert_eq!(error, "the order names x/b, of which the builder has none");
        let error = write("[[order]]\n[[order.group]]\nid = 'x/a'\nversion = '2'\n")
            .unwrap_err()
            .to_string();
        assert_eq!(error, "the order names x/a@2, of which the builder has none");

        fs_err::write(
            directory.path().join("a/buildpack.toml"),
            buildpack.replace("0.10", "9.9"),
        )
        .unwrap();
        assert!(matches!(write("").unwrap_err(), BuilderError::Api(_)));
    }
}
