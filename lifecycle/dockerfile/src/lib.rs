//! Dockerfile text in, typed stages out: parse, expand, ignore files, lint. Pure: no file, network, clock or
//! environment is touched.
//!
//! The language is that of BuildKit's stable Dockerfile frontend. Letters and numbers such as `D9` name its rules;
//! `tests/rules` has a test for each.
//!
//! A build goes through three views of a file:
//!
//! 1. [`Dockerfile::parse`]: instructions as written. Logical lines with their places, heredocs, flags and shapes
//!    checked, nothing expanded. All errors are reported, each a `Diagnostic` with file, line and column.
//! 2. [`Dockerfile::plan`]: the global scope resolved, and the stages that a target needs, in order, with their
//!    bases and the stages and images they copy from.
//! 3. [`Plan::evaluate`]: one stage on the configuration of its base. Variables replaced in the order of ARG and
//!    ENV, values checked, and for each instruction a [`Step`]: what to do, and the history text it leaves.
//!
//! Beside them: [`Ignore`] for `.dockerignore` and `--exclude`, [`lint()`] for the build checks,
//! [`Plan::outline`] and [`Dockerfile::targets`] for who wants to know what a file offers, [`Chmod`] and
//! [`GitReference`] for what instructions hold, [`history`] for texts that other tools read.
//!
//! Time and memory grow with the input and no faster: nesting, expansions and messages are bounded.

mod arguments;
mod boolean;
mod chmod;
mod csv;
mod directive;
mod dockerfile;
mod duration;
mod environment;
mod evaluation;
mod exercise;
mod expand;
mod fault;
mod graph;
mod heredoc;
pub mod history;
mod ignore;
mod image_name;
mod instruction;
mod line;
mod lint;
mod outline;
mod path;
mod pattern;
mod plan;
mod platform;
mod remote;
mod scope;
mod signal;
mod stage;
mod step;
mod words;

pub use arguments::BuildArgs;
pub use chmod::{Chmod, ModeClause};
pub use csv::parse_fields;
pub use directive::{Directives, is_dockerfile_frontend};
pub use dockerfile::{Dockerfile, dump};
pub use duration::GoDuration;
pub use environment::Environment;
pub use evaluation::{Evaluation, EvaluationError};
pub use exercise::exercise;
pub use expand::{ExpandError, ExpandErrorKind, Expander, Expansion, LONGEST_EXPANSION};
pub use heredoc::Heredoc;
pub use ignore::{Directory, Ignore, PatternError as IgnorePatternError};
pub use instruction::{
    AddFiles, ArgDefinition, Base, Command, CommandLine, CopyFiles, Device, FilesAndDestination, Healthcheck,
    HealthcheckTest, Instruction, Mount, MountKind, Network, Onbuild, Pair, Run, Security, Sharing,
};
pub use line::Word;
pub use lint::{CheckOptions, LintOptions, Rule, RuleSet, is_secret_name, lint};
pub use outline::{Outline, OutlineArg, OutlineMount, Target};
pub use path::has_wildcard;
pub use pattern::PatternError;
pub use plan::{Origin, Plan, PlanOptions, PlannedStage, StageBase};
pub use platform::{Platform, Platforms};
pub use remote::GitReference;
pub use scope::{BaseConfig, DEFAULT_PATH, Parent, Scope};
pub use stage::Stage;
pub use step::{Action, CopyAction, CopySource, History, PlacedMount, RunAction, Script, Step};
