//! `lifecycle completions`

use clap::CommandFactory;
use clap_complete::Shell;

use crate::arguments::Arguments;
use crate::failure::Failure;
use crate::session::Session;

pub(crate) fn run(shell: Shell, session: &Session) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "lifecycle", &mut script);
    Ok(session.console.result(&String::from_utf8_lossy(&script))?)
}
