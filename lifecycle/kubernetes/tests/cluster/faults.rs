//! A server and a network that fail in every way that they can.

use std::time::Duration;

use lifecycle_kubernetes::{ClusterError, Event, Followed, Manifests, Outcome, State};
use serde_json::json;

use crate::fake_cluster::{Fault, World};
use crate::samples::{Following, ID, Site, Story, submission};

/// Shorter than what stalls here.
const SILENCE: Duration = Duration::from_millis(500);

/// The last step ends, and the Job with it.
fn succeed(world: &mut World, pod: &str) {
    for step in ["source", "build"] {
        world.end(pod, step, 0, "Completed", "");
    }
    world.run(pod, "result");
    world.end(
        pod,
        "result",
        0,
        "Completed",
        r#"{"digest":"sha256:b","tags":[]}"#,
    );
    world.set_pod(pod, &json!({"phase": "Succeeded"}));
    world.finish(ID, "Complete", "");
}

/// A build whose step says `count` lines, a few of each time.
fn say(world: &mut World, count: usize) -> Vec<String> {
    let lines: Vec<String> = (0..count).map(|number| format!("line {number}")).collect();
    for line in &lines {
        world.say("app-1", "build", line);
    }
    lines
}

fn begin(site: &Site) {
    site.server.change(|world| {
        world.pod(ID, "app-1");
        world.run("app-1", "source");
        world.end("app-1", "source", 0, "Completed", "");
        world.run("app-1", "build");
    });
}

fn succeeds(story: &Story) {
    assert!(
        matches!(story.end, Ok(Followed::ToTheEnd(Outcome::Succeeded(_)))),
        "{:?}\n{:#?}",
        story.end,
        story.events
    );
}

fn follow_through(site: &Site, following: Following, expected: &[String]) -> Story {
    following.wait_for_line(expected.last().unwrap());
    site.server.change(|world| succeed(world, "app-1"));
    let story = following.end();
    succeeds(&story);
    assert_eq!(story.lines(), expected);
    story
}

#[test]
fn no_line_is_lost_or_doubled_when_log_streams_are_cut_jc_20() {
    let site = Site::with_silence(SILENCE);
    for bytes in [1, 40, 41, 400, 0, 777] {
        site.server.fault("GET", "container=build", Fault::Cut(bytes));
    }
    site.server.fault("GET", "container=build", Fault::Drop);
    let stall = Fault::Stall(Duration::from_hours(1));
    site.server.fault("GET", "container=build", stall);
    for status in [429, 500, 503] {
        let fault = Fault::Answer(status, "X", "not now".to_owned());
        site.server.fault("GET", "container=build", fault);
    }
    let following = site.build();
    begin(&site);
    let expected = site.server.change(|world| say(world, 40));
    follow_through(&site, following, &expected);
}

#[test]
fn lines_of_a_container_that_has_ended_meanwhile_are_not_lost() {
    let site = Site::new();
    site.server.fault("GET", "container=build", Fault::Cut(100));
    let following = site.build();
    let expected = site.server.change(|world| {
        world.pod(ID, "app-1");
        let lines = say(world, 30);
        succeed(world, "app-1");
        lines
    });
    let story = following.end();
    succeeds(&story);
    assert_eq!(story.lines(), expected);
}

#[test]
fn a_build_outlives_a_restart_of_the_server() {
    let site = Site::new();
    let following = site.build();
    begin(&site);
    let mut expected = site.server.change(|world| say(world, 5));
    following.wait_for_line("line 4");
    site.server.stop();
    std::thread::sleep(Duration::from_millis(700));
    site.server.change(|world| {
        world.say("app-1", "build", "meanwhile");
        world.compact();
    });
    expected.push("meanwhile".to_owned());
    site.server.start_again();
    follow_through(&site, following, &expected);
}

#[test]
fn a_watch_that_is_cut_stalls_or_is_too_old_misses_nothing() {
    for fault in [
        Fault::Cut(10),
        Fault::Drop,
        Fault::Stall(Duration::from_hours(1)),
        Fault::Answer(410, "Expired", "too old resource version".to_owned()),
        Fault::Answer(429, "TooManyRequests", "slow down".to_owned()),
        Fault::Answer(500, "InternalError", "etcd".to_owned()),
    ] {
        let site = Site::with_silence(SILENCE);
        for of in ["/jobs?&watch=true", "/pods?&watch=true"] {
            site.server.fault("GET", of, fault.clone());
        }
        let following = site.build();
        begin(&site);
        let expected = site.server.change(|world| say(world, 3));
        let story = follow_through(&site, following, &expected);
        assert!(
            story.words().contains(&"Running(build)".to_owned()),
            "{fault:?}: {:?}",
            story.words()
        );
    }
}

#[test]
fn a_job_is_made_once_though_the_answer_was_lost() {
    let site = Site::new();
    site.server.fault("POST", "/jobs", Fault::DropAnswer);
    site.server.fault(
        "POST",
        "/secrets",
        Fault::Answer(500, "InternalError", "etcd".to_owned()),
    );
    site.server.fault(
        "POST",
        "/secrets",
        Fault::Answer(429, "TooManyRequests", "slow down".to_owned()),
    );
    site.client().submit(&Manifests::of(&submission())).unwrap();
    let world = site.server.world();
    assert_eq!(world.names("jobs"), [ID]);
    assert_eq!(world.names("secrets"), [ID]);
    assert_eq!(world.object("jobs", ID).unwrap()["spec"]["suspend"], false);
}

#[test]
fn a_token_that_expires_is_read_anew() {
    let site = Site::new();
    let following = site.build();
    begin(&site);
    let expected = site.server.change(|world| say(world, 2));
    following.wait_for_line("line 1");
    // Both happen at once in the life of a token, and the streams that it opened end.
    site.write_token("fresh");
    site.server.change(|world| world.require_token("fresh"));
    site.server.stop();
    std::thread::sleep(Duration::from_millis(300));
    site.server.start_again();
    let more = site.server.change(|world| {
        world.say("app-1", "build", "later");
        "later".to_owned()
    });
    let expected: Vec<String> = expected.into_iter().chain([more]).collect();
    follow_through(&site, following, &expected);
}

#[test]
fn credentials_that_are_over_for_good_are_named() {
    let site = Site::new();
    let client = site.client();
    site.server.change(|world| world.require_token("another"));
    let error = client.submit(&Manifests::of(&submission())).unwrap_err();
    assert!(matches!(error, ClusterError::Unauthorized(_)), "{error}");
}

/// A build whose first pod is lost in some way, and whose second one gets to the end.
fn try_twice(lose: impl FnOnce(&mut World)) -> Story {
    let site = Site::new();
    let following = site.build();
    begin(&site);
    site.server
        .change(|world| world.say("app-1", "build", "first try"));
    following.wait_for_line("first try");
    site.server.change(|world| {
        lose(world);
        world.pod(ID, "app-2");
        world.end("app-2", "source", 0, "Completed", "");
        world.run("app-2", "build");
        world.say("app-2", "build", "second try");
    });
    following.wait_for_line("second try");
    site.server.change(|world| succeed(world, "app-2"));
    let story = following.end();
    succeeds(&story);
    story
}

#[test]
fn an_evicted_pod_is_followed_by_another_jc_20() {
    let story = try_twice(|world| {
        world.end("app-1", "build", 137, "Error", "");
        world.set_pod("app-1", &json!({
            "phase": "Failed",
            "conditions": [{"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler", "message": "preempted"}],
        }));
    });
    assert_eq!(story.lines(), ["first try", "second try"]);
    let is_second = |event: &Event| matches!(event, Event::State(State::Running { attempt: 2, .. }));
    assert!(story.events.iter().any(is_second));
}

#[test]
fn a_lost_node_takes_its_log_with_it_and_the_build_goes_on() {
    let story = try_twice(|world| drop(world.remove("pods", "app-1")));
    let gone = Event::Note("the pod app-1 is gone".to_owned());
    assert!(story.events.contains(&gone));
}

#[test]
fn the_end_of_a_build_has_a_code_of_its_own_jc_22() {
    type Ending = fn(&mut World);
    let endings: [(Ending, u8, &str); 5] = [
        (
            |world| {
                world.end(
                    "app-1",
                    "build",
                    51,
                    "Error",
                    "ERROR: no such package\nbuild: failed\n",
                );
                world.finish(ID, "Failed", "PodFailurePolicy");
            },
            51,
            "build ended with 51: build: failed",
        ),
        (
            |world| {
                world.end("app-1", "build", 137, "OOMKilled", "");
                world.finish(ID, "Failed", "BackoffLimitExceeded");
            },
            113,
            "build used more memory than its limit",
        ),
        (
            |world| {
                let message = "Container build exceeded its local ephemeral storage limit \"1Gi\". ";
                world.end("app-1", "build", 137, "Error", "");
                world.set_pod(
                    "app-1",
                    &json!({"phase": "Failed", "reason": "Evicted", "message": message}),
                );
                world.finish(ID, "Failed", "BackoffLimitExceeded");
            },
            112,
            "ephemeral storage limit \"1Gi\"",
        ),
        (
            |world| {
                world.remove("pods", "app-1");
                world.finish(ID, "Failed", "DeadlineExceeded");
            },
            111,
            "",
        ),
        (
            |world| {
                world.remove("pods", "app-1");
                let mut job = world.object("jobs", ID).unwrap().clone();
                job["metadata"]["annotations"]["lifecycle.build/cancelled"] = json!("2026-01-01T00:00:00Z");
                job["spec"]["suspend"] = json!(true);
                world.put("jobs", job);
            },
            110,
            "",
        ),
    ];
    for (ending, code, said) in endings {
        let site = Site::new();
        let following = site.build();
        begin(&site);
        following.wait_for(|event| matches!(event, Event::State(State::Running { .. })));
        site.server.change(ending);
        let story = following.end();
        let Ok(Followed::ToTheEnd(outcome)) = story.end else {
            panic!("{:?}", story.end)
        };
        assert_eq!(outcome.exit_code(), code, "{outcome:?}");
        let reason = State::Finished(outcome).reason();
        assert!(reason.contains(said), "{reason}");
    }
}
