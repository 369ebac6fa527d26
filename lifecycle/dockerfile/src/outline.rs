//! What a Dockerfile offers: its targets, and the arguments, secrets, agents and caches of one (N3).

use std::collections::{BTreeMap, BTreeSet};

use lifecycle_diagnostics::{Diagnostic, Span};
use serde::Serialize;

use crate::dockerfile::Dockerfile;
use crate::evaluation::{DeclaredArg, Evaluation};
use crate::instruction::MountKind;
use crate::plan::{Plan, StageBase};
use crate::scope::{Parent, Scope};
use crate::step::Action;

/// A stage as something to build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Target {
    /// The name, if it has one.
    pub name: Option<String>,
    /// What a comment `# name description` above it says.
    pub description: Option<String>,
    /// Whether it is built when no target is named.
    pub default: bool,
    /// What it starts from, as written.
    pub base: String,
    /// `FROM --platform`, as written.
    pub platform: Option<String>,
    /// The line of its FROM, from 1.
    pub line: usize,
}

/// What building a target takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Outline {
    /// The target's name, if it has one.
    pub name: Option<String>,
    /// What a comment `# name description` above it says.
    pub description: Option<String>,
    /// Arguments it or a stage it needs declares, by line.
    pub args: Vec<OutlineArg>,
    /// Secrets, by line.
    pub secrets: Vec<OutlineMount>,
    /// ssh agents, by line.
    pub ssh: Vec<OutlineMount>,
    /// Caches, by line.
    pub caches: Vec<OutlineMount>,
}

/// An argument that can be given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OutlineArg {
    /// The name.
    pub name: String,
    /// What a comment `# name description` above it says.
    pub description: Option<String>,
    /// The value it has now: what was given, or the default.
    pub value: Option<String>,
    /// The line that declares it, from 1.
    pub line: usize,
}

/// A secret, agent or cache that a RUN mounts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OutlineMount {
    /// Its id.
    pub id: String,
    /// Whether the build fails without it.
    pub required: bool,
    /// The line of the first RUN that mounts it, from 1.
    pub line: usize,
}

impl Dockerfile {
    /// The stages of the file as targets.
    pub fn targets(&self) -> Vec<Target> {
        let count = self.stages().len();
        let stages = self.stages().iter().enumerate();
        stages
            .map(|(index, stage)| Target {
                name: stage.name().map(str::to_owned),
                description: stage.base().description.clone(),
                default: index + 1 == count,
                base: stage.base().image.text.clone(),
                platform: stage
                    .base()
                    .platform
                    .as_ref()
                    .map(|platform| platform.text.clone()),
                line: line_of(&stage.from().span),
            })
            .collect()
    }
}

impl Plan<'_> {
    /// What building the target takes. No base image is looked at: a value that uses one of its variables is shown
    /// as if it were not set.
    pub fn outline(&self) -> Result<Outline, Diagnostic> {
        let target = self.target();
        let mut outline = Outline {
            name: target.written.name().map(str::to_owned),
            description: target.written.base().description.clone(),
            args: Vec::new(),
            secrets: Vec::new(),
            ssh: Vec::new(),
            caches: Vec::new(),
        };
        let mut scopes: BTreeMap<usize, Scope> = BTreeMap::new();
        let mut used_globals = BTreeSet::new();
        for stage in self.stages() {
            let parent = match stage.base {
                StageBase::Scratch => Parent::Scratch,
                StageBase::Stage(index) => scopes.get(&index).map_or(Parent::Unknown, Parent::Stage),
                StageBase::Image(_) | StageBase::Context(_) => Parent::Unknown,
            };
            let evaluation = self.evaluate(stage, parent)?;
            used_globals.extend(stage.used_globals.iter().cloned());
            outline.add(&evaluation, &mut used_globals);
            scopes.insert(stage.index, evaluation.scope);
        }
        self.add_globals(&mut outline, used_globals);
        outline.sort();
        Ok(outline)
    }

    /// The global ARGs in use, and those that their defaults use.
    fn add_globals(&self, outline: &mut Outline, used: BTreeSet<String>) {
        let mut open: Vec<String> = used.into_iter().collect();
        let mut seen = BTreeSet::new();
        while let Some(name) = open.pop() {
            let Some(global) = self.globals.declared.get(&name).filter(|_| seen.insert(name)) else {
                continue;
            };
            open.extend(global.uses.iter().cloned());
            let definition = &global.definition;
            outline.args.push(OutlineArg {
                name: definition.name.clone(),
                description: definition.description.clone(),
                value: global.value.clone(),
                line: line_of(&definition.word.span),
            });
        }
    }
}

impl Outline {
    fn add(&mut self, evaluation: &Evaluation, used_globals: &mut BTreeSet<String>) {
        for DeclaredArg {
            definition,
            value,
            is_global,
        } in &evaluation.args
        {
            if *is_global {
                used_globals.insert(definition.name.clone());
            } else if !self.args.iter().any(|other| other.name == definition.name) {
                self.args.push(OutlineArg {
                    name: definition.name.clone(),
                    description: definition.description.clone(),
                    value: value.clone(),
                    line: line_of(&definition.word.span),
                });
            }
        }
        for step in &evaluation.steps {
            let Action::Run(run) = &step.action else { continue };
            for placed in &run.mounts {
                let list = match placed.mount.kind {
                    MountKind::Secret => &mut self.secrets,
                    MountKind::Ssh => &mut self.ssh,
                    MountKind::Cache => &mut self.caches,
                    MountKind::Bind | MountKind::Tmpfs => continue,
                };
                match list.iter_mut().find(|other| other.id == placed.id) {
                    Some(other) => other.required |= placed.mount.required,
                    None => list.push(OutlineMount {
                        id: placed.id.clone(),
                        required: placed.mount.required,
                        line: line_of(&step.span),
                    }),
                }
            }
        }
    }

    fn sort(&mut self) {
        self.args
            .sort_by(|one, other| (one.line, &one.name).cmp(&(other.line, &other.name)));
        for mounts in [&mut self.secrets, &mut self.ssh, &mut self.caches] {
            mounts.sort_by(|one, other| (one.line, &one.id).cmp(&(other.line, &other.id)));
        }
    }
}

fn line_of(span: &Span) -> usize {
    span.start().line
}
