//! One table of a document that is being read.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt::Display;
use std::ops::Range;
use std::rc::Rc;
use std::str::FromStr;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

#[cfg(feature = "documents")]
use super::value::{Value, ValueTable};

/// What is wrong at a place of the document that is being read.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) span: Range<usize>,
    pub(crate) message: String,
}

impl Fault {
    pub(crate) fn new(span: Range<usize>, message: impl Into<String>) -> Self {
        Self {
            span,
            message: message.into(),
        }
    }
}

/// A table, where it is, and which of its keys have been read.
///
/// An empty string counts as absent unless it is read by [`text`](Self::text) or in a list: the Go programs that write
/// these files do not tell the two apart.
#[derive(Debug)]
pub(crate) struct Table<'a> {
    entries: &'a DeTable<'a>,
    span: Range<usize>,
    /// Dotted keys from the root, empty at the root.
    path: String,
    /// Where the keys are that have been read, shared by all tables of the document.
    read: Rc<RefCell<BTreeSet<usize>>>,
}

impl<'a> Table<'a> {
    pub(crate) fn root(root: &'a Spanned<DeTable<'a>>) -> Self {
        // The root has no header to point at.
        Self {
            entries: root.get_ref(),
            span: 0..0,
            path: String::new(),
            read: Rc::default(),
        }
    }

    /// A fault of this table as a whole.
    pub(crate) fn fault(&self, message: impl Into<String>) -> Fault {
        Fault::new(self.span.clone(), message)
    }

    /// A fault of one value of this table.
    pub(crate) fn fault_at(&self, key: &str, message: impl Into<String>) -> Fault {
        let span = self.entries.get(key).map_or(self.span.clone(), Spanned::span);
        Fault::new(span, message)
    }

    /// All keys of this table, sorted, for tables whose keys are free.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.entries.iter().map(|(key, _)| key.get_ref().as_ref())
    }

    /// Whether the key is there. Does not count as reading it.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    /// A string, as it is.
    pub(crate) fn text(&self, key: &str) -> Result<Option<&'a str>, Fault> {
        self.get(key)
            .map(|value| {
                value
                    .get_ref()
                    .as_str()
                    .ok_or_else(|| Self::wrong_type(key, "a string", value))
            })
            .transpose()
    }

    /// A string of a type that parses itself; an empty one is absent.
    pub(crate) fn optional<T>(&self, key: &str) -> Result<Option<T>, Fault>
    where
        T: FromStr<Err: Display>,
    {
        match self.text(key)? {
            None | Some("") => Ok(None),
            Some(text) => text
                .parse()
                .map(Some)
                .map_err(|error| self.fault_at(key, format!("`{key}`: {error}"))),
        }
    }

    /// A string that must be there and not be empty.
    pub(crate) fn required<T>(&self, key: &str) -> Result<T, Fault>
    where
        T: FromStr<Err: Display>,
    {
        self.optional(key)?.ok_or_else(|| {
            if self.has(key) {
                self.fault_at(key, format!("`{key}` must not be empty"))
            } else if self.path.is_empty() {
                self.fault(format!("missing key `{key}`"))
            } else {
                self.fault(format!("missing key `{key}` in `{}`", self.path))
            }
        })
    }

    /// A list of strings of a type that parses itself. Absent and empty are the same.
    pub(crate) fn list<T>(&self, key: &str) -> Result<Vec<T>, Fault>
    where
        T: FromStr<Err: Display>,
    {
        self.optional_list(key).map(Option::unwrap_or_default)
    }

    /// A list of strings, where an empty list and none differ.
    pub(crate) fn optional_list<T>(&self, key: &str) -> Result<Option<Vec<T>>, Fault>
    where
        T: FromStr<Err: Display>,
    {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        let wrong = |value| Self::wrong_type(key, "a list of strings", value);
        let members = value.get_ref().as_array().ok_or_else(|| wrong(value))?;
        members
            .iter()
            .map(|member| {
                let text = member.get_ref().as_str().ok_or_else(|| wrong(member))?;
                text.parse()
                    .map_err(|error| Fault::new(member.span(), format!("`{key}`: {error}")))
            })
            .collect::<Result<_, _>>()
            .map(Some)
    }

    /// A list of strings, or one string for a list of one (FILE-03).
    pub(crate) fn list_or_text(&self, key: &str) -> Result<Vec<String>, Fault> {
        match self.entries.get(key) {
            Some(value) if value.get_ref().is_str() => Ok(self
                .text(key)?
                .into_iter()
                .filter(|text| !text.is_empty())
                .map(str::to_owned)
                .collect()),
            _ => self.list(key),
        }
    }

    /// A boolean; absent is false.
    pub(crate) fn flag(&self, key: &str) -> Result<bool, Fault> {
        self.get(key).map_or(Ok(false), |value| {
            value
                .get_ref()
                .as_bool()
                .ok_or_else(|| Self::wrong_type(key, "true or false", value))
        })
    }

    /// An integer.
    #[cfg(feature = "documents")]
    pub(crate) fn integer(&self, key: &str) -> Result<Option<i64>, Fault> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        match Value::from_toml(value)? {
            Value::Integer(integer) => Ok(Some(integer)),
            _ => Err(Self::wrong_type(key, "an integer", value)),
        }
    }

    /// A table.
    #[cfg(feature = "documents")]
    pub(crate) fn table(&self, key: &str) -> Result<Option<Self>, Fault> {
        self.get(key).map(|value| self.child(key, value)).transpose()
    }

    /// An array of tables. Absent and empty are the same.
    pub(crate) fn tables(&self, key: &str) -> Result<Vec<Self>, Fault> {
        let Some(value) = self.get(key) else {
            return Ok(Vec::new());
        };
        let members = value
            .get_ref()
            .as_array()
            .ok_or_else(|| Self::wrong_type(key, "an array of tables", value))?;
        members.iter().map(|member| self.child(key, member)).collect()
    }

    /// What `read` makes of each table of an array of tables.
    pub(crate) fn each<T>(
        &self,
        key: &str,
        read: impl Fn(&Self) -> Result<T, Fault>,
    ) -> Result<Vec<T>, Fault> {
        self.tables(key)?.iter().map(read).collect()
    }

    /// A list of names, or an array of tables with a `name` each.
    #[cfg(feature = "documents")]
    pub(crate) fn list_or_names(&self, key: &str) -> Result<Vec<String>, Fault> {
        let members = self.entries.get(key).and_then(|value| value.get_ref().as_array());
        if members.is_some_and(|members| members.iter().any(|member| member.get_ref().is_table())) {
            self.each(key, |member| member.required("name"))
        } else {
            self.list(key)
        }
    }

    /// Counts a table, and all that is in it, as read: it is somebody else's.
    #[cfg(feature = "documents")]
    pub(crate) fn ignore_table(&self, key: &str) {
        if self
            .entries
            .get(key)
            .is_some_and(|value| value.get_ref().is_table())
            && let Some(value) = self.get(key)
        {
            self.mark_all(value.get_ref());
        }
    }

    /// A table with whatever is in it, such as `[metadata]`.
    #[cfg(feature = "documents")]
    pub(crate) fn values(&self, key: &str) -> Result<Option<ValueTable>, Fault> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        let Value::Table(table) = Value::from_toml(value)? else {
            return Err(Self::wrong_type(key, "a table", value));
        };
        self.mark_all(value.get_ref());
        Ok(Some(table))
    }

    /// The keys of this table and of the tables in it that nobody has read, in the order of the text.
    pub(crate) fn unknown_keys(&self) -> Vec<Fault> {
        let mut unknown = Vec::new();
        self.collect_unknown(&self.path, self.entries, &mut unknown);
        unknown.sort_by_key(|fault| fault.span.start);
        unknown
    }

    fn collect_unknown(&self, path: &str, entries: &DeTable<'_>, unknown: &mut Vec<Fault>) {
        for (key, value) in entries {
            let path = joined(path, key.get_ref());
            if !self.read.borrow().contains(&key.span().start) {
                unknown.push(Fault::new(key.span(), format!("unknown key `{path}`")));
            } else if let Some(table) = value.get_ref().as_table() {
                self.collect_unknown(&path, table, unknown);
            } else if let Some(members) = value.get_ref().as_array() {
                for table in members.iter().filter_map(|member| member.get_ref().as_table()) {
                    self.collect_unknown(&path, table, unknown);
                }
            }
        }
    }

    /// Looks a key up and remembers that somebody asked for it.
    fn get(&self, key: &str) -> Option<&'a Spanned<DeValue<'a>>> {
        let (key, value) = self.entries.get_key_value(key)?;
        self.read.borrow_mut().insert(key.span().start);
        Some(value)
    }

    #[cfg(feature = "documents")]
    fn mark_all(&self, value: &DeValue<'_>) {
        if let Some(table) = value.as_table() {
            for (key, value) in table {
                self.read.borrow_mut().insert(key.span().start);
                self.mark_all(value.get_ref());
            }
        } else if let Some(members) = value.as_array() {
            members.iter().for_each(|member| self.mark_all(member.get_ref()));
        }
    }

    fn child(&self, key: &str, value: &'a Spanned<DeValue<'a>>) -> Result<Self, Fault> {
        let entries = value
            .get_ref()
            .as_table()
            .ok_or_else(|| Self::wrong_type(key, "a table", value))?;
        let path = joined(&self.path, key);
        Ok(Self {
            entries,
            span: value.span(),
            path,
            read: Rc::clone(&self.read),
        })
    }

    fn wrong_type(key: &str, wanted: &str, found: &Spanned<DeValue<'_>>) -> Fault {
        let article = if found.get_ref().type_str().starts_with(['a', 'e', 'i', 'o', 'u']) {
            "an"
        } else {
            "a"
        };
        let message = format!(
            "`{key}` must be {wanted}, not {article} {}",
            found.get_ref().type_str()
        );
        Fault::new(found.span(), message)
    }
}

fn joined(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}
