//! Ignore files: the last line is a path, the lines before it are patterns. A walk that keeps what it knows of a
//! directory comes to the same result as a look at the whole path, and what it leaves out is ignored.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lifecycle_dockerfile::{Directory, Ignore};

fuzz_target!(|bytes: &[u8]| {
    let (patterns, path) = match bytes.iter().rposition(|&byte| byte == b'\n') {
        Some(at) => (&bytes[..at], &bytes[at + 1..]),
        None => (bytes, &b"a/b"[..]),
    };
    let Ok(ignore) = Ignore::parse(".dockerignore", patterns) else {
        return;
    };
    // Walks have names between slashes, never empty ones.
    let names: Vec<&[u8]> = path
        .split(|&byte| byte == b'/')
        .filter(|name| !name.is_empty())
        .collect();
    let path = names.join(&b'/');
    if path.is_empty() {
        return;
    }
    let mut directory = Directory::default();
    let mut skipped = false;
    for depth in 1..names.len() {
        let parent = names[..depth].join(&b'/');
        skipped |= ignore.skips(&directory, &parent);
        directory = ignore.enter(&directory, &parent);
    }
    assert_eq!(ignore.matches_in(&directory, &path), ignore.matches(&path));
    assert!(
        !skipped || ignore.matches(&path),
        "a walk would miss what is not ignored"
    );
});
