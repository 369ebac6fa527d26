//! What a build survives, and that it leaves one image and nothing else.

use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::client::{Client, objects, tell};
use super::{Site, digest, imposed};
use crate::support::fake_cluster::Fault;
use crate::support::{Invocation, kubelet};

/// The tags of the repository of `app`.
fn tags(site: &Site) -> Value {
    let list = format!("http://{}/v2/app/tags/list", site.registry.host());
    Invocation::new("curl", &["--silent", &list]).succeeds().json()["tags"].clone()
}

#[test]
fn a_step_waits_for_a_registry_that_is_away() {
    if !kubelet::is_possible() {
        return;
    }
    let mut site = Site::new();
    let source = site.small_source();
    let expected = site.local_digest(&source);
    let job = site.job(&source, &[""; 0]);
    let (objects, pod) = (
        job.objects.clone(),
        job.object()["spec"]["template"]["spec"].clone(),
    );
    site.send("pod", &source);
    let kubelet = site.kubelet("pod", imposed(None));
    site.registry.stop();
    let ended = thread::scope(|scope| {
        let running = scope.spawn(|| kubelet.run(&objects));
        // Longer than a person would be made to wait.
        thread::sleep(Duration::from_secs(9));
        site.registry.start_again();
        running.join().unwrap()
    });
    assert_eq!(digest(&ended), expected);
    assert_eq!(tags(&site), json!(["1"]));
    assert_eq!(pod["restartPolicy"], "Never", "it was the same pod");
}

#[test]
fn a_build_survives_all_of_it_and_leaves_one_image() {
    if !kubelet::is_possible() {
        return;
    }
    let client = Client::new();
    let (site, server) = (&client.site, &client.server);
    let source = site.small_source();
    let kubelet = site.kubelet("node", imposed(None));
    let mut running = client.build(&source, &[]).start();
    let job = server.job();
    // The log of the first pod is cut in the middle of a line.
    server.fault("GET", "/log?", Fault::Cut(90));
    server.change(|world| {
        world.pod(&job, "pod-1");
        world.run("pod-1", "source");
        for line in ["first of all", "then a second line", "and a third"] {
            world.say("pod-1", "source", line);
        }
    });
    running.wait_until_it_says("and a third");
    // The API server is restarted, and takes other tokens than before.
    server.stop();
    server.kubeconfig_with_token(&site.machine.path(""), "fresh");
    server.change(|world| world.require_token("fresh"));
    thread::sleep(Duration::from_millis(500));
    server.start_again();
    // The node is lost with its pod; the Job's controller makes another one.
    server.change(|world| {
        world.set_pod("pod-1", &json!({
            "phase": "Failed", "reason": "NodeLost",
            "conditions": [{
                "type": "DisruptionTarget", "status": "True", "reason": "DeletionByTaintManager", "message": "node",
            }],
        }));
        world.remove("pods", "pod-1");
        world.pod(&job, "pod-2");
        world.run("pod-2", "source");
    });
    let mut steps = Vec::new();
    let objects = objects(&server.world(), &job);
    for ended in kubelet.run(&objects) {
        server.change(|world| tell(world, &job, "pod-2", &ended));
        steps.push(ended.step);
    }
    let finished = running.wait().with_code(0);
    let expected = site.local_digest(&source);
    assert!(
        finished.stdout().trim().ends_with(&expected),
        "{}",
        finished.text()
    );
    let text = finished.text();
    for line in [
        "first of all",
        "then a second line",
        "and a third",
        "COPY page.txt",
    ] {
        assert_eq!(text.matches(line).count(), 1, "{line:?} in {text}");
    }
    assert_eq!(steps, ["source", "build", "result"]);
    // One image, one push of it, and nothing of the source.
    assert_eq!(tags(site), json!(["1"]));
    assert_eq!(client.registry_requests("PUT", "/v2/app/manifests/1"), 1);
    assert_eq!(client.registry_requests("DELETE", "/manifests/"), 1);
    // Whatever was secret goes with the Job.
    let id = server.world().names("jobs").remove(0);
    client.lifecycle(&["jobs", "delete", &id]).succeeds();
    assert_eq!(server.world().names("secrets"), [""; 0]);
}

#[test]
fn a_second_pod_after_a_push_pushes_the_same_digest() {
    if !kubelet::is_possible() {
        return;
    }
    let site = Site::new();
    let source = site.source("FROM scratch\nCOPY page.txt /\nENV A=1\n", &[("page.txt", "1\n")]);
    let job = site.job(&source, &[""; 0]);
    // The node is lost after the push and before anybody knows: another pod, elsewhere, with nothing of the first.
    let first = job.run("lost", None);
    let second = job.digest("other", Some(super::RANDOM_USER));
    assert_eq!(digest(&first), second);
    assert_eq!(tags(&site), json!(["1"]));
}
