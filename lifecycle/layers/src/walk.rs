//! Walks a directory tree in a fixed order, on directory handles, in bounded memory and with few handles.

use std::ffi::CStr;
use std::io;
use std::os::fd::BorrowedFd;

use rustix::fs::{AtFlags, FileType, RawDir, Stat, statat};

use crate::descent::Descent;
use crate::{Device, Kind, Owner};

/// The order of a walk. Siblings are sorted by the bytes of their names in both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// A directory is followed by what is in it: `a`, `a/c`, `a-b`.
    DepthFirst,
    /// Whole paths are sorted as strings: `a`, `a-b`, `a/c`, because `-` sorts before `/`.
    WholePath,
}

/// A walk through everything below a directory; the directory itself is not part of it.
#[derive(Debug)]
pub(crate) struct Walk {
    order: Order,
    descent: Descent,
    listings: Vec<Listing>,
    /// The path of the current entry, relative to the root.
    path: Vec<u8>,
    /// The length of the current directory's path.
    base: usize,
    /// In depth-first order, the directory that was handed out last and is entered next.
    entering: bool,
    scratch: Vec<u8>,
}

/// An entry of a walk.
#[derive(Debug)]
pub(crate) struct Found<'a> {
    /// Its path below the root of the walk.
    pub(crate) path: &'a [u8],
    /// Its name in its directory.
    pub(crate) name: &'a CStr,
    /// Its directory.
    pub(crate) directory: BorrowedFd<'a>,
    /// What it is, without following links.
    pub(crate) stat: Stat,
}

impl Found<'_> {
    /// How many directories lie between the root of the walk and the entry.
    pub(crate) fn depth(&self) -> usize {
        self.path.split(|&byte| byte == b'/').count() - 1
    }
}

/// A walk stopped.
#[derive(Debug)]
pub(crate) struct WalkError {
    /// Where, relative to the root.
    pub(crate) path: Vec<u8>,
    /// Why.
    pub(crate) cause: io::Error,
}

impl Walk {
    /// Walks everything below `root`.
    pub(crate) fn new(root: BorrowedFd<'_>, order: Order) -> io::Result<Self> {
        let descent = Descent::new(root)?;
        let mut scratch = Vec::with_capacity(32 << 10);
        let listing = Listing::read(descent.here(), order, &mut scratch)?;
        Ok(Self {
            order,
            descent,
            listings: vec![listing],
            path: Vec::new(),
            base: 0,
            entering: false,
            scratch,
        })
    }

    /// The next entry.
    pub(crate) fn next(&mut self) -> Option<Result<Found<'_>, WalkError>> {
        match self.advance() {
            Ok(Some(stat)) => {
                let name = self.listings.last().and_then(Listing::current)?.name;
                Some(Ok(Found {
                    path: &self.path,
                    name,
                    directory: self.descent.here(),
                    stat,
                }))
            }
            Ok(None) => None,
            Err(cause) => Some(Err(WalkError {
                path: self.path.clone(),
                cause,
            })),
        }
    }

    /// Leaves out what is below the directory that was handed out last. Only for depth-first walks.
    pub(crate) fn skip(&mut self) {
        self.entering = false;
    }

    /// Goes to the next entry: its metadata, or nothing at the end.
    fn advance(&mut self) -> io::Result<Option<Stat>> {
        if std::mem::take(&mut self.entering) {
            self.enter()?;
        }
        loop {
            let Some(listing) = self.listings.last_mut() else {
                return Ok(None);
            };
            let Some(item) = listing.advance() else {
                self.leave()?;
                continue;
            };
            self.path.truncate(self.base);
            if self.base > 0 {
                self.path.push(b'/');
            }
            self.path.extend_from_slice(item.name.to_bytes());
            if item.inside {
                self.enter()?;
                continue;
            }
            let stat = statat(self.descent.here(), item.name, AtFlags::SYMLINK_NOFOLLOW)?;
            self.entering = self.order == Order::DepthFirst
                && FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
            return Ok(Some(stat));
        }
    }

    fn enter(&mut self) -> io::Result<()> {
        let Some(item) = self.listings.last().and_then(Listing::current) else {
            return Ok(());
        };
        self.descent.enter(item.name)?;
        let listing = Listing::read(self.descent.here(), self.order, &mut self.scratch)?;
        self.listings.push(listing);
        self.base = self.path.len();
        Ok(())
    }

    fn leave(&mut self) -> io::Result<()> {
        self.listings.pop();
        if !self.listings.is_empty() {
            self.descent.leave()?;
        }
        self.path.truncate(self.base);
        self.base = self.path.iter().rposition(|&byte| byte == b'/').unwrap_or(0);
        Ok(())
    }
}

/// The names in a directory, sorted, in one piece of memory.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    /// Names with their final NUL, one after the other.
    names: Vec<u8>,
    items: Vec<Position>,
    next: usize,
}

#[derive(Debug, Clone, Copy)]
struct Position {
    start: usize,
    /// Without the NUL.
    length: usize,
    /// Not the directory itself, but the place where what is in it comes.
    inside: bool,
}

/// A name of a listing.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Item<'a> {
    pub(crate) name: &'a CStr,
    inside: bool,
}

impl Listing {
    /// Lists a directory. `scratch` is memory for the kernel to write to.
    pub(crate) fn read(directory: BorrowedFd<'_>, order: Order, scratch: &mut Vec<u8>) -> io::Result<Self> {
        let mut listing = Self::default();
        scratch.clear();
        scratch.reserve(32 << 10);
        let mut entries = RawDir::new(directory, scratch.spare_capacity_mut());
        while let Some(entry) = entries.next() {
            let entry = entry?;
            let name = entry.file_name().to_bytes_with_nul();
            if matches!(name, b".\0" | b"..\0") {
                continue;
            }
            let position = Position {
                start: listing.names.len(),
                length: name.len() - 1,
                inside: false,
            };
            listing.names.extend_from_slice(name);
            listing.items.push(position);
            if order == Order::WholePath {
                let is_directory = match entry.file_type() {
                    FileType::Unknown => {
                        let stat = statat(directory, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW)?;
                        FileType::from_raw_mode(stat.st_mode) == FileType::Directory
                    }
                    known => known == FileType::Directory,
                };
                if is_directory {
                    listing.items.push(Position {
                        inside: true,
                        ..position
                    });
                }
            }
        }
        let names = &listing.names;
        let key = |item: &Position| {
            let slash: &[u8] = if item.inside { b"/" } else { b"" };
            names[item.start..item.start + item.length].iter().chain(slash)
        };
        listing.items.sort_unstable_by(|a, b| key(a).cmp(key(b)));
        Ok(listing)
    }

    /// The names, sorted.
    pub(crate) fn names(&self) -> impl Iterator<Item = &CStr> {
        self.items
            .iter()
            .filter(|item| !item.inside)
            .filter_map(|item| self.item(item).map(|item| item.name))
    }

    fn advance(&mut self) -> Option<Item<'_>> {
        self.next += 1;
        self.current()
    }

    fn current(&self) -> Option<Item<'_>> {
        self.item(self.items.get(self.next.checked_sub(1)?)?)
    }

    fn item(&self, position: &Position) -> Option<Item<'_>> {
        let bytes = &self.names[position.start..=position.start + position.length];
        Some(Item {
            name: CStr::from_bytes_with_nul(bytes).ok()?,
            inside: position.inside,
        })
    }
}

/// The part of a file's metadata that layers keep.
pub(crate) fn owner(stat: &Stat) -> Owner {
    Owner::new(stat.st_uid, stat.st_gid)
}

/// What an entry is, or nothing for a socket, which layers do not have (cnb.md OWN-06).
pub(crate) fn kind(found: &Found<'_>) -> io::Result<Option<Kind<'static>>> {
    let stat = &found.stat;
    #[allow(
        clippy::useless_conversion,
        reason = "the field's type differs between processors"
    )]
    let device = || {
        let number = stat.st_rdev.into();
        Device {
            major: rustix::fs::major(number),
            minor: rustix::fs::minor(number),
        }
    };
    Ok(Some(match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Kind::File {
            size: u64::try_from(stat.st_size).unwrap_or(0),
        },
        FileType::Directory => Kind::Directory,
        FileType::Symlink => {
            let target = rustix::fs::readlinkat(found.directory, found.name, Vec::new())?;
            Kind::Symlink(target.into_bytes().into())
        }
        FileType::Fifo => Kind::Fifo,
        FileType::CharacterDevice => Kind::CharDevice(device()),
        FileType::BlockDevice => Kind::BlockDevice(device()),
        FileType::Socket | FileType::Unknown => return Ok(None),
    }))
}

/// Whether an entry says, in an overlay's layer, that its name is gone.
pub(crate) fn is_whiteout(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

/// Permission bits with set-user-ID, set-group-ID and sticky bits.
pub(crate) fn mode(stat: &Stat) -> u32 {
    stat.st_mode & 0o7777
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::fd::AsFd;

    use super::*;

    fn paths(root: &std::path::Path, order: Order) -> Vec<String> {
        let root = fs::File::open(root).unwrap();
        let mut walk = Walk::new(root.as_fd(), order).unwrap();
        let mut out = Vec::new();
        while let Some(found) = walk.next() {
            out.push(String::from_utf8_lossy(found.unwrap().path).into_owned());
        }
        out
    }

    #[test]
    fn both_orders_sort_by_bytes() {
        let root = tempfile::tempdir().unwrap();
        for file in ["a/c", "a-b/d", "a.x", "B", "a/b/z"] {
            let file = root.path().join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, "").unwrap();
        }
        assert_eq!(
            paths(root.path(), Order::DepthFirst),
            ["B", "a", "a/b", "a/b/z", "a/c", "a-b", "a-b/d", "a.x"]
        );
        assert_eq!(
            paths(root.path(), Order::WholePath),
            ["B", "a", "a-b", "a-b/d", "a.x", "a/b", "a/b/z", "a/c"]
        );
    }

    #[test]
    fn five_thousand_levels_need_few_handles() {
        let root = tempfile::tempdir().unwrap();
        let mut here = std::os::fd::OwnedFd::from(fs::File::open(root.path()).unwrap());
        for _ in 0..5_000 {
            rustix::fs::mkdirat(&here, c"deep", rustix::fs::Mode::RWXU).unwrap();
            here = rustix::fs::openat(
                &here,
                c"deep",
                crate::descent::DIRECTORY,
                rustix::fs::Mode::empty(),
            )
            .unwrap();
        }
        for order in [Order::DepthFirst, Order::WholePath] {
            let handle = fs::File::open(root.path()).unwrap();
            let mut walk = Walk::new(handle.as_fd(), order).unwrap();
            let mut count = 0;
            while let Some(found) = walk.next() {
                found.unwrap();
                count += 1;
                assert!(walk.descent.depth() <= 5_000);
            }
            assert_eq!(count, 5_000);
        }
        crate::tree::remove(
            fs::File::open(root.path().parent().unwrap()).unwrap().as_fd(),
            root.path().file_name().unwrap(),
        )
        .unwrap();
    }
}
