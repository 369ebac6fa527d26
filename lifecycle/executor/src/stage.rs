//! One stage, step by step.

use std::sync::Arc;

use lifecycle_dockerfile::{Action, Step};
use lifecycle_image::{DiffId, History, ImageConfig, Layer};
use lifecycle_layers::Contents;
use lifecycle_store::Expected;

use crate::build::{Build, StageWork};
use crate::configure::{configure, line, timestamp};
use crate::copy::owner::Accounts;
use crate::error::{ExecutorError, StepError};
use crate::files::View;
use crate::instruction::working_root::WorkingRoot;
use crate::key::Key;
use crate::origin::Named;
use crate::recorder::{Made, key_on, look_up};
use crate::reporter::{StepName, StepOutcome};
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
    /// The diff IDs of the layers, as long as all come from earlier builds.
    below: Option<Vec<DiffId>>,
    /// Where commands run, on rungs without overlay.
    pub(crate) root: Option<WorkingRoot>,
}

/// How a step with a layer ended.
pub(crate) struct LayerStep {
    pub(crate) layer: Arc<StackLayer>,
    pub(crate) created: i64,
    pub(crate) was_cached: bool,
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
        let made = match &step.action {
            Action::Run(action) => Some(self.run_command(action, name)?),
            Action::Copy(action) => Some(self.copy(action, name)?),
            Action::Workdir { path, user } if path != "/" => Some(self.make_workdir(path, user, name)?),
            _ => None,
        };
        configure(&mut self.result.config, &step.action);
        let mut history = step.history.as_ref().map(line);
        let mut outcome = StepOutcome::Done;
        if let Some(made) = made {
            if made.was_cached {
                outcome = StepOutcome::Cached;
                if let Some(below) = &mut self.below {
                    below.push(made.layer.layer.diff_id()?);
                }
            } else {
                self.below = None;
                self.result.is_fresh = true;
            }
            self.build.count(made.was_cached);
            if let Some(line) = &mut history {
                line.created = Some(timestamp(made.created));
            }
            self.result.stack.push(made.layer);
        }
        self.result.lines.extend(history);
        Ok(outcome)
    }

    /// The result of an earlier build for one of these definitions.
    ///
    /// On layers that this build has made nothing was ever done before, so nobody is asked; a step that does not
    /// depend on them is.
    pub(crate) fn earlier(
        &self,
        definitions: &[Key],
        depends_on_below: bool,
    ) -> Result<Option<LayerStep>, StepError> {
        if self
            .build
            .options
            .no_cache
            .covers(self.work.written_name.as_deref())
        {
            return Ok(None);
        }
        let below = match (&self.below, depends_on_below) {
            (_, false) => None,
            (Some(below), true) => Some(below.as_slice()),
            (None, true) => return Ok(None),
        };
        for definition in definitions {
            if let Some((result, layer)) = look_up(self.build.store, &key_on(definition, below))? {
                return Ok(Some(LayerStep {
                    layer: StackLayer::found(layer),
                    created: result.created,
                    was_cached: true,
                }));
            }
        }
        Ok(None)
    }

    /// Begins to pack a layer.
    pub(crate) fn pack(&self, contents: Arc<dyn Contents>) -> Arc<dyn Layer> {
        let build = self.build;
        build.store.pack(
            contents,
            build.options.packing,
            Expected::New,
            Arc::clone(&build.progress),
        )
    }

    /// Sees to it that later builds find a result.
    pub(crate) fn remember(
        &self,
        definitions: Vec<Key>,
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
        let platform = &self.build.options.platforms.target;
        self.build
            .origins
            .named(name, platform)
            .map_err(|diagnostic| StepError::Origin(Box::new(diagnostic)))
    }
}
