//! The Platform API: versions and what they turn on.

use std::fmt;

use super::{ApiError, parse_version};

/// A version of the Platform API that this lifecycle speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(
    missing_docs,
    reason = "each name says it all; the methods say what a version brought"
)]
pub enum PlatformApi {
    V0_7,
    V0_8,
    V0_9,
    V0_10,
    V0_11,
    V0_12,
    V0_13,
    V0_14,
    V0_15,
}

impl PlatformApi {
    /// All supported versions, ascending. None of them is deprecated.
    pub const ALL: [Self; 9] = [
        Self::V0_7,
        Self::V0_8,
        Self::V0_9,
        Self::V0_10,
        Self::V0_11,
        Self::V0_12,
        Self::V0_13,
        Self::V0_14,
        Self::V0_15,
    ];

    /// The newest supported version.
    pub const LATEST: Self = Self::V0_15;

    /// The version as it is written, for example `0.12`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V0_7 => "0.7",
            Self::V0_8 => "0.8",
            Self::V0_9 => "0.9",
            Self::V0_10 => "0.10",
            Self::V0_11 => "0.11",
            Self::V0_12 => "0.12",
            Self::V0_13 => "0.13",
            Self::V0_14 => "0.14",
            Self::V0_15 => "0.15",
        }
    }

    /// Accepts the value of `CNB_PLATFORM_API`, or says why not (GEN-02, GEN-03; exit 11). `None` is "not set".
    pub fn negotiate(requested: Option<&str>) -> Result<Self, ApiError> {
        let text = requested.unwrap_or_default();
        if text.trim().is_empty() {
            return Err(ApiError::PlatformUnset);
        }
        let Some((major, minor)) = parse_version(text) else {
            return Err(ApiError::PlatformMalformed {
                version: text.to_owned(),
            });
        };
        // A 0.x version must match exactly (GEN-05), and there is no 1.0 yet.
        Self::ALL
            .into_iter()
            .find(|known| parse_version(known.as_str()) == Some((major, minor)))
            .ok_or_else(|| ApiError::PlatformUnsupported {
                version: text.to_owned(),
            })
    }
}

/// What each version turned on, oldest first (cnb.md 1.19, lifecycle.md 1.2), besides inputs of phases: the command line's
/// table of inputs says since when each phase takes which.
impl PlatformApi {
    // ---- 0.8 ----

    /// SBOM files become image and cache layers and are restored (SBOM-01, AN-10).
    #[must_use]
    pub fn has_sbom_layers(self) -> bool {
        self >= Self::V0_8
    }

    // ---- 0.9 ----

    /// The legacy bill of materials lies in metadata.toml, label and report; later in `sbom.legacy.json` (BTM-02).
    #[must_use]
    pub fn has_legacy_bom_in_metadata(self) -> bool {
        self < Self::V0_9
    }

    /// `SOURCE_DATE_EPOCH` sets the image's creation time (OWN-03).
    #[must_use]
    pub fn has_source_date_epoch(self) -> bool {
        self >= Self::V0_9
    }

    // ---- 0.10 ----

    /// `command` is a list, and the user's arguments replace a process's `args` (LAU-04).
    #[must_use]
    pub fn has_command_list(self) -> bool {
        self >= Self::V0_10
    }

    /// Image extensions: order-extensions, generate, the extender, `[build-image]` (section 3).
    #[must_use]
    pub fn has_extensions(self) -> bool {
        self >= Self::V0_10
    }

    /// `store.toml` comes back even when the creator skips restoring (CRE-03).
    #[must_use]
    pub fn restores_store_when_skipping(self) -> bool {
        self >= Self::V0_10
    }

    // ---- 0.11 ----

    /// Operator variables in the build-config directory (ENV-07).
    #[must_use]
    pub fn has_build_config(self) -> bool {
        self >= Self::V0_11
    }

    /// SBOMs of the lifecycle and its launcher are part of the result (1.14).
    #[must_use]
    pub fn has_lifecycle_sboms(self) -> bool {
        self >= Self::V0_11
    }

    /// The build label names the `api` of each module (LBL-06, X-13).
    #[must_use]
    pub fn labels_module_api(self) -> bool {
        self >= Self::V0_11
    }

    // ---- 0.12 ----

    /// `run.toml` instead of `stack.toml`; the run image must be readable (RUN-01).
    #[must_use]
    pub fn has_run_toml(self) -> bool {
        self >= Self::V0_12
    }

    /// Target data instead of stacks and mixins (AN-09, TGT-04, REB-08).
    #[must_use]
    pub fn has_targets(self) -> bool {
        self >= Self::V0_12
    }

    /// Extensions may extend the run image: `-kind`, `-extended`, `run-image.extend` (EXT-03, DET-07).
    #[must_use]
    pub fn extends_run_image(self) -> bool {
        self >= Self::V0_12
    }

    /// History entries name what made each layer (OWN-05).
    #[must_use]
    pub fn has_history(self) -> bool {
        self >= Self::V0_12
    }

    /// `runImage.image` and `runImage.mirrors` in the lifecycle label (LBL-02).
    #[must_use]
    pub fn labels_run_image_name(self) -> bool {
        self >= Self::V0_12
    }

    /// `io.buildpacks.rebasable` and the rebaser's `-force` (REB-03).
    #[must_use]
    pub fn has_rebasable(self) -> bool {
        self >= Self::V0_12
    }

    // ---- 0.13 ----

    /// Extensions need `CNB_EXPERIMENTAL_MODE` (DET-12).
    #[must_use]
    pub fn has_experimental_extensions(self) -> bool {
        self >= Self::V0_10 && self < Self::V0_13
    }

    /// `<generated>/<ext>/{run,build}.Dockerfile` and context folders (DET-11, DKF-03).
    #[must_use]
    pub fn has_generated_contexts(self) -> bool {
        self >= Self::V0_13
    }

    /// `build-image.extend` in analyzed.toml (DET-10).
    #[must_use]
    pub fn records_build_image_extend(self) -> bool {
        self >= Self::V0_13
    }

    // ---- 0.14 ----

    /// The restorer reads run.toml and checks the run image again (RES-06).
    #[must_use]
    pub fn restorer_resolves_run_image(self) -> bool {
        self >= Self::V0_14
    }

    /// A launch+cache layer that the app image lacks is restored from the cache alone (LYR-03).
    #[must_use]
    pub fn restores_launch_layers_from_cache(self) -> bool {
        self >= Self::V0_14
    }

    // ---- 0.15 ----

    /// `CNB_EXEC_ENV` chooses buildpacks and processes (2.17).
    #[must_use]
    pub fn has_exec_env(self) -> bool {
        self >= Self::V0_15
    }

    /// System buildpacks of `system.toml` (DET-03).
    #[must_use]
    pub fn has_system_buildpacks(self) -> bool {
        self >= Self::V0_15
    }
}

impl fmt::Display for PlatformApi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::PlatformApi;
    use crate::ExitCode;

    #[test]
    fn negotiation_texts_and_exit_codes_gen_02_gen_03_x_01() {
        let unset = "failed to get platform API version; please set 'CNB_PLATFORM_API' to specify the desired platform API version";
        for (requested, text) in [
            (None, unset),
            (Some(""), unset),
            (Some("  "), unset),
            (Some("bad"), "failed to parse platform API 'bad'"),
            (
                Some("0.6"),
                "failed to set platform API: platform API version '0.6' is incompatible with the lifecycle",
            ),
            (
                Some("0.16"),
                "failed to set platform API: platform API version '0.16' is incompatible with the lifecycle",
            ),
            (
                Some("1.12"),
                "failed to set platform API: platform API version '1.12' is incompatible with the lifecycle",
            ),
        ] {
            let error = PlatformApi::negotiate(requested).unwrap_err();
            assert_eq!(error.to_string(), text);
            assert_eq!(error.exit_code(), ExitCode::PlatformApi);
        }
    }

    #[test]
    fn every_version_is_accepted_as_written_and_with_v_gen_04() {
        for api in PlatformApi::ALL {
            assert_eq!(PlatformApi::negotiate(Some(api.as_str())), Ok(api));
            assert_eq!(PlatformApi::negotiate(Some(&format!("v{api}"))), Ok(api));
        }
        assert!(PlatformApi::ALL.is_sorted());
        assert_eq!(PlatformApi::ALL.last(), Some(&PlatformApi::LATEST));
    }

    /// Each row: the first version that has it.
    #[test]
    fn features_begin_where_the_table_says_1_19() {
        type Feature = fn(PlatformApi) -> bool;
        let table: [(Feature, PlatformApi); 21] = [
            (PlatformApi::has_sbom_layers, PlatformApi::V0_8),
            (|api| !api.has_legacy_bom_in_metadata(), PlatformApi::V0_9),
            (PlatformApi::has_source_date_epoch, PlatformApi::V0_9),
            (PlatformApi::has_command_list, PlatformApi::V0_10),
            (PlatformApi::has_extensions, PlatformApi::V0_10),
            (PlatformApi::restores_store_when_skipping, PlatformApi::V0_10),
            (PlatformApi::has_build_config, PlatformApi::V0_11),
            (PlatformApi::has_lifecycle_sboms, PlatformApi::V0_11),
            (PlatformApi::labels_module_api, PlatformApi::V0_11),
            (PlatformApi::has_run_toml, PlatformApi::V0_12),
            (PlatformApi::has_targets, PlatformApi::V0_12),
            (PlatformApi::extends_run_image, PlatformApi::V0_12),
            (PlatformApi::has_history, PlatformApi::V0_12),
            (PlatformApi::has_rebasable, PlatformApi::V0_12),
            (PlatformApi::labels_run_image_name, PlatformApi::V0_12),
            (PlatformApi::has_generated_contexts, PlatformApi::V0_13),
            (PlatformApi::records_build_image_extend, PlatformApi::V0_13),
            (PlatformApi::restorer_resolves_run_image, PlatformApi::V0_14),
            (PlatformApi::restores_launch_layers_from_cache, PlatformApi::V0_14),
            (PlatformApi::has_exec_env, PlatformApi::V0_15),
            (PlatformApi::has_system_buildpacks, PlatformApi::V0_15),
        ];
        for (row, (feature, since)) in table.into_iter().enumerate() {
            for api in PlatformApi::ALL {
                assert_eq!(feature(api), api >= since, "row {row} at {api}");
            }
        }
        let experimental: Vec<_> = PlatformApi::ALL
            .into_iter()
            .filter(|api| api.has_experimental_extensions())
            .collect();
        assert_eq!(
            experimental,
            [PlatformApi::V0_10, PlatformApi::V0_11, PlatformApi::V0_12]
        );
    }
}
