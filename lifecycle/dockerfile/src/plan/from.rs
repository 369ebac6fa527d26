//! FROM lines: names, bases and platforms, expanded with the global scope (F1 to F3, F9, F11).

use std::collections::BTreeSet;

use lifecycle_diagnostics::{Diagnostic, nearest};

use super::{Plan, PlannedStage, StageBase};
use crate::dockerfile::Dockerfile;
use crate::environment::Environment;
use crate::expand::{Expander, Expansion};
use crate::fault::expansion_fault;
use crate::image_name;
use crate::line::Word;
use crate::lint::{Findings, Rule};
use crate::platform::Platform;
use crate::stage::Stage;

impl<'d> Plan<'d> {
    pub(super) fn add_stage(
        &mut self,
        index: usize,
        written: &'d Stage,
        contexts: &BTreeSet<String>,
    ) -> Result<(), Diagnostic> {
        let image = self.expand_in_from(written, &written.base().image)?;
        if image.text.is_empty() {
            let word = &written.base().image;
            let message = format!("base name ({}) should not be blank", word.text);
            return Err(Diagnostic::error("blank-base", message).at(word.span.clone()));
        }
        let mut used_globals = image.used;
        let platform = match &written.base().platform {
            None => None,
            Some(word) => {
                let (platform, used) = self.stage_platform(written, word)?;
                used_globals.extend(used);
                Some(platform)
            }
        };
        let base = match self.context_for(written, platform.as_ref(), contexts) {
            Some(context) => StageBase::Context(context),
            // Names are compared as written with the lower-case names of the stages above (F2, F3).
            None => match (self.names.get(&image.text), image.text.as_str()) {
                (Some(&stage), _) => StageBase::Stage(stage),
                (None, "scratch") => StageBase::Scratch,
                (None, name) => {
                    self.check_image_name(name, &written.base().image)?;
                    StageBase::Image(image.text)
                }
            },
        };
        if let Some(name) = written.name() {
            self.names.insert(name.to_owned(), index);
        }
        self.stages.push(PlannedStage {
            index,
            written,
            base,
            platform,
            instructions: Vec::new(),
            used_globals,
        });
        Ok(())
    }

    fn context_for(
        &self,
        written: &Stage,
        platform: Option<&Platform>,
        contexts: &BTreeSet<String>,
    ) -> Option<String> {
        let name = written
            .name()
            .filter(|name| !matches!(*name, "scratch" | "context"))?;
        let specific = format!("{name}::{}", platform.unwrap_or(&self.platforms.target));
        [specific, name.to_owned()]
            .into_iter()
            .find(|name| contexts.contains(name))
    }

    /// Expands a word of a FROM line with the global scope (E1).
    fn expand_in_from(&mut self, stage: &Stage, word: &Word) -> Result<Expansion, Diagnostic> {
        let expander = Expander::new(self.dockerfile.directives().escape);
        let expansion = expander
            .text(&word.text, &self.globals.values)
            .map_err(|error| expansion_fault(&error, word))?;
        let declared = &self.globals.declared;
        let known = || {
            self.globals
                .values
                .names()
                .chain(declared.keys().map(String::as_str))
        };
        let from = stage.from();
        for name in expansion
            .undefined
            .iter()
            .filter(|name| !declared.contains_key(*name))
        {
            let proposal = nearest(name, known()).map(|known| format!(" (did you mean {known}?)"));
            let message = format!(
                "FROM argument '{name}' is not declared{}",
                proposal.unwrap_or_default()
            );
            self.findings
                .report(Rule::UndefinedArgInFrom, &from.span, &from.comments, message);
        }
        Ok(expansion)
    }

    fn stage_platform(
        &mut self,
        stage: &Stage,
        word: &Word,
    ) -> Result<(Platform, BTreeSet<String>), Diagnostic> {
        let expansion = self.expand_in_from(stage, word)?;
        let from = stage.from();
        let is_target = expansion.undefined.is_empty()
            && expansion.used.iter().eq(["TARGETPLATFORM"])
            && self.globals.values.get("TARGETPLATFORM") == Some(expansion.text.as_str());
        if is_target {
            let message = format!(
                "Setting platform to predefined {} in FROM is redundant as this is the default behavior",
                word.text
            );
            self.findings
                .report(Rule::RedundantTargetPlatform, &from.span, &from.comments, message);
        }
        let fault = |message: String| {
            let diagnostic = Diagnostic::error("invalid-platform", message).at(word.span.clone());
            let proposals = expansion
                .undefined
                .iter()
                .filter_map(|name| nearest(name, self.globals.values.names()));
            proposals.fold(diagnostic, |diagnostic, known| {
                diagnostic.help(format!("did you mean {known}?"))
            })
        };
        if expansion.text.is_empty() {
            return Err(fault(format!(
                "empty platform value from expression {}",
                word.text
            )));
        }
        let platform = Platform::parse(&expansion.text, &self.platforms.build)
            .ok_or_else(|| fault(format!("failed to parse platform {:?}", expansion.text)))?;
        let name = stage.name().unwrap_or_default();
        let is_constant = expansion.used.is_empty() && expansion.undefined.is_empty();
        if is_constant && !name.contains(&platform.os) && !name.contains(&platform.architecture) {
            let message = format!(
                "FROM --platform flag should not use constant value {:?}",
                expansion.text
            );
            self.findings.report(
                Rule::FromPlatformFlagConstDisallowed,
                &from.span,
                &from.comments,
                message,
            );
        }
        Ok((platform, expansion.used))
    }

    pub(super) fn check_image_name(&self, name: &str, word: &Word) -> Result<(), Diagnostic> {
        let Some(fault) = image_name::fault(name) else {
            return Ok(());
        };
        let message = format!("failed to parse stage name {name:?}: {fault}");
        let diagnostic = Diagnostic::error("invalid-image-name", message).at(word.span.clone());
        Err(match nearest(name, self.names.keys().map(String::as_str)) {
            Some(stage) => diagnostic.help(format!(
                "did you mean the stage {stage}? its name is lower case here"
            )),
            None => diagnostic,
        })
    }
}

/// InvalidDefaultArgInFrom: every FROM should make sense without any build argument.
pub(super) fn check_default_bases(
    dockerfile: &Dockerfile,
    expander: Expander,
    values: &Environment,
    findings: &mut Findings,
) {
    for stage in dockerfile.stages() {
        let image = &stage.base().image;
        let Ok(expansion) = expander.text(&image.text, values) else {
            return;
        };
        if image_name::fault(&expansion.text).is_some() {
            let message = format!(
                "Default value for ARG {} results in empty or invalid base image name",
                image.text
            );
            findings.report(Rule::InvalidDefaultArgInFrom, &stage.from().span, &[], message);
        }
    }
}
