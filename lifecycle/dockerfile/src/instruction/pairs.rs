//! ENV and LABEL: `key=value` words, or the legacy form with one key and the rest of the line (A15, A19).

use lifecycle_diagnostics::Diagnostic;

use super::Request;
use crate::line::Word;
use crate::words::split_words;

/// A key and its value, both before expansion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// The key.
    pub key: Word,
    /// The value, quotes still in it.
    pub value: Word,
    /// Whether it was written without `=`.
    pub legacy: bool,
}

pub(super) fn parse(request: &Request<'_>) -> Result<Vec<Pair>, Diagnostic> {
    let words = split_words(request.arguments, request.escape);
    let Some(first) = words.first() else {
        request.no_flags()?;
        return Err(request.at_least_one());
    };
    let pairs = if first.text.contains('=') {
        words
            .into_iter()
            .map(|word| pair(request, word))
            .collect::<Result<Vec<_>, _>>()?
    } else {
        vec![legacy_pair(request)?]
    };
    request.no_flags()?;
    match pairs.iter().find(|pair| pair.key.text.is_empty()) {
        None => Ok(pairs),
        Some(blank) => {
            let message = format!("{} names can not be blank", request.name);
            Err(Diagnostic::error("blank-name", message).at(blank.key.span.clone()))
        }
    }
}

fn pair(request: &Request<'_>, word: Word) -> Result<Pair, Diagnostic> {
    let Some((key, value)) = word.text.split_once('=') else {
        let message = format!("can't find = in {:?}: must be of the form name=value", word.text);
        return Err(Diagnostic::error("missing-equals", message)
            .at(word.span.clone())
            .help(format!(
                "quote values that hold blanks: {} NAME=\"a b\"",
                request.name
            )));
    };
    let value = Word {
        text: value.to_owned(),
        span: word.span_at(key.len() + 1),
    };
    let key = Word {
        text: key.to_owned(),
        span: word.span.clone(),
    };
    Ok(Pair {
        key,
        value,
        legacy: false,
    })
}

fn legacy_pair(request: &Request<'_>) -> Result<Pair, Diagnostic> {
    match request.arguments.split_first_blank() {
        (key, Some(value)) => Ok(Pair {
            key: key.word(),
            value: value.word(),
            legacy: true,
        }),
        (_, None) => Err(request
            .arity(format!("{} must have two arguments", request.name))
            .help(format!("write {} NAME=value", request.name))),
    }
}
