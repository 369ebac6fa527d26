//! OCI and Docker archives, plain or compressed as a whole.
#![no_main]

mod headers;
mod images;

use libfuzzer_sys::fuzz_target;
use lifecycle_image::archive::Archive;

fuzz_target!(|bytes: &[u8]| {
    let spool = tempfile::tempdir().expect("a temporary directory");
    for bytes in [bytes, &headers::repair(bytes)] {
        match Archive::read(bytes, spool.path()) {
            Ok(archive) => images::read(archive.names(), |name| archive.named(name)),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
    assert_eq!(
        std::fs::read_dir(spool.path())
            .expect("the spool is there")
            .count(),
        0
    );
});
