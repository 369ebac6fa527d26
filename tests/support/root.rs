//! A builder's root file system, as a pod or a container sees it.

use std::fs;
use std::path::{Path, PathBuf};

use super::accounts::is_root;
use super::executable::copy_program;
use super::{Invocation, Machine, images};

/// The root file system of the small builder, unpacked.
#[derive(Debug)]
pub(crate) struct BuilderRoot {
    /// Its directory, below the machine's.
    pub(crate) path: PathBuf,
}

impl BuilderRoot {
    /// Unpacks the small builder, which holds the program under the names of the phases.
    pub(crate) fn unpack(machine: &Machine) -> Self {
        let layout = machine.path("builder-layout");
        let shared = Machine::with_builder();
        let to = format!("oci:{}", layout.display());
        shared
            .lifecycle(&["copy", &format!("store:{}", images::BUILDER), &to])
            .succeeds();
        let path = machine.path("root");
        fs::create_dir(&path).unwrap();
        // A builder's layers remove nothing, so that unpacking them in order gives its root.
        let script = r#"
            manifest=$(jq -r '.manifests[0].digest' "$1/index.json")
            for layer in $(jq -r '.layers[].digest' "$1/blobs/sha256/${manifest#sha256:}"); do
                tar -x --numeric-owner --same-owner -p -C "$2" -f "$1/blobs/sha256/${layer#sha256:}"
            done"#;
        let words = [
            "sh",
            "-e",
            "-c",
            script,
            "sh",
            layout.to_str().unwrap(),
            path.to_str().unwrap(),
        ];
        let unpacked = as_root(Invocation::new(words[0], &words[1..]));
        unpacked.succeeds();
        Self { path }
    }

    /// A directory of the root from outside.
    pub(crate) fn at(&self, path: &str) -> PathBuf {
        self.path.join(path.trim_start_matches('/'))
    }

    /// Runs a shell script as root inside, to lay files out.
    pub(crate) fn prepare(&self, script: &str) {
        self.as_root(&["/bin/sh", "-e", "-c", script])
            .env("PATH", "/bin")
            .succeeds();
    }

    /// Copies a directory of this machine into the root.
    pub(crate) fn bring(&self, from: &Path, to: &str) {
        let (from, to) = (from.to_str().unwrap(), self.at(to));
        as_root(Invocation::new("cp", &["-a", from, to.to_str().unwrap()])).succeeds();
    }

    /// A program inside, as root, as a container runtime starts it.
    pub(crate) fn as_root(&self, words: &[&str]) -> Invocation {
        self.inside(r#"exec /usr/sbin/chroot "$root" "$@""#, words)
    }

    /// The same with devices of its own, for programs that may remove what they find.
    pub(crate) fn as_root_apart(&self, words: &[&str]) -> Invocation {
        let enter = r#"
            /bin/mount -t tmpfs none "$root/dev"
            for device in null zero random urandom; do
                : >"$root/dev/$device"; /bin/mount --bind "/dev/$device" "$root/dev/$device"
            done
            exec /usr/sbin/chroot "$root" "$@""#;
        self.inside(enter, words)
    }

    /// A program inside, as the builder's user, without a capability or a way to get one: a restricted pod.
    pub(crate) fn as_user(&self, words: &[&str]) -> Invocation {
        // What chroot needs to get in as somebody else is gone with the change of the user.
        let enter = r#"
            exec /usr/bin/setpriv --no-new-privs --inh-caps=-all --bounding-set=-all,+setuid,+setgid,+sys_chroot -- \
                /usr/sbin/chroot --userspec=1000:1000 --groups= "$root" "$@""#;
        self.inside(enter, words)
    }

    fn inside(&self, enter: &str, words: &[&str]) -> Invocation {
        inside(&self.path, enter, words)
    }
}

/// Runs `enter` where the devices and processes of this machine are mounted in the root, as in a container. The script
/// names programs by their paths, because `PATH` is the one for the inside.
fn inside(root: &Path, enter: &str, words: &[&str]) -> Invocation {
    let mounts =
        r#"root=$1; shift; /bin/mount --rbind /dev "$root/dev"; /bin/mount --rbind /proc "$root/proc";"#;
    let script = format!("{mounts} {enter}");
    let arguments = ["--mount", "sh", "-e", "-c", &script, "sh", root.to_str().unwrap()];
    as_root(Invocation::new("unshare", &[&arguments[..], words].concat()).env("HOME", "/"))
}

/// The root file system of the executor image, as far as a job sees it (dist/ makes the image).
#[derive(Debug)]
pub(crate) struct ExecutorRoot {
    path: PathBuf,
}

impl ExecutorRoot {
    /// Lays the program and its directories out.
    pub(crate) fn new(machine: &Machine) -> Self {
        let path = machine.path("executor-root");
        for directory in [
            "kaniko/.docker",
            "kaniko/store",
            "workspace",
            "tmp",
            "etc",
            "dev",
            "proc",
            "root",
        ] {
            fs::create_dir_all(path.join(directory)).unwrap();
        }
        copy_program(env!("CARGO_BIN_EXE_lifecycle"), path.join("kaniko/executor"));
        fs::write(path.join("etc/passwd"), "root:x:0:0:root:/root:/sbin/nologin\n").unwrap();
        Self { path }
    }

    /// A path of the root from outside.
    pub(crate) fn at(&self, path: &str) -> PathBuf {
        self.path.join(path.trim_start_matches('/'))
    }

    /// `executor` as root of a pod: no capability to mount, and no user namespace, which no chroot can have.
    pub(crate) fn executor(&self, words: &[&str]) -> Invocation {
        let enter = r#"
            exec /usr/bin/setpriv --inh-caps=-sys_admin --bounding-set=-sys_admin -- /usr/sbin/chroot "$root" "$@""#;
        let words = [&["/kaniko/executor"], words].concat();
        inside(&self.path, enter, &words)
            .env("HOME", "/root")
            .env("DOCKER_CONFIG", "/kaniko/.docker/")
            .env("LIFECYCLE_STORE", "/kaniko/store")
    }
}

/// As root of this machine, or of a user namespace.
pub(crate) fn as_root(invocation: Invocation) -> Invocation {
    if is_root() {
        return invocation;
    }
    invocation.under(&["unshare", "--user", "--map-root-user", "--map-auto", "--"])
}
