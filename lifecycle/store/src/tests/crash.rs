//! Processes that share a store, and processes that are killed.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use lifecycle_image::{NoProgress, Source};
use lifecycle_layers::{Ownership, Refused, Whiteouts};

use super::samples::{Remote, files, image_of, linux, pack, prune, read, spawning, write};
use crate::{Expected, Prune, Sharing, Store, TreeForm};

/// Tells a child what to do: a store's directory, a number of rounds, and a seed.
const TASK: &str = "LIFECYCLE_STORE_TEST_TASK";

fn work_in_child(store: &Path, rounds: u64, seed: u64) -> Child {
    let _spawning = spawning();
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "tests::crash::child", "--nocapture"])
        .env(TASK, format!("{rounds} {seed} {}", store.display()))
        .stdout(Stdio::null())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap()
}

/// Does what [`TASK`] says; without a task, as one of many tests, it does one round in a store of its own.
#[test]
fn child() {
    #[expect(
        clippy::disallowed_methods,
        reason = "a test's child is told by its environment"
    )]
    let task = std::env::var(TASK);
    match task {
        Ok(task) => {
            let mut words = task.splitn(3, ' ');
            let mut number = || words.next().unwrap().parse().unwrap();
            let (rounds, seed) = (number(), number());
            work(Path::new(words.next().unwrap()), rounds, seed);
        }
        Err(_) => work(tempfile::tempdir().unwrap().path(), 1, 0),
    }
}

/// Does everything that a store is for, again and again.
fn work(directory: &Path, rounds: u64, seed: u64) {
    let form = TreeForm {
        whiteouts: Whiteouts::Literal,
        ownership: Ownership::Squash,
        refused: Refused::Skip,
        ..TreeForm::default()
    };
    for round in seed..seed + rounds {
        let store = Store::open(directory).unwrap();
        let same = pack(&store, files("same", "for all"), Expected::here());
        let own = pack(&store, files("own", &round.to_string()), Expected::New);
        store
            .fetch(&Remote::new(round % 5, 400_000), &NoProgress)
            .unwrap();
        let image = image_of(&[same, own]);
        write(&store, &image, &format!("r.test/app:{}", round % 7));
        for tree in store.root(&image, form, &NoProgress).unwrap() {
            assert!(tree.path.join("etc").is_dir());
        }
        for layer in image.layers() {
            read(&**layer).unwrap();
        }
        drop(store.cache("cache", Sharing::Shared).unwrap());
        if round % 4 == 0 {
            let all = Prune {
                grace: Duration::ZERO,
                unused_for: Some(Duration::ZERO),
                max_size: Some(500_000),
                images: true,
                dry_run: false,
            };
            store.prune(&all).unwrap();
            for layer in image.layers() {
                read(&**layer).unwrap();
            }
        }
    }
}

fn check(directory: &Path) {
    let store = Store::open(directory).unwrap();
    assert_eq!(store.verify(false).unwrap().damage, []);
    for named in store.images().unwrap() {
        let image = store.image(&named.name, &linux()).unwrap();
        for layer in image.layers() {
            read(&**layer).unwrap();
        }
    }
}

#[test]
fn processes_share_a_store_and_prune_under_each_other() {
    let directory = tempfile::tempdir().unwrap();
    let store = directory.path().join("store");
    let children: Vec<_> = (0..4).map(|seed| work_in_child(&store, 6, seed * 100)).collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    check(&store);
    assert_eq!(Store::open(&store).unwrap().usage().unwrap().temporary.count, 0);
}

#[test]
fn killed_at_any_moment_a_store_holds_nothing_wrong_u12() {
    let directory = tempfile::tempdir().unwrap();
    let store = directory.path().join("store");
    for round in 0..25 {
        let mut children = [
            work_in_child(&store, 1000, round * 1000),
            work_in_child(&store, 1000, round * 1000 + 3),
        ];
        // Not random, but at another moment each time.
        thread::sleep(Duration::from_millis(5 + round * 11));
        for child in &mut children {
            assert!(
                child.try_wait().unwrap().is_none(),
                "it failed before it was killed"
            );
            child.kill().unwrap();
            child.wait().unwrap();
        }
        check(&store);
    }
    // Whatever was left behind is garbage, and a prune knows it.
    super::samples::make_old(&store);
    let opened = Store::open(&store).unwrap();
    prune(&opened, &Prune::default());
    assert_eq!(opened.usage().unwrap().temporary.count, 0);
    drop(opened);
    work(&store, 3, 9);
    check(&store);
}
