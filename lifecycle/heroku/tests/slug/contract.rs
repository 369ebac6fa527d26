//! What scripts are given, and what becomes of what they do and say.

use std::os::unix::fs::{MetadataExt as _, lchown};
use std::time::Duration;

use lifecycle_heroku::{BuildOptions, Console, HerokuError, Source, Stack, Surroundings, build};

use crate::support::{Fixture, addresses, paths, read, tar};

/// git refuses to work in a repository of somebody else, so scripts find none, and the files around it are theirs.
#[test]
fn scripts_see_no_repository_whoever_owns_it_sl_01_pit_12_pit_15() {
    let Some(f) = Fixture::of_root() else { return };
    let app = f.app(&[
        (".git/HEAD", "ref: refs/heads/main\n"),
        ("vendor/lib/.git/config", "[core]\n"),
        ("vendor/module/.git", "gitdir: ../../.git/modules/module\n"),
        (".github/workflow", "kept\n"),
        (".gitignore", "kept\n"),
    ]);
    for path in paths(&app) {
        lchown(app.join(path), Some(4242), Some(4242)).unwrap();
    }
    let looker = f.buildpack(
        "looker",
        &[(
            "compile",
            "echo \"repositories: $(find \"$1\" -name .git | wc -l)\"
             echo \"files of others: $(find \"$1\" ! -user \"$(id -u)\" | wc -l)\"
             mkdir -p \"$1/.git\" \"$1/new/.git\"; touch \"$1/.git/index\"",
        )],
    );
    let sources = [
        Source::Directory(app.clone()),
        Source::Tar {
            name: "standard input".to_owned(),
            reader: Box::new(std::io::Cursor::new(tar(&app))),
        },
    ];
    for source in sources {
        let shown = format!("{source:?}");
        let built = f
            .build(BuildOptions {
                source,
                ..f.options(&[&looker])
            })
            .unwrap();
        let log = f.log.take();
        assert!(log.contains("       repositories: 0\n"), "{shown}: {log}");
        assert!(log.contains("       files of others: 0\n"), "{shown}: {log}");
        // Nor is there one in the slug, also when a script made it.
        let left = paths(&built.directory());
        assert!(
            !left.iter().any(|path| path.ends_with(".git")),
            "{shown}: {left:?}"
        );
        assert_eq!(read(built.directory().join(".github/workflow")), "kept\n");
        assert_eq!(read(built.directory().join(".gitignore")), "kept\n");
    }
}

#[test]
fn a_cache_of_another_user_is_given_to_the_stacks_user_pit_10() {
    let Some(f) = Fixture::of_root() else { return };
    f.app(&[("x", "")]);
    let keeper = f.buildpack(
        "keeper",
        &[(
            "compile",
            "umask 077
             echo \"kept by $(cat \"$2/private/file\" 2>/dev/null || echo nobody)\"
             mkdir -p \"$2/private\" && id -u >\"$2/private/file\"",
        )],
    );
    for (user, uid, before) in [
        ("slug", 2000, "nobody"),
        ("other", 2001, "2000"),
        ("slug", 2000, "2001"),
    ] {
        let options = BuildOptions::new(
            Source::Directory(f.path("source")),
            Stack {
                user: user.to_owned(),
                ..Fixture::stack()
            },
        );
        f.build(BuildOptions {
            buildpacks: addresses(&[&keeper]),
            cache: Some(f.path("cache")),
            ..options
        })
        .unwrap();
        let log = f.log.take();
        assert!(
            log.contains(&format!("       kept by {before}\n")),
            "{user}: {log}"
        );
        for path in paths(&f.path("cache")) {
            let owner = f.path("cache").join(&path).symlink_metadata().unwrap().uid();
            assert_eq!(owner, uid, "{user}: {}", path.display());
        }
    }
}

/// Lets a script go on when it has said that it waits, and takes its time with every line.
#[derive(Debug)]
struct Answering<'a> {
    fixture: &'a Fixture,
    pause: Duration,
}

impl Console for Answering<'_> {
    fn line(&self, line: &[u8]) {
        std::thread::sleep(self.pause);
        self.fixture.log.line(line);
        if line == b"       waiting" {
            // The cache of the running build, which the script sees as its own.
            std::fs::write(self.fixture.path("cache.next/go"), "").unwrap();
        }
    }
}

fn build_before(console: &dyn Console, f: &Fixture, buildpack: &str) -> Result<(), HerokuError> {
    let surroundings = Surroundings {
        console,
        ..f.surroundings()
    };
    // Whoever holds lines back keeps the script waiting until this is over.
    let options = BuildOptions {
        limit: Some(Duration::from_mins(10)),
        ..f.options(&[buildpack])
    };
    build(options, surroundings).map(drop)
}

#[test]
fn what_a_script_says_is_shown_while_it_runs_hc_10() {
    let Some(f) = Fixture::of_root() else { return };
    f.app(&[("x", "")]);
    let waiting = "echo waiting; while [ ! -e \"$2/go\" ]; do sleep 0.05; done; echo heard";
    let buildpack = f.buildpack("waiting", &[("compile", waiting)]);
    let console = Answering {
        fixture: &f,
        pause: Duration::ZERO,
    };
    build_before(&console, &f, &buildpack).unwrap();
    assert!(f.log.take().contains("       waiting\n       heard\n"));
}

/// The console is slower than the script, which ends at once after its last words, without a line break.
#[test]
fn a_log_is_whole_when_the_build_ends_sb_07() {
    let Some(f) = Fixture::of_root() else { return };
    f.app(&[("x", "")]);
    let talk = "i=0; while [ $i -lt 1000 ]; do i=$((i+1)); echo \"line $i\"; echo \"error $i\" >&2; done; printf 'the last words'";
    for (ending, succeeds) in [("exit 0", true), ("exit 9", false), ("kill -9 $$", false)] {
        let buildpack = f.buildpack("talker", &[("compile", &format!("{talk}; {ending}"))]);
        let console = Answering {
            fixture: &f,
            pause: Duration::from_micros(200),
        };
        assert_eq!(
            build_before(&console, &f, &buildpack).is_ok(),
            succeeds,
            "{ending}"
        );
        let log = f.log.take();
        let said = log.split_once("-----> talker app detected\n").unwrap().1;
        let both = |number| format!("       line {number}\n       error {number}\n");
        let lines: String = (1..=1000).map(both).collect();
        assert!(
            said.starts_with(&(lines + "       the last words\n")),
            "{ending}: {} lines",
            said.lines().count()
        );
    }
}

#[test]
fn exports_reach_later_compiles_alone_and_the_cache_is_shared_hc_06_mp_03() {
    let Some(f) = Fixture::of_root() else { return };
    f.app(&[("contract", "")]);
    let look = |script: &str| format!("echo \"{script}: ${{CONTRACT:-nothing}}\" >&2");
    let compile = look("compile") + "; echo \"count: $(cat \"$2/count\")\"";
    let looker = f.buildpack(
        "looker",
        &[
            ("compile", &compile),
            ("release", &look("release")),
            ("report", &look("report")),
        ],
    );
    f.build(f.options(&["contract", &looker])).unwrap();
    let log = f.log.take();
    for line in [
        "compile: from export",
        "count: 1",
        "release: nothing",
        "report: nothing",
    ] {
        assert!(log.contains(&format!("       {line}\n")), "{line}: {log}");
    }
}

#[test]
fn an_unknown_stack_is_handed_on_with_one_warning_hc_20_hc_21() {
    let Some(f) = Fixture::of_root() else { return };
    f.app(&[("contract", "")]);
    for (id, warnings) in [("made-up-7", 1), ("heroku-24", 0)] {
        let stack = Stack {
            id: id.to_owned(),
            ..Fixture::stack()
        };
        let options = BuildOptions {
            buildpacks: addresses(&["contract", "second"]),
            ..BuildOptions::new(Source::Directory(f.path("source")), stack)
        };
        f.build(options).unwrap();
        let log = f.log.take();
        assert!(log.contains(&format!("       STACK={id} ")), "{log}");
        let warning =
            format!(" !     Stack `{id}` is none of Heroku's: buildpacks may have no programs for it\n");
        assert_eq!(log.matches(&warning).count(), warnings, "{log}");
        assert_eq!(log.matches("none of Heroku's").count(), warnings, "{log}");
    }
}

/// This process has variables, those of cargo among them, and gives none of them away.
#[test]
fn scripts_see_no_variable_of_the_caller_hc_03_pit_16() {
    let Some(f) = Fixture::of_root() else { return };
    f.app(&[("x", "")]);
    let names = "env | grep -o '^[A-Za-z_0-9]*=' | sort >\"$1/names\"";
    let looker = f.buildpack("looker", &[("compile", names)]);
    let built = f.build(f.options(&[&looker])).unwrap();
    assert!(std::env::vars_os().any(|(name, _)| name == "CARGO_MANIFEST_DIR"));
    let names = read(built.directory().join("names"));
    let names: Vec<_> = names
        .lines()
        .filter(|name| !["PWD=", "SHLVL=", "_="].contains(name))
        .collect();
    assert_eq!(names, ["APP_DIR=", "HOME=", "LANG=", "PATH=", "STACK="]);
}

#[test]
fn a_config_var_is_a_file_of_just_its_bytes_hc_04() {
    let Some(f) = Fixture::of_root() else { return };
    f.app(&[("x", "")]);
    let looker = f.buildpack(
        "looker",
        &[(
            "compile",
            "cp -R \"$3\" \"$1/env\"; rm -f \"$3/A\" 2>/dev/null || echo kept",
        )],
    );
    let mut options = f.options(&[&looker]);
    let value = b"two\nlines\n\n\xff \"$HOME\"";
    options.config_vars.set("A", value).unwrap();
    options.config_vars.set("PATH", "/evil").unwrap();
    let built = f.build(options).unwrap();
    assert_eq!(std::fs::read(built.directory().join("env/A")).unwrap(), value);
    assert_eq!(read(built.directory().join("env/PATH")), "/evil");
    assert!(f.log.take().contains("       kept\n"));
}
