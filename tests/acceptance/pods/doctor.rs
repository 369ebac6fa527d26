//! `lifecycle doctor` in a pod: what it names is what the manifest has to grant.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::{EXECUTOR, Site, imposed};
use crate::support::kubelet;

/// A pod that is asked what it may do, and then does it.
struct Patient {
    site: Site,
    pod: Value,
}

impl Patient {
    /// As restricted as Pod Security has it.
    fn restricted() -> Self {
        let site = Site::with_builder();
        let volumes = json!([{"name": "store", "emptyDir": {}}, {"name": "source", "emptyDir": {}}]);
        let mounts = json!([
            {"name": "store", "mountPath": "/store"},
            {"name": "source", "mountPath": "/source"},
        ]);
        let pod = json!({
            "securityContext": {"runAsUser": 1000, "runAsGroup": 1000, "fsGroup": 1000},
            "volumes": volumes,
            "containers": [{
                "name": "doctor", "image": EXECUTOR, "volumeMounts": mounts,
                "env": [{"name": "LIFECYCLE_STORE", "value": "/store/images"}, {"name": "TMPDIR", "value": "/store"}],
                "securityContext": {
                    "runAsNonRoot": true, "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true,
                    "capabilities": {"drop": ["ALL"]}, "seccompProfile": {"type": "RuntimeDefault"},
                },
            }],
        });
        Self { site, pod }
    }

    fn container(&mut self) -> &mut Value {
        &mut self.pod["containers"][0]
    }

    fn run(&self, words: &[&str]) -> crate::support::Finished {
        let mut container = self.pod["containers"][0].clone();
        container["command"] = json!([&["/kaniko/lifecycle"], words].concat());
        let log: PathBuf = self.site.machine.path("doctor-pod/termination-log");
        let kubelet = self.site.kubelet("doctor", imposed(None));
        std::fs::write(&log, "").unwrap();
        kubelet.container(&self.pod, &container, &[], &log).run()
    }

    fn report(&self) -> Value {
        self.run(&["doctor", "--output", "json"]).with_code(0).json()
    }

    /// The lines that a rung lacks: the first text between backquotes of each.
    fn lacks(&self, rung: u64) -> Vec<String> {
        let report = self.report();
        let rungs = report["rungs"].as_array().unwrap();
        let rung = rungs.iter().find(|found| found["number"] == rung).unwrap();
        let line = |missing: &Value| {
            let grant = missing["grant"].as_str().unwrap();
            grant.split('`').nth(1).unwrap_or(grant).to_owned()
        };
        rung["missing"]
            .as_array()
            .into_iter()
            .flatten()
            .map(line)
            .collect()
    }

    /// Does as a reader of the line would.
    fn write(&mut self, line: &str) {
        let (key, value) = line.split_once(": ").unwrap();
        let value = match (key, value) {
            ("capabilities", list) => {
                let names = &list[list.find('[').unwrap()..=list.find(']').unwrap()];
                json!({"drop": ["ALL"], "add": serde_json::from_str::<Value>(names).unwrap()})
            }
            (_, "{type: Unconfined}") => json!({"type": "Unconfined"}),
            (_, "Unmasked") => json!("Unmasked"),
            (_, plain) => serde_json::from_str(plain).unwrap(),
        };
        if key == "hostUsers" {
            self.pod[key] = value;
            return;
        }
        let context = &mut self.container()["securityContext"];
        context[key] = value;
        if key == "runAsUser" {
            context["runAsNonRoot"] = json!(false);
        }
    }

    /// Writes the first line that is named, until none is; each must be gone then, and no other may come in its place.
    fn lift(&mut self, rung: u64) -> Vec<String> {
        let all = self.lacks(rung);
        let mut lacking = all.clone();
        while let Some(first) = lacking.first().cloned() {
            self.write(&first);
            let left = self.lacks(rung);
            assert!(
                left.iter().all(|line| lacking[1..].contains(line)),
                "after {first}: {left:?}, before: {lacking:?}"
            );
            lacking = left;
        }
        all
    }

    /// Builds a Dockerfile with RUN.
    fn builds(&self) {
        let base = self.site.registry.name("run");
        let dockerfile = format!("FROM {base}\nUSER root\nRUN echo made >/made && chown 5:6 /made\n");
        let source = self.site.machine.path("doctor-pod/source");
        std::fs::write(source.join("Dockerfile"), dockerfile).unwrap();
        let name = self.site.registry.name("lifted:1");
        // The store of before is of the user of before.
        let words = [
            "build", "/source", "--tag", &name, "--output", "registry", "--store",
        ];
        self.run(&[&words[..], &["/store/lifted"]].concat()).with_code(0);
    }
}

#[test]
fn the_lines_that_doctor_names_lift_a_restricted_pod_to_the_first_rung() {
    if !kubelet::is_possible() {
        return;
    }
    let mut patient = Patient::restricted();
    let lines = patient.lift(1);
    let keys: Vec<&str> = lines.iter().map(|line| line.split(':').next().unwrap()).collect();
    assert_eq!(
        keys,
        [
            "hostUsers",
            "seccompProfile",
            "runAsUser",
            "capabilities",
            "allowPrivilegeEscalation",
            "procMount"
        ]
    );
    assert_eq!(patient.report()["isolation"]["number"], 1);
    patient.builds();
}

#[test]
fn the_lines_that_doctor_names_lift_a_restricted_pod_to_chroot() {
    if !kubelet::is_possible() {
        return;
    }
    let mut patient = Patient::restricted();
    let lines = patient.lift(4);
    let keys: Vec<&str> = lines.iter().map(|line| line.split(':').next().unwrap()).collect();
    assert_eq!(keys, ["runAsUser", "capabilities"]);
    assert_eq!(patient.report()["isolation"]["number"], 4);
    patient.builds();
}

#[test]
fn doctor_names_the_one_line_that_a_pod_lacks() {
    if !kubelet::is_possible() {
        return;
    }
    let mut patient = Patient::restricted();
    let grown = patient.lift(1);
    let whole = patient.pod.clone();
    let lifted = patient.pod["containers"][0]["securityContext"].clone();
    // Each restriction alone, on a pod that has everything else.
    for (line, key, value) in [
        ("runAsUser: 0", "runAsUser", json!(1000)),
        ("procMount: Unmasked", "procMount", json!("Default")),
        ("capabilities", "capabilities", json!({"drop": ["SYS_ADMIN"]})),
    ] {
        let mut context = lifted.clone();
        context[key] = value;
        patient.container()["securityContext"] = context;
        let lacking = patient.lacks(1);
        assert!(
            lacking.iter().any(|found| found.starts_with(line)),
            "{line} of {grown:?} is not in {lacking:?}"
        );
        assert!(
            !lacking.iter().any(|found| found.starts_with("hostUsers")),
            "{lacking:?}"
        );
        patient.pod = whole.clone();
    }
}

#[test]
fn a_read_only_root_without_a_volume_is_named_with_the_volume() {
    if !kubelet::is_possible() {
        return;
    }
    let mut patient = Patient::restricted();
    patient.container()["volumeMounts"] = json!([]);
    patient.container()["env"] = json!([{"name": "HOME", "value": "/"}]);
    let report = patient.report();
    let store = &report["store"];
    assert!(
        store["reason"]
            .as_str()
            .unwrap()
            .contains("Read-only file system"),
        "{store}"
    );
    assert!(
        store["grant"]
            .as_str()
            .unwrap()
            .contains("`volumes: [{name: store, emptyDir: {}}]`"),
        "{store}"
    );
    let text = patient.run(&["doctor"]).with_code(0).stdout();
    assert!(text.contains("emptyDir"), "{text}");
}
