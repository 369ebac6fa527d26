//! COPY and ADD (section H).

use lifecycle_diagnostics::Diagnostic;

use super::flags::Flag;
use super::{Request, command_line};
use crate::heredoc::{Heredoc, HeredocStart};
use crate::line::Word;

/// What is copied where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilesAndDestination {
    /// Paths, URLs and git references, before expansion.
    pub sources: Vec<Word>,
    /// Files given in place; copied after `sources`, whatever the written order.
    pub heredocs: Vec<Heredoc>,
    /// Where to, before expansion.
    pub destination: Word,
}

/// COPY as written. Flags that take a value are before expansion; `from` and `exclude` are never expanded (D11).
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are the flags")]
pub struct CopyFiles {
    pub from: Option<Word>,
    pub chown: Option<Word>,
    pub chmod: Option<Word>,
    pub link: bool,
    pub parents: bool,
    pub exclude: Vec<Word>,
    pub files: FilesAndDestination,
}

/// ADD as written. Flags that take a value are before expansion; `exclude` is never expanded (D11).
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are the flags")]
pub struct AddFiles {
    pub chown: Option<Word>,
    pub chmod: Option<Word>,
    pub link: bool,
    pub keep_git_dir: Option<bool>,
    pub checksum: Option<Word>,
    pub unpack: Option<bool>,
    pub exclude: Vec<Word>,
    pub files: FilesAndDestination,
}

pub(super) fn parse_copy(request: &Request<'_>) -> Result<CopyFiles, Diagnostic> {
    let words = words(request)?;
    let flags = request.flags(&[
        ("from", Flag::Text),
        ("chown", Flag::Text),
        ("chmod", Flag::Text),
        ("link", Flag::Switch),
        ("parents", Flag::Switch),
        ("exclude", Flag::Texts),
    ])?;
    let given = |name| flags.text(name).filter(|value| !value.text.is_empty());
    Ok(CopyFiles {
        from: given("from"),
        chown: given("chown"),
        chmod: given("chmod"),
        link: flags.switch("link").unwrap_or(false),
        parents: flags.switch("parents").unwrap_or(false),
        exclude: flags.texts("exclude"),
        files: files(request, words)?,
    })
}

pub(super) fn parse_add(request: &Request<'_>) -> Result<AddFiles, Diagnostic> {
    let words = words(request)?;
    let flags = request.flags(&[
        ("chown", Flag::Text),
        ("chmod", Flag::Text),
        ("link", Flag::Switch),
        ("keep-git-dir", Flag::Switch),
        ("checksum", Flag::Text),
        ("unpack", Flag::Switch),
        ("exclude", Flag::Texts),
    ])?;
    let given = |name| flags.text(name).filter(|value| !value.text.is_empty());
    Ok(AddFiles {
        chown: given("chown"),
        chmod: given("chmod"),
        link: flags.switch("link").unwrap_or(false),
        keep_git_dir: flags.switch("keep-git-dir"),
        checksum: given("checksum"),
        unpack: flags.switch("unpack"),
        exclude: flags.texts("exclude"),
        files: files(request, words)?,
    })
}

fn words(request: &Request<'_>) -> Result<(Vec<Word>, Word), Diagnostic> {
    let mut words = command_line::parse_list(request)?;
    match words.pop() {
        Some(destination) if !words.is_empty() => Ok((words, destination)),
        _ => Err(request
            .arity(format!("{} requires at least two arguments", request.name))
            .help(format!(
                "name the destination: {} SOURCE DESTINATION",
                request.name
            ))),
    }
}

fn files(
    request: &Request<'_>,
    (words, destination): (Vec<Word>, Word),
) -> Result<FilesAndDestination, Diagnostic> {
    if HeredocStart::parse(&destination.text).is_some() {
        let message = format!("{} cannot accept a heredoc as a destination", request.name);
        return Err(Diagnostic::error("heredoc-destination", message).at(destination.span));
    }
    let mut sources = Vec::new();
    let mut heredocs = Vec::new();
    for word in words {
        let Some(start) = HeredocStart::parse(&word.text) else {
            sources.push(word);
            continue;
        };
        // A word that the JSON form or its quoting kept from announcing a body has none.
        let Some(heredoc) = request
            .heredocs
            .iter()
            .rev()
            .find(|heredoc| heredoc.name == start.name)
        else {
            let message = format!("heredoc {} has no body", start.name);
            return Err(Diagnostic::error("heredoc-without-body", message).at(word.span));
        };
        heredocs.push(heredoc.clone());
    }
    Ok(FilesAndDestination {
        sources,
        heredocs,
        destination,
    })
}
