//! Heredocs on RUN, COPY and ADD (section C).

use lifecycle_diagnostics::Span;

use crate::environment::Environment;
use crate::expand::Expander;

/// A heredoc as its operator announces it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HeredocStart {
    /// The word, quotes removed: the terminator, and the file's name for COPY and ADD.
    pub(crate) name: String,
    /// No part of the word was quoted, so variables in the body are replaced.
    pub(crate) expand: bool,
    /// `<<-`: leading tabs are dropped from every line.
    pub(crate) strip_tabs: bool,
}

/// A heredoc with its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heredoc {
    /// The word, quotes removed: the terminator, and the file's name for COPY and ADD (C5).
    pub name: String,
    /// Whether variables in the body are replaced: no part of the word was quoted (C2).
    pub expand: bool,
    /// Whether leading tabs are dropped from every line: `<<-` (C2).
    pub strip_tabs: bool,
    /// The body as it stands in the file, without the terminator line.
    pub body: Span,
}

impl HeredocStart {
    /// Reads a word of the form `[fd]<<[-]word`; `None` if it is something else.
    pub(crate) fn parse(word: &str) -> Option<Self> {
        let rest = word
            .trim_start_matches(|character: char| character.is_ascii_digit())
            .strip_prefix("<<")?;
        let (strip_tabs, rest) = match rest.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, rest),
        };
        let rest = rest.trim_start_matches(['\t', '\n', '\x0c', '\r', ' ']);
        if rest.is_empty() || rest.contains('<') {
            return None;
        }
        let nothing = Environment::default();
        let plain = Expander::for_heredoc_name(false).words(rest, &nothing).ok()?;
        let quoted = Expander::for_heredoc_name(true).words(rest, &nothing).ok()?;
        let ([name], [quoted]) = (plain.as_slice(), quoted.as_slice()) else {
            return None;
        };
        let expand = count_quotes(name) == count_quotes(quoted);
        Some(Self {
            name: name.clone(),
            expand,
            strip_tabs,
        })
    }

    /// The heredocs that an instruction's text announces, in order (C3).
    pub(crate) fn find(text: &str) -> Vec<Self> {
        if !text.contains("<<") {
            return Vec::new();
        }
        // A text that is no list of words (an open quote, say) announces nothing: the shell will judge it.
        let words = Expander::for_heredoc_search()
            .words(text, &Environment::default())
            .unwrap_or_default();
        words.iter().filter_map(|word| Self::parse(word)).collect()
    }

    pub(crate) fn with_body(self, body: Span) -> Heredoc {
        Heredoc {
            name: self.name,
            expand: self.expand,
            strip_tabs: self.strip_tabs,
            body,
        }
    }
}

impl Heredoc {
    /// The body with leading tabs dropped where `<<-` asks for it.
    pub fn content(&self) -> Vec<u8> {
        if !self.strip_tabs {
            return self.body.bytes().to_vec();
        }
        let lines = self.body.bytes().split_inclusive(|&byte| byte == b'\n');
        lines
            .flat_map(|line| line.iter().copied().skip_while(|&byte| byte == b'\t'))
            .collect()
    }
}

fn count_quotes(text: &str) -> usize {
    text.matches(['\'', '"']).count()
}
