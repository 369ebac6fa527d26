//! Build checks (section N): warnings about what is allowed but probably not meant.
//!
//! Checks are made wherever the facts are known: while stages are planned and while they are evaluated. They all
//! end in [`Findings`], which knows what is switched off by the `check` directive, by the build argument
//! `BUILDKIT_DOCKERFILE_CHECK`, or by a comment above an instruction (B6).

mod check;
mod options;
mod rules;
mod written;

use lifecycle_diagnostics::{Diagnostic, Severity, Span};

pub use check::{LintOptions, lint};
pub use options::{CheckOptions, RuleSet};
pub use rules::Rule;
pub use rules::is_secret_name;
pub(crate) use rules::uses_odd_case;
pub(crate) use written::check_written;

/// More than this many findings help nobody.
const MOST_FINDINGS: usize = 1000;

/// What the checks found, in the order of discovery.
#[derive(Debug, Clone, Default)]
pub(crate) struct Findings {
    options: CheckOptions,
    found: Vec<Diagnostic>,
}

impl Findings {
    pub(crate) fn new(options: CheckOptions) -> Self {
        Self {
            options,
            found: Vec::new(),
        }
    }

    /// Another list with the same switches.
    pub(crate) fn empty_copy(&self) -> Self {
        Self::new(self.options.clone())
    }

    /// Adds a finding, unless its rule is off for the file or, by a comment, for this instruction.
    pub(crate) fn report(&mut self, rule: Rule, span: &Span, comments: &[String], message: String) {
        if self.found.len() < MOST_FINDINGS && self.is_on(rule, comments) {
            let diagnostic = Diagnostic::new(Severity::Warning, rule.name(), message).at(span.clone());
            self.found.push(match rule.url() {
                Some(url) => diagnostic.url(url),
                None => diagnostic,
            });
        }
    }

    fn is_on(&self, rule: Rule, comments: &[String]) -> bool {
        let mut options = self.options.clone();
        if let Some(local) = CheckOptions::from_comments(comments) {
            options.skip.extend(&local.skip);
            options.experimental.extend(&local.experimental);
        }
        if rule.is_experimental() {
            options.experimental.contains(rule.name())
        } else {
            !options.skip.contains(rule.name())
        }
    }

    pub(crate) fn extend(&mut self, others: impl IntoIterator<Item = Diagnostic>) {
        let room = MOST_FINDINGS.saturating_sub(self.found.len());
        self.found.extend(others.into_iter().take(room));
    }

    pub(crate) fn as_slice(&self) -> &[Diagnostic] {
        &self.found
    }

    pub(crate) fn into_vec(self) -> Vec<Diagnostic> {
        self.found
    }

    /// The error that `error=true` makes of findings (B6).
    pub(crate) fn verdict(&self, findings: &[Diagnostic]) -> Option<Diagnostic> {
        if !self.options.error || findings.is_empty() {
            return None;
        }
        let mut rules: Vec<&str> = findings.iter().map(|finding| finding.code.as_ref()).collect();
        rules.sort_unstable();
        rules.dedup();
        let message = format!("lint violation found for rules: {}", rules.join(", "));
        Some(Diagnostic::error("lint-violation", message))
    }
}
