//! The phases that run other people's code, in the builder's root.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lifecycle_phases::{Cancellation, ExtendKind, Reporter};
use lifecycle_sandbox::{BindSource, Capabilities, Content, Identity, Mount, Run, Stdio, Streams};
use lifecycle_store::Store;

use super::remains;
use super::workspace::{EXTENDED, KANIKO, LAYERS, PLATFORM, Workspace};
use super::{API, BuildOptions};
use crate::run::{network_files, start};
use crate::{ImageRoot, Isolation, PlatformError};

/// How long a step may take to end by itself when the build is asked to stop.
const GRACE: Duration = Duration::from_secs(5);
/// The most bytes of a line that are kept until it ends.
const LONGEST_LINE: u64 = 64 << 10;

/// What every step of a build has in common.
#[derive(Debug)]
pub(super) struct Steps<'a> {
    pub(super) root: ImageRoot,
    pub(super) identity: Identity,
    pub(super) workspace: &'a Workspace,
    pub(super) options: &'a BuildOptions<'a>,
    pub(super) store: &'a Store,
    pub(super) isolation: &'a Isolation,
    pub(super) reporter: &'a dyn Reporter,
    pub(super) cancellation: &'a Cancellation,
    /// Where results of extensions stay, if they do.
    pub(super) extended: Option<PathBuf>,
}

/// What a step may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rights {
    /// Buildpacks: the builder's user, without capabilities.
    Build,
    /// Dockerfiles of extensions: root of the image.
    Extend,
}

impl Steps<'_> {
    /// The same with the root of another image.
    pub(super) fn of_image(&self, root: ImageRoot) -> Self {
        Self {
            root,
            identity: self.identity.clone(),
            extended: self.extended.clone(),
            ..*self
        }
    }

    /// Runs this program as the detector in a fresh root of the builder, and hands on what it says.
    pub(super) fn detect(&self) -> Result<(), PlatformError> {
        // An empty file names no buildpack.
        let system: &[&str] = if self.options.without_system_buildpacks {
            &["-system", "/dev/null"]
        } else {
            &[]
        };
        self.start("detector", system, Rights::Build)
    }

    /// The same as the builder.
    pub(super) fn build(&self) -> Result<(), PlatformError> {
        self.start("builder", &[], Rights::Build)
    }

    /// Runs this program as the extender, as root of the image that is extended.
    pub(super) fn extend(&self, kind: ExtendKind) -> Result<(), PlatformError> {
        self.start("extender", &["-kind", kind.word()], Rights::Extend)
    }

    fn start(&self, phase: &'static str, more: &[&str], rights: Rights) -> Result<(), PlatformError> {
        let root = self.root.fresh(self.store, self.reporter)?;
        let file = Path::new("/cnb/lifecycle").join(phase);
        let app = self.workspace.app();
        let level = if self.options.debug { "debug" } else { "info" };
        let arguments = ["-layers", LAYERS, "-platform", PLATFORM, "-log-level", level];
        let mut command = vec![
            file.clone().into_os_string(),
            "-app".into(),
            app.shown.clone().into(),
        ];
        command.extend(arguments.iter().chain(more).map(OsString::from));
        if !self.options.color {
            command.push("-no-color".into());
        }

        let mut run = Run::new(self.isolation.of_command(), command);
        run.env = self.environment(&root.users);
        run.directory.clone_from(&app.shown);
        match rights {
            Rights::Build => {
                run.identity = Some(self.identity.clone());
                run.capabilities = Capabilities::None;
            }
            // Root, with what a RUN of a Dockerfile has.
            Rights::Extend => {
                run.mounts
                    .push(bind(&self.workspace.kaniko(), KANIKO.into(), false)?);
                if let Some(kept) = &self.extended {
                    let target = Path::new(KANIKO).join(EXTENDED);
                    run.mounts.push(bind(kept, target, false)?);
                }
            }
        }
        run.no_new_privileges = true;
        run.network = self.options.network;
        run.mounts.extend(network_files());
        run.mounts.push(self.program(file)?);
        run.mounts.push(bind(&app.here, app.shown.clone(), false)?);
        run.mounts
            .push(bind(&self.workspace.layers().here, PathBuf::from(LAYERS), false)?);
        run.mounts
            .push(bind(&self.workspace.platform(), PathBuf::from(PLATFORM), true)?);
        for volume in &self.options.volumes {
            run.mounts.push(volume.mount()?);
        }
        let no_pipe = |cause| PlatformError::io("make a pipe for the output of", Path::new(phase), cause);
        let (output, input) = std::io::pipe().map_err(no_pipe)?;
        let errors = input.try_clone().map_err(no_pipe)?;
        run.streams = Streams::Separate {
            stdin: Stdio::Null,
            stdout: Stdio::Fd(input.into()),
            stderr: Stdio::Fd(errors.into()),
        };
        let _attended = self.cancellation.attend();
        let started = start(run, root)?;
        let exit = std::thread::scope(|scope| {
            // Ends by itself: with the step all of its processes end, and with them the other end of the pipe.
            scope.spawn(|| self.follow(BufReader::new(output)));
            started.wait_or_end(GRACE, || self.cancellation.is_cancelled())
        })?;
        match exit.code() {
            0 => remains::check(&self.workspace.layers().here),
            _ if self.cancellation.is_cancelled() => Err(PlatformError::Stopped),
            code => Err(PlatformError::Phase {
                phase,
                code,
                meaning: meaning(code),
            }),
        }
    }

    /// This program, shown at `target`: from where it lies, or a copy when its path leads to another one by now. Its own
    /// file cannot be shown itself, because its mount is not of this process's mount namespace.
    fn program(&self, target: PathBuf) -> Result<Mount, PlatformError> {
        let running = &self.options.program.file;
        let identity = |found: std::fs::Metadata| (found.dev(), found.ino());
        let own = fs_err::metadata(running).map(identity);
        let own = own.map_err(|cause| PlatformError::io("look at", running, cause))?;
        let named = fs_err::read_link(running)
            .ok()
            .filter(|path| fs_err::metadata(path).is_ok_and(|found| identity(found) == own));
        match named {
            Some(path) => bind(&path, target, true),
            None => bind(&self.workspace.copy_of_program(running)?, target, true),
        }
    }

    /// Tells what the step prints, line by line; one without end in parts.
    fn follow(&self, mut output: impl BufRead) {
        let mut line = Vec::new();
        while let Ok(1..) = output.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line) {
            let text = line.strip_suffix(b"\n").unwrap_or(&line);
            self.reporter.output(text.strip_suffix(b"\r").unwrap_or(text));
            line.clear();
        }
    }

    /// The builder image's variables and the platform's; buildpacks see what the specification lets through.
    fn environment(&self, users: &lifecycle_sandbox::Users) -> Vec<(OsString, OsString)> {
        let uid = self.identity.uid.to_string();
        let home = users
            .resolve(&uid)
            .map_or_else(|_| PathBuf::from("/"), |account| account.home);
        let mut env: Vec<(OsString, OsString)> = vec![("HOME".into(), home.into())];
        let of_image = self.root.image().config().config.env.iter().flatten();
        let of_image = of_image.map(|entry| entry.split_once('=').unwrap_or((entry, "")));
        let own = [("CNB_PLATFORM_API", API.as_str())];
        let given = self.options.variables.iter();
        let given = given.map(|(name, value)| (name.as_str(), value.as_str()));
        // Of a name that is there twice, programs see either one.
        for (name, value) in of_image.chain(own).chain(given) {
            env.retain(|(other, _)| other != name);
            env.push((name.into(), value.into()));
        }
        env
    }
}

fn bind(source: &Path, target: PathBuf, read_only: bool) -> Result<Mount, PlatformError> {
    let opened = BindSource::path(source).map_err(|cause| PlatformError::io("open", source, cause))?;
    Ok(Mount {
        target,
        content: Content::Bind {
            source: opened,
            read_only,
            devices: false,
        },
    })
}

/// What an exit code of detect or build says (cnb.md 1.2).
fn meaning(code: i32) -> &'static str {
    match code {
        11 => "the phase does not speak this Platform API",
        12 => "a buildpack declares an API that is not supported",
        20 => "no buildpack group fits the source; what each one looked for is in the log above",
        21 => "no buildpack group fits the source, and a buildpack's detection went wrong; see the log above",
        22 => "detection could not be carried out",
        51 => "a buildpack's bin/build failed; its last words are in the log above",
        52 => "the build could not be carried out",
        91 => "an extension's bin/generate failed",
        102 => "a Dockerfile of an extension could not be carried out; its last words are in the log above",
        137 => "it was killed, most likely for lack of memory",
        _ => "see the log above",
    }
}
