//! slugbuilder: source to slug, by variables (platforms.md 2.5).

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use fs_err as fs;
use lifecycle_image::{Digest, Hashing};

use super::{DEFAULT_STACK, ENV_PATH, Location, Variables, words};
use crate::fetch::NoMeter;
use crate::{
    Address, BuildOptions, ConfigVars, HerokuError, Remote, SlugOptions, Source, Stack, Surroundings, build,
    slug,
};

/// Where a source directory may be mounted.
const MOUNTED: &str = "/tmp/app";

/// What slugbuilder is asked for.
#[derive(Debug)]
pub struct Slugbuilder {
    /// `TAR_PATH`: a tar of the source.
    pub tar: Option<Location>,
    /// `PUT_PATH`, below which `slug.tgz` and `Procfile` go.
    pub put: Option<Location>,
    /// `CACHE_PATH`, below which `cache.tgz` is.
    pub cache: Option<Location>,
    /// `BUILDPACK_URL`.
    pub buildpack: Option<Address>,
    /// Whether the slug goes to standard output (argument `-`).
    pub stdout: bool,
    /// The config vars.
    pub config_vars: ConfigVars,
    stack: Stack,
    mounted: PathBuf,
}

impl Slugbuilder {
    /// Reads arguments and variables.
    ///
    /// # Errors
    /// When something is asked for that is not supported, object stores above all.
    pub fn new(arguments: &[OsString], variables: &Variables) -> Result<Self, HerokuError> {
        let stdout = match words(arguments).as_slice() {
            [] => false,
            ["-"] => true,
            other => {
                return Err(HerokuError::Usage(format!(
                    "expected nothing or `-`, found `{}`",
                    other.join(" ")
                )));
            }
        };
        let location = |name: &str| {
            variables
                .text(name)
                .map(|text| Location::parse(name, &text))
                .transpose()
        };
        let (tar, put, cache) = (
            location("TAR_PATH")?,
            location("PUT_PATH")?,
            location("CACHE_PATH")?,
        );
        if put.is_none() && !stdout {
            let text = "nothing says where the slug goes: set PUT_PATH to a directory or an address, or give the argument `-` for standard output";
            return Err(HerokuError::Usage(text.to_owned()));
        }
        let buildpack = variables
            .text("BUILDPACK_URL")
            .map(|url| Address::parse(&url, Path::new("/")));
        let stack = Stack {
            id: variables
                .text("STACK")
                .unwrap_or_else(|| DEFAULT_STACK.to_owned()),
            env: variables.of_scripts(),
            user: String::new(),
        };
        Ok(Self {
            tar,
            put,
            cache,
            buildpack: buildpack.transpose()?,
            stdout,
            config_vars: ConfigVars::read_directory(&variables.path("ENV_PATH", ENV_PATH))?,
            stack,
            mounted: variables.path("IMPORT_PATH", MOUNTED),
        })
    }

    /// Builds and writes the slug (SB-01). The source is `TAR_PATH`, the mounted directory, or a tar on `stdin`.
    ///
    /// # Errors
    /// What goes wrong first; a cache that cannot be written is only warned about (SB-08).
    pub fn run(
        self,
        surroundings: Surroundings<'_>,
        stdin: Box<dyn Read + Send>,
        stdout: &mut dyn Write,
    ) -> Result<(), HerokuError> {
        let console = surroundings.console;
        let source = match &self.tar {
            Some(tar) => Source::Tar {
                name: tar.to_string(),
                reader: tar.read(surroundings.remote)?,
            },
            None if self.mounted.is_dir() => Source::Directory(self.mounted.clone()),
            None => Source::Tar {
                name: "standard input".to_owned(),
                reader: stdin,
            },
        };
        let scratch = surroundings.store.scratch()?;
        let (cache, slug_file) = (scratch.path().join("cache"), scratch.path().join("slug.tgz"));
        let kept = self.cache.as_ref().map(|cache| cache.join("cache.tgz"));
        let before = scratch.path().join("cache.before");
        if let Some(kept) = &kept
            && let Some(mut archive) = kept.open(surroundings.remote)?
        {
            let mut file = fs::File::create(&before).map_err(HerokuError::io("create", &before))?;
            io::copy(&mut archive, &mut file).map_err(HerokuError::io("read", Path::new("cache.tgz")))?;
            let file = fs::File::open(&before).map_err(HerokuError::io("open", &before))?;
            slug::unpack("cache.tgz", file, &cache)?;
        }
        let options = BuildOptions {
            buildpacks: self.buildpack.into_iter().collect(),
            config_vars: self.config_vars,
            cache: Some(cache.clone()),
            hooks: true,
            ..BuildOptions::new(source, self.stack)
        };
        let built = build(options, surroundings)?;

        let mut file = fs::File::create(&slug_file).map_err(HerokuError::io("create", &slug_file))?;
        let options = SlugOptions {
            latest: Some(built.newest),
            ..SlugOptions::default()
        };
        let size = slug::pack(&built.directory(), &options, &mut file, &NoMeter)?;
        console.heading(&size);
        if let Some(kept) = &kept
            && let Err(error) = keep_cache(&cache, &before, kept, surroundings.remote)
        {
            console.warning(format_args!("The cache could not be written: {error}"));
        }
        if let Some(put) = &self.put {
            put.join("slug.tgz").put(&slug_file, surroundings.remote)?;
            let procfile = built.directory().join("Procfile");
            if procfile.is_file() {
                put.join("Procfile").put(&procfile, surroundings.remote)?;
            }
        }
        if self.stdout {
            let mut file = fs::File::open(&slug_file).map_err(HerokuError::io("open", &slug_file))?;
            let copied = std::io::copy(&mut file, stdout).and_then(|_| stdout.flush());
            copied.map_err(HerokuError::io("write", Path::new("standard output")))?;
        }
        Ok(())
    }
}

/// Packs the cache, unless it is empty or the same as before (SB-03).
fn keep_cache(cache: &Path, before: &Path, kept: &Location, remote: &dyn Remote) -> Result<(), HerokuError> {
    if fs::read_dir(cache)
        .map_err(HerokuError::io("read", cache))?
        .next()
        .is_none()
    {
        return Ok(());
    }
    let packed = before.with_extension("next");
    let mut file = fs::File::create(&packed).map_err(HerokuError::io("create", &packed))?;
    let size = slug::pack(cache, &SlugOptions::default(), &mut file, &NoMeter)?;
    if is_same(before, &size.digest).map_err(HerokuError::io("read", before))? {
        return Ok(());
    }
    kept.put(&packed, remote)
}

/// Whether a file, if there is one, has a digest.
fn is_same(file: &Path, digest: &Digest) -> io::Result<bool> {
    let file = match fs::File::open(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        file => file?,
    };
    let mut hashing = Hashing::new(io::sink());
    io::copy(&mut { file }, &mut hashing)?;
    Ok(hashing.finish().1 == *digest)
}
