//! What people copy holds nothing that Kubernetes, Tekton, Skaffold, GitHub and GitLab do not know.

use std::collections::BTreeMap;
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

/// The parts of a Skaffold configuration (`skaffold/v4beta13`) that ours uses.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Skaffold {
    api_version: String,
    kind: String,
    metadata: Named,
    build: SkaffoldBuild,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SkaffoldBuild {
    artifacts: Vec<Artifact>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Artifact {
    image: String,
    context: String,
    custom: CustomBuilder,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CustomBuilder {
    build_command: String,
    dependencies: CustomDependencies,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CustomDependencies {
    paths: Vec<String>,
}

/// The parts of a workflow of GitHub Actions that ours uses.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Workflow {
    name: String,
    on: Events,
    jobs: BTreeMap<String, WorkflowJob>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Events {
    push: Push,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Push {
    branches: Vec<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct WorkflowJob {
    runs_on: String,
    steps: Vec<WorkflowStep>,
}

/// A step uses an action or runs a script.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum WorkflowStep {
    Action(WorkflowAction),
    Script(WorkflowScript),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WorkflowAction {
    uses: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WorkflowScript {
    run: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    env: BTreeMap<String, String>,
}

/// The keywords of a pipeline of GitLab that ours uses, and its jobs.
#[derive(Serialize, Deserialize)]
struct Pipeline {
    default: PipelineDefault,
    #[serde(flatten)]
    jobs: BTreeMap<String, PipelineJob>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PipelineDefault {
    image: PipelineImage,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PipelineImage {
    name: String,
    entrypoint: Vec<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PipelineJob {
    stage: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    variables: BTreeMap<String, String>,
    script: Vec<String>,
}

/// What no job may be called, because it means something else at the top of a pipeline.
const PIPELINE_KEYWORDS: [&str; 15] = [
    "after_script",
    "before_script",
    "cache",
    "default",
    "false",
    "image",
    "include",
    "nil",
    "services",
    "spec",
    "stages",
    "true",
    "types",
    "variables",
    "workflow",
];
/// The stages of a pipeline that names none of its own.
const PIPELINE_STAGES: [&str; 5] = [".pre", "build", "test", "deploy", ".post"];

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

#[test]
fn the_configuration_for_skaffold_is_what_it_says() {
    for path in files("skaffold") {
        for document in documents(&path) {
            assert_eq!(document["apiVersion"], "skaffold/v4beta13");
            assert_eq!(document["kind"], "Config");
            strict::<Skaffold>(&document);
        }
    }
}

#[test]
fn pipelines_for_github_and_gitlab_are_what_they_say() {
    for path in files("ci") {
        let documents = documents(&path);
        let [document] = &documents[..] else {
            panic!("{} has {} documents", path.display(), documents.len());
        };
        match path.file_name().unwrap().to_str().unwrap() {
            "github.yml" => strict::<Workflow>(document),
            "gitlab-ci.yml" => {
                strict::<Pipeline>(document);
                let pipeline: Pipeline = serde_json::from_value(document.clone()).unwrap();
                for (name, job) in pipeline.jobs {
                    assert!(!PIPELINE_KEYWORDS.contains(&name.as_str()), "{name} is a keyword");
                    assert!(
                        PIPELINE_STAGES.contains(&job.stage.as_str()),
                        "{name}: {}",
                        job.stage
                    );
                }
            }
            other => panic!("nobody knows what {other} has to be"),
        }
    }
}
