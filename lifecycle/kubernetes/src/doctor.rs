//! Whether a cluster would take a build: looked at without leaving anything there.

use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, ResourceQuota};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Api;
use kube::api::{ListParams, PostParams};

use crate::cluster::{Cluster, Server};
use crate::error::ClusterError;
use crate::manifest::Manifests;
use crate::submit::attempt;

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What.
    pub subject: String,
    /// Whether a build can go on with it as it is.
    pub is_fine: bool,
    /// What was found.
    pub found: String,
    /// What would mend it.
    pub grant: Option<String>,
}

/// What a client needs, and what for.
const NEEDED: [(&str, &str, &str, &str, &str); 12] = [
    ("create", "batch", "jobs", "", "to submit"),
    ("get", "batch", "jobs", "", "to follow"),
    ("list", "batch", "jobs", "", "to follow, and to list"),
    ("watch", "batch", "jobs", "", "to follow"),
    ("patch", "batch", "jobs", "", "to keep the result, and to cancel"),
    ("delete", "batch", "jobs", "", "to end a build"),
    ("list", "", "pods", "", "to follow"),
    ("watch", "", "pods", "", "to follow"),
    ("get", "", "pods", "log", "to show what the steps say"),
    ("create", "", "pods", "exec", "for --send-source stream only"),
    (
        "create",
        "",
        "secrets",
        "",
        "for variables and --send-credentials",
    ),
    ("list", "", "events", "", "to say why nothing begins"),
];

impl Cluster {
    /// Looks at the API server, roles, quotas, admission and the cache's claim, as a build like `manifests` would meet
    /// them. Nothing is made.
    pub fn examine(&self, manifests: &Manifests) -> Result<Vec<Finding>, ClusterError> {
        self.runtime.block_on(self.api.examine(manifests))
    }
}

impl Server {
    async fn examine(&self, manifests: &Manifests) -> Result<Vec<Finding>, ClusterError> {
        let version = self.ask(attempt("get", "/version"), || {
            let client = self.client();
            async move { client.apiserver_version().await }
        });
        let version = version.await?;
        let mut findings = vec![Finding {
            subject: "API server".to_owned(),
            is_fine: true,
            found: format!("Kubernetes {}", version.git_version),
            grant: None,
        }];
        for (verb, group, resource, subresource, purpose) in NEEDED {
            findings.push(self.role(verb, group, resource, subresource, purpose).await?);
        }
        findings.extend(self.quotas().await);
        findings.push(self.admission(manifests).await);
        if let Some(claim) = &manifests.claim {
            findings.push(self.claim(claim).await);
        }
        Ok(findings)
    }

    async fn role(
        &self,
        verb: &str,
        group: &str,
        resource: &str,
        subresource: &str,
        purpose: &str,
    ) -> Result<Finding, ClusterError> {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let review = SelfSubjectAccessReview {
            spec: SelfSubjectAccessReviewSpec {
                resource_attributes: Some(ResourceAttributes {
                    verb: some(verb),
                    group: some(group),
                    resource: some(resource),
                    subresource: some(subresource),
                    namespace: Some(self.namespace.clone()),
                    ..ResourceAttributes::default()
                }),
                non_resource_attributes: None,
            },
            ..SelfSubjectAccessReview::default()
        };
        let answer = self.ask(attempt("create", "selfsubjectaccessreviews"), || {
            let reviews: Api<SelfSubjectAccessReview> = Api::all(self.client());
            let review = review.clone();
            async move { reviews.create(&PostParams::default(), &review).await }
        });
        let is_fine = answer.await?.status.is_some_and(|status| status.allowed);
        let full = match subresource {
            "" => resource.to_owned(),
            below => format!("{resource}/{below}"),
        };
        Ok(Finding {
            subject: format!("{verb} {full}"),
            is_fine,
            found: if is_fine { "allowed" } else { "not allowed" }.to_owned() + ", " + purpose,
            grant: (!is_fine).then(|| {
                format!(
                    "a Role in {} with apiGroups: [{group:?}], resources: [{full:?}], verbs: [{verb:?}]",
                    self.namespace
                )
            }),
        })
    }

    /// Quotas that are used up.
    async fn quotas(&self) -> Vec<Finding> {
        let Ok(list) = self.all::<ResourceQuota>().list(&ListParams::default()).await else {
            return Vec::new();
        };
        let quota = |quota: ResourceQuota| {
            let status = quota.status.unwrap_or_default();
            let (hard, used) = (status.hard.unwrap_or_default(), status.used.unwrap_or_default());
            let shown = hard.iter().map(|(resource, hard)| {
                let used = used.get(resource).map_or("0", |used| used.0.as_str());
                format!("{resource} {used} of {}", hard.0)
            });
            Finding {
                subject: format!("quota {}", quota.metadata.name.unwrap_or_default()),
                is_fine: hard
                    .iter()
                    .all(|(resource, hard)| used.get(resource) != Some(hard)),
                found: shown.collect::<Vec<_>>().join(", "),
                grant: None,
            }
        };
        list.items.into_iter().map(quota).collect()
    }

    /// Whether admission takes the pod: asked by a dry run, which makes nothing.
    async fn admission(&self, manifests: &Manifests) -> Finding {
        let template = manifests
            .job
            .spec
            .as_ref()
            .map(|spec| spec.template.clone())
            .unwrap_or_default();
        let pod = Pod {
            metadata: ObjectMeta {
                name: manifests.job.metadata.name.clone(),
                namespace: Some(self.namespace.clone()),
                ..template.metadata.unwrap_or_default()
            },
            spec: template.spec,
            status: None,
        };
        let dry = PostParams {
            dry_run: true,
            ..PostParams::default()
        };
        let answer = self.ask(attempt("create", "pods"), || {
            let (pods, pod, dry) = (self.all::<Pod>(), pod.clone(), dry.clone());
            async move { pods.create(&dry, &pod).await }
        });
        let subject = "admission of the pod".to_owned();
        match answer.await {
            Ok(_) => Finding {
                subject,
                is_fine: true,
                found: "accepted".to_owned(),
                grant: None,
            },
            // The Job's controller makes pods, not its user.
            Err(ClusterError::Forbidden { .. }) => Finding {
                subject,
                is_fine: true,
                found: "cannot be asked: this user may not create pods, which a build does not need"
                    .to_owned(),
                grant: None,
            },
            Err(error) => Finding {
                subject,
                is_fine: false,
                found: error.to_string(),
                grant: None,
            },
        }
    }

    async fn claim(&self, wanted: &PersistentVolumeClaim) -> Finding {
        let name = wanted.metadata.name.clone().unwrap_or_default();
        let subject = format!("claim {name}");
        let found = self.all::<PersistentVolumeClaim>().get_opt(&name).await;
        let (is_fine, found) = match found {
            Err(error) => (
                false,
                ClusterError::of(error, attempt("get", "persistentvolumeclaims"), &self.namespace)
                    .to_string(),
            ),
            Ok(None) => (true, "will be made by the first build".to_owned()),
            Ok(Some(claim)) => {
                let phase = claim.status.and_then(|status| status.phase).unwrap_or_default();
                // A class that waits for its first pod keeps a claim pending until then.
                (phase != "Lost", format!("is there: {phase}"))
            }
        };
        Finding {
            subject,
            is_fine,
            found,
            grant: None,
        }
    }
}
