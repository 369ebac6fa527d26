//! What all buildpacks made together: `config/metadata.toml` and the legacy bill of materials.

use std::collections::BTreeMap;
use std::path::Path;

use lifecycle_spec::{BomEntry, GroupToml, MetadataToml, ModuleInfo, PlatformApi, Process};

use super::BuildError;
use super::contribution::Contribution;
use crate::contributed::signed;
use crate::modules::Module;
use crate::{FileError, Reporter, files};

/// The contributions so far.
#[derive(Debug)]
pub(crate) struct Results {
    api: PlatformApi,
    metadata: MetadataToml,
    /// By type: the last process of a type wins (LCH-02), and the order is the same every time (BLD-04).
    processes: BTreeMap<String, Process>,
    launch_bom: Vec<BomEntry>,
    build_bom: Vec<BomEntry>,
}

impl Results {
    pub(crate) fn new(api: PlatformApi) -> Self {
        Self {
            api,
            metadata: MetadataToml::default(),
            processes: BTreeMap::new(),
            launch_bom: Vec::new(),
            build_bom: Vec::new(),
        }
    }

    /// Adds what one more buildpack contributed.
    pub(crate) fn add(&mut self, module: &Module, contribution: Contribution, reporter: &dyn Reporter) {
        let Contribution { launch, build, .. } = contribution;
        let ModuleInfo { id, version, .. } = &module.info;
        self.metadata.labels.extend(launch.labels);
        self.metadata.slices.extend(launch.slices);
        self.launch_bom
            .extend(launch.bom.into_iter().map(|entry| signed(entry, id, version)));
        self.build_bom
            .extend(build.bom.into_iter().map(|entry| signed(entry, id, version)));
        for process in launch.processes {
            let process_type = process.process_type.to_string();
            if process.default {
                self.metadata.default_process = Some(process_type.clone());
            } else if self.metadata.default_process.as_deref() == Some(&process_type) {
                reporter.warning(&format!(
                    "redefining the following default process type with a process not marked as default: {process_type}"
                ));
                self.metadata.default_process = None;
            }
            let process = Process {
                process_type: process_type.clone(),
                command: process.command,
                args: process.args,
                direct: process.direct,
                buildpack_id: Some(module.info.id.to_string()),
                working_dir: process.working_dir,
                exec_env: process.exec_env,
            };
            self.processes.insert(process_type, process);
        }
    }

    /// All of it, with the group it comes from. Writes the legacy bill of materials where it has a file of its own
    /// (BTM-02).
    pub(crate) fn finish(self, layers: &Path, group: &GroupToml) -> Result<MetadataToml, BuildError> {
        let Self {
            api,
            mut metadata,
            processes,
            launch_bom,
            build_bom,
        } = self;
        metadata.processes = processes.into_values().collect();
        metadata.buildpacks.clone_from(&group.buildpacks);
        metadata.extensions.clone_from(&group.extensions);
        if api.has_legacy_bom_in_metadata() {
            metadata.bom = launch_bom;
            return Ok(metadata);
        }
        for (tree, bom) in [("launch", launch_bom), ("build", build_bom)] {
            let path = layers.join("sbom").join(tree).join("sbom.legacy.json");
            files::write(&path, &legacy_json(&bom)).map_err(FileError::from)?;
        }
        Ok(metadata)
    }
}

/// The list as the reference writes it: `null` when it is empty, and a newline (lifecycle.md 3.2).
fn legacy_json(bom: &[BomEntry]) -> String {
    let entries = (!bom.is_empty()).then_some(bom);
    // Names and tables of TOML have a JSON form, all of them.
    serde_json::to_string(&entries).unwrap_or_default() + "\n"
}
