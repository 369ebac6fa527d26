//! Holds the structure that docs/architecture.md draws: which crate may use which. And that documents name tests that
//! exist, and every rule of the Dockerfile language has one.

#![expect(clippy::unwrap_used, reason = "a test")]

use std::collections::{BTreeMap, BTreeSet};
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

/// All Rust sources with their paths.
fn sources() -> Vec<(PathBuf, String)> {
    let mut folders: Vec<PathBuf> = vec![root().join("lifecycle"), root().join("tests")];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                found.push((path, text));
            }
        }
    }
    found
}

#[test]
fn files_stay_readable() {
    for (path, text) in sources() {
        let lines = text.lines().count();
        assert!(lines <= LONGEST_FILE, "{} has {lines} lines", path.display());
    }
}

/// The names of all tests.
fn tests() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (_, text) in sources() {
        let mut is_test = false;
        for line in text.lines().map(str::trim_start) {
            if line.starts_with("#[test]") {
                is_test = true;
            } else if let Some(rest) = line.strip_prefix("fn ") {
                let name = rest.split(['(', '<']).next().unwrap_or_default();
                if std::mem::take(&mut is_test) {
                    names.insert(name.to_owned());
                }
            }
        }
    }
    names
}

#[test]
fn tests_that_the_security_page_names_exist() {
    let tests = tests();
    let page = std::fs::read_to_string(root().join("docs/security.md")).unwrap();
    let mut rows = 0;
    for line in page.lines().filter(|line| line.starts_with('|')) {
        let last = line.trim_end_matches('|').rsplit('|').next().unwrap();
        if matches!(last.trim(), "Test" | "---") {
            continue;
        }
        let named: Vec<&str> = last.split('`').skip(1).step_by(2).collect();
        assert!(!named.is_empty(), "no test in: {line}");
        for name in named {
            assert!(tests.contains(name), "there is no test {name}");
        }
        rows += 1;
    }
    assert!(rows > 0);
}

/// The rules of the Dockerfile language, section by section.
const RULES: [(char, u32); 13] = [
    ('a', 21),
    ('b', 6),
    ('c', 11),
    ('d', 12),
    ('e', 10),
    ('f', 12),
    ('g', 14),
    ('h', 30),
    ('i', 17),
    ('j', 9),
    ('k', 7),
    ('l', 4),
    ('m', 6),
];

/// The rules that the name of a test says it holds: `_h15`, or `_c7_to_c10`.
fn rules_of(name: &str) -> Vec<(char, u32)> {
    let words: Vec<&str> = name.split('_').collect();
    let rule = |word: &str| {
        let mut letters = word.chars();
        let letter = letters.next()?;
        let number = letters.as_str().parse::<u32>().ok()?;
        Some((letter, number))
    };
    let mut rules: Vec<_> = words.iter().filter_map(|word| rule(word)).collect();
    for range in words.windows(3).filter(|range| range[1] == "to") {
        if let (Some((letter, first)), Some((_, last))) = (rule(range[0]), rule(range[2])) {
            rules.extend((first..=last).map(|number| (letter, number)));
        }
    }
    rules
}

#[test]
fn every_rule_of_the_language_has_a_test() {
    let held: BTreeSet<(char, u32)> = tests().iter().flat_map(|name| rules_of(name)).collect();
    let missing: Vec<String> = RULES
        .iter()
        .flat_map(|(letter, count)| (1..=*count).map(move |number| (*letter, number)))
        .filter(|rule| !held.contains(rule))
        .map(|(letter, number)| format!("{}{number}", letter.to_ascii_uppercase()))
        .collect();
    assert!(missing.is_empty(), "no test is named for {missing:?}");
}
