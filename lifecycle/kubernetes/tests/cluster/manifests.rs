//! The objects that builds become, to the letter. `SNAPSHOTS=overwrite` writes the golden files anew.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Secret};
use lifecycle_kubernetes::{
    CacheAt, Credentials, Life, Manifests, Phases, Placement, PodSecurity, Recipe, RegistryAccess, Resources,
    SourceAt, Submission, Volume,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use snapbox::data::DataFormat;
use snapbox::{Assert, Data};

use crate::samples;

/// A build with nothing that need not be.
fn submission(recipe: Recipe) -> Submission {
    let digest = format!("sha256:{}", "0".repeat(64));
    Submission {
        recipe,
        source: SourceAt::Artifact(format!("r.test/team/app@{digest}").parse().unwrap()),
        ..samples::submission()
    }
}

fn dockerfile() -> Recipe {
    Recipe::Dockerfile {
        arguments: vec!["--dockerfile".to_owned(), "Dockerfile".to_owned()],
        secrets: BTreeMap::new(),
    }
}

fn buildpacks() -> Recipe {
    Recipe::Buildpacks(Box::new(Phases {
        builder: "r.test/builder:1".to_owned(),
        api: "0.12".to_owned(),
        ..Phases::default()
    }))
}

/// Everything at once.
fn full() -> Submission {
    let mut submission = submission(Recipe::Buildpacks(Box::new(Phases {
        builder: "r.test/builder:1".to_owned(),
        api: "0.12".to_owned(),
        run_image: Some("r.test/run:1".to_owned()),
        process: Some("web".to_owned()),
        previous_image: Some("r.test/team/app:0".to_owned()),
        env: BTreeMap::from([("BP_X".to_owned(), b"s3cr3t".to_vec())]),
        order: Some("[[order]]\n".to_owned()),
        epoch: Some(0),
        clear_cache: false,
        exec_env: Some("test".to_owned()),
        owner: (Some(1001), Some(1002)),
        app: Some("/srv/app".to_owned()),
    })));
    submission.tags.push("r.test/team/app:latest".parse().unwrap());
    submission.source = SourceAt::Stream {
        patience: Duration::from_mins(10),
    };
    submission.credentials = Credentials::Sent(b"{}".to_vec());
    submission.cache = CacheAt::Volume(Volume {
        name: "app-cache".to_owned(),
        size: Some("5Gi".to_owned()),
        class: Some("fast".to_owned()),
    });
    submission.user = (1000, 1000);
    submission.placement = Placement {
        node_selector: BTreeMap::from([("kubernetes.io/arch".to_owned(), "arm64".to_owned())]),
        tolerations: vec![
            "dedicated=builds:NoSchedule".parse().unwrap(),
            "spot".parse().unwrap(),
        ],
        service_account: Some("builder".to_owned()),
        priority_class: Some("low".to_owned()),
        runtime_class: Some("gvisor".to_owned()),
        labels: BTreeMap::from([("kueue.x-k8s.io/queue-name".to_owned(), "builds".to_owned())]),
        annotations: BTreeMap::from([("team".to_owned(), "web".to_owned())]),
        pull_secrets: vec!["pull".to_owned()],
    };
    submission.resources = Resources {
        cpu: Some("2".parse().unwrap()),
        memory: Some("2Gi".parse().unwrap()),
        ephemeral_storage: Some("10Gi".parse().unwrap()),
        ..Resources::default()
    };
    submission.life = Life {
        timeout: Duration::from_mins(20),
        retries: 2,
        ttl: Duration::from_mins(5),
        suspended: true,
    };
    submission.registry = RegistryAccess {
        insecure: vec!["r.test".to_owned()],
        ca: Some("authorities".to_owned()),
        proxies: vec![("HTTPS_PROXY".to_owned(), "http://proxy.test:3128".to_owned())],
    };
    submission
}

/// All submissions with a golden file.
fn submissions() -> Vec<(&'static str, Submission)> {
    let mut cached = submission(dockerfile());
    cached.cache = CacheAt::Image("r.test/team/app:cache".parse().unwrap());
    cached.credentials = Credentials::Secret("registry".to_owned());
    cached.security = PodSecurity::UserNamespace;
    cached.recipe = Recipe::Dockerfile {
        arguments: vec!["--dockerfile".to_owned()],
        secrets: BTreeMap::from([("token".to_owned(), b"s3cr3t".to_vec())]),
    };
    let mut rooted = submission(dockerfile());
    rooted.security = PodSecurity::Baseline;
    rooted.source = SourceAt::Remote {
        place: "https://git.test/app.git#main".to_owned(),
        variables: BTreeMap::new(),
    };
    let mut object = submission(dockerfile());
    object.source = SourceAt::Remote {
        place: "s3://bucket/context.tar".to_owned(),
        variables: BTreeMap::from([("AWS_SECRET_ACCESS_KEY".to_owned(), "s3cr3t".to_owned())]),
    };
    vec![
        ("dockerfile", submission(dockerfile())),
        ("dockerfile-object", object),
        ("dockerfile-user-namespace", cached),
        ("dockerfile-baseline", rooted),
        ("buildpacks", submission(buildpacks())),
        ("buildpacks-full", full()),
    ]
}

#[test]
fn objects_are_as_in_the_golden_files_jc_18() {
    for (name, submission) in submissions() {
        let yaml = Manifests::of(&submission).to_yaml().unwrap();
        let path = format!("{}/tests/golden/{name}.yaml", env!("CARGO_MANIFEST_DIR"));
        let golden = Data::read_from(path.as_ref(), Some(DataFormat::Text)).raw();
        Assert::new()
            .action_env("SNAPSHOTS")
            .eq(Data::text(yaml).raw(), golden);
    }
}

/// Reads an object as the type it says it is, and writes it again: what the type does not know would be missing then.
pub(crate) fn strict<T: DeserializeOwned + Serialize>(value: &serde_json::Value) {
    let typed: T = serde_json::from_value(value.clone()).unwrap();
    assert_eq!(&serde_json::to_value(typed).unwrap(), value);
}

#[test]
fn the_yaml_holds_nothing_that_kubernetes_does_not_know() {
    for (name, submission) in submissions() {
        let yaml = Manifests::of(&submission).to_yaml().unwrap();
        let documents: Vec<serde_json::Value> = serde_saphyr::from_multiple(&yaml).unwrap();
        assert!(!documents.is_empty(), "{name}");
        for document in documents {
            match document["kind"].as_str().unwrap() {
                "Job" => strict::<Job>(&document),
                "Secret" => strict::<Secret>(&document),
                "PersistentVolumeClaim" => strict::<PersistentVolumeClaim>(&document),
                other => panic!("{name} has a {other}"),
            }
        }
    }
}

/// The containers of a build's pod, by name.
fn containers(submission: &Submission) -> BTreeMap<String, serde_json::Value> {
    let job = serde_json::to_value(Manifests::of(submission).job).unwrap();
    let pod = &job["spec"]["template"]["spec"];
    let lists = ["initContainers", "containers"].map(|key| pod[key].as_array().unwrap().clone());
    let containers = lists.concat().into_iter();
    containers
        .map(|container| (container["name"].as_str().unwrap().to_owned(), container))
        .collect()
}

#[test]
fn only_steps_that_speak_to_registries_see_credentials_jc_13() {
    let mut submission = full();
    submission.source = SourceAt::Artifact(format!("r.test/a@sha256:{}", "1".repeat(64)).parse().unwrap());
    for (name, container) in containers(&submission) {
        let text = container.to_string();
        let is_trusted = !matches!(name.as_str(), "detect" | "build");
        assert_eq!(
            text.contains("/var/run/lifecycle/credentials"),
            is_trusted,
            "{name}"
        );
        assert_eq!(text.contains("\"name\":\"credentials\""), is_trusted, "{name}");
        // Nor do variables for the buildpacks stand where everybody may read them.
        assert!(!text.contains("s3cr3t"), "{name}");
    }
}

#[test]
fn every_step_conforms_to_restricted_jc_12() {
    for submission in [full(), submission(dockerfile()), submission(buildpacks())] {
        for (name, container) in containers(&submission) {
            let security = &container["securityContext"];
            assert_eq!(security["runAsNonRoot"], true, "{name}");
            assert_eq!(security["allowPrivilegeEscalation"], false, "{name}");
            assert_eq!(security["capabilities"]["drop"][0], "ALL", "{name}");
            assert_eq!(security["capabilities"].get("add"), None, "{name}");
            assert_eq!(security["seccompProfile"]["type"], "RuntimeDefault", "{name}");
            assert_eq!(security["readOnlyRootFilesystem"], true, "{name}");
            assert!(container["resources"]["requests"]["memory"].is_string(), "{name}");
        }
        let job = serde_json::to_value(Manifests::of(&submission).job).unwrap();
        assert_eq!(
            job["spec"]["template"]["spec"]["automountServiceAccountToken"],
            false
        );
    }
}

#[test]
fn a_broken_build_is_never_repeated_and_a_preempted_one_is_jc_10() {
    let job = serde_json::to_value(Manifests::of(&submission(dockerfile())).job).unwrap();
    let spec = &job["spec"];
    assert_eq!(spec["backoffLimit"], 0);
    assert_eq!(spec["template"]["spec"]["restartPolicy"], "Never");
    let rules = spec["podFailurePolicy"]["rules"].as_array().unwrap();
    assert_eq!(rules[0]["action"], "Ignore");
    assert_eq!(rules[0]["onPodConditions"][0]["type"], "DisruptionTarget");
    assert_eq!(rules[1]["action"], "FailJob");
    let spared = rules[1]["onExitCodes"]["values"].as_array().unwrap();
    assert_eq!(rules[1]["onExitCodes"]["operator"], "NotIn");
    // What a phase ends with is never among the codes that may be repeated.
    for code in [1, 12, 20, 21, 51, 62, 102] {
        assert!(!spared.contains(&code.into()), "{code}");
    }
}

#[test]
fn the_limits_of_run_are_those_of_the_step_that_it_is_part_of() {
    let mut submission = submission(dockerfile());
    submission.resources.build_cpu = Some(250);
    submission.resources.build_memory = Some(64 << 20);
    let job = Manifests::of(&submission).job;
    let pod = job.spec.unwrap().template.spec.unwrap();
    let steps = pod.init_containers.unwrap().into_iter().chain(pod.containers);
    for step in steps {
        let resources = step.resources.unwrap();
        let requests = resources.requests.unwrap();
        if step.name == "build" {
            let limits = resources.limits.unwrap();
            assert_eq!(
                (limits["cpu"].0.as_str(), limits["memory"].0.as_str()),
                ("250m", "67108864")
            );
            // No more is asked for than is allowed.
            assert_eq!(
                (requests["cpu"].0.as_str(), requests["memory"].0.as_str()),
                ("250m", "67108864")
            );
        } else {
            assert_eq!(resources.limits, None, "{}", step.name);
            assert_eq!(requests["cpu"].0, "500m");
        }
    }
}
