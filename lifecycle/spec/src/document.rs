//! TOML documents: reading with exact places, writing with exact bytes.
//!
//! Every document of this crate is read through [`Table`], which remembers which keys were looked at. What nobody
//! looked at is unknown: ignored, reported or refused, whichever the document's specification wants.

#[cfg(feature = "documents")]
mod encode;
mod table;
#[cfg(feature = "documents")]
mod value;

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use toml::de::DeTable;

#[cfg(feature = "documents")]
pub(crate) use encode::Node;
pub(crate) use table::{Fault, Table};
#[cfg(feature = "documents")]
pub use value::{Value, ValueTable};

/// What is wrong with a document, and where: an error when it is returned as one, else a warning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flaw(Box<FlawParts>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct FlawParts {
    path: PathBuf,
    text: Arc<str>,
    span: Range<usize>,
    message: String,
}

impl Flaw {
    /// A flaw of a document that another crate reads: which bytes of `text` are meant, and what is wrong.
    pub fn at(
        path: &Path,
        text: impl Into<Arc<str>>,
        span: Range<usize>,
        message: impl Into<String>,
    ) -> Self {
        Self::new(path, &text.into(), Fault::new(span, message))
    }

    pub(crate) fn new(path: &Path, text: &Arc<str>, fault: Fault) -> Self {
        // A fault at the very end still needs a place that exists.
        let start = text.floor_char_boundary(fault.span.start);
        let end = text.floor_char_boundary(fault.span.end).max(start);
        Self(Box::new(FlawParts {
            path: path.to_owned(),
            text: Arc::clone(text),
            span: start..end,
            message: fault.message,
        }))
    }

    /// The file, or the name of the label, that the document came from.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// The whole document.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0.text
    }

    /// Which bytes of [`text`](Self::text) are meant. Always within it and on character boundaries.
    #[must_use]
    pub fn span(&self) -> Range<usize> {
        self.0.span.clone()
    }

    /// What is wrong, without the place.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The line, counted from 1.
    #[must_use]
    pub fn line(&self) -> usize {
        self.before().matches('\n').count() + 1
    }

    /// The column in characters, counted from 1.
    #[must_use]
    pub fn column(&self) -> usize {
        self.before()
            .rsplit('\n')
            .next()
            .map_or(0, |line| line.chars().count())
            + 1
    }

    fn before(&self) -> &str {
        self.0.text.get(..self.0.span.start).unwrap_or_default()
    }
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}:{}:{}: {}",
            self.0.path.display(),
            self.line(),
            self.column(),
            self.0.message
        )
    }
}

impl std::error::Error for Flaw {}

/// Reads a document whose unknown keys are nobody's business.
pub(crate) fn read<T>(
    path: &Path,
    bytes: &[u8],
    body: impl FnOnce(&Table<'_>) -> Result<T, Fault>,
) -> Result<T, Flaw> {
    read_with_warnings(path, bytes, body).map(|(document, _)| document)
}

/// Reads a document in which an unknown key is an error.
#[cfg(feature = "documents")]
pub(crate) fn read_strictly<T>(
    path: &Path,
    bytes: &[u8],
    body: impl FnOnce(&Table<'_>) -> Result<T, Fault>,
) -> Result<T, Flaw> {
    let (document, mut unknown) = read_with_warnings(path, bytes, body)?;
    if unknown.is_empty() {
        Ok(document)
    } else {
        Err(unknown.swap_remove(0))
    }
}

/// Reads a document and lists its unknown keys in the order of the text.
pub(crate) fn read_with_warnings<T>(
    path: &Path,
    bytes: &[u8],
    body: impl FnOnce(&Table<'_>) -> Result<T, Fault>,
) -> Result<(T, Vec<Flaw>), Flaw> {
    let text: Arc<str> = match std::str::from_utf8(bytes) {
        Ok(text) => Arc::from(text),
        Err(error) => {
            // Up to the bad byte the lossy text is the text, so the place is right in both.
            let start = error.valid_up_to();
            let text = Arc::from(String::from_utf8_lossy(bytes));
            let fault = Fault::new(start..start + '\u{fffd}'.len_utf8(), "not valid UTF-8");
            return Err(Flaw::new(path, &text, fault));
        }
    };
    let flaw = |fault| Flaw::new(path, &text, fault);
    let root = DeTable::parse(&text).map_err(|error| {
        let span = error.span().unwrap_or(text.len()..text.len());
        flaw(Fault::new(span, error.message().trim_end().replace('\n', ", ")))
    })?;
    let table = Table::root(&root);
    let document = body(&table).map_err(flaw)?;
    Ok((document, table.unknown_keys().into_iter().map(flaw).collect()))
}

#[cfg(test)]
#[cfg(feature = "documents")]
mod tests {
    use std::path::Path;

    use super::{Flaw, read, read_strictly, read_with_warnings};

    fn flaw(text: &str) -> Flaw {
        read(Path::new("x.toml"), text.as_bytes(), |table| {
            table.required::<String>("id")
        })
        .unwrap_err()
    }

    #[test]
    fn errors_carry_file_line_and_column() {
        for (text, shown) in [
            ("id = 1", "x.toml:1:6: `id` must be a string, not an integer"),
            ("\n  id = [ ]", "x.toml:2:8: `id` must be a string, not an array"),
            ("é = 1\n", "x.toml:1:1: unquoted keys cannot contain `é`"),
            ("a = 1\n", "x.toml:1:1: missing key `id`"),
            ("id = ''", "x.toml:1:6: `id` must not be empty"),
        ] {
            let flaw = flaw(text);
            let shown_here = flaw.to_string();
            if text.starts_with('é') {
                // The parser's own words; only the place is ours.
                assert!(shown_here.starts_with("x.toml:1:1: "), "{shown_here}");
            } else {
                assert_eq!(shown_here, shown);
            }
        }
    }

    #[test]
    fn bytes_that_are_not_utf8_have_a_place_too() {
        let flaw = read(Path::new("x.toml"), b"a = 1\nb = '\xff'\n", |_| Ok(())).unwrap_err();
        assert_eq!(flaw.to_string(), "x.toml:2:6: not valid UTF-8");
    }

    #[test]
    fn keys_that_nobody_read_are_unknown_in_the_order_of_the_text() {
        let text = "z = 1\nid = 'x'\n[a]\nknown = 1\nb = { c = 1 }\n[[list]]\nq = 1\n[[list]]\nr = 2\n[free]\nx.y = 1\n";
        let (_, unknown) = read_with_warnings(Path::new("x.toml"), text.as_bytes(), |table| {
            table.required::<String>("id")?;
            if let Some(a) = table.table("a")? {
                a.integer("known")?;
                a.table("b")?;
            }
            for member in table.tables("list")? {
                member.integer("q")?;
            }
            table.values("free")
        })
        .unwrap();
        let shown: Vec<_> = unknown.iter().map(ToString::to_string).collect();
        assert_eq!(
            shown,
            [
                "x.toml:1:1: unknown key `z`",
                "x.toml:5:7: unknown key `a.b.c`",
                "x.toml:9:1: unknown key `list.r`"
            ]
        );
        let strict = read_strictly(Path::new("x.toml"), b"a = 1", |_| Ok(())).unwrap_err();
        assert_eq!(strict.to_string(), "x.toml:1:1: unknown key `a`");
    }

    #[test]
    fn deep_nesting_is_an_error_not_a_crash() {
        let text = format!("a = {}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(read(Path::new("x.toml"), text.as_bytes(), |_| Ok(())).is_err());
    }
}
