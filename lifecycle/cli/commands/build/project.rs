//! What `project.toml` says about a build.

use std::path::{Path, PathBuf};

use lifecycle_diagnostics::{Diagnostic, Source};
use lifecycle_platform::Selection;
use lifecycle_spec::{ExecEnv, ProjectBuildpack, ProjectToml};

use crate::console::Console;
use crate::failure::Failure;

/// A project's descriptor; an empty one when the project has none.
#[derive(Debug, Default)]
pub(super) struct Project {
    toml: ProjectToml,
    /// The folder that paths in the descriptor start from.
    folder: PathBuf,
}

impl Project {
    /// Reads the descriptor: the named file, else `project.toml` in the source if there is one (PRJ-01). Keys that
    /// nobody knows are warnings.
    pub(super) fn read(source: &Path, descriptor: Option<&Path>, console: &Console) -> Result<Self, Failure> {
        let path = match descriptor {
            Some(path) => path.to_owned(),
            None => source.join("project.toml"),
        };
        if descriptor.is_none() && !path.is_file() {
            return Ok(Self::default());
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

    pub(super) fn builder(&self) -> Option<&str> {
        self.toml.builder.as_deref()
    }

    /// Which files of the source take part.
    pub(super) fn selection(&self, source: &Path) -> Result<Selection, Failure> {
        Ok(Selection::new(source, &self.toml.include, &self.toml.exclude)?)
    }

    /// Variables for the buildpacks.
    pub(super) fn env(&self) -> impl Iterator<Item = (&str, &str)> {
        let exec_env = ExecEnv::default();
        let counts =
            move |variable: &&lifecycle_spec::ProjectEnv| variable.exec_env.include(exec_env.as_str());
        self.toml
            .env
            .iter()
            .filter(counts)
            .map(|variable| (variable.name.as_str(), variable.value.as_str()))
    }

    /// The buildpacks in place of the builder's order.
    pub(super) fn buildpacks(&self) -> Result<Vec<String>, Failure> {
        self.names(&self.toml.group)
    }

    /// The buildpacks in front of every group.
    pub(super) fn pre(&self) -> Result<Vec<String>, Failure> {
        self.names(&self.toml.pre)
    }

    /// The buildpacks behind every group.
    pub(super) fn post(&self) -> Result<Vec<String>, Failure> {
        self.names(&self.toml.post)
    }

    /// Buildpacks as the command line names them.
    fn names(&self, buildpacks: &[ProjectBuildpack]) -> Result<Vec<String>, Failure> {
        let exec_env = ExecEnv::default();
        let counting = buildpacks
            .iter()
            .filter(|buildpack| buildpack.exec_env.include(exec_env.as_str()));
        counting.map(|buildpack| self.name(buildpack)).collect()
    }

    fn name(&self, buildpack: &ProjectBuildpack) -> Result<String, Failure> {
        let id = buildpack.id.as_ref().map(ToString::to_string);
        match (&buildpack.uri, &buildpack.script, id) {
            (None, Some(_), id) => {
                let id = id.unwrap_or_else(|| "a buildpack".to_owned());
                Err(Failure::new(
                    "project",
                    format!("{id} is an inline script in project.toml, which is not built yet"),
                )
                .help("put the script into a folder with a buildpack.toml, and name that folder with `uri`"))
            }
            (Some(uri), _, _) if uri.contains(':') => Ok(uri.clone()),
            (Some(path), _, _) => Ok(self.folder.join(path).display().to_string()),
            (None, None, Some(id)) => Ok(match &buildpack.version {
                Some(version) => format!("{id}@{version}"),
                None => id,
            }),
            (None, None, None) => Err(Failure::new(
                "project",
                "a buildpack in project.toml has neither id nor uri",
            )),
        }
    }
}
