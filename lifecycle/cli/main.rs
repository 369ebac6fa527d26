//! The `lifecycle` program: arguments in, one library function, a report out.
//!
//! Invoked under the name of a phase (`detector`, `builder`, …) it is that phase, under that of a tool of the classic Heroku
//! way (`herokuish`, `slugbuilder`, …) it is that tool; otherwise the first argument
//! is a command for people. Nothing below this folder knows a terminal or an environment variable.

mod arguments;
mod attestations;
mod attributes;
mod caches;
mod classic;
#[cfg(feature = "kubernetes")]
mod cluster;
#[cfg(not(feature = "kubernetes"))]
#[path = "cluster/absent.rs"]
mod cluster;
mod commands;
mod commit;
mod console;
mod context;
mod environment;
mod failure;
mod isolation;
mod kaniko;
mod layers;
mod origins;
mod output;
mod phase;
mod place;
mod program;
mod registry;
mod remote;
mod sboms;
mod session;
mod signals;
mod transfer;
mod variables;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;
use lifecycle_sandbox::enter_with_privileges;

use crate::arguments::{Arguments, CacheCommand, Command, Global, On};
use crate::console::{Console, Level};
use crate::environment::Environment;
use crate::failure::Failure;
use crate::phase::Invocation;
use crate::session::Session;

fn main() -> ExitCode {
    let environment = Environment::of_process();
    let arguments: Vec<OsString> = std::env::args_os().collect();
    if let Some(invocation) = Invocation::of(&arguments, &environment) {
        return phase::run(invocation, environment);
    }
    if let Some(invocation) = kaniko::Invocation::of(&arguments) {
        return kaniko::run(&invocation, environment);
    }
    if let Some(code) = commands::fronts::run(&arguments, &environment) {
        return code;
    }
    let arguments = Arguments::parse_from(arguments);
    let console = console(&arguments.global, &environment);
    let session = Session::new(arguments.global, environment, console);
    let ended = run(arguments.command, &session);
    session.interruption.wait_if_ending();
    match ended {
        Ok(code) => code,
        Err(failure) => {
            if let Some(diagnostic) = &failure.diagnostic {
                session.console.diagnostic(diagnostic);
            }
            ExitCode::from(session.interruption.code(failure.code))
        }
    }
}

fn console(global: &Global, environment: &Environment) -> Console {
    let level = match (global.verbose, global.quiet) {
        (true, _) => Level::Debug,
        (_, true) => Level::Warning,
        _ => Level::Info,
    };
    Console::new(global.log_format, level, global.no_color, environment)
}

fn run(command: Command, session: &Session) -> Result<ExitCode, Failure> {
    // What is made for a build or a process is read by its own user, whatever umask the caller has.
    if matches!(command, Command::Build(_) | Command::Run(_) | Command::Slug(_)) {
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    }
    // These enter a namespace, which must happen before there is a second thread.
    let command = match command {
        Command::Build(arguments) => return commands::build::run(&arguments, session),
        Command::Run(arguments) => return commands::run::run(&arguments, session),
        Command::Slug(command) => return commands::slug::run(&command, session),
        command => command,
    };
    // Subordinate ids own what was unpacked for an ordinary user; only in their namespace can it be removed.
    if matches!(command, Command::Cache(CacheCommand::Prune { .. })) {
        drop(isolation::choose(session)?);
    }
    // As root, mmdebstrap attaches /proc and /sys in the file system that it fills. When it is killed, they go with the
    // namespace, and nobody who tidies up comes upon them.
    if matches!(command, Command::Stack(_) | Command::Builder(_)) {
        enter_with_privileges().ok();
    }
    session.interruption.listen(&session.console)?;
    match command {
        Command::Build(_) | Command::Run(_) | Command::Slug(_) => Ok(()),
        Command::Executor | Command::Warmer => Err(Failure::new(
            "argument",
            "executor and warmer have a command line of their own, which begins with their name",
        )
        .help("write `lifecycle executor …`; --store is among its flags too")),
        Command::Inspect(arguments) => commands::inspect::run(&arguments, session),
        Command::Sbom(arguments) => commands::sbom::run(&arguments, session),
        Command::Push(arguments) => commands::push::run(&arguments, session),
        Command::Pull(arguments) => commands::pull::run(&arguments, session),
        Command::Copy(arguments) => commands::copy::run(&arguments, session),
        Command::Rebase(arguments) => commands::rebase::run(&arguments, session),
        Command::Tag(arguments) => commands::tag::run(&arguments, session),
        Command::Images(arguments) => commands::images::run(&arguments, session),
        Command::Rmi(arguments) => commands::rmi::run(&arguments, session),
        Command::Cache(command) => commands::cache::run(&command, session),
        Command::Stack(command) => commands::stack::run(&command, session),
        Command::Builder(command) => commands::builder::run(&command, session),
        Command::Buildpack(command) => commands::package::buildpack(&command, session),
        Command::Extension(command) => commands::package::extension(&command, session),
        Command::Doctor {
            on: Some(On::Kubernetes),
            cluster,
            output,
        } => return cluster::doctor(&cluster, output, session),
        Command::Doctor { output, .. } => commands::doctor::run(output, session),
        Command::Jobs(command) => return cluster::jobs(&command, session),
        Command::Pod(command) => cluster::pod(&command, session),
        Command::Completions { shell } => commands::completions::run(shell, session),
        Command::Man { directory } => commands::man::run(&directory, session),
    }?;
    Ok(ExitCode::SUCCESS)
}
