//! What a phase says: the line forms that platforms and their users search for (lifecycle.md 1.5).
//!
//! What happens goes to stdout, what is wrong to stderr (GEN-09, X-02). Colours are on even without a terminal,
//! because there hardly ever is one: platforms hand the lines on to people.

use std::io::{self, Write};

use lifecycle_image::{Meter, NoProgress, Progress, Step};
use lifecycle_phases::{Phase, Reporter};
use lifecycle_spec::ReportToml;

const BOLD_YELLOW: &str = "\x1b[1;33m";
const BOLD_RED: &str = "\x1b[1;31m";
const CYAN: &str = "\x1b[36m";
const RESET: &str = "\x1b[0m";

/// How much is said (GEN-10).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) enum Level {
    Debug,
    #[default]
    Info,
    Warn,
    Error,
}

impl Level {
    /// Reads `-log-level`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        Some(match text.to_ascii_lowercase().as_str() {
            "debug" => Self::Debug,
            "info" => Self::Info,
            "warn" | "warning" => Self::Warn,
            "error" | "fatal" => Self::Error,
            _ => return None,
        })
    }
}

/// The log of one phase.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Log {
    pub(super) level: Level,
    pub(super) color: bool,
    /// Whether phases are announced: only where there are several.
    pub(super) headlines: bool,
}

/// Where a line goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stream {
    Out,
    Err,
}

impl Log {
    /// A final error, set off from what was before.
    pub(super) fn error(self, text: &str) {
        write(
            Stream::Err,
            format!("{} {text}\n\n", self.painted(BOLD_RED, "ERROR:")).as_bytes(),
        );
    }

    /// What was written, and under which names: the lines that scripts cut the digest from.
    pub(super) fn images(self, report: &ReportToml) {
        for (level, text) in image_lines(report) {
            self.say(level, &text);
        }
    }

    fn painted(self, style: &str, text: &str) -> String {
        if self.color {
            format!("{style}{text}{RESET}")
        } else {
            text.to_owned()
        }
    }

    fn line(self, level: Level, text: &str) -> Option<(Stream, String)> {
        if level < self.level {
            return None;
        }
        Some(match level {
            Level::Debug | Level::Info => (Stream::Out, format!("{text}\n")),
            Level::Warn | Level::Error => (
                Stream::Err,
                format!("{} {text}\n", self.painted(BOLD_YELLOW, "Warning:")),
            ),
        })
    }

    fn say(self, level: Level, text: &str) {
        if let Some((stream, line)) = self.line(level, text) {
            write(stream, line.as_bytes());
        }
    }
}

/// The lines about a written image. A daemon's image id is shortened in the first, as its tools show it.
fn image_lines(report: &ReportToml) -> Vec<(Level, String)> {
    let (kind, id, shown) = match (&report.digest, &report.image_id) {
        (Some(digest), _) => ("Digest", digest.as_str(), digest.as_str()),
        (None, Some(id)) => ("Image ID", id.as_str(), short(id)),
        (None, None) => ("Digest", "", ""),
    };
    let mut lines = vec![(Level::Info, format!("*** Images ({shown}):"))];
    lines.extend(
        report
            .tags
            .iter()
            .map(|name| (Level::Info, format!("      {name}"))),
    );
    lines.push((Level::Debug, format!("\n*** {kind}: {id}")));
    let size = report.manifest_size;
    lines.extend(size.map(|size| (Level::Debug, format!("\n*** Manifest Size: {size}"))));
    lines
}

/// The first twelve digits of an image id.
fn short(id: &str) -> &str {
    let digits = id.strip_prefix("sha256:").unwrap_or(id);
    digits.get(..12).unwrap_or(digits)
}

/// A log that nobody reads is no reason to stop.
fn write(stream: Stream, bytes: &[u8]) {
    drop(match stream {
        Stream::Out => {
            let mut out = io::stdout().lock();
            out.write_all(bytes).and_then(|()| out.flush())
        }
        Stream::Err => io::stderr().lock().write_all(bytes),
    });
}

impl Progress for Log {
    fn begin(&self, step: Step, name: &str, total: Option<u64>) -> Box<dyn Meter> {
        NoProgress.begin(step, name, total)
    }
}

impl Reporter for Log {
    fn phase(&self, phase: Phase) {
        if self.headlines {
            self.say(
                Level::Info,
                &self.painted(CYAN, &format!("===> {}", phase.title())),
            );
        }
    }

    fn info(&self, text: &str) {
        self.say(Level::Info, text);
    }

    fn debug(&self, text: &str) {
        self.say(Level::Debug, text);
    }

    fn warning(&self, text: &str) {
        self.say(Level::Warn, text);
    }

    fn output(&self, line: &[u8]) {
        if self.level > Level::Info {
            return;
        }
        let mut bytes = if self.color {
            line.to_vec()
        } else {
            without_styles(line)
        };
        bytes.push(b'\n');
        write(Stream::Out, &bytes);
    }
}

/// A line without the control sequences that set colours and styles (`ESC [ … letter`).
fn without_styles(line: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(line.len());
    let mut rest = line;
    while let Some(start) = rest.windows(2).position(|pair| pair == b"\x1b[") {
        plain.extend_from_slice(&rest[..start]);
        let sequence = &rest[start + 2..];
        // Parameters and intermediates are 0x20 to 0x3f, the final byte is 0x40 to 0x7e (ECMA-48 5.4).
        match sequence.iter().position(|byte| !(0x20..=0x3f).contains(byte)) {
            Some(end) => rest = &sequence[end + 1..],
            None => return plain,
        }
    }
    plain.extend_from_slice(rest);
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_have_the_reference_forms_1_5() {
        let plain = Log {
            level: Level::Debug,
            ..Log::default()
        };
        let color = Log { color: true, ..plain };
        for (log, level, line) in [
            (plain, Level::Info, (Stream::Out, "text\n")),
            (plain, Level::Debug, (Stream::Out, "text\n")),
            (plain, Level::Warn, (Stream::Err, "Warning: text\n")),
            (
                color,
                Level::Warn,
                (Stream::Err, "\x1b[1;33mWarning:\x1b[0m text\n"),
            ),
            (color, Level::Info, (Stream::Out, "text\n")),
        ] {
            assert_eq!(log.line(level, "text"), Some((line.0, line.1.to_owned())));
        }
    }

    #[test]
    fn written_images_are_told_as_scripts_look_for_them_1_5() {
        let digest = format!("sha256:{}", "0123456789abcdef".repeat(4));
        let in_registry = ReportToml {
            tags: vec!["r.test/app:1".to_owned(), "r.test/app:2".to_owned()],
            digest: Some(digest.clone()),
            manifest_size: Some(569),
            ..ReportToml::default()
        };
        let in_daemon = ReportToml {
            image_id: in_registry.digest.clone(),
            digest: None,
            manifest_size: None,
            ..in_registry.clone()
        };
        let names = ["      r.test/app:1", "      r.test/app:2"].map(str::to_owned);
        for (report, told, in_detail) in [
            (
                in_registry,
                format!("*** Images ({digest}):"),
                vec![
                    format!("\n*** Digest: {digest}"),
                    "\n*** Manifest Size: 569".to_owned(),
                ],
            ),
            (
                in_daemon,
                "*** Images (0123456789ab):".to_owned(),
                vec![format!("\n*** Image ID: {digest}")],
            ),
        ] {
            let lines = image_lines(&report);
            let of = |level: Level| -> Vec<String> {
                let of_level = lines.iter().filter(|(own, _)| *own == level);
                of_level.map(|(_, text)| text.clone()).collect()
            };
            assert_eq!(of(Level::Info), [&[told], &names[..]].concat());
            assert_eq!(of(Level::Debug), in_detail);
        }
    }

    #[test]
    fn levels_gen_10() {
        for (text, level) in [
            ("debug", Some(Level::Debug)),
            ("INFO", Some(Level::Info)),
            ("warn", Some(Level::Warn)),
            ("error", Some(Level::Error)),
            ("fatal", Some(Level::Error)),
            ("loud", None),
            ("", None),
        ] {
            assert_eq!(Level::parse(text), level, "{text}");
        }
        let quiet = Log {
            level: Level::Error,
            ..Log::default()
        };
        assert_eq!(quiet.line(Level::Warn, "text"), None);
        // What is said when nobody chose.
        assert_eq!(Log::default().line(Level::Debug, "text"), None);
        assert!(Log::default().line(Level::Info, "text").is_some());
    }

    #[test]
    fn styles_are_taken_out_of_output_1_5() {
        for (line, plain) in [
            ("plain", "plain"),
            ("\x1b[1;31mred\x1b[0m and \x1b[Kmore", "red and more"),
            ("cut \x1b[1", "cut "),
            ("\x1b lone", "\x1b lone"),
        ] {
            assert_eq!(without_styles(line.as_bytes()), plain.as_bytes());
        }
    }
}
