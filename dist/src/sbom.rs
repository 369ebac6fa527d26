//! What is in a program: its crates, as documents in the formats of the specification (LCI-04).

mod documents;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use fs_err as fs;
use lifecycle_spec::SbomFormat;
use serde::Deserialize;

/// An SBOM in one format.
#[derive(Debug)]
pub(crate) struct File {
    pub(crate) format: SbomFormat,
    pub(crate) text: String,
}

/// The crates that are linked into a program.
#[derive(Debug)]
pub(crate) struct Crates {
    /// The program's own.
    root: Identity,
    all: BTreeMap<Identity, Crate>,
}

/// Name and version of a crate. There is one of each in a lock file without sources other than the registry.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
struct Identity {
    name: String,
    version: String,
}

#[derive(Debug)]
struct Crate {
    /// The licence as an SPDX expression.
    license: Option<String>,
    /// SHA-256 of the crate's archive; our own have none.
    checksum: Option<String>,
    /// The crates it uses, among those that are linked.
    uses: BTreeSet<Identity>,
}

impl Identity {
    /// The package URL.
    fn purl(&self) -> String {
        format!("pkg:cargo/{}@{}", self.name, self.version.replace('+', "%2B"))
    }
}

impl Crates {
    /// Those of the workspace's `package`, built for `target`.
    pub(crate) fn of(workspace: &Path, package: &str, target: &str) -> Result<Self> {
        let linked = linked(&cargo(workspace, &tree_arguments(package, target))?)?;
        let metadata = cargo(
            workspace,
            &[
                "metadata",
                "--locked",
                "--format-version=1",
                "--filter-platform",
                target,
            ],
        )?;
        let lock = fs::read_to_string(workspace.join("Cargo.lock"))?;
        Self::join(package, &linked, &metadata, &lock)
    }

    fn join(package: &str, linked: &BTreeSet<Identity>, metadata: &str, lock: &str) -> Result<Self> {
        let metadata: Metadata =
            serde_json::from_str(metadata).context("cargo's metadata has another form")?;
        let lock: Lock = toml::from_str(lock).context("Cargo.lock has another form")?;
        let checksums: BTreeMap<Identity, Option<String>> = lock
            .package
            .into_iter()
            .map(|locked| (locked.identity, locked.checksum))
            .collect();
        let known: BTreeMap<&str, Identity> = metadata
            .packages
            .iter()
            .map(|found| (found.id.as_str(), found.identity.clone()))
            .collect();
        let mut uses: BTreeMap<Identity, BTreeSet<Identity>> = BTreeMap::new();
        for node in &metadata.resolve.nodes {
            let Some(user) = known.get(node.id.as_str()) else {
                continue;
            };
            let used = node.deps.iter().filter(|dependency| dependency.is_linked());
            let used = used.filter_map(|dependency| known.get(dependency.pkg.as_str()));
            uses.insert(
                user.clone(),
                used.filter(|used| linked.contains(used)).cloned().collect(),
            );
        }
        let all: BTreeMap<Identity, Crate> = metadata
            .packages
            .iter()
            .map(|found| (found.identity.clone(), found))
            .filter(|(identity, _)| linked.contains(identity))
            .map(|(identity, found)| {
                let described = Crate {
                    license: found.license.clone(),
                    checksum: checksums.get(&identity).cloned().flatten(),
                    uses: uses.remove(&identity).unwrap_or_default(),
                };
                (identity, described)
            })
            .collect();
        if let Some(missing) = linked.iter().find(|identity| !all.contains_key(identity)) {
            bail!(
                "cargo links {} {}, but does not describe it",
                missing.name,
                missing.version
            );
        }
        let root = all.keys().find(|identity| identity.name == package).cloned();
        Ok(Self {
            root: root.with_context(|| format!("there is no package {package}"))?,
            all,
        })
    }

    /// One document for each format of the specification; `created` is their time.
    pub(crate) fn documents(&self, created: &str) -> Vec<File> {
        let document = |format| {
            let value = match format {
                SbomFormat::CycloneDx => documents::cyclonedx(self, created),
                SbomFormat::Spdx => documents::spdx(self, created),
                SbomFormat::Syft => documents::syft(self),
            };
            File {
                format,
                text: format!("{value:#}\n"),
            }
        };
        SbomFormat::ALL.map(document).into()
    }
}

/// `cargo tree` resolves features for one package, as the build does; `cargo metadata` mixes those of the workspace.
/// What runs while building only (build scripts, procedural macros) is not in the program.
fn tree_arguments<'a>(package: &'a str, target: &'a str) -> [&'a str; 11] {
    let edges = "normal,no-proc-macro";
    [
        "tree",
        "--locked",
        "--package",
        package,
        "--target",
        target,
        "--edges",
        edges,
        "--prefix=none",
        "--format",
        "{p}",
    ]
}

/// Lines such as `name v1.2.3 (path)`, each crate any number of times.
fn linked(tree: &str) -> Result<BTreeSet<Identity>> {
    let line = |line: &str| {
        let mut words = line.split_whitespace();
        let (name, version) = (words.next(), words.next().and_then(|word| word.strip_prefix('v')));
        match (name, version) {
            (Some(name), Some(version)) => Ok(Identity {
                name: name.to_owned(),
                version: version.to_owned(),
            }),
            _ => bail!("cargo tree writes {line:?}, which is no crate"),
        }
    };
    tree.lines().filter(|text| !text.is_empty()).map(line).collect()
}

fn cargo(workspace: &Path, arguments: &[&str]) -> Result<String> {
    let output = Command::new("cargo")
        .current_dir(workspace)
        .args(arguments)
        .output();
    let output = output.context("cannot start cargo")?;
    if !output.status.success() {
        bail!(
            "cargo {} failed: {}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    String::from_utf8(output.stdout).context("cargo's answer is not UTF-8")
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    resolve: Resolve,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    #[serde(flatten)]
    identity: Identity,
    license: Option<String>,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    pkg: String,
    dep_kinds: Vec<DependencyKind>,
}

#[derive(Deserialize)]
struct DependencyKind {
    /// Nothing for an ordinary one, `dev` or `build`.
    kind: Option<String>,
}

impl Dependency {
    fn is_linked(&self) -> bool {
        self.dep_kinds.iter().any(|kind| kind.kind.is_none())
    }
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
