//! A build that is followed: its events as lines, its end as a result or a failure.

use std::process::ExitCode;

use lifecycle_kubernetes::{BuildResult, Cluster, Control, Event, Followed, Outcome, State};

use crate::console::Console;
use crate::failure::Failure;
use crate::session::Session;

/// What a followed build came to.
pub(super) enum Ended {
    /// It made this.
    Made(Option<BuildResult>),
    /// It runs on without us.
    Detached,
}

/// Follows a build to its end. One that fails is a failure with the build's own exit code (JC-22).
pub(super) fn follow(
    cluster: &Cluster,
    id: &str,
    control: &Control,
    session: &Session,
) -> Result<Ended, Failure> {
    let console = &session.console;
    let followed = cluster.follow(id, control, &mut |event| tell(&event, console));
    match followed.map_err(super::failure)? {
        Followed::Detached => Ok(Ended::Detached),
        Followed::ToTheEnd(Outcome::Succeeded(result)) => Ok(Ended::Made(result)),
        Followed::ToTheEnd(outcome) => Err(failure(id, outcome, cluster.namespace())),
    }
}

/// How to come back to builds that run on.
pub(super) fn tell_detached<'a>(ids: impl IntoIterator<Item = &'a str>, session: &Session) {
    for id in ids {
        session.console.info(format!(
            "{id} runs on; `lifecycle jobs logs {id} --follow` shows it"
        ));
    }
}

pub(super) fn tell(event: &Event, console: &Console) {
    match event {
        Event::State(State::Pending(Some(waiting))) => console.warning(format!("waiting: {waiting}")),
        Event::State(State::Queued) => console.info("queued: suspended until a queue lets it run"),
        Event::State(State::Pending(None) | State::Running { .. } | State::Finished(_)) => {}
        Event::Step { step, attempt: 1 } => console.phase(step),
        Event::Step { step, attempt } => console.phase(&format!("{step} (attempt {attempt})")),
        Event::Line(line) => console.info(line),
        Event::Note(note) => console.warning(note),
    }
}

/// An end that is none of success, with what shows more.
pub(super) fn failure(id: &str, outcome: Outcome, namespace: &str) -> Failure {
    let (message, help) = match &outcome {
        Outcome::Failed {
            step, pod, code, message, ..
        } => {
            let last: Vec<&str> = message.lines().rev().take(3).collect();
            let last = last.into_iter().rev().collect::<Vec<_>>().join("\n  ");
            let said = if last.is_empty() {
                String::new()
            } else {
                format!(":\n  {last}")
            };
            (
                format!("step {step} of {id} ended with {code}{said}"),
                format!("`lifecycle jobs logs {id} --step {step}` shows all of it, as long as pod {pod} is there"),
            )
        }
        Outcome::OutOfMemory { step } => (
            format!("step {step} of {id} used more memory than its limit"),
            "raise it with --pod-memory".to_owned(),
        ),
        Outcome::Evicted { message } => (
            format!("the pod of {id} was taken away: {message}"),
            "if it used too much disk, raise --ephemeral-storage; otherwise --retries begins such a build again".to_owned(),
        ),
        Outcome::TimedOut => (
            format!("{id} took longer than its --timeout"),
            "give it more minutes with --timeout".to_owned(),
        ),
        Outcome::Cancelled => (format!("{id} was cancelled"), String::new()),
        Outcome::Rejected(waiting) => (
            format!("the cluster does not run {id}: {waiting}"),
            "`lifecycle doctor --on kubernetes` looks for what is missing".to_owned(),
        ),
        Outcome::Gone | Outcome::Succeeded(_) => (
            format!("{id} is gone from the namespace {namespace}: somebody removed it, or its --ttl is over"),
            String::new(),
        ),
    };
    let failure = Failure::new("build", message).with_code(outcome.exit_code());
    if help.is_empty() {
        failure
    } else {
        failure.help(help)
    }
}

/// Prints what a build made, as local builds do.
pub(super) fn show(result: Option<&BuildResult>, session: &Session) -> Result<ExitCode, Failure> {
    let Some(result) = result else {
        session
            .console
            .warning("the build ended well, but its digest cannot be had: its pod is gone");
        return Ok(ExitCode::SUCCESS);
    };
    for tag in &result.tags {
        let reference: lifecycle_image::Reference = tag.parse()?;
        let digest = result.digest.parse()?;
        session
            .console
            .result(&reference.repository().at(&digest).to_string())?;
    }
    Ok(ExitCode::SUCCESS)
}
