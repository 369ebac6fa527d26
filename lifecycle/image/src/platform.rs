//! Operating system and architecture.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What an image runs on (OCI image index specification, "platform").
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Platform {
    /// The processor architecture in Go's spelling: `amd64`, `arm64`, …
    pub architecture: String,
    /// The operating system: `linux`.
    pub os: String,
    /// Version of the operating system, used by Windows only.
    #[serde(rename = "os.version", default, skip_serializing_if = "Option::is_none")]
    pub os_version: Option<String>,
    /// Variant of the architecture: `v7`, `v8`, …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

/// The text is not a platform.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a platform: expected os/architecture[/variant], as in linux/arm64")]
pub struct InvalidPlatform {
    text: String,
}

impl Platform {
    /// Linux on `architecture`.
    pub fn linux(architecture: &str) -> Self {
        Self {
            architecture: architecture.to_owned(),
            os: "linux".to_owned(),
            os_version: None,
            variant: None,
        }
    }

    /// What artifacts and attestations have in an index: `unknown/unknown`.
    pub fn unknown() -> Self {
        Self {
            os: "unknown".to_owned(),
            ..Self::linux("unknown")
        }
    }

    /// The platform this program was built for.
    pub fn host() -> Self {
        let (architecture, variant) = match std::env::consts::ARCH {
            "x86_64" => ("amd64", None),
            "x86" => ("386", None),
            "aarch64" => ("arm64", None),
            "arm" => ("arm", Some("v7")),
            "powerpc64" => ("ppc64le", None),
            "loongarch64" => ("loong64", None),
            other => (other, None),
        };
        Self {
            variant: variant.map(str::to_owned),
            ..Self::linux(architecture)
        }
    }

    /// Whether an image for `self` runs where `wanted` is asked for. A variant that is missing on either side
    /// matches any; `arm64` means `arm64/v8`.
    pub fn satisfies(&self, wanted: &Platform) -> bool {
        let variant =
            |platform: &Platform| match (platform.architecture.as_str(), platform.variant.as_deref()) {
                ("arm64", Some("v8")) => None,
                (_, variant) => variant.map(str::to_owned),
            };
        let variants_match = match (variant(self), variant(wanted)) {
            (Some(own), Some(wanted)) => own == wanted,
            _ => true,
        };
        self.os == wanted.os && self.architecture == wanted.architecture && variants_match
    }
}

impl FromStr for Platform {
    type Err = InvalidPlatform;

    fn from_str(text: &str) -> Result<Self, InvalidPlatform> {
        let parts: Vec<&str> = text.split('/').collect();
        let word = |part: &&str| {
            !part.is_empty()
                && part
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
        };
        if !(2..=3).contains(&parts.len()) || !parts.iter().all(word) {
            return Err(InvalidPlatform {
                text: text.chars().take(100).collect(),
            });
        }
        let architecture = match parts[1] {
            "x86_64" | "x86-64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        Ok(Self {
            architecture: architecture.to_owned(),
            os: parts[0].to_owned(),
            os_version: None,
            variant: parts.get(2).map(|&variant| variant.to_owned()),
        })
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn platforms_match_by_what_is_known() {
        let platform = |text: &str| text.parse::<Platform>().unwrap();
        assert!(platform("linux/arm64/v8").satisfies(&platform("linux/arm64")));
        assert!(platform("linux/arm64").satisfies(&platform("linux/arm64/v8")));
        assert!(platform("linux/arm/v7").satisfies(&platform("linux/arm")));
        assert!(!platform("linux/arm/v6").satisfies(&platform("linux/arm/v7")));
        assert!(!platform("linux/arm64").satisfies(&platform("linux/amd64")));
        assert!("linux".parse::<Platform>().is_err());
        assert!("linux/".parse::<Platform>().is_err());
        assert_eq!(platform("linux/x86_64").to_string(), "linux/amd64");
    }
}
