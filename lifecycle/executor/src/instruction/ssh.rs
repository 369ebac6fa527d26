//! An ssh agent inside of a step (I12).
//!
//! The step gets a socket of its own, with the owner and mode it asks for; what is said there is passed on. So the
//! agent's real socket, which belongs to the caller, never appears in the sandbox.

use std::io;
use std::net::Shutdown;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::thread::JoinHandle;

use rustix::net::Shutdown as Direction;

/// A socket that leads to an agent as long as it is held.
#[derive(Debug)]
pub(crate) struct ForwardedAgent {
    listener: UnixListener,
    thread: Option<JoinHandle<()>>,
}

impl ForwardedAgent {
    /// Listens at `path` for connections to the agent at `agent`.
    pub(crate) fn listen(path: &Path, agent: &Path, mode: u32, uid: u32, gid: u32) -> io::Result<Self> {
        let listener = UnixListener::bind(path)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
        if (uid, gid) != (0, 0) {
            chown(path, Some(uid), Some(gid))?;
        }
        let (agent, heard) = (agent.to_path_buf(), listener.try_clone()?);
        // Ends when the listener is shut down.
        let thread = std::thread::spawn(move || {
            while let Ok((step, _)) = heard.accept() {
                // A connection that fails is the step's to notice: it is closed.
                if let Ok(agent) = UnixStream::connect(&agent) {
                    std::thread::spawn(move || drop(pass_on(&step, &agent)));
                }
            }
        });
        Ok(Self {
            listener,
            thread: Some(thread),
        })
    }
}

/// Passes bytes in both directions until both sides are done.
fn pass_on(step: &UnixStream, agent: &UnixStream) -> io::Result<()> {
    let (mut from_step, mut to_agent) = (step.try_clone()?, agent.try_clone()?);
    let there = std::thread::spawn(move || {
        let copied = io::copy(&mut from_step, &mut to_agent);
        drop(to_agent.shutdown(Shutdown::Write));
        copied
    });
    let (mut from_agent, mut to_step) = (agent, step);
    let back = io::copy(&mut from_agent, &mut to_step);
    drop(step.shutdown(Shutdown::Both));
    drop(there.join());
    back.map(drop)
}

impl Drop for ForwardedAgent {
    fn drop(&mut self) {
        // Not a last connection: the step may have removed the socket's name.
        let ended = rustix::net::shutdown(&self.listener, Direction::Both);
        if let (Ok(()), Some(thread)) = (ended, self.thread.take()) {
            drop(thread.join());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[test]
    fn questions_and_answers_pass_through_i12() {
        let directory = tempfile::tempdir().unwrap();
        let (agent, step) = (directory.path().join("agent"), directory.path().join("step"));
        let listener = UnixListener::bind(&agent).unwrap();
        let server = std::thread::spawn(move || {
            for _ in 0..2 {
                let (mut connection, _) = listener.accept().unwrap();
                let mut question = String::new();
                connection.read_to_string(&mut question).unwrap();
                connection
                    .write_all(format!("answer to {question}").as_bytes())
                    .unwrap();
            }
        });
        let forwarded = ForwardedAgent::listen(&step, &agent, 0o606, 0, 0).unwrap();
        assert_eq!(std::fs::metadata(&step).unwrap().mode() & 0o777, 0o606);
        for question in ["one", "two"] {
            let mut connection = UnixStream::connect(&step).unwrap();
            connection.write_all(question.as_bytes()).unwrap();
            connection.shutdown(Shutdown::Write).unwrap();
            let mut answer = String::new();
            connection.read_to_string(&mut answer).unwrap();
            assert_eq!(answer, format!("answer to {question}"));
        }
        server.join().unwrap();
        drop(forwarded);
    }
}
