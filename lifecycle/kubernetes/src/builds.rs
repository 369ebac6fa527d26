//! The builds that are there, and what can be done with each.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::api::{DeleteParams, ListParams, LogParams};

use crate::cluster::{Cluster, Server};
use crate::error::ClusterError;
use crate::follow::Event;
use crate::names;
use crate::result::BuildResult;
use crate::state::{Outcome, State, examine, statuses};
use crate::submit::{attempt, name};

/// A build as lists show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Its name.
    pub id: String,
    /// What the image is called.
    pub tags: Vec<String>,
    /// Where it stands.
    pub state: State,
    /// When it was submitted.
    pub created: Option<Timestamp>,
    /// When it ended, or now.
    pub took: Option<Duration>,
    /// What it made.
    pub result: Option<BuildResult>,
    /// The source that was uploaded for it.
    pub source: Option<String>,
    /// The pods that it had or has.
    pub pods: Vec<String>,
}

impl Cluster {
    /// All builds of the namespace, the newest first; of one image if it is given.
    pub fn list(&self) -> Result<Vec<Summary>, ClusterError> {
        self.runtime.block_on(async {
            let jobs = self.api.jobs().await?;
            let ours = ListParams::default().labels(&names::all_builds());
            let pods = self.api.ask(attempt("list", "pods"), || {
                let (pods, ours) = (self.api.all::<Pod>(), ours.clone());
                async move { pods.list(&ours).await }
            });
            let mut by_build: BTreeMap<String, Vec<Pod>> = BTreeMap::new();
            for pod in pods.await?.items {
                let id = pod
                    .metadata
                    .labels
                    .as_ref()
                    .and_then(|labels| labels.get(names::ID));
                if let Some(id) = id.cloned() {
                    by_build.entry(id).or_default().push(pod);
                }
            }
            let summary = |job: &Job| {
                let pods = by_build.remove(name(job)).unwrap_or_default();
                summary(job, &pods, &[])
            };
            let mut list: Vec<Summary> = jobs.iter().map(summary).collect();
            list.sort_by_key(|summary| std::cmp::Reverse(summary.created));
            Ok(list)
        })
    }

    /// One build, with what the cluster says about it.
    ///
    /// # Errors
    /// [`ClusterError::NoBuild`] when there is none of that name (JC-26).
    pub fn status(&self, id: &str) -> Result<Summary, ClusterError> {
        self.runtime.block_on(self.api.status(id))
    }

    /// Tells the lines of a build as far as there are any, of one step or of all.
    pub fn logs(
        &self,
        id: &str,
        only: Option<&str>,
        tell: &mut (dyn FnMut(Event) + Send),
    ) -> Result<(), ClusterError> {
        self.runtime.block_on(async {
            self.api.job(id).await?;
            let mut pods = self.api.pods(id).await?.items;
            pods.sort_by_key(|pod| pod.metadata.creation_timestamp.clone());
            for (number, pod) in pods.iter().enumerate() {
                let pod_name = pod.metadata.name.clone().unwrap_or_default();
                let has_begun = |state: &k8s_openapi::api::core::v1::ContainerState| state.waiting.is_none();
                let begun = statuses(pod).filter(|container| container.state.as_ref().is_some_and(has_begun));
                for step in begun.filter(|container| only.is_none_or(|only| only == container.name)) {
                    tell(Event::Step {
                        step: step.name.clone(),
                        attempt: number + 1,
                    });
                    let params = LogParams {
                        container: Some(step.name.clone()),
                        ..LogParams::default()
                    };
                    let text = self.api.ask(attempt("get", "pods/log"), || {
                        let (pods, params) = (self.api.all::<Pod>(), params.clone());
                        let pod_name = pod_name.clone();
                        async move { pods.logs(&pod_name, &params).await }
                    });
                    for line in text.await?.lines() {
                        tell(Event::Line(line.to_owned()));
                    }
                }
            }
            Ok(())
        })
    }

    /// Ends a build and keeps its record: the Job stays, without pods. Returns it as it was.
    pub fn cancel(&self, id: &str) -> Result<Summary, ClusterError> {
        self.runtime.block_on(async {
            let before = self.api.status(id).await?;
            if !matches!(before.state, State::Finished(_)) {
                let annotations = serde_json::json!({ names::CANCELLED: Timestamp::now().to_string() });
                let change = serde_json::json!({
                    "metadata": { "annotations": annotations },
                    "spec": { "suspend": true },
                });
                self.api.patch(id, &change).await?;
            }
            Ok(before)
        })
    }

    /// Removes a build with its pods and its Secret. Returns it as it was.
    pub fn delete(&self, id: &str) -> Result<Summary, ClusterError> {
        self.runtime.block_on(async {
            let before = self.api.status(id).await?;
            self.api.delete(id).await?;
            Ok(before)
        })
    }

    /// Removes builds that ended before `age`, and Secrets of ours that belong to no Job. Returns the builds, and the names
    /// of the Secrets.
    pub fn prune(&self, age: Duration) -> Result<(Vec<Summary>, Vec<String>), ClusterError> {
        let now = Timestamp::now();
        let is_old = |summary: &Summary| {
            let ended = summary
                .created
                .map(|created| created + summary.took.unwrap_or_default());
            ended.is_none_or(|ended| now.duration_since(ended).unsigned_abs() >= age)
        };
        let list = self.list()?;
        let ended = |summary: &Summary| matches!(summary.state, State::Finished(_));
        let old: Vec<Summary> = list
            .iter()
            .filter(|summary| ended(summary) && is_old(summary))
            .cloned()
            .collect();
        let secrets = self.runtime.block_on(async {
            for build in &old {
                self.api.delete(&build.id).await?;
            }
            self.api.prune_secrets(&list).await
        })?;
        Ok((old, secrets))
    }
}

impl Server {
    async fn jobs(&self) -> Result<Vec<Job>, ClusterError> {
        let ours = ListParams::default().labels(&names::all_builds());
        let list = self.ask(attempt("list", "jobs"), || {
            let (jobs, ours) = (self.all::<Job>(), ours.clone());
            async move { jobs.list(&ours).await }
        });
        Ok(list.await?.items)
    }

    async fn status(&self, id: &str) -> Result<Summary, ClusterError> {
        let job = self.job(id).await?;
        let pods = self.pods(id).await?.items;
        let of_pods: Vec<String> = pods.iter().filter_map(|pod| pod.metadata.name.clone()).collect();
        let notices = self.notices(id, of_pods.iter()).await;
        Ok(summary(&job, &pods, &notices))
    }

    /// Secrets whose Job is not there: the garbage collector takes those that know their Job, so these were applied by hand.
    async fn prune_secrets(&self, builds: &[Summary]) -> Result<Vec<String>, ClusterError> {
        let ours = ListParams::default().labels(&names::all_builds());
        let list = self.ask(attempt("list", "secrets"), || {
            let (secrets, ours) = (self.all::<Secret>(), ours.clone());
            async move { secrets.list_metadata(&ours).await }
        });
        let mut removed = Vec::new();
        for secret in list.await?.items {
            let name = secret.metadata.name.unwrap_or_default();
            if secret
                .metadata
                .owner_references
                .is_some_and(|owners| !owners.is_empty())
                || builds.iter().any(|build| build.id == name)
            {
                continue;
            }
            let deleted = self.ask(attempt("delete", "secrets"), || {
                let (secrets, name) = (self.all::<Secret>(), name.clone());
                async move { secrets.delete(&name, &DeleteParams::default()).await }
            });
            match deleted.await {
                Ok(_) | Err(ClusterError::NoBuild(_)) => removed.push(name),
                Err(error) => return Err(error),
            }
        }
        Ok(removed)
    }
}

fn summary(job: &Job, pods: &[Pod], notices: &[k8s_openapi::api::core::v1::Event]) -> Summary {
    let state = examine(job, pods, notices);
    let annotations = job.metadata.annotations.as_ref();
    let annotation = |name: &str| annotations.and_then(|annotations| annotations.get(name)).cloned();
    let status = job.status.as_ref();
    let began = status
        .and_then(|status| status.start_time.clone())
        .map(|time| time.0);
    let conditions = status
        .into_iter()
        .flat_map(|status| status.conditions.iter().flatten());
    let ended = conditions
        .filter(|condition| matches!(condition.type_.as_str(), "Complete" | "Failed"))
        .find_map(|condition| condition.last_transition_time.clone())
        .map(|time| time.0);
    let took = began.map(|began| {
        let until = ended.unwrap_or_else(Timestamp::now);
        until.duration_since(began).unsigned_abs()
    });
    let result = match &state {
        State::Finished(Outcome::Succeeded(result)) => result.clone(),
        _ => None,
    };
    Summary {
        id: name(job).to_owned(),
        tags: annotation(names::TAGS)
            .unwrap_or_default()
            .split_whitespace()
            .map(str::to_owned)
            .collect(),
        state,
        created: job.metadata.creation_timestamp.clone().map(|time| time.0),
        took,
        result,
        source: annotation(names::SOURCE),
        pods: pods.iter().filter_map(|pod| pod.metadata.name.clone()).collect(),
    }
}
