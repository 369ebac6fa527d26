//! What `bin/release` says of an app (platforms.md 2.1).

use crate::procfile::check_name;
use crate::yaml::Yaml;
use crate::{HerokuError, LineError, Procfile, config_vars};

/// The name of the script in messages.
const FILE: &str = "bin/release";

/// The output of a buildpack's `bin/release`, and the file `.release` of a slug.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Release {
    /// Services that the app would like to have. Nothing here provides any.
    pub addons: Vec<String>,
    /// Variables for the running app, which never replace those of the platform (SR-04).
    pub config_vars: Vec<(String, String)>,
    /// Process types for what the Procfile does not name.
    pub default_process_types: Procfile,
}

impl Release {
    /// Reads the YAML. Empty documents, missing keys, `null` and empty maps are fine (HC-07).
    ///
    /// # Errors
    /// With the line of what cannot be read, or the name of what has another shape.
    pub fn parse(text: &str) -> Result<Self, HerokuError> {
        let document = Yaml::parse(FILE, text)?;
        if !matches!(document, Yaml::Null | Yaml::Map(_)) {
            let reason = "expected keys with values".to_owned();
            return Err(HerokuError::File {
                file: FILE.to_owned(),
                reason,
            });
        }
        let mut release = Self {
            addons: addons(document.get("addons"))?,
            ..Self::default()
        };
        for (name, value) in scalars("config_vars", document.get("config_vars"))? {
            config_vars::check_name(&name)?;
            release.config_vars.push((name, value));
        }
        for (name, command) in scalars("default_process_types", document.get("default_process_types"))? {
            check_name(&name).map_err(|reason| shape("default_process_types", &reason))?;
            // A command over several lines is one command all the same.
            let command = command.lines().map(str::trim).collect::<Vec<_>>().join(" ");
            release.default_process_types.set(&name, command.trim());
        }
        Ok(release)
    }

    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The file `.release`, from which others and [`Release::parse`] read the same.
    pub fn to_yaml(&self) -> String {
        let mut text = String::from("---\n");
        let mut section = |name: &str, lines: Vec<String>, empty: &str| match lines.as_slice() {
            [] => text.extend([name, ": ", empty, "\n"]),
            lines => text.extend([name, ":\n", &lines.join("\n"), "\n"]),
        };
        let pair = |(name, value): (&str, &str)| format!("  {name}: {}", quoted(value));
        section(
            "addons",
            self.addons
                .iter()
                .map(|addon| format!("  - {}", quoted(addon)))
                .collect(),
            "[]",
        );
        let vars = self
            .config_vars
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()));
        section("config_vars", vars.map(pair).collect(), "{}");
        section(
            "default_process_types",
            self.default_process_types.iter().map(pair).collect(),
            "{}",
        );
        text
    }
}

/// A string as JSON and YAML both read it.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn shape(key: &str, reason: &str) -> HerokuError {
    HerokuError::File {
        file: FILE.to_owned(),
        reason: format!("`{key}`: {reason}"),
    }
}

fn addons(node: &Yaml) -> Result<Vec<String>, HerokuError> {
    let text = |node: &Yaml| match node {
        Yaml::Scalar(text) => Ok(text.clone()),
        _ => Err(shape("addons", "expected a list of names")),
    };
    match node {
        Yaml::Null => Ok(Vec::new()),
        Yaml::List(items) => items.iter().map(text).collect(),
        other => Ok(vec![text(other)?]),
    }
}

fn scalars(key: &str, node: &Yaml) -> Result<Vec<(String, String)>, HerokuError> {
    let entries = match node {
        Yaml::Null => return Ok(Vec::new()),
        Yaml::Map(entries) => entries,
        _ => return Err(shape(key, "expected names with values")),
    };
    let mut pairs = Vec::new();
    for (name, value) in entries {
        match value {
            // A type without a command is none.
            Yaml::Null => {}
            Yaml::Scalar(value) => pairs.push((name.clone(), value.clone())),
            Yaml::List(_) | Yaml::Map(_) => return Err(shape(key, &format!("`{name}` is not a text"))),
        }
    }
    Ok(pairs)
}

impl From<std::str::Utf8Error> for HerokuError {
    fn from(error: std::str::Utf8Error) -> Self {
        Self::Line(LineError::new(
            FILE,
            1,
            format!("the output is not UTF-8: {error}"),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_fine_in_every_form_hc_07() {
        for text in [
            "",
            "---\n",
            "--- {}\n",
            "default_process_types:\n",
            "default_process_types: {}",
            "addons: []\n",
        ] {
            assert!(Release::parse(text).unwrap().is_empty(), "{text:?}");
        }
    }

    #[test]
    fn types_addons_and_variables_are_read() {
        let text = "---\naddons:\n- heroku-postgresql:mini\nconfig_vars:\n  LANG: en_US.UTF-8\ndefault_process_types:\n  web: npm start\n";
        let release = Release::parse(text).unwrap();
        assert_eq!(release.addons, ["heroku-postgresql:mini"]);
        assert_eq!(
            release.config_vars,
            [("LANG".to_owned(), "en_US.UTF-8".to_owned())]
        );
        assert_eq!(release.default_process_types.command("web"), Some("npm start"));
        assert_eq!(Release::parse(&release.to_yaml()).unwrap(), release);
    }

    #[test]
    fn what_is_malformed_is_named() {
        for (text, message) in [
            (
                "default_process_types:\n  web: [",
                "bin/release:3: `]` is missing",
            ),
            ("- a", "bin/release: expected keys with values"),
            (
                "default_process_types: web",
                "bin/release: `default_process_types`: expected names with values",
            ),
            (
                "config_vars:\n  A-B: c",
                "`A-B` is not the name of a config var; use letters, digits and `_`, and no digit first",
            ),
            (
                "default_process_types:\n  web: {}",
                "bin/release: `default_process_types`: `web` is not a text",
            ),
        ] {
            let error = Release::parse(text).unwrap_err().to_string();
            assert!(
                error == message || error == message.replace(":3:", ":2:"),
                "{error}"
            );
        }
    }

    #[test]
    fn any_value_survives_the_file_release() {
        let mut release = Release::default();
        release
            .config_vars
            .push(("A".to_owned(), "it's \"$X\" `y` \\ : # é\tz".to_owned()));
        release
            .default_process_types
            .set("web", "run: 'x' # not a comment");
        assert_eq!(Release::parse(&release.to_yaml()).unwrap(), release);
    }
}
