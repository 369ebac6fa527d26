//! Buildpacks that lay traps for the phases outside of their root: links to this machine in the layers directory, files
//! that say what these phases are to do.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::support::{Finished, Machine, Registry};

const SECRET: &str = "canary-of-this-machine";
const NO_DIGEST: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000000";

/// A directory of this machine with a secret in it, and a buildpack that knows where it is.
struct Trap {
    machine: Machine,
    outside: PathBuf,
}

impl Trap {
    fn new() -> Self {
        let machine = Machine::with_builder();
        let store = format!("[metadata]\nsecret = \"{SECRET}\"\n");
        let outside = machine.files("outside", &[("store.toml", &store), ("secret.txt", SECRET)]);
        fs::set_permissions(&outside, fs::Permissions::from_mode(0o750)).unwrap();
        Self { machine, outside }
    }

    /// Builds an image with a buildpack that runs `detect` and `build`, in which `$out` is the directory outside.
    fn build(&self, tag: &str, detect: &str, build: &str) -> Finished {
        let toml = "api = \"0.10\"\n[buildpack]\nid = \"acme/trap\"\nversion = \"1\"\n\
                    sbom-formats = [\"application/vnd.cyclonedx+json\"]\n[[targets]]\nos = \"linux\"\n";
        let head = format!("#!/bin/sh\nset -e\nout={}\n", self.outside.display());
        let buildpack = self.machine.files(
            tag,
            &[
                ("buildpack.toml", toml),
                ("bin/detect", &format!("{head}{detect}\n")),
                ("bin/build", &format!("{head}{build}\n")),
            ],
        );
        for program in ["bin/detect", "bin/build"] {
            fs::set_permissions(buildpack.join(program), fs::Permissions::from_mode(0o755)).unwrap();
        }
        let app = self.machine.app();
        let tag = format!("hostile/{tag}");
        let options = ["--buildpack", buildpack.to_str().unwrap(), "--tag", &tag];
        // No buildpack here needs a network.
        self.machine
            .build(&app, &[&options[..], &["--network", "none"]].concat())
            .run()
    }

    /// Nothing of the directory outside was changed.
    fn nothing_happened(&self) {
        let mut names: Vec<_> = fs::read_dir(&self.outside)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        names.sort();
        assert_eq!(names, ["secret.txt", "store.toml"]);
        let own = fs::metadata(self.machine.path("home")).unwrap();
        for path in [Path::new(""), Path::new("secret.txt"), Path::new("store.toml")] {
            assert_eq!(
                fs::metadata(self.outside.join(path)).unwrap().uid(),
                own.uid(),
                "{}",
                path.display()
            );
        }
        let mode = fs::metadata(&self.outside).unwrap().mode();
        assert_eq!(mode & 0o7777, 0o750);
    }
}

#[test]
fn a_link_in_the_place_of_a_layer_is_packed_and_not_followed() {
    let trap = Trap::new();
    let build = "ln -s $out $1/l; printf '[types]\\nlaunch = true\\ncache = true\\n' > $1/l.toml";
    for _ in 0..2 {
        let finished = trap.build("layer", "", build);
        assert!(finished.status().success(), "{}", finished.text());
        trap.nothing_happened();
    }
    let show = [
        "run",
        "hostile/layer",
        "--entrypoint",
        "/bin/sh",
        "--",
        "-c",
        "ls -l /layers/acme_trap; ls -R /layers",
    ];
    let outside = trap.outside.display();
    trap.machine
        .lifecycle(&show)
        .succeeds()
        .says(&format!("l -> {outside}\n"))
        .does_not_say("secret.txt");
}

#[test]
fn what_the_phases_would_open_can_be_no_link() {
    for (name, detect, build) in [
        ("acme_trap/store.toml", "", "ln -s $out/store.toml $1/store.toml"),
        (
            "report.toml",
            "",
            "ln -s $out/report.toml $CNB_LAYERS_DIR/../report.toml",
        ),
        ("acme_trap", "ln -s $out /layers/acme_trap", ""),
        ("sbom", "ln -s $out /layers/sbom", ""),
        ("config", "ln -s $out /layers/config", ""),
    ] {
        let trap = Trap::new();
        let finished = trap.build("traps", detect, build);
        assert!(!finished.status().success(), "{name}: {}", finished.text());
        finished
            .says(&format!("a link was left at /layers/{name}"))
            .does_not_say(SECRET);
        trap.nothing_happened();
    }
}

#[test]
fn buildpacks_do_not_say_which_images_are_read() {
    let registry = Registry::start();
    let (trap, server) = (Trap::new(), registry.name("stolen"));
    let file = format!(
        "'[image]\\nreference = \"{server}@{NO_DIGEST}\"\\n[run-image]\\nreference = \"{server}@{NO_DIGEST}\"\\nimage = \"{server}\"\\n'"
    );
    let write = format!("rm -f /layers/analyzed.toml; printf {file} > /layers/analyzed.toml");
    for (detect, build) in [(write.as_str(), ""), ("", &write)] {
        let finished = trap.build("images", detect, build);
        assert!(finished.status().success(), "{}", finished.text());
    }
    assert_eq!(
        registry.requests().len(),
        0,
        "a step without a network has none by way of the phases"
    );
}

#[test]
fn a_link_in_the_place_of_an_sbom_means_what_it_means_in_the_step() {
    let trap = Trap::new();
    let build = "printf '{\"own\":1}' > $1/own.json; ln -s own.json $1/launch.sbom.cdx.json; \
                 ln -s $out/secret.txt $1/build.sbom.cdx.json";
    let finished = trap.build("sbom", "", build);
    assert!(finished.status().success(), "{}", finished.text());
    let saved = trap.machine.text("sboms");
    let save = ["sbom", "hostile/sbom", "--directory", &saved];
    trap.machine.lifecycle(&save).succeeds();
    let own = Path::new(&saved).join("acme_trap/sbom.cdx.json");
    assert_eq!(fs::read_to_string(own).unwrap(), "{\"own\":1}");
    trap.nothing_happened();
}
