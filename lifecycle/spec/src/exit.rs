//! Exit codes of the phases (cnb.md 1.2, lifecycle.md 1.4).

/// Why a phase ended, as the number its caller sees.
///
/// The specification reserves ranges; the members are the numbers that the reference uses within them, because
/// platforms compare with these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum ExitCode {
    /// The phase did what it was asked to.
    Success = 0,
    /// Anything that has no number of its own.
    Generic = 1,
    /// A flag that is unknown or malformed; the number is that of Go's flag package.
    Flags = 2,
    /// Wrong arguments or inputs.
    InvalidArguments = 3,
    /// `CNB_PLATFORM_API` is missing, malformed or not supported.
    PlatformApi = 11,
    /// The API of a buildpack or extension is malformed or not supported.
    BuildpackApi = 12,
    /// No group passed detection, and no buildpack had an error.
    DetectFailed = 20,
    /// No group passed detection, and at least one buildpack had an error.
    DetectFailedWithErrors = 21,
    /// Detection itself went wrong.
    Detect = 22,
    /// Analysis went wrong.
    Analyze = 32,
    /// Restoring went wrong.
    Restore = 42,
    /// A buildpack's `bin/build` failed.
    BuildpackFailed = 51,
    /// Building went wrong outside of a buildpack.
    Build = 52,
    /// Exporting went wrong.
    Export = 62,
    /// Rebasing went wrong.
    Rebase = 72,
    /// The launcher could not start the process.
    Launch = 82,
    /// An extension's `bin/generate` failed.
    ExtensionFailed = 91,
    /// Generating went wrong outside of an extension.
    Generate = 92,
    /// Applying an extension's Dockerfile went wrong.
    Extend = 102,
}

impl ExitCode {
    /// The number for the operating system.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }
}

impl From<ExitCode> for std::process::ExitCode {
    fn from(code: ExitCode) -> Self {
        Self::from(code.number())
    }
}

#[cfg(test)]
mod tests {
    use super::ExitCode;

    #[test]
    fn numbers_are_those_of_the_table_exit_01() {
        let table = [
            (ExitCode::Success, 0),
            (ExitCode::Generic, 1),
            (ExitCode::Flags, 2),
            (ExitCode::InvalidArguments, 3),
            (ExitCode::PlatformApi, 11),
            (ExitCode::BuildpackApi, 12),
            (ExitCode::DetectFailed, 20),
            (ExitCode::DetectFailedWithErrors, 21),
            (ExitCode::Detect, 22),
            (ExitCode::Analyze, 32),
            (ExitCode::Restore, 42),
            (ExitCode::BuildpackFailed, 51),
            (ExitCode::Build, 52),
            (ExitCode::Export, 62),
            (ExitCode::Rebase, 72),
            (ExitCode::Launch, 82),
            (ExitCode::ExtensionFailed, 91),
            (ExitCode::Generate, 92),
            (ExitCode::Extend, 102),
        ];
        for (code, number) in table {
            assert_eq!(code.number(), number, "{code:?}");
        }
    }
}
