//! From sources as written to files that are there (H1 to H5, H21 to H23).

use lifecycle_dockerfile::{Directory as Matched, Ignore, has_wildcard};
use lifecycle_layers::Glob;

use super::entries::Entries;
use super::item::{Data, Item, Selection, Shape};
use crate::error::StepError;
use crate::files::{Directory, Node, NodeKind, View, join};

/// A file system to copy from, and what of it nobody may see.
#[derive(Debug, Clone, Default)]
pub(crate) struct SourceFiles {
    pub(crate) view: View,
    pub(crate) ignore: Ignore,
}

/// Which entries of a walk are wanted.
struct Wanted<'a> {
    ignore: &'a Ignore,
    exclude: &'a Ignore,
    /// With `--parents`: only what this matches.
    include: Option<&'a Ignore>,
}

/// What a walk knows about the directory it is in.
struct Place {
    ignore: Matched,
    exclude: Matched,
    include: Matched,
}

/// A directory that a walk is in.
struct Level {
    directory: Directory,
    /// Its path from where the walk began.
    below: Vec<u8>,
    place: Place,
    /// The names that are still to come.
    names: std::vec::IntoIter<Vec<u8>>,
    /// How many items there were before it and after it, if it is there only for what is below it.
    doubtful: Option<(usize, usize)>,
}

impl Level {
    fn enter(directory: Directory, below: Vec<u8>, place: Place) -> Result<Self, StepError> {
        Ok(Self {
            names: View::names(&directory)?.into_iter(),
            directory,
            below,
            place,
            doubtful: None,
        })
    }
}

impl SourceFiles {
    /// What a path or wildcard stands for (H3, H4). Without a wildcard it has to exist; with one, what it matches has to
    /// lead somewhere.
    pub(crate) fn select(&self, path: &str, exclude: &Ignore) -> Result<Vec<Selection>, StepError> {
        if !has_wildcard(path) {
            // A backslash takes the meaning of what follows it away, and there is none.
            let path: String = unescaped(path);
            return self
                .select_literal(&path, exclude)
                .map(|selection| vec![selection]);
        }
        let mut selections = Vec::new();
        for path in self.expand(path)? {
            match self.select_one(&path, exclude)? {
                Some(selection) => selections.push(selection),
                None if self.ignore.matches(&path) => {}
                // A link that leads nowhere (H5).
                None => return Err(self.not_found(&show(&path))),
            }
        }
        Ok(selections)
    }

    /// What is at a path, wildcards taken as they are.
    pub(crate) fn select_literal(&self, path: &str, exclude: &Ignore) -> Result<Selection, StepError> {
        self.select_one(path.as_bytes(), exclude)?
            .ok_or_else(|| self.not_found(path))
    }

    /// Files with the directories above them (H23).
    pub(crate) fn select_with_parents(
        &self,
        root: &str,
        pattern: &str,
        required: bool,
        exclude: &Ignore,
    ) -> Result<Option<Selection>, StepError> {
        let missing =
            || required.then(|| self.not_found(&format!("{}/{pattern}", root.trim_end_matches('/'))));
        let resolved = self.view.resolve(root.as_bytes(), true)?;
        let Some(top) = self.view.directory(&resolved.path)? else {
            return missing().map_or(Ok(None), Err);
        };
        // Everything below the pivot itself.
        let everything = pattern.is_empty() || pattern == ".";
        let include = Ignore::from_patterns([if everything { "**" } else { pattern }]).map_err(|error| {
            StepError::Unsupported {
                what: format!("the source {pattern:?}"),
                reason: error.to_string(),
            }
        })?;
        let wanted = Wanted {
            ignore: &self.ignore,
            exclude,
            include: Some(&include),
        };
        let mut items = Entries::default();
        self.walk(top, &wanted, &mut items)?;
        if items.is_empty()
            && let Some(error) = missing()
        {
            return Err(error);
        }
        // Nothing to copy, and yet the destination is made.
        Ok(Some(Selection {
            name: Vec::new(),
            shape: Shape::WithParents,
            items,
            last_modified: None,
        }))
    }

    fn not_found(&self, path: &str) -> StepError {
        let relative = path.trim_start_matches('/');
        StepError::NotFound {
            source_name: format!("/{relative}"),
            ignored: !self.ignore.is_empty() && self.ignore.matches(relative),
        }
    }

    /// What is at a path, with links followed (H5) that are not ignored themselves (J4).
    fn select_one(&self, path: &[u8], exclude: &Ignore) -> Result<Option<Selection>, StepError> {
        if !self.ignore.is_empty() {
            let named = self.view.resolve(path, false)?;
            let is_link = named
                .found
                .is_some_and(|(node, _)| matches!(node.kind, NodeKind::Symlink(_)));
            if is_link && self.ignore.matches(&named.path) {
                return Ok(None);
            }
        }
        let resolved = self.view.resolve(path, true)?;
        if resolved.circular {
            return Err(StepError::Circular(show(path)));
        }
        let Some((node, layer)) = resolved.found else {
            return Ok(None);
        };
        let name = path
            .rsplit(|&byte| byte == b'/')
            .next()
            .unwrap_or_default()
            .to_vec();
        if !node.is_directory() {
            if self.ignore.matches(&resolved.path) {
                return Ok(None);
            }
            let data = self.data(&node, layer, &resolved.path);
            return Ok(Some(Selection::of_file(name, Item::new(Vec::new(), node, data))));
        }
        let Some(directory) = self.view.directory(&resolved.path)? else {
            return Ok(None);
        };
        let wanted = Wanted {
            ignore: &self.ignore,
            exclude,
            include: None,
        };
        let mut items = Entries::default();
        items.push(Item::new(Vec::new(), node, Data::Nothing));
        let path = directory.path.clone();
        self.walk(directory, &wanted, &mut items)?;
        // An ignored directory is there only for what was brought back (J3).
        if items.len() == 1 && !path.is_empty() && self.ignore.matches(&path) {
            return Ok(None);
        }
        Ok(Some(Selection {
            name,
            shape: Shape::Tree,
            items,
            last_modified: None,
        }))
    }

    /// The paths that a pattern matches, in order. Links are not followed on the way (H3).
    fn expand(&self, pattern: &str) -> Result<Vec<Vec<u8>>, StepError> {
        let names: Vec<&str> = pattern.split('/').filter(|name| !name.is_empty()).collect();
        let literal = names.iter().take_while(|name| !has_wildcard(name)).count();
        let start = names[..literal].join("/");
        let resolved = self.view.resolve(start.as_bytes(), true)?;
        let Some(top) = self.view.directory(&resolved.path)? else {
            return Ok(Vec::new());
        };
        let globs: Vec<Glob> = names[literal..]
            .iter()
            .map(|name| compile(name, pattern))
            .collect::<Result<_, _>>()?;
        let mut matches = Vec::new();
        self.expand_in(&top, &globs, &mut matches)?;
        matches.sort();
        Ok(matches)
    }

    fn expand_in(
        &self,
        directory: &Directory,
        globs: &[Glob],
        matches: &mut Vec<Vec<u8>>,
    ) -> Result<(), StepError> {
        let Some((glob, rest)) = globs.split_first() else {
            return Ok(());
        };
        for name in View::names(directory)? {
            if !glob.matches(&name) {
                continue;
            }
            if rest.is_empty() {
                matches.push(join(&directory.path, &name));
            } else if let Some(next) = self.view.enter(directory, &name)? {
                self.expand_in(&next, rest, matches)?;
            }
        }
        Ok(())
    }

    /// Adds what is below a directory. Directories that are not wanted themselves are there if something below them
    /// is. No depth of them takes this process's stack.
    fn walk(&self, top: Directory, wanted: &Wanted<'_>, items: &mut Entries) -> Result<(), StepError> {
        let place = self.place_at(&top.path);
        let mut levels = vec![Level::enter(top, Vec::new(), place)?];
        while let Some(level) = levels.last_mut() {
            let Some(name) = level.names.next() else {
                if let Some((mark, _)) = level.doubtful.filter(|(_, after)| items.len() == *after) {
                    items.truncate(mark);
                }
                levels.pop();
                continue;
            };
            let Some((node, layer)) = self.view.find(&level.directory, &name)? else {
                continue;
            };
            let whole = join(&level.directory.path, &name);
            let path = join(&level.below, &name);
            let place = &level.place;
            let hidden = wanted.ignore.matches_in(&place.ignore, &whole)
                || wanted.exclude.matches_in(&place.exclude, &path);
            let included = wanted
                .include
                .is_none_or(|include| include.matches_in(&place.include, &path));
            if !node.is_directory() {
                if !hidden && included {
                    let data = self.data(&node, layer, &whole);
                    items.push(Item::new(path, node, data));
                }
                continue;
            }
            if wanted.ignore.skips(&place.ignore, &whole) || wanted.exclude.skips(&place.exclude, &path) {
                continue;
            }
            let Some(next) = self.view.enter(&level.directory, &name)? else {
                continue;
            };
            let inside = Place {
                ignore: wanted.ignore.enter(&place.ignore, &whole),
                exclude: wanted.exclude.enter(&place.exclude, &path),
                include: match wanted.include {
                    Some(include) => include.enter(&place.include, &path),
                    None => Matched::default(),
                },
            };
            let mark = items.len();
            let mut item = Item::new(path.clone(), node, Data::Nothing);
            item.implied = !included;
            items.push(item);
            let mut level = Level::enter(next, path, inside)?;
            level.doubtful = (hidden || !included).then_some((mark, items.len()));
            levels.push(level);
        }
        Ok(())
    }

    fn place_at(&self, path: &[u8]) -> Place {
        let mut ignore = Matched::default();
        for (at, &byte) in path.iter().enumerate() {
            if byte == b'/' {
                ignore = self.ignore.enter(&ignore, &path[..at]);
            }
        }
        if !path.is_empty() {
            ignore = self.ignore.enter(&ignore, path);
        }
        Place {
            ignore,
            exclude: Matched::default(),
            include: Matched::default(),
        }
    }

    fn data(&self, node: &Node, layer: usize, path: &[u8]) -> Data {
        match node.kind {
            NodeKind::File { .. } => self.view.handle(layer, path).map_or(Data::Nothing, Data::File),
            _ => Data::Nothing,
        }
    }
}

fn compile(name: &str, pattern: &str) -> Result<Glob, StepError> {
    let glob = Glob::new(name, "/").map_err(|cause| StepError::Pattern {
        pattern: pattern.to_owned(),
        cause,
    })?;
    glob.ok_or_else(|| StepError::NotFound {
        source_name: pattern.to_owned(),
        ignored: false,
    })
}

fn unescaped(path: &str) -> String {
    let mut plain = String::new();
    let mut characters = path.chars();
    while let Some(character) = characters.next() {
        plain.push(match character {
            '\\' => characters.next().unwrap_or('\\'),
            other => other,
        });
    }
    plain
}

fn show(path: &[u8]) -> String {
    String::from_utf8_lossy(path).trim_start_matches('/').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::{DiskFiles, DiskOwners};

    #[test]
    fn no_depth_of_directories_takes_the_stack() {
        let context = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(context.path().join("d/".repeat(500))).unwrap();
        let files = DiskFiles::open(context.path(), DiskOwners::Root).unwrap();
        let source = SourceFiles {
            view: View::of_disk(files),
            ignore: Ignore::default(),
        };
        let select = || {
            source
                .select_literal("d", &Ignore::default())
                .unwrap()
                .items
                .len()
        };
        let selected = std::thread::scope(|scope| {
            let small = std::thread::Builder::new().stack_size(128 << 10);
            small.spawn_scoped(scope, select).unwrap().join().unwrap()
        });
        assert_eq!(selected, 500);
    }
}
