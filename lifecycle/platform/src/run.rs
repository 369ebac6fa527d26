//! Starts a process of an image.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lifecycle_image::{Image, Progress};
use lifecycle_sandbox::{BindSource, Capabilities, Content, Exit, Forwarding, Mount, Process, Run, Streams};
use lifecycle_spec::label::{self, BuildLabel};
use lifecycle_store::Store;

use crate::root::CommandRoot;
use crate::{ImageRoot, Isolation, PlatformError};

/// Where images made by buildpacks keep one program for each process type.
const PROCESSES: &str = "/cnb/process";
/// What starts any other command in such images.
const LAUNCHER: &str = "/cnb/lifecycle/launcher";

/// How an image is started.
#[derive(Debug, Default)]
pub struct RunOptions {
    /// A process type of the image; without one, what the image starts by default.
    pub process: Option<String>,
    /// A program in place of the image's.
    pub entrypoint: Option<String>,
    /// Arguments, which replace the image's default ones.
    pub arguments: Vec<OsString>,
    /// Variables on top of the image's.
    pub env: Vec<(String, OsString)>,
    /// A user in place of the image's.
    pub user: Option<String>,
    /// Directories and files of this machine that the process sees.
    pub volumes: Vec<Volume>,
    /// The three standard streams.
    pub streams: Streams,
    /// Who hands signals on to it.
    pub forwarding: Forwarding,
}

/// A directory or file of this machine, shown to a build or a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// Where it lies here.
    pub source: PathBuf,
    /// Where it is shown.
    pub target: PathBuf,
    /// Whether it may be written.
    pub writable: bool,
}

impl Volume {
    pub(crate) fn mount(&self) -> Result<Mount, PlatformError> {
        let source = BindSource::path(&self.source);
        let source = source.map_err(|cause| PlatformError::io("open volume", &self.source, cause))?;
        let content = Content::Bind {
            source,
            read_only: !self.writable,
            devices: false,
        };
        Ok(Mount {
            target: self.target.clone(),
            content,
        })
    }
}

/// A process that was started. Its changes to the root are gone when it has ended.
#[derive(Debug)]
pub struct Started {
    process: Process,
    root: CommandRoot,
}

impl Started {
    /// The running process, for its streams.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Waits for its end.
    pub fn wait(mut self) -> Result<Exit, PlatformError> {
        let exit = self.process.wait()?;
        self.tidy();
        Ok(exit)
    }

    /// Waits for its end, and brings it about when it is unwanted ([`Process::wait_or_end`]).
    pub(crate) fn wait_or_end(
        mut self,
        grace: Duration,
        unwanted: impl FnMut() -> bool,
    ) -> Result<Exit, PlatformError> {
        let exit = self.process.wait_or_end(grace, unwanted)?;
        self.tidy();
        Ok(exit)
    }

    fn tidy(self) {
        drop(self.process);
        self.root.discard();
    }
}

/// Starts a process of `image`, isolated, on this machine's network.
pub fn run(
    image: &Image,
    options: RunOptions,
    store: &Store,
    isolation: &Isolation,
    progress: &dyn Progress,
) -> Result<Started, PlatformError> {
    let command = command(image, &options)?;
    let root = ImageRoot::prepare(image, store, isolation, progress)?.fresh(store, progress)?;
    let config = &image.config().config;
    let user = options
        .user
        .as_deref()
        .or(config.user.as_deref())
        .unwrap_or_default();
    let account = root.users.resolve(user)?;

    let mut run = Run::new(isolation.of_command(), command);
    run.env = environment(image, &options.env, &account.home);
    run.directory = PathBuf::from(config.working_dir.as_deref().unwrap_or("/"));
    run.identity = Some(account.identity);
    run.capabilities = Capabilities::Default14;
    run.mounts = network_files();
    for volume in &options.volumes {
        run.mounts.push(volume.mount()?);
    }
    run.streams = options.streams;
    run.forwarding = options.forwarding;
    start(run, root)
}

/// Starts a command in its root.
pub(crate) fn start(mut run: Run, mut root: CommandRoot) -> Result<Started, PlatformError> {
    run.root = std::mem::replace(&mut root.root, lifecycle_sandbox::Root::Host);
    Ok(Started {
        process: run.spawn()?,
        root,
    })
}

/// What a process on this machine's network needs of this machine: how names are resolved.
pub fn network_files() -> Vec<Mount> {
    let file = |path: &str| {
        let bytes = fs_err::read(path).ok()?;
        let content = Content::File {
            bytes,
            mode: 0o644,
            uid: 0,
            gid: 0,
        };
        Some(Mount {
            target: PathBuf::from(path),
            content,
        })
    };
    ["/etc/hosts", "/etc/resolv.conf"]
        .into_iter()
        .filter_map(file)
        .collect()
}

/// Program and arguments.
fn command(image: &Image, options: &RunOptions) -> Result<Vec<OsString>, PlatformError> {
    let config = &image.config().config;
    let own = |words: &Option<Vec<String>>| -> Vec<OsString> {
        words.iter().flatten().map(OsString::from).collect()
    };
    let mut command: Vec<OsString> = match (&options.process, &options.entrypoint) {
        (Some(_), Some(_)) => {
            return Err(PlatformError::Image(
                "a process type and another program cannot be started at once".to_owned(),
            ));
        }
        (Some(process), None) => vec![process_program(image, process)?],
        (None, Some(program)) => vec![OsString::from(program)],
        (None, None) => own(&config.entrypoint),
    };
    if options.arguments.is_empty() && options.process.is_none() && options.entrypoint.is_none() {
        command.extend(own(&config.cmd));
    } else if !options.arguments.is_empty() {
        // The launcher starts a program without a shell only behind a `--`.
        if command.iter().map(OsString::as_os_str).eq([LAUNCHER]) && options.arguments[0] != "--" {
            command.push("--".into());
        }
        command.extend(options.arguments.iter().cloned());
    }
    if command.is_empty() || command.iter().map(OsString::as_os_str).eq([LAUNCHER]) {
        let types = process_types(image);
        return Err(PlatformError::Image(if types.is_empty() {
            "the image says no program to start; name one after `--`".to_owned()
        } else {
            format!(
                "the image has no default process; choose one of {}",
                types.join(", ")
            )
        }));
    }
    Ok(command)
}

fn process_program(image: &Image, process: &str) -> Result<OsString, PlatformError> {
    let types = process_types(image);
    if types.iter().any(|own| own == process) {
        return Ok(Path::new(PROCESSES).join(process).into());
    }
    Err(PlatformError::Image(match types.as_slice() {
        [] => format!("the image has no process types, so no {process:?}; name a program after `--`"),
        types => format!(
            "the image has no process type {process:?}, but {}",
            types.join(", ")
        ),
    }))
}

/// The process types that buildpacks gave the image.
pub(crate) fn process_types(image: &Image) -> Vec<String> {
    let label = image
        .config()
        .label(label::BUILD)
        .and_then(|text| BuildLabel::parse(text).ok());
    label
        .map(|label| {
            label
                .processes
                .iter()
                .map(|process| process.process_type.clone())
                .collect()
        })
        .unwrap_or_default()
}

/// The image's variables, HOME if there is none, and the user's, which win.
fn environment(image: &Image, more: &[(String, OsString)], home: &Path) -> Vec<(OsString, OsString)> {
    let mut env: Vec<(OsString, OsString)> = Vec::new();
    let mut set = |name: OsString, value: OsString| match env.iter_mut().find(|(own, _)| *own == name) {
        Some(entry) => entry.1 = value,
        None => env.push((name, value)),
    };
    set(
        "PATH".into(),
        "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".into(),
    );
    set("HOME".into(), home.into());
    for entry in image.config().config.env.iter().flatten() {
        let (name, value) = entry.split_once('=').unwrap_or((entry, ""));
        set(name.into(), value.into());
    }
    for (name, value) in more {
        set(name.into(), value.clone());
    }
    env
}

#[cfg(test)]
mod tests {
    use lifecycle_image::{Platform, mutate};

    use super::*;

    fn image(change: impl FnOnce(&mut lifecycle_image::ImageConfig)) -> Image {
        mutate::configure(Image::empty(&Platform::linux("amd64")), change)
    }

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn arguments_replace_the_default_ones() {
        let image = image(|config| {
            config.config.entrypoint = Some(words(&["/app"]));
            config.config.cmd = Some(words(&["serve"]));
        });
        let run = |options: RunOptions| command(&image, &options).unwrap();
        assert_eq!(run(RunOptions::default()), ["/app", "serve"]);
        let arguments = vec!["version".into()];
        assert_eq!(
            run(RunOptions {
                arguments,
                ..RunOptions::default()
            }),
            ["/app", "version"]
        );
        let entrypoint = Some("/bin/sh".to_owned());
        assert_eq!(
            run(RunOptions {
                entrypoint,
                ..RunOptions::default()
            }),
            ["/bin/sh"]
        );
    }

    #[test]
    fn process_types_are_started_by_their_name() {
        let image = image(|config| {
            config.config.entrypoint = Some(words(&[LAUNCHER]));
            let label = r#"{"processes":[{"type":"web","command":["x"],"args":null,"direct":true,"buildpackID":"a"}],
                "buildpacks":[],"launcher":{"version":"","source":{"git":{"repository":"","commit":""}}}}"#;
            config.set_label(label::BUILD, label);
        });
        let with = |process: &str| RunOptions {
            process: Some(process.to_owned()),
            ..RunOptions::default()
        };
        assert_eq!(command(&image, &with("web")).unwrap(), ["/cnb/process/web"]);
        let error = command(&image, &with("worker")).unwrap_err().to_string();
        assert_eq!(error, "the image has no process type \"worker\", but web");
        let error = command(&image, &RunOptions::default()).unwrap_err().to_string();
        assert_eq!(error, "the image has no default process; choose one of web");
        let arguments = vec!["ls".into()];
        let direct = command(
            &image,
            &RunOptions {
                arguments,
                ..RunOptions::default()
            },
        )
        .unwrap();
        assert_eq!(direct, [LAUNCHER, "--", "ls"]);
    }

    #[test]
    fn variables_of_the_user_win_and_may_hold_equals_signs() {
        let image = image(|config| config.config.set_env("A", "b=c"));
        let env = environment(&image, &[("PORT".to_owned(), "1".into())], Path::new("/home/x"));
        let get = |name: &str| {
            env.iter()
                .find(|(own, _)| own == name)
                .map(|(_, value)| value.to_str().unwrap())
        };
        assert_eq!(
            (get("A"), get("PORT"), get("HOME")),
            (Some("b=c"), Some("1"), Some("/home/x"))
        );
    }
}
