//! Runs a buildpack's program and follows what it prints.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io::{self, PipeReader, Read};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use lifecycle_executor::Cancellation;
use lifecycle_layers::{MemoryWatch, exhausted};
use lifecycle_spec::Environment;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process_group};

use crate::Reporter;

/// How long output is still read after the program has ended.
///
/// Whatever the program left running in the background holds the output open; the reference waits for it for
/// ever (lifecycle.md 5). What was printed before the program ended is in the pipe by then, so only the words of
/// stragglers are lost.
const GRACE: Duration = Duration::from_secs(2);
/// How long a program that was asked to stop may take.
const STOP: Duration = Duration::from_secs(5);
/// How often a running phase looks whether it was cancelled.
const TICK: Duration = Duration::from_millis(200);
/// A line longer than this is handed on in pieces, so that a program without newlines fills no memory.
const LONGEST_LINE: usize = 64 * 1024;

/// A program to run. It sees only what is named here.
#[derive(Debug)]
pub(crate) struct Program<'a> {
    /// The file; absolute, because programs find their own directory by `$0`.
    pub(crate) file: &'a Path,
    /// Its arguments.
    pub(crate) arguments: Vec<OsString>,
    /// Where it runs.
    pub(crate) directory: &'a Path,
    /// All of its variables.
    pub(crate) environment: &'a Environment,
}

/// How a program ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Its status.
    pub(crate) status: ExitStatus,
    /// Whether something it started still held its output when the wait for it was over.
    pub(crate) left_behind: bool,
}

/// Why a program of a module has not succeeded.
#[derive(Debug)]
pub(crate) enum Failing {
    /// Somebody asked to stop.
    Cancelled,
    /// It could not be run, or ended otherwise than it should.
    Failed {
        /// Its exit code, if it ended by itself.
        code: Option<i32>,
        /// How it ended, for messages.
        ending: String,
        /// The last that it said.
        last_lines: Vec<String>,
    },
}

impl Program<'_> {
    /// Runs the program, reports what it says, and sees to it that it succeeds. Says whether it left something behind.
    pub(crate) fn succeed(
        &self,
        cancellation: &Cancellation,
        reporter: &dyn Reporter,
    ) -> Result<bool, Failing> {
        let mut tail = Tail::default();
        let memory = MemoryWatch::begin();
        let ended = self.run(cancellation, &mut |line| {
            tail.push(line);
            reporter.output(line);
        });
        let failed = |code, ending: String| Failing::Failed {
            code,
            ending,
            last_lines: tail.to_lines(),
        };
        let ended = ended.map_err(|cause| failed(None, format!("could not be run: {cause}")))?;
        if cancellation.is_cancelled() {
            return Err(Failing::Cancelled);
        }
        if !ended.status.success() {
            let ending = describe(ended.status);
            let ending = match memory.exceeded().or_else(|| exhausted(self.directories())) {
                Some(limit) => format!("{ending}: {limit}"),
                None => ending,
            };
            return Err(failed(ended.status.code(), ending));
        }
        Ok(ended.left_behind)
    }

    /// Where it is expected to write: its own directory, those that it is told of, and the one for temporary files.
    fn directories(&self) -> impl Iterator<Item = &Path> {
        let temporary = self
            .environment
            .get("TMPDIR")
            .map_or(Path::new("/tmp"), Path::new);
        let told = self.arguments.iter().map(Path::new);
        std::iter::once(self.directory).chain(told).chain([temporary])
    }

    /// Runs the program. Both of its outputs go into one pipe, so lines come in the order in which they were
    /// printed; the program sees no terminal and an empty input.
    pub(crate) fn run(
        &self,
        cancellation: &Cancellation,
        on_line: &mut dyn FnMut(&[u8]),
    ) -> io::Result<Ended> {
        let _attended = cancellation.attend();
        let (output, input) = io::pipe()?;
        let (end, ended) = io::pipe()?;
        let mut child = self.spawn(input)?;
        let group = Pid::from_child(&child);
        thread::scope(|scope| {
            let waiter = scope.spawn(move || {
                let status = child.wait();
                // Wakes the one who follows the output.
                drop(ended);
                status
            });
            let followed = follow(output, end, group, cancellation, on_line);
            let status = waiter
                .join()
                .unwrap_or_else(|cause| std::panic::resume_unwind(cause))?;
            Ok(Ended {
                status,
                left_behind: followed?,
            })
        })
    }

    fn spawn(&self, output: io::PipeWriter) -> io::Result<Child> {
        let mut command = Command::new(self.file);
        command
            .args(&self.arguments)
            .current_dir(self.directory)
            .env_clear()
            .envs(self.environment.iter())
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output);
        // A group of its own, so that stopping reaches what the program started.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut attempts = 0;
        loop {
            match command.spawn() {
                // A file that was written a moment ago is still open for writing in a process that another thread
                // has forked and that has not come to its own program yet. It will.
                Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy && attempts < 50 => {
                    attempts += 1;
                    thread::sleep(Duration::from_millis(10));
                }
                result => return result,
            }
        }
    }
}

/// Hands on lines until the output is closed, or the program has ended and the grace is over; then tells whether
/// somebody still held it.
fn follow(
    mut output: PipeReader,
    end: PipeReader,
    group: Pid,
    cancellation: &Cancellation,
    on_line: &mut dyn FnMut(&[u8]),
) -> io::Result<bool> {
    let mut lines = Lines::default();
    let mut buffer = vec![0; 64 * 1024];
    let mut open = true;
    let mut ended: Option<Instant> = None;
    let mut stopping = Stopping::default();
    let left_behind = loop {
        let patience = match ended {
            None => TICK,
            Some(since) => GRACE.saturating_sub(since.elapsed()),
        };
        match (open, ended) {
            (false, Some(_)) => break false,
            (true, Some(_)) if patience.is_zero() => break true,
            _ => {}
        }
        let (readable, done) = wait(open.then_some(&output), ended.is_none().then_some(&end), patience)?;
        if readable {
            match output.read(&mut buffer)? {
                0 => open = false,
                read => lines.push(&buffer[..read], on_line),
            }
        }
        if done {
            ended = Some(Instant::now());
        }
        if cancellation.is_cancelled() && ended.is_none() {
            stopping.advance(group);
        }
    };
    lines.finish(on_line);
    Ok(left_behind)
}

/// Waits until there is something to read on either pipe, or the time is over.
fn wait(
    output: Option<&PipeReader>,
    end: Option<&PipeReader>,
    patience: Duration,
) -> io::Result<(bool, bool)> {
    let watch = |pipe| PollFd::new(pipe, PollFlags::IN);
    let mut pipes: Vec<PollFd<'_>> = output.into_iter().chain(end).map(watch).collect();
    let patience = Timespec {
        tv_sec: patience.as_secs().try_into().unwrap_or(i64::MAX),
        tv_nsec: patience.subsec_nanos().into(),
    };
    match poll(&mut pipes, Some(&patience)) {
        Ok(_) => {}
        Err(rustix::io::Errno::INTR) => return Ok((false, false)),
        Err(error) => return Err(error.into()),
    }
    let mut ready = pipes.iter().map(|pipe| !pipe.revents().is_empty());
    let output = output.is_some() && ready.next().unwrap_or_default();
    let end = end.is_some() && ready.next().unwrap_or_default();
    Ok((output, end))
}

/// Asks a process group to end, and later makes it.
#[derive(Default)]
struct Stopping(Option<Instant>);

impl Stopping {
    fn advance(&mut self, group: Pid) {
        let signal = match self.0 {
            None => {
                self.0 = Some(Instant::now());
                Signal::TERM
            }
            Some(since) if since.elapsed() > STOP => Signal::KILL,
            Some(_) => return,
        };
        // That nobody is left to be told is what we want.
        if let Err(error) = kill_process_group(group, signal) {
            tracing::debug!(?group, %error, "cannot stop a process group");
        }
    }
}

/// Cuts a stream into lines.
#[derive(Default)]
struct Lines(Vec<u8>);

impl Lines {
    fn push(&mut self, bytes: &[u8], on_line: &mut dyn FnMut(&[u8])) {
        let mut rest = bytes;
        while let Some(at) = rest.iter().position(|byte| *byte == b'\n') {
            self.0.extend_from_slice(&rest[..at]);
            on_line(&self.0);
            self.0.clear();
            rest = &rest[at + 1..];
        }
        self.0.extend_from_slice(rest);
        if self.0.len() >= LONGEST_LINE {
            self.finish(on_line);
        }
    }

    fn finish(&mut self, on_line: &mut dyn FnMut(&[u8])) {
        if !self.0.is_empty() {
            on_line(&self.0);
            self.0.clear();
        }
    }
}

/// How a program ended, for messages: `exited with status 1` (PS-09).
pub(crate) fn describe(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt as _;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exited with status {code}"),
        (None, Some(9)) => "was killed by signal 9, as the system does when memory runs out".to_owned(),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => "ended without a status".to_owned(),
    }
}

/// The last lines that a program printed: what an error message quotes.
#[derive(Debug, Default)]
pub(crate) struct Tail(VecDeque<String>);

impl Tail {
    /// How many lines are kept.
    const LINES: usize = 10;

    pub(crate) fn push(&mut self, line: &[u8]) {
        let line = String::from_utf8_lossy(line);
        if line.trim().is_empty() {
            return;
        }
        if self.0.len() == Self::LINES {
            self.0.pop_front();
        }
        self.0.push_back(line.trim_end().chars().take(1000).collect());
    }

    pub(crate) fn to_lines(&self) -> Vec<String> {
        self.0.iter().cloned().collect()
    }
}

/// The last lines of a program, below a message.
pub(crate) fn quoted(lines: &[String]) -> String {
    let quote = |line: &String| format!("\n  | {line}");
    lines.iter().map(quote).collect::<Vec<_>>().concat()
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    fn run(script: &str) -> (Ended, Vec<String>) {
        run_seeing(script, &Cancellation::default(), |_| ())
    }

    fn run_seeing(script: &str, cancellation: &Cancellation, see: impl Fn(&str)) -> (Ended, Vec<String>) {
        let environment = [("PATH".into(), "/usr/bin:/bin".into())].into_iter().collect();
        let program = Program {
            file: Path::new("/bin/sh"),
            arguments: vec!["-c".into(), script.into()],
            directory: Path::new("/"),
            environment: &environment,
        };
        let mut lines = Vec::new();
        let ended = program
            .run(cancellation, &mut |line| {
                let line = String::from_utf8_lossy(line).into_owned();
                see(&line);
                lines.push(line);
            })
            .unwrap();
        (ended, lines)
    }

    #[test]
    fn both_outputs_come_in_the_order_of_printing() {
        let (ended, lines) = run("echo a; echo b >&2; echo c; printf d; exit 7");
        assert_eq!(lines, ["a", "b", "c", "d"]);
        assert_eq!(ended.status.code(), Some(7));
        assert!(!ended.left_behind);
    }

    #[test]
    fn a_grandchild_that_holds_the_output_does_not_hang_the_phase_quirk_23() {
        // Whoever waited for it would find that nobody was left.
        let (ended, lines) = run("sleep 60 & echo started");
        assert!(ended.left_behind && ended.status.success());
        assert_eq!(lines, ["started"]);
    }

    #[test]
    fn closing_its_outputs_does_not_end_a_program() {
        let (ended, lines) = run("exec >&- 2>&-; sleep 0.3; exit 3");
        assert_eq!((ended.status.code(), lines.len()), (Some(3), 0));
    }

    #[test]
    fn cancelling_stops_the_whole_group_ps_08() {
        let cancellation = Cancellation::default();
        let (ended, lines) = run_seeing("echo x; sleep 86400; echo y", &cancellation, |_| {
            cancellation.cancel();
        });
        assert_eq!(lines, ["x"]);
        assert_eq!(ended.status.signal(), Some(Signal::TERM.as_raw()));
    }

    #[test]
    fn endless_lines_are_cut() {
        let (_, lines) = run("head -c 200000 /dev/zero | tr '\\0' x");
        assert!(lines.len() > 1);
        assert_eq!(lines.iter().map(String::len).sum::<usize>(), 200_000);
    }
}
