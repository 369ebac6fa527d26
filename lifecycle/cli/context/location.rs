//! Where a context lies, as text says it.

use std::path::PathBuf;

use lifecycle_dockerfile::GitReference;
use lifecycle_remote::{GitSettings, Object, Repository};

use crate::failure::Failure;

/// A place that a build context is taken from (J8).
#[derive(Debug, Clone)]
pub(crate) enum Location {
    /// A directory of this machine.
    Directory(PathBuf),
    /// An archive of this machine.
    File(PathBuf),
    /// Standard input: an archive or a Dockerfile.
    Input,
    /// A file on the web: an archive or a Dockerfile.
    Web(String),
    /// An object of a store: an archive or a Dockerfile.
    Object(Box<Object>),
    /// The files of a git repository.
    Git(Box<Repository>, Box<GitSettings>),
}

impl Location {
    /// What the argument of `lifecycle build` stands for.
    pub(crate) fn parse(text: &str) -> Result<Self, Failure> {
        if text == "-" {
            return Ok(Self::Input);
        }
        let path = PathBuf::from(text);
        // What is here is meant, whatever its name looks like.
        if path.is_dir() {
            return Ok(Self::Directory(path));
        }
        if path.is_file() {
            return Ok(Self::File(path));
        }
        // As docker build takes it.
        let text = match text.strip_prefix("github.com/") {
            Some(_) => format!("https://{}", with_suffix(text)),
            None => text.to_owned(),
        };
        if let Some(git) = GitReference::parse(&text) {
            let git = git.map_err(|reason| {
                Failure::new("context", format!("the build context is no repository: {reason}"))
            })?;
            let commit = git.checksum.clone().filter(|_| git.fetch_by_commit);
            let repository = Repository {
                subdirectory: git.subdirectory,
                submodules: git.submodules.unwrap_or(true),
                keep_git_directory: git.keep_git_dir.unwrap_or(false),
                commit_time: git.commit_time,
                ..Repository::new(git.remote).at(commit.or(git.reference))
            };
            return Ok(Self::Git(Box::new(repository), Box::default()));
        }
        if let Some(object) = Object::parse(&text) {
            return Ok(Self::Object(Box::new(object?)));
        }
        if text.starts_with("https://") || text.starts_with("http://") {
            return Ok(Self::Web(text));
        }
        if let Some((scheme, _)) = text.split_once("://") {
            let message = format!("{scheme}:// is no scheme of a build context");
            return Err(Failure::new("context", message).help(
                "name a directory, a tar, an http(s), s3, gs, git or ssh address, or - for standard input",
            ));
        }
        Ok(Self::Directory(path))
    }
}

/// `github.com/owner/name` with the ending that says it is a repository.
fn with_suffix(text: &str) -> String {
    let (path, fragment) = match text.split_once('#') {
        Some((path, fragment)) => (path, format!("#{fragment}")),
        None => (text, String::new()),
    };
    let path = path.trim_end_matches('/');
    let path = path.strip_suffix(".git").unwrap_or(path);
    format!("{path}.git{fragment}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contexts_are_told_apart_by_their_text_j8() {
        let here = tempfile::tempdir().unwrap();
        let file = here.path().join("context.tar");
        fs_err::write(&file, "").unwrap();
        let parse = |text: &str| Location::parse(text).unwrap();
        assert!(matches!(parse("-"), Location::Input));
        assert!(matches!(
            parse(here.path().to_str().unwrap()),
            Location::Directory(_)
        ));
        assert!(matches!(parse(file.to_str().unwrap()), Location::File(_)));
        assert!(matches!(parse("nowhere/at/all"), Location::Directory(_)));
        assert!(matches!(parse("https://a.test/context.tar.gz"), Location::Web(_)));
        for (text, url, reference, subdirectory) in [
            (
                "https://a.test/r.git#main:sub",
                "https://a.test/r.git",
                Some("main"),
                Some("sub"),
            ),
            ("git@a.test:r.git", "git@a.test:r.git", None, None),
            (
                "github.com/o/r#v1",
                "https://github.com/o/r.git",
                Some("v1"),
                None,
            ),
        ] {
            let Location::Git(repository, _) = parse(text) else {
                panic!("{text} is no repository");
            };
            assert_eq!(repository.url, url);
            assert_eq!(repository.reference.as_deref(), reference);
            assert_eq!(repository.subdirectory.as_deref(), subdirectory);
        }
        for text in [
            "s3://bucket/context.tar",
            "gs://bucket/context.tar",
            "https://a.blob.core.windows.net/c/context.tar",
        ] {
            assert!(matches!(parse(text), Location::Object(_)), "{text}");
        }
        assert!(matches!(
            parse("https://a.blob.core.windows.net.evil.test/c/context.tar"),
            Location::Web(_)
        ));
        assert!(Location::parse("ftp://a.test/x").is_err());
    }
}
