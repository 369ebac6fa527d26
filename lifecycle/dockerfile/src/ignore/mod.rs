//! `.dockerignore` files and `--exclude` patterns (section J, H21).
//!
//! The last line that matches a path, or a directory above it, decides (J3); a line that starts with `!` brings
//! paths back. Matching is on text only: symbolic links are not followed (J5).
//!
//! For one path there is [`Ignore::matches`]. A walk keeps a [`Directory`] per level, so that nothing is matched
//! twice, and asks [`Ignore::skips`] which directories hold nothing of interest.
//!
//! `--exclude` has two traps that belong to who copies, not to who matches: its patterns are relative to each
//! source directory (H21), and a file that the source pattern itself named is copied all the same (H22).

mod pattern;

use lifecycle_diagnostics::{Diagnostic, Source, Span};

use crate::line::{BYTE_ORDER_MARK, LONGEST_LINE};
use pattern::PathPattern;

/// A list of patterns.
#[derive(Debug, Clone, Default)]
pub struct Ignore {
    rules: Vec<Rule>,
}

#[derive(Debug, Clone)]
struct Rule {
    pattern: PathPattern,
    /// `!`: what matches is not ignored after all.
    negated: bool,
}

/// What a walk knows about the directory it is in.
#[derive(Debug, Clone, Default)]
pub struct Directory {
    /// For each rule, whether the directory or one above it matches. Empty at the root.
    matched: Vec<bool>,
}

/// Why a pattern cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// `!` with nothing behind it (J2).
    #[error("a lone ! excludes nothing")]
    LoneNegation,
    /// A character class that does not end, is empty, or has a broken range.
    #[error("syntax error in character class")]
    Class,
    /// A backslash at the end.
    #[error("a backslash at the end escapes nothing")]
    OpenEscape,
}

impl Ignore {
    /// Reads an ignore file (J2); `name` is for messages.
    pub fn parse(name: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Result<Self, Vec<Diagnostic>> {
        let source = Source::new(name, bytes);
        let mut rules = Vec::new();
        let mut errors = Vec::new();
        for number in 1..=source.line_count() {
            let range = source.line_range(number);
            if range.len() > LONGEST_LINE {
                errors.push(too_long(source.span(range.start + LONGEST_LINE..range.end)));
                continue;
            }
            let line = &source.bytes()[range];
            let line = if number == 1 {
                line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line)
            } else {
                line
            };
            // Only in the first column: ` # x` is a pattern.
            if line.starts_with(b"#") {
                continue;
            }
            match Rule::parse(line) {
                Ok(rule) => rules.extend(rule),
                Err(error) => errors.push(
                    Diagnostic::error("invalid-ignore-pattern", error.to_string())
                        .at(source.lines_span(number, number)),
                ),
            }
        }
        if errors.is_empty() {
            Ok(Self { rules })
        } else {
            Err(errors)
        }
    }

    /// From single patterns, as `--exclude` gives them.
    pub fn from_patterns<P: AsRef<[u8]>>(
        patterns: impl IntoIterator<Item = P>,
    ) -> Result<Self, PatternError> {
        let rules = patterns.into_iter().map(|pattern| Rule::parse(pattern.as_ref()));
        let rules: Vec<Option<Rule>> = rules.collect::<Result<_, _>>()?;
        Ok(Self {
            rules: rules.into_iter().flatten().collect(),
        })
    }

    /// Whether there is no pattern.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Whether `path` is ignored. The path is relative to the context, with slashes, without a leading one; bytes,
    /// because names need not be UTF-8.
    pub fn matches(&self, path: impl AsRef<[u8]>) -> bool {
        let path = path.as_ref();
        let parents = || {
            path.iter()
                .enumerate()
                .filter(|&(_, &byte)| byte == b'/')
                .map(|(at, _)| &path[..at])
        };
        let decisive =
            self.rules.iter().rev().find(|rule| {
                rule.pattern.matches(path) || parents().any(|parent| rule.pattern.matches(parent))
            });
        decisive.is_some_and(|rule| !rule.negated)
    }

    /// Whether `path` is ignored, given what is known of its directory. The result equals [`Ignore::matches`].
    pub fn matches_in(&self, parent: &Directory, path: impl AsRef<[u8]>) -> bool {
        let path = path.as_ref();
        let mut rules = self.rules.iter().enumerate().rev();
        let decisive = rules.find(|(at, rule)| parent.matches(*at) || rule.pattern.matches(path));
        decisive.is_some_and(|(_, rule)| !rule.negated)
    }

    /// What a walk has to know to go down into the directory `path` of `parent`. The root is
    /// `Directory::default()`.
    pub fn enter(&self, parent: &Directory, path: impl AsRef<[u8]>) -> Directory {
        let path = path.as_ref();
        let rules = self.rules.iter().enumerate();
        Directory {
            matched: rules
                .map(|(at, rule)| parent.matches(at) || rule.pattern.matches(path))
                .collect(),
        }
    }

    /// Whether a walk may leave the directory `path` out: it is ignored and no `!` can bring back anything below.
    pub fn skips(&self, parent: &Directory, path: impl AsRef<[u8]>) -> bool {
        let path = path.as_ref();
        self.matches_in(parent, path)
            && !self
                .rules
                .iter()
                .any(|rule| rule.negated && rule.pattern.may_match_beneath(path))
    }

    /// Whether any pattern is negated.
    pub(crate) fn has_negations(&self) -> bool {
        self.rules.iter().any(|rule| rule.negated)
    }

    /// Whether a pattern ignores every entry of the root.
    pub(crate) fn ignores_root(&self) -> bool {
        self.rules
            .iter()
            .any(|rule| !rule.negated && rule.pattern.is_everything())
    }
}

impl Directory {
    fn matches(&self, rule: usize) -> bool {
        self.matched.get(rule).copied().unwrap_or(false)
    }
}

impl Rule {
    /// One line: trimmed, cleaned, leading slash dropped; `None` if it is blank.
    fn parse(line: &[u8]) -> Result<Option<Self>, PatternError> {
        let text = trim(line);
        let (negated, text) = match text.strip_prefix(b"!") {
            Some(rest) => (true, trim(rest)),
            None => (false, text),
        };
        if text.is_empty() {
            return if negated {
                Err(PatternError::LoneNegation)
            } else {
                Ok(None)
            };
        }
        Ok(Some(Self {
            pattern: PathPattern::parse(&clean(text))?,
            negated,
        }))
    }
}

fn trim(bytes: &[u8]) -> &[u8] {
    match str::from_utf8(bytes) {
        Ok(text) => text.trim().as_bytes(),
        Err(_) => bytes.trim_ascii(),
    }
}

/// Resolves `.`, `..` and repeated slashes and drops a leading slash; what leads above the root matches nothing.
fn clean(path: &[u8]) -> Vec<u8> {
    let mut elements: Vec<&[u8]> = Vec::new();
    let rooted = path.starts_with(b"/");
    for element in path.split(|&byte| byte == b'/') {
        match element {
            b"" | b"." => {}
            b".." if elements.last().is_some_and(|last| *last != b"..") => {
                elements.pop();
            }
            b".." if rooted => {}
            element => elements.push(element),
        }
    }
    match elements.join(&b'/') {
        empty if empty.is_empty() => b".".to_vec(),
        joined => joined,
    }
}

fn too_long(span: Span) -> Diagnostic {
    Diagnostic::error(
        "line-too-long",
        format!("line is longer than {LONGEST_LINE} bytes"),
    )
    .at(span)
}
