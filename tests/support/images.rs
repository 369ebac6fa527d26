//! A small stack made of busybox, and a builder of the fixture buildpacks on it.
//!
//! The build and the run image hold one static program and a handful of files, so that builds, pushes and
//! copies of them take milliseconds. The program itself makes the builder out of them.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, OnceLock};

use lifecycle_image::layout::Layout;
use lifecycle_image::{BytesLayer, DiffId, Digest, History, Image, Layer, MediaType, Platform, Sink, mutate};
use lifecycle_image::{Compression, Family};

use tar::EntryType::{Directory, Regular, Symlink};

use super::Invocation;

/// The builder in the shared store.
pub(crate) const BUILDER: &str = "small/builder";
/// The image that it builds on.
pub(crate) const BUILD: &str = "small/base:build";
/// The image that it puts apps on.
pub(crate) const RUN: &str = "small/base:run";

/// 1980-01-01T00:00:01Z, the time of everything in images made by buildpacks.
const TIME: u64 = 315_532_801;
const CREATED: &str = "1980-01-01T00:00:01Z";

/// The layout with the two base images, tagged `build` and `run`.
pub(crate) fn layout() -> &'static Path {
    static LAYOUT: OnceLock<PathBuf> = OnceLock::new();
    LAYOUT.get_or_init(|| {
        let directory = workshop().join("base");
        let layout = Layout::create(&directory).unwrap();
        for (tag, uid) in [("build", 1000), ("run", 1001)] {
            let image = base_image(tag, uid);
            let mut upload = layout
                .begin(&[format!("small/base:{tag}").parse().unwrap()])
                .unwrap();
            for layer in image.layers() {
                upload.layer(Arc::clone(layer));
            }
            upload.finish(&image).unwrap();
        }
        directory
    })
}

/// The store that holds the base images and the small builder, shared by the tests of this process.
pub(crate) fn store() -> &'static Path {
    static STORE: OnceLock<PathBuf> = OnceLock::new();
    STORE.get_or_init(|| {
        let store = workshop().join("store");
        for (tag, name) in [("build", BUILD), ("run", RUN)] {
            let from = format!("oci:{}:{tag}", layout().display());
            lifecycle(&store, &["pull", &from, "--tag", name]).succeeds();
        }
        lifecycle(&store, &["builder", "create", definition(), "--tag", BUILDER]).succeeds();
        store
    })
}

/// The `builder.toml` of the small builder.
pub(crate) fn definition() -> &'static str {
    static DEFINITION: OnceLock<String> = OnceLock::new();
    DEFINITION.get_or_init(|| {
        let path = workshop().join("builder.toml");
        fs::write(&path, builder_toml()).unwrap();
        path.to_str().unwrap().to_owned()
    })
}

/// Where the fixture buildpacks are.
pub(crate) fn buildpack(name: &str) -> String {
    format!("{}/tests/fixtures/buildpacks/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn lifecycle(store: &Path, arguments: &[&str]) -> Invocation {
    Invocation::new(env!("CARGO_BIN_EXE_lifecycle"), arguments)
        .env("LIFECYCLE_STORE", store)
        .env("HOME", workshop())
}

/// A directory for what the tests of this process share. What earlier processes left is removed.
fn workshop() -> &'static Path {
    static WORKSHOP: OnceLock<PathBuf> = OnceLock::new();
    WORKSHOP.get_or_init(|| {
        let parent = Path::new(env!("CARGO_TARGET_TMPDIR")).join("acceptance");
        fs::create_dir_all(&parent).unwrap();
        for entry in fs::read_dir(&parent).unwrap() {
            let entry = entry.unwrap();
            if !Path::new("/proc").join(entry.file_name()).exists() {
                super::machine::remove(&entry.path());
            }
        }
        let own = parent.join(std::process::id().to_string());
        fs::create_dir(&own).unwrap();
        own
    })
}

/// All fixture buildpacks; without a choice, the ones that make layers and processes.
fn builder_toml() -> String {
    let directory = buildpack("");
    let mut names: Vec<String> = fs::read_dir(&directory)
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().join("buildpack.toml").exists())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    names.sort();
    let mut toml = String::from("description = \"fixture buildpacks\"\n");
    for name in names {
        writeln!(toml, "[[buildpacks]]\nuri = \"{directory}{name}\"").unwrap();
    }
    toml + &format!(
        "[[order]]\n[[order.group]]\nid = \"fx-layers\"\n[[order.group]]\nid = \"fx-process\"\n\
         [build]\nimage = \"{BUILD}\"\n[[run.images]]\nimage = \"{RUN}\"\n"
    )
}

fn base_image(tag: &str, uid: u32) -> Image {
    let layer: Arc<dyn Layer> = Arc::new(base_layer());
    let history = History {
        created: Some(CREATED.to_owned()),
        created_by: Some("busybox".to_owned()),
        ..History::default()
    };
    let image = mutate::append(Image::empty(&Platform::host()), layer, history);
    mutate::configure(image, |config| {
        config.created = Some(CREATED.to_owned());
        config.config.user = Some(format!("{uid}:1000"));
        config.config.set_env("PATH", "/bin");
        config.config.set_env("CNB_USER_ID", &uid.to_string());
        config.config.set_env("CNB_GROUP_ID", "1000");
        config.set_label("io.buildpacks.base.distro.name", "busybox");
        config.set_label("io.buildpacks.base.distro.version", "1");
        config.set_label("io.buildpacks.base.description", format!("small {tag} image"));
        config.set_label("io.buildpacks.base.id", "small");
        config.set_label("io.buildpacks.rebasable", "true");
    })
}

/// A root file system of one static program.
fn base_layer() -> BytesLayer {
    let program = ["/bin/busybox", "/usr/bin/busybox"]
        .iter()
        .find_map(|path| fs::read(path).ok());
    let program = program.unwrap_or_else(|| panic!("busybox-static is not installed (run tests/setup)"));
    let mut tar = tar::Builder::new(Vec::new());
    let mut add = |kind, path: &str, mode: u32, owner: u64, content: &[u8], link: &str| {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_mtime(TIME);
        header.set_uid(owner);
        header.set_gid(owner);
        header.set_size(content.len() as u64);
        if link.is_empty() {
            tar.append_data(&mut header, path, content).unwrap();
        } else {
            tar.append_link(&mut header, path, link).unwrap();
        }
    };
    for directory in [
        "bin", "dev", "etc", "home", "proc", "sys", "usr", "usr/bin", "var", "var/tmp",
    ] {
        add(Directory, directory, 0o755, 0, b"", "");
    }
    add(Directory, "tmp", 0o1777, 0, b"", "");
    add(Directory, "root", 0o700, 0, b"", "");
    add(Directory, "home/cnb", 0o755, 1000, b"", "");
    add(Regular, "bin/busybox", 0o755, 0, &program, "");
    for applet in applets() {
        if applet != "busybox" {
            add(Symlink, &format!("bin/{applet}"), 0o777, 0, b"", "busybox");
        }
    }
    add(Symlink, "usr/bin/env", 0o777, 0, b"", "../../bin/busybox");
    let passwd = "root:x:0:0:root:/root:/bin/sh\ncnb:x:1000:1000::/home/cnb:/bin/sh\napp:x:1001:1000::/home/cnb:/bin/sh\n";
    add(Regular, "etc/passwd", 0o644, 0, passwd.as_bytes(), "");
    add(Regular, "etc/group", 0o644, 0, b"root:x:0:\ncnb:x:1000:\n", "");
    add(
        Regular,
        "etc/os-release",
        0o644,
        0,
        b"ID=busybox\nVERSION_ID=1\n",
        "",
    );
    let bytes = tar.into_inner().unwrap();
    let diff_id = DiffId(Digest::of(&bytes));
    BytesLayer::new(MediaType::layer(Family::Oci, Compression::None), bytes, diff_id)
}

fn applets() -> Vec<String> {
    let output = Command::new("busybox").arg("--list").output().unwrap();
    String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect()
}
