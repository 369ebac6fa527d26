//! Repositories that would run something here, read something of this machine, or write outside of where they are checked out.

use lifecycle_remote::{GitSettings, RemoteError, Repository};

use crate::repositories::{Bench, WAYS, Way, names};

#[test]
fn submodules_never_come_from_this_machine_cve_2022_39253() {
    let bench = Bench::new();
    bench.shell("git init -q -b main secret; cd secret; echo TOP >secret; git add .; git commit -qm s");
    for (number, url) in [
        format!("file://{}", bench.path("secret").display()),
        bench.path("secret").display().to_string(),
        "ext::sh -c true".to_owned(),
        "-u./evil:r".to_owned(),
    ]
    .iter()
    .enumerate()
    {
        let name = format!("evil{number}");
        bench.shell(&format!(
            "git init -q -b main {name}; cd {name}; git -c protocol.file.allow=always submodule --quiet add {} sub
             git config -f .gitmodules submodule.sub.url '{url}'; git add .; git commit -qm e",
            bench.path("secret").display()
        ));
        let served = bench.serve(&name);
        for way in WAYS {
            let into = format!("{name}-{way:?}");
            let error = bench.check_out(way, &served, &into).unwrap_err();
            assert!(
                matches!(error, RemoteError::Git { .. } | RemoteError::Address { .. }),
                "{error}"
            );
            assert_eq!(names(&bench.path(&into)), [] as [&str; 0]);
        }
    }
    // Not even where the repository itself may lie here.
    let local = GitSettings {
        local: true,
        ..GitSettings::default()
    };
    let evil = Repository::new(bench.path("evil1").to_string_lossy());
    let error = bench
        .check_out_with(local, &evil, "local")
        .unwrap_err()
        .to_string();
    assert!(error.contains("transport 'file' not allowed"), "{error}");
}

/// CVE-2018-11235, CVE-2014-9390, CVE-2019-1352, CVE-2024-32002: names and links of a tree that would write somewhere else.
#[test]
fn trees_do_not_reach_git_s_own_directory_or_what_is_outside() {
    let bench = Bench::new();
    // A tree's entry: mode, name, and the object's twenty bytes. Git's own programs would not write such trees.
    bench.shell(
        r#"cat >tree.py <<'END'
import subprocess, sys
def put(kind, data):
    run = subprocess.run(['git', 'hash-object', '-t', kind, '-w', '--literally', '--stdin'], input=data, capture_output=True, check=True)
    return run.stdout.decode().strip()
def tree(*entries):
    return put('tree', b''.join(mode.encode() + b' ' + name.encode() + b'\0' + bytes.fromhex(hash) for mode, name, hash in entries))
blob = put('blob', b'EVIL')
out = put('blob', sys.argv[1].encode())
hooks = tree(('40000', 'hooks', tree(('100755', 'post-checkout', blob))))
for name, entries in {
    'dotgit': [('40000', '.git', hooks)],
    'upper': [('40000', '.GIT', hooks)],
    'ntfs': [('40000', 'git~1', hooks)],
    'hfs': [('40000', '.g\u200cit', hooks)],
    'up': [('40000', '..', tree(('100644', 'canary', blob)))],
    'slash': [('100644', '../canary', blob)],
    'link': [('120000', 'a', out), ('40000', 'a', tree(('100644', 'canary', blob)))],
    'modules': [('120000', '.gitmodules', out)],
}.items():
    commit = subprocess.run(['git', 'commit-tree', '-m', name, tree(*entries)], capture_output=True, check=True).stdout.decode().strip()
    subprocess.run(['git', 'update-ref', 'refs/heads/' + name, commit], check=True)
END
        mkdir outside; git init -q hostile; cd hostile; git commit -q --allow-empty -m 0; python3 ../tree.py "$PWD/../outside""#,
    );
    let served = bench.serve("hostile");
    for way in WAYS {
        for name in ["dotgit", "upper", "ntfs", "hfs", "up", "slash", "link", "modules"] {
            let into = format!("{name}-{way:?}");
            let checkout = bench.check_out(way, &served.clone().at(Some(name)), &into);
            // Refused, or the names are as good as any other.
            if let Err(error) = &checkout {
                assert!(matches!(error, RemoteError::Git { .. }), "{name}: {error}");
            }
            assert!(
                checkout.is_err() || !["dotgit", "up", "slash"].contains(&name),
                "{name} by {way:?}"
            );
            assert_eq!(
                names(&bench.path("outside")),
                [] as [&str; 0],
                "{name} by {way:?}"
            );
            assert!(!bench.path("canary").exists(), "{name} by {way:?}");
            bench.shell(&format!(
                "! find '{into}' -path '*/.git*' -name post-checkout | grep ."
            ));
        }
    }
}

#[test]
fn hooks_and_drivers_of_a_repository_do_not_run_cve_2018_11235() {
    let bench = Bench::new();
    bench.shell(
        "mkdir template template/hooks; printf '#!/bin/sh\ntouch %s/canary\n' \"$PWD\" >template/hooks/post-checkout
         chmod 755 template/hooks/post-checkout
         cd r; echo '* filter=evil' >.gitattributes; git config filter.evil.smudge \"touch $PWD/../canary\"; git add .; git commit -qm a",
    );
    bench.shell("GIT_TEMPLATE_DIR=$PWD/template git init -q hooked; test -e hooked/.git/hooks/post-checkout");
    let local = GitSettings {
        local: true,
        ..GitSettings::default()
    };
    let repository = Repository::new(bench.path("r").to_string_lossy());
    bench.check_out_with(local, &repository, "into").unwrap();
    bench.shell("git clone -q --mirror r driven.git");
    bench
        .server
        .keep_repository("/driven.git", &bench.path("driven.git"));
    bench.both(&Repository::new(bench.server.url("/driven.git")), "driven");
    assert!(!bench.path("canary").exists());
}

#[test]
fn repositories_of_this_machine_are_read_only_when_allowed() {
    let bench = Bench::new();
    let path = bench.path("r.git").display().to_string();
    for way in WAYS {
        for (number, url) in [format!("file://{path}"), path.clone()].iter().enumerate() {
            let into = format!("into-{number}-{way:?}");
            let error = bench.check_out(way, &Repository::new(url), &into).unwrap_err();
            assert!(matches!(error, RemoteError::Address { .. }), "{error}");
            let allowed = GitSettings {
                local: true,
                ..way.settings()
            };
            let checkout = bench.check_out_with(
                allowed,
                &Repository::new(url),
                &format!("allowed-{number}-{way:?}"),
            );
            match way {
                Way::Program => assert_eq!(checkout.unwrap().time, 1_500_000_000),
                Way::Library => assert!(matches!(checkout, Err(RemoteError::NoGit { .. }))),
            }
        }
    }
}
