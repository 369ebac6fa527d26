//! The JSON form. Every key is always there, so that programs need no defaults; keys are added, never renamed.
//!
//! ```json
//! {"severity": "error", "code": "unknown-flag", "message": "…",
//!  "spans": [{"file": "Dockerfile", "start": {"line": 2, "column": 6}, "end": {"line": 2, "column": 12}, "label": null}],
//!  "notes": [], "help": ["did you mean --from?"], "causes": [], "url": null}
//! ```

use serde::ser::{Serialize, SerializeStruct, Serializer};

use crate::diagnostic::{Diagnostic, Label, Severity};
use crate::source::Position;

impl Serialize for Diagnostic {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("Diagnostic", 8)?;
        object.serialize_field("severity", &self.severity)?;
        object.serialize_field("code", &self.code)?;
        object.serialize_field("message", &self.message)?;
        object.serialize_field("spans", &self.labels)?;
        object.serialize_field("notes", &self.notes)?;
        object.serialize_field("help", &self.help)?;
        object.serialize_field("causes", &self.causes)?;
        object.serialize_field("url", &self.url)?;
        object.end()
    }
}

impl Serialize for Severity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl Serialize for Label {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("Span", 4)?;
        object.serialize_field("file", self.span.source().name())?;
        object.serialize_field("start", &self.span.start())?;
        object.serialize_field("end", &self.span.end())?;
        object.serialize_field("label", &self.text)?;
        object.end()
    }
}

impl Serialize for Position {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("Position", 2)?;
        object.serialize_field("line", &self.line)?;
        object.serialize_field("column", &self.column)?;
        object.end()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::{Diagnostic, Source};

    #[test]
    fn every_key_is_always_there() {
        let diagnostic = Diagnostic::warning("c", "m");
        let expected = json!({
            "severity": "warning", "code": "c", "message": "m",
            "spans": [], "notes": [], "help": [], "causes": [], "url": null,
        });
        assert_eq!(serde_json::to_value(diagnostic).unwrap(), expected);
    }

    #[test]
    fn spans_name_file_lines_and_columns() {
        let source = Source::new("d/Dockerfile", b"FROM a\nR\xffN x".as_slice());
        let cause = std::io::Error::other("disk on fire");
        let diagnostic = Diagnostic::error("c", "m")
            .label(source.span(7..10), "here")
            .at(source.span(0..6))
            .note("n")
            .help("h")
            .caused_by(&cause)
            .url("u");
        let expected = json!({
            "severity": "error", "code": "c", "message": "m",
            "spans": [
                {"file": "d/Dockerfile", "start": {"line": 2, "column": 1}, "end": {"line": 2, "column": 4}, "label": "here"},
                {"file": "d/Dockerfile", "start": {"line": 1, "column": 1}, "end": {"line": 1, "column": 7}, "label": null},
            ],
            "notes": ["n"], "help": ["h"], "causes": ["disk on fire"], "url": "u",
        });
        assert_eq!(serde_json::to_value(diagnostic).unwrap(), expected);
    }
}
