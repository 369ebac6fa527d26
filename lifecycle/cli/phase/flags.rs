//! Flags as Go's flag package reads them (lifecycle.md 1.1): platforms were written against that.
//!
//! `-name value`, `-name=value`, with one dash or two. Booleans take a value only after `=`. Reading stops at the
//! first argument that is no flag, and after `--`.

/// What may follow a flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Any text.
    Text,
    /// The path of a directory, made absolute.
    Directory,
    /// `true` or `false`; the flag alone is `true`.
    Boolean,
    /// A whole number, as Go writes them: `10`, `0x1f`, `0o17`.
    Number,
    /// Any text, again and again.
    List,
}

/// What the command line said.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Parsed {
    /// Flags and their values, in the order in which they were given.
    pub(super) values: Vec<(&'static str, String)>,
    /// The arguments that are no flags.
    pub(super) positionals: Vec<String>,
}

/// The command line cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum FlagError {
    /// `-h` or `-help`: no error, but no phase either.
    #[error("flag: help requested")]
    Help,
    /// A dash and nothing that could be a name.
    #[error("bad flag syntax: {0}")]
    Syntax(String),
    /// No such flag, or not in this Platform API (GEN-12).
    #[error("flag provided but not defined: -{0}")]
    Unknown(String),
    /// The value is missing.
    #[error("flag needs an argument: -{0}")]
    NoValue(String),
    /// The value of a boolean is none.
    #[error("invalid boolean value {value:?} for -{name}: parse error")]
    Boolean {
        /// The flag.
        name: String,
        /// What was given.
        value: String,
    },
    /// The value of a number is none.
    #[error("invalid value {value:?} for flag -{name}: parse error")]
    Number {
        /// The flag.
        name: String,
        /// What was given.
        value: String,
    },
}

/// Reads arguments. `define` knows the flags that there are.
pub(super) fn parse(
    arguments: &[String],
    define: impl Fn(&str) -> Option<(&'static str, Kind)>,
) -> Result<Parsed, FlagError> {
    let mut parsed = Parsed::default();
    let mut rest = arguments;
    while let Some((argument, after)) = rest.split_first() {
        let Some(text) = argument.strip_prefix('-').filter(|text| !text.is_empty()) else {
            break;
        };
        rest = after;
        if text == "-" {
            break;
        }
        let text = text.strip_prefix('-').unwrap_or(text);
        if text.is_empty() || text.starts_with(['-', '=']) {
            return Err(FlagError::Syntax(argument.clone()));
        }
        let (name, attached) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (text, None),
        };
        let Some((name, kind)) = define(name) else {
            return Err(match name {
                "h" | "help" => FlagError::Help,
                name => FlagError::Unknown(name.to_owned()),
            });
        };
        let value = match (kind, attached) {
            (Kind::Boolean, attached) => attached.unwrap_or_else(|| "true".to_owned()),
            (_, Some(value)) => value,
            (_, None) => {
                let (value, after) = rest
                    .split_first()
                    .ok_or_else(|| FlagError::NoValue(name.to_owned()))?;
                rest = after;
                value.clone()
            }
        };
        check(name, kind, &value)?;
        parsed.values.push((name, value));
    }
    parsed.positionals = rest.to_vec();
    Ok(parsed)
}

fn check(name: &str, kind: Kind, value: &str) -> Result<(), FlagError> {
    let (name, value) = (name.to_owned(), value.to_owned());
    match kind {
        // Pipelines hand on parameters that nobody set (KB-01, KB-02).
        Kind::Boolean if !value.is_empty() && boolean(&value).is_none() => {
            Err(FlagError::Boolean { name, value })
        }
        Kind::Number if !value.is_empty() && number(&value).is_none() => {
            Err(FlagError::Number { name, value })
        }
        _ => Ok(()),
    }
}

/// Go's `ParseBool`.
pub(super) fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

/// Go's `ParseInt` with base 0, for user and group ids.
pub(super) fn number(text: &str) -> Option<u32> {
    let lower = text.to_ascii_lowercase();
    let (digits, base) = match lower.as_bytes() {
        [b'0', b'x', ..] => (&lower[2..], 16),
        [b'0', b'o', ..] => (&lower[2..], 8),
        [b'0', b'b', ..] => (&lower[2..], 2),
        [b'0', _, ..] => (&lower[1..], 8),
        _ => (lower.as_str(), 10),
    };
    // `from_str_radix` would take a sign in the middle of `0x+1`.
    digits
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric())
        .then(|| u32::from_str_radix(digits, base).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_words(text: &str) -> Result<Parsed, FlagError> {
        let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        parse(&words, |name| {
            let known = [
                ("s", Kind::Text),
                ("b", Kind::Boolean),
                ("n", Kind::Number),
                ("l", Kind::List),
            ];
            known.into_iter().find(|(known, _)| *known == name)
        })
    }

    #[test]
    fn flags_are_read_as_go_reads_them_1_1() {
        type Case = (
            &'static str,
            &'static [(&'static str, &'static str)],
            &'static [&'static str],
        );
        let cases: &[Case] = &[
            ("-s v x", &[("s", "v")], &["x"]),
            ("--s v", &[("s", "v")], &[]),
            ("-s=v --s=w", &[("s", "v"), ("s", "w")], &[]),
            ("-s=", &[("s", "")], &[]),
            ("-s=a=b", &[("s", "a=b")], &[]),
            ("-b x", &[("b", "true")], &["x"]),
            ("-b=false", &[("b", "false")], &[]),
            ("-b= x", &[("b", "")], &["x"]),
            ("-l a -l b", &[("l", "a"), ("l", "b")], &[]),
            ("-n 0x10", &[("n", "0x10")], &[]),
            ("-s -b", &[("s", "-b")], &[]),
            ("x -s v", &[], &["x", "-s", "v"]),
            ("-b -- -s v", &[("b", "true")], &["-s", "v"]),
            ("- -b", &[], &["-", "-b"]),
            ("", &[], &[]),
        ];
        for (text, values, positionals) in cases {
            let parsed = parse_words(text).unwrap();
            let found: Vec<_> = parsed
                .values
                .iter()
                .map(|(name, value)| (*name, value.as_str()))
                .collect();
            assert_eq!(found, *values, "{text}");
            assert_eq!(parsed.positionals, *positionals, "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_in_gos_words() {
        for (text, message) in [
            ("-x", "flag provided but not defined: -x"),
            ("--x=1", "flag provided but not defined: -x"),
            ("-s", "flag needs an argument: -s"),
            ("---s", "bad flag syntax: ---s"),
            ("-=v", "bad flag syntax: -=v"),
            ("-b=yes", "invalid boolean value \"yes\" for -b: parse error"),
            ("-n ten", "invalid value \"ten\" for flag -n: parse error"),
            ("-h", "flag: help requested"),
            ("--help", "flag: help requested"),
        ] {
            assert_eq!(parse_words(text).unwrap_err().to_string(), message, "{text}");
        }
    }

    #[test]
    fn numbers_have_gos_bases() {
        for (text, value) in [
            ("0", Some(0)),
            ("1000", Some(1000)),
            ("0x3E8", Some(1000)),
            ("0o17", Some(15)),
            ("017", Some(15)),
            ("0b11", Some(3)),
            ("08", None),
            ("-1", None),
            ("0x+1", None),
            ("4294967296", None),
            ("", None),
        ] {
            assert_eq!(number(text), value, "{text}");
        }
    }
}
