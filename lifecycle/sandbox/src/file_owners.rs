//! Who would own the files of a root, if the user namespace around it had more than one id.

use std::collections::HashMap;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::{AtFlags, Statx, StatxFlags, statx};
use rustix::io::Errno;

/// Owners by file, shared between who prepares a root, the run that changes them, and who reads the result.
///
/// A file is known by its numbers, so it keeps its owner wherever it is moved to. Numbers are given anew when a
/// file is gone; the time of its birth tells the next one from it.
#[derive(Clone, Debug, Default)]
pub struct FileOwners(Arc<Mutex<HashMap<FileId, Entry>>>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct FileId {
    device: (u32, u32),
    inode: u64,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    uid: u32,
    gid: u32,
    /// Nothing where it may change although the file stays, or is not known.
    born: Option<(i64, u32)>,
}

/// Whether a file's time of birth is its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Birth {
    /// It is.
    Kept,
    /// The file lies below an overlay: its first change makes a younger file with the same number.
    Changing,
}

impl FileOwners {
    /// No file belongs to anybody but root yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Remembers who owns the file behind a descriptor.
    pub fn insert(&self, file: impl AsFd, uid: u32, gid: u32, birth: Birth) -> std::io::Result<()> {
        let status = look_at(file)?;
        let born = born(&status).filter(|_| birth == Birth::Kept);
        self.lock().insert(id(&status), Entry { uid, gid, born });
        Ok(())
    }

    /// Who owns the file behind a descriptor, as far as that was ever said.
    pub fn get(&self, file: impl AsFd) -> std::io::Result<Option<(u32, u32)>> {
        Ok(self.find(&look_at(file)?))
    }

    /// Changes what is given, as `chown` does; what was never said is root.
    pub(crate) fn change(&self, file: impl AsFd, uid: Option<u32>, gid: Option<u32>) -> Result<(), Errno> {
        let status = look_at(file)?;
        let before = self.find(&status).unwrap_or((0, 0));
        let mut entries = self.lock();
        let known = entries.get(&id(&status)).copied();
        // A file below an overlay stays one of those.
        let changing = known.is_some_and(|entry| entry.born.is_none());
        let entry = Entry {
            uid: uid.unwrap_or(before.0),
            gid: gid.unwrap_or(before.1),
            born: born(&status).filter(|_| !changing),
        };
        entries.insert(id(&status), entry);
        Ok(())
    }

    fn find(&self, status: &Statx) -> Option<(u32, u32)> {
        let entry = self.lock().get(&id(status)).copied()?;
        let same = match (entry.born, born(status)) {
            (Some(then), Some(now)) => then == now,
            _ => true,
        };
        same.then_some((entry.uid, entry.gid))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<FileId, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn look_at(file: impl AsFd) -> Result<Statx, Errno> {
    statx(
        file,
        c"",
        AtFlags::EMPTY_PATH,
        StatxFlags::INO | StatxFlags::BTIME,
    )
}

fn id(status: &Statx) -> FileId {
    FileId {
        device: (status.stx_dev_major, status.stx_dev_minor),
        inode: status.stx_ino,
    }
}

fn born(status: &Statx) -> Option<(i64, u32)> {
    (status.stx_mask & StatxFlags::BTIME.bits() != 0)
        .then_some((status.stx_btime.tv_sec, status.stx_btime.tv_nsec))
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn a_file_keeps_its_owner_under_another_name_and_a_new_one_has_none() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let file = File::create(path("a")).unwrap();
        let owners = FileOwners::new();
        owners.insert(&file, 5, 6, Birth::Kept).unwrap();
        std::fs::rename(path("a"), path("b")).unwrap();
        let moved = File::open(path("b")).unwrap();
        assert_eq!(owners.get(&moved).unwrap(), Some((5, 6)));
        owners.change(&moved, None, Some(7)).unwrap();
        assert_eq!(owners.get(&moved).unwrap(), Some((5, 7)));
        std::fs::remove_file(path("b")).unwrap();
        drop((file, moved));
        std::thread::sleep(std::time::Duration::from_millis(30));
        for name in 0..8 {
            let next = File::create(path(&name.to_string())).unwrap();
            assert_eq!(owners.get(&next).unwrap(), None);
        }
    }
}
