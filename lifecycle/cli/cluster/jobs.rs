//! `lifecycle jobs`

use std::process::ExitCode;
use std::time::Duration;

use lifecycle_kubernetes::{State, Summary};
use serde::Serialize;

use super::follow::{self, Ended};
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
            let cluster = connect(cluster, session)?;
            return match follow::follow(&cluster, build, None, session) {
                Ok(Ended::Made(result)) => follow::show(result.as_ref(), session),
                Ok(Ended::Detached) => Ok(ExitCode::SUCCESS),
                Err(failure) => {
                    // Nobody else may look after a detached build that failed.
                    if let Ok(ended) = cluster.status(build)
                        && matches!(ended.state, State::Finished(_))
                    {
                        forget_source(&ended, session);
                    }
                    Err(failure)
                }
            };
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
                forget_source(&cluster.cancel(build).map_err(wrong)?, session);
                session.console.info(format!("{build} is cancelled"));
            }
        }
        JobsCommand::Delete { cluster, builds } => {
            let cluster = connect(cluster, session)?;
            for build in builds {
                forget_source(&cluster.delete(build).map_err(wrong)?, session);
                session.console.info(format!("{build} is removed"));
            }
        }
        JobsCommand::Prune { cluster, older } => {
            let age = Duration::from_secs(older.saturating_mul(60));
            let (builds, secrets) = connect(cluster, session)?.prune(age).map_err(wrong)?;
            for build in &builds {
                forget_source(build, session);
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

/// A build that succeeded has removed its source itself.
fn forget_source(build: &Summary, session: &Session) {
    use lifecycle_kubernetes::Outcome::Succeeded;
    if let Some(artifact) = &build.source
        && !matches!(build.state, State::Finished(Succeeded(_)))
    {
        source::remove(artifact, session);
    }
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
