//! Asks one module (cnb.md 2.3).

use lifecycle_spec::{BuildPlan, TargetData};

use super::{DetectOptions, Verdict};
use crate::environment::Variables;
use crate::modules::Module;
use crate::process::Program;
use crate::reporter::explain;
use crate::{Cancellation, FileError, files, targets};

/// More output than this of one script is cut.
const MOST_OUTPUT: usize = 1 << 20;

/// What a module said.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) verdict: Verdict,
    pub(crate) plan: BuildPlan,
    pub(crate) output: Vec<u8>,
    pub(crate) reason: Option<String>,
}

/// Runs `bin/detect`. Whatever goes wrong is the module's answer, not an error of the phase.
pub(crate) fn ask(
    options: &DetectOptions,
    module: &Module,
    variables: &Variables<'_>,
    target: Option<&TargetData>,
    cancellation: &Cancellation,
) -> Answer {
    let mut answer = Answer {
        verdict: Verdict::Error(None),
        plan: BuildPlan::default(),
        output: Vec::new(),
        reason: None,
    };
    if let Some(target) = target
        && !targets::include(&module.targets, target)
    {
        answer.verdict = Verdict::WrongTarget;
        answer.reason = Some(format!(
            "none of its targets is the run image ({})",
            describe(target)
        ));
        return answer;
    }
    let ran = match module.program("detect") {
        None if module.is_extension() => {
            // What the script would have written lies ready (IEX-01).
            let ready = module.root.join("detect").join("plan.toml");
            files::read_if_there(&ready, BuildPlan::parse)
                .map(|plan| (Verdict::Pass, plan.unwrap_or_default()))
        }
        _ => run(options, module, variables, cancellation, &mut answer.output),
    };
    match ran {
        Ok((Verdict::Pass, plan)) if module.is_extension() && requires_anything(&plan) => {
            answer.reason = Some("an extension cannot require anything, only provide (PLN-06)".to_owned());
        }
        Ok((verdict, plan)) => {
            answer.verdict = verdict;
            answer.plan = plan;
        }
        Err(error) => answer.reason = Some(explain(&error)),
    }
    answer
}

fn run(
    options: &DetectOptions,
    module: &Module,
    variables: &Variables<'_>,
    cancellation: &Cancellation,
    output: &mut Vec<u8>,
) -> Result<(Verdict, BuildPlan), FileError> {
    let surroundings = &options.surroundings;
    let directory = tempfile::tempdir()?;
    let plan = directory.path().join("plan.toml");
    fs_err::write(&plan, "")?;
    let mut environment = variables.of(module, &surroundings.inherited);
    if module.api.has_input_variables() {
        environment.set("CNB_BUILD_PLAN_PATH", &plan);
    }
    let file = module.root.join("bin").join("detect");
    let program = Program {
        file: &file,
        arguments: vec![surroundings.platform.clone().into(), plan.clone().into()],
        directory: &surroundings.app,
        environment: &environment,
    };
    let ended = program
        .run(cancellation, &mut |line| {
            if output.len() < MOST_OUTPUT {
                output.extend_from_slice(line);
                output.push(b'\n');
            }
        })
        .map_err(|cause| {
            std::io::Error::new(cause.kind(), format!("cannot run {}: {cause}", file.display()))
        })?;
    match ended.status.code() {
        Some(0) => Ok((Verdict::Pass, files::read(&plan, BuildPlan::parse)?)),
        Some(100) => Ok((Verdict::Fail, BuildPlan::default())),
        code => Ok((Verdict::Error(code), BuildPlan::default())),
    }
}

fn requires_anything(plan: &BuildPlan) -> bool {
    plan.alternatives
        .iter()
        .any(|sections| !sections.requires.is_empty())
}

fn describe(target: &TargetData) -> String {
    let distro = target
        .distro
        .as_ref()
        .map(|distro| format!(", {} {}", distro.name, distro.version));
    format!("{}/{}{}", target.os, target.arch, distro.unwrap_or_default())
}
