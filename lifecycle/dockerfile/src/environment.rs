//! The variables an instruction sees.

use std::collections::HashMap;

/// Names and values in order of first definition. A later value replaces the earlier one in place (G4).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Environment {
    entries: Vec<(String, String)>,
    index: HashMap<String, usize>,
    size: usize,
}

impl Environment {
    /// The value of `name`, if it is defined; it may be empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.index.get(name).map(|&at| self.entries[at].1.as_str())
    }

    /// Defines `name`, or replaces its value.
    pub fn set(&mut self, name: impl Into<String>, value: impl Into<String>) {
        let (name, value) = (name.into(), value.into());
        self.size += value.len();
        if let Some(&at) = self.index.get(&name) {
            self.size -= self.entries[at].1.len();
            self.entries[at].1 = value;
        } else {
            self.size += name.len();
            self.index.insert(name.clone(), self.entries.len());
            self.entries.push((name, value));
        }
    }

    /// Every name with its value.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.entries
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Every name.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.iter().map(|(name, _)| name)
    }

    /// How many variables are defined.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether no variable is defined.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes of all names and values.
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    /// From `NAME=value` texts as an image configuration holds them; a text without `=` has an empty value.
    pub fn from_assignments<S: AsRef<str>>(assignments: impl IntoIterator<Item = S>) -> Self {
        assignments
            .into_iter()
            .fold(Self::default(), |mut environment, assignment| {
                let (name, value) = assignment
                    .as_ref()
                    .split_once('=')
                    .unwrap_or((assignment.as_ref(), ""));
                environment.set(name, value);
                environment
            })
    }
}
