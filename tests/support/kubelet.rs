//! A kubelet of one pod: carries out the containers of a Job's manifest, one after the other, as `enter_pod.py` makes each a
//! process with the user, capabilities, system-call filter, memory and file systems that the manifest asks for.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use super::{Finished, Invocation};

/// What runtimes grant containers that drop nothing.
const DEFAULT_CAPABILITIES: [u8; 14] = [0, 1, 3, 4, 5, 6, 7, 8, 10, 13, 18, 27, 29, 31];
/// The kernel's names of capabilities, by number.
const CAPABILITIES: [&str; 32] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
];
/// The flags of `clone` that make namespaces.
const NAMESPACES: u64 = 0x7e02_0000;
const AF_VSOCK: u64 = 40;

/// Whether these tests can play the kubelet: only root can.
pub(crate) fn is_possible() -> bool {
    let can = super::accounts::is_root();
    if !can {
        println!("skipped: only root can make the containers of a pod");
    }
    can
}

/// What a namespace and a node impose on every pod.
#[derive(Debug, Clone, Default)]
pub(crate) struct Imposed {
    /// The user of pods, in place of the manifest's, as some distributions give each namespace its own.
    pub(crate) user: Option<u32>,
    /// The memory of each container.
    pub(crate) memory: Option<u64>,
    /// The room of the volume that a step has at a path.
    pub(crate) room: Option<(&'static str, &'static str, u64)>,
}

/// A node with one pod.
#[derive(Debug)]
pub(crate) struct Kubelet {
    directory: PathBuf,
    /// The root file systems of images, by their names.
    images: BTreeMap<String, PathBuf>,
    imposed: Imposed,
}

/// How a container ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) step: String,
    pub(crate) finished: Finished,
    /// Its termination message.
    pub(crate) message: String,
}

impl Kubelet {
    pub(crate) fn new(directory: &Path, imposed: Imposed) -> Self {
        fs::create_dir_all(directory).unwrap();
        Self {
            directory: directory.to_owned(),
            images: BTreeMap::new(),
            imposed,
        }
    }

    /// Gives an image its root file system.
    pub(crate) fn image(mut self, name: &str, root: &Path) -> Self {
        self.images.insert(name.to_owned(), root.to_owned());
        self
    }

    /// Carries out all containers of a Job, up to the first that fails.
    pub(crate) fn run(&self, objects: &[Value]) -> Vec<Ended> {
        let job = objects.iter().find(|object| object["kind"] == "Job").unwrap();
        let pod = &job["spec"]["template"]["spec"];
        let mut ended = Vec::new();
        for key in ["initContainers", "containers"] {
            for container in pod[key].as_array().into_iter().flatten() {
                let message = self.directory.join("termination-log");
                fs::write(&message, "").unwrap();
                fs::set_permissions(&message, fs::Permissions::from_mode(0o666)).unwrap();
                let finished = self.container(pod, container, objects, &message).run();
                let is_over = !finished.status().success();
                ended.push(Ended {
                    step: container["name"].as_str().unwrap().to_owned(),
                    finished,
                    message: fs::read_to_string(&message).unwrap(),
                });
                if is_over {
                    return ended;
                }
            }
        }
        ended
    }

    /// One container, ready to start.
    pub(crate) fn container(
        &self,
        pod: &Value,
        container: &Value,
        objects: &[Value],
        message: &Path,
    ) -> Invocation {
        let root = &self.images[container["image"].as_str().unwrap()];
        let own = &container["securityContext"];
        let of_pod = &pod["securityContext"];
        let id = |key: &str| {
            let value = if own[key].is_null() {
                &of_pod[key]
            } else {
                &own[key]
            };
            u32::try_from(value.as_u64().unwrap()).unwrap()
        };
        let (mut uid, mut gid) = (id("runAsUser"), id("runAsGroup"));
        let group = u32::try_from(of_pod["fsGroup"].as_u64().unwrap()).unwrap();
        if let Some(user) = self.imposed.user.filter(|_| uid != 0) {
            (uid, gid) = (user, 0);
        }
        let of = |what: &str| capabilities_named(&own["capabilities"][what]);
        let drops_all = own["capabilities"]["drop"][0] == "ALL";
        let mut capabilities = if drops_all {
            Vec::new()
        } else {
            DEFAULT_CAPABILITIES.to_vec()
        };
        capabilities.retain(|number| !of("drop").contains(number));
        capabilities.extend(of("add"));
        let mut mounts = self.mounts(pod, container, objects, group);
        for device in ["null", "zero", "full", "random", "urandom", "tty"] {
            mounts.push(json!([format!("/dev/{device}"), format!("/dev/{device}"), "rw"]));
        }
        mounts.push(json!([message, "/dev/termination-log", "rw"]));
        let memory = self.directory.join("shm");
        fs::create_dir_all(&memory).unwrap();
        fs::set_permissions(&memory, fs::Permissions::from_mode(0o1777)).unwrap();
        mounts.push(json!([memory, "/dev/shm", "rw"]));
        for mount in &mounts {
            make_point(
                root,
                mount[1].as_str().unwrap(),
                Path::new(mount[0].as_str().unwrap()).is_dir(),
            );
        }
        for point in ["/proc", "/sys/fs/cgroup/memory"] {
            make_point(root, point, true);
        }
        let mut env = serde_json::Map::new();
        env.insert("PATH".to_owned(), json!("/bin:/usr/bin"));
        env.insert("KUBERNETES_SERVICE_HOST".to_owned(), json!("10.0.0.1"));
        // What a builder's image sets.
        if root.join("cnb").is_dir() {
            env.insert("CNB_USER_ID".to_owned(), json!("1000"));
            env.insert("CNB_GROUP_ID".to_owned(), json!("1000"));
        }
        for variable in container["env"].as_array().into_iter().flatten() {
            let reference = &variable["valueFrom"]["secretKeyRef"];
            let value = if reference.is_object() {
                let secret = secret_named(objects, reference["name"].as_str().unwrap());
                let bytes = value_of(secret, reference["key"].as_str().unwrap());
                json!(String::from_utf8(bytes).unwrap())
            } else {
                variable["value"].clone()
            };
            env.insert(variable["name"].as_str().unwrap().to_owned(), value);
        }
        let directory = container["workingDir"].as_str().unwrap_or("/");
        let profile = if own["seccompProfile"].is_null() {
            &of_pod["seccompProfile"]
        } else {
            &own["seccompProfile"]
        };
        // With CAP_SYS_ADMIN the published profile allows what it guards: mount, unshare, setns and the like.
        let filters = if profile["type"] == "Unconfined" || capabilities.contains(&number_of("SYS_ADMIN")) {
            Vec::new()
        } else if capabilities.contains(&number_of("SYS_CHROOT")) {
            runtime_default(&["chroot"])
        } else {
            runtime_default(&[])
        };
        let room = self.imposed.room.filter(|(step, ..)| container["name"] == *step);
        let room = room.map(|(_, path, bytes)| json!([path, bytes]));
        let specification = json!({
            "root": root, "mounts": mounts, "readOnly": own["readOnlyRootFilesystem"] == true,
            "masksProc": own["procMount"] != "Unmasked", "ownUsers": pod["hostUsers"] == false,
            "uid": uid, "gid": gid, "groups": [group], "capabilities": capabilities,
            "noNewPrivileges": own["allowPrivilegeEscalation"] == false,
            "filters": filters, "memory": self.imposed.memory, "room": room, "directory": directory, "env": env,
        });
        let words = container["command"].as_array().unwrap().iter();
        let words: Vec<&str> = words.map(|word| word.as_str().unwrap()).collect();
        let enter = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/enter_pod.py");
        let specification = specification.to_string();
        let arguments = ["--mount", "python3", enter, &specification];
        Invocation::new("unshare", &[&arguments[..], &words].concat())
    }

    /// The volumes that a container sees: source, target, and whether it may write.
    fn mounts(&self, pod: &Value, container: &Value, objects: &[Value], group: u32) -> Vec<Value> {
        let volumes = pod["volumes"].as_array().unwrap();
        let mount = |mount: &Value| {
            let volume = volumes
                .iter()
                .find(|volume| volume["name"] == mount["name"])
                .unwrap();
            let mut source = self.volume(volume, objects, group);
            if let Some(below) = mount["subPath"].as_str() {
                source = source.join(below);
                make_shared(&source, group);
            }
            let mode = if mount["readOnly"] == true { "ro" } else { "rw" };
            json!([source, mount["mountPath"], mode])
        };
        container["volumeMounts"]
            .as_array()
            .into_iter()
            .flatten()
            .map(mount)
            .collect()
    }

    fn volume(&self, volume: &Value, objects: &[Value], group: u32) -> PathBuf {
        let at = self.directory.join(volume["name"].as_str().unwrap());
        let secret = if volume["secret"].is_object() {
            let source = &volume["secret"];
            Some((source["secretName"].as_str().unwrap(), &source["items"]))
        } else {
            let source = &volume["projected"]["sources"][0]["secret"];
            source["name"].as_str().map(|name| (name, &source["items"]))
        };
        let Some((name, items)) = secret else {
            make_shared(&at, group);
            return at;
        };
        // As the kubelet lays them out: every file is a link through a link, so that all change at once.
        if at.exists() {
            fs::remove_dir_all(&at).unwrap();
        }
        let data = at.join("..2026_01_01");
        fs::create_dir_all(&data).unwrap();
        std::os::unix::fs::symlink("..2026_01_01", at.join("..data")).unwrap();
        let secret = secret_named(objects, name);
        for item in items.as_array().unwrap() {
            let path = item["path"].as_str().unwrap();
            fs::write(data.join(path), value_of(secret, item["key"].as_str().unwrap())).unwrap();
            fs::set_permissions(data.join(path), fs::Permissions::from_mode(0o440)).unwrap();
            chown(data.join(path), Some(0), Some(group)).unwrap();
            std::os::unix::fs::symlink(format!("..data/{path}"), at.join(path)).unwrap();
        }
        at
    }
}

fn secret_named<'a>(objects: &'a [Value], name: &str) -> &'a Value {
    let is_it = |object: &&Value| object["kind"] == "Secret" && object["metadata"]["name"] == name;
    let found = objects.iter().find(is_it);
    found.unwrap_or_else(|| panic!("there is no Secret {name}"))
}

fn value_of(secret: &Value, key: &str) -> Vec<u8> {
    BASE64_STANDARD
        .decode(secret["data"][key].as_str().unwrap())
        .unwrap()
}

fn number_of(capability: &str) -> u8 {
    let at = CAPABILITIES.iter().position(|name| *name == capability);
    u8::try_from(at.unwrap_or_else(|| panic!("there is no capability {capability}"))).unwrap()
}

/// The numbers of a list of capabilities in a manifest, `ALL` apart.
fn capabilities_named(list: &Value) -> Vec<u8> {
    let names = list
        .as_array()
        .into_iter()
        .flatten()
        .map(|name| name.as_str().unwrap());
    names.filter(|name| *name != "ALL").map(number_of).collect()
}

/// A directory as the kubelet makes it for a pod with a group: root's, open to the group, and its files stay the group's.
fn make_shared(path: &Path, group: u32) {
    if !path.exists() {
        fs::create_dir_all(path).unwrap();
        chown(path, Some(0), Some(group)).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o2777)).unwrap();
    }
}

fn make_point(root: &Path, path: &str, is_directory: bool) {
    let at = root.join(path.trim_start_matches('/'));
    if at.symlink_metadata().is_ok() {
        return;
    }
    fs::create_dir_all(at.parent().unwrap()).unwrap();
    if is_directory {
        fs::create_dir(&at).unwrap();
    } else {
        fs::write(&at, "").unwrap();
    }
}

/// The runtimes' profile as programs for the kernel, the first to be installed first.
fn runtime_default(more: &[&str]) -> Vec<PathBuf> {
    static DIRECTORY: OnceLock<tempfile::TempDir> = OnceLock::new();
    let directory = DIRECTORY.get_or_init(|| tempfile::tempdir().unwrap());
    let list = include_str!("../fixtures/seccomp/runtime-default");
    let names = list
        .lines()
        .filter(|line| !line.starts_with('#'))
        .chain(more.iter().copied());
    let mut rules: Vec<Value> = names.map(|name| json!({ "syscall": name })).collect();
    let argument =
        |index: u8, op: Value, value: u64| json!({"index": index, "type": "dword", "op": op, "val": value});
    rules.push(json!({"syscall": "clone", "args": [argument(0, json!({"masked_eq": NAMESPACES}), 0)]}));
    rules.push(json!({"syscall": "socket", "args": [argument(0, json!("ne"), AF_VSOCK)]}));
    for personality in [0, 8, 0x20000, 0x20008, 0xffff_ffff] {
        rules.push(json!({"syscall": "personality", "args": [argument(0, json!("eq"), personality)]}));
    }
    // Decided by the second program.
    rules.push(json!({"syscall": "clone3"}));
    let profile = json!({
        "list": {"mismatch_action": {"errno": 1}, "match_action": "allow", "filter": rules},
    });
    let clone3 = json!({
        "list": {"mismatch_action": "allow", "match_action": {"errno": 38}, "filter": [{"syscall": "clone3"}]},
    });
    let compile = |(number, profile): (usize, Value)| {
        let architecture = std::env::consts::ARCH.try_into().unwrap();
        let programs = seccompiler::compile_from_json(profile.to_string().as_bytes(), architecture).unwrap();
        let bytes: Vec<u8> = programs["list"]
            .iter()
            .flat_map(|step| {
                let mut bytes = step.code.to_ne_bytes().to_vec();
                bytes.extend([step.jt, step.jf]);
                bytes.extend(step.k.to_ne_bytes());
                bytes
            })
            .collect();
        let path = directory.path().join(format!("{number}-{}", more.join("-")));
        // Other pods may be reading the same.
        let made = tempfile::NamedTempFile::new_in(directory).unwrap();
        fs::write(&made, bytes).unwrap();
        made.persist(&path).unwrap();
        path
    };
    [profile, clone3].into_iter().enumerate().map(compile).collect()
}
