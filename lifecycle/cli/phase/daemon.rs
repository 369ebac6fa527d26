//! The daemon that `-daemon` means, by the variables of docker's client (lifecycle.md 1.3).

use lifecycle_daemon::{Address, Daemon};
use lifecycle_spec::ExitCode;

use super::PhaseError;
use crate::environment::Environment;
use crate::failure;

/// Connects to it.
pub(super) fn connect(environment: &Environment) -> Result<Daemon, PhaseError> {
    let failed = |cause: String| PhaseError::new("initialize docker client", cause, ExitCode::Generic);
    if environment.os("DOCKER_TLS_VERIFY").is_some() {
        let text = "DOCKER_TLS_VERIFY is set, but daemons are reached by sockets and plain TCP only; unset it, or forward the daemon's socket";
        return Err(failed(text.to_owned()));
    }
    let address = match environment.text("DOCKER_HOST") {
        Some(text) => Address::parse(text).map_err(|error| failed(error.to_string()))?,
        None => Address::usual(),
    };
    let version = environment.text("DOCKER_API_VERSION");
    Daemon::connect(&address, version, environment.temporary_directory())
        .map_err(|error| failed(failure::sentence(&error)))
}
