//! `lifecycle pod`: the steps of a build's pod that are neither phases nor the build of a Dockerfile.

use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use lifecycle_image::{Artifact, Digest, NoProgress, Reference, Source, Verifying};
use lifecycle_kubernetes::RECEIVED;
use lifecycle_layers::{ExtractOptions, Ownership, Refused, extract};
use lifecycle_platform::{Selection, copy_source};
use lifecycle_spec::ReportToml;

use super::source;
use crate::arguments::PodCommand;
use crate::console::human_size;
use crate::context::Location;
use crate::failure::Failure;
use crate::session::Session;

pub(crate) fn pod(command: &PodCommand, session: &Session) -> Result<(), Failure> {
    match command {
        PodCommand::Source {
            into,
            artifact: Some(artifact),
            ..
        } => from_artifact(&artifact.parse()?, into, session),
        PodCommand::Source {
            into,
            wait: Some(seconds),
            ..
        } => wait(Duration::from_secs(*seconds), into, session),
        PodCommand::Source { into, from, .. } => {
            from_elsewhere(from.as_deref().unwrap_or_default(), into, session)
        }
        PodCommand::Receive { size, digest } => receive(*size, &digest.parse()?, session),
        PodCommand::Result {
            report,
            digest_file,
            tags,
            delete_source,
            message,
        } => {
            let digest = match (report, digest_file) {
                (Some(report), _) => of_report(report)?,
                (None, Some(file)) => fs_err::read_to_string(file)?.trim().to_owned(),
                (None, None) => return Err(Failure::new("result", "neither a report nor a digest is named")),
            };
            fs_err::write(message, super::termination_message(&digest, tags.clone()))?;
            session.console.info(format!("Made {digest}"));
            if let Some(artifact) = delete_source {
                source::remove(artifact, session.registry()?, &session.console);
            }
            Ok(())
        }
    }
}

fn of_report(path: &Path) -> Result<String, Failure> {
    let report = ReportToml::parse(path, &fs_err::read(path)?)?;
    report
        .digest
        .ok_or_else(|| Failure::new("result", format!("{} names no digest", path.display())))
}

fn from_artifact(artifact: &Reference, into: &Path, session: &Session) -> Result<(), Failure> {
    let Artifact::Image(image) = session.registry()?.artifact(artifact)? else {
        return Err(Failure::new(
            "source",
            format!("{artifact} is no source but an index"),
        ));
    };
    for layer in image.layers() {
        let size = layer.descriptor()?.size;
        unpack(layer.open(0)?, into)?;
        session.console.info(format!("Source: {}", human_size(size)));
    }
    Ok(())
}

/// Unpacks beneath a directory; everything belongs to the present user.
fn unpack(stored: impl Read + Send, into: &Path) -> Result<(), Failure> {
    fs_err::create_dir_all(into)?;
    let directory = fs_err::File::open(into)?;
    let options = ExtractOptions {
        ownership: Ownership::Squash,
        refused: Refused::Skip,
        ..ExtractOptions::default()
    };
    extract(stored, None, directory.as_fd(), &options, &NoProgress)?;
    Ok(())
}

/// Where the receiver puts what it got whole, for the step that waits in the same container.
fn received(session: &Session) -> PathBuf {
    session.environment.temporary_directory().join("source.received")
}

/// Waits for a client, which may be gone for ever (JC-03).
fn wait(limit: Duration, into: &Path, session: &Session) -> Result<(), Failure> {
    session.console.info("Waiting for the source");
    let archive = received(session);
    let began = Instant::now();
    while !archive.exists() {
        if began.elapsed() >= limit {
            return Err(Failure::new(
                "source",
                format!("no source came within {} seconds", limit.as_secs()),
            )
            .help(
                "the client that submitted this build is gone, or could not reach the pod: submit it again",
            ));
        }
        thread::sleep(Duration::from_millis(100));
    }
    let file = fs_err::File::open(&archive)?;
    session
        .console
        .info(format!("Source: {}", human_size(file.metadata()?.len())));
    unpack(file, into)?;
    Ok(fs_err::remove_file(&archive)?)
}

/// Takes a source, checks length and digest, and only then shows it to the step that waits (JC-02).
fn receive(size: u64, digest: &Digest, session: &Session) -> Result<(), Failure> {
    let at = received(session);
    let directory = session.environment.temporary_directory();
    let mut file = tempfile::NamedTempFile::new_in(&directory)?;
    // No end of the input comes before ours, so no more than what was announced may be asked for.
    let stdin = std::io::stdin().lock().take(size);
    std::io::copy(
        &mut Verifying::new(stdin, digest.clone(), size),
        file.as_file_mut(),
    )?;
    file.as_file_mut().flush()?;
    file.persist(&at).map_err(|error| error.error)?;
    Ok(session.console.result(RECEIVED)?)
}

fn from_elsewhere(address: &str, into: &Path, session: &Session) -> Result<(), Failure> {
    let context = Location::parse(address)?.open(session)?;
    let Some(directory) = context.directory() else {
        return Err(Failure::new(
            "source",
            format!("{address} is a single file, not a source"),
        ));
    };
    fs_err::create_dir_all(into)?;
    let files = copy_source(directory, &Selection::All, into, None)?;
    session
        .console
        .info(format!("Source: {files} files of {address}"));
    Ok(())
}
