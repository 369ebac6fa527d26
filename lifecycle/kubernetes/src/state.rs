//! Where a build stands: what Job, pods and events together mean. Pure, so that every case has a test.

use std::fmt;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ContainerState, ContainerStateTerminated, ContainerStatus, Event, Pod};

use crate::names;
use crate::result::BuildResult;

/// Where a build stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Suspended: a queue decides when it may run.
    Queued,
    /// It is to run, but nothing of it runs yet.
    Pending(Option<Waiting>),
    /// A step runs.
    Running {
        /// Its name.
        step: String,
        /// The pod it runs in, counted from 1.
        attempt: usize,
    },
    /// It is over.
    Finished(Outcome),
}

/// Why nothing runs yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// Kubernetes' word for it.
    pub reason: String,
    /// What it says about it.
    pub message: String,
    /// Whether waiting may help.
    pub hope: Hope,
}

/// Whether waiting may help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hope {
    /// It happens while a pod starts.
    Likely,
    /// It heals when somebody gives way, or a node comes.
    Possible,
    /// It heals only when somebody mends it: not worth more than a short wait (JC-21).
    Slight,
    /// It never heals.
    None,
}

/// How a build ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The image is made.
    Succeeded(Option<BuildResult>),
    /// A step ended by itself.
    Failed {
        /// Its name.
        step: String,
        /// The pod it ran in.
        pod: String,
        /// Its exit code.
        code: i32,
        /// The last it said.
        message: String,
    },
    /// A step was ended because it used more memory than its limit.
    OutOfMemory {
        /// Its name.
        step: String,
    },
    /// The pod was ended: it used more disk than its limit, or its node needed the room.
    Evicted {
        /// What the kubelet says.
        message: String,
    },
    /// It took longer than `--timeout`.
    TimedOut,
    /// Somebody asked for its end.
    Cancelled,
    /// The cluster does not run it.
    Rejected(Waiting),
    /// There is no such build any more (JC-26).
    Gone,
}

impl Outcome {
    /// What a process that followed the build ends with: the code of the step that failed, else one of our own that no
    /// phase has (JC-22).
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Succeeded(_) => 0,
            Self::Failed { code, .. } => u8::try_from(*code).unwrap_or(1).max(1),
            Self::Cancelled => 110,
            Self::TimedOut => 111,
            Self::Evicted { .. } => 112,
            Self::OutOfMemory { .. } => 113,
            Self::Rejected(_) | Self::Gone => 114,
        }
    }

    /// One word for tables.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Succeeded(_) => "Succeeded",
            Self::Failed { .. } => "Failed",
            Self::OutOfMemory { .. } => "OutOfMemory",
            Self::Evicted { .. } => "Evicted",
            Self::TimedOut => "TimedOut",
            Self::Cancelled => "Cancelled",
            Self::Rejected(_) => "Rejected",
            Self::Gone => "Gone",
        }
    }
}

impl State {
    /// One word for tables.
    pub fn word(&self) -> String {
        match self {
            Self::Queued => "Queued".to_owned(),
            Self::Pending(_) => "Pending".to_owned(),
            Self::Running { step, .. } => format!("Running({step})"),
            Self::Finished(outcome) => outcome.word().to_owned(),
        }
    }

    /// What there is to say about it; empty if the word says it all.
    pub fn reason(&self) -> String {
        match self {
            Self::Pending(Some(waiting)) | Self::Finished(Outcome::Rejected(waiting)) => waiting.to_string(),
            Self::Finished(Outcome::Failed {
                step, code, message, ..
            }) => {
                let message = message.lines().next_back().unwrap_or_default();
                format!("{step} ended with {code}: {message}")
            }
            Self::Finished(Outcome::OutOfMemory { step }) => {
                format!("{step} used more memory than its limit")
            }
            Self::Finished(Outcome::Evicted { message }) => message.clone(),
            _ => String::new(),
        }
    }
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.message.is_empty() {
            f.write_str(&self.reason)
        } else {
            write!(f, "{}: {}", self.reason, self.message)
        }
    }
}

/// What a Job, its pods in any order, and what was said about them, mean.
pub(crate) fn examine(job: &Job, pods: &[Pod], events: &[Event]) -> State {
    let mut pods: Vec<&Pod> = pods.iter().collect();
    pods.sort_by_key(|pod| pod.metadata.creation_timestamp.clone());
    if let Some(outcome) = outcome(job, &pods) {
        return State::Finished(outcome);
    }
    if job.spec.as_ref().is_some_and(|spec| spec.suspend == Some(true)) {
        return State::Queued;
    }
    let Some((attempt, pod)) = pods.iter().enumerate().rfind(|(_, pod)| is_active(pod)) else {
        return State::Pending(refusal(events));
    };
    if let Some(step) = running(pod) {
        return State::Running {
            step,
            attempt: attempt + 1,
        };
    }
    State::Pending(waiting(pod, events))
}

fn outcome(job: &Job, pods: &[&Pod]) -> Option<Outcome> {
    let annotations = job.metadata.annotations.as_ref();
    let annotation = |name: &str| annotations.and_then(|annotations| annotations.get(name));
    let conditions = job
        .status
        .iter()
        .flat_map(|status| status.conditions.iter().flatten());
    let mut conditions = conditions.filter(|condition| condition.status == "True");
    let finished = conditions.find(|condition| matches!(condition.type_.as_str(), "Complete" | "Failed"));
    let Some(finished) = finished else {
        let is_over = !pods.iter().any(|pod| is_active(pod));
        return (annotation(names::CANCELLED).is_some() && is_over).then_some(Outcome::Cancelled);
    };
    if finished.type_ == "Complete" {
        let message = || pods.iter().rev().find_map(|pod| result(pod));
        let annotated = || BuildResult::of_message(annotation(names::RESULT)?);
        return Some(Outcome::Succeeded(message().or_else(annotated)));
    }
    if annotation(names::CANCELLED).is_some() {
        return Some(Outcome::Cancelled);
    }
    if finished.reason.as_deref() == Some("DeadlineExceeded") {
        return Some(Outcome::TimedOut);
    }
    let failed = pods.iter().rev().find_map(|pod| failure(pod));
    Some(failed.unwrap_or_else(|| Outcome::Failed {
        step: "build".to_owned(),
        pod: String::new(),
        code: 1,
        message: finished.message.clone().unwrap_or_default(),
    }))
}

/// How a pod that failed failed.
fn failure(pod: &Pod) -> Option<Outcome> {
    let status = pod.status.as_ref()?;
    let ended = statuses(pod).find_map(|container| {
        let ended = container.state.as_ref()?.terminated.as_ref()?;
        (ended.exit_code != 0).then(|| (container.name.clone(), ended.clone()))
    });
    if status.reason.as_deref() == Some("Evicted") {
        let message = status.message.clone().unwrap_or_default();
        return Some(Outcome::Evicted { message });
    }
    let (step, ended): (String, ContainerStateTerminated) = ended?;
    if ended.reason.as_deref() == Some("OOMKilled") {
        return Some(Outcome::OutOfMemory { step });
    }
    let disrupted = condition(pod, "DisruptionTarget");
    if let Some((_, message)) = disrupted {
        return Some(Outcome::Evicted { message });
    }
    Some(Outcome::Failed {
        step,
        pod: pod.metadata.name.clone().unwrap_or_default(),
        code: ended.exit_code,
        message: ended.message.unwrap_or_default().trim_end().to_owned(),
    })
}

/// What the last step of a pod said.
fn result(pod: &Pod) -> Option<BuildResult> {
    statuses(pod).find_map(|container| {
        let ended = container.state.as_ref()?.terminated.as_ref()?;
        BuildResult::of_message(ended.message.as_deref()?)
    })
}

/// All containers of a pod in the order in which they run.
pub(crate) fn statuses(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
    let status = pod.status.iter();
    status.flat_map(|status| {
        let first = status.init_container_statuses.iter().flatten();
        first.chain(status.container_statuses.iter().flatten())
    })
}

pub(crate) fn is_active(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    !matches!(phase, Some("Succeeded" | "Failed")) && pod.metadata.deletion_timestamp.is_none()
}

fn running(pod: &Pod) -> Option<String> {
    let is_running = |container: &&ContainerStatus| {
        matches!(&container.state, Some(ContainerState { running: Some(_), .. }))
    };
    let running = statuses(pod)
        .find(is_running)
        .map(|container| container.name.clone());
    // Between two steps, the one that ended last.
    running.or_else(|| {
        let ended = statuses(pod).filter_map(|container| {
            let ended = container.state.as_ref()?.terminated.as_ref()?;
            Some((container.name.clone(), ended.exit_code))
        });
        let (last, code) = ended.last()?;
        (code == 0 && stuck(pod).is_none()).then_some(last)
    })
}

/// Why a pod does not start, if it says so.
fn waiting(pod: &Pod, events: &[Event]) -> Option<Waiting> {
    if let Some((reason, message)) = condition_false(pod, "PodScheduled") {
        // No node makes a claim that does not exist, or whose class provides nothing.
        let hope = if message.contains("persistentvolumeclaim") || message.contains("PersistentVolumeClaim") {
            Hope::Slight
        } else {
            Hope::Possible
        };
        return Some(Waiting {
            reason,
            message,
            hope,
        });
    }
    let mounting = || {
        let failed = said(events, "FailedMount").or_else(|| said(events, "FailedAttachVolume"))?;
        Some(Waiting {
            hope: Hope::Slight,
            ..failed
        })
    };
    stuck(pod).or_else(mounting)
}

/// A container that cannot be started.
fn stuck(pod: &Pod) -> Option<Waiting> {
    statuses(pod).find_map(|container| {
        let waiting = container.state.as_ref()?.waiting.as_ref()?;
        let reason = waiting.reason.clone()?;
        let hope = match reason.as_str() {
            "InvalidImageName" | "ErrImageNeverPull" => Hope::None,
            "ErrImagePull"
            | "ImagePullBackOff"
            | "CreateContainerConfigError"
            | "CreateContainerError"
            | "RunContainerError"
            | "ImageInspectError"
            | "RegistryUnavailable" => Hope::Slight,
            // PodInitializing, ContainerCreating
            _ => return None,
        };
        let message = waiting.message.clone().unwrap_or_default();
        let message = if message.contains(&container.image) || container.image.is_empty() {
            message
        } else {
            format!("{} of step {}: {message}", container.image, container.name)
        };
        Some(Waiting {
            reason,
            message,
            hope,
        })
    })
}

/// Why a Job has no pod: the API server refuses it.
fn refusal(events: &[Event]) -> Option<Waiting> {
    let failed = said(events, "FailedCreate")?;
    // A quota heals when somebody else's pods end. A policy does not.
    let hope = if failed.message.contains("exceeded quota") {
        Hope::Slight
    } else {
        Hope::None
    };
    Some(Waiting { hope, ..failed })
}

/// The last event of this reason.
fn said(events: &[Event], reason: &str) -> Option<Waiting> {
    let event = events
        .iter()
        .rfind(|event| event.reason.as_deref() == Some(reason))?;
    Some(Waiting {
        reason: reason.to_owned(),
        message: event.message.clone().unwrap_or_default(),
        hope: Hope::Likely,
    })
}

fn condition(pod: &Pod, type_: &str) -> Option<(String, String)> {
    condition_with(pod, type_, "True")
}

fn condition_false(pod: &Pod, type_: &str) -> Option<(String, String)> {
    condition_with(pod, type_, "False")
}

fn condition_with(pod: &Pod, type_: &str, status: &str) -> Option<(String, String)> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let found = conditions
        .iter()
        .find(|condition| condition.type_ == type_ && condition.status == status)?;
    Some((
        found.reason.clone().unwrap_or_default(),
        found.message.clone().unwrap_or_default(),
    ))
}
