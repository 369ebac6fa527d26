//! Events for people.

use std::borrow::Cow;

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
            Event::Info(message) => format!("{}\n", harmless(message)).into_bytes(),
            Event::Debug(message) => format!("{}\n", self.painted(GREY, &harmless(message))).into_bytes(),
            Event::Warning(message) => {
                format!("{} {}\n", self.painted(YELLOW, "warning:"), harmless(message)).into_bytes()
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
            } => moved(*step, &harmless(name), *bytes, *outcome).into_bytes(),
        }
    }
}

/// A text that says nothing to a terminal: names and labels come from images and buildpacks. Control characters but for
/// ends of lines and tabs become symbols, one for each.
pub(super) fn harmless(text: &str) -> Cow<'_, str> {
    let is_harmful = |symbol: char| symbol.is_control() && !matches!(symbol, '\n' | '\t');
    if !text.contains(is_harmful) {
        return text.into();
    }
    let symbol = |symbol: char| match symbol {
        symbol if !is_harmful(symbol) => symbol,
        '\x7f' => '\u{2421}',
        // Unicode has a picture of each of them.
        symbol if symbol.is_ascii() => char::from_u32(0x2400 + u32::from(symbol)).unwrap_or('\u{fffd}'),
        _ => '\u{fffd}',
    };
    text.chars().map(symbol).collect()
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
    fn what_names_say_to_a_terminal_is_shown_and_not_done() {
        let text = "a\x1b]52;c;eA==\x07\r\u{9b}2J\n\té";
        let shown = "a\u{241b}]52;c;eA==\u{2407}\u{240d}\u{fffd}2J\n\té";
        assert_eq!(harmless(text), shown);
        for event in [Event::Info(text), Event::Debug(text), Event::Warning(text)] {
            let lines = String::from_utf8(Text::new(false).render(&event)).unwrap();
            assert!(lines.ends_with(&format!("{shown}\n")), "{lines:?}");
        }
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
