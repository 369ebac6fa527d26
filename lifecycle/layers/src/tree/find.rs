//! Finds what lies in a tree.

use std::fs::FileType;
use std::path::{Component, Path, PathBuf};

/// What lies at a path below `directory`, if nothing but directories is on the way and the path's end is no link either.
/// Links in the tree of a buildpack or of an image may lead to files that are none of their business. A `/` in front
/// means `directory`; `..` finds nothing.
pub fn find_below(directory: &Path, below: &Path) -> Option<(PathBuf, FileType)> {
    let mut path = directory.to_owned();
    let mut kind = None;
    for part in below.components() {
        match part {
            Component::RootDir | Component::CurDir => continue,
            Component::Normal(name) => path.push(name),
            Component::ParentDir | Component::Prefix(_) => return None,
        }
        let found = path.symlink_metadata().ok()?.file_type();
        if found.is_symlink() {
            return None;
        }
        kind = Some(found);
    }
    kind.map(|kind| (path, kind))
}
