//! Options of `lifecycle build` that people who move over from pack type without thinking (docs/pack.md).

use std::path::PathBuf;

use clap::Args;

#[derive(Debug, Args)]
#[command(next_help_heading = "Options as pack spells them")]
pub(crate) struct PackArguments {
    /// Directory with the application's source
    #[arg(long, short, value_name = "DIR", conflicts_with = "source")]
    pub(crate) path: Option<String>,
    /// The same as --output registry
    #[arg(long, conflicts_with = "output")]
    pub(crate) publish: bool,
    /// Save the SBOM files of the image below this directory
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

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use crate::arguments::Arguments;

    const PAGE: &str = include_str!("../../../docs/pack.md");

    /// The words in backticks of a cell.
    fn words(cell: &str) -> Vec<&str> {
        cell.split('`').skip(1).step_by(2).collect()
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
