//! A stage as written: a FROM and what follows it.

use crate::instruction::{Base, Command, Instruction};

/// A FROM with the instructions behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    from: Instruction,
    base: Base,
    instructions: Vec<Instruction>,
}

impl Stage {
    /// A stage that `from` begins, if it is a FROM.
    pub(crate) fn begin(from: Instruction) -> Result<Self, Box<Instruction>> {
        match from.command.clone() {
            Command::From(base) => Ok(Self {
                from,
                base,
                instructions: Vec::new(),
            }),
            _ => Err(Box::new(from)),
        }
    }

    pub(crate) fn push(&mut self, instruction: Instruction) {
        self.instructions.push(instruction);
    }

    /// The FROM instruction.
    pub fn from(&self) -> &Instruction {
        &self.from
    }

    /// What the FROM says.
    pub fn base(&self) -> &Base {
        &self.base
    }

    /// The name in lower case, if it has one (F1).
    pub fn name(&self) -> Option<&str> {
        self.base.name.as_ref().map(|name| name.text.as_str())
    }

    /// What follows the FROM.
    pub fn instructions(&self) -> &[Instruction] {
        &self.instructions
    }

    pub(crate) fn all_instructions(&self) -> impl Iterator<Item = &Instruction> {
        std::iter::once(&self.from).chain(&self.instructions)
    }
}
