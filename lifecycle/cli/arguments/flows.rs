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
            "path",
            "publish",
            // They say that they change nothing.
            "trust_builder",
            "trust_extra_buildpacks",
        ],
    },
    Taken {
        by: &[Buildpacks, Dockerfile],
        words: "builds on this machine",
        options: &["termination_message", "metadata_file", "iidfile"],
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
            "pre_buildpacks",
            "post_buildpacks",
            "extensions",
            "exec_env",
            "volume",
            "git_metadata",
            "cache_image",
            "uid",
            "gid",
            "workspace",
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
        ],
    },
    Taken {
        by: &[Dockerfile],
        words: "builds of a Dockerfile on this machine",
        options: &[
            "ssh",
            "contexts",
            "stack",
            "allow",
            "cdi_spec_dir",
            "memory",
            "cpus",
            "check",
        ],
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

impl Flow {
    pub(crate) fn of(is_dockerfile: bool, is_on_cluster: bool) -> Self {
        match (is_dockerfile, is_on_cluster) {
            (false, false) => Buildpacks,
            (true, false) => Dockerfile,
            (false, true) => BuildpacksOnCluster,
            (true, true) => DockerfileOnCluster,
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
            let Some(option) = self.first_of(taken.options) else {
                continue;
            };
            let message = format!("{option} means nothing to a build {}", flow.words());
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
            (&["--memory", "1g"], &[Dockerfile]),
            (&["--allow", "network.host"], &[Dockerfile]),
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
