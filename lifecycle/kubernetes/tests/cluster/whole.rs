//! A build from its submission to its digest, and what can be done with builds.

use std::io::{Seek, Write};
use std::time::Duration;

use lifecycle_image::Digest;
use lifecycle_kubernetes::{
    ClusterError, Control, Event, Followed, Manifests, Outcome, SourceArchive, State, Wish,
};
use serde_json::json;

use crate::samples::{ID, Site, follow, submission};

const DIGEST: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

/// The message of a last step that made [`DIGEST`].
fn message() -> String {
    json!({ "digest": DIGEST, "tags": ["r.test/team/app:1"] }).to_string()
}

#[test]
fn a_build_is_followed_to_its_digest_jc_20_jc_23() {
    let site = Site::new();
    let following = site.build();
    let server = &site.server;
    server.change(|world| {
        world.pod(ID, "app-1");
        world.run("app-1", "source");
        world.say("app-1", "source", "waiting for the source");
    });
    following.wait_for_line("waiting for the source");
    server.change(|world| {
        world.end("app-1", "source", 0, "Completed", "");
        world.run("app-1", "build");
        world.say("app-1", "build", "RUN make");
        world.say("app-1", "build", "");
        world.say("app-1", "build", "RUN make");
    });
    following.wait_for(|event| matches!(event, Event::State(State::Running { step, .. }) if step == "build"));
    server.change(|world| {
        world.end("app-1", "build", 0, "Completed", "");
        world.run("app-1", "result");
        world.end("app-1", "result", 0, "Completed", &message());
        world.set_pod("app-1", &json!({"phase": "Succeeded"}));
        world.finish(ID, "Complete", "");
    });
    let story = following.end();
    let Ok(Followed::ToTheEnd(Outcome::Succeeded(Some(result)))) = &story.end else {
        panic!("{:?}", story.end)
    };
    assert_eq!(result.digest, DIGEST);
    assert_eq!(
        story.lines(),
        ["waiting for the source", "RUN make", "", "RUN make"]
    );
    assert_eq!(story.steps(), ["source 1", "build 1", "result 1"]);
    let words = story.words();
    assert!(words.contains(&"Running(source)".to_owned()), "{words:?}");
    // The digest outlives the pod.
    server.change(|world| world.remove("pods", "app-1"));
    let status = story.client.status(ID).unwrap();
    assert_eq!(status.result.unwrap().digest, DIGEST);
    assert_eq!(status.took, Some(Duration::from_secs(90)));
}

#[test]
fn a_secret_belongs_to_its_job_from_the_first_moment_jc_25() {
    let site = Site::new();
    let client = site.client();
    client.submit(&Manifests::of(&submission())).unwrap();
    let world = site.server.world();
    let secret = world.object("secrets", ID).unwrap();
    assert_eq!(
        secret["metadata"]["ownerReferences"][0]["uid"],
        format!("uid-{ID}")
    );
    // The Job is there first, and runs only when the Secret is there, too.
    let seen: Vec<String> = world
        .seen()
        .iter()
        .map(|seen| {
            format!(
                "{} {}",
                seen.method,
                seen.target.split(['?', '/']).next_back().unwrap()
            )
        })
        .collect();
    assert_eq!(world.seen()[0].body["spec"]["suspend"], true, "{seen:?}");
    assert_eq!(world.object("jobs", ID).unwrap()["spec"]["suspend"], false);
}

#[test]
fn a_submit_that_fails_half_way_leaves_nothing_jc_25() {
    let site = Site::new();
    site.server.change(|world| world.forbid("create secrets"));
    let error = site.client().submit(&Manifests::of(&submission())).unwrap_err();
    let ClusterError::Forbidden {
        who, verb, resource, ..
    } = &error
    else {
        panic!("{error}")
    };
    assert_eq!((verb.as_str(), resource.as_str()), ("create", "secrets"));
    assert_eq!(who, "system:serviceaccount:ci:bot");
    let world = site.server.world();
    assert_eq!(world.names("jobs"), Vec::<String>::new());
    assert_eq!(world.names("secrets"), Vec::<String>::new());
}

#[test]
fn a_source_goes_into_the_waiting_pod_whole() {
    let site = Site::new();
    let client = site.client();
    client.submit(&Manifests::of(&submission())).unwrap();
    let bytes: Vec<u8> = (0..700_000_u32).flat_map(u32::to_le_bytes).collect();
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&bytes).unwrap();
    file.rewind().unwrap();
    let mut source = SourceArchive {
        file,
        size: bytes.len() as u64,
        digest: Digest::of(&bytes),
    };
    site.server.change(|world| {
        world.pod(ID, "app-1");
        world.run("app-1", "source");
    });
    // Cut in the middle, refused, and cut at the very end: the next attempt begins at the beginning (JC-02).
    site.server
        .fault("GET", "/exec", crate::fake_cluster::Fault::Cut(100_000));
    site.server.fault(
        "GET",
        "/exec",
        crate::fake_cluster::Fault::Answer(500, "InternalError", "the kubelet is away".to_owned()),
    );
    site.server
        .fault("GET", "/exec", crate::fake_cluster::Fault::Cut(bytes.len()));
    client
        .send_source(ID, "/lifecycle", &mut source, Duration::from_mins(5))
        .unwrap();
    let world = site.server.world();
    assert_eq!(world.uploads().len(), 1);
    assert!(world.uploads()[0] == bytes, "other bytes");
    let commands = world.seen().iter().filter(|seen| seen.target.contains("/exec"));
    assert!(commands.clone().count() >= 4);
    for seen in commands {
        assert!(seen.target.contains("command=receive"), "{}", seen.target);
        assert!(seen.target.contains("container=source"), "{}", seen.target);
    }
}

#[test]
fn the_users_wish_ends_following_jc_24() {
    let site = Site::new();
    let following = site.build();
    following.wait_for(|event| matches!(event, Event::State(_)));
    following.control.wish(Wish::Detach);
    let story = following.end();
    assert_eq!(story.end.unwrap(), Followed::Detached);
    assert!(site.server.world().object("jobs", ID).is_some(), "it runs on");
    let following = follow(site.client());
    following.wait_for(|event| matches!(event, Event::State(_)));
    following.control.wish(Wish::Cancel);
    let cancelled = Followed::ToTheEnd(Outcome::Cancelled);
    assert_eq!(following.end().end.unwrap(), cancelled);
    // Whoever submitted it removes it.
    site.client().delete(ID).unwrap();
    let world = site.server.world();
    assert!(world.object("jobs", ID).is_none());
    assert!(world.object("secrets", ID).is_none());
}

#[test]
fn a_wish_is_heard_by_whoever_follows_later_and_while_the_server_is_away_jc_24() {
    let site = Site::new();
    let client = site.client();
    client.submit(&Manifests::of(&submission())).unwrap();
    site.server.stop();
    let control = Control::default();
    control.wish(Wish::Detach);
    let followed = client.follow(ID, &control, &mut |event| panic!("{event:?}"));
    assert_eq!(followed.unwrap(), Followed::Detached);
}

#[test]
fn builds_are_listed_cancelled_removed_and_pruned() {
    let site = Site::new();
    let client = site.client();
    client.submit(&Manifests::of(&submission())).unwrap();
    site.server.change(|world| {
        world.pod(ID, "app-1");
        world.run("app-1", "source");
        world.say("app-1", "source", "one");
        world.put("secrets", json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": "orphan", "labels": {"app.kubernetes.io/managed-by": "lifecycle", "lifecycle.build/id": "x"}},
        }));
    });
    let list = client.list().unwrap();
    assert_eq!(list.len(), 1);
    assert_eq!(list[0].tags, ["r.test/team/app:1"]);
    assert_eq!(list[0].state.word(), "Running(source)");
    let mut lines = Vec::new();
    client.logs(ID, None, &mut |event| lines.push(event)).unwrap();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert_eq!(lines[1], Event::Line("one".to_owned()));

    client.cancel(ID).unwrap();
    assert_eq!(
        site.server.world().object("jobs", ID).unwrap()["spec"]["suspend"],
        true
    );
    // The Job's controller removes the pod.
    site.server.change(|world| world.remove("pods", "app-1"));
    let status = client.status(ID).unwrap();
    assert_eq!(status.state, State::Finished(Outcome::Cancelled));

    let (builds, secrets) = client.prune(Duration::ZERO).unwrap();
    assert_eq!(builds.len(), 1);
    assert_eq!(secrets, ["orphan"]);
    assert!(
        matches!(client.status(ID), Err(ClusterError::NoBuild(id)) if id == ID),
        "JC-26"
    );
}

#[test]
fn what_is_gone_has_not_failed_jc_26() {
    let site = Site::new();
    let following = site.build();
    following.wait_for(|event| matches!(event, Event::State(_)));
    site.server.change(|world| world.remove("jobs", ID));
    assert_eq!(following.end().end.unwrap(), Followed::ToTheEnd(Outcome::Gone));
}

#[test]
fn doctor_names_each_missing_role_with_what_grants_it() {
    let site = Site::new();
    site.server.change(|world| world.forbid("get pods/log"));
    let findings = site.client().examine(&Manifests::of(&submission())).unwrap();
    let wrong: Vec<_> = findings.iter().filter(|finding| !finding.is_fine).collect();
    assert_eq!(wrong.len(), 1, "{wrong:#?}");
    assert_eq!(wrong[0].subject, "get pods/log");
    let grant = wrong[0].grant.as_deref().unwrap();
    assert!(
        grant.contains(r#"resources: ["pods/log"]"#) && grant.contains(r#"verbs: ["get"]"#),
        "{grant}"
    );
    assert!(findings.iter().any(|finding| finding.found.contains("v1.33.0")));
    assert_eq!(
        site.server.world().names("pods"),
        Vec::<String>::new(),
        "nothing is made"
    );
}
