//! From an address to the modules that are there.

use std::error::Error;
use std::fmt;
use std::io::BufReader;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use fs_err as fs;
use lifecycle_image::archive::Archive;
use lifecycle_image::layout::Layout;
use lifecycle_image::{Artifact, Image, Platform, Source, Step};
use lifecycle_layers::{ExtractOptions, Limits, Ownership, Refused, TarReader, Whiteouts, decoder, extract};
use lifecycle_spec::Target;

use crate::{Address, BuilderError, Folder, Lifecycle, Module, ModuleName, Package, Workbench};

/// What cannot be found on this machine's disk. Nothing in this crate knows a network.
pub trait Origins: fmt::Debug {
    /// Where images are read.
    fn images(&self) -> &dyn Source;

    /// A file with what is behind an http or https address.
    fn download(&self, address: &str) -> Result<PathBuf, OriginError>;

    /// The image in which a registry index has a buildpack.
    fn registered(&self, name: &ModuleName) -> Result<String, OriginError>;

    /// A new empty directory, which stays as long as modules are worked with.
    fn scratch(&self) -> Result<PathBuf, OriginError>;
}

/// Why something could not be had from elsewhere.
pub type OriginError = Box<dyn Error + Send + Sync>;

/// Bounds of an archive of a module: enough for a language with all its versions.
const LIMITS: Limits = Limits {
    entries: Some(2_000_000),
    bytes: Some(64 << 30),
};

/// What is at an address.
#[derive(Debug, Clone)]
pub enum Located {
    /// The image of a package, and what it is called.
    Image(Box<Image>, String),
    /// A folder with the files of one module.
    Folder(Folder),
}

/// Finds what is at an address. Paths start from `folder`, and of images for several platforms it is the one for
/// `target`.
///
/// [`Address::OfBuilder`] and [`Address::WholeBuilder`] are no places: whoever has the builder answers them.
pub fn locate(
    address: &Address,
    folder: &Folder,
    target: &Target,
    origins: &dyn Origins,
    bench: &Workbench<'_>,
) -> Result<Located, BuilderError> {
    let image = |name: &str| -> Result<Located, BuilderError> {
        let image = origins.images().image(&name.parse()?, &platform(target))?;
        Ok(Located::Image(Box::new(image), name.to_owned()))
    };
    match address {
        Address::File(path) => match folder.join(path) {
            Folder::Disk(path) if path.join("oci-layout").is_file() => {
                let layout = Layout::open(&path)?;
                let image = select(layout.named(None)?, &layout, &path, target)?;
                Ok(Located::Image(Box::new(image), path.display().to_string()))
            }
            Folder::Disk(path) if path.is_file() => in_file(&path, &path, target, origins, bench),
            folder => Ok(Located::Folder(folder)),
        },
        Address::Download(address) => {
            let file = downloaded(address, origins)?;
            in_file(&file, Path::new(address), target, origins, bench)
        }
        Address::Image(name) => image(name),
        Address::Registered(name) => {
            let found = origins.registered(name).map_err(failed(name))?;
            image(&found)
        }
        Address::OfBuilder(name) => Err(BuilderError::NoBuilder {
            name: name.to_string(),
        }),
        Address::WholeBuilder => Err(BuilderError::NoBuilder {
            name: "from=builder".to_owned(),
        }),
    }
}

/// The modules at an address, found as [`locate`] does.
pub fn fetch(
    address: &Address,
    folder: &Folder,
    target: &Target,
    origins: &dyn Origins,
    bench: &Workbench<'_>,
) -> Result<Package, BuilderError> {
    match locate(address, folder, target, origins, bench)? {
        Located::Image(image, name) => Package::read(&image, &name, bench),
        Located::Folder(folder) => Ok(Package {
            module: Module::read(folder, target)?,
            dependencies: Vec::new(),
        }),
    }
}

/// The lifecycle at an address: an archive, or an image.
pub fn fetch_lifecycle(
    address: &Address,
    folder: &Folder,
    target: &Target,
    origins: &dyn Origins,
) -> Result<Lifecycle, BuilderError> {
    let open = |path: &Path| {
        fs::File::open(path).map_err(|cause| BuilderError::Read {
            path: path.to_owned(),
            cause,
        })
    };
    match address {
        Address::File(path) => match folder.join(path) {
            Folder::Disk(path) => Lifecycle::read(open(&path)?, &path.display().to_string()),
            other => Err(BuilderError::NoModule {
                place: other.path().display().to_string(),
            }),
        },
        Address::Download(address) => Lifecycle::read(open(&downloaded(address, origins)?)?, address),
        Address::Image(name) => {
            let image = origins.images().image(&name.parse()?, &platform(target))?;
            Lifecycle::of_image(&image, name)
        }
        Address::OfBuilder(name) | Address::Registered(name) => Err(BuilderError::Lifecycle {
            name: name.to_string(),
            reason: "there is no such file or image".to_owned(),
        }),
        Address::WholeBuilder => Err(BuilderError::NoBuilder {
            name: "from=builder".to_owned(),
        }),
    }
}

fn downloaded(address: &str, origins: &dyn Origins) -> Result<PathBuf, BuilderError> {
    origins.download(address).map_err(failed(address))
}

/// Says what could not be had.
fn failed(what: impl fmt::Display) -> impl FnOnce(OriginError) -> BuilderError {
    move |cause| BuilderError::Origin {
        what: what.to_string(),
        cause,
    }
}

/// What a file holds: a package, or a module's files.
fn in_file(
    path: &Path,
    shown: &Path,
    target: &Target,
    origins: &dyn Origins,
    bench: &Workbench<'_>,
) -> Result<Located, BuilderError> {
    let scratch = || origins.scratch().map_err(failed(shown.display()));
    if !holds_images(path, shown)? {
        return unpack(path, shown, &scratch()?, bench).map(Located::Folder);
    }
    let archive = Archive::open(path, &scratch()?)?;
    let image = select(archive.named(None)?, &archive, shown, target)?;
    Ok(Located::Image(Box::new(image), shown.display().to_string()))
}

/// Whether an archive holds images, by the first name that tells: what is unpacked may hold links that an archive of
/// images may not.
fn holds_images(path: &Path, shown: &Path) -> Result<bool, BuilderError> {
    let failed = |cause: std::io::Error| BuilderError::Read {
        path: shown.to_owned(),
        cause,
    };
    let file = fs::File::open(path).map_err(failed)?;
    let tar = decoder(file, None).map_err(failed)?;
    let mut reader = TarReader::new(BufReader::new(tar));
    while let Some(entry) = reader
        .next_entry()
        .map_err(|error| failed(std::io::Error::other(error)))?
    {
        // pack's packages have names with a slash in front.
        let name = entry.path.strip_prefix(b".").unwrap_or(&entry.path);
        match name.strip_prefix(b"/").unwrap_or(name) {
            b"oci-layout" | b"index.json" | b"manifest.json" => return Ok(true),
            b"buildpack.toml" | b"extension.toml" => return Ok(false),
            _ => {}
        }
    }
    Ok(false)
}

/// Unpacks an archive of a module's files into `scratch`.
fn unpack(path: &Path, shown: &Path, scratch: &Path, bench: &Workbench<'_>) -> Result<Folder, BuilderError> {
    let failed = |cause: std::io::Error| BuilderError::Read {
        path: shown.to_owned(),
        cause,
    };
    let file = fs::File::open(path).map_err(failed)?;
    let into = fs::File::open(scratch).map_err(failed)?;
    let options = ExtractOptions {
        whiteouts: Whiteouts::Literal,
        ownership: Ownership::Squash,
        refused: Refused::Skip,
        limits: LIMITS,
        ..ExtractOptions::default()
    };
    let meter = bench
        .progress
        .begin(Step::Extract, &shown.display().to_string(), None);
    extract(file, None, into.as_fd(), &options, &*meter).map_err(|cause| BuilderError::Archive {
        path: shown.to_owned(),
        cause: Box::new(cause),
    })?;
    Ok(Folder::Unpacked {
        root: scratch.to_owned(),
        below: PathBuf::new(),
        archive: shown.to_owned(),
    })
}

/// The image of a place that has one, or one for each platform.
fn select(
    artifact: Artifact,
    source: &dyn Source,
    place: &Path,
    target: &Target,
) -> Result<Image, BuilderError> {
    match artifact {
        Artifact::Image(image) => Ok(*image),
        Artifact::Index(index) => {
            let platform = platform(target);
            let member = index.select(&platform).ok_or_else(|| BuilderError::Package {
                name: place.display().to_string(),
                reason: format!("it is for {}, not for {platform}", index.platforms()),
            })?;
            // Layouts and archives go by the digest alone.
            let name = format!("package@{}", member.digest).parse()?;
            Ok(source.member(&name, &member.digest)?)
        }
    }
}

/// The platform of a target; what it leaves open is this machine's.
pub fn platform(target: &Target) -> Platform {
    let host = Platform::host();
    let or = |own: &str, other: String| if own.is_empty() { other } else { own.to_owned() };
    let variant = (!target.variant.is_empty()).then(|| target.variant.clone());
    Platform {
        os_version: None,
        os: or(&target.os, host.os),
        variant: if target.arch.is_empty() {
            variant.or(host.variant)
        } else {
            variant
        },
        architecture: or(&target.arch, host.architecture),
    }
}
