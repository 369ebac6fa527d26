//! `stack.toml`.

use std::collections::BTreeMap;
use std::path::Path;

use lifecycle_image::{Image, Platform, Reference, mutate};
use lifecycle_spec::Flaw;
use serde::Deserialize;

use crate::{BuilderError, Folder};

/// The version of the schema that this program reads.
const SCHEMA: u32 = 1;

/// `stack.toml`; the README of `stacks/debian-12` explains every key. Unknown keys are errors.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Definition {
    /// The version of the schema, 1.
    schema: u32,
    /// The id, which also names the images: `lifecycle/ID:build` and `lifecycle/ID:run`.
    pub id: String,
    /// For people.
    #[serde(default)]
    pub description: String,
    /// What the images' `/etc/os-release` says.
    pub distro: Distro,
    /// How the root file systems are made.
    pub mmdebstrap: Mmdebstrap,
    /// Labels of both images.
    #[serde(default)]
    labels: BTreeMap<String, String>,
    /// The image to build on.
    pub build: ImageDefinition,
    /// The image to run on.
    pub run: ImageDefinition,
}

/// A distribution.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Distro {
    /// `ID` of os-release.
    pub name: String,
    /// `VERSION_ID` of os-release.
    pub version: String,
}

/// What is the same for both root file systems.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Mmdebstrap {
    /// The suite of the distribution.
    pub suite: String,
    /// Components of the archive.
    pub components: Vec<String>,
    /// A script of the stack's folder that is run last.
    #[serde(default)]
    pub customize: Option<String>,
    /// Paths that dpkg leaves out.
    #[serde(default)]
    pub path_exclude: Vec<String>,
    /// Paths that it keeps nevertheless.
    #[serde(default)]
    pub path_include: Vec<String>,
}

/// One of the two images.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageDefinition {
    /// mmdebstrap's variant.
    pub variant: String,
    /// Packages beside those of the variant.
    #[serde(default)]
    pub packages: Vec<String>,
    /// Who the image's processes run as.
    pub user: User,
    /// Variables.
    #[serde(default)]
    env: BTreeMap<String, String>,
    /// Labels of this image.
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

/// The user of an image.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// The name, also of the group.
    pub name: String,
    /// The user id.
    pub uid: u32,
    /// The group id.
    pub gid: u32,
    /// The home directory.
    pub home: String,
}

/// Which image of a stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The one to build on.
    Build,
    /// The one to run on.
    Run,
}

impl Part {
    /// Both, in the order in which they are made.
    pub const BOTH: [Self; 2] = [Self::Build, Self::Run];

    /// `build` or `run`, which is also the tag of the image.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Build => "build",
            Self::Run => "run",
        }
    }
}

impl Definition {
    /// Reads the stack of a folder.
    pub fn read(folder: &Folder) -> Result<Self, BuilderError> {
        let bytes = folder.read("stack.toml")?;
        Ok(Self::parse(&folder.path().join("stack.toml"), &bytes)?)
    }

    fn parse(path: &Path, bytes: &[u8]) -> Result<Self, Flaw> {
        let text = String::from_utf8_lossy(bytes).into_owned();
        let definition: Self = toml::from_str(&text)
            .map_err(|error| Flaw::at(path, text.as_str(), error.span().unwrap_or(0..0), error.message()))?;
        if definition.schema == SCHEMA {
            return Ok(definition);
        }
        let start = text.find("schema").unwrap_or(0);
        let message = format!("schema {} is not known, only {SCHEMA}", definition.schema);
        Err(Flaw::at(
            path,
            text.as_str(),
            start..start + "schema".len(),
            message,
        ))
    }

    /// One of the two images.
    pub fn image(&self, part: Part) -> &ImageDefinition {
        match part {
            Part::Build => &self.build,
            Part::Run => &self.run,
        }
    }

    /// The name of an image in the local store: `lifecycle/ID:build` or `lifecycle/ID:run`.
    pub fn reference(&self, part: Part) -> Result<Reference, BuilderError> {
        Ok(format!("lifecycle/{}:{}", self.id, part.as_str()).parse()?)
    }

    /// The image without its layer: what platform, user, variables and labels follow from the definition.
    pub(super) fn skeleton(&self, part: Part, platform: &Platform, created: &str) -> Image {
        let definition = self.image(part);
        let User { uid, gid, .. } = definition.user;
        mutate::configure(Image::empty(platform), |config| {
            config.created = Some(created.to_owned());
            config.config.user = Some(format!("{uid}:{gid}"));
            for (name, value) in &definition.env {
                config.config.set_env(name, value);
            }
            config.config.set_env("CNB_USER_ID", &uid.to_string());
            config.config.set_env("CNB_GROUP_ID", &gid.to_string());
            for (key, value) in self.labels.iter().chain(&definition.labels) {
                config.set_label(key, value);
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_stacks_are_valid() {
        for folder in Folder::embedded("stack") {
            let definition = Definition::read(&folder).unwrap();
            assert_eq!(definition.id, folder.name());
            let image = definition.skeleton(Part::Build, &Platform::linux("amd64"), "1980-01-01T00:00:01Z");
            assert_eq!(image.config().config.env("CNB_USER_ID"), Some("1000"));
            assert_ne!(definition.build.user.uid, definition.run.user.uid);
        }
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        let path = Path::new("stack.toml");
        let error = Definition::parse(path, b"schema = 1\nid = 3\n").unwrap_err();
        assert!(error.to_string().starts_with("stack.toml:2:6: "), "{error}");
        let folder = Folder::find("stack", "debian-12", "stack.toml").unwrap();
        let text = String::from_utf8(folder.read("stack.toml").unwrap()).unwrap();
        let error = Definition::parse(path, text.replace("schema = 1", "schema = 2").as_bytes()).unwrap_err();
        assert!(
            error.to_string().ends_with("schema 2 is not known, only 1"),
            "{error}"
        );
        let error = Definition::parse(path, format!("colour = 1\n{text}").as_bytes()).unwrap_err();
        assert!(error.to_string().contains("unknown field `colour`"), "{error}");
    }
}
