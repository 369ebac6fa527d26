//! The extender's inputs: flags, and the directory that it shares with the restorer.

use std::path::{Path, PathBuf};
use std::time::Duration;

use lifecycle_dockerfile::GoDuration;
use lifecycle_layers::Packing;
use lifecycle_phases::{ExtendKind, ExtendOptions};
use lifecycle_spec::ExitCode;
use lifecycle_store::{Prune, Store};

use super::PhaseError;
use super::inputs::Inputs;
use crate::environment::Environment;
use crate::failure;

/// The directory that platforms mount into restorer and extender. Its name is part of the interface (EXT-07).
pub(super) const KANIKO: &str = "/kaniko";

/// Where the restorer puts images that will be extended.
pub(super) fn base_images() -> PathBuf {
    Path::new(KANIKO).join("cache/base")
}

/// What the phase needs to know.
pub(super) fn options(inputs: &Inputs<'_>, environment: &Environment) -> Result<ExtendOptions, PhaseError> {
    let word = inputs.text("kind").unwrap_or_default();
    let kind = ExtendKind::of(&word)
        .ok_or_else(|| PhaseError::inputs(format!("-kind is build or run, not {word:?}")))?;
    let platform = inputs.directory_or_default("platform");
    Ok(ExtendOptions {
        api: inputs.api,
        kind,
        analyzed: inputs.file("analyzed"),
        group: inputs.file("group"),
        generated: inputs.directory_or_default("generated"),
        extended: inputs.directory_or_default("extended"),
        app: inputs.directory_or_default("app"),
        base_images: base_images(),
        root: PathBuf::from("/"),
        volumes: vec![inputs.layers(), platform, PathBuf::from(KANIKO)],
        build_id: build_id()?,
        proxies: environment.proxies(),
        packing: Packing::default(),
    })
}

/// The results of earlier builds, on the same volume. What is older than the platform wants it to be is taken away
/// (GEN-15).
pub(super) fn store(inputs: &Inputs<'_>) -> Result<Store, PhaseError> {
    let text = inputs.text("kaniko-cache-ttl").unwrap_or_default();
    let ttl = GoDuration::parse(&text)
        .and_then(|duration| u64::try_from(duration.nanoseconds()).ok())
        .ok_or_else(|| {
            PhaseError::inputs(format!(
                "-kaniko-cache-ttl is a duration such as 336h, not {text:?}"
            ))
        })?;
    if !Path::new(KANIKO).is_dir() {
        let cause =
            format!("{KANIKO} is not there; the restorer and the extender need the same volume there");
        return Err(PhaseError::new("extend", cause, ExitCode::Extend));
    }
    let failed = |error: &dyn std::error::Error| error.to_string();
    let store = Store::open(&Path::new(KANIKO).join("cache/lifecycle")).map_err(|error| {
        PhaseError::new(
            "open the extender's cache",
            failure::sentence(&error),
            ExitCode::Extend,
        )
    })?;
    let policy = Prune {
        unused_for: Some(Duration::from_nanos(ttl)),
        grace: Duration::ZERO,
        ..Prune::default()
    };
    store
        .prune(&policy)
        .map_err(|error| PhaseError::new("prune the extender's cache", failed(&error), ExitCode::Extend))?;
    Ok(store)
}

/// Another one for each build (DKF-01).
fn build_id() -> Result<String, PhaseError> {
    const RANDOM: &str = "/proc/sys/kernel/random/uuid";
    fs_err::read_to_string(RANDOM)
        .map(|text| text.trim().to_owned())
        .map_err(|error| PhaseError::new("make a build id", error.to_string(), ExitCode::Generic))
}
