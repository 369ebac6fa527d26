//! What the commands of the classic Heroku way share: their log, their failures, and how their processes are waited for.

use std::process::ExitCode;

use lifecycle_heroku::{HerokuError, Running};

use crate::console::{Console, Event};
use crate::failure::Failure;
use crate::signals::Interruption;

/// The log of a build on the console.
#[derive(Debug)]
pub(crate) struct Log(pub(crate) Console);

impl lifecycle_heroku::Console for Log {
    fn line(&self, line: &[u8]) {
        self.0.tell(&Event::Output(line));
    }
}

/// A failure with the exit code of the script that failed.
pub(crate) fn failing<T>(result: Result<T, HerokuError>) -> Result<T, Failure> {
    result.map_err(|error| {
        let code = u8::try_from(error.exit_code()).unwrap_or(1);
        Failure::from(error).with_code(code)
    })
}

/// Waits for processes of a slug; signals are theirs. Says how they ended.
pub(crate) fn wait(running: Running, interruption: &Interruption, log: &Log) -> Result<ExitCode, Failure> {
    let remotes = running.remotes();
    let told = interruption.forwarded(move |signal| {
        for remote in &remotes {
            // A process that has ended meanwhile needs no signal.
            drop(remote.signal(signal));
        }
    });
    let exit = failing(running.wait(log))?;
    drop(told);
    Ok(ExitCode::from(u8::try_from(exit.code()).unwrap_or(1)))
}
