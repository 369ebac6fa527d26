//! What cargo knows about a program.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::process::Command;

use serde::Deserialize;

use crate::{Crate, Crates, Identity};

/// A package of the workspace, as it is built.
#[derive(Debug, Clone, Copy)]
pub struct Package<'a> {
    /// Its name.
    pub name: &'a str,
    /// The target triple.
    pub target: &'a str,
    /// Whether it has the features that it has unless told otherwise, or none.
    pub default_features: bool,
}

/// Cargo does not say what is in a program.
#[derive(Debug, thiserror::Error)]
pub enum CargoError {
    /// It cannot be started.
    #[error("cannot start {program}")]
    Start {
        /// The program.
        program: String,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// It refuses.
    #[error("`cargo tree` for {package} failed: {reason}")]
    Tree {
        /// The package.
        package: String,
        /// What it wrote.
        reason: String,
    },
    /// It writes something else than a tree of crates.
    #[error("`cargo tree` writes {0:?}, which is no crate")]
    Line(String),
    /// The lock file cannot be read.
    #[error("cannot read Cargo.lock")]
    Lock(#[source] io::Error),
    /// The lock file has another form.
    #[error("Cargo.lock has another form")]
    LockForm(#[from] toml::de::Error),
}

impl Crates {
    /// Those of a package in `workspace`, as the program `cargo` knows them.
    pub fn of(cargo: &str, workspace: &Path, package: Package<'_>) -> Result<Self, CargoError> {
        let lock = std::fs::read_to_string(workspace.join("Cargo.lock")).map_err(CargoError::Lock)?;
        Self::join(&tree(cargo, workspace, package)?, &lock)
    }

    fn join(tree: &str, lock: &str) -> Result<Self, CargoError> {
        let lock: Lock = toml::from_str(lock)?;
        let mut checksums: BTreeMap<Identity, Option<String>> = lock
            .package
            .into_iter()
            .map(|locked| (locked.identity, locked.checksum))
            .collect();
        let mut all: BTreeMap<Identity, Crate> = BTreeMap::new();
        // The crates from the root down to the line that is read.
        let mut path: Vec<Identity> = Vec::new();
        for text in tree.lines().filter(|text| !text.is_empty()) {
            let line = Line::parse(text).filter(|line| line.depth <= path.len());
            let Line {
                depth,
                license,
                identity,
            } = line.ok_or_else(|| CargoError::Line(text.to_owned()))?;
            path.truncate(depth);
            if let Some(user) = path.last().and_then(|user| all.get_mut(user)) {
                user.uses.insert(identity.clone());
            }
            all.entry(identity.clone()).or_insert_with(|| Crate {
                checksum: checksums.remove(&identity).flatten(),
                identity: identity.clone(),
                license,
                uses: BTreeSet::new(),
            });
            path.push(identity);
        }
        let root = path.into_iter().next();
        Ok(Self {
            root: root.ok_or_else(|| CargoError::Line(tree.to_owned()))?,
            all: all.into_values().collect(),
        })
    }
}

/// One line of the tree: a crate, and how far it is from the root. What a crate uses is listed where it is named first.
struct Line {
    depth: usize,
    license: Option<String>,
    identity: Identity,
}

/// What [`Line::parse`] reads, behind the depth.
const FORMAT: &str = "\t{l}\t{p}";

impl Line {
    fn parse(text: &str) -> Option<Self> {
        let mut columns = text.splitn(3, '\t');
        let (depth, license, package) = (columns.next()?, columns.next()?, columns.next()?);
        let mut words = package.split_whitespace();
        Some(Self {
            depth: depth.parse().ok()?,
            license: (!license.is_empty()).then(|| license.to_owned()),
            identity: Identity {
                name: words.next()?.to_owned(),
                version: words.next()?.strip_prefix('v')?.to_owned(),
            },
        })
    }
}

/// `cargo tree` resolves features for one package, as the build does; `cargo metadata` mixes those of the workspace.
/// What runs while building only (build scripts, procedural macros) is not in the program.
fn tree(cargo: &str, workspace: &Path, package: Package<'_>) -> Result<String, CargoError> {
    let mut command = Command::new(cargo);
    command
        .current_dir(workspace)
        .args(["tree", "--locked", "--package", package.name])
        .args(["--target", package.target])
        .args([
            "--edges",
            "normal,no-proc-macro",
            "--prefix=depth",
            "--format",
            FORMAT,
        ]);
    if !package.default_features {
        command.arg("--no-default-features");
    }
    let output = command.output().map_err(|cause| CargoError::Start {
        program: cargo.to_owned(),
        cause,
    })?;
    if !output.status.success() {
        return Err(CargoError::Tree {
            package: package.name.to_owned(),
            reason: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        });
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[derive(Deserialize)]
struct Lock {
    package: Vec<Locked>,
}

#[derive(Deserialize)]
struct Locked {
    #[serde(flatten)]
    identity: Identity,
    checksum: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCK: &str = "
        version = 4
        [[package]]
        name = 'app'
        version = '1.0.0'
        [[package]]
        name = 'deep'
        version = '0.1.0+spec'
        checksum = 'd1'
        [[package]]
        name = 'unused'
        version = '3.0.0'
        checksum = 'd3'
        [[package]]
        name = 'used'
        version = '2.0.0'
        checksum = 'd2'
    ";

    #[test]
    fn a_tree_becomes_a_list_with_who_uses_whom_lci_04() {
        let tree = "0\tMIT\tapp v1.0.0 (/a place/app)\n1\tMIT/Apache-2.0\tused v2.0.0\n2\t\tdeep v0.1.0+spec\n\
                    1\t\tdeep v0.1.0+spec\n1\tMIT/Apache-2.0\tused v2.0.0 (*)\n";
        let crates = Crates::join(tree, LOCK).unwrap();
        let uses = |found: &Crate| {
            found
                .uses
                .iter()
                .map(|used| used.name.clone())
                .collect::<Vec<_>>()
        };
        let all: Vec<_> = crates
            .all
            .iter()
            .map(|found| {
                (
                    found.identity.name.as_str(),
                    found.checksum.as_deref(),
                    uses(found),
                )
            })
            .collect();
        assert_eq!(
            all,
            [
                ("app", None, vec!["deep".to_owned(), "used".to_owned()]),
                ("deep", Some("d1"), vec![]),
                ("used", Some("d2"), vec!["deep".to_owned()]),
            ]
        );
        assert_eq!(crates.root.name, "app");
        assert_eq!(crates.all[2].license.as_deref(), Some("MIT/Apache-2.0"));
        assert_eq!(Crates::parse(&crates.to_text().unwrap()).unwrap(), crates);
    }

    #[test]
    fn what_is_no_tree_is_refused() {
        for tree in ["", "app v1.0.0", "0\tMIT\tapp 1.0.0", "1\tMIT\tapp v1.0.0"] {
            assert!(
                matches!(Crates::join(tree, LOCK), Err(CargoError::Line(_))),
                "{tree:?}"
            );
        }
        assert!(matches!(
            Crates::join("", "[package"),
            Err(CargoError::LockForm(_))
        ));
    }
}
