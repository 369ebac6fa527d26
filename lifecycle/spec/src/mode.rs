//! What the platform wants done about experimental things (cnb.md 1.10). Nothing that is supported is deprecated, so
//! `CNB_DEPRECATION_MODE` has nothing to decide (MODE-02).

use std::str::FromStr;

/// A mode variable has a value that means nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown mode `{0}`: it is one of warn, error, silent and quiet")]
pub struct ModeError(pub String);

/// `CNB_EXPERIMENTAL_MODE` (MODE-01). Not set means [`Error`](Self::Error).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ExperimentalMode {
    /// Warn and go on.
    Warn,
    /// Fail.
    #[default]
    Error,
    /// Go on. `quiet` is a synonym (MODE-03).
    Silent,
}

impl FromStr for ExperimentalMode {
    type Err = ModeError;

    fn from_str(text: &str) -> Result<Self, ModeError> {
        match text {
            "warn" => Ok(Self::Warn),
            "" | "error" => Ok(Self::Error),
            "silent" | "quiet" => Ok(Self::Silent),
            other => Err(ModeError(other.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::ExperimentalMode;

    #[test]
    fn values_and_default_mode_01_mode_03() {
        assert_eq!("".parse(), Ok(ExperimentalMode::Error));
        for word in ["silent", "quiet"] {
            assert_eq!(word.parse(), Ok(ExperimentalMode::Silent));
        }
        assert_eq!("warn".parse(), Ok(ExperimentalMode::Warn));
        let error = "loud".parse::<ExperimentalMode>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "unknown mode `loud`: it is one of warn, error, silent and quiet"
        );
    }
}
