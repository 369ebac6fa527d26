//! The launcher's program: says what it has to say on stderr and ends with the platform's exit codes.

use std::io::Write;
use std::process::ExitCode;

use lifecycle_launcher::Invocation;

fn main() -> ExitCode {
    let invocation = Invocation::new(std::env::args_os(), std::env::vars_os());
    for warning in invocation.warnings() {
        say("Warning", &warning);
    }
    let Err(error) = lifecycle_launcher::launch(&invocation);
    // What the launch was to end in, an API has nothing to do with (lifecycle.md 1.2).
    if error.is_launch() {
        say("ERROR", &format!("failed to launch: {error}"));
    } else {
        say("ERROR", &error.to_string());
    }
    error.exit_code().into()
}

/// Errors and warnings go to stderr, as the specification wants it.
fn say(kind: &str, text: &str) {
    // Nobody is left to tell when stderr is closed.
    let _closed = writeln!(std::io::stderr(), "{kind}: {text}");
}
