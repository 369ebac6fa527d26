//! Slugs: a gzip tar of a built app, its size, and the way back (platforms.md 2.4).

use std::fmt;
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use fs_err as fs;
use lifecycle_image::{DiffId, Digest, Meter};
use lifecycle_layers::{DirectoryLayer, Owner, Owners, Packing, Style};

use crate::build::RELEASE_FILE;
use crate::fetch::unpack as unpack_tar;
use crate::folder::Folder;
use crate::procfile::PROCFILE;
use crate::source::each;
use crate::{HerokuError, Procfile, Release};

/// How many directories are named when a slug is too large (SL-06).
const LARGEST: usize = 5;

/// How a slug is packed.
#[derive(Debug, Clone, Default)]
pub struct SlugOptions {
    /// Times later than this, in seconds since 1970, become this: `SOURCE_DATE_EPOCH`, or when the newest file of the
    /// source was changed (SL-02).
    pub latest: Option<i64>,
    /// Who everything belongs to; 0:0 without (SL-01).
    pub owner: Option<Owner>,
    /// The most compressed bytes (SL-05).
    pub limit: Option<u64>,
    /// Threads and compression level. The bytes depend on the level alone (HE-07).
    pub packing: Packing,
}

/// A slug that was packed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlugSize {
    /// Compressed bytes.
    pub compressed: u64,
    /// Bytes of the tar.
    pub tar: u64,
    /// The digest of the compressed bytes.
    pub digest: Digest,
    /// The digest of the tar.
    pub diff_id: DiffId,
}

/// `Compiled slug size is 1.2M`, with the unit that fits (SL-05).
impl fmt::Display for SlugSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Compiled slug size is {}", Bytes(self.compressed))
    }
}

/// A number of bytes for people: at most one digit behind the point.
struct Bytes(u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((size, unit)) = [(1 << 30, "G"), (1 << 20, "M"), (1 << 10, "K")]
            .into_iter()
            .find(|(size, _)| self.0 >= *size)
        else {
            return write!(f, "{}B", self.0);
        };
        let tenths = (self.0 * 10).div_ceil(size);
        match tenths {
            ..100 => write!(f, "{}.{}{unit}", tenths / 10, tenths % 10),
            _ => write!(f, "{}{unit}", self.0.div_ceil(size)),
        }
    }
}

/// Packs a built directory: the same directory gives the same bytes, whoever packs it, on any number of cores.
///
/// # Errors
/// [`HerokuError::Size`] when it is larger than the limit; what `out` got is to be thrown away then.
pub fn pack(
    directory: &Path,
    options: &SlugOptions,
    out: &mut dyn Write,
    meter: &dyn Meter,
) -> Result<SlugSize, HerokuError> {
    let contents = DirectoryLayer::archive(directory)
        .owners(Owners::Fixed(options.owner.unwrap_or(Owner::ROOT)))
        .style(Style::Oci {
            latest: options.latest,
        });
    let packed = lifecycle_layers::pack(&contents, &options.packing, out, meter)?;
    match options.limit {
        Some(limit) if packed.size > limit => Err(HerokuError::Size {
            size: packed.size,
            limit,
            largest: largest(directory)?,
        }),
        _ => Ok(SlugSize {
            compressed: packed.size,
            tar: packed.tar_size,
            digest: packed.digest,
            diff_id: packed.diff_id,
        }),
    }
}

/// Unpacks a slug into an empty directory; it is made when it does not exist. Whatever the archive says, nothing lands
/// outside of it (SL-08), and there are no devices.
///
/// # Errors
/// [`HerokuError::NotEmpty`] when there is something in the directory (SL-09).
pub fn unpack(name: &str, slug: impl Read + Send, into: &Path) -> Result<(), HerokuError> {
    require_empty(into)?;
    unpack_tar(name, slug, into)
}

/// Makes a directory unless it is there, and makes sure that it is empty (SL-09).
pub(crate) fn require_empty(directory: &Path) -> Result<(), HerokuError> {
    fs::create_dir_all(directory).map_err(HerokuError::io("create", directory))?;
    match fs::read_dir(directory)
        .map_err(HerokuError::io("read", directory))?
        .next()
    {
        None => Ok(()),
        Some(_) => Err(HerokuError::NotEmpty(directory.to_owned())),
    }
}

/// The process types of a slug: its Procfile, and the default ones that it was released with.
pub fn processes(directory: &Path) -> Result<Procfile, HerokuError> {
    let own = match Folder::open(directory)?.read(PROCFILE)? {
        Some(bytes) => Procfile::parse(&bytes)?,
        None => Procfile::default(),
    };
    Ok(own.with_defaults(&release(directory)?.default_process_types))
}

/// What a slug was released with.
pub fn release(directory: &Path) -> Result<Release, HerokuError> {
    match Folder::open(directory)?.read(RELEASE_FILE)? {
        Some(bytes) => Release::parse(std::str::from_utf8(&bytes)?),
        None => Ok(Release::default()),
    }
}

/// The directories with the most bytes in them, of the two uppermost levels.
pub fn largest(directory: &Path) -> Result<Vec<(String, u64)>, HerokuError> {
    let mut sizes = std::collections::BTreeMap::<String, u64>::new();
    each(directory, &mut |path, is_directory| {
        if is_directory {
            return Ok(true);
        }
        let size = fs::symlink_metadata(path)
            .map_err(HerokuError::io("read", path))?
            .size();
        let below = path
            .strip_prefix(directory)
            .unwrap_or(path)
            .parent()
            .unwrap_or(Path::new(""));
        for above in below
            .ancestors()
            .filter(|above| (1..=2).contains(&above.components().count()))
        {
            *sizes.entry(above.display().to_string()).or_default() += size;
        }
        Ok(true)
    })?;
    let mut sizes: Vec<_> = sizes.into_iter().collect();
    sizes.sort_by_key(|(_, size)| std::cmp::Reverse(*size));
    sizes.truncate(LARGEST);
    Ok(sizes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_the_unit_that_fits_sl_05() {
        for (bytes, text) in [
            (0, "0B"),
            (1023, "1023B"),
            (1024, "1.0K"),
            (1_500_000, "1.5M"),
            (15 << 20, "15M"),
            ((15 << 20) + 1, "16M"),
            (3 << 30, "3.0G"),
        ] {
            assert_eq!(Bytes(bytes).to_string(), text);
        }
    }

    #[test]
    fn the_largest_directories_are_named_sl_06() {
        let directory = tempfile::tempdir().unwrap();
        for (path, size) in [
            ("a/x/1", 100),
            ("a/y/2", 50),
            ("b/3", 120),
            ("4", 999),
            ("a/x/deep/er/5", 7),
        ] {
            let path = directory.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, vec![0; size]).unwrap();
        }
        let largest = largest(directory.path()).unwrap();
        let expected = [("a", 157), ("b", 120), ("a/x", 107), ("a/y", 50)];
        assert_eq!(largest, expected.map(|(path, size)| (path.to_owned(), size)));
    }
}
