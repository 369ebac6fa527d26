//! A whole file, parsed.

use lifecycle_diagnostics::{Diagnostic, Source};

use crate::directive::Directives;
use crate::instruction::{self, Command, Instruction};
use crate::line::Reader;
use crate::stage::Stage;

/// Reading stops after this many errors: they are for people to read.
const MOST_ERRORS: usize = 50;

/// A parsed Dockerfile: shape checked, nothing expanded.
#[derive(Debug, Clone)]
pub struct Dockerfile {
    source: Source,
    directives: Directives,
    globals: Vec<Instruction>,
    stages: Vec<Stage>,
}

impl Dockerfile {
    /// Reads a file; `name` is for messages.
    ///
    /// Errors are gathered, not only the first one reported, and each says where it is (A21).
    pub fn parse(name: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Result<Self, Vec<Diagnostic>> {
        let source = Source::new(name, bytes);
        let nowhere = source.span(0..0);
        if source.bytes().is_empty() {
            return Err(vec![
                Diagnostic::error("empty-file", "the Dockerfile cannot be empty").at(nowhere),
            ]);
        }
        let directives = Directives::parse(&source).map_err(|error| vec![error])?;
        let (instructions, mut errors) = read_instructions(&source, &directives);
        if instructions.is_empty() && errors.is_empty() {
            return Err(vec![
                Diagnostic::error("no-instructions", "file with no instructions").at(nowhere),
            ]);
        }
        let has_failed = !errors.is_empty();
        let mut globals = Vec::new();
        let mut stages: Vec<Stage> = Vec::new();
        for instruction in instructions {
            match (Stage::begin(instruction), stages.last_mut()) {
                (Ok(stage), _) => stages.push(stage),
                (Err(instruction), Some(stage)) => stage.push(*instruction),
                (Err(instruction), None) if matches!(instruction.command, Command::Arg(_)) => {
                    globals.push(*instruction);
                }
                // A FROM that could not be read is already reported; what follows it is not at fault.
                (Err(_), None) if has_failed => {}
                (Err(instruction), None) => errors.push(before_first_stage(&instruction)),
            }
        }
        if stages.is_empty() && errors.is_empty() {
            errors.push(Diagnostic::error("no-stages", "dockerfile contains no stages to build").at(nowhere));
        }
        if errors.is_empty() {
            Ok(Self {
                source,
                directives,
                globals,
                stages,
            })
        } else {
            Err(errors)
        }
    }

    /// The text this was read from.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// What the top of the file says.
    pub fn directives(&self) -> &Directives {
        &self.directives
    }

    /// The ARGs before the first FROM (E1).
    pub fn globals(&self) -> &[Instruction] {
        &self.globals
    }

    /// The stages in order; there is at least one.
    pub fn stages(&self) -> &[Stage] {
        &self.stages
    }

    pub(crate) fn instructions(&self) -> impl Iterator<Item = &Instruction> {
        self.globals
            .iter()
            .chain(self.stages.iter().flat_map(Stage::all_instructions))
    }
}

fn read_instructions(source: &Source, directives: &Directives) -> (Vec<Instruction>, Vec<Diagnostic>) {
    let mut reader = Reader::new(source, directives);
    let mut instructions = Vec::new();
    let mut errors = Vec::new();
    while let Some(line) = reader.next_line() {
        match line.and_then(|line| instruction::parse(line, &mut reader, directives.escape)) {
            Ok(instruction) => instructions.push(instruction),
            Err(error) => errors.push(error),
        }
        if errors.len() == MOST_ERRORS {
            break;
        }
    }
    (instructions, errors)
}

/// Reads the text of an ONBUILD trigger (G14): exactly one instruction, with the default escape character.
pub(crate) fn parse_trigger(name: String, text: &str) -> Result<Instruction, Diagnostic> {
    let source = Source::new(name, text);
    let directives = Directives {
        syntax: None,
        escape: '\\',
        check: None,
    };
    let (mut instructions, errors) = read_instructions(&source, &directives);
    if let Some(error) = errors.into_iter().next() {
        return Err(error);
    }
    let only = instructions.pop().filter(|_| instructions.is_empty());
    let refused =
        |message: &str| Diagnostic::error("invalid-onbuild", message).at(source.span(0..text.len()));
    match only {
        None => Err(refused("an ONBUILD trigger is a single instruction")),
        Some(instruction) => match instruction.command {
            Command::From(_) | Command::Maintainer(_) | Command::Onbuild(_) => Err(refused(
                "FROM, MAINTAINER and ONBUILD aren't allowed as an ONBUILD trigger",
            )),
            _ => Ok(instruction),
        },
    }
}

fn before_first_stage(instruction: &Instruction) -> Diagnostic {
    Diagnostic::error("no-build-stage", "no build stage in current context")
        .at(instruction.keyword.span.clone())
        .note("only ARG may come before the first FROM")
}
