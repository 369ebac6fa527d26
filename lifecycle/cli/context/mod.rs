//! Build contexts: what a command line names, and the directory it becomes.
//!
//! [`Location`] is where a context lies as text says it; [`Location::open`] brings it here. What was not on this
//! machine is unpacked into a directory of the store, and its links lead nowhere else: names in it are resolved by the
//! kernel beneath that directory.

mod layout;
mod location;
mod root;

use std::fs::File;
use std::io::{self, IsTerminal as _, Read as _, Seek as _};
use std::path::{Path, PathBuf};

use lifecycle_attestation::Material;
use lifecycle_executor::{BuildContext, IgnoreFile};
use lifecycle_image::Digest;
use lifecycle_store::Scratch;

pub(crate) use self::layout::LayoutImage;
pub(crate) use self::location::Location;

use crate::failure::Failure;
use crate::session::Session;

/// The largest Dockerfile or ignore file that is read.
const LARGEST_TEXT: u64 = 4 << 20;

/// A context that is here.
#[derive(Debug)]
pub(crate) struct Context {
    kind: Kind,
    /// The text that stands for the context in messages. No credentials in it.
    name: String,
    /// What it was, if it was fetched.
    material: Option<Material>,
    /// What was fetched goes when the context is forgotten.
    _room: Option<Scratch>,
}

#[derive(Debug)]
enum Kind {
    /// A directory of this machine, whose owner vouches for it.
    Own(PathBuf),
    /// What somebody else packed.
    Fetched(PathBuf),
    /// No files, only this Dockerfile.
    Text(Vec<u8>),
}

/// A Dockerfile, and the ignore file that lies beside it.
#[derive(Debug)]
pub(crate) struct FoundDockerfile {
    /// The name for messages.
    pub(crate) name: String,
    /// The text.
    pub(crate) bytes: Vec<u8>,
    /// `<Dockerfile>.dockerignore` (J1).
    pub(crate) ignore: Option<IgnoreFile>,
}

impl Location {
    /// Brings the context here. What takes part of it, as a subdirectory of a tar, comes later.
    pub(crate) fn open(&self, session: &Session) -> Result<Context, Failure> {
        match self {
            Self::Directory(path) => {
                if !path.is_dir() {
                    let message = format!("the build context {} is no directory", path.display());
                    return Err(Failure::new("context", message));
                }
                Ok(Context {
                    kind: Kind::Own(path.clone()),
                    name: path.display().to_string(),
                    material: None,
                    _room: None,
                })
            }
            Self::File(path) => Context::unpack(
                fs_err::File::open(path)?.into_parts().0,
                path.display().to_string(),
                session,
            ),
            Self::Input => Context::of_input(session),
            Self::Web(address) => {
                let (file, material) = fetch(address, session)?;
                Ok(Context::of_file(file, &material.uri, session)?.made_from(material))
            }
            Self::Object(object) => {
                let mut file = tempfile::tempfile_in(session.scratch()?)?;
                session.remote()?.get(object, u64::MAX, &mut file)?;
                let material = material(object.to_string(), &mut file)?;
                Ok(Context::of_file(file, &material.uri, session)?.made_from(material))
            }
            Self::Git(repository, settings) => {
                let room = session.store()?.scratch()?;
                let path = room.path().join("context");
                fs_err::create_dir(&path)?;
                let remote = session.remote()?.clone().with_git((**settings).clone());
                let checkout = remote.check_out(repository, &path)?;
                let name = shown(&repository.url);
                let chosen = repository.reference.as_ref();
                let uri = chosen.map_or_else(|| name.clone(), |chosen| format!("{name}#{chosen}"));
                Ok(Context {
                    kind: Kind::Fetched(path),
                    name,
                    material: Some(Material::repository(uri, &checkout.commit)),
                    _room: Some(room),
                })
            }
        }
    }
}

/// A file on the web, and what it was under its address as it may be shown.
fn fetch(address: &str, session: &Session) -> Result<(File, Material), Failure> {
    let mut file = tempfile::tempfile_in(session.scratch()?)?;
    session
        .remote()?
        .download(&lifecycle_remote::File::parse(address)?, &mut file)?;
    let material = material(shown(address), &mut file)?;
    Ok((file, material))
}

/// What a file was, which is left at its beginning.
fn material(uri: String, file: &mut File) -> Result<Material, Failure> {
    let digest = Digest::of_reader(&*file)?;
    file.rewind()?;
    Ok(Material::file(uri, &digest))
}

/// An address without what may be a secret: user, password and query.
pub(crate) fn shown(address: &str) -> String {
    let address = address.split('?').next().unwrap_or(address);
    match address.split_once("://") {
        Some((scheme, rest)) => {
            let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            let host = authority.rsplit('@').next().unwrap_or(authority);
            format!("{scheme}://{host}{path}")
        }
        None => address.to_owned(),
    }
}

/// An error when a file that nobody has named is a link that leads out of the source: that may be a stranger's, and messages
/// quote what is wrong with a file.
pub(crate) fn check_inside(source: &Path, file: &Path) -> Result<(), Failure> {
    if fs_err::canonicalize(file)?.starts_with(fs_err::canonicalize(source)?) {
        return Ok(());
    }
    let message = format!("{} is a link that leads out of the source", file.display());
    Err(Failure::new("source", message)
        .help("--descriptor and --dockerfile read a file that lies elsewhere: name it, if it is meant"))
}

impl Context {
    /// What standard input holds: an archive, or a Dockerfile (J8).
    fn of_input(session: &Session) -> Result<Self, Failure> {
        let input = io::stdin();
        if input.is_terminal() {
            return Err(Failure::new(
                "context",
                "the build context is to come from standard input, which is a terminal",
            )
            .help("pipe a tar or a Dockerfile into this command"));
        }
        let mut file = tempfile::tempfile_in(session.scratch()?)?;
        io::copy(&mut input.lock(), &mut file)?;
        Self::of_file(file, "standard input", session)
    }

    /// What was fetched as a file: an archive, or a Dockerfile (J8).
    fn of_file(mut file: File, name: &str, session: &Session) -> Result<Self, Failure> {
        if lifecycle_executor::is_archive(&mut file)? {
            return Self::unpack(file, name.to_owned(), session);
        }
        let text = bounded(file, name)?;
        if text.is_empty() {
            let message = format!("{name} is empty: neither a tar nor a Dockerfile");
            return Err(Failure::new("context", message));
        }
        Ok(Self {
            kind: Kind::Text(text),
            name: name.to_owned(),
            material: None,
            _room: None,
        })
    }

    fn unpack(archive: File, name: String, session: &Session) -> Result<Self, Failure> {
        let room = session.store()?.scratch()?;
        let path = room.path().join("context");
        fs_err::create_dir(&path)?;
        lifecycle_executor::unpack_context(archive, &name, &path)
            .map_err(|error| crate::commands::build::failure_of(&error, &session.console))?;
        Ok(Self {
            kind: Kind::Fetched(path),
            name,
            material: None,
            _room: Some(room),
        })
    }

    fn made_from(self, material: Material) -> Self {
        Self {
            material: Some(material),
            ..self
        }
    }

    /// What it was, if it was fetched.
    pub(crate) fn material(&self) -> Option<&Material> {
        self.material.as_ref()
    }

    /// The same context, of which only a directory counts. It cannot lead out of what was fetched (CVE-2026-33748,
    /// CVE-2026-44517).
    pub(crate) fn within(mut self, subdirectory: &Path) -> Result<Self, Failure> {
        let missing = |cause: io::Error| {
            let message = format!("{} has no directory {}", self.name, subdirectory.display());
            Failure::new("context", message).help(cause.to_string())
        };
        self.kind = match self.kind {
            Kind::Own(path) => {
                let path = path.join(subdirectory);
                fs_err::read_dir(&path).map_err(missing)?;
                Kind::Own(path)
            }
            Kind::Fetched(path) => Kind::Fetched(root::directory(&path, subdirectory).map_err(missing)?),
            Kind::Text(_) => return Err(missing(io::Error::other("it is a Dockerfile"))),
        };
        Ok(self)
    }

    /// The directory, if the context has files.
    pub(crate) fn directory(&self) -> Option<&Path> {
        match &self.kind {
            Kind::Own(path) | Kind::Fetched(path) => Some(path),
            Kind::Text(_) => None,
        }
    }

    /// The Dockerfile, when the context is nothing else.
    pub(crate) fn text(&self) -> Option<FoundDockerfile> {
        match &self.kind {
            Kind::Text(bytes) => Some(FoundDockerfile {
                name: self.name.clone(),
                bytes: bytes.clone(),
                ignore: None,
            }),
            Kind::Own(_) | Kind::Fetched(_) => None,
        }
    }

    /// A Dockerfile of the context, if there is one by this name. In what was fetched, links end inside of it.
    pub(crate) fn dockerfile(&self, path: &Path) -> Result<Option<FoundDockerfile>, Failure> {
        match &self.kind {
            Kind::Own(directory) => FoundDockerfile::at(&directory.join(path)),
            Kind::Fetched(directory) => {
                let read = |path: &Path| match root::file(directory, path) {
                    Ok(file) => bounded(file, &path.display().to_string()).map(Some),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                    Err(error) => {
                        let message = format!("cannot read {} of {}", path.display(), self.name);
                        Err(Failure::new("context", message).help(error.to_string()))
                    }
                };
                FoundDockerfile::read(path, read)
            }
            Kind::Text(_) => Ok(None),
        }
    }

    /// An error when a file that nobody has named is a link that leads out of the context.
    pub(crate) fn check_inside(&self, file: &Path) -> Result<(), Failure> {
        match &self.kind {
            Kind::Own(directory) => check_inside(directory, &directory.join(file)),
            // There links end inside in any case.
            Kind::Fetched(_) | Kind::Text(_) => Ok(()),
        }
    }

    /// The files for the executor.
    pub(crate) fn files(&self) -> BuildContext {
        match self.directory() {
            Some(path) => BuildContext::Directory(path.to_owned()),
            None => BuildContext::Empty,
        }
    }

    /// What is left out of it: `.dockerignore` counts in directories only, because the author of an archive has chosen
    /// what is in it (J6).
    pub(crate) fn ignore(&self) -> IgnoreFile {
        match &self.kind {
            Kind::Own(_) => IgnoreFile::Usual,
            Kind::Fetched(_) | Kind::Text(_) => IgnoreFile::Absent,
        }
    }
}

impl FoundDockerfile {
    /// The Dockerfile at an address.
    pub(crate) fn fetch(address: &str, session: &Session) -> Result<Self, Failure> {
        let (file, material) = fetch(address, session)?;
        let bytes = bounded(file, &material.uri)?;
        Ok(Self {
            name: material.uri,
            bytes,
            ignore: None,
        })
    }

    /// The Dockerfile that standard input holds.
    pub(crate) fn of_input() -> Result<Self, Failure> {
        let name = "standard input";
        Ok(Self {
            name: name.to_owned(),
            bytes: bounded(io::stdin().lock(), name)?,
            ignore: None,
        })
    }

    /// A Dockerfile of this machine, if there is one at this path.
    pub(crate) fn at(path: &Path) -> Result<Option<Self>, Failure> {
        let read = |path: &Path| match fs_err::File::open(path) {
            Ok(file) if file.metadata()?.is_file() => {
                bounded(file.into_parts().0, &path.display().to_string()).map(Some)
            }
            Ok(_) => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        };
        Self::read(path, read)
    }

    fn read(
        path: &Path,
        read: impl Fn(&Path) -> Result<Option<Vec<u8>>, Failure>,
    ) -> Result<Option<Self>, Failure> {
        let Some(bytes) = read(path)? else {
            return Ok(None);
        };
        let mut beside = path.as_os_str().to_owned();
        beside.push(".dockerignore");
        let beside = PathBuf::from(beside);
        let ignore = read(&beside)?.map(|bytes| IgnoreFile::Given {
            name: beside.display().to_string(),
            bytes,
        });
        Ok(Some(Self {
            name: path.display().to_string(),
            bytes,
            ignore,
        }))
    }
}

fn bounded(file: impl io::Read, name: &str) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    file.take(LARGEST_TEXT + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LARGEST_TEXT {
        let message = format!(
            "{name} is larger than {} MiB: it is no Dockerfile",
            LARGEST_TEXT >> 20
        );
        return Err(Failure::new("context", message));
    }
    Ok(bytes)
}
