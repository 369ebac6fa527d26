//! The directory `.git`: what git would have written, without anything that differs from one checkout to the next.

use std::path::{Path, PathBuf};

use fs_err as fs;

use super::Fetched;
use crate::RemoteError;
use crate::checkout::Order;
use crate::repository::check_reference;

/// What holds for every repository with files beside it.
const CORE: &str = "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = false\n";

/// Git's own directory of a repository.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
}

impl Directory {
    /// Makes one that holds no object and no name.
    pub(super) fn create(path: &Path) -> Result<Self, RemoteError> {
        for below in ["objects/info", "objects/pack", "refs/heads", "refs/tags"] {
            let below = path.join(below);
            fs::create_dir_all(&below).map_err(RemoteError::io("create", &below))?;
        }
        let path = path.to_owned();
        let directory = Self { path };
        directory.put("HEAD", "ref: refs/heads/main\n")?;
        directory.put("config", CORE)?;
        Ok(directory)
    }

    /// Writes what is known of what was fetched; the files lie `here`.
    pub(super) fn write(&self, order: &Order<'_>, here: &Path, fetched: &Fetched) -> Result<(), RemoteError> {
        self.put("HEAD", &format!("{}\n", fetched.commit))?;
        let mut names: Vec<_> = fetched
            .names
            .iter()
            // What others call their branches becomes no line of ours that it could end.
            .filter(|(name, _)| check_reference(name).is_ok())
            .collect();
        names.sort();
        let lines = names.iter().map(|(name, object)| format!("{object} {name}\n"));
        let lines: Vec<String> = lines.collect();
        self.put(
            "packed-refs",
            &format!("# pack-refs with: sorted \n{}", lines.concat()),
        )?;
        let mut worktree = String::new();
        if !self.path.starts_with(here) {
            worktree = format!("\tworktree = {}\n", quoted(&relative(here, &self.path)));
            let own = relative(&self.path, here);
            let link = here.join(".git");
            fs::write(&link, format!("gitdir: {own}\n")).map_err(RemoteError::io("write", &link))?;
        }
        let url = quoted(&order.address.url);
        let origin =
            format!("[remote \"origin\"]\n\turl = {url}\n\tfetch = +refs/heads/*:refs/remotes/origin/*\n");
        self.put("config", &format!("{CORE}{worktree}{origin}"))
    }

    /// Takes note of a submodule that was checked out.
    pub(super) fn add_submodule(&self, name: &str, url: &str) -> Result<(), RemoteError> {
        let path = self.path.join("config");
        let config = fs::read_to_string(&path).map_err(RemoteError::io("read", &path))?;
        let name = name.replace('\\', r"\\").replace('"', "\\\"");
        let url = quoted(url);
        self.put(
            "config",
            &format!("{config}[submodule \"{name}\"]\n\tactive = true\n\turl = {url}\n"),
        )
    }

    /// Where the submodule of this name has its own directory.
    pub(super) fn of_submodule(&self, name: &str) -> PathBuf {
        // A name may look like a path from the root, and is none.
        self.path.join("modules").join(name.trim_start_matches('/'))
    }

    fn put(&self, name: &str, text: &str) -> Result<(), RemoteError> {
        let path = self.path.join(name);
        fs::write(&path, text).map_err(RemoteError::io("write", &path))
    }
}

/// A value of a configuration file.
fn quoted(value: &str) -> String {
    if value.contains(['"', '\\', '#', ';']) || value.trim() != value {
        format!("\"{}\"", value.replace('\\', r"\\").replace('"', "\\\""))
    } else {
        value.to_owned()
    }
}

/// The way to a path from a directory.
fn relative(path: &Path, from: &Path) -> String {
    let common = path
        .components()
        .zip(from.components())
        .take_while(|(a, b)| a == b)
        .count();
    let up = from.components().skip(common).map(|_| PathBuf::from(".."));
    let down = path
        .components()
        .skip(common)
        .map(|component| PathBuf::from(component.as_os_str()));
    let way: PathBuf = up.chain(down).collect();
    way.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ways_lead_up_and_down() {
        assert_eq!(
            relative(Path::new("/t/a/b"), Path::new("/t/.git/modules/x")),
            "../../../a/b"
        );
        assert_eq!(
            relative(Path::new("/t/.git/modules/x"), Path::new("/t/a/b")),
            "../../.git/modules/x"
        );
    }

    #[test]
    fn values_stay_values() {
        assert_eq!(quoted("https://h/r"), "https://h/r");
        assert_eq!(quoted("a;b"), "\"a;b\"");
        assert_eq!(quoted(r#"a"\"#), r#""a\"\\""#);
    }
}
