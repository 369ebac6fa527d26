//! Source in a zip file, as build tools of Java leave it: a jar (pack: `--path app.jar`).

use std::collections::HashSet;
use std::fs::Permissions;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use lifecycle_store::Scratch;
use zip::ZipArchive;
use zip::result::ZipError;

use crate::failure::Failure;
use crate::session::Session;

/// What a zip file with an entry begins with.
const START: &[u8; 4] = b"PK\x03\x04";

/// Whether a file is a zip file.
pub(super) fn is_zip(file: &Path) -> bool {
    let mut start = [0; START.len()];
    fs_err::File::open(file)
        .and_then(|mut file| file.read_exact(&mut start))
        .is_ok_and(|()| start == *START)
}

/// What a zip file holds, unpacked, if `source` is a file at all. It goes when it is dropped.
///
/// # Errors
/// When the source is another sort of file, or an archive that is damaged or would write elsewhere.
pub(super) fn unpack(source: &Path, session: &Session) -> Result<Option<Scratch>, Failure> {
    if !source.is_file() {
        return Ok(None);
    }
    let failed = |error: ZipError| match error {
        ZipError::Io(cause) => Failure::from(cause),
        error => Failure::new(
            "source",
            format!("{} cannot be unpacked as a zip file: {error}", source.display()),
        )
        .help("the source is a directory, or a zip or jar file"),
    };
    let mut archive = ZipArchive::new(fs_err::File::open(source)?).map_err(failed)?;
    let scratch = session.store()?.scratch()?;
    archive.extract(scratch.path()).map_err(failed)?;
    let mut with_mode = HashSet::new();
    for number in 0..archive.len() {
        let entry = archive.by_index_raw(number).map_err(failed)?;
        with_mode.extend(entry.unix_mode().and_then(|_| entry.enclosed_name()));
    }
    open_up(scratch.path(), Path::new(""), &with_mode)?;
    Ok(Some(scratch))
}

/// What an archive gives no mode, as those of Java's tools, everybody may read and start, as with pack. So it is with
/// directories that it does not even name.
fn open_up(root: &Path, directory: &Path, with_mode: &HashSet<PathBuf>) -> std::io::Result<()> {
    for entry in fs_err::read_dir(root.join(directory))? {
        let entry = entry?;
        let (kind, path) = (entry.file_type()?, directory.join(entry.file_name()));
        if !kind.is_symlink() && !with_mode.contains(&path) {
            fs_err::set_permissions(entry.path(), Permissions::from_mode(0o755))?;
        }
        if kind.is_dir() {
            open_up(root, &path, with_mode)?;
        }
    }
    Ok(())
}
