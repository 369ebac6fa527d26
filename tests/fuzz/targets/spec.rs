//! Every file and label of the specifications, and what programs of exec.d write.
#![no_main]

#[path = "../../../lifecycle/spec/tests/readers/mod.rs"]
mod readers;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    readers::read_all_documents(bytes);
    if let Ok(text) = str::from_utf8(bytes) {
        readers::read_all_labels(text);
    }
});
