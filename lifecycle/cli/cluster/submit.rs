//! `lifecycle build --on kubernetes`: from arguments to Jobs.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use lifecycle_image::{Artifact, Digest, Platform, Receipt, Reference, Source};
use lifecycle_kubernetes::{
    BuildResult, Cluster, ClusterError, Manifests, Recipe, SourceArchive, SourceAt, Submission, build_id,
};

use super::follow::{self, Ended};
use super::index;
use super::recipe::recipe;
use super::source::{self, Files};
use super::submission::submission;
use super::unfinished::Unfinished;
use super::wishes::{Stage, Wishes};
use super::{connect, failure};
use crate::arguments::{BuildArguments, OnInterrupt, SendSource};
use crate::commands::build::{annotations, record};
use crate::context::Location;
use crate::failure::Failure;
use crate::remote::store_variables;
use crate::session::Session;

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
    planned.run(&Arc::new(cluster), session)
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
                let files = Files::of(arguments, directory, is_dockerfile, session)?;
                // The digest is known when it is there; until then, and for a dry run, the client sends.
                let at = SourceAt::Stream {
                    patience: STREAM_LIMIT,
                };
                (Some(files), at)
            }
            Location::Git(..) | Location::Web(_) | Location::Object(_) => {
                let of_files = ["gitignore", "send_source", "source_limit"];
                if let Some(option) = arguments.given.first_of(&of_files) {
                    let message =
                        format!("{option} means nothing to a source that the pod fetches by itself");
                    return Err(Failure::new("option", message)
                        .help("leave it out, or name a directory of this machine")
                        .with_code(2));
                }
                let variables = match location {
                    Location::Object(_) => store_variables(&session.environment)?,
                    _ => BTreeMap::new(),
                };
                let place = source.to_owned();
                (None, SourceAt::Remote { place, variables })
            }
            Location::File(_) | Location::Input => {
                return Err(Failure::new("source", format!("{source} is not a directory")).help(
                    "a build on a cluster takes a directory, a git repository, an archive behind a URL, or an object",
                ));
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
            // A node of an architecture may be of a newer variant.
            if let Recipe::Dockerfile { arguments, .. } = &mut own.recipe {
                arguments.push(format!("--platform={platform}"));
            }
            if platforms.len() > 1 {
                own.id = build_id(first, unique.wrapping_add(number as u64));
                own.tags = tags_of(&tags, platform)?;
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

    fn run(mut self, cluster: &Arc<Cluster>, session: &Session) -> Result<ExitCode, Failure> {
        for submission in &mut self.submissions {
            cluster.namespace().clone_into(&mut submission.namespace);
        }
        let wishes = Wishes::listen(self.on_interrupt(), Stage::Preparing, session);
        let mut unfinished = Unfinished::of(self.ids(), cluster, &wishes, session);
        let archive = self.prepare_source(&mut unfinished, &wishes, session)?;
        self.submit(cluster, &mut unfinished, &wishes, session)?;
        if let Some(archive) = archive {
            self.stream(archive, cluster, &wishes)?;
        }
        wishes.check()?;
        if self.arguments.kubernetes.detach {
            unfinished.let_all_go();
            for id in self.ids() {
                session.console.result(id)?;
            }
            return Ok(ExitCode::SUCCESS);
        }
        wishes.reach(Stage::UnderWay);
        let mut results = Vec::new();
        for submission in &self.submissions {
            match follow::follow(cluster, &submission.id, wishes.control(), session)? {
                Ended::Made(result) => {
                    unfinished.has_ended(&submission.id);
                    results.push(result);
                }
                Ended::Detached => {
                    unfinished.let_all_go();
                    follow::tell_detached(self.ids(), session);
                    return Ok(ExitCode::SUCCESS);
                }
            }
        }
        wishes.reach(Stage::Gathering);
        let receipt = match results.as_slice() {
            [result] => result
                .as_ref()
                .map(|result| self.receipt(result, session))
                .transpose()?,
            results => Some(self.assemble(results, &wishes, session)?),
        };
        unfinished.let_all_go();
        if let Some(receipt) = &receipt {
            self.record(receipt, session)?;
        }
        let result = receipt.map(|receipt| BuildResult {
            digest: receipt.digest.to_string(),
            tags: self.tags.iter().map(ToString::to_string).collect(),
        });
        follow::show(result.as_ref(), session)
    }

    fn ids(&self) -> impl Iterator<Item = &str> {
        self.submissions.iter().map(|submission| submission.id.as_str())
    }

    /// Who detaches anyhow is not asked.
    fn on_interrupt(&self) -> Option<OnInterrupt> {
        let kubernetes = &self.arguments.kubernetes;
        kubernetes
            .on_interrupt
            .or(kubernetes.detach.then_some(OnInterrupt::Cancel))
    }

    /// Puts a source of this machine where the pods find it, or packs it for [`Self::stream`].
    fn prepare_source(
        &mut self,
        unfinished: &mut Unfinished<'_>,
        wishes: &Wishes,
        session: &Session,
    ) -> Result<Option<SourceArchive>, Failure> {
        let Some(files) = self.files.take() else {
            return Ok(None);
        };
        let kubernetes = &self.arguments.kubernetes;
        let limit = kubernetes.source_limit;
        match kubernetes.send_source {
            SendSource::Registry => {
                let ids: Vec<&str> = self.ids().collect();
                let sent = source::upload(files, &ids, &self.tags[0], limit, unfinished, wishes, session)?;
                for (submission, at) in self.submissions.iter_mut().zip(sent) {
                    submission.source = SourceAt::Artifact(at);
                }
                Ok(None)
            }
            SendSource::Stream => source::archive(files, limit, wishes, session).map(Some),
        }
    }

    fn submit(
        &self,
        cluster: &Arc<Cluster>,
        unfinished: &mut Unfinished<'_>,
        wishes: &Wishes,
        session: &Session,
    ) -> Result<(), Failure> {
        wishes.check()?;
        wishes.reach(Stage::Submitting);
        for submission in &self.submissions {
            wishes.check()?;
            unfinished.is_submitted(&submission.id);
            let (cluster, manifests) = (Arc::clone(cluster), Manifests::of(submission));
            let submitted = wishes.finishing(move || Ok(cluster.submit(&manifests)))?;
            if let Err(error) = submitted {
                if !matches!(error, ClusterError::Unreachable(_)) {
                    unfinished.is_refused(&submission.id);
                }
                return Err(failure(error));
            }
            session.console.info(format!(
                "Submitted {} to the namespace {}",
                submission.id, submission.namespace
            ));
        }
        Ok(())
    }

    /// Sends the source into the pods that wait for it: without it they would only wait.
    fn stream(
        &self,
        mut archive: SourceArchive,
        cluster: &Arc<Cluster>,
        wishes: &Wishes,
    ) -> Result<(), Failure> {
        for submission in &self.submissions {
            let (cluster, id) = (Arc::clone(cluster), submission.id.clone());
            let program = submission.executor.program.clone();
            archive = wishes.leaving(move || {
                cluster
                    .send_source(&id, &program, &mut archive, STREAM_LIMIT)
                    .map_err(failure)?;
                Ok(archive)
            })?;
        }
        Ok(())
    }

    /// The index over what was made for all platforms, under the names that were asked for.
    fn assemble(
        &self,
        results: &[Option<BuildResult>],
        wishes: &Wishes,
        session: &Session,
    ) -> Result<Receipt, Failure> {
        let made = |(result, submission): (&Option<BuildResult>, &Submission)| match result {
            Some(result) => Ok(self.tags[0].repository().at(&result.digest.parse()?)),
            None => Ok(submission.tags[0].clone()),
        };
        let made: Vec<Reference> = results
            .iter()
            .zip(&self.submissions)
            .map(made)
            .collect::<Result<_, Failure>>()?;
        let annotations = annotations(self.arguments)?;
        let (registry, names) = (session.registry()?.clone(), self.tags.clone());
        wishes.leaving(move || index::assemble(&made, &names, &annotations, &registry))
    }

    /// What a pod wrote, as if it had been written here.
    fn receipt(&self, result: &BuildResult, session: &Session) -> Result<Receipt, Failure> {
        let digest: Digest = result.digest.parse()?;
        let manifest_size = if self.arguments.result.metadata_file.is_some() {
            let name = self.tags[0].repository().at(&digest);
            session.registry()?.resolve(&name)?.size
        } else {
            0
        };
        Ok(Receipt {
            names: self.tags.clone(),
            digest,
            manifest_size,
            sent: 0,
            existed: 0,
            mounted: 0,
        })
    }

    /// Writes what was asked for about the result into files, as a build here does.
    fn record(&self, receipt: &Receipt, session: &Session) -> Result<(), Failure> {
        let asks_for_id =
            self.arguments.result.iidfile.is_some() || self.arguments.result.metadata_file.is_some();
        let mut config = None;
        if asks_for_id && self.submissions.len() == 1 {
            let name = self.tags[0].repository().at(&receipt.digest);
            let registry = session.registry()?;
            let image = match registry.artifact(&name)? {
                Artifact::Image(image) => Some(*image),
                // What is said about the image comes behind it.
                Artifact::Index(index) => {
                    let first = index.manifests.first();
                    first
                        .map(|member| registry.member(&name, &member.digest))
                        .transpose()?
                }
            };
            if let Some(image) = image {
                config = Some(image.encode_config()?.descriptor.digest);
            }
        }
        record(self.arguments, receipt, config.as_ref(), session)
    }
}

/// The names of one platform's image, until the index is there: one in each repository, which then has all that the index
/// names.
fn tags_of(names: &[Reference], platform: &Platform) -> Result<Vec<Reference>, Failure> {
    let suffix = platform.to_string().replace('/', "-");
    let mut tags: Vec<Reference> = Vec::new();
    for name in names {
        if !tags.iter().any(|other| other.repository() == name.repository()) {
            let tag = format!("{}-{suffix}", name.tag().unwrap_or("latest"));
            tags.push(name.repository().tagged(&tag)?);
        }
    }
    Ok(tags)
}
