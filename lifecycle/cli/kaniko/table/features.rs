//! kaniko's feature flags: variables that change behaviour. None is needed here.

/// What their names begin with.
pub(in super::super) const PREFIX: &str = "FF_KANIKO_";

/// Whether the behaviour that a feature flag brings holds here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Holds {
    /// It always does.
    Always,
    /// It never does, for this reason.
    Never(&'static str),
    /// There is nothing that it could change, for this reason.
    Gone(&'static str),
}

use Holds::{Always, Gone, Never};

const IN_PLACE: &str = "builds do not use the file system that they run in";
const BUILDKIT: &str = "the rules of BuildKit hold";

/// The names without their prefix.
pub(in super::super) const FEATURES: &[(&str, Holds)] = &[
    ("BUILDKIT_ARG_ENV_PRECEDENCE", Always),
    (
        "CACHE_LOOKAHEAD",
        Gone("results are not looked up one after another"),
    ),
    ("CACHE_PROBE_AFTER_MISS", Always),
    ("CHOWN_ON_IMPLICIT_DIRS", Gone(BUILDKIT)),
    ("CLEAN_KANIKO_DIR", Gone(IN_PLACE)),
    ("COPY_AS_ROOT", Always),
    ("COPY_CHMOD_ON_IMPLICIT_DIRS", Gone(BUILDKIT)),
    ("CROSS_REPO_MOUNT", Always),
    ("DEPRECATE_INTER_STAGE_RESTORE", Gone(IN_PLACE)),
    ("DISABLE_HTTP2", Never("what a registry offers is used")),
    ("EXPAND_HEREDOC", Always),
    ("HASH_DIR_FRAMING", Always),
    ("IGNORE_CACHED_MANIFEST", Gone("a result is no image")),
    ("INFER_CROSS_STAGE_CACHE_KEY", Always),
    ("NO_PROPAGATE_ANNOTATIONS", Always),
    ("OCI_SCRATCH_BASE", Always),
    ("OCI_WARMER", Always),
    ("PATH_SCOPED_REGISTRY_AUTH", Always),
    ("PRECOMPILE_DOCKERIGNORE", Always),
    ("PRESERVE_HARDLINKS", Always),
    ("PRESERVE_MOUNTED_PATHS", Gone(IN_PLACE)),
    ("RELATIVE_LINK_TARGETS", Always),
    ("REPRODUCIBLE_PRESERVE_BASE_LAYERS", Always),
    ("RESOLVE_CACHE_KEY", Always),
    ("ROLLING_CACHE_KEY", Always),
    ("RUN_HONOR_GROUP", Always),
    ("RUN_MOUNT_BIND", Always),
    ("RUN_VIA_TINI", Gone("no process of a step outlives it")),
    ("SCOPED_DOCKERIGNORE", Always),
    ("SECUREJOIN_EXTRACTION", Always),
    ("SHARED_BASE_CACHE", Always),
    ("SKIP_CACHED_STAGES", Always),
    ("SKIP_RELABEL_RECOMPRESS", Always),
    ("SKIP_WRITE_WHITEOUTS", Gone(IN_PLACE)),
    ("UNTAR_SKIP_ROOT", Gone(IN_PLACE)),
    ("VOLUME_SKIP_MKDIR", Always),
    ("WARMER_CACHE_LOCK", Always),
];
