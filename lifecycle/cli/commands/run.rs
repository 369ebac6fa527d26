//! `lifecycle run`

use std::ffi::OsString;
use std::process::ExitCode;

use lifecycle_image::Platform;
use lifecycle_platform::RunOptions;
use lifecycle_sandbox::{Forwarding, Streams};

use crate::arguments::RunArguments;
use crate::commands::exit_code;
use crate::failure::Failure;
use crate::isolation;
use crate::session::Session;
use crate::variables::{self, Variables};

pub(crate) fn run(arguments: &RunArguments, session: &Session) -> Result<ExitCode, Failure> {
    // First of all: a namespace can only be entered while there is one thread.
    let isolation = isolation::choose(session)?;
    session.interruption.listen(&session.console)?;
    let image = session.find(&arguments.image)?.image(&Platform::host())?;
    let forwarding = Forwarding::default();
    let options = options(arguments, &forwarding, session)?;
    let told = session.interruption.forwarded(forwarding);
    let process = lifecycle_platform::run(
        &image,
        options,
        session.store()?,
        &isolation,
        &*session.progress(),
    )?;
    let exit = process.wait()?;
    drop(told);
    Ok(exit_code(exit))
}

fn options(
    arguments: &RunArguments,
    forwarding: &Forwarding,
    session: &Session,
) -> Result<RunOptions, Failure> {
    let mut variables = Variables::default();
    if let Some(port) = arguments.port {
        variables.set("PORT", OsString::from(port.to_string()));
    }
    variables.add(&arguments.env, &session.environment)?;
    Ok(RunOptions {
        process: arguments.process.clone(),
        entrypoint: arguments.entrypoint.clone(),
        arguments: arguments.arguments.clone(),
        env: variables.into_pairs(),
        user: arguments.user.clone(),
        volumes: variables::volumes(&arguments.volume)?,
        streams: Streams::default(),
        forwarding: forwarding.clone(),
    })
}
