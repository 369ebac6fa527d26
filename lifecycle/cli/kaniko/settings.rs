//! What kaniko's flags and variables ask for, as values.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use lifecycle_dockerfile::GoDuration;
use lifecycle_image::{Compression, Family, Platform};

/// Everything that the command lines of `executor` and `warmer` say. The defaults are kaniko's.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) context: String,
    pub(super) context_sub_path: Option<PathBuf>,
    pub(super) bucket: Option<String>,
    pub(super) dockerfile: String,
    pub(super) git: GitSettings,
    pub(super) build_args: Vec<String>,
    pub(super) targets: Vec<String>,
    pub(super) platform: Option<Platform>,
    pub(super) labels: Vec<(String, String)>,
    pub(super) annotations: BTreeMap<String, String>,
    pub(super) secrets: Vec<String>,
    pub(super) ignored_paths: Vec<PathBuf>,
    pub(super) ignore_var_run: bool,
    pub(super) single_layer: bool,
    pub(super) reproducible: bool,
    pub(super) plan_only: bool,
    pub(super) destinations: Vec<String>,
    pub(super) no_push: bool,
    pub(super) tar_path: Option<PathBuf>,
    pub(super) layout_path: Option<PathBuf>,
    pub(super) digest_file: Option<String>,
    pub(super) name_digest_file: Option<String>,
    pub(super) name_tag_digest_file: Option<String>,
    pub(super) compression: Compression,
    pub(super) compression_level: Option<i32>,
    pub(super) format: Option<Family>,
    pub(super) skip_push_check: bool,
    pub(super) cache: bool,
    pub(super) cache_repo: Option<String>,
    pub(super) cache_dir: PathBuf,
    pub(super) cache_ttl: Duration,
    pub(super) cache_run_layers: bool,
    pub(super) no_push_cache: bool,
    pub(super) registry: RegistrySettings,
    pub(super) log: LogSettings,
    /// Where the state of builds is kept.
    pub(super) directory: Option<PathBuf>,
    pub(super) store: Option<PathBuf>,
    /// `warmer`: images to bring.
    pub(super) images: Vec<String>,
    /// `warmer`: also those that are there.
    pub(super) overwrite: bool,
    pub(super) user: String,
    pub(super) password: Option<String>,
    pub(super) password_from_input: bool,
}

/// How a git context is fetched.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct GitSettings {
    pub(super) branch: Option<String>,
    pub(super) submodules: bool,
    pub(super) skip_tls_verify: bool,
}

/// How registries are spoken to.
#[derive(Debug, Default)]
pub(super) struct RegistrySettings {
    pub(super) insecure: bool,
    pub(super) insecure_pull: bool,
    pub(super) skip_tls_verify: bool,
    pub(super) skip_tls_verify_pull: bool,
    pub(super) insecure_registries: Vec<String>,
    pub(super) skip_tls_verify_registries: Vec<String>,
    /// Host and file.
    pub(super) certificates: Vec<(String, String)>,
    /// Host, and certificate and key with a comma between them.
    pub(super) client_certificates: Vec<(String, String)>,
    /// Registry and what is asked in its place, in order.
    pub(super) maps: Vec<(String, String)>,
    pub(super) skip_fallback: bool,
    /// Tries after the first.
    pub(super) retries: u32,
    pub(super) ignore_immutable_tags: bool,
    /// The credential helpers to ask; nothing means all.
    pub(super) credential_helpers: Option<Vec<String>>,
}

/// What is said, and how.
#[derive(Debug)]
pub(super) struct LogSettings {
    pub(super) level: String,
    pub(super) format: String,
    pub(super) timestamps: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            context: "/workspace/".to_owned(),
            context_sub_path: None,
            bucket: None,
            dockerfile: "Dockerfile".to_owned(),
            git: GitSettings::default(),
            build_args: Vec::new(),
            targets: Vec::new(),
            platform: None,
            labels: Vec::new(),
            annotations: BTreeMap::new(),
            secrets: Vec::new(),
            ignored_paths: Vec::new(),
            ignore_var_run: false,
            single_layer: false,
            reproducible: false,
            plan_only: false,
            destinations: Vec::new(),
            no_push: false,
            tar_path: None,
            layout_path: None,
            digest_file: None,
            name_digest_file: None,
            name_tag_digest_file: None,
            compression: Compression::Gzip,
            compression_level: None,
            format: None,
            skip_push_check: false,
            cache: false,
            cache_repo: None,
            cache_dir: PathBuf::from("/cache"),
            cache_ttl: Duration::from_hours(336),
            cache_run_layers: true,
            no_push_cache: false,
            registry: RegistrySettings::default(),
            log: LogSettings {
                level: "info".to_owned(),
                format: "color".to_owned(),
                timestamps: false,
            },
            directory: None,
            store: None,
            images: Vec::new(),
            overwrite: false,
            user: String::new(),
            password: None,
            password_from_input: false,
        }
    }
}

impl GitSettings {
    /// One `key=value` of `--git`.
    pub(super) fn set(&mut self, text: &str) -> Result<(), String> {
        match pair(text)? {
            (key, value) if key == "branch" => self.branch = some(&value),
            (key, value) if key == "recurse-submodules" => self.submodules = boolean(&value)?,
            (key, value) if key == "insecure-skip-tls" => self.skip_tls_verify = boolean(&value)?,
            // Only what the build needs is fetched, whatever these say.
            (key, value) if key == "single-branch" => drop(boolean(&value)?),
            (key, value) if key == "depth" => drop(number(&value)?),
            (key, _) => {
                let known = "branch, single-branch, depth, recurse-submodules, insecure-skip-tls";
                return Err(format!("{key} is not one of {known}"));
            }
        }
        Ok(())
    }
}

/// Nothing for the empty text, which job templates give for what they do not use.
pub(super) fn some(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

/// Go's `ParseBool`.
pub(super) fn boolean(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        _ => Err(format!("parsing {text:?}: invalid syntax")),
    }
}

/// A whole number.
pub(super) fn number(text: &str) -> Result<i32, String> {
    text.parse()
        .map_err(|_| format!("parsing {text:?}: invalid syntax"))
}

/// A number of tries; less than none is none.
pub(super) fn tries(text: &str) -> Result<u32, String> {
    Ok(u32::try_from(number(text)?).unwrap_or(0))
}

/// A length of time, as in `336h`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let parsed = GoDuration::parse(text).and_then(|time| u64::try_from(time.nanoseconds()).ok());
    parsed
        .map(Duration::from_nanos)
        .ok_or_else(|| format!("time: invalid duration {text:?}"))
}

/// `KEY=VALUE`.
pub(super) fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) => Ok((key.to_owned(), value.to_owned())),
        None => Err("expected key=value".to_owned()),
    }
}

/// `ORIGIN=MIRROR[;ORIGIN=MIRROR…]`.
pub(super) fn maps(text: &str) -> Result<Vec<(String, String)>, String> {
    text.split(';')
        .filter(|part| !part.is_empty())
        .map(pair)
        .collect()
}

/// One of several words.
pub(super) fn one_of(text: &str, words: &[&str]) -> Result<(), String> {
    if words.contains(&text) {
        Ok(())
    } else {
        Err(format!("must be one of {}", words.join(", ")))
    }
}
