//! Building: runs the buildpacks of the group (cnb.md 1.7, 2.9 to 2.13).

mod contribution;
mod error;
mod options;
mod report;
mod result;

#[cfg(test)]
mod tests;

use std::time::Instant;

use lifecycle_spec::{AnalyzedToml, Environment, GroupToml, PlanEntry, PlanToml, Requirement};

pub use error::BuildError;
pub use options::BuildOptions;
pub use report::{BuildReport, BuiltModule};

use self::contribution::Contribution;
use self::result::Results;
use crate::environment::Variables;
use crate::files::PlanFile;
use crate::modules::{Kind, Module, Modules};
use crate::process::{Failing, Program};
use crate::{Cancellation, FileError, Phase, Reporter, files, sboms, targets};

/// Runs `bin/build` of each buildpack in order, and writes `config/metadata.toml` and the SBOM trees.
///
/// # Errors
/// [`BuildError::Buildpack`] when a program fails; it holds its last lines. The buildpacks after it do not run.
pub fn build(
    options: &BuildOptions,
    cancellation: &Cancellation,
    reporter: &dyn Reporter,
) -> Result<BuildReport, BuildError> {
    reporter.phase(Phase::Build);
    let surroundings = &options.surroundings;
    if surroundings.uid == 0 {
        return Err(BuildError::Root);
    }
    let group = files::read(&options.group, GroupToml::parse)?;
    let mut plan = files::read(&options.plan, PlanToml::parse)?.entries;
    // What extensions met is theirs; detection has filtered it out, other implementations may not have.
    plan.retain(|entry| entry.providers.iter().any(|provider| !provider.extension));
    let target = target(options)?;
    let variables = Variables::read(surroundings, target.as_ref()).map_err(FileError::from)?;
    let modules = Modules {
        buildpacks: &options.buildpacks,
        extensions: &options.buildpacks,
    };

    // All APIs are known before the first program runs.
    let found: Vec<Module> = group
        .buildpacks
        .iter()
        .map(|member| {
            member
                .negotiate(Kind::Buildpack.word())
                .map_err(crate::ModuleError::from)?;
            modules.find(Kind::Buildpack, &member.id, &member.version)
        })
        .collect::<Result<_, _>>()?;
    sboms::clear(&options.layers).map_err(FileError::from)?;
    let mut environment = surroundings.inherited.clone();
    let mut results = Results::new(surroundings.api);
    let mut built = Vec::new();
    for module in &found {
        let begun = Instant::now();
        let given = given_to(module, &plan);
        run(
            options,
            module,
            &given,
            &variables,
            &environment,
            cancellation,
            reporter,
        )?;
        let contribution = Contribution::take(options, module, &given, reporter)?;
        contribution.extend(&mut environment).map_err(FileError::from)?;
        plan.retain(|entry| !contribution.met.contains(name_of(entry)));
        built.push(BuiltModule {
            module: module.label(),
            layers: contribution
                .layers
                .iter()
                .map(|layer| layer.name.to_string())
                .collect(),
            elapsed: begun.elapsed(),
        });
        results.add(module, contribution, reporter);
    }
    let metadata = results.finish(&options.layers, &group)?;
    let path = options.layers.join("config").join("metadata.toml");
    files::write(&path, &metadata.to_toml(surroundings.api)).map_err(FileError::from)?;
    Ok(BuildReport {
        metadata,
        buildpacks: built,
    })
}

/// What is built for (BLD-06).
fn target(options: &BuildOptions) -> Result<Option<lifecycle_spec::TargetData>, BuildError> {
    if !options.surroundings.api.has_targets() {
        return Ok(None);
    }
    let analyzed = files::read_if_there(&options.analyzed, AnalyzedToml::parse)?.unwrap_or_default();
    let mut target = analyzed.run_image.and_then(|image| image.target);
    if let Some(target) = &mut target {
        targets::complete(target, &options.surroundings.os_release)?;
    }
    Ok(target)
}

/// Everything that is required of what a buildpack provides (UNM-01).
fn given_to(module: &Module, plan: &[PlanEntry]) -> Vec<Requirement> {
    let provides = |entry: &&PlanEntry| {
        entry
            .providers
            .iter()
            .any(|provider| !provider.extension && provider.id == module.info.id)
    };
    plan.iter()
        .filter(provides)
        .flat_map(|entry| entry.requires.clone())
        .collect()
}

/// All requirements of an entry have the same name.
fn name_of(entry: &PlanEntry) -> &str {
    entry.requires.first().map_or("", |require| &require.name)
}

/// Runs one `bin/build`; its lines are passed on as they come.
fn run(
    options: &BuildOptions,
    module: &Module,
    given: &[Requirement],
    variables: &Variables<'_>,
    contributed: &Environment,
    cancellation: &Cancellation,
    reporter: &dyn Reporter,
) -> Result<(), BuildError> {
    let surroundings = &options.surroundings;
    reporter.debug(&format!("Running build for buildpack {}", module.label()));
    let directory = options.layers.join(module.info.id.directory());
    fs_err::create_dir_all(&directory).map_err(FileError::from)?;
    let plan = PlanFile::of(given).map_err(FileError::from)?;
    let mut environment = variables.of(module, contributed);
    if module.api.has_input_variables() {
        environment.set("CNB_BP_PLAN_PATH", plan.path());
        environment.set("CNB_LAYERS_DIR", &directory);
    }
    let file = module.root.join("bin").join("build");
    let program = Program {
        file: &file,
        arguments: vec![
            directory.into(),
            surroundings.platform.clone().into(),
            plan.path().into(),
        ],
        directory: &surroundings.app,
        environment: &environment,
    };
    let left_behind = program
        .succeed(cancellation, reporter)
        .map_err(|failing| match failing {
            Failing::Cancelled => BuildError::Cancelled,
            Failing::Failed {
                code,
                ending,
                last_lines,
            } => BuildError::Buildpack {
                module: module.label(),
                code,
                ending,
                last_lines,
            },
        })?;
    if left_behind {
        reporter.warning(&format!(
            "buildpack {} left a process running that still holds its output; going on without it",
            module.label()
        ));
    }
    Ok(())
}
