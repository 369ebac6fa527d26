//! From a `builder.toml` to a builder image.

use std::collections::BTreeMap;

use lifecycle_image::{Image, ImageConfig, mutate};
use lifecycle_layers::{FilesLayer, Owner, Style};
use lifecycle_spec::label::{
    self, BuilderLabel, BuilderModuleLabel, CreatedBy, LifecycleVersions, MinimumApis, OrderLabel,
    OrderLabelEntry, SystemLabel, SystemLabelBuildpacks,
};
use lifecycle_spec::{
    ApiList, BuilderEntry, BuilderToml, ExecEnvs, OrderEntry, OrderGroup, OrderToml, RunToml, StackToml,
    SystemToml,
};

use crate::descriptor::{label_entry, label_group};
use crate::layers::{append, place};
use crate::{
    BuilderError, CREATED, Descriptor, Flatten, Kind, Lifecycle, Module, ModuleName, Workbench, check,
};

/// What goes into a builder.
#[derive(Debug, Clone)]
pub struct Definition {
    /// The file.
    pub toml: BuilderToml,
    /// The buildpacks and extensions.
    pub modules: Vec<Module>,
    /// The order, with the version of every entry.
    pub order: OrderToml,
    /// Buildpacks in front of and behind every group.
    pub system: SystemToml,
    /// Which modules share layers.
    pub flatten: Flatten,
    /// More labels of the image.
    pub labels: Vec<(String, String)>,
}

impl Definition {
    /// Resolves the order of a `builder.toml` among the modules that were found for it.
    pub fn new(toml: BuilderToml, modules: Vec<Module>) -> Result<Self, BuilderError> {
        let descriptors: Vec<&Descriptor> = modules.iter().map(|module| &module.descriptor).collect();
        let groups = |groups: &[Vec<BuilderEntry>], kind| {
            groups
                .iter()
                .map(|group| {
                    let entries = group.iter().map(|entry| resolve(entry, kind, &descriptors));
                    Ok(OrderGroup {
                        group: entries.collect::<Result<_, BuilderError>>()?,
                    })
                })
                .collect::<Result<Vec<_>, BuilderError>>()
        };
        let order = OrderToml {
            order: groups(&toml.order, Kind::Buildpack)?,
            order_extensions: groups(&toml.order_extensions, Kind::Extension)?,
        };
        let system = |entries: &[BuilderEntry]| {
            entries
                .iter()
                .map(|entry| resolve(entry, Kind::Buildpack, &descriptors))
                .collect::<Result<Vec<_>, _>>()
        };
        let system = SystemToml {
            pre: system(&toml.system.pre)?,
            post: system(&toml.system.post)?,
        };
        check::is_complete(&descriptors)?;
        Ok(Self {
            toml,
            modules,
            order,
            system,
            flatten: Flatten::Nothing,
            labels: Vec::new(),
        })
    }
}

/// Every entry of an order names exactly one module (BU-03).
fn resolve(entry: &BuilderEntry, kind: Kind, modules: &[&Descriptor]) -> Result<OrderEntry, BuilderError> {
    let wanted = OrderLabelEntry {
        id: entry.id.clone(),
        version: entry.version.clone(),
        optional: entry.optional,
        exec_env: entry.exec_env.clone(),
    };
    match check::named(&wanted, kind, modules).as_slice() {
        [module] => Ok(OrderEntry {
            id: wanted.id,
            version: module.info.version.clone(),
            optional: wanted.optional,
            exec_env: wanted.exec_env,
        }),
        several => {
            let wanted = ModuleName {
                id: wanted.id,
                version: wanted.version,
            };
            Err(BuilderError::Order {
                wanted: wanted.to_string(),
                found: match several {
                    [] => "none".to_owned(),
                    _ => several
                        .iter()
                        .map(|module| module.info.version.to_string())
                        .collect::<Vec<_>>()
                        .join(" and "),
                },
            })
        }
    }
}

/// Makes the builder image: `build_image` with the layers and labels of platforms.md 1.8.
///
/// The layers are packed into the store; the same definition on the same image gives the same digest (BU-04).
pub fn create(
    definition: &Definition,
    build_image: Image,
    lifecycle: &Lifecycle,
    bench: &Workbench<'_>,
) -> Result<Image, BuilderError> {
    let toml = &definition.toml;
    let owner = build_user(&build_image, &toml.build_image)?;
    let stack = stack_id(toml, build_image.config())?;
    let descriptors: Vec<&Descriptor> = definition
        .modules
        .iter()
        .map(|module| &module.descriptor)
        .collect();
    check::is_spoken(&descriptors, &lifecycle.apis.buildpack)?;
    check::fits(&descriptors, build_image.config())?;

    let mut image = mutate::align_history(build_image);
    image = append(
        image,
        bench.pack(directories(owner)),
        "Directories of the builder".to_owned(),
    );
    image = append(
        image,
        bench.pack_once(lifecycle.key()?, lifecycle.layer())?,
        format!("Lifecycle {}", lifecycle.version),
    );
    image = place(image, &definition.modules, &definition.flatten, bench)?;
    for (name, text) in configuration_files(definition) {
        let path = format!("/cnb/{name}");
        let layer = FilesLayer::new(&path, Style::Reference).file(&path, 0o644, text.into_bytes());
        image = append(image, bench.pack(layer), format!("Builder's {name}"));
    }
    if !toml.build_env.is_empty() {
        image = append(
            image,
            bench.pack(build_config(definition)),
            "Operator's variables".to_owned(),
        );
    }
    let platform_env = FilesLayer::new("/platform/env", Style::Reference).directory("/platform/env", 0o755);
    image = append(image, bench.pack(platform_env), "User's variables".to_owned());

    let labels = labels(definition, lifecycle);
    Ok(mutate::configure(image, |config| {
        config.created = Some(CREATED.to_owned());
        config.config.working_dir = Some("/layers".to_owned());
        // A builder is entered through a phase's path, never started as it is.
        config.config.entrypoint = None;
        config.config.cmd = None;
        if let Some(stack) = stack {
            config.config.set_env("CNB_STACK_ID", &stack);
            config.set_label(label::STACK_ID, stack);
        }
        if config.label(label::STACK_MIXINS).is_none() {
            config.set_label(label::STACK_MIXINS, "[]");
        }
        for (key, value) in labels {
            config.set_label(key, value);
        }
        for kind in Kind::ALL {
            if config.label(kind.layers_label()).is_none() {
                // Tekton compares the text of an empty one (BU-06).
                config.set_label(kind.layers_label(), "{}");
            }
        }
        for (key, value) in &definition.labels {
            config.set_label(key.as_str(), value.as_str());
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

/// The deprecated stack of the builder: that of the build image, which a `[stack]` may not contradict.
fn stack_id(toml: &BuilderToml, image: &ImageConfig) -> Result<Option<String>, BuilderError> {
    let asked = toml.stack.as_ref().and_then(|stack| stack.id.clone());
    match (image.label(label::STACK_ID), asked) {
        (Some(own), Some(asked)) if own != asked => Err(BuilderError::BuildImage {
            image: toml.build_image.clone(),
            reason: format!("is of stack {own}, but builder.toml says {asked}"),
        }),
        (own, asked) => Ok(asked.or_else(|| own.map(str::to_owned))),
    }
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

/// The files in `/cnb`, in the order of their layers.
fn configuration_files(definition: &Definition) -> Vec<(&'static str, String)> {
    let toml = &definition.toml;
    let mut files = vec![("order.toml", definition.order.to_toml())];
    if definition.system != SystemToml::default() {
        files.push(("system.toml", definition.system.to_toml()));
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
        for directory in directories_of(&variable.exec_env) {
            let name = format!("{directory}/{}", variable.name);
            match variable.suffix {
                Some(suffix) => files.insert(format!("{name}.{}", suffix.as_str()), &variable.value),
                None => files.insert(name.clone(), &variable.value),
            };
            if let Some(delim) = &variable.delim {
                files.insert(format!("{name}.delim"), delim);
            }
        }
    }
    let layer = FilesLayer::new("/cnb/build-config/env", Style::Reference);
    files.into_iter().fold(layer, |layer, (name, value)| {
        layer.file(format!("/cnb/build-config/{name}"), 0o644, value.as_bytes())
    })
}

/// Where a variable for these execution environments lies: for all, or for some (`Surroundings::build_config`).
fn directories_of(exec_env: &ExecEnvs) -> Vec<String> {
    if exec_env.is_empty() || exec_env.0.iter().any(|env| env == "*") {
        return vec!["env".to_owned()];
    }
    exec_env.0.iter().map(|env| format!("env.{env}")).collect()
}

fn labels(definition: &Definition, lifecycle: &Lifecycle) -> Vec<(&'static str, String)> {
    let toml = &definition.toml;
    let oldest = |list: &ApiList| list.supported.first().cloned().unwrap_or_default();
    let builder = BuilderLabel {
        description: toml.description.clone().unwrap_or_default(),
        buildpacks: module_labels(&definition.modules, Kind::Buildpack),
        extensions: module_labels(&definition.modules, Kind::Extension),
        stack: old_stack(toml),
        lifecycle: LifecycleVersions {
            version: lifecycle.version.clone(),
            api: MinimumApis {
                buildpack: oldest(&lifecycle.apis.buildpack),
                platform: oldest(&lifecycle.apis.platform),
            },
            apis: lifecycle.apis.clone(),
        },
        created_by: CreatedBy {
            name: "lifecycle".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        },
        images: toml.run_images.clone(),
    };
    let order = |groups: &[OrderGroup]| OrderLabel(groups.iter().map(label_group).collect());
    let extensions = match definition.order.order_extensions.as_slice() {
        // As pack says that there are none.
        [] => "null".to_owned(),
        groups => order(groups).to_json(),
    };
    let mut labels = vec![
        (label::BUILDER, builder.to_json()),
        (label::BUILDPACK_ORDER, order(&definition.order.order).to_json()),
        (label::EXTENSION_ORDER, extensions),
        (label::LIFECYCLE_VERSION, lifecycle.version.clone()),
        (label::LIFECYCLE_APIS, lifecycle.apis.to_json()),
    ];
    if definition.system != SystemToml::default() {
        let buildpacks = |entries: &[OrderEntry]| SystemLabelBuildpacks {
            buildpacks: entries.iter().map(label_entry).collect(),
        };
        let system = SystemLabel {
            pre: buildpacks(&definition.system.pre),
            post: buildpacks(&definition.system.post),
        };
        labels.push((label::BUILDPACK_SYSTEM, system.to_json()));
    }
    labels
}

/// The modules of a kind, sorted and each once.
fn module_labels(modules: &[Module], kind: Kind) -> Vec<BuilderModuleLabel> {
    let sorted: BTreeMap<String, BuilderModuleLabel> = modules
        .iter()
        .filter(|module| module.descriptor.kind == kind)
        .map(|module| (module.label(), module_label(module)))
        .collect();
    sorted.into_values().collect()
}

fn module_label(module: &Module) -> BuilderModuleLabel {
    let info = module.descriptor.info.clone();
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
