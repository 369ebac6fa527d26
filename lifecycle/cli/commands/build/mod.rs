//! `lifecycle build`

mod builder;
mod buildpacks;
mod confinement;
mod dockerfile;
mod given;
mod kept;
mod modules;
mod previous;
mod project;
mod stack;
mod summary;
mod watcher;
mod writing;
mod zipped;

pub(crate) use self::dockerfile::{
    build as build_dockerfile, dockerfile_platform, failure_of, usual_options,
};
pub(crate) use self::given::{build_args, secrets};

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

use lifecycle_image::{Digest, Receipt};
use lifecycle_spec::ExecEnv;

use crate::arguments::{BuildArguments, Flow, On};
use crate::cluster;
use crate::context::Location;
use crate::failure::Failure;
use crate::output::Annotations;
use crate::session::Session;
use crate::variables::Variables;

pub(crate) use self::project::Project;

pub(crate) fn run(arguments: &BuildArguments, session: &Session) -> Result<ExitCode, Failure> {
    let source = arguments.source();
    let location = Location::parse(source)?;
    let is_dockerfile = dockerfile::is_asked_for(arguments, &location, &session.console);
    let is_on_cluster = arguments.kubernetes.on == Some(On::Kubernetes);
    arguments.given.suit(Flow::of(is_dockerfile, is_on_cluster))?;
    if is_on_cluster {
        return cluster::build(arguments, &location, is_dockerfile, session);
    }
    if is_dockerfile {
        let file = arguments.dockerfile.file.as_deref();
        let file = file.filter(|file| !file.as_os_str().is_empty());
        return dockerfile::run(arguments, file, &location, session);
    }
    let source = PathBuf::from(source);
    match zipped::unpack(&source, session)? {
        Some(unpacked) => buildpacks::run(arguments, unpacked.path(), session),
        None => buildpacks::run(arguments, &source, session),
    }
}

/// `--annotation`
pub(crate) fn annotations(arguments: &BuildArguments) -> Result<Annotations, Failure> {
    let mut annotations = Annotations::default();
    for text in &arguments.result.annotations {
        annotations.add(text)?;
    }
    Ok(annotations)
}

/// Where containers leave their last words, in a pod.
const TERMINATION_LOG: &str = "/dev/termination-log";

/// Leaves the digest where the caller looks for it: in the files of `--digest-file`, `--iidfile` and `--metadata-file` (O6),
/// and for the kubelet in the termination message (JC-23). `config` is the image's configuration, where the result is one
/// image.
pub(crate) fn record(
    arguments: &BuildArguments,
    receipt: &Receipt,
    config: Option<&Digest>,
    session: &Session,
) -> Result<(), Failure> {
    let digest = receipt.digest.as_str();
    if let Some(path) = &arguments.digest_file {
        fs_err::write(path, digest)?;
    }
    if let Some(path) = &arguments.result.iidfile {
        fs_err::write(path, config.unwrap_or(&receipt.digest).as_str())?;
    }
    if let Some(path) = &arguments.result.metadata_file {
        fs_err::write(path, format!("{:#}\n", metadata(receipt, config)))?;
    }
    let message = || {
        let tags = receipt.names.iter().map(ToString::to_string).collect();
        cluster::termination_message(digest, tags)
    };
    if let Some(path) = &arguments.termination_message {
        fs_err::write(path, message())?;
    } else if session.environment.is_pod() && Path::new(TERMINATION_LOG).is_file() {
        // A pod whose user may not write there is told its digest in other ways.
        if let Err(cause) = fs_err::write(TERMINATION_LOG, message()) {
            session
                .console
                .warning(format!("no termination message: {cause}"));
        }
    }
    Ok(())
}

/// What is known about a result, under BuildKit's names.
fn metadata(receipt: &Receipt, config: Option<&Digest>) -> serde_json::Value {
    let digest = receipt.digest.as_str();
    let names: Vec<String> = receipt.names.iter().map(ToString::to_string).collect();
    let mut metadata = serde_json::json!({
        "containerimage.digest": digest,
        "containerimage.descriptor": { "digest": digest, "size": receipt.manifest_size },
        "image.name": names.join(","),
    });
    if let Some(config) = config {
        metadata["containerimage.config.digest"] = config.as_str().into();
    }
    metadata
}

/// Variables for the buildpacks: of `project.toml`, then of files, then of the command line (PRJ-06, PK-51).
pub(crate) fn variables(
    arguments: &BuildArguments,
    project: &Project,
    exec_env: &ExecEnv,
    session: &Session,
) -> Result<Vec<(String, OsString)>, Failure> {
    let mut variables = Variables::default();
    for (name, value) in project.env(exec_env) {
        variables.set(name, value.into());
    }
    for file in &arguments.env_file {
        variables.add_file(file, &session.environment)?;
    }
    variables.add(&arguments.env, &session.environment)?;
    Ok(variables.into_pairs())
}

/// When the image is said to be made: `--creation-time`, else `SOURCE_DATE_EPOCH`.
pub(crate) fn created(arguments: &BuildArguments, session: &Session) -> Result<Option<i64>, Failure> {
    match arguments.creation_time.as_deref() {
        Some("now") => {
            let since = SystemTime::now()
                .duration_since(SystemTime::UNIX_EPOCH)
                .unwrap_or_default();
            Ok(Some(i64::try_from(since.as_secs()).unwrap_or(i64::MAX)))
        }
        Some(text) => seconds(Some(text)),
        None => seconds(session.environment.text("SOURCE_DATE_EPOCH")),
    }
}

/// Seconds since 1970, as `SOURCE_DATE_EPOCH` has them.
pub(crate) fn seconds(text: Option<&str>) -> Result<Option<i64>, Failure> {
    let parsed = text.map(|text| {
        text.parse().map_err(|_| {
            Failure::new("time", format!("{text:?} is no time"))
                .help("write seconds since 1970, or `now` with --creation-time")
        })
    });
    parsed.transpose()
}
