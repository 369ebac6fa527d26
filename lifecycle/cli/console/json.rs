//! Events for programs: one JSON object a line.

use lifecycle_image::{Outcome, Step};
use serde_json::{Value, json};

use super::{Event, Renderer};

pub(super) struct Json;

impl Renderer for Json {
    fn render(&self, event: &Event<'_>) -> Vec<u8> {
        let mut value = match event {
            Event::Phase(name) => json!({ "event": "phase", "name": name }),
            Event::Output(line) => json!({ "event": "output", "line": String::from_utf8_lossy(line) }),
            Event::Info(message) => json!({ "event": "message", "level": "info", "message": message }),
            Event::Debug(message) => json!({ "event": "message", "level": "debug", "message": message }),
            Event::Warning(message) => json!({ "event": "message", "level": "warning", "message": message }),
            Event::Diagnostic(diagnostic) => {
                json!({ "event": "diagnostic", "diagnostic": serde_json::to_value(diagnostic).unwrap_or_default() })
            }
            Event::Moved {
                step,
                name,
                bytes,
                outcome,
            } => json!({
                "event": "blob",
                "step": step_name(*step),
                "name": name,
                "bytes": bytes,
                "outcome": outcome_name(*outcome),
            }),
        };
        value["time"] = Value::from(jiff::Timestamp::now().to_string());
        let mut line = value.to_string().into_bytes();
        line.push(b'\n');
        line
    }
}

fn step_name(step: Step) -> &'static str {
    match step {
        Step::Hash => "hash",
        Step::Pack => "pack",
        Step::Extract => "extract",
        Step::Download => "download",
        Step::Upload => "upload",
        Step::Copy => "copy",
    }
}

fn outcome_name(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Done => "done",
        Outcome::Existed => "existed",
        Outcome::Mounted => "mounted",
        Outcome::Reused => "reused",
    }
}
