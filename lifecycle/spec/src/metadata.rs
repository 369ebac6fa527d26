//! `<layers>/config/metadata.toml`: what the builder leaves for the exporter and, in the image, for the launcher.

use std::path::Path;

use crate::document::{self, Fault, Flaw, Table};
use crate::{ExecEnvs, GroupModule};

/// `<layers>/config/metadata.toml` (P§metadata.toml, BLD-02, BLD-04).
#[derive(Debug, Clone, Default, PartialEq)]
pub struct MetadataToml {
    /// The type of the process that starts when nobody names one.
    pub default_process: Option<String>,
    /// The buildpacks that took part, in order.
    pub buildpacks: Vec<GroupModule>,
    /// The extensions that took part, in order. Since Platform API 0.10.
    pub extensions: Vec<GroupModule>,
    /// Labels for the image, in order; a later one wins.
    #[cfg(feature = "documents")]
    pub labels: Vec<crate::ImageLabel>,
    /// The processes, sorted by type by whoever writes.
    pub processes: Vec<Process>,
    /// Slices of the app directory, in order.
    #[cfg(feature = "documents")]
    pub slices: Vec<crate::Slice>,
    /// The legacy bill of materials. Platform API 0.7 and 0.8 only (FILE-04).
    #[cfg(feature = "documents")]
    pub bom: Vec<crate::BomEntry>,
}

/// A process that a buildpack contributed.
///
/// The type is not validated here: whatever an image holds can be launched and inspected.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Process {
    /// Its type, for example `web`.
    pub process_type: String,
    /// The program and the arguments that always stay.
    pub command: Vec<String>,
    /// Arguments that a user may replace or extend. An empty list and no list are written differently.
    pub args: Option<Vec<String>>,
    /// Whether it starts without a shell.
    pub direct: bool,
    /// The buildpack that contributed it.
    pub buildpack_id: Option<String>,
    /// Where it starts; relative to the app directory.
    pub working_dir: Option<String>,
    /// The execution environments that it is for. Since Platform API 0.15.
    pub exec_env: ExecEnvs,
}

impl MetadataToml {
    /// Reads the file. `command` may be a string or a list (FILE-03).
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Self, Flaw> {
        document::read(path, bytes, |root| {
            Ok(Self {
                default_process: root.optional("buildpack-default-process-type")?,
                buildpacks: root.each("buildpacks", GroupModule::read)?,
                extensions: root.each("extensions", GroupModule::read)?,
                #[cfg(feature = "documents")]
                labels: root.each("labels", crate::ImageLabel::read)?,
                processes: root.each("processes", Process::read)?,
                #[cfg(feature = "documents")]
                slices: root.each("slices", crate::Slice::read)?,
                #[cfg(feature = "documents")]
                bom: root.each("bom", crate::BomEntry::read)?,
            })
        })
    }

    /// The process of a type, if there is one.
    #[must_use]
    pub fn process(&self, process_type: &str) -> Option<&Process> {
        self.processes
            .iter()
            .find(|process| process.process_type == process_type)
    }
}

impl Process {
    fn read(table: &Table<'_>) -> Result<Self, Fault> {
        Ok(Self {
            process_type: table.required("type")?,
            command: table.list_or_text("command")?,
            args: table.optional_list("args")?,
            direct: table.flag("direct")?,
            buildpack_id: table.optional("buildpack-id")?,
            working_dir: table.optional("working-dir")?,
            exec_env: ExecEnvs(table.list("exec-env")?),
        })
    }
}

#[cfg(feature = "documents")]
mod write {
    use super::{MetadataToml, Process};
    use crate::document::Node;
    use crate::json::go_string;
    use crate::{BomEntry, GroupModule, ImageLabel, PlatformApi, Slice};

    impl MetadataToml {
        /// The file with the bytes of the reference: it is the content of an image layer (lifecycle.md 3.6).
        #[must_use]
        pub fn to_toml(&self, api: PlatformApi) -> String {
            let mut node = Node::new();
            if self.processes.is_empty() {
                node = node.list("processes", &[] as &[&str]);
            }
            node = node.optional("buildpack-default-process-type", self.default_process.as_ref());
            if api.has_legacy_bom_in_metadata() {
                node = node.tables("bom", self.bom.iter().map(BomEntry::node));
            }
            node.tables("buildpacks", self.buildpacks.iter().map(GroupModule::node))
                .tables("extensions", self.extensions.iter().map(GroupModule::node))
                .tables("labels", self.labels.iter().map(ImageLabel::node))
                .tables(
                    "processes",
                    self.processes.iter().map(|process| process.node(api)),
                )
                .tables("slices", self.slices.iter().map(Slice::node))
                .to_toml()
        }
    }

    impl Process {
        /// `command` and `args` as the Platform API has them: before 0.10 a command is one word, its other words
        /// are arguments, and there is always a list of those.
        pub(crate) fn command_and_args(&self, api: PlatformApi) -> (&[String], Option<Vec<String>>) {
            if api.has_command_list() || self.command.is_empty() {
                return (&self.command, self.args.clone());
            }
            let (command, rest) = self.command.split_at(1);
            (
                command,
                Some(rest.iter().chain(self.args.iter().flatten()).cloned().collect()),
            )
        }

        fn node(&self, api: PlatformApi) -> Node {
            let (command, args) = self.command_and_args(api);
            // The reference writes commands with its JSON escapes, so `<` is `\u003c` here and nowhere else.
            let words: Vec<_> = command.iter().map(|word| go_string(word)).collect();
            let command = if api.has_command_list() {
                format!("[{}]", words.join(", "))
            } else {
                words.into_iter().next().unwrap_or_else(|| go_string(""))
            };
            let node = Node::new()
                .string("type", &self.process_type)
                .raw("command", command);
            let node = match args {
                Some(args) => node.list("args", &args),
                None => node,
            };
            node.boolean("direct", self.direct)
                .string("buildpack-id", self.buildpack_id.as_deref().unwrap_or_default())
                .optional("working-dir", self.working_dir.as_ref())
                .optional_list("exec-env", &self.exec_env.0)
        }
    }
}

#[cfg(test)]
#[cfg(feature = "documents")]
mod tests {
    use std::path::Path;

    use super::MetadataToml;
    use crate::PlatformApi;

    const GOLDEN: &str = r#"buildpack-default-process-type = "web"

[[buildpacks]]
  id = "acme/a"
  version = "1.0.0"
  api = "0.12"
  homepage = "https://a.example"

[[extensions]]
  id = "acme/x"
  version = "0.0.1"
  api = "0.10"

[[labels]]
  key = "k<&>"
  value = "v"

[[processes]]
  type = "web"
  command = ["run", "a \u003c b \u0026 c"]
  args = ["--x", "<&>"]
  direct = true
  buildpack-id = "acme/a"
  working-dir = "sub"
  exec-env = ["*"]

[[processes]]
  type = "worker"
  command = ["work"]
  direct = false
  buildpack-id = "acme/a"

[[slices]]
  paths = ["static/**", "*.css"]
"#;

    fn parse(text: &str) -> MetadataToml {
        MetadataToml::parse(Path::new("metadata.toml"), text.as_bytes()).unwrap()
    }

    #[test]
    fn golden_bytes_lifecycle_3_6_bld_04() {
        assert_eq!(parse(GOLDEN).to_toml(PlatformApi::V0_15), GOLDEN);
    }

    #[test]
    fn without_processes_the_empty_list_is_written_lifecycle_3_6() {
        let golden = "processes = []\n\n[[buildpacks]]\n  id = \"a\"\n  version = \"1\"\n  api = \"0.9\"\n";
        assert_eq!(parse(golden).to_toml(PlatformApi::V0_12), golden);
    }

    #[test]
    fn before_0_10_a_command_is_one_word_lau_05() {
        let written = parse(GOLDEN).to_toml(PlatformApi::V0_9);
        assert!(
            written.contains("  command = \"run\"\n  args = [\"a < b & c\", \"--x\", \"<&>\"]\n"),
            "{written}"
        );
        assert!(
            written.contains("  command = \"work\"\n  args = []\n  direct = false\n"),
            "{written}"
        );
    }

    #[test]
    fn a_command_is_read_as_string_or_list_file_03() {
        for (text, command) in [
            ("command = 'a b'", &["a b"][..]),
            ("command = ['a', 'b']", &["a", "b"]),
            ("command = ''", &[]),
            ("command = []", &[]),
            ("", &[]),
        ] {
            let metadata = parse(&format!("[[processes]]\ntype = 'web'\n{text}\n"));
            assert_eq!(metadata.process("web").unwrap().command, command, "{text}");
        }
    }

    #[test]
    fn a_missing_exec_env_means_all_xen_03() {
        let metadata = parse("[[processes]]\ntype = 'web'\n");
        assert!(metadata.process("web").unwrap().exec_env.include("production"));
    }

    #[test]
    fn the_legacy_bom_is_written_before_0_9_file_04() {
        let text = "processes = []\n\n[[bom]]\n  name = \"x\"\n  [bom.metadata]\n    v = \"1\"\n  [bom.buildpack]\n    id = \"a\"\n    version = \"1\"\n";
        assert_eq!(parse(text).to_toml(PlatformApi::V0_8), text);
        assert_eq!(parse(text).to_toml(PlatformApi::V0_9), "processes = []\n");
    }
}
