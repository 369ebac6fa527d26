//! Other people's tools: those that the distribution has, and those in the directories that `PEERS` lists.

use std::path::PathBuf;

use super::{Finished, Invocation};

/// Where the distribution puts programs.
const DIRECTORIES: [&str; 6] = [
    "/usr/local/sbin",
    "/usr/local/bin",
    "/usr/sbin",
    "/usr/bin",
    "/sbin",
    "/bin",
];

/// The path of a program, if it is installed.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let peers = std::env::vars_os().find(|(variable, _)| variable == "PEERS");
    let peers = peers.map(|(_, directories)| directories).unwrap_or_default();
    let mut directories = std::env::split_paths(&peers).chain(DIRECTORIES.map(PathBuf::from));
    directories.find_map(|directory| Some(directory.join(name)).filter(|path| path.is_file()))
}

/// A peer with these arguments; nothing, and a line that says so, when it is not installed.
pub(crate) fn peer(name: &str, arguments: &[&str]) -> Option<Invocation> {
    let Some(program) = find(name) else {
        println!("skipped: {name} not found");
        return None;
    };
    Some(Invocation::new(program, arguments).env("HOME", "/nonexistent"))
}

/// A file of other people's; nothing, and a line that says so, when it is not there.
pub(crate) fn file(name: &str) -> Option<PathBuf> {
    let found = find(name);
    if found.is_none() {
        println!("skipped: {name} not found");
    }
    found
}

/// Runs a peer, which must succeed.
pub(crate) fn judge(name: &str, arguments: &[&str]) -> Option<Finished> {
    Some(peer(name, arguments)?.succeeds())
}

/// `skopeo copy` that keeps the digest or fails.
pub(crate) fn skopeo_copy(from: &str, to: &str) -> Option<Finished> {
    let arguments = [
        "--insecure-policy",
        "copy",
        "--quiet",
        "--preserve-digests",
        "--src-tls-verify=false",
    ];
    judge(
        "skopeo",
        &[&arguments[..], &["--dest-tls-verify=false", from, to]].concat(),
    )
}

/// The digest of an image as skopeo sees it.
pub(crate) fn skopeo_digest(image: &str) -> Option<String> {
    let shown = judge(
        "skopeo",
        &["inspect", "--tls-verify=false", "--format", "{{.Digest}}", image],
    )?;
    Some(shown.stdout().trim().to_owned())
}
