//! Processes that a shell starts: profiles, words, scripts.

use std::fs;

use crate::image::{Image, old_image, stdout, value};

#[test]
fn shell_processes_source_profiles_lau_09() {
    let image = Image::new()
        .buildpack("acme/a", "0.8")
        .buildpack("acme/b", "0.8")
        .directory("app/sub")
        .file("layers/acme_a/one/profile.d/2.sh", "LIST+=a2,\n")
        .file("layers/acme_a/one/profile.d/1 it's.sh", "export LIST=a1,$PWD,\n")
        .file("layers/acme_a/one/profile.d/web/1.sh", "LIST+=aweb,\n")
        .file("layers/acme_b/one/profile.d/1.sh", "LIST+=b1,\n")
        .file("layers/acme_b/one/profile.d/worker/1.sh", "LIST+=worker,\n")
        .file("app/.profile", "LIST+=app,\n")
        .process(
            "web",
            "command = 'echo $LIST $PWD'\ndirect = false\nbuildpack-id = 'acme/a'\nworking-dir = 'sub'",
        )
        .process(
            "direct",
            "command = ['env', '-0']\ndirect = true\nbuildpack-id = 'acme/a'",
        );
    let app = fs::canonicalize(image.path("app")).unwrap();
    let (app, given) = (app.display(), image.path("app"));
    let expected = [
        format!("a1,{app},a2,b1,aweb,app, {app}/sub\n"),
        format!("a1,{},a2,b1,aweb,app, {}/sub\n", given.display(), given.display()),
    ];
    let seen = stdout(image.run("web", &[]));
    assert!(expected.contains(&seen), "{seen}");
    // Never for direct processes.
    assert_eq!(value(&image.environment("direct"), "LIST"), None);
}

#[test]
fn shell_words_and_scripts_lau_10() {
    let image = old_image()
        .file("app/file.txt", "")
        .process("words", "command = 'printf'\nargs = ['<%s>', '$FOO', '*.txt', 'two  spaces', '-n', '$(echo sub)', \"it's\"]\nbuildpack-id = 'acme/old'")
        .process("script", "command = 'printf \"<%s>\" $FOO *.txt; echo; (exit 7)'\nbuildpack-id = 'acme/old'")
        .process("builtin", "command = 'type'\nargs = ['-t', 'cd']\nbuildpack-id = 'acme/old'");
    let run = |name: &str, arguments: &[&str]| {
        image
            .command(name)
            .env("FOO", "a \"b\" c")
            .args(arguments)
            .output()
            .unwrap()
    };
    assert_eq!(
        stdout(run("words", &[])),
        "<a \"b\" c><*.txt><two  spaces><-n><sub><it's>"
    );
    assert_eq!(
        stdout(run("words", &["${FOO%% *}"])),
        "<a \"b\" c><*.txt><two  spaces><-n><sub><it's><a>"
    );
    let script = run("script", &[]);
    assert_eq!(script.status.code(), Some(7));
    assert_eq!(
        String::from_utf8(script.stdout).unwrap(),
        "<a><\"b\"><c><file.txt>\n"
    );
    assert_eq!(stdout(run("builtin", &[])), "builtin\n");
    // A user's command is a script or words in the same way (LAU-06).
    assert_eq!(stdout(run("launcher", &["echo $FOO"])), "a \"b\" c\n");
    assert_eq!(stdout(run("launcher", &["printf", "%s", "$FOO"])), "a \"b\" c");
}

#[test]
fn the_shell_process_replaces_the_launcher_lau_11() {
    let image = old_image()
        .process(
            "words",
            "command = '/bin/sh'\nargs = ['-c', 'echo \\$\\$']\nbuildpack-id = 'acme/old'",
        )
        .process(
            "direct",
            "command = '/bin/sh'\nargs = ['-c', 'echo $$']\ndirect = true\nbuildpack-id = 'acme/old'",
        );
    for name in ["words", "direct"] {
        let child = image
            .command(name)
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let id = child.id();
        assert_eq!(
            stdout(child.wait_with_output().unwrap()),
            format!("{id}\n"),
            "{name}"
        );
    }
}
