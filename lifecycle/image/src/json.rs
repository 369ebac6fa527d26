//! Canonical JSON.

use serde::Serialize;

/// Writes `value` as JSON with sorted keys and without white space, so that equal values have equal bytes.
///
/// # Errors
/// When the value holds a map whose keys are not strings.
pub fn canonical_json<T: Serialize>(value: &T) -> serde_json::Result<Vec<u8>> {
    // serde_json's Value keeps objects sorted unless its `preserve_order` feature is on, which it never is here.
    serde_json::to_vec(&serde_json::to_value(value)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_sorted() {
        let value: serde_json::Value = serde_json::from_str(r#"{"b":1,"a":{"d":[],"c":null}}"#).unwrap();
        assert_eq!(
            canonical_json(&value).unwrap(),
            br#"{"a":{"c":null,"d":[]},"b":1}"#
        );
    }
}
