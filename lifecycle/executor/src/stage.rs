//! One stage, step by step.

use std::sync::Arc;

use lifecycle_dockerfile::{Action, Origin, Step};
use lifecycle_image::{Compression, DiffId, History, ImageConfig, Layer};
use lifecycle_layers::{Contents, Packing};
use lifecycle_store::Expected;

use crate::build::Build;
use crate::configure::{configure, line, timestamp};
use crate::copy::owner::Accounts;
use crate::error::{ExecutorError, StepError};
use crate::files::View;
use crate::instruction::working_root::WorkingRoot;
use crate::key::Key;
use crate::origin::Named;
use crate::planning::StageWork;
use crate::recorder::{Definition, Made, StepResult, Used, key_on, knows_step, look_up};
use crate::report::Ingredient;
use crate::reporter::{StepName, StepOutcome};
use crate::sharing::{Input, Request};
use crate::stack::{Stack, StackLayer};

/// What a stage came to: what others start from, and copy from.
#[derive(Debug, Clone)]
pub(crate) struct StageResult {
    pub(crate) stack: Stack,
    pub(crate) config: ImageConfig,
    /// The lines of the base image.
    pub(crate) base_lines: Vec<History>,
    /// The lines of this file's instructions.
    pub(crate) lines: Vec<History>,
    /// Some layer of it was made in this build, so nothing was ever done on top of it before.
    pub(crate) is_fresh: bool,
}

/// A stage at work.
#[derive(Debug)]
pub(crate) struct StageRunner<'b> {
    pub(crate) build: &'b Build<'b>,
    pub(crate) work: &'b StageWork,
    pub(crate) result: StageResult,
    /// The diff IDs of the layers, if they are known without waiting.
    below: Option<Vec<DiffId>>,
    /// Where commands run, on rungs without overlay.
    pub(crate) root: Option<WorkingRoot>,
}

/// How a step with a layer ended.
#[derive(Debug, Clone)]
pub(crate) struct LayerStep {
    pub(crate) layer: Arc<StackLayer>,
    pub(crate) created: i64,
    pub(crate) outcome: StepOutcome,
    /// What it has fetched.
    pub(crate) used: Vec<Ingredient>,
}

impl<'b> StageRunner<'b> {
    pub(crate) fn new(
        build: &'b Build<'b>,
        work: &'b StageWork,
        base: StageResult,
    ) -> Result<Self, StepError> {
        let below = if base.is_fresh {
            None
        } else {
            Some(base.stack.diff_ids()?)
        };
        let live = build.options.live_root.clone();
        let root = live.map(|root| WorkingRoot::live(root, base.stack.layers.len()));
        Ok(Self {
            build,
            work,
            result: base,
            below,
            root,
        })
    }

    /// Goes through all steps.
    pub(crate) fn run(mut self) -> Result<StageResult, ExecutorError> {
        let count = self.work.steps.len();
        for (at, step) in self.work.steps.iter().enumerate() {
            let name = StepName {
                platform: self.work.label.clone(),
                stage: self.work.name.clone(),
                stage_index: self.work.index,
                number: at + 1,
                count,
                text: step.text.clone(),
            };
            if self.build.slots.is_stopped() {
                return Err(ExecutorError::Cancelled);
            }
            self.build.reporter.begin(&name);
            match self.step(step, &name) {
                Ok(outcome) => self.build.reporter.end(&name, outcome),
                Err(error) => {
                    self.build.reporter.end(&name, StepOutcome::Failed);
                    return Err(error.at(&step.span));
                }
            }
        }
        self.finish().map_err(|error| match self.work.steps.last() {
            Some(step) => error.at(&step.span),
            None => ExecutorError::Cancelled,
        })?;
        Ok(self.result)
    }

    /// Whoever comes after the build in a live root finds all of its files there.
    fn finish(&mut self) -> Result<(), StepError> {
        self.live_view().map(drop)
    }

    /// The live root, if there is one, as it is after all steps so far.
    fn live_view(&mut self) -> Result<Option<View>, StepError> {
        if self.build.options.live_root.is_none() {
            return Ok(None);
        }
        let roots = self.build.roots();
        let Some(root) = &mut self.root else {
            return Ok(None);
        };
        root.catch_up(&self.result.stack, &roots)?;
        root.view(&roots).map(Some)
    }

    /// Names and metadata of what is there: what a COPY has to know of where it writes.
    pub(crate) fn names(&mut self) -> Result<View, StepError> {
        match self.live_view()? {
            Some(view) => Ok(view),
            None => self.result.stack.names(),
        }
    }

    /// `/etc/passwd` and `/etc/group` of what is there.
    pub(crate) fn accounts(&mut self) -> Result<Accounts, StepError> {
        let names = self.names()?;
        self.result.stack.accounts(&names, &self.build.roots())
    }

    fn step(&mut self, step: &Step, name: &StepName) -> Result<StepOutcome, StepError> {
        let made = self.layer_step(&step.action, name)?;
        configure(&mut self.result.config, &step.action);
        let mut history = step.history.as_ref().map(line);
        let mut outcome = StepOutcome::Done;
        if let Some(made) = made {
            outcome = made.outcome;
            if outcome == StepOutcome::Cached {
                if let Some(below) = &mut self.below {
                    below.push(made.layer.layer.diff_id()?);
                }
            } else {
                self.below = None;
                self.result.is_fresh = true;
            }
            self.build.count(self.work.member, outcome);
            self.build.note_used(self.work.member, made.used);
            if let Some(line) = &mut history {
                line.created = Some(timestamp(made.created));
            }
            self.result.stack.push(made.layer);
        }
        self.result.lines.extend(history);
        Ok(outcome)
    }

    /// Carries out a step that makes a layer, unless the same is done elsewhere in this build.
    fn layer_step(&mut self, action: &Action, name: &StepName) -> Result<Option<LayerStep>, StepError> {
        let build = self.build;
        let request = match action {
            Action::Workdir { path, .. } if path == "/" => return Ok(None),
            Action::Run(_) | Action::Copy(_) | Action::Workdir { .. } => self.request(action)?,
            _ => return Ok(None),
        };
        let step = build.shared.carry_out(request, || match action {
            Action::Run(action) => self.run_command(action, name),
            Action::Copy(action) => self.copy(action, name),
            Action::Workdir { path, user } => self.make_workdir(path, user, name),
            _ => Err(StepError::Dependency),
        });
        step.map(Some)
    }

    fn request(&self, action: &Action) -> Result<Request, StepError> {
        let mut inputs = Vec::new();
        let mut add = |stack: &Stack| {
            inputs.push(Input::Count(stack.layers.len()));
            inputs.extend(stack.layers.iter().cloned().map(Input::Layer));
        };
        let mut origins: Vec<&Origin> = Vec::new();
        match action {
            Action::Copy(copy) => origins.push(&copy.origin),
            Action::Run(run) => origins.extend(run.mounts.iter().map(|mount| &mount.origin)),
            _ => {}
        }
        // A linked copy knows nothing of what is below (H19).
        if !matches!(action, Action::Copy(copy) if copy.is_independent()) {
            add(&self.result.stack);
        }
        let mut files = Vec::new();
        for origin in origins {
            match origin {
                // There is one of each.
                Origin::Context | Origin::Scratch => {}
                Origin::Stage(index) => add(&self.other(*index)?.stack),
                Origin::Image(name) => match self.image(name)? {
                    Named::Image(image) => add(&image.stack),
                    Named::Files(found) => files.push(Input::Files(found)),
                },
            }
        }
        inputs.extend(files);
        Ok(Request {
            action: action.clone(),
            platform: matches!(action, Action::Run(_)).then(|| self.work.platform.clone()),
            is_new: self.is_new(),
            inputs,
        })
    }

    /// Whether results of earlier builds may not be taken.
    fn is_new(&self) -> bool {
        let name = self.work.written_name.as_deref();
        self.build.options.no_cache.covers(name)
    }

    /// The result of another stage.
    pub(crate) fn other(&self, index: usize) -> Result<Arc<StageResult>, StepError> {
        self.build.wait_for(self.work.member, index)
    }

    /// The result of an earlier build for one of these definitions: from the store, else from a cache elsewhere.
    ///
    /// On layers that are still being made it is only looked for when this step was done before at all: for others there
    /// is no reason to wait for the layers.
    pub(crate) fn earlier(
        &mut self,
        definitions: &[Definition],
        depends_on_below: bool,
    ) -> Result<Option<LayerStep>, StepError> {
        let build = self.build;
        if self.is_new() {
            return Ok(None);
        }
        let steps: Vec<Key> = definitions
            .iter()
            .map(Definition::key)
            .collect::<Result<_, _>>()?;
        if depends_on_below && self.below.is_none() {
            if !self.knows_any(&steps)? {
                return Ok(None);
            }
            self.below = Some(self.result.stack.diff_ids()?);
        }
        let below = self.below.as_deref().filter(|_| depends_on_below);
        for step in steps {
            let key = key_on(&step, below);
            let found = match look_up(build.store, &key)? {
                Some((result, layer)) => Some((result, StackLayer::found(layer))),
                None => self.imported(&key)?,
            };
            let Some((result, layer)) = found else { continue };
            let created = result.created;
            let note = |key, step, result| {
                let layer = Arc::clone(&layer.layer);
                build.recorder.note(Used {
                    key,
                    step,
                    result,
                    layer,
                });
            };
            if let Some(step) = &result.by_content {
                let same = StepResult {
                    by_content: None,
                    ..result.clone()
                };
                note(key_on(step, below), step.clone(), same);
            }
            note(key, step, result);
            return Ok(Some(LayerStep {
                layer,
                created,
                outcome: StepOutcome::Cached,
                used: Vec::new(),
            }));
        }
        Ok(None)
    }

    fn knows_any(&self, steps: &[Key]) -> Result<bool, StepError> {
        for step in steps {
            if knows_step(self.build.store, step)? || self.build.imports.knows_step(step) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// A result from a cache elsewhere. If its layer is in the store all the same, nobody needs the cache's.
    fn imported(&self, key: &Key) -> Result<Option<(StepResult, Arc<StackLayer>)>, StepError> {
        let Some(((result, layer), import)) = self.build.imports.find(key) else {
            return Ok(None);
        };
        let stored = self.build.store.layer(&result.diff_id)?;
        let layer = match stored {
            Some(stored) => StackLayer::found(Arc::new(stored)),
            None => StackLayer::imported(layer, import),
        };
        Ok(Some((result, layer)))
    }

    /// Begins to pack a layer.
    pub(crate) fn pack(&self, contents: Arc<dyn Contents>) -> Arc<dyn Layer> {
        let build = self.build;
        let packing = match build.options.packing {
            packing if self.work.is_in_image => packing,
            packing => packing_to_keep(packing),
        };
        build
            .store
            .pack(contents, packing, Expected::New, Arc::clone(&build.progress))
    }

    /// Sees to it that later builds find a result.
    pub(crate) fn remember(
        &self,
        definitions: Vec<Definition>,
        depends_on_below: bool,
        layer: Arc<dyn Layer>,
        created: i64,
    ) {
        let below = self
            .result
            .stack
            .layers
            .iter()
            .map(|layer| Arc::clone(&layer.layer));
        self.build.recorder.submit(Made {
            definitions,
            below: depends_on_below.then(|| below.collect()),
            layer,
            created,
        });
    }

    /// What an image name in this stage stands for.
    pub(crate) fn image(&self, name: &str) -> Result<Named, StepError> {
        let build = self.build;
        let named = build.origins.named(name, &self.work.target);
        let named = named.map_err(|diagnostic| StepError::Origin(Box::new(diagnostic)))?;
        build.note_used(
            self.work.member,
            Ingredient::image(name, &self.work.target, &named),
        );
        Ok(named)
    }
}

/// How a layer is packed that the image will not have, so that later builds find it: gzip takes several times as long to
/// write and to read. [`Build::report`] gives it the form of the image where a later build has it in one.
fn packing_to_keep(packing: Packing) -> Packing {
    if packing.compression != Compression::Gzip {
        return packing;
    }
    Packing {
        compression: Compression::Zstd,
        level: Some(1),
        ..packing
    }
}
