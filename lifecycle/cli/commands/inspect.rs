//! `lifecycle inspect`

use std::collections::BTreeMap;
use std::fmt::Write;

use lifecycle_attestation::REFERENCE_DIGEST;
use lifecycle_image::{Artifact, Descriptor, Digest, Image, Index, Platform};
use lifecycle_spec::label::{self, BuildLabel, LifecycleLabel};
use lifecycle_spec::{Process, SbomFormat};
use serde::Serialize;

use crate::arguments::{InspectArguments, OutputForm};
use crate::attestations;
use crate::console::{Column, Table, human_size};
use crate::failure::Failure;
use crate::layers::{self, LayerReport, Origin};
use crate::sboms;
use crate::session::{Found, Session};

/// What an image is made of.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    name: String,
    digest: String,
    platform: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<String>,
    /// Bytes of all layers as they are stored.
    size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    base: Option<Base>,
    buildpacks: Vec<Buildpack>,
    processes: Vec<ProcessReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sbom: Option<Sbom>,
    layers: Vec<LayerReport>,
    /// What says something about the image.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    referrers: Vec<Referrer>,
    config: Config,
}

#[derive(Debug, Serialize)]
struct Referrer {
    digest: String,
    kind: String,
}

/// The run image under an app image.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Base {
    #[serde(skip_serializing_if = "String::is_empty")]
    image: String,
    reference: String,
    layers: usize,
    size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    distribution: Option<String>,
    rebasable: bool,
}

#[derive(Debug, Serialize)]
struct Buildpack {
    id: String,
    version: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    homepage: Option<String>,
    /// Bytes of its layers as they are stored.
    size: u64,
}

#[derive(Debug, Serialize)]
struct ProcessReport {
    #[serde(rename = "type")]
    process_type: String,
    default: bool,
    command: Vec<String>,
    args: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    buildpack: Option<String>,
}

/// What the SBOM layer holds.
#[derive(Debug, Serialize)]
struct Sbom {
    layer: String,
    components: usize,
    files: Vec<String>,
    formats: Vec<&'static str>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Config {
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    working_dir: Option<String>,
    entrypoint: Vec<String>,
    cmd: Vec<String>,
    env: Vec<String>,
}

pub(crate) fn run(arguments: &InspectArguments, session: &Session) -> Result<(), Failure> {
    let found = session.find(&arguments.image)?;
    if let (Artifact::Index(index), None) = (&found.artifact, &arguments.platform) {
        return show_index(index, &found, arguments.output, session);
    }
    let image = found.image(arguments.platform.as_ref().unwrap_or(&Platform::host()))?;
    let mut report = report(&image, found.place.to_string(), session)?;
    report.referrers = referrers(&found, &image.digest()?, session);
    match arguments.output {
        OutputForm::Json => session.console.json(&report),
        OutputForm::Text => Ok(session.console.result(&text(&report)?)?),
    }
}

/// What refers to an image: members of its index, and what its registry lists.
fn referrers(found: &Found, image: &Digest, session: &Session) -> Vec<Referrer> {
    let mut all: BTreeMap<Digest, String> = BTreeMap::new();
    let mut add = |descriptor: &Descriptor| {
        let kind = descriptor.artifact_type.clone();
        let kind = kind.unwrap_or_else(|| descriptor.media_type.to_string());
        all.insert(descriptor.digest.clone(), kind);
    };
    if let Artifact::Index(index) = &found.artifact {
        let about = |member: &&Descriptor| {
            member.annotations.get(REFERENCE_DIGEST).map(String::as_str) == Some(image.as_str())
        };
        index.manifests.iter().filter(about).for_each(&mut add);
    }
    attestations::referrers(found, image, session)
        .iter()
        .for_each(&mut add);
    let referrers = all.into_iter().map(|(digest, kind)| Referrer {
        digest: digest.to_string(),
        kind,
    });
    referrers.collect()
}

fn show_index(index: &Index, found: &Found, form: OutputForm, session: &Session) -> Result<(), Failure> {
    let name = found.place.to_string();
    let digest = index.encode()?.descriptor.digest;
    if form == OutputForm::Json {
        let members: Vec<_> = index
            .manifests
            .iter()
            .map(|member| {
                serde_json::json!({
                    "platform": member.platform.as_ref().map(ToString::to_string),
                    "digest": member.digest.to_string(),
                })
            })
            .collect();
        let report = serde_json::json!({ "name": name, "digest": digest.to_string(), "images": members });
        return session.console.json(&report);
    }
    let mut table = Table::new([Column::Left("PLATFORM"), Column::Left("DIGEST")]);
    for member in index.images() {
        let platform = member
            .platform
            .as_ref()
            .map_or_else(|| "–".to_owned(), ToString::to_string);
        table.row([platform, member.digest.to_string()]);
    }
    let mut text = format!("Index     {name}\nDigest    {digest}\n\n{table}");
    let mut about = Table::new([Column::Left("ATTESTATION"), Column::Left("ABOUT")]);
    for member in &index.manifests {
        if let Some(image) = member.annotations.get(REFERENCE_DIGEST) {
            about.row([member.digest.as_str(), image]);
        }
    }
    if !about.is_empty() {
        write!(text, "\n{about}")?;
    }
    session.console.result(&text)?;
    session.console.info("an image of it is shown with --platform");
    Ok(())
}

fn report(image: &Image, name: String, session: &Session) -> Result<Report, Failure> {
    let config = image.config();
    let lifecycle = config
        .label(label::LIFECYCLE)
        .map(LifecycleLabel::parse)
        .transpose()?;
    let build = config.label(label::BUILD).map(BuildLabel::parse).transpose()?;
    let layers = layers::report(image, lifecycle.as_ref())?;
    let sbom = match &lifecycle {
        Some(label) => sbom(image, label, session)?,
        None => None,
    };
    let own = &config.config;
    Ok(Report {
        name,
        digest: image.digest()?.to_string(),
        platform: image.platform().to_string(),
        created: config.created.clone(),
        size: layers.iter().map(|layer| layer.size).sum(),
        base: lifecycle.as_ref().and_then(|label| base(image, label, &layers)),
        buildpacks: build
            .as_ref()
            .map(|build| buildpacks(build, &layers))
            .unwrap_or_default(),
        processes: build.as_ref().map(processes).unwrap_or_default(),
        sbom,
        layers,
        referrers: Vec::new(),
        config: Config {
            user: own.user.clone(),
            working_dir: own.working_dir.clone(),
            entrypoint: own.entrypoint.clone().unwrap_or_default(),
            cmd: own.cmd.clone().unwrap_or_default(),
            env: own.env.clone().unwrap_or_default(),
        },
    })
}

fn base(image: &Image, label: &LifecycleLabel, layers: &[LayerReport]) -> Option<Base> {
    let run_image = &label.run_image;
    if run_image.reference.is_empty() && run_image.source.image.is_empty() {
        return None;
    }
    let label_of = |key| image.config().label(key).filter(|text| !text.is_empty());
    let distribution = label_of(label::BASE_DISTRO_NAME).map(|name| {
        let version = label_of(label::BASE_DISTRO_VERSION).unwrap_or_default();
        format!("{name} {version}").trim_end().to_owned()
    });
    let own = || layers.iter().filter(|layer| layer.origin == Origin::Base);
    Some(Base {
        image: run_image.source.image.clone(),
        reference: run_image.reference.clone(),
        layers: own().count(),
        size: own().map(|layer| layer.size).sum(),
        distribution,
        // Images of before there was the label can be rebased.
        rebasable: label_of(label::REBASABLE) != Some("false"),
    })
}

fn buildpacks(build: &BuildLabel, layers: &[LayerReport]) -> Vec<Buildpack> {
    let size = |label: &str| {
        let own = |layer: &&LayerReport| matches!(&layer.origin, Origin::Buildpack { buildpack, .. } if buildpack == label);
        layers.iter().filter(own).map(|layer| layer.size).sum()
    };
    let buildpack = |module: &lifecycle_spec::GroupModule| Buildpack {
        id: module.id.to_string(),
        version: module.version.to_string(),
        homepage: module.homepage.clone().filter(|homepage| !homepage.is_empty()),
        size: size(&format!("{}@{}", module.id, module.version)),
    };
    build.buildpacks.iter().map(buildpack).collect()
}

fn processes(build: &BuildLabel) -> Vec<ProcessReport> {
    let report = |process: &Process| ProcessReport {
        default: build.default_process.as_ref() == Some(&process.process_type),
        process_type: process.process_type.clone(),
        command: process.command.clone(),
        args: process.args.clone().unwrap_or_default(),
        buildpack: process.buildpack_id.clone(),
    };
    build.processes.iter().map(report).collect()
}

/// What the SBOM layer holds; a damaged SBOM is worth a warning, not a failed inspection.
fn sbom(image: &Image, label: &LifecycleLabel, session: &Session) -> Result<Option<Sbom>, Failure> {
    let Ok(layer) = sboms::layer(image, label) else {
        return Ok(None);
    };
    let files = match sboms::read_quietly(image, label, session.scratch()?) {
        Ok(files) => files,
        Err(error) => {
            session.console.warning(format!("the SBOM is not shown: {error}"));
            return Ok(None);
        }
    };
    let has = |format: &SbomFormat| files.iter().any(|file| file.format == *format);
    Ok(Some(Sbom {
        layer: layer.diff_id()?.to_string(),
        components: sboms::count_components(&files).unwrap_or_default(),
        files: files.iter().map(|file| file.path.display().to_string()).collect(),
        formats: SbomFormat::ALL
            .iter()
            .filter(|format| has(format))
            .map(|format| format.media_type())
            .collect(),
    }))
}

fn text(report: &Report) -> Result<String, Failure> {
    let mut text = facts(report).to_string();
    if !report.buildpacks.is_empty() {
        let titles = [
            Column::Left("BUILDPACK"),
            Column::Left("VERSION"),
            Column::Right("SIZE"),
            Column::Left("HOMEPAGE"),
        ];
        let mut table = Table::new(titles);
        for buildpack in &report.buildpacks {
            let homepage = buildpack.homepage.as_deref().unwrap_or_default();
            table.row([
                buildpack.id.as_str(),
                &buildpack.version,
                &human_size(buildpack.size),
                homepage,
            ]);
        }
        write!(text, "\n{table}")?;
    }
    if !report.processes.is_empty() {
        let mut table = Table::new([
            Column::Left("PROCESS"),
            Column::Left("COMMAND"),
            Column::Left("FROM"),
        ]);
        for process in &report.processes {
            let name = if process.default {
                format!("{} (default)", process.process_type)
            } else {
                process.process_type.clone()
            };
            let words: Vec<String> = process
                .command
                .iter()
                .chain(&process.args)
                .map(|word| quoted(word))
                .collect();
            table.row([
                name,
                words.join(" "),
                process.buildpack.clone().unwrap_or_default(),
            ]);
        }
        write!(text, "\n{table}")?;
    }
    let mut table = Table::new([
        Column::Left("LAYER"),
        Column::Right("SIZE"),
        Column::Left("MADE BY"),
    ]);
    for layer in &report.layers {
        let digest: String = layer
            .diff_id
            .split(':')
            .nth(1)
            .unwrap_or_default()
            .chars()
            .take(12)
            .collect();
        table.row([digest, human_size(layer.size), layer.maker()]);
    }
    if !table.is_empty() {
        write!(text, "\n{table}")?;
    }
    if !report.referrers.is_empty() {
        let mut table = Table::new([Column::Left("REFERRER"), Column::Left("KIND")]);
        for referrer in &report.referrers {
            table.row([&referrer.digest, &referrer.kind]);
        }
        write!(text, "\n{table}")?;
    }
    Ok(text)
}

/// The lines at the top.
fn facts(report: &Report) -> Table {
    let mut facts = Table::new([Column::Left(""), Column::Left("")]);
    facts.row(["Image", &report.name]);
    facts.row(["Digest", &report.digest]);
    facts.row(["Platform", &report.platform]);
    if let Some(created) = &report.created {
        facts.row(["Created", created]);
    }
    let count = report.layers.len();
    let layers = if count == 1 { "layer" } else { "layers" };
    facts.row([
        "Size",
        &format!("{} in {count} {layers}", human_size(report.size)),
    ]);
    if let Some(base) = &report.base {
        let name = if base.image.is_empty() {
            &base.reference
        } else {
            &base.image
        };
        let distribution = base
            .distribution
            .as_ref()
            .map(|text| format!(", {text}"))
            .unwrap_or_default();
        let rebasable = if base.rebasable { "" } else { ", not rebasable" };
        facts.row([
            "Base",
            &format!("{name} ({}{distribution}{rebasable})", human_size(base.size)),
        ]);
    }
    if let Some(user) = &report.config.user {
        facts.row(["User", user]);
    }
    if report.processes.is_empty() {
        let words: Vec<String> = report
            .config
            .entrypoint
            .iter()
            .chain(&report.config.cmd)
            .map(|word| quoted(word))
            .collect();
        if !words.is_empty() {
            facts.row(["Command", &words.join(" ")]);
        }
    }
    if let Some(sbom) = &report.sbom {
        let count = |count: usize, one: &str| {
            if count == 1 {
                format!("1 {one}")
            } else {
                format!("{count} {one}s")
            }
        };
        let (components, files) = (
            count(sbom.components, "component"),
            count(sbom.files.len(), "file"),
        );
        facts.row(["SBOM", &format!("{components} in {files}; see `lifecycle sbom`")]);
    }
    facts
}

/// A word as a shell would take it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_when_they_need_it() {
        for (word, text) in [
            ("a-b", "a-b"),
            ("", "''"),
            ("a b", "'a b'"),
            ("it's", r"'it'\''s'"),
        ] {
            assert_eq!(quoted(word), text);
        }
    }
}
