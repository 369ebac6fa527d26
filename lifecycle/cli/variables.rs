//! Variables and volumes, as the command line writes them.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use lifecycle_platform::Volume;

use crate::environment::Environment;
use crate::failure::Failure;

/// Variables for a build or a process, in order; a later value wins.
#[derive(Debug, Default)]
pub(crate) struct Variables(Vec<(String, OsString)>);

impl Variables {
    /// Sets one.
    pub(crate) fn set(&mut self, name: &str, value: OsString) {
        match self.0.iter_mut().find(|(own, _)| own == name) {
            Some(entry) => entry.1 = value,
            None => self.0.push((name.to_owned(), value)),
        }
    }

    /// Adds what `--env` says: `NAME=VALUE`, or `NAME` for the value in this program's environment, if it has one.
    pub(crate) fn add(&mut self, texts: &[String], environment: &Environment) -> Result<(), Failure> {
        for text in texts {
            let (name, value) = match text.split_once('=') {
                Some((name, value)) => (name, Some(OsString::from(value))),
                None => (text.as_str(), environment.os(text).cloned()),
            };
            if name.is_empty() || name.contains(['/', '\0', ' ']) {
                return Err(Failure::new(
                    "variable",
                    format!("{text:?} is not NAME or NAME=VALUE"),
                ));
            }
            if let Some(value) = value {
                self.set(name, value);
            }
        }
        Ok(())
    }

    /// Adds what a file says, one a line in the same form; blank lines and lines that begin with `#` are passed over.
    pub(crate) fn add_file(&mut self, path: &Path, environment: &Environment) -> Result<(), Failure> {
        let text = fs_err::read_to_string(path)?;
        let lines = text
            .lines()
            .map(str::trim_end)
            .filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
        self.add(&lines.map(str::to_owned).collect::<Vec<_>>(), environment)
    }

    /// The variables.
    pub(crate) fn into_pairs(self) -> Vec<(String, OsString)> {
        self.0
    }
}

/// Reads `HOST:PATH[:ro|rw]`; without a mode, what is shown cannot be written.
pub(crate) fn volumes(texts: &[String]) -> Result<Vec<Volume>, Failure> {
    texts.iter().map(|text| volume(text)).collect()
}

fn volume(text: &str) -> Result<Volume, Failure> {
    let wrong =
        |reason: &str| Failure::new("volume", format!("{text:?} {reason}")).help("write HOST:PATH[:ro|rw]");
    let mut parts = text.split(':');
    let (source, target) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let writable = match (parts.next(), parts.next()) {
        (None | Some("ro"), None) => false,
        (Some("rw"), None) => true,
        _ => return Err(wrong("has a mode that is neither ro nor rw")),
    };
    if source.is_empty() || !target.starts_with('/') {
        return Err(wrong("does not name two paths, the second of them absolute"));
    }
    let source = std::path::absolute(source)?;
    Ok(Volume {
        source,
        target: PathBuf::from(target),
        writable,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_without_a_value_are_taken_from_the_environment() {
        let environment = Environment::from_pairs(&[("HERE", "1")]);
        let mut variables = Variables::default();
        let texts = ["A=b=c", "HERE", "MISSING", "A=2", "EMPTY="].map(str::to_owned);
        variables.add(&texts, &environment).unwrap();
        let expected = [("A", "2"), ("HERE", "1"), ("EMPTY", "")];
        let expected: Vec<(String, OsString)> =
            expected.map(|(name, value)| (name.into(), value.into())).to_vec();
        assert_eq!(variables.into_pairs(), expected);
        assert!(
            Variables::default()
                .add(&["=x".to_owned()], &environment)
                .is_err()
        );
        assert!(
            Variables::default()
                .add(&["a/b=x".to_owned()], &environment)
                .is_err()
        );
    }

    #[test]
    fn files_may_have_comments_and_blank_lines() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("env");
        fs_err::write(&path, "# c\n\nA=1\r\nB=x y\n").unwrap();
        let mut variables = Variables::default();
        variables.add_file(&path, &Environment::default()).unwrap();
        assert_eq!(
            variables.into_pairs(),
            [("A".into(), "1".into()), ("B".into(), "x y".into())]
        );
    }

    #[test]
    fn volumes_are_read_only_unless_said_otherwise() {
        let volume = |text: &str| {
            volume(text)
                .map(|volume| (volume.target, volume.writable))
                .map_err(drop)
        };
        assert_eq!(volume("/a:/b"), Ok(("/b".into(), false)));
        assert_eq!(volume("a:/b:rw"), Ok(("/b".into(), true)));
        for text in ["/a", ":/b", "/a:b", "/a:/b:x", "/a:/b:ro:x"] {
            assert!(volume(text).is_err(), "{text}");
        }
    }
}
