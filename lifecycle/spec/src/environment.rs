//! Environment variables and the rules by which buildpacks, users and operators change them (cnb.md 1.18, 2.15).
//!
//! Everything is [`OsString`]: a value is bytes, and bytes that are not UTF-8 reach the process as they are. The build
//! phase and the launcher both stand on this module; it needs nothing but the standard library.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

#[cfg(test)]
mod tests;

/// Variables that the lifecycle passes to buildpacks; all others are dropped (ENV-01 to ENV-03).
pub const INHERITED_BY_BUILDPACKS: [&str; 14] = [
    "CNB_STACK_ID",
    "HOSTNAME",
    "HOME",
    "HTTP_PROXY",
    "http_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "NO_PROXY",
    "no_proxy",
    "PATH",
    "LD_LIBRARY_PATH",
    "LIBRARY_PATH",
    "CPATH",
    "PKG_CONFIG_PATH",
];

/// Variables that are lists of directories: a user's value is put in front of what is there (ENV-05).
pub const PATH_VARIABLES: [&str; 5] = [
    "PATH",
    "LD_LIBRARY_PATH",
    "LIBRARY_PATH",
    "CPATH",
    "PKG_CONFIG_PATH",
];

/// Variables of the lifecycle that a launched process does not see (LAU-12).
const HIDDEN_AT_LAUNCH: [&str; 5] = [
    "CNB_APP_DIR",
    "CNB_LAYERS_DIR",
    "CNB_PROCESS_TYPE",
    "CNB_PLATFORM_API",
    "CNB_DEPRECATION_MODE",
];

/// Directories that the exporter puts into `PATH` for the launcher's sake, and that the process does not see (LAU-12).
const HIDDEN_IN_PATH: [&str; 2] = ["/cnb/process", "/cnb/lifecycle"];

/// When a layer's directories are joined to path variables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// For the `bin/build` of later buildpacks.
    Build,
    /// For the launched process.
    Launch,
}

impl Moment {
    /// Which sub-directory goes to which variable (cnb.md 2.15).
    const fn layer_paths(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Build => &[
                ("PATH", "bin"),
                ("LD_LIBRARY_PATH", "lib"),
                ("LIBRARY_PATH", "lib"),
                ("CPATH", "include"),
                ("PKG_CONFIG_PATH", "pkgconfig"),
            ],
            // LAU-13
            Self::Launch => &[("PATH", "bin"), ("LD_LIBRARY_PATH", "lib")],
        }
    }
}

/// What a file without a suffix does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unsuffixed {
    /// In a layer it overrides.
    Override,
    /// In the operator's build-config it is a default (ENV-07).
    Default,
}

/// Variables and their values, sorted by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Environment(BTreeMap<OsString, OsString>);

impl Environment {
    /// What a buildpack inherits of the lifecycle's own variables.
    pub fn for_buildpacks(own: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let inherited = |name: &OsString| INHERITED_BY_BUILDPACKS.iter().any(|known| name == known);
        Self(own.into_iter().filter(|(name, _)| inherited(name)).collect())
    }

    /// What a launched process inherits of the container's variables (LAU-12).
    pub fn for_process(container: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let hidden = |name: &OsString| HIDDEN_AT_LAUNCH.iter().any(|known| name == known);
        let mut environment = Self(container.into_iter().filter(|(name, _)| !hidden(name)).collect());
        if let Some(path) = environment.0.get_mut(OsStr::new("PATH")) {
            let shown = |part: &&[u8]| !HIDDEN_IN_PATH.iter().any(|hidden| *part == hidden.as_bytes());
            let parts: Vec<_> = path
                .as_bytes()
                .split(|byte| *byte == b':')
                .filter(shown)
                .collect();
            *path = OsString::from_vec(parts.join(&b':'));
        }
        environment
    }

    /// The value of a variable.
    pub fn get(&self, name: impl AsRef<OsStr>) -> Option<&OsStr> {
        self.0.get(name.as_ref()).map(OsString::as_os_str)
    }

    /// Gives a variable a value, whatever it had before.
    pub fn set(&mut self, name: impl Into<OsString>, value: impl Into<OsString>) {
        self.0.insert(name.into(), value.into());
    }

    /// All variables, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&OsStr, &OsStr)> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_os_str(), value.as_os_str()))
    }

    /// Puts the directories of a layer in front of the path variables, those that exist (EMR-01).
    ///
    /// The text wants layers of one buildpack ascending within the variable. Images rely on what the reference does:
    /// each layer goes in front of the one before.
    pub fn add_layer_paths(&mut self, layer: &Path, moment: Moment) {
        for (variable, directory) in moment.layer_paths() {
            let directory = layer.join(directory);
            if directory.is_dir() {
                self.put_in_front(OsStr::new(variable), directory.as_os_str(), OsStr::new(":"));
            }
        }
    }

    /// Applies the environment directories of one layer, from the general to the special: `env`, then `env.build` or
    /// `env.launch`, then `env.launch/<process>` (EMR-02 to EMR-08).
    pub fn apply_layer(&mut self, directories: &[EnvDirectory]) {
        for directory in directories {
            // A delimiter counts for its directory first, then for the whole layer.
            let delimiter = |name: &[u8]| {
                directory
                    .delimiter(name)
                    .or_else(|| directories.iter().find_map(|other| other.delimiter(name)))
                    .unwrap_or_default()
            };
            self.apply(directory, Unsuffixed::Override, delimiter);
        }
    }

    /// Applies what the operator put into `<build-config>/env` (ENV-07).
    pub fn apply_operator(&mut self, directory: &EnvDirectory) {
        let delimiter = |name: &[u8]| directory.delimiter(name).unwrap_or_default();
        self.apply(directory, Unsuffixed::Default, delimiter);
    }

    /// Applies what the user put into `<platform>/env`: path variables grow in front, others are replaced (ENV-05).
    ///
    /// Here a file name is the whole name of the variable.
    pub fn apply_user(&mut self, directory: &EnvDirectory) {
        for (name, value) in &directory.0 {
            if PATH_VARIABLES.iter().any(|known| name == known) {
                self.put_in_front(name, value, OsStr::new(":"));
            } else {
                self.set(name, value);
            }
        }
    }

    fn apply<'a>(
        &mut self,
        directory: &'a EnvDirectory,
        unsuffixed: Unsuffixed,
        delimiter: impl Fn(&[u8]) -> &'a OsStr,
    ) {
        for (file, value) in &directory.0 {
            let (name, suffix) = split_name(file);
            let variable = OsStr::from_bytes(name);
            if name.is_empty() {
                // `.append` and such, and editors' hidden files: they name no variable.
                continue;
            }
            match suffix {
                None if unsuffixed == Unsuffixed::Override => self.set(variable, value),
                Some(b"override") => self.set(variable, value),
                None | Some(b"default") => self.set_if_empty(variable, value),
                Some(b"prepend") => self.put_in_front(variable, value, delimiter(name)),
                Some(b"append") => self.put_behind(variable, value, delimiter(name)),
                // `.delim` has been looked up, and what else there is says nothing (EMR-03).
                Some(_) => {}
            }
        }
    }

    fn set_if_empty(&mut self, name: &OsStr, value: &OsStr) {
        if self.get(name).is_none_or(OsStr::is_empty) {
            self.set(name, value);
        }
    }

    fn put_in_front(&mut self, name: &OsStr, value: &OsStr, delimiter: &OsStr) {
        let joined = match self.get(name) {
            // No delimiter next to nothing (EMR-05).
            Some(existing) if !existing.is_empty() => join([value, delimiter, existing]),
            _ => value.to_owned(),
        };
        self.set(name, joined);
    }

    fn put_behind(&mut self, name: &OsStr, value: &OsStr, delimiter: &OsStr) {
        let joined = match self.get(name) {
            Some(existing) if !existing.is_empty() => join([existing, delimiter, value]),
            _ => value.to_owned(),
        };
        self.set(name, joined);
    }
}

impl FromIterator<(OsString, OsString)> for Environment {
    fn from_iter<T: IntoIterator<Item = (OsString, OsString)>>(variables: T) -> Self {
        Self(variables.into_iter().collect())
    }
}

/// The files of one environment directory and what is in them, sorted by name (EMR-08).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EnvDirectory(BTreeMap<OsString, OsString>);

impl EnvDirectory {
    /// Reads a directory. One that does not exist is empty; sub-directories are passed over, links to files are
    /// followed, and contents are taken byte for byte (ENV-04, ENV-10).
    pub fn read(path: &Path) -> io::Result<Self> {
        let entries = match std::fs::read_dir(path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(about(path, &error)),
        };
        let mut files = BTreeMap::new();
        for entry in entries {
            let entry = entry.map_err(|error| about(path, &error))?;
            let file = entry.path();
            if !file.is_dir() {
                let content = std::fs::read(&file).map_err(|error| about(&file, &error))?;
                files.insert(entry.file_name(), OsString::from_vec(content));
            }
        }
        Ok(Self(files))
    }

    fn delimiter(&self, variable: &[u8]) -> Option<&OsStr> {
        let file = [variable, b".delim"].concat();
        self.0.get(OsStr::from_bytes(&file)).map(OsString::as_os_str)
    }
}

impl FromIterator<(OsString, OsString)> for EnvDirectory {
    fn from_iter<T: IntoIterator<Item = (OsString, OsString)>>(files: T) -> Self {
        Self(files.into_iter().collect())
    }
}

/// `FOO.append` is the variable `FOO` and the suffix `append`; the first dot parts them (EMR-03).
fn split_name(file: &OsStr) -> (&[u8], Option<&[u8]>) {
    let bytes = file.as_bytes();
    match bytes.iter().position(|byte| *byte == b'.') {
        Some(dot) => (&bytes[..dot], Some(&bytes[dot + 1..])),
        None => (bytes, None),
    }
}

fn join(parts: [&OsStr; 3]) -> OsString {
    OsString::from_vec(parts.map(OsStr::as_bytes).concat())
}

fn about(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}
