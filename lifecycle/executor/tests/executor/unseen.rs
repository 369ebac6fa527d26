//! What COPY and ADD cannot see: what is outside of their source, and what is ignored (section J).

use std::fs;

use crate::copy::{context, files};
use crate::support::{Bench, contains, everything};

#[test]
fn sources_never_leave_the_context_kaniko_5_2() {
    let bench = Bench::new();
    let outside = bench.directory.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("canary"), "CANARY").unwrap();
    let absolute = outside.to_str().unwrap().to_owned();
    bench.link("absolute", &absolute);
    bench.link("relative", "../outside");
    bench.link("chain", "relative");
    bench.link("file", &format!("{absolute}/canary"));
    bench.link("inside/deep", "../../../outside");
    let missing = Some("not found");
    for (lines, refused) in [
        ("COPY absolute/canary /x", missing),
        ("COPY relative/canary /x", missing),
        ("COPY chain/canary /x", missing),
        ("COPY file /x", missing),
        ("COPY ../outside/canary /x", missing),
        ("COPY absolute/* /x/", None),
        ("COPY fil* /x/", missing),
        ("COPY inside/deep/canary /x", missing),
        ("COPY inside /x/", None),
        ("COPY . /x/", None),
        ("COPY --parents **/canary /x/", None),
        ("ADD file /x", missing),
        (
            "RUN --mount=type=bind,source=relative,target=/m cat /m/canary > /x",
            missing,
        ),
        (
            "RUN --mount=type=bind,target=/m cat /m/relative/canary /m/file > /x || true",
            None,
        ),
    ] {
        match (
            bench.try_build(&bench.options(&format!("FROM busybox\n{lines}\n"))),
            refused,
        ) {
            (Ok(built), None) => assert!(!contains(&everything(&built), b"CANARY"), "{lines}"),
            (Err(error), Some(why)) => {
                let message = crate::support::tell(&error);
                assert!(message.contains(why) && !message.contains("CANARY"), "{message}");
            }
            (Ok(_), Some(_)) => panic!("{lines}: it builds"),
            (Err(error), None) => panic!("{lines}: {}", crate::support::tell(&error)),
        }
    }
}

#[test]
fn links_of_a_stage_stay_in_the_stage_kaniko_5_2() {
    let bench = Bench::new();
    fs::write(bench.directory.path().join("canary"), "CANARY").unwrap();
    let outside = bench.directory.path().to_str().unwrap();
    let message = bench.fail(&format!(
        "FROM busybox AS one\nRUN ln -s {outside} /out\nFROM busybox\nCOPY --from=one /out/canary /x\n"
    ));
    assert!(message.contains("not found"), "{message}");
}

#[test]
fn a_linked_ignore_file_is_not_read_cve_2022_4122() {
    let bench = Bench::new();
    fs::write(bench.directory.path().join("secret"), "[CANARY\n").unwrap();
    bench.link(".dockerignore", "../secret");
    let message = bench.fail("FROM busybox\nCOPY . /x\n");
    assert!(
        message.contains(".dockerignore") && !message.contains("CANARY"),
        "{message}"
    );
}

#[test]
fn ignored_files_are_not_there_j3_j4() {
    let bench = context();
    for (ignore, lines, expected) in [
        ("**\n!dir/c.txt\n", "COPY . /x/", vec!["x/dir/c.txt=C"]),
        ("dir/*\n", "COPY dir /x/", vec![]),
        (
            "*.txt\n",
            "COPY dir /x/",
            vec!["x/c.txt=C", "x/link=c.txt", "x/sub/d.txt=D", "x/sub/e.md=E"],
        ),
        (
            "**/*.txt\ntodir\ntofile\n**/link\n",
            "COPY . /x/",
            vec![
                "x/.dockerignore=**/*.txt\ntodir\ntofile\n**/link\n",
                "x/dir/sub/e.md=E",
            ],
        ),
        ("dir/sub\n", "COPY d*/* /x/", vec!["x/c.txt=C", "x/link=C"]),
        ("dir\n!dir/sub/e.md\n", "COPY dir /x/", vec!["x/sub/e.md=E"]),
        // An ignored link is not there, whatever it leads to.
        ("dir\n!dir/c.txt\n", "COPY dir/* /x/", vec!["x/c.txt=C"]),
        ("todir\n", "COPY to* /x/", vec!["x/tofile=A"]),
    ] {
        bench.file(".dockerignore", ignore);
        assert_eq!(files(&bench, lines), expected, "{ignore} {lines}");
    }
}

#[test]
fn the_ignore_file_of_a_dockerfile_beats_the_contexts_j1() {
    let bench = context();
    bench.file(".dockerignore", "a.txt\n");
    let mut options = bench.options("FROM scratch\nCOPY . /x/\n");
    assert!(!bench.build_with(&options).files().contains_key("x/a.txt"));
    options.ignore = lifecycle_executor::IgnoreFile::Given {
        name: "Dockerfile.dockerignore".into(),
        bytes: b"b.txt\n".to_vec(),
    };
    let files = bench.build_with(&options).files();
    assert!(files.contains_key("x/a.txt") && !files.contains_key("x/b.txt"));
}

#[test]
fn linked_directories_are_not_looked_into_and_build_files_may_be_ignored_j5() {
    let bench = context();
    bench.link("to-dir", "dir");
    bench.file("Dockerfile", "FROM scratch\nCOPY . /x/\n");
    bench.file(".dockerignore", "to-dir/*\nDockerfile\n.dockerignore\n");
    let files = bench.build("FROM scratch\nCOPY . /x/\n").files();
    assert_eq!(files["x/to-dir"].target, "dir");
    assert!(files.contains_key("x/dir/c.txt"));
    assert!(!files.contains_key("x/Dockerfile") && !files.contains_key("x/.dockerignore"));
}

#[test]
fn only_what_is_needed_is_read_j9() {
    let bench = context();
    // Whoever opens it waits for ever.
    let made = std::process::Command::new("mkfifo")
        .arg(bench.context().join("pipe"))
        .status();
    assert!(made.unwrap().success());
    let huge = fs::File::create(bench.context().join("huge")).unwrap();
    huge.set_len(1 << 40).unwrap();
    let built =
        bench.build("FROM busybox\nCOPY a.txt /x/\nRUN --mount=type=bind,source=dir,target=/m ls /m\n");
    assert_eq!(built.output, "c.txt\nlink\nsub\n");
}
