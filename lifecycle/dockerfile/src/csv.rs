//! One line of comma-separated fields, as `--mount` and `--device` take it. A field may stand in double quotes, in
//! which two quotes mean one.

/// The fields of `text`.
///
/// # Errors
/// A message, when quotes do not match or there is nothing.
pub fn parse_fields(text: &str) -> Result<Vec<String>, String> {
    if text.is_empty() {
        return Err("no fields".to_owned());
    }
    let mut fields = Vec::new();
    let mut rest = text;
    loop {
        let (field, behind) = match rest.strip_prefix('"') {
            Some(quoted) => quoted_field(quoted)?,
            None => plain_field(rest)?,
        };
        fields.push(field);
        match behind {
            Some(next) => rest = next,
            None => return Ok(fields),
        }
    }
}

fn plain_field(text: &str) -> Result<(String, Option<&str>), String> {
    let (field, behind) = match text.split_once(',') {
        Some((field, behind)) => (field, Some(behind)),
        None => (text, None),
    };
    if field.contains('"') {
        return Err(format!("bare \" in {field:?}"));
    }
    Ok((field.to_owned(), behind))
}

fn quoted_field(text: &str) -> Result<(String, Option<&str>), String> {
    let mut field = String::new();
    let mut rest = text;
    loop {
        let (before, behind) = rest.split_once('"').ok_or("no closing \"")?;
        field.push_str(before);
        match behind.chars().next() {
            None => return Ok((field, None)),
            Some(',') => return Ok((field, Some(&behind[1..]))),
            Some('"') => {
                field.push('"');
                rest = &behind[1..];
            }
            Some(_) => return Err("text behind a closing \"".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::parse_fields;

    #[test]
    fn quoted_and_plain_fields() {
        assert_eq!(parse_fields("a=b,c").unwrap(), ["a=b", "c"]);
        assert_eq!(parse_fields("a,").unwrap(), ["a", ""]);
        assert_eq!(parse_fields("\"a,b\",c").unwrap(), ["a,b", "c"]);
        assert_eq!(parse_fields("\"a\"\"b\"").unwrap(), ["a\"b"]);
        for broken in ["", "a\"b", "\"a", "\"a\"b,c"] {
            assert!(parse_fields(broken).is_err(), "{broken}");
        }
    }
}
