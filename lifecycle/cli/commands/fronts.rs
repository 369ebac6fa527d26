//! This program under the name of herokuish, slugbuilder or slugrunner, inside of a stack's image.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use lifecycle_heroku::fronts::Variables;
use lifecycle_heroku::fronts::herokuish::{self, Herokuish, Settings};
use lifecycle_heroku::fronts::slugbuilder::Slugbuilder;
use lifecycle_heroku::fronts::slugrunner::Slugrunner;
use lifecycle_heroku::fronts::storage::{CREDENTIALS, Storage};
use lifecycle_heroku::{InPlace, Surroundings};
use lifecycle_registry::Registry;
use lifecycle_sandbox::Forwarding;
use lifecycle_store::Store;

use crate::arguments::RegistryArguments;
use crate::classic::{Log, failing};
use crate::commands::exit_code;
use crate::console::{Console, Level, LogFormat};
use crate::environment::Environment;
use crate::failure::Failure;
use crate::remote::Elsewhere;
use crate::signals::Interruption;
use crate::{registry, remote};

/// A tool that this program may be called by.
enum Tool {
    Herokuish(Herokuish),
    Slugbuilder(Box<Slugbuilder>),
    Slugrunner(Slugrunner),
}

impl Tool {
    /// Whether it starts a process, whose signals are handed on.
    fn starts(&self) -> bool {
        match self {
            Self::Herokuish(command) => command.starts(),
            Self::Slugbuilder(_) => false,
            Self::Slugrunner(_) => true,
        }
    }
}

/// Is the tool whose name the program was called by, if it is one.
pub(crate) fn run(arguments: &[OsString], environment: &Environment) -> Option<ExitCode> {
    let (program, words) = arguments.split_first()?;
    let pairs = environment
        .all()
        .filter_map(|(name, value)| Some((name.to_str()?.to_owned(), value.clone())));
    let variables = Variables::new(pairs);
    let tool = match Path::new(program).file_name()?.to_str()? {
        name @ ("slugbuilder" | "slugrunner") => of_slugs(name, words, &variables),
        _ => failing(Herokuish::parse(program, words)?).map(|tool| (Tool::Herokuish(tool), Vec::new())),
    };
    let console = Console::new(LogFormat::Text, Level::Info, false, environment);
    let interruption = Interruption::default();
    let done = tool.and_then(|(tool, store)| {
        let environment = environment.with(&store);
        work(tool, variables, &environment, &console, &interruption)
    });
    Some(done.unwrap_or_else(|failure| {
        let code = interruption.code(failure.code);
        if let Some(diagnostic) = &failure.diagnostic {
            console.diagnostic(diagnostic);
        }
        ExitCode::from(code)
    }))
}

/// slugbuilder and slugrunner, whose store has its credentials in files, and what those say.
fn of_slugs(
    name: &str,
    words: &[OsString],
    variables: &Variables,
) -> Result<(Tool, Vec<(String, String)>), Failure> {
    let credentials = variables.path("BUILDER_STORAGE_CREDENTIALS", CREDENTIALS);
    let storage = failing(Storage::read(variables, &credentials))?;
    let variables = variables.clone().with_storage(storage.as_ref());
    let tool = if name == "slugbuilder" {
        Tool::Slugbuilder(Box::new(failing(Slugbuilder::new(words, &variables))?))
    } else {
        Tool::Slugrunner(Slugrunner::new(words, variables))
    };
    let settings = storage.map(|storage| storage.settings().to_vec());
    Ok((tool, settings.unwrap_or_default()))
}

fn work(
    tool: Tool,
    variables: Variables,
    environment: &Environment,
    console: &Console,
    interruption: &Interruption,
) -> Result<ExitCode, Failure> {
    interruption.listen(console)?;
    let log = Log(console.clone());
    let forwarding = Forwarding::default();
    let (stop, told) = if tool.starts() {
        (Arc::default(), interruption.forwarded(forwarding.clone()))
    } else {
        interruption.raised_flag()
    };
    let store = Store::temporary(&environment.temporary_directory())?;
    let registry = Registry::new(registry::settings(&RegistryArguments::default(), environment)?)?;
    let remote = remote::everything(registry.web(), environment);
    let elsewhere = Elsewhere::new(&remote, &environment.temporary_directory());
    let surroundings = Surroundings {
        rooms: &InPlace,
        store: &store,
        remote: &elsewhere,
        console: &log,
        stop: &stop,
    };
    let (stdin, mut stdout) = (std::io::stdin(), std::io::stdout());
    let running = match tool {
        Tool::Herokuish(command) => failing(herokuish::run(
            command,
            &Settings::new(variables),
            surroundings,
            stdin,
            &mut stdout,
            &forwarding,
        ))?,
        Tool::Slugbuilder(builder) => {
            failing(builder.run(surroundings, Box::new(stdin), &mut stdout))?;
            None
        }
        Tool::Slugrunner(runner) => Some(failing(runner.run(&elsewhere, stdin, &InPlace, &forwarding))?),
    };
    let done = match running {
        Some(running) => exit_code(failing(running.wait(&log))?),
        None => ExitCode::SUCCESS,
    };
    drop(told);
    Ok(done)
}
