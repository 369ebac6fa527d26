//! Where a module is, as documents and command lines write it (platforms.md 1.3).

use std::str::FromStr;

use lifecycle_image::Reference;
use lifecycle_spec::{BuildpackId, NameError, Version};

use crate::Folder;

/// Where a module is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A directory, an archive, a `.cnb` file or an OCI layout of this machine.
    File(String),
    /// The same behind an http or https address.
    Download(String),
    /// A package in a registry.
    Image(String),
    /// A module that the builder has: `urn:cnb:builder:ID[@VERSION]`.
    OfBuilder(ModuleName),
    /// Everything in the builder's order: `from=builder`.
    WholeBuilder,
    /// A buildpack that a registry index knows: `urn:cnb:registry:NAMESPACE/NAME[@VERSION]`.
    Registered(ModuleName),
}

/// `id` or `id@version`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ModuleName {
    /// The id.
    pub id: BuildpackId,
    /// The version; without one, the only one or the newest.
    pub version: Option<Version>,
}

/// A text that names no module.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} names no module{}: there is no such file, and it is neither an id of the builder nor the name of an image",
    reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default()
)]
pub struct InvalidAddress {
    /// As written.
    pub text: String,
    /// What is wrong with the id in it, if one was announced.
    pub reason: Option<NameError>,
}

impl Address {
    /// Reads an address. Paths start from `folder`; `is_in_builder` knows the builder's modules.
    ///
    /// A text without a prefix is, in this order: a file that exists, a module of the builder, a name in a registry
    /// of images, an entry of a registry index. Only `NAME@VERSION` is not the name of an image as well.
    pub fn parse(
        text: &str,
        folder: &Folder,
        is_in_builder: &dyn Fn(&ModuleName) -> bool,
    ) -> Result<Self, InvalidAddress> {
        let name = |name: &str| {
            name.parse::<ModuleName>().map_err(|reason| InvalidAddress {
                text: text.to_owned(),
                reason: Some(reason),
            })
        };
        if text == "from=builder" || text == "urn:cnb:builder" {
            return Ok(Self::WholeBuilder);
        }
        for prefix in ["urn:cnb:builder:", "from=builder:"] {
            if let Some(rest) = text.strip_prefix(prefix) {
                return name(rest).map(Self::OfBuilder);
            }
        }
        if let Some(rest) = text.strip_prefix("urn:cnb:registry:") {
            return name(rest).map(Self::Registered);
        }
        if let Some(rest) = text.strip_prefix("docker://") {
            return Ok(Self::Image(rest.to_owned()));
        }
        if let Some(rest) = text.strip_prefix("file://") {
            return Ok(Self::File(rest.to_owned()));
        }
        if text.starts_with("http://") || text.starts_with("https://") {
            return Ok(Self::Download(text.to_owned()));
        }
        if let Some(rest) = text
            .strip_prefix("oci:")
            .or_else(|| text.strip_prefix("oci-archive:"))
        {
            return Ok(Self::File(rest.to_owned()));
        }
        if folder.has(text) {
            return Ok(Self::File(text.to_owned()));
        }
        if is_plainly_a_path(text) {
            return Err(InvalidAddress {
                text: text.to_owned(),
                reason: None,
            });
        }
        if let Ok(module) = text.parse::<ModuleName>() {
            if is_in_builder(&module) {
                return Ok(Self::OfBuilder(module));
            }
            // An image's digest has a colon in it, which a version of the index cannot have.
            if module.version.is_some() && text.parse::<Reference>().is_err() && is_registrable(&module.id) {
                return Ok(Self::Registered(module));
            }
        }
        if text.parse::<Reference>().is_ok() {
            return Ok(Self::Image(text.to_owned()));
        }
        Err(InvalidAddress {
            text: text.to_owned(),
            reason: None,
        })
    }
}

/// Whether whoever wrote this meant a file, though there is none: nothing else begins or ends like this.
fn is_plainly_a_path(text: &str) -> bool {
    let begins = ["./", "../", "/"].iter().any(|start| text.starts_with(start));
    let ends = [".cnb", ".tar", ".tgz", ".tar.gz", ".toml"]
        .iter()
        .any(|end| text.ends_with(end));
    begins || ends
}

/// Whether an id can stand in a registry index: two parts of small letters, digits, `-` and `.` (RGX-01).
pub(crate) fn is_registrable(id: &BuildpackId) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte);
    let is_part = |part: &str| (1..=253).contains(&part.len()) && part.bytes().all(allowed);
    let parts = id.as_str().split_once('/');
    parts.is_some_and(|(namespace, name)| is_part(namespace) && is_part(name))
}

impl FromStr for ModuleName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let (id, version) = match text.split_once('@') {
            Some((id, version)) => (id, Some(version)),
            None => (text, None),
        };
        Ok(Self {
            id: BuildpackId::new(id)?,
            version: version.map(Version::new).transpose()?,
        })
    }
}

impl std::fmt::Display for ModuleName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.version {
            Some(version) => write!(f, "{}@{version}", self.id),
            None => write!(f, "{}", self.id),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name(text: &str) -> ModuleName {
        text.parse().unwrap()
    }

    #[test]
    fn every_form_of_an_address_platforms_1_3() {
        let directory = tempfile::tempdir().unwrap();
        fs_err::create_dir_all(directory.path().join("bp/a")).unwrap();
        fs_err::write(directory.path().join("x.cnb"), "").unwrap();
        let folder = Folder::Disk(directory.path().to_owned());
        let in_builder = |module: &ModuleName| module.id.as_str() == "acme/known";
        let parse = |text: &str| Address::parse(text, &folder, &in_builder);
        for (text, address) in [
            ("bp/a", Address::File("bp/a".into())),
            ("./bp/a", Address::File("./bp/a".into())),
            ("x.cnb", Address::File("x.cnb".into())),
            ("file:///srv/bp", Address::File("/srv/bp".into())),
            ("oci:layout", Address::File("layout".into())),
            (
                "https://x.test/bp.tgz",
                Address::Download("https://x.test/bp.tgz".into()),
            ),
            ("docker://r.test/bp:1", Address::Image("r.test/bp:1".into())),
            ("r.test/bp:1", Address::Image("r.test/bp:1".into())),
            ("acme/known", Address::OfBuilder(name("acme/known"))),
            ("acme/known@1.0", Address::OfBuilder(name("acme/known@1.0"))),
            ("acme/other", Address::Image("acme/other".into())),
            ("acme/other@1.0", Address::Registered(name("acme/other@1.0"))),
            ("urn:cnb:builder:x", Address::OfBuilder(name("x"))),
            ("from=builder:x@2", Address::OfBuilder(name("x@2"))),
            ("from=builder", Address::WholeBuilder),
            ("urn:cnb:registry:a/b@1", Address::Registered(name("a/b@1"))),
        ] {
            assert_eq!(parse(text).unwrap(), address, "{text}");
        }
        for text in [
            "",
            "A B",
            "./gone",
            "gone.cnb",
            "urn:cnb:registry:",
            "urn:cnb:builder:a b@1",
            "x@../..",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn names_in_an_index_rgx_01() {
        for (id, fits) in [
            ("a/b", true),
            ("a.b-c/d9", true),
            ("a", false),
            ("a/b/c", false),
            ("A/b", false),
        ] {
            assert_eq!(is_registrable(&BuildpackId::new(id).unwrap()), fits, "{id}");
        }
    }

    proptest! {
        #[test]
        fn no_text_is_too_strange(text in "\\PC{0,40}") {
            let folder = Folder::Embedded("builders/debian-12".into());
            if let Ok(Address::OfBuilder(module) | Address::Registered(module)) =
                Address::parse(&text, &folder, &|_| false)
            {
                prop_assert!(!module.id.directory().contains('/'));
                prop_assert_eq!(module.to_string().parse::<ModuleName>().unwrap(), module);
            }
        }
    }
}
