//! How RUN is kept apart from this machine, and its limits.

use lifecycle_executor::{IsolationMode, Options};
use lifecycle_sandbox::{Host, Limits};

use crate::arguments::ConfinementArguments;
use crate::failure::Failure;
use crate::isolation;
use crate::session::Session;

/// Takes the rung that is asked for, or readies this process for the strongest one, and gives what is known of this
/// machine then. Before this,
/// nothing may have started a thread.
pub(super) fn enter(arguments: &ConfinementArguments, session: &Session) -> Result<Option<Host>, Failure> {
    match arguments.isolation {
        None => isolation::prepare(session),
        Some(kind) => match kind.rung() {
            None => Ok(None),
            rung => Ok(isolation::take(session, rung)?.host().cloned()),
        },
    }
}

/// Sets what the executor has to know.
pub(super) fn set(
    options: &mut Options,
    host: Option<Host>,
    arguments: &ConfinementArguments,
    session: &Session,
) -> Result<(), Failure> {
    if !arguments.hosts.is_empty() {
        let lines = arguments.hosts.concat();
        options.hosts.get_or_insert_default().extend(lines.into_bytes());
    }
    options.shm_size = arguments.shm_size;
    options.limits = limits(arguments, host.as_ref(), session)?;
    options.host = host;
    options.isolation = match arguments.isolation {
        None => IsolationMode::Automatic,
        Some(kind) => kind.rung().map_or(IsolationMode::NoRun, IsolationMode::Forced),
    };
    Ok(())
}

fn limits(
    arguments: &ConfinementArguments,
    host: Option<&Host>,
    session: &Session,
) -> Result<Option<Limits>, Failure> {
    if arguments.memory.is_none() && arguments.cpus.is_none() {
        return Ok(None);
    }
    let cgroup = match host {
        Some(host) => host.cgroup.clone(),
        None => Host::probe(session.store()?.scratch()?.path())?.cgroup,
    };
    let parent = cgroup.ok_or_else(|| {
        Failure::new(
            "limits",
            "memory and processor limits need a cgroup of version 2 that this process may make others in",
        )
        .help("run as root of the machine, or beneath `systemd-run --user --scope -p Delegate=yes`")
    })?;
    Ok(Some(Limits {
        parent,
        memory: arguments.memory,
        cpu_millis: arguments.cpus,
        processes: None,
    }))
}
