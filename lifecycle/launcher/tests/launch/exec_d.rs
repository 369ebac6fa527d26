//! Programs in `exec.d`, which set variables before the process starts.

use std::fs;

use crate::image::{Image, environment_in, failed, new_image, succeeded, value};

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
