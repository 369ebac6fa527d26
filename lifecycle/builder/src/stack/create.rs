//! From a `stack.toml` to two images.

use std::fs::Permissions;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;

use lifecycle_image::{History, Image, Platform, Progress, mutate};
use lifecycle_layers::{Contents, PackError, Packing};
use lifecycle_store::{Expected, Store};

use super::{Definition, Part, User};
use crate::{BuilderError, Folder};

/// The time of the newest file of a stack, which makes two runs equal: 1980-01-01T00:00:01Z.
const EPOCH: i64 = 315_532_801;
const CREATED: &str = "1980-01-01T00:00:01Z";

/// How much of mmdebstrap's words an error carries.
const LAST_LINES: usize = 30;

/// What a stack is made from, and by whom.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// apt's sources, as files or mirror addresses; without any, mmdebstrap uses the distribution's own.
    pub apt: Vec<String>,
    /// apt settings of this machine that downloads need: a proxy, certificates.
    pub apt_options: Vec<String>,
    /// Where the root file systems lie until they are packed, as large as they are.
    pub temporary: PathBuf,
}

/// Makes one image of a stack and packs it into `store`. `say` gets every line that mmdebstrap writes.
///
/// Needs no privileges of its own: mmdebstrap uses root or a user namespace, whichever this process may.
pub fn create(
    folder: &Folder,
    definition: &Definition,
    part: Part,
    sources: &Sources,
    store: &Store,
    progress: &Arc<dyn Progress>,
    say: &(dyn Fn(&str) + Sync),
) -> Result<Image, BuilderError> {
    let failed = |cause| BuilderError::Read {
        path: sources.temporary.clone(),
        cause,
    };
    let work = tempfile::tempdir_in(&sources.temporary).map_err(failed)?;
    // mmdebstrap's root may be a subordinate id of this user, and has to get through whatever the umask is.
    fs_err::set_permissions(work.path(), Permissions::from_mode(0o711)).map_err(failed)?;
    let hook = match &definition.mmdebstrap.customize {
        Some(script) => {
            let path = work.path().join("customize");
            let text = folder.read(script)?;
            let failed = |cause| BuilderError::Read {
                path: path.clone(),
                cause,
            };
            fs_err::write(&path, text).map_err(failed)?;
            fs_err::set_permissions(&path, Permissions::from_mode(0o644)).map_err(failed)?;
            Some(path)
        }
        None => None,
    };
    let tar = work.path().join("root.tar");
    let mut command = mmdebstrap(definition, part, sources, hook.as_deref(), &tar);
    command.env("TMPDIR", work.path());
    run(&mut command, definition, part, say)?;

    let contents = TarFile {
        name: format!("{} {} image", definition.id, part.as_str()),
        path: tar,
    };
    let layer = store.pack(
        Arc::new(contents),
        Packing::default(),
        Expected::here(),
        Arc::clone(progress),
    );
    // The tar goes with this function; the layer must be finished before.
    layer.descriptor()?;
    let history = History {
        created: Some(CREATED.to_owned()),
        created_by: Some(format!("lifecycle stack create {}", definition.id)),
        ..History::default()
    };
    let skeleton = definition.skeleton(part, &Platform::host(), CREATED);
    Ok(mutate::append(skeleton, layer, history))
}

/// The command of the README of `stacks/debian-12`.
fn mmdebstrap(
    definition: &Definition,
    part: Part,
    sources: &Sources,
    hook: Option<&Path>,
    tar: &Path,
) -> Command {
    let common = &definition.mmdebstrap;
    let image = definition.image(part);
    let mut command = Command::new("mmdebstrap");
    command
        .env("SOURCE_DATE_EPOCH", EPOCH.to_string())
        .arg(format!("--variant={}", image.variant))
        .arg(format!("--components={}", common.components.join(",")))
        .arg("--format=tar");
    if !image.packages.is_empty() {
        command.arg(format!("--include={}", image.packages.join(",")));
    }
    command.args(
        sources
            .apt_options
            .iter()
            .map(|option| format!("--aptopt={option}")),
    );
    command.args(
        common
            .path_exclude
            .iter()
            .map(|pattern| format!("--dpkgopt=path-exclude={pattern}")),
    );
    command.args(
        common
            .path_include
            .iter()
            .map(|pattern| format!("--dpkgopt=path-include={pattern}")),
    );
    if let Some(hook) = hook {
        let User { name, uid, gid, home } = &image.user;
        // mmdebstrap hands the hook to a shell, with the root as its first argument.
        command.arg(format!(
            "--customize-hook=sh '{}' \"$1\" {name} {uid} {gid} {home}",
            hook.display()
        ));
    }
    command.arg(&common.suite).arg(tar).args(&sources.apt);
    command
}

fn run(
    command: &mut Command,
    definition: &Definition,
    part: Part,
    say: &(dyn Fn(&str) + Sync),
) -> Result<(), BuilderError> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|cause| BuilderError::NoMmdebstrap { cause })?;
    let mut last: Vec<String> = Vec::new();
    if let Some(stderr) = child.stderr.take() {
        for line in BufReader::new(stderr).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).trim_end().to_owned();
            say(&line);
            if last.len() == LAST_LINES {
                last.remove(0);
            }
            last.push(line);
        }
    }
    let status = child.wait().unwrap_or_else(|error| {
        last.push(error.to_string());
        ExitStatus::from_raw(1 << 8)
    });
    if status.success() {
        return Ok(());
    }
    Err(BuilderError::Mmdebstrap {
        stack: definition.id.clone(),
        part: part.as_str(),
        status,
        output: last.join("\n"),
    })
}

/// A layer that is a tar already.
#[derive(Debug)]
struct TarFile {
    name: String,
    path: PathBuf,
}

impl Contents for TarFile {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn write(&self, tar: &mut dyn Write) -> Result<(), PackError> {
        let failed = |cause| PackError::Io {
            path: self.path.display().to_string(),
            cause,
        };
        let mut file = fs_err::File::open(&self.path).map_err(failed)?;
        let mut buffer = vec![0; 1 << 20];
        loop {
            match file.read(&mut buffer).map_err(failed)? {
                0 => return Ok(()),
                read => tar.write_all(&buffer[..read]).map_err(failed)?,
            }
        }
    }
}
