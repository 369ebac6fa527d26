//! What must hold between the modules of a builder or package (BDR-08, BU-02, BU-03, PKG-06).

use std::collections::BTreeSet;

use lifecycle_image::ImageConfig;
use lifecycle_spec::label::{self, OrderLabelEntry};
use lifecycle_spec::{ApiList, Distro, Stack, Target, TargetData};

use crate::{BuilderError, Descriptor, Kind};

/// Every module speaks an API that the lifecycle knows (BU-02).
pub(crate) fn is_spoken(modules: &[&Descriptor], apis: &ApiList) -> Result<(), BuilderError> {
    for module in modules {
        if !module.is_spoken(apis) {
            return Err(BuilderError::Unspoken {
                module: module.label(),
                api: module.api.clone(),
                apis: apis.supported.join(", "),
            });
        }
    }
    Ok(())
}

/// The modules that an entry of an order names. One that came twice, by itself and in a package, is one.
pub(crate) fn named<'a>(
    entry: &OrderLabelEntry,
    kind: Kind,
    modules: &[&'a Descriptor],
) -> Vec<&'a Descriptor> {
    let is_named = |module: &&Descriptor| {
        module.kind == kind
            && module.info.id == entry.id
            && entry
                .version
                .as_ref()
                .is_none_or(|version| *version == module.info.version)
    };
    let mut labels = BTreeSet::new();
    let named = modules.iter().copied().filter(is_named);
    named.filter(|module| labels.insert(module.label())).collect()
}

/// What composites refer to is there, and nobody refers to itself on the way.
pub(crate) fn is_complete(modules: &[&Descriptor]) -> Result<(), BuilderError> {
    let mut seen = BTreeSet::new();
    modules
        .iter()
        .try_for_each(|module| visit(module, modules, &mut Vec::new(), &mut seen))
}

/// Nothing is in a package that its buildpack has no use for (PKG-06).
pub(crate) fn is_needed(main: &Descriptor, modules: &[&Descriptor]) -> Result<(), BuilderError> {
    let mut used = BTreeSet::new();
    visit(main, modules, &mut Vec::new(), &mut used)?;
    match modules.iter().find(|module| !used.contains(&module.label())) {
        None => Ok(()),
        Some(module) => Err(BuilderError::Package {
            name: main.label(),
            reason: format!("it does not refer to its dependency {}", module.label()),
        }),
    }
}

/// Visits a module and what it refers to, once. `way` are the composites that led here.
fn visit(
    module: &Descriptor,
    modules: &[&Descriptor],
    way: &mut Vec<String>,
    seen: &mut BTreeSet<String>,
) -> Result<(), BuilderError> {
    let label = module.label();
    if way.contains(&label) {
        way.push(label);
        return Err(BuilderError::Circle {
            way: way.join(" → ")
        });
    }
    if !seen.insert(label.clone()) {
        return Ok(());
    }
    way.push(label);
    for entry in module.order.iter().flat_map(|group| &group.group) {
        let wanted = match &entry.version {
            Some(version) => format!("{}@{version}", entry.id),
            None => entry.id.to_string(),
        };
        match named(entry, Kind::Buildpack, modules).as_slice() {
            [one] => visit(one, modules, way, seen)?,
            found => {
                return Err(BuilderError::Unresolved {
                    module: module.label(),
                    wanted,
                    found: found.len(),
                });
            }
        }
    }
    way.pop();
    Ok(())
}

/// Every module runs on the build image: one of its targets or stacks is the image's (BDR-08).
pub(crate) fn fits(modules: &[&Descriptor], image: &ImageConfig) -> Result<(), BuilderError> {
    for module in modules.iter().filter(|module| !module.is_composite()) {
        if !runs_on(module, image) {
            let wanted: Vec<String> = module
                .targets
                .iter()
                .map(ToString::to_string)
                .chain(module.stacks.iter().map(shown))
                .collect();
            return Err(BuilderError::Misfit {
                module: module.label(),
                wanted: wanted.join(", "),
                found: described(image),
            });
        }
    }
    Ok(())
}

fn runs_on(module: &Descriptor, image: &ImageConfig) -> bool {
    let own = target_of(image);
    if !module.targets.is_empty() {
        return module.targets.iter().any(|target| target.is(&own));
    }
    let own_stack = image.label(label::STACK_ID);
    let fits = |stack: &Stack| {
        let id = stack.id.as_str();
        let is_named = id == "*" || own_stack.is_none_or(|own| own == id);
        (is_named && has_mixins(image, stack)) || Target::of_stack(id).is_some_and(|target| target.is(&own))
    };
    module.stacks.is_empty() || module.stacks.iter().any(fits)
}

/// Whether an image of a stack has the mixins that a buildpack needs there while it builds.
fn has_mixins(image: &ImageConfig, stack: &Stack) -> bool {
    let plain = |mixin: &str| mixin.strip_prefix("build:").unwrap_or(mixin).to_owned();
    let parsed = image.label(label::STACK_MIXINS).map(label::parse_mixins);
    let present: BTreeSet<String> = parsed
        .and_then(Result::ok)
        .unwrap_or_default()
        .iter()
        .map(|mixin| plain(mixin))
        .collect();
    let needed = stack.mixins.iter().filter(|mixin| !mixin.starts_with("run:"));
    image.label(label::STACK_ID).is_none() || needed.into_iter().all(|mixin| present.contains(&plain(mixin)))
}

fn shown(stack: &Stack) -> String {
    match stack.mixins.join(", ").as_str() {
        "" => format!("stack {}", stack.id),
        mixins => format!("stack {} with {mixins}", stack.id),
    }
}

/// What the build image is, by its configuration and labels.
fn target_of(image: &ImageConfig) -> TargetData {
    let platform = image.platform();
    let label = |key| image.label(key).map(str::to_owned);
    let name = label(label::BASE_DISTRO_NAME);
    TargetData {
        id: label(label::BASE_ID),
        os: platform.os,
        arch: platform.architecture,
        variant: platform.variant,
        distro: name.map(|name| Distro {
            name,
            version: label(label::BASE_DISTRO_VERSION).unwrap_or_default(),
        }),
    }
}

fn described(image: &ImageConfig) -> String {
    let own = target_of(image);
    let target = Target {
        os: own.os,
        arch: own.arch,
        variant: own.variant.unwrap_or_default(),
        distros: own.distro.into_iter().collect(),
        path: None,
    };
    match image.label(label::STACK_ID) {
        Some(stack) => format!("{target}, stack {stack}"),
        None => target.to_string(),
    }
}
