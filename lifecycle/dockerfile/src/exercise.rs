//! One function that drives everything with one input, for fuzzers and property tests.

use std::collections::BTreeSet;

use lifecycle_diagnostics::RenderOptions;

use crate::arguments::BuildArgs;
use crate::dockerfile::Dockerfile;
use crate::ignore::Ignore;
use crate::lint::{LintOptions, lint};
use crate::plan::PlanOptions;
use crate::platform::{Platform, Platforms};

/// Reads `bytes` as a Dockerfile and as an ignore file, and does with them all that can be done without an image:
/// parse, plan, evaluate, check, outline, and draw every message. Whatever the input, this returns.
pub fn exercise(bytes: &[u8]) {
    let ignore = Ignore::parse(".dockerignore", bytes).ok();
    let dockerfile = match Dockerfile::parse("Dockerfile", bytes) {
        Ok(dockerfile) => dockerfile,
        Err(errors) => {
            for error in errors {
                error.render(RenderOptions::default());
            }
            return;
        }
    };
    let build_args = BuildArgs::default();
    let contexts = BTreeSet::new();
    let platforms = Platforms::native(Platform::new("linux", "amd64"));
    let options = LintOptions {
        target: None,
        build_args: &build_args,
        platforms: platforms.clone(),
        contexts: &contexts,
        ignore: ignore.as_ref(),
    };
    for finding in lint(&dockerfile, &options, |_, _| None) {
        finding.render(RenderOptions::default());
    }
    dockerfile.targets();
    let ignore = ignore.as_ref();
    let plan = dockerfile.plan(&PlanOptions {
        target: None,
        build_args: &build_args,
        platforms,
        contexts: &contexts,
        ignore,
    });
    if let Ok(Err(error)) | Err(error) = plan.map(|plan| plan.outline().map(|_| ())) {
        error.render(RenderOptions::default());
    }
}
