//! Schemas 0.2 and 0.3: `[_]` and `[io.buildpacks]`.

use super::{ProjectBuildpack, ProjectEnv, ProjectSchema, ProjectToml, check_filters, read_licenses};
use crate::document::{Fault, Table};

pub(super) fn read(root: &Table<'_>, schema: ProjectSchema) -> Result<ProjectToml, Fault> {
    let mut read = ProjectToml {
        schema,
        ..ProjectToml::default()
    };
    if let Some(header) = root.table("_")? {
        read.id = header.optional("id")?;
        read.name = header.optional("name")?;
        read.version = header.optional("version")?;
        read.authors = header.list("authors")?;
        read.documentation_url = header.optional("documentation-url")?;
        read.source_url = header.optional("source-url")?;
        read.licenses = read_licenses(&header)?;
        read.metadata = header.values("metadata")?.unwrap_or_default();
    }
    // All other top-level tables are reverse domains, and those belong to somebody else (PRJ-01).
    root.keys()
        .filter(|key| !["_", "io"].contains(key))
        .for_each(|key| root.ignore_table(key));
    if let Some(io) = root.table("io")? {
        io.keys()
            .filter(|key| *key != "buildpacks")
            .for_each(|key| io.ignore_table(key));
        if let Some(buildpacks) = io.table("buildpacks")? {
            read_buildpacks(&buildpacks, schema, &mut read)?;
        }
    }
    Ok(read)
}

fn read_buildpacks(table: &Table<'_>, schema: ProjectSchema, read: &mut ProjectToml) -> Result<(), Fault> {
    let group = |table: &Table<'_>| table.each("group", |entry| ProjectBuildpack::read(entry, schema));
    let group_of = |key| table.table(key)?.as_ref().map_or(Ok(Vec::new()), group);
    read.builder = table.optional("builder")?;
    read.include = table.list("include")?;
    read.exclude = table.list("exclude")?;
    check_filters(table, read)?;
    read.group = group(table)?;
    read.pre = group_of("pre")?;
    read.post = group_of("post")?;
    if let Some(build) = table.table("build")? {
        read.env = build.each("env", |entry| ProjectEnv::read(entry, schema))?;
    }
    // Schema 0.2 was once documented with the two words swapped, and such files exist (PRJ-08).
    if schema == ProjectSchema::V0_2
        && let Some(env) = table.table("env")?
    {
        read.env
            .extend(env.each("build", |entry| ProjectEnv::read(entry, schema))?);
    }
    Ok(())
}
