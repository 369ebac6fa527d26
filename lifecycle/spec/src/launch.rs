//! `launch.toml`: what a buildpack contributes to the app image.

use std::path::Path;

use crate::document::{self, Fault, Flaw, Node, Table};
use crate::{BomEntry, BuildpackApi, ExecEnvs, ProcessType};

/// `<layers>/<bp>/launch.toml` (B§launch.toml, cnb.md 2.12).
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LaunchToml {
    /// Labels for the image.
    pub labels: Vec<ImageLabel>,
    /// Processes.
    pub processes: Vec<LaunchProcess>,
    /// Slices of the app directory.
    pub slices: Vec<Slice>,
    /// The legacy bill of materials.
    pub bom: Vec<BomEntry>,
}

/// A label for the app image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageLabel {
    /// Its name.
    pub key: String,
    /// Its value.
    pub value: String,
}

/// Files of the app directory that become a layer of their own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Slice {
    /// Globs (SLC-01).
    pub paths: Vec<String>,
}

/// A process as a buildpack describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaunchProcess {
    /// Its type.
    pub process_type: ProcessType,
    /// The program and the arguments that always stay; one word before Buildpack API 0.9.
    pub command: Vec<String>,
    /// Arguments that a user may replace.
    pub args: Option<Vec<String>>,
    /// Whether it starts without a shell; always since Buildpack API 0.9.
    pub direct: bool,
    /// Whether it starts when nobody names a process.
    pub default: bool,
    /// Where it starts.
    pub working_dir: Option<String>,
    /// The execution environments that it is for. Since Buildpack API 0.12.
    pub exec_env: ExecEnvs,
}

impl LaunchToml {
    /// Reads the file by the rules of the buildpack's API, with warnings about what these ignore.
    pub fn parse(path: &Path, bytes: &[u8], api: BuildpackApi) -> Result<(Self, Vec<Flaw>), Flaw> {
        let mut ignored = Vec::new();
        let launch = document::read(path, bytes, |root| {
            let mut processes = Vec::new();
            for table in root.tables("processes")? {
                let process = LaunchProcess::read(&table, api, &mut ignored)?;
                if process.default && processes.iter().any(|other: &LaunchProcess| other.default) {
                    return Err(table.fault_at("default", "another process is already the default"));
                }
                processes.push(process);
            }
            Ok(Self {
                labels: root.each("labels", ImageLabel::read)?,
                processes,
                slices: root.each("slices", Slice::read)?,
                bom: root.each("bom", BomEntry::read)?,
            })
        })?;
        // What has been read is UTF-8.
        let text = String::from_utf8_lossy(bytes).into();
        Ok((
            launch,
            ignored
                .into_iter()
                .map(|fault| Flaw::new(path, &text, fault))
                .collect(),
        ))
    }
}

impl LaunchProcess {
    fn read(table: &Table<'_>, api: BuildpackApi, ignored: &mut Vec<Fault>) -> Result<Self, Fault> {
        let (command, direct) = if api.has_command_list() {
            if table.has("direct") {
                let message =
                    format!("`direct` does not exist in Buildpack API {api}: every process is direct");
                return Err(table.fault_at("direct", message));
            }
            (table.list("command")?, true)
        } else {
            (
                table.text("command")?.into_iter().map(str::to_owned).collect(),
                table.flag("direct")?,
            )
        };
        let mut working_dir = table.optional("working-dir")?;
        if working_dir.is_some() && !api.has_working_dir() {
            let message = format!("`working-dir` is ignored: Buildpack API {api} does not have it");
            ignored.push(table.fault_at("working-dir", message));
            working_dir = None;
        }
        let exec_env = table.list("exec-env")?;
        Ok(Self {
            process_type: table.required("type")?,
            command,
            args: table.optional_list("args")?,
            direct,
            default: table.flag("default")?,
            working_dir,
            exec_env: ExecEnvs(if api.has_exec_env() { exec_env } else { Vec::new() }),
        })
    }
}

impl ImageLabel {
    pub(crate) fn read(table: &Table<'_>) -> Result<Self, Fault> {
        Ok(Self {
            key: table.required("key")?,
            value: table.text("value")?.unwrap_or_default().to_owned(),
        })
    }

    pub(crate) fn node(&self) -> Node {
        Node::new().string("key", &self.key).string("value", &self.value)
    }
}

impl Slice {
    pub(crate) fn read(table: &Table<'_>) -> Result<Self, Fault> {
        Ok(Self {
            paths: table.list("paths")?,
        })
    }

    pub(crate) fn node(&self) -> Node {
        Node::new().list("paths", &self.paths)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::LaunchToml;
    use crate::{BuildpackApi, Flaw};

    fn parse(text: &str, api: BuildpackApi) -> Result<(LaunchToml, Vec<Flaw>), Flaw> {
        LaunchToml::parse(Path::new("launch.toml"), text.as_bytes(), api)
    }

    #[test]
    fn every_key_of_the_schema_2_12() {
        let text = r#"
[[labels]]
key = "k"
value = ""
[[processes]]
type = "web"
command = ["run", "always"]
args = ["--default"]
default = true
working-dir = "sub"
exec-env = ["test"]
[[slices]]
paths = ["a/*"]
[[bom]]
name = "b"
"#;
        let (launch, warnings) = parse(text, BuildpackApi::V0_12).unwrap();
        assert_eq!(warnings, []);
        let web = &launch.processes[0];
        assert_eq!(web.command, ["run", "always"]);
        assert_eq!(web.args.as_deref(), Some(&["--default".to_owned()][..]));
        assert!(web.direct && web.default);
        assert_eq!(web.exec_env.0, ["test"]);
        assert_eq!(
            (launch.labels.len(), launch.slices.len(), launch.bom.len()),
            (1, 1, 1)
        );
        let (launch, _) = parse(text, BuildpackApi::V0_11).unwrap();
        assert!(launch.processes[0].exec_env.is_empty());
    }

    #[test]
    fn command_and_direct_by_api_lch_04_lch_05() {
        let old = "[[processes]]\ntype = 'web'\ncommand = 'a b'\ndirect = true\n";
        let (launch, _) = parse(old, BuildpackApi::V0_8).unwrap();
        assert_eq!(launch.processes[0].command, ["a b"]);
        assert!(launch.processes[0].direct);
        let error = parse(old, BuildpackApi::V0_9).unwrap_err();
        assert_eq!(
            error.to_string(),
            "launch.toml:4:10: `direct` does not exist in Buildpack API 0.9: every process is direct"
        );
        let error = parse("[[processes]]\ntype = 'w'\ncommand = ['a']\n", BuildpackApi::V0_8).unwrap_err();
        assert_eq!(error.message(), "`command` must be a string, not an array");
        let error = parse("[[processes]]\ntype = 'w'\ncommand = 'a'\n", BuildpackApi::V0_9).unwrap_err();
        assert_eq!(
            error.message(),
            "`command` must be a list of strings, not a string"
        );
    }

    #[test]
    fn two_defaults_are_an_error_lch_01() {
        let text = "[[processes]]\ntype = 'a'\ndefault = true\n[[processes]]\ntype = 'b'\ndefault = true\n";
        let error = parse(text, BuildpackApi::V0_9).unwrap_err();
        assert_eq!(
            error.to_string(),
            "launch.toml:6:11: another process is already the default"
        );
    }

    #[test]
    fn working_dir_before_0_8_is_ignored_with_a_warning_lch_06() {
        let text = "[[processes]]\ntype = 'a'\nworking-dir = 'x'\n";
        let (launch, warnings) = parse(text, BuildpackApi::V0_7).unwrap();
        assert_eq!(launch.processes[0].working_dir, None);
        let expected = "launch.toml:3:15: `working-dir` is ignored: Buildpack API 0.7 does not have it";
        assert_eq!(warnings[0].to_string(), expected);
        let (launch, warnings) = parse(text, BuildpackApi::V0_8).unwrap();
        assert_eq!(
            (launch.processes[0].working_dir.as_deref(), warnings.len()),
            (Some("x"), 0)
        );
    }
}
