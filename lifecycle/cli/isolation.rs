//! Which rung of the isolation ladder this process takes.

use lifecycle_platform::Isolation;
use lifecycle_sandbox::{Host, Rung, enter_with_privileges};

use crate::failure::Failure;
use crate::session::Session;

/// Takes the strongest rung that holds. Before this, nothing may have started a thread.
pub(crate) fn choose(session: &Session) -> Result<Isolation, Failure> {
    take(session, None)
}

/// For a build that may find everything in its cache: enters what has to be entered while there is one thread, and gives
/// what was found out about this machine meanwhile. Whoever has all powers need not know how far they reach before the
/// first command runs.
pub(crate) fn prepare(session: &Session) -> Result<Option<Host>, Failure> {
    if enter_with_privileges().unwrap_or(false) {
        return Ok(None);
    }
    Ok(choose(session)?.host().cloned())
}

/// Takes the rung that is asked for, or the strongest. Before this, nothing may have started a thread.
pub(crate) fn take(session: &Session, asked: Option<Rung>) -> Result<Isolation, Failure> {
    let scratch = session.store()?.scratch()?;
    let isolation = Isolation::choose(scratch.path(), asked)?;
    session.console.debug(format!(
        "isolation: rung {}, {}",
        isolation.rung().number(),
        isolation.rung()
    ));
    Ok(isolation)
}
