//! slugrunner: starts a process of a slug (platforms.md 2.6).

use std::ffi::OsString;
use std::io::Read;
use std::path::{Path, PathBuf};

use lifecycle_sandbox::{Forwarding, Streams};

use super::{Location, Variables};
use crate::{HerokuError, Profiles, Remote, Rooms, RunOptions, Running, Stack, Start, run, slug};

/// What slugrunner is asked for.
#[derive(Debug, Clone)]
pub struct Slugrunner {
    /// Where the slug is, or will be unpacked.
    pub app: PathBuf,
    /// `SLUG_URL`.
    pub slug: Option<String>,
    /// The arguments.
    pub words: Vec<OsString>,
    variables: Variables,
}

impl Slugrunner {
    /// Reads arguments and variables.
    pub fn new(arguments: &[OsString], variables: Variables) -> Self {
        Self {
            app: variables.path("APP_PATH", "/app"),
            slug: variables.text("SLUG_URL"),
            words: arguments.to_vec(),
            variables,
        }
    }

    /// Gets the slug, from the app directory, `SLUG_URL` or `stdin` (SR-01), and starts what is asked for.
    pub fn run(
        &self,
        remote: &dyn Remote,
        stdin: impl Read + Send,
        rooms: &dyn Rooms,
        forwarding: &Forwarding,
    ) -> Result<Running, HerokuError> {
        if !has_content(&self.app) {
            match &self.slug {
                Some(url) => {
                    let slug = Location::parse("SLUG_URL", url)?;
                    slug::unpack(&slug.to_string(), slug.read(remote)?, &self.app)?;
                }
                None => slug::unpack("standard input", stdin, &self.app)?,
            }
        }
        start(
            &self.app,
            &self.words,
            &self.variables,
            Profiles::App,
            rooms,
            forwarding,
        )
    }
}

fn has_content(directory: &Path) -> bool {
    std::fs::read_dir(directory).is_ok_and(|mut entries| entries.next().is_some())
}

/// Starts a process in an app directory with the variables of this process.
pub(super) fn start(
    app: &Path,
    words: &[OsString],
    variables: &Variables,
    profiles: Profiles,
    rooms: &dyn Rooms,
    forwarding: &Forwarding,
) -> Result<Running, HerokuError> {
    let options = RunOptions {
        slug: app.to_owned(),
        give: false,
        stack: Stack::default(),
        start: Start::parse(words, &slug::processes(app)?)?,
        env: variables
            .0
            .iter()
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect(),
        port: None,
        profiles,
        streams: Streams::default(),
        forwarding: forwarding.clone(),
    };
    run(options, rooms)
}
