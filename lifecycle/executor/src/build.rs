//! The build as a whole: plan, stages at work at the same time, the image at the end.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use lifecycle_diagnostics::{Diagnostic, Severity};
use lifecycle_dockerfile::{Dockerfile, Platform, Platforms, StageBase};
use lifecycle_image::{Image, Layer, Progress, mutate};
use lifecycle_layers::RepackedLayer;
use lifecycle_sandbox::Rung;
use lifecycle_store::{Expected, Scratch, Store};

use crate::cache::Imports;
use crate::configure::{base_history, begin, fill_times, set_labels, timestamp};
use crate::copy::known::KnownFiles;
use crate::copy::select::SourceFiles;
use crate::error::{ExecutorError, StepError, invalid};
use crate::key::Key;
use crate::ladder::{Ladder, Standing};
use crate::options::{BuildContext, IsolationMode, Options};
use crate::origin::Origins;
use crate::planning::{Planned, StageWork, plan};
use crate::powers::Powers;
use crate::recorder::Recorder;
use crate::remote::Remote;
use crate::report::{BuildReport, Ingredient};
use crate::reporter::{Reporter, StepOutcome};
use crate::sharing::SharedSteps;
use crate::slots::Slots;
use crate::stack::{LayerTree, Roots};
use crate::stage::{StageResult, StageRunner};
use crate::surroundings::Surroundings;

/// The most stages at work at the same time; each has a thread.
const MOST_STAGES: usize = 64;

/// Builds the image for the platform that the options name.
///
/// A cache elsewhere that turns out to be broken is left out, and the build begins anew.
///
/// # Errors
/// [`ExecutorError::Invalid`] before anything was done, the others from the first step that failed; what was done by
/// then is remembered for the next build.
pub fn build(options: &Options, surroundings: Surroundings<'_>) -> Result<BuildReport, ExecutorError> {
    let target = std::slice::from_ref(&options.platforms.target);
    let mut reports = build_all(options, target, surroundings)?;
    reports.pop().ok_or(ExecutorError::Cancelled)
}

/// Builds images for several platforms at the same time, as parts of one build: what is the same for some of them is
/// done once (F12). The reports are in the order of the platforms.
///
/// # Errors
/// As [`build`].
pub fn build_all(
    options: &Options,
    targets: &[Platform],
    surroundings: Surroundings<'_>,
) -> Result<Vec<BuildReport>, ExecutorError> {
    let reporter = surroundings.reporter;
    // What was done in place cannot be done again.
    let sources = match options.live_root {
        None => options.imports.as_slice(),
        Some(_) => &[],
    };
    let imports = Arc::new(Imports::begin(sources, options.now));
    let result = build_with(&imports, options, targets, surroundings);
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
    let none = Arc::new(Imports::none());
    build_with(&none, options, targets, surroundings)
}

fn build_with(
    imports: &Arc<Imports>,
    options: &Options,
    targets: &[Platform],
    surroundings: Surroundings<'_>,
) -> Result<Vec<BuildReport>, ExecutorError> {
    let Surroundings {
        images,
        remote,
        store,
        reporter,
    } = surroundings;
    let dockerfile = Dockerfile::parse(options.name.clone(), options.dockerfile.clone())
        .map_err(ExecutorError::Invalid)?;
    let powers = Powers::look();
    let origins = Origins::new(options, images);
    let context = origins.context()?;
    let planned = plan_all(&dockerfile, options, targets, &context, &origins)?;
    tell(&planned, reporter);
    if let Some(refused) = planned.iter().find_map(|planned| planned.refused.clone()) {
        return Err(invalid(refused));
    }
    let epoch = source_date_epoch(&planned, options)?;
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
        recorder: Arc::new(Recorder::new(store)),
        slots: Slots::new(options.parallelism),
        shared: SharedSteps::default(),
        progress: reporter.progress(),
        results: Mutex::default(),
        changed: Condvar::new(),
        binds: Mutex::default(),
        filling: Mutex::default(),
        mounts: Mutex::default(),
        members: planned.iter().map(|planned| Member::new(&planned.used)).collect(),
        rung: Mutex::default(),
    };
    let works: Vec<&StageWork> = planned.iter().flat_map(|planned| &planned.works).collect();
    let worked = build.work(&works);
    build.known.save().map_err(StepError::from).map_err(|error| {
        let diagnostic = Diagnostic::error("store", "what is known of the context cannot be kept");
        ExecutorError::Failed(diagnostic.caused_by(&error))
    })?;
    worked?;
    let reports = planned.iter().enumerate();
    reports
        .map(|(member, planned)| build.report(member, planned))
        .collect()
}

/// Plans all platforms at the same time: each has to ask for its base images.
fn plan_all(
    dockerfile: &Dockerfile,
    options: &Options,
    targets: &[Platform],
    context: &SourceFiles,
    origins: &Origins<'_>,
) -> Result<Vec<Planned>, ExecutorError> {
    let plan_one = |(member, target): (usize, &Platform)| {
        let platforms = Platforms {
            build: options.platforms.build.clone(),
            target: target.clone(),
        };
        let mut planned = plan(dockerfile, options, &platforms, &context.ignore, origins)?;
        let label = (targets.len() > 1).then(|| target.to_string());
        planned.belongs_to(member, label.as_deref());
        Ok(planned)
    };
    std::thread::scope(|scope| {
        let plans = targets.iter().enumerate();
        let plans: Vec<_> = plans.map(|one| scope.spawn(move || plan_one(one))).collect();
        let plans = plans.into_iter().map(|plan| match plan.join() {
            Ok(planned) => planned,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        plans.collect()
    })
}

/// Tells what the build checks found; what is the same for several platforms once.
fn tell(planned: &[Planned], reporter: &dyn Reporter) {
    let mut told: Vec<&Diagnostic> = Vec::new();
    for finding in planned.iter().flat_map(|planned| &planned.findings) {
        if !told.contains(&finding) {
            reporter.warn(finding);
            told.push(finding);
        }
    }
}

/// What RUN sees of a live root is the container around it, which is kept apart from the host already.
fn isolation(options: &Options) -> IsolationMode {
    match options.isolation {
        IsolationMode::Automatic if options.live_root.is_some() => IsolationMode::Forced(Rung::Chroot),
        mode => mode,
    }
}

/// The context, if it will be at the same place in the next build: what was unpacked for this one will not.
fn context_path<'o>(options: &'o Options, store: &Store) -> Option<&'o Path> {
    match &options.context {
        BuildContext::Directory(path) if !path.starts_with(store.path()) => Some(path),
        BuildContext::Directory(_) | BuildContext::Empty => None,
    }
}

/// The latest time in the image (M5).
fn source_date_epoch(planned: &[Planned], options: &Options) -> Result<Option<i64>, ExecutorError> {
    let Some(text) = planned.first().and_then(|planned| planned.epoch.as_deref()) else {
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

/// A stage by the image that it is for and its place in the file.
type StageOf = (usize, usize);

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
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) slots: Slots,
    pub(crate) shared: SharedSteps,
    pub(crate) progress: Arc<dyn Progress>,
    /// How stages ended; nothing for one that failed.
    results: Mutex<HashMap<StageOf, Option<Arc<StageResult>>>>,
    changed: Condvar,
    /// What read-only bind mounts show, by content.
    binds: Mutex<HashMap<Key, Arc<Scratch>>>,
    filling: Mutex<()>,
    /// Cache mounts that commands were given: the name in the store, and the key elsewhere.
    mounts: Mutex<BTreeMap<String, Key>>,
    members: Vec<Member>,
    rung: Mutex<Option<Rung>>,
}

/// What is noted for one of the build's images.
#[derive(Debug)]
struct Member {
    executed: AtomicUsize,
    cached: AtomicUsize,
    used: Mutex<BTreeSet<Ingredient>>,
}

impl Member {
    fn new(used: &BTreeSet<Ingredient>) -> Self {
        Self {
            executed: AtomicUsize::new(0),
            cached: AtomicUsize::new(0),
            used: Mutex::new(used.clone()),
        }
    }
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

    pub(crate) fn count(&self, member: usize, outcome: StepOutcome) {
        let member = &self.members[member];
        let counter = match outcome {
            StepOutcome::Done => &member.executed,
            StepOutcome::Cached => &member.cached,
            // It counts where it was carried out.
            StepOutcome::Shared | StepOutcome::Failed => return,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes what was used for an image.
    pub(crate) fn note_used(&self, member: usize, used: impl IntoIterator<Item = Ingredient>) {
        lock(&self.members[member].used).extend(used);
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
    fn work(&self, works: &[&StageWork]) -> Result<(), ExecutorError> {
        let next = AtomicUsize::new(0);
        let failure: Mutex<Option<ExecutorError>> = Mutex::default();
        let run = || {
            while let Some(work) = works.get(next.fetch_add(1, Ordering::Relaxed)) {
                let result = self.stage(work);
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
                lock(&self.results).insert((work.member, work.index), result);
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

    fn stage(&self, work: &StageWork) -> Result<StageResult, ExecutorError> {
        let base = match (&work.base, &work.image) {
            (StageBase::Stage(index), _) => {
                let parent = self.wait_for(work.member, *index);
                let parent = parent.map_err(|_| ExecutorError::Cancelled)?;
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
    pub(crate) fn wait_for(&self, member: usize, index: usize) -> Result<Arc<StageResult>, StepError> {
        let mut results = lock(&self.results);
        loop {
            match results.get(&(member, index)) {
                Some(Some(result)) => return Ok(Arc::clone(result)),
                Some(None) => return Err(StepError::Dependency),
                None => {}
            }
            results = self.changed.wait(results).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn report(&self, member: usize, planned: &Planned) -> Result<BuildReport, ExecutorError> {
        let result = self.wait_for(member, planned.target);
        let result = result.map_err(|_| ExecutorError::Cancelled)?;
        // One for each line of the base's history that has one.
        let base_layers = result.base_lines.iter().filter(|line| !line.empty_layer).count();
        let image = self.assemble(&result, base_layers).map_err(|error| {
            let diagnostic = Diagnostic::error("layer", "a layer of the image cannot be had");
            ExecutorError::Failed(diagnostic.caused_by(&error))
        })?;
        let Member {
            executed,
            cached,
            used,
        } = &self.members[member];
        Ok(BuildReport {
            image,
            findings: planned.findings.clone(),
            executed: executed.load(Ordering::Relaxed),
            cached: cached.load(Ordering::Relaxed),
            isolation: *lock(&self.rung),
            base_layers,
            ingredients: lock(used).iter().cloned().collect(),
            recorder: Arc::clone(&self.recorder),
            imports: Arc::clone(&self.imports),
            mounts: lock(&self.mounts).clone(),
        })
    }

    /// Puts an image together (section L).
    fn assemble(&self, result: &StageResult, base_layers: usize) -> Result<Image, StepError> {
        let StageResult {
            stack,
            mut config,
            base_lines,
            mut lines,
            ..
        } = result.clone();
        // Without a layer of its own the image is as old as its base (L2).
        let base_time = base_lines.iter().rev().find_map(|line| line.created.clone());
        let created = fill_times(&mut lines, base_time.unwrap_or_else(|| timestamp(self.now)));
        set_labels(&mut config, &self.options.labels);
        config.created = Some(created);
        let mut history = base_lines;
        history.extend(lines);
        let platform = config.platform();
        let mut image = Image::empty(&platform);
        for (at, layer) in stack.layers.iter().enumerate() {
            let layer = if at < base_layers {
                Arc::clone(&layer.layer)
            } else {
                self.in_form(&layer.layer)?
            };
            image = mutate::append(image, layer, lifecycle_image::History::default());
        }
        config.rootfs = lifecycle_image::RootFs::default();
        config.history = history;
        Ok(mutate::configure(image, |fresh| *fresh = config))
    }

    /// A layer of ours in the form of this build's image. An earlier build may have had it in another image, or in none.
    fn in_form(&self, layer: &Arc<dyn Layer>) -> Result<Arc<dyn Layer>, StepError> {
        let packing = self.options.packing;
        let fits = layer.media_type().compression() == Some(packing.compression);
        let Some(own) = layer.known() else {
            // In the making.
            return if fits {
                Ok(Arc::clone(layer))
            } else {
                self.repack(layer)
            };
        };
        let diff_id = layer.diff_id()?;
        match self.store.formed(&diff_id, &packing)? {
            Some(formed) if formed.known().is_some_and(|formed| formed.digest == own.digest) => {}
            Some(formed) => return Ok(Arc::new(formed)),
            // From a cache elsewhere it comes as it is.
            None if fits && self.store.layer(&diff_id)?.is_none() => {}
            None => return self.repack(layer),
        }
        Ok(Arc::clone(layer))
    }

    fn repack(&self, layer: &Arc<dyn Layer>) -> Result<Arc<dyn Layer>, StepError> {
        Ok(self.store.pack(
            Arc::new(RepackedLayer::new(Arc::clone(layer))),
            self.options.packing,
            Expected::known(layer.diff_id()?, &[]),
            Arc::clone(&self.progress),
        ))
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
