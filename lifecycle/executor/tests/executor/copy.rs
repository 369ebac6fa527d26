//! COPY and ADD (section H) without what is about where things come from.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;

use crate::support::{Bench, NOW};

/// Builds `FROM busybox` and these lines, and says what is in the last layer: `kind path mode uid:gid content`.
pub(crate) fn layer(bench: &Bench, lines: &str) -> Vec<String> {
    let built = bench.build(&format!("FROM busybox\n{lines}\n"));
    let tell = |(path, found): (&String, &crate::support::Found)| {
        let (uid, gid) = found.owner;
        let what = if found.kind == 'f' {
            &found.content
        } else {
            &found.target
        };
        format!("{} {path} {:o} {uid}:{gid} {what}", found.kind, found.mode)
            .trim_end()
            .to_owned()
    };
    built.layer(0).iter().map(tell).collect()
}

/// Only the paths of files and links of the last layer, with their contents.
pub(crate) fn files(bench: &Bench, lines: &str) -> Vec<String> {
    let built = bench.build(&format!("FROM busybox\n{lines}\n"));
    let top = built.layer(0);
    let files = top.iter().filter(|(_, found)| found.kind != 'd');
    let tell = |(path, found): (&String, &crate::support::Found)| {
        format!("{path}={}{}", found.content, found.target)
    };
    files.map(tell).collect()
}

pub(crate) fn context() -> Bench {
    let bench = Bench::new();
    bench.file("a.txt", "A");
    bench.file("b.txt", "B");
    bench.file("dir/c.txt", "C");
    bench.file("dir/sub/d.txt", "D");
    bench.file("dir/sub/e.md", "E");
    bench.link("dir/link", "c.txt");
    bench.link("tofile", "a.txt");
    bench.link("todir", "dir");
    bench
}

#[test]
fn sources_and_destinations_h1_to_h10() {
    let bench = context();
    for (rule, lines, expected) in [
        ("h1 relative", "COPY a.txt /x", vec!["x=A"]),
        ("h1 leading slash", "COPY /a.txt /x", vec!["x=A"]),
        ("h1 dots are clamped", "COPY ../../a.txt /x", vec!["x=A"]),
        (
            "h1 trailing slash",
            "COPY dir/sub/ /x",
            vec!["x/d.txt=D", "x/e.md=E"],
        ),
        (
            "h2 contents, not the directory",
            "COPY dir/sub /x/",
            vec!["x/d.txt=D", "x/e.md=E"],
        ),
        ("h3 wildcard", "COPY *.txt /x/", vec!["x/a.txt=A", "x/b.txt=B"]),
        (
            "h3 wildcard in the middle",
            "COPY d*/sub/?.txt /x/",
            vec!["x/d.txt=D"],
        ),
        ("h3 class", "COPY [ab].txt /x/", vec!["x/a.txt=A", "x/b.txt=B"]),
        (
            "h3 matched directories are flattened",
            "COPY dir/s* /x/",
            vec!["x/d.txt=D", "x/e.md=E"],
        ),
        ("h3 two stars are one", "COPY **/d.txt /x/", vec![]),
        ("h4 no match", "COPY nothing* /x/", vec![]),
        ("h5 link to a file", "COPY tofile /x/", vec!["x/tofile=A"]),
        (
            "h5 link to a directory",
            "COPY todir/sub /x/",
            vec!["x/d.txt=D", "x/e.md=E"],
        ),
        (
            "h5 links inside stay",
            "COPY todir /x/",
            vec!["x/c.txt=C", "x/link=c.txt", "x/sub/d.txt=D", "x/sub/e.md=E"],
        ),
        (
            "h5 link matched by a wildcard",
            "COPY tof* /x/",
            vec!["x/tofile=A"],
        ),
        ("h8 slash and dot", "COPY a.txt /x/.", vec!["x/a.txt=A"]),
        (
            "h8 empty is the working directory",
            "WORKDIR /w\nCOPY a.txt .",
            vec!["w/a.txt=A"],
        ),
        ("h8 relative", "WORKDIR /w\nCOPY a.txt v/", vec!["w/v/a.txt=A"]),
        (
            "h8 existing directory",
            "COPY a.txt /etc/conf.d",
            vec!["etc/conf.d/a.txt=A"],
        ),
        ("h8 new name", "COPY a.txt /etc/conf", vec!["etc/conf=A"]),
        ("h9 the last wins", "COPY a.txt b.txt /x", vec!["x=B"]),
        (
            "h9 directories merge",
            "COPY dir/sub dir /x",
            vec![
                "x/c.txt=C",
                "x/d.txt=D",
                "x/e.md=E",
                "x/link=c.txt",
                "x/sub/d.txt=D",
                "x/sub/e.md=E",
            ],
        ),
        (
            "h10 linked destination",
            "COPY a.txt /sl/",
            vec!["etc/conf.d/a.txt=A"],
        ),
        (
            "h10 linked destination of a directory",
            "COPY dir/sub /sl",
            vec!["etc/conf.d/d.txt=D", "etc/conf.d/e.md=E"],
        ),
        (
            "h10 links end at the root",
            "COPY a.txt /escape/",
            vec!["etc/a.txt=A"],
        ),
        ("h10 dots are clamped", "COPY a.txt /../../x", vec!["x=A"]),
        (
            "json form",
            "COPY [\"a.txt\", \"/with blank\"]",
            vec!["with blank=A"],
        ),
        (
            "c5 heredoc",
            "COPY <<one <<two /x/\n1\none\n2\ntwo",
            vec!["x/one=1\n", "x/two=2\n"],
        ),
        (
            "c5 heredoc names a file",
            "COPY <<one /x/f\n1\none",
            vec!["x/f=1\n"],
        ),
        (
            "c5 heredoc beside files",
            "COPY a.txt <<one /x/\n1\none",
            vec!["x/a.txt=A", "x/one=1\n"],
        ),
        (
            "add is copy",
            "ADD a.txt dir/sub /x/",
            vec!["x/a.txt=A", "x/d.txt=D", "x/e.md=E"],
        ),
    ] {
        assert_eq!(files(&bench, lines), expected, "{rule}: {lines}");
    }
}

#[test]
fn escaped_wildcards_are_names_h3() {
    let bench = Bench::new();
    bench.file("[x]", "bracket");
    bench.file("x", "plain");
    assert_eq!(files(&bench, "COPY [[]x] /y"), ["y=bracket"]);
}

#[test]
fn impossible_copies_say_where_h4_h11() {
    let bench = context();
    bench.file(".dockerignore", "b.txt\n");
    for (lines, expected) in [
        ("COPY nope /x", "Dockerfile:2:1: \"/nope\": not found"),
        ("COPY a.txt nope /x/", "Dockerfile:2:1: \"/nope\": not found"),
        (
            "COPY b.txt /x",
            "\"/b.txt\": not found, because the ignore file leaves it out",
        ),
        (
            "COPY dir /etc/passwd",
            "cannot copy to non-directory: /etc/passwd",
        ),
        ("COPY a.txt /etc/passwd/x", "mkdir /etc/passwd: not a directory"),
        ("COPY a.txt /etc/passwd/", "mkdir /etc/passwd: not a directory"),
        (
            "RUN mkdir -p /x/a.txt\nCOPY a.txt /x/",
            "Dockerfile:3:1: cannot replace to directory /x/a.txt with file",
        ),
        (
            "RUN mkdir /x && touch /x/sub\nCOPY dir /x/",
            "cannot copy to non-directory: /x/sub",
        ),
        (
            "RUN ln -s /loop /loop\nCOPY a.txt /loop/x",
            "too many levels of symbolic links",
        ),
        ("COPY --from=busybox /nope /x", "\"/nope\": not found"),
        ("COPY --exclude=[ dir /x", "--exclude"),
        ("COPY a[ /x", "not a pattern"),
    ] {
        let message = bench.fail(&format!("FROM busybox\n{lines}\n"));
        assert!(message.contains(expected), "{lines}: {message}");
    }
}

#[test]
fn local_files_belong_to_root_and_keep_their_mode_h6() {
    let bench = Bench::new();
    bench.file("f", "x");
    bench.mode("f", 0o4711);
    bench.file("d/g", "y");
    bench.mode("d", 0o700);
    std::os::unix::fs::chown(bench.context().join("f"), Some(77), Some(78)).unwrap();
    fs::set_permissions(bench.context().join("f"), fs::Permissions::from_mode(0o4711)).unwrap();
    fs::hard_link(bench.context().join("d/g"), bench.context().join("d/h")).unwrap();
    let _socket = UnixListener::bind(bench.context().join("d/socket")).unwrap();
    assert_eq!(
        layer(&bench, "COPY . /x/"),
        [
            "d x 755 0:0",
            "d x/d 700 0:0",
            "f x/d/g 644 0:0 y",
            "h x/d/h 644 0:0 x/d/g",
            "f x/d/socket 755 0:0",
            "f x/f 4711 0:0 x",
        ]
    );
}

#[test]
fn extended_attributes_travel_h6() {
    let bench = Bench::new();
    let path = bench.file("f", "x");
    let set = rustix::fs::setxattr(&path, "user.colour", b"blue", rustix::fs::XattrFlags::empty());
    if set.is_err() {
        // The file system of this machine has none.
        return;
    }
    let built = bench.build("FROM busybox\nCOPY f /x\n");
    assert_eq!(
        built.layer(0)["x"].xattrs,
        [("user.colour".to_owned(), b"blue".to_vec())]
    );
}

#[test]
fn copies_between_stages_keep_owners_h7() {
    let bench = Bench::new();
    let built = bench.build(
        "FROM busybox AS one\nRUN mkdir -m 700 /d && echo 1 > /d/f && chown -R 5:6 /d && chmod 640 /d/f\n\
         FROM busybox\nCOPY --from=one /d /x\n",
    );
    let top = built.layer(0);
    assert_eq!((top["x"].mode, top["x"].owner), (0o755, (0, 0)));
    assert_eq!((top["x/f"].mode, top["x/f"].owner), (0o640, (5, 6)));
}

#[test]
fn directories_on_the_way_h12_h13() {
    let bench = Bench::new();
    bench.file("d/sub/f", "x");
    bench.mode("d", 0o700);
    bench.mode("d/sub", 0o711);
    let mtime = |path: &str| {
        let metadata = fs::metadata(bench.context().join(path)).unwrap();
        std::os::unix::fs::MetadataExt::mtime(&metadata)
    };
    let built = bench.build("FROM busybox\nCOPY --chown=7:8 d /new/top\nRUN mkdir -m 750 /old && chown 3:4 /old && mkdir -m 777 /old/sub\nCOPY d /old\n");
    let first = built.layer(2);
    assert_eq!(
        (first["new"].mode, first["new"].owner, first["new"].mtime),
        (0o755, (7, 8), NOW)
    );
    assert_eq!((first["new/top"].mode, first["new/top"].owner), (0o755, (7, 8)));
    assert_eq!(first["new/top"].mtime, mtime("d"));
    assert_eq!(
        (first["new/top/sub"].mode, first["new/top/sub"].owner),
        (0o711, (7, 8))
    );
    let last = built.layer(0);
    assert_eq!(
        (last["old"].mode, last["old"].owner, last["old"].mtime),
        (0o750, (3, 4), mtime("d"))
    );
    assert_eq!((last["old/sub"].mode, last["old/sub"].owner), (0o711, (0, 0)));
    assert_eq!(last["old/sub/f"].mtime, mtime("d/sub/f"));
}

#[test]
fn parents_that_exist_are_in_the_layer_as_they_are_m1() {
    let bench = context();
    let built = bench.build("FROM busybox\nCOPY a.txt /etc/conf.d/z/\n");
    assert_eq!(
        built.order(0),
        ["etc", "etc/conf.d", "etc/conf.d/z", "etc/conf.d/z/a.txt"]
    );
    let top = built.layer(0);
    assert_eq!(
        (top["etc/conf.d"].mode, top["etc/conf.d"].mtime),
        (0o750, 1_600_000_000)
    );
}

#[test]
fn names_are_those_of_the_destination_h14() {
    let bench = context();
    for (chown, expected) in [
        ("alice", "1000:1001"),
        ("9", "9:9"),
        ("bin:", "2:0"),
        (":staff", "0:50"),
        ("alice:staff", "1000:50"),
        ("3:wheel", "3:10"),
        ("root", "0:0"),
    ] {
        let lines = layer(&bench, &format!("COPY --chown={chown} a.txt /x"));
        assert_eq!(lines, [format!("f x 644 {expected} A")], "{chown}");
    }
    let lines = layer(
        &bench,
        "RUN echo new:x:44:45::/:/bin/sh >> /etc/passwd\nCOPY --chown=new a.txt /x",
    );
    assert_eq!(lines, ["f x 644 44:45 A"]);
    let lines = layer(
        &bench,
        "COPY <<pw /etc/passwd\nnew:x:46:47::/:/bin/sh\npw\nCOPY --chown=new a.txt /x",
    );
    assert_eq!(lines, ["f x 644 46:47 A"]);
}

#[test]
fn unknown_owners_are_errors_h15() {
    let bench = context();
    for dockerfile in [
        "FROM busybox\nCOPY --chown=nobody a.txt /x\n",
        "FROM busybox\nCOPY --chown=alice:nogroup a.txt /x\n",
        "FROM scratch\nCOPY --chown=alice a.txt /x\n",
        "FROM busybox\nCOPY --link --chown=alice a.txt /x\n",
    ] {
        let message = bench.fail(dockerfile);
        assert!(message.contains("is not an owner"), "{dockerfile}: {message}");
    }
    let built = bench.build("FROM scratch\nCOPY --link --chown=root a.txt /x\n");
    assert_eq!(built.layer(0)["x"].owner, (0, 0));
}

#[test]
fn modes_h16_h17() {
    let bench = context();
    bench.mode("a.txt", 0o700);
    for (lines, expected) in [
        (
            "COPY --chmod=644 a.txt /p/q/x",
            vec!["d p 644 0:0", "d p/q 644 0:0", "f p/q/x 644 0:0 A"],
        ),
        (
            "COPY --chmod=u=rwX,go=rX a.txt /p/x",
            vec!["d p 755 0:0", "f p/x 755 0:0 A"],
        ),
        ("COPY --chmod=go+w,u-x a.txt /x", vec!["f x 622 0:0 A"]),
        (
            "COPY --chmod=7777 dir/sub /x",
            vec!["d x 777 0:0", "f x/d.txt 7777 0:0 D", "f x/e.md 7777 0:0 E"],
        ),
        ("COPY --chmod=600 <<f /x\n1\nf", vec!["f x 600 0:0 1"]),
    ] {
        assert_eq!(
            layer(&bench, lines)
                .iter()
                .map(|line| line.trim_end())
                .collect::<Vec<_>>(),
            expected,
            "{lines}"
        );
    }
    for lines in ["COPY --chmod=10000 a.txt /x", "COPY --chmod=z+x a.txt /x"] {
        let message = bench.fail(&format!("FROM busybox\n{lines}\n"));
        assert!(message.contains("invalid chmod parameter"), "{message}");
    }
}

#[test]
fn linked_copies_stand_alone_h19_h20() {
    let bench = context();
    assert_eq!(
        layer(&bench, "COPY --link a.txt /sl/"),
        ["d sl 755 0:0", "f sl/a.txt 644 0:0 A"]
    );
    assert_eq!(
        layer(&bench, "COPY --link a.txt /etc/conf.d/"),
        [
            "d etc 755 0:0",
            "d etc/conf.d 755 0:0",
            "f etc/conf.d/a.txt 644 0:0 A"
        ]
    );
    // With --chmod it is an ordinary copy.
    assert_eq!(
        files(&bench, "COPY --link --chmod=600 a.txt /sl/"),
        ["etc/conf.d/a.txt=A"]
    );
}

#[test]
fn exclusions_are_relative_to_the_source_h21_h22() {
    let bench = context();
    bench.file("dir/top.txt", "T");
    for (lines, expected) in [
        (
            "COPY --exclude=*.txt dir /x/",
            vec!["x/link=c.txt", "x/sub/d.txt=D", "x/sub/e.md=E"],
        ),
        (
            "COPY --exclude=**/*.txt dir /x/",
            vec!["x/link=c.txt", "x/sub/e.md=E"],
        ),
        (
            "COPY --exclude=** --exclude=!sub/d.txt dir /x/",
            vec!["x/sub/d.txt=D"],
        ),
        (
            "COPY --exclude=sub --exclude=link dir /x/",
            vec!["x/c.txt=C", "x/top.txt=T"],
        ),
        // Named directly, copied all the same.
        ("COPY --exclude=a.txt *.txt /x/", vec!["x/a.txt=A", "x/b.txt=B"]),
        ("COPY --exclude=a.txt a.txt /x/", vec!["x/a.txt=A"]),
    ] {
        assert_eq!(files(&bench, lines), expected, "{lines}");
    }
}

#[test]
fn parents_are_kept_h23_h24() {
    let bench = context();
    bench.mode("dir", 0o700);
    for (lines, expected) in [
        ("COPY --parents dir/sub/d.txt /x/", vec!["x/dir/sub/d.txt=D"]),
        ("COPY --parents ./dir/./sub/d.txt /x/", vec!["x/sub/d.txt=D"]),
        (
            "COPY --parents **/*.txt /x",
            vec!["x/a.txt=A", "x/b.txt=B", "x/dir/c.txt=C", "x/dir/sub/d.txt=D"],
        ),
        (
            "COPY --parents dir/sub /x",
            vec!["x/dir/sub/d.txt=D", "x/dir/sub/e.md=E"],
        ),
        (
            "COPY --parents --exclude=**/*.md dir/sub /x",
            vec!["x/dir/sub/d.txt=D"],
        ),
        ("COPY --parents nothing* /x", vec![]),
    ] {
        assert_eq!(files(&bench, lines), expected, "{lines}");
    }
    let built = bench.build("FROM busybox\nCOPY --parents --chown=4 dir/sub/d.txt /x/\n");
    let top = built.layer(0);
    assert_eq!(
        (top["x/dir"].mode, top["x/dir"].owner, top["x/dir"].mtime),
        (0o700, (4, 4), NOW)
    );
    let message = bench.fail("FROM busybox\nCOPY --parents dir/nope /x/\n");
    assert!(message.contains("not found"), "{message}");
}

#[test]
fn copied_files_keep_their_times_and_made_directories_have_the_builds_m4() {
    let bench = context();
    let time = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_234_567_890);
    let file = fs::File::options()
        .write(true)
        .open(bench.context().join("a.txt"))
        .unwrap();
    file.set_modified(time).unwrap();
    let layer = bench.build("FROM scratch\nCOPY a.txt /new/deep/\n").layer(0);
    assert_eq!(layer["new/deep/a.txt"].mtime, 1_234_567_890);
    assert_eq!(layer["new"].mtime, crate::support::NOW);
    assert_eq!(layer["new/deep"].mtime, crate::support::NOW);
}

#[test]
fn names_that_are_no_text_are_names_h3_h6() {
    use std::os::unix::ffi::OsStrExt as _;
    let bench = Bench::new();
    let name = std::ffi::OsStr::from_bytes(b"\xff\xfe\n");
    fs::create_dir(bench.context().join("d")).unwrap();
    fs::write(bench.context().join("d").join(name), "content").unwrap();
    for lines in ["COPY d /d", "COPY d/* /d/", "COPY --parents d /"] {
        let built = bench.build(&format!("FROM busybox\n{lines}\nRUN cat /d/* > /out\n"));
        assert_eq!(built.content("out"), "content", "{lines}");
    }
    let message = bench.fail("FROM busybox\nCOPY d/nothing /x\n");
    assert!(message.contains("Dockerfile:2:1"), "{message}");
}
