//! Comparing what a program said with what it should say.

use std::path::Path;

use snapbox::{Assert, Redactions};

use super::{Finished, Machine};

/// Holds what a program wrote to stderr against a snapshot in `tests/acceptance/snapshots`, in which `[DIRECTORY]` stands for the
/// machine's directory, `[STORE]` for its store, `[DIGEST]`, `[TIME]`, `[SIZE]` and `[PORT]` for what differs from run to run.
/// `SNAPSHOTS=overwrite cargo test` writes what is said now.
#[track_caller]
pub(crate) fn assert_matches(finished: &Finished, machine: &Machine, name: &str) {
    let mut redactions = Redactions::new();
    redactions.insert("[STORE]", machine.store().to_owned()).unwrap();
    redactions
        .insert(
            "[DIRECTORY]",
            machine
                .path("")
                .to_string_lossy()
                .trim_end_matches('/')
                .to_owned(),
        )
        .unwrap();
    for (placeholder, pattern) in [
        ("[DIGEST]", r"(?<redacted>sha256:[0-9a-f]{64})"),
        (
            "[TIME]",
            r"(?<redacted>[0-9]+(\.[0-9])? (ms|s|min( [0-9]+ s)?))([ ,)\n]|$)",
        ),
        ("[SIZE]", r"(?<redacted>[0-9]+(\.[0-9])? (B|kB|MB|GB))([ ,)\n]|$)"),
        ("[PORT]", r"127\.0\.0\.1:(?<redacted>[0-9]+)"),
    ] {
        redactions
            .insert(placeholder, regex::Regex::new(pattern).unwrap())
            .unwrap();
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/acceptance/snapshots")
        .join(name);
    let expected = snapbox::Data::read_from(&path, Some(snapbox::data::DataFormat::Text));
    let actual = snapbox::Data::text(finished.stderr());
    Assert::new()
        .action_env("SNAPSHOTS")
        .redact_with(redactions)
        .normalize_paths(false)
        .eq(actual, expected);
}
