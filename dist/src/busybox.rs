//! The shell and the tools of the debug image: a static busybox of the distribution.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use fs_err as fs;
use lifecycle_layers::FilesLayer;

use crate::program::Program;

/// What Debian's package says about rights; it goes along.
const COPYRIGHT: &str = "/usr/share/doc/busybox-static/copyright";

/// A busybox and what it can do.
#[derive(Debug)]
pub(crate) struct Busybox {
    pub(crate) program: Program,
    /// The names it answers to.
    applets: Vec<String>,
}

impl Busybox {
    /// Looks at a busybox, if there is one.
    pub(crate) fn find(path: &Path) -> Result<Option<Self>> {
        if !path.exists() {
            return Ok(None);
        }
        let program = Program::read(path)?;
        let listed = Command::new(path)
            .arg("--list")
            .output()
            .with_context(|| format!("{} could not be asked for its applets", path.display()))?;
        let text = String::from_utf8(listed.stdout).context("its applets are no text")?;
        let applets: Vec<String> = text.lines().map(str::to_owned).collect();
        ensure!(
            listed.status.success() && applets.iter().any(|applet| applet == "sh"),
            "{} has no shell among its applets",
            path.display()
        );
        Ok(Some(Self { program, applets }))
    }

    /// Puts it into a layer, with a link for each applet, and a shell where scripts look for one.
    pub(crate) fn add(&self, layer: FilesLayer) -> Result<FilesLayer> {
        let mut layer = layer.copy("/busybox/busybox", 0o755, &self.program.path);
        for applet in self.applets.iter().filter(|applet| *applet != "busybox") {
            layer = layer.symlink(format!("/busybox/{applet}"), "busybox", 0o777);
        }
        layer = layer.symlink("/bin/sh", "/busybox/busybox", 0o777);
        if Path::new(COPYRIGHT).exists() {
            layer = layer.file(COPYRIGHT, 0o644, fs::read(COPYRIGHT)?);
        }
        Ok(layer)
    }
}
