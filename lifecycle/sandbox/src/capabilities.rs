//! Which capabilities a step's processes can ever have.

use rustix::thread::CapabilitySet;

/// The bounding set of a step. A user other than root has none effective, whatever is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Capabilities {
    /// The 14 that container runtimes grant by default (mask `a80425fb`, rule I3).
    #[default]
    Default14,
    /// None at all, not even for root.
    None,
    /// All of the user namespace (`RUN --security=insecure`, rule I15).
    All,
}

impl Capabilities {
    pub(crate) fn set(self) -> CapabilitySet {
        match self {
            Self::Default14 => CapabilitySet::from_bits_retain(0xa804_25fb),
            Self::None => CapabilitySet::empty(),
            Self::All => CapabilitySet::all(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_set_is_the_documented_fourteen_i3() {
        let expected = CapabilitySet::CHOWN
            | CapabilitySet::DAC_OVERRIDE
            | CapabilitySet::FOWNER
            | CapabilitySet::FSETID
            | CapabilitySet::KILL
            | CapabilitySet::SETGID
            | CapabilitySet::SETUID
            | CapabilitySet::SETPCAP
            | CapabilitySet::NET_BIND_SERVICE
            | CapabilitySet::NET_RAW
            | CapabilitySet::SYS_CHROOT
            | CapabilitySet::MKNOD
            | CapabilitySet::AUDIT_WRITE
            | CapabilitySet::SETFCAP;
        assert_eq!(Capabilities::Default14.set(), expected);
        assert_eq!(expected.bits().count_ones(), 14);
    }
}
