//! What is attached to a step (I8 to I13).

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::fd::AsFd as _;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lifecycle_diagnostics::{Diagnostic, Severity};
use lifecycle_dockerfile::{Ignore, MountKind, Origin, PlacedMount, RunAction, Script, Sharing as Wanted};
use lifecycle_image::{Layer, NoProgress};
use lifecycle_layers::{ExtractOptions, Whiteouts, extract, tree};
use lifecycle_store::{Scratch, Sharing};

use super::copy::Opened;
use super::run::Given;
use super::shown::{Attached, Attaching, What, cannot_place};
use super::ssh::ForwardedAgent;
use crate::copy::contents::PlacedFiles;
use crate::copy::examine::examine;
use crate::copy::item::{Selection, Shape};
use crate::copy::place::{Canvas, Manner};
use crate::error::StepError;
use crate::files::View;
use crate::key::{Key, KeyMaker};
use crate::reporter::StepName;
use crate::stack::{set_mode, write_through};
use crate::stage::StageRunner;

/// The files that a bind mount shows, or that a cache begins with; read for the cache key already.
#[derive(Debug, Default)]
pub(crate) struct MountSources(Vec<Option<Sources>>);

#[derive(Debug)]
struct Sources {
    selection: Selection,
    /// Stands for the contents.
    key: Key,
    _keeps: Vec<crate::copy::contents::Keep>,
}

impl StageRunner<'_> {
    /// Finds what the mounts of a command show (K1). A missing source is an error here already (I8).
    pub(crate) fn mount_sources(&self, action: &RunAction) -> Result<MountSources, StepError> {
        let mut all = Vec::new();
        for mount in &action.mounts {
            let has_source = match mount.mount.kind {
                MountKind::Bind => true,
                MountKind::Cache => mount.mount.from.is_some(),
                _ => false,
            };
            all.push(if has_source {
                Some(self.mount_source(mount)?)
            } else {
                None
            });
        }
        Ok(MountSources(all))
    }

    fn mount_source(&self, mount: &PlacedMount) -> Result<Sources, StepError> {
        let Opened { source, keeps } = match &mount.origin {
            // An empty directory can be mounted, too.
            Origin::Scratch => self.open(&Origin::Scratch)?,
            origin => self.open(origin)?,
        };
        let path = String::from_utf8_lossy(&crate::files::clean(mount.mount.source.as_bytes())).into_owned();
        // Not a pattern: names that hold wildcards are names.
        let mut selection = source.select_literal(&path, &Ignore::default())?;
        let mut key = KeyMaker::new("mount");
        examine(std::slice::from_mut(&mut selection), &self.build.known, &mut key)?;
        Ok(Sources {
            selection,
            key: key.finish(),
            _keeps: keeps,
        })
    }

    /// Attaches everything a command asks for.
    pub(crate) fn attach(
        &self,
        manner: Attaching,
        action: &RunAction,
        given: &Given,
        name: &StepName,
    ) -> Result<Attached, StepError> {
        let Given { sources, devices } = given;
        let mut attached = Attached::new(manner);
        for (path, content) in self.usual_files() {
            attached.show_file(path, content, 0o644);
        }
        let caches = self.caches(action, sources, &mut attached)?;
        let mut agents = 0;
        for (at, (mount, source)) in action.mounts.iter().zip(&sources.0).enumerate() {
            match mount.mount.kind {
                MountKind::Bind => {
                    let path = self.bind(source.as_ref(), mount.mount.read_only, &mut attached)?;
                    attached.show_path(&mount.target, path, mount.mount.read_only);
                }
                MountKind::Cache => {
                    if let Some(path) = caches.get(&at) {
                        attached.show_path(&mount.target, path.clone(), mount.mount.read_only);
                    }
                }
                MountKind::Tmpfs => self.tmpfs(mount, &mut attached)?,
                MountKind::Secret => self.secret(mount, &mut attached)?,
                MountKind::Ssh => {
                    self.agent(mount, agents, &mut attached)?;
                    agents += 1;
                }
            }
        }
        attached.show_devices(devices);
        if manner == Attaching::Placed {
            self.warn_of_secrets(name, action);
        }
        if let Some(script) = &action.script {
            self.show_script(script, &mut attached)?;
        }
        Ok(attached)
    }

    fn warn_of_secrets(&self, name: &StepName, action: &RunAction) {
        let is_file = |mount: &PlacedMount| {
            let is_given = self.build.options.secrets.contains_key(&mount.id);
            mount.mount.kind == MountKind::Secret && !mount.target.is_empty() && is_given
        };
        if action.mounts.iter().any(is_file) {
            let message = format!(
                "secrets of `{}` lie in files of its root until it ends, because nothing can be mounted here",
                name.text
            );
            let warning = Diagnostic::new(Severity::Warning, "secret-on-disk", message);
            self.build.reporter.warn(&warning);
        }
    }

    /// `/etc/hosts` and `/etc/resolv.conf` (I3).
    fn usual_files(&self) -> impl Iterator<Item = (&'static str, &Vec<u8>)> {
        let options = self.build.options;
        let files = [
            ("/etc/hosts", &options.hosts),
            ("/etc/resolv.conf", &options.resolv_conf),
        ];
        files
            .into_iter()
            .filter_map(|(path, content)| Some((path, content.as_ref()?)))
    }

    /// A heredoc that is a program itself, shown read-only (C9). It is no file in memory, because those cannot be
    /// executed.
    fn show_script(&self, script: &Script, attached: &mut Attached) -> Result<(), StepError> {
        let scratch = Arc::new(self.build.store.scratch()?);
        let path = scratch.path().join(FILES);
        std::fs::write(&path, &script.content).map_err(StepError::io("write the script"))?;
        set_mode(&path, 0o755)?;
        attached.show_path(&format!("{SCRIPTS}/{}", script.name), path, true);
        attached.scratches.push(scratch);
        Ok(())
    }

    /// The directory or file that a bind mount shows: a copy, so that a context's ignored files do not show and
    /// owners are those of the sources (H6). Read-only ones of the same content share it.
    fn bind(
        &self,
        source: Option<&Sources>,
        read_only: bool,
        attached: &mut Attached,
    ) -> Result<PathBuf, StepError> {
        let Some(source) = source else {
            return Err(StepError::Unsupported {
                what: "a bind mount without source".to_owned(),
                reason: "there is nothing to show".to_owned(),
            });
        };
        let fill = || self.fill_scratch(&source.selection);
        // What is placed can be written to, so it cannot be shared.
        let scratch = if read_only && attached.manner == Attaching::Mounted {
            self.build.shared_bind(&source.key, fill)?
        } else {
            fill()?
        };
        let path = scratch.path().join(FILES);
        attached.scratches.push(scratch);
        Ok(path)
    }

    /// An empty directory: in memory, or where nothing can be mounted one that goes away with the step.
    fn tmpfs(&self, mount: &PlacedMount, attached: &mut Attached) -> Result<(), StepError> {
        let size = Some(mount.mount.size).filter(|size| *size > 0);
        let mode = self.tmpfs_mode(&mount.target)?;
        if attached.manner == Attaching::Mounted || size.is_some() {
            attached.show(&mount.target, What::Tmpfs { size, mode });
            return Ok(());
        }
        let scratch = Arc::new(self.build.store.scratch()?);
        let path = scratch.path().join(FILES);
        std::fs::create_dir(&path).map_err(StepError::io("create a tmpfs mount"))?;
        set_mode(&path, mode)?;
        attached.show_path(&mount.target, path, false);
        attached.scratches.push(scratch);
        Ok(())
    }

    /// The permissions of the directory that it covers, or of one for everybody.
    fn tmpfs_mode(&self, target: &str) -> Result<u32, StepError> {
        let covered = self.result.stack.names()?.resolve(target.as_bytes(), true)?.found;
        let directory = covered.filter(|(node, _)| node.is_directory());
        Ok(directory.map_or(TMPFS_MODE, |(node, _)| node.mode))
    }

    fn fill_scratch(&self, selection: &Selection) -> Result<Arc<Scratch>, StepError> {
        let scratch = Arc::new(self.build.store.scratch()?);
        self.fill(selection, scratch.path())?;
        Ok(scratch)
    }

    /// Writes a selection to `directory`, under the name [`FILES`].
    fn fill(&self, selection: &Selection, directory: &Path) -> Result<(), StepError> {
        let nothing = View::default();
        let manner = Manner {
            owner: None,
            chmod: None,
            now: self.build.now,
        };
        let mut canvas = Canvas::new(&nothing, manner);
        canvas.put(&format!("/{FILES}"), selection.clone())?;
        let contents = PlacedFiles::new("mount".to_owned(), canvas.finish(), None, Vec::new());
        let roots = self.build.roots();
        write_through(&contents, directory, &roots.powers.tree_form())?;
        if selection.shape == Shape::Tree
            && let Some(top) = selection.items.first()
        {
            let path = directory.join(FILES);
            set_mode(&path, top.node.mode)?;
            if roots.powers.gives_files_away {
                give(&path, top.node.owner.uid, top.node.owner.gid)?;
            }
        }
        Ok(())
    }

    /// Opens the caches in the order of their keys, each once, so that two steps that want the same ones never wait
    /// for each other (I9).
    fn caches(
        &self,
        action: &RunAction,
        sources: &MountSources,
        attached: &mut Attached,
    ) -> Result<BTreeMap<usize, PathBuf>, StepError> {
        let mut wanted: BTreeMap<String, (Sharing, Key, Vec<usize>)> = BTreeMap::new();
        for (at, (mount, source)) in action.mounts.iter().zip(&sources.0).enumerate() {
            if mount.mount.kind != MountKind::Cache {
                continue;
            }
            let (key, elsewhere) = self.cache_key(mount, source.as_ref());
            self.build.note_mount(key.clone(), elsewhere.clone());
            let sharing = match (mount.mount.sharing, attached.manner) {
                // What is moved into a root is nowhere else meanwhile.
                (Wanted::Locked, _) | (Wanted::Shared, Attaching::Placed) => Sharing::Locked,
                (Wanted::Shared, Attaching::Mounted) => Sharing::Shared,
                (Wanted::Private, _) => Sharing::Private,
            };
            if attached.manner == Attaching::Placed && mount.mount.read_only {
                return Err(cannot_place("a read-only cache mount"));
            }
            let entry = wanted.entry(key).or_insert((sharing, elsewhere, Vec::new()));
            // Of two uses in one step the stricter one counts for both.
            if entry.0 == Sharing::Shared {
                entry.0 = sharing;
            }
            entry.2.push(at);
        }
        let mut paths = BTreeMap::new();
        for (key, (sharing, elsewhere, uses)) in wanted {
            let cache = self.build.store.cache(&key, sharing)?;
            let Some(&first) = uses.first() else { continue };
            if attached.manner == Attaching::Placed && uses.len() > 1 {
                return Err(cannot_place("one cache mount at two places"));
            }
            let source = sources.0.get(first).and_then(Option::as_ref);
            let path = self.prepare_cache(cache.path(), &action.mounts[first], source, &elsewhere)?;
            for at in uses {
                paths.insert(at, path.clone());
            }
            attached.caches.push(cache);
        }
        Ok(paths)
    }

    /// What tells caches apart. The id is only hashed, it never becomes a path (CVE-2024-9675); a given owner or mode
    /// makes another cache, and so does what it begins with (I9). The second key is the one elsewhere.
    fn cache_key(&self, mount: &PlacedMount, source: Option<&Sources>) -> (String, Key) {
        let options = &mount.mount;
        let build = &self.build.options;
        let namespace = build
            .build_args
            .get("BUILDKIT_CACHE_MOUNT_NS")
            .unwrap_or(&build.cache_namespace);
        let mut key = KeyMaker::new("cache mount");
        key.add(namespace).add(&mount.id);
        key.optional(source.map(|source| source.key.as_str()));
        if source.is_none() {
            for number in [options.uid, options.gid, options.mode] {
                key.optional(number.map(u32::to_le_bytes));
            }
        }
        let key = key.finish();
        let separator = if namespace.is_empty() { "" } else { "/" };
        let name = format!("mount {namespace}{separator}{} {}", mount.id, key.as_str());
        (name, key)
    }

    /// A new cache gets its seed, or its mode and owner. The files lie one below the store's own directory, whose
    /// mode keeps other users of the host out.
    fn prepare_cache(
        &self,
        data: &Path,
        mount: &PlacedMount,
        source: Option<&Sources>,
        elsewhere: &Key,
    ) -> Result<PathBuf, StepError> {
        let path = data.join(FILES);
        // A step that it lay in the root of may have put a link in its place.
        if path.is_symlink() {
            std::fs::remove_file(&path).map_err(StepError::io("empty a cache"))?;
        }
        if path.exists() {
            return Ok(path);
        }
        let options = &mount.mount;
        if let Some(source) = source {
            let _filling = self.build.filling();
            if !path.exists() {
                self.fill(&source.selection, data)?;
            }
            return Ok(path);
        }
        let _filling = self.build.filling();
        if path.exists() {
            return Ok(path);
        }
        // Somebody else may see the directory before it has its mode; nobody sees it without.
        let new = data.join(format!(".new-{}", std::process::id()));
        drop(tree::remove_path(&new));
        std::fs::create_dir(&new).map_err(StepError::io("create a cache"))?;
        let (uid, gid) = (options.uid.unwrap_or(0), options.gid.unwrap_or(0));
        if (uid, gid) != (0, 0) {
            give(&new, uid, gid)?;
        }
        set_mode(&new, options.mode.unwrap_or(0o755))?;
        self.restore_cache(&new, elsewhere)?;
        match std::fs::rename(&new, &path) {
            Ok(()) => Ok(path),
            // Another process was faster.
            Err(_) if path.exists() => Ok(path),
            Err(cause) => Err(StepError::io("create a cache")(cause)),
        }
    }

    /// Fills a new cache with what was saved elsewhere. Without it the command only takes longer.
    fn restore_cache(&self, directory: &Path, key: &Key) -> Result<(), StepError> {
        let Some((layer, import)) = self.build.imports.mount(key) else {
            return Ok(());
        };
        let Err(error) = self.unpack_cache(&*layer, directory) else {
            return Ok(());
        };
        let message = format!(
            "the cache mount saved in {} cannot be used and is empty",
            import.name()
        );
        let warning = Diagnostic::new(Severity::Warning, "cache", message).caused_by(&error);
        self.build.reporter.warn(&warning);
        // Half a cache is worse than none.
        tree::remove_path(directory).map_err(StepError::io("empty a cache"))?;
        std::fs::create_dir(directory).map_err(StepError::io("create a cache"))
    }

    fn unpack_cache(&self, layer: &dyn Layer, directory: &Path) -> Result<(), StepError> {
        let root = std::fs::File::open(directory).map_err(StepError::io("open a cache"))?;
        let powers = self.build.powers;
        let options = ExtractOptions {
            // What a cache holds are ordinary files, whatever they are called.
            whiteouts: Whiteouts::Literal,
            ownership: powers.ownership(),
            refused: powers.tree_form().refused,
            expected: Some(&layer.diff_id()?),
            ..ExtractOptions::default()
        };
        let compression = layer.media_type().compression();
        extract(layer.open(0)?, compression, root.as_fd(), &options, &NoProgress)
            .map(drop)
            .map_err(|cause| StepError::Extract {
                what: "a saved cache mount".to_owned(),
                cause,
            })
    }

    /// A secret as a file in memory, a variable, or both (I11).
    fn secret(&self, mount: &PlacedMount, attached: &mut Attached) -> Result<(), StepError> {
        let Some(secret) = self.build.options.secrets.get(&mount.id) else {
            return if mount.mount.required {
                Err(StepError::Secret(mount.id.clone()))
            } else {
                Ok(())
            };
        };
        if let Some(name) = &mount.mount.env {
            use std::os::unix::ffi::OsStringExt as _;
            let value = OsString::from_vec(secret.value().to_vec());
            attached.environment.push((name.clone(), value));
        }
        if !mount.target.is_empty() {
            let file = What::File {
                bytes: secret.value().to_vec(),
                mode: mount.mount.mode.unwrap_or(0o400),
                uid: mount.mount.uid.unwrap_or(0),
                gid: mount.mount.gid.unwrap_or(0),
            };
            attached.show(&mount.target, file);
        }
        Ok(())
    }

    fn agent(&self, mount: &PlacedMount, number: usize, attached: &mut Attached) -> Result<(), StepError> {
        let target = if mount.target.is_empty() {
            format!("/run/buildkit/ssh_agent.{number}")
        } else {
            mount.target.clone()
        };
        // The variable is there even without an agent.
        let agent = self.build.options.ssh.get(&mount.id);
        if agent.is_none() && mount.mount.required {
            return Err(StepError::Ssh(mount.id.clone()));
        }
        if number == 0 {
            attached
                .environment
                .push(("SSH_AUTH_SOCK".to_owned(), target.clone().into()));
        }
        let Some(agent) = agent else { return Ok(()) };
        let scratch = Arc::new(self.build.store.scratch()?);
        let socket = scratch.path().join("agent");
        let options = &mount.mount;
        let forwarded = ForwardedAgent::listen(
            &socket,
            agent,
            options.mode.unwrap_or(0o600),
            options.uid.unwrap_or(0),
            options.gid.unwrap_or(0),
        );
        let forwarded = forwarded.map_err(StepError::io(format!("forward the ssh agent {}", mount.id)))?;
        attached.show_path(&target, socket, false);
        attached.agents.push(forwarded);
        attached.scratches.push(scratch);
        Ok(())
    }
}

/// The name of what is shown, in its directory.
pub(crate) const FILES: &str = "files";

/// Where heredocs that are programs are shown (C9).
const SCRIPTS: &str = "/dev/pipes";

/// Permissions of a tmpfs mount where no directory was (I10).
const TMPFS_MODE: u32 = 0o1777;

impl MountSources {
    /// What the mounts mean for a command's result (K1): kind, target and content of bind mounts; of caches neither
    /// id nor sharing, of secrets never a value.
    pub(crate) fn add_to(&self, key: &mut KeyMaker, mounts: &[PlacedMount]) {
        key.number(mounts.len() as u64);
        for (mount, source) in mounts.iter().zip(&self.0) {
            let options = &mount.mount;
            key.add(format!("{:?}", options.kind)).add(&mount.target);
            key.number(u64::from(options.read_only)).number(options.size);
            key.optional(options.env.as_ref());
            for number in [options.uid, options.gid, options.mode] {
                key.optional(number.map(u32::to_le_bytes));
            }
            let is_bind = options.kind == MountKind::Bind;
            key.optional(
                source
                    .as_ref()
                    .filter(|_| is_bind)
                    .map(|source| source.key.as_str()),
            );
        }
    }
}

fn give(path: &Path, uid: u32, gid: u32) -> Result<(), StepError> {
    chown(path, Some(uid), Some(gid))
        .map_err(StepError::io(format!("give {} to {uid}:{gid}", path.display())))
}
