//! New modules: one to start from, and one that a `project.toml` brings inline.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use fs_err as fs;
use lifecycle_spec::{BuildpackApi, BuildpackId, Script, Target, Version};

use crate::{BuilderError, Kind};

/// A module to start from.
#[derive(Debug, Clone)]
pub struct Skeleton {
    /// Buildpack or extension.
    pub kind: Kind,
    /// Its id.
    pub id: BuildpackId,
    /// Its version.
    pub version: Version,
    /// The Buildpack API that it follows.
    pub api: BuildpackApi,
    /// What it runs on.
    pub targets: Vec<Target>,
}

impl Skeleton {
    /// Writes the module's files into a directory, which is made. Files that are there are not overwritten.
    pub fn write(&self, directory: &Path) -> Result<(), BuilderError> {
        let table = match self.kind {
            Kind::Buildpack => "buildpack",
            Kind::Extension => "extension",
        };
        let mut toml = format!(
            "api = \"{}\"\n\n[{table}]\nid = \"{}\"\nversion = {}\n",
            self.api.as_str(),
            self.id,
            quoted(self.version.as_str())
        );
        for target in &self.targets {
            toml.push_str("\n[[targets]]\n");
            for (key, value) in [
                ("os", &target.os),
                ("arch", &target.arch),
                ("variant", &target.variant),
            ] {
                if !value.is_empty() {
                    toml.extend([key, " = ", &quoted(value), "\n"]);
                }
            }
            for distro in &target.distros {
                toml.push_str("[[targets.distros]]\n");
                toml.extend(["name = ", &quoted(&distro.name), "\n"]);
                toml.extend(["version = ", &quoted(&distro.version), "\n"]);
            }
        }
        let mut files = vec![
            (self.kind.file(), toml, 0o644),
            ("bin/detect", DETECT.to_owned(), 0o755),
        ];
        match self.kind {
            Kind::Buildpack => files.push(("bin/build", BUILD.to_owned(), 0o755)),
            Kind::Extension => files.push(("bin/generate", GENERATE.to_owned(), 0o755)),
        }
        for (name, _, _) in &files {
            let path = directory.join(name);
            if fs::symlink_metadata(&path).is_ok() {
                return Err(BuilderError::Exists { path });
            }
        }
        files
            .iter()
            .try_for_each(|(name, text, mode)| write(&directory.join(name), text, *mode))
    }
}

/// Passes always; says so.
const DETECT: &str = "#!/bin/sh
# Says whether the buildpack fits the app in the current directory: 0 for yes, 100 for no.
# What it provides and requires goes into $CNB_BUILD_PLAN_PATH.
set -eu

exit 0
";

const BUILD: &str = "#!/bin/sh
# Adds to the app in the current directory. Layers go into $CNB_LAYERS_DIR, variables of the user are files in
# $CNB_PLATFORM_DIR/env, and what the app starts is written to $CNB_LAYERS_DIR/launch.toml.
set -eu

echo \"---> Hello from $CNB_BUILDPACK_DIR\"
";

const GENERATE: &str = "#!/bin/sh
# Writes build.Dockerfile and run.Dockerfile, which extend the two images, into $CNB_OUTPUT_DIR.
set -eu

echo \"---> Hello from $CNB_EXTENSION_DIR\"
";

/// Writes a buildpack that runs a script (PRJ-05): detection always passes, and the script is the build.
pub fn inline(
    directory: &Path,
    id: &BuildpackId,
    version: &Version,
    script: &Script,
) -> Result<(), BuilderError> {
    let toml = format!(
        "api = {}\n\n[buildpack]\nid = \"{id}\"\nversion = {}\n\n[[targets]]\n",
        quoted(&script.api),
        quoted(version.as_str())
    );
    let build = format!("#!{}\n\n{}\n", script.shell, script.inline);
    write(&directory.join("buildpack.toml"), &toml, 0o644)?;
    write(&directory.join("bin/detect"), "#!/bin/sh\n\nexit 0\n", 0o755)?;
    write(&directory.join("bin/build"), &build, 0o755)
}

/// A string as TOML has it.
fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

fn write(path: &Path, text: &str, mode: u32) -> Result<(), BuilderError> {
    let failed = |cause| BuilderError::Write {
        path: path.to_owned(),
        cause,
    };
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(failed)?;
    }
    fs::write(path, text).map_err(failed)?;
    fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).map_err(failed)
}
