//! `lifecycle builder create|inspect`

use lifecycle_builder::{BuilderError, Definition, Folder, Lifecycle, stack};
use lifecycle_image::{Image, Platform, Reference};
use lifecycle_spec::label::{self, BuilderLabel, OrderLabel};
use serde_json::{Value, json};

use crate::arguments::{BuilderCommand, OutputForm};
use crate::commands::stack as stacks;
use crate::console::{Column, Table};
use crate::failure::Failure;
use crate::session::Session;
use crate::transfer;

/// The launcher that every app image gets.
static LAUNCHER: &[u8] = include_bytes!(env!("LAUNCHER"));

pub(crate) fn run(command: &BuilderCommand, session: &Session) -> Result<(), Failure> {
    match command {
        BuilderCommand::Create {
            definition,
            tags,
            output,
        } => {
            let folder = Folder::find("builder", definition, "builder.toml")?;
            let names: Vec<Reference> = tags.iter().map(|tag| tag.parse()).collect::<Result<_, _>>()?;
            let destination = session.output(output, &names)?;
            let image = create(&folder, session)?;
            let receipt = transfer::write(&image, &destination)?;
            for name in &receipt.names {
                session
                    .console
                    .info(format!("made the builder {}", name.familiar()));
            }
            Ok(session.console.result(receipt.digest.as_str())?)
        }
        BuilderCommand::Inspect { builder, output } => inspect(builder, *output, session),
    }
}

/// This program, also when its path leads to another one by now.
pub(crate) const OWN_PROGRAM: &str = "/proc/self/exe";

/// This program as the lifecycle of a builder.
pub(crate) fn own_lifecycle() -> Lifecycle {
    Lifecycle {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        program: OWN_PROGRAM.into(),
        launcher: LAUNCHER.into(),
    }
}

/// Makes a builder from its definition. An embedded stack that the store does not have is made first.
pub(crate) fn create(folder: &Folder, session: &Session) -> Result<Image, Failure> {
    let definition = Definition::read(folder)?;
    for flaw in &definition.warnings {
        session.console.warning(flaw.to_string());
    }
    let name: Reference = definition.toml.build_image.parse()?;
    make_embedded_stack(&name, session)?;
    let build_image = session
        .find(&definition.toml.build_image)?
        .image(&Platform::host())?;
    let image = lifecycle_builder::create(
        &definition,
        build_image,
        &own_lifecycle(),
        session.store()?,
        &session.progress(),
    )?;
    Ok(image)
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
    if form == OutputForm::Json {
        let order: Value = serde_json::from_str(&order.to_json())?;
        return session.console.json(&json!({
            "name": found.place.to_string(),
            "digest": image.digest()?.to_string(),
            "platform": image.platform().to_string(),
            "builder": builder,
            "order": order,
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
    let mut buildpacks = Table::new([
        Column::Left("BUILDPACK"),
        Column::Left("VERSION"),
        Column::Left("NAME"),
    ]);
    for buildpack in &builder.buildpacks {
        let name = buildpack.name.clone().unwrap_or_default();
        buildpacks.row([buildpack.id.to_string(), buildpack.version.to_string(), name]);
    }
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
    Ok(session
        .console
        .result(&format!("{facts}\n{buildpacks}\n{groups}"))?)
}
