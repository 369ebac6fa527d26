//! The Buildpack API: versions and what they turn on.

use std::fmt;

use super::{ApiError, parse_version};

/// A version of the Buildpack API that this lifecycle speaks. Extensions declare one of these too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(
    missing_docs,
    reason = "each name says it all; the methods say what a version brought"
)]
pub enum BuildpackApi {
    V0_7,
    V0_8,
    V0_9,
    V0_10,
    V0_11,
    V0_12,
}

impl BuildpackApi {
    /// All supported versions, ascending. None of them is deprecated.
    pub const ALL: [Self; 6] = [
        Self::V0_7,
        Self::V0_8,
        Self::V0_9,
        Self::V0_10,
        Self::V0_11,
        Self::V0_12,
    ];

    /// The newest supported version.
    pub const LATEST: Self = Self::V0_12;

    /// The version as it is written, for example `0.10`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V0_7 => "0.7",
            Self::V0_8 => "0.8",
            Self::V0_9 => "0.9",
            Self::V0_10 => "0.10",
            Self::V0_11 => "0.11",
            Self::V0_12 => "0.12",
        }
    }

    /// Accepts the `api` of a module, or says why not (BPC-01; exit 12).
    ///
    /// `kind` is `Buildpack` or `Extension` (the launcher says `buildpack`), `module` is `id@version`.
    pub fn negotiate(declared: &str, kind: &'static str, module: &str) -> Result<Self, ApiError> {
        let refused = || (module.to_owned(), declared.to_owned());
        let Some(parsed) = parse_version(declared) else {
            let (module, version) = refused();
            return Err(ApiError::ModuleMalformed {
                kind,
                module,
                version,
            });
        };
        Self::ALL
            .into_iter()
            .find(|known| parse_version(known.as_str()) == Some(parsed))
            .ok_or_else(|| {
                let (module, version) = refused();
                ApiError::ModuleUnsupported {
                    kind,
                    module,
                    version,
                }
            })
    }
}

/// What each version turned on, oldest first (cnb.md 2.18).
impl BuildpackApi {
    // ---- 0.8 ----

    /// Inputs come as `CNB_PLATFORM_DIR`, `CNB_BUILD_PLAN_PATH`, `CNB_BP_PLAN_PATH`, `CNB_LAYERS_DIR` (ENV-08).
    #[must_use]
    pub fn has_input_variables(self) -> bool {
        self >= Self::V0_8
    }

    /// A process's `working-dir` counts (LCH-06).
    #[must_use]
    pub fn has_working_dir(self) -> bool {
        self >= Self::V0_8
    }

    // ---- 0.9 ----

    /// `command` is a list, processes are always direct, `args` can be replaced by the user (LCH-04, LAU-04).
    #[must_use]
    pub fn has_command_list(self) -> bool {
        self >= Self::V0_9
    }

    // ---- 0.10 ----

    /// `CNB_TARGET_*` variables (TGT-06).
    #[must_use]
    pub fn has_target_variables(self) -> bool {
        self >= Self::V0_10
    }

    /// run.Dockerfile may hold more than `FROM`; `[[run.args]]`; `user_id` and `group_id` (DKF-01, DKF-02).
    #[must_use]
    pub fn extends_run_image(self) -> bool {
        self >= Self::V0_10
    }

    // ---- 0.12 ----

    /// `CNB_EXEC_ENV` and `exec-env` lists (XEN-02, XEN-03).
    #[must_use]
    pub fn has_exec_env(self) -> bool {
        self >= Self::V0_12
    }
}

impl fmt::Display for BuildpackApi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::BuildpackApi;
    use crate::ExitCode;

    #[test]
    fn negotiation_texts_and_exit_codes_bpc_01() {
        for (declared, kind, text) in [
            (
                "0.6",
                "Buildpack",
                "failed to set API for Buildpack 'a/b@1.2.3': buildpack API version '0.6' is incompatible with the lifecycle",
            ),
            (
                "0.13",
                "Extension",
                "failed to set API for Extension 'a/b@1.2.3': buildpack API version '0.13' is incompatible with the lifecycle",
            ),
            (
                "9",
                "buildpack",
                "failed to set API for buildpack 'a/b@1.2.3': buildpack API version '9' is incompatible with the lifecycle",
            ),
            (
                "",
                "Buildpack",
                "failed to parse buildpack API '<nil>' for buildpack 'a/b@1.2.3'",
            ),
            (
                "new",
                "buildpack",
                "failed to parse buildpack API '<nil>' for buildpack 'a/b@1.2.3'",
            ),
        ] {
            let error = BuildpackApi::negotiate(declared, kind, "a/b@1.2.3").unwrap_err();
            assert_eq!(error.to_string(), text);
            assert_eq!(error.exit_code(), ExitCode::BuildpackApi);
        }
    }

    #[test]
    fn features_begin_where_the_table_says_2_18() {
        type Feature = fn(BuildpackApi) -> bool;
        let table: [(Feature, BuildpackApi); 6] = [
            (BuildpackApi::has_input_variables, BuildpackApi::V0_8),
            (BuildpackApi::has_working_dir, BuildpackApi::V0_8),
            (BuildpackApi::has_command_list, BuildpackApi::V0_9),
            (BuildpackApi::has_target_variables, BuildpackApi::V0_10),
            (BuildpackApi::extends_run_image, BuildpackApi::V0_10),
            (BuildpackApi::has_exec_env, BuildpackApi::V0_12),
        ];
        for (row, (feature, since)) in table.into_iter().enumerate() {
            for api in BuildpackApi::ALL {
                assert_eq!(feature(api), api >= since, "row {row} at {api}");
                assert_eq!(BuildpackApi::negotiate(api.as_str(), "Buildpack", "a@1"), Ok(api));
            }
        }
    }
}
