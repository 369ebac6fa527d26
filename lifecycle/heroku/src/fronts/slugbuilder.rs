//! slugbuilder: source to slug, by variables (platforms.md 2.5).

use std::ffi::OsString;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use fs_err as fs;

use super::{DEFAULT_STACK, ENV_PATH, Variables, open, prefix, words};
use crate::fetch::NoMeter;
use crate::{
    Address, BuildOptions, ConfigVars, HerokuError, SlugOptions, Source, Stack, Surroundings, build, slug,
};

/// Where a source directory may be mounted.
const MOUNTED: &str = "/tmp/app";

/// What slugbuilder is asked for.
#[derive(Debug)]
pub struct Slugbuilder {
    /// `TAR_PATH`: a tar of the source.
    pub tar: Option<String>,
    /// The directory of `PUT_PATH`, which gets `slug.tgz` and `Procfile`.
    pub put: Option<PathBuf>,
    /// The directory of `CACHE_PATH`, which has `cache.tgz`.
    pub cache: Option<PathBuf>,
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
        variables.refuse_object_store()?;
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
        let directory = |name| variables.text(name).map(|text| prefix(name, &text)).transpose();
        let (put, cache) = (directory("PUT_PATH")?, directory("CACHE_PATH")?);
        if put.is_none() && !stdout {
            let text = "nothing says where the slug goes: set PUT_PATH to a directory, or give the argument `-` for standard output";
            return Err(HerokuError::Usage(text.to_owned()));
        }
        let buildpack = variables
            .text("BUILDPACK_URL")
            .map(|url| Address::parse(&url, Path::new("/")));
        let pairs = variables
            .0
            .iter()
            .map(|(name, value)| (name.clone(), value.to_string_lossy().into_owned()));
        let stack = Stack {
            id: variables
                .text("STACK")
                .unwrap_or_else(|| DEFAULT_STACK.to_owned()),
            env: pairs.collect(),
            user: String::new(),
        };
        Ok(Self {
            tar: variables.text("TAR_PATH"),
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
                name: super::shown(tar),
                reader: open(tar, surroundings.remote)?,
            },
            None if self.mounted.is_dir() => Source::Directory(self.mounted.clone()),
            None => Source::Tar {
                name: "standard input".to_owned(),
                reader: stdin,
            },
        };
        let scratch = surroundings.store.scratch()?;
        let (cache, slug_file) = (scratch.path().join("cache"), scratch.path().join("slug.tgz"));
        let kept = self.cache.as_ref().map(|directory| directory.join("cache.tgz"));
        if let Some(kept) = kept.as_ref().filter(|kept| kept.is_file()) {
            slug::unpack(
                "cache.tgz",
                fs::File::open(kept).map_err(HerokuError::io("open", kept))?,
                &cache,
            )?;
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
            && let Err(error) = keep_cache(&cache, kept)
        {
            console.warning(format_args!("The cache could not be written: {error}"));
        }
        if let Some(put) = &self.put {
            fs::create_dir_all(put).map_err(HerokuError::io("create", put))?;
            place(&slug_file, &put.join("slug.tgz"))?;
            let procfile = built.directory().join("Procfile");
            if procfile.is_file() {
                place(&procfile, &put.join("Procfile"))?;
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
fn keep_cache(cache: &Path, kept: &Path) -> Result<(), HerokuError> {
    if fs::read_dir(cache)
        .map_err(HerokuError::io("read", cache))?
        .next()
        .is_none()
    {
        return Ok(());
    }
    let mut packed = Vec::new();
    slug::pack(cache, &SlugOptions::default(), &mut packed, &NoMeter)?;
    if fs::read(kept).is_ok_and(|before| before == packed) {
        return Ok(());
    }
    let parent = kept.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(parent).map_err(HerokuError::io("create", parent))?;
    let next = kept.with_extension("next");
    fs::write(&next, &packed)
        .and_then(|()| fs::rename(&next, kept))
        .map_err(HerokuError::io("write", kept))
}

/// Copies a file so that it appears whole under its name.
fn place(from: &Path, to: &Path) -> Result<(), HerokuError> {
    let next = to.with_extension("next");
    fs::copy(from, &next)
        .and_then(|_| fs::rename(&next, to))
        .map_err(HerokuError::io("write", to))
}
