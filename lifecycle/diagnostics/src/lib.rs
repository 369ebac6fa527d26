//! Messages that point into a source text, for people and as JSON.
//!
//! A [`Source`] is a named text: a Dockerfile, a `buildpack.toml`, a label's JSON. It is bytes, because people hand
//! us files that are not UTF-8 and those deserve a position too. A [`Span`] is a byte range of a source; it owns a
//! cheap handle to its text, so a message outlives whatever parsed it.
//!
//! A [`Diagnostic`] says what happened ([`code`](Details::code), [`message`](Details::message)), where
//! ([`labels`](Details::labels), the first one is the place to look at), why
//! ([`causes`](Details::causes), [`notes`](Details::notes)) and what next ([`help`](Details::help)).
//! [`Diagnostic::render`] draws it in the manner of rustc, coloured only when the caller asks for it;
//! its `Serialize` form is the stable JSON that programs read. [`nearest`] finds what a misspelt word probably meant.
//!
//! ```
//! use lifecycle_diagnostics::{Diagnostic, Source};
//!
//! let source = Source::new("Dockerfile", "FROM scratch\nCOPPY a b\n");
//! let diagnostic = Diagnostic::error("unknown-instruction", "unknown instruction: COPPY")
//!     .at(source.span(13..18))
//!     .help("did you mean COPY?");
//! assert_eq!(diagnostic.to_string(), "Dockerfile:2:1: unknown instruction: COPPY");
//! ```

mod diagnostic;
mod json;
mod proposal;
mod render;
mod source;

pub use diagnostic::{Details, Diagnostic, Label, Severity};
pub use proposal::nearest;
pub use render::RenderOptions;
pub use source::{Position, Source, Span};
