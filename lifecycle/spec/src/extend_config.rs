//! `extend-config.toml`: build arguments for an extension's Dockerfiles.

use std::path::Path;

use crate::document::{self, Fault, Flaw, Table};

/// `extend-config.toml` (E§extend-config.toml, DKF-02).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExtendConfigToml {
    /// Arguments for build.Dockerfile.
    pub build: Vec<BuildArg>,
    /// Arguments for run.Dockerfile. Count since Buildpack API 0.10.
    pub run: Vec<BuildArg>,
}

/// An `ARG` and its value.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BuildArg {
    /// The name.
    pub name: String,
    /// The value.
    pub value: String,
}

impl ExtendConfigToml {
    /// Reads the file. The names that the lifecycle sets itself are refused.
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Self, Flaw> {
        document::read(path, bytes, |root| {
            let args = |key| match root.table(key)? {
                Some(table) => table.each("args", BuildArg::read),
                None => Ok(Vec::new()),
            };
            Ok(Self {
                build: args("build")?,
                run: args("run")?,
            })
        })
    }
}

impl BuildArg {
    fn read(table: &Table<'_>) -> Result<Self, Fault> {
        let name: String = table.required("name")?;
        if ["build_id", "user_id", "group_id"].contains(&name.as_str()) {
            return Err(table.fault_at("name", format!("the lifecycle sets `{name}` itself")));
        }
        let value = table
            .text("value")?
            .ok_or_else(|| table.fault("missing key `value` of the argument"))?;
        Ok(Self {
            name,
            value: value.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::ExtendConfigToml;

    #[test]
    fn arguments_by_kind_dkf_02() {
        let text = "[[build.args]]\nname = 'a'\nvalue = ''\n[[run.args]]\nname = 'b'\nvalue = 'x'\n";
        let config = ExtendConfigToml::parse(Path::new("e"), text.as_bytes()).unwrap();
        assert_eq!(
            (config.build[0].name.as_str(), config.run[0].value.as_str()),
            ("a", "x")
        );
        for (text, message) in [
            (
                "[[build.args]]\nname = 'a'\n",
                "missing key `value` of the argument",
            ),
            (
                "[[build.args]]\nvalue = 'a'\n",
                "missing key `name` in `build.args`",
            ),
            (
                "[[run.args]]\nname = 'user_id'\nvalue = '0'\n",
                "the lifecycle sets `user_id` itself",
            ),
        ] {
            let error = ExtendConfigToml::parse(Path::new("e"), text.as_bytes()).unwrap_err();
            assert_eq!(error.message(), message);
        }
    }
}
