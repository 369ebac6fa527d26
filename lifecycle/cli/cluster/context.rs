//! `--build-context` on a cluster: what a pod can reach by itself, and what is sent with the source.

use std::path::{Path, PathBuf};

use lifecycle_kubernetes::WORKSPACE;

use crate::context::Location;
use crate::failure::Failure;

/// What the pod takes the named context from.
pub(super) fn place(name: &str, value: &str, source: &str) -> Result<String, Failure> {
    let refused = |why: &str| {
        Err(Failure::new(
            "build-context",
            format!("the build context {name} is {value}, and {why}"),
        )
        .help("name a directory inside of the source, an image, a git repository or an archive on the web")
        .with_code(2))
    };
    if value.starts_with("docker-image://") {
        return Ok(value.to_owned());
    }
    if value.starts_with("oci-layout://") {
        return refused("a pod sees no directory of this machine");
    }
    match Location::parse(value)? {
        Location::Git(..) | Location::Web(_) => Ok(value.to_owned()),
        Location::Directory(directory) => match inside(&directory, source) {
            Some(path) => Ok(Path::new(WORKSPACE).join(path).display().to_string()),
            None => refused("only the source is sent to the pod, and it lies outside of it"),
        },
        Location::Object(_) => refused("only the step that fetches the source has the keys of object stores"),
        Location::File(_) | Location::Input => refused("a pod sees no file of this machine"),
    }
}

/// Where in the source a directory is, if it is there.
fn inside(directory: &Path, source: &str) -> Option<PathBuf> {
    let source = fs_err::canonicalize(source).ok()?;
    let directory = fs_err::canonicalize(directory).ok()?;
    Some(directory.strip_prefix(source).ok()?.to_owned())
}

/// The directories of the source that named contexts are: they are sent whatever its ignore file says.
pub(super) fn directories(contexts: &[(String, String)], source: &Path) -> Result<Vec<PathBuf>, Failure> {
    let mut found = Vec::new();
    for (_, value) in contexts {
        if !value.contains("://")
            && let Location::Directory(directory) = Location::parse(value)?
        {
            found.extend(inside(&directory, &source.display().to_string()));
        }
    }
    Ok(found)
}
