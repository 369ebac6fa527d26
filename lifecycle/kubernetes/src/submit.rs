//! Handing a build over: all of it, or nothing (JC-25).

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};

use crate::cluster::{Cluster, Server};
use crate::error::{Attempt, ClusterError};
use crate::manifest::Manifests;

const CREATE_JOB: Attempt = attempt("create", "jobs");
const PATCH_JOB: Attempt = attempt("patch", "jobs");
const DELETE_JOB: Attempt = attempt("delete", "jobs");
const CREATE_SECRET: Attempt = attempt("create", "secrets");
const CREATE_CLAIM: Attempt = attempt("create", "persistentvolumeclaims");

pub(crate) const fn attempt(verb: &'static str, resource: &'static str) -> Attempt {
    Attempt { verb, resource }
}

impl Cluster {
    /// Makes the objects of a build. What fails leaves nothing behind.
    ///
    /// The Job is made first and waits until its Secret is there, because the Secret belongs to the Job from its
    /// first moment on: whatever becomes of this process, no Secret is left without a Job.
    pub fn submit(&self, manifests: &Manifests) -> Result<(), ClusterError> {
        self.runtime.block_on(self.api.submit(manifests))
    }
}

impl Server {
    async fn submit(&self, manifests: &Manifests) -> Result<(), ClusterError> {
        if let Some(claim) = &manifests.claim {
            let claims = || self.all::<PersistentVolumeClaim>();
            match self.create(CREATE_CLAIM, claims, claim).await {
                Ok(_) | Err(ClusterError::Exists { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        let mut job = manifests.job.clone();
        let Some(secret) = &manifests.secret else {
            return self.create_ours(&job).await.map(drop);
        };
        let spec = job.spec.get_or_insert_default();
        let is_queued = spec.suspend == Some(true);
        spec.suspend = Some(true);
        let made = self.create_ours(&job).await?;
        let completed = self.complete(&made, secret, is_queued).await;
        if completed.is_err() {
            // That it failed is the news; what cannot be removed now, `prune` removes.
            drop(self.delete(name(&made)).await);
        }
        completed
    }

    async fn complete(&self, job: &Job, secret: &Secret, is_queued: bool) -> Result<(), ClusterError> {
        let mut secret = secret.clone();
        secret.metadata.owner_references = Some(vec![OwnerReference {
            api_version: "batch/v1".to_owned(),
            kind: "Job".to_owned(),
            name: name(job).to_owned(),
            uid: job.metadata.uid.clone().unwrap_or_default(),
            controller: None,
            block_owner_deletion: None,
        }]);
        let secrets = || self.all::<Secret>();
        self.create(CREATE_SECRET, secrets, &secret).await?;
        if is_queued {
            return Ok(());
        }
        self.patch(name(job), &serde_json::json!({ "spec": { "suspend": false } }))
            .await
    }

    /// Creates the Job. Its name is one of a kind, so that one which is there already after an answer was lost is ours.
    async fn create_ours(&self, job: &Job) -> Result<Job, ClusterError> {
        let jobs = || self.all::<Job>();
        match self.create(CREATE_JOB, jobs, job).await {
            Err(ClusterError::Exists { .. }) => {
                let found = self.ask(attempt("get", "jobs"), || {
                    let jobs = jobs();
                    async move { jobs.get(name(job)).await }
                });
                found.await
            }
            made => made,
        }
    }

    async fn create<K>(
        &self,
        attempt: Attempt,
        all: impl Fn() -> kube::Api<K>,
        object: &K,
    ) -> Result<K, ClusterError>
    where
        K: Clone + std::fmt::Debug + serde::Serialize + serde::de::DeserializeOwned,
    {
        self.ask(attempt, || {
            let all = all();
            async move { all.create(&PostParams::default(), object).await }
        })
        .await
    }

    /// Changes a Job.
    pub(crate) async fn patch(&self, name: &str, change: &serde_json::Value) -> Result<(), ClusterError> {
        self.ask(PATCH_JOB, || {
            let jobs = self.all::<Job>();
            async move {
                jobs.patch(name, &PatchParams::default(), &Patch::Merge(change))
                    .await
            }
        })
        .await
        .map(drop)
    }

    /// Deletes a Job with all that belongs to it. One that is gone already is fine.
    pub(crate) async fn delete(&self, name: &str) -> Result<(), ClusterError> {
        let deleted = self.ask(DELETE_JOB, || {
            let jobs = self.all::<Job>();
            async move { jobs.delete(name, &DeleteParams::foreground()).await }
        });
        match deleted.await {
            Ok(_) | Err(ClusterError::NoBuild(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

pub(crate) fn name(job: &Job) -> &str {
    job.metadata.name.as_deref().unwrap_or_default()
}
