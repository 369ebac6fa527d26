//! The inputs of all phases in one table (lifecycle.md 1.3, cnb.md 1.3): flag, variable, default, and who takes it
//! since which Platform API.

mod rows;

use lifecycle_spec::PlatformApi;

use super::flags::Kind;
use super::kind::PhaseName;

pub(super) use self::rows::{INPUTS, LAUNCHER_SBOM};

/// An input.
#[derive(Debug)]
pub(super) struct Input {
    /// The flag without its dash.
    pub(super) name: &'static str,
    /// What its value is.
    pub(super) kind: Kind,
    /// The variable, if there is one.
    pub(super) variable: Option<&'static str>,
    /// What holds when neither is given.
    pub(super) default: Default,
    /// Who takes it.
    pub(super) takers: &'static [Taker],
    /// For the usage text.
    pub(super) about: &'static str,
}

/// What holds when nothing is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Default {
    /// Nothing.
    None,
    /// This.
    Fixed(&'static str),
    /// This file of the layers directory, wherever that is (GEN-07).
    InLayers(&'static str),
    /// The first one of the layers directory if it is there, else the second.
    InLayersOr(&'static str, &'static str),
}

/// A phase that takes an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Taker {
    phase: PhaseName,
    since: PlatformApi,
    until: PlatformApi,
    /// Whether there is a flag; otherwise only the variable and the default count.
    flag: bool,
}

const fn since(phase: PhaseName, since: PlatformApi) -> Taker {
    Taker {
        phase,
        since,
        until: PlatformApi::LATEST,
        flag: true,
    }
}

const fn always(phase: PhaseName) -> Taker {
    since(phase, PlatformApi::V0_7)
}

const fn until(phase: PhaseName, until: PlatformApi) -> Taker {
    Taker {
        phase,
        since: PlatformApi::V0_7,
        until,
        flag: true,
    }
}

/// No flag, only a variable.
const fn quiet(phase: PhaseName) -> Taker {
    Taker {
        phase,
        since: PlatformApi::V0_7,
        until: PlatformApi::LATEST,
        flag: false,
    }
}

const fn input(
    name: &'static str,
    kind: Kind,
    variable: &'static str,
    default: Default,
    takers: &'static [Taker],
    about: &'static str,
) -> Input {
    let variable = if variable.is_empty() { None } else { Some(variable) };
    Input {
        name,
        kind,
        variable,
        default,
        takers,
        about,
    }
}

impl Input {
    /// Who takes it in this phase, at this version.
    fn taker(&self, phase: PhaseName, api: PlatformApi) -> Option<&Taker> {
        let fits = |taker: &&Taker| taker.phase == phase && taker.since <= api && api <= taker.until;
        self.takers.iter().find(fits)
    }
}

/// The input that a flag sets, if there is such a flag in this phase at this version (GEN-12).
pub(super) fn flag(name: &str, phase: PhaseName, api: PlatformApi) -> Option<&'static Input> {
    let takes =
        |input: &&Input| input.name == name && input.taker(phase, api).is_some_and(|taker| taker.flag);
    INPUTS.iter().find(takes)
}

/// The input of a name, in a phase that takes it at any version. What a version does not have keeps its default.
pub(super) fn known(name: &str, phase: PhaseName) -> Option<&'static Input> {
    INPUTS
        .iter()
        .find(|input| input.name == name && input.takers.iter().any(|taker| taker.phase == phase))
}

/// Whether variable and flag count in this phase at this version.
pub(super) fn counts(input: &Input, phase: PhaseName, api: PlatformApi) -> bool {
    input.taker(phase, api).is_some()
}

/// The flags of a phase, for its usage text.
pub(super) fn flags(phase: PhaseName, api: PlatformApi) -> impl Iterator<Item = &'static Input> {
    INPUTS
        .iter()
        .filter(move |input| input.taker(phase, api).is_some_and(|taker| taker.flag))
}

#[cfg(test)]
mod tests {
    use PhaseName::{Analyze, Build, Create, Detect, Export, Rebase, Restore};
    use PlatformApi::{V0_7, V0_9, V0_10, V0_11, V0_12, V0_13, V0_14, V0_15};

    use super::*;

    #[test]
    fn flags_come_and_go_with_the_api_gen_12() {
        for (name, phase, first, last) in [
            ("analyzed", Detect, V0_10, V0_15),
            ("analyzed", Build, V0_12, V0_15),
            ("run", Analyze, V0_12, V0_15),
            ("run", Restore, V0_14, V0_15),
            ("stack", Analyze, V0_7, V0_11),
            ("stack", Create, V0_7, V0_15),
            ("layout", Export, V0_12, V0_15),
            ("insecure-registry", Rebase, V0_13, V0_15),
            ("launch-cache", Analyze, V0_9, V0_15),
            ("launch-cache", Export, V0_7, V0_15),
            ("system", Create, V0_15, V0_15),
            ("previous-image", Rebase, V0_11, V0_15),
            ("no-color", Rebase, V0_7, V0_15),
        ] {
            for api in PlatformApi::ALL {
                let expected = first <= api && api <= last;
                assert_eq!(
                    flag(name, phase, api).is_some(),
                    expected,
                    "-{name} of {phase} at {api}"
                );
            }
        }
    }

    #[test]
    fn what_a_phase_does_not_take_is_no_flag_of_it_1_3() {
        for (name, phase) in [
            ("cache-dir", Analyze),
            ("uid", Detect),
            ("uid", Build),
            ("group", Create),
            ("plan", Create),
            ("extensions", Create),
            ("layers", Rebase),
            ("tag", Export),
            ("exec-env", Build),
            ("build-image", Create),
        ] {
            assert!(
                PlatformApi::ALL
                    .into_iter()
                    .all(|api| flag(name, phase, api).is_none()),
                "-{name} of {phase}"
            );
        }
    }

    #[test]
    fn no_phase_has_an_input_twice() {
        for phase in PhaseName::ALL {
            for api in PlatformApi::ALL {
                let mut names: Vec<_> = flags(phase, api).map(|input| input.name).collect();
                let count = names.len();
                names.dedup();
                assert_eq!(names.len(), count, "{phase} at {api}");
            }
        }
    }
}
