//! Builds that end with the command that submitted them.

use lifecycle_kubernetes::{Cluster, ClusterError, SourceAt, Submission};

use super::source;
use crate::session::Session;

/// The builds of one invocation that have not ended well. When the invocation ends before they do, they end with it, and
/// the sources that were uploaded for them go again (JC-25).
pub(super) struct Unfinished<'a> {
    cluster: &'a Cluster,
    session: &'a Session,
    builds: Vec<Build>,
    /// Whether they have all they need. Until then nobody misses their records.
    is_under_way: bool,
}

struct Build {
    id: String,
    /// The source in the registry, which is this build's alone.
    source: Option<String>,
    is_submitted: bool,
}

impl<'a> Unfinished<'a> {
    pub(super) fn of(submissions: &[Submission], cluster: &'a Cluster, session: &'a Session) -> Self {
        let build = |submission: &Submission| Build {
            id: submission.id.clone(),
            source: match &submission.source {
                SourceAt::Artifact(artifact) => Some(artifact.to_string()),
                SourceAt::Stream { .. } | SourceAt::Remote { .. } => None,
            },
            is_submitted: false,
        };
        Self {
            cluster,
            session,
            builds: submissions.iter().map(build).collect(),
            is_under_way: false,
        }
    }

    pub(super) fn is_submitted(&mut self, id: &str) {
        for build in self.builds.iter_mut().filter(|build| build.id == id) {
            build.is_submitted = true;
        }
    }

    pub(super) fn are_under_way(&mut self) {
        self.is_under_way = true;
    }

    pub(super) fn let_go(&mut self, id: &str) {
        self.builds.retain(|build| build.id != id);
    }

    pub(super) fn let_all_go(&mut self) {
        self.builds.clear();
    }
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        for build in &self.builds {
            let id = &build.id;
            let ended = if !build.is_submitted {
                Ok(())
            } else if self.is_under_way {
                // One that has ended by itself stays as it is.
                self.cluster.cancel(id).map(drop)
            } else {
                self.cluster.delete(id).map(drop)
            };
            match (ended, &build.source) {
                (Ok(()) | Err(ClusterError::NoBuild(_)), Some(artifact)) => {
                    source::remove(artifact, self.session);
                }
                (Ok(()) | Err(ClusterError::NoBuild(_)), None) => {}
                // It may run on, and then it needs its source.
                (Err(error), _) => self.session.console.warning(format!(
                    "{id} may run on: {error}; `lifecycle jobs delete {id}` ends it and removes its source"
                )),
            }
        }
    }
}
