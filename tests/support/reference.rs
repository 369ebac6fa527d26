//! The reference's lifecycle, in the same builder's root as ours: the judge of everything that phases read and write.

use std::collections::BTreeSet;
use std::path::Path;

use lifecycle_image::Image;
use serde_json::{Value, json};

use super::pod::variables;
use super::{Invocation, Pod, peers};

/// Whose programs run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lifecycle {
    Ours,
    Reference,
}

pub(crate) use Lifecycle::{Ours, Reference};

impl Lifecycle {
    /// Where its programs are in the builder. The launcher for images is the one at the usual place, for both.
    pub(crate) fn directory(self) -> &'static str {
        match self {
            Ours => "/cnb/lifecycle",
            Reference => "/cnb/reference",
        }
    }

    pub(crate) fn other(self) -> Self {
        match self {
            Ours => Reference,
            Reference => Ours,
        }
    }
}

impl Pod {
    /// A pod that has the programs of both; nothing, and a line that says so, where the reference's are not installed.
    pub(crate) fn with_reference() -> Option<Self> {
        let installed = peers::find("analyzer").filter(|program| program.with_file_name("launcher").exists());
        let Some(program) = installed else {
            println!("skipped: the reference's analyzer and launcher not found");
            return None;
        };
        let pod = Self::new();
        pod.root.bring(program.parent().unwrap(), Reference.directory());
        Some(pod)
    }

    /// A phase of either lifecycle, as the builder's user. The reference wants to be told that user's ids.
    pub(crate) fn phase_of(&self, lifecycle: Lifecycle, words: &[&str]) -> Invocation {
        let program = format!("{}/{}", lifecycle.directory(), words[0]);
        variables(self.root.as_user(&[&[program.as_str()], &words[1..]].concat()))
            .env("CNB_USER_ID", "1000")
            .env("CNB_GROUP_ID", "1000")
            .env("CNB_NO_COLOR", "true")
    }

    /// The same as root, as a container runtime starts it, with devices that nobody else has.
    pub(crate) fn phase_as_root_of(&self, lifecycle: Lifecycle, words: &[&str]) -> Invocation {
        let program = format!("{}/{}", lifecycle.directory(), words[0]);
        let words = [&[program.as_str()], &words[1..]].concat();
        // The reference's extender wants to be told that it is in a container.
        variables(self.root.as_root_apart(&words))
            .env("container", "docker")
            .env("CNB_USER_ID", "1000")
            .env("CNB_GROUP_ID", "1000")
            .env("CNB_NO_COLOR", "true")
    }

    /// Puts bash and the libraries that it needs into the root; nothing, and a line that says so, where it is not installed.
    pub(crate) fn bring_bash(&self) -> Option<()> {
        let linked = peers::judge("ldd", &["/bin/bash"])?;
        let text = linked.stdout();
        let files = text.split_whitespace().filter(|word| word.starts_with('/'));
        for file in files.chain(["/bin/bash"]) {
            let directory = Path::new(file).parent().unwrap().to_str().unwrap();
            self.root.prepare(&format!("mkdir -p {directory}"));
            let real = std::fs::canonicalize(file).unwrap();
            self.root.bring(&real, file);
        }
        Some(())
    }

    /// The directories of a build as before it.
    pub(crate) fn clear(&self) {
        self.root
            .prepare("chmod -R u+w /layers /cache; rm -rf /layers/* /cache/*");
    }

    /// Every file below these directories of the root: kind, mode, owner, and the digest of its content.
    pub(crate) fn files(&self, directories: &str) -> String {
        let script = format!(
            "find {directories} | sort | while read -r path; do
                 stat -c '%n %F %a %u:%g' \"$path\"
                 if [ -f \"$path\" ]; then sha256sum <\"$path\"; fi
                 if [ -L \"$path\" ]; then readlink \"$path\"; fi
             done"
        );
        let listed = self.root.as_root(&["/bin/sh", "-e", "-c", &script]);
        listed.env("PATH", "/bin").succeeds().stdout()
    }

    /// What an image of the registry is: manifest and configuration, with the labels that hold JSON taken apart. What
    /// compression makes of layers is left out: their diff IDs are in the configuration.
    pub(crate) fn facts(&self, name: &str) -> Value {
        facts(&self.image(name))
    }

    /// The digests of an image's layers in the registry.
    pub(crate) fn layer_digests(&self, name: &str) -> BTreeSet<String> {
        let image = self.image(name);
        let digest = |layer: &std::sync::Arc<dyn lifecycle_image::Layer>| {
            layer.descriptor().unwrap().digest.to_string()
        };
        image.layers().iter().map(digest).collect()
    }
}

/// What an image is, see [`Pod::facts`].
pub(crate) fn facts(image: &Image) -> Value {
    let parse = |bytes: &[u8]| -> Value { serde_json::from_slice(bytes).unwrap() };
    let mut manifest = parse(&image.encode_manifest().unwrap().bytes);
    let mut config = parse(&image.encode_config().unwrap().bytes);
    manifest["layers"] = manifest["layers"].as_array().unwrap().len().into();
    manifest["config"].take();
    for (_, label) in config["config"]["Labels"].as_object_mut().unwrap() {
        if let Ok(document) = serde_json::from_str(label.as_str().unwrap()) {
            *label = document;
        }
    }
    json!({ "manifest": manifest, "config": config })
}

/// Fails with the lines that only one of two texts has.
#[track_caller]
pub(crate) fn assert_same(what: &str, ours: &str, reference: &str) {
    if ours == reference {
        return;
    }
    let only = |one: &str, other: &str, mark: &str| -> String {
        let other: BTreeSet<&str> = other.lines().collect();
        let lines = one.lines().filter(|line| !other.contains(line));
        let marked: Vec<_> = lines.map(|line| format!("{mark} {line}\n")).collect();
        marked.concat()
    };
    panic!(
        "{what} differs:\n{}{}",
        only(ours, reference, "ours:"),
        only(reference, ours, "reference:")
    );
}
