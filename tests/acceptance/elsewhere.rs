//! What lies elsewhere: files of the web and repositories, from the command line.

use std::fs;
use std::process::Command;

use crate::support::Machine;
use crate::support::file_server::{Action, FileServer};

/// A bare repository that a web server can give as files, with one file in a directory.
pub(crate) fn repository(machine: &Machine, name: &str) {
    let script = format!(
        "git init -q -b main work; mkdir -p work/dir; echo code >work/dir/main; cd work; git add .
         git -c user.name=a -c user.email=a@b commit -qm 1; git tag v1; cd ..
         git clone -q --bare work {name}; cd {name}; git update-server-info"
    );
    let mut command = Command::new("sh");
    command.args(["-euc", &script]).current_dir(machine.path(""));
    assert!(command.status().unwrap().success());
}

#[test]
fn add_brings_files_and_repositories_h27_h29_h30() {
    let machine = Machine::new();
    let server = FileServer::start();
    server.keep("/dir/file.txt", "from the web\n", &[]);
    server.once("GET /dir/file.txt", Action::Cut(4));
    repository(&machine, "r.git");
    server.keep_directory("/r.git", &machine.path("r.git"));
    // `x-access-token:t0ken`, which both need.
    server.require("Basic eC1hY2Nlc3MtdG9rZW46dDBrZW4=");
    let file = format!(
        "FROM scratch\nADD {} /web/\nADD {}#v1:dir /git/\n",
        server.url("/dir/file.txt"),
        server.url("/r.git"),
    );
    let app = machine.files("app", &[("Dockerfile", &file)]);
    let layout = format!("oci:{}", machine.text("layout"));
    let build = |secrets: &[&str]| {
        let arguments = [
            "build",
            app.to_str().unwrap(),
            "--tag",
            "elsewhere",
            "--output",
            &layout,
        ];
        machine
            .lifecycle(&[&arguments[..], secrets].concat())
            .env("WEB", "Basic eC1hY2Nlc3MtdG9rZW46dDBrZW4=")
            .env("TOKEN", "t0ken")
    };
    build(&[]).fails(1).says("401").says("Dockerfile:2:1");
    let host = server.address();
    let web = format!("id=HTTP_AUTH_HEADER_{host},env=WEB");
    let made = build(&["--secret", &web, "--secret", "id=GIT_AUTH_TOKEN,env=TOKEN"]).succeeds();
    let contents: Vec<u8> = blobs(&machine.path("layout"));
    for text in ["from the web", "code"] {
        assert!(
            contents
                .windows(text.len())
                .any(|window| window == text.as_bytes()),
            "{text}"
        );
    }
    for secret in ["t0ken", "eC1hY2Nlc3M"] {
        assert!(
            !contents
                .windows(secret.len())
                .any(|window| window == secret.as_bytes()),
            "{secret}"
        );
        assert!(!made.text().contains(secret), "{secret}");
    }
}

/// All blobs of a layout, uncompressed.
pub(crate) fn blobs(layout: &std::path::Path) -> Vec<u8> {
    let mut all = Vec::new();
    for entry in fs::read_dir(layout.join("blobs/sha256")).unwrap() {
        let path = entry.unwrap().path();
        let mut shell = Command::new("sh");
        shell
            .args(["-c", "gzip -dc \"$1\" 2>/dev/null || cat \"$1\"", "sh"])
            .arg(&path);
        all.extend(shell.output().unwrap().stdout);
    }
    all
}
