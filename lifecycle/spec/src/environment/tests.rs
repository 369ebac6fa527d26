use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use super::{EnvDirectory, Environment, Moment};

fn environment(variables: &[(&str, &str)]) -> Environment {
    variables
        .iter()
        .map(|(name, value)| (name.into(), value.into()))
        .collect()
}

fn directory(files: &[(&str, &str)]) -> EnvDirectory {
    files
        .iter()
        .map(|(name, value)| (name.into(), value.into()))
        .collect()
}

#[test]
fn suffixes_emr_03_emr_05_emr_08() {
    for (before, files, after) in [
        (None, &[("A", "x")][..], Some("x")),
        (Some("o"), &[("A", "x")], Some("x")),
        (Some("o"), &[("A.override", "x")], Some("x")),
        (Some("o"), &[("A.default", "x")], Some("o")),
        (Some(""), &[("A.default", "x")], Some("x")),
        (None, &[("A.default", "x")], Some("x")),
        (Some("o"), &[("A.append", "x")], Some("ox")),
        (Some("o"), &[("A.append", "x"), ("A.delim", ":")], Some("o:x")),
        (Some("o"), &[("A.prepend", "x"), ("A.delim", ":")], Some("x:o")),
        // EMR-05
        (Some(""), &[("A.append", "x"), ("A.delim", ":")], Some("x")),
        (None, &[("A.prepend", "x"), ("A.delim", ":")], Some("x")),
        // EMR-08: append, then default, then override, then prepend
        (
            Some("o"),
            &[
                ("A.append", "1"),
                ("A.default", "2"),
                ("A.override", "3"),
                ("A.prepend", "4"),
                ("A.delim", "-"),
            ],
            Some("4-3"),
        ),
        (
            Some("o"),
            &[("A.unknown", "x"), ("A.b.append", "y"), (".append", "z")],
            Some("o"),
        ),
        (Some("o"), &[("A.append", " x\n")], Some("o x\n")),
    ] {
        let mut environment = environment(&before.map(|value| ("A", value)).into_iter().collect::<Vec<_>>());
        environment.apply_layer(&[directory(files)]);
        assert_eq!(environment.get(""), None);
        assert_eq!(
            environment.get("A"),
            after.map(OsStr::new),
            "{before:?} {files:?}"
        );
    }
}

#[test]
fn files_are_applied_in_the_order_of_their_names_emr_08() {
    // Each row: the files as they were made, which is not the order of their names.
    for (made, after) in [
        (
            &[("A.prepend", "4"), ("A.override", "3"), ("A.append", "1")][..],
            "43",
        ),
        (&[("A.override", "3"), ("A.default", "2")], "3"),
        (&[("A.prepend", "4"), ("A", "0")], "40"),
        (&[("A.append", "1"), ("A", "0")], "01"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        for (name, value) in made {
            std::fs::write(folder.path().join(name), value).unwrap();
        }
        for directory in [EnvDirectory::read(folder.path()).unwrap(), directory(made)] {
            let mut env = environment(&[("A", "o")]);
            env.apply_layer(&[directory]);
            assert_eq!(env.get("A"), Some(OsStr::new(after)), "{made:?}");
        }
    }
}

#[test]
fn an_empty_value_gets_no_delimiter_emr_05() {
    for before in [&[][..], &[("A", "")]] {
        for suffix in ["append", "prepend"] {
            let mut env = environment(before);
            let file = format!("A.{suffix}");
            env.apply_layer(&[directory(&[(&file, "x"), ("A.delim", ":")])]);
            assert_eq!(env.get("A"), Some(OsStr::new("x")), "{before:?} {suffix}");
            // What is there now is not empty, so the next one has it.
            env.apply_layer(&[directory(&[(&file, "x"), ("A.delim", ":")])]);
            assert_eq!(env.get("A"), Some(OsStr::new("x:x")), "{before:?} {suffix}");
        }
    }
}

#[test]
fn a_delimiter_counts_for_its_directory_then_for_its_layer_emr_06_x_23() {
    let mut env = environment(&[("A", "o"), ("B", "o")]);
    env.apply_layer(&[
        directory(&[("A.delim", ":"), ("A.append", "1"), ("B.append", "1")]),
        directory(&[("A.append", "2"), ("B.delim", "-"), ("B.append", "2")]),
        directory(&[("A.delim", ";"), ("A.append", "3")]),
    ]);
    assert_eq!(env.get("A"), Some(OsStr::new("o:1:2;3")));
    assert_eq!(env.get("B"), Some(OsStr::new("o-1-2")));
}

#[test]
fn delimiters_do_not_reach_other_layers_emr_06() {
    let mut env = environment(&[("A", "o")]);
    env.apply_layer(&[directory(&[("A.delim", ":")])]);
    env.apply_layer(&[directory(&[("A.append", "x")])]);
    assert_eq!(env.get("A"), Some(OsStr::new("ox")));
}

#[test]
fn user_values_prepend_to_path_variables_and_replace_others_env_05() {
    let mut env = environment(&[("PATH", "/bin"), ("A", "o")]);
    env.apply_user(&directory(&[
        ("PATH", "/x"),
        ("A", "n\n"),
        ("CPATH", "/c"),
        ("A.append", "whole name"),
    ]));
    assert_eq!(
        env,
        environment(&[
            ("PATH", "/x:/bin"),
            ("A", "n\n"),
            ("CPATH", "/c"),
            ("A.append", "whole name")
        ])
    );
}

#[test]
fn operator_files_without_suffix_are_defaults_env_07() {
    let mut env = environment(&[("A", "o")]);
    env.apply_operator(&directory(&[("A", "x"), ("B", "x"), ("C.override", "x")]));
    assert_eq!(env, environment(&[("A", "o"), ("B", "x"), ("C", "x")]));
}

#[test]
fn buildpacks_inherit_the_allow_list_only_env_01_env_02_env_03_sec_04() {
    let inherited = [
        "HOME",
        "CNB_STACK_ID",
        "PATH",
        "LD_LIBRARY_PATH",
        "LIBRARY_PATH",
        "CPATH",
        "PKG_CONFIG_PATH",
        "HOSTNAME",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "NO_PROXY",
        "http_proxy",
        "https_proxy",
        "no_proxy",
    ];
    let dropped = [
        "CNB_REGISTRY_AUTH",
        "CNB_PLATFORM_API",
        "DOCKER_CONFIG",
        "LD_PRELOAD",
        "BP_A",
        "FOO",
        "path",
    ];
    let own = inherited.iter().chain(&dropped);
    let env = Environment::for_buildpacks(own.map(|name| (OsString::from(name), OsString::from("x"))));
    assert_eq!(env, environment(&inherited.map(|name| (name, "x"))));
}

#[test]
fn processes_do_not_see_the_lifecycle_lau_12() {
    let container = [
        ("PATH", "/cnb/process:/cnb/lifecycle:/usr/bin::/bin"),
        ("CNB_APP_DIR", "/workspace"),
        ("CNB_LAYERS_DIR", "/layers"),
        ("CNB_PROCESS_TYPE", "web"),
        ("CNB_PLATFORM_API", "0.12"),
        ("CNB_DEPRECATION_MODE", "quiet"),
        ("CNB_EXEC_ENV", "test"),
        ("FOO", "1"),
    ];
    let env = Environment::for_process(container.map(|(name, value)| (name.into(), value.into())));
    assert_eq!(
        env,
        environment(&[("PATH", "/usr/bin::/bin"), ("CNB_EXEC_ENV", "test"), ("FOO", "1")])
    );
}

#[test]
fn layer_paths_by_moment_emr_01_lau_13_x_22() {
    let layers = tempfile::tempdir().unwrap();
    for path in ["a/bin", "a/lib", "a/include", "a/pkgconfig", "b/bin"] {
        std::fs::create_dir_all(layers.path().join(path)).unwrap();
    }
    std::fs::write(layers.path().join("b/lib"), "a file").unwrap();
    let at = |path: &str| layers.path().join(path).into_os_string().into_string().unwrap();

    let mut launch = environment(&[("PATH", "/bin")]);
    let mut build = launch.clone();
    for layer in ["a", "b"] {
        launch.add_layer_paths(&layers.path().join(layer), Moment::Launch);
        build.add_layer_paths(&layers.path().join(layer), Moment::Build);
    }
    let path = format!("{}:{}:/bin", at("b/bin"), at("a/bin"));
    assert_eq!(
        launch,
        environment(&[("PATH", &path), ("LD_LIBRARY_PATH", &at("a/lib"))])
    );
    let all = [
        ("PATH", path),
        ("LD_LIBRARY_PATH", at("a/lib")),
        ("LIBRARY_PATH", at("a/lib")),
        ("CPATH", at("a/include")),
        ("PKG_CONFIG_PATH", at("a/pkgconfig")),
    ];
    assert_eq!(
        build,
        all.into_iter()
            .map(|(name, value)| (name.into(), value.into()))
            .collect()
    );
}

#[test]
fn directories_are_read_byte_for_byte_env_04_env_10() {
    let root = tempfile::tempdir().unwrap();
    let env = root.path().join("env");
    std::fs::create_dir_all(env.join("web")).unwrap();
    std::fs::write(env.join("A"), b"x\xff\n").unwrap();
    std::os::unix::fs::symlink("A", env.join("B")).unwrap();
    let files = EnvDirectory::read(&env).unwrap();
    let value = OsStr::from_bytes(b"x\xff\n").to_owned();
    let expected = [(OsString::from("A"), value.clone()), (OsString::from("B"), value)];
    assert_eq!(files, expected.into_iter().collect());

    assert_eq!(
        EnvDirectory::read(&root.path().join("none")).unwrap(),
        EnvDirectory::default()
    );
    std::os::unix::fs::symlink("gone", env.join("C")).unwrap();
    let error = EnvDirectory::read(&env).unwrap_err();
    assert!(error.to_string().contains("env/C: "), "{error}");
}
