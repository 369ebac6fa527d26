//! How an image was built (SLSA 1.0 "Provenance", with BuildKit's fields; dockerfile.md P1).

use std::collections::{BTreeMap, BTreeSet};

use lifecycle_image::Digest;
use serde_json::{Map, Value, json};

use crate::packages::encode;
use crate::statement::{SLSA_PROVENANCE, Statement};

/// The form of the parameters: BuildKit's.
const BUILD_TYPE: &str = "https://github.com/moby/buildkit/blob/master/docs/attestations/slsa-definitions.md";

/// Something that a build was made from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Material {
    /// Where it is: a package URL for an image, else an address. No credentials.
    pub uri: String,
    /// What it was: digests by their algorithm.
    pub digest: BTreeMap<String, String>,
}

impl Material {
    /// An image under the name that it was asked for by, and its platform.
    pub fn image(name: &str, platform: &str, digest: &Digest) -> Self {
        Self::package("docker", name, platform, digest)
    }

    /// An image of an OCI layout, which has no name but the one that the build gives it.
    pub fn layout(name: &str, platform: &str, digest: &Digest) -> Self {
        Self::package("oci", name, platform, digest)
    }

    fn package(kind: &str, name: &str, platform: &str, digest: &Digest) -> Self {
        let (name, tag) = match name.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, tag),
            _ => (name, "latest"),
        };
        let name = name.split('@').next().unwrap_or(name);
        let name: Vec<String> = name.split('/').map(encode).collect();
        Self {
            uri: format!(
                "pkg:{kind}/{}@{}?platform={}",
                name.join("/"),
                encode(tag),
                encode(platform)
            ),
            digest: set(digest),
        }
    }

    /// A file of the web or of a store.
    pub fn file(uri: impl Into<String>, digest: &Digest) -> Self {
        Self {
            uri: uri.into(),
            digest: set(digest),
        }
    }

    /// A commit of a git repository, whose address may end in `#` and the reference that was asked for.
    pub fn repository(uri: impl Into<String>, commit: &str) -> Self {
        // Git's own digests have one of two lengths.
        let algorithm = if commit.len() == 64 { "sha256" } else { "sha1" };
        Self {
            uri: uri.into(),
            digest: BTreeMap::from([(algorithm.to_owned(), commit.to_owned())]),
        }
    }
}

fn set(digest: &Digest) -> BTreeMap<String, String> {
    BTreeMap::from([(digest.algorithm().to_owned(), digest.hex().to_owned())])
}

/// How an image was built. What is empty is left out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Provenance {
    /// What made it: `dockerfile.v0`, `buildpacks`.
    pub frontend: String,
    /// The file that says how: its path, if there is one.
    pub definition: Option<String>,
    /// What that file comes from, if not from this machine.
    pub source: Option<Material>,
    /// Parameters that were given: arguments, labels, the target.
    pub arguments: BTreeMap<String, String>,
    /// Ids of secrets, and whether a step could do without. Never a value.
    pub secrets: Vec<String>,
    /// Ids of ssh agents.
    pub agents: Vec<String>,
    /// Names of local directories.
    pub locals: Vec<String>,
    /// Where it was built.
    pub builder_platform: String,
    /// Who built it, a URI; of the caller.
    pub builder_id: String,
    /// What it was made from.
    pub materials: Vec<Material>,
    /// When, in seconds since 1970. Without them the same build says the same.
    pub times: Option<(i64, i64)>,
    /// More, which only belongs to the whole truth (`mode=max`).
    pub metadata: Map<String, Value>,
}

impl Provenance {
    /// The statement.
    pub fn statement(&self) -> Statement {
        let mut request = Map::new();
        request.insert("frontend".to_owned(), json!(self.frontend));
        if !self.arguments.is_empty() {
            request.insert("args".to_owned(), json!(self.arguments));
        }
        for (key, names, field) in [
            ("secrets", &self.secrets, "id"),
            ("ssh", &self.agents, "id"),
            ("locals", &self.locals, "name"),
        ] {
            if !names.is_empty() {
                let names: Vec<Value> = names.iter().map(|name| json!({ field: name })).collect();
                request.insert(key.to_owned(), json!(names));
            }
        }
        let mut parameters = Map::new();
        let mut source = self.source.as_ref().map(describe).unwrap_or_default();
        if let Some(definition) = &self.definition {
            source.insert("path".to_owned(), json!(definition));
        }
        if !source.is_empty() {
            parameters.insert("configSource".to_owned(), Value::Object(source));
        }
        parameters.insert("request".to_owned(), Value::Object(request));
        // Each once, in one order, whichever step was first.
        let materials: BTreeSet<&Material> = self.materials.iter().collect();
        let materials: Vec<Map<String, Value>> = materials.into_iter().map(describe).collect();
        let mut metadata = Map::new();
        if let Some((started, finished)) = self.times {
            let time = |seconds| {
                jiff::Timestamp::from_second(seconds)
                    .unwrap_or_default()
                    .to_string()
            };
            metadata.insert("startedOn".to_owned(), json!(time(started)));
            metadata.insert("finishedOn".to_owned(), json!(time(finished)));
        }
        metadata.insert("buildkit_reproducible".to_owned(), json!(false));
        metadata.insert(
            "buildkit_completeness".to_owned(),
            json!({ "request": !self.metadata.is_empty(), "resolvedDependencies": false }),
        );
        if !self.metadata.is_empty() {
            metadata.insert("buildkit_metadata".to_owned(), json!(self.metadata));
        }
        Statement {
            predicate_type: SLSA_PROVENANCE.to_owned(),
            predicate: json!({
                "buildDefinition": {
                    "buildType": BUILD_TYPE,
                    "externalParameters": parameters,
                    "internalParameters": { "builderPlatform": self.builder_platform },
                    "resolvedDependencies": materials,
                },
                "runDetails": { "builder": { "id": self.builder_id }, "metadata": metadata },
            }),
        }
    }
}

fn describe(material: &Material) -> Map<String, Value> {
    let mut described = Map::from_iter([("uri".to_owned(), json!(material.uri))]);
    if !material.digest.is_empty() {
        described.insert("digest".to_owned(), json!(material.digest));
    }
    described
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_named_by_a_package_url_p1() {
        let digest = Digest::of(b"");
        for (name, uri) in [
            (
                "docker.io/library/busybox:1",
                "pkg:docker/docker.io/library/busybox@1?platform=linux%2Famd64",
            ),
            (
                "localhost:5000/a",
                "pkg:docker/localhost:5000/a@latest?platform=linux%2Famd64",
            ),
        ] {
            assert_eq!(Material::image(name, "linux/amd64", &digest).uri, uri);
        }
    }

    #[test]
    fn what_it_was_made_from_is_told_with_digests_p1() {
        let digest = Digest::of(b"");
        let commit = "0123456789012345678901234567890123456789";
        let repository = Material::repository("https://example.test/r.git#main", commit);
        let provenance = Provenance {
            definition: Some("Dockerfile".to_owned()),
            source: Some(repository.clone()),
            materials: vec![
                Material::file("https://example.test/f", &digest),
                repository.clone(),
                repository,
                Material::layout("base", "linux/amd64", &digest),
            ],
            ..Provenance::default()
        };
        let definition = &provenance.statement().predicate["buildDefinition"];
        assert_eq!(
            definition["externalParameters"]["configSource"],
            json!({ "uri": "https://example.test/r.git#main", "digest": { "sha1": commit }, "path": "Dockerfile" })
        );
        assert_eq!(
            definition["resolvedDependencies"],
            json!([
                { "uri": "https://example.test/f", "digest": { "sha256": digest.hex() } },
                { "uri": "https://example.test/r.git#main", "digest": { "sha1": commit } },
                { "uri": "pkg:oci/base@latest?platform=linux%2Famd64", "digest": { "sha256": digest.hex() } },
            ])
        );
        let sha256 = Material::repository("r", &"0".repeat(64));
        assert!(sha256.digest.contains_key("sha256"));
    }
}
