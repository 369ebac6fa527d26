//! What `project.toml` says about a build.

use std::path::{Path, PathBuf};

use lifecycle_builder::{Folder, ModuleName};
use lifecycle_diagnostics::{Diagnostic, Source};
use lifecycle_platform::Selection;
use lifecycle_spec::{BuildpackId, ExecEnv, ProjectBuildpack, ProjectToml, Version};

use super::modules::Wanted;

use crate::console::Console;
use crate::context::check_inside;
use crate::failure::Failure;

/// A project's descriptor; an empty one when the project has none.
#[derive(Debug, Default)]
pub(crate) struct Project {
    toml: ProjectToml,
    /// The folder that paths in the descriptor start from.
    folder: PathBuf,
}

impl Project {
    /// Reads the descriptor: the named file, else `project.toml` in the source if there is one (PRJ-01). Keys that
    /// nobody knows are warnings.
    pub(crate) fn read(source: &Path, descriptor: Option<&Path>, console: &Console) -> Result<Self, Failure> {
        let path = match descriptor {
            Some(path) => path.to_owned(),
            None => source.join("project.toml"),
        };
        if descriptor.is_none() {
            if !path.is_file() {
                return Ok(Self::default());
            }
            check_inside(source, &path)?;
        }
        let bytes = fs_err::read(&path)?;
        let (toml, warnings) = ProjectToml::parse(&path, &bytes)?;
        for flaw in warnings {
            let text = Source::new(path.display().to_string(), flaw.text());
            let warning = Diagnostic::warning("project", flaw.message()).at(text.span(flaw.span()));
            console.diagnostic(&warning);
        }
        let folder = path.parent().unwrap_or(Path::new("")).to_owned();
        Ok(Self { toml, folder })
    }

    pub(crate) fn builder(&self) -> Option<&str> {
        self.toml.builder.as_deref()
    }

    /// Whether it says which buildpacks are used.
    #[cfg(feature = "kubernetes")]
    pub(crate) fn has_buildpacks(&self) -> bool {
        let lists = [&self.toml.group, &self.toml.pre, &self.toml.post];
        lists.iter().any(|list| !list.is_empty())
    }

    /// Which files of the source take part.
    pub(crate) fn selection(&self, source: &Path) -> Result<Selection, Failure> {
        Ok(Selection::new(source, &self.toml.include, &self.toml.exclude)?)
    }

    /// Variables for the buildpacks in an execution environment.
    pub(super) fn env(&self, exec_env: &ExecEnv) -> impl Iterator<Item = (&str, &str)> {
        self.toml
            .env
            .iter()
            .filter(|variable| variable.exec_env.include(exec_env.as_str()))
            .map(|variable| (variable.name.as_str(), variable.value.as_str()))
    }

    /// The buildpacks in place of the builder's order.
    pub(super) fn buildpacks(&self, exec_env: &ExecEnv) -> Result<Vec<Wanted>, Failure> {
        self.wanted(&self.toml.group, exec_env)
    }

    /// The buildpacks in front of every group.
    pub(super) fn pre(&self, exec_env: &ExecEnv) -> Result<Vec<Wanted>, Failure> {
        self.wanted(&self.toml.pre, exec_env)
    }

    /// The buildpacks behind every group.
    pub(super) fn post(&self, exec_env: &ExecEnv) -> Result<Vec<Wanted>, Failure> {
        self.wanted(&self.toml.post, exec_env)
    }

    fn wanted(&self, buildpacks: &[ProjectBuildpack], exec_env: &ExecEnv) -> Result<Vec<Wanted>, Failure> {
        let counting = buildpacks
            .iter()
            .enumerate()
            .filter(|(_, buildpack)| buildpack.exec_env.include(exec_env.as_str()));
        counting
            .map(|(position, buildpack)| self.one(position, buildpack))
            .collect()
    }

    /// A buildpack in a folder of the project describes itself there.
    fn check_folder(&self, uri: &str) -> Result<(), Failure> {
        let folder = self.folder.join(uri.strip_prefix("file://").unwrap_or(uri));
        let descriptors = ["buildpack.toml", "package.toml"].map(|name| folder.join(name));
        let mut links = descriptors
            .iter()
            .filter(|path| path.is_symlink() && path.exists());
        links.try_for_each(|path| check_inside(&self.folder, path))
    }

    /// One buildpack: by its address, written inline (PRJ-05), or by its id (PRJ-03).
    fn one(&self, position: usize, buildpack: &ProjectBuildpack) -> Result<Wanted, Failure> {
        let folder = || Folder::Disk(self.folder.clone());
        Ok(match (&buildpack.uri, &buildpack.script, &buildpack.id) {
            (Some(uri), _, _) => {
                self.check_folder(uri)?;
                Wanted::Address(uri.clone(), folder())
            }
            (None, Some(script), id) => {
                let id = match id {
                    Some(id) => id.clone(),
                    None => BuildpackId::new(format!("inline/{}", position + 1))?,
                };
                let version = buildpack.version.clone();
                let version = version.map_or_else(|| Version::new("0.0.0"), Ok)?;
                Wanted::Inline(id, version, script.clone())
            }
            (None, None, Some(id)) => Wanted::Id(ModuleName {
                id: id.clone(),
                version: buildpack.version.clone(),
            }),
            (None, None, None) => {
                return Err(Failure::new(
                    "project",
                    "a buildpack in project.toml has neither id nor uri",
                ));
            }
        })
    }
}
