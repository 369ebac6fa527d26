//! JSON form or shell form (A16): RUN, CMD, ENTRYPOINT, SHELL, HEALTHCHECK, and the lists of COPY, ADD, VOLUME.

use lifecycle_diagnostics::Diagnostic;

use super::Request;
use crate::line::{Part, Word};

/// A command as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandLine {
    /// Text for the SHELL; empty if nothing was written (A20).
    Shell(Word),
    /// Arguments as they are.
    Exec(Vec<String>),
}

pub(super) fn parse(request: &Request<'_>) -> Result<CommandLine, Diagnostic> {
    let command = parse_part(request.arguments)?;
    request.no_flags()?;
    Ok(command)
}

pub(super) fn parse_part(part: Part<'_>) -> Result<CommandLine, Diagnostic> {
    Ok(match json_list(part)? {
        Some(arguments) => CommandLine::Exec(arguments),
        None => CommandLine::Shell(part.word()),
    })
}

/// SHELL takes JSON only (G3).
pub(super) fn parse_shell(request: &Request<'_>) -> Result<Vec<String>, Diagnostic> {
    match parse(request)? {
        CommandLine::Exec(arguments) if !arguments.is_empty() => Ok(arguments),
        CommandLine::Shell(text) if !text.text.is_empty() => Err(Diagnostic::error(
            "shell-not-json",
            "SHELL requires the arguments to be in JSON form",
        )
        .at(text.span)
        .help("for example SHELL [\"/bin/bash\", \"-c\"]")),
        _ => Err(request.at_least_one()),
    }
}

/// A JSON list, or words between blanks.
pub(super) fn parse_list(request: &Request<'_>) -> Result<Vec<Word>, Diagnostic> {
    let part = request.arguments;
    Ok(match json_list(part)? {
        Some(items) => items
            .into_iter()
            .map(|text| Word {
                text,
                span: part.span(),
            })
            .collect(),
        None => part.split_blanks().map(Part::word).collect(),
    })
}

/// Whether a text is in JSON form, well-typed or not.
pub(super) fn is_json(text: &str) -> bool {
    text.starts_with('[') && serde_json::from_str::<Vec<serde_json::Value>>(text).is_ok()
}

/// The strings of a JSON list; `None` if the text is no JSON list. A list of anything but strings is an error,
/// because it cannot be meant as anything else (A16).
fn json_list(part: Part<'_>) -> Result<Option<Vec<String>>, Diagnostic> {
    let text = part.as_str();
    if !text.starts_with('[') {
        return Ok(None);
    }
    let Ok(items) = serde_json::from_str::<Vec<serde_json::Value>>(text) else {
        return Ok(None);
    };
    let strings: Option<Vec<String>> = items
        .into_iter()
        .map(|item| match item {
            serde_json::Value::String(text) => Some(text),
            _ => None,
        })
        .collect();
    strings.map(Some).ok_or_else(|| {
        Diagnostic::error(
            "json-not-strings",
            "a JSON list of arguments may hold strings only",
        )
        .at(part.span())
    })
}
