//! API versions: which exist, what each turns on, and how a requested one is accepted or refused.
//!
//! [`PlatformApi`] and [`BuildpackApi`] are ordered, so "since 0.12" is a comparison. No other module compares them:
//! every difference between versions is a method here, in the order in which the versions brought it.

mod buildpack;
mod platform;

pub use buildpack::BuildpackApi;
pub use platform::PlatformApi;

use crate::ExitCode;

/// A version was not accepted. The texts are matched by platforms and their tests (lifecycle.md 1.2).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApiError {
    /// `CNB_PLATFORM_API` is empty, blank or not set.
    #[error(
        "failed to get platform API version; please set 'CNB_PLATFORM_API' to specify the desired platform API version"
    )]
    PlatformUnset,
    /// `CNB_PLATFORM_API` is not a version.
    #[error("failed to parse platform API '{version}'")]
    PlatformMalformed {
        /// What was asked for.
        version: String,
    },
    /// `CNB_PLATFORM_API` is a version that does not exist here.
    #[error(
        "failed to set platform API: platform API version '{version}' is incompatible with the lifecycle"
    )]
    PlatformUnsupported {
        /// What was asked for.
        version: String,
    },
    /// A module's `api` is not a version. The `<nil>` has been in this text for so long that tests expect it.
    #[error("failed to parse buildpack API '<nil>' for {} '{module}'", kind.to_lowercase())]
    ModuleMalformed {
        /// `Buildpack`, `Extension`, or `buildpack` when the launcher says it.
        kind: &'static str,
        /// The module as `id@version`.
        module: String,
        /// What the module declares.
        version: String,
    },
    /// A module's `api` is a version that does not exist here.
    #[error(
        "failed to set API for {kind} '{module}': buildpack API version '{version}' is incompatible with the lifecycle"
    )]
    ModuleUnsupported {
        /// `Buildpack`, `Extension`, or `buildpack` when the launcher says it.
        kind: &'static str,
        /// The module as `id@version`.
        module: String,
        /// What the module declares.
        version: String,
    },
}

impl ApiError {
    /// 11 for the platform's version, 12 for a module's.
    #[must_use]
    pub const fn exit_code(&self) -> ExitCode {
        match self {
            Self::PlatformUnset | Self::PlatformMalformed { .. } | Self::PlatformUnsupported { .. } => {
                ExitCode::PlatformApi
            }
            Self::ModuleMalformed { .. } | Self::ModuleUnsupported { .. } => ExitCode::BuildpackApi,
        }
    }
}

/// Reads `[v]MAJOR[.MINOR]`, the grammar of GEN-04. A missing minor is 0.
fn parse_version(text: &str) -> Option<(u64, u64)> {
    let digits = text.strip_prefix('v').unwrap_or(text);
    let (major, minor) = digits.split_once('.').unwrap_or((digits, "0"));
    Some((parse_part(major)?, parse_part(minor)?))
}

fn parse_part(text: &str) -> Option<u64> {
    // `u64::from_str` would also take a leading plus sign.
    text.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| text.parse().ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::parse_version;

    #[test]
    fn version_grammar_gen_04() {
        for (text, parsed) in [
            ("0.12", Some((0, 12))),
            ("v0.12", Some((0, 12))),
            ("1", Some((1, 0))),
            ("18446744073709551615.0", Some((u64::MAX, 0))),
            ("18446744073709551616.0", None),
            ("", None),
            ("v", None),
            (".", None),
            ("0.", None),
            (".7", None),
            ("+0.7", None),
            ("0.+7", None),
            ("0.7.1", None),
            (" 0.7", None),
            ("vv0.7", None),
            ("0,7", None),
        ] {
            assert_eq!(parse_version(text), parsed, "{text:?}");
        }
    }
}
