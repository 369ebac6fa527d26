//! `app.json`: what an app says of itself.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::HerokuError;

/// The parts of `app.json` that a build needs. The others are for platforms and are passed over.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AppJson {
    /// Addresses of buildpacks, in order.
    pub buildpacks: Vec<String>,
    /// Scripts by name; `environments.test.scripts` has replaced those of a test (HC-09).
    pub scripts: BTreeMap<String, String>,
    /// Config vars with a value, for a test; `environments.test.env` has replaced those of the app.
    pub test_env: BTreeMap<String, String>,
}

impl AppJson {
    /// The file's name.
    pub const FILE: &str = "app.json";

    /// Reads the file.
    ///
    /// # Errors
    /// When it is not JSON, or a part that is read has another shape.
    pub fn parse(bytes: &[u8]) -> Result<Self, HerokuError> {
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let document: Document = serde_json::from_slice(bytes).map_err(|error| HerokuError::File {
            file: Self::FILE.to_owned(),
            reason: error.to_string(),
        })?;
        let test = document.environments.test;
        let value = |(name, var): (String, Variable)| Some((name, var.value()?));
        let mut app = Self {
            buildpacks: document
                .buildpacks
                .into_iter()
                .map(|buildpack| buildpack.url)
                .collect(),
            scripts: document.scripts,
            test_env: document.env.into_iter().filter_map(value).collect(),
        };
        app.scripts.extend(test.scripts);
        app.test_env.extend(test.env.into_iter().filter_map(value));
        Ok(app)
    }
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Document {
    buildpacks: Vec<Buildpack>,
    scripts: BTreeMap<String, String>,
    env: BTreeMap<String, Variable>,
    environments: Environments,
}

#[derive(Deserialize)]
struct Buildpack {
    url: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Environments {
    test: Test,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Test {
    scripts: BTreeMap<String, String>,
    env: BTreeMap<String, Variable>,
}

/// A config var: its value, or what is said of it.
#[derive(Deserialize)]
#[serde(untagged)]
enum Variable {
    Value(String),
    Described {
        #[serde(default)]
        value: Option<String>,
    },
}

impl Variable {
    fn value(self) -> Option<String> {
        match self {
            Self::Value(value) => Some(value),
            Self::Described { value } => value,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_test_environment_replaces_what_the_app_says_hc_09() {
        let text = br#"{
            "name": "x", "buildpacks": [{"url": "https://h/a"}, {"url": "https://h/b#v1"}],
            "env": {"A": "1", "B": {"value": "2"}, "C": {"generator": "secret"}},
            "scripts": {"test": "one", "postdeploy": "x"},
            "environments": {"test": {"scripts": {"test": "two", "test-setup": "s"}, "env": {"A": "3"}}}
        }"#;
        let app = AppJson::parse(text).unwrap();
        assert_eq!(app.buildpacks, ["https://h/a", "https://h/b#v1"]);
        assert_eq!(
            (app.scripts["test"].as_str(), app.scripts["test-setup"].as_str()),
            ("two", "s")
        );
        assert_eq!(
            app.test_env,
            BTreeMap::from([("A", "3"), ("B", "2")].map(|(a, b)| (a.to_owned(), b.to_owned())))
        );
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        let error = AppJson::parse(b"{\"buildpacks\": [{}]}").unwrap_err();
        assert_eq!(
            error.to_string(),
            "app.json: missing field `url` at line 1 column 18"
        );
    }
}
