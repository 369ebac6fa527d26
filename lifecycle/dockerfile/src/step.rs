//! What an evaluated stage does: one step for each instruction, every word expanded and checked.

use std::sync::Arc;

use lifecycle_diagnostics::Span;

use crate::chmod::Chmod;
use crate::environment::Environment;
use crate::instruction::{Device, Healthcheck, Mount, Network, Security};
use crate::plan::Origin;
use crate::remote::GitReference;

/// An instruction ready to be carried out.
#[derive(Debug, Clone)]
pub struct Step {
    /// All lines of the instruction.
    pub span: Span,
    /// The instruction as written, for progress messages.
    pub text: String,
    /// Whether it comes from an ONBUILD of the base (G14).
    pub on_build: bool,
    /// What to do.
    pub action: Action,
    /// Its history entry. ONBUILD has none (G14).
    pub history: Option<History>,
}

/// A history entry (L1, L2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History {
    /// The `created_by` text.
    pub created_by: String,
    /// Whether no layer belongs to it.
    pub empty_layer: bool,
}

impl History {
    /// An entry with a layer.
    pub(crate) fn layer(created_by: String) -> Self {
        Self {
            created_by,
            empty_layer: false,
        }
    }

    /// An entry that changes the configuration only.
    pub(crate) fn config(created_by: String) -> Self {
        Self {
            created_by,
            empty_layer: true,
        }
    }
}

/// What a step does. The variants without files change the configuration only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Run a command and keep what it changes.
    Run(Box<RunAction>),
    /// Copy files: COPY and ADD.
    Copy(Box<CopyAction>),
    /// Change to a directory, making it with mode 0755 and owned by the user in force (G10). Without a layer if it
    /// is `/`.
    Workdir {
        /// The new working directory, absolute.
        path: String,
        /// The user in force.
        user: String,
    },
    /// ARG: nothing in the configuration.
    Arg,
    /// Set the default command. `ArgsEscaped` is always set with it (G1).
    Cmd(Vec<String>),
    /// Set the entry point (G2).
    Entrypoint {
        /// The arguments.
        arguments: Vec<String>,
        /// Whether the default command goes: it was not set in this stage.
        clears_cmd: bool,
    },
    /// Set variables, in order, in place where they exist (G4).
    Env(Vec<(String, String)>),
    /// Add ports such as `80/tcp`.
    Expose(Vec<String>),
    /// Set the health check.
    Healthcheck(Healthcheck),
    /// Set labels.
    Label(Vec<(String, String)>),
    /// Set the author.
    Maintainer(String),
    /// Add a trigger for builds on this image.
    Onbuild(String),
    /// Set the shell.
    Shell(Vec<String>),
    /// Set the stop signal, as written.
    StopSignal(String),
    /// Set the user, as written (G8).
    User(String),
    /// Add volumes.
    Volume(Vec<String>),
}

/// A command to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunAction {
    /// Program and arguments, the shell's first in shell form (I1).
    pub arguments: Vec<String>,
    /// A heredoc that is a program itself: shown read-only, executable, as `/dev/pipes/<name>` (C9).
    pub script: Option<Script>,
    /// ENV and ARG values (I4); without HOME, proxies and secrets.
    pub environment: Arc<Environment>,
    /// The working directory, absolute.
    pub working_directory: String,
    /// The user as written; empty for root.
    pub user: String,
    /// What is mounted, in written order, each with where it comes from.
    pub mounts: Vec<PlacedMount>,
    /// What it sees of the network.
    pub network: Network,
    /// How confined it is.
    pub security: Security,
    /// Devices it asks for.
    pub devices: Vec<Device>,
}

/// A file made of a heredoc's body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    /// The file's name.
    pub name: String,
    /// The file's content.
    pub content: Vec<u8>,
}

/// A mount with its places resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlacedMount {
    /// The options; `target` is as written.
    pub mount: Mount,
    /// Where a bind mount or the seed of a cache comes from. [`Origin::Scratch`] for what has no source.
    pub origin: Origin,
    /// The absolute path inside the step; empty for a secret that is only a variable, and for an ssh agent without
    /// a target of its own.
    pub target: String,
    /// The name of a cache (I9), secret (I11) or agent (I12) after the defaults.
    pub id: String,
}

/// Files to copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyAction {
    /// Whether it is an ADD.
    pub is_add: bool,
    /// Where local sources are looked up.
    pub origin: Origin,
    /// What to copy, in order.
    pub sources: Vec<CopySource>,
    /// Where to, absolute; a trailing `/` or `/.` makes it a directory (H8).
    pub destination: String,
    /// `--chown` as given, for the names and numbers of the destination's file system (H14).
    pub chown: Option<String>,
    /// `--chmod`
    pub chmod: Option<Chmod>,
    /// `--link` as given. It is a plain copy where `chmod` is set too (H20).
    pub link: bool,
    /// `--exclude` patterns, for [`crate::Ignore::from_patterns`].
    pub exclude: Vec<String>,
    /// Whether local archives, and with `--unpack` downloaded ones, are unpacked (H25 to H27).
    pub unpack: Option<bool>,
    /// The user in force.
    pub user: String,
}

impl CopyAction {
    /// Whether it knows nothing of what is below: with `--link`, unless `--chmod` makes it an ordinary copy (H19, H20).
    pub fn is_independent(&self) -> bool {
        self.link && self.chmod.is_none()
    }
}

/// One thing to copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CopySource {
    /// A path or wildcard below the root of the origin, absolute and cleaned (H1, H3).
    Path(String),
    /// With `--parents` (H23): a pattern below a directory; the path from there is kept.
    Parents {
        /// What is dropped from the path.
        root: String,
        /// What is kept; `**` is allowed.
        pattern: String,
        /// Whether it has to exist: it holds no wildcard.
        required: bool,
    },
    /// A download (H27).
    Http {
        /// The address.
        url: String,
        /// The name of the file it becomes.
        file_name: String,
        /// What its digest has to be.
        checksum: Option<String>,
    },
    /// A git repository's files (H29).
    Git(GitReference),
    /// A heredoc (C5).
    Inline {
        /// The file's name.
        name: String,
        /// The file's content, expanded.
        content: Vec<u8>,
    },
}
