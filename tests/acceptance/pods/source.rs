//! How the source comes into a pod.

use std::fs;
use std::path::Path;

use super::{RANDOM_USER, Site, archive};
use crate::support::file_server::FileServer;
use crate::support::{Invocation, Machine, kubelet};

#[test]
fn a_streamed_source_is_taken_whole_or_not_at_all_jc_02_jc_03() {
    let machine = Machine::new();
    let source = machine.files("source", &[("page.txt", "first\n")]);
    let sent = machine.path("source.tar");
    archive(&source, &sent);
    let bytes = fs::read(&sent).unwrap();
    let size = bytes.len().to_string();
    let digest = lifecycle_image::Digest::of(&bytes).to_string();
    let temporary = machine.path("tmp");
    fs::create_dir(&temporary).unwrap();
    let (short, long, other) = (machine.path("short"), machine.path("long"), machine.path("other"));
    fs::write(&short, &bytes[..bytes.len() - 1]).unwrap();
    fs::write(&long, [&bytes[..], b"and more"].concat()).unwrap();
    let mut changed = bytes.clone();
    changed[0] ^= 1;
    fs::write(&other, changed).unwrap();
    let pod = |words: &[&str]| {
        machine
            .lifecycle(&[&["pod"], words].concat())
            .env("TMPDIR", &temporary)
    };
    let receive = |input: &Path| pod(&["receive", "--size", &size, "--digest", &digest]).input(input);
    let received = || fs::read_dir(&temporary).unwrap().count();
    let into = machine.text("workspace");
    // What is cut off, or something else, is not shown to the step that waits; it gives up in the end.
    for wrong in [&short, &other] {
        receive(wrong).fails(1);
        assert_eq!(received(), 0, "{}", wrong.display());
    }
    pod(&["source", &into, "--wait", "1"])
        .fails(1)
        .says("no source came within 1 seconds");
    // The client's end of the stream stays open: no more is read than was announced.
    let waiting = pod(&["source", &into, "--wait", "60"]).start();
    receive(&long).succeeds().says("received");
    let waited = waiting.wait();
    assert!(waited.status().success(), "{}", waited.text());
    assert_eq!(
        fs::read_to_string(machine.path("workspace/page.txt")).unwrap(),
        "first\n"
    );
    assert_eq!(received(), 0, "the archive is gone when it is unpacked");
}

#[test]
fn an_object_is_fetched_by_the_pod_and_its_keys_are_for_that_step_alone() {
    if !kubelet::is_possible() {
        return;
    }
    let site = Site::new();
    let source = site.small_source();
    let tar = site.machine.path("context.tar");
    archive(&source, &tar);
    let server = FileServer::start();
    server.keep("/bucket/context.tar", fs::read(&tar).unwrap(), &[]);
    let build = site.build(
        Path::new("s3://bucket/context.tar"),
        &["--dockerfile", "--dry-run", "--output=json"],
    );
    let printed = build
        .env("AWS_ACCESS_KEY_ID", "key-of-the-bucket")
        .env("AWS_SECRET_ACCESS_KEY", "hush-hush")
        .env("AWS_REGION", "here")
        .env("S3_ENDPOINT", server.url(""))
        .succeeds();
    let job = site.job_of(&printed, &source);
    let pod = &job.object()["spec"]["template"]["spec"];
    for container in pod["initContainers"]
        .as_array()
        .unwrap()
        .iter()
        .chain(pod["containers"].as_array().unwrap())
    {
        let knows = container.to_string().contains("source.AWS_SECRET_ACCESS_KEY");
        assert_eq!(knows, container["name"] == "source", "{container}");
    }
    assert!(!job.object().to_string().contains("hush-hush"));
    assert_eq!(job.digest("pod", Some(RANDOM_USER)), site.local_digest(&source));
    let authorization = server.seen()[0].headers["authorization"].clone();
    assert!(
        authorization.contains("Credential=key-of-the-bucket/"),
        "{authorization}"
    );
}

/// The pod's root is the executor image: no git, no shell.
#[test]
fn a_repository_is_fetched_by_a_pod_that_has_the_executor_alone() {
    if !kubelet::is_possible() {
        return;
    }
    let site = Site::new();
    let server = FileServer::start();
    let git = |script: &str| {
        let script = format!(
            "export GIT_CONFIG_GLOBAL=/dev/null; git() {{ command git -c user.name=a -c user.email=a@b \"$@\"; }}; {script}"
        );
        let directory = site.machine.text("");
        Invocation::new("sh", &["-euc", &format!("cd {directory}; {script}")]).succeeds()
    };
    git(
        "git init -q -b main part; cd part; echo part >part.txt; git add .; git commit -qm 1; git clone -q --bare . ../part.git",
    );
    server.keep_repository("/part.git", &site.machine.path("part.git"));
    let made = git(&format!(
        "git init -q -b main whole; cd whole; mkdir app; echo first >app/page.txt; echo '**/.git' >app/.dockerignore
         printf 'FROM scratch\\nCOPY . /\\n' >app/Dockerfile; git submodule --quiet add {} app/part; git add .; git commit -qm 1
         git rev-parse HEAD; echo second >>app/page.txt; git commit -qam 2
         git clone -q --bare . ../whole.git; git checkout -q HEAD~1",
        server.url("/part.git")
    ));
    server.keep_repository("/whole.git", &site.machine.path("whole.git"));
    let address = format!("{}#{}:app", server.url("/whole.git"), made.stdout().trim());
    let printed = site
        .build(
            Path::new(&address),
            &["--dockerfile", "--dry-run", "--output=json"],
        )
        .succeeds();
    let local = site.machine.path("whole/app");
    let job = site.job_of(&printed, &local);
    assert_eq!(job.digest("pod", Some(RANDOM_USER)), site.local_digest(&local));
}

#[test]
fn a_profile_that_a_pod_cannot_read_is_refused_with_what_it_can() {
    let site = Site::new();
    let aws = site.machine.files(
        "aws",
        &[(
            "credentials",
            "[p]\naws_access_key_id = x\naws_secret_access_key = y\n",
        )],
    );
    let build = site.build(
        Path::new("s3://bucket/context.tar"),
        &["--dockerfile", "--dry-run"],
    );
    build
        .env("AWS_SHARED_CREDENTIALS_FILE", aws.join("credentials"))
        .env("AWS_PROFILE", "p")
        .fails(1)
        .says("AWS_ACCESS_KEY_ID");
}

#[test]
fn options_that_a_pod_can_follow_are_passed_on() {
    if !kubelet::is_possible() {
        return;
    }
    let site = Site::new();
    let source = site.small_source();
    let options = [
        "--annotation=org.example.a=b",
        "--isolation=none",
        "--shm-size=16m",
        "--add-host=db:192.0.2.7",
    ];
    let plain = site.job(&source, &options).digest("pod", None);
    let manifest = format!("http://{}/v2/app/manifests/{plain}", site.registry.host());
    let accept = "Accept: application/vnd.oci.image.manifest.v1+json";
    let manifest = Invocation::new("curl", &["--silent", "--header", accept, &manifest]);
    assert_eq!(manifest.succeeds().json()["annotations"]["org.example.a"], "b");
    let stated = site.job(&source, &["--sbom", "--provenance=mode=max"]);
    let stated = stated.digest("stated", None);
    let image = format!("registry:{}@{stated}", site.registry.name("app"));
    let bill = site.machine.lifecycle(&["sbom", &image]).succeeds().stdout();
    assert!(bill.contains("SPDXRef-DOCUMENT"), "{bill}");
    // In the pod nothing may run, as was asked for.
    let base = site.source("FROM scratch\nRUN true\n", &[]);
    let refused = site.job(&base, &["--isolation=none"]).run("refused", None);
    let last = refused.last().unwrap();
    assert!(
        last.finished.text().contains("no isolation to run commands in"),
        "{}",
        last.finished.text()
    );
}
