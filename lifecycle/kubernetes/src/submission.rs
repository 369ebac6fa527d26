//! What a build on a cluster is, as plain values: everything that the manifests are made from.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use lifecycle_image::Reference;

/// A build that is to run on a cluster. [`crate::Manifests::of`] turns it into objects.
#[derive(Debug, Clone)]
pub struct Submission {
    /// The name of the Job, and of everything that belongs to it.
    pub id: String,
    /// Where it runs.
    pub namespace: String,
    /// What the image is called; the first names the build to people.
    pub tags: Vec<Reference>,
    /// How the source becomes an image.
    pub recipe: Recipe,
    /// Where the source comes from.
    pub source: SourceAt,
    /// The program that moves sources and builds Dockerfiles.
    pub executor: Executor,
    /// Who may read from and write to registries.
    pub credentials: Credentials,
    /// What is kept from one build to the next.
    pub cache: CacheAt,
    /// What the pod may do.
    pub security: PodSecurity,
    /// User and group of the steps, where the pod's security does not ask for root.
    pub user: (i64, i64),
    /// Which nodes, for whom, under which labels.
    pub placement: Placement,
    /// What every container asks for and may use at most.
    pub resources: Resources,
    /// How long and how often.
    pub life: Life,
    /// How registries are spoken to.
    pub registry: RegistryAccess,
}

/// How a source becomes an image.
#[derive(Debug, Clone)]
pub enum Recipe {
    /// `lifecycle build SOURCE` with these further arguments, in the executor.
    Dockerfile {
        /// Arguments without source, tags, output and cache.
        arguments: Vec<String>,
        /// Secrets of the build by id; they become files, and arguments that name these.
        secrets: BTreeMap<String, Vec<u8>>,
    },
    /// The phases of a builder, a container each.
    Buildpacks(Box<Phases>),
}

/// A build with the phases of a builder.
#[derive(Debug, Clone, Default)]
pub struct Phases {
    /// The builder image.
    pub builder: String,
    /// The platform API that the phases are asked for.
    pub api: String,
    /// In place of the builder's run image.
    pub run_image: Option<String>,
    /// The process that the image starts by default.
    pub process: Option<String>,
    /// Where layers are reused from, in place of the first tag.
    pub previous_image: Option<String>,
    /// Variables for the buildpacks.
    pub env: BTreeMap<String, Vec<u8>>,
    /// `order.toml` in place of the builder's order.
    pub order: Option<String>,
    /// The time the image is said to be made at.
    pub epoch: Option<i64>,
    /// Forget what earlier builds left.
    pub clear_cache: bool,
    /// The execution environment of the app, if it is not the usual one.
    pub exec_env: Option<String>,
    /// User and group that own the app in the image, in place of the builder's.
    pub owner: (Option<u32>, Option<u32>),
    /// Where build and image have the app, in place of [`WORKSPACE`](crate::WORKSPACE).
    pub app: Option<String>,
}

/// Where the source comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceAt {
    /// An artifact in a registry, by digest.
    Artifact(Reference),
    /// The client sends it into the waiting pod, which waits so long.
    Stream {
        /// How long the pod waits for a client that may be gone (JC-03).
        patience: Duration,
    },
    /// A place that the executor fetches from by itself: git, an archive behind an URL, an object store.
    Remote {
        /// Its address.
        place: String,
        /// What lets the step that fetches it in, as variables. They go along in a Secret that lives as long as the Job.
        variables: BTreeMap<String, String>,
    },
}

/// The program in the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Executor {
    /// The image that holds it.
    pub image: String,
    /// Where it lies in there.
    pub program: String,
}

/// Who may read from and write to registries.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Credentials {
    /// Nobody: the registries ask for nothing.
    #[default]
    None,
    /// A Secret of the type `kubernetes.io/dockerconfigjson` that is there.
    Secret(String),
    /// A `config.json` that goes along, in a Secret that lives as long as the Job (JC-25).
    Sent(Vec<u8>),
}

/// What is kept from one build to the next.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum CacheAt {
    /// Nothing.
    #[default]
    None,
    /// An image in a registry.
    Image(Reference),
    /// A volume, made if it is not there. Builds that share one wait for each other (JC-17).
    Volume(Volume),
}

/// A claim for a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// The name of the claim.
    pub name: String,
    /// Its size when it has to be made; without one it has to be there.
    pub size: Option<String>,
    /// Its storage class.
    pub class: Option<String>,
}

/// What the pod may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PodSecurity {
    /// Pod Security "restricted": an ordinary user without capabilities, a read-only root. Buildpacks, and
    /// Dockerfiles whose RUN needs no more than the node allows ordinary users.
    #[default]
    Restricted,
    /// Pod Security "baseline": root with a container runtime's default capabilities, so that RUN works by chroot.
    Baseline,
    /// Root of a user namespace of the pod's own (`hostUsers: false`), with all that isolates RUN fully.
    UserNamespace,
}

impl FromStr for PodSecurity {
    type Err = InvalidSubmission;

    fn from_str(text: &str) -> Result<Self, InvalidSubmission> {
        match text {
            "restricted" => Ok(Self::Restricted),
            "baseline" => Ok(Self::Baseline),
            "user-namespace" => Ok(Self::UserNamespace),
            _ => Err(InvalidSubmission::new(
                "--pod-security",
                text,
                "restricted, baseline or user-namespace",
            )),
        }
    }
}

/// Which nodes, for whom, under which labels.
#[derive(Debug, Clone, Default)]
pub struct Placement {
    /// Labels that a node must have.
    pub node_selector: BTreeMap<String, String>,
    /// What keeps other pods away from a node but not this one.
    pub tolerations: Vec<Toleration>,
    /// The service account of the pod. Its token is not mounted.
    pub service_account: Option<String>,
    /// The priority class.
    pub priority_class: Option<String>,
    /// The runtime class.
    pub runtime_class: Option<String>,
    /// Further labels of Job and pod.
    pub labels: BTreeMap<String, String>,
    /// Further annotations of Job and pod.
    pub annotations: BTreeMap<String, String>,
    /// Secrets with which the kubelet pulls the builder and the executor (JC-14).
    pub pull_secrets: Vec<String>,
}

/// `KEY[=VALUE][:EFFECT]`, as in `dedicated=builds:NoSchedule`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Toleration {
    /// The key of the taint.
    pub key: String,
    /// Its value; any if there is none.
    pub value: Option<String>,
    /// Its effect; any if there is none.
    pub effect: Option<String>,
}

impl FromStr for Toleration {
    type Err = InvalidSubmission;

    fn from_str(text: &str) -> Result<Self, InvalidSubmission> {
        let wrong = || {
            InvalidSubmission::new(
                "--toleration",
                text,
                "KEY[=VALUE][:NoSchedule|PreferNoSchedule|NoExecute]",
            )
        };
        let (taint, effect) = match text.rsplit_once(':') {
            Some((taint, effect @ ("NoSchedule" | "PreferNoSchedule" | "NoExecute"))) => {
                (taint, Some(effect.to_owned()))
            }
            Some(_) => return Err(wrong()),
            None => (text, None),
        };
        let (key, value) = match taint.split_once('=') {
            Some((key, value)) => (key, Some(value.to_owned())),
            None => (taint, None),
        };
        if key.is_empty() {
            return Err(wrong());
        }
        Ok(Self {
            key: key.to_owned(),
            value,
            effect,
        })
    }
}

/// What every container asks for and may use at most, as Kubernetes writes quantities.
#[derive(Debug, Clone, Default)]
pub struct Resources {
    /// CPU that is asked for.
    pub cpu: Option<Quantity>,
    /// Memory: asked for, and the limit.
    pub memory: Option<Quantity>,
    /// Disk for source, layers and scratch: asked for, and the limit.
    pub ephemeral_storage: Option<Quantity>,
    /// The most CPU of the step that builds a Dockerfile, in thousandths.
    pub build_cpu: Option<u64>,
    /// Memory of that step in bytes: asked for, and the limit.
    pub build_memory: Option<u64>,
}

/// An amount as Kubernetes writes it, such as `500m` or `2Gi`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quantity(String);

impl FromStr for Quantity {
    type Err = InvalidSubmission;

    fn from_str(text: &str) -> Result<Self, InvalidSubmission> {
        const SUFFIXES: [&str; 13] = [
            "", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi",
        ];
        let digits = text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
        let number = &text[..text.len() - digits.len()];
        let is_number = number.parse::<f64>().is_ok_and(|amount| amount > 0.0);
        if is_number && SUFFIXES.contains(&digits) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidSubmission::new(
                "an amount",
                text,
                "a number with a suffix, as in 500m or 2Gi",
            ))
        }
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How long and how often.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Life {
    /// The whole Job ends after so long.
    pub timeout: Duration,
    /// How often a build that the cluster broke off is begun again. One that failed by itself never is (JC-10).
    pub retries: i32,
    /// A finished Job is removed after so long.
    pub ttl: Duration,
    /// Wait until somebody, such as a queue, lets it run.
    pub suspended: bool,
}

impl Default for Life {
    fn default() -> Self {
        Self {
            timeout: Duration::from_hours(1),
            retries: 0,
            ttl: Duration::from_hours(1),
            suspended: false,
        }
    }
}

/// How registries are spoken to from the pod.
#[derive(Debug, Clone, Default)]
pub struct RegistryAccess {
    /// Registries without verified TLS.
    pub insecure: Vec<String>,
    /// A ConfigMap with certificates to trust: every key that ends in `.crt` or `.pem` (JC-15).
    pub ca: Option<String>,
    /// Proxy variables, in the spelling they are given in.
    pub proxies: Vec<(String, String)>,
}

/// A value on the command line that no object can be made from.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{option} cannot be {value:?}: expected {expected}")]
pub struct InvalidSubmission {
    option: String,
    value: String,
    expected: &'static str,
}

impl InvalidSubmission {
    pub(crate) fn new(option: &str, value: &str, expected: &'static str) -> Self {
        Self {
            option: option.to_owned(),
            value: value.to_owned(),
            expected,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tolerations_are_read_as_taints_are_written() {
        let read = |text: &str| text.parse::<Toleration>();
        assert_eq!(
            read("dedicated=builds:NoSchedule").unwrap(),
            Toleration {
                key: "dedicated".to_owned(),
                value: Some("builds".to_owned()),
                effect: Some("NoSchedule".to_owned()),
            }
        );
        assert_eq!(read("spot").unwrap().value, None);
        assert!(read("a=b:Never").is_err());
        assert!(read("=b").is_err());
    }

    #[test]
    fn quantities_are_checked_before_anything_is_sent() {
        for good in ["1", "500m", "1.5", "2Gi", "10G"] {
            assert_eq!(good.parse::<Quantity>().unwrap().to_string(), good);
        }
        for bad in ["", "m", "2GB", "-1", "two", "0", "1..2"] {
            assert!(bad.parse::<Quantity>().is_err(), "{bad}");
        }
    }
}
