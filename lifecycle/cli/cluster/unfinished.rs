//! Builds that end with the command that submitted them.

use std::sync::Arc;
use std::time::Duration;

use lifecycle_image::Reference;
use lifecycle_kubernetes::{Cluster, ClusterError};

use super::source;
use super::wishes::{Stage, Wishes};
use crate::console::Console;
use crate::session::Session;

/// How long a user who has cancelled waits for the rest to be removed.
const CLEARING: Duration = Duration::from_secs(15);

/// The builds of one command. When the command ends before they do, they end with it, and the sources that were uploaded
/// for them go again (JC-25).
pub(super) struct Unfinished<'a> {
    cluster: Arc<Cluster>,
    wishes: &'a Wishes,
    session: &'a Session,
    builds: Vec<Build>,
}

struct Build {
    id: String,
    /// The source in the registry, which is this build's alone.
    source: Option<Reference>,
    is_submitted: bool,
    has_ended: bool,
}

impl<'a> Unfinished<'a> {
    pub(super) fn of<'b>(
        ids: impl IntoIterator<Item = &'b str>,
        cluster: &Arc<Cluster>,
        wishes: &'a Wishes,
        session: &'a Session,
    ) -> Self {
        let build = |id: &str| Build {
            id: id.to_owned(),
            source: None,
            is_submitted: false,
            has_ended: false,
        };
        Self {
            cluster: Arc::clone(cluster),
            wishes,
            session,
            builds: ids.into_iter().map(build).collect(),
        }
    }

    /// A build's source is about to be in the registry.
    pub(super) fn has_source(&mut self, id: &str, source: &Reference) {
        self.change(id, |build| build.source = Some(source.clone()));
    }

    /// A build is about to be submitted. Even when that seems to fail, it may be there.
    pub(super) fn is_submitted(&mut self, id: &str) {
        self.change(id, |build| build.is_submitted = true);
    }

    /// The cluster has answered that it does not take a build: nothing of it is there.
    pub(super) fn is_refused(&mut self, id: &str) {
        self.change(id, |build| build.is_submitted = false);
    }

    /// It ended well, and removed its source, or tried to.
    pub(super) fn has_ended(&mut self, id: &str) {
        self.change(id, |build| {
            build.has_ended = true;
            build.source = None;
        });
    }

    /// They are somebody else's from now on.
    pub(super) fn let_all_go(&mut self) {
        self.builds.clear();
    }

    fn change(&mut self, id: &str, change: impl FnOnce(&mut Build)) {
        if let Some(build) = self.builds.iter_mut().find(|build| build.id == id) {
            change(build);
        }
    }
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        // Nobody misses the record of a build that the user gave up, or that never had all it needs.
        let is_forgotten = self.wishes.is_cancelled() || self.wishes.stage() < Stage::UnderWay;
        let mut builds = std::mem::take(&mut self.builds);
        builds.retain(|build| is_forgotten || !build.has_ended);
        if builds.is_empty() {
            return;
        }
        let console = self.session.console.clone();
        let registry = self.session.registry().cloned();
        let cluster = Arc::clone(&self.cluster);
        let ids: Vec<String> = builds.iter().map(|build| build.id.clone()).collect();
        let clear = move || {
            for build in &builds {
                let has_gone = !build.is_submitted || end(&build.id, is_forgotten, &cluster, &console);
                if let (true, Some(source), Ok(registry)) = (has_gone, &build.source, &registry) {
                    source::remove(source, registry, &console);
                }
            }
        };
        if self.wishes.within(CLEARING, clear).is_none() {
            self.session.console.warning(format!(
                "not all is removed yet: `lifecycle jobs delete {}` does it",
                ids.join(" ")
            ));
        }
    }
}

/// Ends a build; false if it may run on, and needs its source.
fn end(id: &str, is_forgotten: bool, cluster: &Cluster, console: &Console) -> bool {
    let ended = if is_forgotten {
        cluster.delete(id)
    } else {
        // One that has ended by itself stays as it is.
        cluster.cancel(id)
    };
    match ended {
        Ok(_) | Err(ClusterError::NoBuild(_)) => true,
        Err(error) => {
            console.warning(format!(
                "{id} may run on: {error}; `lifecycle jobs delete {id}` ends it and removes its source"
            ));
            false
        }
    }
}
