//! What a token allows (distribution's token scope: `repository:name:pull,push`).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Resources and the actions that are wanted on them, merged and in a fixed order, so that equal wishes find the
/// same token.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Scopes(BTreeMap<String, BTreeSet<String>>);

impl Scopes {
    /// Reading a repository.
    pub(crate) fn pull(path: &str) -> Self {
        Self::default().with(path, &["pull"])
    }

    /// Writing a repository; reading is part of it, as blobs are looked for first.
    pub(crate) fn push(path: &str) -> Self {
        Self::default().with(path, &["pull", "push"])
    }

    /// Deleting from a repository.
    pub(crate) fn delete(path: &str) -> Self {
        Self::default().with(path, &["delete", "pull"])
    }

    fn with(mut self, path: &str, actions: &[&str]) -> Self {
        let actions = actions.iter().map(|&action| action.to_owned());
        self.0
            .entry(format!("repository:{path}"))
            .or_default()
            .extend(actions);
        self
    }

    /// What a challenge asks for. Parts that are no scopes are left out.
    pub(crate) fn parse(text: &str) -> Self {
        let mut scopes = Self::default();
        for scope in text.split_whitespace() {
            if let Some((resource, actions)) = scope.rsplit_once(':')
                && resource.contains(':')
            {
                let actions = actions.split(',').filter(|action| !action.is_empty());
                scopes
                    .0
                    .entry(resource.to_owned())
                    .or_default()
                    .extend(actions.map(str::to_owned));
            }
        }
        scopes
    }

    /// Both together.
    #[must_use]
    pub(crate) fn and(mut self, other: Self) -> Self {
        for (resource, actions) in other.0 {
            self.0.entry(resource).or_default().extend(actions);
        }
        self
    }

    /// What is about other resources than `other`.
    #[must_use]
    pub(crate) fn beyond(mut self, other: &Self) -> Self {
        self.0.retain(|resource, _| !other.0.contains_key(resource));
        self
    }

    /// One text for each resource.
    pub(crate) fn texts(&self) -> Vec<String> {
        let text = |(resource, actions): (&String, &BTreeSet<String>)| {
            let actions: Vec<&str> = actions.iter().map(String::as_str).collect();
            format!("{resource}:{}", actions.join(","))
        };
        self.0.iter().map(text).collect()
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.texts().join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_merge() {
        let both = Scopes::push("a/b")
            .and(Scopes::pull("c"))
            .and(Scopes::pull("a/b"));
        assert_eq!(both.to_string(), "repository:a/b:pull,push repository:c:pull");
        assert_eq!(Scopes::parse(&both.to_string()), both);
        assert_eq!(
            Scopes::parse("registry:catalog:* junk repository:x:5000/a:pull").to_string(),
            "registry:catalog:* repository:x:5000/a:pull"
        );
    }
}
