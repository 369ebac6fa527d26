//! A whole file, parsed.

use lifecycle_diagnostics::{Diagnostic, Source};

use crate::directive::Directives;
use crate::instruction::{self, Command, Instruction};
use crate::line::{Line, Reader};
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
        let (directives, instructions, mut errors) = read(&source, instruction::parse)?;
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

/// The instructions of a file cut into words, one `(keyword "word" …)` a line: the form in which BuildKit's parser
/// prints its syntax tree.
///
/// For comparing the two on any file: what is wrong with a flag or with the number of arguments is found later, there
/// as here.
pub fn dump(name: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Result<String, Vec<Diagnostic>> {
    let source = Source::new(name, bytes);
    let (_, lines, errors) = read(&source, instruction::dump)?;
    if errors.is_empty() {
        Ok(lines.concat())
    } else {
        Err(errors)
    }
}

/// What one reads from a logical line.
type Each<T> = fn(Line, &mut Reader<'_>, char) -> Result<T, Diagnostic>;

/// Reads the directives and every instruction of a file; there is an instruction or an error.
fn read<T>(source: &Source, each: Each<T>) -> Result<(Directives, Vec<T>, Vec<Diagnostic>), Vec<Diagnostic>> {
    let refused = |code, message| vec![Diagnostic::error(code, message).at(source.span(0..0))];
    if source.bytes().is_empty() {
        return Err(refused("empty-file", "the Dockerfile cannot be empty"));
    }
    let directives = Directives::parse(source).map_err(|error| vec![error])?;
    let (all, errors) = read_all(source, &directives, each);
    if all.is_empty() && errors.is_empty() {
        return Err(refused("no-instructions", "file with no instructions"));
    }
    Ok((directives, all, errors))
}

fn read_all<T>(source: &Source, directives: &Directives, each: Each<T>) -> (Vec<T>, Vec<Diagnostic>) {
    let mut reader = Reader::new(source, directives);
    let mut all = Vec::new();
    let mut errors = Vec::new();
    while let Some(line) = reader.next_line() {
        match line.and_then(|line| each(line, &mut reader, directives.escape)) {
            Ok(one) => all.push(one),
            Err(error) => errors.push(error),
        }
        if errors.len() == MOST_ERRORS {
            break;
        }
    }
    (all, errors)
}

/// Reads the text of an ONBUILD trigger (G14): exactly one instruction, with the default escape character.
pub(crate) fn parse_trigger(name: String, text: &str) -> Result<Instruction, Diagnostic> {
    let source = Source::new(name, text);
    let directives = Directives {
        syntax: None,
        escape: '\\',
        check: None,
    };
    let (mut instructions, errors) = read_all(&source, &directives, instruction::parse);
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
