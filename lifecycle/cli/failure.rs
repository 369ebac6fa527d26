//! How a command fails: one diagnostic and an exit code.
//!
//! Libraries return typed errors. Here, and only here, they become words for people: the chain of causes, the
//! place in the file that is wrong, and what to do next.

use std::error::Error;
use std::io;
use std::process::ExitCode;

use lifecycle_builder::BuilderError;
use lifecycle_diagnostics::{Diagnostic, Source};
use lifecycle_image::{TransferError, TransferErrorKind};
use lifecycle_layers::ROOM_IN_A_POD;
use lifecycle_phases::{
    AnalyzeError, BuildError, CreateError, DetectError, ExportError, FileError, ImagesError, ModuleError,
    RebaseError, RestoreError,
};
use lifecycle_registry::Error as RegistryError;
use lifecycle_spec::Flaw;
use lifecycle_store::StoreError;

/// Why a command ends early. What a library returns becomes one with `?`.
#[derive(Debug)]
pub(crate) struct Failure {
    /// What is said about it. Nothing, when whoever reads the results has gone.
    pub(crate) diagnostic: Option<Diagnostic>,
    /// What the process ends with.
    pub(crate) code: u8,
}

/// Nobody reads the results any more.
#[derive(Debug, thiserror::Error)]
#[error("the results cannot be written")]
pub(crate) struct ResultsUnwanted(#[source] pub(crate) io::Error);

impl Failure {
    /// A failure of the user's request itself, with what to do instead.
    pub(crate) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            diagnostic: Some(Diagnostic::error(code, message)),
            code: 1,
        }
    }

    /// Adds what to do next.
    #[must_use]
    pub(crate) fn help(mut self, text: impl Into<String>) -> Self {
        self.diagnostic = self.diagnostic.map(|diagnostic| diagnostic.help(text));
        self
    }

    /// The same failure with another exit code.
    #[must_use]
    pub(crate) fn with_code(self, code: u8) -> Self {
        Self { code, ..self }
    }

    /// What happened and why, on one line.
    pub(crate) fn reason(&self) -> String {
        self.diagnostic.as_ref().map(with_causes).unwrap_or_default()
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.code)
    }
}

impl<E: Error + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        let error: &(dyn Error + 'static) = &error;
        if let Some(ResultsUnwanted(cause)) = error.downcast_ref()
            && cause.kind() == io::ErrorKind::BrokenPipe
        {
            // As a program that does not know better ends, killed by SIGPIPE.
            return Self {
                diagnostic: None,
                code: 128 + 13,
            };
        }
        Self {
            diagnostic: Some(diagnostic(error)),
            code: 1,
        }
    }
}

/// Everything that is known about an error.
pub(crate) fn diagnostic(error: &(dyn Error + 'static)) -> Diagnostic {
    if let Some(diagnostic) = error.downcast_ref::<Diagnostic>() {
        return diagnostic.clone();
    }
    let chain = chain(error);
    let mut diagnostic = Diagnostic::error(code(&chain), message(chain[0]));
    let mut said = diagnostic.message.clone();
    for cause in &chain {
        if let Some(flaw) = cause.downcast_ref::<Flaw>() {
            let source = Source::new(flaw.path().display().to_string(), flaw.text());
            diagnostic = diagnostic.label(source.span(flaw.span()), flaw.message());
            said.push_str(&cause.to_string());
            continue;
        }
        // Many texts end with their cause's; nobody wants to read it twice.
        let text = cause.to_string();
        if !said.contains(&text) {
            said.push_str(&text);
            diagnostic.causes.push(text);
        }
    }
    for help in chain.iter().filter_map(|cause| help(*cause)) {
        if !diagnostic.help.contains(&help) {
            diagnostic = diagnostic.help(help);
        }
    }
    diagnostic
}

/// Everything that is known about an error as a sentence, for where nothing can be drawn; what to do about it follows
/// on lines of its own.
pub(crate) fn sentence(error: &(dyn Error + 'static)) -> String {
    let diagnostic = diagnostic(error);
    let help = diagnostic.help.iter().map(|help| format!("\n  help: {help}"));
    with_causes(&diagnostic) + &help.collect::<String>()
}

fn with_causes(diagnostic: &Diagnostic) -> String {
    let texts: Vec<String> = std::iter::once(diagnostic.to_string())
        .chain(diagnostic.causes.clone())
        .collect();
    texts.join(": ")
}

/// A flaw's place is drawn, so its message needs no place of its own.
fn message(error: &(dyn Error + 'static)) -> String {
    match error.downcast_ref::<Flaw>() {
        Some(flaw) => flaw.message().to_owned(),
        None => error.to_string(),
    }
}

/// An error and what is beneath it, nearest first; of errors that only pass another one on, that one. Of what an
/// HTTP client has to say, only the last is news.
fn chain<'a>(error: &'a (dyn Error + 'static)) -> Vec<&'a (dyn Error + 'static)> {
    let mut chain: Vec<_> =
        std::iter::successors(Some(behind(error)), |&error| Error::source(error).map(behind)).collect();
    let is_unreachable = |error: &&(dyn Error + 'static)| {
        matches!(error.downcast_ref(), Some(RegistryError::Unreachable { .. }))
    };
    if let Some(position) = chain.iter().position(is_unreachable)
        && let Some(innermost) = chain.len().checked_sub(1)
        && innermost > position
    {
        chain.drain(position + 1..innermost);
    }
    chain
}

/// A transparent variant has the text and the causes of the error in it, but is not that error. This is.
fn behind<'a>(error: &'a (dyn Error + 'static)) -> &'a (dyn Error + 'static) {
    /// Goes on with what is in one of the variants.
    macro_rules! pass_through {
        ($($type:ident: $($variant:ident)|+;)+) => {$($(
            if let Some($type::$variant(inner)) = error.downcast_ref() {
                return behind(inner);
            }
        )+)+};
    }
    pass_through! {
        BuilderError: Flaw | Transfer | Store | Layer;
        AnalyzeError: Images | File;
        DetectError: File | Module;
        RestoreError: File;
        BuildError: File | Module;
        ExportError: Images | Layer | File;
        RebaseError: Label | Images | File;
        CreateError: Analyze | Detect | Restore | Build | Export;
        ImagesError: File | Transfer;
        ModuleError: File | Api;
        FileError: Io | Flaw;
        StoreError: Transfer | Layer;
    }
    match error.downcast_ref() {
        // It only says that the store failed.
        Some(TransferError {
            cause: Some(cause), ..
        }) if cause.is::<StoreError>() => behind(&**cause),
        _ => error,
    }
}

/// The stable name of this kind of failure.
fn code(chain: &[&(dyn Error + 'static)]) -> &'static str {
    let of = |error: &&(dyn Error + 'static)| {
        if error.is::<Flaw>() {
            return Some("document");
        }
        if let Some(StoreError::NoImage { .. }) = error.downcast_ref() {
            return Some("not-found");
        }
        let transfer = error.downcast_ref::<TransferError>()?;
        Some(match transfer.kind {
            TransferErrorKind::NotFound => "not-found",
            TransferErrorKind::NoPlatform => "no-platform",
            TransferErrorKind::Unauthorized => "unauthorized",
            TransferErrorKind::Unavailable => "unavailable",
            TransferErrorKind::Corrupt => "corrupt",
            TransferErrorKind::Unsupported => "unsupported",
            TransferErrorKind::Local => return None,
        })
    };
    chain.iter().find_map(of).unwrap_or("failed")
}

/// What to do about an error, if there is something that usually helps.
fn help(error: &(dyn Error + 'static)) -> Option<String> {
    if let Some(transfer) = error.downcast_ref::<TransferError>() {
        return match transfer.kind {
            TransferErrorKind::Unauthorized => Some(
                "credentials are taken from CNB_REGISTRY_AUTH, then from the files that `docker login` and \
                 `podman login` write; `lifecycle doctor` shows which were found"
                    .to_owned(),
            ),
            TransferErrorKind::NoPlatform => Some("choose one of these with --platform".to_owned()),
            _ => None,
        };
    }
    if let Some(error) = error.downcast_ref::<RegistryError>() {
        return help_with_registry(error);
    }
    if let Some(StoreError::NoImage { .. }) = error.downcast_ref() {
        return Some("`lifecycle images` lists what the store has".to_owned());
    }
    let cause = error.downcast_ref::<io::Error>()?;
    matches!(
        cause.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
    .then(|| {
        format!(
            "`lifecycle cache prune` removes what the store no longer needs; --store and TMPDIR name other disks; {ROOM_IN_A_POD}"
        )
    })
}

fn help_with_registry(error: &RegistryError) -> Option<String> {
    match error {
        RegistryError::Unreachable { url, reason, .. } if reason.contains("TLS") => {
            let host = url
                .split("//")
                .nth(1)
                .unwrap_or(url)
                .split('/')
                .next()
                .unwrap_or_default();
            Some(format!(
                "a registry without TLS is reached with --insecure-registry {host}"
            ))
        }
        RegistryError::Unreachable { reason, .. } if reason.contains("certificate") => {
            Some("the certificate of a private authority is trusted with --registry-ca FILE".to_owned())
        }
        RegistryError::Status(answer) if answer.status == 429 => {
            Some("the registry limits how often it is asked; logging in usually raises the limit".to_owned())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot build: {cause}")]
    struct Outer {
        #[source]
        cause: io::Error,
    }

    #[test]
    fn a_cause_that_is_in_the_message_is_not_repeated() {
        let outer = Outer {
            cause: io::Error::other("the moon is full"),
        };
        let failure = Failure::from(outer);
        let diagnostic = failure.diagnostic.unwrap();
        assert_eq!(diagnostic.message, "cannot build: the moon is full");
        assert_eq!(diagnostic.causes, Vec::<String>::new());
    }

    #[test]
    fn a_flaw_is_pointed_at_wherever_it_is_in_the_chain() {
        let flaw = Flaw::at(
            Path::new("builder.toml"),
            "a = 1\nb = x\n",
            10..11,
            "expected a value",
        );
        for error in [
            Failure::from(flaw.clone()),
            Failure::from(BuilderError::Flaw(flaw)),
        ] {
            let diagnostic = error.diagnostic.unwrap();
            assert_eq!(diagnostic.to_string(), "builder.toml:2:5: expected a value");
            assert_eq!(diagnostic.code, "document");
        }
    }

    #[test]
    fn a_full_disk_names_the_way_out() {
        let full = TransferError::from_io("cannot write x", io::ErrorKind::StorageFull.into());
        let diagnostic = Failure::from(BuilderError::Transfer(full)).diagnostic.unwrap();
        assert!(
            diagnostic.help[0].contains("lifecycle cache prune"),
            "{:?}",
            diagnostic.help
        );
    }

    #[test]
    fn a_refusal_says_where_credentials_come_from() {
        let refused = TransferError::new(TransferErrorKind::Unauthorized, "cannot push");
        let diagnostic = Failure::from(StoreError::Transfer(refused)).diagnostic.unwrap();
        assert!(
            diagnostic.help[0].contains("CNB_REGISTRY_AUTH"),
            "{:?}",
            diagnostic.help
        );
        assert_eq!(diagnostic.code, "unauthorized");
    }

    #[test]
    fn a_reader_that_has_gone_is_no_news() {
        let failure = Failure::from(ResultsUnwanted(io::ErrorKind::BrokenPipe.into()));
        assert!(failure.diagnostic.is_none());
        assert_eq!(failure.code, 141);
    }
}
