//! The application's source, copied to where buildpacks may change it.

use std::ffi::OsString;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::{MetadataExt, lchown, symlink};
use std::path::{Path, PathBuf};

use fs_err as fs;
use ignore::gitignore::{Gitignore, GitignoreBuilder};
use lifecycle_layers::Owner;

use crate::PlatformError;

/// Which files of the source take part (PRJ-02): gitignore patterns of `project.toml`.
#[derive(Debug, Clone)]
pub enum Selection {
    /// All.
    All,
    /// Only what matches.
    Include(Gitignore),
    /// All but what matches.
    Exclude(Gitignore),
}

impl Selection {
    /// The selection that `include` and `exclude` of a project descriptor make; not both have patterns.
    pub fn new(source: &Path, include: &[String], exclude: &[String]) -> Result<Self, PlatformError> {
        let patterns = |lines: &[String]| {
            let mut builder = GitignoreBuilder::new(source);
            for line in lines {
                builder
                    .add_line(None, line)
                    .map_err(|error| invalid(source, line, &error))?;
            }
            builder
                .build()
                .map_err(|error| invalid(source, "the patterns", &error))
        };
        match (include, exclude) {
            ([], []) => Ok(Self::All),
            (include, []) => Ok(Self::Include(patterns(include)?)),
            (_, exclude) => Ok(Self::Exclude(patterns(exclude)?)),
        }
    }

    /// Whether a file of the source takes part; the path is relative to the source.
    pub fn takes(&self, path: &Path, is_directory: bool) -> bool {
        let matched = |patterns: &Gitignore| {
            patterns
                .matched_path_or_any_parents(path, is_directory)
                .is_ignore()
        };
        match self {
            Self::All => true,
            Self::Include(patterns) => matched(patterns),
            Self::Exclude(patterns) => !matched(patterns),
        }
    }
}

fn invalid(source: &Path, what: &str, error: &ignore::Error) -> PlatformError {
    PlatformError::Source {
        path: source.to_owned(),
        reason: format!("{what}: {error}"),
    }
}

/// Copies the files of `source` that `selection` takes into the existing directory `into`. They get `owner`, unless
/// there is none because this process has only one id.
///
/// Modes, times and symbolic links stay as they are; sockets, pipes and devices are left out.
///
/// # Errors
/// When the source is missing or no directory, or a file cannot be read or written; with its path.
pub fn copy_source(
    source: &Path,
    selection: &Selection,
    into: &Path,
    owner: Option<Owner>,
) -> Result<u64, PlatformError> {
    let metadata = fs::metadata(source).map_err(|cause| {
        let reason = match cause.kind() {
            io::ErrorKind::NotFound => "there is no such directory".to_owned(),
            _ => cause.to_string(),
        };
        PlatformError::Source {
            path: source.to_owned(),
            reason,
        }
    })?;
    if !metadata.is_dir() {
        let reason = "it is not a directory; give the directory that holds the app's source".to_owned();
        return Err(PlatformError::Source {
            path: source.to_owned(),
            reason,
        });
    }
    let copier = Copier {
        source,
        selection,
        owner,
    };
    let copied = copier.directory(into)?;
    copier.finish(into, &metadata)?;
    Ok(copied)
}

struct Copier<'a> {
    source: &'a Path,
    selection: &'a Selection,
    owner: Option<Owner>,
}

/// A directory that is being copied.
struct Level {
    relative: PathBuf,
    /// What is still to come of it.
    entries: std::vec::IntoIter<(OsString, Metadata)>,
    /// Nothing for the source itself.
    own: Option<Own>,
}

/// What is known about a directory of the source until all of it is copied.
struct Own {
    metadata: Metadata,
    takes: bool,
    /// How many files were copied before it.
    before: u64,
}

impl Level {
    fn of(source: &Path, relative: PathBuf, own: Option<Own>) -> Result<Self, PlatformError> {
        let from = source.join(&relative);
        let failed = |cause| PlatformError::io("read", &from, cause);
        let entries = fs::read_dir(&from).map_err(failed)?;
        let entries = entries
            .map(|entry| {
                let entry = entry?;
                Ok((entry.file_name(), entry.metadata()?))
            })
            .collect::<io::Result<Vec<_>>>();
        Ok(Self {
            entries: entries.map_err(failed)?.into_iter(),
            relative,
            own,
        })
    }
}

impl Copier<'_> {
    /// Copies what is in the source into `into`, and says how many files that were. No depth of directories takes this
    /// process's stack.
    fn directory(&self, into: &Path) -> Result<u64, PlatformError> {
        let mut copied = 0;
        let mut levels = vec![Level::of(self.source, PathBuf::new(), None)?];
        while let Some(level) = levels.last_mut() {
            let Some((name, metadata)) = level.entries.next() else {
                let Some(Level { relative, own, .. }) = levels.pop() else {
                    break;
                };
                let (Some(own), to) = (own, into.join(relative)) else {
                    continue;
                };
                if copied == own.before && !own.takes {
                    fs::remove_dir(&to).map_err(|cause| PlatformError::io("remove", &to, cause))?;
                } else {
                    copied += 1;
                    self.finish(&to, &own.metadata)?;
                }
                continue;
            };
            let relative = level.relative.join(name);
            let (path, to) = (self.source.join(&relative), into.join(&relative));
            let takes = self.selection.takes(&relative, metadata.is_dir());
            if metadata.is_dir() {
                // Something below may be taken though the directory is not; an empty copy goes again.
                fs::create_dir(&to).map_err(|cause| PlatformError::io("create", &to, cause))?;
                let own = Own {
                    metadata,
                    takes,
                    before: copied,
                };
                levels.push(Level::of(self.source, relative, Some(own))?);
            } else if takes && copy_file(&metadata, &path, &to)? {
                copied += 1;
                self.finish(&to, &metadata)?;
            }
        }
        Ok(copied)
    }

    /// Gives a copy its owner, mode and time.
    fn finish(&self, path: &Path, metadata: &Metadata) -> Result<(), PlatformError> {
        let failed = |cause| PlatformError::io("set the attributes of", path, cause);
        if let Some(owner) = self.owner {
            lchown(path, Some(owner.uid), Some(owner.gid)).map_err(failed)?;
        }
        if metadata.is_symlink() {
            return Ok(());
        }
        fs::set_permissions(path, metadata.permissions()).map_err(failed)?;
        let seconds = |time: i64, nanoseconds: i64| rustix::fs::Timespec {
            tv_sec: time,
            tv_nsec: nanoseconds,
        };
        let times = rustix::fs::Timestamps {
            last_access: seconds(metadata.atime(), metadata.atime_nsec()),
            last_modification: seconds(metadata.mtime(), metadata.mtime_nsec()),
        };
        rustix::fs::utimensat(rustix::fs::CWD, path, &times, rustix::fs::AtFlags::empty())
            .map_err(|errno| failed(errno.into()))
    }
}

/// Copies a file or link; says whether it is something that can be copied.
fn copy_file(metadata: &Metadata, from: &Path, to: &Path) -> Result<bool, PlatformError> {
    let copied = if metadata.is_symlink() {
        fs::read_link(from).and_then(|target| symlink(target, to))
    } else if metadata.is_file() {
        fs::copy(from, to).map(drop)
    } else {
        return Ok(false);
    };
    copied.map_err(|cause| PlatformError::io("copy", from, cause))?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn tree() -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for path in ["a.txt", "a.log", "lib/b.txt", "lib/b.log", "lib/deep/c.log"] {
            let path = directory.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x").unwrap();
        }
        fs::create_dir(directory.path().join("empty")).unwrap();
        fs::set_permissions(directory.path().join("a.txt"), PermissionsExt::from_mode(0o755)).unwrap();
        symlink("nowhere", directory.path().join("link")).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            directory.path().join("pipe"),
            rustix::fs::FileType::Fifo,
            0o644.into(),
            0,
        )
        .unwrap();
        directory
    }

    fn copy(include: &[&str], exclude: &[&str]) -> BTreeSet<String> {
        let (source, into) = (tree(), tempfile::tempdir().unwrap());
        let lines = |lines: &[&str]| lines.iter().map(ToString::to_string).collect::<Vec<_>>();
        let selection = Selection::new(source.path(), &lines(include), &lines(exclude)).unwrap();
        copy_source(source.path(), &selection, into.path(), None).unwrap();
        let mut found = BTreeSet::new();
        let mut folders = vec![into.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                found.insert(
                    path.strip_prefix(into.path())
                        .unwrap()
                        .to_str()
                        .unwrap()
                        .to_owned(),
                );
                if path.is_dir() && !path.is_symlink() {
                    folders.push(path);
                }
            }
        }
        found
    }

    fn names(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn everything_is_copied_but_pipes() {
        let all = [
            "a.log",
            "a.txt",
            "empty",
            "lib",
            "lib/b.log",
            "lib/b.txt",
            "lib/deep",
            "lib/deep/c.log",
            "link",
        ];
        assert_eq!(copy(&[], &[]), names(&all));
    }

    #[test]
    fn patterns_are_those_of_gitignore_prj_02() {
        assert_eq!(copy(&["*.txt"], &[]), names(&["a.txt", "lib", "lib/b.txt"]));
        let left = [
            "a.txt",
            "empty",
            "lib",
            "lib/b.log",
            "lib/b.txt",
            "lib/deep",
            "link",
        ];
        assert_eq!(copy(&[], &["*.log", "!lib/b.log"]), names(&left));
        assert_eq!(copy(&["/lib/"], &[]).len(), 5);
    }

    #[test]
    fn modes_and_times_stay() {
        let (source, into) = (tree(), tempfile::tempdir().unwrap());
        copy_source(source.path(), &Selection::All, into.path(), None).unwrap();
        let [from, to] = [source.path(), into.path()].map(|path| fs::metadata(path.join("a.txt")).unwrap());
        assert_eq!(
            (from.mode(), from.mtime(), from.mtime_nsec()),
            (to.mode(), to.mtime(), to.mtime_nsec())
        );
    }

    #[test]
    fn no_depth_of_a_source_takes_the_stack() {
        let (source, into) = (tree(), tempfile::tempdir().unwrap());
        let deep = "d/".repeat(1_000);
        fs::create_dir_all(source.path().join(&deep)).unwrap();
        let copying = || copy_source(source.path(), &Selection::All, into.path(), None).unwrap();
        let copied = std::thread::scope(|scope| {
            let small = std::thread::Builder::new().stack_size(128 << 10);
            small.spawn_scoped(scope, copying).unwrap().join().unwrap()
        });
        assert_eq!(copied, 1_009);
        assert!(into.path().join(deep).is_dir());
    }

    #[test]
    fn a_missing_source_is_said_plainly() {
        let error = copy_source(
            Path::new("/nowhere/app"),
            &Selection::All,
            Path::new("/tmp"),
            None,
        )
        .unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot build /nowhere/app: there is no such directory"
        );
    }
}
