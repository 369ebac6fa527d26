//! `io.buildpacks.build.metadata`: what a build was made of.

use serde::ser::SerializeStruct;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::json;

use crate::json::default_when_null;
use crate::{BomEntry, ExecEnvs, Flaw, GroupModule, MetadataToml, PlatformApi, Process};

/// What a build was made of (LBL-06, LBL-07).
///
/// How it is written depends on the Platform API, so it is written from metadata.toml: [`BuildLabel::json_of`].
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct BuildLabel {
    /// The buildpacks of the group.
    #[serde(default, deserialize_with = "default_when_null")]
    pub buildpacks: Vec<GroupModule>,
    /// The extensions of the group.
    #[serde(default, deserialize_with = "default_when_null")]
    pub extensions: Vec<GroupModule>,
    /// The launcher in the image.
    #[serde(default)]
    pub launcher: LauncherVersion,
    /// All processes that buildpacks contributed.
    #[serde(default, deserialize_with = "default_when_null")]
    pub processes: Vec<Process>,
    /// The type of the process that starts when nobody names one.
    #[serde(default, rename = "buildpack-default-process-type")]
    pub default_process: Option<String>,
}

/// The version of the launcher in an image.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LauncherVersion {
    /// The version.
    #[serde(default)]
    pub version: String,
    /// The source that it was built from.
    #[serde(default)]
    pub source: LauncherSource,
}

/// Where the launcher's source is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LauncherSource {
    /// In git.
    #[serde(default)]
    pub git: GitSource,
}

/// A commit of a repository.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GitSource {
    /// The repository.
    #[serde(default)]
    pub repository: String,
    /// The commit.
    #[serde(default)]
    pub commit: String,
}

impl BuildLabel {
    /// Reads the label's text, whatever Platform API wrote it.
    pub fn parse(text: &str) -> Result<Self, Flaw> {
        crate::json::read(super::BUILD, text)
    }

    /// The label's text for a build.
    #[must_use]
    pub fn json_of(metadata: &MetadataToml, launcher: &LauncherVersion, api: PlatformApi) -> String {
        crate::json::write(&Written {
            metadata,
            launcher,
            api,
        })
    }
}

struct Written<'a> {
    metadata: &'a MetadataToml,
    launcher: &'a LauncherVersion,
    api: PlatformApi,
}

impl Serialize for Written<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self {
            metadata,
            launcher,
            api,
        } = self;
        let modules = |modules: &[GroupModule]| -> Vec<GroupModule> {
            let mut modules = modules.to_vec();
            if !api.labels_module_api() {
                for module in &mut modules {
                    module.api.clear();
                }
            }
            modules
        };
        let processes: Vec<_> = metadata
            .processes
            .iter()
            .map(|process| WrittenProcess { process, api: *api })
            .collect();

        let mut label = serializer.serialize_struct("BuildLabel", 6)?;
        if api.has_legacy_bom_in_metadata() {
            let bom: Option<&[BomEntry]> = (!metadata.bom.is_empty()).then_some(&metadata.bom);
            label.serialize_field("bom", &bom)?;
        }
        label.serialize_field("buildpacks", &modules(&metadata.buildpacks))?;
        if !metadata.extensions.is_empty() {
            label.serialize_field("extensions", &modules(&metadata.extensions))?;
        }
        label.serialize_field("launcher", launcher)?;
        label.serialize_field("processes", &processes)?;
        if let Some(default) = &metadata.default_process {
            label.serialize_field("buildpack-default-process-type", default)?;
        }
        label.end()
    }
}

struct WrittenProcess<'a> {
    process: &'a Process,
    api: PlatformApi,
}

impl Serialize for WrittenProcess<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (command, args) = self.process.command_and_args(self.api);
        let command = if self.api.has_command_list() {
            json!(command)
        } else {
            json!(command.first().map_or("", String::as_str))
        };
        let mut process = serializer.serialize_struct("Process", 7)?;
        process.serialize_field("type", &self.process.process_type)?;
        process.serialize_field("command", &command)?;
        process.serialize_field("args", &args)?;
        process.serialize_field("direct", &self.process.direct)?;
        process.serialize_field(
            "buildpackID",
            self.process.buildpack_id.as_deref().unwrap_or_default(),
        )?;
        if let Some(working_dir) = &self.process.working_dir {
            process.serialize_field("working-dir", working_dir)?;
        }
        if !self.process.exec_env.is_empty() {
            process.serialize_field("exec-env", &self.process.exec_env)?;
        }
        process.end()
    }
}

impl<'de> Deserialize<'de> for Process {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        /// FILE-03 holds for the label, too.
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Command {
            Words(Vec<String>),
            Word(String),
        }

        #[derive(Deserialize)]
        struct Read {
            #[serde(rename = "type")]
            process_type: String,
            command: Option<Command>,
            args: Option<Vec<String>>,
            #[serde(default)]
            direct: bool,
            #[serde(rename = "buildpackID")]
            buildpack_id: Option<String>,
            #[serde(rename = "working-dir")]
            working_dir: Option<String>,
            #[serde(default, rename = "exec-env", deserialize_with = "default_when_null")]
            exec_env: ExecEnvs,
        }

        let read = Read::deserialize(deserializer)?;
        Ok(Self {
            process_type: read.process_type,
            command: match read.command {
                Some(Command::Words(words)) => words,
                Some(Command::Word(word)) if !word.is_empty() => vec![word],
                _ => Vec::new(),
            },
            args: read.args,
            direct: read.direct,
            buildpack_id: read.buildpack_id.filter(|id| !id.is_empty()),
            working_dir: read.working_dir,
            exec_env: read.exec_env,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{BuildLabel, GitSource, LauncherSource, LauncherVersion};
    use crate::{MetadataToml, PlatformApi};

    const METADATA: &str = r#"
buildpack-default-process-type = "web"
[[buildpacks]]
id = "acme/a"
version = "1"
api = "0.12"
homepage = "https://a.example"
[[extensions]]
id = "acme/x"
version = "2"
api = "0.11"
[[processes]]
type = "web"
command = ["run", "<&>"]
args = ["a"]
direct = true
buildpack-id = "acme/a"
working-dir = "sub"
exec-env = ["*"]
[[processes]]
type = "worker"
command = ["work"]
direct = true
buildpack-id = "acme/a"
"#;

    fn json(api: PlatformApi) -> String {
        let metadata = MetadataToml::parse(Path::new("m"), METADATA.as_bytes()).unwrap();
        let git = GitSource {
            repository: "g".to_owned(),
            commit: "c".to_owned(),
        };
        let launcher = LauncherVersion {
            version: "1.2.3".to_owned(),
            source: LauncherSource { git },
        };
        BuildLabel::json_of(&metadata, &launcher, api)
    }

    #[test]
    fn golden_bytes_lifecycle_3_5_lbl_06() {
        assert_eq!(
            json(PlatformApi::V0_15),
            concat!(
                r#"{"buildpacks":[{"id":"acme/a","version":"1","homepage":"https://a.example","api":"0.12"}],"#,
                r#""extensions":[{"id":"acme/x","version":"2","api":"0.11"}],"#,
                r#""launcher":{"version":"1.2.3","source":{"git":{"repository":"g","commit":"c"}}},"#,
                r#""processes":[{"type":"web","command":["run","\u003c\u0026\u003e"],"args":["a"],"direct":true,"buildpackID":"acme/a","working-dir":"sub","exec-env":["*"]},"#,
                r#"{"type":"worker","command":["work"],"args":null,"direct":true,"buildpackID":"acme/a"}],"#,
                r#""buildpack-default-process-type":"web"}"#,
            )
        );
    }

    #[test]
    fn older_apis_write_strings_and_bom_lbl_06() {
        let old = json(PlatformApi::V0_8);
        assert!(
            old.starts_with(r#"{"bom":null,"buildpacks":[{"id":"acme/a","version":"1","homepage""#),
            "{old}"
        );
        assert!(
            old.contains(r#""command":"run","args":["\u003c\u0026\u003e","a"]"#),
            "{old}"
        );
    }

    #[test]
    fn keys_come_and_go_with_the_api_lbl_06() {
        use PlatformApi::{V0_7, V0_8, V0_11, V0_15};
        // Extensions, working directories and execution environments are here when the build had them, which is the
        // build's matter.
        for (key, first, last) in [
            ("bom", V0_7, V0_8),
            ("api", V0_11, V0_15),
            ("launcher", V0_7, V0_15),
        ] {
            for api in PlatformApi::ALL {
                let is_there = json(api).contains(&format!("\"{key}\":"));
                assert_eq!(is_there, first <= api && api <= last, "{key} at {api}");
            }
        }
    }

    #[test]
    fn every_version_is_read_file_03() {
        for api in PlatformApi::ALL {
            let label = BuildLabel::parse(&json(api)).unwrap();
            assert_eq!(label.processes[0].command[0], "run", "{api}");
            assert_eq!(label.launcher.version, "1.2.3");
        }
    }
}
