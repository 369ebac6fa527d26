//! herokuish: buildpacks, slugs and Procfiles inside of a container (platforms.md 2.7).

use std::ffi::{OsStr, OsString};
use std::io::{Read, Write};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use fs_err as fs;
use lifecycle_layers::tree::remove;
use lifecycle_sandbox::Forwarding;

use super::slugrunner::start;
use super::{BUILDPACK_PATH, DEFAULT_STACK, ENV_PATH, Location, Variables, words};
use crate::fetch::{NoMeter, copy_tree, fetch};
use crate::{
    Address, BuildOptions, ConfigVars, HerokuError, Profiles, Purpose, Running, SlugOptions, Source, Stack,
    Surroundings, build, check, detect, slug,
};

mod trial;

/// What messages call the file that results go to.
const STDOUT: &str = "standard output";

/// Where `slug generate` puts the slug.
const SLUG: &str = "/tmp/slug.tgz";

/// A command of herokuish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Herokuish {
    /// `buildpack build`, `/build`
    Build,
    /// `buildpack list`
    List,
    /// `buildpack install URL [REF [NAME]]`
    Install {
        /// The repository or archive.
        url: String,
        /// A branch, tag or commit of it.
        reference: Option<String>,
        /// The name of its directory.
        name: Option<String>,
    },
    /// `buildpack test`
    Test,
    /// `slug import [URL]`
    Import(Option<String>),
    /// `slug generate`
    Generate,
    /// `slug export [URL]`
    Export(Option<String>),
    /// `buildpack detect`
    Detect,
    /// `test [PATH [EXPECTED]]`
    Try {
        /// The app's source, in place of the one that is there.
        path: Option<PathBuf>,
        /// What `GET /` has to answer; without it, anything.
        expected: Option<String>,
    },
    /// `procfile start TYPE`, `/start`
    Start(OsString),
    /// `procfile exec COMMAND`, `/exec`
    Exec(Vec<OsString>),
    /// `procfile parse TYPE`
    Parse(String),
    /// `paths`
    Paths,
    /// `version`
    Version,
}

impl Herokuish {
    /// Whether it starts a process and hands it back.
    pub fn starts(&self) -> bool {
        matches!(self, Self::Start(_) | Self::Exec(_))
    }

    /// What a command line means, if the program is called by one of herokuish's names.
    ///
    /// # Errors
    /// When the words make no sense, or ask for something that is not supported.
    pub fn parse(program: &OsStr, arguments: &[OsString]) -> Option<Result<Self, HerokuError>> {
        match Path::new(program).file_name()?.to_str()? {
            "herokuish" => Some(Self::command(arguments)),
            "build" => Some(Ok(Self::Build)),
            "start" => Some(match arguments {
                [name] => Ok(Self::Start(name.clone())),
                _ => Err(HerokuError::Usage("expected `start TYPE`".to_owned())),
            }),
            "exec" => Some(Ok(Self::Exec(arguments.to_vec()))),
            _ => None,
        }
    }

    fn command(arguments: &[OsString]) -> Result<Self, HerokuError> {
        let text = |text: &str| text.to_owned();
        Ok(match words(arguments).as_slice() {
            ["buildpack", "build"] => Self::Build,
            ["buildpack", "list"] => Self::List,
            ["buildpack", "test"] => Self::Test,
            ["buildpack", "install", url, rest @ ..] if rest.len() <= 2 => Self::Install {
                url: text(url),
                reference: rest
                    .first()
                    .filter(|reference| !reference.is_empty())
                    .map(|reference| text(reference)),
                name: rest.get(1).map(|name| text(name)),
            },
            ["slug", "import"] => Self::Import(None),
            ["slug", "import", url] => Self::Import(Some(text(url))),
            ["slug", "generate"] => Self::Generate,
            ["slug", "export"] => Self::Export(None),
            ["slug", "export", url] => Self::Export(Some(text(url))),
            ["buildpack", "detect"] => Self::Detect,
            ["test", rest @ ..] if rest.len() <= 2 => Self::Try {
                path: rest.first().map(PathBuf::from),
                expected: rest.get(1).map(|expected| text(expected)),
            },
            ["procfile", "start", _] => Self::Start(arguments[2].clone()),
            ["procfile", "exec", _, ..] => Self::Exec(arguments[2..].to_vec()),
            ["procfile", "parse", name] => Self::Parse(text(name)),
            ["paths"] => Self::Paths,
            ["version"] => Self::Version,
            other => {
                return Err(HerokuError::Usage(format!(
                    "`{}` is no command here; there are buildpack build|detect|list|install|test, slug import|generate|export, \
                     procfile start|exec|parse, test, paths, and version",
                    other.join(" ")
                )));
            }
        })
    }
}

/// Where herokuish has everything.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `APP_PATH`
    pub app: PathBuf,
    /// `ENV_PATH`
    pub env: PathBuf,
    /// `CACHE_PATH`
    pub cache: PathBuf,
    /// `IMPORT_PATH`
    pub import: PathBuf,
    /// `BUILDPACK_PATH`
    pub buildpacks: PathBuf,
    /// Where the slug is.
    pub slug: PathBuf,
    /// `BUILDPACK_URL`
    pub buildpack_url: Option<String>,
    /// `STACK`
    pub stack: String,
    variables: Variables,
}

impl Settings {
    /// Reads the variables.
    pub fn new(variables: Variables) -> Self {
        Self {
            app: variables.path("APP_PATH", "/app"),
            env: variables.path("ENV_PATH", ENV_PATH),
            cache: variables.path("CACHE_PATH", "/tmp/cache"),
            import: variables.path("IMPORT_PATH", "/tmp/app"),
            buildpacks: variables.path("BUILDPACK_PATH", BUILDPACK_PATH),
            slug: variables.path("SLUG_PATH", SLUG),
            buildpack_url: variables.text("BUILDPACK_URL"),
            stack: variables
                .text("STACK")
                .unwrap_or_else(|| DEFAULT_STACK.to_owned()),
            variables,
        }
    }

    fn stack(&self) -> Stack {
        Stack {
            id: self.stack.clone(),
            env: self.variables.of_scripts(),
            user: String::new(),
        }
    }
}

/// Does what a command says. A process that it starts is handed back, and gets the signals of `forwarding`.
pub fn run(
    command: Herokuish,
    settings: &Settings,
    surroundings: Surroundings<'_>,
    stdin: impl Read + Send,
    stdout: &mut dyn Write,
    forwarding: &Forwarding,
) -> Result<Option<Running>, HerokuError> {
    let answer = match command {
        Herokuish::Start(name) => {
            return begin(settings, &["start".into(), name], surroundings, forwarding).map(Some);
        }
        Herokuish::Exec(words) => return begin(settings, &words, surroundings, forwarding).map(Some),
        Herokuish::Build => build_app(settings, Purpose::Slug, surroundings).map(|()| Vec::new()),
        Herokuish::Test => build_app(settings, Purpose::Tests, surroundings).map(|()| Vec::new()),
        Herokuish::Try { path, expected } => {
            try_app(settings, path, expected, surroundings).map(|()| Vec::new())
        }
        Herokuish::Install { url, reference, name } => {
            install(settings, url, reference, name, surroundings).map(|()| Vec::new())
        }
        Herokuish::Import(url) => import(settings, url, stdin, surroundings).map(|()| Vec::new()),
        Herokuish::Generate => generate(settings, surroundings).map(|()| Vec::new()),
        Herokuish::Export(url) => export(settings, url, stdout, surroundings).map(|()| Vec::new()),
        Herokuish::Detect => detect(options(settings, Purpose::Slug)?, surroundings),
        Herokuish::List => Ok(settings
            .variables
            .installed()?
            .iter()
            .map(Address::name)
            .collect()),
        Herokuish::Parse(name) => Ok(vec![command_of(settings, name)?]),
        Herokuish::Paths => Ok(paths(settings).into()),
        Herokuish::Version => Ok(vec![format!(
            "herokuish: lifecycle {}",
            env!("CARGO_PKG_VERSION")
        )]),
    };
    for line in answer? {
        writeln!(stdout, "{line}").map_err(HerokuError::io("write", Path::new(STDOUT)))?;
    }
    stdout
        .flush()
        .map_err(HerokuError::io("write", Path::new(STDOUT)))?;
    Ok(None)
}

/// Builds the app, starts its `web`, and looks at the page that it answers with.
fn try_app(
    settings: &Settings,
    path: Option<PathBuf>,
    expected: Option<String>,
    surroundings: Surroundings<'_>,
) -> Result<(), HerokuError> {
    let mut settings = settings.clone();
    settings.import = path.unwrap_or(settings.import);
    build_app(&settings, Purpose::Slug, surroundings)?;
    let port = trial::PORT.to_string();
    settings.variables.0.insert("PORT".to_owned(), port.into());
    let web = ["start".into(), crate::WEB.into()];
    let running = begin(&settings, &web, surroundings, &Forwarding::default())?;
    let page = trial::ask(&running)?;
    if let Some(expected) = expected.filter(|expected| expected.trim() != page.trim()) {
        return Err(HerokuError::Page { expected, page });
    }
    surroundings.console.heading("The app answers as expected");
    Ok(())
}

/// Brings a buildpack to where [`Herokuish::Build`] finds it.
fn install(
    settings: &Settings,
    url: String,
    reference: Option<String>,
    name: Option<String>,
    surroundings: Surroundings<'_>,
) -> Result<(), HerokuError> {
    let text = match reference {
        Some(reference) => format!("{url}#{reference}"),
        None => url,
    };
    let address = Address::parse(&text, Path::new("/"))?;
    fs::create_dir_all(&settings.buildpacks).map_err(HerokuError::io("create", &settings.buildpacks))?;
    let into = settings.buildpacks.join(name.unwrap_or_else(|| address.name()));
    fetch(&address, &into, surroundings.remote, None).map(drop)
}

/// Unpacks a slug as the app.
fn import(
    settings: &Settings,
    url: Option<String>,
    stdin: impl Read + Send,
    surroundings: Surroundings<'_>,
) -> Result<(), HerokuError> {
    let Some(url) = url else {
        return slug::unpack("standard input", stdin, &settings.app);
    };
    let slug = Location::parse("slug import", &url)?;
    slug::unpack(&slug.to_string(), slug.read(surroundings.remote)?, &settings.app)
}

/// Packs the app as a slug.
fn generate(settings: &Settings, surroundings: Surroundings<'_>) -> Result<(), HerokuError> {
    let mut file = fs::File::create(&settings.slug).map_err(HerokuError::io("create", &settings.slug))?;
    let size = slug::pack(&settings.app, &SlugOptions::default(), &mut file, &NoMeter)?;
    surroundings.console.heading(size);
    Ok(())
}

/// Sends the slug somewhere.
fn export(
    settings: &Settings,
    url: Option<String>,
    stdout: &mut dyn Write,
    surroundings: Surroundings<'_>,
) -> Result<(), HerokuError> {
    if let Some(url) = url {
        return Location::parse("slug export", &url)?.put(&settings.slug, surroundings.remote);
    }
    let mut file = fs::File::open(&settings.slug).map_err(HerokuError::io("open", &settings.slug))?;
    std::io::copy(&mut file, stdout).map_err(HerokuError::io("write", Path::new(STDOUT)))?;
    Ok(())
}

/// The command of a process type.
fn command_of(settings: &Settings, name: String) -> Result<String, HerokuError> {
    let processes = slug::processes(&settings.app)?;
    match processes.command(&name) {
        Some(command) => Ok(command.to_owned()),
        None => Err(HerokuError::ProcessType {
            name,
            types: processes.names(),
        }),
    }
}

/// Where everything is, in the form of a shell's assignments.
fn paths(settings: &Settings) -> [String; 5] {
    [
        ("APP_PATH", &settings.app),
        ("ENV_PATH", &settings.env),
        ("CACHE_PATH", &settings.cache),
        ("IMPORT_PATH", &settings.import),
        ("BUILDPACK_PATH", &settings.buildpacks),
    ]
    .map(|(name, path)| format!("{name}={}", path.display()))
}

/// Everything that a build is told.
fn options(settings: &Settings, purpose: Purpose) -> Result<BuildOptions, HerokuError> {
    let imported = fs::read_dir(&settings.import).is_ok_and(|mut entries| entries.next().is_some());
    let explicit = settings
        .buildpack_url
        .as_ref()
        .map(|url| Address::parse(url, Path::new("/")))
        .transpose()?;
    let source = if imported { &settings.import } else { &settings.app };
    Ok(BuildOptions {
        buildpacks: explicit.into_iter().collect(),
        defaults: settings.variables.installed()?,
        config_vars: ConfigVars::read_directory(&settings.env)?,
        cache: Some(settings.cache.clone()),
        dot_env: true,
        purpose,
        ..BuildOptions::new(Source::Directory(source.clone()), settings.stack())
    })
}

/// Builds the app in its own place: what is imported replaces it before (HE-01), what was built after (HE-05).
fn build_app(
    settings: &Settings,
    purpose: Purpose,
    surroundings: Surroundings<'_>,
) -> Result<(), HerokuError> {
    let options = options(settings, purpose)?;
    let config_vars = options.config_vars.clone();
    let built = build(options, surroundings)?;
    if purpose == Purpose::Tests {
        return check(&built, &settings.stack(), &config_vars, surroundings);
    }
    empty(&settings.app)?;
    copy_tree(&built.directory(), &settings.app)
}

/// Starts a process with config vars as variables, and the system's profile scripts before the app's (HE-03).
fn begin(
    settings: &Settings,
    words: &[OsString],
    surroundings: Surroundings<'_>,
    forwarding: &Forwarding,
) -> Result<Running, HerokuError> {
    let mut variables = settings.variables.clone();
    for (name, value) in ConfigVars::read_directory(&settings.env)?.iter() {
        variables.0.insert(name.to_owned(), value.to_owned());
    }
    start(
        &settings.app,
        words,
        &variables,
        Profiles::SystemAndApp,
        surroundings.rooms,
        forwarding,
    )
}

/// Removes everything in a directory, and keeps that, since it may be a mount.
fn empty(directory: &Path) -> Result<(), HerokuError> {
    let handle = fs::File::open(directory).map_err(HerokuError::io("open", directory))?;
    for entry in fs::read_dir(directory).map_err(HerokuError::io("read", directory))? {
        let name = entry.map_err(HerokuError::io("read", directory))?.file_name();
        remove(handle.as_fd(), &name).map_err(HerokuError::io("empty", directory))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Herokuish, HerokuError> {
        let mut words = line.split(' ').map(OsString::from);
        let program = words.next().unwrap();
        Herokuish::parse(&program, &words.collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn commands_and_their_aliases() {
        for (line, command) in [
            ("/build", Herokuish::Build),
            ("/bin/herokuish buildpack build", Herokuish::Build),
            ("herokuish buildpack test", Herokuish::Test),
            ("/start web", Herokuish::Start("web".into())),
            ("herokuish procfile start web", Herokuish::Start("web".into())),
            ("/exec bash -l", Herokuish::Exec(vec!["bash".into(), "-l".into()])),
            ("herokuish procfile exec x", Herokuish::Exec(vec!["x".into()])),
            ("herokuish procfile parse web", Herokuish::Parse("web".to_owned())),
            ("herokuish slug import", Herokuish::Import(None)),
            (
                "herokuish buildpack install u v1 01_x",
                Herokuish::Install {
                    url: "u".to_owned(),
                    reference: Some("v1".to_owned()),
                    name: Some("01_x".to_owned()),
                },
            ),
        ] {
            assert_eq!(parse(line).unwrap(), command, "{line}");
        }
        assert!(Herokuish::parse(OsStr::new("lifecycle"), &[]).is_none());
        let error = parse("herokuish dance").unwrap_err().to_string();
        assert!(
            error.starts_with("`dance` is no command here; there are buildpack build|detect|list"),
            "{error}"
        );
    }
}
