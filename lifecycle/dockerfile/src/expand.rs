//! Words and variables: quotes, escapes and every `$` form (section D).
//!
//! One pass over the characters. Two results come out of it, depending on what is asked: the text with everything
//! replaced ([`Expander::text`]), or the words the text splits into *after* replacement ([`Expander::words`], for
//! EXPOSE and for finding heredocs).

mod words;

use std::collections::BTreeSet;

use self::words::Words;
use crate::environment::Environment;
use crate::pattern::{Pattern, PatternError};

/// How many bytes an expansion may add to its text. No process can be given more, and without a limit forty lines
/// of `ENV A=$A$A` fill any memory.
pub const LONGEST_EXPANSION: usize = 1 << 20;

/// How deep `${A:-${B:-…}}` may nest.
const DEEPEST_NESTING: usize = 64;

/// Replaces variables and removes quotes and escapes.
#[derive(Debug, Clone, Copy)]
pub struct Expander {
    escape: char,
    quotes: Quotes,
    keep_escapes: bool,
    keep_unset: bool,
}

/// What happens to quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quotes {
    /// They quote and are removed.
    Remove,
    /// They quote and stay.
    Keep,
    /// They are text.
    Ignore,
}

/// What an expansion made of a text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Expansion {
    /// The result.
    pub text: String,
    /// Variables that were used and are defined.
    pub used: BTreeSet<String>,
    /// Variables that were used and are not defined (D8).
    pub undefined: BTreeSet<String>,
}

/// Why a text cannot be expanded, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind}")]
pub struct ExpandError {
    /// Byte offset in the text that was expanded.
    pub offset: usize,
    /// What is wrong there.
    pub kind: ExpandErrorKind,
}

/// What is wrong with a text to expand.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum ExpandErrorKind {
    #[error("no matching {0} quote before the end of the word")]
    OpenQuote(&'static str),
    #[error("missing '{0}' in ${{}}")]
    Missing(char),
    #[error("bad substitution")]
    BadSubstitution,
    #[error("unsupported modifier ({0}) in substitution")]
    Modifier(String),
    #[error("{name}: {message}")]
    Required { name: String, message: String },
    #[error("invalid pattern ({pattern}) in substitution: {error}")]
    Pattern { pattern: String, error: PatternError },
    #[error("substitutions are nested more than {DEEPEST_NESTING} deep")]
    TooDeep,
    #[error("expansion adds more than {LONGEST_EXPANSION} bytes")]
    TooLong,
}

impl Expander {
    /// For the words of an instruction (D6), with the escape character of the file (B3).
    pub fn new(escape: char) -> Self {
        Self {
            escape,
            quotes: Quotes::Remove,
            keep_escapes: false,
            keep_unset: false,
        }
    }

    /// For the unquoted body of a COPY or ADD heredoc: quotes are text, and the escape is a backslash whatever the
    /// file says (C6).
    pub fn for_heredoc_body() -> Self {
        Self {
            escape: '\\',
            quotes: Quotes::Ignore,
            keep_escapes: false,
            keep_unset: false,
        }
    }

    /// For finding heredoc words: everything stays as written, only words are split.
    pub(crate) fn for_heredoc_search() -> Self {
        Self {
            escape: '\\',
            quotes: Quotes::Keep,
            keep_escapes: true,
            keep_unset: true,
        }
    }

    /// For the word of a heredoc: variables stay as written.
    pub(crate) fn for_heredoc_name(keep_quotes: bool) -> Self {
        let quotes = if keep_quotes { Quotes::Keep } else { Quotes::Remove };
        Self {
            escape: '\\',
            quotes,
            keep_escapes: false,
            keep_unset: true,
        }
    }

    /// The text with everything replaced.
    pub fn text(&self, text: &str, environment: &Environment) -> Result<Expansion, ExpandError> {
        let (expansion, _) = self.run(text, environment)?;
        Ok(expansion)
    }

    /// The words that the text splits into at white space outside quotes, variables replaced first.
    pub fn words(&self, text: &str, environment: &Environment) -> Result<Vec<String>, ExpandError> {
        let (_, words) = self.run(text, environment)?;
        Ok(words)
    }

    fn run(self, text: &str, environment: &Environment) -> Result<(Expansion, Vec<String>), ExpandError> {
        let mut run = Run {
            expander: self,
            environment,
            text,
            at: 0,
            expansion: Expansion::default(),
            depth: 0,
            limit: text.len() + LONGEST_EXPANSION,
        };
        let mut words = Words::default();
        let text = run
            .until(None, self.keep_escapes, &mut words)
            .map_err(|(offset, kind)| ExpandError { offset, kind })?;
        let mut expansion = run.expansion;
        expansion.text = text;
        Ok((expansion, words.finish()))
    }
}

type Fault = (usize, ExpandErrorKind);

struct Run<'a> {
    expander: Expander,
    environment: &'a Environment,
    text: &'a str,
    at: usize,
    expansion: Expansion,
    depth: usize,
    limit: usize,
}

impl<'a> Run<'a> {
    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let character = self.peek()?;
        self.at += character.len_utf8();
        Some(character)
    }

    fn take(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        if found {
            self.at += wanted.len_utf8();
        }
        found
    }

    /// Everything up to `stop`, which is consumed, or to the end.
    fn until(&mut self, stop: Option<char>, keep_escapes: bool, words: &mut Words) -> Result<String, Fault> {
        let start = self.at;
        let mut result = String::new();
        while let Some(character) = self.peek() {
            if Some(character) == stop {
                self.next();
                return Ok(result);
            }
            let at = self.at;
            match character {
                '$' => {
                    let value = self.dollar()?;
                    words.push_splitting(&value);
                    result.push_str(&value);
                }
                '<' => {
                    let operator = self.heredoc_operator();
                    words.push_whole(operator);
                    result.push_str(operator);
                }
                '\'' if self.expander.quotes != Quotes::Ignore => {
                    let quoted = self.single_quoted()?;
                    words.push_whole(&quoted);
                    result.push_str(&quoted);
                }
                '"' if self.expander.quotes != Quotes::Ignore => {
                    let quoted = self.double_quoted(keep_escapes)?;
                    words.push_whole(&quoted);
                    result.push_str(&quoted);
                }
                _ if character == self.expander.escape => {
                    self.next();
                    if keep_escapes {
                        words.push_raw(character);
                        result.push(character);
                    }
                    // An escape at the very end is dropped (D6).
                    let Some(escaped) = self.next() else { break };
                    words.push_raw(escaped);
                    result.push(escaped);
                }
                _ => {
                    self.next();
                    words.push(character);
                    result.push(character);
                }
            }
            if result.len() > self.limit {
                return Err((at, ExpandErrorKind::TooLong));
            }
        }
        match stop {
            None => Ok(result),
            Some(stop) => Err((start, ExpandErrorKind::Missing(stop))),
        }
    }

    /// `<`, or `<<` with the blanks behind it, so that a heredoc's word stays with its operator.
    fn heredoc_operator(&mut self) -> &'a str {
        let start = self.at;
        self.next();
        if self.take('<') {
            while matches!(self.peek(), Some('\t' | '\r' | ' ')) {
                self.next();
            }
        }
        &self.text[start..self.at]
    }

    fn single_quoted(&mut self) -> Result<String, Fault> {
        let start = self.at;
        let keep = self.expander.quotes == Quotes::Keep;
        let inner = &self.text[start + 1..];
        let length = inner
            .find('\'')
            .ok_or((start, ExpandErrorKind::OpenQuote("single")))?;
        self.at = start + length + 2;
        Ok(if keep {
            self.text[start..self.at].to_owned()
        } else {
            inner[..length].to_owned()
        })
    }

    fn double_quoted(&mut self, keep_escapes: bool) -> Result<String, Fault> {
        let start = self.at;
        let keep = self.expander.quotes == Quotes::Keep;
        let escape = self.expander.escape;
        let mut result = String::new();
        self.next();
        if keep {
            result.push('"');
        }
        loop {
            match self.peek() {
                None => return Err((start, ExpandErrorKind::OpenQuote("double"))),
                Some('"') => {
                    self.next();
                    if keep {
                        result.push('"');
                    }
                    return Ok(result);
                }
                Some('$') => {
                    let value = self.dollar()?;
                    result.push_str(&value);
                }
                Some(character) if character == escape => {
                    self.next();
                    if keep_escapes {
                        result.push(escape);
                    }
                    match self.peek() {
                        None => {}
                        Some(escaped) if escaped == '"' || escaped == '$' || escaped == escape => {
                            self.next();
                            result.push(escaped);
                        }
                        // Before anything else the escape is text (D6).
                        Some(_) => result.push(escape),
                    }
                }
                Some(character) => {
                    self.next();
                    result.push(character);
                }
            }
            if result.len() > self.limit {
                return Err((start, ExpandErrorKind::TooLong));
            }
        }
    }

    /// A variable: `$name` or any of the `${…}` forms (D1).
    fn dollar(&mut self) -> Result<String, Fault> {
        let start = self.at;
        self.next();
        if !self.take('{') {
            let name = self.name();
            if name.is_empty() {
                return Ok("$".to_owned());
            }
            return Ok(match self.value(&name) {
                None if self.expander.keep_unset => format!("${name}"),
                value => value.unwrap_or_default(),
            });
        }
        match self.peek() {
            None => return Err((start, ExpandErrorKind::Missing('}'))),
            Some('{' | '}' | ':') => return Err((start, ExpandErrorKind::BadSubstitution)),
            Some(_) => {}
        }
        self.depth += 1;
        if self.depth > DEEPEST_NESTING {
            return Err((start, ExpandErrorKind::TooDeep));
        }
        let value = self.braced(start);
        self.depth -= 1;
        value
    }

    fn braced(&mut self, start: usize) -> Result<String, Fault> {
        let name = self.name();
        let modifier = self.next().ok_or((start, ExpandErrorKind::Missing('}')))?;
        match modifier {
            '}' => Ok(match self.value(&name) {
                None if self.expander.keep_unset => format!("${{{name}}}"),
                value => value.unwrap_or_default(),
            }),
            '/' => self.replacement(start, &name),
            ':' => {
                let modifier = self.next().ok_or((start, ExpandErrorKind::Missing('}')))?;
                if matches!(modifier, '#' | '%') {
                    return Err((start, ExpandErrorKind::Modifier(format!(":{modifier}"))));
                }
                self.conditional(start, &name, modifier, true)
            }
            '+' | '-' | '?' => self.conditional(start, &name, modifier, false),
            '#' | '%' => self.trimmed(start, &name, modifier),
            other => Err((start, ExpandErrorKind::Modifier(other.to_string()))),
        }
    }

    /// `${n:-w}`, `${n:+w}`, `${n:?w}` and the same without colon, where an empty value counts as set.
    fn conditional(
        &mut self,
        start: usize,
        name: &str,
        modifier: char,
        empty_is_unset: bool,
    ) -> Result<String, Fault> {
        let word = self.until(Some('}'), false, &mut Words::default())?;
        let value = self.value(name);
        let colon = if empty_is_unset { ":" } else { "" };
        if value.is_none() && self.expander.keep_unset {
            return Ok(format!("${{{name}{colon}{modifier}{word}}}"));
        }
        let was_set = value.is_some();
        let present = value.filter(|value| !(empty_is_unset && value.is_empty()));
        match (modifier, present) {
            ('-', present) => Ok(present.unwrap_or(word)),
            ('+', present) => Ok(present.map(|_| word).unwrap_or_default()),
            ('?', Some(value)) => Ok(value),
            ('?', None) => {
                let message = match (word.is_empty(), was_set) {
                    (false, _) => word,
                    (true, true) => "is not allowed to be empty".to_owned(),
                    (true, false) => "is not allowed to be unset".to_owned(),
                };
                Err((
                    start,
                    ExpandErrorKind::Required {
                        name: name.to_owned(),
                        message,
                    },
                ))
            }
            (other, _) => Err((start, ExpandErrorKind::Modifier(format!("{colon}{other}")))),
        }
    }

    /// `${n#p}`, `${n##p}`, `${n%p}`, `${n%%p}`: one removes the shortest match, two the longest (D4).
    fn trimmed(&mut self, start: usize, name: &str, modifier: char) -> Result<String, Fault> {
        let word = self.until(Some('}'), true, &mut Words::default())?;
        let value = match self.value(name) {
            None if self.expander.keep_unset => return Ok(format!("${{{name}{modifier}{word}}}")),
            value => value.unwrap_or_default(),
        };
        let longest = word.strip_prefix(modifier);
        let pattern = parse_pattern(start, longest.unwrap_or(&word))?;
        Ok(match modifier {
            '#' => pattern.trim_start(&value, longest.is_some()).to_owned(),
            _ => pattern.trim_end(&value, longest.is_some()).to_owned(),
        })
    }

    /// `${n/p/r}` replaces the first match, `${n//p/r}` every one.
    fn replacement(&mut self, start: usize, name: &str) -> Result<String, Fault> {
        let every = self.take('/');
        let pattern = self.until(Some('/'), true, &mut Words::default())?;
        let with = self.until(Some('}'), true, &mut Words::default())?;
        let value = match self.value(name) {
            None if self.expander.keep_unset => return Ok(format!("${{{name}/{pattern}/{with}}}")),
            value => value.unwrap_or_default(),
        };
        let pattern = parse_pattern(start, &pattern)?;
        pattern
            .replace(&value, &with, every, self.limit)
            .ok_or((start, ExpandErrorKind::TooLong))
    }

    /// A variable's name: letters, digits and underscores, a number, or one special character (D2).
    fn name(&mut self) -> String {
        let rest = &self.text[self.at..];
        let length = match rest.chars().next() {
            Some(digit) if digit.is_ascii_digit() => rest
                .find(|character: char| !character.is_ascii_digit())
                .unwrap_or(rest.len()),
            Some('@' | '*' | '#' | '?' | '-' | '$' | '!') => 1,
            _ => rest
                .find(|character: char| !character.is_alphanumeric() && character != '_')
                .unwrap_or(rest.len()),
        };
        self.at += length;
        rest[..length].to_owned()
    }

    fn value(&mut self, name: &str) -> Option<String> {
        let value = self.environment.get(name).map(str::to_owned);
        let names = if value.is_some() {
            &mut self.expansion.used
        } else {
            &mut self.expansion.undefined
        };
        names.insert(name.to_owned());
        value
    }
}

fn parse_pattern(offset: usize, text: &str) -> Result<Pattern, Fault> {
    Pattern::parse(text).map_err(|error| {
        (
            offset,
            ExpandErrorKind::Pattern {
                pattern: text.to_owned(),
                error,
            },
        )
    })
}
