//! Probes a host, runs a command in a root, or measures how long that takes.
//!
//! ```text
//! sandboxed probe SCRATCH
//! sandboxed run ROOT UID:GID COMMAND...     enters namespaces first, as an ordinary user must
//! sandboxed owners ROOT COMMAND...          the same, and keeps owners; then tells those of /tmp/*
//! sandboxed overlay LOWER SCRATCH COMMAND... the same over an overlay
//! sandboxed chroot ROOT UID:GID COMMAND...  rung 4
//! sandboxed inplace COMMAND...              rung 5
//! sandboxed bench COUNT ROOT COMMAND...
//! ```
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a tool for people and tests"
)]

use std::fs::File;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use lifecycle_sandbox::{
    Birth, Changes, Entered, FileOwners, Host, Identity, Isolation, Overlay, Root, Run, UserNamespace, enter,
};

use rustix::fs::{Mode, OFlags};

type Error = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        ["probe", scratch] => probe(scratch),
        ["run", root, user, command @ ..] => run_entered(root, user, command),
        ["owners", root, command @ ..] => run_with_owners(root, command),
        ["overlay", lower, scratch, command @ ..] => run_over_overlay(lower, scratch, command),
        ["chroot", root, user, command @ ..] => run_in_chroot(root, user, command),
        ["inplace", command @ ..] => finish(Run::new(Isolation::InPlace, command.iter().copied())),
        ["bench", count, root, command @ ..] => bench(count, root, command),
        _ => Err("see the head of the source for the arguments".into()),
    };
    result.unwrap_or_else(|error| {
        eprint!("sandboxed: {error}");
        let mut cause = error.source();
        while let Some(error) = cause {
            eprint!(": {error}");
            cause = error.source();
        }
        eprintln!();
        ExitCode::from(99)
    })
}

fn probe(scratch: &str) -> Result<ExitCode, Error> {
    let host = Host::probe(scratch.as_ref())?;
    println!("rung {}: {}", host.rung().number(), host.rung());
    for report in host.rungs() {
        if report.holds() {
            println!("{} holds", report.rung.number());
        }
        for missing in &report.missing {
            println!(
                "{} missing: {} -> {}",
                report.rung.number(),
                missing.reason,
                missing.grant
            );
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn run_entered(root: &str, user: &str, command: &[&str]) -> Result<ExitCode, Error> {
    let entered = enter()?;
    eprintln!("{entered:?}");
    finish(rooted(
        Root::Directory(root.into()),
        Isolation::Namespaces(UserNamespace::Own),
        user,
        command,
    )?)
}

/// `/etc/shadow` belongs to 0:42 before.
fn run_with_owners(root: &str, command: &[&str]) -> Result<ExitCode, Error> {
    enter()?;
    let owners = FileOwners::new();
    let root = PathBuf::from(root);
    owners.insert(File::open(root.join("etc/shadow"))?, 0, 42, Birth::Kept)?;
    let isolation = Isolation::Namespaces(UserNamespace::Own);
    let mut run = rooted(Root::Directory(root.clone()), isolation, "0:0", command)?;
    run.owners = Some(owners.clone());
    let code = finish(run)?;
    for directory in ["tmp", "etc"] {
        let mut names: Vec<_> = root
            .join(directory)
            .read_dir()?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<_, _>>()?;
        names.sort();
        for path in names {
            let flags = OFlags::PATH | OFlags::NOFOLLOW;
            let file = rustix::fs::open(&path, flags, Mode::empty())?;
            if let Some((uid, gid)) = owners.get(&file)? {
                let name = path.strip_prefix(&root)?;
                println!("kept: {} {uid}:{gid}", name.display());
            }
        }
    }
    Ok(code)
}

fn run_over_overlay(lower: &str, scratch: &str, command: &[&str]) -> Result<ExitCode, Error> {
    let entered = enter()?;
    let changes = Changes {
        upper: PathBuf::from(scratch).join("upper"),
        work: PathBuf::from(scratch).join("work"),
    };
    let overlay = Overlay {
        lower: vec![lower.into()],
        changes: Some(changes),
        user_xattr: entered != Entered::Privileged,
        volatile: true,
    };
    finish(rooted(
        Root::Tree(overlay.mount()?),
        Isolation::Namespaces(UserNamespace::Own),
        "0:0",
        command,
    )?)
}

fn run_in_chroot(root: &str, user: &str, command: &[&str]) -> Result<ExitCode, Error> {
    finish(rooted(
        Root::Directory(root.into()),
        Isolation::Chroot,
        user,
        command,
    )?)
}

fn rooted(root: Root, isolation: Isolation, user: &str, command: &[&str]) -> Result<Run, Error> {
    let (uid, gid) = user.split_once(':').ok_or("the user is UID:GID")?;
    let mut run = Run::new(isolation, command.iter().copied());
    run.root = root;
    run.identity = Some(Identity::new(uid.parse()?, gid.parse()?));
    run.env.push(("PATH".into(), "/bin".into()));
    Ok(run)
}

fn finish(run: Run) -> Result<ExitCode, Error> {
    let exit = run.spawn()?.wait()?;
    Ok(u8::try_from(exit.code()).map_or(ExitCode::FAILURE, ExitCode::from))
}

fn bench(count: &str, root: &str, command: &[&str]) -> Result<ExitCode, Error> {
    let mut times = Vec::new();
    for _ in 0..count.parse::<usize>()? {
        let run = rooted(
            Root::Directory(root.into()),
            Isolation::Namespaces(UserNamespace::Own),
            "0:0",
            command,
        )?;
        let start = Instant::now();
        let mut process = run.spawn()?;
        let started = start.elapsed();
        process.wait()?;
        times.push((start.elapsed(), started));
    }
    times.sort_unstable();
    let (whole, start) = times.get(times.len() / 2).copied().unwrap_or_default();
    println!(
        "median {whole:?} (running after {start:?}), least {:?}",
        times.first().map(|time| time.0)
    );
    Ok(ExitCode::SUCCESS)
}
