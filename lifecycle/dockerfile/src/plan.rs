//! What a target needs: base images, stages, and who copies from whom (section F).

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};

use lifecycle_diagnostics::{Diagnostic, nearest};

use crate::arguments::{BuildArgs, Globals};
use crate::directive::{CheckOptions, is_dockerfile_frontend};
use crate::dockerfile::{Dockerfile, parse_trigger};
use crate::environment::Environment;
use crate::expand::{Expander, Expansion};
use crate::fault::expansion_fault;
use crate::graph;
use crate::ignore::Ignore;
use crate::image_name;
use crate::instruction::{Command, Instruction, from_of};
use crate::line::Word;
use crate::lint::{Findings, Rule, check_written};
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
            check_default_bases(self, expander, &defaults.values, &mut findings);
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

    /// The variables of the global scope with their values, platform ARGs included.
    pub fn global_values(&self) -> &Environment {
        &self.globals.values
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

    fn insert_triggers(
        &mut self,
        stage: usize,
        triggers: Vec<Cow<'d, Instruction>>,
    ) -> Result<(), Diagnostic> {
        let mut instructions = Vec::new();
        for instruction in triggers {
            let origins = self.origins(&instruction)?;
            instructions.push(PlannedInstruction {
                instruction,
                on_build: true,
                origins,
            });
        }
        instructions.append(&mut self.stages[stage].instructions);
        self.stages[stage].instructions = instructions;
        Ok(())
    }

    fn add_stage(
        &mut self,
        index: usize,
        written: &'d Stage,
        contexts: &BTreeSet<String>,
    ) -> Result<(), Diagnostic> {
        let image = self.expand_in_from(written, &written.base().image)?;
        if image.text.is_empty() {
            let word = &written.base().image;
            let message = format!("base name ({}) should not be blank", word.text);
            return Err(Diagnostic::error("blank-base", message).at(word.span.clone()));
        }
        let mut used_globals = image.used;
        let platform = match &written.base().platform {
            None => None,
            Some(word) => {
                let (platform, used) = self.stage_platform(written, word)?;
                used_globals.extend(used);
                Some(platform)
            }
        };
        let base = match self.context_for(written, platform.as_ref(), contexts) {
            Some(context) => StageBase::Context(context),
            // Names are compared as written with the lower-case names of the stages above (F2, F3).
            None => match (self.names.get(&image.text), image.text.as_str()) {
                (Some(&stage), _) => StageBase::Stage(stage),
                (None, "scratch") => StageBase::Scratch,
                (None, name) => {
                    self.check_image_name(name, &written.base().image)?;
                    StageBase::Image(image.text)
                }
            },
        };
        if let Some(name) = written.name() {
            self.names.insert(name.to_owned(), index);
        }
        self.stages.push(PlannedStage {
            index,
            written,
            base,
            platform,
            instructions: Vec::new(),
            used_globals,
        });
        Ok(())
    }

    fn context_for(
        &self,
        written: &Stage,
        platform: Option<&Platform>,
        contexts: &BTreeSet<String>,
    ) -> Option<String> {
        let name = written
            .name()
            .filter(|name| !matches!(*name, "scratch" | "context"))?;
        let specific = format!("{name}::{}", platform.unwrap_or(&self.platforms.target));
        [specific, name.to_owned()]
            .into_iter()
            .find(|name| contexts.contains(name))
    }

    /// Expands a word of a FROM line with the global scope (E1).
    fn expand_in_from(&mut self, stage: &Stage, word: &Word) -> Result<Expansion, Diagnostic> {
        let expander = Expander::new(self.dockerfile.directives().escape);
        let expansion = expander
            .text(&word.text, &self.globals.values)
            .map_err(|error| expansion_fault(&error, word))?;
        let declared = &self.globals.declared;
        let known = || {
            self.globals
                .values
                .names()
                .chain(declared.keys().map(String::as_str))
        };
        let from = stage.from();
        for name in expansion
            .undefined
            .iter()
            .filter(|name| !declared.contains_key(*name))
        {
            let proposal = nearest(name, known()).map(|known| format!(" (did you mean {known}?)"));
            let message = format!(
                "FROM argument '{name}' is not declared{}",
                proposal.unwrap_or_default()
            );
            self.findings
                .report(Rule::UndefinedArgInFrom, &from.span, &from.comments, message);
        }
        Ok(expansion)
    }

    fn stage_platform(
        &mut self,
        stage: &Stage,
        word: &Word,
    ) -> Result<(Platform, BTreeSet<String>), Diagnostic> {
        let expansion = self.expand_in_from(stage, word)?;
        let from = stage.from();
        let is_target = expansion.undefined.is_empty()
            && expansion.used.iter().eq(["TARGETPLATFORM"])
            && self.globals.values.get("TARGETPLATFORM") == Some(expansion.text.as_str());
        if is_target {
            let message = format!(
                "Setting platform to predefined {} in FROM is redundant as this is the default behavior",
                word.text
            );
            self.findings
                .report(Rule::RedundantTargetPlatform, &from.span, &from.comments, message);
        }
        let fault = |message: String| {
            let diagnostic = Diagnostic::error("invalid-platform", message).at(word.span.clone());
            let proposals = expansion
                .undefined
                .iter()
                .filter_map(|name| nearest(name, self.globals.values.names()));
            proposals.fold(diagnostic, |diagnostic, known| {
                diagnostic.help(format!("did you mean {known}?"))
            })
        };
        if expansion.text.is_empty() {
            return Err(fault(format!(
                "empty platform value from expression {}",
                word.text
            )));
        }
        let platform = Platform::parse(&expansion.text, &self.platforms.build)
            .ok_or_else(|| fault(format!("failed to parse platform {:?}", expansion.text)))?;
        let name = stage.name().unwrap_or_default();
        let is_constant = expansion.used.is_empty() && expansion.undefined.is_empty();
        if is_constant && !name.contains(&platform.os) && !name.contains(&platform.architecture) {
            let message = format!(
                "FROM --platform flag should not use constant value {:?}",
                expansion.text
            );
            self.findings.report(
                Rule::FromPlatformFlagConstDisallowed,
                &from.span,
                &from.comments,
                message,
            );
        }
        Ok((platform, expansion.used))
    }

    fn check_image_name(&self, name: &str, word: &Word) -> Result<(), Diagnostic> {
        let Some(fault) = image_name::fault(name) else {
            return Ok(());
        };
        let message = format!("failed to parse stage name {name:?}: {fault}");
        let diagnostic = Diagnostic::error("invalid-image-name", message).at(word.span.clone());
        Err(match nearest(name, self.names.keys().map(String::as_str)) {
            Some(stage) => diagnostic.help(format!(
                "did you mean the stage {stage}? its name is lower case here"
            )),
            None => diagnostic,
        })
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

    /// Finds out where every instruction takes its files from, and which stages that makes necessary.
    fn connect(&mut self) -> Result<(), Diagnostic> {
        for index in 0..self.stages.len() {
            if matches!(self.stages[index].base, StageBase::Context(_)) {
                continue;
            }
            let written = self.stages[index].written;
            for instruction in written.instructions() {
                let origins = self.origins(instruction)?;
                let instruction = Cow::Borrowed(instruction);
                self.stages[index].instructions.push(PlannedInstruction {
                    instruction,
                    on_build: false,
                    origins,
                });
            }
        }
        for index in 0..self.stages.len() {
            if let StageBase::Stage(base) = self.stages[index].base {
                let triggers = self.triggers_of(base)?;
                self.insert_triggers(index, triggers)?;
            }
        }
        self.check_references()
    }

    /// The ONBUILD instructions that a stage itself holds.
    fn triggers_of(&self, stage: usize) -> Result<Vec<Cow<'d, Instruction>>, Diagnostic> {
        let written = self.stages[stage].written.instructions().iter();
        let triggers = written.filter_map(|instruction| match &instruction.command {
            Command::Onbuild(onbuild) => Some((instruction, onbuild)),
            _ => None,
        });
        triggers
            .map(|(instruction, onbuild)| {
                let name = instruction.span.source().name().to_owned() + " (ONBUILD)";
                parse_trigger(name, &onbuild.trigger)
                    .map(Cow::Owned)
                    .map_err(|error| error.label(instruction.span.clone(), "in this trigger"))
            })
            .collect()
    }

    /// Where an instruction takes files from: COPY has one origin, RUN one for each mount.
    fn origins(&self, instruction: &Instruction) -> Result<Vec<Origin>, Diagnostic> {
        match &instruction.command {
            Command::Copy(copy) => match &copy.from {
                None => Ok(vec![Origin::Context]),
                Some(from) => Ok(vec![self.copy_origin(from)?]),
            },
            Command::Run(run) => run
                .mounts
                .iter()
                .map(|spec| match from_of(spec)? {
                    None => Ok(Origin::Context),
                    Some(name) => self.named_origin(&name, spec),
                })
                .collect(),
            _ => Ok(Vec::new()),
        }
    }

    /// `COPY --from`: a stage's index, its name in any case, or an image; never a variable (D11, F2, F4).
    fn copy_origin(&self, from: &Word) -> Result<Origin, Diagnostic> {
        let expander = Expander::new(self.dockerfile.directives().escape);
        let expansion = expander
            .text(&from.text, &Environment::default())
            .map_err(|error| expansion_fault(&error, from))?;
        if expansion.text != from.text {
            let message = "variable expansion is not supported for --from";
            return Err(Diagnostic::error("variable-in-from", message)
                .at(from.span.clone())
                .help("define a new stage with FROM using ARG from global scope as a workaround"));
        }
        let Ok(index) = from.text.parse::<i64>() else {
            return self.named_origin(&from.text, from);
        };
        let known = usize::try_from(index)
            .ok()
            .filter(|&index| index < self.stages.len());
        known.map(Origin::Stage).ok_or_else(|| {
            Diagnostic::error("invalid-stage-index", format!("invalid stage index {index}"))
                .at(from.span.clone())
                .note(format!(
                    "stages are counted from 0 to {}",
                    self.stages.len().saturating_sub(1)
                ))
        })
    }

    fn named_origin(&self, name: &str, word: &Word) -> Result<Origin, Diagnostic> {
        match self.names.get(&name.to_lowercase()) {
            Some(&index) => Ok(Origin::Stage(index)),
            None if name == "scratch" => Ok(Origin::Scratch),
            None => {
                self.check_image_name(name, word)?;
                Ok(Origin::Image(name.to_owned()))
            }
        }
    }

    /// Refuses circles anywhere in the file and, among the stages that are needed, references to stages further
    /// down (F6).
    fn check_references(&mut self) -> Result<(), Diagnostic> {
        let copies: Vec<Vec<usize>> = self
            .stages
            .iter()
            .map(|stage| stages_of(stage.origins()).collect())
            .collect();
        if let Some(circle) = graph::find_circle(&copies) {
            return Err(self.circle_fault(&circle));
        }
        let all: Vec<Vec<usize>> = self.stages.iter().map(PlannedStage::dependencies).collect();
        self.needed = graph::reachable(&all, self.target);
        for stage in self.stages() {
            for planned in &stage.instructions {
                if let Some(later) = stages_of(planned.origins.iter()).find(|&origin| origin > stage.index) {
                    return Err(self.forward_fault(stage, planned, later));
                }
            }
        }
        Ok(())
    }

    fn circle_fault(&self, circle: &[usize]) -> Diagnostic {
        let first = circle.first().copied().unwrap_or_default();
        let message = format!(
            "circular dependency detected on stage: {}",
            self.stages[first].display_name()
        );
        let mut diagnostic = Diagnostic::error("circular-dependency", message);
        for (at, &stage) in circle.iter().enumerate() {
            let next = circle[(at + 1) % circle.len()];
            let instruction = self.stages[stage]
                .instructions
                .iter()
                .find(|planned| planned.origins.contains(&Origin::Stage(next)));
            if let Some(planned) = instruction {
                let remark = format!("needs stage {}", self.stages[next].display_name());
                diagnostic = diagnostic.label(planned.instruction.span.clone(), remark);
            }
        }
        diagnostic
    }

    fn forward_fault(
        &self,
        stage: &PlannedStage<'_>,
        planned: &PlannedInstruction<'_>,
        later: usize,
    ) -> Diagnostic {
        let verb = if matches!(planned.instruction.command, Command::Run(_)) {
            "mount"
        } else {
            "copy"
        };
        let later = &self.stages[later];
        let message = format!(
            "cannot {verb} from stage {:?}, it needs to be defined before current stage {:?}",
            later.display_name(),
            stage.display_name()
        );
        Diagnostic::error("forward-reference", message)
            .at(planned.instruction.span.clone())
            .label(later.written.from().span.clone(), "defined here")
    }
}

fn stages_of<'a>(origins: impl Iterator<Item = &'a Origin>) -> impl Iterator<Item = usize> {
    origins.filter_map(|origin| match origin {
        Origin::Stage(index) => Some(*index),
        _ => None,
    })
}

/// InvalidDefaultArgInFrom: every FROM should make sense without any build argument.
fn check_default_bases(
    dockerfile: &Dockerfile,
    expander: Expander,
    values: &Environment,
    findings: &mut Findings,
) {
    for stage in dockerfile.stages() {
        let image = &stage.base().image;
        let Ok(expansion) = expander.text(&image.text, values) else {
            return;
        };
        if image_name::fault(&expansion.text).is_some() {
            let message = format!(
                "Default value for ARG {} results in empty or invalid base image name",
                image.text
            );
            findings.report(Rule::InvalidDefaultArgInFrom, &stage.from().span, &[], message);
        }
    }
}
