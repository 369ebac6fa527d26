//! Starts processes of a slug (platforms.md 2.6).

use std::ffi::OsString;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lifecycle_sandbox::{Capabilities, Exit, Forwarding, Isolation, Process, Run, Stdio, Streams};

use crate::build::APP;
use crate::image::DEFAULT_PORT;
use crate::shell::{Profiles, start, with_exec};
use crate::workshop::{bind, give};
use crate::{Console, HerokuError, Keep, Procfile, Rooms, Stack, slug};

/// What each further process type's port is higher by; each further process of a type has the next one.
const PORT_STEP: u16 = 100;
/// How long processes may take to end when another one has.
const GRACE: Duration = Duration::from_secs(10);

/// What is started, and how.
#[derive(Debug)]
pub struct RunOptions {
    /// The directory of an unpacked slug.
    pub slug: PathBuf,
    /// Whether the slug's files are given to the process's user; not for directories that somebody else still needs.
    pub give: bool,
    /// The system it runs on.
    pub stack: Stack,
    /// What to start.
    pub start: Start,
    /// Variables, which win over everything else.
    pub env: Vec<(String, OsString)>,
    /// The port of the first process type; `PORT` of `env`, else 5000.
    pub port: Option<u16>,
    /// Which scripts are sourced before the command.
    pub profiles: Profiles,
    /// The standard streams of a single process. Those of several are lines with a prefix in the log.
    pub streams: Streams,
    /// Who hands signals on to the processes.
    pub forwarding: Forwarding,
}

/// What to start of a slug.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// Process types, and how many processes of each.
    Types(Vec<(String, usize)>),
    /// A program and its arguments; a single word is a command line for a shell.
    Command(Vec<OsString>),
}

impl Start {
    /// What slugrunner's arguments mean: `start TYPE[=COUNT]…`, or a command (SR-05). Without arguments, the default type.
    ///
    /// # Errors
    /// [`HerokuError::ProcessType`] for a type that the slug lacks, with those it has.
    pub fn parse(words: &[OsString], processes: &Procfile) -> Result<Self, HerokuError> {
        let unknown = |name: &str| HerokuError::ProcessType {
            name: name.to_owned(),
            types: processes.names(),
        };
        let types = match words.split_first() {
            None => &[],
            Some((first, types)) if first == "start" => types,
            Some(_) => return Ok(Self::Command(words.to_vec())),
        };
        if types.is_empty() {
            let name = processes.default_type().ok_or_else(|| unknown(crate::WEB))?;
            return Ok(Self::Types(vec![(name.to_owned(), 1)]));
        }
        let mut wanted = Vec::new();
        for word in types {
            let word = word.to_string_lossy();
            let (name, count) = word.split_once('=').unwrap_or((&word, "1"));
            processes.command(name).ok_or_else(|| unknown(name))?;
            let usage = || HerokuError::Usage(format!("`{word}` names no number of processes"));
            wanted.push((name.to_owned(), count.parse().map_err(|_| usage())?));
        }
        Ok(Self::Types(wanted))
    }
}

/// Started processes of a slug. Dropping it ends them.
#[derive(Debug)]
pub struct Running {
    processes: Vec<One>,
}

#[derive(Debug)]
struct One {
    /// `web.1`, when there are several.
    label: Option<String>,
    process: Process,
    output: Option<std::io::PipeReader>,
    _keep: Option<Box<dyn Keep>>,
}

/// Starts processes of a slug at `/app`, with `HOME`, `PORT`, and what `.profile.d` sets (SR-01 to SR-07).
///
/// # Errors
/// When a process cannot be started. Those that were started before it are ended.
pub fn run(options: RunOptions, rooms: &dyn Rooms) -> Result<Running, HerokuError> {
    let processes = slug::processes(&options.slug)?;
    let port = options.port.map_or_else(|| port_of(&options.env), Ok)?;
    let mut commands = Vec::new();
    match &options.start {
        Start::Command(words) => commands.push((None, words.clone(), port)),
        Start::Types(types) => {
            let several = types.iter().map(|(_, count)| count).sum::<usize>() > 1;
            for (index, (name, count)) in types.iter().enumerate() {
                let unknown = || HerokuError::ProcessType {
                    name: name.clone(),
                    types: processes.names(),
                };
                let command = with_exec(processes.command(name).ok_or_else(unknown)?);
                let step = u16::try_from(index)
                    .ok()
                    .and_then(|index| index.checked_mul(PORT_STEP));
                let port = port.saturating_add(step.unwrap_or(u16::MAX));
                for index in 0..*count {
                    let label = several.then(|| format!("{name}.{}", index + 1));
                    // All share this machine's network, so that each needs a port of its own.
                    let port = port.saturating_add(u16::try_from(index).unwrap_or(u16::MAX));
                    commands.push((label, vec![command.clone().into()], port));
                }
            }
        }
    }
    let mut running = Running {
        processes: Vec::new(),
    };
    let mut streams = Some(options.streams);
    let mut own = Own {
        slug: options.slug,
        stack: options.stack,
        env: options.env,
        profiles: options.profiles,
        give: options.give,
        forwarding: options.forwarding,
    };
    for (label, words, port) in commands {
        let streams = if label.is_some() { None } else { streams.take() };
        running
            .processes
            .push(own.start(label, words, port, streams, rooms)?);
    }
    Ok(running)
}

fn port_of(env: &[(String, OsString)]) -> Result<u16, HerokuError> {
    let port = env.iter().rev().find(|(name, _)| name == "PORT");
    let port = port.map_or(DEFAULT_PORT.into(), |(_, port)| port.to_string_lossy());
    port.parse()
        .map_err(|_| HerokuError::Usage(format!("PORT is `{port}`, which is no port")))
}

/// What all processes of one run share.
struct Own {
    slug: PathBuf,
    stack: Stack,
    env: Vec<(String, OsString)>,
    profiles: Profiles,
    give: bool,
    forwarding: Forwarding,
}

impl Own {
    fn start(
        &mut self,
        label: Option<String>,
        words: Vec<OsString>,
        port: u16,
        streams: Option<Streams>,
        rooms: &dyn Rooms,
    ) -> Result<One, HerokuError> {
        let room = rooms.open().map_err(HerokuError::Room)?;
        let in_place = room.isolation == Isolation::InPlace;
        let home = if in_place {
            self.slug.clone()
        } else {
            PathBuf::from(APP)
        };

        let mut run = Run::new(room.isolation, start(words, self.profiles));
        run.root = room.root;
        run.mounts = room.mounts;
        run.env = self.environment(&home, port)?;
        run.directory = home;
        run.capabilities = Capabilities::None;
        run.no_new_privileges = true;
        run.forwarding = self.forwarding.clone();
        if !in_place {
            run.mounts.push(bind(&self.slug, Path::new(APP), false)?);
            if !room.one_user {
                let identity = room.users.resolve(&self.stack.user)?.identity;
                if std::mem::take(&mut self.give) {
                    give(&self.slug, &identity)?;
                }
                run.identity = Some(identity);
            }
        }
        let mut output = None;
        if let Some(streams) = streams {
            run.streams = streams;
        } else {
            let failed = || HerokuError::io("make", Path::new("a pipe for the process"));
            let (reader, input) = std::io::pipe().map_err(failed())?;
            let errors = input.try_clone().map_err(failed())?;
            let (stdout, stderr) = (Stdio::Fd(input.into()), Stdio::Fd(errors.into()));
            run.streams = Streams::Separate {
                stdin: Stdio::Null,
                stdout,
                stderr,
            };
            output = Some(reader);
        }
        Ok(One {
            label,
            process: run.spawn()?,
            output,
            _keep: room.keep,
        })
    }

    /// The stack's variables, HOME and PORT, what the slug was released with, and what the platform says, which wins
    /// (SR-04).
    fn environment(&self, home: &Path, port: u16) -> Result<Vec<(OsString, OsString)>, HerokuError> {
        let mut env: Vec<(OsString, OsString)> = Vec::new();
        let mut set = |name: &str, value: OsString| {
            env.retain(|(own, _)| own != name);
            env.push((name.into(), value));
        };
        for (name, value) in slug::release(&self.slug)?.config_vars {
            set(&name, value.into());
        }
        for (name, value) in &self.stack.env {
            set(name, value.into());
        }
        for (name, value) in &self.env {
            set(name, value.clone());
        }
        set("HOME", home.into());
        set("PORT", port.to_string().into());
        Ok(env)
    }
}

impl Running {
    /// Whether a process has not ended yet.
    pub fn is_alive(&self) -> bool {
        let has_ended = |one: &One| one.process.ends_within(Duration::ZERO);
        // Whoever cannot be asked has not ended.
        self.processes.iter().any(|one| !has_ended(one).unwrap_or(false))
    }

    /// Waits for the end. Of several processes the first that ends decides: the others are asked to end then, and what all
    /// of them say goes to the log, each line with its process before it.
    pub fn wait(mut self, console: &dyn Console) -> Result<Exit, HerokuError> {
        let width = self
            .processes
            .iter()
            .filter_map(|one| one.label.as_ref())
            .map(String::len)
            .max()
            .unwrap_or(0);
        let first = AtomicBool::new(false);
        let outcome = Mutex::new(None);
        std::thread::scope(|scope| {
            for one in &mut self.processes {
                let (first, outcome) = (&first, &outcome);
                let (label, output) = (one.label.clone(), one.output.take());
                scope.spawn(move || show(console, label.as_deref(), width, output));
                scope.spawn(move || {
                    let exit = one.process.wait_or_end(GRACE, || first.load(Ordering::Relaxed));
                    // Only a panic poisons it, and none of the threads does anything while it is held.
                    if let Ok(mut outcome) = outcome.lock() {
                        outcome.get_or_insert(exit);
                    }
                    first.store(true, Ordering::Relaxed);
                });
            }
        });
        match outcome.into_inner().ok().flatten() {
            Some(exit) => Ok(exit?),
            None => Ok(Exit::Code(0)),
        }
    }
}

/// Shows what one of several processes says.
fn show(console: &dyn Console, label: Option<&str>, width: usize, output: Option<std::io::PipeReader>) {
    let (Some(label), Some(output)) = (label, output) else {
        return;
    };
    for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
        console.line(&[format!("{label:width$} | ").as_bytes(), &line].concat());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<Start, HerokuError> {
        let words: Vec<OsString> = words.iter().map(OsString::from).collect();
        Start::parse(&words, &Procfile::parse(b"web: a\nworker: b").unwrap())
    }

    #[test]
    fn start_names_types_and_everything_else_is_a_command_sr_05() {
        let types = |types: &[(&str, usize)]| {
            Start::Types(types.iter().map(|(a, b)| ((*a).to_owned(), *b)).collect())
        };
        assert_eq!(parse(&[]).unwrap(), types(&[("web", 1)]));
        assert_eq!(parse(&["start"]).unwrap(), types(&[("web", 1)]));
        assert_eq!(
            parse(&["start", "worker=2", "web"]).unwrap(),
            types(&[("worker", 2), ("web", 1)])
        );
        assert_eq!(
            parse(&["bash", "-l"]).unwrap(),
            Start::Command(vec!["bash".into(), "-l".into()])
        );
        let error = parse(&["start", "clock"]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "there is no process type `clock`, only web, worker"
        );
        assert!(parse(&["start", "web=x"]).is_err());
    }
}
