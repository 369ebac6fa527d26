//! From arguments to a submission: who, where, with what, for how long.

use std::collections::BTreeMap;
use std::time::Duration;

use lifecycle_kubernetes::{
    CacheAt, Credentials, Executor, Life, Placement, PodSecurity, Recipe, RegistryAccess, Resources,
    SourceAt, Submission, Volume,
};

use crate::arguments::{BuildArguments, KubernetesArguments};
use crate::failure::Failure;
use crate::session::Session;

/// Everything that the arguments say about one build.
pub(super) fn submission(
    arguments: &BuildArguments,
    id: String,
    recipe: Recipe,
    executor: Executor,
    user: (i64, i64),
    source: SourceAt,
    session: &Session,
) -> Result<Submission, Failure> {
    let given = &arguments.kubernetes;
    let limits = &arguments.dockerfile.confinement;
    if limits.memory.is_some() && given.pod_memory.is_some() {
        return Err(Failure::new(
            "memory",
            "--memory and --pod-memory would both be the limit of the step that RUN is part of",
        )
        .help("give the larger of both as --pod-memory")
        .with_code(2));
    }
    let minutes = |count: u64| Duration::from_secs(count.saturating_mul(60));
    let tags = arguments
        .tags
        .iter()
        .map(|tag| tag.parse())
        .collect::<Result<_, _>>()?;
    Ok(Submission {
        id,
        namespace: given
            .cluster
            .namespace
            .clone()
            .unwrap_or_else(|| "default".to_owned()),
        tags,
        recipe,
        source,
        executor,
        credentials: credentials(given)?,
        cache: match &arguments.pack.cache_image {
            Some(image) if arguments.cache.is_none() => CacheAt::Image(image.clone()),
            Some(_) => {
                return Err(
                    Failure::new("cache", "--cache and --cache-image exclude each other").with_code(2),
                );
            }
            None => cache(arguments.cache.as_deref())?,
        },
        security: given.pod_security.parse::<PodSecurity>()?,
        user,
        placement: placement(given)?,
        resources: Resources {
            cpu: given.pod_cpu.as_deref().map(str::parse).transpose()?,
            memory: given.pod_memory.as_deref().map(str::parse).transpose()?,
            ephemeral_storage: given.ephemeral_storage.as_deref().map(str::parse).transpose()?,
            build_cpu: limits.cpus,
            build_memory: limits.memory,
        },
        life: Life {
            timeout: minutes(given.timeout),
            retries: i32::from(given.retries),
            ttl: minutes(given.ttl),
            suspended: given.suspend || given.queue.is_some(),
        },
        registry: RegistryAccess {
            insecure: session.insecure_registries(),
            ca: given.ca_config_map.clone(),
            proxies: session.environment.proxies(),
        },
    })
}

fn credentials(given: &KubernetesArguments) -> Result<Credentials, Failure> {
    Ok(match (&given.registry_secret, &given.registry_config) {
        (Some(secret), _) => Credentials::Secret(secret.clone()),
        (None, Some(file)) => Credentials::Sent(fs_err::read(file)?),
        (None, None) => Credentials::None,
    })
}

fn placement(given: &KubernetesArguments) -> Result<Placement, Failure> {
    let mut labels: BTreeMap<String, String> = given.job_label.iter().cloned().collect();
    if let Some(queue) = &given.queue {
        labels.insert("kueue.x-k8s.io/queue-name".to_owned(), queue.clone());
    }
    let tolerations = given.toleration.iter().map(|text| text.parse());
    Ok(Placement {
        node_selector: given.node_selector.iter().cloned().collect(),
        tolerations: tolerations.collect::<Result<_, _>>()?,
        service_account: given.service_account.clone(),
        priority_class: given.priority_class.clone(),
        runtime_class: given.runtime_class.clone(),
        labels,
        annotations: given.job_annotation.iter().cloned().collect(),
        pull_secrets: given.pull_secret.clone(),
    })
}

/// `image:REFERENCE`, `pvc:NAME[,size=5Gi][,class=CLASS]` or `none`.
fn cache(text: Option<&str>) -> Result<CacheAt, Failure> {
    let wrong = |text: &str| {
        Failure::new("cache", format!("there is no cache {text:?} on a cluster"))
            .help("write image:REFERENCE, pvc:NAME[,size=5Gi][,class=CLASS] or none")
    };
    let text = match text {
        None | Some("none") => return Ok(CacheAt::None),
        Some(text) => text,
    };
    if let Some(image) = text.strip_prefix("image:") {
        return Ok(CacheAt::Image(image.parse()?));
    }
    let rest = text.strip_prefix("pvc:").ok_or_else(|| wrong(text))?;
    let mut parts = rest.split(',');
    let mut volume = Volume {
        name: parts.next().unwrap_or_default().to_owned(),
        size: None,
        class: None,
    };
    for part in parts {
        match part.split_once('=') {
            Some(("size", size)) => {
                volume.size = Some(size.parse::<lifecycle_kubernetes::Quantity>()?.to_string());
            }
            Some(("class", class)) => volume.class = Some(class.to_owned()),
            _ => return Err(wrong(text)),
        }
    }
    if volume.name.is_empty() {
        return Err(wrong(text));
    }
    Ok(CacheAt::Volume(volume))
}
