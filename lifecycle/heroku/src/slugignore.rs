//! `.slugignore`: files that do not take part (SL-03).

use std::path::{Path, PathBuf};

use fs_err as fs;
use ignore::gitignore::{Gitignore, GitignoreBuilder};
use lifecycle_layers::tree;

use crate::folder::Folder;
use crate::{HerokuError, LineError};

/// Patterns of files that are no part of the slug, as `.gitignore` has them, but without `!`.
#[derive(Debug, Clone)]
pub struct SlugIgnore {
    patterns: Gitignore,
    notes: Vec<LineError>,
}

impl SlugIgnore {
    /// The file's name.
    pub const FILE: &str = ".slugignore";

    /// Reads the file of an app; without one nothing is ignored.
    pub fn read(app: &Path) -> Result<Self, HerokuError> {
        Self::parse(&Folder::open(app)?.read(Self::FILE)?.unwrap_or_default())
    }

    /// Reads the file's text.
    ///
    /// # Errors
    /// For the first line that is no pattern.
    pub fn parse(text: &[u8]) -> Result<Self, HerokuError> {
        let mut builder = GitignoreBuilder::new("");
        let mut notes = Vec::new();
        let text = String::from_utf8_lossy(text);
        for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
            let note = |reason: String| LineError::new(Self::FILE, index + 1, reason);
            if line.starts_with('!') {
                notes.push(note("`!` does not exist here; the line is left out".to_owned()));
                continue;
            }
            builder
                .add_line(None, line)
                .map_err(|error| note(error.to_string()))?;
        }
        let patterns = builder
            .build()
            .map_err(|error| LineError::new(Self::FILE, 1, error.to_string()))?;
        Ok(Self { patterns, notes })
    }

    /// Lines that have no effect, for a warning.
    pub fn notes(&self) -> &[LineError] {
        &self.notes
    }

    /// Removes what matches from `directory`, and says how many files and directories that were.
    pub fn remove(&self, directory: &Path) -> Result<usize, HerokuError> {
        if self.patterns.is_empty() {
            return Ok(0);
        }
        let mut removed = 0;
        let mut folders = vec![PathBuf::new()];
        while let Some(folder) = folders.pop() {
            let here = directory.join(&folder);
            for entry in fs::read_dir(&here).map_err(HerokuError::io("read", &here))? {
                let entry = entry.map_err(HerokuError::io("read", &here))?;
                let path = folder.join(entry.file_name());
                // A link is a file, also one to a directory.
                let is_directory = entry
                    .file_type()
                    .map_err(HerokuError::io("read", &entry.path()))?
                    .is_dir();
                if self.patterns.matched(&path, is_directory).is_ignore() {
                    removed += 1;
                    let gone = if is_directory {
                        tree::remove_path(&entry.path())
                    } else {
                        fs::remove_file(entry.path())
                    };
                    gone.map_err(HerokuError::io("remove", &entry.path()))?;
                } else if is_directory {
                    folders.push(path);
                }
            }
        }
        Ok(removed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_act_in_subtrees_and_from_the_root_sl_03() {
        let app = tempfile::tempdir().unwrap();
        for path in [
            "a.psd",
            "art/b.psd",
            "test/x",
            "lib/test/y",
            "docs/z",
            "lib/docs/k",
            "keep",
        ] {
            let path = app.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let ignore = SlugIgnore::parse(b"# art\n*.psd\r\ntest/\n\n/docs\n!keep\n").unwrap();
        assert_eq!(ignore.remove(app.path()).unwrap(), 5);
        let left = |path: &str| app.path().join(path).exists();
        assert!(left("keep") && left("lib/docs/k") && left("art"));
        assert!(!left("a.psd") && !left("art/b.psd") && !left("test") && !left("lib/test") && !left("docs"));
        assert_eq!(
            ignore.notes()[0].to_string(),
            ".slugignore:6: `!` does not exist here; the line is left out"
        );
    }

    #[test]
    fn a_link_to_a_directory_is_removed_and_not_followed() {
        let (app, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(other.path().join("kept"), "").unwrap();
        std::os::unix::fs::symlink(other.path(), app.path().join("link")).unwrap();
        SlugIgnore::parse(b"link\nkept\n")
            .unwrap()
            .remove(app.path())
            .unwrap();
        assert!(!app.path().join("link").is_symlink() && other.path().join("kept").exists());
    }
}
