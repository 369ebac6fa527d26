//! What is said about an image: signatures, SBOMs, attestations.
//!
//! Registries of version 1.1 of the distribution specification keep the list themselves. For others it is kept under
//! a tag that is made from the digest, by everybody who adds to it.

use lifecycle_image::{Descriptor, Digest, Family, Index, Manifest, RawDocument, Repository};

use crate::Error;
use crate::push::put_document;
use crate::transport::{Place, Target, Transport};

/// The tag that stands in for the list (OCI distribution specification, "Referrers Tag Schema").
fn fallback_tag(subject: &Digest) -> String {
    let hex: String = subject.hex().chars().take(64).collect();
    format!("{}-{hex}", subject.algorithm())
}

impl Transport {
    /// What refers to `subject`, of one kind or of all.
    pub(crate) async fn referrers(
        &self,
        repository: &Repository,
        subject: &Digest,
        artifact_type: Option<&str>,
    ) -> Result<Vec<Descriptor>, Error> {
        self.first(repository, |place| async move {
            let mut route = format!("referrers/{subject}");
            if let Some(kind) = artifact_type {
                let kind: String = url::form_urlencoded::byte_serialize(kind.as_bytes()).collect();
                route = format!("{route}?artifactType={kind}");
            }
            let members = match self.pages::<Index>(&place, Target::Route(route)).await {
                Ok(pages) => pages.into_iter().flat_map(|page| page.manifests).collect(),
                Err(error) if error.is_not_found() => self.fallback(&place, subject).await?.manifests,
                Err(error) => return Err(error),
            };
            // The registry need not filter, and a tag cannot.
            let wanted = |member: &Descriptor| match artifact_type {
                Some(kind) => member.artifact_type.as_deref() == Some(kind),
                None => true,
            };
            Ok(members.into_iter().filter(wanted).collect())
        })
        .await
    }

    /// The list under the tag; an empty one if there is none.
    async fn fallback(&self, place: &Place, subject: &Digest) -> Result<Index, Error> {
        let empty = || Index::new(Family::Oci, Vec::new());
        match self.manifest(place, &fallback_tag(subject), None).await {
            Ok(document) if document.descriptor.media_type.is_index() => {
                Ok(Index::parse(document.bytes, &document.descriptor.media_type)?)
            }
            Ok(_) => Err(Error::Unsupported(format!(
                "{place} has something else than a list under the tag {}",
                fallback_tag(subject)
            ))),
            Err(error) if error.is_not_found() => Ok(empty()),
            Err(error) => Err(error),
        }
    }

    /// Adds to the list under the tag, for a registry that keeps none itself. Two who do so at the same time may
    /// lose one of their entries; the specification has no remedy.
    pub(crate) async fn refer(
        &self,
        place: &Place,
        document: &RawDocument,
        manifest: &Manifest,
    ) -> Result<(), Error> {
        let Some(subject) = &manifest.subject else {
            return Ok(());
        };
        let old = self.fallback(place, &subject.digest).await?;
        let own = &document.descriptor.digest;
        if old.manifests.iter().any(|member| member.digest == *own) {
            return Ok(());
        }
        let kind = manifest.artifact_type.clone();
        let entry = Descriptor {
            artifact_type: kind.or_else(|| Some(manifest.config.media_type.to_string())),
            annotations: manifest.annotations.clone(),
            ..document.descriptor.clone()
        };
        let members = old.manifests.into_iter().chain([entry]).collect();
        let mut list = Index::new(Family::Oci, members);
        list.annotations = old.annotations;
        let document = list.encode()?;
        let request = put_document(place, &fallback_tag(&subject.digest), &document);
        self.send(place, &request).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tag_is_a_tag() {
        let digest: Digest = format!("sha512:{}", "a".repeat(128)).parse().unwrap();
        let tag = fallback_tag(&digest);
        assert_eq!(tag, format!("sha512-{}", "a".repeat(64)));
        assert!(
            format!("r.test/a:{tag}")
                .parse::<lifecycle_image::Reference>()
                .is_ok()
        );
    }
}
