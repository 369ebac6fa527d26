//! A build in a test: a text, and what it is built with.

use std::collections::BTreeSet;

use lifecycle_diagnostics::Diagnostic;
use lifecycle_dockerfile::{
    Action, BaseConfig, BuildArgs, Command, CopyAction, Dockerfile, Ignore, Instruction, LintOptions, Parent,
    Plan, PlanOptions, Platform, Platforms, RunAction, Scope, StageBase, Step, lint,
};

/// The file, or the first error.
pub(crate) fn parse(text: impl Into<Vec<u8>>) -> Result<Dockerfile, Diagnostic> {
    Dockerfile::parse("Dockerfile", text).map_err(|errors| errors.into_iter().next().unwrap())
}

/// The first error of a file that has one, with its place: `line:column message`.
pub(crate) fn parse_error(text: impl Into<Vec<u8>>) -> String {
    show(&parse(text).unwrap_err())
}

pub(crate) fn show(error: &Diagnostic) -> String {
    let place = error
        .span()
        .map(|span| format!("{}:{} ", span.start().line, span.start().column));
    let help: Vec<String> = error.help.iter().map(|help| format!(" ({help})")).collect();
    place.unwrap_or_default() + &error.message + &help.concat()
}

/// The instructions behind a `FROM scratch`.
pub(crate) fn instructions(text: &str) -> Vec<Instruction> {
    let file =
        parse(format!("FROM scratch\n{text}")).unwrap_or_else(|error| panic!("{text}: {}", show(&error)));
    file.stages()[0].instructions().to_vec()
}

/// The only instruction behind a `FROM scratch`.
pub(crate) fn command(text: &str) -> Command {
    let [only] = <[Instruction; 1]>::try_from(instructions(text)).unwrap();
    only.command
}

/// The error of one instruction behind a `FROM scratch`, which is line 1.
pub(crate) fn command_error(text: &str) -> String {
    parse_error(format!("FROM scratch\n{text}"))
}

#[derive(Clone)]
pub(crate) struct Build {
    text: String,
    args: Vec<(String, String)>,
    base: BaseConfig,
    target: Option<String>,
    contexts: BTreeSet<String>,
    ignore: Option<Ignore>,
    triggers: Vec<String>,
    platforms: Platforms,
}

impl Build {
    /// Of a whole file.
    pub(crate) fn new(text: &str) -> Self {
        Self {
            text: text.to_owned(),
            args: Vec::new(),
            base: BaseConfig::default(),
            target: None,
            contexts: BTreeSet::new(),
            ignore: None,
            triggers: Vec::new(),
            platforms: Platforms {
                build: Platform::new("linux", "amd64"),
                target: Platform::parse("linux/arm/v7", &Platform::new("linux", "amd64")).unwrap(),
            },
        }
    }

    /// Of a stage on an image called `base`.
    pub(crate) fn on_base(text: &str) -> Self {
        Self::new(&format!("FROM base\n{text}"))
    }

    pub(crate) fn arg(mut self, name: &str, value: &str) -> Self {
        self.args.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn base_env(mut self, assignments: &[&str]) -> Self {
        self.base.env = assignments.iter().map(|&text| text.to_owned()).collect();
        self
    }

    pub(crate) fn base(mut self, base: BaseConfig) -> Self {
        self.base = base;
        self
    }

    pub(crate) fn target(mut self, name: &str) -> Self {
        self.target = Some(name.to_owned());
        self
    }

    pub(crate) fn context(mut self, name: &str) -> Self {
        self.contexts.insert(name.to_owned());
        self
    }

    pub(crate) fn ignore(mut self, text: &str) -> Self {
        self.ignore = Some(Ignore::parse(".dockerignore", text).unwrap());
        self
    }

    /// ONBUILD of the image called `base`.
    pub(crate) fn trigger(mut self, text: &str) -> Self {
        self.triggers.push(text.to_owned());
        self
    }

    fn build_args(&self) -> BuildArgs {
        self.args.iter().cloned().collect()
    }

    /// Plans, adds triggers to every stage on an image, and hands the plan over.
    pub(crate) fn with_plan<T>(&self, look: impl FnOnce(&Plan<'_>) -> T) -> Result<T, Diagnostic> {
        let dockerfile = parse(self.text.as_str())?;
        let args = self.build_args();
        let mut plan = dockerfile.plan(&PlanOptions {
            target: self.target.as_deref(),
            build_args: &args,
            platforms: self.platforms.clone(),
            contexts: &self.contexts,
            ignore: self.ignore.as_ref(),
        })?;
        let on_images: Vec<usize> = plan
            .stages()
            .filter(|stage| matches!(stage.base, StageBase::Image(_)))
            .map(|stage| stage.index)
            .collect();
        if !self.triggers.is_empty() {
            for stage in on_images {
                plan.add_triggers(stage, &self.triggers)?;
            }
        }
        Ok(look(&plan))
    }

    /// Evaluates what the target needs and gives back the target's steps and scope.
    pub(crate) fn try_run(&self) -> Result<(Vec<Step>, Scope), Diagnostic> {
        self.with_plan(|plan| {
            let mut scopes: Vec<Option<Scope>> = vec![None; plan.all_stages().len()];
            let mut steps = Vec::new();
            for stage in plan.stages() {
                let parent = match &stage.base {
                    StageBase::Scratch => Parent::Scratch,
                    StageBase::Stage(index) => Parent::Stage(scopes[*index].as_ref().unwrap()),
                    StageBase::Image(_) | StageBase::Context(_) => Parent::Image(&self.base),
                };
                let evaluation = plan.evaluate(stage, parent)?;
                scopes[stage.index] = Some(evaluation.scope);
                if stage.index == plan.target().index {
                    steps = evaluation.steps;
                }
            }
            Ok((steps, scopes[plan.target().index].clone().unwrap()))
        })?
    }

    pub(crate) fn steps(&self) -> Vec<Step> {
        self.try_run()
            .unwrap_or_else(|error| panic!("{}: {}", self.text, show(&error)))
            .0
    }

    pub(crate) fn scope(&self) -> Scope {
        self.try_run()
            .unwrap_or_else(|error| panic!("{}: {}", self.text, show(&error)))
            .1
    }

    pub(crate) fn error(&self) -> String {
        match self.try_run() {
            Ok(_) => panic!("{} should be an error", self.text),
            Err(error) => show(&error),
        }
    }

    /// The `created_by` texts of the target.
    pub(crate) fn history(&self) -> Vec<String> {
        self.steps()
            .into_iter()
            .filter_map(|step| step.history)
            .map(|history| history.created_by)
            .collect()
    }

    pub(crate) fn runs(&self) -> Vec<RunAction> {
        let runs = self.steps().into_iter().filter_map(|step| match step.action {
            Action::Run(run) => Some(*run),
            _ => None,
        });
        runs.collect()
    }

    /// The only RUN of the target.
    pub(crate) fn run(&self) -> RunAction {
        let [only] = <[RunAction; 1]>::try_from(self.runs()).unwrap();
        only
    }

    /// The only COPY or ADD of the target.
    pub(crate) fn copy(&self) -> CopyAction {
        let copies = self.steps().into_iter().filter_map(|step| match step.action {
            Action::Copy(copy) => Some(*copy),
            _ => None,
        });
        let [only] = <[CopyAction; 1]>::try_from(copies.collect::<Vec<_>>()).unwrap();
        only
    }

    /// The value of a variable behind the last instruction.
    pub(crate) fn value(&self, name: &str) -> Option<String> {
        self.scope().environment().get(name).map(str::to_owned)
    }

    /// Everything the checks say: `line Rule: message`.
    pub(crate) fn lint(&self) -> Vec<String> {
        let dockerfile = parse(self.text.as_str()).unwrap();
        let args = self.build_args();
        let options = LintOptions {
            target: self.target.as_deref(),
            build_args: &args,
            platforms: self.platforms.clone(),
            contexts: &self.contexts,
            ignore: self.ignore.as_ref(),
        };
        let found = lint(&dockerfile, &options, |_, _| Some(self.base.clone()));
        let line = |found: &Diagnostic| found.span().map_or(0, |span| span.start().line);
        found
            .iter()
            .map(|found| format!("{} {}: {}", line(found), found.code, found.message))
            .collect()
    }
}

/// Strings from literals.
pub(crate) fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|&text| text.to_owned()).collect()
}
