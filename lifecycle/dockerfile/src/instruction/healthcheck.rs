//! HEALTHCHECK (G11).

use lifecycle_diagnostics::Diagnostic;

use super::flags::{Flag, Flags};
use super::{CommandLine, Request, command_line};
use crate::duration::GoDuration;
use crate::line::Part;

/// How to ask a container for its health.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Healthcheck {
    /// What to run.
    pub test: HealthcheckTest,
    /// `--interval`; zero means the engine's default, as for the others.
    pub interval: GoDuration,
    /// `--timeout`
    pub timeout: GoDuration,
    /// `--start-period`
    pub start_period: GoDuration,
    /// `--start-interval`
    pub start_interval: GoDuration,
    /// `--retries`; zero means the engine's default.
    pub retries: i32,
}

/// What a health check runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HealthcheckTest {
    /// Nothing, not even what the base image says.
    None,
    /// A text for the image's shell; the engine applies it, not the builder.
    Shell(String),
    /// Arguments as they are.
    Exec(Vec<String>),
}

impl HealthcheckTest {
    /// The configuration's `Test` list.
    pub fn to_list(&self) -> Vec<String> {
        match self {
            Self::None => vec!["NONE".to_owned()],
            Self::Shell(text) => vec!["CMD-SHELL".to_owned(), text.clone()],
            Self::Exec(arguments) => std::iter::once("CMD".to_owned())
                .chain(arguments.iter().cloned())
                .collect(),
        }
    }
}

pub(super) fn parse(request: &Request<'_>) -> Result<Healthcheck, Diagnostic> {
    let (kind, command) = split(request.arguments);
    match kind.as_str().to_uppercase().as_str() {
        "" => Err(request.at_least_one()),
        // Flags are swallowed here, as upstream does (A14).
        "NONE" if command.is_empty() || is_empty_list(command.as_str()) => Ok(Healthcheck::none()),
        "NONE" => Err(
            Diagnostic::error("wrong-arguments", "HEALTHCHECK NONE takes no arguments").at(command.span()),
        ),
        "CMD" => {
            let test = match command_line::parse_part(command)? {
                CommandLine::Exec(arguments) if !arguments.is_empty() => HealthcheckTest::Exec(arguments),
                CommandLine::Shell(text) if !text.text.is_empty() => HealthcheckTest::Shell(text.text),
                _ => return Err(request.arity("missing command after HEALTHCHECK CMD".to_owned())),
            };
            with_options(request, test)
        }
        other => {
            let message = format!("unknown type {other:?} in HEALTHCHECK (try CMD)");
            Err(Diagnostic::error("invalid-healthcheck", message).at(kind.span()))
        }
    }
}

/// The kind of the test, and what it runs.
pub(super) fn split(arguments: Part<'_>) -> (Part<'_>, Part<'_>) {
    let text = arguments.as_str();
    let end = text.find(char::is_whitespace).unwrap_or(text.len());
    (arguments.slice(0..end), arguments.from(end).trim())
}

fn is_empty_list(text: &str) -> bool {
    matches!(serde_json::from_str::<Vec<String>>(text), Ok(list) if list.is_empty())
}

impl Healthcheck {
    fn none() -> Self {
        let zero = GoDuration::default();
        Self {
            test: HealthcheckTest::None,
            interval: zero,
            timeout: zero,
            start_period: zero,
            start_interval: zero,
            retries: 0,
        }
    }
}

fn with_options(request: &Request<'_>, test: HealthcheckTest) -> Result<Healthcheck, Diagnostic> {
    let flags = request.flags(&[
        ("interval", Flag::Text),
        ("timeout", Flag::Text),
        ("start-period", Flag::Text),
        ("start-interval", Flag::Text),
        ("retries", Flag::Text),
    ])?;
    Ok(Healthcheck {
        test,
        interval: duration(&flags, "interval")?,
        timeout: duration(&flags, "timeout")?,
        start_period: duration(&flags, "start-period")?,
        start_interval: duration(&flags, "start-interval")?,
        retries: retries(&flags)?,
    })
}

/// Zero is allowed and means the default; anything else is at least a millisecond.
fn duration(flags: &Flags, name: &str) -> Result<GoDuration, Diagnostic> {
    let Some(value) = flags.text(name).filter(|value| !value.text.is_empty()) else {
        return Ok(GoDuration::default());
    };
    let fault = |message: String| {
        Diagnostic::error("invalid-duration", message)
            .at(value.span.clone())
            .help("durations look like 30s, 1m30s or 500ms")
    };
    let duration = GoDuration::parse(&value.text)
        .ok_or_else(|| fault(format!("invalid duration {:?} for --{name}", value.text)))?;
    match duration.nanoseconds() {
        0 => Ok(duration),
        short if short < 1_000_000 => Err(fault(format!("--{name} cannot be less than 1ms"))),
        _ => Ok(duration),
    }
}

fn retries(flags: &Flags) -> Result<i32, Diagnostic> {
    let Some(value) = flags.text("retries").filter(|value| !value.text.is_empty()) else {
        return Ok(0);
    };
    match value.text.parse::<i32>() {
        Ok(count) if count >= 0 => Ok(count),
        Ok(count) => Err(Diagnostic::error(
            "invalid-retries",
            format!("--retries cannot be negative ({count})"),
        )
        .at(value.span)),
        Err(_) => Err(Diagnostic::error(
            "invalid-retries",
            format!("--retries is not a number: {:?}", value.text),
        )
        .at(value.span)),
    }
}
