//! The first process of a sandbox: builds the surroundings, starts the command, reaps, forwards, reports.
//!
//! Everything here runs in a fork of a possibly threaded program. Nothing allocates: names, lists and filters
//! were made by [`crate::Run::spawn`], and descriptors of mounts were opened there.
//!
//! The command's program starts before /proc is attached, and is held at its first instruction until it is.
//! So nothing that is resolved while this program is still the running one (the path itself, a `#!` line, an
//! ELF interpreter) can reach it through /proc/self/exe (CVE-2019-5736), nor a descriptor through
//! /proc/self/fd (CVE-2024-21626). The init process itself is not dumpable: its /proc entry stays closed.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, StatxFlags, fstat, openat, openat2, statx,
};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags,
    fsconfig_create, fsmount, fsopen, mount_change, move_mount, open_tree, unmount,
};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{
    DumpableBehavior, Pid, WaitOptions, WaitStatus, chroot, fchdir, pivot_root, set_child_subreaper,
    set_dumpable_behavior, wait, waitpid,
};
use rustix::thread::set_name;

use crate::interpreter::Registration;
use crate::report::{During, Failure, Report, SetUp};
use crate::step::Step;
use crate::syscall::{self, CommandLine};
use crate::tree::{NO_DEVICES, NO_EXEC, NO_SUID, READ_ONLY, Tree};

/// Everything the child needs, made before the fork.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) surroundings: Surroundings,
    pub(crate) step: Step,
    /// End the step when the program that started it is gone.
    pub(crate) die_with_parent: bool,
    /// The caller's arguments in this process's memory, which the step may not see.
    pub(crate) command_line: Option<CommandLine>,
}

/// What the command will see around it.
#[derive(Debug)]
pub(crate) enum Surroundings {
    Namespaces(Box<View>),
    /// A root entered by chroot: no mounts, the host's process table.
    Chroot(OwnedFd),
    InPlace,
}

/// A root with its mounts, for a mount namespace of its own.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) hostname: Vec<u8>,
    pub(crate) root: Tree,
    /// Runs foreign programs.
    pub(crate) interpreter: Option<Registration>,
    /// A tmpfs with the files that [`Origin::Scratch`] names.
    pub(crate) scratch: Option<Tree>,
    pub(crate) attachments: Vec<Attachment>,
    pub(crate) loopback: bool,
    /// Relative to the root; what does not exist is passed over.
    pub(crate) masked: Vec<CString>,
    pub(crate) read_only: Vec<CString>,
}

#[derive(Debug)]
pub(crate) struct Attachment {
    pub(crate) origin: Origin,
    /// Relative to the root, links resolved.
    pub(crate) target: CString,
}

#[derive(Debug)]
pub(crate) enum Origin {
    Tree(Tree),
    /// A file of the scratch tmpfs.
    Scratch(CString),
}

/// The ends of the pipes that the init process holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Channels<'a> {
    /// Readable once the id maps are written.
    pub(crate) go: BorrowedFd<'a>,
    /// A byte asks to end everything; hang-up means the parent is gone.
    pub(crate) life: BorrowedFd<'a>,
    pub(crate) report: BorrowedFd<'a>,
}

/// The init process from its first to its last instruction; the result is its exit code.
pub(crate) fn run(plan: &Plan, channels: Channels<'_>, keep: &[RawFd]) -> i32 {
    match set_up(plan, channels, keep) {
        Ok(Started::Running {
            child,
            signals,
            interpreters: _open,
        }) => {
            Report::Started.send(channels.report);
            supervise(plan, channels, child, &signals)
        }
        Ok(Started::Ended(status)) => {
            Report::Ended(status.as_raw()).send(channels.report);
            0
        }
        Err(failure) => {
            Report::Failed(failure).send(channels.report);
            127
        }
    }
}

enum Started {
    Running {
        child: Pid,
        signals: OwnedFd,
        /// The step's interpreters are there as long as this is open.
        interpreters: Option<OwnedFd>,
    },
    /// The command was killed before its program ran.
    Ended(WaitStatus),
}

fn set_up(plan: &Plan, channels: Channels<'_>, keep: &[RawFd]) -> Result<Started, Failure> {
    syscall::close_all_except(keep).during(SetUp::CloseDescriptors)?;
    await_go(channels.go).during(SetUp::Start)?;
    // From here on no step, whatever its user id, may look into this process or follow its /proc/PID/exe.
    set_dumpable_behavior(DumpableBehavior::NotDumpable).during(SetUp::Start)?;
    // Its name and command line are open to everybody all the same.
    set_name(c"init").during(SetUp::Start)?;
    if let Some(command_line) = plan.command_line {
        command_line.wipe();
    }
    syscall::default_signal_actions();
    let signals = syscall::signal_fd().during(SetUp::WatchSignals)?;

    let mut interpreters = None;
    let proc = match &plan.surroundings {
        Surroundings::Namespaces(view) => {
            let registration = view.interpreter.as_ref();
            interpreters = registration
                .map(Registration::enter)
                .transpose()
                .during(SetUp::RegisterInterpreter)?;
            Some(enter_view(view)?)
        }
        Surroundings::Chroot(_) | Surroundings::InPlace => {
            set_child_subreaper(Pid::from_raw(1)).during(SetUp::BecomeSubreaper)?;
            None
        }
    };

    let (inner, inner_write) = pipe_with(PipeFlags::CLOEXEC).during(SetUp::ForkStep)?;
    let traced = proc.is_some();
    let (child, _) = syscall::clone_process(0, || {
        let failure = become_step(plan, traced);
        Report::Failed(failure).send(&inner_write);
        127
    })
    .during(SetUp::ForkStep)?;
    drop(inner_write);
    if let Some(Report::Failed(failure)) = Report::receive(&inner) {
        return Err(failure);
    }
    drop(inner);

    if let Surroundings::Namespaces(view) = &plan.surroundings
        && let Some(proc) = proc
    {
        if let Some(ended) = await_exec(child).during(SetUp::TraceStep)? {
            return Ok(Started::Ended(ended));
        }
        attach(&proc, c"proc").during(SetUp::AttachProc)?;
        mask(view)?;
        syscall::trace_detach(child).during(SetUp::TraceStep)?;
    }
    close_what_is_the_steps(channels, &signals, interpreters.as_ref())?;
    Ok(Started::Running {
        child,
        signals,
        interpreters,
    })
}

fn await_go(go: BorrowedFd<'_>) -> Result<(), Errno> {
    let mut byte = [0];
    loop {
        match rustix::io::read(go, &mut byte) {
            Ok(0) => return Err(Errno::PIPE),
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
}

/// The command's pipes must end when the command closes them, so init may not keep copies.
fn close_what_is_the_steps(
    channels: Channels<'_>,
    signals: &OwnedFd,
    interpreters: Option<&OwnedFd>,
) -> Result<(), Failure> {
    let signals = signals.as_raw_fd();
    let mut keep = [
        channels.life.as_raw_fd(),
        channels.report.as_raw_fd(),
        signals,
        // Keeping one twice is keeping it.
        interpreters.map_or(signals, AsRawFd::as_raw_fd),
    ];
    keep.sort_unstable();
    syscall::close_all_except(&keep).during(SetUp::CloseDescriptors)
}

/// Assembles the mount namespace and pivots into it. Returns the new /proc, not yet attached.
fn enter_view(view: &View) -> Result<OwnedFd, Failure> {
    rustix::system::sethostname(&view.hostname).during(SetUp::SetHostname)?;
    mount_change(c"/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .during(SetUp::MakeMountsPrivate)?;
    // Both stack on "/": pivot_root takes the upper one and puts the rest on top of it, where it is detached.
    if let Some(scratch) = &view.scratch {
        move_mount(scratch, c"", CWD, c"/", MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
            .during(SetUp::AttachScratch)?;
    }
    move_mount(
        &view.root,
        c"",
        CWD,
        c"/",
        MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH,
    )
    .during(SetUp::AttachRoot)?;
    fchdir(&view.root).during(SetUp::AttachRoot)?;

    for (index, attachment) in view.attachments.iter().enumerate() {
        attach_one(view, attachment).during_nth(SetUp::AttachMount, index)?;
    }
    let queue = mount_new(c"mqueue").during(SetUp::MountQueue)?;
    attach(&queue, c"dev/mqueue").during(SetUp::MountQueue)?;
    // The kernel grants a new proc only while an unmasked one is visible, that is before the pivot.
    let proc = mount_new(c"proc").during(SetUp::MountProc)?;

    pivot_root(c".", c".").during(SetUp::PivotRoot)?;
    detach_old_root().during(SetUp::DetachOldRoot)?;
    rustix::process::chdir(c"/").during(SetUp::DetachOldRoot)?;
    if view.loopback {
        syscall::loopback_up().during(SetUp::RaiseLoopback)?;
    }
    Ok(proc)
}

/// Takes away everything that lies on the new root: the old one, and whatever was stacked on that.
///
/// One unmount is not enough to know: it takes the topmost mount only. What is left on the root is not seen at `/`,
/// but `/..` leads into it. So the way up is what decides whether the old root has gone.
fn detach_old_root() -> Result<(), Errno> {
    while mount_id(c"/..")? != mount_id(c"/")? {
        unmount(c"/..", UnmountFlags::DETACH)?;
    }
    Ok(())
}

fn mount_id(path: &CStr) -> Result<u64, Errno> {
    let status = statx(CWD, path, AtFlags::empty(), StatxFlags::MNT_ID)?;
    if status.stx_mask & StatxFlags::MNT_ID.bits() == 0 {
        return Err(Errno::NOSYS);
    }
    Ok(status.stx_mnt_id)
}

fn attach_one(view: &View, attachment: &Attachment) -> Result<(), Errno> {
    match &attachment.origin {
        Origin::Tree(tree) => attach(tree, &attachment.target),
        Origin::Scratch(name) => {
            let scratch = view.scratch.as_ref().ok_or(Errno::NOENT)?;
            let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
            attach(open_tree(scratch, name.as_c_str(), flags)?, &attachment.target)
        }
    }
}

/// Attaches a detached mount at `target`, a path without links beneath the working directory.
fn attach(mount: impl AsFd, target: &CStr) -> Result<(), Errno> {
    let target = open_in_root(target)?;
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(mount, c"", target, c"", flags)
}

/// The working directory is the root of the view here; a link that appeared since the preparation is refused.
fn open_in_root(path: &CStr) -> Result<OwnedFd, Errno> {
    openat2(
        CWD,
        path,
        OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
        ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS,
    )
}

pub(crate) fn mount_new(filesystem: &CStr) -> Result<OwnedFd, Errno> {
    let context = fsopen(filesystem, FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(&context)?;
    fsmount(
        &context,
        FsMountFlags::FSMOUNT_CLOEXEC,
        NO_SUID | NO_DEVICES | NO_EXEC,
    )
}

/// Covers what tells about, or changes, the host's kernel.
fn mask(view: &View) -> Result<(), Failure> {
    for (index, path) in view.masked.iter().enumerate() {
        mask_one(path).during_nth(SetUp::MaskPaths, index)?;
    }
    for (index, path) in view.read_only.iter().enumerate() {
        make_read_only(path).during_nth(SetUp::MaskPaths, view.masked.len() + index)?;
    }
    Ok(())
}

fn mask_one(path: &CStr) -> Result<(), Errno> {
    let Some(target) = open_if_there(path)? else {
        return Ok(());
    };
    let cover = if FileType::from_raw_mode(fstat(&target)?.st_mode) == FileType::Directory {
        let context = fsopen(c"tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
        fsconfig_create(&context)?;
        fsmount(
            &context,
            FsMountFlags::FSMOUNT_CLOEXEC,
            READ_ONLY | NO_SUID | NO_DEVICES | NO_EXEC,
        )?
    } else {
        open_tree(
            CWD,
            c"dev/null",
            OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC,
        )?
    };
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(cover, c"", target, c"", flags)
}

fn make_read_only(path: &CStr) -> Result<(), Errno> {
    let Some(target) = open_if_there(path)? else {
        return Ok(());
    };
    let copy = Tree::bind(&target)?;
    copy.restrict(READ_ONLY | NO_SUID | NO_DEVICES | NO_EXEC)?;
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(&copy, c"", target, c"", flags)
}

fn open_if_there(path: &CStr) -> Result<Option<OwnedFd>, Errno> {
    match open_in_root(path) {
        Ok(fd) => Ok(Some(fd)),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Waits for the stop that follows a successful exec; an end before that is returned.
fn await_exec(child: Pid) -> Result<Option<WaitStatus>, Errno> {
    loop {
        match waitpid(Some(child), WaitOptions::empty()) {
            Ok(Some((_, status))) => match status.stopping_signal() {
                Some(libc::SIGTRAP) => return Ok(None),
                Some(signal) => syscall::trace_continue(child, signal)?,
                None => return Ok(Some(status)),
            },
            Ok(None) | Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
}

/// The forked child on its way to the command's program; returns only when that failed.
fn become_step(plan: &Plan, traced: bool) -> Failure {
    let enter = || -> Result<(), Failure> {
        if traced {
            syscall::trace_me().during(SetUp::TraceStep)?;
        }
        if let Surroundings::Chroot(root) = &plan.surroundings {
            fchdir(root).during(SetUp::ChangeRoot)?;
            chroot(c".").during(SetUp::ChangeRoot)?;
        }
        Ok(())
    };
    match enter() {
        Ok(()) => plan
            .step
            .execute(matches!(plan.surroundings, Surroundings::InPlace)),
        Err(failure) => failure,
    }
}

/// Waits for signals, orphans and the parent until the command has ended and nothing of it is left.
fn supervise(plan: &Plan, channels: Channels<'_>, child: Pid, signals: &OwnedFd) -> i32 {
    let own_processes = matches!(plan.surroundings, Surroundings::Namespaces(_));
    loop {
        // Reaping first: the command may have ended before the signal descriptor was there.
        if let Some(status) = reap(child) {
            if !own_processes {
                kill_orphans();
            }
            Report::Ended(status.as_raw()).send(channels.report);
            return 0;
        }
        let mut watched = [
            PollFd::new(signals, PollFlags::IN),
            PollFd::from_borrowed_fd(channels.life, PollFlags::IN),
        ];
        // With all signals blocked only a lack of memory can make this fail; then it is tried again.
        if poll(&mut watched, None).is_err() {
            continue;
        }
        let life = watched[1].revents();
        let asked = life.contains(PollFlags::IN);
        if asked || (plan.die_with_parent && !life.is_empty()) {
            if !own_processes {
                syscall::send_signal(child, libc::SIGKILL);
                kill_orphans();
            }
            // Leaving the PID namespace's first process ends all others in it.
            return 137;
        }
        if !life.is_empty() {
            // The parent is gone and the step may outlive it: wait for signals only.
            let mut watched = [PollFd::new(signals, PollFlags::IN)];
            if poll(&mut watched, None).is_err() {
                continue;
            }
        }
        while let Some(signal) = syscall::next_signal(signals) {
            if signal != libc::SIGCHLD {
                syscall::send_signal(child, signal);
            }
        }
    }
}

/// Collects every ended process; the command's own status is returned.
fn reap(child: Pid) -> Option<WaitStatus> {
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) if pid == child => return Some(status),
            Ok(Some(_)) | Err(Errno::INTR) => {}
            Ok(None) | Err(_) => return None,
        }
    }
}

/// Without a PID namespace: orphans of the command come to this process, which ends them until none is left.
fn kill_orphans() {
    loop {
        let listed = kill_children();
        match wait(if listed {
            WaitOptions::empty()
        } else {
            WaitOptions::NOHANG
        }) {
            Ok(None) | Err(Errno::CHILD) => return,
            Ok(Some(_)) | Err(_) => {}
        }
    }
}

/// Sends SIGKILL to every child of this process that the kernel lists.
fn kill_children() -> bool {
    let Ok(list) = openat(
        CWD,
        c"/proc/thread-self/children",
        OFlags::RDONLY | OFlags::CLOEXEC,
        Mode::empty(),
    ) else {
        return false;
    };
    let mut buffer = [0u8; 4096];
    let Ok(length) = rustix::io::read(&list, &mut buffer[..]) else {
        return false;
    };
    let mut any = false;
    for word in buffer[..length].split_inclusive(|byte| *byte == b' ') {
        // A number without its blank was cut by the buffer's end: the next round sees it whole.
        let Some(digits) = word.strip_suffix(b" ") else {
            continue;
        };
        let number = digits
            .iter()
            .fold(0i32, |n, d| n.wrapping_mul(10).wrapping_add(i32::from(*d) - 48));
        if let Some(pid) = Pid::from_raw(number) {
            syscall::send_signal(pid, libc::SIGKILL);
            any = true;
        }
    }
    any
}
