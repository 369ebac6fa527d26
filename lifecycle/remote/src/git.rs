//! The program git, on a short leash.
//!
//! What keeps it short: only protocols that lead to another machine; no hooks and no template they could come from; nothing
//! that a caller's environment says about another repository; addresses and references that cannot be options
//! (CVE-2019-13139); submodules never from this machine (CVE-2022-39253); passwords in the environment and not among the
//! arguments, given to their own host alone.

use std::fs::FileTimes;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use fs_err as fs;
use lifecycle_registry::Secret;

use crate::repository::{Address, PROTOCOLS, check_reference};
use crate::{Checkout, Depth, GitAuthorization, RemoteError, Repository};

/// What git must not take over from whoever calls this program.
const FOREIGN_VARIABLES: [&str; 10] = [
    "GIT_DIR",
    "GIT_COMMON_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_NAMESPACE",
    "GIT_CEILING_DIRECTORIES",
    "GIT_TEMPLATE_DIR",
    "GIT_ALLOW_PROTOCOL",
];
/// Where a password waits for git to ask for it.
const USERNAME: &str = "LIFECYCLE_GIT_USERNAME";
const PASSWORD: &str = "LIFECYCLE_GIT_PASSWORD";
const HEADER: &str = "LIFECYCLE_GIT_HEADER";
/// The shortest beginning of a commit that is taken for one.
const SHORTEST_COMMIT: usize = 4;

/// How repositories are fetched. Everything else is git's own configuration.
#[derive(Debug, Clone)]
pub struct GitSettings {
    /// The program.
    pub program: PathBuf,
    /// Whether repositories of this machine may be named (`file://`, paths). Never for what comes from a Dockerfile.
    pub local: bool,
    /// A private key file for SSH, in place of what is configured.
    pub ssh_key: Option<PathBuf>,
    /// The socket of an SSH agent, in place of the one of the environment.
    pub ssh_agent: Option<PathBuf>,
    /// Who we are where a repository says nothing of its own.
    pub authorization: Option<GitAuthorization>,
    /// Whether certificates are checked.
    pub verify: bool,
    /// A file of certificate authorities, in place of git's own.
    pub authorities: Option<PathBuf>,
    /// How long a connection may be silent, in seconds.
    pub patience: u32,
}

impl Default for GitSettings {
    fn default() -> Self {
        Self {
            program: PathBuf::from("git"),
            local: false,
            ssh_key: None,
            ssh_agent: None,
            authorization: None,
            verify: true,
            authorities: None,
            patience: 60,
        }
    }
}

/// One checkout.
#[derive(Debug)]
pub(crate) struct Git<'a> {
    settings: &'a GitSettings,
    repository: &'a Repository,
    address: Address,
}

/// What is fetched.
#[derive(Debug)]
struct Wanted {
    /// The name or commit on the other side.
    remote: String,
    /// The name it gets here, if it has one there.
    local: Option<String>,
    /// The algorithm of the repository's object names.
    format: &'static str,
}

impl<'a> Git<'a> {
    pub(crate) fn new(settings: &'a GitSettings, repository: &'a Repository) -> Result<Self, RemoteError> {
        let address = Address::parse(&repository.url, settings.local)?;
        let git = Self {
            settings,
            repository,
            address,
        };
        if let Some(reference) = &repository.reference {
            check_reference(reference)
                .map_err(|reason| git.missing(format!("reference `{reference}`: {reason}")))?;
        }
        Ok(git)
    }

    pub(crate) fn check_out(&self, into: &Path) -> Result<Checkout, RemoteError> {
        let place = tempfile::Builder::new()
            .prefix(".checkout-")
            .tempdir_in(into)
            .map_err(RemoteError::io("create a directory in", into))?;
        let here = place.path();
        let commit = self.fetch(here)?;
        self.run(here, &["checkout", "--quiet", "--force", "--detach", &commit])?;
        if self.repository.submodules {
            self.update_submodules(here)?;
        }
        let time = self.run(here, &["show", "--no-patch", "--format=%ct", &commit, "--"])?;
        let time: i64 = time.trim().parse().unwrap_or_default();
        let keeps_git = self.repository.keep_git_directory && self.repository.subdirectory.is_none();
        if keeps_git {
            self.tidy(here)?;
        }
        self.settle(here, time, keeps_git)?;
        let wanted = self.subdirectory(here)?;
        for entry in fs::read_dir(&wanted).map_err(RemoteError::io("read", &wanted))? {
            let entry = entry.map_err(RemoteError::io("read", &wanted))?;
            let target = into.join(entry.file_name());
            fs::rename(entry.path(), &target).map_err(RemoteError::io("move", &target))?;
        }
        place.close().map_err(RemoteError::io("empty", into))?;
        Ok(Checkout { commit, time })
    }

    /// Fetches what is wanted into a new repository, and says which commit that is.
    fn fetch(&self, here: &Path) -> Result<String, RemoteError> {
        let found = self.find(here);
        let format = found.as_ref().map_or("sha1", |wanted| wanted.format);
        self.run(
            here,
            &[
                "init",
                "--quiet",
                "--template=",
                &format!("--object-format={format}"),
                ".",
            ],
        )?;
        self.run(here, &["remote", "add", "origin", &self.address.url])?;
        let wanted = match found {
            Ok(wanted) => wanted,
            // What is not named there may be the beginning of a commit, which only the whole history knows.
            Err(RemoteError::Missing { .. })
                if self.repository.reference.as_deref().is_some_and(is_commit) =>
            {
                return self.fetch_everything(here);
            }
            Err(error) => return Err(error),
        };
        let rule = match &wanted.local {
            Some(local) => format!("+{}:{local}", wanted.remote),
            None => wanted.remote.clone(),
        };
        let fetch = ["fetch", "--quiet", "--no-tags", "--update-head-ok"];
        let names = ["--", "origin", rule.as_str()];
        if let Depth::Commits(depth) = self.repository.depth {
            let depth = format!("--depth={depth}");
            let shallow = [&fetch[..], &[depth.as_str()], &names].concat();
            match self.run(here, &shallow) {
                Ok(_) => return self.resolve(here, wanted.local.as_deref().unwrap_or("FETCH_HEAD")),
                // Plain web servers have whole histories only, and some do not give a commit by its name.
                Err(error) => tracing::debug!(%error, "fetching without a depth"),
            }
        }
        match self.run(here, &[&fetch[..], &names].concat()) {
            Ok(_) => self.resolve(here, wanted.local.as_deref().unwrap_or("FETCH_HEAD")),
            Err(_) if wanted.local.is_none() => self.fetch_everything(here),
            Err(error) => Err(error),
        }
    }

    /// Asks the other side what the reference stands for. A branch comes before a tag, as for `git checkout`.
    fn find(&self, here: &Path) -> Result<Wanted, RemoteError> {
        let reference = self.repository.reference.as_deref();
        if let Some(commit) = reference.filter(|text| is_commit(text) && matches!(text.len(), 40 | 64)) {
            return Ok(Wanted {
                remote: commit.to_owned(),
                local: None,
                format: format_of(commit),
            });
        }
        let pattern = reference.unwrap_or("HEAD");
        let listed = self.run(
            here,
            &[
                "ls-remote",
                "--quiet",
                "--symref",
                "--",
                &self.address.url,
                pattern,
            ],
        )?;
        let names: Vec<(&str, &str)> = listed.lines().filter_map(|line| line.split_once('\t')).collect();
        let full = |name: String| {
            names
                .iter()
                .find(|(_, found)| *found == name)
                .map(|(hash, _)| (name, *hash))
        };
        let found = match reference {
            Some(reference) => full(format!("refs/heads/{reference}"))
                .or_else(|| full(format!("refs/tags/{reference}")))
                .or_else(|| full(reference.to_owned())),
            None => names
                .iter()
                .find(|(hash, name)| *name == "HEAD" && !hash.starts_with("ref: "))
                .map(|(hash, _)| {
                    let branch = names.iter().find_map(|(target, _)| target.strip_prefix("ref: "));
                    (branch.unwrap_or("HEAD").to_owned(), *hash)
                }),
        };
        let (name, hash) = found.ok_or_else(|| {
            self.missing(match reference {
                Some(reference) => format!("branch, tag or commit {reference}"),
                None => "commit yet".to_owned(),
            })
        })?;
        // The other side says how its branch is called, and could call it like an option.
        check_reference(&name).map_err(|reason| self.missing(format!("usable branch {name:?}: {reason}")))?;
        Ok(Wanted {
            local: name.starts_with("refs/").then(|| name.clone()),
            format: format_of(hash),
            remote: name,
        })
    }

    /// Fetches the whole history, to find a commit by the beginning of its name.
    fn fetch_everything(&self, here: &Path) -> Result<String, RemoteError> {
        let rules = ["+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*"];
        let fetch = ["fetch", "--quiet", "--no-tags", "--", "origin"];
        self.run(here, &[&fetch[..], &rules].concat())?;
        let reference = self.repository.reference.as_deref().unwrap_or("HEAD");
        self.resolve(here, reference)
            .map_err(|_| self.missing(format!("branch, tag or commit {reference}")))
    }

    fn resolve(&self, here: &Path, name: &str) -> Result<String, RemoteError> {
        let name = format!("{name}^{{commit}}");
        let commit = self.run(
            here,
            &["rev-parse", "--quiet", "--verify", "--end-of-options", &name],
        )?;
        Ok(commit.trim().to_owned())
    }

    fn update_submodules(&self, here: &Path) -> Result<(), RemoteError> {
        if !here.join(".gitmodules").exists() {
            return Ok(());
        }
        let update = ["submodule", "--quiet", "update", "--init", "--recursive"];
        let shallow = [&update[..], &["--depth=1"]].concat();
        if matches!(self.repository.depth, Depth::Commits(_)) && self.run(here, &shallow).is_ok() {
            return Ok(());
        }
        self.run(here, &update).map(drop)
    }

    /// Takes out of a `.git` that stays what differs from one checkout to the next.
    fn tidy(&self, here: &Path) -> Result<(), RemoteError> {
        let own = here.join(".git");
        for name in ["FETCH_HEAD", "ORIG_HEAD", "index", "logs", "hooks"] {
            let path = own.join(name);
            let removed = match fs::symlink_metadata(&path) {
                Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(&path),
                Ok(_) => fs::remove_file(&path),
                Err(_) => Ok(()),
            };
            removed.map_err(RemoteError::io("remove", &path))?;
        }
        // An index that knows no times of files.
        self.run(here, &["read-tree", "HEAD"]).map(drop)
    }

    /// Gives every file its mode and time, and removes `.git` wherever a submodule has one.
    fn settle(&self, here: &Path, time: i64, keeps_git: bool) -> Result<(), RemoteError> {
        let seconds = Duration::from_secs(time.unsigned_abs());
        let times = FileTimes::new().set_modified(SystemTime::UNIX_EPOCH + seconds);
        let mut directories = vec![here.to_owned()];
        let mut next = 0;
        while let Some(directory) = directories.get(next).cloned() {
            next += 1;
            for entry in fs::read_dir(&directory).map_err(RemoteError::io("read", &directory))? {
                let path = entry.map_err(RemoteError::io("read", &directory))?.path();
                let metadata = fs::symlink_metadata(&path).map_err(RemoteError::io("read", &path))?;
                if path.file_name().is_some_and(|name| name == ".git") {
                    if keeps_git {
                        continue;
                    }
                    let removed = if metadata.is_dir() {
                        fs::remove_dir_all(&path)
                    } else {
                        fs::remove_file(&path)
                    };
                    removed.map_err(RemoteError::io("remove", &path))?;
                } else if metadata.is_dir() {
                    directories.push(path);
                } else if metadata.is_file() {
                    let mode = if metadata.permissions().mode() & 0o100 == 0 {
                        0o644
                    } else {
                        0o755
                    };
                    fs::set_permissions(&path, PermissionsExt::from_mode(mode))
                        .map_err(RemoteError::io("set the mode of", &path))?;
                    if self.repository.commit_time {
                        set_times(&path, times)?;
                    }
                } else if self.repository.commit_time {
                    set_link_time(&path, time)?;
                }
            }
        }
        for directory in directories.iter().rev() {
            if directory != here {
                fs::set_permissions(directory, PermissionsExt::from_mode(0o755))
                    .map_err(RemoteError::io("set the mode of", directory))?;
            }
            if self.repository.commit_time {
                set_times(directory, times)?;
            }
        }
        Ok(())
    }

    /// The directory that is wanted. It is one of the repository itself: no link leads there (CVE-2026-33748).
    fn subdirectory(&self, here: &Path) -> Result<PathBuf, RemoteError> {
        let mut directory = here.to_owned();
        let Some(wanted) = &self.repository.subdirectory else {
            return Ok(directory);
        };
        let missing = || self.missing(format!("directory {wanted}"));
        for component in Path::new(wanted).components() {
            match component {
                Component::RootDir | Component::CurDir => continue,
                Component::Normal(name) => directory.push(name),
                _ => return Err(missing()),
            }
            if !fs::symlink_metadata(&directory).is_ok_and(|metadata| metadata.is_dir()) {
                return Err(missing());
            }
        }
        Ok(directory)
    }

    fn missing(&self, what: String) -> RemoteError {
        RemoteError::Missing {
            repository: self.address.shown.clone(),
            what,
        }
    }

    /// Who we are: what the address says, then the repository, then the settings.
    fn authorization(&self) -> Option<(&str, &GitAuthorization)> {
        let own = self.address.authorization.as_ref();
        let own = own.or(self.repository.authorization.as_ref());
        Some((
            self.address.origin.as_deref()?,
            own.or(self.settings.authorization.as_ref())?,
        ))
    }

    /// The configuration that holds whatever else is configured.
    fn configuration(&self) -> Vec<String> {
        let mut configuration: Vec<String> = [
            "core.hooksPath=/dev/null",
            "core.fsmonitor=false",
            "core.symlinks=true",
            "core.protectHFS=true",
            "core.protectNTFS=true",
            "core.logAllRefUpdates=false",
            "core.autocrlf=false",
            "transfer.bundleURI=false",
            "fetch.recurseSubmodules=false",
            "submodule.recurse=false",
            "advice.detachedHead=false",
            "init.defaultBranch=main",
            "gc.auto=0",
            "protocol.allow=never",
        ]
        .map(str::to_owned)
        .to_vec();
        let protocols = PROTOCOLS
            .iter()
            .map(|protocol| format!("protocol.{protocol}.allow=always"));
        configuration.extend(protocols);
        if self.settings.local {
            // For what the user names, and not for what a repository says of its submodules.
            configuration.push("protocol.file.allow=user".to_owned());
        }
        configuration.push("http.lowSpeedLimit=1".to_owned());
        configuration.push(format!("http.lowSpeedTime={}", self.settings.patience));
        if !self.settings.verify {
            configuration.push("http.sslVerify=false".to_owned());
        }
        if let Some((origin, GitAuthorization::Basic { .. })) = self.authorization() {
            // An empty one first: ours is the one that counts, and nobody stores it.
            configuration.push(format!("credential.{origin}.helper="));
            let answer = format!(
                r#"!f() {{ test "$1" = get && printf 'username=%s\npassword=%s\n' "${USERNAME}" "${PASSWORD}"; }}; f"#
            );
            configuration.push(format!("credential.{origin}.helper={answer}"));
        }
        configuration
    }

    /// Runs git in a directory and gives what it prints.
    fn run(&self, here: &Path, arguments: &[&str]) -> Result<String, RemoteError> {
        let mut command = Command::new(&self.settings.program);
        for setting in self.configuration() {
            command.arg("-c").arg(setting);
        }
        for name in FOREIGN_VARIABLES {
            command.env_remove(name);
        }
        match self.authorization() {
            Some((_, GitAuthorization::Basic { username, password })) => {
                command.env(USERNAME, username).env(PASSWORD, password.reveal());
            }
            Some((origin, GitAuthorization::Header(header))) => {
                command
                    .arg(format!("--config-env=http.{origin}/.extraHeader={HEADER}"))
                    .env(HEADER, format!("Authorization: {}", header.reveal()));
            }
            None => {}
        }
        if let Some(key) = &self.settings.ssh_key {
            let key = key.to_string_lossy().replace('\'', r"'\''");
            let ssh = format!("ssh -i '{key}' -o IdentitiesOnly=yes -o StrictHostKeyChecking=accept-new");
            command.env("GIT_SSH_COMMAND", ssh);
        }
        if let Some(authorities) = &self.settings.authorities {
            // As a variable, which goes before git's configuration and the caller's own one.
            command.env("GIT_SSL_CAINFO", authorities);
        }
        if let Some(agent) = &self.settings.ssh_agent {
            command.env("SSH_AUTH_SOCK", agent);
        }
        command
            .args(arguments)
            .current_dir(here)
            .env("GIT_TERMINAL_PROMPT", "0")
            // Whatever repository this program was started in is none of git's business.
            .env("GIT_CEILING_DIRECTORIES", here.parent().unwrap_or(here))
            .stdin(Stdio::null());
        let output = command.output().map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => RemoteError::NoGit {
                repository: self.address.shown.clone(),
            },
            _ => RemoteError::Io {
                what: "start",
                path: self.settings.program.clone(),
                cause: error,
            },
        })?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(RemoteError::Git {
            repository: self.address.shown.clone(),
            said: self.without_secrets(&String::from_utf8_lossy(&output.stderr)),
        })
    }

    /// What git said, in one line and without a password.
    fn without_secrets(&self, said: &str) -> String {
        let mut said = said.replace(&self.address.url, &self.address.shown);
        if let Some((_, authorization)) = self.authorization() {
            said = match authorization {
                GitAuthorization::Basic { password, .. } => password.scrub(said),
                GitAuthorization::Header(header) => {
                    let token = header.reveal().rsplit(' ').next().map(Secret::new);
                    token.map_or(header.scrub(said.clone()), |token| token.scrub(said))
                }
            };
        }
        let lines: Vec<String> = said
            .lines()
            .map(|line| {
                line.trim()
                    .chars()
                    .filter(|c| !c.is_control())
                    .collect::<String>()
            })
            .filter(|line| !line.is_empty())
            .collect();
        if lines.is_empty() {
            "git gave no reason".to_owned()
        } else {
            lines.join("; ")
        }
    }
}

fn is_commit(text: &str) -> bool {
    (SHORTEST_COMMIT..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn format_of(hash: &str) -> &'static str {
    if hash.len() == 64 { "sha256" } else { "sha1" }
}

fn set_times(path: &Path, times: FileTimes) -> Result<(), RemoteError> {
    std::fs::File::open(path)
        .and_then(|file| file.set_times(times))
        .map_err(RemoteError::io("set the time of", path))
}

fn set_link_time(path: &Path, seconds: i64) -> Result<(), RemoteError> {
    use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};
    let time = Timespec {
        tv_sec: seconds,
        tv_nsec: 0,
    };
    let times = Timestamps {
        last_access: time,
        last_modification: time,
    };
    utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)
        .map_err(|cause| RemoteError::io("set the time of", path)(cause.into()))
}
