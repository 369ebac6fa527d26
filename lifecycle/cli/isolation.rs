//! Which rung of the isolation ladder this process takes.

use lifecycle_platform::Isolation;

use crate::failure::Failure;
use crate::session::Session;

/// Takes the strongest rung that holds. Before this, nothing may have started a thread.
pub(crate) fn choose(session: &Session) -> Result<Isolation, Failure> {
    let scratch = session.store()?.scratch()?;
    let isolation = Isolation::choose(scratch.path(), None)?;
    session.console.debug(format!(
        "isolation: rung {}, {}",
        isolation.rung().number(),
        isolation.rung()
    ));
    Ok(isolation)
}
