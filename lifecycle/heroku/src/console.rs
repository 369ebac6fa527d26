//! The log of a build, in the form that other tools match (SB-02, HC-10).

use std::fmt;

/// How far what scripts say is indented.
const INDENT: &str = "       ";

/// Who shows the log, line by line, as it is written. Nothing is held back, so a log is complete when the call that
/// writes it returns (SB-07).
pub trait Console: Sync + fmt::Debug {
    /// Shows a line, without its line break.
    fn line(&self, line: &[u8]);
}

impl dyn Console + '_ {
    /// A step: `-----> text`.
    pub fn heading(&self, text: impl fmt::Display) {
        self.line(format!("-----> {text}").as_bytes());
    }

    /// A remark to the step.
    pub fn detail(&self, text: impl fmt::Display) {
        self.line(format!("{INDENT}{text}").as_bytes());
    }

    /// Something that should not stay as it is: ` !     text`.
    pub fn warning(&self, text: impl fmt::Display) {
        self.line(format!(" !     {text}").as_bytes());
    }

    /// What a script said: headings of its own stay at the left edge, everything else is indented. Blanks and backslashes
    /// survive.
    pub fn script(&self, line: &[u8]) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() || line.starts_with(b"--") || line.starts_with(b"==") {
            return self.line(line);
        }
        self.line(&[INDENT.as_bytes(), line].concat());
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Mutex;

    use super::*;

    /// Keeps the log.
    #[derive(Debug, Default)]
    pub(crate) struct Kept(Mutex<Vec<u8>>);

    impl Kept {
        pub(crate) fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    impl Console for Kept {
        fn line(&self, line: &[u8]) {
            self.0.lock().unwrap().extend([line, b"\n"].concat());
        }
    }

    #[test]
    fn headings_stay_left_and_the_rest_is_indented_hc_10() {
        let kept = Kept::default();
        let console: &dyn Console = &kept;
        for line in [
            "-----> Step",
            "=====> Other",
            "plain",
            "  two \\n blanks",
            "",
            "progress\r",
            " !  warn",
        ] {
            console.script(line.as_bytes());
        }
        let expected = "-----> Step\n=====> Other\n       plain\n         two \\n blanks\n\n       progress\n        !  warn\n";
        assert_eq!(kept.text(), expected);
    }
}
