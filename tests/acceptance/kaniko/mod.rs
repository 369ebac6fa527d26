//! kaniko's command line, as its jobs write it (kaniko.md 1.1, 1.2, 2.2, 4).

mod contexts;
mod credentials;
mod jobs;
mod registries;

use std::fs;
use std::path::Path;

use crate::support::{Invocation, Machine, Registry};

/// `executor` with these arguments, on a machine whose store is empty.
fn executor(machine: &Machine, arguments: &[&str]) -> Invocation {
    machine.lifecycle(&[&["executor"], arguments].concat())
}

/// The arguments of a build that ends in a layout called `out`.
fn to_layout(machine: &Machine, arguments: &[&str]) -> Invocation {
    let layout = machine.text("out");
    drop(fs::remove_dir_all(&layout));
    executor(
        machine,
        &[&["--no-push", "--oci-layout-path", &layout], arguments].concat(),
    )
}

/// Everything in the layers of the image that [`to_layout`] made.
fn content(machine: &Machine) -> Vec<u8> {
    crate::elsewhere::blobs(&machine.path("out"))
}

fn contains(content: &[u8], text: &str) -> bool {
    content
        .windows(text.len())
        .any(|window| window == text.as_bytes())
}

/// Pushes an image with a shell, which commands of tests run in.
fn push_shell(machine: &Machine, registry: &Registry) -> String {
    let name = registry.name("shell");
    let files = machine.files("shell", &[("Dockerfile", "FROM scratch\nCOPY bin /bin\n")]);
    fs::create_dir_all(files.join("bin")).unwrap();
    fs::copy("/bin/busybox", files.join("bin/busybox")).unwrap();
    for applet in [
        "sh", "cat", "echo", "mkdir", "env", "grep", "ls", "id", "rm", "touch",
    ] {
        let link = files.join("bin").join(applet);
        if !link.exists() {
            std::os::unix::fs::symlink("busybox", link).unwrap();
        }
    }
    executor(
        machine,
        &["--context", files.to_str().unwrap(), "--destination", &name],
    )
    .succeeds();
    name
}

fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path).unwrap()
}
