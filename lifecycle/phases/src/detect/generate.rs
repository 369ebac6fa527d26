//! Lets extensions generate Dockerfiles, and chooses the run image that they want (cnb.md 3.2, DET-06 to DET-11).

mod dockerfile;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use fs_err as fs;
use lifecycle_spec::{AnalyzedToml, BuildImage, ExtendConfigToml, PlanEntry, Requirement, RunImage, RunToml};

use self::dockerfile::Dockerfile;
use super::DetectOptions;
use super::error::DetectError;
use crate::environment::Variables;
use crate::files::PlanFile;
use crate::modules::Module;
use crate::process::{Failing, Program};
use crate::{Cancellation, FileError, Reporter, files};

/// Runs `bin/generate` of each extension in order, and gives back the plan without what extensions met.
pub(crate) fn generate(
    options: &DetectOptions,
    extensions: &[Arc<Module>],
    mut plan: Vec<PlanEntry>,
    variables: &Variables<'_>,
    analyzed: &mut AnalyzedToml,
    cancellation: &Cancellation,
    reporter: &dyn Reporter,
) -> Result<Vec<PlanEntry>, DetectError> {
    let mut outputs = Vec::new();
    for module in extensions {
        reporter.debug(&format!("Running generate for extension {}", module.label()));
        let given = given_to(module, &plan);
        outputs.push(run(options, module, &given, variables, cancellation, reporter)?);
        // What an extension is asked for, it has met (UNM-03).
        plan.retain(|entry| !provides(module, entry));
    }
    choose_images(options, &outputs, analyzed, reporter)?;
    if !options.surroundings.api.has_generated_contexts() {
        lay_out_by_kind(options, &outputs)?;
        files::remove(&parent(options)).map_err(FileError::from)?;
    }
    Ok(plan)
}

/// What one extension left in its output directory.
struct Output<'a> {
    module: &'a Module,
    directory: PathBuf,
    run: Option<Dockerfile>,
    build: Option<Dockerfile>,
}

/// Where extensions write: before Platform API 0.13 that is not yet where the extender looks (GNR-03).
fn parent(options: &DetectOptions) -> PathBuf {
    if options.surroundings.api.has_generated_contexts() {
        options.generated.clone()
    } else {
        options.generated.join(".pending")
    }
}

fn provides(module: &Module, entry: &PlanEntry) -> bool {
    entry
        .providers
        .iter()
        .any(|provider| provider.extension && provider.id == module.info.id)
}

fn given_to(module: &Module, plan: &[PlanEntry]) -> Vec<Requirement> {
    plan.iter()
        .filter(|entry| provides(module, entry))
        .flat_map(|entry| entry.requires.clone())
        .collect()
}

fn run<'a>(
    options: &DetectOptions,
    module: &'a Module,
    given: &[Requirement],
    variables: &Variables<'_>,
    cancellation: &Cancellation,
    reporter: &dyn Reporter,
) -> Result<Output<'a>, DetectError> {
    let surroundings = &options.surroundings;
    let directory = parent(options).join(module.info.id.directory());
    files::remove(&directory).map_err(FileError::from)?;
    fs::create_dir_all(&directory).map_err(FileError::from)?;
    match module.program("generate") {
        // What the program would have written lies ready (GNR-04). The extender looks below `generated` only, so it
        // has to be there.
        None => copy_tree(&module.root.join("generate"), &directory)?,
        Some(file) => {
            let plan = PlanFile::of(given).map_err(FileError::from)?;
            let mut environment = variables.of(module, &surroundings.inherited);
            environment.set("CNB_OUTPUT_DIR", &directory);
            environment.set("CNB_BP_PLAN_PATH", plan.path());
            let program = Program {
                file: &file,
                arguments: vec![
                    directory.clone().into(),
                    surroundings.platform.clone().into(),
                    plan.path().into(),
                ],
                directory: &surroundings.app,
                environment: &environment,
            };
            program
                .succeed(cancellation, reporter)
                .map_err(|failing| match failing {
                    Failing::Cancelled => DetectError::Cancelled,
                    Failing::Failed {
                        ending, last_lines, ..
                    } => DetectError::ExtensionFailed {
                        module: module.label(),
                        ending,
                        last_lines,
                    },
                })?;
        }
    }
    check(options, module, directory)
}

/// Reads what an extension generated, as far as it has to be right already (GNR-07, cnb.md 3.3).
fn check<'a>(
    options: &DetectOptions,
    module: &'a Module,
    directory: PathBuf,
) -> Result<Output<'a>, DetectError> {
    let wrong = |reason: String| DetectError::Generated {
        module: module.label(),
        reason,
    };
    let has = |name: &str| directory.join(name).is_dir();
    if options.surroundings.api.has_generated_contexts()
        && has("context")
        && (has("context.build") || has("context.run"))
    {
        let text = "it has `context` and also `context.build` or `context.run`; use one or the others";
        return Err(wrong(text.to_owned()));
    }
    files::read_if_there(&directory.join("extend-config.toml"), ExtendConfigToml::parse).map_err(
        |error| match error {
            FileError::Flaw(flaw) => wrong(flaw.to_string()),
            FileError::Io(_) => error.into(),
        },
    )?;
    let read = |name: &str| -> Result<Option<Dockerfile>, DetectError> {
        match fs::read(directory.join(name)) {
            Ok(bytes) => Dockerfile::parse(name, bytes).map(Some).map_err(wrong),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(FileError::from(error).into()),
        }
    };
    let run = read("run.Dockerfile")?;
    let build = read("build.Dockerfile")?;
    if let Some(run) = &run {
        let extends = module.api.extends_run_image() && options.surroundings.api.extends_run_image();
        run.check_run(extends).map_err(wrong)?;
    }
    if let Some(build) = &build {
        build.check_build().map_err(wrong)?;
    }
    Ok(Output {
        module,
        directory,
        run,
        build,
    })
}

/// Which run image is used, and which images are extended (DET-07 to DET-10).
fn choose_images(
    options: &DetectOptions,
    outputs: &[Output<'_>],
    analyzed: &mut AnalyzedToml,
    reporter: &dyn Reporter,
) -> Result<(), DetectError> {
    let api = options.surroundings.api;
    for output in outputs {
        for (name, file) in [("run", &output.run), ("build", &output.build)] {
            for (line, instruction) in file.iter().flat_map(Dockerfile::unusual) {
                reporter.warning(&format!(
                    "{name}.Dockerfile of extension {}: {instruction} on line {line} is not recommended",
                    output.module.label()
                ));
            }
        }
    }
    if api.records_build_image_extend() && outputs.iter().any(|output| output.build.is_some()) {
        analyzed
            .build_image
            .get_or_insert_with(BuildImage::default)
            .extend = true;
    }
    let runs: Vec<_> = outputs
        .iter()
        .filter_map(|output| output.run.as_ref().map(|run| (output, run)))
        .collect();
    let switch = runs.iter().rposition(|(_, run)| run.base().is_some());
    let run_image = analyzed.run_image.get_or_insert_with(RunImage::default);
    let Some(switch) = switch else {
        run_image.extend = api.extends_run_image() && !runs.is_empty();
        return Ok(());
    };
    let (_, chosen) = runs[switch];
    let base = chosen.base().unwrap_or_default().to_owned();
    reporter.debug(&format!(
        "Found a run.Dockerfile that switches the run image to {base}"
    ));
    if !api.extends_run_image() {
        *run_image = RunImage {
            reference: base,
            ..RunImage::default()
        };
        return Ok(());
    }
    // A Dockerfile that switches the base and does more extends the new one.
    let extend = chosen.does_more() || switch + 1 < runs.len();
    *run_image = RunImage {
        reference: String::new(),
        image: Some(base.clone()),
        extend,
        target: None,
    };
    for (output, _) in &runs[..switch] {
        let file = output.directory.join("run.Dockerfile");
        fs::rename(&file, file.with_extension("Dockerfile.ignore")).map_err(FileError::from)?;
    }
    let run = files::read_if_there(&options.run, RunToml::parse)?.unwrap_or_default();
    let listed = run
        .images
        .iter()
        .any(|entry| entry.image == base || entry.mirrors.contains(&base));
    if !listed {
        reporter.warning(&format!(
            "new runtime base image '{base}' not found in run metadata"
        ));
    }
    Ok(())
}

/// The layout before Platform API 0.13: `<generated>/{run,build}/<ext>/Dockerfile` (DET-11).
fn lay_out_by_kind(options: &DetectOptions, outputs: &[Output<'_>]) -> Result<(), DetectError> {
    let lay_out = |output: &Output<'_>| -> std::io::Result<()> {
        let id = output.module.info.id.directory();
        for kind in ["run", "build"] {
            let file = output.directory.join(format!("{kind}.Dockerfile"));
            if !file.exists() {
                continue;
            }
            let directory = options.generated.join(kind).join(&id);
            files::copy(&file, &directory.join("Dockerfile"))?;
            let config = output.directory.join("extend-config.toml");
            if config.exists() {
                files::copy(&config, &directory.join("extend-config.toml"))?;
            }
        }
        Ok(())
    };
    Ok(outputs.iter().try_for_each(lay_out).map_err(FileError::from)?)
}

/// Copies a directory of the extension, if it is there. Links inside are kept as links.
fn copy_tree(from: &Path, to: &Path) -> Result<(), DetectError> {
    let copy = || -> std::io::Result<()> {
        if !from.is_dir() {
            return Ok(());
        }
        let mut open = vec![(from.to_owned(), to.to_owned())];
        while let Some((from, to)) = open.pop() {
            fs::create_dir_all(&to)?;
            for entry in fs::read_dir(&from)? {
                let entry = entry?;
                let target = to.join(entry.file_name());
                let kind = entry.file_type()?;
                if kind.is_dir() {
                    open.push((entry.path(), target));
                } else if kind.is_symlink() {
                    std::os::unix::fs::symlink(fs::read_link(entry.path())?, target)?;
                } else {
                    files::copy(&entry.path(), &target)?;
                }
            }
        }
        Ok(())
    };
    Ok(copy().map_err(FileError::from)?)
}
