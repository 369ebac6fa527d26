//! SPDX documents (SPDX specification 2.3, JSON).

use lifecycle_image::Digest;
use serde_json::{Value, json};

use crate::packages::Packages;

/// A document about the file system of an image, whose layers `digest` stands for.
///
/// `created` is the time of the document in seconds since 1970, `tool` who made it.
pub fn spdx(name: &str, digest: &Digest, packages: &Packages, created: i64, tool: &str) -> Value {
    let created = jiff::Timestamp::from_second(created)
        .unwrap_or_default()
        .to_string();
    let mut relationships = Vec::new();
    let mut list = Vec::new();
    for package in &packages.list {
        let id = format!(
            "SPDXRef-Package-{}",
            &Digest::of(package.purl.as_bytes()).hex()[..16]
        );
        relationships.push(json!({
            "spdxElementId": "SPDXRef-DOCUMENT",
            "relationshipType": "DESCRIBES",
            "relatedSpdxElement": id,
        }));
        let supplier = match package.supplier.as_str() {
            "" => "NOASSERTION".to_owned(),
            supplier => format!("Person: {supplier}"),
        };
        list.push(json!({
            "name": package.name,
            "SPDXID": id,
            "versionInfo": package.version,
            "supplier": supplier,
            "downloadLocation": "NOASSERTION",
            "filesAnalyzed": false,
            "licenseConcluded": "NOASSERTION",
            // Databases write licences in many ways; as it stands there it need not be an SPDX expression.
            "licenseDeclared": "NOASSERTION",
            "licenseComments": package.license,
            "copyrightText": "NOASSERTION",
            "externalRefs": [{
                "referenceCategory": "PACKAGE-MANAGER",
                "referenceType": "purl",
                "referenceLocator": package.purl,
            }],
        }));
    }
    let mut document = json!({
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": name,
        "documentNamespace": format!("urn:oci:{digest}"),
        "creationInfo": { "created": created, "creators": [format!("Tool: {tool}")] },
        "packages": list,
        "relationships": relationships,
    });
    if let Some(distribution) = &packages.distribution {
        document["comment"] = json!(format!("packages of {distribution}"));
    }
    document
}
