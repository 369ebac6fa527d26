//! Other people's tools.

use super::{Finished, Invocation};

/// A peer with these arguments; nothing, and a line that says so, when it is not installed.
pub(crate) fn peer(name: &str, arguments: &[&str]) -> Option<Invocation> {
    let installed = [
        "/usr/local/sbin",
        "/usr/local/bin",
        "/usr/sbin",
        "/usr/bin",
        "/sbin",
        "/bin",
    ]
    .iter()
    .any(|directory| std::path::Path::new(directory).join(name).exists());
    if !installed {
        println!("skipped: {name} not found");
        return None;
    }
    Some(Invocation::new(name, arguments).env("HOME", "/nonexistent"))
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
