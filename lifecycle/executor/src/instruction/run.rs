//! RUN (section I).

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::io::Read as _;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lifecycle_dockerfile::{Network, RunAction, Security};
use lifecycle_layers::{ChangeSet, Contents, MemoryWatch, OwnerTable, Owners, exhausted};
use lifecycle_sandbox::{
    Account, Capabilities, Changes, Exit, FileOwners, Isolation, Network as SandboxNetwork, Overlay, Root,
    Run, Rung, Seccomp, Stdio, Streams, UserNamespace, Users,
};
use lifecycle_store::Tree;

use super::devices::{self, Edits};
use super::mounts::MountSources;
use super::owners::KeptOwners;
use super::shown::{Attached, Attaching};
use super::working_root::WorkingRoot;
use crate::copy::contents::Kept;
use crate::emulation::Emulation;
use crate::error::StepError;
use crate::key::KeyMaker;
use crate::options::{NetworkMode, NoCache};
use crate::recorder::Definition;
use crate::reporter::{StepName, StepOutcome};
use crate::stack::{LayerTree, StackLayer, set_mode};
use crate::stage::{LayerStep, StageRunner};

impl StageRunner<'_> {
    pub(crate) fn run_command(
        &mut self,
        action: &RunAction,
        name: &StepName,
    ) -> Result<LayerStep, StepError> {
        let devices = self.check_allowed(action)?;
        let given = Given {
            sources: self.mount_sources(action)?,
            devices,
        };
        let definitions = vec![Definition::new(self.key_of_run(action, &given.sources))];
        let build = self.build;
        if build.options.no_cache != NoCache::Runs
            && let Some(earlier) = self.earlier(&definitions, true)?
        {
            return Ok(earlier);
        }
        let standing = build.standing()?;
        // What the base image holds, which may be another platform than was asked for (InvalidBaseImagePlatform).
        let platform = self.result.config.platform();
        let emulation = Emulation::find(&platform, standing.rung.isolation())?;
        let layer = if standing.has_overlay && build.options.live_root.is_none() {
            self.run_over_overlay(emulation, action, &given, name)?
        } else {
            self.run_in_directory(standing.rung, emulation, action, &given, name)?
        };
        self.remember(definitions, true, Arc::clone(&layer.layer), build.now);
        Ok(LayerStep {
            layer,
            created: build.now,
            outcome: StepOutcome::Done,
            used: Vec::new(),
        })
    }

    /// Entitlements come before anything else, the cache included (I14 to I16, CVE-2024-23653).
    fn check_allowed(&self, action: &RunAction) -> Result<Edits, StepError> {
        let options = self.build.options;
        let allow = &options.allow;
        let not_allowed = |what: &str| StepError::NotAllowed {
            what: what.to_owned(),
            entitlement: what.to_owned(),
        };
        if action.network == Network::Host && !allow.network_host {
            return Err(not_allowed("network.host"));
        }
        if action.security == Security::Insecure && !allow.security_insecure {
            return Err(not_allowed("security.insecure"));
        }
        devices::find(&action.devices, &options.device_specifications, allow)
    }

    /// Everything that decides about the result (K1): no proxy, secret, resource limit or address.
    fn key_of_run(&self, action: &RunAction, sources: &MountSources) -> KeyMaker {
        let options = self.build.options;
        let mut key = KeyMaker::new("RUN");
        key.list(action.arguments.iter());
        match &action.script {
            None => key.number(0),
            Some(script) => key.number(1).add(&script.name).add(&script.content),
        };
        key.number(action.environment.len() as u64);
        for (name, value) in action.environment.iter() {
            key.add(name).add(value);
        }
        key.add(&action.working_directory)
            .add(&action.user)
            .add(&options.hostname)
            .add(self.work.platform.to_string())
            .list(
                options
                    .ignored_paths
                    .iter()
                    .map(|path| path.as_os_str().as_bytes()),
            );
        sources.add_to(&mut key, &action.mounts);
        key.list(action.devices.iter().map(|device| &device.name));
        key.number(action.network as u64)
            .number(self.network(action) as u64)
            .number(u64::from(action.security == Security::Insecure))
            .optional(self.build.epoch.map(i64::to_le_bytes));
        key
    }

    fn network(&self, action: &RunAction) -> SandboxNetwork {
        match (action.network, self.build.options.network) {
            (Network::None, _) | (Network::Default, NetworkMode::None) => SandboxNetwork::None,
            (Network::Default, NetworkMode::Shared) | (Network::Host, _) => SandboxNetwork::Host,
        }
    }

    /// Rung 1: the change set is the overlay's upper directory.
    fn run_over_overlay(
        &mut self,
        emulation: Emulation,
        action: &RunAction,
        given: &Given,
        name: &StepName,
    ) -> Result<Arc<StackLayer>, StepError> {
        let build = self.build;
        let trees = self.result.stack.overlay(&build.roots())?;
        build.report_skipped(&trees);
        let scratch = Arc::new(build.store.scratch()?);
        let directory = |name: &str| {
            let path = scratch.path().join(name);
            std::fs::create_dir(&path).map_err(StepError::io(format!("create {}", path.display())))?;
            set_mode(&path, 0o755)?;
            Ok::<PathBuf, StepError>(path)
        };
        let (upper, work) = (directory("upper")?, directory("work")?);
        let mut lower: Vec<PathBuf> = trees.iter().rev().map(|tree| tree.tree.path.clone()).collect();
        match lower.first() {
            Some(top) => copy_metadata(top, &upper)?,
            // A stage without layers stands on an empty directory.
            None => lower.push(directory("empty")?),
        }
        let overlay = Overlay {
            lower: lower.clone(),
            changes: Some(Changes {
                upper: upper.clone(),
                work,
            }),
            user_xattr: !build.powers.trusted_xattrs,
            volatile: true,
        };
        let tree = overlay.mount()?;
        let account = Users::read(tree.as_fd())?.resolve(&action.user)?;
        let kept = if build.powers.gives_files_away {
            None
        } else {
            let kept = KeptOwners::of_overlay(tree.as_fd(), &trees, &upper, &account.identity)?;
            Some(kept)
        };
        let place = Place {
            isolation: Isolation::Namespaces(UserNamespace::Own),
            emulation,
            root: Root::Tree(tree),
            owners: kept.as_ref().map(|kept| kept.files.clone()),
        };
        let attached = self.attach(Attaching::Mounted, action, given, name)?;
        self.execute(place, &account, action, attached, name)?;
        let is_given = |path: &[u8]| kept.as_ref().is_some_and(|kept| kept.is_given(path));
        let ignored = &build.options.ignored_paths;
        let changes = ChangeSet::of_overlay_and_owners(&upper, &lower, ignored, &is_given)?;
        let mut changes = changes.latest(build.epoch).named(name.text.clone());
        let mut owners = OwnerTable::default();
        if let Some(kept) = kept {
            kept.record(&changes, &mut owners)?;
            changes = changes.owners(Owners::Table(Arc::new(owners.clone())));
        }
        let keeps = trees.iter().map(|tree| Arc::clone(tree) as _);
        let contents = Kept {
            contents: changes,
            _keeps: keeps.chain([Arc::clone(&scratch) as _]).collect(),
        };
        let layer = self.pack(Arc::new(contents) as Arc<dyn Contents>);
        // Overlay made every directory of it as it showed.
        let tree = Tree {
            path: upper,
            owners,
            implied: BTreeSet::new(),
            skipped: Vec::new(),
        };
        let tree = LayerTree::new(tree, Some(scratch), build.powers)?;
        Ok(StackLayer::changed(layer, tree))
    }

    /// Rungs 2 to 4: the change set comes from looking at the whole root before and after.
    fn run_in_directory(
        &mut self,
        rung: Rung,
        emulation: Emulation,
        action: &RunAction,
        given: &Given,
        name: &StepName,
    ) -> Result<Arc<StackLayer>, StepError> {
        let build = self.build;
        let roots = build.roots();
        let mut root = match self.root.take() {
            Some(root) => root,
            None => WorkingRoot::new(&roots)?,
        };
        root.catch_up(&self.result.stack, &roots)?;
        let manner = if rung == Rung::Chroot {
            Attaching::Placed
        } else {
            Attaching::Mounted
        };
        let attached = self.attach(manner, action, given, name)?;
        // What is there for the time of the command is no part of the layer.
        let mut left_out = build.options.ignored_paths.clone();
        if manner == Attaching::Placed {
            let view = root.view(&roots)?;
            for shown in &attached.shown {
                let place = view.resolve(shown.target.as_bytes(), false)?;
                left_out.push(Path::new("/").join(OsStr::from_bytes(&place.path)));
            }
            left_out.extend(lifecycle_sandbox::chroot_devices());
        }
        let before = root.snapshot(&left_out)?;
        let path = root.path();
        let handle = std::fs::File::open(&path).map_err(StepError::io(format!("open {}", path.display())))?;
        let account = Users::read(handle.as_fd())?.resolve(&action.user)?;
        let kept = if build.powers.gives_files_away {
            None
        } else {
            Some(KeptOwners::of_directory(
                &handle,
                root.owners(),
                &account.identity,
            )?)
        };
        let place = Place {
            isolation: rung.isolation(),
            emulation,
            root: Root::Directory(path),
            owners: kept.as_ref().map(|kept| kept.files.clone()),
        };
        self.execute(place, &account, action, attached, name)?;
        let changes = root.changes(&before, kept.as_ref())?;
        let contents = Kept {
            contents: changes.latest(build.epoch).named(name.text.clone()),
            _keeps: root.keeps(),
        };
        let layer = self.pack(Arc::new(contents) as Arc<dyn Contents>);
        root.take_over(&layer);
        self.root = Some(root);
        Ok(StackLayer::found(layer))
    }

    /// Runs the command to its end.
    fn execute(
        &self,
        place: Place,
        account: &Account,
        action: &RunAction,
        mut attached: Attached,
        name: &StepName,
    ) -> Result<(), StepError> {
        let build = self.build;
        let Some(slot) = build.slots.take() else {
            return Err(StepError::Cancelled);
        };
        let mut run = Run::new(place.isolation, action.arguments.iter().map(OsString::from));
        run.root = place.root;
        run.owners = place.owners;
        run.interpreter = place.emulation.interpreter();
        run.env = self.environment(action, account, &attached);
        run.directory = PathBuf::from(&action.working_directory);
        let mut identity = account.identity.clone();
        identity.groups.extend(&attached.groups);
        run.identity = Some(identity);
        run.hostname.clone_from(&build.options.hostname);
        run.network = self.network(action);
        run.rlimits.clone_from(&build.options.ulimits);
        run.limits.clone_from(&build.options.limits);
        if let Some(size) = build.options.shm_size {
            run.shm_size = size;
        }
        if action.security == Security::Insecure {
            run.capabilities = Capabilities::All;
            run.seccomp = Seccomp::Off;
            run.masked.clear();
            run.read_only.clear();
        }
        for shown in std::mem::take(&mut attached.shown) {
            match attached.manner {
                Attaching::Mounted => run.mounts.push(shown.mount()?),
                Attaching::Placed => run.placed.push(shown.place()?),
            }
        }
        let (mut output, input) = std::io::pipe().map_err(StepError::io("make a pipe"))?;
        let second = input.try_clone().map_err(StepError::io("make a pipe"))?;
        run.streams = Streams::Separate {
            stdin: Stdio::Null,
            stdout: Stdio::Fd(OwnedFd::from(input)),
            stderr: Stdio::Fd(OwnedFd::from(second)),
        };
        let memory = MemoryWatch::begin();
        let mut process = run.spawn().map_err(|error| place.emulation.explain(error))?;
        slot.occupy(process.remote());
        // The pipe ends when the last process of the sandbox has.
        let mut piece = vec![0; 32 << 10];
        loop {
            match output.read(&mut piece) {
                Ok(0) => break,
                Ok(count) => build.reporter.output(name, &piece[..count]),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(StepError::io("read the command's output")(error)),
            }
        }
        let exit = process.wait()?;
        if build.slots.is_stopped() && !exit.success() {
            return Err(StepError::Cancelled);
        }
        succeeded(exit, action, || {
            memory.exceeded().or_else(|| exhausted([build.store.path()]))
        })
    }

    /// ENV and ARGs in scope, proxies, HOME where it is not set, then what secrets and agents add (I4).
    fn environment(
        &self,
        action: &RunAction,
        account: &Account,
        attached: &Attached,
    ) -> Vec<(OsString, OsString)> {
        let mut environment = lifecycle_dockerfile::Environment::default();
        for (name, value) in self.build.options.build_args.proxies() {
            environment.set(name, value);
        }
        for (name, value) in action.environment.iter() {
            environment.set(name, value);
        }
        if environment.get("HOME").is_none() {
            environment.set("HOME", account.home.to_string_lossy());
        }
        let mut all: Vec<(OsString, OsString)> = environment
            .iter()
            .map(|(name, value)| (name.into(), value.into()))
            .collect();
        for (name, value) in &attached.environment {
            let is_agent = name == "SSH_AUTH_SOCK";
            let known = all
                .iter()
                .position(|(known, _)| known.as_os_str() == name.as_str());
            match known {
                // Only where nothing else says where an agent is (I12).
                Some(_) if is_agent => {}
                Some(at) => all[at].1.clone_from(value),
                None => all.push((name.into(), value.clone())),
            }
        }
        all
    }
}

/// What a command is shown, found before the cache is asked.
pub(crate) struct Given {
    pub(super) sources: MountSources,
    pub(super) devices: Edits,
}

/// Where a command runs.
struct Place {
    isolation: Isolation,
    emulation: Emulation,
    root: Root,
    /// Who owns the files of the root, where the files do not say.
    owners: Option<FileOwners>,
}

/// Why a command is no success (I2). `limit` says which limit was hit meanwhile, if one was.
fn succeeded(
    exit: Exit,
    action: &RunAction,
    limit: impl FnOnce() -> Option<String>,
) -> Result<(), StepError> {
    let how = match exit {
        Exit::Code(0) => return Ok(()),
        Exit::Code(code) => format!("exit code: {code}"),
        Exit::Signal {
            number,
            out_of_memory: true,
        } => format!("signal {number}: out of memory"),
        Exit::Signal { number, .. } => format!("signal {number}"),
    };
    // What was ended may have been a child of the command, which made the best of it.
    let how = match limit() {
        Some(limit) => format!("{how}: {limit}"),
        None => how,
    };
    Err(StepError::Command {
        command: action.arguments.join(" "),
        how,
        code: exit.code(),
    })
}

/// The root of an overlay looks as its upper directory does.
fn copy_metadata(from: &Path, to: &Path) -> Result<(), StepError> {
    use std::os::unix::fs::MetadataExt as _;
    let failed = || StepError::io(format!("prepare {}", to.display()));
    let metadata = std::fs::metadata(from).map_err(failed())?;
    std::fs::set_permissions(to, metadata.permissions()).map_err(failed())?;
    if (metadata.uid(), metadata.gid())
        != (
            rustix::process::geteuid().as_raw(),
            rustix::process::getegid().as_raw(),
        )
    {
        std::os::unix::fs::chown(to, Some(metadata.uid()), Some(metadata.gid())).map_err(failed())?;
    }
    Ok(())
}
