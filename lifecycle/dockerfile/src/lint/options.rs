//! Which checks are on, and what findings mean (B6).

use lifecycle_diagnostics::{Diagnostic, nearest};

use crate::boolean;

/// What the `check` directive, a comment above an instruction, or the build argument `BUILDKIT_DOCKERFILE_CHECK`
/// says (B6): `skip=A,B;error=true;experimental=C`, with `all` as a wildcard.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CheckOptions {
    /// Rules that stay silent.
    pub skip: RuleSet,
    /// Experimental rules that are on.
    pub experimental: RuleSet,
    /// Whether any finding fails the build.
    pub error: bool,
}

/// Some rules, by name, or all of them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RuleSet {
    all: bool,
    names: Vec<String>,
}

impl RuleSet {
    /// Whether the rule of this name is in the set.
    pub fn contains(&self, name: &str) -> bool {
        self.all || self.names.iter().any(|other| other == name)
    }

    fn parse(value: &str) -> Self {
        match value.trim() {
            "all" => Self {
                all: true,
                names: Vec::new(),
            },
            names => Self {
                all: false,
                names: names.split(',').map(|name| name.trim().to_owned()).collect(),
            },
        }
    }

    pub(crate) fn extend(&mut self, other: &Self) {
        self.all |= other.all;
        self.names.extend(other.names.iter().cloned());
    }
}

impl CheckOptions {
    /// Reads an option text.
    pub fn parse(text: &str) -> Result<Self, Diagnostic> {
        let mut options = Self::default();
        let text = text.trim();
        if text.is_empty() {
            return Ok(options);
        }
        for part in text.splitn(3, ';') {
            let (key, value) = part.split_once('=').ok_or_else(|| invalid_check(part))?;
            match key.trim() {
                "skip" => options.skip = RuleSet::parse(value),
                "experimental" => options.experimental = RuleSet::parse(value),
                "error" => options.error = boolean::parse(value.trim()).ok_or_else(|| invalid_check(part))?,
                key => return Err(invalid_check(key)),
            }
        }
        Ok(options)
    }

    /// The options in the comments above an instruction, if one of them is `check=…`.
    pub(crate) fn from_comments(comments: &[String]) -> Option<Self> {
        let value = comments.iter().find_map(|comment| {
            let (key, value) = comment.split_once('=')?;
            key.trim_end()
                .eq_ignore_ascii_case("check")
                .then_some(value.trim())
        })?;
        let value = value.split(' ').next().unwrap_or(value);
        Self::parse(value).ok()
    }
}

fn invalid_check(part: &str) -> Diagnostic {
    let diagnostic = Diagnostic::error("invalid-check", format!("invalid check option {part:?}"));
    let key = part.split('=').next().unwrap_or(part).trim();
    match nearest(key, ["skip", "error", "experimental"]) {
        Some(known) if known != key => diagnostic.help(format!("did you mean {known}?")),
        _ => diagnostic
            .help("options are skip=RULES, error=true or false, experimental=RULES, separated by semicolons"),
    }
}
