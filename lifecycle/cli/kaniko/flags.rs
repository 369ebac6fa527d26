//! Flags as Go's pflag package reads them: kaniko's users write them in all its ways.
//!
//! `--name value`, `--name=value`, `-n value`, `-nvalue`, `-n=value`; switches take a value only after `=`, and several of
//! one letter may share a dash. Flags and other arguments may be mixed; after `--` there are no flags.

use super::settings::Settings;
use super::table::{Flag, Kind};

/// The command line cannot be used. The texts are pflag's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum FlagError {
    /// `-h` or `--help`: no error, but no build either.
    #[error("help requested")]
    Help,
    #[error("unknown flag: --{0}")]
    Unknown(String),
    #[error("unknown shorthand flag: {letter:?} in -{group}")]
    UnknownLetter { letter: char, group: String },
    #[error("bad flag syntax: {0}")]
    Syntax(String),
    #[error("flag needs an argument: {0}")]
    NoValue(String),
    #[error("invalid argument {value:?} for {flag:?} flag: {reason}")]
    Value {
        flag: String,
        value: String,
        reason: String,
    },
}

/// What the command line said besides what is in the settings now.
#[derive(Debug, Default)]
pub(super) struct Parsed {
    /// The flags that were given, each once.
    pub(super) given: Vec<&'static Flag>,
    /// The arguments that are no flags.
    pub(super) positionals: Vec<String>,
}

/// Reads arguments into `settings`, by the flags of `tables`.
pub(super) fn parse(
    arguments: &[String],
    tables: &[&'static [Flag]],
    settings: &mut Settings,
) -> Result<Parsed, FlagError> {
    let mut reader = Reader {
        rest: arguments,
        tables,
        settings,
        parsed: Parsed::default(),
    };
    while let Some((argument, rest)) = reader.rest.split_first() {
        reader.rest = rest;
        if argument == "--" {
            reader.parsed.positionals.extend_from_slice(rest);
            break;
        }
        match (argument.strip_prefix("--"), argument.strip_prefix('-')) {
            (Some(long), _) => reader.long(argument, long)?,
            (None, Some(letters)) if !letters.is_empty() => reader.letters(letters)?,
            _ => reader.parsed.positionals.push(argument.clone()),
        }
    }
    Ok(reader.parsed)
}

struct Reader<'a> {
    rest: &'a [String],
    tables: &'a [&'static [Flag]],
    settings: &'a mut Settings,
    parsed: Parsed,
}

impl Reader<'_> {
    fn find(&self, fits: impl Fn(&Flag) -> bool) -> Option<&'static Flag> {
        self.tables
            .iter()
            .flat_map(|table| table.iter())
            .find(|flag| fits(flag))
    }

    fn long(&mut self, argument: &str, text: &str) -> Result<(), FlagError> {
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (text, None),
        };
        if name.is_empty() || name.starts_with('-') {
            return Err(FlagError::Syntax(argument.to_owned()));
        }
        let Some(flag) = self.find(|flag| flag.name == name) else {
            return Err(match name {
                "help" => FlagError::Help,
                name => FlagError::Unknown(name.to_owned()),
            });
        };
        let value = match value {
            Some(value) => value,
            None if flag.kind == Kind::Switch => "true".to_owned(),
            None => self.next(&format!("--{name}"))?,
        };
        self.set(flag, &value)
    }

    /// One letter with its value, or any number of switches and then perhaps such a letter.
    fn letters(&mut self, group: &str) -> Result<(), FlagError> {
        let mut rest = group;
        while let Some(letter) = rest.chars().next() {
            rest = &rest[letter.len_utf8()..];
            let Some(flag) = self.find(|flag| flag.short == Some(letter)) else {
                return Err(match letter {
                    'h' => FlagError::Help,
                    letter => FlagError::UnknownLetter {
                        letter,
                        group: group.to_owned(),
                    },
                });
            };
            let value = match (rest.strip_prefix('='), flag.kind) {
                (Some(value), _) => value.to_owned(),
                (None, Kind::Switch) => {
                    self.set(flag, "true")?;
                    continue;
                }
                (None, _) if !rest.is_empty() => rest.to_owned(),
                (None, _) => self.next(&format!("{letter:?} in -{group}"))?,
            };
            return self.set(flag, &value);
        }
        Ok(())
    }

    fn next(&mut self, shown: &str) -> Result<String, FlagError> {
        let (value, rest) = self
            .rest
            .split_first()
            .ok_or_else(|| FlagError::NoValue(shown.to_owned()))?;
        self.rest = rest;
        Ok(value.clone())
    }

    fn set(&mut self, flag: &'static Flag, value: &str) -> Result<(), FlagError> {
        (flag.set)(self.settings, value).map_err(|reason| FlagError::Value {
            flag: flag.written(),
            value: value.to_owned(),
            reason,
        })?;
        if !self.parsed.given.iter().any(|given| given.name == flag.name) {
            self.parsed.given.push(flag);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::table::{EXECUTOR, LOGGING, REGISTRY};
    use super::*;

    fn read(words: &[&str]) -> Result<(Settings, Vec<String>), String> {
        let mut settings = Settings::default();
        let words: Vec<String> = words.iter().map(ToString::to_string).collect();
        let parsed = parse(&words, &[EXECUTOR, REGISTRY, LOGGING], &mut settings);
        parsed
            .map(|parsed| (settings, parsed.positionals))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn flags_are_read_as_pflag_reads_them() {
        for words in [
            &["--destination", "r/a", "--cache", "--destination=r/b"][..],
            &["-d", "r/a", "--cache=true", "-dr/b"],
            &["-d=r/a", "--cache=1", "-d", "r/b", "--"],
        ] {
            let (settings, positionals) = read(words).unwrap();
            assert_eq!(settings.destinations, ["r/a", "r/b"], "{words:?}");
            assert!(settings.cache, "{words:?}");
            assert_eq!(positionals, [""; 0], "{words:?}");
        }
        let (settings, positionals) =
            read(&["--cache", "false", "--no-push=false", "-", "--", "--cache=false"]).unwrap();
        assert!(settings.cache, "a switch takes no second word");
        assert!(!settings.no_push);
        assert_eq!(positionals, ["false", "-", "--cache=false"]);
        assert_eq!(read(&["--context="]).unwrap().0.context, "");
        assert_eq!(read(&["-f", "-c"]).unwrap().0.dockerfile, "-c");
        assert_eq!(
            read(&["--build-arg", "A=b=c,d"]).unwrap().0.build_args,
            ["A=b=c,d"]
        );
        assert_eq!(
            read(&["--target=a,b", "--target", "c"]).unwrap().0.targets,
            ["a", "b", "c"]
        );
    }

    #[test]
    fn what_is_wrong_is_said_in_pflags_words() {
        for (words, message) in [
            (&["--nonsense"][..], "unknown flag: --nonsense"),
            (&["-x"], "unknown shorthand flag: 'x' in -x"),
            (&["--destination"], "flag needs an argument: --destination"),
            (&["-d"], "flag needs an argument: 'd' in -d"),
            (&["--=x"], "bad flag syntax: --=x"),
            (&["---x"], "bad flag syntax: ---x"),
            (&["-h"], "help requested"),
            (&["--help"], "help requested"),
            (
                &["--cache=yes"],
                "invalid argument \"yes\" for \"--cache\" flag: parsing \"yes\": invalid syntax",
            ),
            (
                &["-d", "r/a", "--compression", "lzma"],
                "invalid argument \"lzma\" for \"--compression\" flag: must be either \"gzip\" or \"zstd\"",
            ),
            (
                &["--registry-certificate", "x"],
                "invalid argument \"x\" for \"--registry-certificate\" flag: expected key=value",
            ),
        ] {
            assert_eq!(read(words).unwrap_err(), message, "{words:?}");
        }
    }
}
