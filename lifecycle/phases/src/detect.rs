//! Detection: which buildpacks build this source (cnb.md 1.5, 2.5 to 2.8).
//!
//! [`mod@order`] expands the order into groups, one after the other. For each group, the modules that have not run yet
//! run side by side ([`script`]); [`group`] judges what they said, and [`plan`] finds out whether what they provide
//! and require fits together. The first group that fits ends it; its extensions then [`generate`] Dockerfiles.
//!
//! What happens is kept in a [`journal`] and told at the end: all of it when no group passed, because then it is
//! the answer to the question why not.

mod error;
mod generate;
mod group;
mod journal;
mod options;
mod order;
mod plan;
mod report;
mod script;

#[cfg(test)]
mod tests;

use lifecycle_spec::{
    AnalyzedToml, ExperimentalMode, GroupToml, OrderToml, PlanToml, SystemToml, TargetData,
};

pub use error::DetectError;
pub use options::DetectOptions;
pub use report::{DetectReport, ModuleOutcome, Verdict};

use self::group::{Detection, Selected};
use self::order::Expansion;
use crate::environment::Variables;
use crate::modules::Modules;
use crate::{Cancellation, FileError, Phase, Reporter, files, targets};

/// Finds the first group of buildpacks that wants the source, and writes `group.toml` and `plan.toml`.
///
/// # Errors
/// [`DetectError::NoGroup`] when there is none; it holds what every buildpack said.
pub fn detect(
    options: &DetectOptions,
    cancellation: &Cancellation,
    reporter: &dyn Reporter,
) -> Result<DetectReport, DetectError> {
    reporter.phase(Phase::Detect);
    let surroundings = &options.surroundings;
    if surroundings.uid == 0 {
        return Err(DetectError::Root);
    }
    let mut analyzed = files::read_if_there(&options.analyzed, AnalyzedToml::parse)?.unwrap_or_default();
    let target = target(options, &analyzed)?;
    let order = order(options)?;
    check_experimental(options, &order, reporter)?;

    let variables = Variables::read(surroundings, target.as_ref()).map_err(FileError::from)?;
    let modules = Modules {
        buildpacks: &options.buildpacks,
        extensions: &options.extensions,
    };
    let mut detection = Detection::new(options, &variables, target.as_ref(), cancellation);
    let mut expansion = Expansion::new(modules, options, &order);
    expansion.check_top_level()?;
    let tried = expansion.first(&mut |candidates, journal| detection.attempt(candidates, journal));
    let journal = expansion.into_journal();
    let selected = match tried? {
        order::Tried::Passed(selected) => selected,
        order::Tried::Failed { errored } => {
            journal.tell_all(reporter);
            return Err(DetectError::NoGroup {
                errored,
                modules: detection.into_outcomes(),
            });
        }
    };
    journal.tell(reporter);

    let Selected {
        modules, mut plan, ..
    } = selected;
    let (extensions, buildpacks): (Vec<_>, Vec<_>) =
        modules.into_iter().partition(|module| module.is_extension());
    if !extensions.is_empty() {
        plan = generate::generate(
            options,
            &extensions,
            plan,
            &variables,
            &mut analyzed,
            cancellation,
            reporter,
        )?;
        files::write(&options.analyzed, &analyzed.to_toml()).map_err(FileError::from)?;
    }
    let group = GroupToml {
        buildpacks: buildpacks.iter().map(|module| module.to_group()).collect(),
        extensions: extensions.iter().map(|module| module.to_group()).collect(),
    };
    let plan = PlanToml { entries: plan };
    files::write(&options.group, &group.to_toml()).map_err(FileError::from)?;
    files::write(&options.plan, &plan.to_toml()).map_err(FileError::from)?;
    Ok(DetectReport {
        group,
        plan,
        modules: detection.into_outcomes(),
    })
}

/// What is built for, once there are targets (DET-02, FILE-01). Unknown without an analyzed run image.
fn target(options: &DetectOptions, analyzed: &AnalyzedToml) -> Result<Option<TargetData>, DetectError> {
    if !options.surroundings.api.has_targets() {
        return Ok(None);
    }
    let mut target = analyzed.run_image.as_ref().and_then(|image| image.target.clone());
    if let Some(target) = &mut target {
        targets::complete(target, &options.surroundings.os_release)?;
    }
    Ok(target)
}

/// The order with its system buildpacks: in front of and behind each group, unless their id is there already
/// (DET-03, DET-04).
fn order(options: &DetectOptions) -> Result<OrderToml, DetectError> {
    let api = options.surroundings.api;
    let mut order = files::read(&options.order, OrderToml::parse)?;
    if !api.has_extensions() {
        order.order_extensions.clear();
    }
    if api.has_system_buildpacks()
        && let Some(system) = files::read_if_there(&options.system, SystemToml::parse)?
    {
        for group in &mut order.order {
            let own: Vec<_> = group.group.iter().map(|entry| entry.id.clone()).collect();
            let fresh = |entry: &&lifecycle_spec::OrderEntry| !own.contains(&entry.id);
            let pre: Vec<_> = system.pre.iter().filter(fresh).cloned().collect();
            group.group.splice(..0, pre);
            group.group.extend(system.post.iter().filter(fresh).cloned());
        }
    }
    Ok(order)
}

/// Extensions were an experiment before Platform API 0.13 (DET-12, MODE-01).
fn check_experimental(
    options: &DetectOptions,
    order: &OrderToml,
    reporter: &dyn Reporter,
) -> Result<(), DetectError> {
    if order.order_extensions.is_empty() || !options.surroundings.api.has_experimental_extensions() {
        return Ok(());
    }
    match options.experimental {
        ExperimentalMode::Error => Err(DetectError::Experimental),
        ExperimentalMode::Warn => {
            reporter.warning("Platform requested experimental feature 'Dockerfiles'");
            Ok(())
        }
        ExperimentalMode::Silent => Ok(()),
    }
}
