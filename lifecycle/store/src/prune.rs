//! Taking away what nobody needs.
//!
//! Images, records and caches are what somebody asked to be kept; blobs and trees are kept for them. A prune
//! lets go of the first by age or size, and then of whatever nothing refers to any more. What an open store
//! has written or used since it was opened stays, and so does what was used within the grace period: a build
//! whose steps are processes of their own has no store open between them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use lifecycle_image::{Descriptor, DiffId, Digest};

use crate::caches::cache_entry;
use crate::directory::{Directory, RemovedAtEnd, entries, read_json, remove_file, remove_tree, used};
use crate::images::is_missing_or_damaged;
use crate::lock::FileLock;
use crate::records::Record;
use crate::trees::{RECORD, TreeRecord};
use crate::usage::size_of;
use crate::{Store, StoreError};

/// What may go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prune {
    /// Caches, records and extracted layers that were not used for this long. Without it, only blobs and
    /// extracted layers that nothing refers to.
    pub unused_for: Option<Duration>,
    /// The size the store may have: beyond it, what was not used for the longest time goes first.
    pub max_size: Option<u64>,
    /// Whether images count as things that may go, by the same two rules.
    pub images: bool,
    /// What was used within this time stays in any case.
    pub grace: Duration,
    /// Only says what would go.
    pub dry_run: bool,
}

impl Default for Prune {
    fn default() -> Self {
        Self {
            unused_for: None,
            max_size: None,
            images: false,
            grace: Duration::from_mins(10),
            dry_run: false,
        }
    }
}

/// What went.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pruned {
    /// The files and directories, as they were in the store.
    pub removed: Vec<PathBuf>,
    /// The bytes they held.
    pub freed: u64,
    /// Bytes that nothing refers to but that stayed, because a running build or one of a moment ago may need
    /// them.
    pub spared: u64,
}

impl Store {
    /// Takes away what nobody needs.
    pub fn prune(&self, policy: &Prune) -> Result<Pruned, StoreError> {
        let directory = self.directory();
        let mut doomed = Vec::new();
        let mut pruned = Pruned::default();
        {
            // From here on nobody begins to rely on what is there, until all decisions are carried out.
            let _alone = directory.prune_alone()?;
            let now = SystemTime::now();
            let before = |age| now.checked_sub(age).unwrap_or(SystemTime::UNIX_EPOCH);
            let spare_since = directory.oldest_lease()?.map_or(now, |lease| lease.min(now));
            let spare_since = spare_since.min(before(policy.grace));
            let mut inventory = Inventory::take(directory)?;
            inventory.age(policy, spare_since, policy.unused_for.map(before));
            inventory.shrink(policy, spare_since);
            pruned.spared = inventory.spared(spare_since);
            for item in inventory.items.into_iter().filter(|item| item.gone) {
                if policy.dry_run || directory.take(&item, &mut doomed)? {
                    pruned.freed += item.size;
                    pruned.removed.push(item.path);
                }
            }
            if !policy.dry_run {
                directory.remove_orphaned_forms()?;
                directory.remove_orphaned_origins()?;
                directory.sweep_leftovers(spare_since, &mut pruned)?;
            }
        }
        for directory in doomed {
            remove_tree(directory.path())?;
        }
        Ok(pruned)
    }
}

/// Something in the store that can go.
#[derive(Debug)]
struct Item {
    kind: Kind,
    path: PathBuf,
    size: u64,
    used: SystemTime,
    /// How it is referred to.
    name: String,
    /// The names of what it needs.
    needs: Vec<String>,
    gone: bool,
}

/// In the order in which things are taken away: a name goes before what it leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Image,
    Record,
    Cache,
    Tree,
    Blob,
}

/// Everything in the store, and how often each name is needed.
#[derive(Debug)]
struct Inventory {
    items: Vec<Item>,
    needed: BTreeMap<String, usize>,
}

fn blob_name(digest: &Digest) -> String {
    format!("blob {digest}")
}

fn tree_name(diff_id: &DiffId) -> String {
    format!("tree {diff_id}")
}

/// The names of blobs, and of the trees of those that are layers.
fn names(digests: &[Digest], known: &BTreeMap<Digest, DiffId>) -> Vec<String> {
    let trees = digests
        .iter()
        .filter_map(|digest| known.get(digest))
        .map(tree_name);
    let names: BTreeSet<_> = digests.iter().map(blob_name).chain(trees).collect();
    names.into_iter().collect()
}

impl Inventory {
    fn take(directory: &Directory) -> Result<Self, StoreError> {
        let mut items = Vec::new();
        let mut add = |kind, path: PathBuf, stamp: &Path, name, needs| {
            if let Some(used) = used(stamp) {
                items.push(Item {
                    kind,
                    size: size_of(&path),
                    path,
                    used,
                    name,
                    needs,
                    gone: false,
                });
            }
        };
        let known = directory.known_layers()?;
        for (path, named) in directory.named_images()? {
            let needs = names(&directory.image_needs(&named.descriptor)?, &known);
            add(Kind::Image, path.clone(), &path, String::new(), needs);
        }
        for path in entries(&directory.path("records"))? {
            let record = match read_json::<Record>(&path) {
                Ok(record) => record,
                Err(error) if is_missing_or_damaged(&error) => None,
                Err(error) => return Err(error),
            };
            let blobs = record.map(|record| record.blobs).unwrap_or_default();
            let digests: Vec<_> = blobs.into_iter().map(|blob| blob.digest).collect();
            let needs = names(&digests, &known);
            add(Kind::Record, path.clone(), &path, String::new(), needs);
        }
        for path in entries(&directory.path("caches"))? {
            if let Some(cache) = cache_entry(path) {
                let stamp = cache.path.join("key");
                add(Kind::Cache, cache.path, &stamp, String::new(), Vec::new());
            }
        }
        for path in entries(&directory.path("trees"))? {
            let stamp = path.join(RECORD);
            if let Ok(Some(record)) = read_json::<TreeRecord>(&stamp) {
                add(Kind::Tree, path, &stamp, tree_name(&record.diff_id), Vec::new());
            }
        }
        for path in directory.blob_files()? {
            if let Some(digest) = digest_of(&path) {
                add(Kind::Blob, path.clone(), &path, blob_name(&digest), Vec::new());
            }
        }
        items.sort_by(|one, other| (one.kind, &one.path).cmp(&(other.kind, &other.path)));
        let mut needed = BTreeMap::new();
        for name in items.iter().flat_map(|item| &item.needs) {
            *needed.entry(name.clone()).or_default() += 1;
        }
        Ok(Self { items, needed })
    }

    /// Lets go of what is too old, then of what nothing refers to.
    fn age(&mut self, policy: &Prune, spare_since: SystemTime, expired: Option<SystemTime>) {
        if let Some(expired) = expired {
            let limit = expired.min(spare_since);
            for number in 0..self.items.len() {
                let item = &self.items[number];
                let may_go = match item.kind {
                    Kind::Image => policy.images,
                    Kind::Record | Kind::Cache | Kind::Tree => true,
                    Kind::Blob => false,
                };
                if may_go && item.used < limit {
                    self.let_go(number);
                }
            }
        }
        self.sweep(expired.unwrap_or(spare_since).min(spare_since));
    }

    /// Lets go of what was not used for the longest time until the rest fits.
    fn shrink(&mut self, policy: &Prune, spare_since: SystemTime) {
        let Some(max_size) = policy.max_size else { return };
        if self.size() <= max_size {
            return;
        }
        self.sweep(spare_since);
        let mut candidates: Vec<usize> = (0..self.items.len())
            .filter(|&number| {
                let item = &self.items[number];
                let may_go = match item.kind {
                    Kind::Image => policy.images,
                    Kind::Record | Kind::Cache | Kind::Tree => true,
                    Kind::Blob => false,
                };
                may_go && !item.gone && item.used < spare_since
            })
            .collect();
        candidates.sort_by_key(|&number| self.items[number].used);
        for number in candidates {
            if self.size() <= max_size {
                return;
            }
            self.let_go(number);
            self.sweep(spare_since);
        }
    }

    /// Lets go of blobs and trees that nothing refers to and that nobody used since `limit`.
    fn sweep(&mut self, limit: SystemTime) {
        for item in &mut self.items {
            if item.used < limit && is_unneeded(item, &self.needed) {
                item.gone = true;
            }
        }
    }

    fn let_go(&mut self, number: usize) {
        let item = &mut self.items[number];
        if std::mem::replace(&mut item.gone, true) {
            return;
        }
        for name in &item.needs {
            if let Some(count) = self.needed.get_mut(name) {
                *count -= 1;
            }
        }
    }

    fn size(&self) -> u64 {
        let left = self.items.iter().filter(|item| !item.gone);
        left.map(|item| item.size).sum()
    }

    fn spared(&self, spare_since: SystemTime) -> u64 {
        let spared = self
            .items
            .iter()
            .filter(|item| !item.gone && item.used >= spare_since && is_unneeded(item, &self.needed));
        spared.map(|item| item.size).sum()
    }
}

/// Whether nothing refers to a blob or a tree.
fn is_unneeded(item: &Item, needed: &BTreeMap<String, usize>) -> bool {
    matches!(item.kind, Kind::Blob | Kind::Tree) && needed.get(&item.name).is_none_or(|count| *count == 0)
}

fn digest_of(blob: &Path) -> Option<Digest> {
    let algorithm = blob.parent()?.file_name()?.to_str()?;
    format!("{algorithm}:{}", blob.file_name()?.to_str()?)
        .parse()
        .ok()
}

/// The digest that a file is named for.
pub(crate) fn digest_named(path: &Path) -> Option<Digest> {
    path.file_name()?.to_str()?.replacen('-', ":", 1).parse().ok()
}

impl Directory {
    /// When the longest-running open store was opened. Leases of stores that are closed are removed.
    pub(crate) fn oldest_lease(&self) -> Result<Option<SystemTime>, StoreError> {
        let mut oldest = None;
        for path in entries(&self.path("leases"))? {
            let failed = |cause| StoreError::io("lock", &path, cause);
            match FileLock::attempt(&path).map_err(failed)? {
                Some(abandoned) => drop(abandoned.removed_at_end()),
                None => oldest = oldest.into_iter().chain(used(&path)).min(),
            }
        }
        Ok(oldest)
    }

    /// The blobs that an image needs. A damaged image needs what can be told.
    fn image_needs(&self, descriptor: &Descriptor) -> Result<Vec<Digest>, StoreError> {
        match self.reachable(descriptor) {
            Err(error) if is_missing_or_damaged(&error) => Ok(vec![descriptor.digest.clone()]),
            digests => digests,
        }
    }

    /// The diff IDs of stored layers by digest.
    fn known_layers(&self) -> Result<BTreeMap<Digest, DiffId>, StoreError> {
        let mut known = BTreeMap::new();
        for forms in entries(&self.path("layers"))? {
            let Some(diff_id) = digest_named(&forms) else {
                continue;
            };
            for form in entries(&forms)? {
                known.extend(digest_named(&form).map(|digest| (digest, DiffId(diff_id.clone()))));
            }
        }
        Ok(known)
    }

    /// Takes an item out of the store. Says whether it went; a cache in use does not.
    fn take(&self, item: &Item, doomed: &mut Vec<RemovedAtEnd>) -> Result<bool, StoreError> {
        match item.kind {
            Kind::Image | Kind::Record | Kind::Blob => return remove_file(&item.path),
            Kind::Tree => doomed.push(self.doom(&item.path)?),
            Kind::Cache => match self.take_cache(&item.path)? {
                Some(cache) => doomed.push(cache),
                None => return Ok(false),
            },
        }
        Ok(true)
    }

    /// Forgets the stored forms of layers whose blobs are gone.
    fn remove_orphaned_forms(&self) -> Result<(), StoreError> {
        for forms in entries(&self.path("layers"))? {
            let all = entries(&forms)?;
            let mut left = all.len();
            for form in all {
                if digest_named(&form).is_none_or(|digest| !self.blob_path(&digest).exists()) {
                    remove_file(&form)?;
                    left -= 1;
                }
            }
            if left == 0 {
                // A form that somebody adds at this moment keeps the directory.
                drop(std::fs::remove_dir(&forms));
            }
        }
        Ok(())
    }

    /// Removes what killed processes left: unfinished files and locks that nobody holds.
    fn sweep_leftovers(&self, spare_since: SystemTime, pruned: &mut Pruned) -> Result<(), StoreError> {
        for path in entries(&self.path("tmp"))? {
            if used(&path).is_none_or(|used| used >= spare_since) {
                continue;
            }
            let size = size_of(&path);
            if path.is_dir() {
                remove_tree(&path)?;
            } else {
                remove_file(&path)?;
            }
            pruned.freed += size;
            pruned.removed.push(path);
        }
        for path in entries(&self.path("locks"))? {
            if !path.ends_with("prune") {
                let lock = FileLock::attempt(&path).map_err(|cause| StoreError::io("lock", &path, cause))?;
                drop(lock.map(FileLock::removed_at_end));
            }
        }
        Ok(())
    }
}
