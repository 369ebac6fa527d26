//! slugbuilder: source to slug, by variables (platforms.md 2.5).

use std::ffi::OsString;
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fs_err as fs;
use lifecycle_image::DiffId;
use lifecycle_layers::{DirectoryLayer, Owner, Owners, Style, hash};

use super::{DEFAULT_STACK, ENV_PATH, Location, Variables, words};
use crate::fetch::NoMeter;
use crate::{
    Address, BuildOptions, ConfigVars, HerokuError, Remote, SlugOptions, Source, Stack, Surroundings, build,
    slug,
};

/// Where a source directory may be mounted.
const MOUNTED: &str = "/tmp/app";
/// The config var with a private key for git, in base64.
const SSH_KEY: &str = "SSH_KEY";

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
    /// The buildpacks of the stack's image; the first that takes the app is used when nobody chose any.
    pub installed: Vec<Address>,
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
            installed: variables.installed()?,
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
        let mut before = None;
        if let Some(kept) = &kept
            && let Some(archive) = kept.open(surroundings.remote)?
        {
            slug::unpack("cache.tgz", archive, &cache)?;
            before = Some(content(&cache)?);
        }
        let options = BuildOptions {
            buildpacks: self.buildpack.into_iter().collect(),
            defaults: self.installed,
            ssh_key: ssh_key(&self.config_vars, scratch.path())?,
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
            && let Err(error) = keep_cache(&cache, before.as_ref(), kept, surroundings.remote)
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

/// Packs the cache, unless it is empty or has the same content as before (SB-03).
fn keep_cache(
    cache: &Path,
    before: Option<&DiffId>,
    kept: &Location,
    remote: &dyn Remote,
) -> Result<(), HerokuError> {
    let mut entries = fs::read_dir(cache).map_err(HerokuError::io("read", cache))?;
    if entries.next().is_none() || before == Some(&content(cache)?) {
        return Ok(());
    }
    let packed = cache.with_extension("tgz");
    let mut file = fs::File::create(&packed).map_err(HerokuError::io("create", &packed))?;
    slug::pack(cache, &SlugOptions::default(), &mut file, &NoMeter)?;
    kept.put(&packed, remote)
}

/// What is in the cache, whenever it was written there: a buildpack that writes the same again has changed nothing.
fn content(cache: &Path) -> Result<DiffId, HerokuError> {
    let contents = DirectoryLayer::archive(cache)
        .owners(Owners::Fixed(Owner::ROOT))
        .style(Style::Oci { latest: Some(0) });
    Ok(hash(&contents, &NoMeter)?.0)
}

/// The key for git that is among the config vars, in a file that nobody else can read.
fn ssh_key(config_vars: &ConfigVars, scratch: &Path) -> Result<Option<PathBuf>, HerokuError> {
    let Some(encoded) = config_vars.get(SSH_KEY) else {
        return Ok(None);
    };
    // Lines are broken by some who write it, and by none who read it.
    let encoded: Vec<u8> = encoded
        .iter()
        .copied()
        .filter(|byte| !byte.is_ascii_whitespace())
        .collect();
    let key = STANDARD
        .decode(encoded)
        .map_err(|_| HerokuError::Usage(format!("config var {SSH_KEY} is not a private key in base64")))?;
    let path = scratch.join("ssh-key");
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true).options_mut().mode(0o600);
    options
        .open(&path)
        .and_then(|mut file| file.write_all(&key))
        .map_err(HerokuError::io("write", &path))?;
    Ok(Some(path))
}
