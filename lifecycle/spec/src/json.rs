//! JSON of image labels: compact, in the key order of the reference, escaped as Go escapes (lifecycle.md 3.5).

use std::io;
use std::path::Path;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::ser::Formatter;

use crate::document::{Fault, Flaw, Value, ValueTable};

/// Writes a label. Fails only for what JSON cannot hold, and none of the label types holds such a thing but a float
/// that is not a number; that one becomes `null`.
pub(crate) fn write(value: &impl Serialize) -> String {
    let mut out = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, GoFormatter);
    match value.serialize(&mut serializer) {
        // The formatter writes text only.
        Ok(()) => String::from_utf8(out).unwrap_or_default(),
        Err(_) => "null".to_owned(),
    }
}

/// Reads a label; `name` stands for its file in messages.
pub(crate) fn read<T: DeserializeOwned>(name: &str, text: &str) -> Result<T, Flaw> {
    serde_json::from_str(text).map_err(|error| {
        let line_start: usize = text
            .split_inclusive('\n')
            .take(error.line().saturating_sub(1))
            .map(str::len)
            .sum();
        let offset = (line_start + error.column().saturating_sub(1)).min(text.len());
        let message = error.to_string();
        // The place is ours to tell.
        let place = format!(" at line {} column {}", error.line(), error.column());
        let message = message.strip_suffix(&place).unwrap_or(&message);
        Flaw::new(
            Path::new(name),
            &Arc::from(text),
            Fault::new(offset..offset + 1, message),
        )
    })
}

/// A string with its quotes, as Go's `encoding/json` writes it.
pub(crate) fn go_string(text: &str) -> String {
    write(&text)
}

/// Go writes an empty list that nobody made as `null`.
pub(crate) fn null_when_empty<T: Serialize, S: Serializer>(
    list: &Vec<T>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    if list.is_empty() {
        serializer.serialize_none()
    } else {
        list.serialize(serializer)
    }
}

/// A free-form table whose members may be null, which TOML has not: these vanish. Anything but a table says nothing, and
/// does not cost the label that it is in.
pub(crate) fn table_without_nulls<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: From<ValueTable> + Default,
    D: Deserializer<'de>,
{
    Ok(match Option::deserialize(deserializer)? {
        Some(Value::Table(table)) => table.into(),
        _ => T::default(),
    })
}

/// Reads `null` as the default, for all the places where Go may have written it.
pub(crate) fn default_when_null<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: Deserialize<'de> + Default,
    D: Deserializer<'de>,
{
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

struct GoFormatter;

impl Formatter for GoFormatter {
    /// Labels may land in HTML, thinks Go: `<`, `>`, `&` and the two line separators are escaped.
    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut rest = fragment;
        while let Some(at) = rest.find(['<', '>', '&', '\u{2028}', '\u{2029}']) {
            let (before, from) = rest.split_at(at);
            writer.write_all(before.as_bytes())?;
            let mut characters = from.chars();
            if let Some(character) = characters.next() {
                write!(writer, "\\u{:04x}", u32::from(character))?;
            }
            rest = characters.as_str();
        }
        writer.write_all(rest.as_bytes())
    }

    /// Whole numbers without a fraction, an exponent from 1e21 on and below 1e-6.
    fn write_f64<W: ?Sized + io::Write>(&mut self, writer: &mut W, float: f64) -> io::Result<()> {
        let size = float.abs();
        if size == 0.0 || (1e-6..1e21).contains(&size) {
            return write!(writer, "{float}");
        }
        let scientific = format!("{float:e}");
        match scientific.split_once('e') {
            Some((digits, exponent)) if !exponent.starts_with('-') => write!(writer, "{digits}e+{exponent}"),
            _ => writer.write_all(scientific.as_bytes()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{go_string, read, write};

    #[test]
    fn strings_are_escaped_as_go_does_lifecycle_3_5() {
        assert_eq!(
            go_string("<\u{2028}\u{8}\u{c}\u{1}\u{7f}&>é\"\\\n"),
            "\"\\u003c\\u2028\\b\\f\\u0001\u{7f}\\u0026\\u003eé\\\"\\\\\\n\""
        );
    }

    #[test]
    fn floats_are_written_as_go_does() {
        for (float, text) in [
            (1.0, "1"),
            (-0.5, "-0.5"),
            (123_456.789, "123456.789"),
            (1e20, "100000000000000000000"),
            (1e21, "1e+21"),
            (1e-6, "0.000001"),
            (1e-7, "1e-7"),
            (0.0, "0"),
        ] {
            assert_eq!(write(&float), text);
        }
    }

    #[test]
    fn errors_point_into_the_label() {
        let flaw = read::<Vec<u8>>("io.buildpacks.x", "[1,\n 2,,").unwrap_err();
        assert!(flaw.to_string().starts_with("io.buildpacks.x:2:4: "), "{flaw}");
        assert!(!flaw.message().contains("line"), "{flaw}");
    }
}
