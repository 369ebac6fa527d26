//! Who copies and mounts from whom, triggers included, and which stages that makes necessary (F2 to F7, G14).

use std::borrow::Cow;

use lifecycle_diagnostics::Diagnostic;

use super::{Origin, Plan, PlannedInstruction, PlannedStage, StageBase};
use crate::dockerfile::parse_trigger;
use crate::environment::Environment;
use crate::expand::Expander;
use crate::fault::expansion_fault;
use crate::graph;
use crate::instruction::{Command, Instruction, from_of};
use crate::line::Word;

/// Most instructions that ONBUILD may add to a file: each of many stages can fire each of many triggers.
const MOST_TRIGGERS: usize = 50_000;

impl<'d> Plan<'d> {
    /// Finds out where every instruction takes its files from, and which stages that makes necessary.
    pub(super) fn connect(&mut self) -> Result<(), Diagnostic> {
        for index in 0..self.stages.len() {
            if matches!(self.stages[index].base, StageBase::Context(_)) {
                continue;
            }
            let written = self.stages[index].written;
            for instruction in written.instructions() {
                let origins = self.origins(instruction)?;
                let instruction = Cow::Borrowed(instruction);
                self.stages[index].instructions.push(PlannedInstruction {
                    instruction,
                    on_build: false,
                    origins,
                });
            }
        }
        for index in 0..self.stages.len() {
            if let StageBase::Stage(base) = self.stages[index].base {
                let triggers = self.triggers_of(base)?;
                self.insert_triggers(index, triggers)?;
            }
        }
        self.check_references()
    }

    /// Puts triggers before a stage's instructions.
    pub(super) fn insert_triggers(
        &mut self,
        stage: usize,
        triggers: Vec<Cow<'d, Instruction>>,
    ) -> Result<(), Diagnostic> {
        self.triggered += triggers.len();
        if self.triggered > MOST_TRIGGERS {
            let message = format!("ONBUILD triggers come to more than {MOST_TRIGGERS} instructions");
            let from = self.stages[stage].written.from();
            return Err(Diagnostic::error("too-many-triggers", message).at(from.span.clone()));
        }
        let mut instructions = Vec::new();
        for instruction in triggers {
            let origins = self.origins(&instruction)?;
            instructions.push(PlannedInstruction {
                instruction,
                on_build: true,
                origins,
            });
        }
        instructions.append(&mut self.stages[stage].instructions);
        self.stages[stage].instructions = instructions;
        Ok(())
    }

    /// The ONBUILD instructions that a stage itself holds.
    fn triggers_of(&self, stage: usize) -> Result<Vec<Cow<'d, Instruction>>, Diagnostic> {
        let written = self.stages[stage].written.instructions().iter();
        let triggers = written.filter_map(|instruction| match &instruction.command {
            Command::Onbuild(onbuild) => Some((instruction, onbuild)),
            _ => None,
        });
        triggers
            .map(|(instruction, onbuild)| {
                let name = instruction.span.source().name().to_owned() + " (ONBUILD)";
                parse_trigger(name, &onbuild.trigger)
                    .map(Cow::Owned)
                    .map_err(|error| error.label(instruction.span.clone(), "in this trigger"))
            })
            .collect()
    }

    /// Where an instruction takes files from: COPY has one origin, RUN one for each mount.
    fn origins(&self, instruction: &Instruction) -> Result<Vec<Origin>, Diagnostic> {
        match &instruction.command {
            Command::Copy(copy) => match &copy.from {
                None => Ok(vec![Origin::Context]),
                Some(from) => Ok(vec![self.copy_origin(from)?]),
            },
            Command::Run(run) => run
                .mounts
                .iter()
                .map(|spec| match from_of(spec)? {
                    None => Ok(Origin::Context),
                    Some(name) => self.named_origin(&name, spec),
                })
                .collect(),
            _ => Ok(Vec::new()),
        }
    }

    /// `COPY --from`: a stage's index, its name in any case, or an image; never a variable (D11, F2, F4).
    fn copy_origin(&self, from: &Word) -> Result<Origin, Diagnostic> {
        let expander = Expander::new(self.dockerfile.directives().escape);
        let expansion = expander
            .text(&from.text, &Environment::default())
            .map_err(|error| expansion_fault(&error, from))?;
        if expansion.text != from.text {
            let message = "variable expansion is not supported for --from";
            return Err(Diagnostic::error("variable-in-from", message)
                .at(from.span.clone())
                .help("define a new stage with FROM using ARG from global scope as a workaround"));
        }
        let Ok(index) = from.text.parse::<i64>() else {
            return self.named_origin(&from.text, from);
        };
        let known = usize::try_from(index)
            .ok()
            .filter(|&index| index < self.stages.len());
        known.map(Origin::Stage).ok_or_else(|| {
            Diagnostic::error("invalid-stage-index", format!("invalid stage index {index}"))
                .at(from.span.clone())
                .note(format!(
                    "stages are counted from 0 to {}",
                    self.stages.len().saturating_sub(1)
                ))
        })
    }

    fn named_origin(&self, name: &str, word: &Word) -> Result<Origin, Diagnostic> {
        match self.names.get(&name.to_lowercase()) {
            Some(&index) => Ok(Origin::Stage(index)),
            None if name == "scratch" => Ok(Origin::Scratch),
            None => {
                self.check_image_name(name, word)?;
                Ok(Origin::Image(name.to_owned()))
            }
        }
    }

    /// Refuses circles anywhere in the file and, among the stages that are needed, references to stages further
    /// down (F6).
    pub(super) fn check_references(&mut self) -> Result<(), Diagnostic> {
        let copies: Vec<Vec<usize>> = self
            .stages
            .iter()
            .map(|stage| stages_of(stage.origins()).collect())
            .collect();
        if let Some(circle) = graph::find_circle(&copies) {
            return Err(self.circle_fault(&circle));
        }
        let all: Vec<Vec<usize>> = self.stages.iter().map(PlannedStage::dependencies).collect();
        self.needed = graph::reachable(&all, self.target);
        for stage in self.stages() {
            for planned in &stage.instructions {
                if let Some(later) = stages_of(planned.origins.iter()).find(|&origin| origin > stage.index) {
                    return Err(self.forward_fault(stage, planned, later));
                }
            }
        }
        Ok(())
    }

    fn circle_fault(&self, circle: &[usize]) -> Diagnostic {
        let first = circle.first().copied().unwrap_or_default();
        let message = format!(
            "circular dependency detected on stage: {}",
            self.stages[first].display_name()
        );
        let mut diagnostic = Diagnostic::error("circular-dependency", message);
        for (at, &stage) in circle.iter().enumerate() {
            let next = circle[(at + 1) % circle.len()];
            let instruction = self.stages[stage]
                .instructions
                .iter()
                .find(|planned| planned.origins.contains(&Origin::Stage(next)));
            if let Some(planned) = instruction {
                let remark = format!("needs stage {}", self.stages[next].display_name());
                diagnostic = diagnostic.label(planned.instruction.span.clone(), remark);
            }
        }
        diagnostic
    }

    fn forward_fault(
        &self,
        stage: &PlannedStage<'_>,
        planned: &PlannedInstruction<'_>,
        later: usize,
    ) -> Diagnostic {
        let verb = if matches!(planned.instruction.command, Command::Run(_)) {
            "mount"
        } else {
            "copy"
        };
        let later = &self.stages[later];
        let message = format!(
            "cannot {verb} from stage {:?}, it needs to be defined before current stage {:?}",
            later.display_name(),
            stage.display_name()
        );
        Diagnostic::error("forward-reference", message)
            .at(planned.instruction.span.clone())
            .label(later.written.from().span.clone(), "defined here")
    }
}

fn stages_of<'a>(origins: impl Iterator<Item = &'a Origin>) -> impl Iterator<Item = usize> {
    origins.filter_map(|origin| match origin {
        Origin::Stage(index) => Some(*index),
        _ => None,
    })
}
