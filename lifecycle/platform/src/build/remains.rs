//! What steps leave for the phases that run in this process, and so outside of the steps' root.
//!
//! The layers directory belongs to buildpacks while they run, and paths in it mean something else there than they do
//! here: a link to `/root` is this machine's `/root` once the step has ended. So whatever these phases open, or write
//! to, has to be a file or a directory. What lies within a layer, and a link in the place of one, is theirs to pack as
//! it is: nothing of that is followed.

use std::fs::FileType;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use fs_err as fs;

use super::workspace::LAYERS;
use crate::PlatformError;

/// Directories of the phases' own, of which all is read. The others are those of buildpacks, which no id may be called
/// like (cnb.md BPB, ID).
const OWN: [&str; 3] = ["config", "sbom", "extended"];
/// What detection generates for the extender, which reads it in the step.
const GENERATED: &str = "generated";

/// Refuses links, pipes and the like where a phase would open them. Nothing of the steps is running any more.
pub(super) fn check(layers: &Path) -> Result<(), PlatformError> {
    for (path, kind) in entries(layers)? {
        plain(layers, &path, kind)?;
        let name = path.file_name().unwrap_or_default();
        if !kind.is_dir() || name == GENERATED {
            continue;
        }
        if OWN.iter().any(|own| name == *own) {
            check_all(layers, &path)?;
        } else {
            check_buildpack(layers, &path)?;
        }
    }
    Ok(())
}

fn check_all(layers: &Path, directory: &Path) -> Result<(), PlatformError> {
    for (path, kind) in entries(directory)? {
        plain(layers, &path, kind)?;
        if kind.is_dir() {
            check_all(layers, &path)?;
        }
    }
    Ok(())
}

/// Descriptions of layers and the like; the rest are layers, what only steps read (SBOMs), or nothing that anybody asks
/// for.
fn check_buildpack(layers: &Path, directory: &Path) -> Result<(), PlatformError> {
    for (path, kind) in entries(directory)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.ends_with(".toml") {
            plain(layers, &path, kind)?;
        }
    }
    Ok(())
}

fn plain(layers: &Path, path: &Path, kind: FileType) -> Result<(), PlatformError> {
    let what = match kind {
        kind if kind.is_dir() || kind.is_file() => return Ok(()),
        kind if kind.is_symlink() => "a link",
        kind if kind.is_fifo() => "a pipe",
        kind if kind.is_socket() => "a socket",
        _ => "a device",
    };
    let below = path.strip_prefix(layers).unwrap_or(path);
    Err(PlatformError::Remains {
        path: Path::new(LAYERS).join(below),
        what,
    })
}

fn entries(directory: &Path) -> Result<Vec<(PathBuf, FileType)>, PlatformError> {
    let failed = |cause| PlatformError::io("list", directory, cause);
    fs::read_dir(directory)
        .map_err(failed)?
        .map(|entry| {
            let entry = entry.map_err(failed)?;
            Ok((entry.path(), entry.file_type().map_err(failed)?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::path::Path;

    use super::check;

    fn layers() -> tempfile::TempDir {
        let layers = tempfile::tempdir().unwrap();
        for directory in [
            "config",
            "sbom/launch/acme_a",
            "extended/run",
            "generated/run/e",
            "acme_a/l/bin",
        ] {
            std::fs::create_dir_all(layers.path().join(directory)).unwrap();
        }
        for file in ["group.toml", "config/metadata.toml", "acme_a/l.toml"] {
            std::fs::write(layers.path().join(file), "").unwrap();
        }
        layers
    }

    #[test]
    fn links_that_a_phase_would_follow_are_refused() {
        for link in [
            "acme_b",
            "report.toml",
            "acme_a/m.toml",
            "config/x",
            "sbom/launch/acme_a/l",
            "extended/run/x",
        ] {
            let layers = layers();
            symlink("/", layers.path().join(link)).unwrap();
            let error = check(layers.path()).unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("a link was left at /layers/{link}")),
                "{error}"
            );
        }
    }

    #[test]
    fn pipes_are_refused_so_nobody_waits() {
        let layers = layers();
        rustix::fs::mkfifoat(
            rustix::fs::CWD,
            layers.path().join("acme_a/store.toml"),
            rustix::fs::Mode::RWXU,
        )
        .unwrap();
        let error = check(layers.path()).unwrap_err().to_string();
        assert!(
            error.starts_with("a pipe was left at /layers/acme_a/store.toml"),
            "{error}"
        );
    }

    #[test]
    fn layers_and_what_is_in_them_are_left_alone() {
        let layers = layers();
        for link in [
            "acme_a/l/bin/sh",
            "acme_a/m",
            "acme_a/launch.sbom.cdx.json",
            "generated/run/e/context",
        ] {
            symlink(Path::new("/bin/sh"), layers.path().join(link)).unwrap();
        }
        check(layers.path()).unwrap();
    }
}
