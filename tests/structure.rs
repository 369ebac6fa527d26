//! Holds the structure that docs/architecture.md draws: which crate may use which.

#![expect(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Our own crates, and for each the others of ours that it may use. An arrow that is not here needs a reason
/// in docs/architecture.md before it is added.
const MAY_USE: &[(&str, &[&str])] = &[
    ("diagnostics", &[]),
    ("image", &[]),
    ("daemon", &["image"]),
    ("sandbox", &[]),
    ("dockerfile", &["diagnostics"]),
    ("spec", &[]),
    ("launcher", &["spec"]),
    ("layers", &["image"]),
    ("registry", &["image"]),
    ("remote", &["image", "registry"]),
    ("kubernetes", &["image"]),
    ("store", &["image", "layers"]),
    (
        "executor",
        &["diagnostics", "dockerfile", "image", "layers", "sandbox", "store"],
    ),
    (
        "phases",
        &[
            "diagnostics",
            "dockerfile",
            "executor",
            "image",
            "layers",
            "spec",
            "store",
        ],
    ),
    ("builder", &["image", "layers", "spec", "store"]),
    (
        "heroku",
        &["builder", "image", "layers", "sandbox", "spec", "store"],
    ),
    (
        "platform",
        &["builder", "image", "layers", "phases", "sandbox", "spec", "store"],
    ),
];

/// Longer files are hard to find one's way in.
const LONGEST_FILE: usize = 800;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn dependencies(manifest: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(manifest).unwrap();
    let table: toml::Table = text.parse().unwrap();
    let names = |section: &str| -> Vec<String> {
        table
            .get(section)
            .and_then(toml::Value::as_table)
            .map(|t| t.keys().cloned().collect())
            .unwrap_or_default()
    };
    let ours = names("dependencies")
        .into_iter()
        .chain(names("build-dependencies"));
    ours.filter_map(|name| name.strip_prefix("lifecycle-").map(str::to_owned))
        .collect()
}

fn crates() -> Vec<String> {
    let entries = std::fs::read_dir(root().join("lifecycle")).unwrap();
    let manifests = entries
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().join("Cargo.toml").exists());
    let mut names: Vec<String> = manifests
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn arrows_point_only_along_may_use() {
    let may_use: BTreeMap<&str, &[&str]> = MAY_USE.iter().copied().collect();
    for name in crates() {
        let allowed = may_use
            .get(name.as_str())
            .unwrap_or_else(|| panic!("{name} is not in the table of arrows"));
        for dependency in dependencies(&root().join("lifecycle").join(&name).join("Cargo.toml")) {
            assert!(
                allowed.contains(&dependency.as_str()),
                "{name} may not use {dependency}"
            );
        }
    }
}

#[test]
fn files_stay_readable() {
    let mut folders: Vec<PathBuf> = vec![root().join("lifecycle"), root().join("tests")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let lines = std::fs::read_to_string(&path).unwrap().lines().count();
                assert!(lines <= LONGEST_FILE, "{} has {lines} lines", path.display());
            }
        }
    }
}
