//! The API server: how it is found, and what is done when it does not answer as it should.

use std::fmt;
use std::future::Future;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use k8s_openapi::NamespaceResourceScope;
use kube::config::{Config, KubeConfigOptions, Kubeconfig};
use kube::{Api, Client};
use serde::de::DeserializeOwned;
use tokio::runtime::Runtime;

use crate::error::{Attempt, ClusterError};
use crate::resolver::Resolver;

/// Where the cluster is, as plain values.
#[derive(Debug, Clone, Default)]
pub struct Connection {
    /// The kubeconfig; several are merged, the first wins. Without one, the pod's own service account.
    pub kubeconfig: Vec<PathBuf>,
    /// The context in it, in place of its current one.
    pub context: Option<String>,
    /// The namespace, in place of the context's.
    pub namespace: Option<String>,
    /// How long it may not answer.
    pub patience: Patience,
}

/// How long is waited for what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patience {
    /// The API server is not there, or not well: restarts take a minute or two.
    pub outage: Duration,
    /// A reason to wait that heals only when somebody mends it (JC-21).
    pub refusal: Duration,
    /// A connection on which nothing has come is looked after.
    pub silence: Duration,
    /// The first pause between two attempts; each is twice as long as the one before, up to ten seconds.
    pub pause: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            outage: Duration::from_mins(5),
            refusal: Duration::from_mins(1),
            silence: Duration::from_secs(30),
            pause: Duration::from_millis(250),
        }
    }
}

/// A namespace of a cluster.
///
/// The methods wait; they must not be called from an asynchronous task.
pub struct Cluster {
    pub(crate) runtime: Runtime,
    pub(crate) api: Arc<Server>,
}

impl Cluster {
    /// Finds the cluster. Nothing is asked of it yet.
    pub fn connect(connection: Connection) -> Result<Self, ClusterError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("cluster")
            .enable_all()
            .build()
            .map_err(|cause| ClusterError::Local {
                what: "cannot start threads for the network",
                cause,
            })?;
        let api = Arc::new(runtime.block_on(Server::connect(connection))?);
        Ok(Self { runtime, api })
    }

    /// The namespace that builds run in.
    pub fn namespace(&self) -> &str {
        &self.api.namespace
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster")
            .field("namespace", &self.api.namespace)
            .finish_non_exhaustive()
    }
}

/// The asynchronous side of a [`Cluster`].
pub(crate) struct Server {
    connection: Connection,
    client: Mutex<Client>,
    pub(crate) namespace: String,
    pub(crate) patience: Patience,
}

/// What is to be done about an answer.
enum Verdict {
    /// It is final.
    Final,
    /// Ask again, after so long if the server says.
    Again(Option<Duration>),
    /// Ask again with fresh credentials.
    Anew,
}

impl Server {
    async fn connect(connection: Connection) -> Result<Self, ClusterError> {
        let config = configuration(&connection).await?;
        let namespace = connection
            .namespace
            .clone()
            .unwrap_or_else(|| config.default_namespace.clone());
        Ok(Self {
            client: Mutex::new(client(config)?),
            patience: connection.patience.clone(),
            namespace,
            connection,
        })
    }

    pub(crate) fn client(&self) -> Client {
        self.client.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The objects of a kind in our namespace.
    pub(crate) fn all<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = NamespaceResourceScope, DynamicType = ()>
            + Clone
            + DeserializeOwned
            + fmt::Debug,
    {
        Api::namespaced(self.client(), &self.namespace)
    }

    /// Asks until there is an answer that counts: a server that restarts or is overrun is asked again, and with an
    /// expired token the kubeconfig is read anew, once.
    pub(crate) async fn ask<T, F>(&self, attempt: Attempt, ask: impl Fn() -> F) -> Result<T, ClusterError>
    where
        F: Future<Output = Result<T, kube::Error>>,
    {
        let began = Instant::now();
        let mut pause = self.patience.pause;
        let mut is_fresh = false;
        loop {
            let error = match ask().await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            match verdict(&error) {
                Verdict::Anew if !is_fresh => {
                    is_fresh = true;
                    self.log_in_again().await?;
                }
                Verdict::Again(wait) if began.elapsed() < self.patience.outage => {
                    tokio::time::sleep(wait.unwrap_or(pause)).await;
                    pause = (pause * 2).min(Duration::from_secs(10));
                }
                _ => return Err(ClusterError::of(error, attempt, &self.namespace)),
            }
        }
    }

    /// Reads the kubeconfig anew: its token, or what its plugin says, may have changed.
    pub(crate) async fn log_in_again(&self) -> Result<(), ClusterError> {
        let config = configuration(&self.connection).await?;
        let fresh = client(config)?;
        *self.client.lock().unwrap_or_else(PoisonError::into_inner) = fresh;
        Ok(())
    }
}

/// Whether asking again may help.
pub(crate) fn is_passing(error: &kube::Error) -> bool {
    !matches!(verdict(error), Verdict::Final)
}

fn verdict(error: &kube::Error) -> Verdict {
    match error {
        kube::Error::Api(status) => match status.code {
            401 => Verdict::Anew,
            // 410: what was asked for by version is too old. 429 and 5xx come from a server that is overrun or
            // restarts.
            410 | 429 | 500 | 502 | 503 | 504 => {
                let seconds = status.details.as_ref().map(|details| details.retry_after_seconds);
                Verdict::Again(
                    seconds
                        .filter(|&seconds| seconds > 0)
                        .map(|seconds| Duration::from_secs(seconds.into())),
                )
            }
            _ => Verdict::Final,
        },
        kube::Error::HyperError(_) | kube::Error::Service(_) | kube::Error::ReadEvents(_) => {
            Verdict::Again(None)
        }
        // A proxy in between answers in its own words.
        kube::Error::SerdeError(_) => Verdict::Again(None),
        _ => Verdict::Final,
    }
}

async fn configuration(connection: &Connection) -> Result<Config, ClusterError> {
    let wrong = |cause: &dyn fmt::Display| ClusterError::Configuration(cause.to_string());
    let mut config = if connection.kubeconfig.is_empty() {
        Config::incluster().map_err(|cause| {
            wrong(&format!(
                "no kubeconfig is named or at its usual place, and this is no pod with a token ({cause})"
            ))
        })?
    } else {
        let mut merged = Kubeconfig::default();
        for path in &connection.kubeconfig {
            let read = Kubeconfig::read_from(path).map_err(|cause| wrong(&cause))?;
            merged = merged.merge(read).map_err(|cause| wrong(&cause))?;
        }
        let options = KubeConfigOptions {
            context: connection.context.clone(),
            ..KubeConfigOptions::default()
        };
        Config::from_custom_kubeconfig(merged, &options)
            .await
            .map_err(|cause| wrong(&cause))?
    };
    // Watches and logs are silent for as long as nothing happens; whoever reads them looks at the clock.
    config.read_timeout = None;
    config.connect_timeout = Some(Duration::from_secs(15));
    Ok(config)
}

/// A client that resolves names without the C library; behind a proxy, the proxy does.
fn client(config: Config) -> Result<Client, ClusterError> {
    let wrong = |cause: kube::Error| ClusterError::Configuration(cause.to_string());
    if config.proxy_url.is_some() {
        return Client::try_from(config).map_err(wrong);
    }
    crate::resolver::client(config, Resolver::of_machine()).map_err(wrong)
}
