//! The command lines of older tools, in a busybox root.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{Cursor, Read};
use std::path::Path;
use std::sync::Mutex;

use lifecycle_heroku::fronts::{Variables, herokuish, slugbuilder::Slugbuilder, slugrunner::Slugrunner};
use lifecycle_heroku::{HerokuError, InPlace, Remote, RemoteFailure, Surroundings};
use lifecycle_sandbox::Forwarding;

use crate::support::{Fixture, buildpack, read, tar};

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
fn slugbuilder_keeps_slug_procfile_and_cache_sb_05_sl_10() {
    let Some(f) = Fixture::of_root() else { return };
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
    let mut inside = std::process::Command::new("tar");
    inside.args(["xzOf", &path(&put.join("slug.tgz")), "./Procfile"]);
    let inside = String::from_utf8(inside.output().unwrap().stdout).unwrap();
    assert!(
        inside.starts_with("web: echo") && inside.contains("\nworker: sleep 100\n"),
        "{inside}"
    );
    assert_eq!(read(put.join("Procfile")), inside, "SL-10");
    assert!(build(&[]).1.contains("builds before this one: 1"));
}

/// Files behind addresses, in memory. What has `refused` in its address cannot be put.
#[derive(Debug, Default)]
struct Addresses(Mutex<BTreeMap<String, Vec<u8>>>, Mutex<Vec<String>>);

impl Addresses {
    /// What was asked for and put since the last call, in order.
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.1.lock().unwrap())
    }

    fn get(&self, address: &str) -> Vec<u8> {
        self.0.lock().unwrap().get(address).cloned().unwrap_or_default()
    }
}

impl Remote for Addresses {
    fn open(&self, address: &str) -> Result<Option<Box<dyn Read + Send>>, RemoteFailure> {
        self.1.lock().unwrap().push(format!("get {address}"));
        let found = self.0.lock().unwrap().get(address).cloned();
        Ok(found.map(|bytes| Box::new(Cursor::new(bytes)) as Box<dyn Read + Send>))
    }

    fn put(&self, from: &std::fs::File, address: &str) -> Result<(), RemoteFailure> {
        if address.contains("refused") {
            return Err("it is full".into());
        }
        let mut bytes = Vec::new();
        (&*from).read_to_end(&mut bytes)?;
        self.1.lock().unwrap().push(format!("put {address}"));
        self.0.lock().unwrap().insert(address.to_owned(), bytes);
        Ok(())
    }

    /// A repository with the key that it was asked for with, in place of a buildpack.
    fn check_out(
        &self,
        _: &str,
        _: Option<&str>,
        key: Option<&Path>,
        into: &Path,
    ) -> Result<(), RemoteFailure> {
        let key = key.ok_or("there is no key")?;
        let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(key)?.permissions());
        let script = format!("#!/bin/sh\necho \"key {} {:o}\"\n", read(key), mode & 0o777);
        std::fs::create_dir(into.join("bin"))?;
        for name in ["detect", "compile"] {
            std::fs::write(into.join("bin").join(name), &script)?;
        }
        Ok(())
    }
}

#[test]
fn source_slug_and_cache_may_be_behind_addresses_sb_03_sb_05_sb_06_sb_08() {
    let Some(f) = Fixture::of_root() else { return };
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
    assert_eq!(error, "cannot put it at s3://b/refused/slug.tgz?***: it is full");

    let error = Slugbuilder::new(&[], &variables(&[])).unwrap_err().to_string();
    assert!(error.contains("set PUT_PATH"), "{error}");
    for scheme in ["ftp", "swift"] {
        let address = format!("{scheme}://h/x");
        let error = Slugbuilder::new(&[], &variables(&[("TAR_PATH", &address)])).unwrap_err();
        assert!(matches!(error, HerokuError::Unsupported { .. }), "{error}");
        let expected = format!(
            "cannot use TAR_PATH={address}: nobody here speaks `{scheme}`; use http, https, file, s3, gs or az"
        );
        assert_eq!(error.to_string(), expected);
    }
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

/// Runs slugbuilder with a source of `files`, with everything behind addresses; the log, or why not.
fn slugbuilder(f: &Fixture, elsewhere: &Addresses, own: &[(&str, &str)]) -> Result<String, HerokuError> {
    elsewhere
        .0
        .lock()
        .unwrap()
        .insert("s3://b/tar".to_owned(), tar(&f.path("source")));
    let own = [
        &[
            ("TAR_PATH", "s3://b/tar"),
            ("PUT_PATH", "s3://b/put"),
            ("CACHE_PATH", "s3://b/cache"),
            ("PATH", "/bin"),
            ("ENV_PATH", "/nowhere"),
            ("BUILDPACK_PATH", "/nowhere"),
        ],
        own,
    ]
    .concat();
    let surroundings = Surroundings {
        remote: elsewhere,
        ..f.surroundings()
    };
    let builder = Slugbuilder::new(&[], &variables(&own))?;
    builder.run(surroundings, Box::new(nothing()), &mut Vec::new())?;
    Ok(f.log.take())
}

#[test]
fn slugbuilder_works_in_the_order_that_hooks_and_stores_rely_on_sb_01_sb_02() {
    let Some(f) = Fixture::of_root() else { return };
    let look =
        "#!/bin/sh\necho \"$(basename $0): $(ls -A | sort | tr '\\n' ' '), $(cat $2/count 2>/dev/null)\"\n";
    f.app(&[
        ("contract", ""),
        ("bin/pre-compile", look),
        ("bin/post-compile", look),
    ]);
    let elsewhere = Addresses::default();
    let buildpack = buildpack("contract");
    let own = [
        ("BUILDPACK_URL", buildpack.to_str().unwrap()),
        ("STACK", "heroku-24"),
    ];
    slugbuilder(&f, &elsewhere, &own).unwrap();
    let first = elsewhere.take();
    let log = slugbuilder(&f, &elsewhere, &own).unwrap();
    let steps = [
        "-----> Fetching buildpack ",
        "       pre-compile: bin contract , 1\n",
        "-----> Contract app detected\n",
        "-----> Compiling\n",
        "       builds before this one: 1\n",
        "       post-compile: .git .profile.d .release bin built contract , 2\n",
        "-----> Discovering process types\n",
        "       Default process types for Contract -> web, worker\n",
        "-----> Compiled slug size is ",
    ];
    let mut rest = log.as_str();
    for step in steps {
        rest = rest
            .split_once(step)
            .unwrap_or_else(|| panic!("{step:?} is not in {rest:?} of {log}"))
            .1;
    }
    let stored = [
        "get s3://b/tar",
        "get s3://b/cache/cache.tgz",
        "put s3://b/cache/cache.tgz",
        "put s3://b/put/slug.tgz",
        "put s3://b/put/Procfile",
    ];
    assert_eq!(first, stored);
    assert_eq!(elsewhere.take(), stored);
}

#[test]
fn a_cache_is_put_only_when_its_content_changed_and_it_is_not_empty_sb_03() {
    let Some(f) = Fixture::of_root() else { return };
    f.app(&[("x", "")]);
    let elsewhere = Addresses::default();
    let puts = |script: &str| {
        let buildpack = f.buildpack("keeper", &[("compile", script)]);
        slugbuilder(&f, &elsewhere, &[("BUILDPACK_URL", &buildpack)]).unwrap();
        let seen = elsewhere.take();
        seen.iter()
            .filter(|seen| *seen == "put s3://b/cache/cache.tgz")
            .count()
    };
    assert_eq!(puts("echo nothing is kept"), 0);
    assert_eq!(puts("echo one >$2/file"), 1);
    // The same again, at another time.
    assert_eq!(
        puts("rm $2/file; echo one >$2/file; touch -d '2001-01-01 00:00' $2/file"),
        0
    );
    assert_eq!(puts("cat $2/file"), 0);
    assert_eq!(puts("echo two >$2/file"), 1);
    assert_eq!(puts("chmod 700 $2/file"), 1);
}

#[test]
fn the_buildpacks_of_the_image_are_tried_in_the_order_of_their_names_mp_01() {
    let Some(f) = Fixture::of_root() else { return };
    f.app(&[("x", "")]);
    for (name, detect) in [
        ("installed/02_second", "echo Second"),
        ("installed/01_first", "exit 1"),
        ("installed/03_third", "echo Third"),
    ] {
        f.buildpack(name, &[("detect", detect), ("compile", "true")]);
    }
    let log = slugbuilder(
        &f,
        &Addresses::default(),
        &[("BUILDPACK_PATH", f.path("installed").to_str().unwrap())],
    )
    .unwrap();
    assert!(log.contains("-----> Second app detected\n"), "{log}");
    let error = slugbuilder(&f, &Addresses::default(), &[])
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("Unable to select a buildpack: there is none to try"),
        "{error}"
    );
}

/// The key is a config var in base64; git gets it as a file that nobody else can read.
#[test]
fn a_private_key_reaches_git_mp_04() {
    let Some(f) = Fixture::of_root() else { return };
    f.app(&[("x", "")]);
    std::fs::create_dir(f.path("env")).unwrap();
    let env = f.path("env");
    let own = [
        ("BUILDPACK_URL", "git@h.test:private/buildpack.git"),
        ("ENV_PATH", env.to_str().unwrap()),
    ];
    // `private`, with the line breaks that base64 programs make.
    std::fs::write(f.path("env/SSH_KEY"), "cHJp\ndmF0\nZQ==\n").unwrap();
    let log = slugbuilder(&f, &Addresses::default(), &own).unwrap();
    assert!(log.contains("       key private 600\n"), "{log}");
    std::fs::write(f.path("env/SSH_KEY"), "-----BEGIN").unwrap();
    let error = slugbuilder(&f, &Addresses::default(), &own)
        .unwrap_err()
        .to_string();
    assert_eq!(error, "config var SSH_KEY is not a private key in base64");
}

#[test]
fn variables_of_the_container_that_change_buildpacks_are_not_handed_on_hc_03_pit_16() {
    let Some(f) = Fixture::of_root() else { return };
    f.app(&[("x", "")]);
    let buildpack = f.buildpack("looker", &[("compile", "env")]);
    let foreign = [
        "GIT_DIR",
        "GIT_WORK_TREE",
        "BUNDLE_GEMFILE",
        "NODE_ENV",
        "NODE_OPTIONS",
        "npm_config_registry",
        "AWS_SECRET_ACCESS_KEY",
    ];
    let mut own: Vec<_> = foreign.iter().map(|name| (*name, "leaked")).collect();
    own.extend([
        ("BUILDPACK_URL", buildpack.as_str()),
        ("http_proxy", "http://proxy.test:1"),
    ]);
    let log = slugbuilder(&f, &Addresses::default(), &own).unwrap();
    assert!(!log.contains("leaked"), "{log}");
    assert!(log.contains("       http_proxy=http://proxy.test:1\n"), "{log}");
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
            &Forwarding::default(),
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
    let running = runner
        .run(surroundings.remote, nothing(), &InPlace, &Forwarding::default())
        .unwrap();
    assert!(running.wait(&f.log).unwrap().success());
    assert_eq!(read(other.join("out")), "hello own:5000\n");
}

#[test]
fn a_cache_that_cannot_be_written_is_only_warned_about_sb_08() {
    let Some(f) = Fixture::of_root() else { return };
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
            .run(
                f.surroundings().remote,
                Cursor::new(stdin),
                &InPlace,
                &Forwarding::default(),
            )
            .unwrap();
        assert!(running.wait(&f.log).unwrap().success());
    }
    assert_eq!(read(app.join("out")), "run\nrun\n");
}
