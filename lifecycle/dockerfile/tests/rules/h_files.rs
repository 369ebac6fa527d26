//! H. COPY and ADD, as far as the language decides.

use lifecycle_dockerfile::{Chmod, CopySource, Ignore};

use crate::build::Build;

fn sources(text: &str) -> String {
    format!("{:?}", Build::on_base(text).copy().sources)
}

fn destination(text: &str) -> String {
    Build::on_base(text).copy().destination
}

#[test]
fn sources_are_clamped_to_the_root_h1() {
    assert_eq!(
        sources("COPY ../a /b ./c/ d/../../e x/"),
        r#"[Path("/a"), Path("/b"), Path("/c"), Path("/e")]"#
    );
}

#[test]
fn destinations_h8() {
    for (text, expected) in [
        ("COPY a /d", "/d"),
        ("COPY a /d/", "/d/"),
        ("WORKDIR /w\nCOPY a d", "/w/d"),
        ("WORKDIR /w\nCOPY a d/.", "/w/d/."),
        ("WORKDIR /w\nCOPY a .", "/w/"),
        ("WORKDIR /w\nCOPY a ..", "/"),
    ] {
        assert_eq!(destination(text), expected, "{text}");
    }
}

#[test]
fn several_sources_need_no_slash_h9() {
    assert_eq!(destination("COPY a b c /d"), "/d");
}

#[test]
fn owner_is_passed_on_as_written_h14() {
    assert_eq!(
        Build::on_base("COPY --chown=bin: a b").copy().chown.as_deref(),
        Some("bin:")
    );
    assert_eq!(Build::on_base("COPY --chown=$NOTHING a b").copy().chown, None);
}

#[test]
fn chmod_octal_and_symbolic_h16() {
    assert_eq!(
        Build::on_base("COPY --chmod=0755 a b").copy().chmod,
        Some(Chmod::Octal(0o755))
    );
    let symbolic = Build::on_base("COPY --chmod=u=rwX,go=rX a b")
        .copy()
        .chmod
        .unwrap();
    assert_eq!(symbolic.apply(0o600, true), 0o755);
    let error = Build::on_base("COPY --chmod=99999 a b").error();
    assert!(
        error.starts_with("2:6 invalid chmod parameter: '99999'"),
        "{error}"
    );
    assert!(Build::on_base("COPY --chmod=rwx a b").error().contains("'rwx'"));
}

#[test]
fn history_shows_chown_chmod_parents_only_h20() {
    let build = Build::on_base("COPY --link --from=other --exclude=x --chown=1 --chmod=1 --parents a /b");
    assert_eq!(
        build.history(),
        ["COPY --parents --chown=1 --chmod=1 a /b # buildkit"]
    );
    assert!(build.copy().link);
}

#[test]
fn exclude_patterns_are_relative_to_each_source_h21() {
    let exclude = Build::on_base("COPY --exclude=*.txt --exclude=!keep.txt a b")
        .copy()
        .exclude;
    let ignore = Ignore::from_patterns(&exclude).unwrap();
    assert!(ignore.matches("a.txt") && !ignore.matches("d/a.txt") && !ignore.matches("keep.txt"));
    let deep = Ignore::from_patterns(["**/*.txt"]).unwrap();
    assert!(deep.matches("a.txt") && deep.matches("d/e/a.txt"));
}

#[test]
fn parents_pivot_h23() {
    for (source, root, pattern, required) in [
        ("a/b/c", "/", "a/b/c", true),
        ("a/./b/c", "/a", "b/c", true),
        ("./a/./b", "/a", "b", true),
        ("a/./**/x", "/a", "**/x", false),
        ("/a/b", "/", "a/b", true),
    ] {
        let copy = Build::on_base(&format!("COPY --parents {source} /d")).copy();
        let expected = CopySource::Parents {
            root: root.to_owned(),
            pattern: pattern.to_owned(),
            required,
        };
        assert_eq!(copy.sources, [expected], "{source}");
    }
}

#[test]
fn unpack_is_passed_on_h26() {
    for (flag, expected) in [
        ("", None),
        ("--unpack", Some(true)),
        ("--unpack=false", Some(false)),
    ] {
        assert_eq!(
            Build::on_base(&format!("ADD {flag} a b")).copy().unpack,
            expected,
            "{flag}"
        );
    }
}

#[test]
fn addresses_are_for_add_only_h27() {
    assert_eq!(
        sources("ADD https://host.test/a/b.tgz?x /d"),
        r#"[Http { url: "https://host.test/a/b.tgz?x", file_name: "b.tgz", checksum: None }]"#
    );
    assert!(
        Build::on_base("COPY https://host.test/a b")
            .error()
            .starts_with("2:6 source can't be a URL for COPY")
    );
    assert!(
        Build::on_base("COPY git@host.test:a b")
            .error()
            .contains("source can't be a git ref for COPY")
    );
}

#[test]
fn checksum_is_for_one_remote_source_h28() {
    for (text, message) in [
        (
            "--checksum=sha256:0 a b",
            "checksum requires HTTP(S) or Git sources",
        ),
        (
            "--checksum=sha256:0 https://host.test/a https://host.test/b c",
            "multiple sources",
        ),
        ("--checksum=sha256:0 https://host.test/a c", "invalid checksum"),
        (
            "--checksum=abc https://host.test/a.git?commit=def c",
            "checksum mismatch",
        ),
    ] {
        let error = Build::on_base(&format!("ADD {text}")).error();
        assert!(error.contains(message), "{text}: {error}");
    }
    let copy = Build::on_base("ADD --checksum=abc https://host.test/a.git c").copy();
    assert!(matches!(&copy.sources[0], CopySource::Git(git) if git.checksum.as_deref() == Some("abc")));
}

#[test]
fn git_sources_h29() {
    let copy = Build::on_base("ADD --keep-git-dir git@host.test:a/b.git#v1:sub /d").copy();
    let CopySource::Git(git) = &copy.sources[0] else {
        panic!()
    };
    assert_eq!(
        (git.remote.as_str(), git.reference.as_deref()),
        ("git@host.test:a/b.git", Some("v1"))
    );
    assert_eq!(
        (git.subdirectory.as_deref(), git.keep_git_dir),
        (Some("sub"), Some(true))
    );
    let error =
        Build::on_base("ADD --keep-git-dir=false https://host.test/a.git?keep-git-dir=true /d").error();
    assert!(error.contains("inconsistent keep-git-dir"), "{error}");
    assert!(
        Build::on_base("ADD https://host.test/a.git?odd=1 /d")
            .error()
            .contains("unexpected query \"odd\"")
    );
}

#[test]
fn heredoc_that_is_expanded_has_to_be_text() {
    let mut text = b"FROM scratch\nCOPY <<E /x\nab".to_vec();
    text.extend(b"\xff\nE\n");
    let file = crate::build::parse(text).unwrap();
    let args = std::iter::empty::<(String, String)>().collect();
    let contexts = std::collections::BTreeSet::new();
    let platforms =
        lifecycle_dockerfile::Platforms::native(lifecycle_dockerfile::Platform::new("linux", "amd64"));
    let options = lifecycle_dockerfile::PlanOptions {
        target: None,
        build_args: &args,
        platforms,
        contexts: &contexts,
        ignore: None,
    };
    let plan = file.plan(&options).unwrap();
    let error = plan
        .evaluate(plan.target(), lifecycle_dockerfile::Parent::Scratch)
        .unwrap_err();
    assert!(crate::build::show(&error.error).starts_with("3:3 heredoc is not valid UTF-8"));
}
