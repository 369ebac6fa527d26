//! `lifecycle build --on kubernetes`: from arguments to Jobs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use lifecycle_dockerfile::Ignore;
use lifecycle_image::{Artifact, Image, Index, Platform, Receipt, Reference, Source};
use lifecycle_kubernetes::{
    BuildResult, CacheAt, Cluster, ClusterError, Credentials, Executor, Life, Manifests, Phases, Placement,
    PodSecurity, Recipe, RegistryAccess, Resources, SourceAt, Submission, Volume, build_id,
};
use lifecycle_platform::Selection;
use lifecycle_spec::ExecEnv;

use super::builder::Builder;
use super::follow::{self, Ended};
use super::source::{self, Files};
use super::{connect, failure};
use crate::arguments::{BuildArguments, KubernetesArguments, SendSource};
use crate::commands::build::{self, Project};
use crate::context::Location;
use crate::failure::Failure;
use crate::session::Session;

/// The program in the executor image.
const PROGRAM: &str = "/kaniko/lifecycle";
/// The same in builders that were made with it.
const PROGRAM_OF_BUILDER: &str = "/cnb/lifecycle/lifecycle";
/// The user of the executor image.
const NONROOT: (i64, i64) = (65532, 65532);
/// How long a source may take into a pod.
const STREAM_LIMIT: Duration = Duration::from_mins(10);

/// Builds there what `source` is.
pub(crate) fn build(
    arguments: &BuildArguments,
    source: &Location,
    is_dockerfile: bool,
    session: &Session,
) -> Result<ExitCode, Failure> {
    refuse_places_of_this_machine(arguments)?;
    let planned = Plan::of(arguments, source, is_dockerfile, session)?;
    if arguments.dry_run {
        return planned.print(session);
    }
    session.interruption.listen(&session.console)?;
    let cluster = connect(&arguments.kubernetes.cluster, session)?;
    planned.run(&cluster, session)
}

/// A pod can leave its image nowhere but in a registry.
fn refuse_places_of_this_machine(arguments: &BuildArguments) -> Result<(), Failure> {
    match arguments.output() {
        "store" | "registry" => Ok(()),
        "yaml" | "json" | "name" if arguments.dry_run => Ok(()),
        other => Err(Failure::new(
            "output",
            format!("a build on a cluster cannot leave its image at {other:?}"),
        )
        .help(
            "it goes to the registries that the tags name; with --dry-run, --output is yaml, json or name",
        )),
    }
}

/// The Jobs of one invocation: one for each platform.
struct Plan<'a> {
    arguments: &'a BuildArguments,
    tags: Vec<Reference>,
    submissions: Vec<Submission>,
    /// What is sent, if the source lies here.
    files: Option<Files>,
}

impl<'a> Plan<'a> {
    fn of(
        arguments: &'a BuildArguments,
        location: &Location,
        is_dockerfile: bool,
        session: &Session,
    ) -> Result<Self, Failure> {
        let tags: Vec<Reference> = arguments
            .tags
            .iter()
            .map(|tag| tag.parse())
            .collect::<Result<_, _>>()?;
        let Some(first) = tags.first() else {
            return Err(Failure::new("name", "the image has no name").help("name it with --tag NAME"));
        };
        let source = arguments.source();
        let (files, at) = match location {
            Location::Directory(directory) => {
                let files = files(arguments, directory, is_dockerfile, session)?;
                // The digest is known when it is there; until then, and for a dry run, the client sends.
                let at = SourceAt::Stream {
                    patience: STREAM_LIMIT,
                };
                (Some(files), at)
            }
            Location::Git(..) | Location::Web(_) => {
                let of_files = ["gitignore", "send_source", "source_limit"];
                if let Some(option) = arguments.given.first_of(&of_files) {
                    let message =
                        format!("{option} means nothing to a source that the pod fetches by itself");
                    return Err(Failure::new("option", message)
                        .help("leave it out, or name a directory of this machine")
                        .with_code(2));
                }
                (None, SourceAt::Remote(source.to_owned()))
            }
            Location::File(_) | Location::Input | Location::Object(_) => {
                return Err(Failure::new("source", format!("{source} is not a directory"))
                    .help("a build on a cluster takes a directory, a git repository, or an archive behind a URL"));
            }
        };
        let unique = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        let unique = u64::try_from(unique.as_nanos()).unwrap_or(u64::MAX) ^ u64::from(std::process::id());
        let (recipe, executor, user) = recipe(arguments, is_dockerfile, session)?;
        let submission = submission(
            arguments,
            build_id(first, unique),
            recipe,
            executor,
            user,
            at,
            session,
        )?;
        let platforms = &arguments.platforms;
        let mut submissions = Vec::new();
        for (number, platform) in platforms.iter().enumerate() {
            let mut own = submission.clone();
            own.placement
                .node_selector
                .insert("kubernetes.io/arch".to_owned(), platform.architecture.clone());
            if platforms.len() > 1 {
                own.id = build_id(first, unique.wrapping_add(number as u64));
                own.tags = vec![first.repository().tagged(&tag_of(first, platform))?];
            }
            submissions.push(own);
        }
        if submissions.is_empty() {
            submissions.push(submission);
        }
        Ok(Self {
            arguments,
            tags,
            submissions,
            files,
        })
    }

    /// The objects as they would be made. A source of this machine would be streamed, because nothing is uploaded.
    fn print(&self, session: &Session) -> Result<ExitCode, Failure> {
        for submission in &self.submissions {
            let manifests = Manifests::of(submission);
            let text = match self.arguments.output() {
                "json" => manifests.to_json()?,
                "name" => manifests.to_names().join("\n"),
                _ => manifests.to_yaml()?,
            };
            session.console.result(text.trim_end())?;
        }
        Ok(ExitCode::SUCCESS)
    }

    fn run(mut self, cluster: &Cluster, session: &Session) -> Result<ExitCode, Failure> {
        let kubernetes = &self.arguments.kubernetes;
        for submission in &mut self.submissions {
            cluster.namespace().clone_into(&mut submission.namespace);
        }
        let mut archive = None;
        if let Some(files) = self.files.take() {
            match kubernetes.send_source {
                SendSource::Registry => {
                    let ids: Vec<&str> = self.submissions.iter().map(|own| own.id.as_str()).collect();
                    let sent = source::upload(files, &ids, &self.tags[0], kubernetes.source_limit, session)?;
                    for (submission, at) in self.submissions.iter_mut().zip(sent) {
                        submission.source = SourceAt::Artifact(at);
                    }
                }
                SendSource::Stream => {
                    archive = Some(source::archive(&files, kubernetes.source_limit, session)?);
                }
            }
        }
        let mut guard = Unfinished::of(&self.submissions, cluster, session);
        for submission in &self.submissions {
            cluster.submit(&Manifests::of(submission)).map_err(failure)?;
            guard.is_submitted(&submission.id);
            session.console.info(format!(
                "Submitted {} to the namespace {}",
                submission.id, submission.namespace
            ));
        }
        if let Some(archive) = &mut archive {
            for submission in &self.submissions {
                let limit = STREAM_LIMIT;
                // Without its source the build would only wait.
                cluster
                    .send_source(&submission.id, &submission.executor.program, archive, limit)
                    .map_err(failure)?;
            }
        }
        if kubernetes.detach {
            guard.let_all_go();
            for submission in &self.submissions {
                session.console.result(&submission.id)?;
            }
            return Ok(ExitCode::SUCCESS);
        }
        guard.are_under_way();
        let mut results = Vec::new();
        for submission in &self.submissions {
            match follow::follow(cluster, &submission.id, kubernetes.on_interrupt, session)? {
                Ended::Made(result) => {
                    // It removed its source, or tried to.
                    guard.let_go(&submission.id);
                    results.push(result);
                }
                Ended::Detached => {
                    guard.let_all_go();
                    return Ok(ExitCode::SUCCESS);
                }
            }
        }
        let result = match results.as_slice() {
            [result] => result.clone(),
            results => Some(self.assemble(results, session)?),
        };
        if let (Some(path), Some(result)) = (&self.arguments.digest_file, &result) {
            fs_err::write(path, &result.digest)?;
        }
        follow::show(result.as_ref(), session)
    }

    /// The index over the images of all platforms, under the names that were asked for.
    fn assemble(&self, results: &[Option<BuildResult>], session: &Session) -> Result<BuildResult, Failure> {
        let repository = self.tags[0].repository();
        let mut images: Vec<Image> = Vec::new();
        for (result, submission) in results.iter().zip(&self.submissions) {
            let name = match result {
                Some(result) => repository.at(&result.digest.parse()?),
                None => submission.tags[0].clone(),
            };
            match session.registry()?.artifact(&name)? {
                Artifact::Image(image) => images.push(*image),
                Artifact::Index(_) => {
                    return Err(Failure::new("index", format!("{name} is an index already")));
                }
            }
        }
        let destination = session.output("registry", &self.tags)?;
        let mut upload = destination.sink.begin(&destination.names)?;
        let mut members = Vec::new();
        for image in &images {
            upload.member(image)?;
            let mut member = image
                .encode_manifest()
                .map_err(lifecycle_image::TransferError::from)?
                .descriptor;
            member.platform = Some(image.platform());
            members.push(member);
        }
        let receipt: Receipt = upload.finish_index(&Index::new(images[0].family(), members))?;
        Ok(BuildResult {
            digest: receipt.digest.to_string(),
            tags: self.tags.iter().map(ToString::to_string).collect(),
        })
    }
}

/// The builds of one invocation that have not ended well. When the invocation ends before they do, they end with it, and
/// the sources that were uploaded for them go again (JC-25).
struct Unfinished<'a> {
    cluster: &'a Cluster,
    session: &'a Session,
    builds: Vec<Build>,
    /// Whether they have all they need. Until then nobody misses their records.
    is_under_way: bool,
}

struct Build {
    id: String,
    /// The source in the registry, which is this build's alone.
    source: Option<String>,
    is_submitted: bool,
}

impl<'a> Unfinished<'a> {
    fn of(submissions: &[Submission], cluster: &'a Cluster, session: &'a Session) -> Self {
        let build = |submission: &Submission| Build {
            id: submission.id.clone(),
            source: match &submission.source {
                SourceAt::Artifact(artifact) => Some(artifact.to_string()),
                SourceAt::Stream { .. } | SourceAt::Remote(_) => None,
            },
            is_submitted: false,
        };
        Self {
            cluster,
            session,
            builds: submissions.iter().map(build).collect(),
            is_under_way: false,
        }
    }

    fn is_submitted(&mut self, id: &str) {
        for build in self.builds.iter_mut().filter(|build| build.id == id) {
            build.is_submitted = true;
        }
    }

    fn are_under_way(&mut self) {
        self.is_under_way = true;
    }

    fn let_go(&mut self, id: &str) {
        self.builds.retain(|build| build.id != id);
    }

    fn let_all_go(&mut self) {
        self.builds.clear();
    }
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        for build in &self.builds {
            let id = &build.id;
            let ended = if !build.is_submitted {
                Ok(())
            } else if self.is_under_way {
                // One that has ended by itself stays as it is.
                self.cluster.cancel(id).map(drop)
            } else {
                self.cluster.delete(id).map(drop)
            };
            match (ended, &build.source) {
                (Ok(()) | Err(ClusterError::NoBuild(_)), Some(artifact)) => {
                    source::remove(artifact, self.session);
                }
                (Ok(()) | Err(ClusterError::NoBuild(_)), None) => {}
                // It may run on, and then it needs its source.
                (Err(error), _) => self.session.console.warning(format!(
                    "{id} may run on: {error}; `lifecycle jobs delete {id}` ends it and removes its source"
                )),
            }
        }
    }
}

/// The name of one platform's image, until the index is there.
fn tag_of(name: &Reference, platform: &Platform) -> String {
    let platform = platform.to_string().replace('/', "-");
    format!("{}-{platform}", name.tag().unwrap_or("latest"))
}

fn files(
    arguments: &BuildArguments,
    directory: &Path,
    is_dockerfile: bool,
    session: &Session,
) -> Result<Files, Failure> {
    let mut kept = Vec::new();
    let (mut selection, mut ignore) = (Selection::All, Ignore::default());
    if is_dockerfile {
        let file = arguments
            .dockerfile
            .file
            .clone()
            .filter(|file| !file.as_os_str().is_empty());
        let file = file.unwrap_or_else(|| PathBuf::from("Dockerfile"));
        let own = PathBuf::from(format!("{}.dockerignore", file.display()));
        let general = PathBuf::from(".dockerignore");
        let chosen = [&own, &general]
            .into_iter()
            .find(|path| directory.join(path).is_file());
        if let Some(path) = chosen {
            let bytes = fs_err::read(directory.join(path))?;
            ignore = Ignore::parse(path.display().to_string(), bytes).map_err(|diagnostics| {
                for diagnostic in &diagnostics {
                    session.console.diagnostic(diagnostic);
                }
                Failure::new("ignore", format!("{} has errors", path.display()))
            })?;
        }
        kept.extend([file, own, general]);
    } else {
        let project = Project::read(directory, arguments.descriptor.as_deref(), &session.console)?;
        selection = project.selection(directory)?;
        kept.push(PathBuf::from("project.toml"));
    }
    if arguments.kubernetes.gitignore {
        let Selection::All = selection else {
            return Err(Failure::new(
                "gitignore",
                "--gitignore and include or exclude in project.toml exclude each other",
            ));
        };
        let text = fs_err::read_to_string(directory.join(".gitignore"))?;
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        selection = Selection::new(directory, &[], &lines)?;
    }
    Ok(Files {
        directory: directory.to_owned(),
        selection,
        ignore,
        kept,
    })
}

/// How the source is built, with what, and as whom.
fn recipe(
    arguments: &BuildArguments,
    is_dockerfile: bool,
    session: &Session,
) -> Result<(Recipe, Executor, (i64, i64)), Failure> {
    let kubernetes = &arguments.kubernetes;
    let image = kubernetes.executor_image.clone().or_else(|| {
        session
            .environment
            .text("LIFECYCLE_EXECUTOR_IMAGE")
            .map(str::to_owned)
    });
    let asked_user = kubernetes.pod_user.as_deref().map(user).transpose()?;
    if is_dockerfile {
        let image = image.ok_or_else(|| {
            Failure::new("executor", "no image is named that holds this program")
                .help("push the executor image of a release to a registry of yours, and name it with --executor-image or LIFECYCLE_EXECUTOR_IMAGE")
        })?;
        let secrets = build::secrets(&arguments.dockerfile.secrets, session)?;
        let secrets = secrets
            .iter()
            .map(|(id, secret)| (id.clone(), secret.value().to_vec()));
        let recipe = Recipe::Dockerfile {
            arguments: dockerfile_arguments(arguments, session)?,
            secrets: secrets.collect(),
        };
        let program = PROGRAM.to_owned();
        return Ok((recipe, Executor { image, program }, asked_user.unwrap_or(NONROOT)));
    }
    let source = Path::new(arguments.source());
    let project = Project::read(source, arguments.descriptor.as_deref(), &session.console)?;
    if project.has_buildpacks() && arguments.buildpacks.is_empty() {
        return Err(Failure::new(
            "on-kubernetes",
            "project.toml says which buildpacks to use, which a build on a cluster does not read",
        )
        .help("name those of the builder with --buildpack, or build here"));
    }
    let builder = arguments
        .builder
        .as_deref()
        .or(project.builder())
        .ok_or_else(|| {
            Failure::new(
                "builder",
                "a build with buildpacks on a cluster needs a builder image that the cluster can pull",
            )
            .help("push one with `lifecycle builder create … --output registry`, and name it with --builder")
        })?;
    let builder = Builder::look_up(builder, asked_user, session)?;
    let executor = match image {
        Some(image) => Executor {
            image,
            program: PROGRAM.to_owned(),
        },
        None => Executor {
            image: builder.name.clone(),
            program: PROGRAM_OF_BUILDER.to_owned(),
        },
    };
    let user = builder.user;
    let mut env = BTreeMap::new();
    for (name, value) in build::variables(arguments, &project, &ExecEnv::default(), session)? {
        env.insert(name, std::os::unix::ffi::OsStringExt::into_vec(value));
    }
    let phases = Phases {
        order: builder.order(&arguments.buildpacks)?,
        builder: builder.name,
        api: builder.api,
        run_image: arguments.run_image.clone(),
        process: arguments.process.clone(),
        previous_image: arguments.previous_image.clone(),
        env,
        epoch: build::created(arguments, session)?,
        clear_cache: arguments.clear_cache,
    };
    Ok((Recipe::Buildpacks(Box::new(phases)), executor, user))
}

/// The arguments that a build of a Dockerfile has there as here. What names a value of this environment is replaced by
/// that value: the pod has another environment.
fn dockerfile_arguments(arguments: &BuildArguments, session: &Session) -> Result<Vec<String>, Failure> {
    let given = &arguments.dockerfile;
    let file = given
        .file
        .as_ref()
        .map_or("Dockerfile".into(), |file| file.to_string_lossy());
    let file = if file.is_empty() {
        "Dockerfile".into()
    } else {
        file
    };
    let mut words = vec!["--dockerfile".to_owned(), file.into_owned()];
    let mut add = |option: &str, value: String| words.extend([option.to_owned(), value]);
    for text in &given.build_args {
        let text = match text.split_once('=') {
            Some(_) => text.clone(),
            None => format!("{text}={}", session.environment.text(text).unwrap_or_default()),
        };
        add("--build-arg", text);
    }
    for (key, value) in &given.labels {
        add("--label", format!("{key}={value}"));
    }
    if let Some(target) = &given.target {
        add("--target", target.clone());
    }
    for text in &given.cache_from {
        add("--cache-from", text.clone());
    }
    for text in &given.cache_to {
        add("--cache-to", text.clone());
    }
    if let Some(epoch) = build::created(arguments, session)? {
        add("--creation-time", epoch.to_string());
    }
    if let Some(stages) = &given.no_cache {
        words.push(format!("--no-cache={}", stages.join(",")));
    }
    if given.network == crate::arguments::NetworkArgument::None {
        words.extend(["--network".to_owned(), "none".to_owned()]);
    }
    Ok(words)
}

fn user(text: &str) -> Result<(i64, i64), Failure> {
    let ids = text
        .split_once(':')
        .and_then(|(user, group)| Some((user.parse().ok()?, group.parse().ok()?)));
    ids.filter(|(user, _): &(i64, i64)| *user > 0).ok_or_else(|| {
        Failure::new("pod-user", format!("--pod-user cannot be {text:?}")).help(
            "write two numbers with a colon between, as in 1000:1000; root is what --pod-security is for",
        )
    })
}

fn submission(
    arguments: &BuildArguments,
    id: String,
    recipe: Recipe,
    executor: Executor,
    user: (i64, i64),
    source: SourceAt,
    session: &Session,
) -> Result<Submission, Failure> {
    let given = &arguments.kubernetes;
    let minutes = |count: u64| Duration::from_secs(count.saturating_mul(60));
    let tags = arguments
        .tags
        .iter()
        .map(|tag| tag.parse())
        .collect::<Result<_, _>>()?;
    Ok(Submission {
        id,
        namespace: given
            .cluster
            .namespace
            .clone()
            .unwrap_or_else(|| "default".to_owned()),
        tags,
        recipe,
        source,
        executor,
        credentials: credentials(given)?,
        cache: cache(arguments.cache.as_deref())?,
        security: given.pod_security.parse::<PodSecurity>()?,
        user,
        placement: placement(given)?,
        resources: Resources {
            cpu: given.pod_cpu.as_deref().map(str::parse).transpose()?,
            memory: given.pod_memory.as_deref().map(str::parse).transpose()?,
            ephemeral_storage: given.ephemeral_storage.as_deref().map(str::parse).transpose()?,
        },
        life: Life {
            timeout: minutes(given.timeout),
            retries: i32::from(given.retries),
            ttl: minutes(given.ttl),
            suspended: given.suspend || given.queue.is_some(),
        },
        registry: RegistryAccess {
            insecure: session.insecure_registries(),
            ca: given.ca_config_map.clone(),
            proxies: session.environment.proxies(),
        },
    })
}

fn credentials(given: &KubernetesArguments) -> Result<Credentials, Failure> {
    Ok(match (&given.registry_secret, &given.registry_config) {
        (Some(secret), _) => Credentials::Secret(secret.clone()),
        (None, Some(file)) => Credentials::Sent(fs_err::read(file)?),
        (None, None) => Credentials::None,
    })
}

fn placement(given: &KubernetesArguments) -> Result<Placement, Failure> {
    let mut labels: BTreeMap<String, String> = given.job_label.iter().cloned().collect();
    if let Some(queue) = &given.queue {
        labels.insert("kueue.x-k8s.io/queue-name".to_owned(), queue.clone());
    }
    let tolerations = given.toleration.iter().map(|text| text.parse());
    Ok(Placement {
        node_selector: given.node_selector.iter().cloned().collect(),
        tolerations: tolerations.collect::<Result<_, _>>()?,
        service_account: given.service_account.clone(),
        priority_class: given.priority_class.clone(),
        runtime_class: given.runtime_class.clone(),
        labels,
        annotations: given.job_annotation.iter().cloned().collect(),
        pull_secrets: given.pull_secret.clone(),
    })
}

/// `image:REFERENCE`, `pvc:NAME[,size=5Gi][,class=CLASS]` or `none`.
fn cache(text: Option<&str>) -> Result<CacheAt, Failure> {
    let wrong = |text: &str| {
        Failure::new("cache", format!("there is no cache {text:?} on a cluster"))
            .help("write image:REFERENCE, pvc:NAME[,size=5Gi][,class=CLASS] or none")
    };
    let text = match text {
        None | Some("none") => return Ok(CacheAt::None),
        Some(text) => text,
    };
    if let Some(image) = text.strip_prefix("image:") {
        return Ok(CacheAt::Image(image.parse()?));
    }
    let rest = text.strip_prefix("pvc:").ok_or_else(|| wrong(text))?;
    let mut parts = rest.split(',');
    let mut volume = Volume {
        name: parts.next().unwrap_or_default().to_owned(),
        size: None,
        class: None,
    };
    for part in parts {
        match part.split_once('=') {
            Some(("size", size)) => {
                volume.size = Some(size.parse::<lifecycle_kubernetes::Quantity>()?.to_string());
            }
            Some(("class", class)) => volume.class = Some(class.to_owned()),
            _ => return Err(wrong(text)),
        }
    }
    if volume.name.is_empty() {
        return Err(wrong(text));
    }
    Ok(CacheAt::Volume(volume))
}
