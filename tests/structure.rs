//! Holds the structure that docs/architecture.md draws: which crate may use which. And that documents name tests that
//! exist, every rule of the Dockerfile language and of the specifications has one, and what is fuzzed is what is built.

#![expect(clippy::unwrap_used, reason = "a test")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Longer files are hard to find one's way in.
const LONGEST_FILE: usize = 600;

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

/// Our own crates as the table of docs/architecture.md has them, and for each the others of ours that it may use.
fn may_use() -> BTreeMap<String, BTreeSet<String>> {
    let page = std::fs::read_to_string(root().join("docs/architecture.md")).unwrap();
    let rows = page.lines().filter_map(|line| {
        let (name, rest) = line.strip_prefix("| `lifecycle/")?.split_once('`')?;
        let uses = rest.trim_end_matches('|').rsplit('|').next()?.trim();
        let uses = uses.trim_start_matches('–').trim_start_matches("a slice of ");
        let uses = uses.split(", ").filter(|word| !word.is_empty());
        Some((name.to_owned(), uses.map(str::to_owned).collect()))
    });
    rows.collect()
}

/// An arrow that is not in the table needs a reason there before it is added, and one that is nowhere else is none.
#[test]
fn arrows_point_only_along_may_use() {
    let mut may_use = may_use();
    assert_eq!(may_use.remove("cli"), Some(["all".to_owned()].into()));
    assert_eq!(crates(), may_use.keys().cloned().collect::<Vec<_>>());
    for (name, allowed) in may_use {
        let manifest = root().join("lifecycle").join(&name).join("Cargo.toml");
        let used: BTreeSet<String> = dependencies(&manifest).into_iter().collect();
        assert_eq!(used, allowed, "{name} uses, and what docs/architecture.md says");
    }
}

/// All Rust sources with their paths.
fn sources() -> Vec<(PathBuf, String)> {
    let mut folders: Vec<PathBuf> = ["lifecycle", "tests", "dist"]
        .map(|folder| root().join(folder))
        .to_vec();
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

/// The packages of a lock file: for each name its versions.
fn locked(file: &str) -> BTreeMap<String, BTreeSet<String>> {
    let text = std::fs::read_to_string(root().join(file)).unwrap();
    let lock: toml::Table = text.parse().unwrap();
    let mut versions = BTreeMap::<_, BTreeSet<_>>::new();
    for package in lock["package"].as_array().unwrap() {
        let field = |name: &str| package[name].as_str().unwrap().to_owned();
        versions
            .entry(field("name"))
            .or_default()
            .insert(field("version"));
    }
    versions
}

/// What the fuzzer tries is what is released.
#[test]
fn fuzz_targets_are_built_of_the_workspaces_crates() {
    let ours = locked("Cargo.lock");
    for (name, versions) in locked("tests/fuzz/Cargo.lock") {
        let Some(known) = ours.get(&name) else {
            continue;
        };
        let others: Vec<_> = versions.difference(known).collect();
        assert!(
            others.is_empty(),
            "tests/fuzz/Cargo.lock has {name} {others:?}, Cargo.lock {known:?}: \
             cargo update --manifest-path tests/fuzz/Cargo.toml {name}@… --precise …"
        );
    }
}

#[test]
fn every_fuzz_target_has_a_line_and_seeds() {
    let folder = root().join("tests/fuzz");
    let manifest: toml::Table = std::fs::read_to_string(folder.join("Cargo.toml"))
        .unwrap()
        .parse()
        .unwrap();
    let targets = manifest["bin"].as_array().unwrap().iter();
    let targets: BTreeSet<String> = targets
        .map(|target| target["name"].as_str().unwrap().to_owned())
        .collect();
    let page = std::fs::read_to_string(folder.join("README.md")).unwrap();
    let described: BTreeSet<String> = page
        .lines()
        .filter_map(|line| Some(line.strip_prefix("| `")?.split_once('`')?.0.to_owned()))
        .collect();
    assert_eq!(described, targets);
    for target in targets {
        let seeds = folder.join("seeds").join(&target);
        assert!(seeds.is_dir(), "{target} has no seeds in {}", seeds.display());
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

/// Fails unless a cell names something, and all that it names is there: tests, with or without their module before them,
/// targets of `make`, and files or folders.
fn shows(page: &str, cell: &str, tests: &BTreeSet<String>) {
    let named: Vec<&str> = cell.split('`').skip(1).step_by(2).collect();
    assert!(!named.is_empty(), "{page} has a row that names no test: {cell}");
    for name in named {
        let is_there = if let Some(target) = name.strip_prefix("make ") {
            let makefile = std::fs::read_to_string(root().join("Makefile")).unwrap();
            let rule = format!("{target}:");
            makefile.lines().any(|line| line.starts_with(&rule))
        } else if name.contains('/') {
            root().join(name).exists()
        } else {
            tests.contains(name.rsplit("::").next().unwrap())
        };
        assert!(is_there, "{page} names {name}, which does not exist");
    }
}

/// The last cells of those tables of a page whose last column has this name.
fn column(page: &str, name: &str) -> Vec<String> {
    let text = std::fs::read_to_string(root().join(page)).unwrap();
    let mut cells = Vec::new();
    let mut is_meant = None;
    for line in text.lines() {
        if !line.starts_with('|') {
            is_meant = None;
            continue;
        }
        let last = line.trim_end_matches('|').rsplit('|').next().unwrap().trim();
        match is_meant {
            None => is_meant = Some(last == name),
            Some(true) if last != "---" => cells.push(last.to_owned()),
            Some(_) => {}
        }
    }
    cells
}

#[test]
fn tests_that_pages_name_exist() {
    let tests = tests();
    for (page, name) in [("docs/security.md", "Test"), ("docs/kaniko.md", "Shown by")] {
        let cells = column(page, name);
        assert!(cells.len() > 10, "{page} has {} rows", cells.len());
        for cell in cells {
            shows(page, &cell, &tests);
        }
    }
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

/// The rules of our checklist: how many there are of each kind.
const SPECIFICATION_RULES: &[(&str, usize)] = &[
    ("GEN", 18),
    ("EXIT", 1),
    ("AN", 14),
    ("DET", 14),
    ("RES", 10),
    ("BLD", 6),
    ("EXT", 8),
    ("EXP", 22),
    ("CRE", 4),
    ("REB", 13),
    ("LAU", 18),
    ("MODE", 3),
    ("FILE", 4),
    ("LBL", 8),
    ("RUN", 5),
    ("AUTH", 5),
    ("SBOM", 5),
    ("LAY", 5),
    ("CACHE", 7),
    ("OWN", 7),
    ("SEC", 4),
    ("ENV", 10),
    ("BPC", 3),
    ("DIR", 2),
    ("DTI", 2),
    ("BPT", 4),
    ("TGT", 8),
    ("ORD", 7),
    ("DTA", 4),
    ("PLN", 9),
    ("UNM", 4),
    ("BPB", 5),
    ("LYR", 10),
    ("LCH", 6),
    ("BTM", 2),
    ("SLC", 5),
    ("EMR", 8),
    ("XCD", 4),
    ("XEN", 5),
    ("IEX", 5),
    ("GNR", 8),
    ("DKF", 7),
    ("BAS", 2),
    ("BDR", 8),
    ("PKG", 9),
    ("LCI", 5),
    ("RGX", 2),
    ("PRJ", 9),
    // Where specification and reference disagree, and wrong inputs (lifecycle.md 1.2 to 1.4).
    ("X", 30),
    ("BAD", 18),
];

/// What a row says in place of a test begins with one of these.
const REASONS: [&str; 4] = [
    "does not apply: ",
    "optional",
    "of the makers of base images",
    "a platform's check",
];

/// The rules of the classic Heroku way.
const HEROKU_RULES: &[(&str, usize)] = &[
    ("HC", 10),
    ("MP", 8),
    ("PF", 7),
    ("SL", 11),
    ("SB", 8),
    ("SR", 7),
    ("HE", 7),
    ("CS", 6),
    ("PIT", 20),
];

/// The rows of a page's table, by their ids.
fn rows(page: &str) -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(root().join(page)).unwrap();
    let mut rows: BTreeMap<String, String> = BTreeMap::new();
    for line in text.lines() {
        let cells: Vec<&str> = line
            .split(" | ")
            .map(|cell| cell.trim_matches(['|', ' ']))
            .collect();
        let [id, _, held] = cells[..] else { continue };
        if id.contains('-') {
            assert!(
                rows.insert(id.to_owned(), held.to_owned()).is_none(),
                "{id} is there twice"
            );
        }
    }
    rows
}

#[test]
fn every_rule_of_the_heroku_way_has_a_test() {
    let mut rows = rows("docs/heroku.md");
    let tests = tests();
    let numbered = HEROKU_RULES
        .iter()
        .flat_map(|(kind, count)| (1..=*count).map(move |number| format!("{kind}-{number:02}")));
    for id in numbered.chain(["HC-20", "HC-21"].map(str::to_owned)) {
        let held = rows
            .remove(&id)
            .unwrap_or_else(|| panic!("docs/heroku.md has no row for {id}"));
        shows("docs/heroku.md", &held, &tests);
    }
    assert!(
        rows.is_empty(),
        "docs/heroku.md has rows that are no rules: {rows:?}"
    );
}

#[test]
fn every_rule_of_the_specifications_has_a_test_or_a_reason() {
    let mut rows = rows("docs/conformance.md");
    let tests = tests();
    for (kind, count) in SPECIFICATION_RULES {
        for number in 1..=*count {
            let id = format!("{kind}-{number:02}");
            let held = rows
                .remove(&id)
                .unwrap_or_else(|| panic!("docs/conformance.md has no row for {id}"));
            if REASONS.iter().any(|reason| held.starts_with(reason)) {
                continue;
            }
            shows("docs/conformance.md", &held, &tests);
        }
    }
    assert!(
        rows.is_empty(),
        "docs/conformance.md has rows that are no rules: {rows:?}"
    );
}
