//! Options whose value is a list of attributes: `type=registry,ref=example.com/app:cache`.

use lifecycle_dockerfile::parse_fields;

use crate::failure::Failure;

/// Attributes, each of which is taken once by whoever knows it.
#[derive(Debug)]
pub(crate) struct Attributes {
    /// The option, for messages.
    option: &'static str,
    text: String,
    pairs: Vec<(String, String)>,
    known: Vec<&'static str>,
}

impl Attributes {
    /// Reads `KEY=VALUE[,…]`. A field may stand in double quotes. A field without `=` is a flag.
    pub(crate) fn parse(option: &'static str, text: &str) -> Result<Self, Failure> {
        let fields = parse_fields(text)
            .map_err(|reason| Failure::new("attributes", format!("{option} {text}: {reason}")))?;
        let pairs = fields.into_iter().map(|field| match field.split_once('=') {
            Some((key, value)) => (key.trim().to_owned(), value.to_owned()),
            None => (field.trim().to_owned(), "true".to_owned()),
        });
        Ok(Self {
            option,
            text: text.to_owned(),
            pairs: pairs.collect(),
            known: Vec::new(),
        })
    }

    /// The value of an attribute.
    ///
    /// # Errors
    /// When it is there twice.
    pub(crate) fn take(&mut self, key: &'static str) -> Result<Option<String>, Failure> {
        let mut values = self.take_all(key);
        match values.len() {
            0 | 1 => Ok(values.pop()),
            _ => Err(self.wrong(format!("{key} is there twice"))),
        }
    }

    /// The value of an attribute that must be there.
    pub(crate) fn need(&mut self, key: &'static str) -> Result<String, Failure> {
        match self.take(key)? {
            Some(value) if !value.is_empty() => Ok(value),
            _ => Err(self.wrong(format!("{key} is missing"))),
        }
    }

    /// All values of an attribute that may be there several times.
    pub(crate) fn take_all(&mut self, key: &'static str) -> Vec<String> {
        self.known.push(key);
        let found = self
            .pairs
            .extract_if(.., |(name, _)| name.eq_ignore_ascii_case(key));
        found.map(|(_, value)| value).collect()
    }

    /// Pairs whose key begins with `prefix`, without it.
    pub(crate) fn take_prefixed(&mut self, prefix: &'static str) -> Vec<(String, String)> {
        self.known.push(prefix);
        let found = self.pairs.extract_if(.., |(name, _)| name.starts_with(prefix));
        found
            .map(|(name, value)| (name[prefix.len()..].to_owned(), value))
            .collect()
    }

    /// The value of an attribute that is true or false.
    pub(crate) fn flag(&mut self, key: &'static str) -> Result<Option<bool>, Failure> {
        match self.take(key)?.as_deref() {
            None => Ok(None),
            Some("true" | "1") => Ok(Some(true)),
            Some("false" | "0") => Ok(Some(false)),
            Some(other) => Err(self.wrong(format!("{key} is true or false, not {other:?}"))),
        }
    }

    /// An error about this option.
    pub(crate) fn wrong(&self, reason: impl std::fmt::Display) -> Failure {
        Failure::new("attributes", format!("{} {}: {reason}", self.option, self.text))
    }

    /// Nothing may be left: what is not known is not ignored.
    pub(crate) fn finish(mut self) -> Result<(), Failure> {
        let Some((name, _)) = self.pairs.first() else {
            return Ok(());
        };
        let failure = self.wrong(format!("{name:?} is not known here"));
        self.known.sort_unstable();
        Err(failure.help(format!("known are {}", self.known.join(", "))))
    }
}

/// Reads a time span: seconds, or a number with `s`, `m`, `h` or `d`.
pub(crate) fn parse_span(text: &str) -> Option<std::time::Duration> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match &text[digits.len()..] {
        "" | "s" => 1,
        "m" => 60,
        "h" => 60 * 60,
        "d" => 24 * 60 * 60,
        _ => return None,
    };
    let number: u64 = digits.parse().ok()?;
    number.checked_mul(factor).map(std::time::Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_taken_once_and_none_is_ignored() {
        let mut attributes = Attributes::parse("--output", r#"type=image,"name=a,b",push"#).unwrap();
        assert_eq!(attributes.take("type").unwrap().as_deref(), Some("image"));
        assert_eq!(attributes.need("name").unwrap(), "a,b");
        assert_eq!(attributes.flag("push").unwrap(), Some(true));
        assert!(attributes.finish().is_ok());
        let mut attributes = Attributes::parse("--output", "type=image,pusch=true").unwrap();
        attributes.take("type").unwrap();
        let failure = attributes.finish().unwrap_err();
        let diagnostic = failure.diagnostic.unwrap();
        assert_eq!(
            diagnostic.message,
            "--output type=image,pusch=true: \"pusch\" is not known here"
        );
        let mut attributes = Attributes::parse("--output", "a=1,a=2").unwrap();
        assert!(attributes.take("a").is_err());
        assert!(Attributes::parse("--output", "").is_err());
    }

    #[test]
    fn spans_have_units() {
        assert_eq!(parse_span("336h"), parse_span("14d"));
        assert_eq!(parse_span("90").unwrap().as_secs(), 90);
        for text in ["", "h", "1w", "-1h", "99999999999999999999d"] {
            assert_eq!(parse_span(text), None, "{text}");
        }
    }
}
