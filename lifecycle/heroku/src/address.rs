//! Where a buildpack comes from: a directory, an archive, or a git repository (MP-04, MP-05).

use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::remote::{open, sentence};
use crate::{HerokuError, Remote};

/// How archives of buildpacks are called.
const ARCHIVES: [&str; 6] = [".tgz", ".tar.gz", ".tbz", ".tar.bz", ".tar.bz2", ".tar"];
/// The schemes that git may use; anything else, `ext::` above all, could start programs.
const GIT_SCHEMES: [&str; 6] = ["http", "https", "git", "ssh", "git+ssh", "file"];
/// The schemes of object stores.
pub(crate) const OBJECT_STORES: [&str; 6] = ["s3", "s3a", "gs", "gcs", "az", "azure"];

/// The address of a buildpack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    pub(crate) place: Place,
    shown: String,
}

/// What is at the address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// A directory of this machine.
    Directory(PathBuf),
    /// An archive of this machine.
    File(PathBuf),
    /// An archive behind the URL of a file or an object.
    Url(String),
    /// A git repository, and a branch, tag or commit of it.
    Git { url: String, reference: Option<String> },
}

impl Address {
    /// Reads an address: a path relative to `base`, `file:`, an URL of an archive, or a git URL with `#ref`.
    ///
    /// # Errors
    /// When it is none of these.
    pub fn parse(text: &str, base: &Path) -> Result<Self, HerokuError> {
        let text = text.trim();
        let fault = |reason: String| HerokuError::Address {
            address: redacted(text),
            reason,
        };
        if text.is_empty() || text.starts_with('-') || text.contains(char::is_control) {
            return Err(fault(
                "expected a directory, an archive, or the URL of one or of a git repository".to_owned(),
            ));
        }
        let path = text.strip_prefix("file://").unwrap_or(text);
        let place = match scheme(text) {
            Some(scheme) if OBJECT_STORES.contains(&scheme) && !is_archive(text) => {
                return Err(fault(format!(
                    "an object has to be an archive: {}",
                    ARCHIVES.join(", ")
                )));
            }
            Some("http" | "https") if is_archive(text) => Place::Url(text.to_owned()),
            Some(scheme) if OBJECT_STORES.contains(&scheme) => Place::Url(text.to_owned()),
            Some("file") | None if !is_scp(text) => local(base, path).map_err(&fault)?,
            Some(scheme) if !GIT_SCHEMES.contains(&scheme) => {
                return Err(fault(format!(
                    "nobody here speaks `{scheme}`; use one of {}",
                    GIT_SCHEMES.join(", ")
                )));
            }
            _ => git(text).map_err(&fault)?,
        };
        Ok(Self {
            place,
            shown: redacted(text),
        })
    }

    /// The bytes of the archive that is there.
    ///
    /// # Errors
    /// When there is none.
    pub fn open(&self, remote: &dyn Remote) -> Result<Box<dyn Read + Send>, HerokuError> {
        match &self.place {
            Place::File(path) => {
                let file = fs_err::File::open(path).map_err(HerokuError::io("open", path))?;
                Ok(Box::new(file))
            }
            Place::Url(url) => open(remote, url).map_err(|reason| HerokuError::Fetch {
                address: self.shown.clone(),
                reason,
            }),
            Place::Directory(_) | Place::Git { .. } => Err(self.no_archive()),
        }
    }

    /// Puts a file there, by PUT or into a store.
    ///
    /// # Errors
    /// When it is not the address of a file elsewhere, or that is not taken.
    pub fn put(&self, file: &std::fs::File, remote: &dyn Remote) -> Result<(), HerokuError> {
        let Place::Url(url) = &self.place else {
            return Err(self.no_archive());
        };
        remote.put(file, url).map_err(|failure| HerokuError::Send {
            address: self.shown.clone(),
            reason: sentence(&failure),
        })
    }

    fn no_archive(&self) -> HerokuError {
        HerokuError::Address {
            address: self.shown.clone(),
            reason: format!("it is the address of no archive: {}", ARCHIVES.join(", ")),
        }
    }

    /// The last part of the path, without endings, for the name of a directory.
    pub(crate) fn name(&self) -> String {
        let text = self
            .shown
            .split(['#', '?'])
            .next()
            .unwrap_or_default()
            .trim_end_matches('/');
        let last = text.rsplit(['/', ':']).next().unwrap_or_default();
        let last = ARCHIVES
            .iter()
            .find_map(|ending| last.strip_suffix(ending))
            .unwrap_or(last);
        let last = last.strip_suffix(".git").unwrap_or(last);
        last.chars()
            .map(|found| {
                if found.is_ascii_alphanumeric() || ".-_".contains(found) {
                    found
                } else {
                    '_'
                }
            })
            .collect()
    }
}

/// The address without passwords and tokens: those never reach a log (platforms.md 2.2).
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

fn local(base: &Path, path: &str) -> Result<Place, String> {
    let whole = base.join(path);
    if whole.is_dir() {
        return Ok(Place::Directory(whole));
    }
    if whole.is_file() {
        return if is_archive(path) {
            Ok(Place::File(whole))
        } else {
            Err("it is a file, but no archive".to_owned())
        };
    }
    match path.rsplit_once('#') {
        Some((repository, reference)) if base.join(repository).is_dir() => {
            let url = base.join(repository).to_string_lossy().into_owned();
            Ok(Place::Git {
                url,
                reference: Some(checked(reference)?),
            })
        }
        _ => Err("there is no such directory or archive, and it is no URL either".to_owned()),
    }
}

fn git(text: &str) -> Result<Place, String> {
    // A `#` in a password is none of a reference.
    let authority = text.find("://").map_or(0, |at| at + 3);
    let slash = text[authority..].find('/').map(|at| authority + at);
    let path = slash.unwrap_or(authority);
    let (url, reference) = match text[path..].rsplit_once('#') {
        Some((before, reference)) => (&text[..path + before.len()], Some(checked(reference)?)),
        None => (text, None),
    };
    if authority > 0 && slash.is_none_or(|slash| url[slash..].trim_matches('/').is_empty()) {
        return Err("the URL has no path".to_owned());
    }
    Ok(Place::Git {
        url: url.to_owned(),
        reference,
    })
}

/// A reference that git cannot take for an option.
fn checked(reference: &str) -> Result<String, String> {
    if reference.is_empty() || reference.starts_with('-') || reference.contains(char::is_whitespace) {
        return Err(format!("`#{reference}` is not a branch, tag or commit"));
    }
    Ok(reference.to_owned())
}

fn scheme(text: &str) -> Option<&str> {
    text.split_once("://").map(|(scheme, _)| scheme)
}

/// `user@host:path`, as git has it.
fn is_scp(text: &str) -> bool {
    let host = text.split_once(':').map(|(host, _)| host);
    scheme(text).is_none() && host.is_some_and(|host| host.contains('@') && !host.contains('/'))
}

fn is_archive(text: &str) -> bool {
    let path = text.split('?').next().unwrap_or_default();
    ARCHIVES.iter().any(|ending| path.ends_with(ending))
}

/// The text without user names, passwords, and queries, which may be signatures.
pub(crate) fn redacted(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else {
        return text.to_owned();
    };
    let rest = match rest.rfind('@').filter(|at| !rest[..*at].contains('/')) {
        Some(at) => format!("***@{}", &rest[at + 1..]),
        None => rest.to_owned(),
    };
    let rest = match rest.split_once('?') {
        Some((path, query)) if !query.is_empty() => format!("{path}?***"),
        _ => rest,
    };
    format!("{scheme}://{rest}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Address, HerokuError> {
        Address::parse(text, Path::new("/nowhere"))
    }

    fn git_of(text: &str) -> (String, Option<String>) {
        match parse(text).unwrap().place {
            Place::Git { url, reference } => (url, reference),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_reference_follows_the_hash_mp_04() {
        for (text, url, reference) in [
            ("https://h/o/r", "https://h/o/r", None),
            ("https://h/o/r.git#v1.2", "https://h/o/r.git", Some("v1.2")),
            (
                "https://u:p#w@h/o/r.git#feature/x",
                "https://u:p#w@h/o/r.git",
                Some("feature/x"),
            ),
            ("https://h/o#1/r.git#main", "https://h/o#1/r.git", Some("main")),
            ("git@h:o/r.git#main", "git@h:o/r.git", Some("main")),
            ("ssh://git@h/o/r", "ssh://git@h/o/r", None),
        ] {
            assert_eq!(
                git_of(text),
                (url.to_owned(), reference.map(str::to_owned)),
                "{text}"
            );
        }
    }

    #[test]
    fn archives_are_told_by_their_names_mp_05() {
        for ending in ARCHIVES {
            assert!(matches!(
                parse(&format!("https://h/b{ending}")).unwrap().place,
                Place::Url(_)
            ));
            assert!(matches!(
                parse(&format!("https://h/b{ending}?token=x")).unwrap().place,
                Place::Url(_)
            ));
        }
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("b.tgz"), "").unwrap();
        std::fs::create_dir(directory.path().join("odd#name")).unwrap();
        let place = |text: &str| Address::parse(text, directory.path()).unwrap().place;
        assert!(matches!(place("b.tgz"), Place::File(_)));
        assert!(matches!(place("odd#name"), Place::Directory(_)));
        assert!(matches!(place("odd#name#main"), Place::Git { .. }));
        let url = format!("file://{}/odd#name", directory.path().display());
        assert!(matches!(place(&url), Place::Directory(_)));
    }

    #[test]
    fn malformed_addresses_say_why_mp_06() {
        for (text, reason) in [
            ("", "expected a directory"),
            ("--upload-pack=x", "expected a directory"),
            ("missing", "there is no such directory or archive"),
            ("https://h", "the URL has no path"),
            ("ext::sh -c id", "there is no such directory"),
            ("ftp://h/r", "nobody here speaks `ftp`"),
            ("https://h/r#", "`#` is not a branch"),
            ("https://h/r#--x", "`#--x` is not a branch"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
        assert!(
            parse("s3://bucket/b.zip")
                .unwrap_err()
                .to_string()
                .contains("has to be an archive")
        );
        let place = parse("s3://bucket/b.tgz").unwrap().place;
        assert_eq!(place, Place::Url("s3://bucket/b.tgz".to_owned()));
    }

    #[test]
    fn passwords_are_never_shown() {
        for (text, shown) in [
            ("https://user:secret@h/r.git#v1", "https://***@h/r.git#v1"),
            ("https://u:s#e@h/r", "https://***@h/r"),
            ("https://h/b.tgz?sig=secret", "https://h/b.tgz?***"),
            ("https://h/r@1", "https://h/r@1"),
        ] {
            assert_eq!(parse(text).unwrap().to_string(), shown);
        }
        let error = parse("https://user:secret@h/").unwrap_err();
        assert!(!error.to_string().contains("secret"), "{error}");
    }

    #[test]
    fn names_are_those_of_directories() {
        for (text, name) in [
            ("https://h/o/heroku-buildpack-x.git#v1", "heroku-buildpack-x"),
            ("https://h/b.tar.gz?x", "b"),
            ("git@h:r", "r"),
        ] {
            assert_eq!(parse(text).unwrap().name(), name);
        }
    }
}
