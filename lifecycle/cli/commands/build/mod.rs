//! `lifecycle build`

mod builder;
mod confinement;
mod dockerfile;
mod kept;
mod modules;
mod previous;
mod project;
mod stack;
mod summary;
mod writing;
mod zipped;

pub(crate) use self::dockerfile::{
    build as build_dockerfile, build_args, dockerfile_platform, failure_of, secrets, usual_options,
};

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use lifecycle_image::{Digest, Platform, Receipt, Reference};
use lifecycle_phases::{Access, Cancellation, Identifiers, Images, Reporter};
use lifecycle_platform::{BuildOptions, BuildReport, RunImages};
use lifecycle_sandbox::Network;
use lifecycle_spec::{ExecEnv, PlatformApi, ProjectMetadataToml};

use self::builder::Builder;
use self::kept::{cache, cache_image};
use self::modules::{Asked, Wanted};
use self::previous::{BuildSource, CacheAccess, Writable};
use crate::arguments::{BuildArguments, Flow, NetworkArgument, On};
use crate::attestations::Attestations;
use crate::cluster;
use crate::commands::builder::own_program;
use crate::commands::sbom;
use crate::commit::Commit;
use crate::context::Location;
use crate::failure::Failure;
use crate::isolation;
use crate::output::{Annotations, Finish, Output};
use crate::place::Place;
use crate::session::Session;
use crate::variables::{self, Variables};

pub(crate) use self::project::Project;

pub(crate) fn run(arguments: &BuildArguments, session: &Session) -> Result<ExitCode, Failure> {
    let source = arguments.source();
    let location = Location::parse(source)?;
    let is_dockerfile = dockerfile::is_asked_for(arguments, &location, &session.console);
    let is_on_cluster = arguments.kubernetes.on == Some(On::Kubernetes);
    arguments.given.suit(Flow::of(is_dockerfile, is_on_cluster))?;
    if is_on_cluster {
        return cluster::build(arguments, &location, is_dockerfile, session);
    }
    if is_dockerfile {
        let file = arguments.dockerfile.file.as_deref();
        let file = file.filter(|file| !file.as_os_str().is_empty());
        return dockerfile::run(arguments, file, &location, session);
    }
    let source = PathBuf::from(source);
    match zipped::unpack(&source, session)? {
        Some(unpacked) => build(arguments, unpacked.path().to_owned(), session),
        None => build(arguments, source, session),
    }
}

/// Builds with buildpacks.
fn build(arguments: &BuildArguments, source: PathBuf, session: &Session) -> Result<ExitCode, Failure> {
    let start = Instant::now();
    let mut names: Vec<Reference> = arguments
        .tags
        .iter()
        .map(|tag| tag.parse())
        .collect::<Result<_, _>>()?;
    if names.is_empty() && arguments.dry_run {
        // Nothing is written under it.
        names.push("unnamed".parse()?);
    }
    let project = Project::read(&source, arguments.descriptor.as_deref(), &session.console)?;
    let builder = Builder::choose(arguments.builder.as_deref().or(project.builder()))?;
    builder.make_stack(session)?;
    // Only now: making a stack needs the user's own ids, everything after needs those of a namespace, and that can
    // only be entered while there is one thread.
    let isolation = isolation::choose(session)?;
    session.interruption.listen(&session.console)?;

    session.store()?.tidy_up();
    let exec_env = arguments.exec_env.clone().unwrap_or_default();
    let made = builder.open(&asked(arguments, &project, &exec_env)?, session)?;
    let Some((name, more_names)) = names.split_first() else {
        return Err(Failure::new("name", "the image has no name").help("name it with --tag NAME"));
    };
    if arguments.run_image.is_none() && made.run_images.images.is_empty() {
        let message = format!(
            "{} names no run image, neither in its labels nor in its files",
            made.name
        );
        return Err(Failure::new("no-run-image", message).help("name one with --run-image"));
    }
    let platform = platform(arguments)?;
    let output = Output::parse(arguments.output())?;
    if output.is_files() {
        return Err(Failure::new("output", "buildpacks make images, not files")
            .help("use --output oci:DIR or another place for images"));
    }
    let wanted = Attestations::parse(&arguments.result)?;
    let program = own_program();
    let cache = cache(arguments, name, session)?;
    let origin = if arguments.git_metadata {
        Commit::of(&source)?.project()
    } else {
        ProjectMetadataToml::default()
    };
    let of_cache_image = CacheAccess::of(cache_image(arguments)?, session)?;
    let options = BuildOptions {
        selection: project.selection(&source)?,
        source,
        name: name.clone(),
        more_names: more_names.to_vec(),
        builder_name: made.name,
        builder: made.image,
        uid: arguments.pack.uid,
        gid: arguments.pack.gid,
        app: arguments
            .pack
            .workspace
            .clone()
            .unwrap_or_else(|| PathBuf::from(APP)),
        without_system_buildpacks: arguments.pack.disable_system_buildpacks,
        order: made.order,
        env: variables(arguments, &project, &exec_env, session)?,
        variables: phase_variables(&exec_env, session),
        certificates: session.environment.certificates(),
        volumes: variables::volumes(&arguments.volume)?,
        run_images: match &arguments.run_image {
            Some(image) => RunImages::Fixed(image.parse()?),
            None => RunImages::OfBuilder(made.run_images),
        },
        previous: arguments.previous_image.as_deref().map(str::parse).transpose()?,
        process: arguments.process.clone(),
        project: origin,
        created: created(arguments, session)?,
        cache: cache.path(),
        unpacked: cache.unpacked(),
        cache_image: of_cache_image.as_ref().map(|access| access.image(&platform)),
        extended: cache.extended(),
        clear_cache: arguments.clear_cache,
        exec_env,
        network: match arguments.dockerfile.network {
            NetworkArgument::Default => Network::Host,
            NetworkArgument::None => Network::None,
        },
        packing: output.form.packing_of_builds(),
        program: &program,
        debug: session.console.is_verbose(),
        color: session.console.is_colored(),
    };
    if arguments.dry_run {
        return summary::plan(&options, &session.console).map(|()| ExitCode::SUCCESS);
    }

    let finish = Finish {
        annotations: annotations(arguments)?,
        attest: wanted.of_app(options.created, session)?,
        attach: wanted.attach,
        ..Finish::default()
    };
    let destination = output.open(&names, finish, session)?;
    let source = BuildSource::new(&output, &options, session)?;
    let writable = Writable::of(&output, session)?;
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
    // A table of contents changes the diff IDs, and with them the configuration.
    let is_kept = !output.form.packing.is_some_and(|packing| packing.stargz);
    let image_id = is_kept.then_some(&report.export.image_id);
    record(arguments, &report.export.receipt, image_id, session)?;
    save_reports(arguments, &report, session)?;
    summary::tell(&report, start.elapsed(), &session.console);
    for name in &report.export.receipt.names {
        session
            .console
            .result(&name.repository().at(&report.export.receipt.digest).to_string())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// `--annotation`
fn annotations(arguments: &BuildArguments) -> Result<Annotations, Failure> {
    let mut annotations = Annotations::default();
    for text in &arguments.result.annotations {
        annotations.add(text)?;
    }
    Ok(annotations)
}

/// Saves what `--report-output-dir` and `--sbom-output-dir` ask for.
fn save_reports(arguments: &BuildArguments, report: &BuildReport, session: &Session) -> Result<(), Failure> {
    if let Some(directory) = &arguments.pack.report_output_dir {
        fs_err::create_dir_all(directory)?;
        let text = report.export.report.to_toml(PlatformApi::LATEST);
        fs_err::write(directory.join("report.toml"), text)?;
    }
    let Some(directory) = &arguments.pack.sbom_output_dir else {
        return Ok(());
    };
    let Some(name) = report.export.receipt.names.first() else {
        return Ok(());
    };
    let place = match arguments.output() {
        "store" => Place::Store(name.clone()),
        "registry" => Place::Registry(name.clone()),
        file => Place::parse(file, Place::Nearest)?,
    };
    sbom::save_all(&place, directory, session)
}

/// The modules that command line and project ask for. `--buildpack` stands in place of all groups, so nothing is put
/// around it; where the command line says something about one end, it beats the project (PRJ-04, PK-51).
fn asked(arguments: &BuildArguments, project: &Project, exec_env: &ExecEnv) -> Result<Asked, Failure> {
    let or = |texts: &[String], of_project: Vec<Wanted>| match texts {
        [] => of_project,
        texts => Wanted::of_arguments(texts),
    };
    let extensions = Wanted::of_arguments(&arguments.extensions);
    if !arguments.buildpacks.is_empty() {
        return Ok(Asked {
            buildpacks: Wanted::of_arguments(&arguments.buildpacks),
            extensions,
            ..Asked::default()
        });
    }
    Ok(Asked {
        buildpacks: project.buildpacks(exec_env)?,
        pre: or(&arguments.pre_buildpacks, project.pre(exec_env)?),
        post: or(&arguments.post_buildpacks, project.post(exec_env)?),
        extensions,
    })
}

/// Variables for the phases themselves.
fn phase_variables(exec_env: &ExecEnv, session: &Session) -> Vec<(String, String)> {
    let mut variables = session.environment.proxies();
    variables.push(("CNB_EXEC_ENV".to_owned(), exec_env.as_str().to_owned()));
    variables
}

/// The platform of a build on this machine: one.
fn platform(arguments: &BuildArguments) -> Result<Platform, Failure> {
    match arguments.platforms.as_slice() {
        [] => Ok(Platform::host()),
        [platform] => Ok(platform.clone()),
        _ => Err(Failure::new(
            "platform",
            "buildpacks build for one platform at a time, that of the builder",
        )
        .help("with --on kubernetes there is one Job for each platform, and an index at the end")),
    }
}

/// Where containers leave their last words, in a pod.
const TERMINATION_LOG: &str = "/dev/termination-log";

/// Leaves the digest where the caller looks for it: in the files of `--digest-file`, `--iidfile` and `--metadata-file` (O6),
/// and for the kubelet in the termination message (JC-23). `config` is the image's configuration, where the result is one
/// image.
fn record(
    arguments: &BuildArguments,
    receipt: &Receipt,
    config: Option<&Digest>,
    session: &Session,
) -> Result<(), Failure> {
    let digest = receipt.digest.as_str();
    if let Some(path) = &arguments.digest_file {
        fs_err::write(path, digest)?;
    }
    if let Some(path) = &arguments.result.iidfile {
        fs_err::write(path, config.unwrap_or(&receipt.digest).as_str())?;
    }
    if let Some(path) = &arguments.result.metadata_file {
        fs_err::write(path, format!("{:#}\n", metadata(receipt, config)))?;
    }
    let message = || {
        let tags = receipt.names.iter().map(ToString::to_string).collect();
        cluster::termination_message(digest, tags)
    };
    if let Some(path) = &arguments.termination_message {
        fs_err::write(path, message())?;
    } else if session.environment.is_pod() && Path::new(TERMINATION_LOG).is_file() {
        // A pod whose user may not write there is told its digest in other ways.
        if let Err(cause) = fs_err::write(TERMINATION_LOG, message()) {
            session
                .console
                .warning(format!("no termination message: {cause}"));
        }
    }
    Ok(())
}

/// What is known about a result, under BuildKit's names.
fn metadata(receipt: &Receipt, config: Option<&Digest>) -> serde_json::Value {
    let digest = receipt.digest.as_str();
    let names: Vec<String> = receipt.names.iter().map(ToString::to_string).collect();
    let mut metadata = serde_json::json!({
        "containerimage.digest": digest,
        "containerimage.descriptor": { "digest": digest, "size": receipt.manifest_size },
        "image.name": names.join(","),
    });
    if let Some(config) = config {
        metadata["containerimage.config.digest"] = config.as_str().into();
    }
    metadata
}

/// Variables for the buildpacks: of `project.toml`, then of files, then of the command line (PRJ-06, PK-51).
pub(crate) fn variables(
    arguments: &BuildArguments,
    project: &Project,
    exec_env: &ExecEnv,
    session: &Session,
) -> Result<Vec<(String, OsString)>, Failure> {
    let mut variables = Variables::default();
    for (name, value) in project.env(exec_env) {
        variables.set(name, value.into());
    }
    for file in &arguments.env_file {
        variables.add_file(file, &session.environment)?;
    }
    variables.add(&arguments.env, &session.environment)?;
    Ok(variables.into_pairs())
}

/// When the image is said to be made: `--creation-time`, else `SOURCE_DATE_EPOCH`.
pub(crate) fn created(arguments: &BuildArguments, session: &Session) -> Result<Option<i64>, Failure> {
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

/// Where the build and the image have the app unless `--workspace` says otherwise (P§Build).
const APP: &str = "/workspace";
