//! The grammar of image names, as far as it decides what FROM may say. Resolving a name is somebody else's job.

/// Why a text is no image name; `None` if it is one.
pub(crate) fn fault(name: &str) -> Option<String> {
    let (rest, digest) = match name.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest)),
        None => (name, None),
    };
    if digest.is_some_and(|digest| !is_digest(digest)) {
        return Some("invalid digest".to_owned());
    }
    let (host, remainder) = split_host(rest);
    let (path, tag) = match remainder.split_once(':') {
        Some((path, tag)) => (path, Some(tag)),
        None => (remainder, None),
    };
    if path.chars().any(char::is_uppercase) {
        return Some(format!("repository name ({path}) must be lowercase"));
    }
    if tag.is_some_and(|tag| !is_tag(tag)) {
        return Some("invalid tag".to_owned());
    }
    if host.is_some_and(|host| !is_host(host)) {
        return Some("invalid registry host".to_owned());
    }
    if is_identifier(name) {
        return Some("64 hexadecimal characters are an image's identifier, not its name".to_owned());
    }
    (!path.split('/').all(is_component)).then(|| "invalid reference format".to_owned())
}

/// The first element is a host if it looks like one: with a dot or a port, `localhost`, or with upper case.
fn split_host(name: &str) -> (Option<&str>, &str) {
    match name.split_once('/') {
        Some((host, rest))
            if host == "localhost" || host.contains(['.', ':']) || host.chars().any(char::is_uppercase) =>
        {
            (Some(host), rest)
        }
        _ => (None, name),
    }
}

fn is_host(host: &str) -> bool {
    let (host, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, Some(port)),
        _ => (host, None),
    };
    if port.is_some_and(|port| port.is_empty() || !port.bytes().all(|byte| byte.is_ascii_digit())) {
        return false;
    }
    if let Some(address) = host.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')) {
        return !address.is_empty()
            && address
                .bytes()
                .all(|byte| byte.is_ascii_hexdigit() || byte == b':');
    }
    host.split('.').all(|label| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    })
}

/// Lower-case letters and digits, separated by `.`, `_`, `__` or any number of `-`.
fn is_component(text: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let mut rest = text.as_bytes();
    loop {
        let word = rest.iter().take_while(|&&byte| known(byte)).count();
        if word == 0 {
            return false;
        }
        rest = &rest[word..];
        let separator = match rest {
            [] => return true,
            [b'_', b'_', ..] => 2,
            [b'.' | b'_', ..] => 1,
            [b'-', ..] => rest.iter().take_while(|&&byte| byte == b'-').count(),
            _ => return false,
        };
        rest = &rest[separator..];
    }
}

fn is_tag(tag: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    tag.len() <= 128
        && tag.bytes().next().is_some_and(word)
        && tag.bytes().all(|byte| word(byte) || matches!(byte, b'.' | b'-'))
}

fn is_digest(digest: &str) -> bool {
    digest.split_once(':').is_some_and(|(algorithm, hex)| {
        hex.len() >= 32
            && hex.bytes().all(|byte| byte.is_ascii_hexdigit())
            && algorithm.split(['-', '_', '+', '.']).all(|part| {
                part.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic())
                    && part.bytes().all(|byte| byte.is_ascii_alphanumeric())
            })
    })
}

fn is_identifier(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|byte| matches!(byte, b'a'..=b'f' | b'0'..=b'9'))
}

#[cfg(test)]
mod tests {
    use super::fault;

    #[test]
    fn image_names() {
        let digest = format!("a@sha256:{}", "0".repeat(64));
        for name in [
            "alpine",
            "alpine:3",
            "a/b/c",
            "localhost/a",
            "host.test:5000/a/b:tag",
            "a__b",
            "a--b",
            "a.b_c-d",
            "[::1]:5000/a",
            "UPPER.test/a",
            &digest,
        ] {
            assert_eq!(fault(name), None, "{name}");
        }
        let identifier = "a".repeat(64);
        for name in [
            "",
            "Xy",
            "a/B",
            "a b",
            "a:",
            "a:b:c",
            "a///b",
            "-a",
            "a-",
            "a..b",
            "a@sha256:1",
            "a:.x",
            "/a",
            "a/",
            "$",
            "h_st.test/a",
            &identifier,
        ] {
            assert!(fault(name).is_some(), "{name}");
        }
    }
}
