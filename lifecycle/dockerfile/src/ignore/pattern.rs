//! One pattern of an ignore file.
//!
//! `*` and `?` stay within a path element, `**` spans any number of them, `[a-z]` and `[^a-z]` are classes, and a
//! backslash takes the next character literally. Everything else is literal, `|`, braces and `^` too (J7).

use super::PatternError;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PathPattern {
    tokens: Vec<Token>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Literal(Vec<u8>),
    /// `?`: one character but the slash.
    One,
    /// `*`: any number of characters but the slash.
    Some,
    /// `**` or `**/` before something: nothing, or any path up to and with a slash.
    Directories,
    /// `**` before the first literal without a slash between: any path at all.
    Anything,
    Class {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
}

impl PathPattern {
    /// Reads a cleaned pattern.
    pub(super) fn parse(text: &[u8]) -> Result<Self, PatternError> {
        let mut tokens = Vec::new();
        let mut rest = text;
        while let Some(&first) = rest.first() {
            rest = match first {
                b'*' if rest.starts_with(b"**") => parse_double_star(&mut tokens, &rest[2..]),
                b'*' => {
                    tokens.push(Token::Some);
                    &rest[1..]
                }
                b'?' => {
                    tokens.push(Token::One);
                    &rest[1..]
                }
                b'[' => parse_class(&mut tokens, &rest[1..])?,
                b'\\' => {
                    let length = character(&rest[1..]).ok_or(PatternError::OpenEscape)?.1;
                    push_literal(&mut tokens, &rest[1..=length]);
                    &rest[1 + length..]
                }
                _ => {
                    push_literal(&mut tokens, &rest[..1]);
                    &rest[1..]
                }
            };
        }
        Ok(Self { tokens })
    }

    pub(super) fn matches(&self, path: &[u8]) -> bool {
        match self.tokens.as_slice() {
            [Token::Literal(text)] => text == path,
            tokens => matches(tokens, path),
        }
    }

    /// Whether something inside the directory `path` might match. Errs on the side of yes.
    pub(super) fn may_match_beneath(&self, path: &[u8]) -> bool {
        let Some(Token::Literal(prefix)) = self.tokens.first() else {
            return true;
        };
        let shared = prefix.len().min(path.len());
        if prefix[..shared] != path[..shared] {
            return false;
        }
        // `a/b` is beneath `a`; `ab` is not, unless a wildcard follows and makes anything of it.
        match prefix.get(path.len()) {
            Some(&next) => next == b'/',
            None => self.tokens.len() > 1,
        }
    }

    /// `*`, `**` or `**/*`.
    pub(super) fn is_everything(&self) -> bool {
        matches!(
            self.tokens.as_slice(),
            [Token::Some | Token::Anything] | [Token::Directories, Token::Some]
        )
    }
}

/// `**`, which swallows a slash behind it. At the very end it matches anything. At the very start and directly
/// before plain text it is a test of the path's end.
fn parse_double_star<'t>(tokens: &mut Vec<Token>, behind: &'t [u8]) -> &'t [u8] {
    let slash = behind.first() == Some(&b'/');
    let rest = if slash { &behind[1..] } else { behind };
    let plain = !rest.iter().any(|byte| b"*?[\\".contains(byte));
    if rest.is_empty() || (tokens.is_empty() && !slash && plain) {
        tokens.push(Token::Anything);
    } else {
        tokens.push(Token::Directories);
    }
    rest
}

fn push_literal(tokens: &mut Vec<Token>, bytes: &[u8]) {
    match tokens.last_mut() {
        Some(Token::Literal(text)) => text.extend_from_slice(bytes),
        _ => tokens.push(Token::Literal(bytes.to_vec())),
    }
}

/// A class behind its `[`: at least one character or range, `^` first for the opposite.
fn parse_class<'t>(tokens: &mut Vec<Token>, behind: &'t [u8]) -> Result<&'t [u8], PatternError> {
    let (negated, mut rest) = match behind.strip_prefix(b"^") {
        Some(rest) => (true, rest),
        None => (false, behind),
    };
    let mut ranges = Vec::new();
    while !rest.starts_with(b"]") || ranges.is_empty() {
        let (low, next) = class_character(rest)?;
        let (high, next) = match next.strip_prefix(b"-") {
            Some(next) => class_character(next)?,
            None => (low, next),
        };
        ranges.push((low, high));
        rest = next;
    }
    tokens.push(Token::Class { negated, ranges });
    Ok(&rest[1..])
}

fn class_character(text: &[u8]) -> Result<(char, &[u8]), PatternError> {
    let text = match text.first() {
        None | Some(b'-' | b']') => return Err(PatternError::Class),
        Some(b'\\') => &text[1..],
        Some(_) => text,
    };
    let (character, length) = character(text).ok_or(PatternError::Class)?;
    Ok((character, &text[length..]))
}

/// The first character and its length; a byte that is not UTF-8 counts as one.
fn character(bytes: &[u8]) -> Option<(char, usize)> {
    let window = &bytes[..bytes.len().min(4)];
    match window.utf8_chunks().next()?.valid().chars().next() {
        Some(character) => Some((character, character.len_utf8())),
        None => Some((char::REPLACEMENT_CHARACTER, 1)),
    }
}

/// Follows all readings of the pattern at once: the offsets that the tokens so far can lead to, sorted and without
/// repetition. Costs at most tokens times path, whatever the pattern.
fn matches(tokens: &[Token], path: &[u8]) -> bool {
    let mut offsets = vec![0];
    for token in tokens {
        offsets = advance(token, path, &offsets);
        if offsets.is_empty() {
            return false;
        }
    }
    offsets.last() == Some(&path.len())
}

/// The offsets that one token leads to.
fn advance(token: &Token, path: &[u8], offsets: &[usize]) -> Vec<usize> {
    let first = offsets.first().copied().unwrap_or(path.len());
    match token {
        Token::Literal(text) => offsets
            .iter()
            .filter(|&&at| path[at..].starts_with(text))
            .map(|at| at + text.len())
            .collect(),
        Token::One => characters_where(path, offsets, |found| found != '/'),
        Token::Class { negated, ranges } => characters_where(path, offsets, |found| {
            ranges.iter().any(|&(low, high)| (low..=high).contains(&found)) != *negated
        }),
        Token::Some => {
            let mut reached = Vec::new();
            for &at in offsets {
                // An offset inside a stretch that was reached before leads nowhere new.
                if reached.last().is_none_or(|&last| last < at) {
                    let length = path[at..]
                        .iter()
                        .position(|&byte| byte == b'/')
                        .unwrap_or(path.len() - at);
                    reached.extend(at..=at + length);
                }
            }
            reached
        }
        Token::Directories => {
            let behind_slash = |&at: &usize| at > first && path[at - 1] == b'/';
            (first..=path.len())
                .filter(|at| behind_slash(at) || offsets.binary_search(at).is_ok())
                .collect()
        }
        Token::Anything => (first..=path.len()).collect(),
    }
}

fn characters_where(path: &[u8], offsets: &[usize], wanted: impl Fn(char) -> bool) -> Vec<usize> {
    let character = |&at: &usize| {
        character(&path[at..])
            .filter(|&(found, _)| wanted(found))
            .map(|(_, length)| at + length)
    };
    offsets.iter().filter_map(character).collect()
}
