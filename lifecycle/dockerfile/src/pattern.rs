//! The small pattern language of `${name#pattern}` and its relatives (D4): `*`, `?`, and backslash before `*`, `?`,
//! `\`, `}` and `/`. Neither wildcard matches a line break.

/// A compiled pattern: runs of tokens with a `*` between each two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pattern {
    runs: Vec<Vec<Token>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    Any,
    Exactly(char),
}

/// Why a pattern cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum PatternError {
    #[error("invalid escape '\\{0}'")]
    Escape(char),
    #[error("a backslash at the end escapes nothing")]
    OpenEscape,
    #[error("longer than {LONGEST_PATTERN} characters")]
    TooLong,
}

/// Matching costs up to pattern times value; this keeps the first factor a constant.
const LONGEST_PATTERN: usize = 1024;

impl Pattern {
    pub(crate) fn parse(text: &str) -> Result<Self, PatternError> {
        let mut runs = Vec::new();
        let mut run = Vec::new();
        let mut characters = text.chars();
        let mut length = 0;
        while let Some(character) = characters.next() {
            length += 1;
            if length > LONGEST_PATTERN {
                return Err(PatternError::TooLong);
            }
            match character {
                '*' => runs.push(std::mem::take(&mut run)),
                '?' => run.push(Token::Any),
                '\\' => match characters.next() {
                    Some(escaped @ ('*' | '?' | '\\' | '}' | '/')) => run.push(Token::Exactly(escaped)),
                    Some(other) => return Err(PatternError::Escape(other)),
                    None => return Err(PatternError::OpenEscape),
                },
                other => run.push(Token::Exactly(other)),
            }
        }
        runs.push(run);
        Ok(Self { runs })
    }

    /// `value` without the shortest or longest match at its start.
    pub(crate) fn trim_start<'v>(&self, value: &'v str, longest: bool) -> &'v str {
        let characters: Vec<char> = value.chars().collect();
        match self.match_at(&characters, 0, longest) {
            Ok(end) => &value[byte_offset(value, end)..],
            Err(_) => value,
        }
    }

    /// `value` without the shortest or longest match at its end.
    pub(crate) fn trim_end<'v>(&self, value: &'v str, longest: bool) -> &'v str {
        let backwards: Vec<char> = value.chars().rev().collect();
        let runs = self
            .runs
            .iter()
            .rev()
            .map(|run| run.iter().rev().copied().collect())
            .collect();
        match (Self { runs }).match_at(&backwards, 0, longest) {
            Ok(end) => &value[..byte_offset(value, backwards.len() - end)],
            Err(_) => value,
        }
    }

    /// `value` with the first, or every, longest match replaced; `None` if the result exceeds `limit` bytes.
    pub(crate) fn replace(&self, value: &str, with: &str, every: bool, limit: usize) -> Option<String> {
        let characters: Vec<char> = value.chars().collect();
        let mut result = String::new();
        let mut copied = 0;
        let mut search = 0;
        while let Some((start, end)) = self.find(&characters, search) {
            // An empty match directly behind a match is part of it.
            if start == end && start == copied && copied > 0 {
                search = start + 1;
            } else {
                result.extend(&characters[copied..start]);
                result.push_str(with);
                copied = end;
                search = if end == start { end + 1 } else { end };
            }
            if result.len() > limit {
                return None;
            }
            if !every || search > characters.len() {
                break;
            }
        }
        result.extend(&characters[copied.min(characters.len())..]);
        (result.len() <= limit).then_some(result)
    }

    /// The leftmost longest match at or behind `from`.
    fn find(&self, value: &[char], from: usize) -> Option<(usize, usize)> {
        let mut start = from;
        while start <= value.len() {
            match self.match_at(value, start, true) {
                Ok(end) => return Some((start, end)),
                Err(retry) => start = retry,
            }
        }
        None
    }

    /// The end of the match that starts at `start`, or the next place where one could start.
    fn match_at(&self, value: &[char], start: usize, longest: bool) -> Result<usize, usize> {
        let Some((first, rest)) = self.runs.split_first() else {
            return Ok(start);
        };
        if !matches(first, value, start) {
            return Err(start + 1);
        }
        let mut at = start + first.len();
        let Some((last, middle)) = rest.split_last() else {
            return Ok(at);
        };
        for run in middle {
            // If a run is nowhere on this line, it is not there for a later start on the same line either.
            at = find_first(run, value, at).ok_or_else(|| next_line(value, at.max(start)))? + run.len();
        }
        let found = if longest {
            find_last(last, value, at)
        } else {
            find_first(last, value, at)
        };
        found
            .map(|at| at + last.len())
            .ok_or_else(|| next_line(value, at.max(start)))
    }
}

fn byte_offset(value: &str, characters: usize) -> usize {
    value
        .char_indices()
        .nth(characters)
        .map_or(value.len(), |(offset, _)| offset)
}

fn matches(run: &[Token], value: &[char], at: usize) -> bool {
    value.get(at..at + run.len()).is_some_and(|part| {
        part.iter().zip(run).all(|(&character, &token)| match token {
            Token::Any => character != '\n',
            Token::Exactly(wanted) => character == wanted,
        })
    })
}

/// The first place at or behind `from` where `run` is, with no line break before it.
fn find_first(run: &[Token], value: &[char], from: usize) -> Option<usize> {
    (from..=line_end(value, from)).find(|&at| matches(run, value, at))
}

/// The last such place.
fn find_last(run: &[Token], value: &[char], from: usize) -> Option<usize> {
    (from..=line_end(value, from))
        .rev()
        .find(|&at| matches(run, value, at))
}

fn line_end(value: &[char], from: usize) -> usize {
    value[from..]
        .iter()
        .position(|&character| character == '\n')
        .map_or(value.len(), |length| from + length)
}

fn next_line(value: &[char], from: usize) -> usize {
    line_end(value, from) + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Pattern {
        Pattern::parse(text).unwrap()
    }

    #[test]
    fn trims_shortest_and_longest_d4() {
        for (text, value, shortest, longest) in [
            ("a*b", "axbxbx", "xbx", "x"),
            ("*", "abc", "abc", ""),
            ("?", "abc", "bc", "bc"),
            ("", "abc", "abc", "abc"),
            ("*b", "aabab", "ab", ""),
            ("\\*", "*a", "a", "a"),
            ("x", "abc", "abc", "abc"),
            ("*", "a\nb", "a\nb", "\nb"),
            ("ü*", "üxyü", "xyü", ""),
        ] {
            assert_eq!(pattern(text).trim_start(value, false), shortest, "{text} {value}");
            assert_eq!(pattern(text).trim_start(value, true), longest, "{text} {value}");
        }
        assert_eq!(pattern("b*").trim_end("abxbx", false), "abx");
        assert_eq!(pattern("b*").trim_end("abxbx", true), "a");
        assert_eq!(pattern("a?\\*").trim_end("xab*", true), "x");
    }

    #[test]
    fn replaces_first_or_every_longest_match_d4() {
        for (text, value, first, every) in [
            ("b", "abcb", "aXcb", "aXcX"),
            ("b*", "abcb", "aX", "aX"),
            ("*", "abc", "X", "X"),
            ("*", "", "X", "X"),
            ("", "ab", "Xab", "XaXbX"),
            ("?", "ab", "Xb", "XX"),
            ("a*c", "abac\nabc", "X\nabc", "X\nX"),
            ("\\/", "a/b/c", "aXb/c", "aXbXc"),
        ] {
            assert_eq!(
                pattern(text).replace(value, "X", false, 100).unwrap(),
                first,
                "{text} {value}"
            );
            assert_eq!(
                pattern(text).replace(value, "X", true, 100).unwrap(),
                every,
                "{text} {value}"
            );
        }
        assert_eq!(pattern("a").replace("aaaa", "bbbb", true, 10), None);
    }

    #[test]
    fn refuses_other_escapes_d4() {
        assert_eq!(Pattern::parse("\\a"), Err(PatternError::Escape('a')));
        assert_eq!(Pattern::parse("a\\"), Err(PatternError::OpenEscape));
        assert_eq!(Pattern::parse(&"a".repeat(1025)), Err(PatternError::TooLong));
    }
}
