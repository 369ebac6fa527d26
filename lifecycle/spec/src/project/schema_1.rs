//! Schema 0.1: `[project]`, `[build]`, `[metadata]` (PRJ-07).

use super::{ProjectBuildpack, ProjectEnv, ProjectSchema, ProjectToml, check_filters, read_licenses};
use crate::document::{Fault, Table};

pub(super) fn read(root: &Table<'_>) -> Result<ProjectToml, Fault> {
    let schema = ProjectSchema::V0_1;
    let mut read = ProjectToml {
        schema,
        ..ProjectToml::default()
    };
    if let Some(project) = root.table("project")? {
        read.id = project.optional("id")?;
        read.name = project.optional("name")?;
        read.version = project.optional("version")?;
        read.authors = project.list("authors")?;
        read.documentation_url = project.optional("documentation-url")?;
        read.source_url = project.optional("source-url")?;
        read.licenses = read_licenses(&project)?;
    }
    if let Some(build) = root.table("build")? {
        read.builder = build.optional("builder")?;
        read.include = build.list("include")?;
        read.exclude = build.list("exclude")?;
        read.group = build.each("buildpacks", |table| ProjectBuildpack::read(table, schema))?;
        read.env = build.each("env", |table| ProjectEnv::read(table, schema))?;
        check_filters(&build, &read)?;
    }
    read.metadata = root.values("metadata")?.unwrap_or_default();
    Ok(read)
}
