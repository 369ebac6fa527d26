//! `builder.toml`: what goes into a builder image. The schema is pack's; unknown keys are errors.

use std::path::Path;
use std::str::FromStr;

use crate::document::{self, Fault, Flaw, Table};
use crate::{BuildpackId, ExecEnv, ExecEnvs, RunImageEntry, Target, Version};

/// `builder.toml` (cnb.md 4.2, platforms.md 1.7).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BuilderToml {
    /// What the builder is for.
    pub description: Option<String>,
    /// Buildpacks to put in.
    pub buildpacks: Vec<BuilderModule>,
    /// Extensions to put in.
    pub extensions: Vec<BuilderModule>,
    /// Groups of buildpacks.
    pub order: Vec<Vec<BuilderEntry>>,
    /// Groups of extensions.
    pub order_extensions: Vec<Vec<BuilderEntry>>,
    /// The build image; the deprecated stack's if there is no `[build]`.
    pub build_image: String,
    /// Operator variables (ENV-07).
    pub build_env: Vec<BuildEnv>,
    /// Run images, at least one; the deprecated stack's if there is no `[run]`.
    pub run_images: Vec<RunImageEntry>,
    /// The deprecated `[stack]`.
    pub stack: Option<BuilderStack>,
    /// The lifecycle to put in; none is the one that creates the builder.
    pub lifecycle: Option<BuilderLifecycle>,
    /// What the builder is to be made for.
    pub targets: Vec<Target>,
    /// Buildpacks that take part in every group.
    pub system: BuilderSystem,
}

/// `[system.pre]` and `[system.post]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BuilderSystem {
    /// Put in front of each group.
    pub pre: Vec<BuilderEntry>,
    /// Put behind each group.
    pub post: Vec<BuilderEntry>,
}

/// A module to put in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BuilderModule {
    /// Its id, to compare with what is found.
    pub id: Option<BuildpackId>,
    /// Its version, to compare with what is found.
    pub version: Option<Version>,
    /// Where it is: a directory, archive, address, or `docker://` package. An `image` becomes one of these.
    pub uri: String,
}

/// One module of a group. The version may be missing if only one is there (BU-03).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuilderEntry {
    /// The id.
    pub id: BuildpackId,
    /// The version.
    pub version: Option<Version>,
    /// Whether the group passes without it.
    pub optional: bool,
    /// The execution environments in which the entry counts.
    pub exec_env: ExecEnvs,
}

/// An operator variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildEnv {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
    /// What is done with the value.
    pub suffix: Option<EnvSuffix>,
    /// What parts the value from what is there.
    pub delim: Option<String>,
    /// The execution environments in which it is set.
    pub exec_env: ExecEnvs,
}

/// What is done with a value; the suffix of its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EnvSuffix {
    /// Set if nothing is there.
    Default,
    /// Set.
    Override,
    /// Put behind what is there.
    Append,
    /// Put in front of what is there.
    Prepend,
}

/// `[stack]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BuilderStack {
    /// The stack id.
    pub id: Option<String>,
    /// The build image.
    pub build_image: Option<String>,
    /// The run image.
    pub run_image: Option<String>,
    /// Where else the run image can be had.
    pub run_image_mirrors: Vec<String>,
}

/// `[lifecycle]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BuilderLifecycle {
    /// A released version.
    Version(String),
    /// An archive or a `docker://` image.
    Uri(String),
}

impl BuilderToml {
    /// Reads the file, with warnings when nothing is ordered and about what has no effect.
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<(Self, Vec<Flaw>), Flaw> {
        let mut warnings = Vec::new();
        let builder = document::read_strictly(path, bytes, |root| {
            let builder = Self::read(root)?;
            if builder.order.is_empty() {
                warnings.push(root.fault("no `[[order]]`: the builder will detect nothing"));
            }
            let for_some = |variable: &BuildEnv| !variable.exec_env.is_empty();
            if builder.lifecycle.is_some() && builder.build_env.iter().any(for_some) {
                let message = "`exec-env` of a variable counts for this program's own lifecycle: with another one, such a \
                               variable is never set";
                warnings.push(root.fault_at("build", message));
            }
            Ok(builder)
        })?;
        let text = String::from_utf8_lossy(bytes).into();
        Ok((
            builder,
            warnings
                .into_iter()
                .map(|fault| Flaw::new(path, &text, fault))
                .collect(),
        ))
    }

    fn read(root: &Table<'_>) -> Result<Self, Fault> {
        let order = |key| root.each(key, |group| group.each("group", BuilderEntry::read));
        let stack = root
            .table("stack")?
            .as_ref()
            .map(BuilderStack::read)
            .transpose()?;
        let build = root.table("build")?;
        let build_env = build
            .as_ref()
            .map_or(Ok(Vec::new()), |build| build.each("env", BuildEnv::read))?;
        Ok(Self {
            description: root.optional("description")?,
            buildpacks: root.each("buildpacks", BuilderModule::read)?,
            extensions: root.each("extensions", BuilderModule::read)?,
            order: order("order")?,
            order_extensions: order("order-extensions")?,
            build_image: read_build_image(root, build.as_ref(), stack.as_ref())?,
            build_env,
            run_images: read_run_images(root, stack.as_ref())?,
            stack,
            lifecycle: root
                .table("lifecycle")?
                .as_ref()
                .map_or(Ok(None), BuilderLifecycle::read)?,
            targets: root.each("targets", Target::read)?,
            system: match root.table("system")? {
                Some(system) => BuilderSystem::read(&system)?,
                None => BuilderSystem::default(),
            },
        })
    }
}

/// `[build] image`, which a deprecated stack may replace but not contradict.
fn read_build_image(
    root: &Table<'_>,
    build: Option<&Table<'_>>,
    stack: Option<&BuilderStack>,
) -> Result<String, Fault> {
    let own = build.map(|build| build.optional("image")).transpose()?.flatten();
    let old = stack.and_then(|stack| stack.build_image.clone());
    match (own, old) {
        (Some(own), Some(old)) if own != old => Err(root.fault_at(
            "stack",
            format!("`stack.build-image` is `{old}`, `build.image` is `{own}`"),
        )),
        (Some(image), _) | (None, Some(image)) => Ok(image),
        (None, None) => Err(root.fault_at("build", "missing key `image` in `build`")),
    }
}

/// `[[run.images]]`, which a deprecated stack may replace but not contradict.
fn read_run_images(root: &Table<'_>, stack: Option<&BuilderStack>) -> Result<Vec<RunImageEntry>, Fault> {
    let own = match root.table("run")? {
        Some(run) => run.each("images", |entry| {
            entry.required::<String>("image")?;
            RunImageEntry::read(entry)
        })?,
        None => Vec::new(),
    };
    let old = stack.and_then(|stack| {
        let image = stack.run_image.clone()?;
        Some(RunImageEntry {
            image,
            mirrors: stack.run_image_mirrors.clone(),
        })
    });
    match (own.first(), old) {
        (Some(first), Some(old)) if *first != old => Err(root.fault_at(
            "stack",
            "`stack.run-image` and its mirrors differ from the first of `run.images`",
        )),
        (Some(_), _) => Ok(own),
        (None, Some(old)) => Ok(vec![old]),
        (None, None) => Err(root.fault_at("run", "missing `[[run.images]]`: a builder needs a run image")),
    }
}

impl BuilderModule {
    fn read(table: &Table<'_>) -> Result<Self, Fault> {
        let image = table.optional::<String>("image")?;
        let uri = match (table.optional("uri")?, image) {
            (Some(uri), None) => uri,
            (None, Some(image)) => format!("docker://{image}"),
            _ => return Err(table.fault("a module has either a `uri` or an `image`")),
        };
        Ok(Self {
            id: table.optional("id")?,
            version: table.optional("version")?,
            uri,
        })
    }
}

impl BuilderSystem {
    fn read(system: &Table<'_>) -> Result<Self, Fault> {
        let list = |key| match system.table(key)? {
            Some(table) => table.each("buildpacks", BuilderEntry::read),
            None => Ok(Vec::new()),
        };
        Ok(Self {
            pre: list("pre")?,
            post: list("post")?,
        })
    }
}

impl BuilderEntry {
    fn read(table: &Table<'_>) -> Result<Self, Fault> {
        Ok(Self {
            id: table.required("id")?,
            version: table.optional("version")?,
            optional: table.flag("optional")?,
            exec_env: ExecEnvs(table.list_or_names("exec-env")?),
        })
    }
}

impl BuildEnv {
    fn read(table: &Table<'_>) -> Result<Self, Fault> {
        let env = Self {
            name: table.required("name")?,
            value: table.text("value")?.unwrap_or_default().to_owned(),
            suffix: table.optional("suffix")?,
            delim: table.text("delim")?.map(str::to_owned),
            exec_env: ExecEnvs(table.list("exec-env")?),
        };
        // Each becomes a directory's name.
        let is_name = |name: &String| name == "*" || ExecEnv::new(name.as_str()).is_ok();
        if let Some(odd) = env.exec_env.0.iter().find(|name| !is_name(name)) {
            let message = format!("{odd:?} is not the name of an execution environment");
            return Err(table.fault_at("exec-env", message));
        }
        let joins = matches!(env.suffix, Some(EnvSuffix::Append | EnvSuffix::Prepend));
        if joins && env.delim.as_deref().unwrap_or_default().is_empty() {
            return Err(table.fault_at(
                "suffix",
                "a variable that is appended or prepended needs a `delim`",
            ));
        }
        Ok(env)
    }
}

impl EnvSuffix {
    /// The suffix of the file in the build-config directory.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Override => "override",
            Self::Append => "append",
            Self::Prepend => "prepend",
        }
    }
}

impl FromStr for EnvSuffix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::Default, Self::Override, Self::Append, Self::Prepend]
            .into_iter()
            .find(|suffix| suffix.as_str() == text)
            .ok_or_else(|| format!("`{text}` is not one of default, override, append and prepend"))
    }
}

impl BuilderStack {
    fn read(table: &Table<'_>) -> Result<Self, Fault> {
        Ok(Self {
            id: table.optional("id")?,
            build_image: table.optional("build-image")?,
            run_image: table.optional("run-image")?,
            run_image_mirrors: table.list("run-image-mirrors")?,
        })
    }
}

impl BuilderLifecycle {
    fn read(table: &Table<'_>) -> Result<Option<Self>, Fault> {
        match (table.optional("version")?, table.optional("uri")?) {
            (Some(version), None) => Ok(Some(Self::Version(version))),
            (None, Some(uri)) => Ok(Some(Self::Uri(uri))),
            (None, None) => Ok(None),
            (Some(_), Some(_)) => Err(table.fault_at("uri", "a lifecycle has either a `version` or a `uri`")),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{BuilderLifecycle, BuilderToml, EnvSuffix};
    use crate::Flaw;

    fn parse(text: &str) -> Result<(BuilderToml, Vec<Flaw>), Flaw> {
        BuilderToml::parse(Path::new("builder.toml"), text.as_bytes())
    }

    #[test]
    fn every_key_of_the_schema() {
        let text = r#"
description = "d"
[[buildpacks]]
id = "a"
version = "1"
uri = "./a"
[[buildpacks]]
image = "r/b"
[[extensions]]
uri = "./x"
[[order]]
[[order.group]]
id = "a"
optional = true
exec-env = ["test"]
[[order-extensions]]
[[order-extensions.group]]
id = "x"
version = "1"
[build]
image = "r/build"
[[build.env]]
name = "A"
value = "v"
suffix = "append"
delim = ":"
[[run.images]]
image = "r/run"
mirrors = ["m/run"]
[stack]
id = "s"
build-image = "r/build"
run-image = "r/run"
run-image-mirrors = ["m/run"]
[lifecycle]
uri = "l.tgz"
[[targets]]
os = "linux"
arch = "amd64"
[[targets.distros]]
name = "debian"
version = "12"
[[system.pre.buildpacks]]
id = "p"
version = "1"
[[system.post.buildpacks]]
id = "q"
version = "1"
optional = true
"#;
        let (builder, warnings) = parse(text).unwrap();
        assert_eq!(warnings, []);
        assert_eq!(builder.buildpacks[1].uri, "docker://r/b");
        assert_eq!(builder.order[0][0].version, None);
        assert_eq!(builder.build_env[0].suffix, Some(EnvSuffix::Append));
        assert_eq!(builder.lifecycle, Some(BuilderLifecycle::Uri("l.tgz".to_owned())));
        assert!(builder.system.post[0].optional);
    }

    #[test]
    fn another_lifecycle_does_not_know_variables_for_some_environments() {
        let text = "[build]\nimage = 'b'\n[[build.env]]\nname = 'A'\nexec-env = ['test']\n[[run.images]]\nimage = 'r'\n[[order]]\ngroup = []\n";
        let (builder, warnings) = parse(text).unwrap();
        assert_eq!(builder.build_env[0].exec_env.0, ["test"]);
        let error = parse(&text.replace("['test']", "['../test']")).unwrap_err();
        assert!(
            error.to_string().contains("\"../test\" is not the name"),
            "{error}"
        );
        assert_eq!(warnings, []);
        let (_, warnings) = parse(&format!("{text}[lifecycle]\nversion = '1.2.3'\n")).unwrap();
        assert!(
            warnings[0].to_string().contains("such a variable is never set"),
            "{warnings:?}"
        );
    }

    #[test]
    fn a_stack_stands_in_for_build_and_run() {
        let (builder, warnings) = parse("[stack]\nbuild-image = 'b'\nrun-image = 'r'\n").unwrap();
        assert_eq!(
            (builder.build_image.as_str(), builder.run_images[0].image.as_str()),
            ("b", "r")
        );
        let warning = "builder.toml:1:1: no `[[order]]`: the builder will detect nothing";
        assert_eq!(warnings[0].to_string(), warning);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        let base = "[build]\nimage = 'b'\n[[run.images]]\nimage = 'r'\n";
        for (text, message) in [
            (String::new(), "builder.toml:1:1: missing key `image` in `build`"),
            (
                "[build]\nimage = 'b'\n".into(),
                "builder.toml:1:1: missing `[[run.images]]`: a builder needs a run image",
            ),
            (
                format!("{base}mirror = 'x'\n"),
                "builder.toml:5:1: unknown key `run.images.mirror`",
            ),
            (
                format!("{base}[lifecycle]\nversion = '1'\nuri = 'u'\n"),
                "builder.toml:7:7: a lifecycle has either a `version` or a `uri`",
            ),
            (
                format!("{base}[[build.env]]\nname = 'A'\nsuffix = 'append'\n"),
                "builder.toml:7:10: a variable that is appended or prepended needs a `delim`",
            ),
            (
                format!("{base}[[build.env]]\nname = 'A'\nsuffix = 'up'\n"),
                "builder.toml:7:10: `suffix`: `up` is not one of default, override, append and prepend",
            ),
            (
                format!("{base}[[buildpacks]]\nid = 'a'\n"),
                "builder.toml:5:1: a module has either a `uri` or an `image`",
            ),
            (
                format!("{base}[stack]\nbuild-image = 'x'\n"),
                "builder.toml:5:1: `stack.build-image` is `x`, `build.image` is `b`",
            ),
            (
                format!("{base}[stack]\nrun-image = 'x'\n"),
                "builder.toml:5:1: `stack.run-image` and its mirrors differ from the first of `run.images`",
            ),
        ] {
            assert_eq!(parse(&text).unwrap_err().to_string(), message, "{text}");
        }
    }
}
