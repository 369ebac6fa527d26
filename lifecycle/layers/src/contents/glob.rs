//! Patterns of slices, as Go's `filepath.Match` understands them (cnb.md SLC-01).

use crate::PackError;
use crate::contents::image_path;

/// A pattern for paths: `*` is any number of bytes other than `/`, `?` one such character, `[a-z]` and `[^a-z]`
/// classes, `\` takes a special meaning away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glob {
    /// One pattern for each name of the path.
    names: Vec<Vec<u8>>,
}

impl Glob {
    /// Reads a pattern for paths below the application directory `app`.
    ///
    /// A relative pattern is taken from there. An absolute one is taken as a path of the image and made
    /// relative first; outside of the application directory it matches nothing (cnb.md SLC-05, X-21).
    pub fn new(pattern: &str, app: impl AsRef<std::path::Path>) -> Result<Option<Self>, PackError> {
        let invalid = |reason| PackError::Pattern {
            pattern: pattern.to_owned(),
            reason,
        };
        let app = image_path(app);
        let absolute = pattern.starts_with('/');
        let Some(names) = clean(pattern) else {
            return Ok(None);
        };
        let names = if absolute {
            let above: Vec<&[u8]> = app
                .split(|&byte| byte == b'/')
                .filter(|name| !name.is_empty())
                .collect();
            if names.len() < above.len() || names.iter().zip(&above).any(|(a, b)| a != b) {
                return Ok(None);
            }
            names[above.len()..].to_vec()
        } else {
            names
        };
        for name in &names {
            check(name).map_err(invalid)?;
        }
        Ok(Some(Self { names }))
    }

    /// Whether the pattern matches a path below the application directory; the directory itself is the
    /// empty path.
    pub fn matches(&self, path: &[u8]) -> bool {
        if path.is_empty() {
            return self.names.is_empty();
        }
        let mut names = path.split(|&byte| byte == b'/');
        self.names
            .iter()
            .all(|pattern| names.next().is_some_and(|name| match_name(pattern, name)))
            && names.next().is_none()
    }
}

/// The names of a pattern, with `.` and `..` resolved; nothing if it climbs above its start.
fn clean(pattern: &str) -> Option<Vec<Vec<u8>>> {
    let mut names: Vec<Vec<u8>> = Vec::new();
    for name in pattern.split('/') {
        match name {
            "" | "." => {}
            ".." => {
                // Above the root there is only the root, above the application something else.
                if names.pop().is_none() && !pattern.starts_with('/') {
                    return None;
                }
            }
            name => names.push(name.as_bytes().to_vec()),
        }
    }
    Some(names)
}

/// Whether a name's pattern is well formed.
fn check(mut pattern: &[u8]) -> Result<(), &'static str> {
    while let Some((&first, rest)) = pattern.split_first() {
        pattern = match first {
            b'\\' => rest.get(1..).ok_or("a backslash stands at its end")?,
            b'[' => {
                class(rest, 0)
                    .ok_or("a class is not closed or has an empty range")?
                    .1
            }
            _ => rest,
        };
    }
    Ok(())
}

/// Matches one name. A star that failed to be short enough is tried one byte longer: linear in the common
/// case, and never worse than the product of both lengths.
fn match_name(pattern: &[u8], name: &[u8]) -> bool {
    let (mut pattern, mut name) = (pattern, name);
    let mut retry: Option<(&[u8], &[u8])> = None;
    loop {
        if let Some(rest) = pattern.strip_prefix(b"*") {
            retry = Some((rest, name));
            pattern = rest;
            continue;
        }
        if pattern.is_empty() && name.is_empty() {
            return true;
        }
        if let Some((rest_of_pattern, rest_of_name)) = match_one(pattern, name) {
            (pattern, name) = (rest_of_pattern, rest_of_name);
            continue;
        }
        match retry {
            Some((after_star, from)) if !from.is_empty() => {
                retry = Some((after_star, &from[1..]));
                (pattern, name) = (after_star, &from[1..]);
            }
            _ => return false,
        }
    }
}

/// Matches one character; returns what is left of pattern and name.
fn match_one<'p, 'n>(pattern: &'p [u8], name: &'n [u8]) -> Option<(&'p [u8], &'n [u8])> {
    let (&first, rest) = pattern.split_first()?;
    let (character, length) = character(name)?;
    match first {
        b'?' => Some((rest, &name[length..])),
        b'[' => {
            let (hit, rest) = class(rest, character)?;
            hit.then_some((rest, &name[length..]))
        }
        b'\\' => {
            let (&literal, rest) = rest.split_first()?;
            (name[0] == literal).then_some((rest, &name[1..]))
        }
        literal => (name[0] == literal).then_some((rest, &name[1..])),
    }
}

/// Reads a class behind its `[`: whether it holds `wanted`, and what follows its `]`.
fn class(pattern: &[u8], wanted: u32) -> Option<(bool, &[u8])> {
    let (negated, mut rest) = match pattern.strip_prefix(b"^") {
        Some(rest) => (true, rest),
        None => (false, pattern),
    };
    let mut hit = false;
    let mut ranges = 0;
    loop {
        if ranges > 0
            && let Some(rest) = rest.strip_prefix(b"]")
        {
            return Some((hit != negated, rest));
        }
        let (low, after) = class_character(rest)?;
        rest = after;
        let high = match rest.strip_prefix(b"-") {
            Some(after) => {
                let (high, after) = class_character(after)?;
                rest = after;
                high
            }
            None => low,
        };
        hit |= (low..=high).contains(&wanted);
        ranges += 1;
    }
}

fn class_character(pattern: &[u8]) -> Option<(u32, &[u8])> {
    let pattern = match pattern.first()? {
        b'-' | b']' => return None,
        b'\\' => &pattern[1..],
        _ => pattern,
    };
    let (character, length) = character(pattern)?;
    Some((character, &pattern[length..]))
}

/// The first character of some bytes and its length; a byte that is no UTF-8 stands for itself.
fn character(bytes: &[u8]) -> Option<(u32, usize)> {
    let first = *bytes.first()?;
    if first.is_ascii() {
        return Some((first.into(), 1));
    }
    let longest = &bytes[..bytes.len().min(4)];
    let valid = match std::str::from_utf8(longest) {
        Ok(text) => text,
        Err(error) => std::str::from_utf8(&longest[..error.valid_up_to()]).unwrap_or(""),
    };
    match valid.chars().next() {
        Some(character) => Some((character.into(), character.len_utf8())),
        None => Some((u32::from(char::REPLACEMENT_CHARACTER), 1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, path: &str) -> bool {
        Glob::new(pattern, "/workspace")
            .unwrap()
            .is_some_and(|glob| glob.matches(path.as_bytes()))
    }

    /// The table of Go's own documentation and tests, rewritten as facts about names.
    #[test]
    fn patterns_match_like_go_slc_01() {
        for (pattern, path, expected) in [
            ("abc", "abc", true),
            ("*", "abc", true),
            ("*c", "abc", true),
            ("a*", "a", true),
            ("a*", "ab/c", false),
            ("a*/b", "abc/b", true),
            ("a*/b", "a/c/b", false),
            ("a*b*c*d*e*/f", "axbxcxdxe/f", true),
            ("a*b*c*d*e*/f", "axbxcxdxexxx/fff", false),
            ("a*b?c*x", "abxbbxdbxebxczzx", true),
            ("a*b?c*x", "abxbbxdbxebxczzy", false),
            ("ab[c]", "abc", true),
            ("ab[b-d]", "abc", true),
            ("ab[e-g]", "abc", false),
            ("ab[^c]", "abc", false),
            ("ab[^e-g]", "abc", true),
            ("a\\*b", "a*b", true),
            ("a\\*b", "ab", false),
            ("a?b", "a☺b", true),
            ("a[^a]b", "a☺b", true),
            ("a???b", "a☺b", false),
            ("[a-ζ]*", "α", true),
            ("*[a-ζ]", "A", false),
            ("a?b", "a/b", false),
            ("[\\]a]", "]", true),
            ("[\\-x]", "-", true),
            ("[x\\-]", "z", false),
            ("*x", "xxx", true),
            (".*", ".git", true),
            ("*", ".git", true),
        ] {
            assert_eq!(matches(pattern, path), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn malformed_patterns_are_errors_slc_01() {
        for pattern in [
            "[]a]", "[-]", "[x-]", "[-x]", "[a-b-c]", "[", "[^", "[^bc", "a[", "a\\",
        ] {
            assert!(Glob::new(pattern, "/workspace").is_err(), "{pattern}");
        }
    }

    #[test]
    fn patterns_never_leave_the_application_slc_01() {
        assert!(matches("a/../b", "b"));
        assert!(matches("./a/", "a"));
        assert!(matches(".", ""));
        for pattern in ["../workspace/a", "..", "a/../../workspace"] {
            assert_eq!(Glob::new(pattern, "/workspace").unwrap(), None, "{pattern}");
        }
    }

    #[test]
    fn absolute_patterns_are_made_relative_x_21() {
        assert!(matches("/workspace/static/*", "static/a"));
        assert!(matches("/workspace", ""));
        assert!(!matches("/workspaces/static", "static"));
        assert!(!matches("/static", "static"));
        assert_eq!(Glob::new("/etc/*", "/workspace").unwrap(), None);
    }
}
