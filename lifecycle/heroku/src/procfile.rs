//! Process types: the lines of a `Procfile` (platforms.md 2.3).

use crate::LineError;

/// The file that declares process types.
pub(crate) const PROCFILE: &str = "Procfile";
/// The type that gets HTTP traffic, and that starts when nobody names one.
pub const WEB: &str = "web";
/// The type that runs once at a release; it never starts by default (PF-07).
const RELEASE: &str = "release";

/// Process types and their commands, in the order in which they were written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Procfile {
    processes: Vec<Process>,
    repeated: Vec<LineError>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Process {
    name: String,
    command: String,
}

impl Procfile {
    /// Reads a Procfile: `name: command`, one on a line (PF-01, PF-02, PF-06).
    ///
    /// # Errors
    /// For the first line that is no process, comment, or blank line.
    pub fn parse(bytes: &[u8]) -> Result<Self, LineError> {
        let mut procfile = Self::default();
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        for (index, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
            let fault = |reason: String| LineError::new(PROCFILE, index + 1, reason);
            let line = std::str::from_utf8(line).map_err(|_| fault("the line is not UTF-8".to_owned()))?;
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let Some((name, command)) = line.split_once(':') else {
                return Err(fault(format!("expected `name: command`, found `{line}`")));
            };
            let (name, command) = (name.trim(), command.trim());
            check_name(name).map_err(&fault)?;
            if command.is_empty() {
                return Err(fault(format!("process type `{name}` has no command")));
            }
            if procfile.command(name).is_some() {
                procfile.repeated.push(fault(format!(
                    "process type `{name}` is given again; this line wins"
                )));
            }
            procfile.set(name, command);
        }
        Ok(procfile)
    }

    /// Adds a process type, or gives it another command.
    pub(crate) fn set(&mut self, name: &str, command: &str) {
        match self.processes.iter_mut().find(|process| process.name == name) {
            Some(process) => command.clone_into(&mut process.command),
            None => self.processes.push(Process {
                name: name.to_owned(),
                command: command.to_owned(),
            }),
        }
    }

    /// Adds the default process types of a buildpack; what is there already wins (PF-04).
    #[must_use]
    pub fn with_defaults(mut self, defaults: &Self) -> Self {
        for (name, command) in defaults.iter() {
            if self.command(name).is_none() {
                self.set(name, command);
            }
        }
        self
    }

    /// The command of a process type.
    pub fn command(&self, name: &str) -> Option<&str> {
        self.iter()
            .find(|(own, _)| *own == name)
            .map(|(_, command)| command)
    }

    /// The type that starts when nobody names one: `web`, else the only one there is; never `release` (PF-07).
    pub fn default_type(&self) -> Option<&str> {
        match self.processes.as_slice() {
            _ if self.command(WEB).is_some() => Some(WEB),
            [only] if only.name != RELEASE => Some(&only.name),
            _ => None,
        }
    }

    /// All names with their commands, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.processes
            .iter()
            .map(|process| (process.name.as_str(), process.command.as_str()))
    }

    /// The names, for messages: `web, worker`.
    pub fn names(&self) -> String {
        self.iter().map(|(name, _)| name).collect::<Vec<_>>().join(", ")
    }

    /// Whether there is no process type.
    pub fn is_empty(&self) -> bool {
        self.processes.is_empty()
    }

    /// Lines that replaced an earlier one of the same name.
    pub fn repeated(&self) -> &[LineError] {
        &self.repeated
    }

    /// The file's text.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        for (name, command) in self.iter() {
            text.extend([name, ": ", command, "\n"]);
        }
        text
    }
}

/// Whether a name is one of a process type: letters, digits, `-` and `_` (PF-06). All of them are names of CNB
/// process types too, so nothing needs to be mapped.
pub(crate) fn check_name(name: &str) -> Result<(), String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if !name.is_empty() && name.bytes().all(allowed) {
        return Ok(());
    }
    Err(format!(
        "`{name}` is not the name of a process type; use letters, digits, `-` and `_`"
    ))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Procfile {
        Procfile::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_line_is_split_at_its_first_colon_pf_01() {
        let procfile = parse("  web :  run --bind 0.0.0.0:$PORT a:b  \nworker:x\n");
        assert_eq!(procfile.command("web"), Some("run --bind 0.0.0.0:$PORT a:b"));
        assert_eq!(procfile.names(), "web, worker");
        // Whatever YAML would make of it (PIT-13).
        let command = "run --format '{name: %s}' [a, b] # & * !x @y `z` -- \"k: v\"";
        assert_eq!(parse(&format!("web: {command}")).command("web"), Some(command));
    }

    #[test]
    fn what_other_editors_leave_is_fine_pf_02() {
        let procfile = parse("\u{feff}# types\r\n\r\nweb: run\r\n  # more\r\nworker: work");
        assert_eq!(
            procfile.iter().collect::<Vec<_>>(),
            [("web", "run"), ("worker", "work")]
        );
    }

    #[test]
    fn a_bad_line_is_named_pf_06() {
        for (text, line, reason) in [
            (
                "web: a\nno colon",
                2,
                "expected `name: command`, found `no colon`",
            ),
            (
                "\n\nwe b: a",
                3,
                "`we b` is not the name of a process type; use letters, digits, `-` and `_`",
            ),
            (
                ": a",
                1,
                "`` is not the name of a process type; use letters, digits, `-` and `_`",
            ),
            ("web:", 1, "process type `web` has no command"),
        ] {
            let error = Procfile::parse(text.as_bytes()).unwrap_err();
            assert_eq!(error.to_string(), format!("Procfile:{line}: {reason}"));
        }
        assert_eq!(Procfile::parse(b"a: \xff").unwrap_err().line, 1);
    }

    #[test]
    fn the_last_of_equal_names_wins_with_a_note() {
        let procfile = parse("web: a\nweb: b");
        assert_eq!(procfile.command("web"), Some("b"));
        assert_eq!(procfile.repeated()[0].line, 2);
    }

    #[test]
    fn the_app_wins_over_defaults_and_keeps_the_others_pf_04() {
        let merged = parse("web: mine").with_defaults(&parse("web: theirs\nworker: work\n"));
        assert_eq!(merged.to_text(), "web: mine\nworker: work\n");
    }

    #[test]
    fn web_starts_by_default_and_release_never_pf_07() {
        assert_eq!(parse("worker: w\nweb: a").default_type(), Some("web"));
        assert_eq!(parse("worker: w").default_type(), Some("worker"));
        assert_eq!(parse("worker: w\nother: o").default_type(), None);
        assert_eq!(parse("release: r").default_type(), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            if let Ok(procfile) = Procfile::parse(&bytes) {
                let again = Procfile::parse(procfile.to_text().as_bytes()).unwrap();
                prop_assert_eq!(again.processes, procfile.processes);
            }
        }
    }
}
