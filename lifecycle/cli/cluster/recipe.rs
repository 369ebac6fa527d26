//! How a source is built on a cluster: with the arguments that a build here would have.

use std::collections::BTreeMap;
use std::path::Path;

use clap::ValueEnum;
use lifecycle_kubernetes::{Executor, Phases, Recipe};
use lifecycle_spec::PlatformApi;

use super::builder::Builder;
use super::context;
use crate::arguments::{BuildArguments, ConfinementArguments, NetworkArgument};
use crate::commands::build::{self, Project};
use crate::failure::Failure;
use crate::session::Session;

/// The program in the executor image.
const PROGRAM: &str = "/kaniko/lifecycle";
/// The same in builders that were made with it.
const PROGRAM_OF_BUILDER: &str = "/cnb/lifecycle/lifecycle";
/// The user of the executor image.
const NONROOT: (i64, i64) = (65532, 65532);
/// How the source is built, with what, and as whom.
pub(super) fn recipe(
    arguments: &BuildArguments,
    is_dockerfile: bool,
    session: &Session,
) -> Result<(Recipe, Executor, (i64, i64)), Failure> {
    let kubernetes = &arguments.kubernetes;
    let image = kubernetes.executor_image.clone().or_else(|| {
        session
            .environment
            .text("LIFECYCLE_EXECUTOR_IMAGE")
            .map(str::to_owned)
    });
    let asked_user = kubernetes.pod_user.as_deref().map(user).transpose()?;
    if is_dockerfile {
        let image = image.ok_or_else(|| {
            Failure::new("executor", "no image is named that holds this program")
                .help("push the executor image of a release to a registry of yours, and name it with --executor-image or LIFECYCLE_EXECUTOR_IMAGE")
        })?;
        let secrets = build::secrets(&arguments.dockerfile.secrets, session)?;
        let secrets = secrets
            .iter()
            .map(|(id, secret)| (id.clone(), secret.value().to_vec()));
        let recipe = Recipe::Dockerfile {
            arguments: dockerfile_arguments(arguments, session)?,
            secrets: secrets.collect(),
        };
        let program = PROGRAM.to_owned();
        return Ok((recipe, Executor { image, program }, asked_user.unwrap_or(NONROOT)));
    }
    let source = Path::new(arguments.source());
    let project = Project::read(source, arguments.descriptor.as_deref(), &session.console)?;
    if project.has_buildpacks() && arguments.buildpacks.is_empty() {
        return Err(Failure::new(
            "on-kubernetes",
            "project.toml says which buildpacks to use, which a build on a cluster does not read",
        )
        .help("name those of the builder with --buildpack, or build here"));
    }
    let builder = arguments
        .builder
        .as_deref()
        .or(project.builder())
        .ok_or_else(|| {
            Failure::new(
                "builder",
                "a build with buildpacks on a cluster needs a builder image that the cluster can pull",
            )
            .help("push one with `lifecycle builder create … --output registry`, and name it with --builder")
        })?;
    let mut builder = Builder::look_up(builder, asked_user, session)?;
    if asked_user.is_none() {
        let (uid, gid) = (arguments.pack.uid, arguments.pack.gid);
        builder.user = (
            uid.map_or(builder.user.0, i64::from),
            gid.map_or(builder.user.1, i64::from),
        );
    }
    let executor = match image {
        Some(image) => Executor {
            image,
            program: PROGRAM.to_owned(),
        },
        None => Executor {
            image: builder.name.clone(),
            program: PROGRAM_OF_BUILDER.to_owned(),
        },
    };
    let user = builder.user;
    let knows_exec_env = PlatformApi::negotiate(Some(&builder.api)).is_ok_and(PlatformApi::has_exec_env);
    if arguments.exec_env.is_some() && !knows_exec_env {
        return Err(Failure::new(
            "exec-env",
            format!(
                "the lifecycle of {} knows no execution environments: its platform API is {}",
                builder.name, builder.api
            ),
        )
        .help("take a builder whose lifecycle has platform API 0.15, or leave out --exec-env")
        .with_code(2));
    }
    let exec_env = arguments.exec_env.clone().unwrap_or_default();
    let mut env = BTreeMap::new();
    for (name, value) in build::variables(arguments, &project, &exec_env, session)? {
        env.insert(name, std::os::unix::ffi::OsStringExt::into_vec(value));
    }
    let phases = Phases {
        order: builder.order(
            &arguments.buildpacks,
            &arguments.pre_buildpacks,
            &arguments.post_buildpacks,
        )?,
        builder: builder.name,
        api: builder.api,
        run_image: arguments.run_image.clone(),
        process: arguments.process.clone(),
        previous_image: arguments.previous_image.clone(),
        env,
        epoch: build::created(arguments, session)?,
        clear_cache: arguments.clear_cache,
        exec_env: arguments.exec_env.as_ref().map(ToString::to_string),
        owner: (arguments.pack.uid, arguments.pack.gid),
        app: arguments
            .pack
            .workspace
            .as_ref()
            .map(|path| path.display().to_string()),
    };
    Ok((Recipe::Buildpacks(Box::new(phases)), executor, user))
}

/// The arguments that a build of a Dockerfile has there as here. What names a value of this environment is replaced by
/// that value: the pod has another environment.
fn dockerfile_arguments(arguments: &BuildArguments, session: &Session) -> Result<Vec<String>, Failure> {
    let given = &arguments.dockerfile;
    let file = given
        .file
        .as_ref()
        .map_or("Dockerfile".into(), |file| file.to_string_lossy());
    let file = if file.is_empty() {
        "Dockerfile".into()
    } else {
        file
    };
    let mut words = vec!["--dockerfile".to_owned(), file.into_owned()];
    let mut add = |option: &str, value: String| words.extend([option.to_owned(), value]);
    for text in &given.build_args {
        let text = match text.split_once('=') {
            Some(_) => text.clone(),
            None => format!("{text}={}", session.environment.text(text).unwrap_or_default()),
        };
        add("--build-arg", text);
    }
    for (key, value) in &given.labels {
        add("--label", format!("{key}={value}"));
    }
    if let Some(target) = &given.target {
        add("--target", target.clone());
    }
    for text in &given.cache_from {
        add("--cache-from", text.clone());
    }
    for text in &given.cache_to {
        add("--cache-to", text.clone());
    }
    if let Some(epoch) = build::created(arguments, session)? {
        add("--creation-time", epoch.to_string());
    }
    if let Some(stages) = &given.no_cache {
        words.push(format!("--no-cache={}", stages.join(",")));
    }
    if given.network == NetworkArgument::None {
        words.extend(["--network".to_owned(), "none".to_owned()]);
    }
    for (name, value) in &given.contexts {
        let there = context::place(name, value, arguments.source())?;
        words.push(format!("--build-context={name}={there}"));
    }
    words.extend(given.allow.iter().map(|power| format!("--allow={power}")));
    words.extend(confinement(&given.confinement));
    words.extend(attestations(arguments)?);
    Ok(words)
}

/// How RUN is kept apart in there.
fn confinement(given: &ConfinementArguments) -> Vec<String> {
    let isolation = given.isolation.and_then(|kind| kind.to_possible_value());
    let isolation = isolation.map(|kind| format!("--isolation={}", kind.get_name()));
    let shm_size = given.shm_size.map(|bytes| format!("--shm-size={bytes}"));
    let hosts = given.hosts.iter().map(|line| {
        // `IP NAME`, as a hosts file has it.
        let (address, name) = line.trim_end().split_once(['\t', ' ']).unwrap_or((line, ""));
        format!("--add-host={name}={address}")
    });
    isolation.into_iter().chain(shm_size).chain(hosts).collect()
}

/// What goes with the image. Of several platforms, what is on the index is written with it, here.
fn attestations(arguments: &BuildArguments) -> Result<Vec<String>, Failure> {
    let given = &arguments.result;
    let annotations = if arguments.platforms.len() > 1 {
        let own = build::annotations(arguments)?.manifest.into_iter();
        own.map(|(key, value)| format!("manifest:{key}={value}"))
            .collect()
    } else {
        given.annotations.clone()
    };
    let annotations = annotations.into_iter().map(|text| format!("--annotation={text}"));
    let attest = given.attest.iter().map(|text| format!("--attest={text}"));
    let sbom = given.sbom.iter().map(|text| format!("--sbom={text}"));
    let provenance = given.provenance.iter().map(|text| format!("--provenance={text}"));
    Ok(annotations.chain(attest).chain(sbom).chain(provenance).collect())
}

fn user(text: &str) -> Result<(i64, i64), Failure> {
    let ids = text
        .split_once(':')
        .and_then(|(user, group)| Some((user.parse().ok()?, group.parse().ok()?)));
    ids.filter(|(user, _): &(i64, i64)| *user > 0).ok_or_else(|| {
        Failure::new("pod-user", format!("--pod-user cannot be {text:?}")).help(
            "write two numbers with a colon between, as in 1000:1000; root is what --pod-security is for",
        )
    })
}
