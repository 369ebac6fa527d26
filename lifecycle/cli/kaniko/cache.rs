//! `--cache` and what belongs to it: where results of builds are had from and kept.

use std::sync::Arc;

use lifecycle_executor::NoCache;
use lifecycle_executor::cache::{CacheMode, CacheSource, CacheTarget};
use lifecycle_image::layout::Layout;
use lifecycle_image::{Reference, Sink, Source};

use super::settings::Settings;
use crate::caches::{Keeping, LazyLayout};
use crate::failure::Failure;
use crate::session::Session;

/// What the artifact with the results is called in the cache repository. kaniko's own tags are digests.
const TAG: &str = "lifecycle";

/// Where results are kept between builds, besides the store.
#[derive(Debug)]
enum Place {
    Registry(Reference),
    Layout(std::path::PathBuf),
}

/// Which results of earlier builds may be taken at all.
pub(super) fn allowed(settings: &Settings) -> NoCache {
    match (settings.cache, settings.cache_run_layers) {
        (false, _) => NoCache::All,
        (true, false) => NoCache::Runs,
        (true, true) => NoCache::Off,
    }
}

/// `--cache-repo`, else `cache` below the first destination.
fn place(settings: &Settings, names: &[Reference]) -> Result<Option<Place>, Failure> {
    if !settings.cache {
        return Ok(None);
    }
    let name = match (&settings.cache_repo, names.first()) {
        (Some(text), _) => match text.strip_prefix("oci:") {
            Some(directory) => return Ok(Some(Place::Layout(directory.into()))),
            None => text.clone(),
        },
        (None, Some(name)) => format!("{}/cache", name.repository()),
        (None, None) => return Ok(None),
    };
    let has_tag = name.rsplit('/').next().is_some_and(|last| last.contains(':'));
    let name = if has_tag { name } else { format!("{name}:{TAG}") };
    Ok(Some(Place::Registry(name.parse()?)))
}

/// The repository that has to take the results, for the question whether it will.
pub(super) fn pushed_to(settings: &Settings, names: &[Reference]) -> Result<Option<Reference>, Failure> {
    Ok(match place(settings, names)? {
        Some(Place::Registry(reference)) if !settings.no_push_cache => Some(reference),
        _ => None,
    })
}

/// Where results are taken from.
pub(super) fn source(
    settings: &Settings,
    names: &[Reference],
    session: &Session,
) -> Result<Option<CacheSource>, Failure> {
    let (source, reference): (Arc<dyn Source>, Reference) = match place(settings, names)? {
        None => return Ok(None),
        Some(Place::Registry(reference)) => (Arc::new(session.registry()?.clone()), reference),
        Some(Place::Layout(directory)) => (Arc::new(LazyLayout(directory)), in_layout()?),
    };
    Ok(Some(CacheSource {
        source,
        reference,
        max_age: Some(settings.cache_ttl),
        mounts: false,
    }))
}

/// Where results are kept. As with kaniko, a build does not fail because they cannot be.
pub(super) fn keeping(
    settings: &Settings,
    names: &[Reference],
    session: &Session,
) -> Result<Option<Keeping>, Failure> {
    if settings.no_push_cache {
        return Ok(None);
    }
    let (sink, source, reference): (Arc<dyn Sink>, Arc<dyn Source>, Reference) = match place(settings, names)?
    {
        None => return Ok(None),
        Some(Place::Registry(reference)) => {
            let registry = session.registry()?.clone();
            (Arc::new(registry.clone()), Arc::new(registry), reference)
        }
        Some(Place::Layout(directory)) => {
            let layout = Layout::create(directory)?.watched(session.progress());
            (Arc::new(layout.clone()), Arc::new(layout), in_layout()?)
        }
    };
    Ok(Some(Keeping::Elsewhere {
        target: Box::new(CacheTarget {
            sink,
            source,
            reference,
            mode: CacheMode::Max,
            mounts: false,
            keep: settings.cache_ttl,
            now: crate::attestations::now(),
            image: None,
        }),
        ignore_error: true,
    }))
}

fn in_layout() -> Result<Reference, Failure> {
    Ok(format!("build-cache:{TAG}").parse()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_lies_below_the_first_destination_1_1() {
        let names: Vec<Reference> = ["r.test/app:1", "s.test/app"]
            .map(|name| name.parse().unwrap())
            .to_vec();
        let at = |cache: bool, repo: Option<&str>, names: &[Reference]| {
            let settings = Settings {
                cache,
                cache_repo: repo.map(str::to_owned),
                ..Settings::default()
            };
            match place(&settings, names).unwrap() {
                None => "nowhere".to_owned(),
                Some(Place::Registry(reference)) => reference.to_string(),
                Some(Place::Layout(path)) => path.display().to_string(),
            }
        };
        assert_eq!(at(true, None, &names), "r.test/app/cache:lifecycle");
        assert_eq!(at(true, Some("c.test/x"), &names), "c.test/x:lifecycle");
        assert_eq!(at(true, Some("c.test/x:mine"), &names), "c.test/x:mine");
        assert_eq!(at(true, Some("oci:/cache/here"), &names), "/cache/here");
        assert_eq!(at(true, None, &[]), "nowhere");
        assert_eq!(at(false, Some("c.test/x"), &names), "nowhere");
    }
}
