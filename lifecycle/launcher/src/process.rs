//! Which command is meant, and with which arguments.

use std::ffi::OsString;
use std::path::PathBuf;

use lifecycle_spec::{BuildpackApi, MetadataToml, PlatformApi, Process};

use crate::{Invocation, LaunchError};

/// What is to be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Command {
    /// The type of a buildpack's process; a user's command has none (LAU-17).
    pub(crate) process_type: Option<String>,
    /// The program, or the script if it goes through a shell without arguments.
    pub(crate) program: OsString,
    /// Its arguments.
    pub(crate) arguments: Vec<OsString>,
    /// Whether it starts without a shell.
    pub(crate) direct: bool,
    /// Where it starts.
    pub(crate) working_dir: PathBuf,
}

/// The buildpack's process that the launcher was called as, else the user's command (LAU-01, LAU-06).
pub(crate) fn choose(
    invocation: &Invocation,
    metadata: &MetadataToml,
    api: PlatformApi,
) -> Result<Command, LaunchError> {
    let called_as = invocation.called_as().and_then(|name| name.to_str());
    match called_as.and_then(|name| metadata.process(name)) {
        Some(process) => of_buildpack(process, invocation, metadata, api),
        None => of_user(invocation, metadata),
    }
}

fn of_buildpack(
    process: &Process,
    invocation: &Invocation,
    metadata: &MetadataToml,
    api: PlatformApi,
) -> Result<Command, LaunchError> {
    let process_type = process.process_type.clone();
    if api.has_exec_env() && !process.exec_env.include(&invocation.exec_env) {
        return Err(LaunchError::OtherExecEnv {
            process: process_type,
            wanted: process.exec_env.0.join(", "),
            current: invocation.exec_env.clone(),
        });
    }
    let mut words = process.command.iter().map(OsString::from);
    let Some(program) = words.next().filter(|program| !program.is_empty()) else {
        return Err(LaunchError::EmptyCommand {
            of: format!("the command of process `{process_type}`"),
        });
    };
    // The rest of the command always stays.
    let mut arguments: Vec<OsString> = words.collect();
    let defaults = process.args.iter().flatten().map(OsString::from);
    let rules = rules_for(process, metadata)?;
    let replaces = api.has_command_list() && rules.has_command_list();
    if !replaces || invocation.arguments.is_empty() {
        arguments.extend(defaults);
    }
    arguments.extend(invocation.arguments.iter().cloned());

    let working_dir = process.working_dir.as_ref();
    Ok(Command {
        program,
        arguments,
        direct: process.direct || replaces,
        // A relative one lies below the app; joining leaves an absolute one alone (LAU-03).
        working_dir: working_dir.map_or(invocation.app_dir.clone(), |dir| invocation.app_dir.join(dir)),
        process_type: Some(process_type),
    })
}

fn of_user(invocation: &Invocation, metadata: &MetadataToml) -> Result<Command, LaunchError> {
    let (direct, words) = match invocation.arguments.split_first() {
        Some((first, rest)) if first == "--" => (true, rest),
        _ => (false, invocation.arguments.as_slice()),
    };
    let Some((program, arguments)) = words.split_first() else {
        let known = metadata
            .processes
            .iter()
            .map(|process| process.process_type.clone())
            .collect();
        return Err(LaunchError::NoCommand { known });
    };
    if program.is_empty() {
        return Err(LaunchError::EmptyCommand {
            of: "the command that was given".to_owned(),
        });
    }
    Ok(Command {
        process_type: None,
        program: program.clone(),
        arguments: arguments.to_vec(),
        direct,
        working_dir: invocation.app_dir.clone(),
    })
}

/// The Buildpack API of the process's author. Without an author the oldest rules of the group hold: they take
/// nothing away from what the metadata says.
fn rules_for(process: &Process, metadata: &MetadataToml) -> Result<BuildpackApi, LaunchError> {
    let Some(id) = &process.buildpack_id else {
        let apis: Result<Vec<_>, _> = metadata
            .buildpacks
            .iter()
            .map(|buildpack| buildpack.negotiate("buildpack"))
            .collect();
        return Ok(apis?.into_iter().min().unwrap_or(BuildpackApi::V0_7));
    };
    match metadata
        .buildpacks
        .iter()
        .find(|buildpack| buildpack.id.as_str() == id)
    {
        Some(buildpack) => Ok(buildpack.negotiate("buildpack")?),
        None => Err(LaunchError::UnknownBuildpack {
            process: process.process_type.clone(),
            buildpack: id.clone(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use lifecycle_spec::{MetadataToml, PlatformApi};

    use super::{Command, choose};
    use crate::{Invocation, LaunchError};

    const METADATA: &str = r#"
[[buildpacks]]
id = "old"
version = "1"
api = "0.8"
[[buildpacks]]
id = "new"
version = "1"
api = "0.9"
[[processes]]
type = "new"
command = ["run", "always"]
args = ["default"]
direct = true
buildpack-id = "new"
working-dir = "sub"
[[processes]]
type = "old"
command = ["run"]
args = ["default"]
direct = false
buildpack-id = "old"
working-dir = "/abs"
[[processes]]
type = "test"
command = ["run"]
direct = true
buildpack-id = "new"
exec-env = ["test"]
[[processes]]
type = "empty"
command = []
buildpack-id = "new"
[[processes]]
type = "foreign"
command = ["run"]
buildpack-id = "none"
"#;

    fn choose_for(arguments: &[&str], api: PlatformApi, exec_env: &str) -> Result<Command, LaunchError> {
        let metadata = MetadataToml::parse(Path::new("metadata.toml"), METADATA.as_bytes()).unwrap();
        let variables = [
            ("CNB_APP_DIR".into(), "/app".into()),
            ("CNB_EXEC_ENV".into(), exec_env.into()),
        ];
        choose(
            &Invocation::new(arguments.iter().map(Into::into), variables),
            &metadata,
            api,
        )
    }

    #[test]
    fn arguments_by_api_lau_04_lau_05() {
        use PlatformApi::{V0_9, V0_10};
        for (api, arguments, direct, words) in [
            (
                V0_10,
                &["/cnb/process/new"][..],
                true,
                &["run", "always", "default"][..],
            ),
            (V0_10, &["new", "user"], true, &["run", "always", "user"]),
            (
                V0_9,
                &["new", "user"],
                true,
                &["run", "always", "default", "user"],
            ),
            (V0_10, &["old"], false, &["run", "default"]),
            (V0_10, &["old", "user"], false, &["run", "default", "user"]),
            (V0_9, &["old", "user"], false, &["run", "default", "user"]),
        ] {
            let command = choose_for(arguments, api, "").unwrap();
            let mut chosen = vec![command.program];
            chosen.extend(command.arguments);
            assert_eq!(chosen, words, "{api} {arguments:?}");
            assert_eq!(command.direct, direct, "{api} {arguments:?}");
        }
    }

    #[test]
    fn a_user_command_lau_06_lau_17() {
        let direct = choose_for(&["launcher", "--", "a", "b"], PlatformApi::V0_12, "").unwrap();
        assert!(direct.direct && direct.process_type.is_none());
        assert_eq!((direct.program, direct.arguments), ("a".into(), vec!["b".into()]));
        let shell = choose_for(&["launcher", "a", "--", "b"], PlatformApi::V0_12, "").unwrap();
        assert!(!shell.direct);
        assert_eq!(shell.arguments, ["--", "b"]);
        assert_eq!(shell.working_dir, Path::new("/app"));
        // An old name that is no process is a user's command, too.
        assert!(
            choose_for(&["/cnb/process/none", "a"], PlatformApi::V0_12, "")
                .unwrap()
                .process_type
                .is_none()
        );
    }

    #[test]
    fn working_dirs_lau_03() {
        for (process, api, dir) in [
            ("new", PlatformApi::V0_12, "/app/sub"),
            ("old", PlatformApi::V0_12, "/abs"),
            ("new", PlatformApi::V0_8, "/app/sub"),
            ("test", PlatformApi::V0_8, "/app"),
        ] {
            assert_eq!(
                choose_for(&[process], api, "").unwrap().working_dir,
                Path::new(dir),
                "{process} {api}"
            );
        }
    }

    #[test]
    fn execution_environments_lau_02() {
        let error = choose_for(&["test"], PlatformApi::V0_15, "").unwrap_err();
        assert!(matches!(&error, LaunchError::OtherExecEnv { .. }), "{error}");
        choose_for(&["test"], PlatformApi::V0_15, "test").unwrap();
        choose_for(&["test"], PlatformApi::V0_14, "").unwrap();
        choose_for(&["new"], PlatformApi::V0_15, "anything").unwrap();
    }

    #[test]
    fn errors_say_what_there_is_lau_06_lau_14() {
        for arguments in [&["launcher"][..], &["launcher", "--"], &[]] {
            let error = choose_for(arguments, PlatformApi::V0_12, "").unwrap_err();
            assert!(
                error
                    .to_string()
                    .ends_with("processes in this image: new, old, test, empty, foreign"),
                "{error}"
            );
        }
        let error = choose_for(&["empty"], PlatformApi::V0_12, "").unwrap_err();
        assert!(matches!(error, LaunchError::EmptyCommand { .. }));
        let error = choose_for(&["foreign"], PlatformApi::V0_12, "").unwrap_err();
        assert!(matches!(error, LaunchError::UnknownBuildpack { .. }));
        let error = choose_for(&["launcher", ""], PlatformApi::V0_12, "").unwrap_err();
        assert!(matches!(error, LaunchError::EmptyCommand { .. }));
    }
}
