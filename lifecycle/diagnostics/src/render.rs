//! The form for people: title, excerpt with underlines, notes and help.

use std::ops::{Range, RangeInclusive};

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{
    Annotation, AnnotationKind, Group, Level, Renderer, Snippet, normalize_untrusted_str,
};

use crate::diagnostic::{Diagnostic, Label, Severity};
use crate::source::Source;

/// How to draw. The caller knows the terminal; this crate never looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RenderOptions {
    /// Use ANSI colours and hyperlinks.
    pub colour: bool,
    /// Draw with box characters in place of ASCII.
    pub unicode: bool,
    /// Columns that excerpts are cut to.
    pub width: usize,
}

/// What suits a log file: no colour, ASCII, 140 columns.
impl Default for RenderOptions {
    fn default() -> Self {
        Self {
            colour: false,
            unicode: false,
            width: 140,
        }
    }
}

/// Lines longer than this are shown in part. An excerpt is for reading; a minified megabyte is not.
const LONGEST_SHOWN_LINE: usize = 2048;

impl Diagnostic {
    /// Draws the message with excerpts of its sources, ending without a newline.
    ///
    /// Control characters in sources and texts come out as visible symbols, never as terminal commands.
    pub fn render(&self, options: RenderOptions) -> String {
        let level = match self.severity {
            Severity::Note => Level::NOTE,
            Severity::Warning => Level::WARNING,
            Severity::Error => Level::ERROR,
        };
        let mut title = level
            .primary_title(self.message.as_str())
            .id(printable(&self.code));
        if let Some(url) = &self.url {
            title = title.id_url(printable(url));
        }
        let causes = self
            .causes
            .iter()
            .map(|text| Level::NOTE.with_name("caused by").message(printable(text)));
        let notes = self.notes.iter().map(|text| Level::NOTE.message(printable(text)));
        let help = self.help.iter().map(|text| Level::HELP.message(printable(text)));
        let report = [Group::with_title(title)
            .elements(self.snippets())
            .elements(causes)
            .elements(notes)
            .elements(help)];

        let renderer = if options.colour {
            Renderer::styled()
        } else {
            Renderer::plain()
        };
        let decor = if options.unicode {
            DecorStyle::Unicode
        } else {
            DecorStyle::Ascii
        };
        renderer
            .decor_style(decor)
            .term_width(options.width)
            .render(&report)
    }

    /// One excerpt per source, in order of first mention.
    fn snippets(&self) -> Vec<Snippet<'_, Annotation<'_>>> {
        let mut sources: Vec<&Source> = Vec::new();
        for label in &self.labels {
            if !sources.contains(&label.span.source()) {
                sources.push(label.span.source());
            }
        }
        sources.into_iter().map(|source| self.snippet(source)).collect()
    }

    fn snippet(&self, source: &Source) -> Snippet<'_, Annotation<'_>> {
        let labels: Vec<(usize, &Label)> = self
            .labels
            .iter()
            .enumerate()
            .filter(|(_, label)| label.span.source() == source)
            .collect();
        let first = labels
            .iter()
            .map(|(_, label)| label.span.start().line)
            .min()
            .unwrap_or(1);
        let last = labels
            .iter()
            .map(|(_, label)| label.span.end().line)
            .max()
            .unwrap_or(1);
        let excerpt = Excerpt::new(source, first..=last);
        let annotations = labels.iter().map(|(index, label)| {
            let kind = if *index == 0 {
                AnnotationKind::Primary
            } else {
                AnnotationKind::Context
            };
            kind.span(excerpt.text_range(label.span.range()))
                .label(label.text.as_deref().map(printable))
        });
        let annotations: Vec<_> = annotations.collect();
        Snippet::source(excerpt.text)
            .line_start(excerpt.first_line)
            .path(printable(source.name()))
            .annotations(annotations)
    }
}

/// Text beside an excerpt is drawn as given, so it must not carry terminal commands.
fn printable(text: &str) -> String {
    normalize_untrusted_str(text)
}

/// Some lines of a source as valid text, with a map from source offsets to text offsets.
struct Excerpt {
    text: String,
    first_line: usize,
    /// Source offset and text offset of the start of every shown character, ascending, and of the end.
    offsets: Vec<(usize, usize)>,
}

impl Excerpt {
    fn new(source: &Source, lines: RangeInclusive<usize>) -> Self {
        let mut excerpt = Self {
            text: String::new(),
            first_line: *lines.start(),
            offsets: Vec::new(),
        };
        for line in lines {
            let range = source.line_range(line);
            let shown = range.start..range.end.min(range.start + LONGEST_SHOWN_LINE);
            excerpt.push(shown.start, &source.bytes()[shown]);
            excerpt.offsets.push((range.end, excerpt.text.len()));
            excerpt.text.push('\n');
        }
        excerpt
    }

    fn push(&mut self, mut at: usize, bytes: &[u8]) {
        for chunk in bytes.utf8_chunks() {
            for character in chunk.valid().chars() {
                self.offsets.push((at, self.text.len()));
                self.text.push(character);
                at += character.len_utf8();
            }
            if !chunk.invalid().is_empty() {
                self.offsets.push((at, self.text.len()));
                self.text.push(char::REPLACEMENT_CHARACTER);
                at += chunk.invalid().len();
            }
        }
    }

    /// The text range that shows a source range.
    fn text_range(&self, range: Range<usize>) -> Range<usize> {
        let start = self
            .offsets
            .partition_point(|&(source, _)| source <= range.start)
            .saturating_sub(1);
        let end = self
            .offsets
            .partition_point(|&(source, _)| source < range.end)
            .min(self.offsets.len() - 1);
        let (start, end) = (self.offsets[start].1, self.offsets[end].1);
        start..end.max(start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use snapbox::{IntoData, assert_data_eq, str};

    fn render(diagnostic: &Diagnostic) -> String {
        diagnostic.render(RenderOptions::default())
    }

    #[test]
    fn error_with_place_notes_and_help() {
        let source = Source::new("Dockerfile", "FROM scratch AS base\nFROM base\nCOPPY a b\n");
        let diagnostic = Diagnostic::error("unknown-instruction", "unknown instruction: COPPY")
            .label(source.span(31..36), "not an instruction")
            .label(source.span(16..20), "in a child of this stage")
            .note("instructions are not case-sensitive")
            .help("did you mean COPY?");
        assert_data_eq!(
            render(&diagnostic),
            str![[r#"
error[unknown-instruction]: unknown instruction: COPPY
 --> Dockerfile:3:1
  |
1 | FROM scratch AS base
  |                 ---- in a child of this stage
2 | FROM base
3 | COPPY a b
  | ^^^^^ not an instruction
  |
  = note: instructions are not case-sensitive
  = help: did you mean COPY?
"#]]
            .raw()
        );
    }

    #[test]
    fn place_in_text_that_is_not_utf8() {
        let source = Source::new("f", b"RUN caf\xe9 \x1b[31m x\n".as_slice());
        let rendered = render(&Diagnostic::error("c", "m").at(source.span(7..8)));
        assert_data_eq!(
            rendered,
            str![[r#"
error[c]: m
 --> f:1:8
  |
1 | RUN caf� ␛[31m x
  |        ^
"#]]
            .raw()
        );
    }

    #[test]
    fn end_of_file_and_empty_file_have_a_place() {
        for text in ["", "FROM a", "FROM a\n"] {
            let source = Source::new("f", text);
            let rendered = render(&Diagnostic::error("c", "m").at(source.span(text.len()..text.len())));
            assert!(rendered.contains("--> f:"), "{rendered}");
        }
    }

    #[test]
    fn texts_cannot_command_the_terminal() {
        let cause = std::io::Error::other("\x1b[2Jcause");
        let source = Source::new("\x1b[2Jname", "x\x1b[2Jy");
        let diagnostic = Diagnostic::error("c", "m\x1b[2J")
            .label(source.span(0..1), "l\x1b[2J")
            .note("n\x1b[2J")
            .help("h\x1b[2J")
            .caused_by(&cause);
        assert!(!render(&diagnostic).contains('\x1b'), "{:?}", render(&diagnostic));
    }

    #[test]
    fn long_spans_and_long_lines_stay_readable() {
        let source = Source::new("f", "line\n".repeat(1000) + &"x".repeat(1 << 20));
        let rendered = render(&Diagnostic::error("c", "m").at(source.span(0..source.bytes().len())));
        assert!(rendered.lines().count() < 20, "{rendered}");
        assert!(rendered.len() < 10_000, "{}", rendered.len());
    }

    #[test]
    fn colour_only_when_asked() {
        let source = Source::new("f", "text");
        let diagnostic = Diagnostic::warning("c", "m").at(source.span(0..2));
        assert!(!render(&diagnostic).contains('\x1b'));
        let coloured = diagnostic.render(RenderOptions {
            colour: true,
            ..RenderOptions::default()
        });
        assert!(coloured.contains('\x1b'));
    }

    #[test]
    fn two_files_two_excerpts() {
        let (one, two) = (Source::new("one", "a\nb"), Source::new("two", "c"));
        let rendered = render(
            &Diagnostic::error("c", "m")
                .at(one.span(2..3))
                .label(two.span(0..1), "from here"),
        );
        assert!(rendered.contains("--> one:2:1"), "{rendered}");
        assert!(
            rendered.contains("::: two:1:1") || rendered.contains("--> two:1:1"),
            "{rendered}"
        );
    }
}
