//! The golden vectors of lifecycle.md 3.3: diff IDs that buildpacks/lifecycle gives the same contents.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use lifecycle_image::NoProgress;
use tempfile::TempDir;

use super::*;
use crate::{Contents, Owner, hash};

const CNB: Owner = Owner::new(1234, 1000);
const ROOT_PARENTS: Parents = Parents::Fixed {
    mode: 0o755,
    owner: Owner::ROOT,
};

fn assert_golden(contents: &dyn Contents, diff_id: &str, size: u64) {
    let (actual, actual_size) = hash(contents, &NoProgress).unwrap();
    assert_eq!(
        (actual.as_str(), actual_size),
        (&*format!("sha256:{diff_id}"), size)
    );
}

fn write(root: &Path, path: &str, content: &str, mode: u32) {
    let path = root.join(path);
    make_directory(path.parent().unwrap(), 0o755);
    fs::write(&path, content).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
}

fn make_directory(path: &Path, mode: u32) {
    if !path.exists() {
        fs::create_dir_all(path).unwrap();
    }
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// Fixture F.
fn fixture() -> TempDir {
    let root = tempfile::tempdir().unwrap();
    make_directory(root.path(), 0o755);
    write(root.path(), "a/c", "one\n", 0o644);
    write(root.path(), "a-b/d", "two\n", 0o644);
    symlink("../a/c", root.path().join("a-b/link")).unwrap();
    make_directory(&root.path().join("empty"), 0o2755);
    fs::hard_link(root.path().join("a/c"), root.path().join("hard")).unwrap();
    write(root.path(), "setuid", "x", 0o4755);
    write(root.path(), "zero", "", 0o644);
    root
}

fn directory(root: &TempDir, at: &str) -> DirectoryLayer {
    DirectoryLayer::new(root.path(), at)
        .owners(Owners::Fixed(CNB))
        .parents(ROOT_PARENTS)
}

#[test]
fn golden_upstream_directory_layer() {
    let root = tempfile::tempdir().unwrap();
    make_directory(root.path(), 0o755);
    write(root.path(), "data", "digest-not-match-data\n", 0o644);
    let contents = directory(&root, "/layers/corrupted_buildpack/corrupted-layer").parents(Parents::Fixed {
        mode: 0o755,
        owner: CNB,
    });
    assert_golden(
        &contents,
        "258dfa0cc987efebc17559694866ebc91139e7c0e574f60d1d4092f53d7dff59",
        3584,
    );
}

#[test]
fn golden_directory_layer() {
    assert_golden(
        &directory(&fixture(), "/layers/bp_a/lay"),
        "c6ab8075ff6aadd34608257dc91686ec3164fad652f8f852c7da04bc604e0e20",
        9216,
    );
}

#[test]
fn golden_app_layer() {
    let root = fixture();
    let contents = AppLayer::new(root.path(), "/workspace")
        .owners(Owners::Fixed(CNB))
        .parents(ROOT_PARENTS);
    assert_golden(
        &contents,
        "6787ad707e5fd6686e60c595a98934bd8d667089b6d0578e18ca525792d4d80d",
        8192,
    );
}

#[test]
fn golden_edge_names() {
    let root = tempfile::tempdir().unwrap();
    make_directory(root.path(), 0o755);
    let many = |letter: &str, count| letter.repeat(count);
    for path in [
        many("n", 85),
        many("m", 86),
        format!("{}/{}", many("d", 60), many("f", 60)),
        format!("{}/{}", many("d", 140), many("f", 90)),
        format!("{}/{}", many("d", 150), many("f", 90)),
        "café".into(),
        "sp ace".into(),
    ] {
        write(root.path(), &path, "x", 0o644);
    }
    for (name, target) in [
        ("sl100", many("t", 100)),
        ("sl101", many("t", 101)),
        ("slutf", "é".into()),
    ] {
        symlink(target, root.path().join(name)).unwrap();
    }
    assert_golden(
        &directory(&root, "/layers/bp_a/e"),
        "b5372cf66b2295b8f96774056a72d4cbaf2a66a188f88d67309bb4224837356a",
        18944,
    );
}

#[test]
fn golden_launcher_layer() {
    let contents = FilesLayer::new("launcher", Style::Reference).file(
        "/cnb/lifecycle/launcher",
        0o755,
        &b"launcher\n"[..],
    );
    assert_golden(
        &contents,
        "29ab6994a205a7ca19089f346ccd2ef69bbf4f321758ff6e0685970210d5e9b4",
        3072,
    );
    let root = tempfile::tempdir().unwrap();
    write(root.path(), "launcher", "launcher\n", 0o600);
    let copied = FilesLayer::new("launcher", Style::Reference).copy(
        "/cnb/lifecycle/launcher",
        0o755,
        root.path().join("launcher"),
    );
    assert_eq!(
        hash(&contents, &NoProgress).unwrap(),
        hash(&copied, &NoProgress).unwrap()
    );
}

#[test]
fn golden_process_types() {
    let target = "/cnb/lifecycle/launcher";
    let contents = FilesLayer::new("process types", Style::Reference)
        .symlink("/cnb/process/web", target, 0o755)
        .symlink("/cnb/process/worker", target, 0o755);
    assert_golden(
        &contents,
        "c32b6c6d08c5d84a980a518d1dd9093c22b9e003f2b6b468f12fe1e7cd918b3f",
        3072,
    );
}

#[test]
fn golden_large_owner() {
    let contents = FilesLayer::new("layers", Style::Reference)
        .owner(Owner::new(3_000_000, 2_097_151))
        .directory("/layers", 0o755);
    assert_golden(
        &contents,
        "5dd0ac4dc60528abce1f6b367cfd9dcf7bdb6e18337c1626ae761491b3b2b220",
        2560,
    );
}

const EMPTY: &str = "5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef";

#[test]
fn golden_empty_slice_and_empty_cache_layer() {
    let root = fixture();
    let nothing = Glob::new("absent", "/workspace").unwrap().into_iter().collect();
    let slices = AppLayer::new(root.path(), "/workspace").slice(vec![nothing]);
    assert_golden(&slices[0], EMPTY, 1024);
    assert_golden(&FilesLayer::new("cache", Style::Reference), EMPTY, 1024);
}

/// The names in each slice of a tree.
fn slices(files: &[&str], patterns: &[&[&str]]) -> Vec<Vec<String>> {
    let root = tempfile::tempdir().unwrap();
    for file in files {
        match file.strip_suffix('/') {
            Some(directory) => make_directory(&root.path().join(directory), 0o755),
            None => write(root.path(), file, "x", 0o644),
        }
    }
    let patterns = patterns
        .iter()
        .map(|slice| {
            slice
                .iter()
                .filter_map(|pattern| Glob::new(pattern, "/app/src").unwrap())
                .collect()
        })
        .collect();
    AppLayer::new(root.path(), "/app/src")
        .parents(ROOT_PARENTS)
        .slice(patterns)
        .iter()
        .map(|slice| {
            let mut tar = Vec::new();
            slice.write(&mut tar).unwrap();
            let mut reader = crate::TarReader::new(tar.as_slice());
            let mut names = Vec::new();
            while let Some(entry) = reader.next_entry().unwrap() {
                names.push(String::from_utf8(entry.path).unwrap().replace("/app/src", "~"));
            }
            names
        })
        .collect()
}

#[test]
fn slices_take_files_once_and_carry_their_parents_slc_02_slc_03_slc_04() {
    let files = [
        "static/a",
        "static/deep/b",
        "static-x",
        "lib/x.rb",
        "lib/y.py",
        "none/",
        "z",
    ];
    assert_eq!(
        slices(&files, &[&["*/*.rb"], &["static", "lib/*"]]),
        [
            vec!["/app", "~", "~/lib", "~/lib/x.rb"],
            vec![
                "/app",
                "~",
                "~/lib",
                "~/lib/y.py",
                "~/static",
                "~/static/a",
                "~/static/deep",
                "~/static/deep/b"
            ],
            vec!["/app", "~", "~/none", "~/static-x", "~/z"],
        ]
    );
}

#[test]
fn slice_of_everything_leaves_an_empty_rest_slc_04() {
    let all = slices(&["a/b", "c"], &[&["."], &["a"]]);
    assert_eq!(all[0], ["/app", "~", "~/a", "~/a/b", "~/c"]);
    assert!(all[1].is_empty() && all[2].is_empty());
}

#[test]
fn absolute_slices_are_made_relative_x_21() {
    let all = slices(&["a/b", "c"], &[&["/app/src/a", "/etc", "/c"]]);
    assert_eq!(all, [vec!["/app", "~", "~/a", "~/a/b"], vec!["/app", "~", "~/c"]]);
}

#[test]
fn slices_of_an_empty_application_hold_its_directory_in_the_rest() {
    let all = slices(&[], &[&["*"]]);
    assert_eq!(all, [vec![], vec!["/app", "~"]]);
}
