//! Paths within a view, with symbolic links followed by text.

use super::node::{Node, NodeKind};
use super::view::{Directory, FilesError, View};

/// As many as the kernel follows.
const MOST_LINKS: usize = 40;

/// Where a path leads.
#[derive(Debug)]
pub(crate) struct Resolved {
    /// The real path without links, without a leading slash; empty for the root.
    pub(crate) path: Vec<u8>,
    /// What is there, and the layer that has it.
    pub(crate) found: Option<(Node, usize)>,
    /// Some part of the path above its end is there and no directory.
    pub(crate) blocked: Option<Vec<u8>>,
    /// A link leads round in circles.
    pub(crate) circular: bool,
}

/// Joins a name to a path without a leading slash.
pub(crate) fn join(above: &[u8], name: &[u8]) -> Vec<u8> {
    let mut path = Vec::with_capacity(above.len() + 1 + name.len());
    path.extend_from_slice(above);
    if !above.is_empty() && !name.is_empty() {
        path.push(b'/');
    }
    path.extend_from_slice(name);
    path
}

/// A path without leading slash, `.`, `..` and repeated slashes; `..` stops at the root.
pub(crate) fn clean(path: &[u8]) -> Vec<u8> {
    let mut names: Vec<&[u8]> = Vec::new();
    for name in path.split(|&byte| byte == b'/') {
        match name {
            b"" | b"." => {}
            b".." => {
                names.pop();
            }
            name => names.push(name),
        }
    }
    names.join(&b'/')
}

impl View {
    /// Follows a path from the root, with links inside the view. With `follow_last` also one at its end.
    ///
    /// What does not exist is no error: the rest of the path is taken as it is, so that it can be made.
    pub(crate) fn resolve(&self, path: &[u8], follow_last: bool) -> Result<Resolved, FilesError> {
        let mut ahead = names_reversed(path);
        let mut done: Vec<Directory> = vec![self.root()?];
        // Names behind the last directory that exists.
        let mut missing: Vec<Vec<u8>> = Vec::new();
        let mut found = None;
        let mut blocked = None;
        let mut links = 0;
        while let Some(name) = ahead.pop() {
            if name == b".." {
                if missing.pop().is_none() && done.len() > 1 {
                    done.pop();
                }
                found = None;
                continue;
            }
            if !missing.is_empty() {
                if found.is_some() {
                    blocked = Some(joined(&done, &missing));
                    found = None;
                }
                missing.push(name);
                continue;
            }
            let Some(here) = done.last() else { break };
            match self.find(here, &name)? {
                Some((
                    Node {
                        kind: NodeKind::Symlink(target),
                        ..
                    },
                    _,
                )) if follow_last || !ahead.is_empty() => {
                    links += 1;
                    if links > MOST_LINKS {
                        return Ok(Resolved {
                            path: join(&here.path, &name),
                            found: None,
                            blocked: None,
                            circular: true,
                        });
                    }
                    if target.starts_with(b"/") {
                        done.truncate(1);
                    }
                    ahead.extend(names_reversed(&target));
                }
                Some((node, layer)) => match self.enter(here, &name)? {
                    Some(directory) if node.is_directory() => {
                        found = None;
                        done.push(directory);
                    }
                    _ => {
                        found = Some((node, layer));
                        missing.push(name);
                    }
                },
                None => {
                    found = None;
                    missing.push(name);
                }
            }
        }
        let path = joined(&done, &missing);
        if missing.is_empty() {
            // The path ends in a directory.
            let Some(last) = done.pop() else {
                return self.at_root();
            };
            let Some(above) = done.pop() else {
                return self.at_root();
            };
            let name = last.path.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
            let found = self.find(&above, name)?;
            return Ok(Resolved {
                path,
                found,
                blocked,
                circular: false,
            });
        }
        Ok(Resolved {
            path,
            found,
            blocked,
            circular: false,
        })
    }

    fn at_root(&self) -> Result<Resolved, FilesError> {
        Ok(Resolved {
            path: Vec::new(),
            found: Some((self.root_node()?, 0)),
            blocked: None,
            circular: false,
        })
    }

    /// The directory at a real path, if it is one.
    pub(crate) fn directory(&self, path: &[u8]) -> Result<Option<Directory>, FilesError> {
        let mut here = self.root()?;
        for name in path.split(|&byte| byte == b'/').filter(|name| !name.is_empty()) {
            match self.enter(&here, name)? {
                Some(next) => here = next,
                None => return Ok(None),
            }
        }
        Ok(Some(here))
    }
}

fn names_reversed(path: &[u8]) -> Vec<Vec<u8>> {
    path.split(|&byte| byte == b'/')
        .filter(|name| !matches!(*name, b"" | b"."))
        .rev()
        .map(<[u8]>::to_vec)
        .collect()
}

fn joined(done: &[Directory], missing: &[Vec<u8>]) -> Vec<u8> {
    let base = done
        .last()
        .map(|directory| directory.path.clone())
        .unwrap_or_default();
    missing.iter().fold(base, |path, name| join(&path, name))
}
