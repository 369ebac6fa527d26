//! What a build did, and what it would do.

use std::time::Duration;

use lifecycle_phases::{ExportedLayer, LayerOrigin};
use lifecycle_platform::{BuildOptions, BuildReport, RunImages};
use lifecycle_spec::OrderGroup;
use lifecycle_spec::label::{self, OrderLabel, OrderLabelEntry};

use crate::console::{Column, Console, Table, human_duration, human_size};
use crate::failure::Failure;

/// Tells what a finished build made.
pub(super) fn tell(report: &BuildReport, took: Duration, console: &Console) {
    let mut layers = Table::new([Column::Left("LAYER"), Column::Right("SIZE"), Column::Left("")]);
    let (base, own): (Vec<_>, Vec<_>) = report
        .export
        .layers
        .iter()
        .partition(|layer| layer.origin == LayerOrigin::Base);
    layers.row([
        "run image".to_owned(),
        human_size(total(&base)),
        format!("{} layers, untouched", base.len()),
    ]);
    for layer in own {
        let origin = match layer.origin {
            LayerOrigin::Reused => "unchanged",
            LayerOrigin::Built | LayerOrigin::Base => "new",
        };
        layers.row([layer.name.clone(), human_size(layer.size), origin.to_owned()]);
    }
    console.info(format!("\n{layers}"));
    if !report.export.processes.is_empty() {
        let default = report.export.entrypoint.rsplit('/').next().unwrap_or_default();
        let mark = |process: &String| {
            if process == default {
                format!("{process} (default)")
            } else {
                process.clone()
            }
        };
        let processes: Vec<String> = report.export.processes.iter().map(mark).collect();
        console.info(format!("Processes: {}", processes.join(", ")));
    }
    let phases = report.times.iter().map(|time| {
        format!(
            "{} {}",
            time.phase.title().to_lowercase(),
            human_duration(time.took)
        )
    });
    console.info(format!(
        "Time: {} ({})",
        human_duration(took),
        phases.collect::<Vec<_>>().join(", ")
    ));
    let receipt = &report.export.receipt;
    console.info(format!(
        "Sent {}; {} blobs were there already, {} mounted; isolation: {}",
        human_size(receipt.sent),
        receipt.existed,
        receipt.mounted,
        report.rung
    ));
    for name in &receipt.names {
        console.info(format!("Made {}", name.familiar()));
    }
}

fn total(layers: &[&ExportedLayer]) -> u64 {
    layers.iter().map(|layer| layer.size).sum()
}

/// Prints what would be built.
pub(super) fn plan(options: &BuildOptions<'_>, console: &Console) -> Result<(), Failure> {
    let mut facts = Table::new([Column::Left(""), Column::Left("")]);
    facts.row(["Source".to_owned(), options.source.display().to_string()]);
    for name in [&options.name].into_iter().chain(&options.more_names) {
        facts.row(["Image".to_owned(), name.to_string()]);
    }
    facts.row(["Builder".to_owned(), options.builder_name.clone()]);
    match &options.run_images {
        RunImages::Fixed(image) => facts.row(["Run image".to_owned(), image.to_string()]),
        RunImages::OfBuilder(run) => {
            for entry in &run.images {
                facts.row(["Run image".to_owned(), entry.image.clone()]);
            }
        }
    }
    for (title, groups) in [("Group", order(options)?), ("Extensions", extensions(options)?)] {
        for (number, group) in groups.iter().enumerate() {
            facts.row([format!("{title} {}", number + 1), group.join(", ")]);
        }
    }
    for (name, _) in &options.env {
        facts.row(["Variable".to_owned(), name.clone()]);
    }
    let cache = options
        .cache
        .as_ref()
        .map_or("none".to_owned(), |path| path.display().to_string());
    facts.row(["Cache".to_owned(), cache]);
    Ok(console.result(&facts.to_string())?)
}

/// The groups that would be tried: those that were asked for, else the builder's.
fn order(options: &BuildOptions<'_>) -> Result<Vec<Vec<String>>, Failure> {
    match &options.order {
        Some(order) => Ok(named(&order.order)),
        None => of_builder(options, label::BUILDPACK_ORDER),
    }
}

/// The same of extensions.
fn extensions(options: &BuildOptions<'_>) -> Result<Vec<Vec<String>>, Failure> {
    match &options.order {
        Some(order) => Ok(named(&order.order_extensions)),
        None => of_builder(options, label::EXTENSION_ORDER),
    }
}

fn named(groups: &[OrderGroup]) -> Vec<Vec<String>> {
    let entries = |group: &OrderGroup| {
        let entries = group.group.iter();
        entries
            .map(|entry| format!("{}@{}", entry.id, entry.version))
            .collect()
    };
    groups.iter().map(entries).collect()
}

fn of_builder(options: &BuildOptions<'_>, key: &str) -> Result<Vec<Vec<String>>, Failure> {
    let label = options
        .builder
        .config()
        .label(key)
        .map(OrderLabel::parse)
        .transpose()?;
    let entry = |entry: &OrderLabelEntry| match &entry.version {
        Some(version) => format!("{}@{version}", entry.id),
        None => entry.id.to_string(),
    };
    let groups = label.unwrap_or_default().0;
    Ok(groups
        .iter()
        .map(|group| group.group.iter().map(entry).collect())
        .collect())
}
