//! What the commands of the classic Heroku way share: their log and their failures.

use lifecycle_heroku::HerokuError;

use crate::console::{Console, Event};
use crate::failure::Failure;

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
