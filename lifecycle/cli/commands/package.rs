//! `lifecycle buildpack …` and `lifecycle extension …`

use std::path::{Path, PathBuf};

use lifecycle_builder::{
    Address, BuilderError, Descriptor, Flatten, Folder, Kind, Located, Origins, Package, PackageOptions,
    Skeleton, Workbench, fetch, locate, platform, targets,
};
use lifecycle_image::{Image, Platform, Reference};
use lifecycle_spec::label::{self, ModuleLayers, PackageLabel};
use lifecycle_spec::{Dependency, PackageModule, PackageToml, Target};
use serde_json::json;

use crate::arguments::{
    BuildpackCommand, ExtensionCommand, ModuleInspectArguments, NewArguments, OutputForm, PackageArguments,
};
use crate::commands::builder::{by_platform, warn};
use crate::commit::Commit;
use crate::console::{Column, Table};
use crate::failure::Failure;
use crate::origins::SessionOrigins;
use crate::place::Place;
use crate::session::{Destination, Session};
use crate::transfer;

pub(crate) fn buildpack(command: &BuildpackCommand, session: &Session) -> Result<(), Failure> {
    match command {
        BuildpackCommand::New(arguments) => new(arguments, Kind::Buildpack, session),
        BuildpackCommand::Package(arguments) => package(arguments, Kind::Buildpack, session),
        BuildpackCommand::Inspect(arguments) => inspect(arguments, session),
        BuildpackCommand::Pull { package, tag } => pull(package, tag.as_deref(), session),
    }
}

pub(crate) fn extension(command: &ExtensionCommand, session: &Session) -> Result<(), Failure> {
    match command {
        ExtensionCommand::New(arguments) => new(arguments, Kind::Extension, session),
        ExtensionCommand::Package(arguments) => package(arguments, Kind::Extension, session),
        ExtensionCommand::Inspect(arguments) => inspect(arguments, session),
    }
}

fn new(arguments: &NewArguments, kind: Kind, session: &Session) -> Result<(), Failure> {
    let own_name = || {
        let id = arguments.id.as_str();
        PathBuf::from(id.rsplit('/').next().unwrap_or(id))
    };
    let directory = arguments.path.clone().unwrap_or_else(own_name);
    let targets = match arguments.targets.as_slice() {
        [] => vec![here()],
        targets => targets.to_vec(),
    };
    let skeleton = Skeleton {
        kind,
        id: arguments.id.clone(),
        version: arguments.module_version.clone(),
        api: arguments.api,
        targets,
    };
    skeleton.write(&directory)?;
    session.console.info(format!(
        "made the {} {} in {}",
        kind.word(),
        skeleton.id,
        directory.display()
    ));
    Ok(())
}

fn package(arguments: &PackageArguments, kind: Kind, session: &Session) -> Result<(), Failure> {
    let (folder, toml) = definition(&arguments.definition)?;
    let origins = SessionOrigins::new(session)?;
    let progress = session.progress();
    let bench = Workbench {
        store: session.store()?,
        progress: &progress,
    };
    let (PackageModule::Buildpack(uri) | PackageModule::Extension(uri)) = &toml.module;
    let parse = |uri: &str| Address::parse(uri, &folder, &|_| false).map_err(BuilderError::from);
    let address = parse(uri)?;
    // Once as it is for this machine, to see what it is and what it is for.
    let for_targets = by_platform(&match arguments.image.targets.as_slice() {
        [] => match locate(&address, &folder, &here(), &origins, &bench)? {
            Located::Folder(folder) => targets(&toml, &Descriptor::read(&folder)?.0),
            Located::Image(..) => toml.targets.clone(),
        },
        asked => asked.to_vec(),
    });
    let for_targets = if for_targets.is_empty() {
        vec![here()]
    } else {
        for_targets
    };

    let annotations = if arguments.git_metadata {
        Commit::of(&folder.path())?.annotations()
    } else {
        Vec::new()
    };
    let mut images = Vec::new();
    for target in &for_targets {
        let mut made: Package = fetch(&address, &folder, target, &origins, &bench)?;
        if made.module.descriptor.kind != kind {
            return Err(Failure::new(
                "module",
                format!("{} is not {} {}", made.module.label(), article(kind), kind.word()),
            )
            .help(format!(
                "`lifecycle {} package` packages it",
                made.module.descriptor.kind.word()
            )));
        }
        for dependency in &toml.dependencies {
            let address = match dependency {
                Dependency::Uri(uri) => parse(uri)?,
                Dependency::Image(name) => Address::Image(name.clone()),
            };
            made.dependencies
                .extend(fetch(&address, &folder, target, &origins, &bench)?.into_modules());
        }
        for module in made.modules() {
            warn(&module.warnings, &session.console);
        }
        let options = PackageOptions {
            flatten: if arguments.flatten {
                Flatten::AllBut(arguments.flatten_exclude.clone())
            } else {
                Flatten::Nothing
            },
            labels: arguments.image.labels.clone(),
            annotations: annotations.clone(),
        };
        images.push(lifecycle_builder::package(
            &made,
            &platform(target),
            &options,
            &bench,
        )?);
    }
    write(arguments, &images, session)
}

fn article(kind: Kind) -> &'static str {
    match kind {
        Kind::Buildpack => "a",
        Kind::Extension => "an",
    }
}

/// Where the paths of a definition start, and what it says; a directory without a package.toml is the module itself.
fn definition(path: &Path) -> Result<(Folder, PackageToml), Failure> {
    let (folder, file) = if path.is_dir() {
        (path.to_owned(), path.join("package.toml"))
    } else {
        (path.parent().unwrap_or(Path::new("")).to_owned(), path.to_owned())
    };
    if !path.exists() {
        return Err(
            Failure::new("not-found", format!("there is no {}", path.display()))
                .help("name a package.toml, or a directory with a buildpack.toml or extension.toml"),
        );
    }
    let toml = if path.is_dir() && !file.is_file() {
        PackageToml::default()
    } else {
        PackageToml::parse(&file, &fs_err::read(&file)?)?
    };
    let folder = if folder.as_os_str().is_empty() {
        PathBuf::from(".")
    } else {
        folder
    };
    Ok((Folder::Disk(folder), toml))
}

/// Writes the images where they go: a `.cnb` file holds one image, so several become several files (PKG-08).
fn write(arguments: &PackageArguments, images: &[Image], session: &Session) -> Result<(), Failure> {
    let names: Vec<Reference> = arguments
        .tags
        .iter()
        .map(|tag| tag.parse())
        .collect::<Result<_, _>>()?;
    let tell = |place: &str, digest: &str| -> Result<(), Failure> {
        session.console.info(format!("made the package {place}"));
        Ok(session.console.result(digest)?)
    };
    let file = arguments.output.strip_prefix("oci-archive:");
    let file = Path::new(file.unwrap_or(&arguments.output));
    if file.extension().is_some_and(|extension| extension == "cnb") {
        for image in images {
            let path = match images {
                [_] => file.to_owned(),
                _ => of_platform(file, &image.platform()),
            };
            let Destination { sink, .. } =
                session.destination(&Place::OciArchive(path.clone(), None), None)?;
            let to = Destination {
                sink,
                names: names.clone(),
            };
            let receipt = transfer::write(image, &to)?;
            tell(&path.display().to_string(), receipt.digest.as_str())?;
        }
        return Ok(());
    }
    if names.is_empty() && matches!(arguments.output.as_str(), "store" | "registry") {
        return Err(Failure::new("name", "the package has no name")
            .help("name it with --tag NAME, or write a file with --output FILE.cnb"));
    }
    let destination = session.output(&arguments.output, &names)?;
    let receipt = transfer::write_all(images, &destination)?;
    let names: Vec<String> = receipt.names.iter().map(Reference::familiar).collect();
    tell(&names.join(", "), receipt.digest.as_str())
}

/// `x.cnb` for one of several platforms: `x-linux-arm64-v8.cnb` (PKG-08).
fn of_platform(file: &Path, platform: &Platform) -> PathBuf {
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    let parts = [
        Some(&*stem),
        Some(&platform.os),
        Some(&platform.architecture),
        platform.variant.as_deref(),
    ];
    let name: Vec<&str> = parts.into_iter().flatten().collect();
    file.with_file_name(format!("{}.cnb", name.join("-")))
}

/// This machine as a target.
fn here() -> Target {
    let host = Platform::host();
    Target {
        os: host.os,
        arch: host.architecture,
        ..Target::default()
    }
}

fn pull(package: &str, tag: Option<&str>, session: &Session) -> Result<(), Failure> {
    let origins = SessionOrigins::new(session)?;
    let folder = Folder::Disk(PathBuf::from("."));
    let address = Address::parse(package, &folder, &|_| false).map_err(BuilderError::from)?;
    let (place, own_name): (Place, Option<Reference>) = match &address {
        Address::Image(name) => {
            let name: Reference = name.parse()?;
            (Place::Registry(name.clone()), Some(name))
        }
        Address::Registered(name) => {
            let found = origins.registered(name).map_err(|cause| BuilderError::Origin {
                what: name.to_string(),
                cause,
            })?;
            let reference: Reference = found.parse()?;
            let version = name
                .version
                .as_ref()
                .map(|version| version.as_str().replace('+', "_"));
            let own = match version {
                Some(version) => reference.repository().tagged(&version)?,
                None => reference.clone(),
            };
            (Place::Registry(reference), Some(own))
        }
        Address::Download(url) => {
            let file = origins.download(url).map_err(|cause| BuilderError::Origin {
                what: url.clone(),
                cause,
            })?;
            (Place::OciArchive(file, None), None)
        }
        Address::File(path) if Path::new(path).is_dir() => (Place::Layout(path.into(), None), None),
        Address::File(path) => (Place::OciArchive(path.into(), None), None),
        Address::OfBuilder(_) | Address::WholeBuilder => {
            return Err(BuilderError::NoBuilder {
                name: package.to_owned(),
            }
            .into());
        }
    };
    let found = session.find_at(&place)?;
    let name = match (tag, own_name) {
        (Some(tag), _) => tag.parse()?,
        (None, Some(name)) => name,
        (None, None) => {
            return Err(
                Failure::new("name", format!("{package} has no name for the store"))
                    .help("give it one with --tag NAME"),
            );
        }
    };
    let receipt = transfer::copy(&found, &session.destination(&Place::Store(name), None)?)?;
    for name in &receipt.names {
        session.console.info(format!("pulled {}", name.familiar()));
    }
    Ok(session.console.result(receipt.digest.as_str())?)
}

/// Shows a package by its labels alone (PK-05), or a module's own description.
fn inspect(arguments: &ModuleInspectArguments, session: &Session) -> Result<(), Failure> {
    let origins = SessionOrigins::new(session)?;
    let progress = session.progress();
    let bench = Workbench {
        store: session.store()?,
        progress: &progress,
    };
    let folder = Folder::Disk(PathBuf::from("."));
    let address = Address::parse(&arguments.package, &folder, &|_| false).map_err(BuilderError::from)?;
    let shown = match locate(&address, &folder, &here(), &origins, &bench)? {
        Located::Folder(folder) => {
            let (descriptor, warnings) = Descriptor::read(&folder)?;
            warn(&warnings, &session.console);
            Shown::of_descriptor(descriptor)
        }
        Located::Image(image, name) => Shown::of_image(&image, &name)?,
    };
    match arguments.output {
        OutputForm::Json => session.console.json(&shown.json()),
        OutputForm::Text => Ok(session.console.result(&shown.text())?),
    }
}

/// What is shown of a package or module.
struct Shown {
    facts: Vec<(&'static str, String)>,
    modules: Vec<ShownModule>,
}

struct ShownModule {
    kind: Kind,
    name: String,
    api: String,
    runs_on: String,
    groups: usize,
}

impl Shown {
    fn of_descriptor(descriptor: Descriptor) -> Self {
        let info = &descriptor.info;
        let facts = [
            ("Module", Some(descriptor.label())),
            ("Name", info.name.clone()),
            ("About", info.description.clone()),
            ("Homepage", info.homepage.clone()),
        ];
        Self {
            facts: given(facts),
            modules: vec![ShownModule {
                kind: descriptor.kind,
                name: descriptor.label(),
                api: descriptor.api.clone(),
                runs_on: runs_on(
                    &descriptor.targets,
                    descriptor.stacks.iter().map(|stack| stack.id.as_str()),
                ),
                groups: descriptor.order.len(),
            }],
        }
    }

    fn of_image(image: &Image, name: &str) -> Result<Self, Failure> {
        let config = image.config();
        let text = config.label(label::PACKAGE).ok_or_else(|| {
            let message = format!("{name} is not a buildpackage: it has no label {}", label::PACKAGE);
            Failure::new("no-package", message).help("a builder is shown by `lifecycle builder inspect`")
        })?;
        let package = PackageLabel::parse(text)?;
        let facts = [
            ("Package", Some(format!("{}@{}", package.id, package.version))),
            ("Name", package.name),
            ("About", package.description),
            ("Homepage", package.homepage),
            ("Platform", Some(image.platform().to_string())),
            ("Digest", Some(image.digest()?.to_string())),
        ];
        let mut modules = Vec::new();
        for (kind, key) in [
            (Kind::Buildpack, label::BUILDPACK_LAYERS),
            (Kind::Extension, label::EXTENSION_LAYERS),
        ] {
            let layers = config
                .label(key)
                .map_or(Ok(ModuleLayers::default()), ModuleLayers::parse)?;
            for (id, versions) in layers.0 {
                for (version, module) in versions {
                    modules.push(ShownModule {
                        kind,
                        name: format!("{id}@{version}"),
                        api: module.api,
                        runs_on: runs_on(
                            &module.targets,
                            module.stacks.iter().map(|stack| stack.id.as_str()),
                        ),
                        groups: module.order.len(),
                    });
                }
            }
        }
        Ok(Self {
            facts: given(facts),
            modules,
        })
    }

    fn json(&self) -> serde_json::Value {
        let modules: Vec<_> = self
            .modules
            .iter()
            .map(|module| {
                json!({
                    "kind": module.kind.word(),
                    "module": module.name,
                    "api": module.api,
                    "runsOn": module.runs_on,
                    "groups": module.groups,
                })
            })
            .collect();
        let mut value = json!({ "modules": modules });
        for (key, text) in &self.facts {
            value[key.to_lowercase()] = json!(text);
        }
        value
    }

    fn text(&self) -> String {
        let mut facts = Table::new([Column::Left(""), Column::Left("")]);
        for (key, text) in &self.facts {
            facts.row([(*key).to_owned(), text.clone()]);
        }
        let mut modules = Table::new([
            Column::Left("MODULE"),
            Column::Left("KIND"),
            Column::Left("API"),
            Column::Left("RUNS ON"),
        ]);
        for module in &self.modules {
            let runs_on = match module.groups {
                0 => module.runs_on.clone(),
                count => format!("stands for {count} groups"),
            };
            modules.row([
                module.name.clone(),
                module.kind.word().to_owned(),
                module.api.clone(),
                runs_on,
            ]);
        }
        format!("{facts}\n{modules}")
    }
}

fn given<const N: usize>(facts: [(&'static str, Option<String>); N]) -> Vec<(&'static str, String)> {
    facts
        .into_iter()
        .filter_map(|(key, text)| Some((key, text?)))
        .collect()
}

fn runs_on<'a>(targets: &[Target], stacks: impl Iterator<Item = &'a str>) -> String {
    let stacks = stacks.map(|stack| match stack {
        "*" => "any stack".to_owned(),
        id => format!("stack {id}"),
    });
    let texts: Vec<String> = targets.iter().map(ToString::to_string).chain(stacks).collect();
    texts.join(", ")
}
