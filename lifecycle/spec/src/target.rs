//! Targets: what a module runs on, and what a run image is.

use std::fmt;

use crate::document::{Fault, Node, Table};

/// An operating system distribution. A missing part matches anything (TGT-01).
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Distro {
    /// `ID` of os-release, for example `debian`.
    #[serde(default, deserialize_with = "crate::json::default_when_null")]
    pub name: String,
    /// `VERSION_ID` of os-release, for example `12`.
    #[serde(default, deserialize_with = "crate::json::default_when_null")]
    pub version: String,
}

/// One entry of `[[targets]]`. Empty parts match anything (TGT-01).
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Target {
    /// The operating system, for example `linux`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub os: String,
    /// The architecture in Go's words, for example `amd64`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub arch: String,
    /// The variant of the architecture, for example `v8`.
    #[serde(default, alias = "arch-variant", skip_serializing_if = "String::is_empty")]
    pub variant: String,
    /// The distributions; an empty list matches any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub distros: Vec<Distro>,
    /// Where a multi-arch source has the files of this target (PKG-08).
    #[serde(default, skip)]
    pub path: Option<String>,
}

/// What an image is: `[run-image.target]` of analyzed.toml.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TargetData {
    /// Label `io.buildpacks.base.id`.
    pub id: Option<String>,
    /// The operating system.
    pub os: String,
    /// The architecture.
    pub arch: String,
    /// The variant of the architecture.
    pub variant: Option<String>,
    /// The distribution, if it is known.
    pub distro: Option<Distro>,
}

impl Distro {
    /// Ubuntu 18.04, which is all that is known of the old bionic stack.
    fn bionic() -> Self {
        Self {
            name: "ubuntu".to_owned(),
            version: "18.04".to_owned(),
        }
    }

    fn read(table: &Table<'_>) -> Result<Self, Fault> {
        Ok(Self {
            name: table.optional("name")?.unwrap_or_default(),
            version: table.optional("version")?.unwrap_or_default(),
        })
    }

    fn node(&self) -> Node {
        Node::new()
            .string("name", &self.name)
            .string("version", &self.version)
    }
}

impl Target {
    /// What a deprecated stack id stands for: `*` is any target, bionic is linux/amd64 with Ubuntu 18.04, others say
    /// nothing (TGT-03, X-12).
    #[must_use]
    pub fn of_stack(id: &str) -> Option<Self> {
        match id {
            "*" => Some(Self::default()),
            "io.buildpacks.stacks.bionic" => Some(Self {
                os: "linux".to_owned(),
                arch: "amd64".to_owned(),
                distros: vec![Distro::bionic()],
                ..Self::default()
            }),
            _ => None,
        }
    }

    /// Whether it is what an image is. What is missing on either side matches anything, except that a list of
    /// distributions does not match an image of which none is known (TGT-01).
    #[must_use]
    pub fn is(&self, image: &TargetData) -> bool {
        let same = |wanted: &str, found: &str| wanted.is_empty() || found.is_empty() || wanted == found;
        let distro = match &image.distro {
            _ if self.distros.is_empty() => true,
            Some(found) => self
                .distros
                .iter()
                .any(|wanted| same(&wanted.name, &found.name) && same(&wanted.version, &found.version)),
            None => false,
        };
        same(&self.os, &image.os)
            && same(&self.arch, &image.arch)
            && same(&self.variant, image.variant.as_deref().unwrap_or_default())
            && distro
    }

    pub(crate) fn read(table: &Table<'_>) -> Result<Self, Fault> {
        Ok(Self {
            os: table.optional("os")?.unwrap_or_default(),
            arch: table.optional("arch")?.unwrap_or_default(),
            variant: read_variant(table)?.unwrap_or_default(),
            distros: table.each("distros", Distro::read)?,
            path: table.optional("path")?,
        })
    }
}

impl fmt::Display for Target {
    /// As people read it: `linux/arm64/v8 (debian 12)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [&self.os, &self.arch, &self.variant];
        let platform: Vec<&str> = parts
            .into_iter()
            .map(String::as_str)
            .filter(|part| !part.is_empty())
            .collect();
        f.write_str(&platform.join("/"))?;
        let distros: Vec<String> = self
            .distros
            .iter()
            .map(|distro| format!("{} {}", distro.name, distro.version).trim().to_owned())
            .collect();
        if distros.is_empty() {
            return Ok(());
        }
        write!(f, " ({})", distros.join(", "))
    }
}

impl TargetData {
    /// What an image with a deprecated stack id is (FILE-02, X-12).
    #[must_use]
    pub fn of_stack(id: &str) -> Option<Self> {
        (id == "io.buildpacks.stacks.bionic").then(|| Self {
            os: "linux".to_owned(),
            arch: "amd64".to_owned(),
            distro: Some(Distro::bionic()),
            ..Self::default()
        })
    }

    pub(crate) fn read(table: &Table<'_>) -> Result<Self, Fault> {
        Ok(Self {
            id: table.optional("id")?,
            os: table.optional("os")?.unwrap_or_default(),
            arch: table.optional("arch")?.unwrap_or_default(),
            variant: read_variant(table)?,
            distro: table.table("distro")?.as_ref().map(Distro::read).transpose()?,
        })
    }

    pub(crate) fn node(&self) -> Node {
        Node::new()
            .optional("id", self.id.as_ref())
            .string("os", &self.os)
            .string("arch", &self.arch)
            .optional("variant", self.variant.as_ref())
            .optional_table("distro", self.distro.as_ref().map(Distro::node))
    }
}

/// The specification says `variant`, the reference says `arch-variant`; both are read.
fn read_variant(table: &Table<'_>) -> Result<Option<String>, Fault> {
    let variant = table.optional("variant")?;
    let arch_variant = table.optional("arch-variant")?;
    Ok(variant.or(arch_variant))
}

#[cfg(test)]
mod tests {
    use super::{Target, TargetData};

    #[test]
    fn stacks_become_targets_tgt_03_file_02_x_12() {
        assert_eq!(Target::of_stack("*"), Some(Target::default()));
        let bionic = Target::of_stack("io.buildpacks.stacks.bionic").unwrap();
        assert_eq!((bionic.os.as_str(), bionic.arch.as_str()), ("linux", "amd64"));
        assert_eq!(bionic.distros[0].name, "ubuntu");
        assert_eq!(bionic.distros[0].version, "18.04");
        assert_eq!(Target::of_stack("heroku-22"), None);
        assert_eq!(
            TargetData::of_stack("io.buildpacks.stacks.bionic").unwrap().arch,
            "amd64"
        );
        assert_eq!(TargetData::of_stack("*"), None);
    }
}
