//! Which rung of the isolation ladder RUN stands on.

use std::sync::{Mutex, PoisonError};

use lifecycle_sandbox::{Host, Rung, RungReport};
use lifecycle_store::Store;

use crate::error::StepError;
use crate::options::IsolationMode;
use crate::powers::Powers;
use crate::reporter::Reporter;

/// Where RUN stands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Standing {
    pub(crate) rung: Rung,
    /// Roots are overlay mounts. That goes together with a single id as well.
    pub(crate) has_overlay: bool,
}

/// Finds the rung when the first command is to run: a build that runs nothing asks for nothing.
#[derive(Debug)]
pub(crate) struct Ladder {
    mode: IsolationMode,
    host: Option<Host>,
    found: Mutex<Option<Standing>>,
}

impl Ladder {
    pub(crate) fn new(mode: IsolationMode, host: Option<Host>) -> Self {
        Self {
            mode,
            host,
            found: Mutex::new(None),
        }
    }

    /// The rung, or what is missing for any.
    pub(crate) fn stand(
        &self,
        store: &Store,
        powers: Powers,
        reporter: &dyn Reporter,
    ) -> Result<Standing, StepError> {
        if self.mode == IsolationMode::NoRun {
            return Err(refused(
                "this build has no isolation to run commands in".to_owned(),
            ));
        }
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(standing) = *found {
            return Ok(standing);
        }
        let host = match &self.host {
            Some(host) => host.clone(),
            None => Host::probe(store.scratch()?.path())?,
        };
        let rung = match self.mode {
            IsolationMode::Forced(rung) => rung,
            _ => host.rung(),
        };
        let reports = host.rungs();
        let report = reports.iter().find(|report| report.rung == rung);
        if let Some(report) = report.filter(|report| !report.holds()) {
            return Err(refused(format!("{rung}: {}", report.explain())));
        }
        if rung == Rung::InPlace {
            // A command of a Dockerfile in the root of the builder would build something else.
            let strongest = reports.first().map(RungReport::explain);
            return Err(refused(strongest.unwrap_or_default()));
        }
        let forced = matches!(self.mode, IsolationMode::Forced(_));
        if forced && rung == Rung::SingleId && powers.gives_files_away {
            return Err(refused(format!(
                "{rung}: this process has more than one id; it has to enter a namespace with one first"
            )));
        }
        let standing = Standing {
            // Seen from inside of a user namespace all of its ids are there, were it only one.
            rung: if rung < Rung::SingleId && !powers.gives_files_away {
                Rung::SingleId
            } else {
                rung
            },
            has_overlay: rung == Rung::Overlay || (rung == Rung::SingleId && host.overlay.is_ok()),
        };
        reporter.isolation(&standing.rung.to_string());
        *found = Some(standing);
        Ok(standing)
    }
}

fn refused(reason: String) -> StepError {
    StepError::Unsupported {
        what: "running a command".to_owned(),
        reason,
    }
}
