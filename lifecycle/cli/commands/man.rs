//! `lifecycle man`

use std::path::Path;

use clap::CommandFactory;

use crate::arguments::Arguments;
use crate::failure::Failure;
use crate::session::Session;

pub(crate) fn run(directory: &Path, session: &Session) -> Result<(), Failure> {
    fs_err::create_dir_all(directory)?;
    clap_mangen::generate_to(Arguments::command(), directory)?;
    session
        .console
        .info(format!("wrote the manual pages into {}", directory.display()));
    Ok(())
}
