//! Judges a group (cnb.md 2.7).

use std::collections::HashMap;
use std::sync::Arc;

use lifecycle_spec::{BuildPlan, PlanEntry, TargetData};

use super::journal::Journal;
use super::order::{Candidate, Tried};
use super::plan::{self, Offer, Unresolved};
use super::script::{self, Answer};
use super::{DetectError, DetectOptions, ModuleOutcome, Verdict};
use crate::environment::Variables;
use crate::modules::{Kind, Module};
use crate::{Cancellation, parallel};

/// A group that passed.
#[derive(Debug)]
pub(crate) struct Selected {
    pub(crate) modules: Vec<Arc<Module>>,
    pub(crate) plan: Vec<PlanEntry>,
}

/// What modules said so far: each is asked once, whatever the number of groups that it is in (DTI-02).
pub(crate) struct Detection<'a> {
    options: &'a DetectOptions,
    variables: &'a Variables<'a>,
    target: Option<&'a TargetData>,
    cancellation: &'a Cancellation,
    answers: HashMap<(Kind, String), Answer>,
    asked: Vec<ModuleOutcome>,
}

impl<'a> Detection<'a> {
    pub(crate) fn new(
        options: &'a DetectOptions,
        variables: &'a Variables<'a>,
        target: Option<&'a TargetData>,
        cancellation: &'a Cancellation,
    ) -> Self {
        Self {
            options,
            variables,
            target,
            cancellation,
            answers: HashMap::new(),
            asked: Vec::new(),
        }
    }

    pub(crate) fn into_outcomes(self) -> Vec<ModuleOutcome> {
        self.asked
    }

    /// Tries a group.
    pub(crate) fn attempt(
        &mut self,
        candidates: &[Candidate],
        journal: &mut Journal,
    ) -> Result<Tried, DetectError> {
        self.ask(candidates, journal)?;
        journal.debug("======== Results ========");
        let mut passed = Vec::new();
        let (mut fits, mut errored) = (true, false);
        for candidate in candidates {
            let label = candidate.module.label();
            let answer = &self.answers[&key(&candidate.module)];
            match answer.verdict {
                Verdict::Pass => {
                    journal.debug(format!("pass: {label}"));
                    passed.push((candidate, answer));
                    continue;
                }
                Verdict::Fail | Verdict::WrongTarget if candidate.optional => {
                    journal.debug(format!("skip: {label}"));
                }
                Verdict::Fail => journal.debug(format!("fail: {label}")),
                Verdict::WrongTarget => {
                    journal.info(format!("err:  {label}"));
                    errored = true;
                }
                Verdict::Error(code) => {
                    let code = code.map_or_else(String::new, |code| format!(" ({code})"));
                    journal.info(format!("err:  {label}{code}"));
                    errored = true;
                }
            }
            fits &= candidate.optional;
        }
        if !fits {
            return Ok(Tried::Failed { errored });
        }
        // Extensions alone build nothing.
        if passed
            .iter()
            .all(|(candidate, _)| candidate.module.is_extension())
        {
            journal.debug("fail: no viable buildpacks in group");
            return Ok(Tried::Failed { errored });
        }
        resolve(candidates.len(), &passed, errored, journal)
    }

    /// Asks those that were not asked yet, side by side.
    fn ask(&mut self, candidates: &[Candidate], journal: &mut Journal) -> Result<(), DetectError> {
        let new: Vec<_> = candidates
            .iter()
            .map(|candidate| &candidate.module)
            .filter(|module| !self.answers.contains_key(&key(module)))
            .collect();
        let answers = parallel::for_each(&new, |module| {
            script::ask(
                self.options,
                module,
                self.variables,
                self.target,
                self.cancellation,
            )
        });
        if self.cancellation.is_cancelled() {
            return Err(DetectError::Cancelled);
        }
        for (module, answer) in new.into_iter().zip(answers) {
            let label = module.label();
            note(&label, &answer, journal);
            self.asked.push(ModuleOutcome {
                module: label,
                verdict: answer.verdict,
                output: answer.output.clone(),
                reason: answer.reason.clone(),
            });
            self.answers.insert(key(module), answer);
        }
        Ok(())
    }
}

fn key(module: &Module) -> (Kind, String) {
    (module.kind, module.label())
}

/// What a script printed concerns everybody when it had an error, else only those who ask (DTI-01).
fn note(label: &str, answer: &Answer, journal: &mut Journal) {
    let mut say = |text: String| match answer.verdict {
        Verdict::Error(_) => journal.info(text),
        Verdict::Pass | Verdict::Fail | Verdict::WrongTarget => journal.debug(text),
    };
    let output = String::from_utf8_lossy(&answer.output);
    let output = output.trim_end_matches('\n');
    if !output.is_empty() {
        say(format!("======== Output: {label} ========"));
        say(output.to_owned());
    }
    if let Some(reason) = &answer.reason {
        say(format!("======== Error: {label} ========"));
        say(reason.clone());
    }
}

fn resolve(
    all: usize,
    passed: &[(&Candidate, &Answer)],
    errored: bool,
    journal: &mut Journal,
) -> Result<Tried, DetectError> {
    let offer = |(candidate, answer): &(&Candidate, &'_ Answer)| -> Offer<BuildPlan> {
        Offer {
            id: candidate.module.info.id.clone(),
            version: candidate.module.info.version.clone(),
            extension: candidate.module.is_extension(),
            optional: candidate.optional,
            plan: answer.plan.clone(),
        }
    };
    let offers: Vec<_> = passed.iter().map(offer).collect();
    let resolution = match plan::resolve(&offers, journal) {
        Ok(resolution) => resolution,
        Err(Unresolved::Impossible) => return Ok(Tried::Failed { errored }),
        Err(Unresolved::TooMany { tries }) => return Err(DetectError::TooMany { tries }),
    };
    let modules: Vec<_> = resolution
        .surviving
        .iter()
        .map(|at| Arc::clone(&passed[*at].0.module))
        .collect();
    // A group of extensions only is none, whatever it was before the optional ones left (DTA-04).
    if modules.iter().all(|module| module.is_extension()) {
        journal.debug("fail: no viable buildpacks in group");
        return Ok(Tried::Failed { errored });
    }
    if modules.len() != all {
        journal.info(format!("{} of {all} buildpacks participating", modules.len()));
    }
    let width = modules
        .iter()
        .map(|module| module.info.id.as_str().len())
        .max()
        .unwrap_or_default();
    for module in &modules {
        journal.info(format!(
            "{:width$} {}",
            module.info.id.as_str(),
            module.info.version
        ));
    }
    Ok(Tried::Passed(Selected {
        modules,
        plan: resolution.entries,
    }))
}
