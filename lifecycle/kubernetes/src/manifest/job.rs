//! The Job: one build, which ends for good when it fails by itself and goes on elsewhere when the cluster ended it.

use std::collections::BTreeMap;

use k8s_openapi::api::batch::v1::{
    Job, JobSpec, PodFailurePolicy, PodFailurePolicyOnExitCodesRequirement,
    PodFailurePolicyOnPodConditionsPattern, PodFailurePolicyRule,
};
use k8s_openapi::api::core::v1::{
    LocalObjectReference, PodSecurityContext, PodSpec, PodTemplateSpec, SeccompProfile, Toleration,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::{containers, labels, metadata, volumes};
use crate::names;
use crate::submission::{CacheAt, PodSecurity, SourceAt, Submission};

pub(super) fn job(submission: &Submission) -> Job {
    let life = &submission.life;
    let seconds = |duration: std::time::Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    Job {
        metadata: ObjectMeta {
            annotations: Some(annotations(submission)),
            ..metadata(submission)
        },
        spec: Some(JobSpec {
            backoff_limit: Some(life.retries),
            pod_failure_policy: Some(failure_policy()),
            // Two pods of one build would push at the same time.
            pod_replacement_policy: Some("Failed".to_owned()),
            active_deadline_seconds: Some(seconds(life.timeout)),
            ttl_seconds_after_finished: Some(i32::try_from(life.ttl.as_secs()).unwrap_or(i32::MAX)),
            suspend: life.suspended.then_some(true),
            template: PodTemplateSpec {
                metadata: Some(pod_metadata(submission)),
                spec: Some(pod(submission)),
            },
            ..JobSpec::default()
        }),
        status: None,
    }
}

/// A pod that the cluster took away (preempted, evicted, its node gone) is replaced and not counted. A step that
/// ended by itself ends the Job: it would fail again. What remains was killed from outside; `retries` decides about
/// that (JC-10). Policies need `restartPolicy: Never`.
fn failure_policy() -> PodFailurePolicy {
    /// Ended by SIGKILL and by SIGTERM.
    const KILLED: [i32; 2] = [137, 143];
    let disruption = PodFailurePolicyRule {
        action: "Ignore".to_owned(),
        on_pod_conditions: Some(vec![PodFailurePolicyOnPodConditionsPattern {
            type_: "DisruptionTarget".to_owned(),
            status: "True".to_owned(),
        }]),
        on_exit_codes: None,
    };
    let broken = PodFailurePolicyRule {
        action: "FailJob".to_owned(),
        on_exit_codes: Some(PodFailurePolicyOnExitCodesRequirement {
            operator: "NotIn".to_owned(),
            values: KILLED.to_vec(),
            container_name: None,
        }),
        on_pod_conditions: None,
    };
    PodFailurePolicy {
        rules: vec![disruption, broken],
    }
}

fn annotations(submission: &Submission) -> BTreeMap<String, String> {
    let tags: Vec<String> = submission.tags.iter().map(ToString::to_string).collect();
    let mut annotations = submission.placement.annotations.clone();
    annotations.insert(names::TAGS.to_owned(), tags.join(" "));
    if let SourceAt::Artifact(artifact) = &submission.source {
        annotations.insert(names::SOURCE.to_owned(), artifact.to_string());
    }
    if let CacheAt::Volume(volume) = &submission.cache {
        annotations.insert(names::CACHE.to_owned(), volume.name.clone());
    }
    annotations
}

fn pod_metadata(submission: &Submission) -> ObjectMeta {
    let mut labels = labels(submission);
    // A proxy beside the steps would never end, and neither would the Job.
    labels.insert("sidecar.istio.io/inject".to_owned(), "false".to_owned());
    let annotations = submission.placement.annotations.clone();
    ObjectMeta {
        labels: Some(labels),
        annotations: (!annotations.is_empty()).then_some(annotations),
        ..ObjectMeta::default()
    }
}

fn pod(submission: &Submission) -> PodSpec {
    let placement = &submission.placement;
    let some = |text: &Option<String>| text.clone();
    let pull_secrets = placement
        .pull_secrets
        .iter()
        .map(|name| LocalObjectReference { name: name.clone() });
    let pull_secrets: Vec<LocalObjectReference> = pull_secrets.collect();
    let tolerations: Vec<Toleration> = placement.tolerations.iter().map(toleration).collect();
    let (user, group) = submission.user;
    PodSpec {
        restart_policy: Some("Never".to_owned()),
        init_containers: Some(containers::steps(submission)),
        containers: vec![containers::result(submission)],
        volumes: Some(volumes::volumes(submission)),
        service_account_name: some(&placement.service_account),
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        priority_class_name: some(&placement.priority_class),
        runtime_class_name: some(&placement.runtime_class),
        node_selector: (!placement.node_selector.is_empty()).then(|| placement.node_selector.clone()),
        tolerations: (!tolerations.is_empty()).then_some(tolerations),
        image_pull_secrets: (!pull_secrets.is_empty()).then_some(pull_secrets),
        host_users: (submission.security == PodSecurity::UserNamespace).then_some(false),
        security_context: Some(PodSecurityContext {
            run_as_user: Some(user),
            run_as_group: Some(group),
            fs_group: Some(group),
            // A cache volume with many files is not walked for each build.
            fs_group_change_policy: Some("OnRootMismatch".to_owned()),
            seccomp_profile: Some(SeccompProfile {
                type_: "RuntimeDefault".to_owned(),
                localhost_profile: None,
            }),
            ..PodSecurityContext::default()
        }),
        ..PodSpec::default()
    }
}

fn toleration(toleration: &crate::submission::Toleration) -> Toleration {
    let operator = if toleration.value.is_some() {
        "Equal"
    } else {
        "Exists"
    };
    Toleration {
        key: Some(toleration.key.clone()),
        operator: Some(operator.to_owned()),
        value: toleration.value.clone(),
        effect: toleration.effect.clone(),
        toleration_seconds: None,
    }
}
