//! Names with rules: a value of one of these types has passed them.
//!
//! Most of these names become path components, so what the rules have in common is that no name leaves its directory.

use std::fmt;
use std::str::FromStr;

/// A text is not a name of the wanted kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {kind}: {rule}")]
pub struct NameError {
    /// What was wanted, with its article, for example `a process type`.
    pub kind: &'static str,
    /// What was given.
    pub text: String,
    /// The rule that it breaks.
    pub rule: &'static str,
}

/// Gives a tuple struct around `String` with a `fn broken_rule(&str) -> Option<&'static str>` what every name has.
macro_rules! name {
    ($type:ident, $kind:literal) => {
        impl $type {
            /// The name if the text follows the rules of this type.
            pub fn new(text: impl Into<String>) -> Result<Self, NameError> {
                let text = text.into();
                match Self::broken_rule(&text) {
                    None => Ok(Self(text)),
                    Some(rule) => Err(NameError {
                        kind: $kind,
                        text,
                        rule,
                    }),
                }
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $type {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        #[cfg(feature = "documents")]
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        #[cfg(feature = "documents")]
        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <String as serde::Deserialize>::deserialize(deserializer)?;
                Self::new(text).map_err(serde::de::Error::custom)
            }
        }
    };
}

/// The id of a buildpack or extension, for example `acme/python` (BPT-03, DIR-02).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BuildpackId(String);

name!(BuildpackId, "a buildpack id");

impl BuildpackId {
    /// The id as a directory name: every `/` becomes `_` (DIR-02).
    #[must_use]
    pub fn directory(&self) -> String {
        self.0.replace('/', "_")
    }

    fn broken_rule(text: &str) -> Option<&'static str> {
        // The specification has no underscore. The reference checks nothing, and an underscore does no harm.
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"./-_".contains(&byte);
        if text.is_empty() || !text.bytes().all(allowed) {
            return Some("it may hold letters, digits, `.`, `/`, `-` and `_`, at least one of them");
        }
        if text == "." || text == ".." {
            return Some("it would name a directory outside of its own");
        }
        // `<layers>/<id>` would be a directory of the lifecycle itself.
        let reserved = ["app", "config", "generated", "sbom", "buildpacksio/lifecycle"];
        reserved.contains(&text).then_some("the name is reserved")
    }
}

/// The version of a buildpack or extension.
///
/// The specification wants `X.Y.Z`. Modules with other versions exist and the reference takes them, so only what
/// cannot be a directory name is refused.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(String);

name!(Version, "a version");

impl Version {
    fn broken_rule(text: &str) -> Option<&'static str> {
        broken_component_rule(text)
    }
}

/// The name of a layer: `<layers>/<bp>/<name>` and `<name>.toml` (BPB-01).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LayerName(String);

name!(LayerName, "a layer name");

impl LayerName {
    fn broken_rule(text: &str) -> Option<&'static str> {
        if ["build", "launch", "store"].contains(&text) {
            return Some("`<name>.toml` would be another file of the buildpack");
        }
        broken_component_rule(text)
    }
}

/// The type of a process, for example `web`; the name of its link in `/cnb/process` (LCH-06).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProcessType(String);

name!(ProcessType, "a process type");

impl ProcessType {
    fn broken_rule(text: &str) -> Option<&'static str> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if text.is_empty() || !text.bytes().all(allowed) {
            return Some("it may hold letters, digits, `.`, `_` and `-`, at least one of them");
        }
        broken_component_rule(text)
    }
}

/// An execution environment: `production`, `test`, `development` or a platform's own (XEN-01).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExecEnv(String);

name!(ExecEnv, "an execution environment");

impl ExecEnv {
    fn broken_rule(text: &str) -> Option<&'static str> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-".contains(&byte);
        (text.is_empty() || !text.bytes().all(allowed))
            .then_some("it may hold letters, digits, `.` and `-`, at least one of them")
    }
}

impl Default for ExecEnv {
    /// `production`.
    fn default() -> Self {
        Self("production".to_owned())
    }
}

/// Which execution environments something is for. An empty list and `*` mean all (XEN-03).
///
/// Members are kept as they were written; one that is not an [`ExecEnv`] simply never matches.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[cfg_attr(
    feature = "documents",
    derive(serde::Serialize, serde::Deserialize),
    serde(transparent)
)]
pub struct ExecEnvs(pub Vec<String>);

impl ExecEnvs {
    /// Whether the list includes `env`. A text, because the launcher compares whatever the container says.
    #[must_use]
    pub fn include(&self, env: &str) -> bool {
        self.is_empty() || self.0.iter().any(|member| member == "*" || member == env)
    }

    /// Whether nothing was listed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn broken_component_rule(text: &str) -> Option<&'static str> {
    if text.is_empty() {
        Some("it is empty")
    } else if text == "." || text == ".." || text.contains(['/', '\0']) {
        Some("it would name a directory outside of its own")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::{BuildpackId, ExecEnv, ExecEnvs, LayerName, ProcessType, Version};

    #[test]
    fn buildpack_ids_bpt_03() {
        for good in ["a", "acme/python", "io.acme.x-y/Z9", "a_b", "..a", "a/../b"] {
            assert!(BuildpackId::new(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            ".",
            "..",
            "a b",
            "ä",
            "a\0",
            "app",
            "config",
            "generated",
            "sbom",
            "buildpacksio/lifecycle",
        ] {
            assert!(BuildpackId::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_slash_becomes_an_underscore_in_directories_dir_02() {
        assert_eq!(BuildpackId::new("a/../b").unwrap().directory(), "a_.._b");
    }

    #[test]
    fn layer_names_bpb_01() {
        for good in ["python", "build.x", "Launch", "sp ace", "é"] {
            assert!(LayerName::new(good).is_ok(), "{good}");
        }
        for bad in ["", "build", "launch", "store", ".", "..", "a/b", "a\0b"] {
            assert!(LayerName::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn process_types_lch_06() {
        for good in ["web", "a.b_c-D9"] {
            assert!(ProcessType::new(good).is_ok(), "{good}");
        }
        for bad in [
            "", ".", "..", "a/b", "a>b", "a<b", "a:b", "a|b", "a&b", "a\\b", "a b",
        ] {
            assert!(ProcessType::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn versions_are_directory_names_dir_01() {
        for good in ["1.2.3", "0.0.1-rc+1", "latest"] {
            assert!(Version::new(good).is_ok(), "{good}");
        }
        for bad in ["", "..", "1/2"] {
            assert!(Version::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn exec_envs_empty_and_star_mean_all_xen_03() {
        let list = |members: &[&str]| ExecEnvs(members.iter().map(ToString::to_string).collect());
        assert!(list(&[]).include("test"));
        assert!(list(&["*"]).include("test"));
        assert!(list(&["production", "test"]).include("test"));
        assert!(!list(&["production"]).include("test"));
    }

    #[test]
    fn the_names_of_execution_environments_xen_01() {
        assert_eq!(ExecEnv::default().as_str(), "production");
        for good in ["production", "test", "development", "acme.staging-2"] {
            assert!(ExecEnv::new(good).is_ok(), "{good}");
        }
        for bad in ["", "a/b", "*", "a b", "a_b"] {
            assert!(ExecEnv::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_error_says_what_and_why() {
        let error = ProcessType::new("a b").unwrap_err();
        assert_eq!(
            error.to_string(),
            "`a b` is not a process type: it may hold letters, digits, `.`, `_` and `-`, at least one of them"
        );
    }
}
