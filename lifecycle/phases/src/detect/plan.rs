//! Finds out whether what modules provide and require fits together (cnb.md 2.8).
//!
//! Every module offers alternatives. The first combination that holds wins, with the last module's alternatives
//! varying fastest. Their number is exponential, so combinations that cannot hold, whatever follows, are not
//! completed: the same one wins as if all had been tried.

#[cfg(test)]
mod tests;

use std::collections::HashSet;

use lifecycle_spec::{BuildPlan, BuildpackId, PlanEntry, PlanSections, Provider, Version};

use super::journal::Journal;

/// How many alternatives are chosen at most before the search is given up.
const MOST_CHOICES: u64 = 1 << 20;

/// What a module offers.
#[derive(Debug, Clone)]
pub(crate) struct Offer<P> {
    pub(crate) id: BuildpackId,
    pub(crate) version: Version,
    pub(crate) extension: bool,
    pub(crate) optional: bool,
    pub(crate) plan: P,
}

/// A combination that holds.
#[derive(Debug)]
pub(crate) struct Resolution {
    /// Which offers take part, by index.
    pub(crate) surviving: Vec<usize>,
    /// One entry per name, in the order in which the names are first provided (PLN-07).
    pub(crate) entries: Vec<PlanEntry>,
}

/// There is no combination that holds.
#[derive(Debug)]
pub(crate) enum Unresolved {
    Impossible,
    TooMany { tries: u64 },
}

/// The first combination of alternatives that holds.
pub(crate) fn resolve(offers: &[Offer<BuildPlan>], journal: &mut Journal) -> Result<Resolution, Unresolved> {
    let mut required_later = vec![HashSet::new(); offers.len() + 1];
    for at in (0..offers.len()).rev() {
        let mut names = required_later[at + 1].clone();
        for sections in &offers[at].plan.alternatives {
            names.extend(sections.requires.iter().map(|require| require.name.as_str()));
        }
        required_later[at] = names;
    }
    let mut search = Search {
        offers,
        required_later,
        choices: 0,
        tries: 0,
        journal,
    };
    search.choose(&mut Vec::new())?.ok_or(Unresolved::Impossible)
}

/// An alternative that was chosen.
#[derive(Clone, Copy)]
struct Choice<'a> {
    offer: usize,
    /// An optional module with alternatives may only be left out once it has come to its last one (PLN-04).
    optional: bool,
    sections: &'a PlanSections,
}

impl Choice<'_> {
    fn provides(&self, name: &str) -> bool {
        self.sections.provides.iter().any(|provided| provided == name)
    }

    fn requires(&self, name: &str) -> bool {
        self.sections
            .requires
            .iter()
            .any(|required| required.name == name)
    }
}

/// What is wrong with a choice.
enum Unmet<'a> {
    Require(&'a str),
    Provide(&'a str),
}

struct Search<'a, 'j> {
    offers: &'a [Offer<BuildPlan>],
    /// For each offer, what it and those behind it may require.
    required_later: Vec<HashSet<&'a str>>,
    choices: u64,
    tries: u64,
    journal: &'j mut Journal,
}

impl<'a> Search<'a, '_> {
    fn choose(&mut self, chosen: &mut Vec<Choice<'a>>) -> Result<Option<Resolution>, Unresolved> {
        let offer = chosen.len();
        let Some(next) = self.offers.get(offer) else {
            return Ok(self.evaluate(chosen.clone()));
        };
        // A module that said nothing offers one empty plan.
        let empty = &EMPTY;
        let alternatives: &'a [PlanSections] = if next.plan.alternatives.is_empty() {
            empty
        } else {
            &next.plan.alternatives
        };
        for (at, sections) in alternatives.iter().enumerate() {
            self.choices += 1;
            if self.choices > MOST_CHOICES {
                return Err(Unresolved::TooMany { tries: MOST_CHOICES });
            }
            let optional = next.optional && at + 1 == alternatives.len();
            chosen.push(Choice {
                offer,
                optional,
                sections,
            });
            if !self.is_hopeless(chosen)
                && let Some(found) = self.choose(chosen)?
            {
                return Ok(Some(found));
            }
            chosen.pop();
        }
        Ok(None)
    }

    /// Whether a choice that cannot be left out is unmet by everything before it and everything that may follow.
    fn is_hopeless(&mut self, chosen: &[Choice<'a>]) -> bool {
        let later = &self.required_later[chosen.len()];
        let problem = chosen
            .iter()
            .enumerate()
            .filter(|(_, choice)| !choice.optional)
            .find_map(|(at, _)| {
                let unmet = unmet(chosen, at).filter(|unmet| match unmet {
                    Unmet::Require(_) => true,
                    Unmet::Provide(name) => !later.contains(name),
                });
                unmet.map(|unmet| (at, unmet))
            });
        let Some((at, problem)) = problem else {
            return false;
        };
        self.begin_try();
        self.explain("fail", chosen[at], &problem);
        true
    }

    /// Leaves out optional modules that do not fit until all do, or one that must stay does not (PLN-03).
    ///
    /// Leaving one out never helps another, so the order in which they go does not matter.
    fn evaluate(&mut self, mut chosen: Vec<Choice<'a>>) -> Option<Resolution> {
        self.begin_try();
        loop {
            let problem = (0..chosen.len()).find_map(|at| unmet(&chosen, at).map(|unmet| (at, unmet)));
            let Some((at, problem)) = problem else { break };
            if !chosen[at].optional {
                self.explain("fail", chosen[at], &problem);
                return None;
            }
            self.explain("skip", chosen[at], &problem);
            chosen.remove(at);
        }
        if chosen.is_empty() {
            self.journal.debug("fail: no viable buildpacks in group");
            return None;
        }
        Some(Resolution {
            surviving: chosen.iter().map(|choice| choice.offer).collect(),
            entries: self.entries(&chosen),
        })
    }

    fn entries(&self, chosen: &[Choice<'_>]) -> Vec<PlanEntry> {
        let mut names: Vec<&str> = Vec::new();
        for choice in chosen {
            for name in &choice.sections.provides {
                if !names.contains(&name.as_str()) {
                    names.push(name);
                }
            }
        }
        let provider = |choice: &Choice<'_>| {
            let Offer {
                id,
                version,
                extension,
                ..
            } = &self.offers[choice.offer];
            Provider {
                id: id.clone(),
                version: version.clone(),
                extension: *extension,
            }
        };
        let entry = |name: &str| PlanEntry {
            providers: chosen
                .iter()
                .filter(|choice| choice.provides(name))
                .map(provider)
                .collect(),
            requires: chosen
                .iter()
                .flat_map(|choice| {
                    choice
                        .sections
                        .requires
                        .iter()
                        .filter(|required| required.name == name)
                })
                .cloned()
                .collect(),
        };
        names.into_iter().map(entry).collect()
    }

    fn begin_try(&mut self) {
        self.tries += 1;
        self.journal
            .debug(format!("Resolving plan... (try #{})", self.tries));
    }

    fn explain(&mut self, word: &str, choice: Choice<'_>, problem: &Unmet<'_>) {
        let Offer { id, version, .. } = &self.offers[choice.offer];
        self.journal.debug(match problem {
            Unmet::Require(name) => format!("{word}: {id}@{version} requires {name}"),
            Unmet::Provide(name) => format!("{word}: {id}@{version} provides unused {name}"),
        });
    }
}

static EMPTY: [PlanSections; 1] = [PlanSections {
    provides: Vec::new(),
    requires: Vec::new(),
}];

/// A require needs a provide of the same or an earlier module, a provide a require of the same or a later one
/// (PLN-02).
fn unmet<'a>(chosen: &[Choice<'a>], at: usize) -> Option<Unmet<'a>> {
    let sections = chosen[at].sections;
    let mut requires = sections.requires.iter().map(|require| require.name.as_str());
    let mut provides = sections.provides.iter().map(String::as_str);
    let require = requires.find(|name| !chosen[..=at].iter().any(|other| other.provides(name)));
    let mut provide = || provides.find(|name| !chosen[at..].iter().any(|other| other.requires(name)));
    require
        .map(Unmet::Require)
        .or_else(|| provide().map(Unmet::Provide))
}
