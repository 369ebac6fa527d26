//! Options of `lifecycle build` that people who move over from pack type without thinking (docs/pack.md).

use std::path::{Component, Path, PathBuf};

use clap::Args;
use lifecycle_image::Reference;

#[derive(Debug, Args)]
#[command(next_help_heading = "Options as pack spells them")]
pub(crate) struct PackArguments {
    /// Directory, or zip or jar file, with the application's source
    #[arg(long, short, value_name = "PATH", conflicts_with = "source")]
    pub(crate) path: Option<String>,
    /// The same as --output registry
    #[arg(long, conflicts_with = "output")]
    pub(crate) publish: bool,
    /// Image in a registry that keeps layers from one build to the next, in place of --cache
    #[arg(long, value_name = "IMAGE")]
    pub(crate) cache_image: Option<Reference>,
    /// User that builds and owns the app, in place of the builder's
    #[arg(long, value_name = "UID", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) uid: Option<u32>,
    /// Group of that user, in place of the builder's
    #[arg(long, value_name = "GID")]
    pub(crate) gid: Option<u32>,
    /// Where the build and the image have the app [default: /workspace]
    #[arg(long, value_name = "PATH", value_parser = parse_workspace)]
    pub(crate) workspace: Option<PathBuf>,
    /// Leave out the buildpacks that the builder puts around every group
    #[arg(long)]
    pub(crate) disable_system_buildpacks: bool,
    /// Save the SBOM files of the image in `launch` of this directory
    #[arg(long, value_name = "DIR")]
    pub(crate) sbom_output_dir: Option<PathBuf>,
    /// Save report.toml in this directory
    #[arg(long, value_name = "DIR")]
    pub(crate) report_output_dir: Option<PathBuf>,
    /// Changes nothing: no code of a builder ever sees a credential, so none needs to be trusted
    #[arg(long)]
    pub(crate) trust_builder: bool,
    /// Changes nothing, for the same reason
    #[arg(long)]
    pub(crate) trust_extra_buildpacks: bool,
}

/// Directories of a build that the app cannot have.
const TAKEN: [&str; 9] = [
    "/cnb",
    "/dev",
    "/etc",
    "/kaniko",
    "/layers",
    "/platform",
    "/proc",
    "/sys",
    "/lifecycle",
];

/// `--workspace`: a path in the image; pack takes it from the root, with or without a slash in front.
fn parse_workspace(text: &str) -> Result<PathBuf, String> {
    let path = Path::new("/").join(text);
    if path.components().any(|part| part == Component::ParentDir) || path.components().count() < 2 {
        return Err("it is a directory of the image, such as /app".to_owned());
    }
    // Without dots and doubled slashes, as it will be shown.
    let path: PathBuf = path.components().collect();
    match TAKEN.iter().find(|taken| path.starts_with(taken)) {
        Some(taken) => Err(format!("{taken} is needed for something else")),
        None => Ok(path),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::arguments::Arguments;

    const PAGE: &str = include_str!("../../../docs/pack.md");

    /// The words in backticks of a cell.
    fn words(cell: &str) -> Vec<&str> {
        cell.split('`').skip(1).step_by(2).collect()
    }

    #[test]
    fn workspaces_lie_in_the_image() {
        for (text, path) in [
            ("/app", Some("/app")),
            ("app", Some("/app")),
            ("/srv//./app/", Some("/srv/app")),
            ("/cnbs", Some("/cnbs")),
            ("", None),
            ("/", None),
            ("../app", None),
            ("/layers", None),
            ("/etc/app", None),
        ] {
            assert_eq!(
                parse_workspace(text).ok().as_deref(),
                path.map(Path::new),
                "{text}"
            );
        }
    }

    #[test]
    fn what_docs_pack_md_names_is_there() {
        let mut program = Arguments::command();
        program.build();
        let mut commands = 0;
        let mut options = 0;
        for line in PAGE.lines().filter(|line| line.starts_with("| ")) {
            let cells: Vec<&str> = line.trim_matches('|').split(" | ").collect();
            for word in words(cells.get(1).copied().unwrap_or_default()) {
                if let Some(option) = word.strip_prefix("--") {
                    let build = program.find_subcommand("build").unwrap();
                    let has = |argument: &clap::Arg| {
                        argument.get_long() == Some(option)
                            || argument
                                .get_all_aliases()
                                .is_some_and(|all| all.contains(&option))
                    };
                    assert!(
                        build.get_arguments().any(has),
                        "lifecycle build has no --{option}"
                    );
                    options += 1;
                } else if word != "lifecycle build" {
                    let mut command = &program;
                    for name in word.split(' ') {
                        command = command
                            .find_subcommand(name)
                            .unwrap_or_else(|| panic!("there is no command {word}"));
                    }
                    commands += 1;
                }
            }
        }
        assert!(
            commands > 10 && options > 25,
            "{commands} commands, {options} options"
        );
    }
}
