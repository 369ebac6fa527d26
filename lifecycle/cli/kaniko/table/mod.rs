//! kaniko's flags and variables in one place: what each is, what it does here, and how it differs.
//!
//! The command lines are read by these tables, their help is written from them, and docs/kaniko.md has to say the same.

#[cfg(test)]
mod document;
mod executor;
mod features;
mod registry;
mod variables;
mod warmer;

use std::path::PathBuf;

use lifecycle_image::InvalidPlatform;

use super::settings::{self, Settings};

pub(super) use self::executor::{EXECUTOR, LOGIN, PUSH};
pub(super) use self::features::{FEATURES, Holds, PREFIX};
pub(super) use self::registry::{LOGGING, REGISTRY};
pub(super) use self::variables::VARIABLES;
pub(super) use self::warmer::WARMER;

/// A flag.
#[derive(Debug)]
pub(super) struct Flag {
    /// Its name without dashes.
    pub(super) name: &'static str,
    /// Its one letter, if it has one.
    pub(super) short: Option<char>,
    /// What its value is.
    pub(super) kind: Kind,
    /// Puts a value where it belongs; the error is the reason why it is none.
    pub(super) set: fn(&mut Settings, &str) -> Result<(), String>,
    /// What it does here.
    pub(super) effect: Effect,
    /// What it is for.
    pub(super) about: &'static str,
}

/// What the value of a flag is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// `true` or `false`; the flag alone is `true`.
    Switch,
    /// Any text.
    Text,
    /// Any text, again and again.
    List,
    /// A whole number.
    Number,
    /// A length of time, as in `336h`.
    Duration,
}

/// What something of kaniko's does here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    /// The same.
    Same,
    /// What it is for, with a difference.
    Differs(&'static str),
    /// Nothing: it is accepted, and the log says once why it has no meaning.
    Nothing(&'static str),
}

/// A variable of the environment.
#[derive(Debug)]
pub(super) struct Variable {
    /// Its name; `*` and `<…>` stand for any text.
    pub(super) name: &'static str,
    /// What it does here.
    pub(super) effect: Effect,
    /// What it is for.
    pub(super) about: &'static str,
}

impl Flag {
    /// As it is written: `-d, --destination`.
    pub(super) fn written(&self) -> String {
        match self.short {
            Some(short) => format!("-{short}, --{}", self.name),
            None => format!("--{}", self.name),
        }
    }
}

impl Kind {
    /// What stands for a value in the help.
    pub(super) fn shown(self) -> &'static str {
        match self {
            Self::Switch => "",
            Self::Text => " TEXT",
            Self::List => " TEXT...",
            Self::Number => " NUMBER",
            Self::Duration => " DURATION",
        }
    }
}

type Set = fn(&mut Settings, &str) -> Result<(), String>;

const fn flag(name: &'static str, kind: Kind, set: Set, effect: Effect, about: &'static str) -> Flag {
    Flag {
        name,
        short: None,
        kind,
        set,
        effect,
        about,
    }
}

const fn letter(
    short: char,
    name: &'static str,
    kind: Kind,
    set: Set,
    effect: Effect,
    about: &'static str,
) -> Flag {
    Flag {
        short: Some(short),
        ..flag(name, kind, set, effect, about)
    }
}

#[expect(clippy::unnecessary_wraps, reason = "what a row of the tables calls can fail")]
fn set<T>(place: &mut T, value: T) -> Result<(), String> {
    *place = value;
    Ok(())
}

#[expect(clippy::unnecessary_wraps, reason = "what a row of the tables calls can fail")]
fn push<T>(list: &mut Vec<T>, value: impl Into<T>) -> Result<(), String> {
    list.push(value.into());
    Ok(())
}

/// A switch without an effect still is `true` or `false`.
fn check(_: &mut Settings, value: &str) -> Result<(), String> {
    settings::boolean(value).map(drop)
}

fn path(text: &str) -> Option<PathBuf> {
    settings::some(text).map(PathBuf::from)
}

fn platform(settings: &mut Settings, value: &str) -> Result<(), String> {
    let platform = settings::some(value).map(|value| value.parse()).transpose();
    set(
        &mut settings.platform,
        platform.map_err(|error: InvalidPlatform| error.to_string())?,
    )
}

/// One number of tries is enough for all.
fn retries(settings: &mut Settings, tries: u32) -> Result<(), String> {
    let known = settings.registry.retries;
    set(&mut settings.registry.retries, known.max(tries))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const TOOLS: [&[&[Flag]]; 4] = [
        &[EXECUTOR, REGISTRY, LOGGING],
        &[WARMER, REGISTRY, LOGGING],
        &[LOGIN, LOGGING],
        &[PUSH, REGISTRY, LOGGING],
    ];

    #[test]
    fn no_tool_has_a_flag_or_letter_twice() {
        for tables in TOOLS {
            let flags = || tables.iter().flat_map(|table| table.iter());
            let names: BTreeSet<_> = flags().map(|flag| flag.name).collect();
            assert_eq!(names.len(), flags().count());
            let letters: Vec<_> = flags().filter_map(|flag| flag.short).collect();
            assert_eq!(letters.iter().collect::<BTreeSet<_>>().len(), letters.len());
        }
    }

    /// Everything that the living fork's command line had at 1.28 (kaniko.md 1.1).
    #[test]
    fn every_flag_of_kaniko_is_known_1_1() {
        let known = |tables: &[&[Flag]], name: &str| {
            tables
                .iter()
                .any(|table| table.iter().any(|flag| flag.name == name))
        };
        let executor = "dockerfile context context-sub-path bucket build-arg target custom-platform label annotation secret \
            git single-snapshot snapshot-mode use-new-run ignore-path ignore-var-run kaniko-dir image-fs-extract-retry \
            materialize preserve-context pre-cleanup cleanup dryrun force destination no-push tar-path oci-layout-path \
            digest-file image-name-with-digest-file image-name-tag-with-digest-file compression compression-level \
            image-format reproducible skip-push-permission-check push-retry push-ignore-immutable-tag-errors cache \
            cache-repo cache-dir cache-ttl cache-run-layers cache-copy-layers no-push-cache compressed-caching insecure \
            insecure-pull skip-tls-verify skip-tls-verify-pull insecure-registry skip-tls-verify-registry \
            registry-certificate registry-client-cert registry-mirror registry-map skip-default-registry-fallback \
            image-download-retry credential-helpers verbosity log-format log-timestamp snapshotMode customPlatform tarPath \
            whitelist-var-run force-build-metadata skip-unused-stages azure-container-registry-config";
        let warmer = "image cache-dir dockerfile force cache-ttl customPlatform build-arg insecure-pull skip-tls-verify-pull \
            insecure-registry skip-tls-verify-registry registry-certificate registry-client-cert registry-map \
            registry-mirror skip-default-registry-fallback verbosity log-format log-timestamp";
        for (names, tables) in [(executor, TOOLS[0]), (warmer, TOOLS[1])] {
            for name in names.split_whitespace() {
                assert!(known(tables, name), "{name}");
            }
        }
    }

    #[test]
    fn every_variable_of_kaniko_is_known_1_2() {
        let names = "KANIKO_DIR KANIKO_NO_PUSH KANIKO_REGISTRY_MIRROR KANIKO_REGISTRY_MAP KANIKO_PRE_CLEANUP KANIKO_CLEANUP \
            KANIKO_PRESERVE_CONTEXT KANIKO_IGNORE_ASSERTIONS KANIKO_PRINT_PLAN SNAPSHOT_TIMEOUT_DURATION BUILDER_OUTPUT \
            UPSTREAM_CLIENT_TYPE DOCKER_CONFIG DOCKER_AUTH_CONFIG REGISTRY_AUTH_FILE KANIKO_<REGISTRY>_USER \
            KANIKO_<REGISTRY>_PASSWORD GIT_USERNAME GIT_PASSWORD GIT_TOKEN GIT_PULL_METHOD AZURE_STORAGE_ACCESS_KEY \
            S3_ENDPOINT S3_FORCE_PATH_STYLE KANIKO_TELEMETRY_ENDPOINT KANIKO_TELEMETRY_OMIT_DOCKERFILE OTEL_*";
        for name in names.split_whitespace() {
            assert!(VARIABLES.iter().any(|variable| variable.name == name), "{name}");
        }
        assert_eq!(FEATURES.len(), 37, "kaniko.md 1.3");
    }
}
