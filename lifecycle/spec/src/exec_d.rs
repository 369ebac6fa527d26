//! What a program of `exec.d` writes to descriptor 3 (cnb.md 2.16).

use std::path::Path;

use crate::document::{self, Flaw};

/// Reads the output of an `exec.d` program: variables to set, sorted by name (XCD-02).
///
/// Top-level keys with string values; anything else is an error. `program` stands for the file in messages.
pub fn read_exec_d(program: &Path, output: &[u8]) -> Result<Vec<(String, String)>, Flaw> {
    document::read(program, output, |root| {
        root.keys()
            .map(|key| {
                let usable = !key.is_empty() && !key.contains(['=', '\0']);
                let value = root.text(key)?.unwrap_or_default();
                if usable && !value.contains('\0') {
                    Ok((key.to_owned(), value.to_owned()))
                } else {
                    Err(root.fault_at(key, format!("`{key}` cannot be an environment variable")))
                }
            })
            .collect()
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::read_exec_d;

    #[test]
    fn top_level_strings_become_variables_xcd_02() {
        let read = |text: &str| read_exec_d(Path::new("exec.d/x"), text.as_bytes());
        assert_eq!(read("").unwrap(), []);
        let variables = read("B = \"two\\nlines\"\nA = \"\"\n").unwrap();
        assert_eq!(
            variables,
            [
                ("A".to_owned(), String::new()),
                ("B".to_owned(), "two\nlines".to_owned())
            ]
        );
        for (text, message) in [
            ("A = 1", "exec.d/x:1:5: `A` must be a string, not an integer"),
            ("[A]", "exec.d/x:1:1: `A` must be a string, not a table"),
            (
                "\"A=B\" = 'x'",
                "exec.d/x:1:9: `A=B` cannot be an environment variable",
            ),
            (
                "A = \"\\u0000\"",
                "exec.d/x:1:5: `A` cannot be an environment variable",
            ),
        ] {
            assert_eq!(read(text).unwrap_err().to_string(), message);
        }
    }
}
