//! Becoming the process: `exec`, no fork (LAU-11).

use std::convert::Infallible;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process;

use lifecycle_spec::Environment;

use crate::process::Command;
use crate::{Invocation, LaunchError, shell};

/// Becomes the command without a shell. Its name is looked up in the changed `PATH` (LAU-14).
pub(crate) fn directly(command: &Command, environment: &Environment) -> Result<Infallible, LaunchError> {
    let file = look_up(&command.program, &command.working_dir, environment)?;
    check_dir(&command.working_dir)?;
    let error = process::Command::new(&file)
        .arg0(&command.program)
        .args(&command.arguments)
        .current_dir(&command.working_dir)
        .env_clear()
        .envs(environment.iter())
        .exec();
    Err(LaunchError::io("start", &file, error))
}

/// Becomes bash, which sources the profiles in the app directory and then becomes the command (LAU-07, LAU-09).
pub(crate) fn in_shell(
    command: &Command,
    profiles: &[PathBuf],
    invocation: &Invocation,
    environment: &Environment,
) -> Result<Infallible, LaunchError> {
    let app_dir = &invocation.app_dir;
    check_dir(app_dir)?;
    // By path, so that bash does not search it in PATH.
    let app_profile = app_dir.join(".profile");
    let app_profile = app_profile.is_file().then_some(app_profile.as_path());
    let is_script = command.arguments.is_empty();
    let script = shell::script(profiles, app_profile, &command.working_dir, is_script);
    let error = process::Command::new(shell::BASH)
        .arg0("bash")
        .arg("-c")
        .arg(script)
        .arg(&invocation.name)
        .arg(&command.program)
        .args(&command.arguments)
        .current_dir(app_dir)
        .env_clear()
        .envs(environment.iter())
        .exec();
    Err(LaunchError::io("start", Path::new(shell::BASH), error))
}

/// `exec` would only say that something was not found, not what.
fn check_dir(path: &Path) -> Result<(), LaunchError> {
    let failed = |error| LaunchError::io("change to directory", path, error);
    if std::fs::metadata(path).map_err(failed)?.is_dir() {
        Ok(())
    } else {
        Err(failed(std::io::ErrorKind::NotADirectory.into()))
    }
}

fn look_up(program: &OsStr, working_dir: &Path, environment: &Environment) -> Result<PathBuf, LaunchError> {
    if program.as_bytes().contains(&b'/') {
        return Ok(PathBuf::from(program));
    }
    let path = environment.get("PATH").unwrap_or_default();
    std::env::split_paths(path)
        // An empty part is the current directory, by old custom.
        .map(|directory| working_dir.join(directory).join(program))
        .find(|file| is_executable(file))
        .ok_or_else(|| LaunchError::NotFound {
            program: program.to_owned(),
            path: OsString::from(path),
        })
}

fn is_executable(file: &Path) -> bool {
    std::fs::metadata(file)
        .is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}
