//! Errors that several parts report in the same words.

use lifecycle_diagnostics::Diagnostic;

use crate::expand::ExpandError;
use crate::line::Word;

/// A word that cannot be expanded.
pub(crate) fn expansion_fault(error: &ExpandError, word: &Word) -> Diagnostic {
    let span = word.span_at(error.offset);
    Diagnostic::error(
        "invalid-expansion",
        format!("failed to process {:?}: {}", word.text, error.kind),
    )
    .at(span)
}
