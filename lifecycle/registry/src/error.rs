//! What can go wrong between us and a registry.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use lifecycle_image::{ImageError, LayerError, ManifestError, TransferError, TransferErrorKind};
use serde::Deserialize;

use crate::Secret;

/// What the other side did, or what kept us from asking it.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// It answered, but not what was hoped for.
    #[error("{0}")]
    Status(Box<Answer>),
    /// It could not be reached, or the connection broke.
    #[error("{method} {url} failed: {reason}")]
    Unreachable {
        /// The method of the request.
        method: String,
        /// The address, without what may be secret.
        url: String,
        /// What the failure means, in a few words.
        reason: &'static str,
        /// Whether another try may help.
        transient: bool,
        /// Nobody listens there: the address is wrong, or the registry is being started again.
        refused: bool,
        /// The HTTP client's own words.
        #[source]
        cause: Arc<reqwest::Error>,
    },
    /// It went silent.
    #[error("{method} {url} failed: {waiting_for} for {} s", after.as_secs_f32())]
    TimedOut {
        /// The method of the request.
        method: String,
        /// The address, without what may be secret.
        url: String,
        /// What did not happen.
        waiting_for: &'static str,
        /// For how long.
        after: Duration,
    },
    /// The token server did not give a token.
    #[error("cannot get a token for {registry} from {realm}")]
    Token {
        /// The registry that asked for a token.
        registry: String,
        /// The token server's address.
        realm: String,
        /// What went wrong there.
        #[source]
        cause: Box<Error>,
    },
    /// Following the registry would have shown credentials to somebody they are not for.
    #[error("{registry} asks for something unsafe: {reason}")]
    Unsafe {
        /// The registry.
        registry: String,
        /// What it asks for and why that is refused.
        reason: String,
    },
    /// The answer breaks the distribution specification.
    #[error("{url} gave an answer that cannot be used: {reason}")]
    Malformed {
        /// The address, without what may be secret.
        url: String,
        /// What is wrong with the answer.
        reason: String,
    },
    /// The bytes are not those that were asked for.
    #[error("{url} gave other content than was asked for: expected {expected}, got {actual}")]
    Mismatch {
        /// The address, without what may be secret.
        url: String,
        /// The promised digest or size.
        expected: String,
        /// What came.
        actual: String,
    },
    /// The connection ended early, again and again.
    #[error("{url} ended after {received} bytes")]
    Cut {
        /// The address, without what may be secret.
        url: String,
        /// How many bytes of the blob we have.
        received: u64,
    },
    /// A layer could not be read while it was sent.
    #[error(transparent)]
    Layer(#[from] LayerError),
    /// A document is not what it should be.
    #[error("the document {name} cannot be used")]
    Document {
        /// Its name or digest.
        name: String,
        /// What is wrong with it.
        #[source]
        cause: Arc<ImageError>,
    },
    /// What was asked for cannot be done.
    #[error("{0}")]
    Unsupported(String),
    /// The settings cannot be used.
    #[error("{0}")]
    Settings(String),
    /// The machine did not give us what we need to work: threads, sockets.
    #[error("{what}")]
    Local {
        /// What was attempted.
        what: &'static str,
        /// The system's answer.
        #[source]
        cause: Arc<io::Error>,
    },
}

/// A registry's answer that was not hoped for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The method of the request.
    pub method: String,
    /// The address, without what may be secret.
    pub url: String,
    /// The status code.
    pub status: u16,
    /// What the registry says about it.
    pub reports: Vec<Report>,
    /// How long it asks us to wait.
    pub retry_after: Option<Duration>,
    /// As whom we asked, and what to do about it.
    pub note: Option<String>,
}

/// One error of a registry's answer (OCI distribution specification, "Error Codes").
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The code, as `DENIED` or `MANIFEST_UNKNOWN`; empty when the answer was plain text.
    pub code: String,
    /// The message for people, with the detail if it is a short one.
    pub message: String,
}

/// When a failed request may be tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Again {
    /// Never: the answer would be the same.
    Never,
    /// After a pause.
    Soon,
    /// After the pause that the registry asks for.
    After(Duration),
    /// After a pause, if the registry is known to be there.
    IfPatient,
}

impl Error {
    /// Whether and when to try again.
    pub(crate) fn again(&self) -> Again {
        match self {
            Self::Status(answer) => match (answer.status, answer.retry_after) {
                (408 | 429 | 499 | 500 | 502 | 503 | 504 | 520..=524, Some(pause)) => Again::After(pause),
                (408 | 429 | 499 | 500 | 502 | 503 | 504 | 520..=524, None) => Again::Soon,
                _ => Again::Never,
            },
            Self::Unreachable { transient: true, .. } | Self::TimedOut { .. } | Self::Cut { .. } => {
                Again::Soon
            }
            Self::Unreachable { refused: true, .. } => Again::IfPatient,
            _ => Again::Never,
        }
    }

    /// The status code, if this is an answer.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Status(answer) => Some(answer.status),
            Self::Token { cause, .. } => cause.status(),
            _ => None,
        }
    }

    /// The registry says that there is no such thing.
    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, Self::Status(answer) if answer.status == 404)
    }

    /// The registry says that the tag exists and must not change. There is no code for it; these are the words
    /// that registries use.
    pub(crate) fn is_immutable_tag(&self) -> bool {
        let Self::Status(answer) = self else { return false };
        answer.reports.iter().any(|report| {
            let text = format!("{} {}", report.code, report.message).to_ascii_lowercase();
            text.contains("immutable")
        })
    }

    /// The sort of failure, as callers tell them apart.
    pub(crate) fn kind(&self) -> TransferErrorKind {
        match self {
            Self::Status(answer) => match answer.status {
                401 | 403 | 407 => TransferErrorKind::Unauthorized,
                404 => TransferErrorKind::NotFound,
                408 | 429 | 499 | 500.. => TransferErrorKind::Unavailable,
                _ => TransferErrorKind::Unsupported,
            },
            Self::Unreachable { .. } | Self::TimedOut { .. } | Self::Cut { .. } => {
                TransferErrorKind::Unavailable
            }
            Self::Token { cause, .. } => cause.kind(),
            Self::Unsafe { .. } => TransferErrorKind::Unauthorized,
            Self::Malformed { .. } | Self::Mismatch { .. } | Self::Document { .. } => {
                TransferErrorKind::Corrupt
            }
            Self::Layer(error) => TransferError::from(error.clone()).kind,
            Self::Unsupported(_) => TransferErrorKind::Unsupported,
            Self::Settings(_) | Self::Local { .. } => TransferErrorKind::Local,
        }
    }

    /// The error that callers see: what was attempted, and this as its cause.
    pub(crate) fn during(self, attempt: impl Into<String>) -> TransferError {
        TransferError::caused(self.kind(), attempt, self)
    }

    /// A document called `name` that does not parse.
    pub(crate) fn document(name: impl Into<String>, cause: impl Into<ImageError>) -> Self {
        Self::Document {
            name: name.into(),
            cause: Arc::new(cause.into()),
        }
    }

    /// The same error as a reader's.
    pub(crate) fn into_io(self) -> io::Error {
        let kind = match self.kind() {
            TransferErrorKind::NotFound => io::ErrorKind::NotFound,
            TransferErrorKind::Corrupt => io::ErrorKind::InvalidData,
            TransferErrorKind::Unsupported => io::ErrorKind::Unsupported,
            TransferErrorKind::Unauthorized => io::ErrorKind::PermissionDenied,
            TransferErrorKind::Unavailable => io::ErrorKind::ConnectionAborted,
            _ => io::ErrorKind::Other,
        };
        io::Error::new(kind, self)
    }
}

impl From<ManifestError> for Error {
    fn from(cause: ManifestError) -> Self {
        Self::document("manifest", cause)
    }
}

impl From<ImageError> for Error {
    fn from(cause: ImageError) -> Self {
        match cause {
            ImageError::Layer(error) => Self::Layer(error),
            other => Self::document("of the image", other),
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            method, url, status, ..
        } = self;
        write!(f, "{method} {url} was answered with {status}")?;
        if let Some(name) = http::StatusCode::from_u16(*status)
            .ok()
            .and_then(|status| status.canonical_reason())
        {
            write!(f, " {name}")?;
        }
        for (number, report) in self.reports.iter().enumerate() {
            write!(f, "{}{report}", if number == 0 { ": " } else { "; " })?;
        }
        if let Some(pause) = self.retry_after {
            write!(f, " (to be tried again after {} s)", pause.as_secs())?;
        }
        match &self.note {
            Some(note) => write!(f, "; {note}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.code.as_str(), self.message.as_str()) {
            ("", message) => f.write_str(message),
            (code, "") => f.write_str(code),
            (code, message) => write!(f, "{code}: {message}"),
        }
    }
}

/// Reports beyond these are cut off: they are read by people.
const MAX_REPORTS: usize = 4;
const MAX_REPORT: usize = 400;

/// What an error answer says. Registries answer JSON; what stands before them answers anything.
pub(crate) fn read_reports(body: &[u8], secrets: &[&Secret]) -> Vec<Report> {
    #[derive(Deserialize)]
    struct Body {
        #[serde(default)]
        errors: Vec<Item>,
        /// Token servers follow OAuth2 (RFC 6749, 5.2).
        #[serde(default)]
        error: Option<serde_json::Value>,
        #[serde(default)]
        error_description: Option<String>,
        /// Others just say it, one way or another.
        #[serde(default, alias = "details")]
        message: Option<String>,
    }
    #[derive(Deserialize)]
    struct Item {
        #[serde(default)]
        code: Option<serde_json::Value>,
        #[serde(default)]
        message: Option<String>,
        #[serde(default)]
        detail: Option<serde_json::Value>,
    }
    let text = |value: serde_json::Value| match value {
        serde_json::Value::Null => String::new(),
        serde_json::Value::String(text) => text,
        other => other.to_string(),
    };
    let mut reports = Vec::new();
    match serde_json::from_slice::<Body>(body) {
        Ok(body) => {
            for item in body.errors.into_iter().take(MAX_REPORTS) {
                let mut message = item.message.unwrap_or_default();
                let detail = item.detail.map(text).unwrap_or_default();
                if !detail.is_empty() && detail != "{}" && detail != message {
                    message = format!("{message} ({detail})");
                }
                reports.push((item.code.map(text).unwrap_or_default(), message));
            }
            let description = body.error_description.or(body.message).unwrap_or_default();
            let code = body.error.map(text).unwrap_or_default();
            if reports.is_empty() && !(code.is_empty() && description.is_empty()) {
                reports.push((code, description));
            }
        }
        // A page of HTML helps nobody.
        Err(_) if body.trim_ascii_start().starts_with(b"<") => {}
        Err(_) => reports.push((String::new(), String::from_utf8_lossy(body).into_owned())),
    }
    let clean = |text: String| -> String {
        let text = secrets.iter().fold(text, |text, secret| secret.scrub(text));
        let text: String = text
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        text.trim().chars().take(MAX_REPORT).collect()
    };
    reports
        .into_iter()
        .map(|(code, message)| Report {
            code: clean(code),
            message: clean(message),
        })
        .filter(|report| !(report.code.is_empty() && report.message.is_empty()))
        .collect()
}

/// Walks an error and its causes; looks into I/O errors, whose inner error is not among their causes.
pub(crate) fn find_cause<'a, T: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a T> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<T>() {
            return Some(found);
        }
        if let Some(inner) = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref)
            && let Some(found) = find_cause::<T>(inner)
        {
            return Some(found);
        }
        next = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(body: &str) -> Vec<String> {
        let secret = Secret::new("s3cr3t-token");
        read_reports(body.as_bytes(), &[&secret])
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn reports_are_read_in_every_shape() {
        for (body, expected) in [
            (
                r#"{"errors":[{"code":"DENIED","message":"no access","detail":null}]}"#,
                vec!["DENIED: no access"],
            ),
            (
                r#"{"errors":[{"code":"NAME_UNKNOWN","message":"m","detail":{"name":"a"}},{"code":42}]}"#,
                vec![r#"NAME_UNKNOWN: m ({"name":"a"})"#, "42"],
            ),
            (
                r#"{"error":"invalid_grant","error_description":"gone"}"#,
                vec!["invalid_grant: gone"],
            ),
            (r#"{"details":"incorrect username"}"#, vec!["incorrect username"]),
            ("<html>Bad gateway</html>", vec![]),
            ("slow down\r\n", vec!["slow down"]),
            ("", vec![]),
            ("{}", vec![]),
            ("[1]", vec!["[1]"]),
        ] {
            assert_eq!(shown(body), expected, "{body}");
        }
    }

    #[test]
    fn reports_hold_no_secret_and_no_control_characters() {
        let body = "{\"errors\":[{\"code\":\"UNAUTHORIZED\",\"message\":\"bad s3cr3t-token\\u001b[2J\"}]}";
        assert_eq!(shown(body), ["UNAUTHORIZED: bad *** [2J"]);
        assert!(shown(&"x".repeat(10_000))[0].len() <= MAX_REPORT);
    }

    #[test]
    fn only_what_may_pass_is_tried_again() {
        let answer = |status, retry_after| {
            Error::Status(Box::new(Answer {
                method: "GET".into(),
                url: String::new(),
                status,
                reports: Vec::new(),
                retry_after,
                note: None,
            }))
        };
        for status in [408, 429, 499, 500, 502, 503, 504, 522] {
            assert_eq!(answer(status, None).again(), Again::Soon, "{status}");
        }
        for status in [400, 401, 403, 404, 405, 409, 413, 416, 501, 505] {
            assert_eq!(answer(status, None).again(), Again::Never, "{status}");
        }
        let pause = Duration::from_secs(7);
        assert_eq!(answer(429, Some(pause)).again(), Again::After(pause));
    }
}
