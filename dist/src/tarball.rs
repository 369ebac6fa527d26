//! The lifecycle's tarball (platforms.md 1.9, LT-01 to LT-05; LCI-01 to LCI-04).

use std::collections::BTreeMap;
use std::io::BufReader;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use flate2::read::MultiGzDecoder;
use fs_err::File;
use lifecycle_builder::PHASES;
use lifecycle_image::{Compression, NoProgress};
use lifecycle_layers::{FilesLayer, Kind, Packing, Style, TarReader, pack};
use lifecycle_spec::{ApiList, LifecycleToml};

use crate::{Release, VERSION};

/// Without these, pack takes no lifecycle (LT-01).
const DEMANDED: [&str; 7] = [
    "detector", "restorer", "analyzer", "builder", "exporter", "launcher", "creator",
];

/// The file at the root.
const DESCRIPTOR: &str = "lifecycle.toml";

/// Adds the lifecycle below `root`: the descriptor, and in a directory the programs, links for the phases, SBOMs.
pub(crate) fn add(release: &Release, layer: FilesLayer, root: &str) -> FilesLayer {
    let descriptor = LifecycleToml::own(VERSION).to_toml();
    let layer = layer
        .file(format!("{root}/{DESCRIPTOR}"), 0o644, descriptor.into_bytes())
        .directory(format!("{root}/lifecycle"), 0o755);
    let mut entries: BTreeMap<String, Entry<'_>> = BTreeMap::new();
    for phase in PHASES {
        entries.insert(phase.to_owned(), Entry::Link("lifecycle"));
    }
    entries.insert("lifecycle".to_owned(), Entry::Program(&release.program.path));
    entries.insert("launcher".to_owned(), Entry::Program(&release.launcher.path));
    for (program, sboms) in [
        ("lifecycle", &release.lifecycle_sboms),
        ("launcher", &release.launcher_sboms),
    ] {
        for sbom in sboms {
            let name = format!("{program}.sbom.{}", sbom.format.extension());
            entries.insert(name, Entry::Document(&sbom.text));
        }
    }
    entries.into_iter().fold(layer, |layer, (name, entry)| {
        let path = format!("{root}/lifecycle/{name}");
        match entry {
            Entry::Link(target) => layer.symlink(path, target, 0o777),
            Entry::Program(from) => layer.copy(path, 0o755, from),
            Entry::Document(text) => layer.file(path, 0o644, text.as_bytes()),
        }
    })
}

enum Entry<'a> {
    Link(&'static str),
    Program(&'a Path),
    Document(&'a str),
}

/// Writes the tarball to `path`.
pub(crate) fn write(release: &Release, path: &Path) -> Result<()> {
    let layer = FilesLayer::new("lifecycle", Style::Oci { latest: None }).mtime(release.epoch);
    let packing = Packing {
        compression: Compression::Gzip,
        level: Some(9),
        ..Packing::default()
    };
    let mut file = File::create(path)?;
    pack(&add(release, layer, ""), &packing, &mut file, &NoProgress)
        .with_context(|| format!("cannot write {}", path.display()))?;
    Ok(())
}

/// Reads a tarball as pack does, and says what it would complain about (LT-01, LCI-01, LCI-02).
pub(crate) fn check(path: &Path) -> Result<LifecycleToml> {
    let mut reader = TarReader::new(BufReader::new(MultiGzDecoder::new(File::open(path)?)));
    let mut descriptor = None;
    let mut programs: BTreeMap<String, Kind<'static>> = BTreeMap::new();
    while let Some(entry) = reader
        .next_entry()
        .with_context(|| format!("cannot read {}", path.display()))?
    {
        let name = String::from_utf8(entry.path.clone()).context("a name is not UTF-8")?;
        if name == DESCRIPTOR {
            descriptor = Some(LifecycleToml::parse(
                Path::new(DESCRIPTOR),
                &content(&mut reader)?,
            )?);
        } else if let Some((directory, file)) = name.split_once('/')
            && !directory.is_empty()
            && !file.is_empty()
            && !file.contains('/')
        {
            programs.insert(file.to_owned(), entry.kind);
        }
    }
    let descriptor =
        descriptor.with_context(|| format!("{} has no {DESCRIPTOR} at its root", path.display()))?;
    for name in DEMANDED {
        let Some(kind) = programs.get(name) else {
            bail!("{} has no program {name} one directory deep", path.display());
        };
        if let Kind::Symlink(target) = kind {
            let target = String::from_utf8_lossy(target);
            ensure!(
                programs.contains_key(&*target),
                "{name} is a link to {target}, which is not beside it"
            );
        }
    }
    for (api, list) in [
        ("buildpack", &descriptor.apis.buildpack),
        ("platform", &descriptor.apis.platform),
    ] {
        check_versions(list).with_context(|| format!("{DESCRIPTOR} is wrong about the {api} API"))?;
    }
    Ok(descriptor)
}

/// Versions are `major.minor` and ascend; what is deprecated is supported (LT-02, LCI-02).
fn check_versions(list: &ApiList) -> Result<()> {
    let parse = |text: &String| -> Result<(u64, u64)> {
        let parts = text
            .split_once('.')
            .and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
        parts.with_context(|| format!("{text} is not major.minor"))
    };
    let supported: Vec<_> = list.supported.iter().map(parse).collect::<Result<_>>()?;
    ensure!(!supported.is_empty(), "it supports no version");
    ensure!(
        supported.is_sorted_by(|one, other| one < other),
        "its versions do not ascend"
    );
    let unsupported = list
        .deprecated
        .iter()
        .find(|version| !list.supported.contains(version));
    ensure!(
        unsupported.is_none(),
        "a deprecated version is not supported: {unsupported:?}"
    );
    Ok(())
}

/// The data of the entry that `reader` is at.
fn content(reader: &mut TarReader<impl std::io::BufRead>) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    loop {
        let chunk = reader.chunk()?;
        if chunk.is_empty() {
            return Ok(bytes);
        }
        bytes.extend_from_slice(chunk);
        let count = chunk.len();
        reader.consume(count);
    }
}
