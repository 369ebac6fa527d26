//! The script that bash runs before a process that goes through a shell.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// The shell of profile scripts and shell processes (LAU-09).
pub(crate) const BASH: &str = "/bin/bash";

/// Replaces this bash by one that runs the script in `$1` and nothing else (LAU-10, LAU-11).
const RUN_SCRIPT: &str = "exec /bin/bash -c \"$1\"\n";

/// Replaces this bash by one that runs a command whose words have been through the shell once, each on its own
/// (LAU-10). Each becomes the inside of a double-quoted string: variables and substitutions count, spaces and wildcards
/// do not. The command may be one that only bash has, so it is bash that runs it.
const RUN_WORDS: &str = "__word() { printf %s \"$*\"; }
__words=()
for __each in \"$@\"; do __words+=(\"$(eval \"__word \\\"$__each\\\"\")\"); done
exec /bin/bash -c '\"$@\"' \"$0\" \"${__words[@]}\"
";

/// Sources the profiles in the directory where bash starts, then changes to the working directory and runs what it got
/// as arguments: a script when that is one argument, else words.
pub(crate) fn script(
    profiles: &[PathBuf],
    app_profile: Option<&Path>,
    working_dir: &Path,
    is_script: bool,
) -> OsString {
    let mut script = Vec::new();
    for profile in profiles.iter().map(PathBuf::as_path).chain(app_profile) {
        script.extend_from_slice(b"source ");
        script.extend(quoted(profile.as_os_str()));
        script.push(b'\n');
    }
    script.extend_from_slice(b"cd ");
    script.extend(quoted(working_dir.as_os_str()));
    // A process in the wrong directory is worse than none.
    script.extend_from_slice(b" || exit 82\n");
    script.extend_from_slice(if is_script { RUN_SCRIPT } else { RUN_WORDS }.as_bytes());
    OsString::from_vec(script)
}

/// The text as one word of the shell, whatever bytes are in it.
fn quoted(text: &OsStr) -> Vec<u8> {
    let mut word = vec![b'\''];
    for byte in text.as_bytes() {
        match byte {
            b'\'' => word.extend_from_slice(b"'\\''"),
            other => word.push(*other),
        }
    }
    word.push(b'\'');
    word
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    use std::path::Path;

    use super::script;

    #[test]
    fn any_path_is_one_word() {
        let profile = Path::new(OsStr::from_bytes(b"/l/it's \"$x\" \xff")).to_owned();
        let script = script(&[profile], None, Path::new("/a b"), true);
        assert!(
            script
                .as_bytes()
                .starts_with(b"source '/l/it'\\''s \"$x\" \xff'\ncd '/a b' || exit 82\n")
        );
    }
}
