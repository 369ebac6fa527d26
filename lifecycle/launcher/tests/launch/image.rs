//! App images as directories, and what their processes say.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::{Command, Output};

use tempfile::TempDir;

use crate::executable::write_program;

/// An app image: layers, app, and links to the launcher.
pub(crate) struct Image {
    root: TempDir,
    metadata: String,
}

impl Image {
    pub(crate) fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        for directory in ["layers/config", "app", "process"] {
            fs::create_dir_all(root.path().join(directory)).unwrap();
        }
        Self {
            root,
            metadata: String::new(),
        }
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    pub(crate) fn buildpack(mut self, id: &str, api: &str) -> Self {
        self.metadata = format!(
            "{}[[buildpacks]]\nid = '{id}'\nversion = '1'\napi = '{api}'\n",
            self.metadata
        );
        self
    }

    pub(crate) fn process(mut self, process_type: &str, rest: &str) -> Self {
        self.metadata = format!(
            "{}[[processes]]\ntype = '{process_type}'\n{rest}\n",
            self.metadata
        );
        self
    }

    /// A process that prints its environment.
    pub(crate) fn env_process(self, process_type: &str, buildpack: &str) -> Self {
        self.process(
            process_type,
            &format!("command = ['/usr/bin/env', '-0']\ndirect = true\nbuildpack-id = '{buildpack}'"),
        )
    }

    pub(crate) fn file(self, path: &str, content: impl AsRef<[u8]>) -> Self {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
        self
    }

    pub(crate) fn program(self, path: &str, script: &str) -> Self {
        write_program(&self.path(path), script);
        self
    }

    pub(crate) fn directory(self, path: &str) -> Self {
        fs::create_dir_all(self.path(path)).unwrap();
        self
    }

    pub(crate) fn command(&self, name: &str) -> Command {
        fs::write(self.path("layers/config/metadata.toml"), &self.metadata).unwrap();
        let link = self.path("process").join(name);
        if !link.exists() {
            symlink(env!("CARGO_BIN_EXE_launcher"), &link).unwrap();
        }
        let mut command = Command::new(link);
        command
            .env_clear()
            .env("CNB_PLATFORM_API", "0.12")
            .env("CNB_LAYERS_DIR", self.path("layers"))
            .env("CNB_APP_DIR", self.path("app"))
            .env("PATH", "/cnb/process:/cnb/lifecycle:/usr/bin:/bin");
        command
    }

    pub(crate) fn run(&self, name: &str, arguments: &[&str]) -> Output {
        self.command(name).args(arguments).output().unwrap()
    }

    /// The environment of a process that prints it with NULs.
    pub(crate) fn environment(&self, name: &str) -> Vec<(OsString, OsString)> {
        environment_in(&succeeded(self.run(name, &[])))
    }
}

pub(crate) fn environment_in(stdout: &[u8]) -> Vec<(OsString, OsString)> {
    let variables = stdout.split(|byte| *byte == 0).filter(|line| !line.is_empty());
    let mut variables: Vec<_> = variables
        .map(|line| {
            let equals = line.iter().position(|byte| *byte == b'=').unwrap();
            let text = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
            (text(&line[..equals]), text(&line[equals + 1..]))
        })
        .collect();
    variables.sort();
    variables
}

pub(crate) fn value(environment: &[(OsString, OsString)], name: &str) -> Option<OsString> {
    environment
        .iter()
        .find(|(known, _)| known == name)
        .map(|(_, value)| value.clone())
}

#[track_caller]
pub(crate) fn succeeded(output: Output) -> Vec<u8> {
    assert!(
        output.status.success(),
        "{:?}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

#[track_caller]
pub(crate) fn stdout(output: Output) -> String {
    String::from_utf8(succeeded(output)).unwrap()
}

/// Exit code and stderr; a failed launch prints nothing on stdout.
#[track_caller]
pub(crate) fn failed(output: Output) -> (i32, String) {
    assert!(
        output.stdout.is_empty(),
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );
    (
        output.status.code().unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

pub(crate) fn new_image() -> Image {
    Image::new().buildpack("acme/new", "0.12")
}

pub(crate) fn old_image() -> Image {
    Image::new().buildpack("acme/old", "0.8")
}
