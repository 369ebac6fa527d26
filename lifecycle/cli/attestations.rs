//! `--attest`, `--sbom`, `--provenance`: what is said about a result, and reading it again.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

use base64::Engine as _;
use lifecycle_attestation::{
    Material, Packages, Provenance, REFERENCE_DIGEST, SPDX_DOCUMENT, Statement, packages, read, spdx,
};
use lifecycle_dockerfile::is_secret_name;
use lifecycle_executor::{BuildReport, Ingredient, Options};
use lifecycle_image::{Artifact, Digest, Image, Platform, TransferError, TransferErrorKind};
use lifecycle_spec::SbomFormat;
use lifecycle_spec::label::{self, BuildLabel, LifecycleLabel};
use serde_json::{Map, Value, json};

use crate::arguments::OutputArguments;
use crate::attributes::Attributes;
use crate::console::Console;
use crate::context::shown;
use crate::failure::Failure;
use crate::output::{Attach, Attest};
use crate::place::Place;
use crate::sboms;
use crate::session::{Found, Session};

/// Who made a document.
const TOOL: &str = concat!("lifecycle-", env!("CARGO_PKG_VERSION"));

/// How much a provenance tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Detail {
    /// No values of arguments.
    Min,
    /// All, but what is secret by its name.
    Max,
}

/// Where a build's Dockerfile and contexts come from.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sources {
    /// What the Dockerfile comes from, if not from this machine.
    pub(crate) definition: Option<Material>,
    /// The names of what lies on this machine.
    pub(crate) locals: Vec<String>,
    /// Contexts that were fetched.
    pub(crate) contexts: Vec<Material>,
}

/// What is to be said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Attestations {
    pub(crate) sbom: bool,
    pub(crate) provenance: Option<Detail>,
    pub(crate) attach: Attach,
}

impl Attestations {
    pub(crate) fn parse(arguments: &OutputArguments) -> Result<Self, Failure> {
        let mut wanted = Self::default();
        for text in &arguments.attest {
            wanted.add(Attributes::parse("--attest", text)?, None)?;
        }
        for (option, kind, text) in [
            ("--sbom", "sbom", &arguments.sbom),
            ("--provenance", "provenance", &arguments.provenance),
        ] {
            match text.as_deref() {
                None | Some("false") => {}
                Some("true") => wanted.add(Attributes::parse(option, "disabled=false")?, Some(kind))?,
                Some(text) => wanted.add(Attributes::parse(option, text)?, Some(kind))?,
            }
        }
        Ok(wanted)
    }

    fn add(&mut self, mut attributes: Attributes, kind: Option<&str>) -> Result<(), Failure> {
        let kind = match kind {
            Some(kind) => kind.to_owned(),
            None => attributes.need("type")?,
        };
        let is_disabled = attributes.flag("disabled")?.unwrap_or(false);
        match attributes.take("attach")?.as_deref() {
            None => {}
            Some("index") => self.attach = Attach::Index,
            Some("referrer") => self.attach = Attach::Referrers,
            Some(other) => {
                return Err(attributes.wrong(format!("attach is index or referrer, not {other:?}")));
            }
        }
        match kind.as_str() {
            "sbom" => self.sbom = !is_disabled,
            "provenance" => {
                let detail = match attributes.take("mode")?.as_deref() {
                    None | Some("min") => Detail::Min,
                    Some("max") => Detail::Max,
                    Some(other) => return Err(attributes.wrong(format!("mode is min or max, not {other:?}"))),
                };
                if attributes.take("version")?.is_some_and(|version| version != "v1") {
                    return Err(attributes.wrong("only version v1 is written"));
                }
                self.provenance = (!is_disabled).then_some(detail);
            }
            other => return Err(attributes.wrong(format!("there is no attestation of type {other:?}"))),
        }
        attributes.finish()
    }

    fn is_any(self) -> bool {
        self.sbom || self.provenance.is_some()
    }

    /// What is said about the images of a Dockerfile.
    pub(crate) fn of_dockerfile(
        self,
        options: &Options,
        sources: &Sources,
        reports: &[&BuildReport],
        started: i64,
        console: &Console,
    ) -> Option<Arc<dyn Attest>> {
        if !self.is_any() {
            return None;
        }
        let provenance = self.provenance.map(|detail| {
            let of = |report: &&BuildReport| {
                (
                    report.image.platform(),
                    provenance(options, sources, report, detail, started),
                )
            };
            reports.iter().map(of).collect()
        });
        Some(Arc::new(DockerfileStatements {
            sbom: self.sbom,
            provenance: provenance.unwrap_or_default(),
            created: options.epoch.unwrap_or(started),
            console: console.clone(),
        }))
    }

    /// What is said about an app image: all of it is in its labels and in its SBOM layer.
    pub(crate) fn of_app(
        self,
        created: Option<i64>,
        session: &Session,
    ) -> Result<Option<Arc<dyn Attest>>, Failure> {
        if !self.is_any() {
            return Ok(None);
        }
        Ok(Some(Arc::new(AppStatements {
            wanted: self,
            created,
            scratch: session.scratch()?.to_owned(),
        })))
    }
}

/// What is said about the images of a Dockerfile.
#[derive(Debug)]
struct DockerfileStatements {
    sbom: bool,
    provenance: HashMap<Platform, Provenance>,
    created: i64,
    console: Console,
}

impl Attest for DockerfileStatements {
    fn statements(&self, image: &Image) -> Result<Vec<Statement>, TransferError> {
        let mut statements = Vec::new();
        if self.sbom {
            let found = packages(image).map_err(|error| {
                TransferError::caused(
                    TransferErrorKind::Corrupt,
                    "cannot list what is in the image",
                    error,
                )
            })?;
            self.tell(&found);
            statements.push(Statement {
                predicate_type: SPDX_DOCUMENT.to_owned(),
                predicate: spdx(
                    "image",
                    &image.encode_config()?.descriptor.digest,
                    &found,
                    self.created,
                    TOOL,
                ),
            });
        }
        if let Some(provenance) = self.provenance.get(&image.platform()) {
            statements.push(provenance.statement());
        }
        Ok(statements)
    }
}

impl DockerfileStatements {
    fn tell(&self, found: &Packages) {
        for path in &found.unread {
            self.console.warning(format!(
                "the SBOM lacks the packages in /{path}: databases of RPM cannot be read"
            ));
        }
        self.console.info(format!("SBOM: {} packages", found.list.len()));
    }
}

fn provenance(
    options: &Options,
    sources: &Sources,
    report: &BuildReport,
    detail: Detail,
    started: i64,
) -> Provenance {
    let used = report.ingredients.iter().map(material);
    let mut provenance = Provenance {
        frontend: "dockerfile.v0".to_owned(),
        definition: Some(file_name(&options.name)),
        source: sources.definition.clone(),
        locals: sources.locals.clone(),
        builder_platform: options.platforms.build.to_string(),
        materials: used.chain(sources.contexts.iter().cloned()).collect(),
        // With a fixed time the same build says the same.
        times: options.epoch.is_none().then(|| (started, now())),
        ..Provenance::default()
    };
    if detail == Detail::Max {
        provenance.arguments = arguments(options);
        provenance.secrets = options.secrets.keys().cloned().collect();
        provenance.agents = options.ssh.keys().cloned().collect();
        let data = base64::prelude::BASE64_STANDARD.encode(&options.dockerfile);
        let info = json!({ "filename": file_name(&options.name), "language": "Dockerfile", "data": data });
        provenance.metadata = Map::from_iter([("source".to_owned(), json!({ "infos": [info] }))]);
    }
    provenance
}

fn material(used: &Ingredient) -> Material {
    match used {
        Ingredient::Image {
            name,
            platform,
            is_local: false,
            digest,
        } => Material::image(name, platform, digest),
        Ingredient::Image {
            name,
            platform,
            digest,
            ..
        } => Material::layout(name, platform, digest),
        Ingredient::File { url, digest } => Material::file(shown(url), digest),
        Ingredient::Repository {
            url,
            reference: None,
            commit,
        } => Material::repository(shown(url), commit),
        Ingredient::Repository {
            url,
            reference: Some(reference),
            commit,
        } => Material::repository(format!("{}#{reference}", shown(url)), commit),
    }
}

/// Where a Dockerfile lay on this machine is nobody's business.
fn file_name(path: &str) -> String {
    path.rsplit('/').next().unwrap_or(path).to_owned()
}

/// Arguments as BuildKit names them. What is secret by its name has no value here; proxies are left out, as they may hold
/// passwords.
fn arguments(options: &Options) -> BTreeMap<String, String> {
    let mut arguments = BTreeMap::new();
    let proxies = options.build_args.proxies();
    for (name, value) in options.build_args.iter() {
        if proxies.iter().any(|(proxy, _)| proxy == name) {
            continue;
        }
        let value = if is_secret_name(name) { "" } else { value };
        arguments.insert(format!("build-arg:{name}"), value.to_owned());
    }
    for (name, value) in &options.labels {
        arguments.insert(format!("label:{name}"), value.clone());
    }
    if let Some(target) = &options.target {
        arguments.insert("target".to_owned(), target.clone());
    }
    arguments
}

/// What is said about an app image.
#[derive(Debug)]
struct AppStatements {
    wanted: Attestations,
    created: Option<i64>,
    scratch: PathBuf,
}

impl Attest for AppStatements {
    fn statements(&self, image: &Image) -> Result<Vec<Statement>, TransferError> {
        let failed = |error: Box<dyn std::error::Error + Send + Sync>| {
            TransferError::caused(
                TransferErrorKind::Corrupt,
                "cannot read what buildpacks wrote down",
                error,
            )
        };
        let config = image.config();
        let lifecycle = config.label(label::LIFECYCLE).map(LifecycleLabel::parse);
        let lifecycle = lifecycle.transpose().map_err(|error| failed(error.into()))?;
        let mut statements = Vec::new();
        if let (true, Some(label)) = (self.wanted.sbom, &lifecycle)
            && sboms::layer(image, label).is_ok()
        {
            let files =
                sboms::read_quietly(image, label, &self.scratch).map_err(|error| failed(error.into()))?;
            for file in files {
                let predicate = serde_json::from_slice(&file.bytes).map_err(|error| failed(error.into()))?;
                statements.push(Statement {
                    predicate_type: predicate_type(file.format).to_owned(),
                    predicate,
                });
            }
        }
        if let Some(detail) = self.wanted.provenance {
            let build = config.label(label::BUILD).map(BuildLabel::parse);
            let build = build.transpose().map_err(|error| failed(error.into()))?;
            statements.push(
                self.provenance(image, lifecycle.as_ref(), build.as_ref(), detail)
                    .statement(),
            );
        }
        Ok(statements)
    }
}

impl AppStatements {
    fn provenance(
        &self,
        image: &Image,
        lifecycle: Option<&LifecycleLabel>,
        build: Option<&BuildLabel>,
        detail: Detail,
    ) -> Provenance {
        let mut provenance = Provenance {
            frontend: "buildpacks".to_owned(),
            locals: vec!["context".to_owned()],
            builder_platform: Platform::host().to_string(),
            times: self.created.is_none().then(|| (now(), now())),
            ..Provenance::default()
        };
        let reference = lifecycle
            .map(|label| label.run_image.reference.as_str())
            .unwrap_or_default();
        if let Some((name, digest)) = reference.split_once('@')
            && let Ok(digest) = digest.parse::<Digest>()
        {
            let platform = image.platform().to_string();
            provenance
                .materials
                .push(Material::image(name, &platform, &digest));
        }
        let modules = build.map(|build| build.buildpacks.as_slice()).unwrap_or_default();
        for module in modules {
            provenance.materials.push(Material {
                uri: format!("urn:cnb:registry:{}@{}", module.id, module.version),
                digest: BTreeMap::new(),
            });
        }
        if detail == Detail::Max {
            let buildpacks: Vec<Value> = modules
                .iter()
                .map(|module| json!({ "id": module.id.to_string(), "version": module.version.to_string() }))
                .collect();
            provenance.metadata = Map::from_iter([("buildpacks".to_owned(), Value::Array(buildpacks))]);
        }
        provenance
    }
}

fn predicate_type(format: SbomFormat) -> &'static str {
    match format {
        SbomFormat::CycloneDx => "https://cyclonedx.org/bom",
        SbomFormat::Spdx => SPDX_DOCUMENT,
        SbomFormat::Syft => "https://syft.dev/bom",
    }
}

/// Whether a statement lists what is in an image.
pub(crate) fn is_sbom(statement: &Statement) -> bool {
    let formats = [SbomFormat::CycloneDx, SbomFormat::Spdx, SbomFormat::Syft];
    formats
        .into_iter()
        .any(|format| statement.predicate_type.starts_with(predicate_type(format)))
}

/// What is said about an image: in the index that it is a member of, and in its registry's list of referrers.
pub(crate) fn statements(
    found: &Found,
    image: &Digest,
    session: &Session,
) -> Result<Vec<Statement>, Failure> {
    let mut statements = Vec::new();
    let mut seen = Vec::new();
    if let Artifact::Index(index) = &found.artifact {
        for member in &index.manifests {
            if member.annotations.get(REFERENCE_DIGEST).map(String::as_str) == Some(image.as_str()) {
                statements.extend(read(&found.member(&member.digest)?)?);
                seen.push(member.digest.clone());
            }
        }
    }
    for referrer in referrers(found, image, session) {
        if !seen.contains(&referrer.digest)
            && let Ok(carrier) = found.member(&referrer.digest)
        {
            statements.extend(read(&carrier)?);
        }
    }
    Ok(statements)
}

/// What refers to an image in its registry. A registry that does not say is asked for no more than a list.
pub(crate) fn referrers(
    found: &Found,
    image: &Digest,
    session: &Session,
) -> Vec<lifecycle_image::Descriptor> {
    let name = match (&found.place, &found.name) {
        (Place::Registry(_) | Place::Nearest(_), Some(name)) if found.is_remote => name,
        _ => return Vec::new(),
    };
    let list = session
        .registry()
        .and_then(|registry| Ok(registry.referrers(name.repository(), image, None)?));
    list.unwrap_or_default()
}

/// The present time in seconds since 1970.
pub(crate) fn now() -> i64 {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
