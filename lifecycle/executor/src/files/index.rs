//! What a layer holds, told from its tar without unpacking it.
//!
//! Enough for a COPY to know where it may write: what exists, who owns it, where links lead, and the two files that
//! names of owners are looked up in.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead, BufReader, Read};

use lifecycle_image::{Hashing, Layer};
use lifecycle_layers::{Entry, FormatError, Kind, Owner, TarReader, open_tar};

use super::disk::Said;
use super::node::Node;
use super::resolve::clean;

/// The entries of a layer by path.
#[derive(Debug, Default)]
pub(crate) struct LayerIndex {
    nodes: BTreeMap<Vec<u8>, Node>,
    /// Directories among them that only something in them tells of.
    implied: BTreeSet<Vec<u8>>,
    gone: BTreeSet<Vec<u8>>,
    opaque: BTreeSet<Vec<u8>>,
    /// The contents of `/etc/passwd` and `/etc/group`, where they are regular files.
    accounts: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// Bytes of a tar that are read at a time.
const BUFFER: usize = 256 << 10;

/// Files that are remembered with their content.
const ACCOUNTS: [&[u8]; 2] = [b"etc/passwd", b"etc/group"];

/// The layer's tar, unpacked.
fn open(layer: &dyn Layer) -> Result<Box<dyn Read>, FormatError> {
    open_tar(layer).map_err(FormatError::Read)
}

impl LayerIndex {
    /// Reads the layer's tar.
    pub(crate) fn read(layer: &dyn Layer) -> Result<Self, FormatError> {
        Self::of_tar(&mut BufReader::with_capacity(BUFFER, open(layer)?))
    }

    /// Reads the layer's tar, and finds out whether its diff ID is true.
    pub(crate) fn read_verified(layer: &dyn Layer) -> Result<Self, FormatError> {
        let promised = layer.diff_id().map_err(|error| FormatError::Read(error.into()))?;
        let mut input = BufReader::with_capacity(BUFFER, Hashing::new(open(layer)?));
        let index = Self::of_tar(&mut input)?;
        let (_, actual, _) = input.into_inner().finish();
        if actual == promised.0 {
            return Ok(index);
        }
        let text = format!("the layer is not {promised}");
        Err(FormatError::Read(io::Error::new(
            io::ErrorKind::InvalidData,
            text,
        )))
    }

    fn of_tar(input: &mut impl BufRead) -> Result<Self, FormatError> {
        let mut index = Self::default();
        let mut reader = TarReader::new(&mut *input);
        while let Some(entry) = reader.next_entry()? {
            let path = clean(&entry.path);
            let content = match entry.kind {
                Kind::File { size }
                    if ACCOUNTS.contains(&path.as_slice())
                        && size <= lifecycle_sandbox::MAX_FILE_SIZE
                        && entry.sparse.is_none() =>
                {
                    Some(read_data(&mut reader)?)
                }
                _ => None,
            };
            let entry = Entry {
                path: path.into(),
                kind: entry.kind,
                mode: entry.mode,
                owner: entry.owner,
                mtime: entry.mtime,
                xattrs: entry.xattrs,
            };
            index.add(&entry, content);
        }
        // The blob is verified at its end.
        io::copy(input, &mut io::sink()).map_err(FormatError::Read)?;
        Ok(index)
    }

    fn add(&mut self, entry: &Entry<'_>, content: Option<Vec<u8>>) {
        let path = entry.path.to_vec();
        let (above, name) = split(&path);
        if let Some(hidden) = name.strip_prefix(b".wh.") {
            if name == b".wh..wh..opq" {
                self.opaque.insert(above.to_vec());
            } else if !hidden.is_empty() && !name.starts_with(b".wh..wh.") {
                self.gone.insert(join(above, hidden));
            }
            return;
        }
        self.imply_parents(&path);
        let node = match &entry.kind {
            Kind::HardLink(target) => self.nodes.get(&clean(target)).cloned(),
            _ => None,
        };
        let node = node.unwrap_or_else(|| Node::of_entry(entry));
        match content {
            Some(content) => self.accounts.insert(path.clone(), content),
            None => self.accounts.remove(&path),
        };
        self.implied.remove(&path);
        self.nodes.insert(path, node);
    }

    /// Archives may leave directories out.
    fn imply_parents(&mut self, path: &[u8]) {
        let mut above = split(path).0;
        while !above.is_empty() && !self.nodes.contains_key(above) {
            self.nodes.insert(above.to_vec(), Node::implied_directory());
            self.implied.insert(above.to_vec());
            above = split(above).0;
        }
    }

    /// The paths that belong to root.
    pub(crate) fn given_to_root(&self) -> Vec<Vec<u8>> {
        let nodes = self.nodes.iter();
        nodes
            .filter(|(path, node)| node.owner == Owner::ROOT && !self.implied.contains(*path))
            .map(|(path, _)| path.clone())
            .collect()
    }

    pub(super) fn say(&self, path: &[u8]) -> Said {
        match self.nodes.get(path) {
            Some(node) if self.implied.contains(path) => Said::Implied(node.clone()),
            Some(node) => Said::Node(node.clone()),
            None if self.gone.contains(path) => Said::Gone,
            None => Said::Nothing,
        }
    }

    pub(super) fn is_opaque(&self, path: &[u8]) -> bool {
        // A whiteout beside a directory of the same name means that the directory is new.
        self.opaque.contains(path) || self.gone.contains(path)
    }

    /// The content of one of the account files, if this layer has it as a regular file.
    pub(super) fn account_file(&self, path: &[u8]) -> Option<&[u8]> {
        self.accounts.get(path).map(Vec::as_slice)
    }
}

fn read_data<R: io::BufRead>(reader: &mut TarReader<R>) -> Result<Vec<u8>, FormatError> {
    let mut content = Vec::new();
    loop {
        let chunk = reader.chunk()?;
        let taken = chunk.len();
        if taken == 0 {
            return Ok(content);
        }
        content.extend_from_slice(chunk);
        reader.consume(taken);
    }
}

fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|&byte| byte == b'/') {
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (b"", path),
    }
}

fn join(above: &[u8], name: &[u8]) -> Vec<u8> {
    super::resolve::join(above, name)
}
