//! The same builds as root and as an ordinary user (T12 to T16).

use std::path::{Path, PathBuf};
use std::process::Command;

/// The example `builder`, which cargo builds beside the tests.
pub(crate) fn builder() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let program = test.parent().unwrap().parent().unwrap().join("examples/builder");
    assert!(
        program.exists(),
        "{} is missing: build the examples",
        program.display()
    );
    program
}

/// Somebody to build as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    Caller,
    /// A user without subordinate ids and capabilities.
    Nobody,
}

fn build(who: Who, isolation: &str, dockerfile: &str) -> (bool, String) {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    std::fs::create_dir(path("context")).unwrap();
    std::fs::write(path("context/f"), "F").unwrap();
    std::fs::write(path("Dockerfile"), dockerfile).unwrap();
    std::fs::create_dir(path("home")).unwrap();
    // The program's own directory need not be open to others.
    copy_program(&builder(), &path("builder"));
    let mut command = if who == Who::Nobody && rustix::process::geteuid().is_root() {
        open_to_all(directory.path());
        open_to_all(&path("home"));
        let mut command = Command::new("setpriv");
        command.args([
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
            "--inh-caps=-all",
            "--bounding-set=-all",
        ]);
        command.arg(path("builder"));
        command
    } else {
        Command::new(path("builder"))
    };
    let output = command
        .args([path("home/store"), path("context"), path("Dockerfile")])
        .arg(isolation)
        .output()
        .unwrap();
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.success(), text)
}

/// Another process copies it: whoever forks while a program is open for writing keeps it from being run.
pub(crate) fn copy_program(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg(from).arg(to).status().unwrap().success());
}

fn open_to_all(path: &Path) {
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
}

#[test]
fn nobody_builds_without_run_t16() {
    let dockerfile = "FROM busybox AS one\nCOPY --chown=alice f /x/f\nWORKDIR /w\nFROM busybox\n\
                      COPY --from=one /x /y\nCOPY --from=busybox /home /z\nADD --chown=7 f /home/\n";
    let expected = [
        "y/f 644 1000:1001",
        "z/hers 600 1000:1001",
        "home/f 644 7:7",
        "home/hers 600 1000:1001",
    ];
    for who in [Who::Caller, Who::Nobody] {
        let (success, output) = build(who, "norun", dockerfile);
        assert!(success, "{who:?}: {output}");
        for line in expected {
            assert!(
                output.lines().any(|found| found == line),
                "{who:?}: {line} in {output}"
            );
        }
    }
    let (success, output) = build(Who::Nobody, "norun", "FROM busybox\nRUN true\n");
    assert!(
        !success && output.contains("Dockerfile:2:1: running a command is not possible"),
        "{output}"
    );
}
