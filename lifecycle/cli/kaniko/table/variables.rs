//! The variables that kaniko reads.

use super::Effect::{Differs, Nothing, Same};
use super::{Effect, Variable};

/// The variables, by what they are about.
pub(in super::super) const VARIABLES: &[Variable] = &[
    variable(
        "KANIKO_DIR",
        Differs("as --kaniko-dir, which wins"),
        "Directory for the state of builds",
    ),
    variable("KANIKO_NO_PUSH", Same, "As --no-push, which it beats"),
    variable(
        "KANIKO_REGISTRY_MIRROR",
        Same,
        "As --registry-mirror, in addition",
    ),
    variable("KANIKO_REGISTRY_MAP", Same, "As --registry-map, in addition"),
    variable(
        "KANIKO_PRE_CLEANUP",
        Nothing("no build uses the file system that it runs in"),
        "As --pre-cleanup",
    ),
    variable(
        "KANIKO_CLEANUP",
        Nothing("no build leaves anything in the file system that it runs in"),
        "As --cleanup",
    ),
    variable(
        "KANIKO_PRESERVE_CONTEXT",
        Nothing("no build changes the file system that it runs in"),
        "As --preserve-context",
    ),
    variable(
        "KANIKO_IGNORE_ASSERTIONS",
        Nothing("there are no such assertions"),
        "Go on after an internal error",
    ),
    variable(
        "KANIKO_PRINT_PLAN",
        Differs("the plan is written in our words"),
        "Print the plan before the build",
    ),
    variable(
        "SNAPSHOT_TIMEOUT_DURATION",
        Nothing("no step waits for the file system to be read"),
        "Limit for a snapshot",
    ),
    variable("BUILDER_OUTPUT", Same, "Directory to write the file `images` to"),
    variable("UPSTREAM_CLIENT_TYPE", Same, "Word for the User-Agent header"),
    variable(
        "DOCKER_CONFIG",
        Same,
        "Directory of the config.json with credentials",
    ),
    variable(
        "DOCKER_AUTH_CONFIG",
        Differs("it is asked first, and hides no file"),
        "The text of a config.json",
    ),
    variable(
        "REGISTRY_AUTH_FILE",
        Same,
        "File with credentials, as podman writes it",
    ),
    variable(
        "KANIKO_<REGISTRY>_USER",
        Same,
        "User for a registry, its dots and dashes as _",
    ),
    variable("KANIKO_<REGISTRY>_PASSWORD", Same, "Password for it"),
    variable("GIT_USERNAME", Same, "User for a git context"),
    variable("GIT_PASSWORD", Same, "Password for it"),
    variable("GIT_TOKEN", Same, "Token for a git context, in place of both"),
    variable(
        "GIT_PULL_METHOD",
        Same,
        "Protocol of git:// contexts: https or http",
    ),
    variable(
        "AZURE_STORAGE_ACCESS_KEY",
        Same,
        "Key of the account that holds the context",
    ),
    variable("S3_ENDPOINT", Same, "Address of a store that speaks S3"),
    variable("S3_FORCE_PATH_STYLE", Same, "Buckets are paths, not hosts"),
    variable(
        "KANIKO_TELEMETRY_ENDPOINT",
        Nothing("no telemetry is ever sent"),
        "Where telemetry goes",
    ),
    variable(
        "KANIKO_TELEMETRY_OMIT_DOCKERFILE",
        Nothing("no telemetry is ever sent"),
        "What telemetry says",
    ),
    variable(
        "OTEL_*",
        Nothing("no telemetry is ever sent"),
        "What telemetry says",
    ),
];

const fn variable(name: &'static str, effect: Effect, about: &'static str) -> Variable {
    Variable { name, effect, about }
}
