//! Archives that ADD unpacks (H25, H26).

use std::fs::File;
use std::io::{self, BufReader, Read, Seek as _};
use std::os::fd::AsFd as _;
use std::path::Path;

use lifecycle_image::{Compression, NoProgress};
use lifecycle_layers::{ExtractOptions, Extracted, TarReader, Whiteouts, extract};

use crate::error::StepError;
use crate::powers::Powers;

/// How an archive is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Plain,
    Gzip,
    Bzip2,
    Xz,
    Zstd,
}

/// The bytes that compressed files begin with.
const SIGNATURES: [(&[u8], Form); 4] = [
    (b"\x1f\x8b", Form::Gzip),
    (b"BZh", Form::Bzip2),
    (b"\xfd7zXZ\0", Form::Xz),
    (b"\x28\xb5\x2f\xfd", Form::Zstd),
];

/// Whether a file is a tar, plain or compressed: told by its content, never by its name (H25). Leaves the file at its
/// beginning.
///
/// # Errors
/// When the file cannot be read.
pub fn is_archive(file: &mut File) -> io::Result<bool> {
    let form = form_of(file)?;
    let mut reader = TarReader::new(BufReader::with_capacity(4096, decompress(&*file, form)?));
    let is_archive = matches!(reader.next_entry(), Ok(Some(_)));
    drop(reader);
    file.rewind()?;
    Ok(is_archive)
}

/// Unpacks an archive into an empty directory. Nothing in it can lead out of there. Owners are those of the archive;
/// where files cannot be given away, the table has them, and devices that cannot be made here are told apart, so that
/// the layer is the same whoever makes it.
pub(crate) fn unpack(
    mut file: File,
    what: &str,
    into: &Path,
    powers: Powers,
) -> Result<Extracted, StepError> {
    let read = |cause| StepError::Io {
        action: format!("read {what}"),
        cause,
    };
    let form = form_of(&mut file).map_err(read)?;
    let plain = decompress(file, form).map_err(read)?;
    let directory = File::open(into).map_err(StepError::io(format!("open {}", into.display())))?;
    let options = ExtractOptions {
        whiteouts: Whiteouts::Literal,
        ownership: powers.ownership(),
        refused: powers.tree_form().refused,
        ..ExtractOptions::default()
    };
    let extracted = extract(
        plain,
        Some(Compression::None),
        directory.as_fd(),
        &options,
        &NoProgress,
    );
    let extracted = extracted.map_err(|cause| StepError::Extract {
        what: what.to_owned(),
        cause,
    })?;
    match extracted.skipped.iter().find(|skipped| skipped.what != "device") {
        None => Ok(extracted),
        Some(skipped) => Err(StepError::Unsupported {
            what: format!("{} of /{} in {what}", skipped.what, skipped.path),
            reason: skipped.reason.clone(),
        }),
    }
}

fn form_of(file: &mut File) -> io::Result<Form> {
    let mut head = Vec::new();
    file.rewind()?;
    (&*file).take(8).read_to_end(&mut head)?;
    file.rewind()?;
    let known = SIGNATURES
        .iter()
        .find(|(signature, _)| head.starts_with(signature));
    Ok(known.map_or(Form::Plain, |(_, form)| *form))
}

fn decompress<'a>(file: impl Read + Send + 'a, form: Form) -> io::Result<Box<dyn Read + Send + 'a>> {
    Ok(match form {
        Form::Plain => Box::new(file),
        Form::Gzip => Box::new(flate2::read::MultiGzDecoder::new(BufReader::new(file))),
        Form::Bzip2 => Box::new(bzip2::read::MultiBzDecoder::new(file)),
        Form::Xz => Box::new(liblzma::read::XzDecoder::new_multi_decoder(file)),
        Form::Zstd => Box::new(zstd::stream::read::Decoder::new(file)?),
    })
}
