//! What git knows of a source: for the label and the annotations that say where an image came from (PRJ-09, PKG-09).

use std::path::Path;
use std::process::Command;

use lifecycle_spec::{ProjectMetadataToml, ProjectSource, Value};

use crate::failure::Failure;

/// The commit that a working tree stands at. Changes that are not committed do not show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Commit {
    /// Its name.
    id: String,
    /// The nearest tag, and how far it is; else the name in short.
    description: String,
    /// Branches and tags that point at it.
    refs: Vec<String>,
    /// Where it was cloned from, without user and password.
    url: Option<String>,
}

impl Commit {
    /// The commit of the repository that holds a directory.
    ///
    /// # Errors
    /// When git is not there, or the directory is in no repository with a commit.
    pub(crate) fn of(directory: &Path) -> Result<Self, Failure> {
        let git = |words: &[&str]| -> Result<String, Failure> {
            let output = Command::new("git")
                .arg("-C")
                .arg(directory)
                .args(words)
                .output()
                .map_err(|cause| unknown(directory, &format!("git cannot be run: {cause}")))?;
            if !output.status.success() {
                return Err(unknown(directory, String::from_utf8_lossy(&output.stderr).trim()));
            }
            Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
        };
        let refs = git(&[
            "for-each-ref",
            "--points-at=HEAD",
            "--format=%(refname:short)",
            "refs/heads",
            "refs/tags",
        ])?;
        Ok(Self {
            id: git(&["rev-parse", "--verify", "HEAD"])?,
            description: git(&["describe", "--tags", "--always"])?,
            refs: refs.lines().map(str::to_owned).collect(),
            // A repository need not have been cloned.
            url: git(&["remote", "get-url", "origin"])
                .ok()
                .map(|url| without_credentials(&url)),
        })
    }

    /// As `project-metadata.toml` has it.
    pub(crate) fn project(&self) -> ProjectMetadataToml {
        let text = |key: &str, value: &str| (key.to_owned(), Value::String(value.to_owned()));
        let refs = self.refs.iter().cloned().map(Value::String).collect();
        let mut metadata = vec![("refs".to_owned(), Value::Array(refs))];
        metadata.extend(self.url.as_ref().map(|url| text("url", url)));
        let version = [text("commit", &self.id), text("describe", &self.description)];
        ProjectMetadataToml {
            source: Some(ProjectSource {
                kind: Some("git".to_owned()),
                version: Some(version.into()),
                metadata: Some(metadata.into_iter().collect()),
            }),
        }
    }

    /// As annotations of an image have it (RFC 0130).
    pub(crate) fn annotations(&self) -> Vec<(String, String)> {
        let name = |key: &str| format!("org.opencontainers.image.{key}");
        let source = self.url.iter().map(|url| (name("source"), url.clone()));
        source.chain([(name("revision"), self.id.clone())]).collect()
    }
}

fn unknown(directory: &Path, reason: &str) -> Failure {
    Failure::new(
        "git",
        format!(
            "{} has no commit that could be recorded: {reason}",
            directory.display()
        ),
    )
    .help("leave --git-metadata out, or build from a clone")
}

/// An address as everybody may see it.
fn without_credentials(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let host_end = rest.find('/').unwrap_or(rest.len());
    match rest[..host_end].rfind('@') {
        Some(at) => format!("{scheme}://{}", &rest[at + 1..]),
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(directory: &Path, script: &str) {
        let run = Command::new("sh")
            .args(["-euc", script])
            .current_dir(directory)
            .env("HOME", directory)
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .output()
            .unwrap();
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    }

    #[test]
    fn what_git_knows_of_a_source_prj_09_pkg_09() {
        let directory = tempfile::tempdir().unwrap();
        let source = directory.path().join("app");
        fs_err::create_dir(&source).unwrap();
        assert!(Commit::of(&source).is_err());
        shell(
            directory.path(),
            "git init -q -b main; git config user.name x; git config user.email x@x.test
             echo 1 >app/f; git add app; git commit -qm 1; git tag v1; echo 2 >app/f; git commit -qam 2; git branch other
             git remote add origin https://me:hunter22@git.test/me/app.git",
        );
        let commit = Commit::of(&source).unwrap();
        assert_eq!(commit.refs, ["main", "other"]);
        let expected = format!("v1-1-g{}", &commit.id[..7]);
        assert_eq!(commit.description, expected);
        assert_eq!(
            commit.project().to_json(),
            format!(
                r#"{{"source":{{"type":"git","version":{{"commit":"{}","describe":"{expected}"}},"metadata":{{"refs":["main","other"],"url":"https://git.test/me/app.git"}}}}}}"#,
                commit.id
            )
        );
        assert_eq!(
            commit.annotations(),
            [
                ("org.opencontainers.image.source", "https://git.test/me/app.git"),
                ("org.opencontainers.image.revision", &*commit.id),
            ]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
        );
        shell(directory.path(), "git remote remove origin");
        assert_eq!(Commit::of(&source).unwrap().annotations().len(), 1);
    }

    #[test]
    fn credentials_are_not_recorded() {
        for (url, shown) in [
            ("https://me:x@h.test/a@b", "https://h.test/a@b"),
            ("https://h.test/a@b", "https://h.test/a@b"),
            ("ssh://git@h.test/a", "ssh://h.test/a"),
            ("git@h.test:a/b.git", "git@h.test:a/b.git"),
            ("/srv/a.git", "/srv/a.git"),
        ] {
            assert_eq!(without_credentials(url), shown);
        }
    }
}
