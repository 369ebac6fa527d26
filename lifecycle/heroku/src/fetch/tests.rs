use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use super::*;
use crate::RemoteFailure;

#[derive(Debug)]
struct Offline;

impl Remote for Offline {
    fn open(&self, _: &str) -> Result<Option<Box<dyn Read + Send>>, RemoteFailure> {
        Err("no network here".into())
    }

    fn put(&self, _: &std::fs::File, _: &str) -> Result<(), RemoteFailure> {
        Err("no network here".into())
    }

    fn check_out(&self, _: &str, _: Option<&str>, _: Option<&Path>, _: &Path) -> Result<(), RemoteFailure> {
        Err("no network here".into())
    }
}

struct Bench {
    directory: tempfile::TempDir,
}

impl Bench {
    /// A buildpack directory whose scripts are not executable.
    fn new() -> Self {
        let bench = Self {
            directory: tempfile::tempdir().unwrap(),
        };
        let bin = bench.path("source/bin");
        fs::create_dir_all(&bin).unwrap();
        for script in ["detect", "compile"] {
            fs::write(bin.join(script), "#!/bin/sh\necho one\n").unwrap();
        }
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn shell(&self, script: &str) {
        let variables = [
            ("GIT_CONFIG_GLOBAL", "/dev/null"),
            ("GIT_AUTHOR_NAME", "a"),
            ("GIT_AUTHOR_EMAIL", "a@b"),
        ];
        let committer = [("GIT_COMMITTER_NAME", "a"), ("GIT_COMMITTER_EMAIL", "a@b")];
        let mut command = Command::new("sh");
        command
            .args(["-euc", script])
            .current_dir(self.directory.path())
            .envs(variables)
            .envs(committer);
        assert!(command.status().unwrap().success(), "{script}");
    }

    fn fetch(&self, address: &str, into: &str) -> Result<Buildpack, HerokuError> {
        let address = Address::parse(address, self.directory.path())?;
        fetch(&address, &self.path(into), &Offline, None)
    }
}

fn said(buildpack: &Buildpack) -> String {
    fs::read_to_string(buildpack.script("bin/compile").unwrap()).unwrap()
}

#[test]
fn a_directory_is_copied_and_its_scripts_made_executable_hc_01_hc_02() {
    let bench = Bench::new();
    let buildpack = bench.fetch("source", "into").unwrap();
    fs::write(buildpack.directory.join("export"), "").unwrap();
    assert!(!bench.path("source/export").exists());
    let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(buildpack.script("bin/detect").unwrap()), 0o755);
    assert_eq!(mode(bench.path("source/bin/detect")), 0o644);
    assert_eq!(buildpack.script("bin/release"), None);
}

#[test]
fn archives_are_unpacked_also_with_a_directory_around_them_mp_05() {
    let bench = Bench::new();
    bench.shell("cd source; tar czf ../a.tgz .; tar cjf ../b.tar.bz2 .; tar cf ../c.tar .; cd ..; tar czf d.tar.gz source");
    for (index, archive) in ["a.tgz", "b.tar.bz2", "c.tar", "d.tar.gz"].iter().enumerate() {
        let buildpack = bench.fetch(archive, &format!("into{index}")).unwrap();
        assert!(said(&buildpack).contains("echo one"), "{archive}");
    }
}

#[test]
fn what_cannot_be_fetched_says_why_mp_06() {
    let bench = Bench::new();
    fs::create_dir(bench.path("empty")).unwrap();
    fs::write(bench.path("broken.tgz"), "not a tar").unwrap();
    for (index, (address, reason)) in [
        ("empty", "there is no bin/compile in it"),
        ("broken.tgz", "broken.tgz"),
        ("https://h/b.tgz", "no network here"),
        (
            "http://user:secret@127.0.0.1:1/r",
            "cannot fetch buildpack http://***@127.0.0.1:1/r",
        ),
    ]
    .iter()
    .enumerate()
    {
        let error = bench
            .fetch(address, &format!("into{index}"))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains(reason) && !error.contains("secret"),
            "{address}: {error}"
        );
    }
}

#[test]
fn hostile_archives_stay_in_their_directory_sl_08() {
    let bench = Bench::new();
    bench.shell(
        "mkdir h; cd h; echo x >f; tar cf ../up.tar --transform 's,^f$,../escaped,' f
         ln -s .. link; tar cf ../through.tar link; tar rf ../through.tar --transform 's,^f$,link/escaped,' f",
    );
    for (index, archive) in ["up.tar", "through.tar"].iter().enumerate() {
        drop(bench.fetch(archive, &format!("into{index}")).unwrap_err());
        assert!(
            !bench.path("escaped").exists()
                && !bench.directory.path().parent().unwrap().join("escaped").exists()
        );
    }
}

#[derive(Debug)]
struct Repositories;

impl Remote for Repositories {
    fn open(&self, _: &str) -> Result<Option<Box<dyn Read + Send>>, RemoteFailure> {
        Err("that is a repository".into())
    }

    fn put(&self, _: &std::fs::File, _: &str) -> Result<(), RemoteFailure> {
        Err("nothing is put here".into())
    }

    fn check_out(
        &self,
        url: &str,
        reference: Option<&str>,
        ssh_key: Option<&Path>,
        into: &Path,
    ) -> Result<(), RemoteFailure> {
        fs::create_dir(into.join("bin"))?;
        fs::write(
            into.join("bin/compile"),
            format!("{url} {reference:?} {ssh_key:?}"),
        )?;
        Ok(())
    }
}

#[test]
fn git_is_asked_for_the_reference_with_the_key_mp_04() {
    let bench = Bench::new();
    let address = Address::parse("https://user:secret@h/r.git#v1", Path::new("/")).unwrap();
    let buildpack = fetch(
        &address,
        &bench.path("into"),
        &Repositories,
        Some(Path::new("/key")),
    )
    .unwrap();
    assert_eq!(
        said(&buildpack),
        r#"https://user:secret@h/r.git Some("v1") Some("/key")"#
    );
    assert_eq!(buildpack.name, "https://***@h/r.git#v1");
}

/// Gives one archive, for its whole URL alone.
#[derive(Debug)]
struct Served(Vec<u8>);

impl Remote for Served {
    fn open(&self, url: &str) -> Result<Option<Box<dyn Read + Send>>, RemoteFailure> {
        match url {
            "https://user:secret@h/b.tgz?token=x" => Ok(Some(Box::new(io::Cursor::new(self.0.clone())))),
            _ => Ok(None),
        }
    }

    fn put(&self, _: &std::fs::File, _: &str) -> Result<(), RemoteFailure> {
        Err("nothing is put here".into())
    }

    fn check_out(&self, _: &str, _: Option<&str>, _: Option<&Path>, _: &Path) -> Result<(), RemoteFailure> {
        Err("that is no repository".into())
    }
}

#[test]
fn archives_behind_urls_come_through_the_download_with_everything_in_the_url_mp_05() {
    let bench = Bench::new();
    bench.shell("tar czf a.tgz source");
    let served = Served(fs::read(bench.path("a.tgz")).unwrap());
    let address = Address::parse("https://user:secret@h/b.tgz?token=x", Path::new("/")).unwrap();
    let buildpack = fetch(&address, &bench.path("into"), &served, None).unwrap();
    assert_eq!(buildpack.name, "https://***@h/b.tgz?***");
    assert!(said(&buildpack).contains("echo one"));
    let missing = Address::parse("https://user:secret@h/missing.tgz", Path::new("/")).unwrap();
    let error = fetch(&missing, &bench.path("other"), &served, None)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("https://***@h/missing.tgz: there is nothing at that address"),
        "{error}"
    );
}
