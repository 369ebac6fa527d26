//! FROM.

use lifecycle_diagnostics::Diagnostic;

use super::flags::Flag;
use super::{Request, arg};
use crate::line::{Part, Word};

/// What a stage starts from, and its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Base {
    /// Image or earlier stage, before expansion with the global ARGs.
    pub image: Word,
    /// `--platform`, before expansion with the global ARGs.
    pub platform: Option<Word>,
    /// The name in lower case (F1), at its place.
    pub name: Option<Word>,
    /// `AS` and the name as written.
    pub(crate) written_name: Option<(Word, Word)>,
    /// What a comment `# name description` above says (N3).
    pub description: Option<String>,
}

pub(super) fn parse(request: &Request<'_>) -> Result<Base, Diagnostic> {
    let words: Vec<Part<'_>> = request.arguments.split_blanks().collect();
    let (image, written_name) = match words.as_slice() {
        [image] => (image, None),
        [image, keyword, name] if keyword.as_str().eq_ignore_ascii_case("as") => {
            (image, Some((keyword.word(), name.word())))
        }
        _ => return Err(request.arity("FROM requires either one or three arguments".to_owned())),
    };
    let name = written_name
        .as_ref()
        .map(|(_, name)| stage_name(name))
        .transpose()?;
    let platform = request.flags(&[("platform", Flag::Text)])?.text("platform");
    let description = name
        .as_ref()
        .and_then(|name| arg::description(request.comments, &name.text));
    let platform = platform.filter(|platform| !platform.text.is_empty());
    Ok(Base {
        image: image.word(),
        platform,
        name,
        written_name,
        description,
    })
}

/// A letter, then letters, digits, `-`, `_`, `.`; stored in lower case (F1).
fn stage_name(written: &Word) -> Result<Word, Diagnostic> {
    let text = written.text.to_lowercase();
    let mut characters = text.chars();
    let starts_well = characters.next().is_some_and(|first| first.is_ascii_lowercase());
    let known = |character: char| character.is_ascii_alphanumeric() || matches!(character, '-' | '_' | '.');
    if starts_well && characters.all(known) {
        return Ok(Word {
            text,
            span: written.span.clone(),
        });
    }
    let message = format!("invalid name for build stage: {:?}", written.text);
    Err(Diagnostic::error("invalid-stage-name", message)
        .at(written.span.clone())
        .help("a name starts with a letter and holds letters, digits, '-', '_' and '.'"))
}
