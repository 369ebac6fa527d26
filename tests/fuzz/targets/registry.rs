//! What registries answer, and files of credentials.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| lifecycle_registry::exercise(bytes));
