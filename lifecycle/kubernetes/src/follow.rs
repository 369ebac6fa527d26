//! Following a build to its end: its state from watches, its lines from log streams, whatever happens to either.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::stream::{BoxStream, SelectAll, StreamExt};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Event as Notice, Pod};
use kube::api::{ListParams, ObjectList, WatchEvent, WatchParams};
use tokio::sync::{mpsc, watch};
use tokio::time::error::Elapsed;
use tokio::time::timeout;

use crate::cluster::{Cluster, Server, is_passing};
use crate::error::ClusterError;
use crate::names;
use crate::pump::{Line, Pump};
use crate::state::{Hope, Outcome, State, examine};
use crate::submit::{attempt, name};

/// What happens to a build, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// It stands elsewhere now.
    State(State),
    /// The lines that follow are of this step.
    Step {
        /// Its name.
        step: String,
        /// The pod it runs in, counted from 1.
        attempt: usize,
    },
    /// A line that a step said.
    Line(String),
    /// Something about following itself: the server is away, a pod is gone.
    Note(String),
}

/// What a user wants of a build that is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// Let it run, without us.
    Detach,
    /// End it.
    Cancel,
}

/// Tells whoever follows a build what the user wants. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Control(Arc<watch::Sender<Option<Wish>>>);

impl Default for Control {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(None)))
    }
}

impl Control {
    /// The user wants this now. Whoever follows a build only later hears of it then.
    pub fn wish(&self, wish: Wish) {
        self.0.send_replace(Some(wish));
    }

    /// Waits until there is a wish.
    async fn wished(&self) -> Wish {
        let mut wishes = self.0.subscribe();
        loop {
            if let Some(wish) = *wishes.borrow_and_update() {
                return wish;
            }
            // `self` keeps the other end.
            drop(wishes.changed().await);
        }
    }
}

/// How following ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Followed {
    /// The build is over.
    ToTheEnd(Outcome),
    /// The user let it run.
    Detached,
}

impl Cluster {
    /// Follows a build to its end, and tells what happens. A build that cannot begin is removed after a while, and its
    /// outcome says why (JC-21). One that the user wants to end is left as it is: whoever submitted it knows what else
    /// there is to remove.
    pub fn follow(
        &self,
        id: &str,
        control: &Control,
        tell: &mut (dyn FnMut(Event) + Send),
    ) -> Result<Followed, ClusterError> {
        self.runtime.block_on(async {
            tokio::select! {
                biased;
                wish = control.wished() => Ok(match wish {
                    Wish::Detach => Followed::Detached,
                    Wish::Cancel => Followed::ToTheEnd(Outcome::Cancelled),
                }),
                outcome = self.api.follow(id, tell) => outcome.map(Followed::ToTheEnd),
            }
        })
    }
}

/// Something has changed.
enum Change {
    Job(Box<WatchEvent<Job>>),
    Pod(Box<WatchEvent<Pod>>),
    /// A watch has ended or failed.
    Broken(Option<kube::Error>),
}

/// What is known of a build.
struct Build {
    job: Job,
    pods: BTreeMap<String, Pod>,
    /// Where watches of Jobs and of pods go on.
    versions: [String; 2],
}

/// What a change means for whoever watches.
enum Heard {
    /// The build is known as it is now.
    News,
    /// What is known may not hold any more: look it up.
    Anew,
    /// It cannot be watched.
    Failed(kube::Error),
}

impl Build {
    fn state(&self, notices: &[Notice]) -> State {
        let pods: Vec<Pod> = self.pods.values().cloned().collect();
        examine(&self.job, &pods, notices)
    }

    fn hear(&mut self, change: Option<Change>) -> Heard {
        match change {
            Some(Change::Job(event)) => match *event {
                WatchEvent::Added(job) | WatchEvent::Modified(job) => self.job = job,
                WatchEvent::Bookmark(_) => {}
                WatchEvent::Deleted(_) | WatchEvent::Error(_) => return Heard::Anew,
            },
            Some(Change::Pod(event)) => match *event {
                WatchEvent::Added(pod) | WatchEvent::Modified(pod) => {
                    self.pods
                        .insert(pod.metadata.name.clone().unwrap_or_default(), pod);
                }
                WatchEvent::Bookmark(_) => {}
                WatchEvent::Deleted(pod) => {
                    self.pods.remove(&pod.metadata.name.unwrap_or_default());
                }
                // Too old (410): lists tell where to go on.
                WatchEvent::Error(_) => return Heard::Anew,
            },
            Some(Change::Broken(Some(error))) if !is_passing(&error) => return Heard::Failed(error),
            Some(Change::Broken(_)) | None => return Heard::Anew,
        }
        Heard::News
    }
}

impl Server {
    async fn follow(
        self: &Arc<Self>,
        id: &str,
        tell: &mut (dyn FnMut(Event) + Send),
    ) -> Result<Outcome, ClusterError> {
        let (lines, mut said) = mpsc::channel(256);
        let mut pump = Pump::new(lines);
        let mut told: Option<State> = None;
        let mut stuck: Option<Instant> = None;
        let mut notices = Vec::new();
        let mut pause = self.patience.pause;
        // From the outside in: each turn of this loop knows all anew, then hears of changes until a watch breaks.
        'anew: loop {
            let Some(mut build) = self.look_up(id).await? else {
                pump.finish(&BTreeMap::new());
                drain(&mut said, tell).await;
                return Ok(Outcome::Gone);
            };
            let mut changes = self.watch(&build).await;
            let mut heard = Instant::now();
            loop {
                for gone in pump.follow(self, &build.pods) {
                    tell(Event::Note(format!("the pod {gone} is gone")));
                }
                let state = build.state(&notices);
                if let State::Finished(mut outcome) = state {
                    // The watch of Jobs may be ahead of that of pods, which know how it ended.
                    if let Some(fresh) = self.look_up(id).await? {
                        build = fresh;
                        pump.follow(self, &build.pods);
                        if let State::Finished(known) = build.state(&notices) {
                            outcome = known;
                        }
                    }
                    pump.finish(&build.pods);
                    drain(&mut said, tell).await;
                    self.keep_result(&build, &outcome).await;
                    return Ok(outcome);
                }
                if told.as_ref() != Some(&state) {
                    tell(Event::State(state.clone()));
                }
                if let Some(waiting) = self.lost_patience(&state, &mut stuck) {
                    self.end(id).await?;
                    return Ok(Outcome::Rejected(waiting));
                }
                let is_pending = matches!(state, State::Pending(_));
                told = Some(state);
                tokio::select! {
                    biased;
                    Some(line) = said.recv() => tell_line(line, tell),
                    change = changes.next() => match build.hear(change) {
                        Heard::News => {
                            heard = Instant::now();
                            pause = self.patience.pause;
                        }
                        Heard::Anew => {
                            tokio::time::sleep(pause).await;
                            pause = (pause * 2).min(Duration::from_secs(10));
                            continue 'anew;
                        }
                        Heard::Failed(error) => {
                            return Err(ClusterError::of(error, attempt("watch", "jobs and pods"), &self.namespace));
                        }
                    },
                    () = tokio::time::sleep(self.patience.refusal.min(Duration::from_secs(5))) => {
                        // A watch on which nothing comes may be one that nothing can come on.
                        if heard.elapsed() >= self.patience.silence {
                            continue 'anew;
                        }
                        if is_pending {
                            notices = self.notices(id, build.pods.keys()).await;
                        }
                    }
                }
            }
        }
    }

    /// The Job and its pods, as they are now; `None` if there is no such Job.
    async fn look_up(&self, id: &str) -> Result<Option<Build>, ClusterError> {
        let named = ListParams::default().fields(&format!("metadata.name={id}"));
        let jobs = self.ask(attempt("list", "jobs"), || {
            let (jobs, named) = (self.all::<Job>(), named.clone());
            async move { jobs.list(&named).await }
        });
        let jobs = jobs.await?;
        let pods = self.pods(id).await?;
        let versions =
            [&jobs.metadata, &pods.metadata].map(|list| list.resource_version.clone().unwrap_or_default());
        let Some(job) = jobs.items.into_iter().next() else {
            return Ok(None);
        };
        let pods = pods
            .items
            .into_iter()
            .map(|pod| (pod.metadata.name.clone().unwrap_or_default(), pod));
        Ok(Some(Build {
            job,
            pods: pods.collect(),
            versions,
        }))
    }

    pub(crate) async fn job(&self, id: &str) -> Result<Job, ClusterError> {
        self.ask(attempt("get", "jobs"), || {
            let jobs = self.all::<Job>();
            async move { jobs.get(id).await }
        })
        .await
        .map_err(|error| match error {
            ClusterError::NoBuild(_) => ClusterError::NoBuild(id.to_owned()),
            other => other,
        })
    }

    pub(crate) async fn pods(&self, id: &str) -> Result<ObjectList<Pod>, ClusterError> {
        let ours = ListParams::default().labels(&format!("{}={id}", names::ID));
        let list = self.ask(attempt("list", "pods"), || {
            let (pods, ours) = (self.all::<Pod>(), ours.clone());
            async move { pods.list(&ours).await }
        });
        list.await
    }

    /// Both watches as one stream, from where the lists ended.
    async fn watch(&self, build: &Build) -> SelectAll<BoxStream<'static, Change>> {
        fn changes<K: 'static + Send>(
            watch: Result<
                Result<
                    impl futures_util::Stream<Item = Result<WatchEvent<K>, kube::Error>> + Send + 'static,
                    kube::Error,
                >,
                Elapsed,
            >,
            wrap: fn(Box<WatchEvent<K>>) -> Change,
        ) -> BoxStream<'static, Change> {
            match watch {
                Err(_) => futures_util::stream::iter([Change::Broken(None)]).boxed(),
                Ok(Err(error)) => futures_util::stream::iter([Change::Broken(Some(error))]).boxed(),
                Ok(Ok(events)) => events
                    .map(move |event| match event {
                        Ok(event) => wrap(Box::new(event)),
                        Err(error) => Change::Broken(Some(error)),
                    })
                    .chain(futures_util::stream::iter([Change::Broken(None)]))
                    .boxed(),
            }
        }
        let id = name(&build.job).to_owned();
        let jobs = WatchParams::default().fields(&format!("metadata.name={id}"));
        let pods = WatchParams::default().labels(&format!("{}={id}", names::ID));
        let [job_version, pod_version] = &build.versions;
        // A server answers at once, also when nothing happens.
        let silence = self.patience.silence;
        let (all_jobs, all_pods) = (self.all::<Job>(), self.all::<Pod>());
        let jobs = timeout(silence, all_jobs.watch(&jobs, job_version)).await;
        let pods = timeout(silence, all_pods.watch(&pods, pod_version)).await;
        let mut all = SelectAll::new();
        all.push(changes(jobs, Change::Job));
        all.push(changes(pods, Change::Pod));
        all
    }

    /// What the cluster says about a Job and its pods. Whoever may not read that follows without.
    pub(crate) async fn notices<'a>(
        &self,
        job: &'a str,
        pods: impl Iterator<Item = &'a String>,
    ) -> Vec<Notice> {
        let mut notices = Vec::new();
        for object in std::iter::once(job).chain(pods.map(String::as_str)) {
            let about = ListParams::default().fields(&format!("involvedObject.name={object}"));
            if let Ok(list) = self.all::<Notice>().list(&about).await {
                notices.extend(list.items);
            }
        }
        notices.sort_by_key(|notice| notice.last_timestamp.clone());
        notices
    }

    /// Ends a build whose user waits for that.
    async fn end(&self, id: &str) -> Result<(), ClusterError> {
        const SHORT: Duration = Duration::from_secs(15);
        let ended = timeout(SHORT, self.delete(id)).await;
        ended.unwrap_or_else(|_| {
            Err(ClusterError::Unreachable(format!(
                "the build {id} still runs; `lifecycle jobs delete {id}` ends it"
            )))
        })
    }

    /// Whether a build has waited for longer than makes sense.
    fn lost_patience(&self, state: &State, stuck: &mut Option<Instant>) -> Option<crate::Waiting> {
        let State::Pending(Some(waiting)) = state else {
            *stuck = None;
            return None;
        };
        match waiting.hope {
            Hope::None => Some(waiting.clone()),
            Hope::Slight => {
                // ErrImagePull and ImagePullBackOff take turns; the clock goes on.
                let since = stuck.get_or_insert_with(Instant::now);
                (since.elapsed() >= self.patience.refusal).then(|| waiting.clone())
            }
            Hope::Likely | Hope::Possible => {
                *stuck = None;
                None
            }
        }
    }

    /// Writes what was made on the Job, where it outlives the pod (JC-23).
    async fn keep_result(&self, build: &Build, outcome: &Outcome) {
        if let Outcome::Succeeded(Some(result)) = outcome {
            let annotations = serde_json::json!({ names::RESULT: result.to_message() });
            let change = serde_json::json!({ "metadata": { "annotations": annotations } });
            // Who may not change Jobs, or finds it gone, has the result all the same.
            drop(self.patch(name(&build.job), &change).await);
        }
    }
}

fn tell_line(line: Line, tell: &mut (dyn FnMut(Event) + Send)) {
    tell(match line {
        Line::Step { step, attempt } => Event::Step { step, attempt },
        Line::Text(text) => Event::Line(text),
        Line::Note(text) => Event::Note(text),
    });
}

/// The last lines of a build that has ended; a log that does not end is not waited for.
async fn drain(said: &mut mpsc::Receiver<Line>, tell: &mut (dyn FnMut(Event) + Send)) {
    /// The kubelet keeps the lines of an ended pod; they come at once or not at all.
    const REST: Duration = Duration::from_secs(20);
    let until = Instant::now() + REST;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        match timeout(left, said.recv()).await {
            Ok(Some(line)) => tell_line(line, tell),
            Ok(None) => return,
            Err(_) => return tell(Event::Note("the rest of the log does not come".to_owned())),
        }
    }
}
