//! Detect, compile, release and report: the scripts of buildpacks in order.

use std::ffi::OsString;
use std::path::Path;

use super::places::Places;
use super::{Purpose, Report};
use crate::error::ScriptName;
use crate::fetch::Buildpack;
use crate::shell::with_sourced;
use crate::workshop::{Ended, Script, Workshop};
use crate::{Choice, Console, HerokuError, Release};

/// Runs the scripts of buildpacks.
#[derive(Debug)]
pub(crate) struct Compiler<'a> {
    pub(crate) workshop: &'a Workshop<'a>,
    pub(crate) places: &'a Places,
    pub(crate) console: &'a dyn Console,
    pub(crate) purpose: Purpose,
}

/// A buildpack that has compiled.
#[derive(Debug)]
pub(crate) struct Compiled {
    pub(crate) buildpack: Buildpack,
    /// What it calls itself.
    pub(crate) name: String,
}

impl Compiler<'_> {
    /// The buildpacks that compile, with the names that they gave themselves as far as they were asked already: of those
    /// to choose from the first that takes the app.
    pub(crate) fn selected(
        &self,
        choice: &Choice,
        buildpacks: Vec<Buildpack>,
    ) -> Result<Vec<(Buildpack, Option<String>)>, HerokuError> {
        match choice {
            Choice::Detected(_) => Ok(vec![self.select(buildpacks)?]),
            Choice::Explicit(_) | Choice::Listed(_) => {
                Ok(buildpacks.into_iter().map(|one| (one, None)).collect())
            }
        }
    }

    /// Lets buildpacks compile in order. One that was not asked yet may find what those before it made.
    pub(crate) fn compile_all(
        &self,
        selected: Vec<(Buildpack, Option<String>)>,
        must_detect: bool,
        reports: &mut Vec<Report>,
    ) -> Result<Vec<Compiled>, HerokuError> {
        let mut compiled: Vec<Compiled> = Vec::new();
        for (buildpack, name) in selected {
            let name = match name {
                Some(name) => name,
                None => self.name_of(&buildpack, must_detect)?,
            };
            self.console.heading(format_args!("{name} app detected"));
            let ended = self.compile(&buildpack, &compiled)?;
            // Its report tells of failures too.
            reports.extend(self.report(&buildpack));
            ended.check()?;
            compiled.push(Compiled { buildpack, name });
        }
        Ok(compiled)
    }

    /// The names of the buildpacks that would compile.
    pub(crate) fn detect_all(
        &self,
        choice: &Choice,
        buildpacks: Vec<Buildpack>,
    ) -> Result<Vec<String>, HerokuError> {
        let must_detect = choice.must_detect();
        self.selected(choice, buildpacks)?
            .into_iter()
            .map(|(one, name)| name.map_or_else(|| self.name_of(&one, must_detect), Ok))
            .collect()
    }

    /// The first buildpack that takes the app (MP-08).
    fn select(&self, buildpacks: Vec<Buildpack>) -> Result<(Buildpack, Option<String>), HerokuError> {
        let tried: Vec<_> = buildpacks
            .iter()
            .map(|buildpack| buildpack.name.clone())
            .collect();
        let mut takers = Vec::new();
        for buildpack in buildpacks {
            if let Some(name) = self.detect(&buildpack)? {
                takers.push((buildpack, Some(name)));
            }
        }
        if takers.len() > 1 {
            let names: Vec<_> = takers.iter().filter_map(|(_, name)| name.as_deref()).collect();
            self.console.warning(format_args!(
                "Several buildpacks take the app: {}. The first is used.",
                names.join(", ")
            ));
        }
        let none = || HerokuError::NoBuildpack {
            tried: tried.join(", "),
        };
        takers.into_iter().next().ok_or_else(none)
    }

    /// The name of a buildpack that was chosen already; that its `bin/detect` says no is an error when it must not.
    fn name_of(&self, buildpack: &Buildpack, must_detect: bool) -> Result<String, HerokuError> {
        match self.detect(buildpack)? {
            Some(name) => Ok(name),
            None if must_detect => Err(HerokuError::NotDetected {
                buildpack: buildpack.name.clone(),
            }),
            None => {
                let warning = format!(
                    "bin/detect of {} does not take the app; it is used all the same",
                    buildpack.name
                );
                self.console.warning(warning);
                Ok(buildpack.name.clone())
            }
        }
    }

    /// Asks a buildpack whether it takes the app, and under which name.
    fn detect(&self, buildpack: &Buildpack) -> Result<Option<String>, HerokuError> {
        let Some(detect) = buildpack.script("bin/detect") else {
            return Ok(None);
        };
        let script = self.script(buildpack, "bin/detect", &detect, &[&self.places.build]);
        let (ended, output) = self.workshop.ask(script)?;
        if ended.code != 0 {
            return Ok(None);
        }
        let output = String::from_utf8_lossy(&output);
        let name = output.lines().map(str::trim).find(|line| !line.is_empty());
        Ok(Some(name.map_or_else(|| buildpack.name.clone(), str::to_owned)))
    }

    fn compile(&self, buildpack: &Buildpack, earlier: &[Compiled]) -> Result<Ended, HerokuError> {
        let for_tests = buildpack
            .script("bin/test-compile")
            .filter(|_| self.purpose == Purpose::Tests);
        let (name, path) = match for_tests {
            Some(path) => ("bin/test-compile", path),
            None => ("bin/compile", buildpack.directory.join("bin/compile")),
        };
        let mut script = self.script(buildpack, name, &path, &self.directories());
        // Only compile gets what earlier buildpacks export (HC-06).
        let exports = earlier.iter().filter_map(|one| one.buildpack.script("export"));
        let exports: Vec<OsString> = exports.map(|path| self.workshop.shown(&path).into()).collect();
        if !exports.is_empty() {
            script.command = with_sourced(exports, script.command);
        }
        self.workshop.run(script)
    }

    /// What the last buildpack says of the app (MP-03, HC-07).
    pub(crate) fn release(&self, compiled: &[Compiled]) -> Result<Release, HerokuError> {
        let Some(last) = compiled.last() else {
            return Ok(Release::default());
        };
        let Some(release) = last.buildpack.script("bin/release") else {
            return Ok(Release::default());
        };
        let script = self.script(&last.buildpack, "bin/release", &release, &[&self.places.build]);
        let (ended, output) = self.workshop.ask(script)?;
        ended.check()?;
        Release::parse(std::str::from_utf8(&output)?)
    }

    /// A buildpack's facts. That it cannot tell them is no failure of the build.
    fn report(&self, buildpack: &Buildpack) -> Option<Report> {
        let report = buildpack.script("bin/report")?;
        let script = self.script(buildpack, "bin/report", &report, &self.directories());
        match self.workshop.ask(script) {
            Ok((Ended { code: 0, .. }, output)) => {
                let text = String::from_utf8_lossy(&output).into_owned();
                Some(Report {
                    buildpack: buildpack.name.clone(),
                    text,
                })
            }
            Ok(_) => None,
            Err(error) => {
                tracing::debug!(%error, "a report is missing");
                None
            }
        }
    }

    /// Runs a script of the app itself, if it has it.
    pub(crate) fn hook(&self, name: &'static str) -> Result<(), HerokuError> {
        let path = self.places.build.join(name);
        if !path.is_file() {
            return Ok(());
        }
        self.console.heading(format_args!("Running {name} of the app"));
        let command = vec![
            "/bin/sh".into(),
            "-c".into(),
            r#"chmod +x "$0"; exec "$0" "$@""#.into(),
        ];
        let directories = self
            .directories()
            .map(|directory| self.workshop.shown(directory).into());
        let script = Script {
            name: ScriptName {
                of: "the app".to_owned(),
                script: name,
            },
            command: command
                .into_iter()
                .chain([self.workshop.shown(&path).into()])
                .chain(directories)
                .collect(),
            env: Vec::new(),
            directory: &self.places.build,
        };
        self.workshop.run(script)?.check()
    }

    /// BUILD_DIR CACHE_DIR ENV_DIR.
    fn directories(&self) -> [&Path; 3] {
        [&self.places.build, &self.places.cache, &self.places.env]
    }

    fn script<'s>(
        &'s self,
        buildpack: &Buildpack,
        name: &'static str,
        path: &Path,
        arguments: &[&Path],
    ) -> Script<'s> {
        let shown = |path: &Path| self.workshop.shown(path).into_os_string();
        Script {
            name: ScriptName {
                of: buildpack.name.clone(),
                script: name,
            },
            command: std::iter::once(path)
                .chain(arguments.iter().copied())
                .map(shown)
                .collect(),
            env: Vec::new(),
            directory: &self.places.build,
        }
    }
}
