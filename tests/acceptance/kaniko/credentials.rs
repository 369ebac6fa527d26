//! Where kaniko looks for credentials, and who must not see them (kaniko.md 1.9, 5.4, G#106).

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::{contains, content, executor, push_shell, read, to_layout};
use crate::support::executable::write_program;
use crate::support::{Access, ExecutorRoot, Invocation, Machine, PASSWORD, Registry};

const DOCKERFILE: &str = "FROM scratch\nLABEL a=b\n";

#[test]
fn credentials_lie_where_kaniko_looks_for_them_1_9() {
    let (machine, registry) = (Machine::new(), Registry::start_with(Access::Password));
    let context = machine.files("context", &[("Dockerfile", DOCKERFILE)]);
    let job = |arguments: &[&str]| {
        let name = registry.name("app");
        executor(
            &machine,
            &[&["-c", context.to_str().unwrap(), "-d", &name], arguments].concat(),
        )
    };
    let refused = |invocation: Invocation| invocation.fails(1).does_not_say(PASSWORD);
    // Before the build, not after it.
    refused(job(&[])).does_not_say("[stage-0");
    let config = registry.credentials(PASSWORD);
    let directory = machine.files("docker", &[("config.json", &config)]);
    job(&[]).env("DOCKER_CONFIG", &directory).succeeds();
    job(&[]).env("DOCKER_AUTH_CONFIG", &config).succeeds();
    refused(job(&[]).env("DOCKER_AUTH_CONFIG", registry.credentials("wrong")));
    let variable = format!("KANIKO_{}_", registry.host().replace(['.', ':'], "_"));
    let of_variables = |invocation: Invocation| {
        let (user, password) = (format!("{variable}USER"), format!("{variable}PASSWORD"));
        invocation.env(&user, "somebody").env(&password, PASSWORD)
    };
    of_variables(job(&[])).succeeds();
    of_variables(job(&["--credential-helpers=env"])).succeeds();
    refused(of_variables(job(&["--credential-helpers="])));
    refused(of_variables(job(&["--credential-helpers=gitlab"])));
    let gitlab = |invocation: Invocation| {
        invocation
            .env("CI_REGISTRY", registry.host())
            .env("CI_REGISTRY_USER", "somebody")
            .env("CI_REGISTRY_PASSWORD", PASSWORD)
    };
    gitlab(job(&[])).succeeds();
    // A helper that the file names, in PATH.
    let helpers = machine.path("helpers");
    let says = format!("#!/bin/sh\necho '{{\"Username\":\"somebody\",\"Secret\":\"{PASSWORD}\"}}'\n");
    write_program(&helpers.join("docker-credential-ours"), &says);
    let named = machine.files("named", &[("config.json", r#"{"credsStore": "ours"}"#)]);
    let path = format!("{}:/usr/bin:/bin", helpers.display());
    job(&[]).env("DOCKER_CONFIG", &named).env("PATH", path).succeeds();
}

#[test]
fn login_writes_what_the_others_read() {
    let (machine, registry) = (Machine::new(), Registry::start_with(Access::Password));
    let docker = machine.files(
        "docker",
        &[("config.json", r#"{"credHelpers": {"r.test": "ours"}}"#)],
    );
    let password = machine.files("secret", &[("password", &format!("{PASSWORD}\n"))]);
    let host = registry.host();
    let login = |arguments: &[&str]| {
        executor(
            &machine,
            &[&["login", &host, "--username=somebody"], arguments].concat(),
        )
        .env("DOCKER_CONFIG", &docker)
    };
    login(&[]).fails(1).says("--password-stdin");
    login(&["--password-stdin"])
        .input(password.join("password"))
        .succeeds();
    let written = read(docker.join("config.json"));
    assert!(
        written.contains("credHelpers") && !written.contains(PASSWORD),
        "{written}"
    );
    let mode = fs::metadata(docker.join("config.json"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    // push: a layout and a tar.
    let context = machine.files("context", &[("Dockerfile", DOCKERFILE)]);
    let archive = machine.text("image.tar");
    to_layout(
        &machine,
        &[
            "-c",
            context.to_str().unwrap(),
            "--tar-path",
            &archive,
            "-d",
            "a/b:c",
        ],
    )
    .succeeds();
    for (number, path) in [machine.text("out"), archive].iter().enumerate() {
        let name = registry.name(&format!("pushed:{number}"));
        let push = executor(&machine, &["push", path, "-d", &name]);
        push.env("DOCKER_CONFIG", &docker).succeeds().says("Pushed");
    }
    executor(&machine, &["push", "nowhere", "-d", "r.test/x"]).fails(1);
    executor(&machine, &["version"]).succeeds().says("lifecycle ");
}

/// G#106, O#586: a step sees neither credentials nor secrets of others, and starts nothing for the builder.
#[test]
fn steps_see_no_credentials_5_3() {
    let (machine, open) = (Machine::new(), Registry::start());
    let shell = push_shell(&machine, &open);
    let marker = "MARKER-OF-A-SECRET";
    let file = format!(
        "FROM {shell}\nRUN --mount=type=secret,id=s cat /run/secrets/s >/dev/null\n\
         RUN env >/seen; ls -la /kaniko /root /run/secrets >>/seen 2>&1; grep -r {} /bin /etc /root /kaniko /workspace /tmp /run /var 2>/dev/null >>/seen; \
         cat /proc/*/environ /proc/*/cmdline >>/seen 2>/dev/null; ls -l /proc/self/fd >/fds; true\n",
        &marker[..9]
    );
    let secret = machine.files("secret", &[("s", marker)]);
    let context = machine.files("context", &[("Dockerfile", &file)]);
    let auth = format!(r#"{{"auths": {{"{marker}.test": {{"auth": "dTpNQVJLRVItT0YtQS1TRUNSRVQ="}}}}}}"#);
    let build = to_layout(&machine, &["-c", context.to_str().unwrap(), "--secret"])
        .argument(format!("id=s,src={}", secret.join("s").display()))
        .env("DOCKER_AUTH_CONFIG", &auth)
        .env("KANIKO_R_TEST_PASSWORD", marker)
        .env("GIT_TOKEN", marker);
    build.succeeds().does_not_say(marker);
    assert!(!contains(&content(&machine), marker));
    if crate::support::accounts::is_root() {
        // In a pod the program and its credentials lie in the root that the build starts in.
        let root = ExecutorRoot::new(&machine);
        fs::write(root.at("kaniko/.docker/config.json"), &auth).unwrap();
        fs::write(root.at("workspace/Dockerfile"), &file).unwrap();
        fs::write(root.at("workspace/.dockerignore"), "s\n").unwrap();
        fs::write(root.at("workspace/s"), marker).unwrap();
        let words = [
            "--no-push",
            "--oci-layout-path=/workspace/out",
            "--secret=id=s,src=/workspace/s",
        ];
        root.executor(&words)
            .env("GIT_TOKEN", marker)
            .succeeds()
            .says("secret-on-disk")
            .does_not_say(marker);
        fs::remove_dir_all(machine.path("out")).unwrap();
        fs::rename(root.at("workspace/out"), machine.path("out")).unwrap();
        assert!(!contains(&content(&machine), marker), "in a pod");
    }
}

/// O#560, O#586, O#587, O#663: a helper that a base image, a trigger or a COPY brings is never started, wherever it lies and
/// whatever the image says about PATH.
#[test]
fn helpers_of_an_image_are_never_started_5_3() {
    let (machine, open) = (Machine::new(), Registry::start());
    let closed = Registry::start_with(Access::Password);
    let shell = push_shell(&machine, &open);
    let canary = machine.path("canary");
    let helper = format!(
        "#!/bin/sh\necho started >>{}\necho '{{\"Username\":\"somebody\",\"Secret\":\"{PASSWORD}\"}}'\n",
        canary.display()
    );
    let plant = "COPY --chmod=755 helper /kaniko/docker-credential-planted\n\
                 COPY --chmod=755 helper /usr/local/bin/docker-credential-planted\n\
                 COPY --chmod=755 helper /bin/docker-credential-planted\n";
    let base = open.name("planted");
    let file = format!("FROM {shell}\nENV PATH=/kaniko:/usr/local/bin:/bin\n{plant}ONBUILD {plant}");
    let planted = machine.files("planted", &[("helper", &helper), ("Dockerfile", &file)]);
    executor(&machine, &["-c", planted.to_str().unwrap(), "-d", &base]).succeeds();
    let file = format!("FROM {base}\nRUN echo 1 >/one\n{plant}RUN echo 2 >/two\n");
    let context = machine.files("context", &[("helper", &helper), ("Dockerfile", &file)]);
    let docker = machine.files("docker", &[("config.json", r#"{"credsStore": "planted"}"#)]);
    let job = || {
        let words = [
            "-c",
            context.to_str().unwrap(),
            "-d",
            &closed.name("app"),
            "--skip-push-permission-check",
        ];
        executor(&machine, &words).env("DOCKER_CONFIG", &docker)
    };
    job().fails(1).does_not_say(PASSWORD);
    assert!(!canary.exists(), "a helper of the image was started");
    // This machine's own helper of that name is.
    let own = machine.path("own");
    write_program(&own.join("docker-credential-planted"), &helper);
    job()
        .env("PATH", format!("{}:/usr/bin:/bin", own.display()))
        .succeeds();
    assert!(canary.exists());
}
