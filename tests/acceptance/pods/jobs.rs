//! `lifecycle jobs`, queues, and Ctrl-C, in front of the scripted API server.

use serde_json::json;

use super::client::Client;
use crate::support::Invocation;

/// What a person sees and types.
const CTRL_C: &str = "\u{3}";
const QUESTION: &str = "Ctrl-C cancels. ";

/// Runs a program on a terminal, with somebody who answers texts.
fn at_a_terminal(invocation: &Invocation, talk: &[(&str, &str)]) -> Invocation {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/terminal.py");
    let talk = json!(talk).to_string();
    invocation.clone().under(&["python3", script, &talk])
}

/// Whether a Job is there; one whose client cancels it is removed.
fn runs_on(client: &Client) -> bool {
    !client.server.world().names("jobs").is_empty()
}

#[test]
fn ctrl_c_on_a_terminal_asks_and_detaches_or_cancels_jc_24() {
    for (answer, code, is_cancelled, says) in [
        ("d\n", 0, false, "runs on; `lifecycle jobs logs"),
        ("c\n", 110, true, "was cancelled"),
        // A second one, in place of an answer.
        (CTRL_C, 110, true, "was cancelled"),
    ] {
        let client = Client::new();
        let source = client.site.small_source();
        let build = client.build(&source, &[]);
        let person = at_a_terminal(&build, &[("Submitted app-", CTRL_C), (QUESTION, answer)]);
        person.fails(code).says(says);
        assert_eq!(runs_on(&client), !is_cancelled, "after {answer:?}");
        // What runs on keeps its source, what does not has none any more.
        let removed = client.registry_requests("DELETE", "/manifests/");
        assert_eq!(removed, usize::from(is_cancelled), "after {answer:?}");
    }
}

#[test]
fn any_other_answer_lets_the_build_go_on_and_ctrl_c_asks_again_jc_24() {
    let client = Client::new();
    let source = client.site.small_source();
    let talk = [
        ("Submitted app-", CTRL_C),
        (QUESTION, "what?\n"),
        // Not what the terminal repeats at once: a Ctrl-C throws away what was not read yet.
        ("goes on", CTRL_C),
        (QUESTION, "d\n"),
    ];
    let build = client.build(&source, &[]);
    at_a_terminal(&build, &talk).succeeds().says("runs on");
    assert!(runs_on(&client));
}

#[test]
fn without_a_terminal_a_signal_cancels_unless_detaching_was_asked_for_jc_24() {
    for (arguments, code) in [(&[][..], 110), (&["--on-interrupt", "detach"], 0)] {
        let client = Client::new();
        let source = client.site.small_source();
        let running = client.build(&source, arguments).start();
        let job = client.server.job();
        client.wait_until_followed(&job);
        running.signal(rustix::process::Signal::INT);
        running.wait().with_code(code);
        assert_eq!(runs_on(&client), code == 0);
    }
}

#[test]
fn a_queue_is_the_clusters_jc_12() {
    let client = Client::new();
    let source = client.site.small_source();
    let submit = |arguments: &[&str]| {
        let detached = client
            .build(&source, &[&["--detach"], arguments].concat())
            .succeeds();
        detached.stdout().trim().to_owned()
    };
    let queued = submit(&["--queue", "builds"]);
    let job = client.server.world().object("jobs", &queued).unwrap().clone();
    assert_eq!(job["spec"]["suspend"], true);
    assert_eq!(job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"], "builds");
    client
        .lifecycle(&["jobs", "status", &queued])
        .succeeds()
        .says("Queued");
    client.lifecycle(&["jobs", "list"]).succeeds().says("Queued");
    // The queue lets it run.
    client.server.change(|world| {
        let mut object = world.object("jobs", &queued).unwrap().clone();
        object["spec"]["suspend"] = json!(false);
        world.put("jobs", object);
        world.pod(&queued, "pod-1");
        world.run("pod-1", "source");
    });
    client
        .lifecycle(&["jobs", "status", &queued])
        .succeeds()
        .says("Running(source)");
}

#[test]
fn jobs_shows_ends_and_removes_builds_jc_20_jc_25_jc_26() {
    let client = Client::new();
    let source = client.site.small_source();
    let submit = || {
        client
            .build(&source, &["--detach"])
            .succeeds()
            .stdout()
            .trim()
            .to_owned()
    };
    let (failed, cancelled, running) = (submit(), submit(), submit());
    client.server.change(|world| {
        world.pod(&failed, "pod-1");
        world.run("pod-1", "source");
        world.say("pod-1", "source", "brought it");
        world.end("pod-1", "source", 0, "Completed", "");
        world.run("pod-1", "build");
        world.say("pod-1", "build", "made a mess");
        world.end("pod-1", "build", 7, "Error", "no room for more");
        world.finish(&failed, "Failed", "PodFailurePolicy");
        world.pod(&running, "pod-2");
        world.run("pod-2", "source");
    });
    let listed = client.lifecycle(&["jobs", "list"]).succeeds();
    listed
        .says(&failed)
        .says("Failed")
        .says("build ended with 7: no room for more")
        .says("Running(source)");
    let all = client
        .lifecycle(&["jobs", "list", "--output", "json"])
        .succeeds()
        .json();
    assert_eq!(all.as_array().unwrap().len(), 3);

    let logs = |arguments: &[&str]| client.lifecycle(&[&["jobs", "logs"], arguments].concat());
    logs(&[&failed]).succeeds().says("brought it").says("made a mess");
    logs(&[&failed, "--step", "build"])
        .succeeds()
        .says("made a mess")
        .does_not_say("brought it");
    let before = client.registry_requests("DELETE", "/manifests/");
    logs(&[&failed, "--follow"]).fails(7).says("no room for more");
    // Nobody else looks after the source of a detached build that failed.
    assert_eq!(client.registry_requests("DELETE", "/manifests/"), before + 1);

    client
        .lifecycle(&["jobs", "cancel", &cancelled])
        .succeeds()
        .says("is cancelled");
    client
        .lifecycle(&["jobs", "status", &cancelled])
        .succeeds()
        .says("Cancelled");
    assert_eq!(client.registry_requests("DELETE", "/manifests/"), before + 2);

    // Only what has ended is pruned, and what runs keeps its source.
    let pruned = client.lifecycle(&["jobs", "prune"]).succeeds().stdout();
    let mut pruned: Vec<&str> = pruned.lines().collect();
    pruned.sort_unstable();
    let mut ended = [failed.as_str(), cancelled.as_str()];
    ended.sort_unstable();
    assert_eq!(pruned, ended);
    assert_eq!(client.server.world().names("jobs"), [running.as_str()]);
    client.lifecycle(&["jobs", "delete", &running]).succeeds();
    assert_eq!(client.server.world().names("jobs"), [""; 0]);
    assert_eq!(client.server.world().names("pods"), [""; 0]);
    assert_eq!(client.registry_requests("DELETE", "/manifests/"), before + 3);
    client
        .lifecycle(&["jobs", "status", &running])
        .fails(114)
        .says(&running);
}
