//! What a reference stands for among the names that the other side offers.

use crate::RemoteError;
use crate::checkout::Order;
use crate::repository::check_reference;

/// The shortest beginning of a commit that is taken for one.
const SHORTEST_COMMIT: usize = 4;

/// A name that the other side has.
#[derive(Debug)]
pub(crate) struct Offered {
    /// The full name.
    pub(crate) name: String,
    /// The object that it stands for; a tag's own where it is annotated.
    pub(crate) object: String,
    /// The name that it is another one for, as `HEAD` is for a branch.
    pub(crate) target: Option<String>,
}

/// What is fetched.
#[derive(Debug)]
pub(crate) struct Wanted {
    /// The name or commit on the other side.
    pub(crate) remote: String,
    /// The name it gets here, if it has one there.
    pub(crate) local: Option<String>,
    /// The object it stands for.
    pub(crate) object: String,
}

impl Wanted {
    /// The algorithm of the repository's object names.
    pub(crate) fn format(&self) -> &'static str {
        if self.object.len() == 64 { "sha256" } else { "sha1" }
    }
}

impl Order<'_> {
    /// What is wanted when the reference is the whole name of a commit: nobody has to be asked.
    pub(crate) fn commit(&self) -> Option<Wanted> {
        let commit = self.repository.reference.as_deref()?;
        let is_whole = is_commit(commit) && matches!(commit.len(), 40 | 64);
        is_whole.then(|| Wanted {
            remote: commit.to_owned(),
            local: None,
            object: commit.to_owned(),
        })
    }

    /// Whether the reference may be the beginning of a commit, which only the whole history knows.
    pub(crate) fn may_be_commit(&self) -> bool {
        self.repository.reference.as_deref().is_some_and(is_commit)
    }

    /// What the reference stands for. A branch comes before a tag, as for `git checkout`; without a reference it is the
    /// repository's own branch.
    pub(crate) fn choose(&self, offered: &[Offered]) -> Result<Wanted, RemoteError> {
        let find = |name: &str| offered.iter().find(|offered| offered.name == name);
        let found = match self.repository.reference.as_deref() {
            Some(reference) => find(&format!("refs/heads/{reference}"))
                .or_else(|| find(&format!("refs/tags/{reference}")))
                .or_else(|| find(reference))
                .map(|found| (&found.name, found)),
            None => find("HEAD").map(|head| (head.target.as_ref().unwrap_or(&head.name), head)),
        };
        let (name, found) = found.ok_or_else(|| self.unknown())?;
        // The other side says how its branch is called, and could call it like an option.
        check_reference(name).map_err(|reason| self.missing(format!("usable branch {name:?}: {reason}")))?;
        Ok(Wanted {
            remote: name.clone(),
            local: name.starts_with("refs/").then(|| name.clone()),
            object: found.object.clone(),
        })
    }

    /// The error for a reference that stands for nothing.
    pub(crate) fn unknown(&self) -> RemoteError {
        self.missing(match &self.repository.reference {
            Some(reference) => format!("branch, tag or commit {reference}"),
            None => "commit yet".to_owned(),
        })
    }
}

fn is_commit(text: &str) -> bool {
    (SHORTEST_COMMIT..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}
