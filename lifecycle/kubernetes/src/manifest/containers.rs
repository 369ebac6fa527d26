//! The steps of a build, a container each: they run one after the other, and each sees no more than it needs.

use k8s_openapi::api::core::v1::{
    AppArmorProfile, Capabilities, Container, EnvVar, EnvVarSource, ResourceRequirements, SeccompProfile,
    SecretKeySelector, SecurityContext, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::key;
use super::volumes::{
    self, AUTHORITIES, CACHE, CREDENTIALS, LAYERS, ORDER, PLATFORM, SECRETS, SOURCE, SOURCE_VOLUME, STORE,
    WORKSPACE, mount, mount_to_read, scratch,
};
use crate::submission::{CacheAt, Credentials, Phases, PodSecurity, Recipe, SourceAt, Submission};

/// The steps before the last, in order.
pub(super) fn steps(submission: &Submission) -> Vec<Container> {
    let mut steps = vec![source(submission)];
    match &submission.recipe {
        Recipe::Dockerfile { arguments, secrets } => {
            steps.push(dockerfile(submission, arguments, secrets.keys()));
        }
        Recipe::Buildpacks(phases) => steps.extend(self::phases(submission, phases)),
    }
    steps
}

/// The last step: puts the digest into the termination message, and removes the uploaded source (JC-23, JC-25).
pub(super) fn result(submission: &Submission) -> Container {
    let mut step = Step::executor(submission, "result");
    step.argue(["pod", "result"]);
    match &submission.recipe {
        Recipe::Dockerfile { .. } => step.argue(["--digest-file", DIGEST_FILE]),
        Recipe::Buildpacks(_) => step.argue(["--report", REPORT]),
    }
    for tag in &submission.tags {
        step.argue(["--tag", &tag.to_string()]);
    }
    step.mounts.push(mount_to_read("layers", LAYERS));
    if let SourceAt::Artifact(artifact) = &submission.source {
        step.argue(["--delete-source", &artifact.to_string()]);
        step.speak_to_registries(true);
    }
    step.container()
}

const DIGEST_FILE: &str = "/layers/digest";
const REPORT: &str = "/layers/report.toml";

/// Brings the source.
fn source(submission: &Submission) -> Container {
    let mut step = Step::executor(submission, "source");
    step.argue(["pod", "source", &format!("{SOURCE_VOLUME}/{SOURCE}")]);
    match &submission.source {
        SourceAt::Artifact(artifact) => {
            step.argue(["--artifact", &artifact.to_string()]);
            step.speak_to_registries(true);
        }
        SourceAt::Stream { patience } => step.argue(["--wait", &patience.as_secs().to_string()]),
        SourceAt::Remote { place, variables } => {
            step.argue(["--from", place]);
            step.secrets = variables.keys().map(String::as_str).collect();
            step.speak_to_registries(false);
        }
    }
    step.mounts.push(mount("workspace", SOURCE_VOLUME));
    step.container()
}

/// Builds a Dockerfile. RUN is isolated from this container's credentials by the executor itself.
fn dockerfile<'a>(
    submission: &Submission,
    arguments: &[String],
    secrets: impl Iterator<Item = &'a String>,
) -> Container {
    let mut step = Step::executor(submission, "build");
    step.security = submission.security;
    step.argue([
        "build",
        WORKSPACE,
        "--output",
        "registry",
        "--digest-file",
        DIGEST_FILE,
    ]);
    for tag in &submission.tags {
        step.argue(["--tag", &tag.to_string()]);
    }
    step.arguments.extend(arguments.iter().cloned());
    let mut has_secrets = false;
    for id in secrets {
        step.argue(["--secret", &format!("id={id},src={SECRETS}/{id}")]);
        has_secrets = true;
    }
    if has_secrets {
        step.mounts.push(mount_to_read("secrets", SECRETS));
    }
    let (volume, store) = match &submission.cache {
        CacheAt::Volume(_) => ("cache", CACHE),
        CacheAt::None | CacheAt::Image(_) => ("store", STORE),
    };
    // The volume itself is root's, and a store belongs to its user.
    step.argue(["--store", &format!("{store}/lifecycle")]);
    if let CacheAt::Image(image) = &submission.cache {
        let cache = format!("type=registry,ref={image}");
        step.argue(["--cache-from", &cache, "--cache-to", &format!("{cache},mode=max")]);
    }
    step.mounts.push(mount(volume, store));
    step.mounts.push(volumes::source(WORKSPACE));
    step.mounts.push(mount("layers", LAYERS));
    step.speak_to_registries(true);
    step.resources = resources_of_build(submission);
    step.container()
}

/// The phases of the platform specification, as platforms give them their flags (platforms.md 3.2). Only those that speak
/// to registries see credentials (JC-13).
fn phases(submission: &Submission, phases: &Phases) -> Vec<Container> {
    let app = phases.app.as_deref().unwrap_or(WORKSPACE);
    let phase = |name: &'static str, program: &str| {
        let mut step = Step::new(submission, name, phases.builder.clone());
        step.arguments = vec![format!("/cnb/lifecycle/{program}")];
        step.set("CNB_PLATFORM_API", &phases.api);
        step.mounts.push(volumes::source(app));
        if let Some(exec_env) = &phases.exec_env {
            step.set("CNB_EXEC_ENV", exec_env);
        }
        step.mounts.push(mount("layers", LAYERS));
        step
    };
    let app = format!("-app={app}");
    let (uid, gid) = phases.owner;
    let uid = uid.map(|uid| format!("-uid={uid}"));
    let owner: Vec<String> = uid
        .into_iter()
        .chain(gid.map(|gid| format!("-gid={gid}")))
        .collect();
    let layers = format!("-layers={LAYERS}");
    let group = format!("-group={LAYERS}/group.toml");
    let plan = format!("-plan={LAYERS}/plan.toml");
    let analyzed = format!("-analyzed={LAYERS}/analyzed.toml");
    let platform = format!("-platform={PLATFORM}");
    let log = "-log-level=info".to_owned();
    let (name, more) = match submission.tags.split_first() {
        Some((name, more)) => (name.to_string(), more),
        None => (String::new(), &[][..]),
    };
    let cache_image = match &submission.cache {
        CacheAt::Image(image) => Some(format!("-cache-image={image}")),
        CacheAt::None | CacheAt::Volume(_) => None,
    };
    let cache = match &submission.cache {
        CacheAt::Volume(_) => Some(format!("-cache-dir={CACHE}")),
        CacheAt::None | CacheAt::Image(_) => cache_image.clone(),
    };
    let mut analyze = phase("analyze", "analyzer");
    analyze
        .arguments
        .extend([layers.clone(), analyzed.clone(), log.clone()]);
    analyze
        .arguments
        .extend(phases.run_image.iter().map(|image| format!("-run-image={image}")));
    let previous = phases
        .previous_image
        .iter()
        .map(|image| format!("-previous-image={image}"));
    analyze.arguments.extend(previous);
    analyze.arguments.extend(cache_image.clone());
    analyze.arguments.extend(owner.clone());
    analyze
        .arguments
        .extend(more.iter().map(|tag| format!("-tag={tag}")));
    analyze.arguments.push(name.clone());
    analyze.speak_to_registries(true);

    let mut detect = phase("detect", "detector");
    detect.arguments.extend([
        app.clone(),
        layers.clone(),
        group.clone(),
        plan.clone(),
        platform.clone(),
        log.clone(),
    ]);
    if phases.order.is_some() {
        detect.argue([&format!("-order={ORDER}/order.toml")]);
        detect.mounts.push(mount_to_read("order", ORDER));
    }

    let mut restore = phase("restore", "restorer");
    restore
        .arguments
        .extend([layers.clone(), group.clone(), analyzed.clone(), log.clone()]);
    if phases.clear_cache {
        restore.argue(["-skip-layers=true"]);
    } else {
        restore.arguments.extend(cache.clone());
    }
    restore.arguments.extend(owner.clone());
    restore.speak_to_registries(true);

    let mut build = phase("build", "builder");
    build.arguments.extend([
        app.clone(),
        layers.clone(),
        group.clone(),
        plan,
        platform,
        log.clone(),
    ]);
    for step in [&mut detect, &mut build] {
        if !phases.env.is_empty() {
            step.mounts.push(mount_to_read("platform", "/platform/env"));
        }
        for (name, value) in &submission.registry.proxies {
            step.set(name, value);
        }
    }

    let mut export = phase("export", "exporter");
    export
        .arguments
        .extend([app, layers, group, analyzed, format!("-report={REPORT}"), log]);
    export.arguments.extend(cache);
    export.arguments.extend(owner);
    export.arguments.extend(
        phases
            .process
            .iter()
            .map(|process| format!("-process-type={process}")),
    );
    export.arguments.push(name);
    export.arguments.extend(more.iter().map(ToString::to_string));
    if let Some(epoch) = phases.epoch {
        export.set("SOURCE_DATE_EPOCH", &epoch.to_string());
    }
    export.speak_to_registries(true);

    if matches!(submission.cache, CacheAt::Volume(_)) {
        for step in [&mut restore, &mut export] {
            step.mounts.push(mount("cache", CACHE));
        }
    }
    [analyze, detect, restore, build, export]
        .map(Step::container)
        .into()
}

/// A container in the making.
struct Step<'a> {
    submission: &'a Submission,
    name: &'static str,
    image: String,
    arguments: Vec<String>,
    env: Vec<(String, String)>,
    /// Variables whose values are in the build's Secret.
    secrets: Vec<&'a str>,
    mounts: Vec<VolumeMount>,
    resources: ResourceRequirements,
    security: PodSecurity,
}

impl<'a> Step<'a> {
    fn new(submission: &'a Submission, name: &'static str, image: String) -> Self {
        let mut step = Self {
            submission,
            name,
            image,
            arguments: Vec::new(),
            env: Vec::new(),
            secrets: Vec::new(),
            mounts: vec![scratch(name)],
            resources: resources(submission),
            security: PodSecurity::Restricted,
        };
        // The root is read-only, so that no other home could be written to.
        step.set("HOME", "/tmp");
        step
    }

    /// A step that runs our program.
    fn executor(submission: &'a Submission, name: &'static str) -> Self {
        let mut step = Self::new(submission, name, submission.executor.image.clone());
        step.arguments = vec![submission.executor.program.clone()];
        step
    }

    fn argue<const N: usize>(&mut self, arguments: [&str; N]) {
        self.arguments.extend(arguments.map(str::to_owned));
    }

    fn set(&mut self, name: &str, value: &str) {
        self.env.push((name.to_owned(), value.to_owned()));
    }

    /// Gives what it takes to reach registries, and with `credentials` to be let in.
    fn speak_to_registries(&mut self, credentials: bool) {
        let registry = &self.submission.registry;
        for (name, value) in &registry.proxies {
            self.set(name, value);
        }
        if !registry.insecure.is_empty() {
            self.set("CNB_INSECURE_REGISTRIES", &registry.insecure.join(","));
        }
        if registry.ca.is_some() {
            self.set("SSL_CERT_DIR", &format!("/etc/ssl/certs:{AUTHORITIES}"));
            self.mounts.push(mount_to_read("ca", AUTHORITIES));
        }
        if credentials && self.submission.credentials != Credentials::None {
            self.set("DOCKER_CONFIG", CREDENTIALS);
            self.mounts.push(mount_to_read("credentials", CREDENTIALS));
        }
    }

    fn container(self) -> Container {
        let variable = |(name, value)| EnvVar {
            name,
            value: Some(value),
            value_from: None,
        };
        let secret = |name: &str| EnvVar {
            name: name.to_owned(),
            value: None,
            value_from: Some(EnvVarSource {
                secret_key_ref: Some(SecretKeySelector {
                    name: self.submission.id.clone(),
                    key: key::of_source(name),
                    optional: None,
                }),
                ..EnvVarSource::default()
            }),
        };
        let secrets: Vec<EnvVar> = self.secrets.iter().map(|name| secret(name)).collect();
        Container {
            name: self.name.to_owned(),
            image: Some(self.image),
            command: Some(self.arguments),
            working_dir: Some("/tmp".to_owned()),
            env: Some(self.env.into_iter().map(variable).chain(secrets).collect()),
            volume_mounts: Some(self.mounts),
            resources: Some(self.resources),
            security_context: Some(security(self.security)),
            // What a failed step said last stands in for the message that it could not write itself.
            termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
            ..Container::default()
        }
    }
}

/// On every container, as quotas count them; init containers count by their maximum (JC-16). CPU has no limit: a build
/// that could go on would be made to wait.
fn resources(submission: &Submission) -> ResourceRequirements {
    let asked = &submission.resources;
    let limited = [
        ("memory", &asked.memory),
        ("ephemeral-storage", &asked.ephemeral_storage),
    ];
    let quantity = |(name, amount): (&str, String)| (name.to_owned(), Quantity(amount));
    let limits = limited
        .into_iter()
        .filter_map(|(name, amount)| Some((name, amount.as_ref()?.to_string())));
    let requests = [
        ("cpu", &asked.cpu, format!("{USUAL_CPU}m")),
        ("memory", &asked.memory, "512Mi".to_owned()),
        ("ephemeral-storage", &asked.ephemeral_storage, "1Gi".to_owned()),
    ];
    let requests = requests.map(|(name, amount, otherwise)| {
        let amount = amount.as_ref().map_or(otherwise, ToString::to_string);
        quantity((name, amount))
    });
    let limits: std::collections::BTreeMap<_, _> = limits.map(quantity).collect();
    ResourceRequirements {
        requests: Some(requests.into()),
        limits: (!limits.is_empty()).then_some(limits),
        ..ResourceRequirements::default()
    }
}

/// The limits of a RUN in a pod are those of the container that it runs in: there is no group of processes inside of it
/// that could have others.
fn resources_of_build(submission: &Submission) -> ResourceRequirements {
    let asked = &submission.resources;
    let mut resources = resources(submission);
    let requests = resources.requests.get_or_insert_default();
    let limits = resources.limits.get_or_insert_default();
    if let Some(most) = asked.build_cpu {
        limits.insert("cpu".to_owned(), Quantity(format!("{most}m")));
        if asked.cpu.is_none() {
            // No more may be asked for than is allowed.
            requests.insert("cpu".to_owned(), Quantity(format!("{}m", most.min(USUAL_CPU))));
        }
    }
    if let Some(memory) = asked.build_memory {
        for amounts in [limits, requests] {
            amounts.insert("memory".to_owned(), Quantity(memory.to_string()));
        }
    }
    resources.limits = resources.limits.filter(|limits| !limits.is_empty());
    resources
}

/// What is asked for of a processor, in thousandths.
const USUAL_CPU: u64 = 500;

/// What a container may do (platforms.md 3.4).
fn security(security: PodSecurity) -> SecurityContext {
    let seccomp = SeccompProfile {
        type_: "RuntimeDefault".to_owned(),
        localhost_profile: None,
    };
    let context = SecurityContext {
        seccomp_profile: Some(seccomp),
        read_only_root_filesystem: Some(true),
        ..SecurityContext::default()
    };
    let root = SecurityContext {
        run_as_user: Some(0),
        run_as_group: Some(0),
        run_as_non_root: Some(false),
        ..context.clone()
    };
    match security {
        PodSecurity::Restricted => SecurityContext {
            run_as_non_root: Some(true),
            allow_privilege_escalation: Some(false),
            capabilities: Some(Capabilities {
                add: None,
                drop: Some(vec!["ALL".to_owned()]),
            }),
            ..context
        },
        PodSecurity::Baseline => root,
        // All of it is worth something inside the pod's own user namespace only. The profile for AppArmor that
        // runtimes set refuses every mount.
        PodSecurity::UserNamespace => SecurityContext {
            capabilities: Some(Capabilities {
                add: Some(vec!["SYS_ADMIN".to_owned()]),
                drop: None,
            }),
            proc_mount: Some("Unmasked".to_owned()),
            app_armor_profile: Some(AppArmorProfile {
                type_: "Unconfined".to_owned(),
                localhost_profile: None,
            }),
            ..root
        },
    }
}
