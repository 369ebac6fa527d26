//! Paths inside an image: text with slashes, nothing to do with this machine's file system.

/// Joins `path` to `base` unless it is absolute, and resolves `.`, `..` and repeated slashes; `..` stops at the
/// root. The result is absolute and has no trailing slash.
pub(crate) fn join(base: &str, path: &str) -> String {
    let whole = if path.starts_with('/') {
        path.to_owned()
    } else {
        format!("{base}/{path}")
    };
    let mut elements: Vec<&str> = Vec::new();
    for element in whole.split('/') {
        match element {
            "" | "." => {}
            ".." => {
                elements.pop();
            }
            element => elements.push(element),
        }
    }
    format!("/{}", elements.join("/"))
}

/// Resolves `.`, `..` and repeated slashes and keeps a relative path relative; nothing becomes `.`.
pub(crate) fn clean(path: &str) -> String {
    if path.starts_with('/') {
        return join("/", path);
    }
    let mut elements: Vec<&str> = Vec::new();
    for element in path.split('/') {
        match element {
            "" | "." => {}
            ".." if elements.last().is_some_and(|last| *last != "..") => {
                elements.pop();
            }
            element => elements.push(element),
        }
    }
    if elements.is_empty() {
        ".".to_owned()
    } else {
        elements.join("/")
    }
}

/// Whether a path holds a wildcard that no backslash takes literally.
pub fn has_wildcard(path: &str) -> bool {
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'*' | b'?' | b'[' => return true,
            b'\\' => {
                bytes.next();
            }
            _ => {}
        }
    }
    false
}

/// The path a WORKDIR leads to (G10): an absolute one as written, a relative one joined and resolved, an empty one
/// the current.
pub(crate) fn working_directory(current: &str, path: &str) -> String {
    match path {
        "" if current.is_empty() => "/".to_owned(),
        "" => current.to_owned(),
        path if path.starts_with('/') => path.to_owned(),
        path => join(current, path),
    }
}

/// The destination of a COPY (H8): relative ones joined to the working directory, with the trailing `/` or `/.`
/// that makes it a directory kept.
pub(crate) fn destination(working_directory: &str, path: &str) -> String {
    let path = if path.is_empty() || path == "." {
        "./"
    } else {
        path
    };
    if path.starts_with('/') {
        return path.to_owned();
    }
    let joined = join(working_directory, path);
    match (path, joined.as_str()) {
        (path, "/") if path.ends_with("/.") => "/.".to_owned(),
        (_, "/") => joined,
        (path, _) if path.ends_with('/') => joined + "/",
        (path, _) if path.ends_with("/.") => joined + "/.",
        _ => joined,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn working_directories_join_g10() {
        for (current, path, expected) in [
            ("/", "rel", "/rel"),
            ("/rel", "../up", "/up"),
            ("/a", "/b", "/b"),
            ("/a", "", "/a"),
            ("", "a", "/a"),
            ("/", "../../x", "/x"),
        ] {
            assert_eq!(working_directory(current, path), expected);
        }
    }

    #[test]
    fn destinations_keep_their_slash_h8() {
        for (directory, path, expected) in [
            ("/w", "", "/w/"),
            ("/w", ".", "/w/"),
            ("/w", "a", "/w/a"),
            ("/w", "a/", "/w/a/"),
            ("/w", "a/.", "/w/a/."),
            ("/w", "/x/", "/x/"),
            ("/w", "..", "/"),
            ("/", ".", "/"),
            ("/", "../x", "/x"),
        ] {
            assert_eq!(destination(directory, path), expected, "{directory} {path}");
        }
    }
}
