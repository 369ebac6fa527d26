//! Makes the release of the programs that were built (`make dist`, docs/releasing.md).
//!
//! The same programs give the same bytes, whoever makes the release, when and where: entries are in a fixed order and
//! belong to root, there is one time for everything, and our own layers engine compresses. In the order of `make`:
//!
//! 1. [`Program`]: what was built, looked at: for which architecture, and really static.
//! 2. [`Crates`]: which crates are in each program, in three formats.
//! 3. [`tarball`]: `lifecycle-v<version>+linux.<arch>.tgz`, as pack and other platforms take it.
//! 4. [`images`]: the lifecycle as an image, and an image to run builds in.

mod busybox;
mod images;
mod program;
mod tarball;

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};
use fs_err as fs;
use lifecycle_image::Digest;
use lifecycle_sbom::{Crates, Document, Package};

use crate::busybox::Busybox;
use crate::program::Program;

/// The version of the release, that of the workspace.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Makes and checks releases of lifecycle.
#[derive(Debug, Parser)]
#[command(
    after_help = "Example:\n  lifecycle-dist make --program lifecycle --launcher launcher --out target/dist"
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make the release
    Make(Make),
    /// Say whether platforms would take a lifecycle tarball
    Check {
        /// The tarball
        tarball: PathBuf,
    },
}

#[derive(Debug, Args)]
struct Make {
    /// The lifecycle program
    #[arg(long)]
    program: PathBuf,
    /// The launcher
    #[arg(long)]
    launcher: PathBuf,
    /// Directory for the release
    #[arg(long)]
    out: PathBuf,
    /// A static busybox, for the debug image
    #[arg(long, default_value = "/bin/busybox")]
    busybox: PathBuf,
    /// Time of everything, in seconds since 1970 (`SOURCE_DATE_EPOCH`) [default: 1980-01-01T00:00:01Z]
    #[arg(long, default_value_t = 315_532_801, hide_default_value = true)]
    epoch: i64,
}

fn main() -> Result<()> {
    match Arguments::parse().command {
        Command::Make(make) => make.run(),
        Command::Check { tarball } => {
            let found = tarball::check(&tarball)?;
            say(&format!(
                "{} holds lifecycle {}",
                tarball.display(),
                found.version
            ))
        }
    }
}

impl Make {
    fn run(&self) -> Result<()> {
        let program = Program::read(&self.program)?;
        let launcher = Program::read(&self.launcher)?;
        launcher.check_size(program::LARGEST_LAUNCHER)?;
        let architecture = program.architecture_with(&launcher)?;
        let busybox = Busybox::find(&self.busybox)?;
        if let Some(busybox) = &busybox {
            program.architecture_with(&busybox.program)?;
        }
        let created = jiff::Timestamp::from_second(self.epoch)
            .with_context(|| format!("{} is not a time", self.epoch))?
            .to_string();
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let sbom = |name| -> Result<Vec<Document>> {
            let package = Package {
                name,
                target: &architecture.target(),
                default_features: true,
            };
            Ok(Crates::of("cargo", &root, package)?.documents(&created))
        };
        let release = Release {
            lifecycle_sboms: sbom("lifecycle")?,
            launcher_sboms: sbom("lifecycle-launcher")?,
            program,
            launcher,
            created,
            epoch: self.epoch,
        };

        fs::create_dir_all(&self.out)?;
        let suffix = format!("v{VERSION}+linux.{}", architecture.name);
        let tarball = self.out.join(format!("lifecycle-{suffix}.tgz"));
        tarball::write(&release, &tarball)?;
        tarball::check(&tarball)?;
        let lifecycle = self.out.join(format!("lifecycle-{suffix}.oci.tar"));
        images::lifecycle(&release, &architecture.platform(), &lifecycle)?;
        let executor = self.out.join(format!("executor-{suffix}.oci.tar"));
        images::executor(&release, None, &architecture.platform(), &executor)?;
        let mut files = vec![tarball, lifecycle, executor];
        let debug = self.out.join(format!("executor-debug-{suffix}.oci.tar"));
        if busybox.is_some() {
            images::executor(&release, busybox.as_ref(), &architecture.platform(), &debug)?;
            files.push(debug);
        } else {
            say(&format!(
                "{} is NOT made: there is no {}; install the package busybox-static, or name a static busybox with --busybox",
                debug.display(),
                self.busybox.display()
            ))?;
        }
        for file in &files {
            let bytes = fs::read(file)?;
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            let line = format!("{}  {name}\n", Digest::of(&bytes).hex());
            fs::write(self.out.join(format!("{name}.sha256")), line)?;
            say(&format!("{} ({} bytes)", file.display(), bytes.len()))?;
        }
        Ok(())
    }
}

/// What every artifact is made of.
#[derive(Debug)]
struct Release {
    program: Program,
    launcher: Program,
    lifecycle_sboms: Vec<Document>,
    launcher_sboms: Vec<Document>,
    /// The time of everything, as documents write it.
    created: String,
    /// The same in seconds since 1970.
    epoch: i64,
}

fn say(line: &str) -> Result<()> {
    writeln!(io::stdout(), "{line}").context("cannot write to standard output")
}
