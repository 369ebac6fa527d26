//! Writes what builds of a Dockerfile came to: an image, or an index of one for each platform.

use lifecycle_executor::{BuildReport, Options};
use lifecycle_image::{Descriptor, Digest, Family, Image, Index, Receipt, Reference};

use super::annotations;
use crate::arguments::BuildArguments;
use crate::attestations::{Attestations, Sources};
use crate::caches::Keeping;
use crate::failure::Failure;
use crate::output::{Finish, Output};
use crate::session::Session;
use crate::transfer;

/// Where the images go, and what else is written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Writing<'a> {
    pub(super) arguments: &'a BuildArguments,
    pub(super) names: &'a [Reference],
    pub(super) output: &'a Output,
    pub(super) wanted: Attestations,
    pub(super) sources: &'a Sources,
    pub(super) keepings: &'a [Keeping],
    pub(super) started: i64,
}

impl Writing<'_> {
    /// Writes the image or the index, while layers are still being made.
    pub(super) fn write(
        self,
        options: &Options,
        reports: &[BuildReport],
        session: &Session,
    ) -> Result<(Receipt, Option<Digest>), Failure> {
        let all: Vec<&BuildReport> = reports.iter().collect();
        let mut base = Vec::new();
        for report in reports {
            for layer in &report.image.layers()[..report.base_layers.min(report.image.layers().len())] {
                base.push(layer.diff_id()?);
            }
        }
        let finish = Finish {
            latest: options.epoch,
            annotations: annotations(self.arguments)?,
            base,
            attest: self
                .wanted
                .of_dockerfile(options, self.sources, &all, self.started, &session.console),
            attach: self.wanted.attach,
        };
        let destination = self.output.open(self.names, finish, session)?;
        let mut upload = destination.sink.begin(&destination.names)?;
        for report in reports {
            transfer::send_layers(&mut *upload, &report.image);
        }
        if let [report] = reports {
            let image = self.image(report)?;
            let config = image.encode_config()?.descriptor.digest;
            // A table of contents changes the diff IDs, and with them the configuration.
            let is_kept = !self.output.form.packing.is_some_and(|packing| packing.stargz);
            return Ok((upload.finish(&image)?, is_kept.then_some(config)));
        }
        let mut members = Vec::new();
        for report in reports {
            let image = self.image(report)?;
            upload.member(&image)?;
            members.push(Descriptor {
                platform: Some(image.platform()),
                ..image.encode_manifest()?.descriptor
            });
        }
        let index = Index::new(Family::Oci, members);
        Ok((upload.finish_index(&index)?, None))
    }

    fn image(self, report: &BuildReport) -> Result<Image, Failure> {
        if self
            .keepings
            .iter()
            .any(|keeping| matches!(keeping, Keeping::Inline))
        {
            Ok(report.with_inline_cache()?)
        } else {
            Ok(report.image.clone())
        }
    }
}
