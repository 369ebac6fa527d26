//! Config vars: for scripts they are files, never variables (HC-04).

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use fs_err as fs;

use crate::HerokuError;

/// Config vars by name; the values are any bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConfigVars(BTreeMap<String, Vec<u8>>);

impl ConfigVars {
    /// Sets one.
    ///
    /// # Errors
    /// [`HerokuError::ConfigVar`] when the name is not one.
    pub fn set(&mut self, name: &str, value: impl Into<Vec<u8>>) -> Result<(), HerokuError> {
        check_name(name)?;
        self.0.insert(name.to_owned(), value.into());
        Ok(())
    }

    /// The value of one.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.0.get(name).map(Vec::as_slice)
    }

    /// All, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &OsStr)> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_str(), OsStr::from_bytes(value)))
    }

    /// Reads a directory with one file for each, as Kubernetes shows a secret: hidden entries are passed over, and final
    /// newlines are not part of a value. A missing directory is empty.
    pub fn read_directory(directory: &Path) -> Result<Self, HerokuError> {
        let mut vars = Self::default();
        let entries = match fs::read_dir(directory) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(vars),
            entries => entries.map_err(HerokuError::io("read", directory))?,
        };
        for entry in entries {
            let path = entry.map_err(HerokuError::io("read", directory))?.path();
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            if name.starts_with('.') || !path.is_file() {
                continue;
            }
            let bytes = fs::read(&path).map_err(HerokuError::io("read", &path))?;
            let end = bytes
                .iter()
                .rposition(|byte| *byte != b'\n')
                .map_or(0, |at| at + 1);
            vars.set(&name, &bytes[..end])?;
        }
        Ok(vars)
    }

    /// Reads a `.env` file: `NAME=value` lines, `export` before them and quotes around values allowed. Values are data
    /// and never evaluated (HE-04). What is set already stays.
    pub fn add_dot_env(&mut self, text: &[u8]) -> Result<(), HerokuError> {
        for line in String::from_utf8_lossy(text).lines() {
            let line = line.trim();
            let line = line.strip_prefix("export ").unwrap_or(line).trim_start();
            let Some((name, value)) = line.split_once('=').filter(|_| !line.starts_with('#')) else {
                continue;
            };
            let (name, value) = (name.trim(), value.trim());
            let quoted = |quote: char| {
                value
                    .strip_prefix(quote)
                    .and_then(|value| value.strip_suffix(quote))
            };
            let value = quoted('"').or_else(|| quoted('\'')).unwrap_or(value);
            if self.get(name).is_none() {
                self.set(name, value)?;
            }
        }
        Ok(())
    }

    /// Writes one file for each into an existing directory.
    pub(crate) fn write(&self, directory: &Path) -> Result<(), HerokuError> {
        for (name, value) in &self.0 {
            let path = directory.join(name);
            fs::write(&path, value).map_err(HerokuError::io("write", &path))?;
        }
        Ok(())
    }
}

/// Whether this can be the name of a variable in every shell.
pub(crate) fn check_name(name: &str) -> Result<(), HerokuError> {
    let first = name
        .bytes()
        .next()
        .is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    if first
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    {
        return Ok(());
    }
    Err(HerokuError::ConfigVar(name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_not_names_are_refused() {
        for name in ["", "1A", "A-B", "A B", "../x", "A=B", "é"] {
            assert!(ConfigVars::default().set(name, "x").is_err(), "{name}");
        }
    }

    #[test]
    fn a_secret_directory_is_read_without_its_hidden_entries() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("A"), "one\n\n").unwrap();
        fs::write(directory.path().join(".hidden"), "x").unwrap();
        fs::create_dir(directory.path().join("..data")).unwrap();
        let vars = ConfigVars::read_directory(directory.path()).unwrap();
        assert_eq!(vars.iter().collect::<Vec<_>>(), [("A", OsStr::new("one"))]);
        assert_eq!(
            ConfigVars::read_directory(Path::new("/nowhere")).unwrap(),
            ConfigVars::default()
        );
    }

    #[test]
    fn a_dot_env_is_data_he_04() {
        let mut vars = ConfigVars::default();
        vars.set("KEPT", "first").unwrap();
        let text = b"# comment\nexport A='x y'\nB=\"$(id) `id`\"\nC = plain # text\nKEPT=second\nno pair\n";
        vars.add_dot_env(text).unwrap();
        let value = |name: &str| String::from_utf8(vars.get(name).unwrap().to_vec()).unwrap();
        assert_eq!(
            ["A", "B", "C", "KEPT"].map(value),
            ["x y", "$(id) `id`", "plain # text", "first"]
        );
    }
}
