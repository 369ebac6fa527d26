//! How the container started the launcher.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

/// The launcher's arguments and variables, with the defaults of the specification (cnb.md 1.3, launcher).
#[derive(Debug, Clone)]
pub struct Invocation {
    /// The name that the launcher was called by, `argv[0]`.
    pub name: OsString,
    /// All further arguments.
    pub arguments: Vec<OsString>,
    /// The container's environment.
    pub variables: Vec<(OsString, OsString)>,
    /// Where the app is: `CNB_APP_DIR`, else `/workspace`.
    pub app_dir: PathBuf,
    /// Where the layers are: `CNB_LAYERS_DIR`, else `/layers`.
    pub layers_dir: PathBuf,
    /// The execution environment: `CNB_EXEC_ENV`, else `production`.
    pub exec_env: String,
}

impl Invocation {
    /// Sorts out what the container says.
    pub fn new(
        arguments: impl IntoIterator<Item = OsString>,
        variables: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Self {
        let mut arguments = arguments.into_iter();
        let name = arguments.next().unwrap_or_default();
        let variables: Vec<_> = variables.into_iter().collect();
        let or = |name: &str, default: &str| find(&variables, name).unwrap_or(OsStr::new(default)).to_owned();
        Self {
            name,
            arguments: arguments.collect(),
            app_dir: or("CNB_APP_DIR", "/workspace").into(),
            layers_dir: or("CNB_LAYERS_DIR", "/layers").into(),
            exec_env: or("CNB_EXEC_ENV", "production").to_string_lossy().into_owned(),
            variables,
        }
    }

    /// `CNB_PLATFORM_API`, if it is set. What is not UTF-8 is no version either.
    #[must_use]
    pub fn platform_api(&self) -> Option<&str> {
        find(&self.variables, "CNB_PLATFORM_API").map(|value| value.to_str().unwrap_or("\u{fffd}"))
    }

    /// The process type that the launcher may have been called by: the base name of `argv[0]` (LAU-01).
    #[must_use]
    pub fn called_as(&self) -> Option<&OsStr> {
        Path::new(&self.name).file_name()
    }

    /// What the container says that has no effect (LAU-16).
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        find(&self.variables, "CNB_PROCESS_TYPE").map_or(Vec::new(), |process| {
            let process = process.to_string_lossy();
            vec![
                "CNB_PROCESS_TYPE has no effect at launch".to_owned(),
                format!("set the entrypoint to /cnb/process/{process} to start process type `{process}`"),
            ]
        })
    }
}

/// A variable that is set and not empty.
fn find<'a>(variables: &'a [(OsString, OsString)], name: &str) -> Option<&'a OsStr> {
    let (_, value) = variables.iter().find(|(known, _)| known == name)?;
    (!value.is_empty()).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::Invocation;

    fn invocation(arguments: &[&str], variables: &[(&str, &str)]) -> Invocation {
        Invocation::new(
            arguments.iter().map(Into::into),
            variables.iter().map(|(name, value)| (name.into(), value.into())),
        )
    }

    #[test]
    fn defaults_1_3() {
        for variables in [
            &[][..],
            &[("CNB_APP_DIR", ""), ("CNB_LAYERS_DIR", ""), ("CNB_EXEC_ENV", "")],
        ] {
            let invocation = invocation(&[], variables);
            assert_eq!(invocation.app_dir.as_os_str(), "/workspace");
            assert_eq!(invocation.layers_dir.as_os_str(), "/layers");
            assert_eq!(invocation.exec_env, "production");
            assert_eq!(invocation.called_as(), None);
        }
    }

    #[test]
    fn the_base_name_counts_lau_01() {
        for name in ["/cnb/process/web", "web", "./web"] {
            assert_eq!(invocation(&[name], &[]).called_as().unwrap(), "web");
        }
    }

    #[test]
    fn a_process_type_variable_is_warned_about_lau_16() {
        assert!(invocation(&[], &[]).warnings().is_empty());
        let warnings = invocation(&[], &[("CNB_PROCESS_TYPE", "worker")]).warnings();
        assert!(warnings[1].contains("/cnb/process/worker"), "{warnings:?}");
    }
}
