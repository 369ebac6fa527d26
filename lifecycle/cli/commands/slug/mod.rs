//! `lifecycle slug build|run|export|import|inspect|size`

mod stack;

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use lifecycle_builder::stack::Part;
use lifecycle_heroku::{
    Address, BuildOptions, Built, ConfigVars, IgnoreAt, ImageOptions, Procfile, Profiles, Purpose,
    RunOptions, SlugOptions, SlugSize, Source, Start, Surroundings, slug,
};
use lifecycle_image::{Outcome, Platform, Reference, Step};
use lifecycle_layers::Packing;
use lifecycle_sandbox::{Forwarding, Streams};
use lifecycle_store::{Cache, Scratch, Sharing};
use serde_json::json;

use self::stack::{Rooms, Stacks};
use crate::arguments::{OutputForm, SlugBuildArguments, SlugCommand, SlugRunArguments, SlugStackArguments};
use crate::classic::{Log, failing};
use crate::commands::exit_code;
use crate::console::human_size;
use crate::failure::Failure;
use crate::isolation;
use crate::program::own_program;
use crate::remote::Elsewhere;
use crate::session::Session;
use crate::transfer;
use crate::variables::Variables;

/// When images of slugs are said to be made.
const CREATED: &str = "1980-01-01T00:00:01Z";

pub(crate) fn run(command: &SlugCommand, session: &Session) -> Result<ExitCode, Failure> {
    match command {
        SlugCommand::Build(arguments) => return build(arguments, session),
        SlugCommand::Run(arguments) => return start(arguments, session),
        _ => session.interruption.listen(&session.console)?,
    }
    match command {
        SlugCommand::Build(_) | SlugCommand::Run(_) => Ok(()),
        SlugCommand::Export { image, output } => export(image, output, session),
        SlugCommand::Import {
            slug,
            tags,
            output,
            stack,
        } => {
            let unpacked = Unpacked::of(slug, session)?;
            let processes = failing(slug::processes(unpacked.path()))?;
            Stacks::new(stack).make(&[Part::Run], session)?;
            write_image(unpacked.path(), &processes, None, tags, output, stack, session)
        }
        SlugCommand::Inspect { slug, output } => inspect(slug, *output, session),
        SlugCommand::Size { slug, output } => size(slug, *output, session),
    }?;
    Ok(ExitCode::SUCCESS)
}

fn build(arguments: &SlugBuildArguments, session: &Session) -> Result<ExitCode, Failure> {
    let mut stacks = Stacks::new(&arguments.stack);
    let needed: &[Part] = if arguments.tags.is_empty() {
        &[Part::Build]
    } else {
        &[Part::Build, Part::Run]
    };
    stacks.make(needed, session)?;
    // A namespace can only be entered while there is one thread.
    let isolation = isolation::choose(session)?;
    session.interruption.listen(&session.console)?;
    let image = stacks.build_image(session)?;
    let mut rooms = Rooms::new(&image, &isolation, session)?;
    let certificates = rooms.show_certificates(&session.environment)?;
    let stack = lifecycle_heroku::Stack::of(&image, Some(&arguments.stack.stack));

    let cache = SlugCache::of(arguments, session)?;
    let config_vars = config_vars(arguments, session)?;
    let current = std::env::current_dir()?;
    let addresses = |texts: &[String]| {
        texts
            .iter()
            .map(|text| Address::parse(text, &current))
            .collect::<Result<_, _>>()
    };
    let options = BuildOptions {
        buildpacks: failing(addresses(&arguments.buildpacks))?,
        defaults: failing(addresses(&arguments.defaults))?,
        config_vars: config_vars.clone(),
        variables: session
            .environment
            .proxies()
            .into_iter()
            .chain(certificates)
            .collect(),
        cache: cache.path(),
        slugignore: if arguments.late_slugignore {
            IgnoreAt::Slug
        } else {
            IgnoreAt::Source
        },
        purpose: if arguments.test {
            Purpose::Tests
        } else {
            Purpose::Slug
        },
        source_version: arguments.source_version.clone(),
        limit: arguments.timeout.map(Duration::from_secs),
        ..BuildOptions::new(source(&arguments.source)?, stack.clone())
    };
    let log = Log(session.console.clone());
    let (stop, told) = session.interruption.raised_flag();
    let surroundings = Surroundings {
        rooms: &rooms,
        store: session.store()?,
        remote: &Elsewhere::new(session.remote()?, session.scratch()?),
        console: &log,
        stop: &stop,
    };
    let built = failing(lifecycle_heroku::build(options, surroundings))?;
    if arguments.test {
        failing(lifecycle_heroku::check(
            &built,
            &stack,
            &config_vars,
            surroundings,
        ))?;
        return Ok(ExitCode::SUCCESS);
    }
    drop(told);
    write(arguments, &built, session)?;
    Ok(ExitCode::SUCCESS)
}

/// Writes the slug, the image, or both.
fn write(arguments: &SlugBuildArguments, built: &Built, session: &Session) -> Result<(), Failure> {
    let latest = Some(latest(built, session));
    if let Some(output) = &arguments.output {
        let options = SlugOptions {
            latest,
            limit: Some(arguments.limit),
            ..SlugOptions::default()
        };
        let size = pack(&built.directory(), &options, output, session)?;
        let log = Log(session.console.clone());
        let console: &dyn lifecycle_heroku::Console = &log;
        console.heading(&size);
    }
    if !arguments.tags.is_empty() {
        let (tags, output) = (&arguments.tags, &arguments.image_output);
        write_image(
            &built.directory(),
            &built.processes,
            latest,
            tags,
            output,
            &arguments.stack,
            session,
        )?;
    }
    Ok(())
}

/// `SOURCE_DATE_EPOCH`, else when the newest file of the source was changed.
fn latest(built: &Built, session: &Session) -> i64 {
    let epoch = session
        .environment
        .text("SOURCE_DATE_EPOCH")
        .and_then(|text| text.parse().ok());
    epoch.unwrap_or(built.newest)
}

/// Packs a slug into a file, which appears when it is whole, or onto stdout.
fn pack(
    directory: &Path,
    options: &SlugOptions,
    output: &Path,
    session: &Session,
) -> Result<SlugSize, Failure> {
    let meter = session.progress().begin(Step::Pack, "slug", None);
    let size = if output == Path::new("-") {
        let mut stdout = std::io::stdout().lock();
        let size = failing(slug::pack(directory, options, &mut stdout, &*meter))?;
        stdout.flush()?;
        size
    } else if let Some(address) = address(output) {
        let mut file = tempfile::tempfile_in(session.scratch()?)?;
        let size = failing(slug::pack(directory, options, &mut file, &*meter))?;
        let address = failing(Address::parse(address, Path::new("/")))?;
        failing(address.put(&file, &Elsewhere::new(session.remote()?, session.scratch()?)))?;
        size
    } else {
        let parent = output
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        let mut file = tempfile::Builder::new().prefix(".tmp-").tempfile_in(parent)?;
        let size = failing(slug::pack(directory, options, &mut file, &*meter))?;
        let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o644);
        file.as_file().set_permissions(permissions)?;
        file.persist(output)?;
        size
    };
    meter.finish(Outcome::Done);
    Ok(size)
}

fn write_image(
    directory: &Path,
    processes: &Procfile,
    latest: Option<i64>,
    tags: &[String],
    output: &str,
    stack: &SlugStackArguments,
    session: &Session,
) -> Result<(), Failure> {
    let names: Vec<Reference> = tags.iter().map(|tag| tag.parse()).collect::<Result<_, _>>()?;
    let destination = session.output(output, &names)?;
    let stacks = Stacks::new(stack);
    let (name, run) = stacks.run_image(session)?;
    let program = own_program();
    let options = ImageOptions {
        run_reference: name
            .parse::<Reference>()?
            .repository()
            .at(&run.digest()?)
            .to_string(),
        run_name: name,
        run,
        launcher: program.launcher,
        launcher_version: program.version,
        latest,
        created: CREATED.to_owned(),
        packing: Packing::default(),
    };
    let image = failing(lifecycle_heroku::image(
        directory,
        processes,
        &options,
        session.store()?,
        &session.progress(),
    ))?;
    let receipt = transfer::write(&image, &destination)?;
    for name in &receipt.names {
        session
            .console
            .result(&name.repository().at(&receipt.digest).to_string())?;
    }
    Ok(())
}

fn start(arguments: &SlugRunArguments, session: &Session) -> Result<ExitCode, Failure> {
    let mut stacks = Stacks::new(&arguments.stack);
    stacks.make(&[Part::Run], session)?;
    let isolation = isolation::choose(session)?;
    session.interruption.listen(&session.console)?;
    let (_, image) = stacks.run_image(session)?;
    let rooms = Rooms::new(&image, &isolation, session)?;
    let unpacked = Unpacked::of(&arguments.slug, session)?;
    let processes = failing(slug::processes(unpacked.path()))?;
    // A process type alone starts it, as in `lifecycle run IMAGE TYPE`.
    let words = match arguments.words.as_slice() {
        [only]
            if only
                .to_str()
                .is_some_and(|name| processes.command(name).is_some()) =>
        {
            vec!["start".into(), only.clone()]
        }
        words => words.to_vec(),
    };
    let mut variables = Variables::default();
    variables.add(&arguments.env, &session.environment)?;
    let forwarding = Forwarding::default();
    let options = RunOptions {
        slug: unpacked.path().to_owned(),
        give: matches!(unpacked, Unpacked::Scratch { .. }),
        stack: lifecycle_heroku::Stack::of(&image, Some(&arguments.stack.stack)),
        start: failing(Start::parse(&words, &processes))?,
        env: variables.into_pairs(),
        port: arguments.port,
        profiles: Profiles::App,
        streams: Streams::default(),
        forwarding: forwarding.clone(),
    };
    let told = session.interruption.forwarded(forwarding);
    let running = failing(lifecycle_heroku::run(options, &rooms))?;
    let exit = failing(running.wait(&Log(session.console.clone())))?;
    drop(told);
    Ok(exit_code(exit))
}

fn export(image: &str, output: &Path, session: &Session) -> Result<(), Failure> {
    let image = session.find(image)?.image(&Platform::host())?;
    let scratch = session.store()?.scratch()?;
    let directory = scratch.path().join("app");
    failing(lifecycle_heroku::unpack_image(&image, &directory))?;
    let size = pack(&directory, &SlugOptions::default(), output, session)?;
    session.console.info(size.to_string());
    Ok(())
}

fn inspect(slug: &Path, form: OutputForm, session: &Session) -> Result<(), Failure> {
    let unpacked = Unpacked::of(slug, session)?;
    let processes = failing(slug::processes(unpacked.path()))?;
    let release = failing(slug::release(unpacked.path()))?;
    if form == OutputForm::Json {
        let types: serde_json::Map<_, _> = processes
            .iter()
            .map(|(name, command)| (name.to_owned(), command.into()))
            .collect();
        let vars: serde_json::Map<_, _> = release
            .config_vars
            .into_iter()
            .map(|(name, value)| (name, value.into()))
            .collect();
        return session.console.json(&json!({
            "processes": types,
            "defaultProcess": processes.default_type(),
            "configVars": vars,
            "addons": release.addons,
        }));
    }
    let mut text = processes.to_text();
    for (name, value) in release.config_vars {
        text.extend([&name, "=", &value, "\n"]);
    }
    Ok(session.console.result(&text)?)
}

fn size(slug: &Path, form: OutputForm, session: &Session) -> Result<(), Failure> {
    let unpacked = Unpacked::of(slug, session)?;
    let compressed = fs_err::metadata(slug)
        .ok()
        .filter(std::fs::Metadata::is_file)
        .map(|metadata| metadata.len());
    let largest = failing(slug::largest(unpacked.path()))?;
    if form == OutputForm::Json {
        let largest: Vec<_> = largest
            .iter()
            .map(|(path, bytes)| json!({ "path": path, "bytes": bytes }))
            .collect();
        return session
            .console
            .json(&json!({ "compressed": compressed, "largest": largest }));
    }
    let mut text = compressed.map_or_else(String::new, |bytes| format!("{} compressed\n", human_size(bytes)));
    for (path, bytes) in largest {
        writeln!(text, "{:>10}  {path}", human_size(bytes))?;
    }
    Ok(session.console.result(&text)?)
}

/// A URL, or git's `user@host:path`, as text.
fn address(path: &Path) -> Option<&str> {
    let text = path.to_str()?;
    let is_scp = || {
        text.split_once(':')
            .is_some_and(|(host, _)| host.contains('@') && !host.contains('/'))
    };
    (text.contains("://") || (is_scp() && !path.exists())).then_some(text)
}

fn source(path: &Path) -> Result<Source, Failure> {
    Ok(if let Some(address) = address(path) {
        Source::Address(failing(Address::parse(address, &std::env::current_dir()?))?)
    } else if path == Path::new("-") {
        Source::Tar {
            name: "standard input".to_owned(),
            reader: Box::new(std::io::stdin()),
        }
    } else if path.is_file() {
        Source::Tar {
            name: path.display().to_string(),
            reader: Box::new(File::open(path)?),
        }
    } else {
        Source::Directory(path.to_owned())
    })
}

fn config_vars(arguments: &SlugBuildArguments, session: &Session) -> Result<ConfigVars, Failure> {
    let mut vars = match &arguments.env_dir {
        Some(directory) => failing(ConfigVars::read_directory(directory))?,
        None => ConfigVars::default(),
    };
    let mut given = Variables::default();
    given.add(&arguments.env, &session.environment)?;
    for (name, value) in given.into_pairs() {
        failing(vars.set(&name, value.as_bytes()))?;
    }
    Ok(vars)
}

/// The directory of a slug: unpacked for this command, or given as one.
enum Unpacked {
    Scratch { path: PathBuf, _scratch: Scratch },
    Directory { path: PathBuf },
}

impl Unpacked {
    fn of(slug: &Path, session: &Session) -> Result<Self, Failure> {
        if slug.is_dir() {
            return Ok(Self::Directory {
                path: std::path::absolute(slug)?,
            });
        }
        let reader: Box<dyn Read + Send> = if let Some(address) = address(slug) {
            let address = failing(Address::parse(address, Path::new("/")))?;
            failing(address.open(&Elsewhere::new(session.remote()?, session.scratch()?)))?
        } else if slug == Path::new("-") {
            Box::new(std::io::stdin())
        } else {
            Box::new(fs_err::File::open(slug)?)
        };
        let scratch = session.store()?.scratch()?;
        let directory = scratch.path().join("app");
        failing(slug::unpack(&slug.display().to_string(), reader, &directory))?;
        Ok(Self::Scratch {
            path: directory,
            _scratch: scratch,
        })
    }

    fn path(&self) -> &Path {
        match self {
            Self::Scratch { path, .. } | Self::Directory { path } => path,
        }
    }
}

/// Where buildpacks keep what they want to find again.
enum SlugCache {
    None,
    Stored(Cache),
    Directory(PathBuf),
}

impl SlugCache {
    fn of(arguments: &SlugBuildArguments, session: &Session) -> Result<Self, Failure> {
        let name = match arguments.cache.as_deref() {
            Some("none") => return Ok(Self::None),
            Some(path) if path.contains('/') => return Ok(Self::Directory(std::path::absolute(path)?)),
            Some(name) => name.to_owned(),
            None if arguments.source.as_os_str() == OsStr::new("-") => return Ok(Self::None),
            None => match address(&arguments.source) {
                // As it is shown: a cache outlives a password.
                Some(text) => failing(Address::parse(text, Path::new("/")))?.to_string(),
                None => fs_err::canonicalize(&arguments.source)?.display().to_string(),
            },
        };
        let key = format!("slug {} {name}", arguments.stack.stack);
        Ok(Self::Stored(session.store()?.cache(&key, Sharing::Locked)?))
    }

    fn path(&self) -> Option<PathBuf> {
        match self {
            Self::None => None,
            Self::Stored(cache) => Some(cache.path().to_owned()),
            Self::Directory(path) => Some(path.clone()),
        }
    }
}
