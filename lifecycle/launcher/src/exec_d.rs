//! Running an `exec.d` program: a child that writes variables to descriptor 3.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::path::Path;
use std::process::Command;

use lifecycle_spec::{Environment, read_exec_d};
use rustix::io::{FdFlags, fcntl_dupfd_cloexec, fcntl_setfd};

use crate::{LaunchError, shell};

/// The descriptor that the specification names.
const DESCRIPTOR: RawFd = 3;

/// Runs one program and sets the variables that it writes (XCD-01 to XCD-04).
pub(crate) fn run(program: &Path, app_dir: &Path, environment: &mut Environment) -> Result<(), LaunchError> {
    let failed = |error| LaunchError::io("exec.d: run", program, error);
    let (mut reader, writer) = pipe().map_err(failed)?;

    let mut command = command(program, writer.as_raw_fd());
    command.current_dir(app_dir).env_clear().envs(environment.iter());
    let mut child = command.spawn().map_err(failed)?;
    // The child has its own; with this one open the pipe would never end.
    drop(writer);
    let mut output = Vec::new();
    reader.read_to_end(&mut output).map_err(failed)?;
    let status = child.wait().map_err(failed)?;
    if !status.success() {
        return Err(LaunchError::ExecDFailed {
            program: program.to_owned(),
            status,
        });
    }
    for (name, value) in read_exec_d(program, &output).map_err(LaunchError::ExecDOutput)? {
        environment.set(name, value);
    }
    Ok(())
}

/// A pipe whose writing end lies on descriptor 3, if that is free, and is inherited by children.
///
/// The standard library hands over 0, 1 and 2 only, and `dup2` to a number that nobody owns is not safe Rust. It need
/// not be: the kernel gives the lowest free number, and in a container that is 3. There are no other threads and no
/// other children while the descriptor is inheritable, so it reaches nobody else.
///
/// When whoever started the container passed descriptors in, 3 is taken, and it must stay so for the process. Then the
/// number is another one, and [`command`] asks bash to move it.
fn pipe() -> io::Result<(File, OwnedFd)> {
    let (reader, writer) = io::pipe()?;
    // Both ends out of the way first: one of them has the number that the other is to get.
    let reader = fcntl_dupfd_cloexec(OwnedFd::from(reader), DESCRIPTOR + 1)?;
    let writer = fcntl_dupfd_cloexec(OwnedFd::from(writer), DESCRIPTOR + 1)?;
    let moved = fcntl_dupfd_cloexec(&writer, DESCRIPTOR)?;
    fcntl_setfd(&moved, FdFlags::empty())?;
    Ok((File::from(reader), moved))
}

fn command(program: &Path, descriptor: RawFd) -> Command {
    if descriptor == DESCRIPTOR {
        return Command::new(program);
    }
    let mut command = Command::new(shell::BASH);
    command
        .arg("-c")
        .arg(format!("exec \"$0\" {DESCRIPTOR}>&{descriptor} {descriptor}>&-"))
        .arg(program);
    command
}
