//! Dockerfiles: parsed, planned, checked, outlined, and every message drawn.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| lifecycle_dockerfile::exercise(bytes));
