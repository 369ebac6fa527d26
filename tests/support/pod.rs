//! A builder's root with an app, and a registry with its run image: what platforms give to phases.

use std::fs;
use std::path::Path;

use lifecycle_image::layout::Layout;
use lifecycle_image::{Artifact, Image};

use super::images::RUN;
use super::{BuilderRoot, Invocation, Machine, Registry};

/// A builder's root with an app, and a registry with the run image.
#[derive(Debug)]
pub(crate) struct Pod {
    pub(crate) machine: Machine,
    pub(crate) root: BuilderRoot,
    pub(crate) registry: Registry,
}

impl Pod {
    pub(crate) fn new() -> Self {
        let machine = Machine::new();
        let root = BuilderRoot::unpack(&machine);
        let registry = Registry::start();
        Machine::with_builder()
            .lifecycle(&["push", RUN, &registry.name("run")])
            .succeeds();
        root.prepare(
            "mkdir -p /workspace /layers /cache /platform/env
             echo first >/workspace/page.txt
             printf 1 >/platform/env/FX_KEY
             chown -R 1000:1000 /workspace /layers /cache",
        );
        Self {
            machine,
            root,
            registry,
        }
    }

    /// A phase as the builder's user, without any capability.
    pub(crate) fn phase(&self, words: &[&str]) -> Invocation {
        let program = format!("/cnb/lifecycle/{}", words[0]);
        variables(self.root.as_user(&[&[program.as_str()], &words[1..]].concat()))
    }

    /// A phase as root, as a container runtime starts it.
    pub(crate) fn phase_as_root(&self, words: &[&str]) -> Invocation {
        let program = format!("/cnb/lifecycle/{}", words[0]);
        variables(self.root.as_root(&[&[program.as_str()], &words[1..]].concat()))
    }

    pub(crate) fn run_image(&self) -> String {
        self.registry.name("run")
    }

    pub(crate) fn read(&self, path: &str) -> String {
        fs::read_to_string(self.root.at(path)).unwrap()
    }

    /// Puts a newer run image where the old one was: one more layer, one more label.
    pub(crate) fn newer_run_image(&self) {
        let dockerfile = format!(
            "FROM {}\nCOPY Dockerfile /patched\nLABEL io.buildpacks.base.patched=yes\n",
            self.run_image()
        );
        let directory = self.machine.files("patched", &[("Dockerfile", &dockerfile)]);
        let words = [
            "build",
            directory.to_str().unwrap(),
            "--tag",
            &self.run_image(),
            "--output",
            "registry",
        ];
        self.machine.lifecycle(&words).succeeds();
    }

    /// The digest that a registry has for a name.
    pub(crate) fn digest(&self, name: &str) -> String {
        self.machine.digest(&format!("registry:{name}"))
    }

    /// An image of the registry.
    pub(crate) fn image(&self, name: &str) -> Image {
        let layout = self
            .machine
            .path(&format!("layout-{}", name.replace([':', '/'], "-")));
        let to = format!("oci:{}", layout.display());
        self.machine
            .lifecycle(&["copy", &format!("registry:{name}"), &to])
            .succeeds();
        match Layout::open(layout).unwrap().named(None).unwrap() {
            Artifact::Image(image) => *image,
            Artifact::Index(_) => panic!("{name} is an index"),
        }
    }

    /// A label of an image of the registry, as JSON.
    pub(crate) fn label(&self, name: &str, label: &str) -> serde_json::Value {
        let image = self.image(name);
        serde_json::from_str(image.config().label(label).unwrap()).unwrap()
    }

    /// An order of these buildpacks, one group, at `path`.
    pub(crate) fn order(&self, path: &str, buildpacks: &[&str]) {
        let entry = |id: &&str| format!("[[order.group]]\nid = \"{id}\"\nversion = \"1.0.0\"\n");
        let entries: String = buildpacks.iter().map(entry).collect();
        self.write(path, &format!("[[order]]\n{entries}"));
    }

    /// Writes a file in the root.
    pub(crate) fn write(&self, path: &str, content: &str) {
        self.root.prepare(&format!(
            "mkdir -p \"$(dirname '{path}')\"; cat >'{path}' <<'END OF FILE'\n{content}\nEND OF FILE\n"
        ));
    }

    /// Puts a fixture extension into the builder.
    pub(crate) fn install_extension(&self, name: &str) {
        let from = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/fixtures/extensions")
            .join(name);
        let to = format!("/cnb/extensions/{name}/1.0.0");
        for file in ["extension.toml", "bin/detect", "bin/generate"] {
            self.write(
                &format!("{to}/{file}"),
                &fs::read_to_string(from.join(file)).unwrap(),
            );
        }
        self.root.prepare(&format!("chmod 755 {to}/bin/*"));
    }
}

/// What a platform sets for every phase.
pub(crate) fn variables(phase: Invocation) -> Invocation {
    phase
        .env("CNB_PLATFORM_API", "0.13")
        .env("CNB_REGISTRY_AUTH", "{}")
        .env("PATH", "/bin")
}
