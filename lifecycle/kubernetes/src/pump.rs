//! The lines of all steps of all pods of a build, in order.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{AsyncBufRead, AsyncBufReadExt};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::api::LogParams;
use tokio::sync::{mpsc, watch};

use crate::cluster::Server;
use crate::logs::LogCursor;
use crate::state::{is_active, statuses};

/// What the pump brings.
#[derive(Debug)]
pub(crate) enum Line {
    Step { step: String, attempt: usize },
    Text(String),
    Note(String),
}

/// Reads the logs of each pod on a task of its own, step by step. A pod's task begins when the one before has ended, so
/// that lines of two pods never mix.
#[derive(Debug)]
pub(crate) struct Pump {
    /// Goes with the last task: then the receiver ends.
    lines: Option<mpsc::Sender<Line>>,
    pods: BTreeMap<String, watch::Sender<Pod>>,
    /// Pods so far.
    attempts: usize,
    last: Option<tokio::task::JoinHandle<()>>,
}

impl Pump {
    pub(crate) fn new(lines: mpsc::Sender<Line>) -> Self {
        Self {
            lines: Some(lines),
            pods: BTreeMap::new(),
            attempts: 0,
            last: None,
        }
    }

    /// Tells the readers how their pods are now, and begins to read new ones. Gives the names of those that are gone: a
    /// watch tells of them, or a list does not know them any more.
    pub(crate) fn follow(&mut self, server: &Arc<Server>, pods: &BTreeMap<String, Pod>) -> Vec<String> {
        // A pod that is gone says no more.
        let gone: Vec<String> = self
            .pods
            .keys()
            .filter(|name| !pods.contains_key(*name))
            .cloned()
            .collect();
        self.pods.retain(|name, _| pods.contains_key(name));
        let mut new: Vec<&Pod> = Vec::new();
        for (name, pod) in pods {
            match self.pods.get(name) {
                Some(known) => drop(known.send_replace(pod.clone())),
                None => new.push(pod),
            }
        }
        new.sort_by_key(|pod| pod.metadata.creation_timestamp.clone());
        for pod in new {
            let Some(lines) = self.lines.clone() else { break };
            let name = pod.metadata.name.clone().unwrap_or_default();
            let (sender, changes) = watch::channel(pod.clone());
            self.pods.insert(name.clone(), sender);
            self.attempts += 1;
            let reader = Reader {
                server: Arc::clone(server),
                pod: name,
                attempt: self.attempts,
                changes,
                lines,
            };
            let before = self.last.take();
            self.last = Some(tokio::spawn(async move {
                if let Some(before) = before {
                    drop(before.await);
                }
                reader.read().await;
            }));
        }
        gone
    }

    /// No further pods come. The channel ends with the last line.
    pub(crate) fn finish(&mut self, pods: &BTreeMap<String, Pod>) {
        for (name, pod) in pods {
            if let Some(known) = self.pods.get(name) {
                known.send_replace(pod.clone());
            }
        }
        self.lines = None;
        // Who still waits for a change hears that none comes.
        self.pods.clear();
    }
}

/// Reads the logs of one pod.
struct Reader {
    server: Arc<Server>,
    pod: String,
    attempt: usize,
    changes: watch::Receiver<Pod>,
    lines: mpsc::Sender<Line>,
}

/// How far a container is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Before,
    Running,
    Ended,
}

fn stage(pod: &Pod, container: &str) -> Stage {
    let found = statuses(pod).find(|status: &&ContainerStatus| status.name == container);
    match found.and_then(|status| status.state.as_ref()) {
        Some(state) if state.terminated.is_some() => Stage::Ended,
        Some(state) if state.running.is_some() => Stage::Running,
        _ => Stage::Before,
    }
}

/// Whether a stream of lines came to its end by itself.
enum End {
    /// It did.
    Whole,
    /// It was cut, or nothing came for too long.
    Cut,
    /// Nobody listens.
    Unwanted,
}

impl Reader {
    async fn read(mut self) {
        for step in self.steps() {
            if !self.has_begun(&step).await {
                return;
            }
            let banner = Line::Step {
                step: step.clone(),
                attempt: self.attempt,
            };
            if self.lines.send(banner).await.is_err() || !self.read_step(&step).await {
                return;
            }
        }
    }

    fn steps(&self) -> Vec<String> {
        let pod = self.changes.borrow();
        let containers = pod.spec.iter().flat_map(|spec| {
            let first = spec.init_containers.iter().flatten();
            first.chain(&spec.containers)
        });
        containers.map(|container| container.name.clone()).collect()
    }

    /// Waits for a step to begin; false if it never does.
    async fn has_begun(&mut self, step: &str) -> bool {
        let is_settled = |pod: &Pod| stage(pod, step) != Stage::Before || !is_active(pod);
        let settled = self.changes.wait_for(is_settled);
        settled.await.is_ok_and(|pod| stage(&pod, step) != Stage::Before)
    }

    /// Reads the lines of a step to their end; false if there is no sense in going on.
    async fn read_step(&mut self, step: &str) -> bool {
        let mut cursor = LogCursor::default();
        let mut pause = self.server.patience.pause;
        loop {
            // A stream that was opened after the end, and ends, has said everything.
            let has_ended = stage(&self.changes.borrow(), step) == Stage::Ended;
            let params = LogParams {
                container: Some(step.to_owned()),
                follow: true,
                timestamps: true,
                since_time: cursor.reconnect(),
                ..LogParams::default()
            };
            let pods = self.server.all::<Pod>();
            let opened =
                tokio::time::timeout(self.server.patience.silence, pods.log_stream(&self.pod, &params));
            match opened.await {
                Ok(Ok(stream)) => match self.pass_on(stream, &mut cursor, has_ended).await {
                    End::Unwanted => return false,
                    End::Whole if has_ended => return true,
                    End::Whole | End::Cut => {}
                },
                Ok(Err(kube::Error::Api(status))) if status.code == 404 => return false,
                Ok(Err(kube::Error::Api(status))) if status.code == 403 => {
                    let note = format!("the log of {step} cannot be read: {}", status.message);
                    return self.lines.send(Line::Note(note)).await.is_ok();
                }
                // What fails now is asked for again, with a fresh token.
                Ok(Err(kube::Error::Api(status))) if status.code == 401 => {
                    drop(self.server.log_in_again().await);
                }
                Ok(Err(_)) | Err(_) => {}
            }
            // The pod will have changed in a moment; without that, ask again after a pause.
            let changed = tokio::time::timeout(pause, self.changes.changed()).await;
            if let Ok(Err(_)) = changed {
                if stage(&self.changes.borrow(), step) != Stage::Ended {
                    return false;
                }
                tokio::time::sleep(pause).await;
            }
            pause = (pause * 2).min(Duration::from_secs(5));
        }
    }

    async fn pass_on(&self, stream: impl AsyncBufRead, cursor: &mut LogCursor, has_ended: bool) -> End {
        let mut stream = std::pin::pin!(stream);
        let mut line = Vec::new();
        loop {
            line.clear();
            let read =
                tokio::time::timeout(self.server.patience.silence, stream.read_until(b'\n', &mut line));
            match read.await {
                Ok(Ok(0)) => return End::Whole,
                // The last line of a step that has ended may have no end of its own; of one that has not, it comes again.
                Ok(Ok(_)) if line.ends_with(b"\n") || has_ended => {}
                Ok(Ok(_) | Err(_)) | Err(_) => return End::Cut,
            }
            let text = String::from_utf8_lossy(&line);
            let text = text.trim_end_matches(['\n', '\r']);
            if let Some(text) = cursor.accept(text)
                && self.lines.send(Line::Text(text.to_owned())).await.is_err()
            {
                return End::Unwanted;
            }
        }
    }
}
