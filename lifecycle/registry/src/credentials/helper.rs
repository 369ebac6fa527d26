//! `docker-credential-*` programs.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::Credential;
use super::auth_map::named;

/// No helper has more to say.
const MAX_ANSWER: u64 = 1024 * 1024;
/// How often a helper that has answered is looked at until it is gone.
const TICK: Duration = Duration::from_millis(5);

/// Where helpers are, and how long one may take.
///
/// The directories are the machine's own, given by whoever started us. No path that an image or a source tree names
/// is ever among them.
#[derive(Debug, Clone)]
pub(crate) struct Helpers {
    pub(crate) directories: Vec<PathBuf>,
    pub(crate) timeout: Duration,
}

impl Default for Helpers {
    fn default() -> Self {
        Self {
            directories: Vec::new(),
            timeout: Duration::from_secs(30),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Reply {
    username: String,
    secret: String,
}

impl Helpers {
    /// Asks `docker-credential-<helper>` for what it has for `server`. The error is a reason for people; it never
    /// repeats what the helper wrote, which may be a secret.
    pub(crate) fn ask(&self, helper: &str, server: &str) -> Result<Option<Credential>, String> {
        let program = self.find(helper)?;
        let mut child = Command::new(&program)
            .arg("get")
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("cannot be started: {error}"))?;
        let answer = self.talk(&mut child, server);
        // Whatever came of it, no helper stays behind. One that has ended cannot be killed, and that is fine.
        drop(child.kill());
        drop(child.wait());
        let (succeeded, output) = answer?;
        if !succeeded {
            // The protocol's only way to say "I have none".
            let text = String::from_utf8_lossy(&output).to_ascii_lowercase();
            return if text.contains("credentials not found") {
                Ok(None)
            } else {
                Err(format!("failed for {server}"))
            };
        }
        let reply: Reply = serde_json::from_slice(&output)
            .map_err(|_| format!("gave an answer for {server} that is not JSON with Username and Secret"))?;
        Ok((!reply.secret.is_empty()).then(|| named(&reply.username, &reply.secret)))
    }

    /// Whether the helper is installed.
    pub(crate) fn has(&self, helper: &str) -> bool {
        self.find(helper).is_ok()
    }

    fn talk(&self, child: &mut Child, server: &str) -> Result<(bool, Vec<u8>), String> {
        let slow = || format!("did not answer within {} s", self.timeout.as_secs_f32());
        let deadline = Instant::now() + self.timeout;
        if let Some(mut stdin) = child.stdin.take() {
            // A helper that does not read its input has ended, and its status will say so.
            drop(stdin.write_all(server.as_bytes()));
        }
        let Some(stdout) = child.stdout.take() else {
            return Err("has no output".to_owned());
        };
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || {
            let mut output = Vec::new();
            let result = stdout.take(MAX_ANSWER).read_to_end(&mut output).map(|_| output);
            // Nobody listens any more when the time was up.
            drop(sender.send(result));
        });
        let output = receiver
            .recv_timeout(self.timeout)
            .map_err(|_| slow())?
            .map_err(|error| format!("cannot be read: {error}"))?;
        loop {
            match child.try_wait() {
                Ok(Some(status)) => return Ok((status.success(), output)),
                Ok(None) if Instant::now() < deadline => thread::sleep(TICK),
                Ok(None) => return Err(slow()),
                Err(error) => return Err(format!("cannot be waited for: {error}")),
            }
        }
    }

    fn find(&self, helper: &str) -> Result<PathBuf, String> {
        let word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if helper.is_empty() || !helper.bytes().all(word) {
            return Err("has a name that no program may have".to_owned());
        }
        let program = format!("docker-credential-{helper}");
        self.directories
            .iter()
            .filter(|directory| directory.is_absolute())
            .map(|directory| directory.join(&program))
            .find(|path| Path::is_file(path))
            .ok_or_else(|| "is not installed here".to_owned())
    }
}
