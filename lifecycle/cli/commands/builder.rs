//! `lifecycle builder create|inspect`

use std::path::{Path, PathBuf};

use lifecycle_builder::{
    Address, BuilderError, Definition, Flatten, Folder, Kind, Lifecycle, Module, ModuleName, Workbench,
    fetch, fetch_lifecycle, platform, stack,
};
use lifecycle_diagnostics::{Diagnostic, Source};
use lifecycle_image::{Image, Platform, Reference};
use lifecycle_spec::label::{self, BuilderLabel, OrderLabel};
use lifecycle_spec::{BuilderLifecycle, BuilderModule, BuilderToml, Distro, Flaw, Target};
use serde_json::{Value, json};

use crate::arguments::{BuilderCommand, BuilderCreateArguments, OutputForm};
use crate::commands::stack as stacks;
use crate::console::{Column, Console, Table};
use crate::failure::Failure;
use crate::origins::SessionOrigins;
use crate::program::{own_program, own_sboms};
use crate::session::Session;
use crate::transfer;

pub(crate) fn run(command: &BuilderCommand, session: &Session) -> Result<(), Failure> {
    match command {
        BuilderCommand::Create(arguments) => make(arguments, session),
        BuilderCommand::Inspect { builder, output } => inspect(builder, *output, session),
    }
}

fn make(arguments: &BuilderCreateArguments, session: &Session) -> Result<(), Failure> {
    let file = BuilderFile::find(&arguments.definition)?;
    let names: Vec<Reference> = arguments
        .tags
        .iter()
        .map(|tag| tag.parse())
        .collect::<Result<_, _>>()?;
    let destination = session.output(&arguments.output, &names)?;
    let definition = BuilderDefinition::read(&file, session)?;
    let flatten = match arguments.flatten.as_slice() {
        [] => Flatten::Nothing,
        groups => Flatten::Groups(
            groups
                .iter()
                .map(|group| names_of(group))
                .collect::<Result<_, _>>()?,
        ),
    };
    let mut images = Vec::new();
    for target in definition.targets(&arguments.image.targets) {
        images.push(definition.create(&target, &flatten, &arguments.image.labels, session)?);
    }
    let receipt = transfer::write_all(&images, &destination)?;
    for name in &receipt.names {
        session
            .console
            .info(format!("made the builder {}", name.familiar()));
    }
    Ok(session.console.result(receipt.digest.as_str())?)
}

/// `ID@VERSION,ID@VERSION`
fn names_of(group: &str) -> Result<Vec<ModuleName>, Failure> {
    Ok(group
        .split(',')
        .map(|name| name.trim().parse())
        .collect::<Result<_, lifecycle_spec::NameError>>()?)
}

/// This program as the lifecycle of a builder.
fn own_lifecycle() -> Lifecycle {
    let program = own_program();
    Lifecycle::own(program.version, program.file, program.launcher)
        .with_sboms("lifecycle", own_sboms())
        .with_sboms("launcher", program.launcher_sboms)
}

/// Makes a builder for this machine from its definition. An embedded stack that the store does not have is made first.
pub(crate) fn create(file: &BuilderFile, session: &Session) -> Result<Image, Failure> {
    let definition = BuilderDefinition::read(file, session)?;
    let target = definition.target_here();
    definition.create(&target, &Flatten::Nothing, &[], session)
}

/// Says what is odd about a document, with its place.
pub(crate) fn warn(flaws: &[Flaw], console: &Console) {
    for flaw in flaws {
        let source = Source::new(flaw.path().display().to_string(), flaw.text());
        console.diagnostic(&Diagnostic::warning("document", flaw.message()).at(source.span(flaw.span())));
    }
}

/// The document that defines a builder, under its usual name or any other.
#[derive(Debug, Clone)]
pub(crate) struct BuilderFile {
    folder: Folder,
    name: String,
}

impl BuilderFile {
    const USUAL: &str = "builder.toml";

    /// What a user names: a file, a directory with a builder.toml, or an embedded builder.
    pub(crate) fn find(name: &str) -> Result<Self, BuilderError> {
        let path = Path::new(name);
        if let (true, Some(file)) = (path.is_file(), path.file_name()) {
            return Ok(Self {
                folder: Folder::Disk(path.parent().unwrap_or(Path::new("")).to_owned()),
                name: file.to_string_lossy().into_owned(),
            });
        }
        Ok(Self {
            folder: Folder::find("builder", name, Self::USUAL)?,
            name: Self::USUAL.to_owned(),
        })
    }

    /// What it is called in messages: like its folder, if it has its usual name.
    pub(crate) fn shown(&self) -> String {
        let folder = self.folder.name().into_owned();
        if folder.is_empty() || self.name != Self::USUAL {
            self.path().display().to_string()
        } else {
            folder
        }
    }

    /// Reads it. The flaws are those that it can be used with.
    pub(crate) fn parse(&self) -> Result<(BuilderToml, Vec<Flaw>), Failure> {
        let bytes = self.folder.read(&self.name)?;
        Ok(BuilderToml::parse(&self.path(), &bytes)?)
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join(&self.name)
    }
}

/// What a builder is made of, and where its paths start.
struct BuilderDefinition {
    folder: Folder,
    toml: BuilderToml,
}

impl BuilderDefinition {
    fn read(file: &BuilderFile, session: &Session) -> Result<Self, Failure> {
        let (toml, warnings) = file.parse()?;
        warn(&warnings, &session.console);
        Ok(Self {
            folder: file.folder.clone(),
            toml,
        })
    }

    /// What the builder is made for: what was asked for; else what the document says, if it brings a lifecycle that can be
    /// for more than this machine; else this machine.
    fn targets(&self, asked: &[Target]) -> Vec<Target> {
        if !asked.is_empty() {
            return by_platform(asked);
        }
        match &self.toml.lifecycle {
            Some(_) if !self.toml.targets.is_empty() => by_platform(&self.toml.targets),
            _ => vec![self.target_here()],
        }
    }

    /// The document's target for this machine, with its distributions.
    fn target_here(&self) -> Target {
        let host = Platform::host();
        by_platform(&self.toml.targets)
            .into_iter()
            .find(|target| host.satisfies(&platform(target)))
            .unwrap_or_else(|| Target {
                os: host.os,
                arch: host.architecture,
                ..Target::default()
            })
    }

    fn create(
        &self,
        target: &Target,
        flatten: &Flatten,
        labels: &[(String, String)],
        session: &Session,
    ) -> Result<Image, Failure> {
        let origins = SessionOrigins::new(session)?;
        let progress = session.progress();
        let bench = Workbench {
            store: session.store()?,
            progress: &progress,
        };
        let name: Reference = self.toml.build_image.parse()?;
        make_embedded_stack(&name, session)?;
        let build_image = session.find(&self.toml.build_image)?.image(&platform(target))?;
        let lifecycle = self.lifecycle(target, &origins)?;
        let mut modules: Vec<Module> = Vec::new();
        let entries = [
            (Kind::Buildpack, &self.toml.buildpacks),
            (Kind::Extension, &self.toml.extensions),
        ];
        let entries = entries
            .into_iter()
            .flat_map(|(kind, entries)| entries.iter().map(move |entry| (kind, entry)));
        for (kind, entry) in entries {
            let address = Address::parse(&entry.uri, &self.folder, &|_| false).map_err(BuilderError::from)?;
            let package = fetch(&address, &self.folder, target, &origins, &bench)?;
            check_identity(&package.module, kind, entry)?;
            modules.extend(package.into_modules());
        }
        for module in &modules {
            warn(&module.warnings, &session.console);
        }
        let mut definition = Definition::new(self.toml.clone(), modules)?;
        definition.flatten = flatten.clone();
        definition.labels = labels.to_vec();
        Ok(lifecycle_builder::create(
            &definition,
            build_image,
            &lifecycle,
            &bench,
        )?)
    }

    /// The lifecycle that the builder carries.
    fn lifecycle(&self, target: &Target, origins: &SessionOrigins<'_>) -> Result<Lifecycle, Failure> {
        let wanted = platform(target);
        let address = match &self.toml.lifecycle {
            Some(BuilderLifecycle::Uri(uri)) => {
                Address::parse(uri, &self.folder, &|_| false).map_err(BuilderError::from)?
            }
            Some(BuilderLifecycle::Version(version)) if version != env!("CARGO_PKG_VERSION") => {
                Address::Download(reference_release(version, &wanted))
            }
            _ if Platform::host().satisfies(&wanted) => return Ok(own_lifecycle()),
            _ => {
                return Err(Failure::new(
                    "no-platform",
                    format!("this program is for {}, and a builder for {wanted} needs its own", Platform::host()),
                )
                .help("name a lifecycle for it in builder.toml, as in [lifecycle] uri = \"docker://registry.example.com/lifecycle:1\""));
            }
        };
        Ok(fetch_lifecycle(&address, &self.folder, target, origins)?)
    }
}

/// Where the reference lifecycle's releases are, which is what `[lifecycle] version` means to pack (LT-05).
fn reference_release(version: &str, platform: &Platform) -> String {
    let architecture = match platform.architecture.as_str() {
        "amd64" => "x86-64",
        other => other,
    };
    format!(
        "https://github.com/buildpacks/lifecycle/releases/download/v{version}/lifecycle-v{version}+{}.{architecture}.tgz",
        platform.os
    )
}

/// One target for each platform; of targets that differ in their distributions only, one with all of these.
pub(crate) fn by_platform(targets: &[Target]) -> Vec<Target> {
    let mut distinct: Vec<Target> = Vec::new();
    for target in targets {
        match distinct
            .iter_mut()
            .find(|other| platform(other) == platform(target))
        {
            Some(other) => {
                let new = |distro: &&Distro| !other.distros.contains(distro);
                let more: Vec<Distro> = target.distros.iter().filter(new).cloned().collect();
                other.distros.extend(more);
            }
            None => distinct.push(target.clone()),
        }
    }
    distinct
}

/// A module is the one that `builder.toml` says it is.
fn check_identity(module: &Module, kind: Kind, entry: &BuilderModule) -> Result<(), BuilderError> {
    let found = module.descriptor.kind;
    if found != kind {
        return Err(BuilderError::WrongModule {
            uri: entry.uri.clone(),
            found: format!("the {} {}", found.word(), module.label()),
            expected: kind.word().to_owned(),
        });
    }
    let info = &module.descriptor.info;
    let id_differs = entry.id.as_ref().is_some_and(|id| *id != info.id);
    let version_differs = entry
        .version
        .as_ref()
        .is_some_and(|version| *version != info.version);
    if !id_differs && !version_differs {
        return Ok(());
    }
    let part = |text: Option<String>| text.unwrap_or_else(|| "any".to_owned());
    Err(BuilderError::WrongModule {
        uri: entry.uri.clone(),
        found: module.label(),
        expected: format!(
            "{}@{}",
            part(entry.id.as_ref().map(ToString::to_string)),
            part(entry.version.as_ref().map(ToString::to_string))
        ),
    })
}

/// When an image is one of an embedded stack, makes that stack unless the store has it.
pub(crate) fn make_embedded_stack(image: &Reference, session: &Session) -> Result<(), Failure> {
    for folder in Folder::embedded("stack") {
        let definition = stack::Definition::read(&folder)?;
        let parts = stack::Part::BOTH.map(|part| definition.reference(part));
        let is_one = parts
            .into_iter()
            .collect::<Result<Vec<_>, BuilderError>>()?
            .contains(image);
        if is_one && !stacks::missing(&definition, session)?.is_empty() {
            stacks::create(&folder, &definition, session)?;
        }
    }
    Ok(())
}

fn inspect(builder: &str, form: OutputForm, session: &Session) -> Result<(), Failure> {
    let found = session.find(builder)?;
    let image = found.image(&Platform::host())?;
    let config = image.config();
    let Some(text) = config.label(label::BUILDER) else {
        return Err(Failure::new(
            "no-builder",
            format!(
                "{} is not a builder: it has no label {}",
                found.place,
                label::BUILDER
            ),
        ));
    };
    let builder = BuilderLabel::parse(text)?;
    let order = config
        .label(label::BUILDPACK_ORDER)
        .map(OrderLabel::parse)
        .transpose()?
        .unwrap_or_default();
    let extensions = config
        .label(label::EXTENSION_ORDER)
        .map(OrderLabel::parse)
        .transpose()?
        .unwrap_or_default();
    if form == OutputForm::Json {
        let value = |order: &OrderLabel| serde_json::from_str::<Value>(&order.to_json());
        return session.console.json(&json!({
            "name": found.place.to_string(),
            "digest": image.digest()?.to_string(),
            "platform": image.platform().to_string(),
            "builder": builder,
            "order": value(&order)?,
            "orderExtensions": value(&extensions)?,
        }));
    }
    let mut facts = Table::new([Column::Left(""), Column::Left("")]);
    facts.row(["Builder".to_owned(), found.place.to_string()]);
    facts.row(["Digest".to_owned(), image.digest()?.to_string()]);
    facts.row(["Platform".to_owned(), image.platform().to_string()]);
    if !builder.description.is_empty() {
        facts.row(["About".to_owned(), builder.description.clone()]);
    }
    facts.row(["Lifecycle".to_owned(), builder.lifecycle.version.clone()]);
    facts.row([
        "Platform APIs".to_owned(),
        builder.lifecycle.apis.platform.supported.join(" "),
    ]);
    facts.row([
        "Buildpack APIs".to_owned(),
        builder.lifecycle.apis.buildpack.supported.join(" "),
    ]);
    let run_images = if builder.images.is_empty() {
        vec![builder.stack.run_image.clone()]
    } else {
        builder.images.clone()
    };
    for run_image in &run_images {
        facts.row(["Run image".to_owned(), run_image.image.clone()]);
        for mirror in &run_image.mirrors {
            facts.row(["  mirror".to_owned(), mirror.clone()]);
        }
    }
    let mut text = facts.to_string();
    for (title, modules, order) in [
        ("BUILDPACK", &builder.buildpacks, &order),
        ("EXTENSION", &builder.extensions, &extensions),
    ] {
        if modules.is_empty() && title == "EXTENSION" {
            continue;
        }
        let mut table = Table::new([Column::Left(title), Column::Left("VERSION"), Column::Left("NAME")]);
        for module in modules {
            let name = module.name.clone().unwrap_or_default();
            table.row([module.id.to_string(), module.version.to_string(), name]);
        }
        text = format!("{text}\n{table}\n{}", groups(order));
    }
    Ok(session.console.result(&text)?)
}

fn groups(order: &OrderLabel) -> Table {
    let mut groups = Table::new([Column::Right("ORDER"), Column::Left("")]);
    for (number, group) in order.0.iter().enumerate() {
        for (position, entry) in group.group.iter().enumerate() {
            let number = if position == 0 {
                (number + 1).to_string()
            } else {
                String::new()
            };
            let version = entry
                .version
                .as_ref()
                .map(|version| format!("@{version}"))
                .unwrap_or_default();
            let optional = if entry.optional { " (optional)" } else { "" };
            groups.row([number, format!("{}{version}{optional}", entry.id)]);
        }
    }
    groups
}
