//! ARG.

use lifecycle_diagnostics::Diagnostic;

use super::Request;
use crate::line::Word;
use crate::words::split_words;

/// One `NAME` or `NAME=default` of an ARG.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArgDefinition {
    /// The name; it is never expanded.
    pub name: String,
    /// The default, before expansion. `NAME=` has an empty one (E2).
    pub default: Option<Word>,
    /// What a comment `# NAME description` above says (N3).
    pub description: Option<String>,
    /// The whole word.
    pub word: Word,
}

pub(super) fn parse(request: &Request<'_>) -> Result<Vec<ArgDefinition>, Diagnostic> {
    let words = split_words(request.arguments, request.escape);
    if words.is_empty() {
        return Err(request.at_least_one());
    }
    words.into_iter().map(|word| definition(request, word)).collect()
}

fn definition(request: &Request<'_>, word: Word) -> Result<ArgDefinition, Diagnostic> {
    let (name, default) = match word.text.split_once('=') {
        None => (word.text.clone(), None),
        Some(("", _)) => {
            return Err(Diagnostic::error("blank-name", "ARG names can not be blank").at(word.span));
        }
        Some((name, value)) => {
            let span = word.span_at(name.len() + 1);
            (
                name.to_owned(),
                Some(Word {
                    text: value.to_owned(),
                    span,
                }),
            )
        }
    };
    let description = description(request.comments, &name);
    Ok(ArgDefinition {
        name,
        default,
        description,
        word,
    })
}

/// What a comment of the form `name description` says about `name`.
pub(super) fn description(comments: &[String], name: &str) -> Option<String> {
    let texts = comments
        .iter()
        .filter_map(|comment| comment.strip_prefix(name)?.strip_prefix(' '));
    texts.map(str::to_owned).next()
}
