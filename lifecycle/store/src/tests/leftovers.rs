//! What is left of processes that ended without tidying up.

use std::fs;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};

use super::samples::{alone, make_old};
use crate::Store;

#[test]
fn the_next_process_removes_what_dead_ones_left_and_nothing_of_the_living() {
    let _alone = alone();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    let abandoned = {
        let store = Store::open(&path).unwrap();
        let scratch = store.scratch().unwrap();
        fs::create_dir(scratch.path().join("files")).unwrap();
        let abandoned = scratch.path().to_owned();
        scratch.abandon();
        abandoned
    };
    let partial = path.join("tmp/sha256-1.partial");
    fs::write(&partial, "half").unwrap();
    make_old(&path.join("tmp"));
    let living = Store::open(&path).unwrap();
    let scratch = living.scratch().unwrap();
    let store = Store::open(&path).unwrap();
    store.tidy_up();
    let begin = Instant::now();
    while abandoned.exists() && begin.elapsed() < Duration::from_mins(1) {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(!abandoned.exists());
    assert!(scratch.path().exists() && partial.exists());
}

#[test]
fn a_process_in_a_hurry_removes_what_it_has_open_or_abandoned() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&directory.path().join("s")).unwrap();
    let (open, abandoned) = (store.scratch().unwrap(), store.scratch().unwrap());
    let paths = [open.path().to_owned(), abandoned.path().to_owned()];
    abandoned.abandon();
    assert!(paths.iter().all(|path| path.exists()));
    store.live_scratch().remove_all();
    assert!(paths.iter().all(|path| !path.exists()));
}

#[test]
fn no_depth_of_what_a_step_left_ends_the_process_that_removes_it() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&directory.path().join("s")).unwrap();
    let scratch = store.scratch().unwrap();
    let mut here = OwnedFd::from(fs::File::open(scratch.path()).unwrap());
    // Half of a thread's stack for pointers alone.
    for _ in 0..100_000 {
        rustix::fs::mkdirat(&here, c"d", Mode::RWXU).unwrap();
        here = rustix::fs::openat(&here, c"d", OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).unwrap();
    }
    let path = scratch.path().to_owned();
    drop((here, scratch));
    assert!(!path.exists());
}
