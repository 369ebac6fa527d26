//! Named texts, and where in them something is.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// A named text that messages can point into. Cloning shares the text.
///
/// Two handles are equal when name and bytes are.
#[derive(Clone)]
pub struct Source(Arc<Text>);

#[derive(PartialEq, Eq)]
struct Text {
    name: String,
    bytes: Vec<u8>,
    /// Offset of the first byte of every line; never empty.
    line_starts: Vec<usize>,
}

/// A place in a source as people count it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Line, from 1. Lines end with `\n`.
    pub line: usize,
    /// Column, from 1, in characters. A run of bytes that is not UTF-8 counts as the replacement characters shown
    /// for it.
    pub column: usize,
}

/// A byte range of a source.
#[derive(Clone, PartialEq, Eq)]
pub struct Span {
    source: Source,
    range: Range<usize>,
}

impl Source {
    /// A text with the name that messages show for it: usually the path as the user gave it.
    pub fn new(name: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = bytes.into();
        let after_newlines = bytes
            .iter()
            .enumerate()
            .filter(|&(_, &byte)| byte == b'\n')
            .map(|(at, _)| at + 1);
        let line_starts = std::iter::once(0).chain(after_newlines).collect();
        Self(Arc::new(Text {
            name: name.into(),
            bytes,
            line_starts,
        }))
    }

    /// The name shown in messages.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The whole text.
    pub fn bytes(&self) -> &[u8] {
        &self.0.bytes
    }

    /// How many lines there are; an empty text has one, and a final newline opens another.
    pub fn line_count(&self) -> usize {
        self.0.line_starts.len()
    }

    /// The byte range of line `line` (from 1) without its line ending; empty past the end.
    pub fn line_range(&self, line: usize) -> Range<usize> {
        let end_of_text = self.0.bytes.len();
        let Some(&start) = line
            .checked_sub(1)
            .and_then(|index| self.0.line_starts.get(index))
        else {
            return end_of_text..end_of_text;
        };
        let end = self.0.line_starts.get(line).map_or(end_of_text, |next| next - 1);
        let end = if self.0.bytes[start..end].ends_with(b"\r") {
            end - 1
        } else {
            end
        };
        start..end
    }

    /// Line and column of a byte offset. Offsets past the end mean the end; one inside a character means that
    /// character.
    pub fn position(&self, offset: usize) -> Position {
        let offset = offset.min(self.0.bytes.len());
        let line = self.0.line_starts.partition_point(|&start| start <= offset);
        let start = self.0.line_starts[line - 1];
        // Looking no further than the line keeps a position's cost independent of the text's length.
        let end = self
            .0
            .line_starts
            .get(line)
            .copied()
            .unwrap_or(self.0.bytes.len());
        Position {
            line,
            column: 1 + characters_before(&self.0.bytes[start..end], offset - start),
        }
    }

    /// The span of a byte range, cut to the text.
    pub fn span(&self, range: Range<usize>) -> Span {
        let end = range.end.min(self.0.bytes.len());
        Span {
            source: self.clone(),
            range: range.start.min(end)..end,
        }
    }

    /// The span of whole lines, `first` to `last` (from 1, inclusive), without the last line ending.
    pub fn lines_span(&self, first: usize, last: usize) -> Span {
        self.span(self.line_range(first).start..self.line_range(last).end)
    }
}

impl PartialEq for Source {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0 == other.0
    }
}

impl Eq for Source {}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Source({}, {} bytes)", self.0.name, self.0.bytes.len())
    }
}

impl Span {
    /// The text this span lies in.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// The byte range.
    pub fn range(&self) -> Range<usize> {
        self.range.clone()
    }

    /// The bytes covered.
    pub fn bytes(&self) -> &[u8] {
        &self.source.bytes()[self.range.clone()]
    }

    /// Where the span starts.
    pub fn start(&self) -> Position {
        self.source.position(self.range.start)
    }

    /// Where the span ends: the place just behind its last character.
    pub fn end(&self) -> Position {
        self.source.position(self.range.end)
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}[{:?}]", self.range)
    }
}

/// `name:line:column` of the start, the form that editors and terminals make clickable.
impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Position { line, column } = self.start();
        write!(f, "{}:{line}:{column}", self.source.name())
    }
}

/// How many characters end at or before `offset`, counting each ill-formed sequence as the one replacement
/// character that stands for it.
fn characters_before(bytes: &[u8], offset: usize) -> usize {
    let mut at = 0;
    let mut count = 0;
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            at += character.len_utf8();
            if at > offset {
                return count;
            }
            count += 1;
        }
        if !chunk.invalid().is_empty() {
            at += chunk.invalid().len();
            if at > offset {
                return count;
            }
            count += 1;
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &[u8], offset: usize) -> (usize, usize) {
        let Position { line, column } = Source::new("t", text).position(offset);
        (line, column)
    }

    #[test]
    fn positions_count_from_one() {
        assert_eq!(at(b"", 0), (1, 1));
        assert_eq!(at(b"ab\ncd", 0), (1, 1));
        assert_eq!(at(b"ab\ncd", 2), (1, 3));
        assert_eq!(at(b"ab\ncd", 3), (2, 1));
        assert_eq!(at(b"ab\ncd\n", 6), (3, 1));
        assert_eq!(at(b"ab", 99), (1, 3));
    }

    #[test]
    fn columns_are_characters_not_bytes() {
        let text = "ü€x".as_bytes();
        assert_eq!(at(text, 2), (1, 2));
        assert_eq!(at(text, 5), (1, 3));
        assert_eq!(
            at(text, 3),
            (1, 2),
            "an offset inside a character means that character"
        );
    }

    #[test]
    fn bytes_that_are_not_utf8_count_as_shown() {
        assert_eq!(at(b"a\xffb", 2), (1, 3));
        // A cut three-byte character is shown as one replacement character.
        assert_eq!(at(b"\xe2\x82x", 2), (1, 2));
        assert_eq!(at(b"\xe2\x82", 2), (1, 2));
        assert_eq!(at(b"\xff\xfe\n\xff\xffz", 5), (2, 3));
    }

    #[test]
    fn lines_exclude_their_ending() {
        let source = Source::new("t", "a\r\nbc\n");
        assert_eq!(source.line_range(1), 0..1);
        assert_eq!(source.line_range(2), 3..5);
        assert_eq!(source.line_range(3), 6..6);
        assert_eq!(source.line_range(0), 6..6);
        assert_eq!(source.line_range(9), 6..6);
        assert_eq!(source.lines_span(1, 2).bytes(), b"a\r\nbc");
    }

    #[test]
    fn spans_are_cut_to_the_text() {
        let source = Source::new("t", "abc");
        assert_eq!(source.span(2..9).range(), 2..3);
        assert_eq!(source.span(7..9).range(), 3..3);
        assert_eq!(source.span(1..2).to_string(), "t:1:2");
    }
}
