//! Builds on a cluster, as the command line sees them: arguments become a submission, events become lines.

mod builder;
mod context;
mod doctor;
mod follow;
mod index;
mod jobs;
mod pod;
mod recipe;
mod source;
mod submission;
mod submit;
mod unfinished;
mod wishes;

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

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::arguments::Arguments;

    /// The command lines in a file of `deploy`: lists under `command:`, and lines of scripts.
    fn command_lines(text: &str) -> Vec<Vec<String>> {
        let mut lines = text.lines().map(str::trim).peekable();
        let mut found = Vec::new();
        while let Some(line) = lines.next() {
            if line.trim_start_matches("- ") == "command:" {
                let mut words = Vec::new();
                while let Some(word) = lines.next_if(|line| line.starts_with("- ")) {
                    words.push(word[2..].trim_matches('"').to_owned());
                }
                found.push(words);
            }
            let script = line
                .strip_prefix("- run: ")
                .or(line.strip_prefix("- "))
                .unwrap_or(line);
            if script.starts_with("lifecycle ") {
                let words = script
                    .split_whitespace()
                    .map(|word| word.trim_matches('"').to_owned());
                found.push(words.collect());
            }
        }
        found
    }

    #[test]
    fn command_lines_that_people_copy_are_ones_that_we_take() {
        let deploy = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy");
        let mut checked = 0;
        for folder in fs_err::read_dir(deploy).unwrap() {
            for file in fs_err::read_dir(folder.unwrap().path()).unwrap() {
                let path = file.unwrap().path();
                let lines = command_lines(&fs_err::read_to_string(&path).unwrap());
                // Phases have flags of their own.
                let ours = lines.iter().filter(|words| words[0].ends_with("lifecycle"));
                for words in ours {
                    let parsed = Arguments::try_parse_from(words);
                    assert!(
                        parsed.is_ok(),
                        "{}: {words:?}\n{}",
                        path.display(),
                        parsed.unwrap_err()
                    );
                    let is_on_cluster = words.contains(&"--on".to_owned());
                    let names_image = |word: &String| word == "--executor-image" || word == "--builder";
                    assert!(
                        !is_on_cluster || words.iter().any(names_image),
                        "{words:?} has no image to build with"
                    );
                    checked += 1;
                }
            }
        }
        assert!(checked >= 12, "only {checked} were found");
    }

    #[test]
    fn kubeconfigs_are_where_kubectl_looks_for_them() {
        let arguments = ClusterArguments {
            kubeconfig: None,
            kube_context: None,
            namespace: None,
        };
        let several = Environment::from_pairs(&[("KUBECONFIG", "/a:/b"), ("HOME", "/nowhere")]);
        assert_eq!(
            kubeconfig(&arguments, &several),
            [PathBuf::from("/a"), "/b".into()]
        );
        let none = Environment::from_pairs(&[("HOME", "/nowhere")]);
        assert_eq!(kubeconfig(&arguments, &none), Vec::<PathBuf>::new());
    }
}
