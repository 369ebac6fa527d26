//! J. Ignore files.

use lifecycle_dockerfile::{Directory, Ignore};
use proptest::prelude::*;

fn ignore(text: &str) -> Ignore {
    Ignore::parse(".dockerignore", text).unwrap()
}

fn check(text: &str, ignored: &[&str], kept: &[&str]) {
    let ignore = ignore(text);
    for path in ignored {
        assert!(ignore.matches(path), "{text:?} should ignore {path}");
    }
    for path in kept {
        assert!(!ignore.matches(path), "{text:?} should keep {path}");
    }
}

#[test]
fn lines_j2() {
    check(
        "\u{feff}a\n# b\n # c\n  d  \n/e\n./f/../g\n\n",
        &["a", "# c", "d", "e", "g"],
        &["b", "# b", "c", "f"],
    );
    check("a\r\nb\r\n", &["a", "b"], &[]);
    let errors = Ignore::parse(".dockerignore", "a\n!\n[\nb\\\n").unwrap_err();
    let shown: Vec<String> = errors.iter().map(crate::build::show).collect();
    assert_eq!(
        shown,
        [
            "2:1 a lone ! excludes nothing",
            "3:1 syntax error in character class",
            "4:1 a backslash at the end escapes nothing"
        ]
    );
}

#[test]
fn patterns_anchor_at_the_root_j3() {
    check("*.log", &["a.log"], &["d/a.log"]);
    check("**/y.log", &["y.log", "a/y.log", "a/b/y.log"], &["xy.log"]);
    check("a/**/z", &["a/z", "a/b/c/z"], &["z", "a/zz"]);
    check("a?c", &["abc"], &["a/c", "ac", "abbc"]);
    check("[a-c]x\n[^a-c]y", &["ax", "dy"], &["dx", "ay"]);
}

#[test]
fn last_match_wins_and_parents_count_j3() {
    check("a\n!a/keep.txt", &["a", "a/x", "a/b/keep.txt"], &["a/keep.txt"]);
    check("!a/keep.txt\na", &["a/keep.txt"], &[]);
    check("**\n!a/keep.txt", &["a", "b", "a/x"], &["a/keep.txt"]);
    check("a\n!a/b\na/b/c", &["a/x", "a/b/c", "a/b/c/d"], &["a/b", "a/b/x"]);
}

#[test]
fn double_star_behind_a_directory_keeps_the_directory_j4() {
    check("a/**", &["a/b", "a/b/c"], &["a"]);
    check("a/*", &["a/b", "a/b/c"], &["a"]);
    check("a", &["a", "a/b"], &["ab"]);
}

#[test]
fn odd_characters_are_literal_j7() {
    check(
        "a|b\n{c,d}\ne^f\ng+h\n(i)\nj.k\n$l",
        &["a|b", "{c,d}", "e^f", "g+h", "(i)", "j.k", "$l"],
        &["a", "b", "c", "jxk"],
    );
    check("\\*\n\\?\n\\[a]", &["*", "?", "[a]"], &["x", "a"]);
}

#[test]
fn names_need_not_be_utf8_j2() {
    let ignore = Ignore::parse("f", b"caf\xe9\n*.\xff".as_slice()).unwrap();
    assert!(ignore.matches(b"caf\xe9") && ignore.matches(b"x.\xff") && !ignore.matches("café"));
    assert!(Ignore::from_patterns(["?"]).unwrap().matches(b"\xff"));
    assert!(Ignore::from_patterns(["?"]).unwrap().matches("ü"));
}

#[test]
fn walk_may_skip_what_nothing_brings_back_j3() {
    let root = Directory::default();
    let plain = ignore("node_modules\n**/target");
    assert!(
        plain.skips(&root, "node_modules") && plain.skips(&root, "a/target") && !plain.skips(&root, "src")
    );
    let negated = ignore("a\nb\n!a/keep");
    let inside = negated.enter(&root, "a");
    assert!(!negated.skips(&root, "a") && negated.skips(&root, "b") && negated.skips(&inside, "a/other"));
    assert!(!ignore("a\n!**/x").skips(&root, "a"));
    assert!(!ignore("a\n!a*/x").skips(&root, "a"));
}

fn pattern() -> impl Strategy<Value = String> {
    let element = prop::sample::select(vec![
        "a", "b", "ab", "*", "**", "?", "[ab]", "[^a]", "a*", "*b", "**a", "x.y",
    ]);
    (any::<bool>(), prop::collection::vec(element, 1..4))
        .prop_map(|(negated, elements)| format!("{}{}", if negated { "!" } else { "" }, elements.join("/")))
}

proptest! {
    /// A walk that remembers its directories finds what matching each path alone finds.
    #[test]
    fn walking_equals_matching(
        patterns in prop::collection::vec(pattern(), 1..5),
        elements in prop::collection::vec(prop::sample::select(vec!["a", "b", "ab", "x.y", "c"]), 1..5),
    ) {
        let ignore = Ignore::from_patterns(&patterns).unwrap();
        let mut directory = Directory::default();
        let mut skipped = false;
        for length in 1..=elements.len() {
            let path = elements[..length].join("/");
            let alone = ignore.matches(&path);
            prop_assert_eq!(ignore.matches_in(&directory, &path), alone, "{:?} {}", patterns, path);
            prop_assert!(alone || !skipped, "{:?} skipped what holds {}", patterns, path);
            skipped |= ignore.skips(&directory, &path);
            directory = ignore.enter(&directory, &path);
        }
    }

    #[test]
    fn any_bytes_are_read(bytes in prop::collection::vec(any::<u8>(), 0..200), path in prop::collection::vec(any::<u8>(), 0..40)) {
        if let Ok(ignore) = Ignore::parse("f", bytes) {
            ignore.matches(&path);
        }
    }
}
