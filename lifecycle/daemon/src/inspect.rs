//! What a daemon says about an image, as a configuration.

use jiff::Timestamp;
use lifecycle_image::{ContainerConfig, DiffId, History, ImageConfig, RootFs};
use serde::Deserialize;

/// The answer to `GET /images/NAME/json`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Inspected {
    /// What names exactly this image here.
    pub(crate) id: String,
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    os: String,
    #[serde(default)]
    os_version: Option<String>,
    #[serde(default)]
    variant: Option<String>,
    #[serde(default)]
    created: Option<String>,
    #[serde(default)]
    author: Option<String>,
    #[serde(default)]
    config: Option<ContainerConfig>,
    #[serde(rename = "RootFS", default)]
    root_fs: Layers,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Layers {
    #[serde(default)]
    layers: Option<Vec<DiffId>>,
}

/// A line of the answer to `GET /images/NAME/history`, newest first.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct HistoryLine {
    #[serde(default)]
    created: Option<i64>,
    #[serde(default)]
    created_by: Option<String>,
    #[serde(default)]
    comment: Option<String>,
}

impl Inspected {
    /// The configuration that the daemon has for the image, as far as it tells. Daemons do not tell which lines of
    /// history made no layer, so the lines are taken only if there is one for each layer.
    pub(crate) fn config(self, mut lines: Vec<HistoryLine>) -> ImageConfig {
        let present = |text: Option<String>| text.filter(|text| !text.is_empty());
        let diff_ids = self.root_fs.layers.unwrap_or_default();
        lines.reverse();
        let history = if lines.len() == diff_ids.len() {
            lines.into_iter().map(HistoryLine::into_history).collect()
        } else {
            vec![History::default(); diff_ids.len()]
        };
        let mut container = self.config.unwrap_or_default();
        // These are of a container, and daemons list them with the image's own, empty.
        for name in [
            "Hostname",
            "Domainname",
            "AttachStdin",
            "AttachStdout",
            "AttachStderr",
            "Tty",
            "OpenStdin",
            "StdinOnce",
            "Image",
        ] {
            container.other.remove(name);
        }
        ImageConfig {
            architecture: self.architecture,
            os: self.os,
            os_version: present(self.os_version),
            os_features: None,
            variant: present(self.variant),
            created: present(self.created),
            author: present(self.author),
            config: container,
            rootfs: RootFs {
                diff_ids,
                ..RootFs::default()
            },
            history,
            other: serde_json::Map::new(),
        }
    }
}

impl HistoryLine {
    fn into_history(self) -> History {
        let present = |text: Option<String>| text.filter(|text| !text.is_empty());
        let created = self
            .created
            .and_then(|second| Timestamp::from_second(second).ok());
        History {
            created: created.map(|time| time.to_string()),
            created_by: present(self.created_by),
            comment: present(self.comment),
            ..History::default()
        }
    }
}
