//! What a cluster does not do, and that it is said soon and with its cause.

use lifecycle_kubernetes::{ClusterError, Event, Followed, Manifests, Outcome, State};
use serde_json::json;

use crate::fake_cluster::{Fault, World};
use crate::samples::{ID, Site, submission};

/// A build to which this happens ends as rejected; its Job is removed.
fn rejected(happen: impl Fn(&mut World)) -> String {
    let site = Site::new();
    let following = site.build();
    site.server.change(|world| happen(world));
    let story = following.end();
    let Ok(Followed::ToTheEnd(outcome @ Outcome::Rejected(_))) = story.end else {
        panic!("{:?}", story.end)
    };
    assert_eq!(outcome.exit_code(), 114);
    let world = site.server.world();
    assert_eq!(world.names("jobs"), Vec::<String>::new());
    assert_eq!(world.names("secrets"), Vec::<String>::new());
    State::Finished(outcome).reason()
}

#[test]
fn a_missing_namespace_is_named() {
    let site = Site::new();
    let mut submission = submission();
    submission.namespace = "nowhere".to_owned();
    let client = site.client_in(Some("nowhere"));
    let error = client.submit(&Manifests::of(&submission)).unwrap_err();
    assert_eq!(error.to_string(), "the cluster has no namespace nowhere");
}

#[test]
fn a_missing_role_is_named_by_verb_and_resource() {
    let site = Site::new();
    site.server.change(|world| world.forbid("create jobs"));
    let error = site.client().submit(&Manifests::of(&submission())).unwrap_err();
    assert_eq!(
        error.to_string(),
        "system:serviceaccount:ci:bot may not create jobs in the namespace builds"
    );
}

#[test]
fn a_refused_field_is_named() {
    let site = Site::new();
    let message = "Job.batch \"x\" is invalid: spec.template.spec.priorityClassName: not found".to_owned();
    site.server
        .fault("POST", "/jobs", Fault::Answer(422, "Invalid", message));
    let error = site.client().submit(&Manifests::of(&submission())).unwrap_err();
    assert!(matches!(error, ClusterError::Refused { .. }));
    assert!(
        error.to_string().contains("spec.template.spec.priorityClassName"),
        "{error}"
    );
}

#[test]
fn an_admission_policy_that_refuses_the_pod_is_quoted() {
    let said = rejected(|world| {
        let message = "Error creating: pods \"app-1\" is forbidden: violates PodSecurity \"restricted:latest\": \
                       hostUsers (pod must not set securityContext.procMount)";
        world.event(ID, "FailedCreate", message);
    });
    assert!(
        said.contains("violates PodSecurity") && said.contains("securityContext.procMount"),
        "{said}"
    );
}

#[test]
fn a_quota_that_is_used_up_is_quoted() {
    let said = rejected(|world| {
        let message = "Error creating: pods \"app-1\" is forbidden: exceeded quota: builds, requested: \
                       requests.memory=2Gi, used: requests.memory=8Gi, limited: requests.memory=8Gi";
        world.event(ID, "FailedCreate", message);
    });
    assert!(
        said.contains("exceeded quota: builds, requested: requests.memory=2Gi"),
        "{said}"
    );
}

#[test]
fn an_image_that_cannot_be_pulled_is_named_jc_21() {
    let said = rejected(|world| {
        world.pod(ID, "app-1");
        world.set_state(
            "app-1",
            "source",
            json!({"waiting": {"reason": "ImagePullBackOff", "message": "Back-off pulling image: not found"}}),
        );
    });
    assert!(
        said.contains("ImagePullBackOff: r.test/executor:1 of step source: "),
        "{said}"
    );
}

#[test]
fn a_missing_secret_is_named_jc_21() {
    let said = rejected(|world| {
        world.pod(ID, "app-1");
        let message = "MountVolume.SetUp failed for volume \"credentials\" : secret \"registry\" not found";
        world.event("app-1", "FailedMount", message);
    });
    assert!(said.contains("secret \"registry\" not found"), "{said}");
}

#[test]
fn a_claim_that_does_not_bind_is_named() {
    let said = rejected(|world| {
        world.pod(ID, "app-1");
        let message = "0/3 nodes are available: pod has unbound immediate PersistentVolumeClaims.";
        world.set_pod("app-1", &json!({
            "conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}],
        }));
    });
    assert!(
        said.contains("unbound immediate PersistentVolumeClaims"),
        "{said}"
    );
}

#[test]
fn a_full_cluster_is_waited_for_and_said_once_jc_20() {
    let site = Site::new();
    let following = site.build();
    site.server.change(|world| {
        world.pod(ID, "app-1");
        let message = "0/3 nodes are available: 3 Insufficient memory.";
        world.set_pod("app-1", &json!({
            "conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}],
        }));
    });
    let is_unschedulable = |event: &Event| match event {
        Event::State(State::Pending(Some(waiting))) => waiting.message.contains("Insufficient memory"),
        _ => false,
    };
    following.wait_for(is_unschedulable);
    // Longer than what never heals is waited for.
    std::thread::sleep(std::time::Duration::from_millis(900));
    site.server.change(|world| {
        world.set_pod("app-1", &json!({"conditions": []}));
        world.run("app-1", "source");
    });
    following.wait_for(|event| matches!(event, Event::State(State::Running { .. })));
    following.control.wish(lifecycle_kubernetes::Wish::Detach);
    let story = following.end();
    assert_eq!(
        story
            .events
            .iter()
            .filter(|event| is_unschedulable(event))
            .count(),
        1
    );
}
