//! Starting a program and looking at how it ended.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use std::os::unix::process::ExitStatusExt;

/// What a user's environment has. Nothing else of the environment of the tests reaches the program.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Longer than any command of a test takes, also on a busy machine.
const LIMIT: Duration = Duration::from_mins(10);

/// A command that is about to be started.
#[derive(Debug, Clone)]
pub(crate) struct Invocation {
    program: OsString,
    arguments: Vec<OsString>,
    wrapper: Vec<OsString>,
    variables: Vec<(OsString, OsString)>,
    directory: Option<PathBuf>,
}

impl Invocation {
    /// A program by its path, or by a name that is looked up.
    pub(crate) fn new(program: impl AsRef<OsStr>, arguments: &[&str]) -> Self {
        Self {
            program: program.as_ref().to_owned(),
            arguments: arguments.iter().map(OsString::from).collect(),
            wrapper: Vec::new(),
            variables: vec![("PATH".into(), PATH.into())],
            directory: None,
        }
    }

    /// One more argument.
    pub(crate) fn argument(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    /// Sets a variable.
    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.variables.retain(|(own, _)| own != name);
        self.variables.push((name.into(), value.as_ref().to_owned()));
        self
    }

    /// Hands on what this machine's administrator has set for everybody: proxies and certificates.
    pub(crate) fn with_network_settings(mut self) -> Self {
        for (name, value) in network_settings() {
            self = self.env(&name, value);
        }
        self
    }

    /// Where it starts.
    pub(crate) fn directory(mut self, directory: impl AsRef<Path>) -> Self {
        self.directory = Some(directory.as_ref().to_owned());
        self
    }

    /// What it reads from standard input.
    pub(crate) fn input(self, file: impl AsRef<Path>) -> Self {
        let file = file.as_ref().to_str().unwrap();
        self.under(&["sh", "-c", r#"exec <"$0"; exec "$@""#, file])
    }

    /// The same program at another path.
    pub(crate) fn program(mut self, program: impl AsRef<OsStr>) -> Self {
        program.as_ref().clone_into(&mut self.program);
        self
    }

    /// Puts a program in front, as `taskset -c 0` or `setpriv …`, outside of those that are there already.
    pub(crate) fn under<S: AsRef<OsStr>>(mut self, wrapper: &[S]) -> Self {
        self.wrapper
            .splice(0..0, wrapper.iter().map(|word| word.as_ref().to_owned()));
        self
    }

    fn command(&self) -> Command {
        let mut words = self.wrapper.iter().chain([&self.program]).chain(&self.arguments);
        let mut command = Command::new(words.next().unwrap());
        command
            .args(words)
            .env_clear()
            .envs(self.variables.iter().map(|(name, value)| (name, value)));
        if let Some(directory) = &self.directory {
            command.current_dir(directory);
        }
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Starts it.
    pub(crate) fn start(&self) -> Running {
        let shown = self.shown();
        let mut child = self
            .command()
            .spawn()
            .unwrap_or_else(|cause| panic!("{shown}: {cause}"));
        Running {
            outputs: [
                Drain::of(child.stdout.take().unwrap()),
                Drain::of(child.stderr.take().unwrap()),
            ],
            child: Some(child),
            shown,
        }
    }

    /// Runs it to its end, whatever that is.
    pub(crate) fn run(&self) -> Finished {
        self.start().wait()
    }

    /// Runs it; it must succeed.
    #[track_caller]
    pub(crate) fn succeeds(&self) -> Finished {
        self.run().with_code(0)
    }

    /// Runs it; it must end with this code.
    #[track_caller]
    pub(crate) fn fails(&self, code: i32) -> Finished {
        self.run().with_code(code)
    }

    fn shown(&self) -> String {
        let words = self.wrapper.iter().chain([&self.program]).chain(&self.arguments);
        words
            .map(|word| word.to_string_lossy())
            .collect::<Vec<_>>()
            .join(" ")
    }
}

/// Variables of this machine that say how the network is reached.
pub(crate) fn network_settings() -> Vec<(String, OsString)> {
    let wanted = |name: &str| {
        let name = name.to_ascii_lowercase();
        name.ends_with("_proxy") || name.starts_with("ssl_cert_")
    };
    let variables = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
    variables.filter(|(name, _)| wanted(name)).collect()
}

/// A started program. It is killed when the test forgets it.
#[derive(Debug)]
pub(crate) struct Running {
    child: Option<Child>,
    /// stdout and stderr, read from the start: a service whose messages nobody reads stops when a pipe is full.
    outputs: [Drain; 2],
    shown: String,
}

impl Running {
    /// Sends a signal.
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let id = rustix::process::Pid::from_child(self.child.as_ref().unwrap());
        if let Err(cause) = rustix::process::kill_process(id, signal) {
            assert_eq!(cause, rustix::io::Errno::SRCH, "it may only have ended by itself");
        }
    }

    /// Whether it still runs.
    pub(crate) fn is_alive(&mut self) -> bool {
        self.child.as_mut().unwrap().try_wait().unwrap().is_none()
    }

    /// Waits until it has written this to stderr.
    #[track_caller]
    pub(crate) fn wait_until_it_says(&mut self, text: &str) {
        let started = Instant::now();
        loop {
            let is_alive = self.is_alive();
            let said = self.outputs[1].so_far();
            if said.contains(text) {
                return;
            }
            let is_over = !is_alive || started.elapsed() > LIMIT;
            assert!(!is_over, "{} does not say {text:?} but:\n{said}", self.shown);
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits for its end.
    pub(crate) fn wait(mut self) -> Finished {
        let mut child = self.child.take().unwrap();
        let started = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            if started.elapsed() > LIMIT {
                drop(child.kill());
                panic!("{} has not ended after {LIMIT:?}", self.shown);
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        let [stdout, stderr] = self.outputs.each_mut().map(Drain::rest);
        let output = Output {
            status,
            stdout,
            stderr,
        };
        Finished {
            shown: std::mem::take(&mut self.shown),
            output,
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            drop(child.kill());
            drop(child.wait());
        }
    }
}

/// What a pipe has brought, read as it comes.
#[derive(Debug)]
struct Drain {
    bytes: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
}

impl Drain {
    fn of(mut from: impl std::io::Read + Send + 'static) -> Self {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let reader = std::thread::spawn({
            let bytes = Arc::clone(&bytes);
            move || {
                let mut buffer = vec![0; 64 << 10];
                loop {
                    match from.read(&mut buffer) {
                        Ok(0) => return,
                        Ok(read) => bytes.lock().unwrap().extend(&buffer[..read]),
                        Err(cause) if cause.kind() == std::io::ErrorKind::Interrupted => {}
                        Err(cause) => panic!("{cause}"),
                    }
                }
            }
        });
        Self {
            bytes,
            reader: Some(reader),
        }
    }

    fn so_far(&self) -> String {
        String::from_utf8_lossy(&self.bytes.lock().unwrap()).into_owned()
    }

    /// All of it, once the other end is closed.
    fn rest(&mut self) -> Vec<u8> {
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
        std::mem::take(&mut self.bytes.lock().unwrap())
    }
}

/// How a program ended and what it said.
#[derive(Debug)]
pub(crate) struct Finished {
    shown: String,
    output: Output,
}

impl Finished {
    /// What it wrote to stdout.
    pub(crate) fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.output.stdout).into_owned()
    }

    /// The bytes that it wrote to stdout.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.output.stdout
    }

    /// What it wrote to stderr.
    pub(crate) fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.output.stderr).into_owned()
    }

    /// Both.
    pub(crate) fn text(&self) -> String {
        self.stdout() + &self.stderr()
    }

    /// How it ended.
    pub(crate) fn status(&self) -> ExitStatus {
        self.output.status
    }

    /// It must have ended with this code.
    #[track_caller]
    pub(crate) fn with_code(self, code: i32) -> Self {
        let status = self.output.status;
        let ended = status
            .code()
            .or_else(|| status.signal().map(|signal| 128 + signal));
        assert_eq!(ended, Some(code), "{}: {status}\n{}", self.shown, self.text());
        self
    }

    /// Both outputs together must hold this text.
    #[track_caller]
    pub(crate) fn says(self, text: &str) -> Self {
        assert!(
            self.text().contains(text),
            "{} does not say {text:?} but:\n{}",
            self.shown,
            self.text()
        );
        self
    }

    /// Neither output may hold this text.
    #[track_caller]
    pub(crate) fn does_not_say(self, text: &str) -> Self {
        assert!(
            !self.text().contains(text),
            "{} says {text:?}:\n{}",
            self.shown,
            self.text()
        );
        self
    }

    /// Its stdout as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.output.stdout)
            .unwrap_or_else(|cause| panic!("{}: {cause}\n{}", self.shown, self.text()))
    }

    /// The events of `--log-format json` on its stderr.
    #[track_caller]
    pub(crate) fn events(&self) -> Vec<serde_json::Value> {
        let stderr = self.stderr();
        let event = |line| serde_json::from_str(line).unwrap_or_else(|cause| panic!("{line}: {cause}"));
        stderr.lines().map(event).collect()
    }
}
