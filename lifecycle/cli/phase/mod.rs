//! The phases, for platforms: invoked as `analyzer`, `detector`, … or as `lifecycle analyze`, ….
//!
//! Everything here is an interface that others were written against: flags as Go reads them ([`flags`]), what each
//! phase takes since when ([`table`]), the log's lines ([`log`]), texts and exit codes (lifecycle.md 1.1 to 1.5). In
//! the reference's order: the API is negotiated, flags are read, inputs resolved, credentials looked up, privileges
//! dropped, and only then the phase begins.

mod daemon;
mod dealings;
mod extension;
mod flags;
mod inputs;
mod kind;
mod log;
mod options;
mod places;
mod privileges;
mod run;
mod table;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use lifecycle_phases::Reporter;
use lifecycle_spec::PlatformApi;

pub(crate) use self::kind::PhaseName;

use self::flags::{FlagError, Parsed};
use self::inputs::Inputs;
use self::log::{Level, Log};
use crate::environment::Environment;

/// A phase that was asked for, and its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Invocation {
    /// This phase.
    Phase(PhaseName, Vec<String>),
    /// The launcher, which is a program of its own.
    Launcher,
    /// `lifecycle -version`, which needs no API.
    Version,
}

impl Invocation {
    /// The phase that the program's name or its first argument asks for, if any. `build` and `rebase` are the phases only
    /// with a Platform API, without which no phase runs, `build` also needs arguments that are the phase's;
    /// otherwise they are the commands for people.
    pub(crate) fn of(arguments: &[OsString], environment: &Environment) -> Option<Self> {
        let words: Vec<String> = arguments
            .iter()
            .map(|word| word.to_string_lossy().into_owned())
            .collect();
        let (program, rest) = words.split_first()?;
        let program = Path::new(program).file_name()?.to_str()?;
        if program.split('.').next() == Some("launcher") {
            return Some(Self::Launcher);
        }
        if let Some(phase) = PhaseName::of_program(program) {
            return Some(Self::Phase(phase, rest.to_vec()));
        }
        if rest == ["-version"] {
            return Some(Self::Version);
        }
        let (verb, rest) = rest.split_first()?;
        let phase = PhaseName::of_verb(verb)?;
        let is_command = match phase {
            PhaseName::Build => !is_build_phase(rest, environment),
            PhaseName::Rebase => environment.text(API).is_none(),
            _ => false,
        };
        if is_command {
            return None;
        }
        Some(Self::Phase(phase, rest.to_vec()))
    }
}

fn is_build_phase(arguments: &[String], environment: &Environment) -> bool {
    let Some(requested) = environment.text(API) else {
        return false;
    };
    let api = PlatformApi::negotiate(Some(requested)).unwrap_or(PlatformApi::LATEST);
    inputs::parse(arguments, PhaseName::Build, api).is_ok_and(|parsed| parsed.positionals.is_empty())
}

/// The variable that every phase reads first (GEN-01).
const API: &str = "CNB_PLATFORM_API";

/// Why a phase ended: `failed to ACTION: CAUSE`.
#[derive(Debug, thiserror::Error)]
#[error("failed to {action}: {cause}")]
pub(crate) struct PhaseError {
    action: String,
    cause: String,
    code: u8,
}

impl PhaseError {
    fn new(action: impl Into<String>, cause: impl Into<String>, code: lifecycle_spec::ExitCode) -> Self {
        Self {
            action: action.into(),
            cause: cause.into(),
            code: code.number(),
        }
    }

    /// Wrong arguments.
    fn arguments(cause: impl Into<String>) -> Self {
        Self::new(
            "parse arguments",
            cause,
            lifecycle_spec::ExitCode::InvalidArguments,
        )
    }

    /// Arguments, variables or files that cannot mean anything.
    fn inputs(cause: impl Into<String>) -> Self {
        Self::new(
            "resolve inputs",
            cause,
            lifecycle_spec::ExitCode::InvalidArguments,
        )
    }
}

/// Runs what was asked for, and says how it ended.
pub(crate) fn run(invocation: Invocation, environment: Environment) -> ExitCode {
    // There are no flags yet that would say otherwise.
    let log = Log {
        color: !no_color(&environment),
        ..Log::default()
    };
    let (phase, arguments) = match invocation {
        Invocation::Phase(phase, arguments) => (phase, arguments),
        Invocation::Launcher => {
            log.error(
                "failed to launch: the launcher is a program of its own; app images have it as /cnb/lifecycle/launcher, \
                 `lifecycle run` starts them",
            );
            return lifecycle_spec::ExitCode::Launch.into();
        }
        Invocation::Version => {
            log.info(env!("CARGO_PKG_VERSION"));
            return ExitCode::SUCCESS;
        }
    };
    let api = match PlatformApi::negotiate(environment.text(API)) {
        Ok(api) => api,
        Err(error) => {
            log.error(&error.to_string());
            return error.exit_code().into();
        }
    };
    let parsed = match inputs::parse(&arguments, phase, api) {
        Ok(parsed) => parsed,
        Err(error) => return refuse(&error, phase, api),
    };
    match begin(phase, api, parsed, &environment) {
        Ok(()) => ExitCode::SUCCESS,
        Err((log, error)) => {
            log.error(&error.to_string());
            ExitCode::from(error.code)
        }
    }
}

fn no_color(environment: &Environment) -> bool {
    environment.flag("CNB_NO_COLOR") || environment.os("NO_COLOR").is_some()
}

/// As Go's flag package does: the error and the usage on stderr, and 2; for help 0.
fn refuse(error: &FlagError, phase: PhaseName, api: PlatformApi) -> ExitCode {
    use std::io::Write;
    let (text, code) = match error {
        FlagError::Help => (inputs::usage(phase, api), ExitCode::SUCCESS),
        error => (
            format!("{error}\n{}", inputs::usage(phase, api)),
            lifecycle_spec::ExitCode::Flags.into(),
        ),
    };
    // Whoever closed stderr does not want to read it.
    drop(std::io::stderr().write_all(text.as_bytes()));
    code
}

/// Sets up the log, then runs the phase.
fn begin(
    phase: PhaseName,
    api: PlatformApi,
    parsed: Parsed,
    environment: &Environment,
) -> Result<(), (Log, PhaseError)> {
    let mut log = Log {
        color: !no_color(environment),
        headlines: phase == PhaseName::Create,
        ..Log::default()
    };
    let failed = |log: Log| move |error: PhaseError| (log, error);
    let directory = std::env::current_dir()
        .map_err(|error| {
            PhaseError::new(
                "find the working directory",
                error.to_string(),
                lifecycle_spec::ExitCode::Generic,
            )
        })
        .map_err(failed(log))?;
    let inputs = Inputs::new(phase, api, parsed, environment, directory);
    log.color &= !inputs.boolean("no-color");
    let level = inputs.text("log-level").unwrap_or_default();
    log.level = Level::parse(&level)
        .ok_or_else(|| {
            let cause = format!("{level:?} is not a level: it is one of debug, info, warn, error and fatal");
            PhaseError::new("parse log level", cause, lifecycle_spec::ExitCode::Generic)
        })
        .map_err(failed(log))?;
    if inputs.boolean("version") {
        log.info(env!("CARGO_PKG_VERSION"));
        return Ok(());
    }
    for argument in inputs.flag_like() {
        log.warning(&format!("unconsumed flag-like positional arg: \n\t{argument}\n\t This will not be interpreted as a flag.\n\t Did you mean to put this before the first positional argument?"));
    }
    run::run(&inputs, environment, log).map_err(failed(log))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(words: &str, variables: &[(&str, &str)]) -> Option<Invocation> {
        let words: Vec<OsString> = words.split_whitespace().map(OsString::from).collect();
        Invocation::of(&words, &Environment::from_pairs(variables))
    }

    #[test]
    fn names_and_verbs_are_phases_gen_08() {
        let api = [("CNB_PLATFORM_API", "0.12")];
        for (program, verb, phase) in [
            ("analyzer", "analyze", PhaseName::Analyze),
            ("detector", "detect", PhaseName::Detect),
            ("restorer", "restore", PhaseName::Restore),
            ("extender", "extend", PhaseName::Extend),
            ("builder", "build -layers /l", PhaseName::Build),
            ("exporter", "export", PhaseName::Export),
            ("creator", "create", PhaseName::Create),
            ("rebaser", "rebase", PhaseName::Rebase),
        ] {
            for words in [
                program.to_owned(),
                format!("/cnb/lifecycle/{program} x"),
                format!("{program}.exe x"),
                format!("/usr/bin/lifecycle {verb}"),
            ] {
                assert!(
                    matches!(of(&words, &api), Some(Invocation::Phase(found, _)) if found == phase),
                    "{words}"
                );
            }
        }
        assert_eq!(of("/cnb/lifecycle/launcher", &[]), Some(Invocation::Launcher));
        assert_eq!(of("lifecycle -version", &[]), Some(Invocation::Version));
        for words in ["lifecycle", "lifecycle run x", "lifecycle --version", ""] {
            assert_eq!(of(words, &[]), None, "{words}");
        }
    }

    #[test]
    fn build_and_rebase_are_phases_only_for_platforms() {
        let api = [("CNB_PLATFORM_API", "0.12")];
        for (words, variables, is_phase) in [
            ("lifecycle build", &[][..], false),
            ("lifecycle build", &api, true),
            ("lifecycle build -app /a -layers=/l", &api, true),
            ("lifecycle build .", &api, false),
            ("lifecycle build -t demo", &api, false),
            ("lifecycle build . -t demo", &[], false),
            ("lifecycle rebase demo", &[], false),
            ("lifecycle rebase demo", &api, true),
        ] {
            assert_eq!(of(words, variables).is_some(), is_phase, "{words} {variables:?}");
        }
    }
}
