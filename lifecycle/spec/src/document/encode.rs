//! Writing TOML with the bytes of the reference (lifecycle.md 3.6).
//!
//! The config layer of an app image is a TOML file, so its layout decides a layer's digest. The rules: two spaces of
//! indentation per table depth; a table's plain keys before its sub-tables; a blank line before every array-of-tables
//! header and before a top-level table; strings always basic. Documents describe themselves as a [`Node`], in the key
//! order of the reference.

use std::fmt::{Display, Write as _};

use super::{Value, ValueTable};

/// A table that is being written.
#[derive(Debug, Default)]
pub(crate) struct Node {
    plain: Vec<(String, String)>,
    nested: Vec<(String, Nested)>,
}

#[derive(Debug)]
enum Nested {
    Table(Node),
    Tables(Vec<Node>),
}

impl Node {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// `key = "text"`
    pub(crate) fn string(self, key: &str, text: impl Display) -> Self {
        self.raw(key, quoted(&text.to_string()))
    }

    /// `key = "text"`, or nothing when there is no text.
    pub(crate) fn optional(self, key: &str, text: Option<impl Display>) -> Self {
        match text.map(|text| text.to_string()) {
            Some(text) if !text.is_empty() => self.string(key, text),
            _ => self,
        }
    }

    /// `key = ["a", "b"]`
    pub(crate) fn list(self, key: &str, members: &[impl Display]) -> Self {
        let members: Vec<_> = members.iter().map(|member| quoted(&member.to_string())).collect();
        self.raw(key, format!("[{}]", members.join(", ")))
    }

    /// `key = ["a", "b"]`, or nothing when there is no member.
    pub(crate) fn optional_list(self, key: &str, members: &[impl Display]) -> Self {
        if members.is_empty() {
            self
        } else {
            self.list(key, members)
        }
    }

    /// `key = true` or `key = false`
    pub(crate) fn boolean(self, key: &str, flag: bool) -> Self {
        self.raw(key, flag.to_string())
    }

    /// `key = true`, or nothing.
    pub(crate) fn flag(self, key: &str, flag: bool) -> Self {
        if flag { self.boolean(key, flag) } else { self }
    }

    /// `key = 1`
    pub(crate) fn integer(self, key: &str, integer: impl Into<i128>) -> Self {
        self.raw(key, integer.into().to_string())
    }

    /// `key = ` and text that is TOML already.
    pub(crate) fn raw(mut self, key: &str, toml: String) -> Self {
        self.plain.push((key.to_owned(), toml));
        self
    }

    /// `[key]`, also when it is empty.
    pub(crate) fn table(mut self, key: &str, table: Self) -> Self {
        self.nested.push((key.to_owned(), Nested::Table(table)));
        self
    }

    /// `[key]` if there is one.
    pub(crate) fn optional_table(self, key: &str, table: Option<Self>) -> Self {
        match table {
            Some(table) => self.table(key, table),
            None => self,
        }
    }

    /// `[[key]]` for each, or nothing.
    pub(crate) fn tables(mut self, key: &str, tables: impl IntoIterator<Item = Self>) -> Self {
        let tables: Vec<_> = tables.into_iter().collect();
        if !tables.is_empty() {
            self.nested.push((key.to_owned(), Nested::Tables(tables)));
        }
        self
    }

    /// `[key]` with whatever is in it, if it is there.
    pub(crate) fn values(self, key: &str, values: Option<&ValueTable>) -> Self {
        self.optional_table(key, values.map(Self::from_values))
    }

    fn from_values(values: &ValueTable) -> Self {
        values.iter().fold(Self::new(), |node, (key, value)| match value {
            Value::Table(table) => node.table(key, Self::from_values(table)),
            Value::Array(members) if !members.is_empty() => {
                let tables: Option<Vec<_>> = members
                    .iter()
                    .map(|member| {
                        if let Value::Table(table) = member {
                            Some(table)
                        } else {
                            None
                        }
                    })
                    .collect();
                match tables {
                    Some(tables) => node.tables(key, tables.into_iter().map(Self::from_values)),
                    None => node.raw(key, inline(value)),
                }
            }
            _ => node.raw(key, inline(value)),
        })
    }

    /// The document with this table as its root.
    pub(crate) fn to_toml(&self) -> String {
        let mut out = String::new();
        self.write(&mut out, &[]);
        out
    }

    fn write(&self, out: &mut String, path: &[String]) {
        let indent = "  ".repeat(path.len());
        for (key, value) in &self.plain {
            // Writing to a `String` cannot fail.
            let _infallible = writeln!(out, "{indent}{} = {value}", quoted_key(key));
        }
        for (key, nested) in &self.nested {
            let mut path = path.to_vec();
            path.push(quoted_key(key));
            let name = path.join(".");
            match nested {
                Nested::Table(table) => {
                    if path.len() == 1 {
                        blank_line(out);
                    }
                    let _infallible = writeln!(out, "{indent}[{name}]");
                    table.write(out, &path);
                }
                Nested::Tables(tables) => {
                    for table in tables {
                        blank_line(out);
                        let _infallible = writeln!(out, "{indent}[[{name}]]");
                        table.write(out, &path);
                    }
                }
            }
        }
    }
}

/// Separates from what is there; nothing is there at the start of a file.
fn blank_line(out: &mut String) {
    if !out.is_empty() {
        out.push('\n');
    }
}

fn inline(value: &Value) -> String {
    match value {
        Value::String(text) => quoted(text),
        Value::Integer(integer) => integer.to_string(),
        Value::Float(float) => float_text(*float),
        Value::Boolean(boolean) => boolean.to_string(),
        Value::Datetime(text) => text.clone(),
        Value::Array(members) => {
            format!("[{}]", members.iter().map(inline).collect::<Vec<_>>().join(", "))
        }
        Value::Table(table) => {
            let entry = |(key, value): (&String, &Value)| format!("{} = {}", quoted_key(key), inline(value));
            format!("{{{}}}", table.iter().map(entry).collect::<Vec<_>>().join(", "))
        }
    }
}

fn quoted_key(key: &str) -> String {
    let bare = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if !key.is_empty() && key.bytes().all(bare) {
        key.to_owned()
    } else {
        quoted(key)
    }
}

fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\0'..='\u{1f}' | '\u{7f}' => {
                let _infallible = write!(out, "\\u{:04x}", u32::from(character));
            }
            _ => out.push(character),
        }
    }
    out.push('"');
    out
}

/// The shortest text that reads back as the same number, with an exponent from a million on and below 0.0001, as Go's
/// `%g` has it; never without a point or an exponent.
fn float_text(float: f64) -> String {
    if float.is_nan() {
        return "nan".to_owned();
    }
    if float.is_infinite() {
        return if float > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    let scientific = format!("{float:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if (-4..6).contains(&exponent) {
        let plain = float.to_string();
        return if plain.contains('.') {
            plain
        } else {
            format!("{plain}.0")
        };
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

#[cfg(test)]
mod tests {
    use super::{Node, float_text};
    use crate::{Value, ValueTable};

    #[test]
    fn layout_of_plain_keys_tables_and_arrays_lifecycle_3_6() {
        let process = |name: &str| {
            Node::new()
                .string("type", name)
                .table("sub", Node::new().string("a", ""))
        };
        let node = Node::new()
            .tables("ps", [process("a"), process("b")])
            .table(
                "m",
                Node::new().table("t", Node::new().boolean("z", true).table("k", Node::new())),
            )
            .string("name", "a\"b\\c\n\t\r\u{1}\u{8}\u{c}\u{1b}\u{7f}é<>&'")
            .list("empty", &[] as &[&str])
            .list("two", &["x", "y<"]);
        let expected = r#"name = "a\"b\\c\n\t\r\u0001\b\f\u001b\u007fé<>&'"
empty = []
two = ["x", "y<"]

[[ps]]
  type = "a"
  [ps.sub]
    a = ""

[[ps]]
  type = "b"
  [ps.sub]
    a = ""

[m]
  [m.t]
    z = true
    [m.t.k]
"#;
        assert_eq!(node.to_toml(), expected);
    }

    #[test]
    fn free_form_values_lifecycle_3_6() {
        let table = |entries: Vec<(&str, Value)>| {
            Value::Table(
                entries
                    .into_iter()
                    .map(|(key, value)| (key.to_owned(), value))
                    .collect(),
            )
        };
        let values = ValueTable::from([
            (String::new(), Value::from("e")),
            ("a.b".to_owned(), Value::from("q")),
            ("ea".to_owned(), Value::Array(vec![])),
            ("f".to_owned(), Value::Float(1.0)),
            ("ké".to_owned(), Value::Integer(2)),
            (
                "mixed".to_owned(),
                Value::Array(vec![
                    Value::Integer(1),
                    table(vec![
                        ("q", Value::Integer(1)),
                        ("r", table(vec![("s", Value::from("t"))])),
                    ]),
                ]),
            ),
            (
                "tabs".to_owned(),
                Value::Array(vec![
                    table(vec![
                        ("deep", table(vec![("x", Value::from("y"))])),
                        ("q", Value::Integer(1)),
                    ]),
                    table(vec![]),
                ]),
            ),
        ]);
        let expected = r#"[m]
  "" = "e"
  "a.b" = "q"
  ea = []
  f = 1.0
  "ké" = 2
  mixed = [1, {q = 1, r = {s = "t"}}]

  [[m.tabs]]
    q = 1
    [m.tabs.deep]
      x = "y"

  [[m.tabs]]
"#;
        assert_eq!(Node::new().values("m", Some(&values)).to_toml(), expected);
    }

    #[test]
    fn floats_lifecycle_3_6() {
        for (float, text) in [
            (1.0, "1.0"),
            (-0.5, "-0.5"),
            (123_456.789, "123456.789"),
            (100_000.0, "100000.0"),
            (1_000_000.0, "1e+06"),
            (123_456_789.5, "1.234567895e+08"),
            (1e20, "1e+20"),
            (1e21, "1e+21"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (1e-7, "1e-07"),
            (0.0, "0.0"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
            (f64::NAN, "nan"),
        ] {
            assert_eq!(float_text(float), text);
        }
    }
}
