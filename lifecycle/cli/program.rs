//! This program, for whoever starts it once more or puts it into an image.

use lifecycle_platform::Program;
use lifecycle_sbom::{Crates, Document};

/// The launcher that every app image gets.
static LAUNCHER: &[u8] = include_bytes!(env!("LAUNCHER"));

/// Which crates are in the launcher, and which in this program.
static LAUNCHER_CRATES: &str = include_str!(concat!(env!("OUT_DIR"), "/lifecycle-launcher.crates.json"));
static OWN_CRATES: &str = include_str!(concat!(env!("OUT_DIR"), "/lifecycle.crates.json"));

/// The time of the documents about them, as a release has it.
const DOCUMENTED: &str = "1980-01-01T00:00:01Z";

/// This program, also when its path leads to another one by now.
pub(crate) const OWN_PROGRAM: &str = "/proc/self/exe";

/// This program as the phases of a build.
pub(crate) fn own_program() -> Program {
    Program {
        file: OWN_PROGRAM.into(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        launcher: LAUNCHER.into(),
        launcher_sboms: documents(LAUNCHER_CRATES),
    }
}

/// The SBOMs of this program.
pub(crate) fn own_sboms() -> Vec<Document> {
    documents(OWN_CRATES)
}

#[expect(clippy::expect_used, reason = "no input: the build script wrote the list")]
fn documents(crates: &str) -> Vec<Document> {
    let crates = Crates::parse(crates).expect("a list of crates");
    crates.documents(DOCUMENTED)
}
