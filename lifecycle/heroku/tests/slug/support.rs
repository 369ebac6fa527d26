//! A busybox root, the fixture buildpacks, and builds with them.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

use lifecycle_heroku::{
    Address, BuildOptions, Built, Console, DirectoryRoot, HerokuError, Remote, RemoteFailure, Source, Stack,
    Surroundings, build,
};
use lifecycle_sandbox::{Isolation, UserNamespace};
use lifecycle_store::Store;

use crate::executable::copy_program;

const BUSYBOX: &str = "/bin/busybox";
/// Programs that the scripts need.
const APPLETS: [&str; 26] = [
    "sh", "cat", "ls", "id", "env", "true", "sleep", "mkdir", "touch", "rm", "ln", "chmod", "chown", "grep",
    "echo", "pwd", "head", "test", "find", "cp", "dirname", "kill", "wc", "sort", "tr", "basename",
];

#[derive(Debug)]
pub(crate) struct Fixture {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) store: Store,
    pub(crate) rooms: DirectoryRoot,
    pub(crate) log: Log,
    pub(crate) stop: AtomicBool,
}

#[derive(Debug, Default)]
pub(crate) struct Log(Mutex<Vec<u8>>);

impl Console for Log {
    fn line(&self, line: &[u8]) {
        self.0.lock().unwrap().extend([line, b"\n"].concat());
    }
}

impl Log {
    /// What was said since the last call.
    pub(crate) fn take(&self) -> String {
        String::from_utf8(std::mem::take(&mut self.0.lock().unwrap())).unwrap()
    }
}

#[derive(Debug)]
struct Offline;

impl Remote for Offline {
    fn open(&self, _: &str) -> Result<Option<Box<dyn std::io::Read + Send>>, RemoteFailure> {
        Err("there is no network in tests".into())
    }

    fn put(&self, _: &std::fs::File, _: &str) -> Result<(), RemoteFailure> {
        Err("there is no network in tests".into())
    }

    fn check_out(&self, _: &str, _: Option<&str>, _: Option<&Path>, _: &Path) -> Result<(), RemoteFailure> {
        Err("there is no network in tests".into())
    }
}

impl Fixture {
    /// The same for what only root can do. Scripts run as the stack's user, who gets files of its own; what becomes of that in
    /// an ordinary user's namespace is looked at where the program is driven as a whole.
    pub(crate) fn of_root() -> Option<Self> {
        let is_root = rustix::process::geteuid().is_root();
        if !is_root {
            println!("skipped: only root can give files to the stack's user");
        }
        is_root.then(Self::new)
    }

    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("root");
        for name in ["bin", "etc", "tmp", "dev", "proc", "sys", "app"] {
            std::fs::create_dir_all(root.join(name)).unwrap();
        }
        assert!(
            Path::new(BUSYBOX).exists(),
            "{BUSYBOX} is missing: apt-get install busybox-static"
        );
        copy_program(BUSYBOX, root.join("bin/busybox"));
        for applet in APPLETS {
            symlink("busybox", root.join("bin").join(applet)).unwrap();
        }
        std::fs::write(
            root.join("etc/passwd"),
            "root:x:0:0::/root:/bin/sh\nslug:x:2000:2000::/app:/bin/sh\nother:x:2001:2001::/app:/bin/sh\n",
        )
        .unwrap();
        std::fs::write(root.join("etc/group"), "root:x:0:\nslug:x:2000:\nother:x:2001:\n").unwrap();
        Self {
            store: Store::open(&directory.path().join("store")).unwrap(),
            rooms: DirectoryRoot {
                path: root,
                isolation: Isolation::Namespaces(UserNamespace::Own),
            },
            directory,
            log: Log::default(),
            stop: AtomicBool::new(false),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// An app with these files.
    pub(crate) fn app(&self, files: &[(&str, &str)]) -> PathBuf {
        let app = self.path("source");
        for (name, text) in files {
            let path = app.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        app
    }

    /// A buildpack of these scripts, which takes every app, and where it is.
    pub(crate) fn buildpack(&self, name: &str, scripts: &[(&str, &str)]) -> String {
        let bin = self.path(name).join("bin");
        std::fs::create_dir_all(&bin).unwrap();
        std::fs::write(bin.join("detect"), format!("#!/bin/sh\necho {name}\n")).unwrap();
        for (script, text) in scripts {
            std::fs::write(bin.join(script), format!("#!/bin/sh\n{text}\n")).unwrap();
        }
        self.path(name).to_str().unwrap().to_owned()
    }

    pub(crate) fn stack() -> Stack {
        Stack {
            id: "heroku-24".to_owned(),
            env: vec![("PATH".to_owned(), "/bin".to_owned())],
            user: "slug".to_owned(),
        }
    }

    /// A build of the app in `source` by these fixture buildpacks.
    pub(crate) fn options(&self, buildpacks: &[&str]) -> BuildOptions {
        BuildOptions {
            buildpacks: addresses(buildpacks),
            cache: Some(self.path("cache")),
            ..BuildOptions::new(Source::Directory(self.path("source")), Self::stack())
        }
    }

    pub(crate) fn surroundings(&self) -> Surroundings<'_> {
        Surroundings {
            rooms: &self.rooms,
            store: &self.store,
            remote: &Offline,
            console: &self.log,
            stop: &self.stop,
        }
    }

    pub(crate) fn build(&self, options: BuildOptions) -> Result<Built, HerokuError> {
        build(options, self.surroundings())
    }

    pub(crate) fn count(&self) -> String {
        std::fs::read_to_string(self.path("cache/count"))
            .unwrap_or_default()
            .trim()
            .to_owned()
    }
}

pub(crate) fn buildpack(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/fixtures/classic")
        .join(name)
}

pub(crate) fn addresses(names: &[&str]) -> Vec<Address> {
    names
        .iter()
        .map(|name| Address::parse(name, &buildpack("")).unwrap())
        .collect()
}

pub(crate) fn read(path: impl AsRef<Path>) -> String {
    std::fs::read_to_string(path).unwrap()
}

/// A tar of a directory, as members `./…`, compressed.
pub(crate) fn tar(directory: &Path) -> Vec<u8> {
    let mut tar = std::process::Command::new("tar");
    tar.args(["cz", "."]).current_dir(directory);
    tar.output().unwrap().stdout
}

/// The paths of everything below a directory, sorted.
pub(crate) fn paths(directory: &Path) -> Vec<PathBuf> {
    let (mut found, mut waiting) = (Vec::new(), vec![directory.to_owned()]);
    while let Some(folder) = waiting.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                waiting.push(entry.path());
            }
            found.push(entry.path().strip_prefix(directory).unwrap().to_owned());
        }
    }
    found.sort();
    found
}
