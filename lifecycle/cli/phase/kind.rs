//! The phases by their names.

use std::fmt;

/// A phase of the platform specification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum PhaseName {
    Analyze,
    Detect,
    Restore,
    Extend,
    Build,
    Export,
    Create,
    Rebase,
}

impl PhaseName {
    pub(super) const ALL: [Self; 8] = [
        Self::Analyze,
        Self::Detect,
        Self::Restore,
        Self::Extend,
        Self::Build,
        Self::Export,
        Self::Create,
        Self::Rebase,
    ];

    /// The name of its program in a builder (GEN-08).
    pub(super) const fn program(self) -> &'static str {
        match self {
            Self::Analyze => "analyzer",
            Self::Detect => "detector",
            Self::Restore => "restorer",
            Self::Extend => "extender",
            Self::Build => "builder",
            Self::Export => "exporter",
            Self::Create => "creator",
            Self::Rebase => "rebaser",
        }
    }

    /// What it does, as in `lifecycle analyze` and `failed to analyze`.
    pub(super) const fn verb(self) -> &'static str {
        match self {
            Self::Analyze => "analyze",
            Self::Detect => "detect",
            Self::Restore => "restore",
            Self::Extend => "extend",
            Self::Build => "build",
            Self::Export => "export",
            Self::Create => "create",
            Self::Rebase => "rebase",
        }
    }

    /// The phase that a program's name stands for. An extension of the file's name does not count.
    pub(super) fn of_program(name: &str) -> Option<Self> {
        let stem = name.split('.').next().unwrap_or_default();
        Self::ALL.into_iter().find(|phase| phase.program() == stem)
    }

    /// The phase of a verb.
    pub(super) fn of_verb(verb: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|phase| phase.verb() == verb)
    }
}

impl fmt::Display for PhaseName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.verb())
    }
}
