//! Runs an app's tests the way a buildpack says (platforms.md 2.1).

use std::ffi::OsString;

use super::places::{APP, Places};
use super::{Built, Surroundings};
use crate::error::ScriptName;
use crate::folder::Folder;
use crate::shell::{Profiles, start};
use crate::workshop::{Script, Workshop};
use crate::{AppJson, ConfigVars, HerokuError, Stack};

/// Runs the tests of an app that was built for them, at `/app`, with `.profile.d` and config vars loaded. The app's own
/// `scripts.test` of `app.json` goes before `bin/test` of the last buildpack (HC-09). What they say is in the log.
///
/// # Errors
/// [`HerokuError::Script`] with the code of tests that fail, and when there are none to run.
pub fn check(
    built: &Built,
    stack: &Stack,
    config_vars: &ConfigVars,
    surroundings: Surroundings<'_>,
) -> Result<(), HerokuError> {
    let Surroundings {
        rooms, console, stop, ..
    } = surroundings;
    let below = |name: &str| built.scratch.path().join(name);
    let mut workshop = Workshop::open(rooms, stack, console, stop, None)?;
    let directory = built.directory();
    workshop.share(&directory, APP, false)?;
    workshop.share(&below(Places::ENV), "/tmp/env", true)?;
    workshop.share(&below(Places::BUILDPACKS), "/tmp/buildpacks", false)?;
    let app = workshop.shown(&directory);
    workshop.set("HOME", &app);
    workshop.set("STACK", &stack.id);

    let own = match Folder::open(&directory)?.read(AppJson::FILE)? {
        Some(bytes) => AppJson::parse(&bytes)?,
        None => AppJson::default(),
    };
    let env = own
        .test_env
        .iter()
        .map(|(name, value)| (name.into(), value.into()));
    let env = env
        .chain(
            config_vars
                .iter()
                .map(|(name, value)| (name.into(), value.to_owned())),
        )
        .collect();
    for name in ["test-setup", "test"] {
        let command: Vec<OsString> = match own.scripts.get(name) {
            Some(script) => vec![script.into()],
            None if name == "test-setup" => continue,
            None => {
                let test = built.tests.as_deref().ok_or_else(none)?;
                vec![
                    workshop.shown(test).into(),
                    app.clone().into(),
                    workshop.shown(&below(Places::ENV)).into(),
                ]
            }
        };
        console.heading(format_args!("Running {name}"));
        let script = Script {
            name: ScriptName {
                of: "the app".to_owned(),
                script: name,
            },
            command: start(command, Profiles::App),
            env: Vec::clone(&env),
            directory: &directory,
        };
        workshop.run(script)?.check()?;
    }
    Ok(())
}

fn none() -> HerokuError {
    HerokuError::Usage("there are no tests to run: neither app.json nor the buildpack says how".to_owned())
}
