//! `lifecycle jobs`

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use lifecycle_kubernetes::{Cluster, ClusterError, State, Summary};
use serde::Serialize;

use super::follow::{self, Ended};
use super::unfinished::Unfinished;
use super::wishes::{Stage, Wishes};
use super::{connect, source};
use crate::arguments::{JobsCommand, OutputForm};
use crate::console::{Column, Table, human_age, human_duration};
use crate::failure::Failure;
use crate::session::Session;

pub(crate) fn jobs(command: &JobsCommand, session: &Session) -> Result<ExitCode, Failure> {
    let wrong = super::failure;
    match command {
        JobsCommand::List { cluster, output } => list(
            &connect(cluster, session)?.list().map_err(wrong)?,
            *output,
            session,
        )?,
        JobsCommand::Status {
            cluster,
            build,
            output,
        } => {
            status(
                &connect(cluster, session)?.status(build).map_err(wrong)?,
                *output,
                session,
            )?;
        }
        JobsCommand::Logs {
            cluster,
            build,
            follow: true,
            ..
        } => {
            return follow_to_the_end(&Arc::new(connect(cluster, session)?), build, session);
        }
        JobsCommand::Logs {
            cluster, build, step, ..
        } => {
            let tell = &mut |event| follow::tell(&event, &session.console);
            connect(cluster, session)?
                .logs(build, step.as_deref(), tell)
                .map_err(wrong)?;
        }
        JobsCommand::Cancel { cluster, builds } => {
            let cluster = connect(cluster, session)?;
            for build in builds {
                forget_source(&cluster.cancel(build).map_err(wrong)?, session)?;
                session.console.info(format!("{build} is cancelled"));
            }
        }
        JobsCommand::Delete { cluster, builds } => {
            let cluster = connect(cluster, session)?;
            for build in builds {
                forget_source(&cluster.delete(build).map_err(wrong)?, session)?;
                session.console.info(format!("{build} is removed"));
            }
        }
        JobsCommand::Prune { cluster, older } => {
            let age = Duration::from_secs(older.saturating_mul(60));
            let (builds, secrets) = connect(cluster, session)?.prune(age).map_err(wrong)?;
            for build in &builds {
                forget_source(build, session)?;
                session.console.result(&build.id)?;
            }
            session.console.info(format!(
                "removed {} builds and {} Secrets that belonged to none",
                builds.len(),
                secrets.len()
            ));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Follows a build that somebody detached from. Nobody else may look after the source of one that does not end well.
fn follow_to_the_end(cluster: &Arc<Cluster>, build: &str, session: &Session) -> Result<ExitCode, Failure> {
    let wishes = Wishes::listen(None, Stage::UnderWay, session);
    let known = wishes.leaving({
        let (cluster, build) = (Arc::clone(cluster), build.to_owned());
        move || cluster.status(&build).map_err(super::failure)
    })?;
    let mut unfinished = Unfinished::of([build], cluster, &wishes, session);
    unfinished.is_submitted(build);
    if let Some(source) = &known.source {
        unfinished.has_source(build, &source.parse()?);
    }
    let followed = follow::follow(cluster, build, wishes.control(), session);
    if !wishes.is_cancelled() {
        // Only the user's wish ends it.
        unfinished.let_all_go();
    }
    match followed {
        Ok(Ended::Made(result)) => follow::show(result.as_ref(), session),
        Ok(Ended::Detached) => {
            follow::tell_detached([build], session);
            Ok(ExitCode::SUCCESS)
        }
        Err(failure) if wishes.is_cancelled() => Err(failure),
        Err(failure) => {
            match cluster.status(build) {
                Ok(ended) if matches!(ended.state, State::Finished(_)) => forget_source(&ended, session)?,
                Err(ClusterError::NoBuild(_)) => forget_source(&known, session)?,
                _ => {}
            }
            Err(failure)
        }
    }
}

/// A build that succeeded has removed its source itself.
fn forget_source(build: &Summary, session: &Session) -> Result<(), Failure> {
    use lifecycle_kubernetes::Outcome::Succeeded;
    if let Some(source) = &build.source
        && !matches!(build.state, State::Finished(Succeeded(_)))
    {
        source::remove(&source.parse()?, session.registry()?, &session.console);
    }
    Ok(())
}

/// A build for programs.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    build: String,
    state: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    reason: String,
    tags: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seconds: Option<u64>,
    pods: Vec<String>,
}

impl Shown {
    fn of(build: &Summary) -> Self {
        Self {
            build: build.id.clone(),
            state: build.state.word(),
            reason: build.state.reason(),
            tags: build.tags.clone(),
            digest: build.result.as_ref().map(|result| result.digest.clone()),
            created: build.created.map(|created| created.to_string()),
            seconds: build.took.map(|took| took.as_secs()),
            pods: build.pods.clone(),
        }
    }
}

fn age(build: &Summary) -> String {
    build
        .created
        .map(|created| human_age(created.into()))
        .unwrap_or_default()
}

fn list(builds: &[Summary], form: OutputForm, session: &Session) -> Result<(), Failure> {
    if form == OutputForm::Json {
        return session
            .console
            .json(&builds.iter().map(Shown::of).collect::<Vec<_>>());
    }
    let mut table = Table::new([
        Column::Left("BUILD"),
        Column::Left("STATE"),
        Column::Right("AGE"),
        Column::Right("TOOK"),
        Column::Left("IMAGE"),
        Column::Left(""),
    ]);
    for build in builds {
        table.row([
            build.id.clone(),
            build.state.word(),
            age(build),
            build.took.map(human_duration).unwrap_or_default(),
            build.tags.first().cloned().unwrap_or_default(),
            build.state.reason(),
        ]);
    }
    Ok(session.console.result(table.to_string().trim_end())?)
}

fn status(build: &Summary, form: OutputForm, session: &Session) -> Result<(), Failure> {
    let shown = Shown::of(build);
    if form == OutputForm::Json {
        return session.console.json(&shown);
    }
    let mut facts = Table::new([Column::Left(""), Column::Left("")]);
    facts.row(["Build".to_owned(), shown.build]);
    facts.row(["State".to_owned(), shown.state]);
    if !shown.reason.is_empty() {
        facts.row(["Reason".to_owned(), shown.reason]);
    }
    for tag in shown.tags {
        facts.row(["Image".to_owned(), tag]);
    }
    if let Some(digest) = shown.digest {
        facts.row(["Digest".to_owned(), digest]);
    }
    facts.row(["Age".to_owned(), age(build)]);
    if let Some(took) = build.took {
        facts.row(["Took".to_owned(), human_duration(took)]);
    }
    for pod in shown.pods {
        facts.row(["Pod".to_owned(), pod]);
    }
    Ok(session.console.result(facts.to_string().trim_end())?)
}
