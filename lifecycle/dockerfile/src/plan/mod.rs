//! What a target needs: base images, stages, and who copies from whom (section F).

mod from;
mod references;

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};

use lifecycle_diagnostics::{Diagnostic, nearest};

use crate::arguments::{BuildArgs, Globals};
use crate::directive::is_dockerfile_frontend;
use crate::dockerfile::{Dockerfile, parse_trigger};
use crate::expand::Expander;
use crate::ignore::Ignore;
use crate::instruction::Instruction;
use crate::lint::{CheckOptions, Findings, check_written};
use crate::platform::{Platform, Platforms};
use crate::stage::Stage;

/// What is to be built, and with what.
#[derive(Debug, Clone)]
pub struct PlanOptions<'a> {
    /// The stage to build, by name; the last one if not given (F5).
    pub target: Option<&'a str>,
    /// `--build-arg` values.
    pub build_args: &'a BuildArgs,
    /// Where the build runs, and what the image is for.
    pub platforms: Platforms,
    /// Names of named contexts, `name` or `name::platform` (F9). A stage of such a name is replaced by the context.
    pub contexts: &'a BTreeSet<String>,
    /// The context's ignore file, for the check CopyIgnoredFile.
    pub ignore: Option<&'a Ignore>,
}

/// A Dockerfile with its global scope resolved, and the stages that the target needs.
#[derive(Debug)]
pub struct Plan<'d> {
    pub(crate) dockerfile: &'d Dockerfile,
    pub(crate) build_args: BuildArgs,
    pub(crate) platforms: Platforms,
    pub(crate) globals: Globals,
    pub(crate) ignore: Option<Ignore>,
    pub(crate) findings: Findings,
    stages: Vec<PlannedStage<'d>>,
    names: HashMap<String, usize>,
    target: usize,
    needed: Vec<bool>,
    /// How many instructions ONBUILD has added.
    triggered: usize,
}

/// A stage with its base resolved.
#[derive(Debug)]
pub struct PlannedStage<'d> {
    /// Its place in the file, from 0.
    pub index: usize,
    /// The stage as written.
    pub written: &'d Stage,
    /// What it starts from.
    pub base: StageBase,
    /// The value of `FROM --platform`.
    pub platform: Option<Platform>,
    /// Its instructions, triggers of the base first.
    pub(crate) instructions: Vec<PlannedInstruction<'d>>,
    /// Global ARGs that its FROM uses.
    pub(crate) used_globals: BTreeSet<String>,
}

/// What a stage starts from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StageBase {
    /// Nothing.
    Scratch,
    /// An earlier stage, by its index.
    Stage(usize),
    /// An image by its name as written after expansion; a named context may stand in for it (F9).
    Image(String),
    /// A named context in place of the whole stage (F9): its instructions are not run.
    Context(String),
}

/// Where files are taken from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The build context.
    Context,
    /// An empty file system.
    Scratch,
    /// Another stage, by its index.
    Stage(usize),
    /// An image by its name as written; a named context may stand in for it (F9).
    Image(String),
}

#[derive(Debug)]
pub(crate) struct PlannedInstruction<'d> {
    pub(crate) instruction: Cow<'d, Instruction>,
    /// Whether it comes from an ONBUILD of the base (G14).
    pub(crate) on_build: bool,
    /// Where COPY and the mounts of RUN, one by one, take their files from.
    pub(crate) origins: Vec<Origin>,
}

impl PlannedStage<'_> {
    /// The name, or `stage-N`.
    pub fn display_name(&self) -> String {
        self.written
            .name()
            .map_or_else(|| format!("stage-{}", self.index), str::to_owned)
    }

    /// The stages it needs, base first, each once.
    pub fn dependencies(&self) -> Vec<usize> {
        let base = match self.base {
            StageBase::Stage(index) => Some(index),
            _ => None,
        };
        let mut dependencies: Vec<usize> = base.into_iter().collect();
        for origin in self.origins() {
            if let Origin::Stage(index) = origin
                && !dependencies.contains(index)
            {
                dependencies.push(*index);
            }
        }
        dependencies
    }

    /// The images that its instructions copy or mount from, each once.
    pub fn images(&self) -> Vec<&str> {
        let mut images = Vec::new();
        for origin in self.origins() {
            if let Origin::Image(name) = origin
                && !images.contains(&name.as_str())
            {
                images.push(name.as_str());
            }
        }
        images
    }

    fn origins(&self) -> impl Iterator<Item = &Origin> {
        self.instructions.iter().flat_map(|planned| &planned.origins)
    }
}

impl Dockerfile {
    /// Resolves the global scope and finds the stages that the target needs.
    ///
    /// Errors are those that do not depend on any base image: an unknown target or frontend, a FROM that makes no
    /// sense, circular or forward references (F5, F6).
    pub fn plan(&self, options: &PlanOptions<'_>) -> Result<Plan<'_>, Diagnostic> {
        self.require_frontend(options.build_args)?;
        let mut findings = Findings::new(self.check_options(options.build_args)?);
        check_written(self, &mut findings);
        let expander = Expander::new(self.directives().escape);
        let last_name = self.stages().last().and_then(Stage::name);
        let target_name = options.target.or(last_name).unwrap_or_default();
        let predefined = Globals::predefined(&options.platforms, target_name, options.build_args);
        if let Ok(defaults) = predefined
            .clone()
            .declare(self.globals(), expander, &BuildArgs::default())
        {
            from::check_default_bases(self, expander, &defaults.values, &mut findings);
        }
        let globals = predefined.declare(self.globals(), expander, options.build_args)?;
        let mut plan = Plan {
            dockerfile: self,
            build_args: options.build_args.clone(),
            platforms: options.platforms.clone(),
            globals,
            ignore: options.ignore.cloned(),
            findings,
            stages: Vec::new(),
            names: HashMap::new(),
            target: self.stages().len().saturating_sub(1),
            needed: Vec::new(),
            triggered: 0,
        };
        for (index, stage) in self.stages().iter().enumerate() {
            plan.add_stage(index, stage, options.contexts)?;
        }
        plan.resolve_target(options.target)?;
        plan.connect()?;
        Ok(plan)
    }

    fn require_frontend(&self, build_args: &BuildArgs) -> Result<(), Diagnostic> {
        match build_args.get("BUILDKIT_SYNTAX") {
            None => self.directives().require_dockerfile_frontend(),
            Some(name) if is_dockerfile_frontend(name) => Ok(()),
            Some(name) => {
                let message = format!(
                    "frontend {name} of the build argument BUILDKIT_SYNTAX is not the Dockerfile frontend"
                );
                Err(Diagnostic::error("unsupported-frontend", message).help("remove the build argument"))
            }
        }
    }

    /// The build argument wins over the directive (B6).
    fn check_options(&self, build_args: &BuildArgs) -> Result<CheckOptions, Diagnostic> {
        match (
            build_args.get("BUILDKIT_DOCKERFILE_CHECK"),
            &self.directives().check,
        ) {
            (Some(text), _) => CheckOptions::parse(text),
            (None, Some(word)) => {
                let text = word.text.split(' ').next().unwrap_or_default();
                CheckOptions::parse(text).map_err(|error| error.at(word.span.clone()))
            }
            (None, None) => Ok(CheckOptions::default()),
        }
    }
}

impl<'d> Plan<'d> {
    /// The stages that the target needs, in an order in which each comes after everything it needs.
    pub fn stages(&self) -> impl Iterator<Item = &PlannedStage<'d>> {
        self.stages.iter().filter(|stage| self.needed[stage.index])
    }

    /// Every stage of the file.
    pub fn all_stages(&self) -> &[PlannedStage<'d>] {
        &self.stages
    }

    /// The stage to build.
    pub fn target(&self) -> &PlannedStage<'d> {
        &self.stages[self.target]
    }

    /// The platform a stage is built for: that of its base if the base is a stage, else its own or the target.
    pub fn platform_of<'a>(&'a self, stage: &'a PlannedStage<'d>) -> &'a Platform {
        let mut stage = stage;
        while let StageBase::Stage(base) = stage.base {
            stage = &self.stages[base];
        }
        match (&stage.base, &stage.platform) {
            (StageBase::Scratch, _) | (_, None) => &self.platforms.target,
            (_, Some(platform)) => platform,
        }
    }

    /// SOURCE_DATE_EPOCH as given by a build argument or a global ARG (M5), not interpreted.
    pub fn source_date_epoch(&self) -> Option<&str> {
        let name = "SOURCE_DATE_EPOCH";
        let default = || self.globals.values.get(name).filter(|value| !value.is_empty());
        self.build_args.get(name).or_else(default)
    }

    /// What the checks have found so far (N2).
    pub fn findings(&self) -> &[Diagnostic] {
        self.findings.as_slice()
    }

    /// The error that findings are, if the file or a build argument says `error=true` (B6). `all` are the findings
    /// of the plan and of its evaluations.
    pub fn verdict_on(&self, all: &[Diagnostic]) -> Option<Diagnostic> {
        self.findings.verdict(all)
    }

    /// Puts the ONBUILD triggers of a stage's base image before its instructions (G14). Those of a base that is a
    /// stage of this file are there already.
    ///
    /// A trigger may copy from stages and images that nothing needed before: look at [`Plan::stages`] again, then.
    pub fn add_triggers(&mut self, stage: usize, triggers: &[String]) -> Result<(), Diagnostic> {
        let Some(planned) = self.stages.get(stage) else {
            return Ok(());
        };
        let from = planned.written.from().span.clone();
        let name = format!("ONBUILD of {}", planned.written.base().image.text);
        let parsed: Vec<Instruction> = triggers
            .iter()
            .map(|trigger| parse_trigger(name.clone(), trigger))
            .collect::<Result<_, _>>()
            .map_err(|error| error.label(from.clone(), "triggered here"))?;
        self.insert_triggers(stage, parsed.into_iter().map(Cow::Owned).collect())
            .map_err(|error| error.label(from, "triggered here"))?;
        self.check_references()
    }

    fn resolve_target(&mut self, target: Option<&str>) -> Result<(), Diagnostic> {
        let Some(name) = target.filter(|name| !name.is_empty()) else {
            return Ok(());
        };
        if let Some(&index) = self.names.get(&name.to_lowercase()) {
            self.target = index;
            return Ok(());
        }
        let message = format!("target stage {name:?} could not be found");
        let diagnostic = Diagnostic::error("unknown-target", message);
        let mut names: Vec<&str> = self.names.keys().map(String::as_str).collect();
        names.sort_unstable();
        Err(match nearest(name, names.iter().copied()) {
            Some(stage) => diagnostic.help(format!("did you mean {stage}?")),
            None if names.is_empty() => diagnostic.note("no stage has a name"),
            None => diagnostic.help(format!("stages are {}", names.join(", "))),
        })
    }
}
