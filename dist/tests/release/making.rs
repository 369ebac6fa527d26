//! Making releases, and what makes them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use tempfile::TempDir;

pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Builds a program of the workspace, as `make dist` does, and says where it is.
fn build(arguments: &[&str]) -> PathBuf {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut command = Command::new(env!("CARGO"));
    command
        .current_dir(workspace)
        .args(["build", "--quiet", "--message-format=json"])
        .args(arguments);
    let output = done(&mut command);
    let messages = String::from_utf8(output.stdout).unwrap();
    let mut programs = messages.lines().filter_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).unwrap();
        Some(PathBuf::from(message["executable"].as_str()?))
    });
    programs.next_back().unwrap()
}

pub(crate) fn launcher() -> &'static Path {
    static LAUNCHER: OnceLock<PathBuf> = OnceLock::new();
    LAUNCHER.get_or_init(|| build(&["--package", "lifecycle-launcher", "--profile", "launcher"]))
}

pub(crate) fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| build(&["--package", "lifecycle", "--bin", "lifecycle"]))
}

pub(crate) fn done(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// Makes a release of `program` into `out`.
pub(crate) fn make(program: &Path, out: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lifecycle-dist"));
    command
        .arg("make")
        .arg("--program")
        .arg(program)
        .arg("--launcher")
        .arg(launcher())
        .arg("--out")
        .arg(out);
    command
}

/// A release of programs that are small, for everything but running them.
pub(crate) fn small() -> &'static Path {
    static RELEASE: OnceLock<TempDir> = OnceLock::new();
    let release = RELEASE.get_or_init(|| {
        let directory = tempfile::tempdir().unwrap();
        done(&mut make(launcher(), directory.path()));
        directory
    });
    release.path()
}

/// The only file of a release with this beginning and end.
pub(crate) fn file(release: &Path, start: &str, end: &str) -> PathBuf {
    let names = fs::read_dir(release)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let found: Vec<String> = names
        .filter(|name| name.starts_with(start) && name.ends_with(end))
        .collect();
    assert_eq!(found.len(), 1, "{found:?}");
    release.join(&found[0])
}

pub(crate) fn check(tarball: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_lifecycle-dist"))
        .arg("check")
        .arg(tarball)
        .output()
        .unwrap()
}

/// What the debug image is made with.
pub(crate) fn has_busybox() -> bool {
    let found = Path::new("/bin/busybox").exists();
    if !found {
        println!("skipped: busybox is not installed");
    }
    found
}

pub(crate) fn is_installed(program: &str) -> bool {
    let found = Command::new(program).arg("--version").output().is_ok();
    if !found {
        println!("skipped: {program} is not installed");
    }
    found
}
