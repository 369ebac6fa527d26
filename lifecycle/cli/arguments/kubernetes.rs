//! What only builds on a cluster know.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::OutputForm;

/// Which cluster.
#[derive(Debug, Clone, Args)]
pub(crate) struct ClusterArguments {
    /// Kubeconfig [default: $KUBECONFIG, else ~/.kube/config, else the service account of this pod]
    #[arg(long, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig [default: its current one]
    #[arg(long = "context", value_name = "CONTEXT")]
    pub(crate) kube_context: Option<String>,
    /// Namespace [default: that of the context]
    #[arg(long, short = 'n', value_name = "NAMESPACE")]
    pub(crate) namespace: Option<String>,
}

/// Where a build runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum On {
    /// A Job on a cluster.
    Kubernetes,
}

/// How the source reaches the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum SendSource {
    /// As an artifact in the repository of the first tag.
    #[default]
    Registry,
    /// Through the API server into the waiting pod.
    Stream,
}

/// What Ctrl-C means for a build that is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OnInterrupt {
    /// End it.
    Cancel,
    /// Let it run.
    Detach,
}

/// A build on a cluster.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Kubernetes options (with --on kubernetes)")]
pub(crate) struct KubernetesArguments {
    /// Build there in place of here
    #[arg(long, value_enum, value_name = "PLACE")]
    pub(crate) on: Option<On>,
    #[command(flatten)]
    pub(crate) cluster: ClusterArguments,
    /// Image that holds this program [default: $LIFECYCLE_EXECUTOR_IMAGE; for buildpacks the builder, if it was made with this program]
    #[arg(long, value_name = "IMAGE", requires = "on")]
    pub(crate) executor_image: Option<String>,
    /// How the source gets there
    #[arg(long, value_enum, default_value_t, value_name = "WAY")]
    pub(crate) send_source: SendSource,
    /// Largest source that is sent, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 1024)]
    pub(crate) source_limit: u64,
    /// Leave out what .gitignore at the top of the source names
    #[arg(long, requires = "on")]
    pub(crate) gitignore: bool,
    /// Secret of the type kubernetes.io/dockerconfigjson with the registries' credentials
    #[arg(long, value_name = "SECRET", requires = "on")]
    pub(crate) registry_secret: Option<String>,
    /// config.json that goes along in a Secret which lives as long as the Job
    #[arg(
        long,
        value_name = "FILE",
        requires = "on",
        conflicts_with = "registry_secret"
    )]
    pub(crate) registry_config: Option<PathBuf>,
    /// ConfigMap with certificates that the steps trust besides the usual
    #[arg(long, value_name = "CONFIGMAP", requires = "on")]
    pub(crate) ca_config_map: Option<String>,
    /// Secret with which the kubelet pulls executor and builder
    #[arg(long, value_name = "SECRET", requires = "on")]
    pub(crate) pull_secret: Vec<String>,
    /// Service account of the pod; its token is not mounted
    #[arg(long, value_name = "ACCOUNT", requires = "on")]
    pub(crate) service_account: Option<String>,
    /// What the pod may do: restricted, baseline or user-namespace
    #[arg(long, value_name = "LEVEL", default_value = "restricted")]
    pub(crate) pod_security: String,
    /// User and group of the steps [default: the builder's; 65532:65532 for a Dockerfile]
    #[arg(long, value_name = "UID:GID", requires = "on")]
    pub(crate) pod_user: Option<String>,
    /// CPU that each step asks for, as in 500m
    #[arg(long, value_name = "AMOUNT", requires = "on")]
    pub(crate) pod_cpu: Option<String>,
    /// Memory that each step asks for and may use, as in 2Gi
    #[arg(long, value_name = "AMOUNT", requires = "on")]
    pub(crate) pod_memory: Option<String>,
    /// Disk that each step asks for and may use, as in 10Gi
    #[arg(long, value_name = "AMOUNT", requires = "on")]
    pub(crate) ephemeral_storage: Option<String>,
    /// Label that the node must have
    #[arg(long, value_name = "KEY=VALUE", value_parser = super::parse_pair, requires = "on")]
    pub(crate) node_selector: Vec<(String, String)>,
    /// Taint of a node that does not matter
    #[arg(long, value_name = "KEY[=VALUE][:EFFECT]", requires = "on")]
    pub(crate) toleration: Vec<String>,
    /// Priority class of the pod
    #[arg(long, value_name = "CLASS", requires = "on")]
    pub(crate) priority_class: Option<String>,
    /// Runtime class of the pod
    #[arg(long, value_name = "CLASS", requires = "on")]
    pub(crate) runtime_class: Option<String>,
    /// Label of Job and pod
    #[arg(long, value_name = "KEY=VALUE", value_parser = super::parse_pair, requires = "on")]
    pub(crate) job_label: Vec<(String, String)>,
    /// Annotation of Job and pod
    #[arg(long, value_name = "KEY=VALUE", value_parser = super::parse_pair, requires = "on")]
    pub(crate) job_annotation: Vec<(String, String)>,
    /// Minutes after which the build is ended
    #[arg(long, value_name = "MINUTES", default_value_t = 60)]
    pub(crate) timeout: u64,
    /// How often a build that was killed from outside is begun again; one that failed by itself never is
    #[arg(long, value_name = "COUNT", default_value_t = 0)]
    pub(crate) retries: u16,
    /// Minutes after which the finished Job is removed
    #[arg(long, value_name = "MINUTES", default_value_t = 60)]
    pub(crate) ttl: u64,
    /// Submit suspended: a queue lets it run
    #[arg(long, requires = "on")]
    pub(crate) suspend: bool,
    /// Queue of Kueue; the Job is submitted suspended with its label
    #[arg(long, value_name = "QUEUE", requires = "on")]
    pub(crate) queue: Option<String>,
    /// Show the steps' output until the end (the default)
    #[arg(long, requires = "on", conflicts_with = "detach")]
    pub(crate) follow: bool,
    /// Submit, print the name of the build, and leave
    #[arg(long, requires = "on")]
    pub(crate) detach: bool,
    /// What Ctrl-C means [default: to ask on a terminal, cancel elsewhere]
    #[arg(long, value_enum, value_name = "WISH", requires = "on")]
    pub(crate) on_interrupt: Option<OnInterrupt>,
}

/// `lifecycle jobs`
#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:\n  \
    lifecycle jobs list\n  \
    lifecycle jobs logs app-1a2b3c4d --follow\n  \
    lifecycle jobs prune --older 1440")]
pub(crate) enum JobsCommand {
    /// List the builds of the namespace
    #[command(after_help = "Example:\n  lifecycle jobs list --output json")]
    List {
        #[command(flatten)]
        cluster: ClusterArguments,
        /// Form of the result
        #[arg(long, short, value_enum, default_value_t)]
        output: OutputForm,
    },
    /// Show where a build stands
    #[command(after_help = "Example:\n  lifecycle jobs status app-1a2b3c4d")]
    Status {
        #[command(flatten)]
        cluster: ClusterArguments,
        /// Name of the build
        build: String,
        /// Form of the result
        #[arg(long, short, value_enum, default_value_t)]
        output: OutputForm,
    },
    /// Show what the steps of a build said
    #[command(after_help = "Example:\n  lifecycle jobs logs app-1a2b3c4d --step export")]
    Logs {
        #[command(flatten)]
        cluster: ClusterArguments,
        /// Name of the build
        build: String,
        /// Go on until the build ends, and end as it does
        #[arg(long, short, conflicts_with = "step")]
        follow: bool,
        /// Only this step
        #[arg(long, value_name = "STEP")]
        step: Option<String>,
    },
    /// End a build and keep its record
    #[command(after_help = "Example:\n  lifecycle jobs cancel app-1a2b3c4d")]
    Cancel {
        #[command(flatten)]
        cluster: ClusterArguments,
        /// Names of builds
        #[arg(required = true)]
        builds: Vec<String>,
    },
    /// Remove builds, with their pods, Secrets and uploaded sources
    #[command(after_help = "Example:\n  lifecycle jobs delete app-1a2b3c4d")]
    Delete {
        #[command(flatten)]
        cluster: ClusterArguments,
        /// Names of builds
        #[arg(required = true)]
        builds: Vec<String>,
    },
    /// Remove finished builds, and Secrets that belong to none
    #[command(after_help = "Example:\n  lifecycle jobs prune --older 60")]
    Prune {
        #[command(flatten)]
        cluster: ClusterArguments,
        /// Only those that ended so many minutes ago
        #[arg(long, value_name = "MINUTES", default_value_t = 0)]
        older: u64,
    },
}

/// `lifecycle pod`: the steps of a build's pod that are ours.
#[derive(Debug, Subcommand)]
pub(crate) enum PodCommand {
    /// Bring the source into a directory
    Source {
        /// The directory
        into: PathBuf,
        /// From an artifact in a registry
        #[arg(long, value_name = "IMAGE@DIGEST", conflicts_with_all = ["wait", "from"])]
        artifact: Option<String>,
        /// From a client that sends it within so many seconds
        #[arg(long, value_name = "SECONDS", conflicts_with = "from")]
        wait: Option<u64>,
        /// From a git repository or an archive on the web
        #[arg(long, value_name = "ADDRESS", required_unless_present_any = ["artifact", "wait"])]
        from: Option<String>,
    },
    /// Take a source from standard input, for the step that waits for it
    Receive {
        /// How many bytes come
        #[arg(long)]
        size: u64,
        /// Their digest
        #[arg(long)]
        digest: String,
    },
    /// Say what was made in the termination message
    Result {
        /// report.toml of the exporter
        #[arg(long, value_name = "FILE", required_unless_present = "digest_file")]
        report: Option<PathBuf>,
        /// File with the digest
        #[arg(long, value_name = "FILE", conflicts_with = "report")]
        digest_file: Option<PathBuf>,
        /// Names of the image
        #[arg(long = "tag", value_name = "IMAGE")]
        tags: Vec<String>,
        /// Uploaded source to remove
        #[arg(long, value_name = "IMAGE@DIGEST")]
        delete_source: Option<lifecycle_image::Reference>,
        /// Where the message goes
        #[arg(long, value_name = "FILE", default_value = "/dev/termination-log")]
        message: PathBuf,
    },
}
