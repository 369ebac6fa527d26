//! The launcher as a container starts it: the built program, layer directories, and processes that say what they see.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

/// An app image: layers, app, and links to the launcher.
struct Image {
    root: TempDir,
    metadata: String,
}

impl Image {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        for directory in ["layers/config", "app", "process"] {
            fs::create_dir_all(root.path().join(directory)).unwrap();
        }
        Self {
            root,
            metadata: String::new(),
        }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    fn buildpack(mut self, id: &str, api: &str) -> Self {
        self.metadata = format!(
            "{}[[buildpacks]]\nid = '{id}'\nversion = '1'\napi = '{api}'\n",
            self.metadata
        );
        self
    }

    fn process(mut self, process_type: &str, rest: &str) -> Self {
        self.metadata = format!(
            "{}[[processes]]\ntype = '{process_type}'\n{rest}\n",
            self.metadata
        );
        self
    }

    /// A process that prints its environment.
    fn env_process(self, process_type: &str, buildpack: &str) -> Self {
        self.process(
            process_type,
            &format!("command = ['/usr/bin/env', '-0']\ndirect = true\nbuildpack-id = '{buildpack}'"),
        )
    }

    fn file(self, path: &str, content: impl AsRef<[u8]>) -> Self {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
        self
    }

    fn program(self, path: &str, script: &str) -> Self {
        let image = self.file(path, script);
        fs::set_permissions(image.path(path), fs::Permissions::from_mode(0o755)).unwrap();
        image
    }

    fn directory(self, path: &str) -> Self {
        fs::create_dir_all(self.path(path)).unwrap();
        self
    }

    fn command(&self, name: &str) -> Command {
        fs::write(self.path("layers/config/metadata.toml"), &self.metadata).unwrap();
        let link = self.path("process").join(name);
        if !link.exists() {
            symlink(env!("CARGO_BIN_EXE_launcher"), &link).unwrap();
        }
        let mut command = Command::new(link);
        command
            .env_clear()
            .env("CNB_PLATFORM_API", "0.12")
            .env("CNB_LAYERS_DIR", self.path("layers"))
            .env("CNB_APP_DIR", self.path("app"))
            .env("PATH", "/cnb/process:/cnb/lifecycle:/usr/bin:/bin");
        command
    }

    fn run(&self, name: &str, arguments: &[&str]) -> Output {
        self.command(name).args(arguments).output().unwrap()
    }

    /// The environment of a process that prints it with NULs.
    fn environment(&self, name: &str) -> Vec<(OsString, OsString)> {
        environment_in(&succeeded(self.run(name, &[])))
    }
}

fn environment_in(stdout: &[u8]) -> Vec<(OsString, OsString)> {
    let variables = stdout.split(|byte| *byte == 0).filter(|line| !line.is_empty());
    let mut variables: Vec<_> = variables
        .map(|line| {
            let equals = line.iter().position(|byte| *byte == b'=').unwrap();
            let text = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
            (text(&line[..equals]), text(&line[equals + 1..]))
        })
        .collect();
    variables.sort();
    variables
}

fn value(environment: &[(OsString, OsString)], name: &str) -> Option<OsString> {
    environment
        .iter()
        .find(|(known, _)| known == name)
        .map(|(_, value)| value.clone())
}

#[track_caller]
fn succeeded(output: Output) -> Vec<u8> {
    assert!(
        output.status.success(),
        "{:?}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

#[track_caller]
fn stdout(output: Output) -> String {
    String::from_utf8(succeeded(output)).unwrap()
}

/// Exit code and stderr; a failed launch prints nothing on stdout.
#[track_caller]
fn failed(output: Output) -> (i32, String) {
    assert!(
        output.stdout.is_empty(),
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );
    (
        output.status.code().unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

fn new_image() -> Image {
    Image::new().buildpack("acme/new", "0.12")
}

fn old_image() -> Image {
    Image::new().buildpack("acme/old", "0.8")
}

#[test]
fn platform_api_is_checked_first_gen_01_lau_15() {
    // Nothing else is there, and nothing else is complained about.
    let image = Image::new();
    for (api, text) in [
        (
            None,
            "ERROR: failed to get platform API version; please set 'CNB_PLATFORM_API' to specify the desired platform API version\n",
        ),
        (Some("x"), "ERROR: failed to parse platform API 'x'\n"),
        (
            Some("0.2"),
            "ERROR: failed to set platform API: platform API version '0.2' is incompatible with the lifecycle\n",
        ),
    ] {
        let mut command = image.command("web");
        fs::remove_file(image.path("layers/config/metadata.toml")).unwrap();
        match api {
            Some(api) => command.env("CNB_PLATFORM_API", api),
            None => command.env_remove("CNB_PLATFORM_API"),
        };
        assert_eq!(failed(command.output().unwrap()), (11, text.to_owned()));
    }
}

#[test]
fn buildpack_apis_are_checked_lau_15() {
    for (api, text) in [
        (
            "0.2",
            "ERROR: failed to set API for buildpack 'acme/a@1': buildpack API version '0.2' is incompatible with the lifecycle\n",
        ),
        (
            "",
            "ERROR: failed to parse buildpack API '<nil>' for buildpack 'acme/a@1'\n",
        ),
    ] {
        let image = new_image()
            .buildpack("acme/a", api)
            .env_process("web", "acme/new");
        assert_eq!(failed(image.run("web", &[])), (12, text.to_owned()));
    }
}

#[test]
fn missing_or_broken_metadata_is_82() {
    let image = new_image();
    let mut command = image.command("web");
    fs::remove_file(image.path("layers/config/metadata.toml")).unwrap();
    let (code, text) = failed(command.output().unwrap());
    assert_eq!(code, 82);
    assert!(text.starts_with("ERROR: failed to launch: read /"), "{text}");

    let image = new_image().process("web", "command = 1");
    let (code, text) = failed(image.run("web", &[]));
    assert_eq!(code, 82);
    assert!(
        text.ends_with("metadata.toml:7:11: `command` must be a list of strings, not an integer\n"),
        "{text}"
    );
}

#[test]
fn a_process_that_does_not_exist_is_82_lau_06() {
    let image = new_image().env_process("web", "acme/new");
    let (code, text) = failed(image.run("worker", &[]));
    assert_eq!(code, 82);
    assert!(
        text.contains("no process type was named and no command was given; processes in this image: web"),
        "{text}"
    );
}

#[test]
fn a_program_that_does_not_exist_is_82_lau_14() {
    let image = new_image().process(
        "web",
        "command = ['no-such-program']\ndirect = true\nbuildpack-id = 'acme/new'",
    );
    let (code, text) = failed(image.run("web", &[]));
    let expected = "ERROR: failed to launch: path lookup: `no-such-program` is no executable file in PATH (/usr/bin:/bin)\n";
    assert_eq!((code, text.as_str()), (82, expected));
}

#[test]
fn the_process_sees_the_container_without_the_lifecycle_lau_12() {
    let image = new_image().env_process("web", "acme/new");
    let output = image
        .command("web")
        .env("FOO", "bar")
        .env("CNB_PROCESS_TYPE", "web")
        .output()
        .unwrap();
    let warnings = String::from_utf8(output.stderr.clone()).unwrap();
    assert!(
        warnings.starts_with("Warning: CNB_PROCESS_TYPE has no effect at launch\n"),
        "{warnings}"
    );
    let expected = [("FOO", "bar"), ("PATH", "/usr/bin:/bin")];
    assert_eq!(
        environment_in(&succeeded(output)),
        expected.map(|(name, value)| (name.into(), value.into()))
    );
}

#[test]
fn layer_environment_in_the_order_of_the_rules_emr_04() {
    let image = Image::new()
        .buildpack("acme/a", "0.12")
        .buildpack("acme/b", "0.9")
        .env_process("web", "acme/a")
        .directory("layers/acme_a/one/bin")
        .directory("layers/acme_a/two/bin")
        .directory("layers/acme_b/one/bin")
        .directory("layers/acme_b/one/lib")
        .directory("layers/acme_b/one/include")
        .file("layers/acme_a/one/env/LIST.append", "a1")
        .file("layers/acme_a/one/env.launch/LIST.append", "a2")
        .file("layers/acme_a/one/env.launch/web/LIST.append", "a3")
        .file("layers/acme_a/one/env.launch/worker/LIST.append", "not this")
        .file("layers/acme_a/one/env.build/LIST.append", "not this")
        .file("layers/acme_a/one/env/LIST.delim", ",")
        .file("layers/acme_b/one/env/LIST.append", "b")
        .file("layers/acme_b/one/env/USER_WINS.default", "default")
        .file("layers/acme_b/one/env/BUILDPACK_WINS", "buildpack");
    let output = image
        .command("web")
        .env("USER_WINS", "user")
        .env("BUILDPACK_WINS", "user")
        .output()
        .unwrap();
    let environment = environment_in(&succeeded(output));
    let at = |path: &str| image.path("layers").join(path).into_os_string();
    let mut path = OsString::new();
    for directory in ["acme_b/one/bin", "acme_a/two/bin", "acme_a/one/bin"] {
        path.push(at(directory));
        path.push(":");
    }
    path.push("/usr/bin:/bin");
    assert_eq!(value(&environment, "PATH"), Some(path));
    assert_eq!(value(&environment, "LD_LIBRARY_PATH"), Some(at("acme_b/one/lib")));
    assert_eq!(value(&environment, "CPATH"), None);
    assert_eq!(value(&environment, "LIST"), Some("a1,a2,a3b".into()));
    // EMR-07
    assert_eq!(value(&environment, "USER_WINS"), Some("user".into()));
    assert_eq!(value(&environment, "BUILDPACK_WINS"), Some("buildpack".into()));
}

#[test]
fn the_user_meets_buildpacks_at_launch_emr_07() {
    let mut image = new_image().env_process("web", "acme/new");
    // What a buildpack writes, and what becomes of `user` and of nothing.
    let table = [
        ("PLAIN", "", "layer", "layer"),
        ("OVERRIDE", ".override", "layer", "layer"),
        ("DEFAULT", ".default", "user", "layer"),
        ("APPEND", ".append", "userlayer", "layer"),
        ("PREPEND", ".prepend", "layeruser", "layer"),
    ];
    for (name, suffix, _, _) in table {
        image = image.file(&format!("layers/acme_new/l/env.launch/{name}{suffix}"), "layer");
    }
    let mut given = image.command("web");
    given.envs(table.map(|(name, ..)| (name, "user")));
    let given = environment_in(&succeeded(given.output().unwrap()));
    let absent = environment_in(&succeeded(image.command("web").output().unwrap()));
    for (name, _, with_user, without) in table {
        assert_eq!(value(&given, name), Some(with_user.into()), "{name}");
        assert_eq!(value(&absent, name), Some(without.into()), "{name}");
    }
}

#[test]
fn bytes_that_are_not_utf8_reach_the_process() {
    let bytes = OsStr::from_bytes(b"x\xff\n");
    let image = new_image()
        .env_process("web", "acme/new")
        .file("layers/acme_new/l/env/FILE", bytes.as_bytes());
    let output = image.command("web").env("GIVEN", bytes).output().unwrap();
    let environment = environment_in(&succeeded(output));
    assert_eq!(value(&environment, "FILE"), Some(bytes.into()));
    assert_eq!(value(&environment, "GIVEN"), Some(bytes.into()));

    let output = image
        .command("launcher")
        .args(["--", "printf", "%s"])
        .arg(bytes)
        .output()
        .unwrap();
    assert_eq!(succeeded(output), bytes.as_bytes());
}

#[test]
fn user_processes_have_no_type_lau_17() {
    let image = new_image()
        .file("layers/acme_new/l/env.launch/ALL", "1")
        .file("layers/acme_new/l/env.launch/launcher/TYPED", "1");
    let environment = environment_in(&succeeded(image.run("launcher", &["--", "env", "-0"])));
    assert_eq!(value(&environment, "ALL"), Some("1".into()));
    assert_eq!(value(&environment, "TYPED"), None);
}

#[test]
fn arguments_are_replaced_or_appended_lau_04_lau_05() {
    let command = "command = ['printf', '%s,']\nargs = ['default']\ndirect = true\nbuildpack-id = 'acme/new'";
    let image = new_image().process("web", command);
    assert_eq!(stdout(image.run("web", &[])), "default,");
    assert_eq!(stdout(image.run("web", &["a b", "c"])), "a b,c,");
    let old = image
        .command("web")
        .env("CNB_PLATFORM_API", "0.9")
        .arg("user")
        .output()
        .unwrap();
    assert_eq!(stdout(old), "default,user,");
}

#[test]
fn working_dir_is_below_the_app_lau_03() {
    let image = new_image()
        .directory("app/sub")
        .process(
            "web",
            "command = ['pwd']\ndirect = true\nbuildpack-id = 'acme/new'\nworking-dir = 'sub'",
        )
        .process(
            "gone",
            "command = ['pwd']\ndirect = true\nbuildpack-id = 'acme/new'\nworking-dir = 'gone'",
        );
    let app = fs::canonicalize(image.path("app")).unwrap();
    assert_eq!(
        Path::new(stdout(image.run("web", &[])).trim_end()),
        app.join("sub")
    );
    assert_eq!(
        Path::new(stdout(image.run("launcher", &["--", "pwd"])).trim_end()),
        app
    );
    let (code, text) = failed(image.run("gone", &[]));
    assert_eq!(code, 82);
    assert!(
        text.contains("change to directory") && text.contains("/app/gone: "),
        "{text}"
    );
}

#[test]
fn a_relative_program_is_found_in_the_working_dir() {
    let image = new_image()
        .program("app/sub/run", "#!/bin/sh\necho \"$0\"\n")
        .process(
            "web",
            "command = ['./run']\ndirect = true\nbuildpack-id = 'acme/new'\nworking-dir = 'sub'",
        );
    assert_eq!(stdout(image.run("web", &[])), "./run\n");
}

#[test]
fn execution_environments_lau_02() {
    let image = new_image().process(
        "web",
        "command = ['echo', 'ok']\ndirect = true\nbuildpack-id = 'acme/new'\nexec-env = ['test']",
    );
    let run = |api: &str, env: &str| {
        image
            .command("web")
            .env("CNB_PLATFORM_API", api)
            .env("CNB_EXEC_ENV", env)
            .output()
            .unwrap()
    };
    assert_eq!(stdout(run("0.15", "test")), "ok\n");
    assert_eq!(stdout(run("0.14", "production")), "ok\n");
    let (code, text) = failed(run("0.15", ""));
    assert_eq!(code, 82);
    assert!(
        text.contains("is for the execution environments test, not for `production`"),
        "{text}"
    );
}

#[test]
fn exec_d_sets_variables_in_order_lau_08_x_09() {
    let append = |text: &str| format!("#!/bin/sh\necho \"LIST = '${{LIST}}{text},'\" >&3\n");
    let image = Image::new()
        .buildpack("acme/a", "0.12")
        .buildpack("acme/b", "0.12")
        .env_process("web", "acme/a")
        .program("layers/acme_a/one/exec.d/2", &append("a-one-2"))
        .program("layers/acme_a/one/exec.d/1", &append("a-one-1"))
        .program("layers/acme_a/one/exec.d/web/1", &append("a-one-web"))
        .program("layers/acme_a/one/exec.d/worker/1", &append("not this"))
        .program("layers/acme_a/two/exec.d/1", &append("a-two-1"))
        .program("layers/acme_b/one/exec.d/1", &append("b-one-1"))
        .program("layers/acme_b/one/exec.d/web/1", &append("b-one-web"))
        .file("layers/acme_b/one/env/LIST", "env,");
    let list = value(&image.environment("web"), "LIST").unwrap();
    assert_eq!(list, "env,a-one-1,a-one-2,a-two-1,b-one-1,a-one-web,b-one-web,");
}

#[test]
fn exec_d_runs_in_the_app_and_logs_to_the_container_xcd_01_xcd_03() {
    let script = concat!(
        "#!/bin/sh\necho to-stdout\necho to-stderr >&2\necho \"CWD = '$PWD'\" >&3\n",
        "pipe=$(readlink /proc/self/fd/3)\n",
        "echo \"ENDS = '$(ls -l /proc/self/fd | grep -cF \"$pipe\")'\" >&3\n",
    );
    let image = new_image()
        .env_process("web", "acme/new")
        .program("layers/acme_new/l/exec.d/x", script);
    let output = image.run("web", &[]);
    assert_eq!(String::from_utf8_lossy(&output.stderr), "to-stderr\n");
    let stdout = succeeded(output);
    let environment = environment_in(stdout.strip_prefix(b"to-stdout\n").unwrap());
    let app = fs::canonicalize(image.path("app")).unwrap();
    assert_eq!(value(&environment, "CWD"), Some(app.into()));
    // The other end of the pipe, and copies of this one, stay with the launcher.
    assert_eq!(value(&environment, "ENDS"), Some("1".into()));
}

#[test]
fn exec_d_output_larger_than_a_pipe_does_not_block_xcd_04() {
    let script =
        "#!/bin/sh\nprintf \"BIG = '\" >&3\nhead -c 100000 /dev/zero | tr '\\0' x >&3\nprintf \"'\\n\" >&3\n";
    let image = new_image()
        .env_process("web", "acme/new")
        .program("layers/acme_new/l/exec.d/x", script);
    assert_eq!(value(&image.environment("web"), "BIG").unwrap().len(), 100_000);
}

#[test]
fn exec_d_failures_are_82_xcd_01_xcd_02_xcd_04() {
    let image = || new_image().env_process("web", "acme/new");
    for (image, text) in [
        (
            image().program("layers/acme_new/l/exec.d/x", "#!/bin/sh\nexit 3\n"),
            "exec.d/x failed with exit status: 3\n",
        ),
        (
            image().file("layers/acme_new/l/exec.d/x", "#!/bin/sh\n"),
            "exec.d/x: Permission denied (os error 13)\n",
        ),
        (
            image().program("layers/acme_new/l/exec.d/x", "#!/bin/sh\necho 'A = 1' >&3\n"),
            "exec.d/x:1:5: `A` must be a string, not an integer\n",
        ),
        (
            image().program(
                "layers/acme_new/l/exec.d/x",
                "#!/bin/sh\nprintf 'A = \"\\377\"' >&3\n",
            ),
            "exec.d/x:1:6: not valid UTF-8\n",
        ),
    ] {
        let (code, stderr) = failed(image.run("web", &[]));
        assert_eq!(code, 82, "{stderr}");
        assert!(
            stderr.starts_with("ERROR: failed to launch: exec.d: ") && stderr.ends_with(text),
            "{stderr}"
        );
    }
}

/// Whoever starts a container may pass descriptors in (socket activation). They are for the process.
#[test]
fn a_descriptor_3_of_the_container_stays_for_the_process() {
    let image = new_image()
        .program(
            "layers/acme_new/l/exec.d/x",
            "#!/bin/sh\necho \"A = 'set'\" >&3\n",
        )
        .process(
            "web",
            "command = ['sh', '-c', 'echo $A; cat <&3']\ndirect = true\nbuildpack-id = 'acme/new'",
        );
    let launcher = image.command("web");
    let mut sh = Command::new("/bin/sh");
    sh.env_clear().envs(
        launcher
            .get_envs()
            .filter_map(|(name, value)| Some((name, value?))),
    );
    sh.args(["-c", "echo given | { exec 3<&0 </dev/null; exec \"$0\"; }"])
        .arg(launcher.get_program());
    assert_eq!(stdout(sh.output().unwrap()), "set\ngiven\n");
}

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

#[test]
fn the_process_passes_its_own_status_on() {
    let image = new_image();
    assert_eq!(
        image.run("launcher", &["--", "sh", "-c", "exit 3"]).status.code(),
        Some(3)
    );
}

#[test]
fn the_name_that_counts_is_argv_0_lau_01() {
    let image = new_image().process(
        "web",
        "command = ['echo', 'web']\ndirect = true\nbuildpack-id = 'acme/new'",
    );
    let output = image.command("launcher").arg0("/elsewhere/web").output().unwrap();
    assert_eq!(stdout(output), "web\n");
}

#[test]
fn preparation_has_an_order_lau_07() {
    let image = Image::new()
        .buildpack("acme/a", "0.8")
        .directory("app/sub")
        .file("layers/acme_a/l/env.launch/SEEN", "env,")
        .program(
            "layers/acme_a/l/exec.d/x",
            "#!/bin/sh\necho \"SEEN = '${SEEN}exec.d,'\" >&3\n",
        )
        .file(
            "layers/acme_a/l/profile.d/x.sh",
            "export SEEN=${SEEN}profile.d,\n",
        )
        .file("app/.profile", "export SEEN=${SEEN}.profile,${PWD##*/},\n")
        .process(
            "web",
            "command = 'echo $SEEN${PWD##*/}'\ndirect = false\nbuildpack-id = 'acme/a'\nworking-dir = 'sub'",
        );
    assert_eq!(
        stdout(image.run("web", &[])),
        "env,exec.d,profile.d,.profile,app,sub\n"
    );
}

#[test]
fn programs_are_looked_up_where_layers_put_them_lau_14() {
    let image = new_image()
        .program("layers/acme_new/l/bin/tool", "#!/bin/sh\necho \"$0 $*\"\n")
        .process(
            "web",
            "command = ['tool', 'fixed']\nargs = ['a b']\ndirect = true\nbuildpack-id = 'acme/new'",
        );
    let tool = image.path("layers/acme_new/l/bin/tool");
    assert_eq!(
        stdout(image.run("web", &[])),
        format!("{} fixed a b\n", tool.display())
    );
}
