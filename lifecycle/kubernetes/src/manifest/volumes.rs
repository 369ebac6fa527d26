//! What lies where in the pod, and which step sees it.

use k8s_openapi::api::core::v1::{
    ConfigMapVolumeSource, EmptyDirVolumeSource, KeyToPath, PersistentVolumeClaimVolumeSource,
    ProjectedVolumeSource, SecretProjection, SecretVolumeSource, Volume, VolumeMount, VolumeProjection,
};

use super::key;
use crate::submission::{CacheAt, Credentials, Recipe, Submission};

/// Where the steps after the first have the source, unless buildpacks are told of another place.
pub const WORKSPACE: &str = "/workspace";
/// Where the step that brings the source sees the volume. The volume itself is root's, so that the source gets a
/// directory of its own in it, which the other steps see as [`WORKSPACE`].
pub(super) const SOURCE_VOLUME: &str = "/volume";
/// That directory.
pub(super) const SOURCE: &str = "source";
/// What the steps tell each other, and the layers of buildpacks.
pub(super) const LAYERS: &str = "/layers";
/// Where a cache volume is.
pub(super) const CACHE: &str = "/cache";
/// The program's store when there is no cache volume.
pub(super) const STORE: &str = "/store";
/// The platform directory of the buildpacks.
pub(super) const PLATFORM: &str = "/platform";
/// The directory of the registries' credentials, `DOCKER_CONFIG`.
pub(super) const CREDENTIALS: &str = "/var/run/lifecycle/credentials";
/// The secrets of a Dockerfile's build.
pub(super) const SECRETS: &str = "/var/run/lifecycle/secrets";
/// The order of buildpacks.
pub(super) const ORDER: &str = "/var/run/lifecycle/order";
/// Certificates to trust.
pub(super) const AUTHORITIES: &str = "/var/run/lifecycle/ca";

/// Every volume of the pod.
pub(super) fn volumes(submission: &Submission) -> Vec<Volume> {
    let empty = |name: &str| Volume {
        name: name.to_owned(),
        empty_dir: Some(EmptyDirVolumeSource::default()),
        ..Volume::default()
    };
    let mut volumes = vec![empty("workspace"), empty("layers"), empty("tmp")];
    match &submission.cache {
        CacheAt::Volume(volume) => volumes.push(Volume {
            name: "cache".to_owned(),
            persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
                claim_name: volume.name.clone(),
                read_only: None,
            }),
            ..Volume::default()
        }),
        CacheAt::None | CacheAt::Image(_) => {
            if matches!(submission.recipe, Recipe::Dockerfile { .. }) {
                volumes.push(empty("store"));
            }
        }
    }
    volumes.extend(credentials(submission));
    match &submission.recipe {
        Recipe::Buildpacks(phases) => {
            let variables = phases.env.keys().map(|name| item(key::variable(name), name));
            volumes.extend(files(submission, "platform", variables.collect()));
            let order = phases
                .order
                .iter()
                .map(|_| item(key::ORDER.to_owned(), key::ORDER));
            volumes.extend(files(submission, "order", order.collect()));
        }
        Recipe::Dockerfile { secrets, .. } => {
            let secrets = secrets.keys().map(|id| item(key::secret(id), id));
            volumes.extend(files(submission, "secrets", secrets.collect()));
        }
    }
    if let Some(map) = &submission.registry.ca {
        volumes.push(Volume {
            name: "ca".to_owned(),
            config_map: Some(ConfigMapVolumeSource {
                name: map.clone(),
                ..ConfigMapVolumeSource::default()
            }),
            ..Volume::default()
        });
    }
    volumes
}

/// The registries' credentials under the one name that every tool looks for (JC-13, JC-14).
fn credentials(submission: &Submission) -> Option<Volume> {
    let (secret, key) = match &submission.credentials {
        Credentials::None => return None,
        Credentials::Secret(name) => (name.clone(), ".dockerconfigjson"),
        Credentials::Sent(_) => (submission.id.clone(), key::CONFIG),
    };
    Some(Volume {
        name: "credentials".to_owned(),
        projected: Some(ProjectedVolumeSource {
            default_mode: Some(0o440),
            sources: Some(vec![VolumeProjection {
                secret: Some(SecretProjection {
                    name: secret,
                    items: Some(vec![item(key.to_owned(), key::CONFIG)]),
                    optional: None,
                }),
                ..VolumeProjection::default()
            }]),
        }),
        ..Volume::default()
    })
}

/// Some keys of the build's own Secret as files.
fn files(submission: &Submission, name: &str, items: Vec<KeyToPath>) -> Option<Volume> {
    (!items.is_empty()).then(|| Volume {
        name: name.to_owned(),
        secret: Some(SecretVolumeSource {
            secret_name: Some(submission.id.clone()),
            default_mode: Some(0o440),
            items: Some(items),
            optional: None,
        }),
        ..Volume::default()
    })
}

fn item(key: String, path: &str) -> KeyToPath {
    KeyToPath {
        key,
        path: path.to_owned(),
        mode: None,
    }
}

/// Shows a volume to a step.
pub(super) fn mount(name: &str, path: &str) -> VolumeMount {
    VolumeMount {
        name: name.to_owned(),
        mount_path: path.to_owned(),
        ..VolumeMount::default()
    }
}

/// Shows a volume to a step that may not change it.
pub(super) fn mount_to_read(name: &str, path: &str) -> VolumeMount {
    VolumeMount {
        read_only: Some(true),
        ..mount(name, path)
    }
}

/// The source, for the steps after the one that brought it.
pub(super) fn source(path: &str) -> VolumeMount {
    VolumeMount {
        sub_path: Some(SOURCE.to_owned()),
        ..mount("workspace", path)
    }
}

/// A step's own scratch: what a buildpack leaves there is not what the exporter finds.
pub(super) fn scratch(step: &str) -> VolumeMount {
    VolumeMount {
        sub_path: Some(step.to_owned()),
        ..mount("tmp", "/tmp")
    }
}
