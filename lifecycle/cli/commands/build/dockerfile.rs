//! `lifecycle build` of a Dockerfile.

use std::path::Path;
use std::process::ExitCode;
use std::time::{Instant, SystemTime};

use lifecycle_dockerfile::{Dockerfile, LintOptions, Platform as Target, Platforms, lint};
use lifecycle_executor::{
    BuildContext, BuildReport, Cancellation, ExecutorError, IgnoreFile, Options, Surroundings,
};
use lifecycle_image::{Platform, Reference, Source};

use super::watcher::Watcher;
use super::writing::Writing;
use super::{confinement, given, stack, zipped};
use crate::arguments::{BuildArguments, DockerfileArguments};
use crate::attestations::{Attestations, Sources, now};
use crate::caches::{self, Keeping};
use crate::console::{Console, human_duration, human_size};
use crate::context::{Context, FoundDockerfile, Location};
use crate::failure::Failure;
use crate::output::Output;
use crate::remote::Named;
use crate::session::Session;

/// The usual names, in the order in which they are looked for (J8).
const NAMES: [&str; 2] = ["Dockerfile", "dockerfile"];

/// Whether a Dockerfile is to be built: one is named, or the source has one or is none but a Dockerfile's, and nothing
/// else is asked for.
pub(super) fn is_asked_for(arguments: &BuildArguments, source: &Location, console: &Console) -> bool {
    if arguments.dockerfile.file.is_some() {
        return true;
    }
    if arguments.buildpacks_only || arguments.builder.is_some() || !arguments.buildpacks.is_empty() {
        return false;
    }
    let directory = match source {
        Location::Directory(directory) => directory,
        // No context of a Dockerfile comes as a zip file.
        Location::File(file) if zipped::is_zip(file) => return false,
        _ => return true,
    };
    let found = NAMES
        .map(|name| directory.join(name))
        .into_iter()
        .find(|path| path.is_file());
    if let Some(found) = &found {
        console.info(format!(
            "building {}; --buildpacks-only uses buildpacks instead",
            found.display()
        ));
    }
    found.is_some()
}

pub(super) fn run(
    arguments: &BuildArguments,
    file: Option<&Path>,
    source: &Location,
    session: &Session,
) -> Result<ExitCode, Failure> {
    let start = Instant::now();
    let names: Vec<Reference> = arguments
        .tags
        .iter()
        .map(|tag| tag.parse())
        .collect::<Result<_, _>>()?;
    let stack = arguments.dockerfile.stack.as_deref();
    // What lies on this machine can be looked at right away, and a stack be made for it. What has to be fetched comes
    // later.
    if let Location::Directory(_) = source
        && !arguments.dockerfile.check
        && file != Some(Path::new("-"))
        && stack::is_mentioned(&find(file, &source.open(session)?)?.bytes)
    {
        stack::make(stack, session)?;
    }
    // A namespace can only be entered while there is one thread.
    let host = if arguments.dockerfile.check {
        None
    } else {
        confinement::enter(&arguments.dockerfile.confinement, session)?
    };
    session.interruption.listen(&session.console)?;
    let context = source.open(session)?;
    let mut fetched = Vec::new();
    let mut options = given::options(arguments, file, &context, session, &mut fetched)?;
    if arguments.dockerfile.check {
        return check(&options, &session.console);
    }
    confinement::set(&mut options, host, &arguments.dockerfile.confinement, session)?;
    if stack::is_mentioned(&options.dockerfile) {
        stack::add(stack, &mut options.contexts, session)?;
    }
    let output = Output::parse(arguments.output())?;
    options.packing = output.form.packing_of_builds();
    if output.rewrite_timestamp == Some(false) {
        return Err(Failure::new(
            "output",
            "times are always rewritten when SOURCE_DATE_EPOCH is set",
        )
        .help("leave out rewrite-timestamp=false, or SOURCE_DATE_EPOCH"));
    }
    let keepings = arguments.dockerfile.cache_to.iter();
    let keepings: Vec<Keeping> = keepings
        .map(|text| caches::keeping(text, session))
        .collect::<Result<_, _>>()?;
    let sources = sources(file, &context, &arguments.dockerfile, &fetched)?;
    let work = Writing {
        sources: &sources,
        arguments,
        names: &names,
        output: &output,
        wanted: Attestations::parse(&arguments.result)?,
        keepings: &keepings,
        started: now(),
    };
    let told = session.interruption.during({
        let cancellation = options.cancellation.clone();
        move || cancellation.cancel()
    });
    let targets = targets(&arguments.platforms, &options)?;
    let images = session.images()?;
    let (reports, (receipt, config)) = build(&options, &targets, &images, session, &|reports| {
        work.write(&options, reports, session)
    })?;
    drop(told);
    let executed: usize = reports.iter().map(|report| report.executed).sum();
    let cached: usize = reports.iter().map(|report| report.cached).sum();
    let image = receipt.names.first().filter(|_| output.is_registry());
    let all: Vec<&BuildReport> = reports.iter().collect();
    caches::keep(keepings, &all, image.map(Reference::repository), session)?;
    for report in reports {
        report.finish()?;
    }
    super::record(arguments, &receipt, config.as_ref(), session)?;
    session.console.info(format!(
        "Time: {}; {executed} steps carried out, {cached} taken from earlier builds; sent {}",
        human_duration(start.elapsed()),
        human_size(receipt.sent),
    ));
    if output.takes_stdout() {
        return Ok(ExitCode::SUCCESS);
    }
    for name in &receipt.names {
        session
            .console
            .result(&name.repository().at(&receipt.digest).to_string())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Where the Dockerfile and the contexts come from, as the provenance says it.
fn sources(
    file: Option<&Path>,
    context: &Context,
    given: &DockerfileArguments,
    fetched: &[Context],
) -> Result<Sources, Failure> {
    let has_own_file = match file {
        Some(file) => file == Path::new("-") || FoundDockerfile::at(file)?.is_some(),
        None => false,
    };
    let mut sources = Sources::default();
    match context.material() {
        None => sources.locals.push("context".to_owned()),
        Some(material) => {
            sources.contexts.push(material.clone());
            sources.definition = Some(material.clone()).filter(|_| !has_own_file);
        }
    }
    if sources.definition.is_none() {
        sources.locals.push("dockerfile".to_owned());
    }
    // Of images and layouts the build itself knows what they were.
    let is_directory =
        |value: &str| !value.starts_with("docker-image://") && !value.starts_with("oci-layout://");
    let directories = given.contexts.iter().filter(|(_, value)| is_directory(value));
    for ((name, _), context) in directories.zip(fetched) {
        match context.material() {
            Some(material) => sources.contexts.push(material.clone()),
            None => sources.locals.push(name.to_lowercase()),
        }
    }
    Ok(sources)
}

/// The platforms to build for, each once.
fn targets(platforms: &[Platform], options: &Options) -> Result<Vec<Target>, Failure> {
    if platforms.is_empty() {
        return Ok(vec![options.platforms.target.clone()]);
    }
    let mut targets: Vec<Target> = Vec::new();
    for platform in platforms {
        let target = dockerfile_platform(platform);
        if targets.contains(&target) {
            let message = format!("--platform names {platform} twice");
            return Err(Failure::new("platform", message));
        }
        targets.push(target);
    }
    Ok(targets)
}

/// Builds for all platforms at the same time and writes what that came to. A cache that turns out to be broken only while
/// the images are written costs a second attempt.
pub(crate) fn build<T>(
    options: &Options,
    targets: &[Target],
    images: &dyn Source,
    session: &Session,
    write: &dyn Fn(&[BuildReport]) -> Result<T, Failure>,
) -> Result<(Vec<BuildReport>, T), Failure> {
    let agent = options.ssh.get("default").cloned();
    let surroundings = Surroundings {
        images,
        remote: &Named::new(session.remote()?, &options.secrets, agent),
        store: session.store()?,
        reporter: &Watcher::new(&session.console),
    };
    let reports = lifecycle_executor::build_all(options, targets, surroundings);
    let reports = reports.map_err(|error| failure_of(&error, &session.console))?;
    let failure = match write(&reports) {
        Ok(written) => return Ok((reports, written)),
        Err(failure) => failure,
    };
    let Some((name, reason)) = reports.iter().find_map(BuildReport::broken_cache) else {
        return Err(failure);
    };
    session.console.warning(format!(
        "the cache {name} is broken, building without it: {reason}"
    ));
    let without = Options {
        imports: Vec::new(),
        ..options.clone()
    };
    drop(reports);
    build(&without, targets, images, session, write)
}

/// The options of a build that nobody asked anything of but a platform and a time.
pub(crate) fn usual_options(
    dockerfile: FoundDockerfile,
    files: BuildContext,
    platform: &Platform,
    epoch: Option<i64>,
) -> Options {
    let platforms = Platforms {
        build: dockerfile_platform(&Platform::host()),
        target: dockerfile_platform(platform),
    };
    let mut options = Options::new(dockerfile.name, dockerfile.bytes, files, platforms);
    options.ignore = dockerfile.ignore.unwrap_or(IgnoreFile::Usual);
    options.hosts = fs_err::read("/etc/hosts").ok();
    options.resolv_conf = fs_err::read("/etc/resolv.conf").ok();
    options.epoch = epoch;
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    options.now = epoch.unwrap_or_else(|| i64::try_from(since.as_secs()).unwrap_or(i64::MAX));
    options.cancellation = Cancellation::default();
    options
}

/// The crate that knows the language has a platform of its own, which is the same.
pub(crate) fn dockerfile_platform(platform: &Platform) -> Target {
    Target {
        os: platform.os.clone(),
        architecture: platform.architecture.clone(),
        variant: platform.variant.clone().unwrap_or_default(),
        os_version: platform.os_version.clone().unwrap_or_default(),
    }
}

/// The named Dockerfile: of this machine, else of the context. Without a name, the context itself when it is one, else
/// `Dockerfile` or `dockerfile` in it (J8).
pub(super) fn find(file: Option<&Path>, context: &Context) -> Result<FoundDockerfile, Failure> {
    let found = match file {
        Some(file) if file == Path::new("-") => Some(FoundDockerfile::of_input()?),
        Some(file) => match FoundDockerfile::at(file)? {
            Some(found) => Some(found),
            None => context.dockerfile(file)?,
        },
        None => match context.text() {
            Some(text) => Some(text),
            None => usual(context)?,
        },
    };
    found.ok_or_else(|| {
        let name = file.unwrap_or(Path::new(NAMES[0])).display();
        Failure::new(
            "dockerfile",
            format!("there is no {name}, neither here nor in the build context"),
        )
        .help("name the Dockerfile with --dockerfile FILE")
    })
}

/// The context's `Dockerfile` or `dockerfile`.
fn usual(context: &Context) -> Result<Option<FoundDockerfile>, Failure> {
    for name in NAMES.map(Path::new) {
        if let Some(found) = context.dockerfile(name)? {
            context.check_inside(name)?;
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// Runs the build checks (N1).
fn check(options: &Options, console: &Console) -> Result<ExitCode, Failure> {
    let dockerfile = Dockerfile::parse(options.name.clone(), options.dockerfile.clone())
        .map_err(|diagnostics| failure_of(&ExecutorError::Invalid(diagnostics), console))?;
    let contexts = options.contexts.keys().cloned().collect();
    let lint_options = LintOptions {
        target: options.target.as_deref(),
        build_args: &options.build_args,
        platforms: options.platforms.clone(),
        contexts: &contexts,
        ignore: None,
    };
    let findings = lint(&dockerfile, &lint_options, |_, _| None);
    for finding in &findings {
        console.diagnostic(finding);
    }
    if findings.is_empty() {
        console.info("no findings");
        return Ok(ExitCode::SUCCESS);
    }
    Err(Failure::new(
        "check",
        format!("{} findings in {}", findings.len(), options.name),
    ))
}

/// Codes that say something about the build itself: how one on a cluster ended (110 to 114), and that it was stopped or
/// killed from outside (130, 137, 143), upon which platforms begin again. No command of an image may say that.
const RESERVED: [u8; 8] = [110, 111, 112, 113, 114, 130, 137, 143];

/// Shows all that is wrong but the last, which is the failure; a failing RUN's own code goes on (I2), unless it is
/// reserved.
pub(crate) fn failure_of(error: &ExecutorError, console: &Console) -> Failure {
    let mut code = match error {
        ExecutorError::Command { code, .. } => u8::try_from(*code).unwrap_or(1),
        _ => 1,
    };
    let mut diagnostics = error.diagnostics();
    let mut last = diagnostics.pop();
    if RESERVED.contains(&code) {
        last = last.map(|last| {
            last.help(format!(
                "the build ends with 1 in place of the command's {code}, which would say that the build itself was stopped"
            ))
        });
        code = 1;
    }
    for diagnostic in &diagnostics {
        console.diagnostic(diagnostic);
    }
    Failure {
        diagnostic: last,
        code,
    }
}
