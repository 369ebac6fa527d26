//! `RUN --device`: devices of the host, as the files of the Container Device Interface describe them (I16).
//!
//! A specification lists the devices of one kind, `vendor.com/class`, and what a process needs to use each: nodes, files,
//! variables, groups (CNCF Container Device Interface 1.0). Whoever administers the machine writes these files, so their
//! paths are trusted; who may use the devices is asked of whoever builds, unless the specification says that anybody may.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use lifecycle_dockerfile::Device as Wish;
use serde::Deserialize;

use crate::error::StepError;
use crate::options::Entitlements;

/// The annotation of a device that every build may use.
const FOR_ALL: &str = "org.mobyproject.buildkit.device.autoallow";
/// The annotation that names a class across vendors.
const CLASS: &str = "org.mobyproject.buildkit.device.class";
/// No specification is as large as this, in bytes.
const LARGEST_SPECIFICATION: u64 = 4 << 20;

/// What the commands of one RUN need for their devices.
#[derive(Debug, Default)]
pub(super) struct Edits {
    /// `NAME=VALUE`.
    pub(super) environment: Vec<(String, String)>,
    pub(super) files: Vec<File>,
    pub(super) groups: Vec<u32>,
}

/// Something of the host at a path of the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct File {
    pub(super) host: PathBuf,
    pub(super) target: String,
    pub(super) is_read_only: bool,
    /// A device node, which is of no use where devices are switched off.
    pub(super) is_device: bool,
}

/// Finds the devices that an instruction asks for, and refuses those that it may not have.
pub(super) fn find(
    wishes: &[Wish],
    directories: &[PathBuf],
    allow: &Entitlements,
) -> Result<Edits, StepError> {
    let mut edits = Edits::default();
    if wishes.is_empty() {
        return Ok(edits);
    }
    let known = read(directories)?;
    let mut chosen: BTreeMap<String, &Known> = BTreeMap::new();
    for wish in wishes {
        let found = matching(&known, &wish.name);
        if found.is_empty() && wish.required {
            return Err(StepError::Device {
                name: wish.name.clone(),
                reason: format!("no file in {} describes it", list(directories)),
            });
        }
        for (name, device) in found {
            if !device.is_for_all && !allow.devices.allows(&wish.name, name) {
                let what = format!("device {name}");
                let entitlement = format!("device={name}");
                return Err(StepError::NotAllowed { what, entitlement });
            }
            chosen.insert(name.clone(), device);
        }
    }
    // What concerns all devices of a file is done once.
    let mut files: Vec<&Path> = Vec::new();
    for (name, device) in chosen {
        if !files.contains(&device.file.as_path()) {
            files.push(&device.file);
            edits.add(&device.common, &name)?;
        }
        edits.add(&device.own, &name)?;
    }
    Ok(edits)
}

/// A device that a specification describes.
#[derive(Debug)]
struct Known {
    file: PathBuf,
    class: Option<String>,
    is_for_all: bool,
    common: ContainerEdits,
    own: ContainerEdits,
}

/// The devices with the name `vendor/class=name`, all with `vendor/class=*`, the first with `vendor/class`, and all of
/// a class across vendors with a word.
fn matching<'a>(known: &'a BTreeMap<String, Known>, wish: &str) -> Vec<(&'a String, &'a Known)> {
    let of_kind = |kind: &str| {
        let start = format!("{kind}=");
        known.iter().filter(move |(name, _)| name.starts_with(&start))
    };
    match wish.split_once('=') {
        Some((kind, "*")) => of_kind(kind).collect(),
        Some(_) => known.get_key_value(wish).into_iter().collect(),
        None if wish.contains('/') => of_kind(wish).next().into_iter().collect(),
        None => known
            .iter()
            .filter(|(_, device)| device.class.as_deref() == Some(wish))
            .collect(),
    }
}

/// Reads all specifications. A later directory goes before an earlier one; within one, a name may stand only once.
fn read(directories: &[PathBuf]) -> Result<BTreeMap<String, Known>, StepError> {
    let mut known = BTreeMap::new();
    for directory in directories {
        let mut here: BTreeMap<String, Known> = BTreeMap::new();
        for file in specifications(directory)? {
            for (name, device) in devices(&file)? {
                if let Some(other) = here.get(&name) {
                    let reason = format!("{} describes it, too", other.file.display());
                    return Err(invalid(&file, format!("{name}: {reason}")));
                }
                here.insert(name, device);
            }
        }
        known.extend(here);
    }
    Ok(known)
}

/// The files of a directory that are specifications by their names, sorted. A directory that is not there has none.
fn specifications(directory: &Path) -> Result<Vec<PathBuf>, StepError> {
    let failed = || StepError::io(format!("read {}", directory.display()));
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed()(error)),
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(failed())?.path();
        let is_specification = path
            .extension()
            .is_some_and(|extension| extension == "json" || extension == "yaml" || extension == "yml");
        if is_specification {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// The devices of one file, by their full names.
fn devices(file: &Path) -> Result<Vec<(String, Known)>, StepError> {
    let failed = || StepError::io(format!("read {}", file.display()));
    if fs::metadata(file).map_err(failed())?.len() > LARGEST_SPECIFICATION {
        return Err(invalid(file, "it is too large to be a specification"));
    }
    // JSON is YAML.
    let text = fs::read_to_string(file).map_err(failed())?;
    let specification: Specification = serde_saphyr::from_str(&text).map_err(|cause| invalid(file, cause))?;
    let Specification {
        kind,
        annotations,
        container_edits,
        devices,
        ..
    } = specification;
    if !kind.contains('/') || kind.contains('=') {
        return Err(invalid(
            file,
            format!("kind: {kind:?} is not of the form vendor/class"),
        ));
    }
    let known = |device: Device| {
        let annotation = |name| device.annotations.get(name).or_else(|| annotations.get(name));
        let known = Known {
            file: file.to_owned(),
            class: annotation(CLASS).cloned(),
            is_for_all: annotation(FOR_ALL).is_some_and(|value| value == "true"),
            common: container_edits.clone(),
            own: device.container_edits.clone(),
        };
        (format!("{kind}={}", device.name), known)
    };
    Ok(devices.into_iter().map(known).collect())
}

fn invalid(file: &Path, why: impl ToString) -> StepError {
    StepError::Specification {
        file: file.display().to_string(),
        why: why.to_string(),
    }
}

fn list(directories: &[PathBuf]) -> String {
    let names: Vec<String> = directories
        .iter()
        .map(|directory| directory.display().to_string())
        .collect();
    names.join(" or ")
}

impl Edits {
    fn add(&mut self, edits: &ContainerEdits, name: &str) -> Result<(), StepError> {
        let unsupported = |reason: String| StepError::Device {
            name: name.to_owned(),
            reason,
        };
        if let Some(hook) = edits.hooks.first() {
            return Err(unsupported(format!(
                "it wants the program {} run on the host, which no build does",
                hook.path.display()
            )));
        }
        if edits.intel_rdt.is_some() || !edits.net_devices.is_empty() {
            return Err(unsupported(
                "it wants network interfaces or a share of the processor's cache, which builds are not given"
                    .to_owned(),
            ));
        }
        for variable in &edits.env {
            let (name, value) = variable
                .split_once('=')
                .ok_or_else(|| unsupported(format!("env: {variable:?} is not of the form NAME=VALUE")))?;
            self.environment.push((name.to_owned(), value.to_owned()));
        }
        for node in &edits.device_nodes {
            self.files.push(File {
                host: node
                    .host_path
                    .clone()
                    .unwrap_or_else(|| PathBuf::from(&node.path)),
                target: node.path.clone(),
                is_read_only: false,
                is_device: true,
            });
        }
        for mount in &edits.mounts {
            if !matches!(mount.kind.as_deref(), None | Some("" | "none" | "bind")) {
                return Err(unsupported(format!(
                    "the mount at {} is not of files of the host",
                    mount.container_path
                )));
            }
            self.files.push(File {
                host: mount.host_path.clone(),
                target: mount.container_path.clone(),
                is_read_only: mount.options.iter().any(|option| option == "ro"),
                is_device: false,
            });
        }
        self.groups.extend(&edits.additional_gids);
        Ok(())
    }
}

/// A file of the Container Device Interface. A field that is not known may be one that a device cannot do without, so
/// it is an error.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Specification {
    #[serde(rename = "cdiVersion")]
    _version: String,
    kind: String,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
    #[serde(default)]
    container_edits: ContainerEdits,
    devices: Vec<Device>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Device {
    name: String,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
    #[serde(default)]
    container_edits: ContainerEdits,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct ContainerEdits {
    env: Vec<String>,
    device_nodes: Vec<DeviceNode>,
    mounts: Vec<Mount>,
    hooks: Vec<Hook>,
    additional_gids: Vec<u32>,
    intel_rdt: Option<serde_json::Value>,
    net_devices: Vec<serde_json::Value>,
}

/// A node. The host's is shown, with its own numbers, mode and owner: making another takes a privilege that builds do
/// not have.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct DeviceNode {
    path: String,
    host_path: Option<PathBuf>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Mount {
    host_path: PathBuf,
    container_path: String,
    #[serde(default)]
    options: Vec<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
struct Hook {
    path: PathBuf,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::DeviceEntitlement;

    fn wish(name: &str, required: bool) -> Wish {
        Wish {
            name: name.to_owned(),
            required,
        }
    }

    /// A directory with these specifications.
    fn specifications(files: &[(&str, &str)]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(directory.path().join(name), text).unwrap();
        }
        directory
    }

    fn found(directory: &tempfile::TempDir, name: &str) -> Result<Edits, String> {
        let allow = Entitlements {
            devices: DeviceEntitlement::All,
            ..Entitlements::default()
        };
        find(&[wish(name, true)], &[directory.path().to_owned()], &allow).map_err(|error| error.to_string())
    }

    fn targets(edits: &Edits) -> Vec<&str> {
        edits.files.iter().map(|file| file.target.as_str()).collect()
    }

    const SPECIFICATION: &str = r#"
cdiVersion: "0.6.0"
kind: vendor.example/gpu
annotations: {org.mobyproject.buildkit.device.class: gpu}
containerEdits:
  env: ["COMMON=yes"]
  mounts: [{hostPath: /opt/driver, containerPath: /usr/lib/driver, options: [ro, nosuid, bind]}]
devices:
- name: "0"
  containerEdits: {deviceNodes: [{path: /dev/gpu0, hostPath: /dev/null, permissions: rw}], additionalGids: [44]}
- name: "1"
  annotations: {org.mobyproject.buildkit.device.autoallow: "true"}
  containerEdits: {deviceNodes: [{path: /dev/gpu1}], env: [SECOND=a=b]}
"#;

    #[test]
    fn a_device_is_found_by_name_kind_class_and_star_i16() {
        let directory = specifications(&[("gpu.yaml", SPECIFICATION), ("README", "not a specification")]);
        let first = ["/usr/lib/driver", "/dev/gpu0"];
        let all = ["/usr/lib/driver", "/dev/gpu0", "/dev/gpu1"];
        for (name, expected) in [
            ("vendor.example/gpu=0", &first[..]),
            ("vendor.example/gpu", &first),
            ("vendor.example/gpu=*", &all),
            ("gpu", &all),
        ] {
            assert_eq!(targets(&found(&directory, name).unwrap()), expected, "{name}");
        }
        let edits = found(&directory, "gpu").unwrap();
        let variables = [("COMMON", "yes"), ("SECOND", "a=b")];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(edits.environment, variables);
        assert_eq!(edits.groups, [44]);
        assert!(edits.files[0].is_read_only && !edits.files[0].is_device);
        assert_eq!(edits.files[1].host, Path::new("/dev/null"));
        assert_eq!(edits.files[2].host, Path::new("/dev/gpu1"));
    }

    #[test]
    fn what_is_not_there_is_missed_only_when_required_i16() {
        let directory = specifications(&[("gpu.yaml", SPECIFICATION)]);
        for name in ["vendor.example/gpu=7", "vendor.example/fpga", "fpga"] {
            let message = found(&directory, name).unwrap_err();
            assert!(
                message.contains(name) && message.contains("describes it"),
                "{message}"
            );
            let paths = [directory.path().to_owned(), PathBuf::from("/there/is/none")];
            let edits = find(&[wish(name, false)], &paths, &Entitlements::default()).unwrap();
            assert!(edits.files.is_empty());
        }
    }

    #[test]
    fn a_device_needs_permission_of_the_user_or_of_its_specification_i16() {
        let directory = specifications(&[("gpu.yaml", SPECIFICATION)]);
        let ask = |name: &str, devices: DeviceEntitlement| {
            let allow = Entitlements {
                devices,
                ..Entitlements::default()
            };
            find(&[wish(name, true)], &[directory.path().to_owned()], &allow)
                .map_err(|error| error.to_string())
        };
        let none = || DeviceEntitlement::default();
        let these =
            |names: &[&str]| DeviceEntitlement::These(names.iter().map(|name| (*name).to_owned()).collect());
        assert_eq!(
            ask("gpu", none()).unwrap_err(),
            "device vendor.example/gpu=0 is not allowed"
        );
        ask("vendor.example/gpu=1", none()).unwrap();
        ask("gpu", these(&["gpu"])).unwrap();
        ask("gpu", these(&["vendor.example/gpu"])).unwrap();
        ask("gpu", these(&["vendor.example/gpu=0"])).unwrap();
        ask("gpu", these(&["vendor.example/gpu=1"])).unwrap_err();
        ask("vendor.example/gpu=0", these(&["vendor.example/g"])).unwrap_err();
    }

    #[test]
    fn a_later_directory_goes_before_an_earlier_one_i16() {
        let one = specifications(&[("gpu.yaml", SPECIFICATION)]);
        let other = r#"{"cdiVersion": "0.6.0", "kind": "vendor.example/gpu", "devices":
            [{"name": "0", "containerEdits": {"deviceNodes": [{"path": "/dev/other"}]}}]}"#;
        let two = specifications(&[("gpu.json", other)]);
        let allow = Entitlements {
            devices: DeviceEntitlement::All,
            ..Entitlements::default()
        };
        let paths = [one.path().to_owned(), two.path().to_owned()];
        let edits = find(&[wish("vendor.example/gpu=0", true)], &paths, &allow).unwrap();
        assert_eq!(targets(&edits), ["/dev/other"]);
        let both = specifications(&[("a.yaml", SPECIFICATION), ("b.json", other)]);
        let message = found(&both, "vendor.example/gpu=1").unwrap_err();
        assert!(
            message.contains("b.json") && message.contains("a.yaml"),
            "{message}"
        );
    }

    #[test]
    fn a_specification_that_asks_for_more_is_refused_i16() {
        let with = |edits: &str| {
            let text =
                format!("cdiVersion: 0.6.0\nkind: a.b/c\ndevices: [{{name: x, containerEdits: {edits}}}]\n");
            found(&specifications(&[("x.yaml", &text)]), "a.b/c=x").unwrap_err()
        };
        let hook = with("{hooks: [{hookName: createContainer, path: /usr/bin/tool}]}");
        assert!(hook.contains("/usr/bin/tool"), "{hook}");
        assert!(with("{intelRdt: {closID: x}}").contains("cache"));
        assert!(with("{env: [NOTHING]}").contains("NOTHING"));
        assert!(with("{mounts: [{hostPath: a, containerPath: /a, type: tmpfs}]}").contains("/a"));
        let unknown = with("{newField: 1}");
        assert!(
            unknown.contains("x.yaml") && unknown.contains("newField"),
            "{unknown}"
        );
        let kind = found(
            &specifications(&[("k.yaml", "cdiVersion: 1\nkind: c\ndevices: []\n")]),
            "c",
        )
        .unwrap_err();
        assert!(kind.contains("vendor/class"), "{kind}");
    }
}
