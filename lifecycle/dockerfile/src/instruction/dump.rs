//! Instructions cut into words, before a flag or the number of arguments is judged.

use lifecycle_diagnostics::Diagnostic;

use super::{CommandLine, Request, command_line, healthcheck, pairs, read_heredocs};
use crate::line::{Line, Part, Reader, Word};
use crate::words::split_words;

/// One instruction as a line in the form that [`crate::dump`] tells.
pub(crate) fn dump(mut line: Line, reader: &mut Reader<'_>, escape: char) -> Result<String, Diagnostic> {
    let heredocs = read_heredocs(&mut line, reader, escape)?;
    Ok(show(&Request::read(line.part(), &line, heredocs, escape)?)? + "\n")
}

fn show(request: &Request<'_>) -> Result<String, Diagnostic> {
    let flags: Vec<String> = request.flags.iter().map(|flag| quote(&flag.text)).collect();
    let mut parts = vec![request.name.to_lowercase()];
    if !flags.is_empty() {
        parts.push(format!("[{}]", flags.join(" ")));
    }
    if request.name == "ONBUILD" && !request.arguments.is_empty() {
        let trigger = Request::read(request.arguments, request.line, Vec::new(), request.escape)?;
        parts.push(show(&trigger)?);
    } else {
        parts.extend(words(request)?.iter().map(|word| quote(word)));
    }
    Ok(format!("({})", parts.join(" ")))
}

fn words(request: &Request<'_>) -> Result<Vec<String>, Diagnostic> {
    let arguments = request.arguments;
    Ok(match request.name {
        _ if arguments.is_empty() => Vec::new(),
        "ADD" | "COPY" | "VOLUME" => texts(command_line::parse_list(request)?),
        "ARG" => texts(split_words(arguments, request.escape)),
        "CMD" | "ENTRYPOINT" | "RUN" | "SHELL" => command(arguments)?,
        "ENV" | "LABEL" => pairs::parse(request)?
            .into_iter()
            .flat_map(|pair| {
                let sign = if pair.legacy { "" } else { "=" };
                [pair.key.text, pair.value.text, sign.to_owned()]
            })
            .collect(),
        "EXPOSE" | "FROM" => texts(arguments.split_blanks().map(Part::word)),
        "HEALTHCHECK" => {
            let (kind, test) = healthcheck::split(arguments);
            let mut words = vec![kind.as_str().to_owned()];
            words.extend(command(test)?);
            words
        }
        _ => vec![arguments.as_str().to_owned()],
    })
}

fn command(part: Part<'_>) -> Result<Vec<String>, Diagnostic> {
    Ok(match command_line::parse_part(part)? {
        CommandLine::Exec(arguments) => arguments,
        CommandLine::Shell(text) if text.text.is_empty() => Vec::new(),
        CommandLine::Shell(text) => vec![text.text],
    })
}

fn texts(words: impl IntoIterator<Item = Word>) -> Vec<String> {
    words.into_iter().map(|word| word.text).collect()
}

/// As Go quotes a text.
fn quote(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            '\x07' => quoted.push_str("\\a"),
            '\x08' => quoted.push_str("\\b"),
            '\x0b' => quoted.push_str("\\v"),
            '\x0c' => quoted.push_str("\\f"),
            '\n' | '\r' | '\t' => quoted.extend(character.escape_default()),
            '\0'..' ' | '\x7f' => quoted.extend(format!("\\x{:02x}", u32::from(character)).chars()),
            _ => quoted.push(character),
        }
    }
    quoted + "\""
}
