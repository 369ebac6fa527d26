//! Creating: analyze, detect, restore, build and export in one process (CRE-*).

mod error;
mod options;
mod report;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use lifecycle_store::Store;

pub use error::CreateError;
pub use options::CreateOptions;
pub use report::CreateReport;

use crate::{CacheOptions, Cancellation, Images, Reporter, analyze, build, detect, export, restore};

/// Runs the five phases, one after the other, with the files between them where the options say.
///
/// # Errors
/// The first phase that fails ends it. A group with extensions fails: they need a process of their own (CRE-04).
pub fn create(
    options: &CreateOptions,
    images: &Images<'_>,
    cache: &CacheOptions<'_>,
    store: &Store,
    cancellation: &Cancellation,
    reporter: &Arc<dyn Reporter>,
) -> Result<CreateReport, CreateError> {
    let analyzed = analyze(&options.analyze, images, cache.image.as_ref(), &**reporter)?;
    let detected = detect(&options.detect, cancellation, &**reporter)?;
    if !detected.group.extensions.is_empty() {
        return Err(CreateError::Extensions);
    }
    // Before Platform API 0.10, skipping meant that not even store.toml came back (CRE-03).
    let restored = if options.restore.skip_layers && !options.restore.api.restores_store_when_skipping() {
        crate::RestoreReport::default()
    } else {
        // The run image has just been looked at.
        restore(&options.restore, None, None, cache, &**reporter)?
    };
    let built = build(&options.build, cancellation, &**reporter)?;
    let exported = export(&options.export, images, cache, store, reporter)?;
    Ok(CreateReport {
        analyzed,
        detected,
        restored,
        built,
        exported,
    })
}
