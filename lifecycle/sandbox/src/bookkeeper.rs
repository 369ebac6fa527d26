//! Answers a step's questions about owners where the kernel knows only one.
//!
//! In a user namespace with one id the kernel refuses to give a file to anybody. So `chown` and its kin are held by
//! a filter and come here: what can be done is done (the owner stays, but times change and set-id bits fall, as in
//! any `chown`), and who the file belongs to is written down in [`FileOwners`]. The calls of the `stat` family come
//! here too, so that a program reads back what it has set: `useradd` gives the file that replaces /etc/shadow
//! to whoever owned the old one.
//!
//! A thread does this. It lives in the mount namespace of the step, so paths mean to the kernel what they mean to
//! the step, and whatever a path leads to, it is inside. Links of /proc that jump elsewhere are not followed.
//! A question that cannot be answered goes to the kernel, which then decides as if nobody had asked.

use std::ffi::CString;
use std::fs::File;
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt as _;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{
    AtFlags, CWD, Gid, Mode, OFlags, ResolveFlags, Uid, chownat, open, openat, openat2, readlinkat,
};
use rustix::io::Errno;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use rustix::process::{chroot, fchdir};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space};

use crate::file_owners::FileOwners;
use crate::syscall::{self, Answer, Question, answer, is_waiting, next_question};

/// The longest path the kernel takes, with its end.
const LONGEST_PATH: usize = 4096;

/// This side of the bookkeeping for a step, before it has begun.
#[derive(Debug)]
pub(crate) struct Books {
    socket: OwnedFd,
    owners: FileOwners,
}

impl Books {
    /// `socket` will receive the descriptor that the questions are read from.
    pub(crate) fn new(socket: OwnedFd, owners: FileOwners) -> Self {
        Self { socket, owners }
    }

    /// Begins to answer the step's questions. Where the kernel or a container around this process permits no
    /// listener, the step goes without.
    pub(crate) fn open(self) -> Result<(), Errno> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut byte = [0];
        recvmsg(
            &self.socket,
            &mut [IoSliceMut::new(&mut byte)],
            &mut control,
            RecvFlags::CMSG_CLOEXEC,
        )?;
        let listener = control.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
            _ => None,
        });
        let Some(listener) = listener else {
            tracing::warn!(
                "seccomp notification is not permitted here: chown to other users fails in this step"
            );
            return Ok(());
        };
        Bookkeeper::start(listener, self.owners)
    }
}

/// Where a step asks, and where the answers are found.
#[derive(Debug)]
struct Bookkeeper {
    listener: OwnedFd,
    /// This machine's /proc, where the step's threads have the numbers that questions name.
    processes: OwnedFd,
    /// The step's root, once its mount namespace is entered.
    root: Option<OwnedFd>,
    owners: FileOwners,
}

/// What is asked, read from the registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Request {
    Change {
        file: Named,
        uid: Option<u32>,
        gid: Option<u32>,
    },
    /// `stat`, into this address.
    Look { file: Named, into: u64 },
    /// `statx`, with its flags and mask.
    LookMore {
        file: Named,
        flags: AtFlags,
        mask: u32,
        into: u64,
    },
}

/// A file as system calls name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Named {
    Descriptor(i32),
    Path {
        /// A descriptor or `AT_FDCWD`.
        at: i32,
        address: u64,
        follow: bool,
        /// An empty path means the descriptor itself.
        may_be_empty: bool,
    },
}

impl Bookkeeper {
    /// Starts to answer. The thread ends with the last process of the step.
    fn start(listener: OwnedFd, owners: FileOwners) -> Result<(), Errno> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let processes = open("/proc", flags, Mode::empty())?;
        let mut keeper = Self {
            listener,
            processes,
            root: None,
            owners,
        };
        std::thread::Builder::new()
            .name("owners".to_owned())
            .spawn(move || keeper.work())
            .map(drop)
            .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::AGAIN))
    }

    fn work(&mut self) {
        loop {
            let mut watched = [PollFd::new(&self.listener, PollFlags::IN)];
            match poll(&mut watched, None) {
                Err(Errno::INTR) => continue,
                Err(_) => return,
                Ok(_) => {}
            }
            if !watched[0].revents().contains(PollFlags::IN) {
                // The last process is gone.
                return;
            }
            let Ok(question) = next_question(&self.listener) else {
                continue;
            };
            if self.root.is_none() {
                match self.enter(&question) {
                    Ok(root) => self.root = Some(root),
                    Err(error) => {
                        // The end of the descriptor makes the kernel answer ENOSYS.
                        tracing::warn!(%error, "owners cannot be kept: the step's mounts cannot be entered");
                        return;
                    }
                }
            }
            let said = Request::read(question.call, question.arguments)
                .map_or(Answer::Kernel, |request| self.decide(&question, request));
            if let Err(error) = answer(&self.listener, &question, said) {
                tracing::debug!(%error, "a question about owners was not answered");
            }
        }
    }

    /// Takes this thread into the mount namespace of who asks first. Returns its root. (The step's first process
    /// has the same one, but it is closed to everybody.)
    fn enter(&self, question: &Question) -> Result<OwnedFd, Errno> {
        let namespace = openat(
            &self.processes,
            format!("{}/ns/mnt", question.thread),
            OFlags::RDONLY | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        syscall::unshare(UnshareFlags::FS)?;
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Mount))?;
        open(
            "/",
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )
    }

    fn decide(&self, question: &Question, request: Request) -> Answer {
        let result = match request {
            Request::Change { file, uid, gid } => self.change(question, file, uid, gid),
            Request::Look { file, into } => self.look(question, file, |found, uid, gid| {
                let bytes = syscall::stat_bytes(found, uid, gid)?;
                self.write(question, into, &bytes)
            }),
            Request::LookMore {
                file,
                flags,
                mask,
                into,
            } => self.look(question, file, |found, uid, gid| {
                let bytes = syscall::statx_bytes(found, flags, mask, uid, gid)?;
                self.write(question, into, &bytes)
            }),
        };
        // Whatever is wrong with the question, the kernel says it best.
        result.unwrap_or(Answer::Kernel)
    }

    fn change(
        &self,
        question: &Question,
        file: Named,
        uid: Option<u32>,
        gid: Option<u32>,
    ) -> Result<Answer, Errno> {
        let found = self.open(question, file)?;
        if !is_waiting(&self.listener, question) {
            return Ok(Answer::Kernel);
        }
        let done = chownat(
            &found,
            c"",
            uid.map(|_| Uid::ROOT),
            gid.map(|_| Gid::ROOT),
            AtFlags::EMPTY_PATH,
        );
        Ok(match done.and_then(|()| self.owners.change(&found, uid, gid)) {
            Ok(()) => Answer::Done,
            Err(errno) => Answer::Failed(errno),
        })
    }

    /// Files of root are left to the kernel.
    fn look(
        &self,
        question: &Question,
        file: Named,
        tell: impl FnOnce(&OwnedFd, u32, u32) -> Result<(), Errno>,
    ) -> Result<Answer, Errno> {
        let found = self.open(question, file)?;
        let owner = self.owners.get(&found);
        let Ok(Some((uid, gid))) = owner else {
            return Ok(Answer::Kernel);
        };
        tell(&found, uid, gid)?;
        Ok(Answer::Done)
    }

    fn open(&self, question: &Question, file: Named) -> Result<OwnedFd, Errno> {
        let thread = question.thread;
        let (at, address, follow, may_be_empty) = match file {
            Named::Descriptor(number) => return self.open_process(&format!("{thread}/fd/{number}")),
            Named::Path {
                at,
                address,
                follow,
                may_be_empty,
            } => (at, address, follow, may_be_empty),
        };
        let path = self.read_path(question, address)?;
        let base = || match at {
            libc::AT_FDCWD => self.open_process(&format!("{thread}/cwd")),
            number => self.open_process(&format!("{thread}/fd/{number}")),
        };
        if path.is_empty() {
            return if may_be_empty { base() } else { Err(Errno::NOENT) };
        }
        let mut flags = OFlags::PATH | OFlags::CLOEXEC;
        if !follow {
            flags |= OFlags::NOFOLLOW;
        }
        let resolve = ResolveFlags::NO_MAGICLINKS;
        let root = readlinkat(&self.processes, format!("{thread}/root"), Vec::new())?;
        if root.as_bytes() == b"/" {
            return if path.as_bytes().starts_with(b"/") {
                openat2(CWD, &path, flags, Mode::empty(), resolve)
            } else {
                openat2(base()?, &path, flags, Mode::empty(), resolve)
            };
        }
        // The caller has changed its root: the path is resolved there, and this thread comes back.
        let (base, root) = (base()?, self.open_process(&format!("{thread}/root"))?);
        change_root(&root)?;
        let found = openat2(base, &path, flags, Mode::empty(), resolve);
        change_root(self.root.as_ref().ok_or(Errno::NOENT)?)?;
        found
    }

    /// A link of this machine's /proc to what a thread holds.
    fn open_process(&self, path: &str) -> Result<OwnedFd, Errno> {
        openat(
            &self.processes,
            path,
            OFlags::PATH | OFlags::CLOEXEC,
            Mode::empty(),
        )
    }

    /// The memory of the thread that asks, which is surely that one's.
    fn memory(&self, question: &Question, access: OFlags) -> Result<File, Errno> {
        let path = format!("{}/mem", question.thread);
        let memory = openat(&self.processes, path, access | OFlags::CLOEXEC, Mode::empty())?;
        if is_waiting(&self.listener, question) {
            Ok(File::from(memory))
        } else {
            Err(Errno::SRCH)
        }
    }

    fn read_path(&self, question: &Question, address: u64) -> Result<CString, Errno> {
        let memory = self.memory(question, OFlags::RDONLY)?;
        let mut bytes = [0; LONGEST_PATH];
        let mut filled = 0;
        while filled < LONGEST_PATH {
            // What follows the path in memory need not be there.
            let page = LONGEST_PATH - usize::try_from(address % 4096).unwrap_or(0);
            let end = if filled == 0 { page } else { LONGEST_PATH };
            let read = memory.read_at(&mut bytes[filled..end], address.wrapping_add(filled as u64));
            let Ok(count @ 1..) = read else {
                return Err(Errno::FAULT);
            };
            if let Some(length) = bytes[filled..filled + count].iter().position(|byte| *byte == 0) {
                return CString::new(&bytes[..filled + length]).map_err(|_| Errno::INVAL);
            }
            filled += count;
        }
        Err(Errno::NAMETOOLONG)
    }

    fn write(&self, question: &Question, address: u64, bytes: &[u8]) -> Result<(), Errno> {
        self.memory(question, OFlags::RDWR)?
            .write_all_at(bytes, address)
            .map_err(|_| Errno::FAULT)
    }
}

fn change_root(root: &OwnedFd) -> Result<(), Errno> {
    fchdir(root)?;
    chroot(c".")
}

impl Request {
    fn read(call: i64, arguments: [u64; 6]) -> Option<Self> {
        let [first, second, third, fourth, fifth, _] = arguments;
        let path = |at: i32, address: u64, follow: bool, may_be_empty: bool| Named::Path {
            at,
            address,
            follow,
            may_be_empty,
        };
        let change = |file, uid: u64, gid: u64| {
            Some(Self::Change {
                file,
                uid: changed(uid),
                gid: changed(gid),
            })
        };
        let look = |file, into| Some(Self::Look { file, into });
        let flagged = |at: u64, address: u64, flags: AtFlags| {
            path(
                number(at),
                address,
                !flags.contains(AtFlags::SYMLINK_NOFOLLOW),
                flags.contains(AtFlags::EMPTY_PATH),
            )
        };
        match call {
            libc::SYS_fchown => change(Named::Descriptor(number(first)), second, third),
            libc::SYS_fchownat => change(flagged(first, second, flags(fifth)), third, fourth),
            libc::SYS_fstat => look(Named::Descriptor(number(first)), second),
            libc::SYS_newfstatat => look(flagged(first, second, flags(fourth)), third),
            libc::SYS_statx => Some(Self::LookMore {
                file: flagged(first, second, flags(third)),
                flags: flags(third) - AtFlags::SYMLINK_NOFOLLOW,
                mask: low(fourth),
                into: fifth,
            }),
            #[cfg(target_arch = "x86_64")]
            libc::SYS_chown => change(path(libc::AT_FDCWD, first, true, false), second, third),
            #[cfg(target_arch = "x86_64")]
            libc::SYS_lchown => change(path(libc::AT_FDCWD, first, false, false), second, third),
            #[cfg(target_arch = "x86_64")]
            libc::SYS_stat => look(path(libc::AT_FDCWD, first, true, false), second),
            #[cfg(target_arch = "x86_64")]
            libc::SYS_lstat => look(path(libc::AT_FDCWD, first, false, false), second),
            _ => None,
        }
    }
}

/// The lower half of a register, which is all that the kernel reads of an int.
fn low(register: u64) -> u32 {
    u32::try_from(register & u64::from(u32::MAX)).unwrap_or_default()
}

fn number(register: u64) -> i32 {
    low(register).cast_signed()
}

fn flags(register: u64) -> AtFlags {
    AtFlags::from_bits_retain(low(register))
}

/// An id to set; -1 leaves it as it is.
fn changed(register: u64) -> Option<u32> {
    Some(low(register)).filter(|id| *id != u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_read_from_registers() {
        let minus_one = u64::from(u32::MAX);
        let at_cwd = u64::from(libc::AT_FDCWD.cast_unsigned());
        let request = Request::read(libc::SYS_fchownat, [at_cwd, 77, 5, minus_one, 0x100, 9]);
        let file = Named::Path {
            at: libc::AT_FDCWD,
            address: 77,
            follow: false,
            may_be_empty: false,
        };
        assert_eq!(
            request,
            Some(Request::Change {
                file,
                uid: Some(5),
                gid: None
            })
        );
        assert_eq!(
            Request::read(libc::SYS_fstat, [3, 4, 0, 0, 0, 0]),
            Some(Request::Look {
                file: Named::Descriptor(3),
                into: 4
            })
        );
        assert_eq!(Request::read(libc::SYS_read, [0; 6]), None);
    }
}
