//! The room on the disks that a build writes to.

use std::path::Path;

/// Where a pod gets its room from, as lines of its manifest.
pub const ROOM_IN_A_POD: &str = "in a pod: the volume, `emptyDir: {sizeLimit: …}` or a larger claim, and \
                                 `resources: {limits: {ephemeral-storage: …}}`, which --ephemeral-storage sets";

/// Less than this is none: no program can go on with it.
const NOTHING: u64 = 64 << 10;

/// What to say when a program has failed and one of these directories is on a disk without room.
pub fn exhausted<'a>(directories: impl IntoIterator<Item = &'a Path>) -> Option<String> {
    let full = directories.into_iter().find(|directory| is_full(directory))?;
    Some(format!(
        "no space is left at {} ({ROOM_IN_A_POD})",
        full.display()
    ))
}

fn is_full(directory: &Path) -> bool {
    let Ok(room) = rustix::fs::statvfs(directory) else {
        return false;
    };
    // File systems that count no files have none left and none at all.
    let has_no_files = room.f_files > 0 && room.f_favail == 0;
    let has_no_bytes = room.f_blocks > 0 && room.f_bavail.saturating_mul(room.f_frsize) < NOTHING;
    has_no_files || has_no_bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_room_or_knows_no_room_is_not_full() {
        let directory = tempfile::tempdir().unwrap();
        let paths = [directory.path(), Path::new("/proc"), Path::new("/nowhere")];
        assert_eq!(exhausted(paths), None);
    }
}
