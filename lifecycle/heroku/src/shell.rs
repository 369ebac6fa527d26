//! Shell code that is not a script of a buildpack: what sources files, and what starts processes.

use std::ffi::OsString;

/// Takes bash where there is one: what buildpacks and apps write is written for it.
const CHOOSE: &str = r#"command -v bash >/dev/null 2>&1 && exec bash -c "$0" "$@"; exec sh -c "$0" "$@""#;

/// Sources the files before `--` and becomes the command behind it. None of the files can stop that by failing.
const SOURCE_AND_BECOME: &str = r#"
while [ "$1" != -- ]; do
    . "$1" || echo " !     $1 ended with status $?" >&2
    shift
done
shift
exec "$@"
"#;

/// Starts a process of a slug: sources `.profile.d` of HOME in the order of names, whether executable or not, then becomes
/// a shell for the command (SR-03, SR-06). A script that fails is reported and passed over; one that ends the shell
/// cannot do so silently.
const START: &str = r#"
trap 'echo " !     $_script ended the start of the process" >&2' EXIT
for _script in $_system "$HOME"/.profile.d/* "$HOME"/.profile; do
    [ -f "$_script" ] || continue
    . "$_script" || echo " !     $_script ended with status $?" >&2
done
trap - EXIT
hash -r
[ "$#" -gt 1 ] || exec "${BASH:-sh}" -c "$1"
exec "$@"
"#;

/// What makes a command more than one simple command.
const COMPOUND: [char; 9] = [';', '&', '|', '<', '>', '(', ')', '\n', '`'];
/// Words that begin something else than a program.
const RESERVED: [&str; 26] = [
    "!", ".", ":", "[", "[[", "{", "case", "cd", "command", "eval", "exec", "exit", "export", "for",
    "function", "if", "read", "return", "set", "shift", "source", "time", "trap", "ulimit", "until", "while",
];

/// A command that sources `files` before it becomes `command`.
pub(crate) fn with_sourced(files: Vec<OsString>, command: Vec<OsString>) -> Vec<OsString> {
    in_shell(
        SOURCE_AND_BECOME,
        files.into_iter().chain(["--".into()]).chain(command),
    )
}

/// A command that starts a process of a slug: one word is for a shell, several are a program and its arguments.
pub(crate) fn start(command: impl IntoIterator<Item = OsString>, profiles: Profiles) -> Vec<OsString> {
    let system = match profiles {
        Profiles::App => "_system=",
        Profiles::SystemAndApp => "_system='/etc/profile.d/*.sh'",
    };
    in_shell(&[system, START].concat(), command)
}

/// Which scripts are sourced before a process starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Profiles {
    /// Those of the app: `.profile.d`, then `.profile`.
    #[default]
    App,
    /// Before them those of the system, as herokuish does (HE-03).
    SystemAndApp,
}

/// A command line as program and arguments, for whoever starts it without a shell. Further arguments become `$1` and so on.
pub(crate) fn in_any_shell(command: &str) -> Vec<String> {
    ["/bin/sh", "-c", CHOOSE, command, "start"]
        .map(str::to_owned)
        .to_vec()
}

fn in_shell(script: &str, arguments: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let shell = ["/bin/sh", "-c", CHOOSE, script, "start"].map(OsString::from);
    shell.into_iter().chain(arguments).collect()
}

/// The command with `exec` before it when it is a single program, so that signals reach that and not a shell (PF-03).
/// Everything else stays as it is: a shell runs the last of several commands in its own place by itself.
pub(crate) fn with_exec(command: &str) -> String {
    let first = command.split_whitespace().next().unwrap_or_default();
    let simple = !command.contains(COMPOUND) && !first.contains('=') && !RESERVED.contains(&first);
    // What could become several words or nothing is left to the shell.
    if simple && !first.starts_with(['$', '"', '\'', '#', '~', '\\']) {
        format!("exec {command}")
    } else {
        command.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_single_program_gets_exec_pf_03() {
        for command in [
            "node server.js",
            "./run --port $PORT",
            "bin/web 'a;b'".split(';').next().unwrap_or_default(),
        ] {
            assert_eq!(with_exec(command), format!("exec {command}"));
        }
        for command in [
            "a && b",
            "a; b",
            "A=b c",
            "cd x",
            "exec a",
            "a | b",
            "a > b",
            "(a)",
            "if a; then b; fi",
            "$RUN x",
        ] {
            assert_eq!(with_exec(command), command);
        }
    }
}
