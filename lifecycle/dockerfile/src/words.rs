//! Cutting an instruction's arguments into flags and words, before anything is expanded (A12, A15, A18).

use lifecycle_diagnostics::Span;

use crate::line::{Part, Word};

/// A `--name[=value]` word with quotes and escapes removed.
#[derive(Debug, Clone)]
pub(crate) struct FlagWord {
    pub(crate) text: String,
    pub(crate) span: Span,
}

/// Takes the leading `--flag` words off; a lone `--` ends them and is dropped (A12).
pub(crate) fn split_flags(part: Part<'_>, escape: char) -> (Vec<FlagWord>, Part<'_>) {
    let text = part.as_str();
    let mut flags = Vec::new();
    let mut at = 0;
    loop {
        at += text[at..].len() - text[at..].trim_start().len();
        if !text[at..].starts_with("--") {
            return (flags, part.from(at));
        }
        let (flag, length) = unquote_word(&text[at..], escape);
        let span = part.slice(at..at + length).span();
        at += length;
        if flag == "--" {
            return (flags, part.from(at));
        }
        flags.push(FlagWord { text: flag, span });
    }
}

/// The first word of `text` without its quotes and escapes, and how many bytes it took. White space inside quotes
/// does not end it.
fn unquote_word(text: &str, escape: char) -> (String, usize) {
    let mut word = String::new();
    let mut quote = None;
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match quote {
            None if character.is_whitespace() => return (word, at),
            None if character == '\'' || character == '"' => quote = Some(character),
            Some(open) if character == open => quote = None,
            // An escape at the very end is dropped.
            _ if character == escape => word.extend(characters.next().map(|(_, escaped)| escaped)),
            _ => word.push(character),
        }
    }
    (word, text.len())
}

/// Splits at white space outside quotes; quotes and escapes stay for the expansion (A18).
pub(crate) fn split_words(part: Part<'_>, escape: char) -> Vec<Word> {
    let text = part.as_str();
    let mut words = Vec::new();
    let mut at = 0;
    loop {
        at += text[at..].len() - text[at..].trim_start().len();
        if at == text.len() {
            return words;
        }
        let (word, length) = quoted_word(&text[at..], escape);
        if !word.is_empty() {
            words.push(Word {
                text: word,
                span: part.slice(at..at + length).span(),
            });
        }
        at += length;
    }
}

/// The first word of `text` as written, and how many bytes it took.
fn quoted_word(text: &str, escape: char) -> (String, usize) {
    let mut word = String::new();
    let mut quote = None;
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match quote {
            None if character.is_whitespace() => return (word, at),
            None if character == '\'' || character == '"' => quote = Some(character),
            Some(open) if character == open => quote = None,
            _ => {}
        }
        // Nothing can be escaped in single quotes; an escape at the very end is dropped.
        if character == escape && quote != Some('\'') {
            let Some((_, escaped)) = characters.next() else {
                continue;
            };
            word.push(character);
            word.push(escaped);
        } else {
            word.push(character);
        }
    }
    (word, text.len())
}
