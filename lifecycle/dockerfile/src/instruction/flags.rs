//! `--name[=value]` flags against the list an instruction knows (A12, A13).

use lifecycle_diagnostics::{Diagnostic, nearest};

use crate::line::Word;
use crate::words::FlagWord;

/// What a flag takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flag {
    /// Nothing, `=true` or `=false`.
    Switch,
    /// A value.
    Text,
    /// A value, any number of times.
    Texts,
}

/// The flags of one instruction, checked.
#[derive(Debug)]
pub(super) struct Flags {
    given: Vec<(&'static str, Word)>,
}

impl Flags {
    pub(super) fn parse(words: &[FlagWord], known: &[(&'static str, Flag)]) -> Result<Self, Diagnostic> {
        let mut given: Vec<(&'static str, Word)> = Vec::new();
        for word in words {
            let body = word.text.strip_prefix("--").unwrap_or(&word.text);
            let (name, value) = match body.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (body, None),
            };
            let Some(&(name, kind)) = known.iter().find(|(other, _)| *other == name) else {
                return Err(unknown_flag(word, name, known));
            };
            if kind != Flag::Texts && given.iter().any(|(other, _)| *other == name) {
                return Err(fault(
                    "duplicate-flag",
                    format!("duplicate flag specified: --{name}"),
                    word,
                ));
            }
            let text = match (kind, value) {
                (Flag::Switch, None) => "true".to_owned(),
                (Flag::Switch, Some(value)) => parse_switch(name, value, word)?,
                (Flag::Text | Flag::Texts, Some(value)) => value.to_owned(),
                (Flag::Text | Flag::Texts, None) => return Err(missing_value(name, word)),
            };
            given.push((
                name,
                Word {
                    text,
                    span: word.span.clone(),
                },
            ));
        }
        Ok(Self { given })
    }

    /// The value of a flag, if it was given.
    pub(super) fn text(&self, name: &str) -> Option<Word> {
        self.texts(name).into_iter().next()
    }

    /// Every value of a flag, in order.
    pub(super) fn texts(&self, name: &str) -> Vec<Word> {
        self.given
            .iter()
            .filter(|(other, _)| *other == name)
            .map(|(_, value)| value.clone())
            .collect()
    }

    /// Whether a switch was given, and how.
    pub(super) fn switch(&self, name: &str) -> Option<bool> {
        self.text(name).map(|value| value.text == "true")
    }
}

fn parse_switch(name: &str, value: &str, word: &FlagWord) -> Result<String, Diagnostic> {
    let lower = value.to_lowercase();
    match lower.as_str() {
        "true" | "false" => Ok(lower),
        "" => Err(missing_value(name, word)),
        _ => {
            let message = format!("expecting boolean value for flag --{name}, not: {value}");
            Err(fault("invalid-flag", message, word))
        }
    }
}

fn missing_value(name: &str, word: &FlagWord) -> Diagnostic {
    fault("invalid-flag", format!("missing a value on flag: --{name}"), word)
}

fn unknown_flag(word: &FlagWord, name: &str, known: &[(&'static str, Flag)]) -> Diagnostic {
    let diagnostic = fault("unknown-flag", format!("unknown flag: --{name}"), word);
    match nearest(name, known.iter().map(|(name, _)| *name)) {
        Some(meant) => diagnostic.help(format!("did you mean --{meant}?")),
        None if known.is_empty() => diagnostic.note("this instruction takes no flags"),
        None => {
            let names: Vec<String> = known.iter().map(|(name, _)| format!("--{name}")).collect();
            diagnostic.help(format!("flags are {}", names.join(", ")))
        }
    }
}

fn fault(code: &'static str, message: String, word: &FlagWord) -> Diagnostic {
    Diagnostic::error(code, message).at(word.span.clone())
}
