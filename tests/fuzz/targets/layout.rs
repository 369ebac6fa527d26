//! OCI layouts, as directories: the input holds the layout's documents, the last one is `index.json`.
//!
//! Blobs are found by digest, so mutated documents would never be reached. Documents are therefore separated by empty
//! lines, and `@0` in a document stands for the digest of the first one, `#0` for its size in bytes.
#![no_main]

mod images;

use std::fs;

use libfuzzer_sys::fuzz_target;
use lifecycle_image::Digest;
use lifecycle_image::layout::Layout;

fuzz_target!(|text: &str| {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let blobs = directory.path().join("blobs/sha256");
    fs::create_dir_all(&blobs).expect("a directory for blobs");
    let mut known: Vec<(Digest, usize)> = Vec::new();
    let mut index = String::new();
    for document in text.split("\n\n").take(10) {
        index = document.to_owned();
        for (number, (digest, size)) in known.iter().enumerate() {
            index = index.replace(&format!("@{number}"), digest.as_str());
            index = index.replace(&format!("#{number}"), &size.to_string());
        }
        let digest = Digest::of(index.as_bytes());
        fs::write(blobs.join(digest.hex()), &index).expect("a blob is written");
        known.push((digest, index.len()));
    }
    fs::write(
        directory.path().join("oci-layout"),
        r#"{"imageLayoutVersion":"1.0.0"}"#,
    )
    .expect("a marker");
    fs::write(directory.path().join("index.json"), index).expect("an index");

    let layout = Layout::open(directory.path()).expect("it has the marker of a layout");
    images::read(vec!["a".to_owned(), "a/b:c".to_owned()], |name| {
        layout.named(name)
    });
});
