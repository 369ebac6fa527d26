//! From a [`Submission`] to the objects of the cluster. Pure: the same submission gives the same objects, with no
//! cluster in reach (`--dry-run`), and they can be applied by hand as they are (JC-18).

mod containers;
mod job;
mod volumes;

pub use volumes::WORKSPACE;

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{
    PersistentVolumeClaim, PersistentVolumeClaimSpec, Secret, VolumeResourceRequirements,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Serialize;

use crate::names;
use crate::submission::{CacheAt, Credentials, Recipe, SourceAt, Submission};

/// The objects of one build.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifests {
    /// The claim of the cache's volume, when it may have to be made. It outlives the build.
    pub claim: Option<PersistentVolumeClaim>,
    /// What nobody but the build may read. It belongs to the Job and goes with it.
    pub secret: Option<Secret>,
    /// The build.
    pub job: Job,
}

impl Manifests {
    /// Makes the objects.
    pub fn of(submission: &Submission) -> Self {
        Self {
            claim: claim(submission),
            secret: secret(submission),
            job: job::job(submission),
        }
    }

    /// The objects as a YAML stream that `kubectl apply -f -` takes.
    pub fn to_yaml(&self) -> Result<String, UnwritableManifest> {
        let mut text = String::new();
        for object in self.objects()? {
            text.push_str("---\n");
            text.push_str(
                &serde_saphyr::to_string(&object).map_err(|cause| UnwritableManifest(cause.to_string()))?,
            );
            if !text.ends_with('\n') {
                text.push('\n');
            }
        }
        Ok(text)
    }

    /// The objects as a JSON list that `kubectl apply -f -` takes.
    pub fn to_json(&self) -> Result<String, UnwritableManifest> {
        let list = serde_json::json!({ "apiVersion": "v1", "kind": "List", "items": self.objects()? });
        let text = serde_json::to_string_pretty(&list);
        text.map_err(|cause| UnwritableManifest(cause.to_string()))
    }

    /// The names of the objects, as `kubectl -o name` writes them.
    pub fn to_names(&self) -> Vec<String> {
        let name =
            |kind: &str, meta: &ObjectMeta| format!("{kind}/{}", meta.name.as_deref().unwrap_or_default());
        let claim = self
            .claim
            .iter()
            .map(|claim| name("persistentvolumeclaim", &claim.metadata));
        let secret = self.secret.iter().map(|secret| name("secret", &secret.metadata));
        claim
            .chain(secret)
            .chain([name("job.batch", &self.job.metadata)])
            .collect()
    }

    /// In the order in which they are to be made.
    fn objects(&self) -> Result<Vec<serde_json::Value>, UnwritableManifest> {
        fn object<T: Serialize>(object: &T) -> Result<serde_json::Value, UnwritableManifest> {
            serde_json::to_value(object).map_err(|cause| UnwritableManifest(cause.to_string()))
        }
        let claim = self.claim.iter().map(object);
        let secret = self.secret.iter().map(object);
        claim.chain(secret).chain([object(&self.job)]).collect()
    }
}

/// An object cannot be written down. It would be a mistake of this crate.
#[derive(Debug, thiserror::Error)]
#[error("the manifests cannot be written: {0}")]
pub struct UnwritableManifest(String);

/// Name, namespace and labels of an object of the build.
fn metadata(submission: &Submission) -> ObjectMeta {
    ObjectMeta {
        name: Some(submission.id.clone()),
        namespace: Some(submission.namespace.clone()),
        labels: Some(labels(submission)),
        ..ObjectMeta::default()
    }
}

fn labels(submission: &Submission) -> BTreeMap<String, String> {
    let mut labels = submission.placement.labels.clone();
    if let Some(first) = submission.tags.first() {
        labels.extend(names::labels(&submission.id, first));
    }
    labels
}

/// The keys of the build's Secret: each is one file for one step.
mod key {
    /// The registries' credentials.
    pub(super) const CONFIG: &str = "config.json";
    /// The order of buildpacks.
    pub(super) const ORDER: &str = "order.toml";
    /// A variable for the buildpacks.
    pub(super) fn variable(name: &str) -> String {
        format!("env.{name}")
    }
    /// A variable for the step that fetches the source.
    pub(super) fn of_source(name: &str) -> String {
        format!("source.{name}")
    }
    /// A secret of a Dockerfile's build.
    pub(super) fn secret(id: &str) -> String {
        format!("secret.{id}")
    }
}

fn secret(submission: &Submission) -> Option<Secret> {
    let mut data = BTreeMap::new();
    if let Credentials::Sent(config) = &submission.credentials {
        data.insert(key::CONFIG.to_owned(), ByteString(config.clone()));
    }
    if let SourceAt::Remote { variables, .. } = &submission.source {
        let variable = |(name, value): (&String, &String)| {
            (key::of_source(name), ByteString(value.clone().into_bytes()))
        };
        data.extend(variables.iter().map(variable));
    }
    match &submission.recipe {
        Recipe::Buildpacks(phases) => {
            let variables = phases.env.iter();
            data.extend(variables.map(|(name, value)| (key::variable(name), ByteString(value.clone()))));
            let order = phases.order.iter();
            data.extend(order.map(|order| (key::ORDER.to_owned(), ByteString(order.clone().into_bytes()))));
        }
        Recipe::Dockerfile { secrets, .. } => {
            data.extend(
                secrets
                    .iter()
                    .map(|(id, value)| (key::secret(id), ByteString(value.clone()))),
            );
        }
    }
    (!data.is_empty()).then(|| Secret {
        metadata: metadata(submission),
        type_: Some("Opaque".to_owned()),
        immutable: Some(true),
        data: Some(data),
        ..Secret::default()
    })
}

fn claim(submission: &Submission) -> Option<PersistentVolumeClaim> {
    let CacheAt::Volume(volume) = &submission.cache else {
        return None;
    };
    let size = volume.size.clone()?;
    let labels = BTreeMap::from([(names::MANAGED_BY.0.to_owned(), names::MANAGED_BY.1.to_owned())]);
    Some(PersistentVolumeClaim {
        metadata: ObjectMeta {
            name: Some(volume.name.clone()),
            namespace: Some(submission.namespace.clone()),
            labels: Some(labels),
            ..ObjectMeta::default()
        },
        spec: Some(PersistentVolumeClaimSpec {
            // One pod at a time: a second build waits until the first is through (JC-17).
            access_modes: Some(vec!["ReadWriteOncePod".to_owned()]),
            storage_class_name: volume.class.clone(),
            resources: Some(VolumeResourceRequirements {
                requests: Some(BTreeMap::from([("storage".to_owned(), Quantity(size))])),
                ..VolumeResourceRequirements::default()
            }),
            ..PersistentVolumeClaimSpec::default()
        }),
        ..PersistentVolumeClaim::default()
    })
}
