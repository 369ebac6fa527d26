//! What this process may do with files and mounts.

use rustix::thread::CapabilitySet;

use lifecycle_layers::{OpaqueXattr, Ownership, Refused, Whiteouts};
use lifecycle_store::TreeForm;

/// What decides how layers are unpacked here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Powers {
    /// Files can be given to other users.
    pub(crate) gives_files_away: bool,
    /// Overlay marks of the kernel's own namespace can be set.
    pub(crate) trusted_xattrs: bool,
}

impl Powers {
    /// Looks at the present process.
    pub(crate) fn look() -> Self {
        let effective = rustix::thread::capabilities(None)
            .map_or(CapabilitySet::empty(), |capabilities| capabilities.effective);
        let owns_all = effective.contains(CapabilitySet::CHOWN) && !has_one_id();
        Self {
            gives_files_away: owns_all,
            trusted_xattrs: effective.contains(CapabilitySet::SYS_ADMIN) && is_first_namespace(),
        }
    }

    /// The form of extracted layers that overlay mounts and [`crate::files::View`]s read.
    pub(crate) fn tree_form(self) -> TreeForm<'static> {
        TreeForm {
            whiteouts: Whiteouts::Overlay(if self.trusted_xattrs {
                OpaqueXattr::Trusted
            } else {
                OpaqueXattr::User
            }),
            ownership: self.ownership(),
            refused: if self.trusted_xattrs {
                Refused::Fail
            } else {
                Refused::Skip
            },
            ..TreeForm::default()
        }
    }

    pub(crate) fn ownership(self) -> Ownership<'static> {
        if self.gives_files_away {
            Ownership::Keep
        } else {
            Ownership::Squash
        }
    }
}

fn uid_map() -> String {
    std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default()
}

fn is_first_namespace() -> bool {
    uid_map().split_whitespace().eq(["0", "0", "4294967295"])
}

/// A user namespace with a single id can give files to nobody, whatever its capabilities.
fn has_one_id() -> bool {
    let map = uid_map();
    let mut counts = map.lines().filter_map(|line| line.split_whitespace().nth(2));
    counts.next() == Some("1") && counts.next().is_none()
}
