//! Instructions as written: typed, checked for shape, nothing expanded yet. One file per family.

mod arg;
mod base;
mod command_line;
mod dump;
mod expose;
mod files;
mod flags;
mod healthcheck;
mod mount;
mod onbuild;
mod pairs;
mod run;

use lifecycle_diagnostics::{Diagnostic, Span, nearest};

pub use arg::ArgDefinition;
pub use base::Base;
pub use command_line::CommandLine;
pub(crate) use dump::dump;
pub(crate) use expose::parse_port;
pub use files::{AddFiles, CopyFiles, FilesAndDestination};
pub use healthcheck::{Healthcheck, HealthcheckTest};
pub(crate) use mount::from_of;
pub use mount::{Mount, MountKind, Sharing};
pub use onbuild::Onbuild;
pub use pairs::Pair;
pub use run::{Device, Network, Run, Security};

use crate::heredoc::{Heredoc, HeredocStart};
use crate::line::{Line, Part, Reader, Word};
use crate::words::{FlagWord, split_flags};
use flags::{Flag, Flags};

/// An instruction of a stage, or an ARG before the first one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instruction {
    /// The instruction word as written.
    pub keyword: Word,
    /// What it says.
    pub command: Command,
    /// All its lines, with continuations and heredoc bodies (A21).
    pub span: Span,
    /// Its text with continuations joined, without heredoc bodies.
    pub text: String,
    /// The comment lines directly above it, without `#`.
    pub comments: Vec<String>,
    /// The last blank line inside its continuation (A7).
    pub(crate) empty_continuation: Option<Span>,
}

/// What an instruction says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// ADD
    Add(AddFiles),
    /// ARG
    Arg(Vec<ArgDefinition>),
    /// CMD
    Cmd(CommandLine),
    /// COPY
    Copy(CopyFiles),
    /// ENTRYPOINT
    Entrypoint(CommandLine),
    /// ENV
    Env(Vec<Pair>),
    /// EXPOSE: words that expand to ports
    Expose(Vec<Word>),
    /// FROM
    From(Base),
    /// HEALTHCHECK
    Healthcheck(Healthcheck),
    /// LABEL
    Label(Vec<Pair>),
    /// MAINTAINER
    Maintainer(Word),
    /// ONBUILD
    Onbuild(Onbuild),
    /// RUN
    Run(Run),
    /// SHELL
    Shell(Vec<String>),
    /// STOPSIGNAL
    StopSignal(Word),
    /// USER
    User(Word),
    /// VOLUME
    Volume(Vec<Word>),
    /// WORKDIR
    Workdir(Word),
}

pub(crate) const KEYWORDS: [&str; 18] = [
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

/// An instruction cut into its three parts.
struct Head<'a> {
    keyword: Part<'a>,
    flags: Vec<FlagWord>,
    arguments: Part<'a>,
}

impl<'a> Head<'a> {
    fn split(part: Part<'a>, escape: char) -> Self {
        let (keyword, rest) = part.trim().split_first_blank();
        match rest {
            None => Self {
                keyword,
                flags: Vec::new(),
                arguments: keyword.from(keyword.as_str().len()),
            },
            Some(rest) => {
                let (flags, arguments) = split_flags(rest, escape);
                Self {
                    keyword,
                    flags,
                    arguments: arguments.trim(),
                }
            }
        }
    }

    fn name(&self) -> String {
        self.keyword.as_str().to_uppercase()
    }

    /// Whether a heredoc can follow: on RUN, COPY and ADD, those under ONBUILD too, never in JSON form (C1).
    fn takes_heredocs(&self, escape: char) -> bool {
        match self.name().as_str() {
            "ADD" | "COPY" | "RUN" => !command_line::is_json(self.arguments.as_str()),
            "ONBUILD" => {
                let trigger = Self::split(self.arguments, escape);
                matches!(trigger.name().as_str(), "ADD" | "COPY" | "RUN")
                    && !command_line::is_json(trigger.arguments.as_str())
            }
            _ => false,
        }
    }
}

/// What the parser of one instruction works from.
struct Request<'a> {
    /// The upper-case instruction word.
    name: &'static str,
    /// The instruction word as written.
    keyword: Part<'a>,
    flags: Vec<FlagWord>,
    arguments: Part<'a>,
    heredocs: Vec<Heredoc>,
    comments: &'a [String],
    line: &'a Line,
    escape: char,
}

impl<'a> Request<'a> {
    /// From the text of a whole instruction, which is `part` of a line.
    fn read(
        part: Part<'a>,
        line: &'a Line,
        heredocs: Vec<Heredoc>,
        escape: char,
    ) -> Result<Self, Diagnostic> {
        let head = Head::split(part, escape);
        let word = head.name();
        let name = KEYWORDS
            .into_iter()
            .find(|&known| known == word)
            .ok_or_else(|| unknown_instruction(&head))?;
        Ok(Self {
            name,
            keyword: head.keyword,
            flags: head.flags,
            arguments: head.arguments,
            heredocs,
            comments: &line.comments,
            line,
            escape,
        })
    }

    fn flags(&self, known: &[(&'static str, Flag)]) -> Result<Flags, Diagnostic> {
        Flags::parse(&self.flags, known)
    }

    fn no_flags(&self) -> Result<(), Diagnostic> {
        self.flags(&[]).map(|_| ())
    }

    /// The rest of the line as one argument (A17).
    fn one_argument(&self) -> Result<Word, Diagnostic> {
        if self.arguments.is_empty() {
            return Err(self.arity(format!("{} requires exactly one argument", self.name)));
        }
        Ok(self.arguments.word())
    }

    fn arity(&self, message: String) -> Diagnostic {
        Diagnostic::error("wrong-arguments", message).at(self.line.part().trim().span())
    }

    fn at_least_one(&self) -> Diagnostic {
        self.arity(format!("{} requires at least one argument", self.name))
    }
}

/// Reads one instruction: its heredoc bodies from `reader`, then its arguments.
pub(crate) fn parse(
    mut line: Line,
    reader: &mut Reader<'_>,
    escape: char,
) -> Result<Instruction, Diagnostic> {
    let heredocs = read_heredocs(&mut line, reader, escape)?;
    let request = Request::read(line.part(), &line, heredocs, escape)?;
    Ok(Instruction {
        keyword: request.keyword.word(),
        command: parse_command(&request)?,
        span: line.whole(),
        text: line.text.trim().to_owned(),
        comments: line.comments.clone(),
        empty_continuation: line.empty_continuation.clone(),
    })
}

fn read_heredocs(line: &mut Line, reader: &mut Reader<'_>, escape: char) -> Result<Vec<Heredoc>, Diagnostic> {
    let announced = if Head::split(line.part(), escape).takes_heredocs(escape) {
        HeredocStart::find(&line.text)
    } else {
        Vec::new()
    };
    reader.heredocs(line, announced)
}

fn parse_command(request: &Request<'_>) -> Result<Command, Diagnostic> {
    Ok(match request.name {
        "ADD" => Command::Add(files::parse_add(request)?),
        "ARG" => Command::Arg(arg::parse(request)?),
        "CMD" => Command::Cmd(command_line::parse(request)?),
        "COPY" => Command::Copy(files::parse_copy(request)?),
        "ENTRYPOINT" => Command::Entrypoint(command_line::parse(request)?),
        "ENV" => Command::Env(pairs::parse(request)?),
        "EXPOSE" => Command::Expose(expose::parse(request)?),
        "FROM" => Command::From(base::parse(request)?),
        "HEALTHCHECK" => Command::Healthcheck(healthcheck::parse(request)?),
        "LABEL" => Command::Label(pairs::parse(request)?),
        "MAINTAINER" => Command::Maintainer(parse_argument(request)?),
        "ONBUILD" => Command::Onbuild(onbuild::parse(request)?),
        "RUN" => Command::Run(run::parse(request)?),
        "SHELL" => Command::Shell(command_line::parse_shell(request)?),
        // Flags on STOPSIGNAL are swallowed, as upstream does (A14).
        "STOPSIGNAL" => Command::StopSignal(request.one_argument()?),
        "USER" => Command::User(parse_argument(request)?),
        "VOLUME" => Command::Volume(parse_volume(request)?),
        _ => Command::Workdir(parse_argument(request)?),
    })
}

fn parse_argument(request: &Request<'_>) -> Result<Word, Diagnostic> {
    let argument = request.one_argument()?;
    request.no_flags()?;
    Ok(argument)
}

fn parse_volume(request: &Request<'_>) -> Result<Vec<Word>, Diagnostic> {
    let volumes = command_line::parse_list(request)?;
    if volumes.is_empty() {
        return Err(request.at_least_one());
    }
    request.no_flags()?;
    let trimmed = volumes.into_iter().map(|volume| Word {
        text: volume.text.trim().to_owned(),
        ..volume
    });
    let volumes: Vec<Word> = trimmed.collect();
    match volumes.iter().find(|volume| volume.text.is_empty()) {
        Some(empty) => Err(empty_volume(&empty.span)),
        None => Ok(volumes),
    }
}

pub(crate) fn empty_volume(span: &Span) -> Diagnostic {
    Diagnostic::error("empty-volume", "VOLUME can not be an empty string").at(span.clone())
}

/// A10: the word parsed as an instruction is none.
fn unknown_instruction(head: &Head<'_>) -> Diagnostic {
    let word = head.keyword.as_str();
    let diagnostic = Diagnostic::error("unknown-instruction", format!("unknown instruction: {word}"))
        .at(head.keyword.span());
    match nearest(word, KEYWORDS) {
        Some(known) => diagnostic.help(format!("did you mean {known}?")),
        None => diagnostic,
    }
}
