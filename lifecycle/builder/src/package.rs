//! Buildpackages: images that carry a module and the modules that it needs (cnb.md 4.3).

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lifecycle_image::{Image, Layer, Platform, mutate};
use lifecycle_spec::label::{self, ModuleLayers, PackageLabel};
use lifecycle_spec::{PackageToml, Stack, Target};

use crate::layers::{Flatten, place};
use crate::module::ModuleContent;
use crate::{BuilderError, CREATED, Descriptor, Kind, Module, ModuleName, Workbench, check, inspect};

/// A module, and the modules that it needs as far as it brings them.
#[derive(Debug, Clone)]
pub struct Package {
    /// The module that was asked for.
    pub module: Module,
    /// What came with it.
    pub dependencies: Vec<Module>,
}

impl Package {
    /// All modules, the one that was asked for first.
    pub fn modules(&self) -> impl Iterator<Item = &Module> {
        std::iter::once(&self.module).chain(&self.dependencies)
    }

    /// All modules, the one that was asked for first.
    pub fn into_modules(self) -> impl Iterator<Item = Module> {
        std::iter::once(self.module).chain(self.dependencies)
    }

    /// Reads a package from an image. Its layers are fetched into the store and looked through; the package hands on
    /// the image's own layers, so that a registry can take them over by itself.
    pub fn read(image: &Image, name: &str, bench: &Workbench<'_>) -> Result<Self, BuilderError> {
        let wrong = |reason: String| BuilderError::Package {
            name: name.to_owned(),
            reason,
        };
        let config = image.config();
        let text = config
            .label(label::PACKAGE)
            .ok_or_else(|| wrong(format!("it has no label {}", label::PACKAGE)))?;
        let main = PackageLabel::parse(text)?;
        let listed = |kind: Kind| {
            let key = kind.layers_label();
            config
                .label(key)
                .map_or(Ok(ModuleLayers::default()), ModuleLayers::parse)
        };
        let listed: Vec<(Kind, ModuleLayers)> = Kind::ALL
            .into_iter()
            .map(|kind| Ok((kind, listed(kind)?)))
            .collect::<Result<_, BuilderError>>()?;

        // Several modules may share a layer (BDR-06).
        let mut by_layer: BTreeMap<&str, BTreeMap<PathBuf, (Kind, ModuleName)>> = BTreeMap::new();
        for (kind, layers) in &listed {
            for (id, versions) in &layers.0 {
                for (version, layer) in versions {
                    let module = ModuleName {
                        id: id.clone(),
                        version: Some(version.clone()),
                    };
                    let directory = Path::new(kind.directory())
                        .join(id.directory())
                        .join(version.as_str());
                    by_layer
                        .entry(&layer.layer_diff_id)
                        .or_default()
                        .insert(directory, (*kind, module));
                }
            }
        }
        let mut modules = Vec::new();
        for (diff_id, members) in by_layer {
            let position = config
                .rootfs
                .diff_ids
                .iter()
                .position(|own| own.as_str() == diff_id);
            let layer = position
                .and_then(|position| image.layers().get(position))
                .ok_or_else(|| {
                    wrong(format!(
                        "its labels name the layer {diff_id}, which it does not have"
                    ))
                })?;
            modules.extend(
                modules_of_layer(layer, members, bench).map_err(|error| match error {
                    BuilderError::PackageLayer { reason } => {
                        wrong(format!("of its layer {diff_id}: {reason}"))
                    }
                    other => other,
                })?,
            );
        }
        let is_main = |module: &Module| {
            module.descriptor.info.id == main.id && module.descriptor.info.version == main.version
        };
        let position = modules.iter().position(is_main).ok_or_else(|| {
            wrong(format!(
                "it is for {}@{}, which it does not have",
                main.id, main.version
            ))
        })?;
        Ok(Self {
            module: modules.remove(position),
            dependencies: modules,
        })
    }
}

/// The modules that a layer holds, by what it says itself.
fn modules_of_layer(
    layer: &Arc<dyn Layer>,
    members: BTreeMap<PathBuf, (Kind, ModuleName)>,
    bench: &Workbench<'_>,
) -> Result<Vec<Module>, BuilderError> {
    let stored = bench.store.fetch(&**layer, &**bench.progress)?;
    let directories = members
        .iter()
        .map(|(directory, (kind, _))| (directory.clone(), kind.file()))
        .collect();
    let mut found = inspect::descriptions(&stored, &directories)?;
    let mut modules = Vec::new();
    for (directory, (kind, name)) in members {
        let path = directory.join(kind.file());
        let bytes = found
            .remove(&directory)
            .ok_or_else(|| BuilderError::PackageLayer {
                reason: format!("it has no {}", path.display()),
            })?;
        let (descriptor, warnings) = Descriptor::parse(kind, &path, &bytes)?;
        if descriptor.name() != name {
            return Err(BuilderError::PackageLayer {
                reason: format!(
                    "{} is of {}, but the labels say {name}",
                    path.display(),
                    descriptor.label()
                ),
            });
        }
        modules.push(Module {
            descriptor,
            warnings,
            content: ModuleContent::Layer(Arc::clone(layer)),
        });
    }
    Ok(modules)
}

/// How a package is made.
#[derive(Debug, Clone, Default)]
pub struct PackageOptions {
    /// Which modules share layers.
    pub flatten: Flatten,
    /// More labels of the image.
    pub labels: Vec<(String, String)>,
    /// More annotations of the image.
    pub annotations: Vec<(String, String)>,
}

/// Makes the image of a package for one platform (PKG-02 to PKG-07, PKG-09).
pub fn package(
    package: &Package,
    platform: &Platform,
    options: &PackageOptions,
    bench: &Workbench<'_>,
) -> Result<Image, BuilderError> {
    let main = &package.module.descriptor;
    if main.kind == Kind::Extension && !package.dependencies.is_empty() {
        return Err(BuilderError::Package {
            name: main.label(),
            reason: "an extension has no dependencies".to_owned(),
        });
    }
    let modules: Vec<&Module> = package.modules().collect();
    let descriptors: Vec<&Descriptor> = modules.iter().map(|module| &module.descriptor).collect();
    check::is_complete(&descriptors)?;
    check::is_needed(main, &descriptors)?;
    let stacks = common_stacks(main, &descriptors)?;

    let all: Vec<Module> = modules.into_iter().cloned().collect();
    let placed = place(Image::empty(platform), &all, &options.flatten, bench)?;
    let info = main.info.clone();
    let label = PackageLabel {
        id: info.id,
        name: info.name.clone(),
        version: info.version.clone(),
        homepage: info.homepage.clone(),
        description: info.description.clone(),
        keywords: info.keywords,
        licenses: info.licenses,
        stacks,
    };
    let image = mutate::configure(placed, |config| {
        config.created = Some(CREATED.to_owned());
        config.set_label(label::PACKAGE, label.to_json());
        for (key, value) in &options.labels {
            config.set_label(key.as_str(), value.as_str());
        }
    });
    let annotations = [
        ("title", info.name),
        ("version", Some(info.version.to_string())),
        ("url", info.homepage),
        ("description", info.description),
    ];
    Ok(mutate::annotate(image, |all| {
        for (key, value) in annotations {
            all.extend(value.map(|value| (format!("org.opencontainers.image.{key}"), value)));
        }
        all.extend(options.annotations.iter().cloned());
    }))
}

/// The stacks that every buildpack of a package supports (PKG-06). One that only has targets supports any.
fn common_stacks(main: &Descriptor, all: &[&Descriptor]) -> Result<Vec<Stack>, BuilderError> {
    if main.kind == Kind::Extension {
        return Ok(Vec::new());
    }
    let any = || Stack {
        id: "*".to_owned(),
        mixins: Vec::new(),
    };
    let mut common = vec![any()];
    for descriptor in all.iter().filter(|descriptor| !descriptor.is_composite()) {
        let own = match descriptor.stacks.as_slice() {
            [] => vec![any()],
            stacks => stacks.to_vec(),
        };
        common = intersection(&common, &own);
        if common.is_empty() {
            return Err(BuilderError::Package {
                name: main.label(),
                reason: format!(
                    "no stack fits {} and the other buildpacks in it",
                    descriptor.label()
                ),
            });
        }
    }
    Ok(common)
}

fn intersection(one: &[Stack], other: &[Stack]) -> Vec<Stack> {
    let any = |stacks: &[Stack]| stacks.iter().any(|stack| stack.id == "*");
    let mut both: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (stacks, others) in [(one, other), (other, one)] {
        for stack in stacks {
            let fits = any(others) || others.iter().any(|other| other.id == stack.id);
            if fits && (stack.id != "*" || any(others)) {
                both.entry(stack.id.clone())
                    .or_default()
                    .extend(stack.mixins.clone());
            }
        }
    }
    // What fits any stack says nothing beside a stack with a name.
    if both.len() > 1 {
        both.remove("*");
    }
    both.into_iter()
        .map(|(id, mixins)| Stack {
            id,
            mixins: mixins.into_iter().collect(),
        })
        .collect()
}

/// What a package is made for: `[[targets]]` of package.toml, else those of the module (PKG-08).
pub fn targets(toml: &PackageToml, descriptor: &Descriptor) -> Vec<Target> {
    if toml.targets.is_empty() {
        descriptor.targets.clone()
    } else {
        toml.targets.clone()
    }
}
