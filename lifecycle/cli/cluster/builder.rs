//! What has to be known of a builder before its phases can be made steps of a pod.

use lifecycle_image::{Artifact, Image, Platform, Reference, Source};
use lifecycle_spec::label::{self, BuilderLabel, ModuleLayers, OrderLabel, OrderLabelEntry};
use lifecycle_spec::{BuildpackId, ExecEnvs, OrderEntry, OrderGroup, OrderToml, PlatformApi, Version};

use crate::failure::Failure;
use crate::session::Session;

/// A builder image in a registry.
pub(super) struct Builder {
    pub(super) name: String,
    /// The highest platform API that its lifecycle and we know.
    pub(super) api: String,
    pub(super) user: (i64, i64),
    image: Image,
}

impl Builder {
    /// Reads the builder's labels from its registry.
    pub(super) fn look_up(name: &str, user: Option<(i64, i64)>, session: &Session) -> Result<Self, Failure> {
        let reference: Reference = name.parse()?;
        let registry = session.registry()?;
        let image = match registry.artifact(&reference)? {
            Artifact::Image(image) => *image,
            Artifact::Index(_) => registry.image(&reference, &Platform::host())?,
        };
        let config = image.config();
        let text = config.label(label::BUILDER).ok_or_else(|| {
            Failure::new(
                "no-builder",
                format!("{name} is not a builder: it has no label {}", label::BUILDER),
            )
        })?;
        if let Some(order) = config.label("io.buildpacks.buildpack.order-extensions")
            && !matches!(order.trim(), "" | "null" | "[]")
        {
            return Err(Failure::new(
                "extensions",
                format!("{name} has image extensions, which need root in the pod"),
            )
            .help("use a builder without extensions on a cluster, or build here"));
        }
        let builder = BuilderLabel::parse(text)?;
        let variable = |name: &str| config.config.env(name).and_then(|value| value.parse().ok());
        let user = user.or_else(|| Some((variable("CNB_USER_ID")?, variable("CNB_GROUP_ID")?)));
        let user = user.ok_or_else(|| {
            Failure::new(
                "no-user",
                format!("{name} does not say as whom its phases run (CNB_USER_ID, CNB_GROUP_ID)"),
            )
            .help("name user and group with --pod-user UID:GID")
        })?;
        let apis = config
            .label(label::LIFECYCLE_APIS)
            .map(lifecycle_spec::Apis::parse_label)
            .transpose()?;
        Ok(Self {
            name: name.to_owned(),
            api: highest(&apis.unwrap_or(builder.lifecycle.apis).platform.supported),
            user,
            image,
        })
    }

    /// `order.toml` of the buildpacks that were asked for, or of the builder's own with `pre` before and `post` behind each
    /// group: ids of the builder, with or without version. Nothing if the builder's order is the one.
    pub(super) fn order(
        &self,
        asked: &[String],
        pre: &[String],
        post: &[String],
    ) -> Result<Option<String>, Failure> {
        if asked.is_empty() && pre.is_empty() && post.is_empty() {
            return Ok(None);
        }
        let entries = |texts: &[String]| -> Result<Vec<OrderEntry>, Failure> {
            texts.iter().map(|text| self.entry(text)).collect()
        };
        let groups = if asked.is_empty() {
            self.own_groups()?
        } else {
            vec![entries(asked)?]
        };
        let (pre, post) = (entries(pre)?, entries(post)?);
        let around = |group: Vec<OrderEntry>| OrderGroup {
            group: [pre.clone(), group, post.clone()].concat(),
        };
        let order = OrderToml {
            order: groups.into_iter().map(around).collect(),
            order_extensions: Vec::new(),
        };
        Ok(Some(order.to_toml()))
    }

    fn own_groups(&self) -> Result<Vec<Vec<OrderEntry>>, Failure> {
        let label = self.image.config().label(label::BUILDPACK_ORDER);
        let groups = label.map(OrderLabel::parse).transpose()?.unwrap_or_default().0;
        let entry = |own: OrderLabelEntry| {
            let text = match own.version {
                Some(version) => format!("{}@{version}", own.id),
                None => own.id.to_string(),
            };
            Ok(OrderEntry {
                optional: own.optional,
                exec_env: own.exec_env,
                ..self.entry(&text)?
            })
        };
        groups
            .into_iter()
            .map(|group| group.group.into_iter().map(entry).collect())
            .collect()
    }

    /// A buildpack of the builder.
    fn entry(&self, text: &str) -> Result<OrderEntry, Failure> {
        let layers = self.image.config().label(label::BUILDPACK_LAYERS);
        let layers = layers.map(ModuleLayers::parse).transpose()?.unwrap_or_default();
        let unknown = || {
            let known: Vec<String> = layers.0.keys().map(ToString::to_string).collect();
            Failure::new("buildpack", format!("{} has no buildpack {text}", self.name)).help(format!(
                "on a cluster only the builder's own can be used: {}",
                known.join(", ")
            ))
        };
        let (id, version) = text
            .split_once('@')
            .map_or((text, None), |(id, version)| (id, Some(version)));
        let id = BuildpackId::new(id).map_err(|_| unknown())?;
        let versions: Vec<&Version> = layers
            .0
            .get(&id)
            .into_iter()
            .flat_map(|versions| versions.keys())
            .collect();
        let version = match version {
            Some(wanted) => versions.iter().find(|version| version.to_string() == wanted),
            None => versions.last(),
        };
        Ok(OrderEntry {
            version: (*version.ok_or_else(unknown)?).clone(),
            id,
            optional: false,
            exec_env: ExecEnvs::default(),
        })
    }
}

/// The highest version that we, too, know; the usual one for a list of none, whose lifecycle will say so itself.
fn highest(supported: &[String]) -> String {
    let ours = PlatformApi::ALL.into_iter().map(PlatformApi::as_str).rev();
    let found = ours
        .into_iter()
        .find(|api| supported.iter().any(|other| other == api));
    found.unwrap_or("0.12").to_owned()
}

#[cfg(test)]
mod tests {
    use lifecycle_spec::Apis;

    use super::*;

    #[test]
    fn the_newest_api_that_both_know_is_chosen_lci_05() {
        let list = |versions: &[&str]| {
            versions
                .iter()
                .map(|&version| version.to_owned())
                .collect::<Vec<_>>()
        };
        // What pack does with our list, and we with those of other lifecycles.
        let ours = Apis::own().platform.supported;
        for end in 1..=ours.len() {
            assert_eq!(highest(&ours[..end]), ours[end - 1]);
        }
        assert_eq!(highest(&list(&["0.10", "0.9", "0.7"])), "0.10");
        assert_eq!(highest(&list(&["0.3", "0.8", "0.99", "1.0"])), "0.8");
        assert_eq!(highest(&list(&["0.3"])), "0.12");
    }
}
