//! An image of an OCI layout as a named context (F9).

use std::sync::Arc;

use lifecycle_executor::NamedContext;
use lifecycle_image::layout::Layout;
use lifecycle_image::{Artifact, Digest, Image, Reference, Source, TransferError};

use crate::failure::Failure;

/// One image, or index of images, of a layout; it answers to every name.
#[derive(Debug)]
pub(crate) struct LayoutImage {
    layout: Layout,
    artifact: Artifact,
}

impl LayoutImage {
    /// What `DIRECTORY[:NAME][@DIGEST]` stands for; without either, the layout's only image.
    pub(crate) fn find(text: &str) -> Result<NamedContext, Failure> {
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest)),
            None => (text, None),
        };
        let (directory, name) = match rest.rsplit_once(':') {
            Some((directory, name)) if !name.contains('/') => (directory, Some(name)),
            _ => (rest, None),
        };
        let layout = Layout::open(directory)?;
        let artifact = match digest {
            Some(digest) => layout.artifact(&format!("layout@{digest}").parse()?)?,
            None => layout.named(name)?,
        };
        Ok(NamedContext::Image {
            source: Some(Arc::new(Self { layout, artifact })),
            reference: "layout".parse()?,
        })
    }
}

impl Source for LayoutImage {
    fn artifact(&self, _: &Reference) -> Result<Artifact, TransferError> {
        Ok(self.artifact.clone())
    }

    fn member(&self, reference: &Reference, digest: &Digest) -> Result<Image, TransferError> {
        self.layout.member(reference, digest)
    }
}
