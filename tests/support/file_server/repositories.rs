//! Repositories as hosts serve them: git's own program answers, asked as web servers ask programs (CGI).

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::super::wire::{Answer, Request};

/// A bare repository, and how its host speaks.
pub(super) struct Repository {
    path: PathBuf,
    is_old: bool,
}

impl Repository {
    pub(super) fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            is_old: false,
        }
    }

    pub(super) fn old(path: &Path) -> Self {
        Self {
            is_old: true,
            ..Self::new(path)
        }
    }

    /// What git says to a request for something `below` the repository.
    pub(super) fn answer(&self, request: &Request, body: &[u8], below: &str) -> Answer {
        let header = |name: &str| request.headers.get(name).cloned().unwrap_or_default();
        let query = request.target.split_once('?').map_or("", |(_, query)| query);
        let version = if self.is_old {
            String::new()
        } else {
            header("git-protocol")
        };
        let name = self.path.file_name().unwrap().to_str().unwrap();
        let mut program = Command::new("git")
            .args(["-c", "safe.directory=*", "http-backend"])
            .env("GIT_PROJECT_ROOT", self.path.parent().unwrap())
            .env("GIT_HTTP_EXPORT_ALL", "1")
            .env("GIT_PROTOCOL", version)
            .env("PATH_INFO", format!("/{name}{below}"))
            .env("QUERY_STRING", query)
            .env("REQUEST_METHOD", &request.method)
            .env("CONTENT_TYPE", header("content-type"))
            .env("CONTENT_LENGTH", body.len().to_string())
            .env("HTTP_CONTENT_ENCODING", header("content-encoding"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // It reads a request whole before it answers.
        drop(program.stdin.take().unwrap().write_all(body));
        let mut said = Vec::new();
        program.stdout.take().unwrap().read_to_end(&mut said).unwrap();
        program.wait().unwrap();
        let end = said.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
        let head = String::from_utf8_lossy(&said[..end]).into_owned();
        let mut answer = Answer::new(200);
        for (name, value) in head.lines().filter_map(|line| line.split_once(": ")) {
            match name {
                "Status" => answer.status = value[..3].parse().unwrap(),
                _ => answer = answer.header(name, value),
            }
        }
        answer.body(&said[end + 4..])
    }
}
