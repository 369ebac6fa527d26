//! Bad input ends in bounded time and memory: huge files, contexts of very many, and what cannot be built at all.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::Bench;
use crate::users::builder;

/// Builds `context` in a process that may have this much memory of its own, and says whether that went well, and what it
/// printed.
fn build_within(mebibytes: u32, context: &Path, dockerfile: &str) -> (bool, String) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("Dockerfile");
    fs::write(&path, dockerfile).unwrap();
    let script = format!("ulimit -d {} && exec \"$@\"", u64::from(mebibytes) << 10);
    let output = Command::new("sh")
        .args(["-c", &script, "sh"])
        .arg(builder())
        .arg(directory.path().join("store"))
        .args([context, &path])
        .args(["norun", "zstd"])
        .output()
        .unwrap();
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.success(), text)
}

#[test]
fn a_sparse_file_of_10_gib_is_copied_in_little_memory() {
    let context = tempfile::tempdir().unwrap();
    let file = fs::File::create(context.path().join("huge")).unwrap();
    file.set_len(10 << 30).unwrap();
    let (success, output) = build_within(128, context.path(), "FROM scratch\nCOPY huge /huge\n");
    assert!(success, "{output}");
    assert!(output.contains("huge 644 "), "{output}");
}

/// A gibibyte of nothing in little more than a mebibyte, in an archive that ADD unpacks.
#[test]
fn a_bomb_that_add_unpacks_is_unpacked_in_little_memory_cve_2017_14992() {
    let context = tempfile::tempdir().unwrap();
    fs::File::create(context.path().join("huge"))
        .unwrap()
        .set_len(1 << 30)
        .unwrap();
    let pack = Command::new("sh")
        .args(["-ec", "tar c huge | gzip -1 > bomb.tar.gz; rm huge"])
        .current_dir(context.path())
        .status();
    assert!(pack.unwrap().success());
    let (success, output) = build_within(128, context.path(), "FROM scratch\nADD bomb.tar.gz /x/\n");
    assert!(success, "{output}");
    assert!(output.contains("x/huge 644 "), "{output}");
}

/// A million take ten times as much, about a gibibyte: memory and time grow with the number of files and no faster. What
/// the ignore file leaves out and what is not asked for is no part of that.
#[test]
fn a_context_of_very_many_files_is_copied_in_bounded_memory() {
    const COUNT: usize = 100_000;
    let context = tempfile::tempdir().unwrap();
    for directory in 0..COUNT / 1000 {
        let directory = context.path().join(format!("many/{directory}"));
        fs::create_dir_all(&directory).unwrap();
        let first = directory.join("0");
        fs::write(&first, "x").unwrap();
        for number in 1..1000 {
            fs::hard_link(&first, directory.join(number.to_string())).unwrap();
        }
    }
    fs::write(context.path().join("one"), "1").unwrap();
    let (success, output) = build_within(256, context.path(), "FROM scratch\nCOPY many /many\n");
    assert!(
        success,
        "{}",
        output.lines().take(9).collect::<Vec<_>>().join("\n")
    );
    let files = output.lines().filter(|line| line.starts_with("many/")).count();
    assert_eq!(
        files,
        COUNT + COUNT / 1000 + 1,
        "the files, their directories, and the one above"
    );
    let (success, output) = build_within(64, context.path(), "FROM scratch\nCOPY one /one\n");
    assert!(success, "{output}");
    fs::write(context.path().join(".dockerignore"), "many\n").unwrap();
    let (success, output) = build_within(64, context.path(), "FROM scratch\nCOPY . /all\n");
    assert!(success && output.contains("all/one"), "{output}");
}

#[test]
fn what_cannot_be_built_says_where() {
    let bench = Bench::new();
    bench.file("d/f", "F");
    bench.link("circle", "circle");
    for (lines, wanted) in [
        ("COPY --from=busybox /x /x", "2:1: \"/x\": not found"),
        (
            "COPY --from=one /x /x\nFROM busybox AS one\nCOPY --from=0 /x /x",
            "2:1: circular dependency",
        ),
        (
            "COPY --from=nowhere /x /x",
            "2:1: the image index.docker.io/library/nowhere:latest",
        ),
        ("COPY --from=7 /x /x", "2:6: invalid stage index 7"),
        ("COPY --form=x d /x", "2:6: unknown flag: --form"),
        (
            "RUN --mount=type=wrong true",
            "2:5: unsupported mount type \"wrong\"",
        ),
        ("COPPY d /x", "2:1: unknown instruction: COPPY"),
        (
            "COPY \\\n  --link=maybe \\\n d /x",
            "3:3: expecting boolean value",
        ),
        (
            "COPY d/f circle /x/",
            "2:1: /circle: too many levels of symbolic links",
        ),
        ("COPY nothing /x", "2:1: \"/nothing\": not found"),
        (
            "COPY d /etc/passwd",
            "2:1: cannot copy to non-directory: /etc/passwd",
        ),
        (
            "COPY d/f /etc/passwd/x",
            "2:1: mkdir /etc/passwd: not a directory",
        ),
        (
            "RUN --mount=source=nothing,target=/x true",
            "2:1: \"/nothing\": not found",
        ),
    ] {
        let message = bench.fail(&format!("FROM busybox\n{lines}\n"));
        assert!(
            message.starts_with(&format!("Dockerfile:{wanted}")),
            "{lines}: {message}"
        );
    }
    let mut options = bench.options("FROM busybox AS one\n");
    options.target = Some("other".to_owned());
    assert!(bench.fail_with(&options).contains("other"));
}
