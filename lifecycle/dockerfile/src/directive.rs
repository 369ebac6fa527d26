//! Parser directives: `# syntax=`, `# escape=` and `# check=` at the top of the file (section B).

use lifecycle_diagnostics::{Diagnostic, Source};

use crate::line::{BYTE_ORDER_MARK, Word, trim_start};

/// What the top of the file says about how to read the rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directives {
    /// The frontend asked for: the first word of `syntax` (B4).
    pub syntax: Option<Word>,
    /// Continues lines and escapes characters: backslash or backtick (B3).
    pub escape: char,
    /// The text of `check` (B6); [`crate::CheckOptions::parse`] reads it.
    pub check: Option<Word>,
}

/// One `key=value` of the top of the file.
struct Directive {
    key: &'static str,
    value: Word,
}

const KEYS: [&str; 3] = ["syntax", "escape", "check"];

impl Directives {
    /// Reads the directives of a file.
    ///
    /// `escape` is looked for from the first line on; `syntax` and `check` also behind a `#!` line, and `syntax`
    /// in `//` comments and in a JSON object as well, so that files for other frontends can name theirs.
    pub(crate) fn parse(source: &Source) -> Result<Self, Diagnostic> {
        let mut escape = '\\';
        let mut seen: Vec<Directive> = Vec::new();
        for directive in scan(source, 1, "#", Indent::Allowed) {
            if let Some(first) = seen.iter().find(|other| other.key == directive.key) {
                let message = format!("only one {} parser directive can be used", directive.key);
                return Err(Diagnostic::error("duplicate-directive", message)
                    .at(directive.value.span)
                    .label(first.value.span.clone(), "first one"));
            }
            if directive.key == "escape" {
                escape = parse_escape(&directive.value)?;
            }
            seen.push(directive);
        }
        let first_line = if source.bytes().starts_with(b"#!") { 2 } else { 1 };
        let find = |key: &str, prefix: &str| {
            let found =
                scan(source, first_line, prefix, Indent::Refused).find(|directive| directive.key == key);
            found.map(|directive| directive.value)
        };
        let syntax = find("syntax", "#")
            .or_else(|| find("syntax", "//"))
            .or_else(|| json_syntax(source));
        Ok(Self {
            syntax: syntax.map(first_word),
            escape,
            check: find("check", "#"),
        })
    }

    /// Whether line `number` is a directive, and therefore no comment on what follows.
    pub(crate) fn are_at(source: &Source, number: usize) -> bool {
        number <= scan(source, 1, "#", Indent::Allowed).count()
    }

    /// Refuses a frontend that is not the Dockerfile frontend (B5): this parser cannot stand in for it.
    pub(crate) fn require_dockerfile_frontend(&self) -> Result<(), Diagnostic> {
        match &self.syntax {
            Some(syntax) if !is_dockerfile_frontend(&syntax.text) => {
                let message = format!("frontend {} is not the Dockerfile frontend", syntax.text);
                Err(Diagnostic::error("unsupported-frontend", message)
                    .at(syntax.span.clone())
                    .note("`docker/dockerfile` of any version is served by the built-in frontend; others cannot be run")
                    .help("remove the syntax directive if the file is an ordinary Dockerfile"))
            }
            _ => Ok(()),
        }
    }
}

/// Whether a frontend name means the one this crate implements (B4, B5).
pub fn is_dockerfile_frontend(name: &str) -> bool {
    let name = name.split_once('@').map_or(name, |(name, _)| name);
    // A colon in the last path element separates the tag; one before it a port.
    let name = match name.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => repository,
        _ => name,
    };
    let segments: Vec<&str> = name.split('/').collect();
    match segments.as_slice() {
        ["dockerfile.v0"] => true,
        [.., "docker", "dockerfile" | "dockerfile-upstream"] => segments.len() <= 3,
        _ => false,
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Indent {
    Allowed,
    Refused,
}

/// The directives from line `first` on; anything else ends them (B1).
fn scan<'a>(
    source: &'a Source,
    first: usize,
    prefix: &'a str,
    indent: Indent,
) -> impl Iterator<Item = Directive> + 'a {
    (first..=source.line_count()).map_while(move |number| scan_line(source, number, prefix, indent))
}

fn scan_line(source: &Source, number: usize, prefix: &str, indent: Indent) -> Option<Directive> {
    let line = source.line_range(number);
    let mut bytes = &source.bytes()[line.clone()];
    if number == 1 {
        bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
    }
    if indent == Indent::Allowed {
        bytes = trim_start(bytes);
    }
    let text = str::from_utf8(bytes.strip_prefix(prefix.as_bytes())?)
        .ok()?
        .trim_start();
    let (key, value) = text.split_once('=')?;
    let key = key.trim_end_matches(is_regular_blank);
    let key = KEYS.into_iter().find(|known| known.eq_ignore_ascii_case(key))?;
    let value = value.trim_matches(is_regular_blank);
    if value.is_empty() {
        return None;
    }
    let behind = text.trim_end_matches(is_regular_blank);
    let end = line.end - (text.len() - behind.len());
    Some(Directive {
        key,
        value: Word {
            text: value.to_owned(),
            span: source.span(end - value.len()..end),
        },
    })
}

fn is_regular_blank(character: char) -> bool {
    matches!(character, '\t' | '\n' | '\x0c' | '\r' | ' ')
}

fn parse_escape(value: &Word) -> Result<char, Diagnostic> {
    match value.text.as_str() {
        "\\" => Ok('\\'),
        "`" => Ok('`'),
        other => {
            let message = format!("invalid escape token '{other}' does not match ` or \\");
            Err(Diagnostic::error("invalid-escape", message).at(value.span.clone()))
        }
    }
}

/// `{"syntax": "…"}` as the whole file.
fn json_syntax(source: &Source) -> Option<Word> {
    let object: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(source.bytes()).ok()?;
    let text = object.get("syntax")?.as_str()?.to_owned();
    Some(Word {
        text,
        span: source.lines_span(1, 1),
    })
}

fn first_word(mut word: Word) -> Word {
    if let Some(end) = word.text.find(' ') {
        let start = word.span.range().start;
        word.span = word.span.source().span(start..start + end);
        word.text.truncate(end);
    }
    word
}
