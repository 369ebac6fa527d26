//! All checks over a whole file.

use std::collections::BTreeSet;

use lifecycle_diagnostics::Diagnostic;

use crate::arguments::BuildArgs;
use crate::dockerfile::Dockerfile;
use crate::ignore::Ignore;
use crate::plan::{PlanOptions, StageBase};
use crate::platform::{Platform, Platforms};
use crate::scope::{BaseConfig, Parent, Scope};

/// What the checks may know beside the file.
#[derive(Debug, Clone)]
pub struct LintOptions<'a> {
    /// Check what this stage needs; everything if not given.
    pub target: Option<&'a str>,
    /// `--build-arg` values.
    pub build_args: &'a BuildArgs,
    /// Where the build runs, and what the image is for.
    pub platforms: Platforms,
    /// Names of named contexts (F9).
    pub contexts: &'a BTreeSet<String>,
    /// The context's ignore file.
    pub ignore: Option<&'a Ignore>,
}

/// Checks a file: every finding in the order of discovery, and an error last if the file cannot be built or its
/// options make findings errors (B6, N2).
///
/// `image_config` answers what is known of a base image on a platform. Without an answer, variables that the image
/// may define are not reported as undefined.
pub fn lint(
    dockerfile: &Dockerfile,
    options: &LintOptions<'_>,
    mut image_config: impl FnMut(&str, &Platform) -> Option<BaseConfig>,
) -> Vec<Diagnostic> {
    let plan = dockerfile.plan(&PlanOptions {
        target: options.target,
        build_args: options.build_args,
        platforms: options.platforms.clone(),
        contexts: options.contexts,
        ignore: options.ignore,
    });
    let plan = match plan {
        Ok(plan) => plan,
        Err(error) => return vec![error],
    };
    let needed: BTreeSet<usize> = plan.stages().map(|stage| stage.index).collect();
    let mut findings = crate::lint::Findings::default();
    findings.extend(plan.findings().iter().cloned());
    let mut scopes: Vec<Option<Scope>> = vec![None; plan.all_stages().len()];
    for stage in plan.all_stages() {
        if options.target.is_some() && !needed.contains(&stage.index) {
            continue;
        }
        let config = match &stage.base {
            StageBase::Image(name) | StageBase::Context(name) => image_config(name, plan.platform_of(stage)),
            StageBase::Scratch | StageBase::Stage(_) => None,
        };
        let parent = match (&stage.base, &config) {
            (StageBase::Scratch, _) => Parent::Scratch,
            (StageBase::Stage(index), _) => scopes[*index].as_ref().map_or(Parent::Unknown, Parent::Stage),
            (_, Some(config)) => Parent::Image(config),
            (_, None) => Parent::Unknown,
        };
        match plan.evaluate(stage, parent) {
            Ok(evaluation) => {
                findings.extend(evaluation.findings);
                scopes[stage.index] = Some(evaluation.scope);
            }
            Err(stopped) => {
                findings.extend(stopped.findings);
                let mut all = findings.into_vec();
                all.push(stopped.error);
                return all;
            }
        }
    }
    let mut all = findings.into_vec();
    all.extend(plan.verdict_on(&all));
    all
}
