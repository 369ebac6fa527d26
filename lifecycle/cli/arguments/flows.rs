//! `lifecycle build` is one command and four kinds of build. An option that means nothing to the one that is asked for
//! would be a wish that nobody hears, so it is an error.

use clap::parser::ValueSource;
use clap::{ArgMatches, Args, Command, FromArgMatches};

use self::Flow::{Buildpacks, BuildpacksOnCluster, Dockerfile, DockerfileOnCluster};
use super::BuildArguments;
use crate::failure::Failure;

/// The kinds of build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flow {
    /// With buildpacks, on this machine.
    Buildpacks,
    /// Of a Dockerfile, on this machine.
    Dockerfile,
    /// With buildpacks, on a cluster.
    BuildpacksOnCluster,
    /// Of a Dockerfile, on a cluster.
    DockerfileOnCluster,
}

/// Options that the same builds take.
struct Taken {
    by: &'static [Flow],
    words: &'static str,
    /// The names of the options as clap knows them: mostly those of the fields.
    options: &'static [&'static str],
}

/// Every option of `lifecycle build`, by the builds that do something about it. A new one is added here, too.
const TABLE: &[Taken] = &[
    Taken {
        by: &[Buildpacks, Dockerfile, BuildpacksOnCluster, DockerfileOnCluster],
        words: "every build",
        options: &[
            "source",
            "tags",
            "output",
            "platforms",
            "creation_time",
            "digest_file",
            "termination_message",
            "metadata_file",
            "iidfile",
            "path",
            "publish",
            // They say that they change nothing.
            "trust_builder",
            "trust_extra_buildpacks",
        ],
    },
    Taken {
        by: &[BuildpacksOnCluster, DockerfileOnCluster],
        words: "builds on a cluster",
        options: &[
            "on",
            "kubeconfig",
            "kube_context",
            "namespace",
            "executor_image",
            "send_source",
            "source_limit",
            "gitignore",
            "registry_secret",
            "registry_config",
            "ca_config_map",
            "pull_secret",
            "service_account",
            "pod_security",
            "pod_user",
            "pod_cpu",
            "pod_memory",
            "ephemeral_storage",
            "node_selector",
            "toleration",
            "priority_class",
            "runtime_class",
            "job_label",
            "job_annotation",
            "timeout",
            "retries",
            "ttl",
            "suspend",
            "queue",
            "follow",
            "detach",
            "on_interrupt",
        ],
    },
    Taken {
        by: &[Buildpacks, BuildpacksOnCluster],
        words: "builds with buildpacks",
        options: &[
            "buildpacks_only",
            "builder",
            "buildpacks",
            "pre_buildpacks",
            "post_buildpacks",
            "exec_env",
            "cache_image",
            "uid",
            "gid",
            "workspace",
            "env",
            "env_file",
            "clear_cache",
            "run_image",
            "process",
            "previous_image",
            "descriptor",
        ],
    },
    Taken {
        by: &[Buildpacks],
        words: "builds with buildpacks on this machine",
        options: &[
            "extensions",
            "volume",
            "git_metadata",
            "disable_system_buildpacks",
            "sbom_output_dir",
            "report_output_dir",
        ],
    },
    Taken {
        by: &[Dockerfile, DockerfileOnCluster],
        words: "builds of a Dockerfile",
        options: &[
            "dockerfile",
            "build_args",
            "target",
            "labels",
            "secrets",
            "no_cache",
            "cache_from",
            "cache_to",
            "isolation",
            "shm_size",
            "hosts",
            "contexts",
            "allow",
            "memory",
            "cpus",
        ],
    },
    Taken {
        by: &[Dockerfile],
        words: "builds of a Dockerfile on this machine",
        options: &["ssh", "stack", "cdi_spec_dir", "check"],
    },
    Taken {
        by: &[Buildpacks, Dockerfile, DockerfileOnCluster],
        words: "builds on this machine, and those of a Dockerfile on a cluster",
        options: &["network", "annotations", "attest", "sbom", "provenance"],
    },
    Taken {
        by: &[Buildpacks, BuildpacksOnCluster, DockerfileOnCluster],
        words: "builds with buildpacks, and those on a cluster",
        options: &["cache", "dry_run"],
    },
];

/// Why a pod cannot follow options that a build of the same kind takes here.
const NOT_IN_A_POD: &[(&str, &str)] = &[
    (
        "extensions",
        "a Job has no step that extends images: that takes root",
    ),
    ("volume", "a pod sees no directory of this machine"),
    ("git_metadata", "the source goes there without its repository"),
    (
        "disable_system_buildpacks",
        "the builder's own lifecycle decides about them, and not every one can be told",
    ),
    (
        "sbom_output_dir",
        "the files are in the image: `lifecycle sbom registry:IMAGE --directory DIR` saves them",
    ),
    ("report_output_dir", "report.toml ends with the pod"),
    ("ssh", "the socket of an agent does not reach into a pod"),
    (
        "stack",
        "a stack is made in the store of this machine; push its images, and name them with --build-context",
    ),
    ("cdi_spec_dir", "devices are those that the pod has"),
    ("check", "it needs no cluster"),
    (
        "network",
        "the network of buildpacks is that of the pod, which a NetworkPolicy limits",
    ),
    ("annotations", "the exporter of a builder writes none"),
    ("attest", "the exporter of a builder writes none"),
    (
        "sbom",
        "the exporter of a builder writes none; the buildpacks' own are in the image",
    ),
    ("provenance", "the exporter of a builder writes none"),
];

impl Flow {
    fn is_on_cluster(self) -> bool {
        matches!(self, BuildpacksOnCluster | DockerfileOnCluster)
    }

    pub(crate) fn of(is_dockerfile: bool, is_on_cluster: bool) -> Self {
        match (is_dockerfile, is_on_cluster) {
            (false, false) => Buildpacks,
            (true, false) => Dockerfile,
            (false, true) => BuildpacksOnCluster,
            (true, true) => DockerfileOnCluster,
        }
    }

    /// The same kind of build on this machine.
    fn here(self) -> Self {
        match self {
            Buildpacks | BuildpacksOnCluster => Buildpacks,
            Dockerfile | DockerfileOnCluster => Dockerfile,
        }
    }

    fn words(self) -> &'static str {
        match self {
            Buildpacks => "with buildpacks",
            Dockerfile => "of a Dockerfile",
            BuildpacksOnCluster => "with buildpacks on a cluster",
            DockerfileOnCluster => "of a Dockerfile on a cluster",
        }
    }

    /// What turns this build into the nearest one of those.
    fn way_to(self, flows: &[Flow]) -> Option<&'static str> {
        let (other_kind, other_place) = match self {
            Buildpacks => (Dockerfile, BuildpacksOnCluster),
            Dockerfile => (Buildpacks, DockerfileOnCluster),
            BuildpacksOnCluster => (DockerfileOnCluster, Buildpacks),
            DockerfileOnCluster => (BuildpacksOnCluster, Dockerfile),
        };
        if flows.contains(&other_kind) {
            return Some(match other_kind {
                Dockerfile | DockerfileOnCluster => "--dockerfile asks for one",
                Buildpacks | BuildpacksOnCluster => "--buildpacks-only asks for one",
            });
        }
        flows.contains(&other_place).then_some(match other_place {
            BuildpacksOnCluster | DockerfileOnCluster => "--on kubernetes asks for one",
            Buildpacks | Dockerfile => "leave out --on kubernetes for one",
        })
    }
}

/// The options that were written on the command line, of those in the table.
#[derive(Debug, Clone, Default)]
pub(crate) struct Given(Vec<&'static str>);

impl Given {
    /// Refuses what means nothing to this build.
    pub(crate) fn suit(&self, flow: Flow) -> Result<(), Failure> {
        let strangers = TABLE.iter().filter(|taken| !taken.by.contains(&flow));
        for taken in strangers {
            let Some(id) = self.0.iter().find(|id| taken.options.contains(id)) else {
                continue;
            };
            let option = as_written(id);
            let message = format!("{option} means nothing to a build {}", flow.words());
            if flow.is_on_cluster()
                && taken.by.contains(&flow.here())
                && let Some((_, why)) = NOT_IN_A_POD.iter().find(|(other, _)| other == id)
            {
                return Err(Failure::new("option", format!("{message}: {why}"))
                    .help("leave it out, or build here, without --on kubernetes")
                    .with_code(2));
            }
            let way = flow
                .way_to(taken.by)
                .map(|way| format!(": {way}"))
                .unwrap_or_default();
            return Err(Failure::new("option", message)
                .help(format!("it is for {}{way}", taken.words))
                .with_code(2));
        }
        Ok(())
    }

    /// The first of these that was given, as people write it.
    #[cfg(feature = "kubernetes")]
    pub(crate) fn first_of(&self, options: &[&str]) -> Option<String> {
        let option = self.0.iter().find(|option| options.contains(option))?;
        Some(as_written(option))
    }
}

/// An option under the name that people write.
fn as_written(option: &str) -> String {
    let command = BuildArguments::augment_args(Command::new("build"));
    let long = command
        .get_arguments()
        .find(|argument| argument.get_id() == option)
        .and_then(clap::Arg::get_long);
    format!("--{}", long.unwrap_or(option))
}

/// It only watches: it has no option of its own.
impl Args for Given {
    fn augment_args(command: Command) -> Command {
        command
    }

    fn augment_args_for_update(command: Command) -> Command {
        command
    }
}

impl FromArgMatches for Given {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let is_given = |option: &&str| matches.value_source(option) == Some(ValueSource::CommandLine);
        let options = TABLE.iter().flat_map(|taken| taken.options).copied();
        Ok(Self(options.filter(|option| is_given(option)).collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::{CommandFactory, Parser};

    use super::*;
    use crate::arguments::{Arguments, Command as Ours};

    #[test]
    fn every_option_of_build_is_of_one_row() {
        let program = Arguments::command();
        let build = program.find_subcommand("build").unwrap();
        let ids: BTreeSet<&str> = build
            .get_arguments()
            .map(|argument| argument.get_id().as_str())
            .collect();
        let rows: Vec<&str> = TABLE.iter().flat_map(|taken| taken.options).copied().collect();
        let unique: BTreeSet<&str> = rows.iter().copied().collect();
        assert_eq!(unique, ids);
        assert_eq!(rows.len(), unique.len(), "an option is in two rows");
    }

    #[test]
    fn what_a_pod_cannot_follow_has_a_reason_and_nothing_else_has() {
        let mut expected = BTreeSet::new();
        for flow in [BuildpacksOnCluster, DockerfileOnCluster] {
            let refused = TABLE
                .iter()
                .filter(|taken| taken.by.contains(&flow.here()) && !taken.by.contains(&flow));
            expected.extend(refused.flat_map(|taken| taken.options).copied());
        }
        let reasons: BTreeSet<&str> = NOT_IN_A_POD.iter().map(|(option, _)| *option).collect();
        assert_eq!(reasons, expected);
    }

    fn given(words: &[&str]) -> Given {
        let words = [&["lifecycle", "build", "-t", "x"], words].concat();
        let Ours::Build(arguments) = Arguments::try_parse_from(words).unwrap().command else {
            panic!("it is another command");
        };
        arguments.given
    }

    #[test]
    fn options_of_other_builds_are_refused_by_name() {
        let everywhere = [Buildpacks, Dockerfile, BuildpacksOnCluster, DockerfileOnCluster];
        let cases: [(&[&str], &[Flow]); 13] = [
            (&[], &everywhere),
            (&["--platform", "linux/amd64"], &everywhere),
            (&["--label", "a=b"], &[Dockerfile, DockerfileOnCluster]),
            (&["--build-arg", "A"], &[Dockerfile, DockerfileOnCluster]),
            (&["--add-host", "a:1.2.3.4"], &[Dockerfile, DockerfileOnCluster]),
            (&["--memory", "1g"], &[Dockerfile, DockerfileOnCluster]),
            (&["--ssh", "default"], &[Dockerfile]),
            (&["--cdi-spec-dir", "cdi"], &[Dockerfile]),
            (&["--env", "A"], &[Buildpacks, BuildpacksOnCluster]),
            (&["--volume", "/a:/b"], &[Buildpacks]),
            (
                &["--annotation", "a=b"],
                &[Buildpacks, Dockerfile, DockerfileOnCluster],
            ),
            (
                &["--network", "none"],
                &[Buildpacks, Dockerfile, DockerfileOnCluster],
            ),
            // An option with its default value is given, too.
            (&["--ttl", "60"], &[BuildpacksOnCluster, DockerfileOnCluster]),
        ];
        for (words, by) in cases {
            for flow in everywhere {
                let suited = given(words).suit(flow);
                assert_eq!(suited.is_ok(), by.contains(&flow), "{words:?} {flow:?}");
                if let Err(failure) = suited {
                    let diagnostic = failure.diagnostic.unwrap();
                    assert!(diagnostic.message.starts_with(words[0]), "{}", diagnostic.message);
                    assert_eq!(failure.code, 2);
                }
            }
        }
    }
}
