//! Which blobs lie where, as far as nobody needs to be asked.
//!
//! A manifest that was read from a repository names blobs which that repository has, and so does every blob that was
//! sent there. Whoever pushes there next needs no request for these, and one for those that another repository of the
//! same registry has: it takes them over.
//!
//! What is known can become wrong while a build runs. That is found out at the latest when a manifest is refused, and
//! then the push asks after all.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use lifecycle_image::Digest;

use crate::transport::{Place, lock};

/// What is known of the repositories that were read from or written to.
#[derive(Debug, Default)]
pub(crate) struct Holdings(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    blobs: BTreeMap<Place, BTreeSet<Digest>>,
    /// Source and target of mounts that a registry did not make.
    refused: BTreeSet<(Place, Place)>,
}

impl Holdings {
    /// Notes that a repository has blobs.
    pub(crate) fn note<'a>(&self, place: &Place, digests: impl IntoIterator<Item = &'a Digest>) {
        let mut known = lock(&self.0);
        let blobs = known.blobs.entry(place.clone()).or_default();
        blobs.extend(digests.into_iter().cloned());
    }

    /// Whether a repository is known to have a blob.
    pub(super) fn has(&self, place: &Place, digest: &Digest) -> bool {
        let known = lock(&self.0);
        known.blobs.get(place).is_some_and(|blobs| blobs.contains(digest))
    }

    /// Another repository of the same registry that is known to have a blob and lets it be taken over.
    pub(super) fn neighbor(&self, place: &Place, digest: &Digest) -> Option<Place> {
        let known = lock(&self.0);
        let offers = |other: &Place| {
            other.host == place.host
                && other != place
                && !known.refused.contains(&(other.clone(), place.clone()))
        };
        let mut neighbors = known.blobs.iter();
        let neighbor = neighbors.find(|(other, blobs)| blobs.contains(digest) && offers(other));
        neighbor.map(|(other, _)| other.clone())
    }

    /// Notes that a registry does not take over what is known to be there. Later blobs are looked for first.
    pub(super) fn refuse(&self, from: &Place, to: &Place) {
        lock(&self.0).refused.insert((from.clone(), to.clone()));
    }

    /// Forgets what a repository was believed to have.
    pub(super) fn forget(&self, place: &Place) {
        lock(&self.0).blobs.remove(place);
    }
}
