//! From a planned stage and the configuration of its base to steps: variables replaced, values checked, ARG and ENV
//! in order (sections D and E).

mod config;
mod files;
mod run;

use std::collections::BTreeSet;
use std::sync::Arc;

use lifecycle_diagnostics::{Diagnostic, Span, nearest};

use crate::arguments::is_control_argument;
use crate::expand::Expander;
use crate::fault::expansion_fault;
use crate::instruction::{ArgDefinition, Command, Instruction};
use crate::line::Word;
use crate::lint::{Findings, Rule, is_secret_name};
use crate::plan::{Plan, PlannedInstruction, PlannedStage, StageBase};
use crate::scope::{Parent, Scope};
use crate::step::{Action, History, Step};

/// Most bytes of variables a stage may hold; a kernel starts no process with more.
const LARGEST_ENVIRONMENT: usize = 8 << 20;

/// What a stage comes to.
#[derive(Debug, Clone)]
pub struct Evaluation {
    /// Its instructions in order, triggers first.
    pub steps: Vec<Step>,
    /// What a child stage starts with.
    pub scope: Scope,
    /// Whether the configuration gets [`crate::DEFAULT_PATH`] before the first step, because the base has no `PATH`
    /// (E10).
    pub adds_path: bool,
    /// What the checks found in it.
    pub findings: Vec<Diagnostic>,
    /// The ARGs it declares, for the outline (N3).
    pub(crate) args: Vec<DeclaredArg>,
}

/// Why a stage came to nothing, and what the checks had found until then (N2).
#[derive(Debug, Clone, thiserror::Error)]
#[error("{error}")]
pub struct EvaluationError {
    /// What is wrong.
    pub error: Diagnostic,
    /// What the checks found before.
    pub findings: Vec<Diagnostic>,
}

impl From<EvaluationError> for Diagnostic {
    fn from(stopped: EvaluationError) -> Self {
        stopped.error
    }
}

/// An ARG of a stage with the value it got.
#[derive(Debug, Clone)]
pub(crate) struct DeclaredArg {
    pub(crate) definition: ArgDefinition,
    pub(crate) value: Option<String>,
    /// Whether the value is that of the global scope.
    pub(crate) is_global: bool,
}

impl Plan<'_> {
    /// Evaluates a stage on its base.
    ///
    /// `parent` has to be what [`PlannedStage::base`] says: the evaluated scope for a stage, the configuration for
    /// an image or context. A stage that a named context replaces has no steps (F9).
    pub fn evaluate(
        &self,
        stage: &PlannedStage<'_>,
        parent: Parent<'_>,
    ) -> Result<Evaluation, EvaluationError> {
        let scope = Scope::on(parent);
        let mut evaluator = Evaluator {
            plan: self,
            stage,
            escape: self.dockerfile.directives().escape,
            adds_path: scope.adds_path,
            scope,
            findings: self.findings.empty_copy(),
            steps: Vec::new(),
            args: Vec::new(),
            cmd: None,
            entrypoint: None,
            healthcheck: None,
        };
        if let Parent::Image(config) = parent {
            evaluator.check_platform(config.platform.as_ref());
        }
        if !matches!(stage.base, StageBase::Context(_)) {
            for planned in &stage.instructions {
                if let Err(error) = evaluator.evaluate(planned) {
                    return Err(EvaluationError {
                        error,
                        findings: evaluator.findings.into_vec(),
                    });
                }
            }
        }
        Ok(Evaluation {
            steps: evaluator.steps,
            scope: evaluator.scope,
            adds_path: evaluator.adds_path,
            findings: evaluator.findings.into_vec(),
            args: evaluator.args,
        })
    }
}

struct Evaluator<'a> {
    plan: &'a Plan<'a>,
    stage: &'a PlannedStage<'a>,
    escape: char,
    adds_path: bool,
    scope: Scope,
    findings: Findings,
    steps: Vec<Step>,
    args: Vec<DeclaredArg>,
    /// Where the last CMD, ENTRYPOINT and HEALTHCHECK of this stage are.
    cmd: Option<Span>,
    entrypoint: Option<Span>,
    healthcheck: Option<Span>,
}

/// An action with its history entry.
type Outcome = Result<(Action, History), Diagnostic>;

impl Evaluator<'_> {
    fn evaluate(&mut self, planned: &PlannedInstruction<'_>) -> Result<(), Diagnostic> {
        let instruction = planned.instruction.as_ref();
        let (action, history) = self.act(planned, instruction)?;
        if self.scope.environment.size() > LARGEST_ENVIRONMENT {
            let message = format!("variables of the stage hold more than {LARGEST_ENVIRONMENT} bytes");
            return Err(Diagnostic::error("environment-too-large", message).at(instruction.span.clone()));
        }
        self.steps.push(Step {
            span: instruction.span.clone(),
            text: instruction.text.clone(),
            on_build: planned.on_build,
            action,
            history,
        });
        Ok(())
    }

    /// The action, and its history entry; ONBUILD leaves none (G14).
    fn act(
        &mut self,
        planned: &PlannedInstruction<'_>,
        instruction: &Instruction,
    ) -> Result<(Action, Option<History>), Diagnostic> {
        let (action, history) = match &instruction.command {
            Command::Add(add) => self.add(instruction, add)?,
            Command::Arg(definitions) => self.arg(instruction, definitions)?,
            Command::Cmd(command) => self.cmd(instruction, command),
            Command::Copy(copy) => self.copy(instruction, copy, &planned.origins)?,
            Command::Entrypoint(command) => self.entrypoint(instruction, command),
            Command::Env(pairs) => self.env(instruction, pairs)?,
            Command::Expose(words) => self.expose(instruction, words)?,
            // A stage begins with FROM and holds none.
            Command::From(_) => return Ok((Action::Arg, None)),
            Command::Healthcheck(check) => self.healthcheck(instruction, check),
            Command::Label(pairs) => self.label(instruction, pairs)?,
            Command::Maintainer(author) => Self::maintainer(author),
            Command::Onbuild(onbuild) => return Ok((Action::Onbuild(onbuild.trigger.clone()), None)),
            Command::Run(run) => self.run(instruction, run, &planned.origins)?,
            Command::Shell(shell) => self.shell(shell),
            Command::StopSignal(signal) => self.stop_signal(instruction, signal)?,
            Command::User(user) => self.user(instruction, user)?,
            Command::Volume(volumes) => self.volume(instruction, volumes)?,
            Command::Workdir(path) => self.workdir(instruction, path)?,
        };
        Ok((action, Some(history)))
    }

    /// A word with its variables replaced by what is in force before the instruction (D9).
    fn expand(&mut self, instruction: &Instruction, word: &Word) -> Result<String, Diagnostic> {
        self.expand_with(Expander::new(self.escape), instruction, word)
    }

    fn expand_with(
        &mut self,
        expander: Expander,
        instruction: &Instruction,
        word: &Word,
    ) -> Result<String, Diagnostic> {
        let expansion = expander
            .text(&word.text, &self.scope.environment)
            .map_err(|error| expansion_fault(&error, word))?;
        self.check_undefined(instruction, word, &expansion.undefined);
        Ok(expansion.text)
    }

    fn expand_all(&mut self, instruction: &Instruction, words: &[Word]) -> Result<Vec<String>, Diagnostic> {
        words.iter().map(|word| self.expand(instruction, word)).collect()
    }

    /// ARG (E2, E3): the build argument, else the default, else the global value; each definition sees the ones
    /// before it on the same line. A value replaces that of an ENV above (E4).
    fn arg(&mut self, instruction: &Instruction, definitions: &[ArgDefinition]) -> Outcome {
        let mut shown = Vec::new();
        for definition in definitions {
            let name = &definition.name;
            self.check_secret(instruction, "ARG", name);
            let global = self.plan.globals.values.get(name);
            let (value, is_global) = match (self.plan.build_args.get(name), &definition.default, global) {
                (Some(given), _, _) => (Some(given.to_owned()), false),
                (None, Some(default), _) => (Some(self.expand(instruction, default)?), false),
                (None, None, Some(global)) => (Some(global.to_owned()), true),
                (None, None, None) => (None, false),
            };
            if let Some(value) = value.as_ref().filter(|_| !is_control_argument(name)) {
                Arc::make_mut(&mut self.scope.environment).set(name.clone(), value.clone());
            }
            self.scope
                .args
                .set(name.clone(), value.clone().unwrap_or_default());
            self.args.push(DeclaredArg {
                definition: definition.clone(),
                value: value.clone(),
                is_global,
            });
            shown.push((name.clone(), value));
        }
        Ok((Action::Arg, History::config(crate::history::arg(&shown))))
    }

    fn report(&mut self, rule: Rule, instruction: &Instruction, message: String) {
        self.findings
            .report(rule, &instruction.span, &instruction.comments, message);
    }

    /// UndefinedVar: variables that neither ENV nor ARG declares.
    fn check_undefined(&mut self, instruction: &Instruction, word: &Word, undefined: &BTreeSet<String>) {
        if self.scope.is_partial {
            return;
        }
        for name in undefined {
            if self.scope.args.get(name).is_some() || is_control_argument(name) {
                continue;
            }
            let proposal = nearest(name, self.scope.environment.names())
                .map(|known| format!(" (did you mean ${known}?)"));
            let message = format!(
                "Usage of undefined variable '${name}'{}",
                proposal.unwrap_or_default()
            );
            self.findings
                .report(Rule::UndefinedVar, &word.span, &instruction.comments, message);
        }
    }

    /// SecretsUsedInArgOrEnv
    fn check_secret(&mut self, instruction: &Instruction, keyword: &str, name: &str) {
        if is_secret_name(name) {
            let message =
                format!("Do not use ARG or ENV instructions for sensitive data ({keyword} {name:?})");
            self.report(Rule::SecretsUsedInArgOrEnv, instruction, message);
        }
    }

    /// InvalidBaseImagePlatform: the image is for something else than the stage (F11).
    fn check_platform(&mut self, actual: Option<&crate::platform::Platform>) {
        let expected = self.plan.platform_of(self.stage);
        let Some(actual) = actual else { return };
        if actual.os != expected.os || actual.architecture != expected.architecture {
            let base = &self.stage.written.base().image.text;
            let message = format!(
                "Base image {base} was pulled with platform \"{actual}\", expected \"{expected}\" for current build"
            );
            let from = self.stage.written.from();
            self.findings.report(
                Rule::InvalidBaseImagePlatform,
                &from.span,
                &from.comments,
                message,
            );
        }
    }
}
