//! The manifests that people copy hold nothing that Kubernetes and Tekton do not know.

use std::fs;
use std::path::{Path, PathBuf};

use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{
    EnvVar, PersistentVolumeClaim, Secret, SecurityContext, ServiceAccount, Volume, VolumeMount,
};
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use serde::{Deserialize, Serialize};

use crate::manifests::strict;

/// The parts of a Tekton Task (API v1) that ours use.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Task {
    api_version: String,
    kind: String,
    metadata: Named,
    spec: TaskSpec,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    name: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct TaskSpec {
    description: String,
    params: Vec<Param>,
    workspaces: Vec<Workspace>,
    results: Vec<TaskResult>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    volumes: Vec<Volume>,
    steps: Vec<Step>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Param {
    name: String,
    r#type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    default: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Workspace {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    optional: Option<bool>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TaskResult {
    name: String,
    description: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Step {
    name: String,
    image: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    working_dir: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    env: Vec<EnvVar>,
    command: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    volume_mounts: Vec<VolumeMount>,
    #[serde(skip_serializing_if = "Option::is_none")]
    security_context: Option<SecurityContext>,
}

fn files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../deploy")
        .join(folder);
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    assert!(!files.is_empty());
    files
}

fn documents(path: &Path) -> Vec<serde_json::Value> {
    serde_saphyr::from_multiple(&fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn objects_for_kubernetes_are_what_they_say() {
    for path in files("kubernetes") {
        for document in documents(&path) {
            match document["kind"].as_str().unwrap() {
                "Job" => strict::<Job>(&document),
                "CronJob" => strict::<CronJob>(&document),
                "Secret" => strict::<Secret>(&document),
                "PersistentVolumeClaim" => strict::<PersistentVolumeClaim>(&document),
                "ServiceAccount" => strict::<ServiceAccount>(&document),
                "Role" => strict::<Role>(&document),
                "RoleBinding" => strict::<RoleBinding>(&document),
                other => panic!("{} has a {other}", path.display()),
            }
        }
    }
}

#[test]
fn tasks_for_tekton_are_what_they_say() {
    for path in files("tekton") {
        for document in documents(&path) {
            assert_eq!(document["apiVersion"], "tekton.dev/v1");
            strict::<Task>(&document);
        }
    }
}
