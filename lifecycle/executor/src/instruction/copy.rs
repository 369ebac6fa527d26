//! COPY and ADD: keys first, files only when no earlier build has done the same (section H, K2, K7).

use std::io::Seek as _;
use std::sync::Arc;

use lifecycle_dockerfile::{CopyAction, CopySource, GitReference, Ignore, Origin};
use lifecycle_image::Digest;
use lifecycle_layers::Owner;

use crate::copy::archive;
use crate::copy::contents::{Keep, PlacedFiles};
use crate::copy::examine::examine;
use crate::copy::item::{Data, Item, Selection, Shape};
use crate::copy::owner::{self, Accounts};
use crate::copy::place::{Canvas, Manner};
use crate::copy::select::SourceFiles;
use crate::error::StepError;
use crate::files::{DiskOwners, Node, NodeKind, View};
use crate::key::KeyMaker;
use crate::origin::{Named, open_scratch};
use crate::recorder::Definition;
use crate::report::Ingredient;
use crate::reporter::{StepName, StepOutcome};
use crate::stack::{Stack, StackLayer};
use crate::stage::{LayerStep, StageRunner};

/// Files to copy from, and what has to stay meanwhile.
pub(crate) struct Opened {
    pub(crate) source: SourceFiles,
    pub(crate) keeps: Vec<Keep>,
}

/// What is copied, found and read.
struct Found {
    selections: Vec<Selection>,
    keeps: Vec<Keep>,
    /// What was fetched.
    used: Vec<Ingredient>,
}

impl StageRunner<'_> {
    pub(crate) fn copy(&mut self, action: &CopyAction, name: &StepName) -> Result<LayerStep, StepError> {
        let is_link = action.is_independent();
        let mut definitions = Vec::new();
        if let Some((by_origin, is_fresh)) = self.key_by_origin(action)? {
            definitions.push(by_origin);
            // On layers that are still being made nothing was done before.
            if !is_fresh && let Some(earlier) = self.earlier(&definitions, !is_link)? {
                return Ok(earlier);
            }
        }
        let mut key = self.key_of(action, "content");
        let found = self.find(action, &mut key)?;
        let content_key = key.clone().finish();
        let definitions: Vec<Definition> = definitions
            .into_iter()
            .map(|by_origin| by_origin.or_by_content(content_key.clone()))
            .collect();
        let by_content = Definition::new(key);
        let used = found.used.clone();
        if let Some(mut earlier) = self.earlier(std::slice::from_ref(&by_content), !is_link)? {
            earlier.used = used;
            let layer = Arc::clone(&earlier.layer.layer);
            self.remember(definitions, !is_link, layer, earlier.created);
            return Ok(earlier);
        }
        let definitions = definitions.into_iter().chain([by_content]).collect();
        let build = self.build;
        let contents = self.place(action, is_link, found, name)?;
        let contents = Arc::new(contents);
        let layer = self.pack(contents.clone());
        self.remember(definitions, !is_link, Arc::clone(&layer), build.now);
        Ok(LayerStep {
            layer: StackLayer::copied(layer, contents),
            created: build.now,
            outcome: StepOutcome::Done,
            used,
        })
    }

    /// A key that needs no look at any file: the layers that it copies from stand for their contents (K5). Says also
    /// whether those are being made in this build.
    fn key_by_origin(&self, action: &CopyAction) -> Result<Option<(Definition, bool)>, StepError> {
        let (stack, is_fresh) = match &action.origin {
            Origin::Context | Origin::Scratch => return Ok(None),
            Origin::Stage(index) => {
                let stage = self.other(*index)?;
                (stage.stack.clone(), stage.is_fresh)
            }
            Origin::Image(name) => match self.image(name)? {
                Named::Files(_) => return Ok(None),
                Named::Image(image) => (image.stack.clone(), false),
            },
        };
        let mut key = self.key_of(action, "origin");
        for source in &action.sources {
            match source {
                CopySource::Path(path) => drop(key.add("path").add(path)),
                CopySource::Parents { root, pattern, .. } => drop(key.add("parents").add(root).add(pattern)),
                CopySource::Inline { name, content } => drop(key.add("inline").add(name).add(content)),
                // Only ADD has these, and ADD has no other origin than the context.
                CopySource::Http { .. } | CopySource::Git(_) => return Ok(None),
            }
        }
        let layers = stack.layers.iter().map(|layer| Arc::clone(&layer.layer));
        Ok(Some((Definition::new(key).reading(layers.collect()), is_fresh)))
    }

    /// The part of the key that says what becomes of the files (K2).
    fn key_of(&self, action: &CopyAction, kind: &str) -> KeyMaker {
        let mut key = KeyMaker::new(if action.is_add { "ADD" } else { "COPY" });
        key.add(kind)
            .add(&action.destination)
            .optional(action.chown.as_ref())
            .optional(action.chmod.as_ref().map(|chmod| format!("{chmod:?}")))
            .number(u64::from(action.is_independent()))
            .list(action.exclude.iter())
            .optional(action.unpack.map(|unpack| [u8::from(unpack)]))
            .optional(self.build.epoch.map(i64::to_le_bytes));
        key
    }

    /// The files of an origin.
    pub(crate) fn open(&self, origin: &Origin) -> Result<Opened, StepError> {
        // Before a walk takes memory.
        self.build.known.load()?;
        let of_files = |source| Opened {
            source,
            keeps: Vec::new(),
        };
        match origin {
            Origin::Scratch => Ok(of_files(SourceFiles::default())),
            Origin::Context => Ok(of_files(self.build.context.clone())),
            Origin::Stage(index) => self.open_stack(&self.other(*index)?.stack),
            Origin::Image(name) => match self.image(name)? {
                Named::Image(image) => self.open_stack(&image.stack),
                Named::Files(files) => Ok(of_files((*files).clone())),
            },
        }
    }

    fn open_stack(&self, stack: &Stack) -> Result<Opened, StepError> {
        let roots = self.build.roots();
        let trees = stack.trees(&roots)?;
        self.build.report_skipped(&trees);
        Ok(Opened {
            source: SourceFiles {
                view: stack.files(&roots)?,
                ignore: Ignore::default(),
            },
            keeps: trees.into_iter().map(|tree| tree as Keep).collect(),
        })
    }

    /// Finds and reads everything that is copied, and adds its content to the key.
    fn find(&self, action: &CopyAction, key: &mut KeyMaker) -> Result<Found, StepError> {
        let exclude = Ignore::from_patterns(&action.exclude).map_err(StepError::Exclude)?;
        let opened = self.open(&action.origin)?;
        let mut selections = Vec::new();
        let mut keeps = opened.keeps;
        let mut used = Vec::new();
        for source in &action.sources {
            match source {
                CopySource::Path(path) => {
                    for selection in opened.source.select(path, &exclude)? {
                        selections.push(self.unpacked(action, selection, &mut keeps)?);
                    }
                }
                CopySource::Parents {
                    root,
                    pattern,
                    required,
                } => {
                    let selected = opened
                        .source
                        .select_with_parents(root, pattern, *required, &exclude)?;
                    selections.extend(selected);
                }
                CopySource::Inline { name, content } => {
                    selections.push(inline(name, content, self.build.now));
                }
                CopySource::Http {
                    url,
                    file_name,
                    checksum,
                } => {
                    let (selection, digest) =
                        self.download(url, file_name, checksum.as_deref(), &mut keeps)?;
                    used.push(Ingredient::File {
                        url: url.clone(),
                        digest,
                    });
                    let selection = if action.unpack == Some(true) {
                        self.unpacked(action, selection, &mut keeps)?
                    } else {
                        selection
                    };
                    selections.push(selection);
                }
                CopySource::Git(git) => {
                    let (selected, commit) = self.check_out(git, &exclude, &mut keeps)?;
                    selections.extend(selected);
                    used.push(Ingredient::Repository {
                        url: git.remote.clone(),
                        reference: git.reference.clone(),
                        commit,
                    });
                }
            }
        }
        examine(&mut selections, &self.build.known, key)?;
        Ok(Found {
            selections,
            keeps,
            used,
        })
    }

    /// An archive that ADD unpacks, unpacked (H25, H26); everything else as it is.
    fn unpacked(
        &self,
        action: &CopyAction,
        selection: Selection,
        keeps: &mut Vec<Keep>,
    ) -> Result<Selection, StepError> {
        if !action.is_add || action.unpack == Some(false) || selection.shape != Shape::File {
            return Ok(selection);
        }
        let Some(Item {
            data: Data::File(handle),
            node,
            ..
        }) = selection.items.first()
        else {
            return Ok(selection);
        };
        let what = format!("the archive {}", String::from_utf8_lossy(&handle.path));
        let mut file = handle.open().map_err(StepError::io(format!("read {what}")))?;
        if !archive::is_archive(&mut file).map_err(StepError::io(format!("read {what}")))? {
            return Ok(selection);
        }
        let powers = self.build.powers;
        let scratch = Arc::new(self.build.store.scratch()?);
        let extracted = archive::unpack(file, &what, scratch.path(), powers)?;
        let owners = if powers.gives_files_away {
            DiskOwners::Keep
        } else {
            DiskOwners::Table(extracted.owners)
        };
        let unpacked = SourceFiles {
            view: View::of_disk(open_scratch(&scratch, owners)?),
            ignore: Ignore::default(),
        };
        let mtime = node.mtime;
        let mut selections = unpacked.select("/", &Ignore::default())?;
        keeps.push(scratch);
        let Some(mut unpacked) = selections.pop() else {
            return Ok(selection);
        };
        if let Some(mut top) = unpacked.items.first() {
            top.node.mtime = mtime;
            top.node.mode = 0o755;
            top.node.owner = Owner::ROOT;
            unpacked.items.replace(0, top);
        }
        // Devices that could not be made.
        let missing = extracted.devices.iter().map(Item::of_entry);
        let missing: Vec<Item> = missing
            .filter(|device| unpacked.items.find(&device.path).is_none())
            .collect();
        for device in missing {
            unpacked.items.push(device);
        }
        unpacked.shape = Shape::Archive;
        unpacked.name = selection.name;
        Ok(unpacked)
    }

    /// A file from the web (H27).
    fn download(
        &self,
        url: &str,
        file_name: &str,
        checksum: Option<&str>,
        keeps: &mut Vec<Keep>,
    ) -> Result<(Selection, Digest), StepError> {
        let scratch = Arc::new(self.build.store.scratch()?);
        let path = scratch.path().join("download");
        let fail = || StepError::io(format!("write the download of {url}"));
        let mut file = std::fs::File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)
            .map_err(fail())?;
        let download = self.build.remote.download(url, &mut file)?;
        file.rewind().map_err(fail())?;
        let actual = Digest::of_reader(&mut file).map_err(fail())?;
        if let Some(expected) = checksum.filter(|expected| **expected != *actual.as_str()) {
            return Err(StepError::Checksum {
                url: url.to_owned(),
                expected: expected.to_owned(),
                actual: actual.to_string(),
            });
        }
        let size = file.metadata().map_err(fail())?.len();
        let root = open_scratch(&scratch, DiskOwners::Root)?;
        let node = Node {
            kind: NodeKind::File { size },
            mode: 0o600,
            owner: Owner::ROOT,
            mtime: download.last_modified.unwrap_or(0),
            identity: None,
            mark: None,
            xattrs: Vec::new(),
        };
        keeps.push(scratch);
        let item = Item::new(Vec::new(), node, Data::File(root.handle(b"download")));
        let selection = Selection {
            last_modified: download.last_modified,
            ..Selection::of_file(file_name.as_bytes().to_vec(), item)
        };
        Ok((selection, actual))
    }

    /// A repository's files (H29).
    fn check_out(
        &self,
        git: &GitReference,
        exclude: &Ignore,
        keeps: &mut Vec<Keep>,
    ) -> Result<(Vec<Selection>, String), StepError> {
        let scratch = Arc::new(self.build.store.scratch()?);
        let checkout = self.build.remote.checkout(git, scratch.path())?;
        if let Some(expected) = git
            .checksum
            .as_ref()
            .filter(|prefix| !checkout.commit.starts_with(*prefix))
        {
            return Err(StepError::Checksum {
                url: git.remote.clone(),
                expected: expected.clone(),
                actual: checkout.commit,
            });
        }
        let files = SourceFiles {
            view: View::of_disk(open_scratch(&scratch, DiskOwners::Root)?),
            ignore: Ignore::default(),
        };
        keeps.push(scratch);
        Ok((files.select("/", exclude)?, checkout.commit))
    }

    /// Puts everything in its place.
    fn place(
        &mut self,
        action: &CopyAction,
        is_link: bool,
        found: Found,
        name: &StepName,
    ) -> Result<PlacedFiles, StepError> {
        let build = self.build;
        let manner = Manner {
            owner: match &action.chown {
                Some(chown) => Some(self.owner(chown, is_link)?),
                None => None,
            },
            chmod: action.chmod.as_ref(),
            now: build.now,
        };
        // A linked copy knows nothing of what is below (H19).
        let below = if is_link { View::default() } else { self.names()? };
        let mut canvas = Canvas::new(&below, manner);
        for selection in found.selections {
            canvas.put(&action.destination, selection)?;
        }
        Ok(PlacedFiles::new(
            name.text.clone(),
            canvas.finish(),
            build.epoch,
            found.keeps,
        ))
    }

    /// The owner that a user and group mean here (H14).
    pub(super) fn owner(&mut self, chown: &str, is_link: bool) -> Result<Owner, StepError> {
        let accounts = if is_link || owner::is_numeric(chown) {
            Accounts::default()
        } else {
            self.accounts()?
        };
        owner::resolve(chown, &accounts)
    }
}

/// A heredoc's file (C5).
fn inline(name: &str, content: &[u8], now: i64) -> Selection {
    let node = Node {
        kind: NodeKind::File {
            size: content.len() as u64,
        },
        mode: 0o644,
        owner: Owner::ROOT,
        mtime: now,
        identity: None,
        mark: None,
        xattrs: Vec::new(),
    };
    let item = Item::new(Vec::new(), node, Data::Memory(content.into()));
    Selection::of_file(name.as_bytes().to_vec(), item)
}
