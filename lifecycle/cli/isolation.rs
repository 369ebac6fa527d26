//! Which rung of the isolation ladder this process takes.

use lifecycle_platform::Isolation;
use lifecycle_sandbox::Rung;

use crate::failure::Failure;
use crate::session::Session;

/// Takes the strongest rung that holds. Before this, nothing may have started a thread.
pub(crate) fn choose(session: &Session) -> Result<Isolation, Failure> {
    take(session, None)
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
