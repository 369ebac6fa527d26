//! Why a cluster did not do what it was asked for.

use kube::core::Status;

/// What was asked of the API server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Attempt {
    /// As roles name it.
    pub(crate) verb: &'static str,
    /// As roles name it.
    pub(crate) resource: &'static str,
}

/// Why a cluster did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// The configuration names no cluster.
    #[error("there is no cluster to speak to: {0}")]
    Configuration(String),
    /// Nobody answers.
    #[error("the cluster does not answer: {0}")]
    Unreachable(String),
    /// The API server does not know us, or not any more.
    #[error("the cluster does not accept the credentials of the kubeconfig, or their time is over: {0}")]
    Unauthorized(String),
    /// A role is missing.
    #[error("{who} may not {verb} {resource} in the namespace {namespace}")]
    Forbidden {
        /// The user, as the server knows it.
        who: String,
        /// As roles name it.
        verb: String,
        /// As roles name it.
        resource: String,
        /// Where.
        namespace: String,
    },
    /// There is no such namespace.
    #[error("the cluster has no namespace {0}")]
    NoNamespace(String),
    /// There is no such object.
    #[error("there is no build {0}; finished ones are removed after their --ttl")]
    NoBuild(String),
    /// An object is not accepted: a policy, a quota, a webhook, or a value.
    #[error("the cluster does not accept the {resource}{}: {message}", field.as_ref().map(|field| format!(", because of {field}")).unwrap_or_default())]
    Refused {
        /// What was sent.
        resource: String,
        /// The field that is wrong, if that is said.
        field: Option<String>,
        /// What the server says.
        message: String,
    },
    /// There is an object of that name.
    #[error("there is {resource} of that name: {message}")]
    Exists {
        /// What was sent.
        resource: String,
        /// What the server says.
        message: String,
    },
    /// The server failed, and kept failing.
    #[error("the cluster cannot {verb} {resource}: {message}")]
    Server {
        /// What was asked.
        verb: String,
        /// Of what.
        resource: String,
        /// What the server says.
        message: String,
    },
    /// The source did not reach the pod.
    #[error("the source cannot be sent into the pod: {0}")]
    Upload(String),
    /// Something on this machine.
    #[error("{what}")]
    Local {
        /// What was attempted.
        what: &'static str,
        /// Why it failed.
        #[source]
        cause: std::io::Error,
    },
}

impl ClusterError {
    /// What the client library says, in our words.
    pub(crate) fn of(error: kube::Error, attempt: Attempt, namespace: &str) -> Self {
        match error {
            kube::Error::Api(status) => Self::of_status(&status, attempt, namespace),
            kube::Error::Auth(cause) => Self::Unauthorized(cause.to_string()),
            other => Self::Unreachable(innermost(&other)),
        }
    }

    fn of_status(status: &Status, attempt: Attempt, namespace: &str) -> Self {
        let message = status.message.clone();
        let details = status.details.as_ref();
        match status.code {
            401 => Self::Unauthorized(message),
            403 if message.contains(" cannot ") => Self::Forbidden {
                who: between(&message, "User \"", "\"").map_or_else(|| "this user".to_owned(), str::to_owned),
                verb: attempt.verb.to_owned(),
                resource: attempt.resource.to_owned(),
                namespace: namespace.to_owned(),
            },
            404 if details.is_some_and(|details| details.kind == "namespaces")
                || message.starts_with("namespaces ") =>
            {
                Self::NoNamespace(namespace.to_owned())
            }
            404 => Self::NoBuild(details.map(|details| details.name.clone()).unwrap_or_default()),
            409 if status.reason == "AlreadyExists" => Self::Exists {
                resource: attempt.resource.to_owned(),
                message,
            },
            400 | 403 | 422 => {
                let causes = details
                    .map(|details| details.causes.as_slice())
                    .unwrap_or_default();
                let fields: Vec<&str> = causes.iter().map(|cause| cause.field.as_str()).collect();
                let fields = fields.into_iter().filter(|field| !field.is_empty());
                let fields = fields.collect::<Vec<_>>().join(", ");
                Self::Refused {
                    resource: attempt.resource.to_owned(),
                    field: (!fields.is_empty()).then_some(fields),
                    message,
                }
            }
            _ => Self::Server {
                verb: attempt.verb.to_owned(),
                resource: attempt.resource.to_owned(),
                message: if message.is_empty() {
                    format!("it answered {}", status.code)
                } else {
                    message
                },
            },
        }
    }
}

fn between<'a>(text: &'a str, from: &str, to: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(from)?;
    Some(rest.split_once(to)?.0)
}

/// What lies beneath what an HTTP client has to say.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(below) = error.source() {
        error = below;
    }
    error.to_string()
}
