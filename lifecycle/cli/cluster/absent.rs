//! In place of builds on a cluster, in a program without the feature `kubernetes`.

use std::process::ExitCode;

use crate::arguments::{BuildArguments, ClusterArguments, JobsCommand, OutputForm, PodCommand};
use crate::context::Location;
use crate::failure::Failure;
use crate::session::Session;

fn absent() -> Failure {
    Failure::new(
        "no-kubernetes",
        "this program was built without builds on clusters",
    )
    .help("build it with the cargo feature `kubernetes`, which is on by default")
}

pub(crate) fn build(_: &BuildArguments, _: &Location, _: bool, _: &Session) -> Result<ExitCode, Failure> {
    Err(absent())
}

pub(crate) fn jobs(_: &JobsCommand, _: &Session) -> Result<ExitCode, Failure> {
    Err(absent())
}

pub(crate) fn pod(_: &PodCommand, _: &Session) -> Result<(), Failure> {
    Err(absent())
}

pub(crate) fn doctor(_: &ClusterArguments, _: OutputForm, _: &Session) -> Result<ExitCode, Failure> {
    Err(absent())
}

pub(crate) fn termination_message(digest: &str, tags: Vec<String>) -> String {
    serde_json::json!({ "digest": digest, "tags": tags }).to_string()
}
