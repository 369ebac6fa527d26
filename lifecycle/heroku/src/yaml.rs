//! The YAML that buildpacks write by hand: `bin/release` (platforms.md 2.1).
//!
//! Maps and lists in block and flow form, plain and quoted scalars over several lines, block scalars, comments. What
//! such documents never have (anchors, tags, complex keys, several documents) is refused with its line, so that
//! nothing is misread. Scalars stay text, except that an empty one, `~` and `null` are nothing: for commands and
//! addresses there are no booleans or numbers. JSON is a part of this.

mod flow;

use self::flow::Flow;
use crate::LineError;

/// Deeper documents are refused.
const MAX_DEPTH: usize = 16;

/// A node of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Yaml {
    /// Nothing, `~` or `null`.
    Null,
    /// Any scalar, as text.
    Scalar(String),
    /// A list.
    List(Vec<Yaml>),
    /// A map, in order. Keys are unique.
    Map(Vec<(String, Yaml)>),
}

impl Yaml {
    /// Reads a document; `file` is its name in messages.
    pub(crate) fn parse(file: &str, text: &str) -> Result<Self, LineError> {
        let mut parser = Parser {
            file,
            lines: lines(text),
            at: 0,
        };
        parser.begin()?;
        let node = parser.node(0, 0)?;
        parser.end()?;
        Ok(node)
    }

    /// The value of a key; nothing when this is no map or lacks it.
    pub(crate) fn get(&self, key: &str) -> &Self {
        let Self::Map(entries) = self else {
            return &Self::Null;
        };
        entries
            .iter()
            .find(|(own, _)| own == key)
            .map_or(&Self::Null, |(_, value)| value)
    }
}

/// A line with its indentation taken off. Lines of spaces are empty.
#[derive(Debug, Clone, Copy)]
struct Line<'a> {
    number: usize,
    indent: usize,
    text: &'a str,
}

fn lines(text: &str) -> Vec<Line<'_>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut lines = Vec::new();
    for (index, raw) in text.lines().enumerate() {
        let indent = raw.len() - raw.trim_start_matches(' ').len();
        lines.push(Line {
            number: index + 1,
            indent,
            text: raw[indent..].trim_end(),
        });
    }
    lines
}

struct Parser<'a> {
    file: &'a str,
    lines: Vec<Line<'a>>,
    at: usize,
}

impl<'a> Parser<'a> {
    fn fault(&self, line: usize, reason: impl Into<String>) -> LineError {
        LineError::new(self.file, line, reason)
    }

    /// The next line that says something.
    fn peek(&mut self) -> Option<Line<'a>> {
        while let Some(line) = self.lines.get(self.at) {
            if !line.text.is_empty() && !line.text.starts_with('#') {
                return Some(*line);
            }
            self.at += 1;
        }
        None
    }

    /// Takes the document's first marker; what follows it on the line is content.
    fn begin(&mut self) -> Result<(), LineError> {
        let Some(line) = self.peek() else { return Ok(()) };
        if line.text.starts_with('%') {
            return Err(self.fault(line.number, "directives are not supported"));
        }
        let Some(rest) = line
            .text
            .strip_prefix("---")
            .filter(|rest| rest.is_empty() || rest.starts_with(' '))
        else {
            return Ok(());
        };
        self.lines[self.at] = Line {
            text: rest.trim_start(),
            indent: 0,
            ..line
        };
        Ok(())
    }

    fn end(&mut self) -> Result<(), LineError> {
        match self.peek() {
            None => Ok(()),
            Some(line) if line.text == "..." => Ok(()),
            Some(line) if line.text.starts_with("---") => {
                Err(self.fault(line.number, "a second document begins; only one is allowed"))
            }
            Some(line) => Err(self.fault(
                line.number,
                format!("`{}` does not belong to what is above it", line.text),
            )),
        }
    }

    /// The block that begins at `indent` or deeper.
    fn node(&mut self, indent: usize, depth: usize) -> Result<Yaml, LineError> {
        let Some(line) = self
            .peek()
            .filter(|line| line.indent >= indent && !is_marker(*line))
        else {
            return Ok(Yaml::Null);
        };
        if depth > MAX_DEPTH {
            return Err(self.fault(line.number, format!("more than {MAX_DEPTH} levels")));
        }
        if is_item(line.text) {
            return self.list(line.indent, depth);
        }
        if self.key(line)?.is_some() {
            return self.map(line.indent, depth);
        }
        self.value(line.text, indent, depth)
    }

    fn list(&mut self, indent: usize, depth: usize) -> Result<Yaml, LineError> {
        let mut items = Vec::new();
        while let Some(line) = self
            .peek()
            .filter(|line| line.indent == indent && is_item(line.text))
        {
            let rest = line.text[1..].trim_start();
            if rest.is_empty() || rest.starts_with('#') {
                self.at += 1;
                items.push(self.node(indent + 1, depth + 1)?);
                continue;
            }
            // What follows the dash is a block of its own, as if it stood on its own line.
            let inner = indent + line.text.len() - rest.len();
            self.lines[self.at] = Line {
                text: rest,
                indent: inner,
                ..line
            };
            items.push(self.node(inner, depth + 1)?);
        }
        Ok(Yaml::List(items))
    }

    fn map(&mut self, indent: usize, depth: usize) -> Result<Yaml, LineError> {
        let mut entries: Vec<(String, Yaml)> = Vec::new();
        while let Some(line) = self
            .peek()
            .filter(|line| line.indent == indent && !is_marker(*line))
        {
            let Some((key, rest)) = self.key(line)? else {
                return Err(self.fault(
                    line.number,
                    format!("expected `key: value`, found `{}`", line.text),
                ));
            };
            if entries.iter().any(|(own, _)| *own == key) {
                return Err(self.fault(line.number, format!("key `{key}` is given twice")));
            }
            let value = if rest.is_empty() || rest.starts_with('#') {
                self.at += 1;
                match self.peek() {
                    // A list may stand below its key without indentation.
                    Some(next) if next.indent == indent && is_item(next.text) => {
                        self.list(indent, depth + 1)?
                    }
                    _ => self.node(indent + 1, depth + 1)?,
                }
            } else {
                self.value(rest, indent + 1, depth)?
            };
            entries.push((key, value));
        }
        Ok(Yaml::Map(entries))
    }

    /// The key at the beginning of a line and what follows its colon, if the line has one.
    fn key(&self, line: Line<'a>) -> Result<Option<(String, &'a str)>, LineError> {
        let text = line.text;
        if text.starts_with('\t') {
            return Err(self.fault(line.number, "a tab cannot indent; use spaces"));
        }
        if text == "?" || text.starts_with("? ") {
            return Err(self.fault(line.number, "keys that are not plain names are not supported"));
        }
        if text.starts_with(['{', '[']) {
            return Ok(None);
        }
        if text.starts_with(['"', '\'']) {
            let mut flow = Flow {
                file: self.file,
                number: line.number,
                text,
                at: 0,
                depth: 0,
            };
            let key = flow.quoted()?;
            let rest = text[flow.at..].trim_start();
            let Some(rest) = rest
                .strip_prefix(':')
                .filter(|rest| rest.is_empty() || rest.starts_with(' '))
            else {
                return Ok(None);
            };
            return Ok(Some((key, rest.trim_start())));
        }
        let Some(end) = colon(text) else { return Ok(None) };
        let key = text[..end].trim_end();
        if key.starts_with(['&', '*', '!', '@', '`', '|', '>']) {
            return Err(self.fault(
                line.number,
                format!("`{key}`: anchors, aliases and tags are not supported"),
            ));
        }
        Ok(Some((key.to_owned(), text[end + 1..].trim_start())))
    }

    /// A value that begins with `text` on the current line and may go on in lines indented by `indent` or more.
    fn value(&mut self, text: &'a str, indent: usize, depth: usize) -> Result<Yaml, LineError> {
        let number = self.lines[self.at].number;
        match text.as_bytes().first() {
            Some(b'|' | b'>') => self.block_scalar(text, indent),
            Some(b'"' | b'\'' | b'[' | b'{') => self.flow(text, depth),
            Some(b'&' | b'*' | b'!' | b'@' | b'`' | b'%') => Err(self.fault(
                number,
                format!("`{text}`: anchors, aliases and tags are not supported"),
            )),
            _ => self.plain(text, indent),
        }
    }

    /// A plain scalar; the lines it goes on in are joined by spaces.
    fn plain(&mut self, text: &str, indent: usize) -> Result<Yaml, LineError> {
        let mut whole = uncommented(text).to_owned();
        let first = self.lines[self.at].number;
        if colon(&whole).is_some() {
            return Err(self.fault(first, format!("`{whole}` has a `: ` in it; put it in quotes")));
        }
        self.at += 1;
        while let Some(line) = self
            .peek()
            .filter(|line| line.indent >= indent.max(1) && !is_marker(*line))
        {
            if colon(line.text).is_some() || is_item(line.text) {
                return Err(self.fault(
                    line.number,
                    format!("`{}` does not belong to what is above it", line.text),
                ));
            }
            whole.push(' ');
            whole.push_str(uncommented(line.text));
            self.at += 1;
        }
        Ok(scalar(whole))
    }

    /// `|` keeps lines, `>` joins them; `-` takes the last line break away, `+` keeps all.
    fn block_scalar(&mut self, header: &str, indent: usize) -> Result<Yaml, LineError> {
        let number = self.lines[self.at].number;
        let (style, chomp) = uncommented(header).split_at(1);
        if !matches!(chomp, "" | "-" | "+") {
            return Err(self.fault(
                number,
                format!("`{header}` is not supported; use `|`, `|-`, `>` or `>-`"),
            ));
        }
        self.at += 1;
        let mut found: Vec<(usize, &str)> = Vec::new();
        while let Some(line) = self.lines.get(self.at) {
            if !line.text.is_empty() && line.indent < indent.max(1) {
                break;
            }
            found.push((line.indent, line.text));
            self.at += 1;
        }
        let base = found
            .iter()
            .find(|(_, text)| !text.is_empty())
            .map_or(0, |(indent, _)| *indent);
        let mut whole = String::new();
        for (indent, text) in &found {
            whole.extend(std::iter::repeat_n(
                ' ',
                if text.is_empty() {
                    0
                } else {
                    indent.saturating_sub(base)
                },
            ));
            whole.push_str(text);
            whole.push('\n');
        }
        let trimmed = whole.trim_end_matches('\n');
        let body = if style == ">" {
            fold(trimmed)
        } else {
            trimmed.to_owned()
        };
        Ok(Yaml::Scalar(match chomp {
            "-" => body,
            "+" => body + &whole[trimmed.len()..],
            _ if body.is_empty() => body,
            _ => body + "\n",
        }))
    }

    /// A quoted scalar or a list or map in brackets, over as many lines as it takes.
    fn flow(&mut self, text: &str, depth: usize) -> Result<Yaml, LineError> {
        let number = self.lines[self.at].number;
        let mut whole = text.to_owned();
        for line in &self.lines[self.at + 1..] {
            whole.push('\n');
            whole.push_str(line.text);
        }
        let mut flow = Flow {
            file: self.file,
            number,
            text: &whole,
            at: 0,
            depth,
        };
        let node = flow.node()?;
        let rest = &whole[flow.at..];
        let rest = rest.split('\n').next().unwrap_or_default();
        if !uncommented(&format!(" {rest}")).is_empty() {
            return Err(self.fault(flow.line(), format!("unexpected `{}`", rest.trim())));
        }
        self.at += whole[..flow.at].matches('\n').count() + 1;
        Ok(node)
    }
}

/// Whether a line is an item of a list.
fn is_item(text: &str) -> bool {
    text == "-" || text.starts_with("- ")
}

/// Whether a line ends the document.
fn is_marker(line: Line<'_>) -> bool {
    line.indent == 0 && (line.text == "..." || line.text == "---" || line.text.starts_with("--- "))
}

/// Where the colon after a plain key is.
fn colon(text: &str) -> Option<usize> {
    let text = uncommented(text);
    text.find(": ")
        .or_else(|| text.ends_with(':').then(|| text.len() - 1))
}

/// A plain text without the comment behind it.
fn uncommented(text: &str) -> &str {
    text.find(" #").map_or(text, |at| &text[..at]).trim_end()
}

fn scalar(text: String) -> Yaml {
    match text.as_str() {
        "" | "~" | "null" | "Null" | "NULL" => Yaml::Null,
        _ => Yaml::Scalar(text),
    }
}

/// Joins lines by spaces; an empty line is a line break.
fn fold(text: &str) -> String {
    let mut folded = String::new();
    let mut blank = 0;
    for (index, line) in text.split('\n').enumerate() {
        if line.is_empty() {
            blank += 1;
            continue;
        }
        match (index, blank) {
            (0, _) => {}
            (_, 0) => folded.push(' '),
            (_, blank) => folded.extend(std::iter::repeat_n('\n', blank)),
        }
        blank = 0;
        folded.push_str(line);
    }
    folded
}

#[cfg(test)]
mod tests;
