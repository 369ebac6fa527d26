//! `project.toml`: what a developer says about building a project. Platforms read it, phases do not.

mod schema_1;
mod schema_2;

use std::path::Path;

use crate::document::{self, Fault, Flaw, Table};
use crate::{BuildpackId, ExecEnvs, License, ValueTable, Version};

/// `project.toml` of any schema (cnb.md 5, platforms.md 1.7).
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ProjectToml {
    /// The schema that the file follows.
    pub schema: ProjectSchema,
    /// The project's id.
    pub id: Option<String>,
    /// Its name for people.
    pub name: Option<String>,
    /// Its version.
    pub version: Option<String>,
    /// Who writes it.
    pub authors: Vec<String>,
    /// Where its documentation is.
    pub documentation_url: Option<String>,
    /// Where its source is.
    pub source_url: Option<String>,
    /// Its licences.
    pub licenses: Vec<License>,
    /// `[_.metadata]` or `[metadata]`, the project's own.
    pub metadata: ValueTable,
    /// The builder to use.
    pub builder: Option<String>,
    /// Which files are the source, in gitignore patterns; never together with `exclude` (PRJ-02).
    pub include: Vec<String>,
    /// Which files are not the source, in gitignore patterns.
    pub exclude: Vec<String>,
    /// Buildpacks instead of the builder's order (PRJ-04).
    pub group: Vec<ProjectBuildpack>,
    /// Buildpacks in front of every group.
    pub pre: Vec<ProjectBuildpack>,
    /// Buildpacks behind every group.
    pub post: Vec<ProjectBuildpack>,
    /// Variables for the build (PRJ-06).
    pub env: Vec<ProjectEnv>,
}

/// The version of a project.toml's schema.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum ProjectSchema {
    /// 0.1: `[project]` and `[build]`; what a file without a version follows.
    #[default]
    V0_1,
    /// 0.2: `[_]` and `[io.buildpacks]`.
    V0_2,
    /// 0.3: `exec-env`.
    V0_3,
}

/// A buildpack that a project asks for: by id, by address, or written inline (PRJ-03).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProjectBuildpack {
    /// The id.
    pub id: Option<BuildpackId>,
    /// The version of that id.
    pub version: Option<Version>,
    /// Where it is.
    pub uri: Option<String>,
    /// What it does (PRJ-05).
    pub script: Option<Script>,
    /// The execution environments in which it counts. Since schema 0.3.
    pub exec_env: ExecEnvs,
}

/// An inline buildpack's build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    /// The Buildpack API that it follows.
    pub api: String,
    /// The script.
    pub inline: String,
    /// What runs it; `/bin/sh` if nobody says.
    pub shell: String,
}

/// A variable for the build.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProjectEnv {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
    /// The execution environments in which it is set. Since schema 0.3.
    pub exec_env: ExecEnvs,
}

impl ProjectToml {
    /// Reads the file, with warnings about keys that nobody knows (PRJ-08) and about a missing schema version.
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<(Self, Vec<Flaw>), Flaw> {
        let mut unversioned = None;
        let (project, mut warnings) = document::read_with_warnings(path, bytes, |root| {
            let schema = match root.table("_")? {
                Some(header) => ProjectSchema::read(&header)?,
                None => None,
            };
            let project = match schema {
                None => {
                    let message = "no `schema-version` in `[_]`: the file is read as schema 0.1";
                    unversioned = Some(root.fault(message));
                    schema_1::read(root)
                }
                Some(ProjectSchema::V0_1) => schema_1::read(root),
                Some(schema) => schema_2::read(root, schema),
            }?;
            Ok(project)
        })?;
        if let Some(fault) = unversioned {
            let text = String::from_utf8_lossy(bytes).into();
            warnings.insert(0, Flaw::new(path, &text, fault));
        }
        Ok((project, warnings))
    }
}

impl ProjectSchema {
    fn read(header: &Table<'_>) -> Result<Option<Self>, Fault> {
        match header.text("schema-version")? {
            None | Some("") => Ok(None),
            Some("0.1") => Ok(Some(Self::V0_1)),
            Some("0.2") => Ok(Some(Self::V0_2)),
            Some("0.3") => Ok(Some(Self::V0_3)),
            Some(other) => {
                let message = format!("unknown schema version `{other}`: it is one of 0.1, 0.2 and 0.3");
                Err(header.fault_at("schema-version", message))
            }
        }
    }
}

impl ProjectBuildpack {
    fn read(table: &Table<'_>, schema: ProjectSchema) -> Result<Self, Fault> {
        let script = match table.table("script")? {
            Some(script) => Some(Script {
                api: script.required("api")?,
                inline: script.required("inline")?,
                shell: script.optional("shell")?.unwrap_or_else(|| "/bin/sh".to_owned()),
            }),
            None => None,
        };
        let buildpack = Self {
            id: table.optional("id")?,
            version: table.optional("version")?,
            uri: table.optional("uri")?,
            script,
            exec_env: read_exec_env(table, schema)?,
        };
        buildpack.check(schema).map_err(|message| table.fault(message))?;
        Ok(buildpack)
    }

    fn check(&self, schema: ProjectSchema) -> Result<(), &'static str> {
        // An inline buildpack may have a version: the specification has none for it, pack takes it (PRJ-03).
        if self.uri.is_some() && (self.version.is_some() || self.script.is_some()) {
            return Err("a buildpack with a `uri` has neither `version` nor `script`");
        }
        if schema == ProjectSchema::V0_1 && self.id.is_some() && self.uri.is_some() {
            return Err("a buildpack has either an `id` or a `uri`");
        }
        if self.id.is_none() && self.uri.is_none() && self.script.is_none() {
            return Err("a buildpack needs an `id`, a `uri` or a `script`");
        }
        Ok(())
    }
}

impl ProjectEnv {
    fn read(table: &Table<'_>, schema: ProjectSchema) -> Result<Self, Fault> {
        Ok(Self {
            name: table.required("name")?,
            value: table.text("value")?.unwrap_or_default().to_owned(),
            exec_env: read_exec_env(table, schema)?,
        })
    }
}

/// Before schema 0.3 `exec-env` is a key like any other that nobody knows.
fn read_exec_env(table: &Table<'_>, schema: ProjectSchema) -> Result<ExecEnvs, Fault> {
    if schema < ProjectSchema::V0_3 {
        return Ok(ExecEnvs::default());
    }
    table.list("exec-env").map(ExecEnvs)
}

fn read_licenses(table: &Table<'_>) -> Result<Vec<License>, Fault> {
    table.each("licenses", |entry| {
        let license = License::read(entry)?;
        if license.kind.is_none() && license.uri.is_none() {
            return Err(entry.fault("a license needs a `type` or a `uri`"));
        }
        Ok(license)
    })
}

fn check_filters(table: &Table<'_>, project: &ProjectToml) -> Result<(), Fault> {
    if project.include.is_empty() || project.exclude.is_empty() {
        Ok(())
    } else {
        Err(table.fault_at("exclude", "`include` and `exclude` cannot be used together"))
    }
}

#[cfg(test)]
mod tests;
