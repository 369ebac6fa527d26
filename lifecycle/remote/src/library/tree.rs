//! What is asked of the library alone: objects into a repository, and a commit's files out of it.

use std::ffi::OsStr;
use std::io::{Read as _, Write as _};
use std::num::NonZeroU32;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use fs_err::os::unix::fs::{OpenOptionsExt as _, symlink};
use fs_err::{self as fs, File};
use gix::attrs::StateRef;
use gix::bstr::{BString, ByteSlice as _};
use gix::filter::Pipeline;
use gix::filter::plumbing::pipeline::convert::to_worktree;
use gix::index::entry::Mode;
use gix::objs::Kind;
use gix::odb::pack;
use gix::progress::Discard;
use gix::protocol::fetch::{self, Arguments, Negotiate, Response, Shallow, Tags, negotiate};
use gix::protocol::transport::client::blocking_io::Transport;
use gix::worktree::stack::state::attributes::Source;
use gix::{ObjectId, Repository};

use super::AGENT;

/// What the library says went wrong.
pub(super) type Fault = Box<dyn std::error::Error + Send + Sync>;

/// What the library would do otherwise than the program.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Beyond(String);

/// What holds for a repository whatever it says itself; as for the program.
const CONFIGURATION: [&str; 6] = [
    "core.symlinks=true",
    "core.fileMode=true",
    "core.protectHFS=true",
    "core.protectNTFS=true",
    "core.autocrlf=false",
    "core.logAllRefUpdates=false",
];

/// The largest object, in bytes: one that claims more would take all memory.
const LARGEST: usize = 2 << 30;

/// Opens a repository, with nothing of this machine's configuration and variables.
pub(super) fn open(own: &Path) -> Result<Repository, Fault> {
    let options = gix::open::Options::isolated().config_overrides(CONFIGURATION);
    Ok(gix::open_opts(own, options)?)
}

/// Receives objects into the repository, with as much of their history.
pub(super) fn receive(
    connection: &mut impl Transport,
    handshake: &mut gix::protocol::Handshake,
    own: &Path,
    objects: &[ObjectId],
    depth: Option<NonZeroU32>,
) -> Result<(), Fault> {
    let shallow = depth.map_or(Shallow::NoChange, Shallow::DepthAtRemote);
    let context = fetch::Context {
        handshake,
        transport: connection,
        user_agent: ("agent", Some(AGENT.into())),
        trace_packetlines: false,
    };
    let options = fetch::Options {
        shallow_file: own.join("shallow"),
        shallow: &shallow,
        tags: Tags::None,
        reject_shallow_remote: false,
    };
    let into = own.join("objects/pack");
    let received = gix::protocol::fetch(
        &mut Everything(objects),
        |from, progress, interrupt| {
            let none = None::<gix::OdbHandle>;
            let hash = gix::hash::Kind::Sha1;
            let options = pack::bundle::write::Options {
                alloc_limit_bytes: Some(LARGEST),
                ..pack::bundle::write::Options::default()
            };
            pack::Bundle::write_to_directory(from, Some(&into), progress, interrupt, none, hash, options)?;
            Ok(true)
        },
        Discard,
        &AtomicBool::new(false),
        context,
        options,
    )?;
    received.map(drop).ok_or_else(|| "it has nothing to give".into())
}

/// Everything that is wanted, because nothing is here yet.
struct Everything<'a>(&'a [ObjectId]);

impl Negotiate for Everything<'_> {
    fn mark_complete_and_common_ref(&mut self) -> Result<negotiate::Action, gix::Error> {
        Ok(negotiate::Action::MustNegotiate {
            remote_ref_target_known: Vec::new(),
        })
    }

    fn add_wants(&mut self, arguments: &mut Arguments, _: &[bool]) -> bool {
        for object in self.0 {
            arguments.want(object);
        }
        !self.0.is_empty()
    }

    fn one_round(
        &mut self,
        _: &mut negotiate::one_round::State,
        _: &mut Arguments,
        _: Option<&Response>,
    ) -> Result<(negotiate::Round, bool), gix::Error> {
        let round = negotiate::Round {
            haves_sent: 0,
            in_vain: 0,
            haves_to_send: 0,
            previous_response_had_at_least_one_in_common: false,
        };
        Ok((round, true))
    }
}

/// The commit that an object is, or that a tag leads to.
pub(super) fn commit_of(repository: &Repository, object: ObjectId) -> Result<ObjectId, Fault> {
    Ok(repository.find_object(object)?.peel_to_kind(Kind::Commit)?.id)
}

/// The only commit whose name begins so.
pub(super) fn commit_of_prefix(repository: &Repository, beginning: &str) -> Result<Option<ObjectId>, Fault> {
    let prefix = gix::hash::Prefix::from_hex(beginning)?;
    let mut found = std::collections::HashSet::new();
    repository.objects.lookup_prefix(prefix, Some(&mut found))?;
    let mut found: Vec<ObjectId> = found.into_iter().collect();
    found.sort_unstable();
    let mut commits = Vec::new();
    for object in found {
        if matches!(repository.find_header(object)?.kind(), Kind::Commit | Kind::Tag) {
            commits.push(commit_of(repository, object)?);
        }
    }
    commits.sort_unstable();
    commits.dedup();
    match commits[..] {
        [commit] => Ok(Some(commit)),
        _ => Ok(None),
    }
}

/// Writes the files of a commit, and the index of it. When the commit was made, in seconds since 1970.
pub(super) fn check_out(repository: &Repository, commit: ObjectId, here: &Path) -> Result<i64, Fault> {
    let commit = repository.find_object(commit)?.try_into_commit()?;
    // Names that lead out of the tree, or to `.git` on any file system, are refused here (CVE-2014-9390, CVE-2019-1352).
    let mut index = repository.index_from_tree(&commit.tree_id()?)?;
    index.write(gix::index::write::Options::default())?;
    // Attributes are the commit's own, and never a file that a link leads to.
    let mut attributes = repository.attributes_only(&index, Source::IdMapping)?;
    let mut special = attributes.selected_attribute_matches(["working-tree-encoding", "ident"]);
    let mut pipeline = Pipeline::new(repository, attributes.clone())?;
    for entry in index.entries() {
        let name = entry.path(&index);
        // Nothing is below a file or a submodule, and what is below a link would be somewhere else.
        let mut above = name.find_iter("/").map(|end| name[..end].as_bstr());
        if let Some(above) = above.find(|above| index.entry_by_path(above).is_some()) {
            return Err(format!("{above} is no directory, and has files").into());
        }
        let path = here.join(gix::path::from_bstr(name)?);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        match entry.mode {
            Mode::COMMIT => fs::create_dir(&path)?,
            Mode::SYMLINK => symlink(OsStr::from_bytes(&repository.find_object(entry.id)?.data), &path)?,
            mode => {
                let object = repository.find_object(entry.id)?;
                let mut content = Vec::new();
                let options = to_worktree::Options::default();
                pipeline
                    .convert_to_worktree(&object.data, name, options)?
                    .read_to_end(&mut content)?;
                attributes
                    .at_entry(name, Some(mode))?
                    .matching_attributes(&mut special);
                for found in special.iter_selected() {
                    match (found.assignment.name.as_str(), found.assignment.state) {
                        // The library knows few encodings, and takes another one for what it does not know.
                        ("working-tree-encoding", StateRef::Value(encoding)) => {
                            let encoding = encoding.as_bstr();
                            return Err(Beyond(format!("its file {name} has the encoding {encoding}")).into());
                        }
                        // The program has a space before the last dollar.
                        ("ident", StateRef::Set) => {
                            let (id, whole) = (format!("$Id: {}$", entry.id), format!("$Id: {} $", entry.id));
                            content = content.replace(id, whole);
                        }
                        _ => {}
                    }
                }
                let mode = if mode == Mode::FILE_EXECUTABLE {
                    0o755
                } else {
                    0o644
                };
                let mut file = File::options()
                    .write(true)
                    .create_new(true)
                    .mode(mode)
                    .open(&path)?;
                file.write_all(&content)?;
            }
        }
    }
    Ok(commit.time()?.seconds)
}

/// The file that names submodules, and the places and commits of them. Nothing where there is no such file.
#[expect(clippy::type_complexity, reason = "read at one place, by a pattern")]
pub(super) fn submodules(
    repository: &Repository,
    commit: ObjectId,
) -> Result<Option<(Vec<u8>, Vec<(BString, ObjectId)>)>, Fault> {
    let tree = repository.find_object(commit)?.peel_to_kind(Kind::Tree)?.id;
    let index = repository.index_from_tree(&tree)?;
    let file = index.entry_by_path(".gitmodules".into());
    // A link would lead to a file that is not the repository's own.
    let Some(file) = file.filter(|file| matches!(file.mode, Mode::FILE | Mode::FILE_EXECUTABLE)) else {
        return Ok(None);
    };
    let places = index.entries().iter().filter(|entry| entry.mode == Mode::COMMIT);
    let places = places
        .map(|entry| (entry.path(&index).to_owned(), entry.id))
        .collect();
    Ok(Some((repository.find_object(file.id)?.data.clone(), places)))
}
