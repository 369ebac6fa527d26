//! kaniko's command line: this program as `executor` and `warmer`, or `lifecycle executor …` and `lifecycle warmer …`.
//!
//! A job that runs kaniko changes its image name and nothing else. The flags and variables are in one [`table`], which says
//! of each what it does here; [`settings`] are what they ask for. The rest is what `lifecycle build` does, in kaniko's
//! order: context, permission to push, build, files, push, digests. docs/kaniko.md explains what differs.

mod cache;
mod context;
mod executor;
mod flags;
mod login;
mod outputs;
mod plan;
mod push;
mod registries;
mod settings;
mod table;
mod warmer;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use self::flags::{FlagError, Parsed};
use self::settings::{LogSettings, Settings};
use self::table::{Effect, Flag, Holds};
use crate::console::{Console, Level, LogFormat};
use crate::environment::Environment;
use crate::failure::Failure;
use crate::signals::Interruption;

/// A tool of kaniko's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tool {
    /// Builds.
    Executor,
    /// Brings base images.
    Warmer,
}

/// What a command line of the tool is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    Build,
    Warm,
    Login,
    Push,
    Version,
}

/// A tool that was asked for, and its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Invocation {
    tool: Tool,
    words: Vec<String>,
}

impl Invocation {
    /// The tool that the program's name or its first argument asks for, if any.
    pub(crate) fn of(arguments: &[OsString]) -> Option<Self> {
        let named = |name: &str| match name {
            "executor" => Some(Tool::Executor),
            "warmer" => Some(Tool::Warmer),
            _ => None,
        };
        let (program, rest) = arguments.split_first()?;
        let by_name = Path::new(program)
            .file_name()
            .and_then(|name| named(name.to_str()?));
        let (tool, rest) = if let Some(tool) = by_name {
            (tool, rest)
        } else {
            let (word, rest) = rest.split_first()?;
            (named(word.to_str()?)?, rest)
        };
        let words = rest.iter().map(|word| word.to_string_lossy().into_owned());
        Some(Self {
            tool,
            words: words.collect(),
        })
    }
}

impl Tool {
    fn name(self) -> &'static str {
        match self {
            Self::Executor => "executor",
            Self::Warmer => "warmer",
        }
    }
}

impl Verb {
    fn tables(self) -> &'static [&'static [Flag]] {
        match self {
            Self::Build => &[table::EXECUTOR, table::REGISTRY, table::LOGGING],
            Self::Warm => &[table::WARMER, table::REGISTRY, table::LOGGING],
            Self::Login => &[table::LOGIN, table::LOGGING],
            Self::Push => &[table::PUSH, table::REGISTRY, table::LOGGING],
            Self::Version => &[table::LOGGING],
        }
    }
}

/// Runs what was asked for, and says how it ended.
pub(crate) fn run(invocation: &Invocation, environment: Environment) -> ExitCode {
    let plain = Console::new(LogFormat::Text, Level::Info, false, &environment);
    let (verb, words) = verb(invocation);
    let mut settings = Settings::default();
    let parsed = match flags::parse(words, verb.tables(), &mut settings) {
        Ok(parsed) => parsed,
        Err(FlagError::Help) => return shown(plain.result(&help(invocation.tool, verb))),
        Err(error) => {
            return fail(
                &plain,
                Failure::from(error).help(format!("`{} --help` lists the flags", invocation.tool.name())),
            );
        }
    };
    if verb == Verb::Version {
        return shown(plain.result(concat!("lifecycle ", env!("CARGO_PKG_VERSION"))));
    }
    if let Err(failure) = read_variables(&mut settings, &environment) {
        return fail(&plain, failure);
    }
    let console = console(&settings.log, &environment);
    note(&parsed, &environment, &console);
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    let interruption = Interruption::default();
    let done = match verb {
        Verb::Build => match parsed.positionals.first() {
            Some(word) => Err(Failure::new(
                "argument",
                format!("unknown command {word:?} for \"executor\""),
            )),
            None => executor::run(&settings, environment, &console, &interruption),
        },
        Verb::Warm => warmer::run(&settings, environment, &console, &interruption),
        Verb::Login => login::run(&settings, &parsed.positionals, &environment),
        Verb::Push | Verb::Version => push::run(
            &settings,
            &parsed.positionals,
            environment,
            &console,
            &interruption,
        ),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let code = interruption.code(failure.code);
            fail(&console, failure.with_code(code))
        }
    }
}

/// The command among the words, and the words that are its own.
fn verb(invocation: &Invocation) -> (Verb, &[String]) {
    let words = &invocation.words[..];
    let verb = match (invocation.tool, words.first().map(String::as_str)) {
        (Tool::Warmer, _) => return (Verb::Warm, words),
        (Tool::Executor, Some("login")) => Verb::Login,
        (Tool::Executor, Some("push")) => Verb::Push,
        (Tool::Executor, Some("version")) => Verb::Version,
        (Tool::Executor, _) => return (Verb::Build, words),
    };
    (verb, &words[1..])
}

fn shown(written: Result<(), crate::console::ResultsUnwanted>) -> ExitCode {
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => Failure::from(error).exit_code(),
    }
}

fn fail(console: &Console, failure: Failure) -> ExitCode {
    if let Some(diagnostic) = &failure.diagnostic {
        console.diagnostic(diagnostic);
    }
    failure.exit_code()
}

fn console(log: &LogSettings, environment: &Environment) -> Console {
    let level = match log.level.as_str() {
        "trace" | "debug" => Level::Debug,
        "info" => Level::Info,
        _ => Level::Warning,
    };
    let format = match log.format.as_str() {
        "json" => LogFormat::Json,
        _ => LogFormat::Text,
    };
    let console = Console::new(format, level, log.format == "text", environment);
    if log.timestamps {
        console.stamped()
    } else {
        console
    }
}

/// What variables add to the flags (kaniko.md 1.2).
fn read_variables(settings: &mut Settings, environment: &Environment) -> Result<(), Failure> {
    let wrong =
        |name: &str, reason: String| Failure::new("variable", format!("the variable {name}: {reason}"));
    if let Some(mirror) = environment.text("KANIKO_REGISTRY_MIRROR") {
        settings
            .registry
            .maps
            .push(("docker.io".to_owned(), mirror.to_owned()));
    }
    if let Some(maps) = environment.text("KANIKO_REGISTRY_MAP") {
        let maps = settings::maps(maps).map_err(|reason| wrong("KANIKO_REGISTRY_MAP", reason))?;
        settings.registry.maps.extend(maps);
    }
    if let Some(text) = environment.text("KANIKO_NO_PUSH") {
        settings.no_push = settings::boolean(text).map_err(|reason| wrong("KANIKO_NO_PUSH", reason))?;
    }
    if settings.directory.is_none() {
        settings.directory = environment.path("KANIKO_DIR");
    }
    Ok(())
}

/// Says once of each thing that was given without an effect why it has none.
fn note(parsed: &Parsed, environment: &Environment, console: &Console) {
    for flag in &parsed.given {
        if let Effect::Nothing(reason) = flag.effect {
            console.info(format!("--{} has no effect: {reason}", flag.name));
        }
    }
    for (name, value) in environment.all() {
        let (Some(name), Some(value)) = (name.to_str(), value.to_str()) else {
            continue;
        };
        if let Some(reason) = meaningless(name, value) {
            console.info(format!("{name} has no effect: {reason}"));
        }
    }
}

/// Why a variable has no effect, if it is one of kaniko's and has none.
fn meaningless(name: &str, value: &str) -> Option<&'static str> {
    if let Some(feature) = name.strip_prefix(table::PREFIX) {
        let is_on = settings::boolean(value).ok()?;
        let known = table::FEATURES.iter().find(|(known, _)| *known == feature);
        return match (known.map(|(_, holds)| holds), is_on) {
            (None, _) => Some("there is no such behaviour here"),
            (Some(Holds::Always), true) | (Some(Holds::Never(_)), false) => None,
            (Some(Holds::Always), false) => Some("this behaviour cannot be switched off"),
            (Some(Holds::Never(reason) | Holds::Gone(reason)), _) => Some(reason),
        };
    }
    let fits = |known: &str| match known.strip_suffix('*') {
        Some(beginning) => name.starts_with(beginning),
        None => name == known,
    };
    let variable = table::VARIABLES.iter().find(|variable| fits(variable.name))?;
    match variable.effect {
        Effect::Nothing(reason) => Some(reason),
        Effect::Same | Effect::Differs(_) => None,
    }
}

fn help(tool: Tool, verb: Verb) -> String {
    let usage = match verb {
        Verb::Build => "executor [flags]\n       executor login|push|version …",
        Verb::Warm => "warmer [flags]",
        Verb::Login => "executor login REGISTRY [flags]",
        Verb::Push => "executor push FILE|DIRECTORY --destination NAME… [flags]",
        Verb::Version => "executor version",
    };
    let example = match tool {
        Tool::Executor => {
            "executor --context dir:///workspace --dockerfile Dockerfile --destination registry.example.com/me/app:1 --cache"
        }
        Tool::Warmer => "warmer --cache-dir /cache --image debian:12 --image node:22",
    };
    let flags = verb.tables().iter().flat_map(|table| table.iter()).map(|flag| {
        let written = format!("{}{}", flag.written(), flag.kind.shown());
        format!("  {written}\n        {}\n", flag.about)
    });
    let variables = table::VARIABLES.iter().filter(|_| verb == Verb::Build);
    let variables = variables.map(|variable| format!("  {}\n        {}\n", variable.name, variable.about));
    let variables: String = variables.collect();
    let title = if variables.is_empty() {
        ""
    } else {
        "\nVariables:\n"
    };
    format!(
        "Usage: {usage}\n\nAs kaniko's {}; docs/kaniko.md says what differs.\n\nFlags:\n{}{title}{variables}\nExample:\n  {example}\n",
        tool.name(),
        flags.collect::<String>()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(words: &[&str]) -> Option<Invocation> {
        Invocation::of(&words.iter().map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn the_name_of_the_program_or_the_first_word_decides() {
        let executor = |words: &[&str]| {
            Some(Invocation {
                tool: Tool::Executor,
                words: words.iter().map(ToString::to_string).collect(),
            })
        };
        assert_eq!(of(&["/kaniko/executor", "--cache"]), executor(&["--cache"]));
        assert_eq!(of(&["lifecycle", "executor", "--cache"]), executor(&["--cache"]));
        assert_eq!(of(&["/kaniko/warmer"]).unwrap().tool, Tool::Warmer);
        assert_eq!(of(&["lifecycle", "build", "executor"]), None);
        assert_eq!(of(&["lifecycle"]), None);
        let push = executor(&["push", "a.tar", "-d", "x"]).unwrap();
        assert_eq!(verb(&push).0, Verb::Push);
    }

    #[test]
    fn what_has_no_effect_is_noted_once_with_a_reason() {
        assert_eq!(meaningless("FF_KANIKO_COPY_AS_ROOT", "1"), None);
        assert!(meaningless("FF_KANIKO_COPY_AS_ROOT", "false").is_some());
        assert!(meaningless("FF_KANIKO_DISABLE_HTTP2", "1").is_some());
        assert!(meaningless("FF_KANIKO_OF_TOMORROW", "1").is_some());
        assert!(meaningless("OTEL_SERVICE_NAME", "x").is_some());
        assert_eq!(meaningless("KANIKO_DIR", "/k"), None);
        assert_eq!(meaningless("PATH", "/bin"), None);
    }

    #[test]
    fn help_has_every_flag_and_an_example() {
        for (tool, verb) in [(Tool::Executor, Verb::Build), (Tool::Warmer, Verb::Warm)] {
            let text = help(tool, verb);
            for flag in verb.tables().iter().flat_map(|table| table.iter()) {
                assert!(text.contains(&format!("--{}", flag.name)), "{}", flag.name);
            }
            assert!(text.contains("Example:"));
        }
    }

    #[test]
    fn variables_add_to_flags_1_2() {
        let environment = Environment::from_pairs(&[
            ("KANIKO_REGISTRY_MIRROR", "m.test"),
            ("KANIKO_REGISTRY_MAP", "a.test=b.test;c.test=d.test/e"),
            ("KANIKO_NO_PUSH", "1"),
            ("KANIKO_DIR", "/k"),
        ]);
        let mut settings = Settings::default();
        read_variables(&mut settings, &environment).unwrap();
        let pair = |of: &str, at: &str| (of.to_owned(), at.to_owned());
        assert_eq!(
            settings.registry.maps,
            [
                pair("docker.io", "m.test"),
                pair("a.test", "b.test"),
                pair("c.test", "d.test/e")
            ]
        );
        assert!(settings.no_push);
        assert_eq!(settings.directory, Some("/k".into()));
        let wrong = Environment::from_pairs(&[("KANIKO_NO_PUSH", "perhaps")]);
        assert!(read_variables(&mut settings, &wrong).is_err());
    }
}
