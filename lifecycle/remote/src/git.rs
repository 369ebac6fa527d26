//! The program git, on a short leash.
//!
//! What keeps it short: only protocols that lead to another machine; no hooks and no template they could come from; nothing
//! that a caller's environment says about another repository; addresses and references that cannot be options
//! (CVE-2019-13139); submodules never from this machine (CVE-2022-39253); passwords in the environment and not among the
//! arguments, given to their own host alone.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use fs_err as fs;

use crate::checkout::Order;
use crate::repository::PROTOCOLS;
use crate::wanted::{Offered, Wanted};
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

/// How repositories are fetched. Everything else is git's own configuration.
#[derive(Debug, Clone)]
pub struct GitSettings {
    /// The program. Where there is none of this name, a library does what can be done without: no ssh, no repositories of
    /// this machine, no servers that only give files.
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

/// One checkout by the program.
#[derive(Debug)]
pub(crate) struct Git<'a> {
    order: &'a Order<'a>,
    settings: &'a GitSettings,
    repository: &'a Repository,
    /// The directory that becomes the repository.
    here: &'a Path,
}

impl GitSettings {
    /// Whether the program is there.
    ///
    /// # Errors
    /// When something of its name is there that cannot be started.
    pub fn has_program(&self) -> Result<bool, RemoteError> {
        let mut version = Command::new(&self.program);
        version.arg("version").stdin(Stdio::null());
        match version.output() {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(RemoteError::io("start", &self.program)(error)),
        }
    }
}

impl<'a> Git<'a> {
    pub(crate) fn new(order: &'a Order<'a>, here: &'a Path) -> Self {
        Self {
            order,
            settings: order.settings,
            repository: order.repository,
            here,
        }
    }

    pub(crate) fn check_out(&self) -> Result<Checkout, RemoteError> {
        let commit = self.fetch()?;
        self.run(&["checkout", "--quiet", "--force", "--detach", &commit])?;
        if self.repository.submodules {
            self.update_submodules()?;
        }
        let time = self.run(&["show", "--no-patch", "--format=%ct", &commit, "--"])?;
        let time: i64 = time.trim().parse().unwrap_or_default();
        if self.order.keeps_git() {
            self.tidy()?;
        }
        Ok(Checkout { commit, time })
    }

    /// Fetches what is wanted into a new repository, and says which commit that is.
    fn fetch(&self) -> Result<String, RemoteError> {
        let found = self.find();
        let format = found.as_ref().map_or("sha1", Wanted::format);
        self.run(&[
            "init",
            "--quiet",
            "--template=",
            &format!("--object-format={format}"),
            ".",
        ])?;
        self.run(&["remote", "add", "origin", &self.order.address.url])?;
        let wanted = match found {
            Ok(wanted) => wanted,
            // What is not named there may be the beginning of a commit, which only the whole history knows.
            Err(RemoteError::Missing { .. }) if self.order.may_be_commit() => {
                return self.fetch_everything();
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
            match self.run(&shallow) {
                Ok(_) => return self.resolve(wanted.local.as_deref().unwrap_or("FETCH_HEAD")),
                // Plain web servers have whole histories only, and some do not give a commit by its name.
                Err(error) => tracing::debug!(%error, "fetching without a depth"),
            }
        }
        match self.run(&[&fetch[..], &names].concat()) {
            Ok(_) => self.resolve(wanted.local.as_deref().unwrap_or("FETCH_HEAD")),
            Err(_) if wanted.local.is_none() => self.fetch_everything(),
            Err(error) => Err(error),
        }
    }

    /// Asks the other side what the reference stands for.
    fn find(&self) -> Result<Wanted, RemoteError> {
        if let Some(commit) = self.order.commit() {
            return Ok(commit);
        }
        let url = self.order.address.url.as_str();
        let pattern = self.repository.reference.as_deref().unwrap_or("HEAD");
        let listed = self.run(&["ls-remote", "--quiet", "--symref", "--", url, pattern])?;
        let lines: Vec<(&str, &str)> = listed.lines().filter_map(|line| line.split_once('\t')).collect();
        let target = |name: &str| {
            let mut links = lines.iter().filter(|(_, link)| *link == name);
            links.find_map(|(target, _)| target.strip_prefix("ref: "))
        };
        let objects = lines.iter().filter(|(object, _)| !object.starts_with("ref: "));
        let offered = objects.map(|(object, name)| Offered {
            name: (*name).to_owned(),
            object: (*object).to_owned(),
            target: target(name).map(str::to_owned),
        });
        self.order.choose(&offered.collect::<Vec<_>>())
    }

    /// Fetches the whole history, to find a commit by the beginning of its name.
    fn fetch_everything(&self) -> Result<String, RemoteError> {
        let rules = ["+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*"];
        let fetch = ["fetch", "--quiet", "--no-tags", "--", "origin"];
        self.run(&[&fetch[..], &rules].concat())?;
        let reference = self.repository.reference.as_deref().unwrap_or("HEAD");
        self.resolve(reference).map_err(|_| self.order.unknown())
    }

    fn resolve(&self, name: &str) -> Result<String, RemoteError> {
        let name = format!("{name}^{{commit}}");
        let commit = self.run(&["rev-parse", "--quiet", "--verify", "--end-of-options", &name])?;
        Ok(commit.trim().to_owned())
    }

    fn update_submodules(&self) -> Result<(), RemoteError> {
        if !self.here.join(".gitmodules").exists() {
            return Ok(());
        }
        let update = ["submodule", "--quiet", "update", "--init", "--recursive"];
        let shallow = [&update[..], &["--depth=1"]].concat();
        if matches!(self.repository.depth, Depth::Commits(_)) && self.run(&shallow).is_ok() {
            return Ok(());
        }
        self.run(&update).map(drop)
    }

    /// Takes out of a `.git` that stays what differs from one checkout to the next.
    fn tidy(&self) -> Result<(), RemoteError> {
        let own = self.here.join(".git");
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
        self.run(&["read-tree", "HEAD"]).map(drop)
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
        // Git sends a header wherever a redirect leads; a password is asked for anew.
        if let Some((_, GitAuthorization::Header(_))) = self.order.authorization() {
            configuration.push("http.followRedirects=false".to_owned());
        }
        if let Some((origin, GitAuthorization::Basic { .. })) = self.order.authorization() {
            // An empty one first: ours is the one that counts, and nobody stores it.
            configuration.push(format!("credential.{origin}.helper="));
            let answer = format!(
                r#"!f() {{ test "$1" = get && printf 'username=%s\npassword=%s\n' "${USERNAME}" "${PASSWORD}"; }}; f"#
            );
            configuration.push(format!("credential.{origin}.helper={answer}"));
        }
        configuration
    }

    /// Runs git and gives what it prints.
    fn run(&self, arguments: &[&str]) -> Result<String, RemoteError> {
        let mut command = Command::new(&self.settings.program);
        for setting in self.configuration() {
            command.arg("-c").arg(setting);
        }
        for name in FOREIGN_VARIABLES {
            command.env_remove(name);
        }
        match self.order.authorization() {
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
            .current_dir(self.here)
            .env("GIT_TERMINAL_PROMPT", "0")
            // Whatever repository this program was started in is none of git's business.
            .env("GIT_CEILING_DIRECTORIES", self.here.parent().unwrap_or(self.here))
            .stdin(Stdio::null());
        let output = command
            .output()
            .map_err(RemoteError::io("start", &self.settings.program))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(self.order.failed(&String::from_utf8_lossy(&output.stderr)))
    }
}
