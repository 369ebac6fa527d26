//! What the kernel says of a file, by which it is known again without reading it.

use std::time::{Duration, SystemTime};

use rustix::fs::Stat;

use crate::descent::Identity;

/// A file's state: it is the same file with the same content as long as this is the same.
///
/// Device, inode, size, and the times of the last change of content and of anything, the latter of which no program can
/// set. Only what [`is_settled`](Self::is_settled) can be believed later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    identity: Identity,
    size: i64,
    /// Seconds and nanoseconds, as the next one.
    modified: (i64, i64),
    changed: (i64, i64),
}

/// Longer than the clock of a file system with fine times ticks.
const TICK: Duration = Duration::from_millis(50);

/// The same for those that keep whole seconds.
const COARSE_TICK: Duration = Duration::from_secs(3);

impl Stamp {
    /// The stamp of what was looked at.
    pub fn of(stat: &Stat) -> Self {
        #[allow(
            clippy::useless_conversion,
            clippy::unnecessary_cast,
            clippy::cast_possible_wrap,
            reason = "the fields' types differ between processors"
        )]
        Self {
            identity: Identity::of(stat),
            size: stat.st_size as i64,
            modified: (stat.st_mtime as i64, stat.st_mtime_nsec as i64),
            changed: (stat.st_ctime as i64, stat.st_ctime_nsec as i64),
        }
    }

    /// All of it, for a key or a hash.
    pub fn to_bytes(self) -> [u8; 56] {
        let (modified, changed) = (self.modified, self.changed);
        let numbers = [
            self.identity.device.cast_signed(),
            self.identity.inode.cast_signed(),
            self.size,
            modified.0,
            modified.1,
            changed.0,
            changed.1,
        ];
        let mut bytes = [0; 56];
        for (place, number) in bytes.chunks_exact_mut(8).zip(numbers) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        bytes
    }

    /// Whether the tick of the clock in which it was last changed is over: within it, it could be changed again without a
    /// trace.
    pub fn is_settled(&self) -> bool {
        self.is_settled_at(now())
    }

    fn is_settled_at(&self, now: Duration) -> bool {
        let tick = if self.changed.1 == 0 { COARSE_TICK } else { TICK };
        !self.changed_since(now.saturating_sub(tick))
    }

    /// Whether it was changed then or later, in time since 1970. What was changed before 1970 shows a clock that is wrong,
    /// so it counts as later.
    pub(crate) fn changed_since(&self, time: Duration) -> bool {
        let (seconds, nanoseconds) = self.changed;
        let changed = Duration::new(
            u64::try_from(seconds).unwrap_or(u64::MAX),
            u32::try_from(nanoseconds).unwrap_or(0),
        );
        changed >= time
    }

    /// The same but for the time of the last change, which is that of `other`.
    pub(crate) fn changed_with(self, other: &Self) -> Self {
        Self {
            changed: other.changed,
            ..self
        }
    }
}

/// The time of the system's clock, since 1970.
pub(crate) fn now() -> Duration {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    type Change = fn(&mut Stat);

    #[test]
    fn what_was_changed_within_the_tick_is_not_settled_k5() {
        const NOW: Duration = Duration::new(1000, 500_000_000);
        let is_settled = |seconds, nanoseconds| {
            let mut stat = rustix::fs::stat("/").unwrap();
            (stat.st_ctime, stat.st_ctime_nsec) = (seconds, nanoseconds);
            Stamp::of(&stat).is_settled_at(NOW)
        };
        assert!(is_settled(6, 7));
        assert!(is_settled(1000, 449_999_999));
        assert!(!is_settled(1000, 450_000_000));
        assert!(!is_settled(1000, 500_000_001), "in the future");
        assert!(!is_settled(-1, 1), "the clock was wrong");
        assert!(is_settled(997, 0));
        assert!(!is_settled(998, 0), "perhaps only whole seconds are kept");
    }

    #[test]
    fn each_part_counts() {
        let stat = rustix::fs::stat("/").unwrap();
        let same = Stamp::of(&stat);
        assert_eq!(same.to_bytes(), Stamp::of(&stat).to_bytes());
        let changes: [Change; 7] = [
            |stat| stat.st_dev += 1,
            |stat| stat.st_ino += 1,
            |stat| stat.st_size += 1,
            |stat| stat.st_mtime += 1,
            |stat| stat.st_mtime_nsec += 1,
            |stat| stat.st_ctime += 1,
            |stat| stat.st_ctime_nsec += 1,
        ];
        for change in changes {
            let mut other = stat;
            change(&mut other);
            assert_ne!(Stamp::of(&other).to_bytes(), same.to_bytes());
            assert_ne!(Stamp::of(&other), same);
        }
    }
}
