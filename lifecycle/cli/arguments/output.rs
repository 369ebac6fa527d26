//! What a build writes besides the image, and on it.

use std::path::PathBuf;

use clap::Args;

/// Annotations, attestations, files about the result.
#[derive(Debug, Args)]
#[command(next_help_heading = "Output options")]
pub(crate) struct OutputArguments {
    /// Annotation of the image's manifest, of its descriptor in an index, or of the index
    #[arg(
        long = "annotation",
        value_name = "[manifest:|index:|manifest-descriptor:]KEY=VALUE"
    )]
    pub(crate) annotations: Vec<String>,
    /// Say what is in the image or how it was built: sbom or provenance, with mode=min|max and attach=index|referrer
    #[arg(long, value_name = "type=sbom|provenance[,mode=max]")]
    pub(crate) attest: Vec<String>,
    /// The same as --attest type=sbom
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "true|false")]
    pub(crate) sbom: Option<String>,
    /// The same as --attest type=provenance
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "true|false|mode=max")]
    pub(crate) provenance: Option<String>,
    /// Write what is known about the result into a file, as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) metadata_file: Option<PathBuf>,
    /// Write the image's id, the digest of its configuration, into a file
    #[arg(long, value_name = "FILE")]
    pub(crate) iidfile: Option<PathBuf>,
}
