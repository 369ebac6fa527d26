//! One test's own corner of this machine.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::Invocation;

/// A directory that is gone after the test, and the program with its home and store in it.
#[derive(Debug)]
pub(crate) struct Machine {
    directory: Option<tempfile::TempDir>,
    store: PathBuf,
}

impl Machine {
    /// A machine with an empty store of its own.
    pub(crate) fn new() -> Self {
        let directory = tempfile::Builder::new()
            .prefix("lifecycle-test-")
            .tempdir()
            .unwrap();
        // Other users take part in some tests.
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::create_dir(directory.path().join("home")).unwrap();
        let store = directory.path().join("store");
        Self {
            directory: Some(directory),
            store,
        }
    }

    /// A machine whose store, which all such machines share, holds the small builder and its images.
    pub(crate) fn with_builder() -> Self {
        Self::with_store(super::images::store())
    }

    /// A machine with this store, which stays.
    pub(crate) fn with_store(store: &Path) -> Self {
        let mut machine = Self::new();
        store.clone_into(&mut machine.store);
        machine
    }

    /// A path in the machine's directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.as_ref().unwrap().path().join(name)
    }

    /// The same as text, for command lines.
    pub(crate) fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    /// The store's directory.
    pub(crate) fn store(&self) -> &Path {
        &self.store
    }

    /// A directory with files, and where it is.
    pub(crate) fn files(&self, name: &str, files: &[(&str, &str)]) -> PathBuf {
        let directory = self.path(name);
        fs::create_dir_all(&directory).unwrap();
        for (file, content) in files {
            let path = directory.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        directory
    }

    /// The source of a small app.
    pub(crate) fn app(&self) -> PathBuf {
        self.files("app", &[("page.txt", "first\n"), ("folder/data.txt", "data\n")])
    }

    /// The program with these arguments, to be started on this machine.
    pub(crate) fn lifecycle(&self, arguments: &[&str]) -> Invocation {
        Invocation::new(env!("CARGO_BIN_EXE_lifecycle"), arguments)
            .env("HOME", self.path("home"))
            .env("LIFECYCLE_STORE", &self.store)
            .directory(self.path(""))
    }

    /// `lifecycle build` with the small builder.
    pub(crate) fn build(&self, app: &Path, arguments: &[&str]) -> Invocation {
        let app = app.to_str().unwrap();
        self.lifecycle(&[&["build", app, "--builder", super::images::BUILDER], arguments].concat())
    }

    /// The digest that a name has in the store.
    pub(crate) fn digest(&self, name: &str) -> String {
        let shown = self.lifecycle(&["inspect", name, "--output", "json"]).succeeds();
        shown.json()["digest"].as_str().unwrap().to_owned()
    }

    /// The store is whole, and nothing of an interrupted build is left in it.
    pub(crate) fn store_is_sound(&self) {
        self.lifecycle(&["cache", "verify"]).succeeds();
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if let Some(directory) = self.directory.take() {
            remove(&directory.keep());
        }
    }
}

/// Removes a directory, also when an ordinary user's subordinate ids own parts of it.
pub(crate) fn remove(directory: &Path) {
    if fs::remove_dir_all(directory).is_err() && directory.exists() {
        // Directories without write permission, and those of other ids.
        let script = r#"chmod -R u+rwX "$1"; exec rm -rf "$1""#;
        let arguments = ["--map-root-user", "--map-auto", "sh", "-c", script, "sh"];
        drop(
            std::process::Command::new("unshare")
                .args(arguments)
                .arg(directory)
                .output(),
        );
    }
}
