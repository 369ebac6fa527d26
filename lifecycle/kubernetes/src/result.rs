//! What a build made, as its pod says it: the termination message of the last step (JC-23).

use serde::{Deserialize, Serialize};

/// Kubernetes keeps so many bytes of a container's message.
pub const LONGEST_MESSAGE: usize = 4096;

/// The termination message: the image's digest and names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildResult {
    /// The digest of the manifest.
    pub digest: String,
    /// The names that point at it; the last ones are left out if the message would be too long.
    pub tags: Vec<String>,
}

impl BuildResult {
    /// The message, short enough to be kept whole.
    pub fn to_message(&self) -> String {
        let mut kept = self.clone();
        loop {
            let message = serde_json::json!({ "digest": kept.digest, "tags": kept.tags }).to_string();
            if message.len() <= LONGEST_MESSAGE || kept.tags.pop().is_none() {
                return message;
            }
        }
    }

    /// Reads a message; `None` if it is not one of ours.
    pub fn of_message(message: &str) -> Option<Self> {
        serde_json::from_str(message.trim()).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_is_json_and_fits_jc_23() {
        let result = BuildResult {
            digest: format!("sha256:{}", "a".repeat(64)),
            tags: (0..100)
                .map(|number| format!("r.test/{}:{number}", "x".repeat(60)))
                .collect(),
        };
        let message = result.to_message();
        assert!(message.len() <= LONGEST_MESSAGE);
        let read = BuildResult::of_message(&message).unwrap();
        assert_eq!(read.digest, result.digest);
        assert!(!read.tags.is_empty() && result.tags.starts_with(&read.tags));
        assert_eq!(BuildResult::of_message("panicked"), None);
    }
}
