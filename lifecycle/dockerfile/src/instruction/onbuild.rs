//! ONBUILD.

use lifecycle_diagnostics::Diagnostic;

use super::{Head, Request};

/// An instruction for the builds that start from this image, as text (G14).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Onbuild {
    /// The instruction with its heredoc bodies, as the image's configuration stores it. A body that is not UTF-8
    /// is stored with replacement characters, because a configuration is JSON.
    pub trigger: String,
}

pub(super) fn parse(request: &Request<'_>) -> Result<Onbuild, Diagnostic> {
    let trigger = Head::split(request.arguments, request.escape);
    if trigger.keyword.is_empty() {
        return Err(request.at_least_one());
    }
    request.no_flags()?;
    match trigger.name().as_str() {
        "ONBUILD" => Err(refused(
            &trigger,
            "chaining ONBUILD via ONBUILD ONBUILD isn't allowed".to_owned(),
        )),
        name @ ("FROM" | "MAINTAINER") => Err(refused(
            &trigger,
            format!("{name} isn't allowed as an ONBUILD trigger"),
        )),
        _ => {
            let mut text = request.arguments.to_line_end().as_str().to_owned();
            for heredoc in &request.heredocs {
                text.push('\n');
                text.push_str(&String::from_utf8_lossy(heredoc.body.bytes()));
                text.push_str(&heredoc.name);
            }
            Ok(Onbuild { trigger: text })
        }
    }
}

fn refused(trigger: &Head<'_>, message: String) -> Diagnostic {
    Diagnostic::error("invalid-onbuild", message).at(trigger.keyword.span())
}
