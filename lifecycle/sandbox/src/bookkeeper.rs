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

mod request;

use std::ffi::CString;
use std::fs::File;
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt as _;
use std::thread::JoinHandle;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{
    AtFlags, CWD, Gid, Mode, OFlags, ResolveFlags, Uid, chownat, open, openat, openat2, readlinkat,
};
use rustix::io::Errno;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use rustix::process::{chroot, fchdir};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space};

use self::request::{Named, Request, low};
use crate::credentials::{Credentials, Switch, Switched, Thread};
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
    pub(crate) fn open(self) -> Result<Option<JoinHandle<()>>, Errno> {
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
            return Ok(None);
        };
        Bookkeeper::start(listener, self.owners).map(Some)
    }
}

/// The kernel's own bound.
const MOST_GROUPS: usize = 65536;

/// Where a step asks, and where the answers are found.
#[derive(Debug)]
struct Bookkeeper {
    listener: OwnedFd,
    /// This machine's /proc, where the step's threads have the numbers that questions name.
    processes: OwnedFd,
    /// The step's root, once its mount namespace is entered.
    root: Option<OwnedFd>,
    owners: FileOwners,
    switched: Switched,
}

impl Bookkeeper {
    /// Starts to answer. The thread ends with the last process of the step.
    fn start(listener: OwnedFd, owners: FileOwners) -> Result<JoinHandle<()>, Errno> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let processes = open("/proc", flags, Mode::empty())?;
        let mut keeper = Self {
            listener,
            processes,
            root: None,
            owners,
            switched: Switched::default(),
        };
        std::thread::Builder::new()
            .name("owners".to_owned())
            .spawn(move || keeper.work())
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
            let said = match Request::read(question.call, question.arguments) {
                Some(request) => {
                    if let Err(error) = self.enter(&question) {
                        // The end of the descriptor makes the kernel answer ENOSYS.
                        tracing::warn!(%error, "owners cannot be kept: the step's mounts cannot be entered");
                        return;
                    }
                    self.decide(&question, request)
                }
                None => self.identify(&question).unwrap_or(Answer::Kernel),
            };
            if let Err(error) = answer(&self.listener, &question, said) {
                tracing::debug!(%error, "a question about owners was not answered");
            }
        }
    }

    /// Takes this thread into the mount namespace of who asks first for a file. (The step's first process has the
    /// same one, but it is closed to everybody.)
    fn enter(&mut self, question: &Question) -> Result<(), Errno> {
        if self.root.is_some() {
            return Ok(());
        }
        let namespace = openat(
            &self.processes,
            format!("{}/ns/mnt", question.thread),
            OFlags::RDONLY | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        syscall::unshare(UnshareFlags::FS)?;
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Mount))?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        self.root = Some(open("/", flags, Mode::empty())?);
        Ok(())
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
            Ok(()) => Answer::Done(0),
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
        Ok(Answer::Done(0))
    }

    /// Calls that set or tell ids.
    fn identify(&mut self, question: &Question) -> Result<Answer, Errno> {
        if let Some(switch) = self.read_switch(question)? {
            let began = self.look_at_thread(question.thread).ok_or(Errno::SRCH)?.began;
            let mut credentials = self.credentials(question).unwrap_or_default();
            if let Err(errno) = credentials.switch(switch) {
                return Ok(Answer::Failed(errno));
            }
            if self.switched.is_empty() && credentials == Credentials::default() {
                // Root stays root.
                return Ok(Answer::Done(0));
            }
            self.switched.set(question.thread, began, credentials);
            return Ok(Answer::Done(0));
        }
        // Without any, the kernel knows as well.
        let Some(known) = self.credentials(question) else {
            return Ok(Answer::Kernel);
        };
        let [first, second, third, ..] = question.arguments;
        Ok(match question.call {
            libc::SYS_getuid => Answer::Done(known.users[0]),
            libc::SYS_geteuid => Answer::Done(known.users[1]),
            libc::SYS_getgid => Answer::Done(known.groups[0]),
            libc::SYS_getegid => Answer::Done(known.groups[1]),
            libc::SYS_getresuid | libc::SYS_getresgid => {
                let ids = if question.call == libc::SYS_getresuid {
                    known.users
                } else {
                    known.groups
                };
                for (id, address) in ids.into_iter().zip([first, second, third]) {
                    self.write(question, address, &id.to_ne_bytes())?;
                }
                Answer::Done(0)
            }
            libc::SYS_getgroups => {
                let Some(groups) = known.others else {
                    return Ok(Answer::Kernel);
                };
                let count = u32::try_from(groups.len()).map_err(|_| Errno::INVAL)?;
                match low(first) {
                    0 => {}
                    room if room < count => return Ok(Answer::Failed(Errno::INVAL)),
                    _ => {
                        let bytes: Vec<u8> = groups.iter().flat_map(|id| id.to_ne_bytes()).collect();
                        self.write(question, second, &bytes)?;
                    }
                }
                Answer::Done(count)
            }
            _ => Answer::Kernel,
        })
    }

    fn credentials(&self, question: &Question) -> Option<Credentials> {
        if self.switched.is_empty() {
            return None;
        }
        self.switched
            .find(question.thread, |thread| self.look_at_thread(thread))
    }

    fn read_switch(&self, question: &Question) -> Result<Option<Switch>, Errno> {
        let [first, second, third, ..] = question.arguments.map(low);
        Ok(Some(match question.call {
            libc::SYS_setuid => Switch::User(first),
            libc::SYS_setgid => Switch::Group(first),
            libc::SYS_setreuid => Switch::RealUser(first, second),
            libc::SYS_setregid => Switch::RealGroup(first, second),
            libc::SYS_setresuid => Switch::Users([first, second, third]),
            libc::SYS_setresgid => Switch::Groups([first, second, third]),
            libc::SYS_setgroups => {
                let count = usize::try_from(first).map_err(|_| Errno::INVAL)?;
                if count > MOST_GROUPS {
                    return Err(Errno::INVAL);
                }
                let mut bytes = vec![0; count * size_of::<u32>()];
                self.memory(question, OFlags::RDONLY)?
                    .read_exact_at(&mut bytes, question.arguments[1])
                    .map_err(|_| Errno::FAULT)?;
                let id = |bytes: &[u8]| bytes.try_into().map(u32::from_ne_bytes);
                let groups = bytes.chunks_exact(size_of::<u32>()).map(id);
                Switch::Others(groups.collect::<Result<_, _>>().map_err(|_| Errno::INVAL)?)
            }
            _ => return Ok(None),
        }))
    }

    /// What this machine's /proc tells of a thread (proc_pid_stat(5)).
    fn look_at_thread(&self, thread: u32) -> Option<Thread> {
        let read = |name: &str| {
            let path = format!("{thread}/{name}");
            let file = openat(
                &self.processes,
                path,
                OFlags::RDONLY | OFlags::CLOEXEC,
                Mode::empty(),
            );
            std::io::read_to_string(File::from(file.ok()?)).ok()
        };
        let status = read("status")?;
        let number = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim().parse::<u32>().ok()
        };
        let (process, parent) = (number("Tgid:")?, number("PPid:")?);
        let stat = read("stat")?;
        let (_, fields) = stat.rsplit_once(") ")?;
        Some(Thread {
            began: fields.split(' ').nth(19)?.parse().ok()?,
            from: if process == thread { parent } else { process },
        })
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
