//! From bytes to logical lines: continuations joined, comments collected, heredoc bodies set aside.
//!
//! A logical line remembers where each of its pieces came from, so that a word on the third continuation line is
//! still reported at its own line and column.

use std::ops::Range;

use lifecycle_diagnostics::{Diagnostic, Source, Span};

use crate::directive::Directives;
use crate::heredoc::{Heredoc, HeredocStart};

/// Longest physical line, without its line ending, in bytes (A2).
pub(crate) const LONGEST_LINE: usize = 65_535;

/// A piece of text as written, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// The text: quotes and variables still in it where the language expands them later.
    pub text: String,
    /// Where it stands. A word that was continued over several lines spans them all.
    pub span: Span,
}

impl Word {
    /// The place of the character at `offset` of the text; the whole word where quotes, escapes or continuations
    /// make text and source differ.
    pub(crate) fn span_at(&self, offset: usize) -> Span {
        let range = self.span.range();
        if range.len() == self.text.len() && offset < self.text.len() {
            self.span.source().span(range.start + offset..range.end)
        } else {
            self.span.clone()
        }
    }
}

/// One instruction's text with its continuation lines joined.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) text: String,
    pub(crate) source: Source,
    /// Every physical line from the instruction word to the last continuation line or heredoc terminator (A21).
    pub(crate) lines: Range<usize>,
    /// Comment lines directly above, without `#`, since the last instruction or empty comment.
    pub(crate) comments: Vec<String>,
    /// The last blank line inside the continuation (A7).
    pub(crate) empty_continuation: Option<Span>,
    /// Offset in `text` and in the source of the start of every physical line's contribution; ascending in both.
    pieces: Vec<(usize, usize)>,
}

impl Line {
    /// Where a byte range of the text stands in the source.
    pub(crate) fn span(&self, range: Range<usize>) -> Span {
        let start = self.source_offset(range.start);
        // The last byte decides which physical line the end belongs to.
        let end = if range.is_empty() {
            start
        } else {
            self.source_offset(range.end - 1) + 1
        };
        self.source.span(start..end)
    }

    fn source_offset(&self, offset: usize) -> usize {
        let piece = self
            .pieces
            .partition_point(|&(text, _)| text <= offset)
            .saturating_sub(1);
        self.pieces
            .get(piece)
            .map_or(0, |&(text, source)| source + (offset - text))
    }

    /// The whole line as a part.
    pub(crate) fn part(&self) -> Part<'_> {
        Part {
            line: self,
            start: 0,
            end: self.text.len(),
        }
    }

    /// All physical lines of the instruction, heredoc bodies included.
    pub(crate) fn whole(&self) -> Span {
        self.source.lines_span(self.lines.start, self.lines.end)
    }
}

/// A part of a logical line.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Part<'a> {
    line: &'a Line,
    start: usize,
    end: usize,
}

impl<'a> Part<'a> {
    pub(crate) fn as_str(self) -> &'a str {
        &self.line.text[self.start..self.end]
    }

    pub(crate) fn is_empty(self) -> bool {
        self.start == self.end
    }

    /// The part of this part; the range counts from this part's start.
    pub(crate) fn slice(self, range: Range<usize>) -> Self {
        Self {
            line: self.line,
            start: self.start + range.start,
            end: self.start + range.end,
        }
    }

    /// From `offset` to the end.
    pub(crate) fn from(self, offset: usize) -> Self {
        self.slice(offset..self.end - self.start)
    }

    /// From here to the end of the logical line.
    pub(crate) fn to_line_end(self) -> Self {
        Self {
            end: self.line.text.len(),
            ..self
        }
    }

    pub(crate) fn trim(self) -> Self {
        let text = self.as_str();
        let start = text.len() - text.trim_start().len();
        self.slice(start..start + text.trim().len())
    }

    pub(crate) fn span(self) -> Span {
        self.line.span(self.start..self.end)
    }

    pub(crate) fn word(self) -> Word {
        Word {
            text: self.as_str().to_owned(),
            span: self.span(),
        }
    }

    /// Splits on ASCII blanks, the only separators between the words of FROM, COPY and their like (A15).
    pub(crate) fn split_blanks(self) -> impl Iterator<Item = Part<'a>> {
        let text = self.as_str();
        text.split(is_blank)
            .filter(|word| !word.is_empty())
            .map(move |word| {
                let start = word.as_ptr() as usize - text.as_ptr() as usize;
                self.slice(start..start + word.len())
            })
    }

    /// Splits at the first run of ASCII blanks.
    pub(crate) fn split_first_blank(self) -> (Part<'a>, Option<Part<'a>>) {
        let text = self.as_str();
        match text.find(is_blank) {
            None => (self, None),
            Some(end) => {
                let rest = text[end..].trim_start_matches(is_blank);
                (self.slice(0..end), Some(self.from(text.len() - rest.len())))
            }
        }
    }
}

/// The blanks that separate words; no other white space does.
pub(crate) fn is_blank(character: char) -> bool {
    matches!(character, '\t' | '\x0b' | '\x0c' | '\r' | ' ')
}

/// Reads logical lines one by one.
pub(crate) struct Reader<'a> {
    source: &'a Source,
    escape: u8,
    /// The next physical line, from 1.
    next: usize,
    comments: Vec<String>,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(source: &'a Source, directives: &Directives) -> Self {
        Self {
            source,
            escape: directives.escape as u8,
            next: 1,
            comments: Vec::new(),
        }
    }

    /// The next logical line, or an error for it; `None` at the end of the file. After an error the reader stands
    /// behind the faulty line.
    pub(crate) fn next_line(&mut self) -> Option<Result<Line, Diagnostic>> {
        loop {
            let number = self.next;
            let line = match self.physical_line()? {
                Ok(line) => line,
                Err(error) => return Some(Err(error)),
            };
            let indent = line.len() - trim_start(&self.source.bytes()[line.clone()]).len();
            let line = line.start + indent..line.end;
            let bytes = &self.source.bytes()[line.clone()];
            if let Some(comment) = bytes.strip_prefix(b"#") {
                self.remember_comment(number, comment);
                continue;
            }
            let (content, continues) = self.split_continuation(bytes);
            if content.is_empty() && !continues {
                continue;
            }
            let start = line.start..line.start + content.len();
            return Some(self.logical_line(number, start, continues));
        }
    }

    /// Joins the lines that continue the one at `first`.
    fn logical_line(
        &mut self,
        number: usize,
        first: Range<usize>,
        mut continues: bool,
    ) -> Result<Line, Diagnostic> {
        let mut bytes = self.source.bytes()[first.clone()].to_vec();
        let mut pieces = vec![(0, first.start)];
        let mut empty_continuation = None;
        let mut too_long = None;
        while continues {
            let number = self.next;
            let line = match self.physical_line() {
                None => break,
                Some(Ok(line)) => line,
                Some(Err(error)) => {
                    too_long.get_or_insert(error);
                    continue;
                }
            };
            let text = &self.source.bytes()[line.clone()];
            match trim_start(text).first() {
                Some(b'#') => {}
                None => empty_continuation = Some(self.source.lines_span(number, number)),
                Some(_) => {
                    let (content, more) = self.split_continuation(text);
                    pieces.push((bytes.len(), line.start));
                    bytes.extend_from_slice(content);
                    continues = more;
                }
            }
        }
        let lines = number..self.next - 1;
        let comments = std::mem::take(&mut self.comments);
        if let Some(error) = too_long {
            return Err(error);
        }
        let line = Line {
            text: String::new(),
            source: self.source.clone(),
            lines,
            comments,
            empty_continuation,
            pieces,
        };
        match String::from_utf8(bytes) {
            Ok(text) => Ok(Line { text, ..line }),
            Err(error) => Err(not_utf8(
                line.span(error.utf8_error().valid_up_to()..error.as_bytes().len()),
            )),
        }
    }

    /// Reads the bodies that `starts` announce, in order, and makes them part of `line`'s place (C3, C4).
    pub(crate) fn heredocs(
        &mut self,
        line: &mut Line,
        starts: Vec<HeredocStart>,
    ) -> Result<Vec<Heredoc>, Diagnostic> {
        let mut bodies = Vec::new();
        for start in starts {
            let body = self.heredoc(line, start);
            line.lines.end = self.next - 1;
            bodies.push(body?);
        }
        Ok(bodies)
    }

    fn heredoc(&mut self, line: &Line, start: HeredocStart) -> Result<Heredoc, Diagnostic> {
        let first = self.source.line_range(self.next).start;
        while let Some(range) = self.physical_line() {
            let range = range?;
            let text = &self.source.bytes()[range.clone()];
            let text = if start.strip_tabs {
                trim_start_tabs(text)
            } else {
                text
            };
            if text == start.name.as_bytes() {
                return Ok(start.with_body(self.source.span(first..range.start)));
            }
        }
        Err(Diagnostic::error("unterminated-heredoc", "unterminated heredoc")
            .at(line.part().span())
            .help(format!(
                "end it with a line that holds {} and nothing else",
                start.name
            )))
    }

    /// The next physical line without its line ending.
    fn physical_line(&mut self) -> Option<Result<Range<usize>, Diagnostic>> {
        let number = self.next;
        let last = self.source.line_count();
        let range = self.source.line_range(number);
        // Behind the final newline there is no line.
        if number > last || (number == last && range.is_empty() && range.start == self.source.bytes().len()) {
            return None;
        }
        self.next += 1;
        if range.len() > LONGEST_LINE {
            let span = self.source.span(range.start + LONGEST_LINE..range.end);
            let message = format!("line is longer than {LONGEST_LINE} bytes");
            return Some(Err(Diagnostic::error("line-too-long", message).at(span)));
        }
        let bytes = &self.source.bytes()[range.clone()];
        let mark = if number == 1 && bytes.starts_with(BYTE_ORDER_MARK) {
            BYTE_ORDER_MARK.len()
        } else {
            0
        };
        let endings = bytes.iter().rev().take_while(|&&byte| byte == b'\r').count();
        Some(Ok(range.start + mark..range.end - endings.min(bytes.len() - mark)))
    }

    fn remember_comment(&mut self, number: usize, comment: &[u8]) {
        let comment = String::from_utf8_lossy(comment).trim().to_owned();
        if comment.is_empty() {
            self.comments.clear();
        } else if !Directives::are_at(self.source, number) {
            self.comments.push(comment);
        }
    }

    /// Cuts a continuation mark off: the escape character and blanks behind it. One that follows another escape
    /// character is text (A6); the test looks back one character only.
    fn split_continuation<'b>(&self, line: &'b [u8]) -> (&'b [u8], bool) {
        let blanks = line
            .iter()
            .rev()
            .take_while(|&&byte| byte == b' ' || byte == b'\t')
            .count();
        match line[..line.len() - blanks].split_last() {
            Some((&last, before)) if last == self.escape && before.last() != Some(&self.escape) => {
                (before, true)
            }
            _ => (line, false),
        }
    }
}

pub(crate) const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

fn not_utf8(span: Span) -> Diagnostic {
    Diagnostic::error("not-utf8", "instruction is not valid UTF-8")
        .at(span)
        .note("only comments and the bodies of heredocs may hold other bytes")
        .help("save the file as UTF-8")
}

/// Without leading white space. Bytes that are not UTF-8 are not white space.
pub(crate) fn trim_start(bytes: &[u8]) -> &[u8] {
    match bytes.utf8_chunks().next() {
        None => bytes,
        Some(chunk) => {
            let valid = chunk.valid();
            &bytes[valid.len() - valid.trim_start().len()..]
        }
    }
}

fn trim_start_tabs(bytes: &[u8]) -> &[u8] {
    let tabs = bytes.iter().take_while(|&&byte| byte == b'\t').count();
    &bytes[tabs..]
}
