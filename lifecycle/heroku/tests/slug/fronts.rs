//! The command lines of older tools, in a busybox root.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{Cursor, Read};
use std::path::Path;
use std::sync::Mutex;

use lifecycle_heroku::fronts::{Variables, herokuish, slugbuilder::Slugbuilder, slugrunner::Slugrunner};
use lifecycle_heroku::{HerokuError, InPlace, Remote, RemoteFailure, Surroundings};

use crate::support::{Fixture, buildpack, read};

fn variables(pairs: &[(&str, &str)]) -> Variables {
    Variables::new(
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), OsString::from(value))),
    )
}

fn nothing() -> Cursor<Vec<u8>> {
    Cursor::new(Vec::new())
}

#[test]
fn slugbuilder_keeps_slug_procfile_and_cache_sb_01_sb_03_sb_05() {
    let f = Fixture::new();
    f.app(&[("contract", ""), ("bin/pre-compile", "#!/bin/sh\necho pre\n")]);
    let (put, cache, source) = (f.path("put"), f.path("kept"), f.path("source"));
    let buildpack = buildpack("contract");
    let path = |path: &Path| path.to_str().unwrap().to_owned();
    let build = |arguments: &[OsString]| {
        let variables = variables(&[
            ("PUT_PATH", &path(&put)),
            ("CACHE_PATH", &path(&cache)),
            ("IMPORT_PATH", &path(&source)),
            ("BUILDPACK_URL", &path(&buildpack)),
            ("PATH", "/bin"),
            ("STACK", "heroku-24"),
            ("ENV_PATH", "/nowhere"),
        ]);
        let mut out = Vec::new();
        Slugbuilder::new(arguments, &variables)
            .unwrap()
            .run(f.surroundings(), Box::new(nothing()), &mut out)
            .unwrap();
        (out, f.log.take())
    };
    let (out, log) = build(&["-".into()]);
    assert!(
        log.contains("       pre\n")
            && log.contains("builds before this one: 0")
            && log.contains("-----> Compiled slug size is "),
        "{log}"
    );
    assert_eq!(out, std::fs::read(put.join("slug.tgz")).unwrap());
    assert!(read(put.join("Procfile")).starts_with("web: "), "SL-10");
    assert!(build(&[]).1.contains("builds before this one: 1"));
}

/// Files behind addresses, in memory. What has `refused` in its address cannot be put.
#[derive(Debug, Default)]
struct Addresses(Mutex<BTreeMap<String, Vec<u8>>>);

impl Addresses {
    fn get(&self, address: &str) -> Vec<u8> {
        self.0.lock().unwrap().get(address).cloned().unwrap_or_default()
    }
}

impl Remote for Addresses {
    fn open(&self, address: &str) -> Result<Option<Box<dyn Read + Send>>, RemoteFailure> {
        let found = self.0.lock().unwrap().get(address).cloned();
        Ok(found.map(|bytes| Box::new(Cursor::new(bytes)) as Box<dyn Read + Send>))
    }

    fn put(&self, from: &std::fs::File, address: &str) -> Result<(), RemoteFailure> {
        if address.contains("refused") {
            return Err("it is full".into());
        }
        let mut bytes = Vec::new();
        (&*from).read_to_end(&mut bytes)?;
        self.0.lock().unwrap().insert(address.to_owned(), bytes);
        Ok(())
    }

    fn check_out(&self, _: &str, _: Option<&str>, _: Option<&Path>, _: &Path) -> Result<(), RemoteFailure> {
        Err("there are no repositories".into())
    }
}

fn tar(directory: &Path) -> Vec<u8> {
    let mut tar = std::process::Command::new("tar");
    tar.args(["cz", "."])
        .current_dir(directory)
        .output()
        .unwrap()
        .stdout
}

#[test]
fn source_slug_and_cache_may_be_behind_addresses_sb_03_sb_05_sb_06_sb_08() {
    let f = Fixture::new();
    let source = f.app(&[("contract", "")]);
    let elsewhere = Addresses::default();
    let key = |address: &str, bytes| elsewhere.0.lock().unwrap().insert(address.to_owned(), bytes);
    key("s3://b/home/app:git/tar", tar(&source));
    key("https://h/buildpack.tgz?signature=x", tar(&buildpack("contract")));
    let build = |put: &str, cache: &str| {
        let own = variables(&[
            ("TAR_PATH", "s3://b/home/app:git/tar"),
            ("PUT_PATH", put),
            ("CACHE_PATH", cache),
            ("BUILDPACK_URL", "https://h/buildpack.tgz?signature=x"),
            ("AWS_SECRET_ACCESS_KEY", "s3cret"),
            ("PATH", "/bin"),
            ("ENV_PATH", "/nowhere"),
        ]);
        let surroundings = Surroundings {
            remote: &elsewhere,
            ..f.surroundings()
        };
        let builder = Slugbuilder::new(&[], &own).unwrap();
        let built = builder.run(surroundings, Box::new(nothing()), &mut Vec::new());
        let log = f.log.take();
        assert!(!log.contains("s3cret") && !log.contains("signature"), "{log}");
        (built, log)
    };
    // A cache that is not there is no error.
    let (built, log) = build("s3://b/slugs?x=1", "s3://b/cache");
    built.unwrap();
    assert!(log.contains("builds before this one: 0"), "{log}");
    assert!(
        elsewhere
            .get("s3://b/slugs/slug.tgz?x=1")
            .starts_with(&[0x1f, 0x8b])
    );
    assert!(elsewhere.get("s3://b/slugs/Procfile?x=1").starts_with(b"web: "));
    let (built, log) = build("https://h/put", "s3://b/cache");
    built.unwrap();
    assert!(log.contains("builds before this one: 1"), "{log}");
    assert!(!elsewhere.get("https://h/put/slug.tgz").is_empty());
    // A cache that cannot be put is warned about, a slug that cannot be put is a failure.
    let (built, log) = build("https://h/put", "s3://b/refused");
    built.unwrap();
    assert!(
        log.contains("The cache could not be written: cannot put it at s3://b/refused/cache.tgz: it is full"),
        "{log}"
    );
    let error = build("s3://b/refused?sig=1", "s3://b/cache")
        .0
        .unwrap_err()
        .to_string();
    assert_eq!(error, "cannot put it at s3://b/refused/slug.tgz: it is full");

    let error = Slugbuilder::new(&[], &variables(&[])).unwrap_err().to_string();
    assert!(error.contains("set PUT_PATH"), "{error}");
    let error = Slugbuilder::new(&[], &variables(&[("TAR_PATH", "ftp://h/x")])).unwrap_err();
    assert!(error.to_string().contains("nobody here speaks `ftp`"), "{error}");
    let own = variables(&[
        ("TAR_PATH", "s3://b/missing"),
        ("PATH", "/bin"),
        ("ENV_PATH", "/nowhere"),
    ]);
    let builder = Slugbuilder::new(&["-".into()], &own).unwrap();
    let surroundings = Surroundings {
        remote: &elsewhere,
        ..f.surroundings()
    };
    let error = builder
        .run(surroundings, Box::new(nothing()), &mut Vec::new())
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("s3://b/missing: there is no such file"),
        "{error}"
    );
}

/// In place, as the present user and in the present root, which has a shell and /app only by chance: what these commands
/// do must not need either.
#[test]
fn herokuish_imports_parses_starts_and_generates_he_02_he_03_sl_09_sr_01() {
    let f = Fixture::new();
    let source = f.app(&[
        ("Procfile", "web: echo $GREETING $A:$PORT > out\n"),
        (".profile.d/x.sh", "export GREETING=hello"),
    ]);
    std::fs::create_dir(f.path("env")).unwrap();
    std::fs::write(f.path("env/A"), "from the env directory\n").unwrap();
    let tar = tar(&source);
    let (app, slug, env) = (f.path("app"), f.path("slug.tgz"), f.path("env"));
    let path = |path: &Path| path.to_str().unwrap().to_owned();
    let own = variables(&[
        ("APP_PATH", &path(&app)),
        ("SLUG_PATH", &path(&slug)),
        ("ENV_PATH", &path(&env)),
        ("PATH", "/usr/bin:/bin"),
        ("PORT", "7"),
    ]);
    let settings = herokuish::Settings::new(own.clone());
    let surroundings = Surroundings {
        rooms: &InPlace,
        ..f.surroundings()
    };
    let run = |line: &str, stdin: &[u8]| {
        let mut words = line.split(' ').map(OsString::from);
        let program = words.next().unwrap();
        let command = herokuish::Herokuish::parse(&program, &words.collect::<Vec<_>>()).unwrap()?;
        let mut out = Vec::new();
        let running = herokuish::run(
            command,
            &settings,
            surroundings,
            Cursor::new(stdin.to_vec()),
            &mut out,
        )?;
        if let Some(running) = running {
            assert!(running.wait(&f.log)?.success());
        }
        Ok::<_, HerokuError>(String::from_utf8_lossy(&out).into_owned())
    };
    run("herokuish slug import", &tar).unwrap();
    assert!(matches!(
        run("herokuish slug import", &tar),
        Err(HerokuError::NotEmpty(_))
    ));
    assert_eq!(
        run("herokuish procfile parse web", b"").unwrap(),
        "echo $GREETING $A:$PORT > out\n"
    );
    run("/start web", b"").unwrap();
    assert_eq!(read(app.join("out")), "hello from the env directory:7\n");
    run("herokuish slug generate", b"").unwrap();
    assert!(f.log.take().starts_with("-----> Compiled slug size is "));
    assert!(
        run("herokuish paths", b"")
            .unwrap()
            .contains(&format!("APP_PATH={}\n", app.display()))
    );

    // And slugrunner, from a file.
    let other = f.path("other");
    let runner = Slugrunner::new(
        &["start".into(), "web".into()],
        variables(&[
            ("APP_PATH", &path(&other)),
            ("SLUG_URL", &path(&slug)),
            ("PATH", "/usr/bin:/bin"),
            ("A", "own"),
        ]),
    );
    let running = runner.run(surroundings.remote, nothing(), &InPlace).unwrap();
    assert!(running.wait(&f.log).unwrap().success());
    assert_eq!(read(other.join("out")), "hello own:5000\n");
}

#[test]
fn a_cache_that_cannot_be_written_is_only_warned_about_sb_08() {
    let f = Fixture::new();
    f.app(&[("contract", "")]);
    // A file where the directory should be.
    std::fs::write(f.path("kept"), "").unwrap();
    let path = |path: &Path| path.to_str().unwrap().to_owned();
    let own = variables(&[
        ("CACHE_PATH", &path(&f.path("kept"))),
        ("IMPORT_PATH", &path(&f.path("source"))),
        ("BUILDPACK_URL", &path(&buildpack("contract"))),
        ("PATH", "/bin"),
        ("ENV_PATH", "/nowhere"),
    ]);
    let mut out = Vec::new();
    let builder = Slugbuilder::new(&["-".into()], &own).unwrap();
    builder
        .run(f.surroundings(), Box::new(nothing()), &mut out)
        .unwrap();
    assert!(!out.is_empty() && f.log.take().contains(" !     The cache could not be written: "));
}

#[test]
fn slugrunner_takes_a_slug_from_standard_input_or_what_is_there_sr_01() {
    let f = Fixture::new();
    let source = f.app(&[("Procfile", "web: echo run >> $HOME/out\n")]);
    let tar = tar(&source);
    let app = f.path("app");
    let own = || variables(&[("APP_PATH", app.to_str().unwrap()), ("PATH", "/usr/bin:/bin")]);
    for stdin in [tar, b"not read".to_vec()] {
        let runner = Slugrunner::new(&[], own());
        let running = runner
            .run(f.surroundings().remote, Cursor::new(stdin), &InPlace)
            .unwrap();
        assert!(running.wait(&f.log).unwrap().success());
    }
    assert_eq!(read(app.join("out")), "run\nrun\n");
}
