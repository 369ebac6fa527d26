//! Programs that a test lays down and then starts.
//!
//! A file that somebody has open for writing cannot be executed ("text file busy"), and what is open here is for a moment also
//! open in every process that another test starts. So another process does the writing.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// Writes a program that may be started at once, and makes the directories above it.
pub(crate) fn write_program(path: &Path, content: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut writing = Command::new("sh")
        .args(["-c", "cat >\"$0\" && chmod 755 \"$0\""])
        .arg(path)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = writing.stdin.take().unwrap();
    input.write_all(content.as_bytes()).unwrap();
    drop(input);
    assert!(writing.wait().unwrap().success(), "{}", path.display());
}

/// Copies a program, which may be started at once.
pub(crate) fn copy_program(from: impl AsRef<Path>, to: impl AsRef<Path>) {
    let copied = Command::new("cp").arg(from.as_ref()).arg(to.as_ref()).status();
    assert!(copied.unwrap().success(), "{}", to.as_ref().display());
}
