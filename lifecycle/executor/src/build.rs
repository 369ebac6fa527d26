//! The build as a whole: plan, stages at work at the same time, the image at the end.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use lifecycle_diagnostics::{Diagnostic, Severity};
use lifecycle_dockerfile::{
    Dockerfile, Evaluation, Parent, Plan, PlanOptions, PlannedStage, Platform, StageBase, Step,
};
use lifecycle_image::{Image, ImageConfig, Progress, Source, mutate};
use lifecycle_sandbox::Rung;
use lifecycle_store::{Scratch, Store};

use crate::cache::Imports;
use crate::configure::{base_config, base_history, begin, fill_times, image_platform, set_labels, timestamp};
use crate::copy::known::KnownFiles;
use crate::copy::select::SourceFiles;
use crate::error::{ExecutorError, StepError};
use crate::key::Key;
use crate::ladder::{Ladder, Standing};
use crate::options::{BuildContext, IsolationMode, Options};
use crate::origin::{Named, Origins};
use crate::powers::Powers;
use crate::recorder::Recorder;
use crate::remote::Remote;
use crate::report::BuildReport;
use crate::reporter::Reporter;
use crate::slots::Slots;
use crate::stack::{LayerTree, Roots, Stack};
use crate::stage::{StageResult, StageRunner};

/// The most stages at work at the same time; each has a thread.
const MOST_STAGES: usize = 64;

/// Builds the image.
///
/// `images` gives base images, `remote` what ADD names on the network. The store keeps layers, extracted trees, build
/// caches and results. A cache elsewhere that turns out to be broken is left out, and the build begins anew.
///
/// # Errors
/// [`ExecutorError::Invalid`] before anything was done, the others from the first step that failed; what was done by
/// then is remembered for the next build.
pub fn build(
    options: &Options,
    images: &dyn Source,
    remote: &dyn Remote,
    store: &Store,
    reporter: &dyn Reporter,
) -> Result<BuildReport, ExecutorError> {
    // What was done in place cannot be done again.
    let sources = match options.live_root {
        None => options.imports.as_slice(),
        Some(_) => &[],
    };
    let imports = Arc::new(Imports::begin(sources, options.now));
    let result = build_with(&imports, options, images, remote, store, reporter);
    imports.report(reporter);
    let Some((name, reason)) = imports.spoiled() else {
        return result;
    };
    if matches!(
        result,
        Err(ExecutorError::Invalid(_) | ExecutorError::Command { .. })
    ) || options.cancellation.is_cancelled()
    {
        return result;
    }
    let message = format!("the cache {name} is broken, building without it: {reason}");
    reporter.warn(&Diagnostic::new(Severity::Warning, "cache", message));
    drop(result);
    build_with(
        &Arc::new(Imports::none()),
        options,
        images,
        remote,
        store,
        reporter,
    )
}

fn build_with(
    imports: &Arc<Imports>,
    options: &Options,
    images: &dyn Source,
    remote: &dyn Remote,
    store: &Store,
    reporter: &dyn Reporter,
) -> Result<BuildReport, ExecutorError> {
    let dockerfile = Dockerfile::parse(options.name.clone(), options.dockerfile.clone())
        .map_err(ExecutorError::Invalid)?;
    let powers = Powers::look();
    let origins = Origins::new(options, images);
    let context = origins.context()?;
    let contexts: BTreeSet<String> = options.contexts.keys().cloned().collect();
    let mut plan = dockerfile
        .plan(&PlanOptions {
            target: options.target.as_deref(),
            build_args: &options.build_args,
            platforms: options.platforms.clone(),
            contexts: &contexts,
            ignore: Some(&context.ignore),
        })
        .map_err(invalid)?;
    let bases = find_bases(&mut plan, &origins)?;
    if options.live_root.is_some() {
        check_single_stage(&plan)?;
    }
    let (works, findings) = evaluate(&plan, &bases, reporter)?;
    let epoch = source_date_epoch(&plan, options)?;
    let build = Build {
        options,
        remote,
        store,
        reporter,
        powers,
        context,
        origins,
        imports: Arc::clone(imports),
        epoch,
        now: epoch.map_or(options.now, |epoch| options.now.min(epoch)),
        known: KnownFiles::new(store, context_path(options, store)),
        ladder: Ladder::new(isolation(options), options.host.clone()),
        recorder: Recorder::new(store, options.session.clone()),
        slots: Slots::new(options.parallelism),
        progress: reporter.progress(),
        results: Mutex::default(),
        changed: Condvar::new(),
        binds: Mutex::default(),
        filling: Mutex::default(),
        mounts: Mutex::default(),
        executed: AtomicUsize::new(0),
        cached: AtomicUsize::new(0),
        rung: Mutex::default(),
    };
    let worked = build.work(&works, &bases);
    build.known.save().map_err(StepError::from).map_err(|error| {
        let diagnostic = Diagnostic::error("store", "what is known of the context cannot be kept");
        ExecutorError::Failed(diagnostic.caused_by(&error))
    })?;
    worked?;
    let image = build.assemble(plan.target().index)?;
    let used_images = build.origins.used();
    let base_layers = build.base_layers(plan.target().index);
    Ok(BuildReport {
        base_layers,
        used_images,
        image,
        findings,
        executed: build.executed.into_inner(),
        cached: build.cached.into_inner(),
        isolation: build.rung.into_inner().unwrap_or_else(PoisonError::into_inner),
        recorder: build.recorder,
        imports: build.imports,
        mounts: build.mounts.into_inner().unwrap_or_else(PoisonError::into_inner),
    })
}

/// What RUN sees of a live root is the container around it, which is kept apart from the host already.
fn isolation(options: &Options) -> IsolationMode {
    match options.isolation {
        IsolationMode::Automatic if options.live_root.is_some() => IsolationMode::Forced(Rung::Chroot),
        mode => mode,
    }
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

/// The context, if it will be at the same place in the next build: what was unpacked for this one will not.
fn context_path<'o>(options: &'o Options, store: &Store) -> Option<&'o Path> {
    match &options.context {
        BuildContext::Directory(path) if !path.starts_with(store.path()) => Some(path),
        BuildContext::Directory(_) | BuildContext::Empty => None,
    }
}

fn invalid(diagnostic: Diagnostic) -> ExecutorError {
    ExecutorError::Invalid(vec![diagnostic])
}

/// What stages without a stage below them start from, by index.
type Bases = BTreeMap<usize, Base>;

#[derive(Debug, Clone)]
struct Base {
    config: ImageConfig,
    stack: Stack,
}

/// Finds the bases of all stages that are needed. Triggers of a base may need further stages (G14).
fn find_bases(plan: &mut Plan<'_>, origins: &Origins<'_>) -> Result<Bases, ExecutorError> {
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
        let base = find_base(stage, &platform, origins)?;
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
    match origins
        .named(name, platform)
        .map_err(|error| error.at(span.clone()))?
    {
        Named::Image(image) => Ok(Base {
            config: image.0.config().clone(),
            stack: image.1.clone(),
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

/// A stage, ready to be carried out.
#[derive(Debug)]
pub(crate) struct StageWork {
    pub(crate) index: usize,
    /// The name, or `stage-N`.
    pub(crate) name: String,
    /// The name as written, in lower case.
    pub(crate) written_name: Option<String>,
    pub(crate) platform: Platform,
    pub(crate) steps: Vec<Step>,
    base: StageBase,
    adds_path: bool,
}

/// Evaluates all stages that are needed, in order, before any is carried out.
fn evaluate(
    plan: &Plan<'_>,
    bases: &Bases,
    reporter: &dyn Reporter,
) -> Result<(Vec<StageWork>, Vec<Diagnostic>), ExecutorError> {
    let mut evaluations: HashMap<usize, Evaluation> = HashMap::new();
    let mut works = Vec::new();
    let mut findings = plan.findings().to_vec();
    let told = |findings: &[Diagnostic]| findings.iter().for_each(|finding| reporter.warn(finding));
    for stage in plan.stages() {
        let config = bases.get(&stage.index).map(|base| base_config(&base.config));
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
                findings.extend(stopped.findings);
                told(&findings);
                return Err(invalid(stopped.error));
            }
        };
        findings.extend(evaluation.findings.iter().cloned());
        works.push(StageWork {
            index: stage.index,
            name: stage.display_name(),
            written_name: stage.written.name().map(str::to_owned),
            platform: plan.platform_of(stage).clone(),
            steps: evaluation.steps.clone(),
            base: stage.base.clone(),
            adds_path: evaluation.adds_path,
        });
        evaluations.insert(stage.index, evaluation);
    }
    told(&findings);
    match plan.verdict_on(&findings) {
        Some(error) => Err(invalid(error)),
        None => Ok((works, findings)),
    }
}

/// The latest time in the image (M5).
fn source_date_epoch(plan: &Plan<'_>, options: &Options) -> Result<Option<i64>, ExecutorError> {
    let Some(text) = plan.source_date_epoch() else {
        return Ok(options.epoch);
    };
    match text.parse::<i64>() {
        Ok(epoch) if epoch >= 0 => Ok(Some(epoch)),
        _ => Err(invalid(
            Diagnostic::error(
                "invalid-epoch",
                format!("SOURCE_DATE_EPOCH {text:?} is not a number of seconds since 1970"),
            )
            .help("times that are taken from a context are not supported; give the number"),
        )),
    }
}

/// A build at work.
#[derive(Debug)]
pub(crate) struct Build<'b> {
    pub(crate) options: &'b Options,
    pub(crate) remote: &'b dyn Remote,
    pub(crate) store: &'b Store,
    pub(crate) reporter: &'b dyn Reporter,
    pub(crate) powers: Powers,
    pub(crate) context: SourceFiles,
    pub(crate) origins: Origins<'b>,
    pub(crate) imports: Arc<Imports>,
    /// No time is later than this.
    pub(crate) epoch: Option<i64>,
    /// The time of what is made.
    pub(crate) now: i64,
    ladder: Ladder,
    pub(crate) known: KnownFiles,
    pub(crate) recorder: Recorder,
    pub(crate) slots: Slots,
    pub(crate) progress: Arc<dyn Progress>,
    /// How stages ended; nothing for one that failed.
    results: Mutex<HashMap<usize, Option<Arc<StageResult>>>>,
    changed: Condvar,
    /// What read-only bind mounts show, by content.
    binds: Mutex<HashMap<Key, Arc<Scratch>>>,
    filling: Mutex<()>,
    /// Cache mounts that commands were given: the name in the store, and the key elsewhere.
    mounts: Mutex<BTreeMap<String, Key>>,
    executed: AtomicUsize,
    cached: AtomicUsize,
    rung: Mutex<Option<Rung>>,
}

impl Build<'_> {
    pub(crate) fn roots(&self) -> Roots<'_> {
        Roots {
            store: self.store,
            powers: self.powers,
            progress: &*self.progress,
        }
    }

    /// How commands are run here.
    pub(crate) fn standing(&self) -> Result<Standing, StepError> {
        let standing = self.ladder.stand(self.store, self.powers, self.reporter)?;
        *lock(&self.rung) = Some(standing.rung);
        Ok(standing)
    }

    pub(crate) fn count(&self, was_cached: bool) {
        let counter = if was_cached { &self.cached } else { &self.executed };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// One at a time: filling a cache that others may be looking at.
    pub(crate) fn filling(&self) -> MutexGuard<'_, ()> {
        lock(&self.filling)
    }

    /// Notes that a command was given a cache mount.
    pub(crate) fn note_mount(&self, name: String, key: Key) {
        lock(&self.mounts).insert(name, key);
    }

    /// The directory with these contents, which is made when nobody has asked for it before.
    pub(crate) fn shared_bind(
        &self,
        key: &Key,
        fill: impl FnOnce() -> Result<Arc<Scratch>, StepError>,
    ) -> Result<Arc<Scratch>, StepError> {
        let mut binds = lock(&self.binds);
        if let Some(known) = binds.get(key) {
            return Ok(Arc::clone(known));
        }
        let scratch = fill()?;
        binds.insert(key.clone(), Arc::clone(&scratch));
        Ok(scratch)
    }

    /// Says what could not be unpacked here.
    pub(crate) fn report_skipped(&self, trees: &[Arc<LayerTree>]) {
        let skipped = trees.iter().filter(|tree| tree.is_first_look());
        for (path, what, reason) in skipped.flat_map(|tree| &tree.tree.skipped) {
            let message = format!("/{path}: {what} left out: {reason}");
            self.reporter
                .warn(&Diagnostic::new(Severity::Warning, "left-out", message));
        }
    }

    /// Works on all stages, each on a thread; in order, so that a stage that waits for another always waits for one
    /// that somebody works on.
    fn work(&self, works: &[StageWork], bases: &Bases) -> Result<(), ExecutorError> {
        let next = AtomicUsize::new(0);
        let failure: Mutex<Option<ExecutorError>> = Mutex::default();
        let run = || {
            while let Some(work) = works.get(next.fetch_add(1, Ordering::Relaxed)) {
                let result = self.stage(work, bases);
                let result = match result {
                    Ok(result) => Some(Arc::new(result)),
                    Err(error) => {
                        let mut failure = lock(&failure);
                        // The first failure stops the others, whose errors follow from that.
                        let is_consequence = matches!(error, ExecutorError::Cancelled);
                        if failure
                            .as_ref()
                            .is_none_or(|known| matches!(known, ExecutorError::Cancelled) && !is_consequence)
                        {
                            *failure = Some(error);
                        }
                        self.slots.stop();
                        None
                    }
                };
                lock(&self.results).insert(work.index, result);
                self.changed.notify_all();
            }
        };
        std::thread::scope(|scope| {
            scope.spawn(|| self.slots.watch(&self.options.cancellation));
            let workers: Vec<_> = (0..works.len().min(MOST_STAGES))
                .map(|_| scope.spawn(run))
                .collect();
            let ended: Vec<_> = workers
                .into_iter()
                .map(std::thread::ScopedJoinHandle::join)
                .collect();
            self.slots.close();
            for result in ended {
                if let Err(panic) = result {
                    std::panic::resume_unwind(panic);
                }
            }
        });
        match lock(&failure).take() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    fn stage(&self, work: &StageWork, bases: &Bases) -> Result<StageResult, ExecutorError> {
        let base = match (&work.base, bases.get(&work.index)) {
            (StageBase::Stage(index), _) => {
                let parent = self.wait_for(*index).map_err(|_| ExecutorError::Cancelled)?;
                let mut base = (*parent).clone();
                begin(&mut base.config, false);
                base
            }
            (_, Some(base)) => {
                let mut config = base.config.clone();
                let base_lines = base_history(&config, base.stack.layers.len());
                // A context in place of the stage is taken as it is (F9).
                if !matches!(work.base, StageBase::Context(_)) {
                    begin(&mut config, work.adds_path);
                }
                StageResult {
                    stack: base.stack.clone(),
                    config,
                    base_lines,
                    lines: Vec::new(),
                    is_fresh: false,
                }
            }
            (_, None) => return Err(ExecutorError::Cancelled),
        };
        let runner = StageRunner::new(self, work, base).map_err(|error| match work.steps.first() {
            Some(step) => error.at(&step.span),
            None => ExecutorError::Failed(
                Diagnostic::error("stage", format!("the stage {} cannot begin", work.name)).caused_by(&error),
            ),
        })?;
        runner.run()
    }

    /// The result of another stage, as soon as it is there.
    pub(crate) fn wait_for(&self, index: usize) -> Result<Arc<StageResult>, StepError> {
        let mut results = lock(&self.results);
        loop {
            match results.get(&index) {
                Some(Some(result)) => return Ok(Arc::clone(result)),
                Some(None) => return Err(StepError::Dependency),
                None => {}
            }
            results = self.changed.wait(results).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Layers of the target that come from its base image: one for each line of the base's history that has one.
    fn base_layers(&self, target: usize) -> usize {
        let lines = |result: Arc<StageResult>| {
            let lines = result.base_lines.iter();
            lines.filter(|line| !line.empty_layer).count()
        };
        self.wait_for(target).map_or(0, lines)
    }

    /// Puts the image of the target together (section L).
    fn assemble(&self, target: usize) -> Result<Image, ExecutorError> {
        let result = self.wait_for(target).map_err(|_| ExecutorError::Cancelled)?;
        let StageResult {
            stack,
            mut config,
            base_lines,
            mut lines,
            ..
        } = (*result).clone();
        // Without a layer of its own the image is as old as its base (L2).
        let base_time = base_lines.iter().rev().find_map(|line| line.created.clone());
        let created = fill_times(&mut lines, base_time.unwrap_or_else(|| timestamp(self.now)));
        set_labels(&mut config, &self.options.labels);
        config.created = Some(created);
        let mut history = base_lines;
        history.extend(lines);
        let platform = config.platform();
        let layers = stack.layers.iter();
        let image = layers.fold(Image::empty(&platform), |image, layer| {
            mutate::append(
                image,
                Arc::clone(&layer.layer),
                lifecycle_image::History::default(),
            )
        });
        config.rootfs = lifecycle_image::RootFs::default();
        config.history = history;
        Ok(mutate::configure(image, |fresh| *fresh = config))
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
