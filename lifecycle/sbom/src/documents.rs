//! CycloneDX, SPDX and Syft: the same crates in three forms. What makes such documents differ from run to run (serial
//! numbers, the machine's name) is left out or follows from the content.

use lifecycle_image::Digest;
use lifecycle_spec::SbomFormat;
use serde_json::{Value, json};

use crate::{Crate, Crates, Identity};

/// A document in one format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// The format.
    pub format: SbomFormat,
    /// JSON.
    pub text: String,
}

impl Crates {
    /// One document for each format of the specification; `created` is their time.
    #[must_use]
    pub fn documents(&self, created: &str) -> Vec<Document> {
        let document = |format| {
            let value = match format {
                SbomFormat::CycloneDx => cyclonedx(self, created),
                SbomFormat::Spdx => spdx(self, created),
                SbomFormat::Syft => syft(self),
            };
            Document {
                format,
                text: format!("{value:#}\n"),
            }
        };
        SbomFormat::ALL.map(document).into()
    }
}

impl Identity {
    /// The package URL.
    fn purl(&self) -> String {
        format!("pkg:cargo/{}@{}", self.name, self.version.replace('+', "%2B"))
    }
}

/// CycloneDX 1.5.
fn cyclonedx(crates: &Crates, created: &str) -> Value {
    let component = |found: &Crate, kind: &str| {
        let identity = &found.identity;
        let mut value = json!({
            "type": kind,
            "bom-ref": identity.purl(),
            "name": identity.name,
            "version": identity.version,
            "purl": identity.purl(),
        });
        if let Some(license) = &found.license {
            value["licenses"] = json!([{"expression": expression(license)}]);
        }
        if let Some(checksum) = &found.checksum {
            value["hashes"] = json!([{"alg": "SHA-256", "content": checksum}]);
        }
        value
    };
    let (own, used): (Vec<_>, Vec<_>) = crates.all.iter().partition(|found| found.identity == crates.root);
    let depends = |found: &Crate| json!({"ref": found.identity.purl(), "dependsOn": found.uses.iter().map(Identity::purl).collect::<Vec<_>>()});
    json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "timestamp": created,
            "component": own.first().map(|found| component(found, "application")),
        },
        "components": used.iter().map(|found| component(found, "library")).collect::<Vec<_>>(),
        "dependencies": crates.all.iter().map(depends).collect::<Vec<_>>(),
    })
}

/// SPDX 2.3.
fn spdx(crates: &Crates, created: &str) -> Value {
    let package = |found: &Crate| {
        let identity = &found.identity;
        let license = found
            .license
            .as_deref()
            .map_or_else(|| "NOASSERTION".to_owned(), expression);
        let mut value = json!({
            "SPDXID": spdx_id(identity),
            "name": identity.name,
            "versionInfo": identity.version,
            "downloadLocation": "NOASSERTION",
            "filesAnalyzed": false,
            "licenseConcluded": "NOASSERTION",
            "licenseDeclared": license,
            "copyrightText": "NOASSERTION",
            "externalRefs": [{
                "referenceCategory": "PACKAGE-MANAGER",
                "referenceType": "purl",
                "referenceLocator": identity.purl(),
            }],
        });
        if let Some(checksum) = &found.checksum {
            value["checksums"] = json!([{"algorithm": "SHA256", "checksumValue": checksum}]);
        }
        value
    };
    let relationship = |one: &str, kind: &str, other: &str| json!({"spdxElementId": one, "relationshipType": kind, "relatedSpdxElement": other});
    let mut relationships = vec![relationship(
        "SPDXRef-DOCUMENT",
        "DESCRIBES",
        &spdx_id(&crates.root),
    )];
    for found in &crates.all {
        let used = found.uses.iter();
        relationships
            .extend(used.map(|used| relationship(&spdx_id(&found.identity), "DEPENDS_ON", &spdx_id(used))));
    }
    let packages: Vec<Value> = crates.all.iter().map(package).collect();
    // A namespace is unique for its content (SPDX 2.3, 6.5).
    let content = Digest::of(Value::from(packages.clone()).to_string().as_bytes());
    json!({
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": crates.root.name,
        "documentNamespace": format!("urn:lifecycle:spdx:{}:{}:{}", crates.root.name, crates.root.version, content.hex()),
        "creationInfo": {"created": created, "creators": [format!("Tool: lifecycle-{}", env!("CARGO_PKG_VERSION"))]},
        "packages": packages,
        "relationships": relationships,
    })
}

/// Syft's own JSON, schema 16.
fn syft(crates: &Crates) -> Value {
    let artifact = |found: &Crate| {
        let identity = &found.identity;
        let licenses = found.license.iter().map(|license| {
            let expression = expression(license);
            json!({"value": expression, "spdxExpression": expression, "type": "declared", "urls": [], "locations": []})
        });
        json!({
            "id": identifier(identity),
            "name": identity.name,
            "version": identity.version,
            "type": "rust-crate",
            "foundBy": "lifecycle",
            "locations": [],
            "licenses": licenses.collect::<Vec<_>>(),
            "language": "rust",
            "cpes": [],
            "purl": identity.purl(),
        })
    };
    let relationships = crates.all.iter().flat_map(|found| {
        // The arrow of Syft points from what is used to who uses it.
        found.uses.iter().map(|used| {
            json!({"parent": identifier(used), "child": identifier(&found.identity), "type": "dependency-of"})
        })
    });
    json!({
        "artifacts": crates.all.iter().map(artifact).collect::<Vec<_>>(),
        "artifactRelationships": relationships.collect::<Vec<_>>(),
        "source": {
            "id": identifier(&crates.root),
            "name": crates.root.name,
            "version": crates.root.version,
            "type": "file",
            "metadata": {"path": crates.root.name},
        },
        "distro": {},
        "descriptor": {"name": "lifecycle", "version": env!("CARGO_PKG_VERSION")},
        "schema": {
            "version": "16.0.0",
            "url": "https://raw.githubusercontent.com/anchore/syft/main/schema/json/schema-16.0.0.json",
        },
    })
}

/// Old manifests write `MIT/Apache-2.0` for what is `MIT OR Apache-2.0` in SPDX.
fn expression(license: &str) -> String {
    license.split('/').map(str::trim).collect::<Vec<_>>().join(" OR ")
}

/// Letters, digits, dots and dashes are all that an SPDX id may have.
fn spdx_id(identity: &Identity) -> String {
    let text = format!("SPDXRef-{}-{}", identity.name, identity.version);
    text.replace(|c: char| !c.is_ascii_alphanumeric() && c != '.', "-")
}

/// Syft identifies by 16 hexadecimal digits that follow from the content.
fn identifier(identity: &Identity) -> String {
    Digest::of(identity.purl().as_bytes()).hex()[..16].to_owned()
}
