//! Events for people.

use lifecycle_diagnostics::RenderOptions;
use lifecycle_image::{Outcome, Step};

use super::bytes::human_size;
use super::{Event, Renderer};

const CYAN: &str = "\x1b[36;1m";
const YELLOW: &str = "\x1b[33;1m";
const GREY: &str = "\x1b[90m";
const RESET: &str = "\x1b[0m";

pub(super) struct Text {
    color: bool,
}

impl Text {
    pub(super) fn new(color: bool) -> Self {
        Self { color }
    }

    fn painted(&self, style: &str, text: &str) -> String {
        if self.color {
            format!("{style}{text}{RESET}")
        } else {
            text.to_owned()
        }
    }
}

impl Renderer for Text {
    fn render(&self, event: &Event<'_>) -> Vec<u8> {
        match event {
            Event::Phase(name) => format!("{}\n", self.painted(CYAN, &format!("===> {name}"))).into_bytes(),
            Event::Output(line) => [line, b"\n".as_slice()].concat(),
            Event::Info(message) => format!("{message}\n").into_bytes(),
            Event::Debug(message) => format!("{}\n", self.painted(GREY, message)).into_bytes(),
            Event::Warning(message) => {
                format!("{} {message}\n", self.painted(YELLOW, "warning:")).into_bytes()
            }
            Event::Diagnostic(diagnostic) => {
                let options = RenderOptions {
                    colour: self.color,
                    ..RenderOptions::default()
                };
                format!("{}\n", diagnostic.render(options)).into_bytes()
            }
            Event::Moved {
                step,
                name,
                bytes,
                outcome,
            } => moved(*step, name, *bytes, *outcome).into_bytes(),
        }
    }
}

/// Only what crossed a network is worth a line; the rest is in the summary.
fn moved(step: Step, name: &str, bytes: u64, outcome: Outcome) -> String {
    let verb = match (step, outcome) {
        (Step::Upload, Outcome::Done) => "pushed",
        (Step::Upload, Outcome::Mounted) => return format!("  mounted {name}\n"),
        (Step::Download, Outcome::Done) => "pulled",
        _ => return String::new(),
    };
    format!("  {verb} {name} ({})\n", human_size(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_passes_unchanged() {
        let bytes = Text::new(false).render(&Event::Output(b"  \xff caf\xc3\xa9"));
        assert_eq!(bytes, b"  \xff caf\xc3\xa9\n");
    }

    #[test]
    fn colour_only_when_asked() {
        assert_eq!(
            Text::new(false).render(&Event::Phase("DETECTING")),
            b"===> DETECTING\n"
        );
        assert_eq!(
            Text::new(true).render(&Event::Phase("DETECTING")),
            b"\x1b[36;1m===> DETECTING\x1b[0m\n"
        );
    }
}
