//! The inputs of all phases in one table (lifecycle.md 1.3, cnb.md 1.3): flag, variable, default, and who takes it
//! since which Platform API.

use lifecycle_spec::PlatformApi::{self, V0_7, V0_9, V0_10, V0_11, V0_12, V0_13, V0_14, V0_15};

use super::flags::Kind;
use super::kind::PhaseName::{self, Analyze, Build, Create, Detect, Export, Extend, Rebase, Restore};

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
    since(phase, V0_7)
}

const fn until(phase: PhaseName, until: PlatformApi) -> Taker {
    Taker {
        phase,
        since: V0_7,
        until,
        flag: true,
    }
}

/// No flag, only a variable.
const fn quiet(phase: PhaseName) -> Taker {
    Taker {
        phase,
        since: V0_7,
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

const EVERY_PHASE: &[Taker] = &[
    always(Analyze),
    always(Detect),
    always(Restore),
    always(Extend),
    always(Build),
    always(Export),
    always(Create),
    always(Rebase),
];
const NOTHING: Default = Default::None;
const FALSE: Default = Default::Fixed("false");

/// All inputs, by name.
pub(super) const INPUTS: &[Input] = &[
    input(
        "analyzed",
        Kind::Text,
        "CNB_ANALYZED_PATH",
        Default::InLayers("analyzed.toml"),
        &[
            always(Analyze),
            since(Detect, V0_10),
            always(Restore),
            always(Extend),
            since(Build, V0_12),
            always(Export),
            quiet(Create),
        ],
        "path to analyzed.toml",
    ),
    input(
        "app",
        Kind::Directory,
        "CNB_APP_DIR",
        Default::Fixed("/workspace"),
        &[
            always(Detect),
            always(Extend),
            always(Build),
            always(Export),
            always(Create),
        ],
        "path to the app directory",
    ),
    input(
        "build-config",
        Kind::Directory,
        "CNB_BUILD_CONFIG_DIR",
        Default::Fixed("/cnb/build-config"),
        &[since(Detect, V0_11), since(Build, V0_11), since(Create, V0_11)],
        "path to the operator's build config directory",
    ),
    input(
        "build-image",
        Kind::Text,
        "CNB_BUILD_IMAGE",
        NOTHING,
        &[since(Restore, V0_10)],
        "reference of the build image",
    ),
    input(
        "buildpacks",
        Kind::Directory,
        "CNB_BUILDPACKS_DIR",
        Default::Fixed("/cnb/buildpacks"),
        &[always(Detect), always(Extend), always(Build), always(Create)],
        "path to the buildpacks directory",
    ),
    input(
        "cache-dir",
        Kind::Directory,
        "CNB_CACHE_DIR",
        NOTHING,
        &[always(Restore), always(Export), always(Create)],
        "path to the cache directory",
    ),
    input(
        "cache-image",
        Kind::Text,
        "CNB_CACHE_IMAGE",
        NOTHING,
        &[always(Analyze), always(Restore), always(Export), always(Create)],
        "name of the cache image",
    ),
    input(
        "daemon",
        Kind::Boolean,
        "CNB_USE_DAEMON",
        FALSE,
        &[
            always(Analyze),
            since(Restore, V0_12),
            always(Export),
            always(Create),
            always(Rebase),
        ],
        "use a daemon (not supported: images go to registries and OCI layouts)",
    ),
    input(
        "exec-env",
        Kind::Text,
        "CNB_EXEC_ENV",
        Default::Fixed("production"),
        ENVIRONMENT,
        "",
    ),
    input(
        "experimental",
        Kind::Text,
        "CNB_EXPERIMENTAL_MODE",
        NOTHING,
        ALL_QUIET,
        "",
    ),
    input(
        "extended",
        Kind::Directory,
        "CNB_EXTENDED_DIR",
        Default::InLayers("extended"),
        &[since(Extend, V0_12), since(Export, V0_12)],
        "path to the directory of extended images",
    ),
    input(
        "extensions",
        Kind::Directory,
        "CNB_EXTENSIONS_DIR",
        Default::Fixed("/cnb/extensions"),
        &[since(Detect, V0_10), quiet(Create)],
        "path to the extensions directory",
    ),
    input(
        "force",
        Kind::Boolean,
        "CNB_FORCE_REBASE",
        FALSE,
        &[since(Rebase, V0_12)],
        "rebase although it is unsafe",
    ),
    input(
        "generated",
        Kind::Directory,
        "CNB_GENERATED_DIR",
        Default::InLayers("generated"),
        &[
            since(Detect, V0_10),
            since(Restore, V0_12),
            always(Extend),
            quiet(Create),
        ],
        "path to the directory of generated Dockerfiles",
    ),
    input(
        "gid",
        Kind::Number,
        "CNB_GROUP_ID",
        NOTHING,
        USER,
        "group id of the build's user",
    ),
    input(
        "group",
        Kind::Text,
        "CNB_GROUP_PATH",
        Default::InLayers("group.toml"),
        &[
            always(Detect),
            always(Restore),
            always(Extend),
            always(Build),
            always(Export),
            quiet(Create),
        ],
        "path to group.toml",
    ),
    input(
        "image",
        Kind::Text,
        "",
        NOTHING,
        &[always(Export), always(Rebase)],
        "deprecated; see -run-image",
    ),
    input(
        "insecure-registry",
        Kind::List,
        "CNB_INSECURE_REGISTRIES",
        NOTHING,
        &[
            since(Analyze, V0_13),
            since(Restore, V0_13),
            since(Export, V0_13),
            since(Create, V0_13),
            since(Rebase, V0_13),
        ],
        "registry that is spoken to without verified TLS; may be given several times",
    ),
    input(
        "kaniko-cache-ttl",
        Kind::Text,
        "CNB_KANIKO_CACHE_TTL",
        Default::Fixed("336h"),
        &[always(Extend)],
        "how long the extender's cache is good for",
    ),
    input(
        "kind",
        Kind::Text,
        "CNB_EXTEND_KIND",
        Default::Fixed("build"),
        &[since(Extend, V0_12)],
        "build or run",
    ),
    input(
        "launch-cache",
        Kind::Directory,
        "CNB_LAUNCH_CACHE_DIR",
        NOTHING,
        &[since(Analyze, V0_9), always(Export), always(Create)],
        "path to the launch cache, which only a daemon needs",
    ),
    input(
        "launcher",
        Kind::Text,
        "",
        Default::Fixed("/cnb/lifecycle/launcher"),
        &[always(Export), always(Create)],
        "path to the launcher",
    ),
    input(
        "launcher-sbom",
        Kind::Text,
        "",
        Default::Fixed(LAUNCHER_SBOM),
        &[since(Export, V0_11), since(Create, V0_11)],
        "path to the directory of the launcher's SBOM files",
    ),
    input(
        "layers",
        Kind::Directory,
        LAYERS_VARIABLE,
        Default::Fixed("/layers"),
        LAYERS,
        "path to the layers directory",
    ),
    input(
        "layout",
        Kind::Boolean,
        "CNB_USE_LAYOUT",
        FALSE,
        LAYOUT,
        "use OCI layouts on disk (experimental)",
    ),
    input(
        "layout-dir",
        Kind::Directory,
        "CNB_LAYOUT_DIR",
        NOTHING,
        LAYOUT,
        "path to the directory of OCI layouts",
    ),
    input(
        "log-level",
        Kind::Text,
        "CNB_LOG_LEVEL",
        Default::Fixed("info"),
        EVERY_PHASE,
        "debug, info, warn, error or fatal",
    ),
    input(
        "no-color",
        Kind::Boolean,
        "CNB_NO_COLOR",
        FALSE,
        EVERY_PHASE,
        "no colours",
    ),
    input(
        "order",
        Kind::Text,
        "CNB_ORDER_PATH",
        Default::InLayersOr("order.toml", "/cnb/order.toml"),
        &[always(Detect), always(Create)],
        "path to order.toml",
    ),
    input(
        "parallel",
        Kind::Boolean,
        "CNB_PARALLEL_EXPORT",
        FALSE,
        &[always(Export), always(Create)],
        "write the cache while the image is sent",
    ),
    input(
        "plan",
        Kind::Text,
        "CNB_PLAN_PATH",
        Default::InLayers("plan.toml"),
        &[always(Detect), always(Extend), always(Build), quiet(Create)],
        "path to plan.toml",
    ),
    input(
        "platform",
        Kind::Directory,
        "CNB_PLATFORM_DIR",
        Default::Fixed("/platform"),
        &[always(Detect), always(Extend), always(Build), always(Create)],
        "path to the platform directory",
    ),
    input(
        "previous-image",
        Kind::Text,
        "CNB_PREVIOUS_IMAGE",
        NOTHING,
        &[always(Analyze), always(Create), since(Rebase, V0_11)],
        "image to reuse layers of",
    ),
    input(
        "process-type",
        Kind::Text,
        "CNB_PROCESS_TYPE",
        NOTHING,
        &[always(Export), always(Create)],
        "process that starts by default",
    ),
    input(
        "project-metadata",
        Kind::Text,
        "CNB_PROJECT_METADATA_PATH",
        Default::InLayers("project-metadata.toml"),
        &[always(Export), always(Create)],
        "path to project-metadata.toml",
    ),
    input(
        "report",
        Kind::Text,
        "CNB_REPORT_PATH",
        Default::InLayers("report.toml"),
        &[always(Export), always(Create), always(Rebase)],
        "path to report.toml",
    ),
    input(
        "run",
        Kind::Text,
        "CNB_RUN_PATH",
        Default::Fixed("/cnb/run.toml"),
        &[
            since(Analyze, V0_12),
            since(Detect, V0_12),
            since(Restore, V0_14),
            since(Export, V0_12),
            since(Create, V0_12),
        ],
        "path to run.toml",
    ),
    input(
        "run-image",
        Kind::Text,
        "CNB_RUN_IMAGE",
        NOTHING,
        &[always(Analyze), always(Create), always(Rebase)],
        "reference of the run image",
    ),
    // The exporter knows this flag only to refuse it, and its variable not at all.
    input(
        "run-image",
        Kind::Text,
        "",
        NOTHING,
        &[always(Export)],
        "not supported since Platform API 0.7",
    ),
    input(
        "skip-layers",
        Kind::Boolean,
        "CNB_SKIP_LAYERS",
        FALSE,
        &[since(Analyze, V0_9), always(Restore)],
        "do not restore layers",
    ),
    input(
        "skip-restore",
        Kind::Boolean,
        "CNB_SKIP_RESTORE",
        FALSE,
        &[always(Create)],
        "do not restore layers",
    ),
    input(
        "source-date-epoch",
        Kind::Text,
        "SOURCE_DATE_EPOCH",
        NOTHING,
        &[quiet(Export), quiet(Create)],
        "",
    ),
    input(
        "stack",
        Kind::Text,
        "CNB_STACK_PATH",
        Default::Fixed("/cnb/stack.toml"),
        &[until(Analyze, V0_11), until(Export, V0_11), always(Create)],
        "path to stack.toml",
    ),
    input(
        "system",
        Kind::Text,
        "CNB_SYSTEM_PATH",
        Default::Fixed("/cnb/system.toml"),
        &[since(Detect, V0_15), since(Create, V0_15)],
        "path to system.toml",
    ),
    input(
        "tag",
        Kind::List,
        "",
        NOTHING,
        &[always(Analyze), always(Create)],
        "another name; may be given several times",
    ),
    input(
        "uid",
        Kind::Number,
        "CNB_USER_ID",
        NOTHING,
        USER,
        "user id of the build's user",
    ),
    input(
        "version",
        Kind::Boolean,
        "",
        FALSE,
        EVERY_PHASE,
        "show the version",
    ),
];

/// Where the lifecycle's own SBOM files lie.
pub(super) const LAUNCHER_SBOM: &str = "/cnb/lifecycle";
/// The rebaser takes no flag for the layers directory, but looks there.
pub(super) const LAYERS_VARIABLE: &str = "CNB_LAYERS_DIR";

const LAYERS: &[Taker] = &[
    always(Analyze),
    always(Detect),
    always(Restore),
    always(Extend),
    always(Build),
    always(Export),
    always(Create),
    quiet(Rebase),
];
const LAYOUT: &[Taker] = &[
    since(Analyze, V0_12),
    since(Restore, V0_12),
    since(Export, V0_12),
    since(Create, V0_12),
];
const USER: &[Taker] = &[
    always(Analyze),
    always(Restore),
    always(Extend),
    always(Export),
    always(Create),
    always(Rebase),
];
const ENVIRONMENT: &[Taker] = &[
    quiet(Detect),
    quiet(Restore),
    quiet(Extend),
    quiet(Build),
    quiet(Export),
    quiet(Create),
];
const ALL_QUIET: &[Taker] = &[
    quiet(Analyze),
    quiet(Detect),
    quiet(Restore),
    quiet(Extend),
    quiet(Build),
    quiet(Export),
    quiet(Create),
    quiet(Rebase),
];

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
