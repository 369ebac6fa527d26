//! An interpreter for programs of another machine that one step alone knows (binfmt_misc).
//!
//! Since Linux 6.7 a user namespace may have a table of interpreters of its own, so a step can run foreign programs where
//! nobody has set the machine up for them, and the machine stays as it was.

use std::io::{self, Write as _};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, open, openat};
use rustix::io::Errno;

use crate::init::mount_new;
use crate::tree::{NO_DEVICES, NO_SUID, READ_ONLY, Tree};

/// The first kernel whose user namespaces have tables of their own.
const FIRST_KERNEL: (u32, u32) = (6, 7);

/// A program that the kernel starts in the place of those it cannot run itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interpreter {
    /// The interpreter, a path of the host. It has to be linked statically: in the step's root nothing of the host is found.
    pub program: PathBuf,
    /// How the programs begin that it is for.
    pub magic: Vec<u8>,
    /// Which bits of the beginning count; as long as `magic`.
    pub mask: Vec<u8>,
}

impl Interpreter {
    /// Whether this kernel lets a user namespace have interpreters of its own.
    pub fn are_supported() -> bool {
        let uname = rustix::system::uname();
        let release = uname.release().to_string_lossy();
        let mut numbers = release
            .split(|letter: char| !letter.is_ascii_digit())
            .map_while(|number| number.parse().ok());
        (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= FIRST_KERNEL
    }

    /// Everything that may allocate, before the fork.
    pub(crate) fn prepare(&self) -> io::Result<Registration> {
        let file = open(&self.program, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        // A step that is root could write to it by /proc/self/exe (CVE-2019-5736): it sees a read-only mount.
        let program = Tree::bind(file)?;
        program.restrict(READ_ONLY | NO_SUID | NO_DEVICES)?;
        let opened = Path::new("/proc/self/fd").join(program.as_fd().as_raw_fd().to_string());
        let mut line = b":lifecycle:M:0".to_vec();
        for bytes in [&self.magic, &self.mask] {
            line.push(b':');
            for byte in bytes {
                write!(line, "\\x{byte:02x}")?;
            }
        }
        line.push(b':');
        line.extend_from_slice(opened.as_os_str().as_bytes());
        // P keeps the name a program was called by, F opens the interpreter now and not in the step's root, C lets setuid
        // programs have their owner.
        line.extend_from_slice(b":POCF");
        Ok(Registration { program, line })
    }
}

/// An interpreter on its way into the step's table.
#[derive(Debug)]
pub(crate) struct Registration {
    program: Tree,
    line: Vec<u8>,
}

impl Registration {
    /// Fills the table of the user namespace that this process is in. It holds as long as what is returned is open. To be
    /// called where /proc is still the host's; allocates nothing.
    pub(crate) fn enter(&self) -> Result<OwnedFd, Errno> {
        let table = mount_new(c"binfmt_misc")?;
        let register = openat(
            &table,
            c"register",
            OFlags::WRONLY | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        rustix::io::write(&register, &self.line)?;
        Ok(table)
    }
}

impl AsFd for Registration {
    /// What has to be open until then.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.program.as_fd()
    }
}
