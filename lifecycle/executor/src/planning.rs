//! What there is to do for one platform: its stages with their bases, every step evaluated, before any is carried out.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use lifecycle_diagnostics::Diagnostic;
use lifecycle_dockerfile::{
    Dockerfile, Evaluation, Ignore, Parent, Plan, PlanOptions, PlannedStage, Platform, Platforms, StageBase,
    Step,
};
use lifecycle_image::ImageConfig;

use crate::configure::{base_config, image_platform};
use crate::error::{ExecutorError, invalid};
use crate::options::Options;
use crate::origin::{Named, Origins};
use crate::report::Ingredient;
use crate::stack::Stack;

/// One of a build's images in the making.
#[derive(Debug)]
pub(crate) struct Planned {
    /// The stages that it needs, in order.
    pub(crate) works: Vec<StageWork>,
    /// The stage that it is, by its place in the file.
    pub(crate) target: usize,
    /// What the build checks found (N2).
    pub(crate) findings: Vec<Diagnostic>,
    /// What stands against it.
    pub(crate) refused: Option<Diagnostic>,
    /// The bases.
    pub(crate) used: BTreeSet<Ingredient>,
    /// SOURCE_DATE_EPOCH as given (M5).
    pub(crate) epoch: Option<String>,
}

/// A stage, ready to be carried out.
#[derive(Debug)]
pub(crate) struct StageWork {
    /// Which of the build's images it is for.
    pub(crate) member: usize,
    /// Its place in the file.
    pub(crate) index: usize,
    /// The name, or `stage-N`.
    pub(crate) name: String,
    /// The name as written, in lower case.
    pub(crate) written_name: Option<String>,
    /// The platform of the image, for messages; nothing where there is one only.
    pub(crate) label: Option<String>,
    pub(crate) platform: Platform,
    /// The platform of the image.
    pub(crate) target: Platform,
    pub(crate) steps: Vec<Step>,
    pub(crate) base: StageBase,
    /// The base, where it is no stage.
    pub(crate) image: Option<Base>,
    pub(crate) adds_path: bool,
    /// Its layers are layers of the image: it is the target, or a stage that the target starts from.
    pub(crate) is_in_image: bool,
}

/// What a stage without a stage below it starts from.
#[derive(Debug, Clone)]
pub(crate) struct Base {
    pub(crate) config: ImageConfig,
    pub(crate) stack: Stack,
}

/// Bases by the index of their stage.
type Bases = BTreeMap<usize, Base>;

/// Plans what one platform needs.
///
/// # Errors
/// When the file makes no sense, or a base cannot be had.
pub(crate) fn plan(
    dockerfile: &Dockerfile,
    options: &Options,
    platforms: &Platforms,
    ignore: &Ignore,
    origins: &Origins<'_>,
) -> Result<Planned, ExecutorError> {
    let contexts: BTreeSet<String> = options.contexts.keys().cloned().collect();
    let mut plan = dockerfile
        .plan(&PlanOptions {
            target: options.target.as_deref(),
            build_args: &options.build_args,
            platforms: platforms.clone(),
            contexts: &contexts,
            ignore: Some(ignore),
        })
        .map_err(invalid)?;
    let mut used = BTreeSet::new();
    let bases = find_bases(&mut plan, origins, &mut used)?;
    if options.live_root.is_some() {
        check_single_stage(&plan)?;
    }
    let mut planned = Planned {
        works: Vec::new(),
        target: plan.target().index,
        findings: plan.findings().to_vec(),
        refused: None,
        used,
        epoch: plan.source_date_epoch().map(str::to_owned),
    };
    planned.evaluate(&plan, bases, &platforms.target);
    Ok(planned)
}

/// A live root is the files of one stage.
fn check_single_stage(plan: &Plan<'_>) -> Result<(), ExecutorError> {
    let Some(second) = plan.stages().nth(1) else {
        return Ok(());
    };
    let message = "a root file system that is extended in place cannot have several stages";
    let diagnostic = Diagnostic::error("unsupported", message).at(second.written.base().image.span.clone());
    Err(invalid(diagnostic.help("do everything in one stage")))
}

/// Finds the bases of all stages that are needed. Triggers of a base may need further stages (G14).
fn find_bases(
    plan: &mut Plan<'_>,
    origins: &Origins<'_>,
    used: &mut BTreeSet<Ingredient>,
) -> Result<Bases, ExecutorError> {
    let mut bases = Bases::new();
    loop {
        let stage = plan
            .stages()
            .find(|stage| !matches!(stage.base, StageBase::Stage(_)) && !bases.contains_key(&stage.index));
        let Some(stage) = stage else {
            return Ok(bases);
        };
        let index = stage.index;
        let platform = plan.platform_of(stage).clone();
        let base = find_base(stage, &platform, origins, used)?;
        let triggers = match stage.base {
            StageBase::Context(_) => Vec::new(),
            _ => base.config.config.on_build.clone().unwrap_or_default(),
        };
        if !triggers.is_empty() {
            plan.add_triggers(index, &triggers).map_err(invalid)?;
        }
        bases.insert(index, base);
    }
}

fn find_base(
    stage: &PlannedStage<'_>,
    platform: &Platform,
    origins: &Origins<'_>,
    used: &mut BTreeSet<Ingredient>,
) -> Result<Base, ExecutorError> {
    let span = &stage.written.base().image.span;
    let name = match &stage.base {
        StageBase::Image(name) | StageBase::Context(name) => name,
        StageBase::Scratch | StageBase::Stage(_) => {
            return Ok(Base {
                config: ImageConfig::new(&image_platform(platform)),
                stack: Stack::default(),
            });
        }
    };
    let named = origins
        .named(name, platform)
        .map_err(|error| error.at(span.clone()))?;
    used.extend(Ingredient::image(name, platform, &named));
    match named {
        Named::Image(image) => Ok(Base {
            config: image.image.config().clone(),
            stack: image.stack.clone(),
        }),
        Named::Files(_) => {
            let message = format!("the named context {name} is a directory, which no stage can start from");
            let diagnostic = Diagnostic::error("unsupported", message).at(span.clone());
            Err(ExecutorError::Failed(
                diagnostic.help("start from scratch and COPY --from the context"),
            ))
        }
    }
}

impl Planned {
    /// Evaluates all stages that are needed, in order.
    fn evaluate(&mut self, plan: &Plan<'_>, mut bases: Bases, target: &Platform) {
        let mut evaluations: HashMap<usize, Evaluation> = HashMap::new();
        for stage in plan.stages() {
            let image = bases.remove(&stage.index);
            let config = image.as_ref().map(|base| base_config(&base.config));
            let parent = match (&stage.base, &config) {
                (StageBase::Stage(index), _) => match evaluations.get(index) {
                    Some(parent) => Parent::Stage(&parent.scope),
                    None => Parent::Unknown,
                },
                (StageBase::Scratch, _) | (_, None) => Parent::Scratch,
                (_, Some(config)) => Parent::Image(config),
            };
            let evaluation = match plan.evaluate(stage, parent) {
                Ok(evaluation) => evaluation,
                Err(stopped) => {
                    self.findings.extend(stopped.findings);
                    self.refused = Some(stopped.error);
                    return;
                }
            };
            self.findings.extend(evaluation.findings.iter().cloned());
            self.works.push(StageWork {
                member: 0,
                index: stage.index,
                name: stage.display_name(),
                written_name: stage.written.name().map(str::to_owned),
                label: None,
                platform: plan.platform_of(stage).clone(),
                target: target.clone(),
                steps: evaluation.steps.clone(),
                base: stage.base.clone(),
                image,
                adds_path: evaluation.adds_path,
                is_in_image: false,
            });
            evaluations.insert(stage.index, evaluation);
        }
        self.mark_image();
        self.refused = plan.verdict_on(&self.findings);
    }

    /// Marks the stages whose layers the image has. A stage comes after the one that it starts from.
    fn mark_image(&mut self) {
        let mut next = self.target;
        for work in self.works.iter_mut().rev() {
            if work.index != next {
                continue;
            }
            work.is_in_image = true;
            match work.base {
                StageBase::Stage(index) => next = index,
                _ => return,
            }
        }
    }

    /// Makes it one of several.
    pub(crate) fn belongs_to(&mut self, member: usize, label: Option<&str>) {
        for work in &mut self.works {
            work.member = member;
            work.label = label.map(str::to_owned);
        }
    }
}
