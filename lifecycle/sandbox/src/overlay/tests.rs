use super::*;

fn layers(count: usize) -> (tempfile::TempDir, Overlay) {
    let temporary = tempfile::tempdir().unwrap();
    let directory = |name: String| {
        let path = temporary.path().join(name);
        std::fs::create_dir_all(&path).unwrap();
        path
    };
    // Longer than any option string could hold, with the characters that option strings trip over.
    let lower: Vec<_> = (0..count)
        .map(|n| directory(format!("{}:,\\{n}", "long".repeat(50))))
        .collect();
    for (number, path) in lower.iter().enumerate() {
        std::fs::write(path.join(format!("file-{number}")), number.to_string()).unwrap();
        std::fs::write(path.join("same"), number.to_string()).unwrap();
    }
    let changes = Changes {
        upper: directory("upper".into()),
        work: directory("work".into()),
    };
    (
        temporary,
        Overlay {
            lower,
            changes: Some(changes),
            user_xattr: false,
            volatile: false,
        },
    )
}

fn check(tree: &Tree, overlay: &Overlay) {
    let root = PathBuf::from(format!(
        "/proc/self/fd/{}",
        std::os::fd::AsFd::as_fd(tree).as_raw_fd()
    ));
    let last = overlay.lower.len() - 1;
    assert_eq!(
        std::fs::read_to_string(root.join("same")).unwrap(),
        "0",
        "the first layer is uppermost"
    );
    assert_eq!(
        std::fs::read_to_string(root.join(format!("file-{last}"))).unwrap(),
        last.to_string()
    );
    std::fs::write(root.join("new"), "x").unwrap();
    std::fs::remove_file(root.join("file-0")).unwrap();
    let upper = &overlay.changes.as_ref().unwrap().upper;
    let mut names: Vec<_> = std::fs::read_dir(upper)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["file-0", "new"]);
}

/// A mount needs CAP_SYS_ADMIN; without it the tests under `tests/` cover the user-namespace side.
fn may_mount() -> bool {
    let held = rustix::thread::capabilities(None).unwrap().effective;
    let may = held.contains(rustix::thread::CapabilitySet::SYS_ADMIN);
    if !may {
        eprintln!("skipped: mounting takes CAP_SYS_ADMIN");
    }
    may
}

#[test]
fn five_hundred_layers_with_awkward_paths() {
    if !may_mount() {
        return;
    }
    let (_temporary, overlay) = layers(MAX_LAYERS);
    check(&overlay.mount().unwrap(), &overlay);
}

#[test]
fn each_way_of_naming_layers_works() {
    if !may_mount() {
        return;
    }
    let (_temporary, overlay) = layers(3);
    check(
        &overlay
            .mount_by(&overlay.open().unwrap(), LayerArgument::Path)
            .unwrap(),
        &overlay,
    );
    let (_temporary, overlay) = layers(MAX_LAYERS);
    check(&overlay.mount_with_option_string().unwrap(), &overlay);
}

#[test]
fn refusals_are_explained() {
    let (_temporary, mut overlay) = layers(1);
    overlay.lower[0].push("missing");
    assert!(matches!(overlay.mount(), Err(OverlayError::Open { .. })));
    overlay.lower.clear();
    assert!(matches!(
        overlay.mount(),
        Err(OverlayError::LayerCount { count: 0 })
    ));
}
