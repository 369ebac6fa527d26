//! `lifecycle build` of a Dockerfile.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use lifecycle_diagnostics::Diagnostic;
use lifecycle_dockerfile::{BuildArgs, Dockerfile, LintOptions, Platforms, lint};
use lifecycle_executor::{
    BuildContext, Cancellation, Entitlements, ExecutorError, IgnoreFile, NamedContext, NetworkMode, NoCache,
    Options, Reporter, Secret, StepName, StepOutcome,
};
use lifecycle_image::{Platform, Progress, Reference};

use crate::arguments::{BuildArguments, DockerfileArguments, NetworkArgument, Power};
use crate::console::{Console, Event, human_duration, human_size};
use crate::failure::Failure;
use crate::remote::Named;
use crate::session::Session;
use crate::{transfer, variables};

/// The Dockerfile that is to be built, if one is: the named one, or that of the source when nothing else is asked for.
pub(super) fn choose(arguments: &BuildArguments, source: &Path, console: &Console) -> Option<PathBuf> {
    match &arguments.dockerfile.file {
        Some(file) if !file.as_os_str().is_empty() => Some(file.clone()),
        Some(_) => Some(in_source(source).unwrap_or_else(|| source.join("Dockerfile"))),
        None if arguments.buildpacks_only
            || arguments.builder.is_some()
            || !arguments.buildpacks.is_empty() =>
        {
            None
        }
        None => {
            let found = in_source(source)?;
            console.info(format!(
                "building {}; --buildpacks-only uses buildpacks instead",
                found.display()
            ));
            Some(found)
        }
    }
}

/// `Dockerfile`, then `dockerfile` (J8).
fn in_source(source: &Path) -> Option<PathBuf> {
    ["Dockerfile", "dockerfile"]
        .map(|name| source.join(name))
        .into_iter()
        .find(|path| path.is_file())
}

pub(super) fn run(
    arguments: &BuildArguments,
    file: &Path,
    source: &Path,
    session: &Session,
) -> Result<ExitCode, Failure> {
    let start = Instant::now();
    let names: Vec<Reference> = arguments
        .tags
        .iter()
        .map(|tag| tag.parse())
        .collect::<Result<_, _>>()?;
    let options = options(arguments, file, source, session)?;
    if arguments.dockerfile.check {
        session.interruption.listen(&session.console)?;
        return check(&options, &session.console);
    }
    // A namespace can only be entered while there is one thread.
    crate::isolation::choose(session)?;
    session.interruption.listen(&session.console)?;
    let destination = session.output(&arguments.output, &names)?;
    let told = session.interruption.during({
        let cancellation = options.cancellation.clone();
        move || cancellation.cancel()
    });
    let watcher = Watcher(session.console.clone());
    let agent = options.ssh.get("default").cloned();
    let report = lifecycle_executor::build(
        &options,
        &session.images()?,
        &Named::new(session.remote()?, &options.secrets, agent),
        session.store()?,
        &watcher,
    );
    drop(told);
    let report = report.map_err(|error| failure(&error, &session.console))?;
    let (executed, cached) = (report.executed, report.cached);
    let image = report.image.clone();
    let receipt = transfer::write(&image, &destination)?;
    report.finish()?;
    if let Some(path) = &arguments.digest_file {
        fs_err::write(path, receipt.digest.as_str())?;
    }
    session.console.info(format!(
        "Time: {}; {executed} steps carried out, {cached} taken from earlier builds; sent {}",
        human_duration(start.elapsed()),
        human_size(receipt.sent),
    ));
    for name in &receipt.names {
        session
            .console
            .result(&name.repository().at(&receipt.digest).to_string())?;
    }
    Ok(ExitCode::SUCCESS)
}

fn options(
    arguments: &BuildArguments,
    file: &Path,
    source: &Path,
    session: &Session,
) -> Result<Options, Failure> {
    let given = &arguments.dockerfile;
    let bytes = fs_err::read(file)?;
    let platform = arguments.platform.clone().unwrap_or_else(Platform::host);
    let platforms = Platforms {
        build: dockerfile_platform(&Platform::host()),
        target: dockerfile_platform(&platform),
    };
    let context = BuildContext::Directory(source.to_owned());
    let mut options = Options::new(file.display().to_string(), bytes, context, platforms);
    options.ignore = ignore_file(file)?;
    options.build_args = build_args(given, session)?;
    options.target.clone_from(&given.target);
    options.labels.clone_from(&given.labels);
    options.contexts = contexts(given)?;
    options.secrets = secrets(given, session)?;
    options.ssh = agents(given, session)?;
    options.network = match given.network {
        NetworkArgument::Default => NetworkMode::Shared,
        NetworkArgument::None => NetworkMode::None,
    };
    options.allow = Entitlements {
        network_host: given.allow.contains(&Power::NetworkHost),
        security_insecure: given.allow.contains(&Power::SecurityInsecure),
    };
    options.hosts = fs_err::read("/etc/hosts").ok();
    options.resolv_conf = fs_err::read("/etc/resolv.conf").ok();
    options.no_cache = match &given.no_cache {
        None => NoCache::Off,
        Some(stages) if stages.iter().all(String::is_empty) => NoCache::All,
        Some(stages) => NoCache::Stages(stages.iter().map(|stage| stage.to_lowercase()).collect()),
    };
    options.epoch = super::created(arguments, session)?;
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    options.now = options
        .epoch
        .unwrap_or_else(|| i64::try_from(since.as_secs()).unwrap_or(i64::MAX));
    options.cancellation = Cancellation::default();
    Ok(options)
}

/// The crate that knows the language has a platform of its own, which is the same.
fn dockerfile_platform(platform: &Platform) -> lifecycle_dockerfile::Platform {
    lifecycle_dockerfile::Platform {
        os: platform.os.clone(),
        architecture: platform.architecture.clone(),
        variant: platform.variant.clone().unwrap_or_default(),
        os_version: platform.os_version.clone().unwrap_or_default(),
    }
}

/// `<Dockerfile>.dockerignore` beats the one in the context (J1).
fn ignore_file(file: &Path) -> Result<IgnoreFile, Failure> {
    let mut own = file.as_os_str().to_owned();
    own.push(".dockerignore");
    let own = PathBuf::from(own);
    if !own.is_file() {
        return Ok(IgnoreFile::Usual);
    }
    Ok(IgnoreFile::Given {
        name: own.display().to_string(),
        bytes: fs_err::read(&own)?,
    })
}

fn build_args(given: &DockerfileArguments, session: &Session) -> Result<BuildArgs, Failure> {
    let mut pairs = variables::Variables::default();
    for (name, value) in session.environment.proxies() {
        pairs.set(&name, value.into());
    }
    pairs.add(&given.build_args, &session.environment)?;
    let mut args = BTreeMap::new();
    for (name, value) in pairs.into_pairs() {
        let value = value.into_string().map_err(|_| {
            Failure::new(
                "build-arg",
                format!("the value of the build argument {name} is not UTF-8"),
            )
        })?;
        args.insert(name, value);
    }
    Ok(args.into_iter().collect())
}

fn contexts(given: &DockerfileArguments) -> Result<BTreeMap<String, NamedContext>, Failure> {
    let mut contexts = BTreeMap::new();
    for (name, value) in &given.contexts {
        let context = match value.strip_prefix("docker-image://") {
            Some(image) => NamedContext::Image {
                source: None,
                reference: image.parse()?,
            },
            None if Path::new(value).is_dir() => NamedContext::Directory(PathBuf::from(value)),
            None if Path::new(value).is_file() => NamedContext::Tar(PathBuf::from(value)),
            None => {
                return Err(Failure::new(
                    "context",
                    format!("the build context {name} is neither a directory nor a tar: {value}"),
                )
                .help("git, http and oci-layout contexts are not built yet"));
            }
        };
        contexts.insert(name.to_lowercase(), context);
    }
    Ok(contexts)
}

/// `id=ID[,src=FILE|,env=NAME]`; without either, the variable of that name, else the file (I11).
fn secrets(given: &DockerfileArguments, session: &Session) -> Result<BTreeMap<String, Secret>, Failure> {
    let mut secrets = BTreeMap::new();
    for text in &given.secrets {
        let fields: BTreeMap<&str, &str> = text
            .split(',')
            .filter_map(|field| field.split_once('='))
            .collect();
        let wrong = |reason: String| {
            Failure::new("secret", format!("--secret {text}: {reason}"))
                .help("write id=ID,src=FILE or id=ID,env=NAME")
        };
        let id = *fields.get("id").ok_or_else(|| wrong("it has no id".to_owned()))?;
        let file = fields.get("src").or(fields.get("source")).copied();
        let value = match (file, fields.get("env")) {
            (Some(file), None) => fs_err::read(file)?,
            (None, name) => {
                let name = name.copied().unwrap_or(id);
                let value = session.environment.os(name);
                let value = value.ok_or_else(|| wrong(format!("there is no variable {name}")))?;
                std::os::unix::ffi::OsStrExt::as_bytes(value.as_os_str()).to_vec()
            }
            (Some(_), Some(_)) => return Err(wrong("it has both a file and a variable".to_owned())),
        };
        let secret = Secret::new(value).ok_or_else(|| wrong("it is larger than 500 KiB".to_owned()))?;
        secrets.insert(id.to_owned(), secret);
    }
    Ok(secrets)
}

/// `ID[=SOCKET]`; without a socket, that of the running agent (I12).
fn agents(given: &DockerfileArguments, session: &Session) -> Result<BTreeMap<String, PathBuf>, Failure> {
    let mut agents = BTreeMap::new();
    for text in &given.ssh {
        let (id, socket) = match text.split_once('=') {
            Some((id, socket)) => (id, Some(PathBuf::from(socket))),
            None => (text.as_str(), session.environment.path("SSH_AUTH_SOCK")),
        };
        let socket = socket.ok_or_else(|| {
            Failure::new("ssh", format!("--ssh {text}: no agent is running"))
                .help("set SSH_AUTH_SOCK, or name a socket: --ssh ID=SOCKET")
        })?;
        agents.insert(id.to_owned(), socket);
    }
    Ok(agents)
}

/// Runs the build checks (N1).
fn check(options: &Options, console: &Console) -> Result<ExitCode, Failure> {
    let dockerfile = Dockerfile::parse(options.name.clone(), options.dockerfile.clone())
        .map_err(|diagnostics| failure(&ExecutorError::Invalid(diagnostics), console))?;
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

/// Shows all that is wrong but the last, which is the failure; a failing RUN's own code goes on (I2).
fn failure(error: &ExecutorError, console: &Console) -> Failure {
    let code = match error {
        ExecutorError::Command { code, .. } => u8::try_from(*code).unwrap_or(1),
        ExecutorError::Cancelled => 130,
        _ => 1,
    };
    let mut diagnostics = error.diagnostics();
    let last = diagnostics.pop();
    for diagnostic in &diagnostics {
        console.diagnostic(diagnostic);
    }
    Failure {
        diagnostic: last,
        code,
    }
}

/// Tells what the executor does.
#[derive(Debug)]
struct Watcher(Console);

impl Watcher {
    fn label(step: &StepName) -> String {
        format!("[{} {}/{}]", step.stage, step.number, step.count)
    }
}

impl Reporter for Watcher {
    fn isolation(&self, isolation: &str) {
        self.0.debug(format!("isolation: {isolation}"));
    }

    fn begin(&self, step: &StepName) {
        self.0.info(format!("{} {}", Self::label(step), step.text));
    }

    fn output(&self, _: &StepName, bytes: &[u8]) {
        for line in bytes
            .strip_suffix(b"\n")
            .unwrap_or(bytes)
            .split(|&byte| byte == b'\n')
        {
            self.0.tell(&Event::Output(line));
        }
    }

    fn end(&self, step: &StepName, outcome: StepOutcome) {
        if outcome == StepOutcome::Cached {
            self.0.info(format!(
                "{} from an earlier build: {}",
                Self::label(step),
                step.text
            ));
        }
    }

    fn warn(&self, warning: &Diagnostic) {
        self.0.diagnostic(warning);
    }

    fn progress(&self) -> Arc<dyn Progress> {
        Arc::new(self.0.clone())
    }
}
