//! COPY and ADD (section H).

use lifecycle_diagnostics::Diagnostic;

use super::run::utf8;
use super::{Evaluator, Outcome};
use crate::chmod::Chmod;
use crate::expand::Expander;
use crate::heredoc::Heredoc;
use crate::history;
use crate::instruction::{AddFiles, CopyFiles, FilesAndDestination, Instruction};
use crate::line::Word;
use crate::lint::Rule;
use crate::path;
use crate::plan::Origin;
use crate::remote::{GitReference, file_name, is_digest, is_http};
use crate::step::{Action, CopyAction, CopySource, History};

/// What the two instructions share.
struct Transfer<'a> {
    keyword: &'static str,
    origin: Origin,
    files: &'a FilesAndDestination,
    chown: Option<&'a Word>,
    chmod: Option<&'a Word>,
    checksum: Option<&'a Word>,
    keep_git_dir: Option<bool>,
    link: bool,
    parents: bool,
    exclude: &'a [Word],
    unpack: Option<bool>,
}

impl Evaluator<'_> {
    pub(super) fn copy(
        &mut self,
        instruction: &Instruction,
        copy: &CopyFiles,
        origins: &[Origin],
    ) -> Outcome {
        let transfer = Transfer {
            keyword: "COPY",
            origin: origins.first().cloned().unwrap_or(Origin::Context),
            files: &copy.files,
            chown: copy.chown.as_ref(),
            chmod: copy.chmod.as_ref(),
            checksum: None,
            keep_git_dir: None,
            link: copy.link,
            parents: copy.parents,
            exclude: &copy.exclude,
            unpack: None,
        };
        self.transfer(instruction, &transfer)
    }

    pub(super) fn add(&mut self, instruction: &Instruction, add: &AddFiles) -> Outcome {
        let transfer = Transfer {
            keyword: "ADD",
            origin: Origin::Context,
            files: &add.files,
            chown: add.chown.as_ref(),
            chmod: add.chmod.as_ref(),
            checksum: add.checksum.as_ref(),
            keep_git_dir: add.keep_git_dir,
            link: add.link,
            parents: false,
            exclude: &add.exclude,
            unpack: add.unpack,
        };
        self.transfer(instruction, &transfer)
    }

    fn transfer(&mut self, instruction: &Instruction, transfer: &Transfer<'_>) -> Outcome {
        let chown = self.optional(instruction, transfer.chown)?;
        let chmod = self.optional(instruction, transfer.chmod)?;
        let checksum = self.optional(instruction, transfer.checksum)?;
        let paths = self.expand_all(instruction, &transfer.files.sources)?;
        let destination = self.expand(instruction, &transfer.files.destination)?;
        if let (Some(_), Some(word)) = (&checksum, transfer.checksum) {
            check_checksum_applies(&paths, word)?;
        }
        let mut sources = Vec::new();
        for (path, word) in paths.iter().zip(&transfer.files.sources) {
            sources.push(self.source(instruction, transfer, path, word, checksum.as_deref())?);
        }
        for heredoc in &transfer.files.heredocs {
            sources.push(self.inline(instruction, heredoc)?);
        }
        let names: Vec<String> = transfer
            .files
            .heredocs
            .iter()
            .map(|heredoc| heredoc.name.clone())
            .collect();
        let created_by = history::copy(
            transfer.keyword,
            transfer.parents,
            chown.as_deref(),
            chmod.as_deref(),
            &paths,
            &names,
            &destination,
        );
        let action = CopyAction {
            is_add: transfer.keyword == "ADD",
            origin: transfer.origin.clone(),
            sources,
            destination: path::destination(&self.scope.working_directory, &destination),
            chown,
            chmod: parse_chmod(chmod.as_deref(), transfer.chmod)?,
            link: transfer.link,
            exclude: transfer.exclude.iter().map(|word| word.text.clone()).collect(),
            unpack: transfer.unpack,
            user: self.scope.user.clone(),
        };
        Ok((Action::Copy(Box::new(action)), History::layer(created_by)))
    }

    /// A flag's value after expansion; an empty one counts as not given.
    fn optional(
        &mut self,
        instruction: &Instruction,
        word: Option<&Word>,
    ) -> Result<Option<String>, Diagnostic> {
        let value = word.map(|word| self.expand(instruction, word)).transpose()?;
        Ok(value.filter(|value| !value.is_empty()))
    }

    fn source(
        &mut self,
        instruction: &Instruction,
        transfer: &Transfer<'_>,
        path: &str,
        word: &Word,
        checksum: Option<&str>,
    ) -> Result<CopySource, Diagnostic> {
        let fault = |message: String| Diagnostic::error("invalid-source", message).at(word.span.clone());
        let is_copy = transfer.keyword == "COPY";
        match GitReference::parse(path) {
            Some(_) if is_copy => {
                return Err(fault("source can't be a git ref for COPY".to_owned()).help("use ADD"));
            }
            Some(git) => return git_source(git.map_err(fault)?, transfer, word, checksum),
            None => {}
        }
        if is_http(path) {
            return match (is_copy, checksum) {
                (true, _) => Err(fault("source can't be a URL for COPY".to_owned()).help("use ADD")),
                (false, Some(checksum)) if !is_digest(checksum) => {
                    Err(fault(format!("invalid checksum {checksum:?}"))
                        .help("write sha256: and 64 hexadecimal digits"))
                }
                (false, checksum) => Ok(CopySource::Http {
                    url: path.to_owned(),
                    file_name: file_name(path),
                    checksum: checksum.map(str::to_owned),
                }),
            };
        }
        if transfer.origin == Origin::Context {
            self.check_ignored(instruction, transfer.keyword, path, word);
        }
        Ok(if transfer.parents {
            parents_source(path)
        } else {
            CopySource::Path(path::join("/", path))
        })
    }

    /// A heredoc's file. Variables in it are replaced unless its word was quoted (C6).
    fn inline(&mut self, instruction: &Instruction, heredoc: &Heredoc) -> Result<CopySource, Diagnostic> {
        let mut content = heredoc.content();
        if heredoc.expand {
            let word = Word {
                text: utf8(content, heredoc)?,
                span: heredoc.body.clone(),
            };
            content = self
                .expand_with(Expander::for_heredoc_body(), instruction, &word)?
                .into_bytes();
        }
        Ok(CopySource::Inline {
            name: heredoc.name.clone(),
            content,
        })
    }

    /// CopyIgnoredFile (J4). With a `!` in the ignore file nothing can be said without looking at the files.
    fn check_ignored(&mut self, instruction: &Instruction, keyword: &str, path: &str, word: &Word) {
        let Some(ignore) = self.plan.ignore.as_ref().filter(|ignore| !ignore.has_negations()) else {
            return;
        };
        let clean = path::clean(path);
        let is_root = clean == "." || clean == "/";
        let is_ignored = if is_root {
            ignore.ignores_root()
        } else {
            ignore.matches(&clean)
        };
        if is_ignored {
            let verb = if keyword == "ADD" { "Add" } else { "Copy" };
            let message = format!("Attempting to {verb} file {clean:?} that is excluded by .dockerignore");
            self.findings
                .report(Rule::CopyIgnoredFile, &word.span, &instruction.comments, message);
        }
    }
}

fn check_checksum_applies(sources: &[String], word: &Word) -> Result<(), Diagnostic> {
    let message = match sources {
        [one] if is_http(one) || GitReference::parse(one).is_some() => return Ok(()),
        [_] => "checksum requires HTTP(S) or Git sources",
        _ => "checksum can't be specified for multiple sources",
    };
    Err(Diagnostic::error("invalid-checksum", message).at(word.span.clone()))
}

fn git_source(
    mut git: GitReference,
    transfer: &Transfer<'_>,
    word: &Word,
    checksum: Option<&str>,
) -> Result<CopySource, Diagnostic> {
    let fault = |message: String| Diagnostic::error("invalid-source", message).at(word.span.clone());
    match (transfer.keep_git_dir, git.keep_git_dir) {
        (Some(flag), Some(query)) if flag != query => {
            return Err(fault("inconsistent keep-git-dir configuration".to_owned()));
        }
        (flag, query) => git.keep_git_dir = query.or(flag),
    }
    match (checksum, &git.checksum) {
        (Some(flag), Some(query)) if flag != query => {
            return Err(fault(format!("checksum mismatch {flag:?} != {query:?}")));
        }
        (Some(flag), None) => git.checksum = Some(flag.to_owned()),
        _ => {}
    }
    Ok(CopySource::Git(git))
}

/// `--parents` (H23): `/./` is the pivot, what is left of it is dropped from the path.
fn parents_source(path: &str) -> CopySource {
    let (root, kept) = path.split_once("/./").unwrap_or(("/", path));
    let required = !path::has_wildcard(root) && !path::has_wildcard(kept);
    let pattern = path::join("/", kept).trim_start_matches('/').to_owned();
    CopySource::Parents {
        root: path::join("/", root),
        pattern,
        required,
    }
}

fn parse_chmod(value: Option<&str>, word: Option<&Word>) -> Result<Option<Chmod>, Diagnostic> {
    let Some(value) = value else { return Ok(None) };
    Chmod::parse(value).map(Some).map_err(|message| {
        let diagnostic = Diagnostic::error("invalid-chmod", message);
        word.into_iter()
            .fold(diagnostic, |diagnostic, word| diagnostic.at(word.span.clone()))
    })
}
