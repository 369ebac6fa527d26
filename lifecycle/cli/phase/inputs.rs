//! What a phase is told: flag before variable before default (GEN-06).

use std::path::{Path, PathBuf};

use lifecycle_image::Reference;
use lifecycle_spec::PlatformApi;

use super::PhaseError;
use super::flags::{self, Kind, Parsed};
use super::kind::PhaseName;
use super::table::{self, Default};
use crate::environment::Environment;

/// The inputs of one phase. Empty values count as absent, because pipelines hand on parameters that nobody set
/// (KB-01); a flag that is empty hides its variable nevertheless.
#[derive(Debug)]
pub(super) struct Inputs<'a> {
    pub(super) phase: PhaseName,
    pub(super) api: PlatformApi,
    parsed: Parsed,
    environment: &'a Environment,
    working_directory: PathBuf,
}

impl<'a> Inputs<'a> {
    pub(super) fn new(
        phase: PhaseName,
        api: PlatformApi,
        parsed: Parsed,
        environment: &'a Environment,
        working_directory: PathBuf,
    ) -> Self {
        Self {
            phase,
            api,
            parsed,
            environment,
            working_directory,
        }
    }

    /// The value of an input.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        let input = table::known(name, self.phase)?;
        let given = table::counts(input, self.phase, self.api)
            .then(|| self.given(input))
            .flatten();
        given.or_else(|| match input.default {
            Default::None => None,
            Default::Fixed(value) => Some(value.to_owned()),
            Default::InLayers(file) => Some(self.in_layers(file)),
            Default::InLayersOr(file, otherwise) => {
                let path = self.in_layers(file);
                Some(if Path::new(&path).exists() {
                    path
                } else {
                    otherwise.to_owned()
                })
            }
        })
    }

    fn given(&self, input: &table::Input) -> Option<String> {
        let mut values = self.parsed.values.iter().filter(|(name, _)| *name == input.name);
        match values.next_back() {
            Some((_, value)) => Some(value.clone()).filter(|value| !value.is_empty()),
            None => self.environment.text(input.variable?).map(str::to_owned),
        }
    }

    fn in_layers(&self, file: &str) -> String {
        self.layers().join(file).display().to_string()
    }

    /// The layers directory.
    pub(super) fn layers(&self) -> PathBuf {
        self.directory("layers")
            .unwrap_or_else(|| PathBuf::from("/layers"))
    }

    /// A file, made absolute: what it means must not change with a program's working directory.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.text(name)
            .map(|path| self.working_directory.join(path))
            .unwrap_or_default()
    }

    /// A directory, made absolute (GEN-16).
    pub(super) fn directory(&self, name: &str) -> Option<PathBuf> {
        Some(self.working_directory.join(self.text(name)?))
    }

    /// A directory that has a default.
    pub(super) fn directory_or_default(&self, name: &str) -> PathBuf {
        self.directory(name).unwrap_or_default()
    }

    /// A boolean. A variable that is none means false (GEN-13).
    pub(super) fn boolean(&self, name: &str) -> bool {
        self.text(name)
            .as_deref()
            .and_then(flags::boolean)
            .unwrap_or_default()
    }

    /// Whether layers are not restored. A flag of either name decides; without one, either variable does, in each of the
    /// phases that look at layers of earlier builds.
    pub(super) fn skips_layers(&self) -> bool {
        const NAMES: [&str; 2] = ["skip-layers", "skip-restore"];
        let given = self.parsed.values.iter().rev().map(|(name, _)| *name);
        match given.into_iter().find(|name| NAMES.contains(name)) {
            Some(flag) => self.boolean(flag),
            None => NAMES.iter().any(|name| self.boolean(name)),
        }
    }

    /// The name of an image that is read, as it was given. In a daemon images have ids, too.
    pub(super) fn image_name(&self, name: &str) -> Result<Option<String>, PhaseError> {
        let given = self.text(name);
        if let Some(name) = given.as_deref().filter(|_| !self.boolean("daemon")) {
            reference(name)?;
        }
        Ok(given)
    }

    /// A number. A variable that is none is not set.
    pub(super) fn number(&self, name: &str) -> Option<u32> {
        self.text(name).as_deref().and_then(flags::number)
    }

    /// A list: the flag as often as it was given, each with commas or without, else the variable (KB-03).
    pub(super) fn list(&self, name: &str) -> Vec<String> {
        let Some(input) = table::known(name, self.phase) else {
            return Vec::new();
        };
        if !table::counts(input, self.phase, self.api) {
            return Vec::new();
        }
        let given: Vec<_> = self
            .parsed
            .values
            .iter()
            .filter(|(flag, _)| *flag == name)
            .collect();
        if given.is_empty() {
            return input
                .variable
                .map(|variable| self.environment.list(variable))
                .unwrap_or_default();
        }
        let items = given
            .iter()
            .flat_map(|(_, value)| value.split(','))
            .map(str::trim);
        items.filter(|item| !item.is_empty()).map(str::to_owned).collect()
    }

    /// The images that are named as arguments.
    pub(super) fn positionals(&self) -> &[String] {
        &self.parsed.positionals
    }

    /// The one image that this phase takes.
    pub(super) fn image(&self) -> Result<Reference, PhaseError> {
        match self.positionals() {
            [name] if name.is_empty() => Err(PhaseError::inputs("image argument is required")),
            [name] => output(name),
            others => Err(PhaseError::arguments(format!(
                "received {} arguments, but expected 1",
                others.len()
            ))),
        }
    }

    /// The images that this phase takes, at least one.
    pub(super) fn images(&self) -> Result<Vec<Reference>, PhaseError> {
        let images: Vec<_> = self
            .positionals()
            .iter()
            .filter(|name| !name.is_empty())
            .collect();
        if images.is_empty() {
            return Err(PhaseError::arguments("at least one image argument is required"));
        }
        images.into_iter().map(|name| output(name)).collect()
    }

    /// This phase takes no arguments.
    pub(super) fn no_arguments(&self) -> Result<(), PhaseError> {
        let text = match self.phase {
            PhaseName::Restore => "received unexpected Args",
            _ => "received unexpected arguments",
        };
        if self.positionals().is_empty() {
            Ok(())
        } else {
            Err(PhaseError::arguments(text))
        }
    }

    /// Names of images in a list input.
    pub(super) fn references(&self, name: &str) -> Result<Vec<Reference>, PhaseError> {
        self.list(name).iter().map(|name| reference(name)).collect()
    }

    /// Arguments that were probably meant as flags.
    pub(super) fn flag_like(&self) -> impl Iterator<Item = &str> {
        self.positionals()
            .iter()
            .map(String::as_str)
            .filter(|argument| argument.starts_with('-'))
    }
}

/// The name of an image that is written: a digest names one that exists (EXP-01, REB-01).
fn output(name: &str) -> Result<Reference, PhaseError> {
    let reference = reference(name)?;
    if reference.digest().is_some() {
        let cause = format!("{name} names an image by its digest; what is written needs a tag");
        return Err(PhaseError::inputs(cause));
    }
    Ok(reference)
}

/// The name of an image.
pub(super) fn reference(name: &str) -> Result<Reference, PhaseError> {
    name.parse().map_err(|error: lifecycle_image::InvalidReference| {
        PhaseError::inputs(format!("could not parse reference: {error}"))
    })
}

/// Reads the arguments of a phase.
pub(super) fn parse(
    arguments: &[String],
    phase: PhaseName,
    api: PlatformApi,
) -> Result<Parsed, flags::FlagError> {
    flags::parse(arguments, |name| {
        table::flag(name, phase, api).map(|input| (input.name, input.kind))
    })
}

/// What `-h` shows.
pub(super) fn usage(phase: PhaseName, api: PlatformApi) -> String {
    let flags: String = table::flags(phase, api).map(describe).collect();
    format!("Usage of {}:\n{flags}", phase.program())
}

/// A flag, in the form of Go's flag package.
fn describe(input: &table::Input) -> String {
    let value = match input.kind {
        Kind::Boolean => "",
        Kind::Number => " int",
        Kind::List => " value",
        Kind::Text | Kind::Directory => " string",
    };
    let default = match input.default {
        Default::None | Default::Fixed("false") => String::new(),
        Default::Fixed(default) => format!(" (default {default:?})"),
        Default::InLayers(file) => format!(" (default \"<layers>/{file}\")"),
        Default::InLayersOr(file, otherwise) => {
            format!(" (default \"<layers>/{file}\" if it exists, else {otherwise:?})")
        }
    };
    let variable = input
        .variable
        .map(|variable| format!(" [${variable}]"))
        .unwrap_or_default();
    format!(
        "  -{}{value}\n    \t{}{default}{variable}\n",
        input.name, input.about
    )
}

#[cfg(test)]
mod tests {
    use lifecycle_dockerfile::GoDuration;

    use super::*;

    fn inputs<'a>(
        phase: PhaseName,
        api: PlatformApi,
        text: &str,
        environment: &'a Environment,
    ) -> Inputs<'a> {
        let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        Inputs::new(
            phase,
            api,
            parse(&words, phase, api).unwrap(),
            environment,
            "/cwd".into(),
        )
    }

    #[test]
    fn flag_beats_variable_beats_default_gen_06() {
        let environment = Environment::from_pairs(&[("CNB_APP_DIR", "/env"), ("CNB_PLAN_PATH", "")]);
        for (text, app) in [
            ("", "/env"),
            ("-app /flag", "/flag"),
            ("-app rel", "/cwd/rel"),
            ("-app=", "/workspace"),
        ] {
            let inputs = inputs(PhaseName::Detect, PlatformApi::V0_12, text, &environment);
            assert_eq!(inputs.directory_or_default("app"), Path::new(app), "{text}");
            assert_eq!(inputs.file("plan"), Path::new("/layers/plan.toml"));
        }
    }

    #[test]
    fn defaults_follow_the_layers_directory_gen_07() {
        let environment = Environment::from_pairs(&[("CNB_LAYERS_DIR", "/env/layers")]);
        for (phase, text, report) in [
            (PhaseName::Export, "-layers /l", "/l/report.toml"),
            (PhaseName::Export, "-layers /l -report r.toml", "/cwd/r.toml"),
            (PhaseName::Rebase, "", "/env/layers/report.toml"),
        ] {
            let inputs = inputs(phase, PlatformApi::V0_12, text, &environment);
            assert_eq!(inputs.file("report"), Path::new(report), "{text}");
        }
    }

    #[test]
    fn empty_values_are_absent_kb_01() {
        let environment = Environment::default();
        let text = "-cache-dir= -cache-image= -run-image= -tag= -previous-image= -insecure-registry= -skip-restore= -uid= app";
        let inputs = inputs(PhaseName::Create, PlatformApi::V0_13, text, &environment);
        for name in ["cache-dir", "cache-image", "run-image", "previous-image"] {
            assert_eq!(inputs.text(name), None, "{name}");
        }
        assert!(inputs.list("tag").is_empty() && inputs.list("insecure-registry").is_empty());
        assert!(!inputs.boolean("skip-restore"));
        assert_eq!(inputs.number("uid"), None);
    }

    #[test]
    fn the_extenders_cache_has_an_age_gen_15() {
        for (variable, text, age) in [
            (None, "", Some("336h0m0s")),
            (Some("24h"), "", Some("24h0m0s")),
            (Some("24h"), "-kaniko-cache-ttl 1h30m", Some("1h30m0s")),
            (None, "-kaniko-cache-ttl two-weeks", None),
        ] {
            let pairs: Vec<_> = variable
                .map(|age| ("CNB_KANIKO_CACHE_TTL", age))
                .into_iter()
                .collect();
            let environment = Environment::from_pairs(&pairs);
            let inputs = inputs(PhaseName::Extend, PlatformApi::V0_10, text, &environment);
            let found = GoDuration::parse(&inputs.text("kaniko-cache-ttl").unwrap());
            assert_eq!(found.map(|age| age.to_string()).as_deref(), age, "{text}");
        }
    }

    #[test]
    fn booleans_take_values_kb_02_gen_13() {
        let environment =
            Environment::from_pairs(&[("CNB_SKIP_RESTORE", "yes"), ("CNB_SKIP_LAYERS", "True")]);
        let create =
            |text| inputs(PhaseName::Create, PlatformApi::V0_12, text, &environment).boolean("skip-restore");
        assert!(!create("") && create("-skip-restore") && !create("-skip-restore=false"));
        let restore =
            |text| inputs(PhaseName::Restore, PlatformApi::V0_12, text, &environment).boolean("skip-layers");
        assert!(restore("") && !restore("-skip-layers=false"));
    }

    #[test]
    fn either_variable_skips_layers_in_every_phase_an_04_res_02() {
        for variable in ["CNB_SKIP_LAYERS", "CNB_SKIP_RESTORE"] {
            let environment = Environment::from_pairs(&[(variable, "true")]);
            for (phase, flag) in [
                (PhaseName::Analyze, "-skip-layers=false"),
                (PhaseName::Restore, "-skip-layers=false"),
                (PhaseName::Create, "-skip-restore=false"),
            ] {
                let skips = |text| inputs(phase, PlatformApi::V0_13, text, &environment).skips_layers();
                assert!(skips("") && !skips(flag), "{phase:?} {variable}");
            }
        }
        let skips = |text| {
            inputs(
                PhaseName::Analyze,
                PlatformApi::V0_13,
                text,
                &Environment::default(),
            )
            .skips_layers()
        };
        assert!(!skips("") && skips("-skip-layers"));
    }

    #[test]
    fn names_are_looked_at_before_images_are_an_01() {
        let environment = Environment::default();
        let name = |text| {
            inputs(PhaseName::Analyze, PlatformApi::V0_13, text, &environment).image_name("previous-image")
        };
        assert_eq!(name("-previous-image=").unwrap(), None);
        assert_eq!(name("-previous-image a/b").unwrap().as_deref(), Some("a/b"));
        let error = name("-previous-image A::b").unwrap_err();
        assert_eq!(error.code, lifecycle_spec::ExitCode::InvalidArguments.number());
        assert!(name("-daemon -previous-image A::b").is_ok());
    }

    #[test]
    fn registries_come_as_lists_kb_03() {
        let environment = Environment::from_pairs(&[("CNB_INSECURE_REGISTRIES", "a,b,")]);
        for (text, list) in [
            ("", &["a", "b"][..]),
            ("-insecure-registry c -insecure-registry d,e,", &["c", "d", "e"]),
        ] {
            assert_eq!(
                inputs(PhaseName::Export, PlatformApi::V0_13, text, &environment).list("insecure-registry"),
                list
            );
        }
        assert!(
            inputs(PhaseName::Export, PlatformApi::V0_12, "", &environment)
                .list("insecure-registry")
                .is_empty()
        );
    }

    #[test]
    fn arguments_are_names_and_counted_1_3_an_01_exp_01_reb_01() {
        let environment = Environment::default();
        let message = |error: PhaseError| error.to_string();
        let make = |phase, text| inputs(phase, PlatformApi::V0_12, text, &environment);
        for (phase, text, expected) in [
            (PhaseName::Analyze, "", "received 0 arguments, but expected 1"),
            (PhaseName::Create, "a b", "received 2 arguments, but expected 1"),
        ] {
            let found = message(make(phase, text).image().unwrap_err());
            assert_eq!(found, format!("failed to parse arguments: {expected}"));
        }
        let digest = format!("r/a@sha256:{}", "0".repeat(64));
        for phase in [PhaseName::Export, PhaseName::Rebase] {
            assert!(make(phase, &digest).images().is_err() && make(phase, "A:b:c").images().is_err());
            assert_eq!(make(phase, "r/a r/b:2").images().unwrap().len(), 2);
        }
        assert!(make(PhaseName::Analyze, &digest).image().is_err());
        let tags = |text| make(PhaseName::Analyze, text).references("tag");
        assert_eq!(tags("-tag r/a -tag r/b:2 x").unwrap().len(), 2);
        assert!(tags("-tag r/a -tag A:b:c x").is_err());
        let found = message(make(PhaseName::Export, "").images().unwrap_err());
        assert_eq!(
            found,
            "failed to parse arguments: at least one image argument is required"
        );
        for (phase, expected) in [
            (PhaseName::Build, "received unexpected arguments"),
            (PhaseName::Restore, "received unexpected Args"),
        ] {
            let found = message(make(phase, "x").no_arguments().unwrap_err());
            assert_eq!(found, format!("failed to parse arguments: {expected}"));
        }
    }
}
