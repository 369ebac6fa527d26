//! Booleans as options, mount keys and queries spell them.

/// The spellings of a boolean that options and mount keys take.
pub(crate) fn parse(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}
