//! Builds on a cluster, as the command line sees them: arguments become a submission, events become lines.

mod builder;
mod doctor;
mod follow;
mod jobs;
mod pod;
mod source;
mod submit;

use std::path::PathBuf;

use lifecycle_kubernetes::{BuildResult, Cluster, ClusterError, Connection};

pub(crate) use self::doctor::doctor;
pub(crate) use self::jobs::jobs;
pub(crate) use self::pod::pod;
pub(crate) use self::submit::build;

use crate::arguments::ClusterArguments;
use crate::environment::Environment;
use crate::failure::Failure;
use crate::session::Session;

/// The cluster that arguments and environment name.
fn connect(arguments: &ClusterArguments, session: &Session) -> Result<Cluster, Failure> {
    Cluster::connect(Connection {
        kubeconfig: kubeconfig(arguments, &session.environment),
        context: arguments.kube_context.clone(),
        namespace: arguments.namespace.clone(),
        ..Connection::default()
    })
    .map_err(failure)
}

/// `--kubeconfig`, else the files of `KUBECONFIG`, else the usual place if there is a file.
fn kubeconfig(arguments: &ClusterArguments, environment: &Environment) -> Vec<PathBuf> {
    if let Some(file) = &arguments.kubeconfig {
        return vec![file.clone()];
    }
    let named = environment.paths("KUBECONFIG");
    if !named.is_empty() {
        return named;
    }
    let usual = environment.home().map(|home| home.join(".kube/config"));
    usual.filter(|file| file.is_file()).into_iter().collect()
}

/// What to do about what a cluster says.
fn failure(error: ClusterError) -> Failure {
    let help = match &error {
        ClusterError::Configuration(_) => Some("name a kubeconfig with --kubeconfig or KUBECONFIG"),
        ClusterError::Forbidden { .. } => Some(
            "`lifecycle doctor --on kubernetes` lists every role that is needed; deploy/kubernetes/role.yaml grants them",
        ),
        ClusterError::Unauthorized(_) => Some("log in to the cluster again"),
        ClusterError::NoNamespace(_) => Some("make it, or name another with --namespace"),
        ClusterError::NoBuild(_) => Some("`lifecycle jobs list` shows the builds that are there"),
        ClusterError::Refused { message, .. } if message.contains("PodSecurity") => Some(
            "the namespace enforces a stricter Pod Security; --pod-security restricted suits all of them",
        ),
        _ => None,
    };
    let failure = Failure::from(error).with_code(114);
    match help {
        Some(help) => failure.help(help),
        None => failure,
    }
}

/// What a pod says about an image that was made in it.
pub(crate) fn termination_message(digest: &str, tags: Vec<String>) -> String {
    let digest = digest.to_owned();
    BuildResult { digest, tags }.to_message()
}
