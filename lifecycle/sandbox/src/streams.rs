//! The standard streams of a step, and who may open them again.
//!
//! Programs open `/dev/stdout`, web servers for their logs above all. That opens anew what descriptor 1 leads to, and the
//! kernel looks at the permissions that it has now: a step that runs as another user than the one that made the stream
//! would be refused. So anonymous pipes, and the terminal that was made for the step, are given to the step's user, as the
//! container runtimes do. They also give away files, which then belong to that user for good, whatever they hold: here
//! such a step gets a pipe of its own in place of the file, and what passes through it is copied.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::thread::JoinHandle;

use rustix::fs::{FileType, Mode, OFlags, Stat, Uid, fchown, fstat, fstatfs, open, openat};
use rustix::io::{Errno, fcntl_dupfd_cloexec};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, unlockpt};
use rustix::stdio::{stderr, stdin, stdout};

use crate::run::{Stdio, Streams};

/// The file system of anonymous pipes.
const PIPE_FILE_SYSTEM: i128 = 0x5049_5045;

/// The caller's sides of the standard streams.
#[derive(Default)]
pub(crate) struct Ends {
    pub(crate) stdin: Option<File>,
    pub(crate) stdout: Option<File>,
    pub(crate) stderr: Option<File>,
    pub(crate) terminal: Option<File>,
}

/// The streams of a step, ready to be its descriptors.
pub(crate) struct Connected {
    /// Replacements for standard input, output and error; `None` inherits.
    pub(crate) stdio: [Option<OwnedFd>; 3],
    pub(crate) ends: Ends,
    pub(crate) relays: Vec<Relay>,
}

/// Who will open the streams again.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Opener {
    /// Somebody who may open them anyway: root, or the one who made them.
    Allowed,
    /// A user, by the id that it has here.
    User(u32),
    /// A user that nothing here belongs to.
    Stranger,
}

/// One stream that is copied, because the step cannot open what it leads to.
pub(crate) struct Relay {
    from: OwnedFd,
    to: OwnedFd,
    is_output: bool,
}

/// A relay at work, to be waited for when the step has ended.
pub(crate) type Relaying = JoinHandle<io::Result<u64>>;

impl Relay {
    /// Begins to copy. Output is waited for; input that the step does not want ends with the step's end of the pipe.
    pub(crate) fn start(self) -> Option<Relaying> {
        let (mut from, mut to) = (File::from(self.from), File::from(self.to));
        let relaying = std::thread::spawn(move || io::copy(&mut from, &mut to));
        self.is_output.then_some(relaying)
    }
}

/// Waits until everything that a step wrote has been copied.
pub(crate) fn finish(relays: Vec<Relaying>) {
    for relay in relays {
        match relay.join() {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => {
                tracing::warn!(%error, "not everything that a command wrote could be passed on");
            }
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

/// Gives a step's user its standard streams, as far as they are nobody else's. Called in the step itself, while it still is
/// root; what cannot be given stays as it is.
pub(crate) fn give(uid: Uid, is_own_terminal: bool) {
    for stream in [stdin(), stdout(), stderr()] {
        let Ok(stat) = fstat(stream) else { continue };
        let is_pipe = FileType::from_raw_mode(stat.st_mode) == FileType::Fifo && is_anonymous(stream);
        if stat.st_uid != uid.as_raw() && (is_pipe || is_own_terminal) {
            // Refused where the step's user namespace has one user only, which owns the stream already.
            match fchown(stream, Some(uid), None) {
                Ok(()) | Err(_) => {}
            }
        }
    }
}

/// Whether a pipe has no name by which others reach it.
fn is_anonymous(pipe: BorrowedFd<'_>) -> bool {
    fstatfs(pipe).is_ok_and(|system| i128::from(system.f_type) == PIPE_FILE_SYSTEM)
}

pub(crate) fn connect(
    streams: Streams,
    devpts: Option<&OwnedFd>,
    opener: Opener,
) -> Result<Connected, Errno> {
    let mut ends = Ends::default();
    let (stdin, stdout, stderr) = match streams {
        Streams::Separate {
            stdin,
            stdout,
            stderr,
        } => (stdin, stdout, stderr),
        Streams::Terminal => {
            let (master, peer) = open_terminal(devpts)?;
            ends.terminal = Some(File::from(master));
            let copy = || fcntl_dupfd_cloexec(&peer, 3).map(Some);
            return Ok(Connected {
                stdio: [copy()?, copy()?, copy()?],
                ends,
                relays: Vec::new(),
            });
        }
    };
    let input = match stdin {
        Stdio::Pipe => {
            let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
            ends.stdin = Some(File::from(write));
            Some(above_stderr(read)?)
        }
        other => plain(other)?,
    };
    let mut output = |stdio: Stdio, end: fn(&mut Ends) -> &mut Option<File>| match stdio {
        Stdio::Pipe => {
            let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
            *end(&mut ends) = Some(File::from(read));
            above_stderr(write).map(Some)
        }
        other => plain(other),
    };
    let stdout = output(stdout, |ends| &mut ends.stdout)?;
    let stderr = output(stderr, |ends| &mut ends.stderr)?;
    let mut stdio = [input, stdout, stderr];
    let relays = relay_closed(&mut stdio, opener)?;
    Ok(Connected { stdio, ends, relays })
}

/// Puts pipes in the place of files that the step's user may not open.
fn relay_closed(stdio: &mut [Option<OwnedFd>; 3], opener: Opener) -> Result<Vec<Relay>, Errno> {
    let mut relays = Vec::new();
    let mut output: Option<(Stat, OwnedFd)> = None;
    for (number, inherited) in [stdin(), stdout(), stderr()].into_iter().enumerate() {
        let is_output = number > 0;
        let stream = stdio[number].as_ref().map_or(inherited, AsFd::as_fd);
        // One that is closed stays so.
        let Ok(stat) = fstat(stream) else { continue };
        if !is_closed(&stat, stream, opener, is_output) {
            continue;
        }
        // Both outputs in one file stay in the order in which they are written.
        if let Some((other, pipe)) = &output
            && (other.st_dev, other.st_ino) == (stat.st_dev, stat.st_ino)
        {
            stdio[number] = Some(fcntl_dupfd_cloexec(pipe, 3)?);
            continue;
        }
        let copy = fcntl_dupfd_cloexec(stream, 3)?;
        let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
        let (own, from, to) = if is_output {
            output = Some((stat, fcntl_dupfd_cloexec(&write, 3)?));
            (write, read, copy)
        } else {
            (read, copy, write)
        };
        relays.push(Relay { from, to, is_output });
        stdio[number] = Some(above_stderr(own)?);
    }
    Ok(relays)
}

/// Whether a stream leads to a file that the step's user may not open. Devices are what they are.
fn is_closed(stat: &Stat, stream: BorrowedFd<'_>, opener: Opener, is_output: bool) -> bool {
    let is_file = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => true,
        // Somebody may wait for ever at the other end of one that is read from.
        FileType::Fifo => is_output && !is_anonymous(stream),
        _ => false,
    };
    let is_owner = match opener {
        Opener::Allowed => return false,
        Opener::User(uid) => stat.st_uid == uid,
        Opener::Stranger => false,
    };
    let for_others = if is_output { Mode::WOTH } else { Mode::ROTH };
    is_file && !is_owner && !Mode::from_raw_mode(stat.st_mode).contains(for_others)
}

fn plain(stdio: Stdio) -> Result<Option<OwnedFd>, Errno> {
    match stdio {
        Stdio::Inherit | Stdio::Pipe => Ok(None),
        Stdio::Null => {
            above_stderr(open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?).map(Some)
        }
        Stdio::Fd(fd) => above_stderr(fd).map(Some),
    }
}

/// Out of the way of the numbers it will be copied to.
pub(crate) fn above_stderr(fd: OwnedFd) -> Result<OwnedFd, Errno> {
    if fd.as_raw_fd() > 2 {
        Ok(fd)
    } else {
        fcntl_dupfd_cloexec(&fd, 3)
    }
}

/// A terminal from the step's own devpts, or from the host's where there is none.
fn open_terminal(devpts: Option<&OwnedFd>) -> Result<(OwnedFd, OwnedFd), Errno> {
    let master = match devpts {
        Some(devpts) => openat(
            devpts,
            "ptmx",
            OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC,
            Mode::empty(),
        )?,
        None => open(
            "/dev/ptmx",
            OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC,
            Mode::empty(),
        )?,
    };
    unlockpt(&master)?;
    let peer = ioctl_tiocgptpeer(
        &master,
        OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC,
    )?;
    Ok((master, peer))
}
