//! `--dryrun` and `KANIKO_PRINT_PLAN`: what would be built.

use std::collections::BTreeSet;

use lifecycle_dockerfile::{Dockerfile, PlanOptions, StageBase};
use lifecycle_executor::{ExecutorError, Options};

use crate::commands::build::failure_of;
use crate::console::Console;
use crate::failure::Failure;

/// Prints the stages that are needed, what they start from, and their instructions.
pub(super) fn print(options: &Options, console: &Console) -> Result<(), Failure> {
    let wrong = |diagnostics| failure_of(&ExecutorError::Invalid(diagnostics), console);
    let dockerfile = Dockerfile::parse(options.name.clone(), options.dockerfile.clone()).map_err(wrong)?;
    let plan = dockerfile
        .plan(&PlanOptions {
            target: options.target.as_deref(),
            build_args: &options.build_args,
            platforms: options.platforms.clone(),
            contexts: &BTreeSet::new(),
            ignore: None,
        })
        .map_err(|diagnostic| wrong(vec![diagnostic]))?;
    let mut lines = Vec::new();
    for stage in plan.stages() {
        let base = match &stage.base {
            StageBase::Scratch => "scratch".to_owned(),
            StageBase::Image(name) | StageBase::Context(name) => name.clone(),
            StageBase::Stage(index) => plan.all_stages()[*index].display_name(),
        };
        lines.push(format!("{} from {base}", stage.display_name()));
        for instruction in stage.written.instructions() {
            lines.push(format!("  {}", instruction.text));
        }
    }
    Ok(console.result(&lines.join("\n"))?)
}
