//! Runs the scripts of a build: each in a root of its own, on directories that they share.

use std::ffi::OsString;
use std::fmt;
use std::io::{BufRead as _, BufReader, Read};
use std::os::unix::fs::{MetadataExt as _, lchown};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use fs_err as fs;
use lifecycle_sandbox::{
    Account, BindSource, Capabilities, Content, Identity, Isolation, Mount, Root, Run, Stdio, Streams,
};

use crate::error::ScriptName;
use crate::{Console, HerokuError, Room, Rooms, Stack};

/// How long a script may take to end by itself when asked to.
const GRACE: Duration = Duration::from_secs(5);
/// The most that is kept of a script's output.
const MAX_OUTPUT: u64 = 1 << 20;
/// The root's end of every pipe to it is open while the command runs.
const PIPE: &str = "a pipe for the script";

/// Where the scripts of one build run, and what they see.
pub(crate) struct Workshop<'a> {
    rooms: &'a dyn Rooms,
    console: &'a dyn Console,
    stop: &'a AtomicBool,
    deadline: Option<(Instant, Duration)>,
    /// Who scripts run as; nobody else than the present user when there is none.
    account: Option<Account>,
    in_place: bool,
    shared: Vec<Shared>,
    env: Vec<(OsString, OsString)>,
    /// The room that was opened to find out about its users, for the first script.
    spare: Mutex<Option<Room>>,
}

/// A directory of this machine, and where scripts see it.
#[derive(Debug, Clone)]
struct Shared {
    here: PathBuf,
    shown: PathBuf,
    read_only: bool,
}

/// A script and its arguments.
#[derive(Debug)]
pub(crate) struct Script<'s> {
    pub(crate) name: ScriptName,
    pub(crate) command: Vec<OsString>,
    /// Variables on top of the workshop's.
    pub(crate) env: Vec<(OsString, OsString)>,
    /// A directory of this machine that scripts see.
    pub(crate) directory: &'s Path,
}

/// How a script ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) name: ScriptName,
    pub(crate) code: i32,
}

impl Ended {
    /// An error unless the code is 0.
    pub(crate) fn check(self) -> Result<(), HerokuError> {
        match self.code {
            0 => Ok(()),
            code => Err(HerokuError::Script {
                script: self.name,
                code,
            }),
        }
    }
}

impl fmt::Debug for Workshop<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Workshop")
            .field("rooms", &self.rooms)
            .field("shared", &self.shared)
            .finish_non_exhaustive()
    }
}

impl<'a> Workshop<'a> {
    pub(crate) fn open(
        rooms: &'a dyn Rooms,
        stack: &Stack,
        console: &'a dyn Console,
        stop: &'a AtomicBool,
        limit: Option<Duration>,
    ) -> Result<Self, HerokuError> {
        let room = rooms.open().map_err(HerokuError::Room)?;
        let account = if room.one_user {
            None
        } else {
            Some(room.users.resolve(&stack.user)?)
        };
        let mut env: Vec<(OsString, OsString)> = Vec::new();
        for (name, value) in &stack.env {
            env.push((name.into(), value.into()));
        }
        Ok(Self {
            rooms,
            console,
            stop,
            deadline: limit.map(|limit| (Instant::now() + limit, limit)),
            account,
            in_place: room.isolation == Isolation::InPlace,
            shared: Vec::new(),
            env,
            spare: Mutex::new(Some(room)),
        })
    }

    /// Shows scripts the directory `here` as `shown`, and makes it theirs. In place they see it where it is.
    pub(crate) fn share(&mut self, here: &Path, shown: &str, read_only: bool) -> Result<(), HerokuError> {
        if !read_only {
            self.give(here)?;
        }
        let shown = if self.in_place {
            here.to_owned()
        } else {
            PathBuf::from(shown)
        };
        self.shared.push(Shared {
            here: here.to_owned(),
            shown,
            read_only,
        });
        Ok(())
    }

    /// Where scripts see a path of this machine.
    pub(crate) fn shown(&self, here: &Path) -> PathBuf {
        let below = |shared: &Shared| {
            Some((
                shared.shown.clone(),
                here.strip_prefix(&shared.here).ok()?.to_owned(),
            ))
        };
        match self.shared.iter().rev().find_map(below) {
            Some((shown, rest)) if rest.as_os_str().is_empty() => shown,
            Some((shown, rest)) => shown.join(rest),
            None => here.to_owned(),
        }
    }

    /// Whether scripts see this machine's own paths.
    pub(crate) fn is_in_place(&self) -> bool {
        self.in_place
    }

    /// Sets a variable of all scripts, in place of the stack's.
    pub(crate) fn set(&mut self, name: &str, value: impl Into<OsString>) {
        self.env.retain(|(own, _)| own != name);
        self.env.push((name.into(), value.into()));
    }

    /// Whether scripts have a variable already.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.env.iter().any(|(own, _)| own == name)
    }

    /// Gives everything at `path` to the scripts' user.
    pub(crate) fn give(&self, path: &Path) -> Result<(), HerokuError> {
        self.account
            .as_ref()
            .map_or(Ok(()), |account| give(path, &account.identity))
    }

    /// Runs a script; what it says goes to the log, standard output and standard error in the order they are written.
    pub(crate) fn run(&self, script: Script<'_>) -> Result<Ended, HerokuError> {
        let name = script.name.clone();
        let (output, input) = std::io::pipe().map_err(HerokuError::io("make", Path::new(PIPE)))?;
        let errors = input
            .try_clone()
            .map_err(HerokuError::io("make", Path::new(PIPE)))?;
        let streams = Streams::Separate {
            stdin: Stdio::Null,
            stdout: Stdio::Fd(input.into()),
            stderr: Stdio::Fd(errors.into()),
        };
        let code = self
            .follow(script, streams, output, std::io::empty())
            .map(|(code, _)| code)?;
        Ok(Ended { name, code })
    }

    /// Runs a script and keeps what it writes to standard output. Standard error goes to the log.
    pub(crate) fn ask(&self, script: Script<'_>) -> Result<(Ended, Vec<u8>), HerokuError> {
        let name = script.name.clone();
        let pipe = || std::io::pipe().map_err(HerokuError::io("make", Path::new(PIPE)));
        let ((log, errors), (output, input)) = (pipe()?, pipe()?);
        let streams = Streams::Separate {
            stdin: Stdio::Null,
            stdout: Stdio::Fd(input.into()),
            stderr: Stdio::Fd(errors.into()),
        };
        let (code, output) = self.follow(script, streams, log, output)?;
        Ok((Ended { name, code }, output))
    }

    /// Starts a script, shows what comes from `log`, keeps what comes from `output`, and waits for its end.
    fn follow(
        &self,
        script: Script<'_>,
        streams: Streams,
        log: impl Read + Send,
        mut output: impl Read + Send,
    ) -> Result<(i32, Vec<u8>), HerokuError> {
        let name = script.name.clone();
        let (mut run, keep) = self.prepare(script)?;
        run.streams = streams;
        let mut process = run.spawn()?;
        let mut timed_out = false;
        let (exit, output) = std::thread::scope(|scope| {
            // Both end by themselves: with the script all of its processes end, and with them their ends of the pipes.
            scope.spawn(|| show(self.console, log));
            let kept = scope.spawn(move || {
                let mut kept = Vec::new();
                let read = output.by_ref().take(MAX_OUTPUT).read_to_end(&mut kept);
                // Whoever writes more shall not hang.
                read.and_then(|_| std::io::copy(&mut output, &mut std::io::sink()))
                    .map(|_| kept)
            });
            let exit = process.wait_or_end(GRACE, || {
                timed_out = self.deadline.is_some_and(|(at, _)| Instant::now() > at);
                timed_out || self.stop.load(Ordering::Relaxed)
            });
            (exit, kept.join().unwrap_or_else(|_| Ok(Vec::new())))
        });
        drop((process, keep));
        let exit = exit?;
        match self.deadline {
            Some((_, limit)) if timed_out => Err(HerokuError::Time { script: name, limit }),
            _ if self.stop.load(Ordering::Relaxed) => Err(HerokuError::Stopped),
            _ => Ok((
                exit.code(),
                output.map_err(HerokuError::io("read", Path::new(PIPE)))?,
            )),
        }
    }

    fn prepare(&self, script: Script<'_>) -> Result<(Run, Option<Box<dyn crate::Keep>>), HerokuError> {
        let spare = self.spare.lock().ok().and_then(|mut spare| spare.take());
        let room = match spare {
            Some(room) => room,
            None => self.rooms.open().map_err(HerokuError::Room)?,
        };
        let mut run = Run::new(room.isolation, script.command);
        run.root = room.root;
        run.mounts = room.mounts;
        run.env.clone_from(&self.env);
        for (name, value) in script.env {
            run.env.retain(|(own, _)| *own != name);
            run.env.push((name, value));
        }
        run.directory = self.shown(script.directory);
        run.capabilities = Capabilities::None;
        run.no_new_privileges = true;
        if self.in_place {
            debug_assert!(matches!(run.root, Root::Host));
            return Ok((run, room.keep));
        }
        run.identity = self.account.as_ref().map(|account| account.identity.clone());
        for shared in &self.shared {
            run.mounts
                .push(bind(&shared.here, &shared.shown, shared.read_only)?);
        }
        Ok((run, room.keep))
    }
}

/// Gives everything at `path` to a user, for as far as it belongs to somebody else.
pub(crate) fn give(path: &Path, identity: &Identity) -> Result<(), HerokuError> {
    let mut waiting = vec![path.to_owned()];
    while let Some(path) = waiting.pop() {
        let metadata = fs::symlink_metadata(&path).map_err(HerokuError::io("read", &path))?;
        if (metadata.uid(), metadata.gid()) != (identity.uid, identity.gid) {
            lchown(&path, Some(identity.uid), Some(identity.gid))
                .map_err(HerokuError::io("give away", &path))?;
        }
        if metadata.is_dir() {
            for entry in fs::read_dir(&path).map_err(HerokuError::io("read", &path))? {
                waiting.push(entry.map_err(HerokuError::io("read", &path))?.path());
            }
        }
    }
    Ok(())
}

/// A directory of this machine as a mount.
pub(crate) fn bind(here: &Path, shown: &Path, read_only: bool) -> Result<Mount, HerokuError> {
    let source = BindSource::path(here).map_err(HerokuError::io("open", here))?;
    Ok(Mount {
        target: shown.to_owned(),
        content: Content::Bind {
            source,
            read_only,
            devices: false,
        },
    })
}

/// Shows what a script says as it says it.
fn show(console: &dyn Console, output: impl Read) {
    for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
        console.script(&line);
    }
}
