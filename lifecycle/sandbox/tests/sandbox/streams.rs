//! The standard streams of a step that runs as another user: it may open them, and owns nothing that it did not own before.

use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use lifecycle_sandbox::{Identity, Isolation, Run, Stdio, Streams, UserNamespace};

use crate::support::{Fixture, collect};

const ISOLATIONS: [Isolation; 2] = [
    Isolation::Namespaces(UserNamespace::Own),
    Isolation::Namespaces(UserNamespace::Shared),
];

/// A file of this user that nobody else can open, with something in it.
fn private(path: &Path, text: &str) -> File {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    File::options().read(true).append(true).open(path).unwrap()
}

fn as_user(f: &Fixture, isolation: Isolation, script: &str) -> Run {
    let mut run = f.shell(script);
    run.isolation = isolation;
    run.identity = Some(Identity::new(1000, 1000));
    run
}

#[test]
fn pipes_and_the_steps_terminal_can_be_opened_again() {
    let Some(f) = Fixture::of_root() else { return };
    let script = "echo out >/dev/stdout && echo err >/dev/stderr && cat </dev/stdin && id -u";
    for isolation in ISOLATIONS {
        let mut run = as_user(&f, isolation, script);
        run.streams = Streams::Separate {
            stdin: Stdio::Pipe,
            stdout: Stdio::Pipe,
            stderr: Stdio::Pipe,
        };
        let mut process = run.spawn().unwrap();
        std::io::Write::write_all(&mut process.stdin.take().unwrap(), b"in\n").unwrap();
        let (mut out, mut err) = (String::new(), String::new());
        process.stdout.take().unwrap().read_to_string(&mut out).unwrap();
        process.stderr.take().unwrap().read_to_string(&mut err).unwrap();
        assert_eq!(
            (out.as_str(), err.as_str()),
            ("out\nin\n1000\n", "err\n"),
            "{isolation:?}"
        );
        assert!(process.wait().unwrap().success());

        let mut run = as_user(
            &f,
            isolation,
            "echo to the terminal >/dev/stdout; echo and to this >/dev/tty",
        );
        run.streams = Streams::Terminal;
        let mut process = run.spawn().unwrap();
        let mut terminal = process.terminal.take().unwrap();
        let (mut seen, mut buffer) = (Vec::new(), [0; 256]);
        // The last reader of a terminal whose other side closed gets EIO.
        while let Ok(length @ 1..) = terminal.read(&mut buffer) {
            seen.extend_from_slice(&buffer[..length]);
        }
        let seen = String::from_utf8_lossy(&seen).into_owned();
        assert!(
            seen.contains("to the terminal") && seen.contains("and to this"),
            "{isolation:?}: {seen}"
        );
    }
}

/// Web servers open /dev/stdout for their logs. The file that it leads to stays whose it is.
#[test]
fn files_are_written_for_the_step_and_not_given_away() {
    let Some(f) = Fixture::of_root() else { return };
    let directory = f.outside("files");
    let (input, output) = (directory.join("in"), directory.join("out"));
    for isolation in ISOLATIONS {
        let stdin = private(&input, "from the file\n");
        let stdout = private(&output, "was here\n");
        let script = "cat; i=0; while [ $i -lt 200 ]; do i=$((i+1)); echo out $i; echo err $i >&2; done
            echo opened >/dev/stdout && echo again >>/dev/stderr && stat -L -c %F /dev/stdout";
        let mut run = as_user(&f, isolation, script);
        run.streams = Streams::Separate {
            stdin: Stdio::Fd(stdin.into()),
            stdout: Stdio::Fd(stdout.try_clone().unwrap().into()),
            stderr: Stdio::Fd(stdout.into()),
        };
        assert!(run.spawn().unwrap().wait().unwrap().success());
        // Both streams in their order, to the end.
        let both = |number| format!("out {number}\nerr {number}\n");
        let lines: String = (1..=200).map(both).collect();
        assert_eq!(
            fs::read_to_string(&output).unwrap(),
            format!("was here\nfrom the file\n{lines}opened\nagain\nfifo\n"),
            "{isolation:?}"
        );
        let own = fs::metadata(directory.join("in")).unwrap().uid();
        for path in [&input, &output] {
            let metadata = fs::metadata(path).unwrap();
            assert_eq!(
                (metadata.uid(), metadata.mode() & 0o777),
                (own, 0o600),
                "{isolation:?}"
            );
            assert_eq!(own, rustix::process::geteuid().as_raw());
        }
    }
}

/// An input that nobody reads to its end holds nobody up, and a step that may open a file gets the file itself.
#[test]
fn only_what_cannot_be_opened_is_copied() {
    let Some(f) = Fixture::of_root() else { return };
    let directory = f.outside("files");
    let large = "line\n".repeat(1 << 20);
    let stdin = private(&directory.join("large"), &large);
    let mut run = as_user(&f, ISOLATIONS[1], "head -n 1 </dev/stdin");
    run.streams = Streams::Separate {
        stdin: Stdio::Fd(stdin.into()),
        stdout: Stdio::Pipe,
        stderr: Stdio::Inherit,
    };
    let mut process = run.spawn().unwrap();
    let mut out = String::new();
    process.stdout.take().unwrap().read_to_string(&mut out).unwrap();
    assert!(process.wait().unwrap().success());
    assert_eq!(out, "line\n");

    for (identity, mode) in [(Identity::root(), 0o600), (Identity::new(1000, 1000), 0o666)] {
        let path = directory.join("out");
        let stdout = private(&path, "here: ");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let mut run = as_user(&f, ISOLATIONS[1], "stat -L -c %F /dev/stdout");
        run.identity = Some(identity);
        run.streams = Streams::Separate {
            stdin: Stdio::Null,
            stdout: Stdio::Fd(stdout.into()),
            stderr: Stdio::Inherit,
        };
        assert!(run.spawn().unwrap().wait().unwrap().success());
        assert_eq!(fs::read_to_string(&path).unwrap(), "here: regular file\n");
    }
}

/// A pipe with a name belongs to others too: what is given away is what has no name.
#[test]
fn a_named_pipe_is_not_given_away() {
    let Some(f) = Fixture::of_root() else { return };
    let path = f.outside("files").join("pipe");
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    let owner = fs::metadata(&path).unwrap().uid();
    let mut both = File::options().read(true).write(true).open(&path).unwrap();
    let mut run = as_user(&f, ISOLATIONS[1], "echo through >/dev/stdout");
    run.streams = Streams::Separate {
        stdin: Stdio::Null,
        stdout: Stdio::Fd(both.try_clone().unwrap().into()),
        stderr: Stdio::Inherit,
    };
    assert!(run.spawn().unwrap().wait().unwrap().success());
    let mut text = [0; 8];
    both.read_exact(&mut text).unwrap();
    assert_eq!(&text, b"through\n");
    assert_eq!(fs::metadata(&path).unwrap().uid(), owner);
}

/// Where a step has one user only, which the streams belong to already, nothing changes.
#[test]
fn a_root_step_opens_its_streams_as_before() {
    let Some(f) = Fixture::of_root() else { return };
    let outcome = collect(f.shell("echo out >/dev/stdout; echo err >/dev/stderr")).unwrap();
    assert_eq!(
        (outcome.stdout.as_str(), outcome.stderr.as_str()),
        ("out\n", "err\n")
    );
}
