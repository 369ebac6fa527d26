//! `package.toml`: what goes into a buildpackage. The schema is pack's; unknown keys are errors.

use std::path::Path;

use crate::Target;
use crate::document::{self, Fault, Flaw, Table};

/// `package.toml` (cnb.md 4.3, platforms.md 1.7).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageToml {
    /// The module that the package is for.
    pub module: PackageModule,
    /// Packages and directories with the buildpacks that it refers to.
    pub dependencies: Vec<Dependency>,
    /// What a composite runs on (PKG-08).
    pub targets: Vec<Target>,
}

/// The module that a package is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PackageModule {
    /// A buildpack, at this address.
    Buildpack(String),
    /// An extension, at this address.
    Extension(String),
}

/// A package or directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dependency {
    /// `uri`
    Uri(String),
    /// `image`, the older way to name a package in a registry.
    Image(String),
}

impl Default for PackageToml {
    /// What holds without a file: the buildpack in the current directory.
    fn default() -> Self {
        Self {
            module: PackageModule::Buildpack(".".to_owned()),
            dependencies: Vec::new(),
            targets: Vec::new(),
        }
    }
}

impl PackageToml {
    /// Reads the file.
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Self, Flaw> {
        document::read_strictly(path, bytes, |root| {
            let uri = |key| match root.table(key)? {
                Some(table) => table.required::<String>("uri").map(Some),
                None => Ok(None),
            };
            let module = match (uri("buildpack")?, uri("extension")?) {
                (Some(uri), None) => PackageModule::Buildpack(uri),
                (None, Some(uri)) => PackageModule::Extension(uri),
                (Some(_), Some(_)) => {
                    return Err(root.fault_at(
                        "extension",
                        "a package has either a `buildpack` or an `extension`",
                    ));
                }
                (None, None) => return Err(root.fault("missing table `[buildpack]` or `[extension]`")),
            };
            // Deprecated, and not needed to say what can be the only one.
            if let Some(platform) = root.table("platform")?
                && let Some(os) = platform.optional::<String>("os")?
                && os != "linux"
            {
                return Err(platform.fault_at("os", format!("packages are made for linux, not for `{os}`")));
            }
            Ok(Self {
                module,
                dependencies: root.each("dependencies", Dependency::read)?,
                targets: root.each("targets", Target::read)?,
            })
        })
    }
}

impl Dependency {
    fn read(table: &Table<'_>) -> Result<Self, Fault> {
        match (table.optional("uri")?, table.optional("image")?) {
            (Some(uri), None) => Ok(Self::Uri(uri)),
            (None, Some(image)) => Ok(Self::Image(image)),
            _ => Err(table.fault("a dependency has either a `uri` or an `image`")),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Dependency, PackageModule, PackageToml};

    fn parse(text: &str) -> Result<PackageToml, crate::Flaw> {
        PackageToml::parse(Path::new("package.toml"), text.as_bytes())
    }

    #[test]
    fn every_key_of_the_schema() {
        let text = "[buildpack]\nuri = '.'\n[[dependencies]]\nuri = 'a'\n[[dependencies]]\nimage = 'r/b'\n[platform]\nos = 'linux'\n[[targets]]\nos = 'linux'\narch = 'arm64'\npath = 'x'\n[[targets.distros]]\nname = 'd'\nversion = '1'\n";
        let package = parse(text).unwrap();
        assert_eq!(package.module, PackageModule::Buildpack(".".to_owned()));
        assert_eq!(package.dependencies[1], Dependency::Image("r/b".to_owned()));
        assert_eq!(package.targets[0].path.as_deref(), Some("x"));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        for (text, message) in [
            (
                "",
                "package.toml:1:1: missing table `[buildpack]` or `[extension]`",
            ),
            (
                "[buildpack]\nuri = '.'\nurl = 'x'\n",
                "package.toml:3:1: unknown key `buildpack.url`",
            ),
            (
                "[buildpack]\n",
                "package.toml:1:1: missing key `uri` in `buildpack`",
            ),
            (
                "[buildpack]\nuri = '.'\n[extension]\nuri = '.'\n",
                "package.toml:3:1: a package has either a `buildpack` or an `extension`",
            ),
            (
                "[buildpack]\nuri = '.'\n[platform]\nos = 'windows'\n",
                "package.toml:4:6: packages are made for linux, not for `windows`",
            ),
            (
                "[buildpack]\nuri = '.'\n[[dependencies]]\n",
                "package.toml:3:1: a dependency has either a `uri` or an `image`",
            ),
        ] {
            assert_eq!(parse(text).unwrap_err().to_string(), message);
        }
    }
}
