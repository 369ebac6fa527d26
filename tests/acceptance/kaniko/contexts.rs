//! Where contexts come from (kaniko.md 1.5; 5.2, dockerfile.md F9, J).

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use super::{contains, content, executor, to_layout};
use crate::elsewhere::repository;
use crate::support::Machine;
use crate::support::file_server::{FileServer, Signer};

const DOCKERFILE: &str = "FROM scratch\nCOPY . /x/\n";

/// Packs a directory with tar and a program that compresses.
fn pack(directory: &Path, filter: &str, to: &Path) {
    let script = format!("tar -C \"$1\" -c . | {filter} > \"$2\"");
    let status = Command::new("sh")
        .args(["-ec", &script, "sh"])
        .arg(directory)
        .arg(to)
        .status();
    assert!(status.unwrap().success(), "{filter}");
}

#[test]
fn archives_are_contexts_1_5() {
    let machine = Machine::new();
    let files = machine.files(
        "files",
        &[
            ("Dockerfile", DOCKERFILE),
            ("sub/Dockerfile", DOCKERFILE),
            ("sub/f", "INSIDE"),
            ("f", "ABOVE"),
        ],
    );
    let archive = machine.path("context.tar");
    for filter in ["cat", "gzip", "bzip2", "xz"] {
        pack(&files, filter, &archive);
        let context = format!("tar://{}", archive.display());
        to_layout(&machine, &["--context", &context]).succeeds();
        assert!(contains(&content(&machine), "ABOVE"), "{filter}");
    }
    to_layout(&machine, &["-c", "tar://stdin", "--context-sub-path=sub"])
        .input(&archive)
        .succeeds();
    let all = content(&machine);
    assert!(contains(&all, "INSIDE") && !contains(&all, "ABOVE"));
    // `docker build -` and its context of nothing but a Dockerfile.
    let build = |source: &str| {
        machine.lifecycle(&[
            "build",
            source,
            "-t",
            "x",
            "-o",
            &format!("oci:{}", machine.text("out")),
        ])
    };
    build("-").input(&archive).succeeds();
    build(archive.to_str().unwrap()).succeeds();
    let text = machine.files(
        "text",
        &[
            ("Dockerfile", "FROM scratch\nLABEL a=b\n"),
            ("Wrong", "FROM scratch\nCOPY f /\n"),
        ],
    );
    build("-").input(text.join("Dockerfile")).succeeds();
    build("-")
        .input(text.join("Wrong"))
        .fails(1)
        .says("\"/f\": not found");
    build("-").fails(1).says("standard input is empty");
    let dockerfile = machine.lifecycle(&[
        "build",
        files.to_str().unwrap(),
        "-f",
        "-",
        "-t",
        "x",
        "-o",
        &format!("oci:{}", machine.text("out")),
    ]);
    dockerfile.input(text.join("Wrong")).succeeds();
}

#[test]
fn the_web_and_git_give_contexts_1_5() {
    let (machine, server) = (Machine::new(), FileServer::start());
    let files = machine.files("files", &[("Dockerfile", DOCKERFILE), ("f", "FROM THE WEB")]);
    let archive = machine.path("context.tar.gz");
    pack(&files, "gzip", &archive);
    server.keep("/a/context.tar.gz", fs::read(&archive).unwrap(), &[]);
    server.keep("/Dockerfile", "FROM scratch\nCOPY f /other\n", &[]);
    to_layout(
        &machine,
        &["-c", &server.url("/a/context.tar.gz?X-Signature=s3cr3t")],
    )
    .succeeds()
    .does_not_say("s3cr3t");
    assert!(contains(&content(&machine), "FROM THE WEB"));
    to_layout(
        &machine,
        &[
            "-c",
            &server.url("/a/context.tar.gz"),
            "-f",
            &server.url("/Dockerfile"),
        ],
    )
    .succeeds();
    assert!(contains(&content(&machine), "other"));
    to_layout(&machine, &["-c", &server.url("/missing.tar.gz")])
        .fails(1)
        .says("404");

    // A store that speaks S3; a bucket alone holds the context under its usual name.
    server.keep("/bucket/context.tar.gz", fs::read(&archive).unwrap(), &[]);
    server.require_signed(
        "/bucket/",
        Signer::S3 {
            key_id: "key-id",
            secret: "s3cr3t",
            region: "eu-test-1",
            token: None,
        },
    );
    for context in ["--context=s3://bucket/context.tar.gz", "--context=s3://bucket"] {
        to_layout(&machine, &[context])
            .env("S3_ENDPOINT", format!("http://{}", server.address()))
            .env("S3_FORCE_PATH_STYLE", "true")
            .env("AWS_REGION", "eu-test-1")
            .env("AWS_ACCESS_KEY_ID", "key-id")
            .env("AWS_SECRET_ACCESS_KEY", "s3cr3t")
            .succeeds()
            .does_not_say("s3cr3t");
        assert!(contains(&content(&machine), "FROM THE WEB"));
    }

    repository(&machine, "r.git");
    server.keep_directory("/r.git", &machine.path("r.git"));
    server.require("Basic dTpzM2NyM3Q=");
    let dockerfile = machine
        .files("d", &[("Dockerfile", DOCKERFILE)])
        .join("Dockerfile");
    let git = |context: &str, more: &[&str]| {
        let arguments = [&["-c", context, "-f", dockerfile.to_str().unwrap()], more].concat();
        to_layout(&machine, &arguments)
            .env("GIT_PULL_METHOD", "http")
            .env("GIT_USERNAME", "u")
            .env("GIT_PASSWORD", "s3cr3t")
    };
    let address = format!("git://{}/r.git", server.address());
    for (context, more) in [
        (
            address.clone(),
            &[
                "--git=branch=main",
                "--git=single-branch=true",
                "--git",
                "depth=1",
            ][..],
        ),
        (format!("{address}#refs/tags/v1"), &["--context-sub-path", "dir"]),
        (format!("{address}#main"), &[]),
    ] {
        git(&context, more).succeeds().does_not_say("s3cr3t");
        let all = content(&machine);
        // CVE-2023-26054: credentials are nowhere in what was made.
        assert!(contains(&all, "code") && !contains(&all, "s3cr3t"), "{context}");
    }
    git(&format!("{address}#nowhere"), &[])
        .fails(1)
        .says("nowhere")
        .does_not_say("s3cr3t");
}

/// The executor image has no program git: what a context and ADD name is fetched all the same, with the same credentials.
#[test]
fn without_the_program_repositories_come_by_the_library_1_5() {
    let (machine, server) = (Machine::new(), FileServer::start());
    repository(&machine, "r.git");
    server.keep_repository("/r.git", &machine.path("r.git"));
    // `u:s3cr3t`
    server.require("Basic dTpzM2NyM3Q=");
    let text = format!(
        "FROM scratch\nCOPY . /context/\nADD {}#v1:dir /added/\n",
        server.url("/r.git")
    );
    let dockerfile = machine.files("d", &[("Dockerfile", &text)]).join("Dockerfile");
    let context = format!("git://{}/r.git#refs/heads/main", server.address());
    let build = |path: &str, more: &[&str]| {
        let arguments = [&["-c", &context, "-f", dockerfile.to_str().unwrap()], more].concat();
        to_layout(&machine, &arguments)
            .env("PATH", path)
            .env("GIT_PULL_METHOD", "http")
            .env("GIT_USERNAME", "u")
            .env("GIT_PASSWORD", "s3cr3t")
            .env("HEADER", "Basic dTpzM2NyM3Q=")
    };
    let secret = "--secret=id=GIT_AUTH_HEADER,env=HEADER";
    build("/nowhere", &[secret]).succeeds().does_not_say("s3cr3t");
    let all = content(&machine);
    assert!(contains(&all, "code") && !contains(&all, "s3cr3t"));
    build("/nowhere", &[]).fails(1).says("401");
}

/// CVE-2019-13139 and its like: neither an address nor a reference becomes an option of git, or starts a program.
#[test]
fn git_takes_no_option_from_a_context_5_2() {
    let machine = Machine::new();
    let canary = machine.path("canary");
    let touch = format!("touch {}", canary.display());
    for context in [
        "git://a.test/r.git#--upload-pack=x",
        "git://-oProxyCommand=x/r.git",
        "git://a.test/r.git#-x",
    ] {
        to_layout(&machine, &["-c", context]).fails(1);
    }
    for source in [format!("ext::sh -c {touch}"), format!("--upload-pack={touch}")] {
        machine
            .lifecycle(&["build", "-t", "x", "-f", "Dockerfile", "--", &source])
            .fails(1);
    }
    assert!(!canary.exists());
}

/// CVE-2026-28406, CVE-2026-44517: an archive's names and links stay where it is unpacked.
#[test]
fn archives_lead_nowhere_else_5_1_5_2() {
    let machine = Machine::new();
    let outside = machine.files(
        "outside",
        &[
            ("canary", "CANARY"),
            ("Dockerfile", "FROM scratch\nLABEL stolen=1\n"),
        ],
    );
    let archive = machine.path("context.tar");
    let context = format!("tar://{}", archive.display());
    for (name, link) in [
        ("../outside/canary", None),
        ("a/../../outside/canary", None),
        (outside.join("canary").to_str().unwrap(), None),
        ("link/canary", Some(outside.to_str().unwrap())),
    ] {
        let mut tar = tar::Builder::new(fs::File::create(&archive).unwrap());
        append(&mut tar, "Dockerfile", tar::EntryType::Regular, DOCKERFILE);
        if let Some(target) = link {
            append(&mut tar, "link", tar::EntryType::Symlink, target);
        }
        append(&mut tar, name, tar::EntryType::Regular, "OVERWRITTEN");
        tar.into_inner().unwrap();
        // Refused or contained; what is outside stays as it is.
        drop(to_layout(&machine, &["-c", &context]).run());
        assert_eq!(
            fs::read_to_string(outside.join("canary")).unwrap(),
            "CANARY",
            "{name}"
        );
    }
    // The Dockerfile, the ignore file and the sub-path are links that lead out.
    let files = machine.files("files", &[("f", "x")]);
    symlink(outside.join("Dockerfile"), files.join("Dockerfile")).unwrap();
    symlink(outside.join("canary"), files.join("Other.dockerignore")).unwrap();
    fs::write(files.join("Other"), DOCKERFILE).unwrap();
    symlink(&outside, files.join("sub")).unwrap();
    pack(&files, "cat", &archive);
    to_layout(&machine, &["-c", &context])
        .fails(1)
        .says("there is no Dockerfile Dockerfile");
    to_layout(&machine, &["-c", &context, "-f", "Other"])
        .succeeds()
        .does_not_say("CANARY");
    for sub in ["sub", "../outside", "sub/.."] {
        let refused = to_layout(&machine, &["-c", &context, "--context-sub-path", sub]).run();
        assert!(!refused.text().contains("stolen"), "{sub}");
        assert!(
            !machine.path("out").exists() || !contains(&content(&machine), "CANARY"),
            "{sub}"
        );
    }
    // CVE-2022-4122: of a directory's ignore file, too, nothing is shown.
    symlink(outside.join("canary"), files.join(".dockerignore")).unwrap();
    fs::remove_file(files.join("Other.dockerignore")).unwrap();
    to_layout(
        &machine,
        &[
            "-c",
            files.to_str().unwrap(),
            "-f",
            files.join("Other").to_str().unwrap(),
        ],
    )
    .fails(1)
    .does_not_say("CANARY");
}

fn append(tar: &mut tar::Builder<fs::File>, name: &str, kind: tar::EntryType, content: &str) {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(0o644);
    header.set_mtime(0);
    // The crate would refuse such names.
    header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
    if kind == tar::EntryType::Symlink {
        header.set_link_name_literal(content).unwrap();
        header.set_size(0);
        header.set_cksum();
        tar.append(&header, &[][..]).unwrap();
    } else {
        header.set_size(content.len() as u64);
        header.set_cksum();
        tar.append(&header, content.as_bytes()).unwrap();
    }
}

/// mz762: what is left out of the context decides about results.
#[test]
fn a_changed_ignore_file_changes_the_result_5_2() {
    let machine = Machine::new();
    let files = machine.files(
        "files",
        &[
            ("Dockerfile", DOCKERFILE),
            (".dockerignore", "b\n"),
            ("a", "FILE-A"),
            ("b", "FILE-B"),
        ],
    );
    let build = || {
        to_layout(
            &machine,
            &["-c", files.to_str().unwrap(), "--cache", "--no-push-cache"],
        )
        .succeeds();
        let all = content(&machine);
        (contains(&all, "FILE-A"), contains(&all, "FILE-B"))
    };
    assert_eq!(build(), (true, false));
    fs::write(files.join(".dockerignore"), "a\n").unwrap();
    assert_eq!(build(), (false, true));
}

#[test]
fn named_contexts_come_from_everywhere_f9() {
    let (machine, server) = (Machine::new(), FileServer::start());
    let base = machine.files("base", &[("Dockerfile", DOCKERFILE), ("b", "IN THE BASE")]);
    to_layout(&machine, &["-c", base.to_str().unwrap()]).succeeds();
    fs::rename(machine.path("out"), machine.path("layout")).unwrap();
    let files = machine.files("files", &[("f", "IN THE ARCHIVE")]);
    pack(&files, "gzip", &machine.path("files.tar.gz"));
    server.keep(
        "/files.tar.gz",
        fs::read(machine.path("files.tar.gz")).unwrap(),
        &[],
    );
    repository(&machine, "r.git");
    server.keep_directory("/r.git", &machine.path("r.git"));
    let dockerfile = "FROM base\nCOPY --from=archive f /1\nCOPY --from=web f /2\nCOPY --from=git main /3\n";
    let context = machine.files("context", &[("Dockerfile", dockerfile)]);
    let git = server.url("/r.git#main:dir");
    machine
        .lifecycle(&["build", context.to_str().unwrap(), "-t", "x", "-o"])
        .argument(format!("oci:{}", machine.text("out")))
        .argument(format!(
            "--build-context=base=oci-layout://{}",
            machine.text("layout")
        ))
        .argument(format!(
            "--build-context=archive={}",
            machine.text("files.tar.gz")
        ))
        .argument(format!("--build-context=web={}", server.url("/files.tar.gz")))
        .argument(format!("--build-context=git={git}"))
        .succeeds();
    let all = content(&machine);
    for text in ["IN THE BASE", "IN THE ARCHIVE", "code"] {
        assert!(contains(&all, text), "{text}");
    }
}

/// `FROM stack/build` and `FROM stack/run` are the chosen stack's images.
#[test]
fn a_stack_s_images_have_names_for_every_dockerfile() {
    let machine = Machine::new();
    for part in ["build", "run"] {
        let file = format!("FROM scratch\nCOPY part /is-{part}\n");
        let files = machine.files(part, &[("Dockerfile", &file), ("part", part)]);
        let shown = machine
            .lifecycle(&["stack", "inspect", "debian-12", "--output", "json"])
            .succeeds();
        let images = shown.json()["images"].as_array().unwrap().clone();
        let image = images.iter().find(|image| image["part"] == part).unwrap();
        let name = image["name"].as_str().unwrap();
        machine
            .lifecycle(&["build", files.to_str().unwrap(), "-t", name])
            .succeeds();
    }
    let file = "FROM stack/build AS b\nFROM stack/run\nCOPY --from=b /is-build /copied\n";
    let context = machine.files("context", &[("Dockerfile", file)]);
    let build = machine.lifecycle(&["build", context.to_str().unwrap(), "-t", "x", "-o"]);
    build.argument(format!("oci:{}", machine.text("out"))).succeeds();
    let all = content(&machine);
    assert!(contains(&all, "is-run") && contains(&all, "copied"));
    // kaniko's command line means what it meant.
    executor(
        &machine,
        &[
            "-c",
            context.to_str().unwrap(),
            "--no-push",
            "--registry-mirror=127.0.0.1:9",
        ],
    )
    .fails(1);
}
