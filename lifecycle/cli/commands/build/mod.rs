//! `lifecycle build`

mod builder;
mod dockerfile;
mod previous;
mod project;
mod stack;
mod summary;

pub(crate) use self::dockerfile::{
    Watcher, build_args, dockerfile_platform, failure_of, secrets, usual_options,
};

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use lifecycle_image::{Platform, Reference};
use lifecycle_layers::Packing;
use lifecycle_phases::{Access, Cancellation, Identifiers, Images, Reporter};
use lifecycle_platform::{BuildOptions, Program, RunImages};
use lifecycle_spec::{ExecEnv, ProjectMetadataToml};
use lifecycle_store::{Cache, Sharing};

use self::builder::Builder;
use self::previous::{BuildSource, Writable};
use self::project::Project;
use crate::arguments::BuildArguments;
use crate::commands::builder::own_lifecycle;
use crate::context::Location;
use crate::failure::Failure;
use crate::isolation;
use crate::session::Session;
use crate::variables::{self, Variables};

pub(crate) fn run(arguments: &BuildArguments, session: &Session) -> Result<ExitCode, Failure> {
    let source = arguments.source.as_deref().unwrap_or(".");
    let location = Location::parse(source)?;
    if dockerfile::is_asked_for(arguments, &location, &session.console) {
        let file = arguments.dockerfile.file.as_deref();
        let file = file.filter(|file| !file.as_os_str().is_empty());
        return dockerfile::run(arguments, file, &location, session);
    }
    build(arguments, PathBuf::from(source), session)
}

/// Builds with buildpacks.
fn build(arguments: &BuildArguments, source: PathBuf, session: &Session) -> Result<ExitCode, Failure> {
    let start = Instant::now();
    let names: Vec<Reference> = arguments
        .tags
        .iter()
        .map(|tag| tag.parse())
        .collect::<Result<_, _>>()?;
    let project = Project::read(&source, arguments.descriptor.as_deref(), &session.console)?;
    let builder = Builder::choose(arguments.builder.as_deref().or(project.builder()))?;
    builder.make_stack(session)?;
    // Only now: making a stack needs the user's own ids, everything after needs those of a namespace, and that can
    // only be entered while there is one thread.
    let isolation = isolation::choose(session)?;
    session.interruption.listen(&session.console)?;

    session.store()?.tidy_up();

    let made = builder.open(&arguments.buildpacks, &project, session)?;
    let Some((name, more_names)) = names.split_first() else {
        return Err(Failure::new("name", "the image has no name").help("name it with --tag NAME"));
    };
    let platform = arguments.platform.clone().unwrap_or_else(Platform::host);
    let lifecycle = own_lifecycle();
    let program = Program {
        file: lifecycle.program,
        version: lifecycle.version,
        launcher: lifecycle.launcher,
    };
    let cache = cache(arguments, name, session)?;
    let options = BuildOptions {
        selection: project.selection(&source)?,
        source,
        name: name.clone(),
        more_names: more_names.to_vec(),
        builder_name: made.name,
        builder: made.image,
        order: made.order,
        env: variables(arguments, &project, session)?,
        variables: session.environment.proxies(),
        certificates: session.environment.certificates(),
        volumes: variables::volumes(&arguments.volume)?,
        run_images: match &arguments.run_image {
            Some(image) => RunImages::Fixed(image.parse()?),
            None => RunImages::OfBuilder(made.run_images),
        },
        previous: arguments.previous_image.as_deref().map(str::parse).transpose()?,
        process: arguments.process.clone(),
        project: ProjectMetadataToml::default(),
        created: created(arguments, session)?,
        cache: cache.path(),
        unpacked: cache.unpacked(),
        clear_cache: arguments.clear_cache,
        exec_env: ExecEnv::default(),
        packing: Packing::default(),
        program: &program,
        debug: session.console.is_verbose(),
        color: session.console.is_colored(),
    };
    if arguments.dry_run {
        return summary::plan(&options, &session.console).map(|()| ExitCode::SUCCESS);
    }

    let destination = session.output(&arguments.output, &names)?;
    let source = BuildSource::new(&arguments.output, &options, session)?;
    let writable = Writable::of(&arguments.output, session)?;
    let images = Images {
        source: &source,
        sink: &*destination.sink,
        identifiers: &Identifiers::Registry,
        access: writable.as_ref().map(|writable| writable as &dyn Access),
        platform: &platform,
    };
    let cancellation = Cancellation::default();
    let told = session.interruption.during({
        let cancellation = cancellation.clone();
        move || cancellation.cancel()
    });
    let reporter: Arc<dyn Reporter> = Arc::new(session.console.clone());
    let report = lifecycle_platform::build(
        &options,
        &images,
        session.store()?,
        &isolation,
        &reporter,
        &cancellation,
    );
    drop(told);
    if report.is_err() && cancellation.is_cancelled() {
        session.interruption.tidy_up();
    }
    let report = report.map_err(|error| {
        let code = u8::try_from(error.exit_code()).unwrap_or(1);
        Failure::from(error).with_code(code)
    })?;
    if let Some(path) = &arguments.digest_file {
        fs_err::write(path, report.export.receipt.digest.as_str())?;
    }
    summary::tell(&report, start.elapsed(), &session.console);
    for name in &report.export.receipt.names {
        session
            .console
            .result(&name.repository().at(&report.export.receipt.digest).to_string())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Variables for the buildpacks: of `project.toml`, then of files, then of the command line (PRJ-06, PK-51).
fn variables(
    arguments: &BuildArguments,
    project: &Project,
    session: &Session,
) -> Result<Vec<(String, OsString)>, Failure> {
    let mut variables = Variables::default();
    for (name, value) in project.env() {
        variables.set(name, value.into());
    }
    for file in &arguments.env_file {
        variables.add_file(file, &session.environment)?;
    }
    variables.add(&arguments.env, &session.environment)?;
    Ok(variables.into_pairs())
}

/// When the image is said to be made: `--creation-time`, else `SOURCE_DATE_EPOCH`.
fn created(arguments: &BuildArguments, session: &Session) -> Result<Option<i64>, Failure> {
    match arguments.creation_time.as_deref() {
        Some("now") => {
            let since = SystemTime::now()
                .duration_since(SystemTime::UNIX_EPOCH)
                .unwrap_or_default();
            Ok(Some(i64::try_from(since.as_secs()).unwrap_or(i64::MAX)))
        }
        Some(text) => seconds(Some(text)),
        None => seconds(session.environment.text("SOURCE_DATE_EPOCH")),
    }
}

/// Seconds since 1970, as `SOURCE_DATE_EPOCH` has them.
pub(crate) fn seconds(text: Option<&str>) -> Result<Option<i64>, Failure> {
    let parsed = text.map(|text| {
        text.parse().map_err(|_| {
            Failure::new("time", format!("{text:?} is no time"))
                .help("write seconds since 1970, or `now` with --creation-time")
        })
    });
    parsed.transpose()
}

/// Where layers are kept from one build to the next.
enum Kept {
    Nowhere,
    InDirectory(PathBuf),
    InStore(Cache),
}

impl Kept {
    fn path(&self) -> Option<PathBuf> {
        match self {
            Self::Nowhere => None,
            Self::InDirectory(path) => Some(path.clone()),
            Self::InStore(cache) => Some(cache.path().to_owned()),
        }
    }

    /// A directory of the user's may lie on any file system and be written by anybody, so its layers are only in tars.
    fn unpacked(&self) -> Option<PathBuf> {
        match self {
            Self::Nowhere | Self::InDirectory(_) => None,
            Self::InStore(cache) => Some(cache.path().join("unpacked")),
        }
    }
}

/// The cache that `--cache` names; without it, one for each repository.
fn cache(arguments: &BuildArguments, name: &Reference, session: &Session) -> Result<Kept, Failure> {
    let key = match arguments.cache.as_deref() {
        Some("none") => return Ok(Kept::Nowhere),
        Some(path) if path.contains('/') => {
            let path = std::path::absolute(Path::new(path))?;
            fs_err::create_dir_all(&path)?;
            return Ok(Kept::InDirectory(path));
        }
        Some(key) => key.to_owned(),
        None => name.repository().to_string(),
    };
    Ok(Kept::InStore(
        session.store()?.cache(&format!("build {key}"), Sharing::Locked)?,
    ))
}
