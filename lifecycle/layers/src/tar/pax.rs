//! PAX records: `<length> <key>=<value>\n`, where the length counts itself (POSIX.1-2024, pax, "pax Extended
//! Header").

/// Where extended attributes live; star's invention, which everybody follows.
pub(super) const XATTR: &[u8] = b"SCHILY.xattr.";

/// Appends a record.
pub(super) fn put_record(out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + digits(rest);
    if rest + digits(length) != length {
        length = rest + digits(length);
    }
    out.extend_from_slice(length.to_string().as_bytes());
    out.push(b' ');
    out.extend_from_slice(key);
    out.push(b'=');
    out.extend_from_slice(value);
    out.push(b'\n');
}

fn digits(number: usize) -> usize {
    number.checked_ilog10().map_or(1, |log| log as usize + 1)
}

/// The records of a PAX header, in order. An item is `Err` where the text is no record; nothing follows it.
pub(super) fn records(mut text: &[u8]) -> impl Iterator<Item = Result<(&[u8], &[u8]), &'static str>> {
    std::iter::from_fn(move || {
        if text.is_empty() {
            return None;
        }
        let Some((key, value, rest)) = record(text) else {
            text = b"";
            return Some(Err("a PAX record is malformed"));
        };
        text = rest;
        Some(Ok((key, value)))
    })
}

fn record(text: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = text.iter().take(20).position(|&byte| byte == b' ')?;
    let length = usize::try_from(decimal(&text[..space])?).ok()?;
    let (body, rest) = (text.get(space + 1..length)?, &text[length..]);
    let body = body.strip_suffix(b"\n")?;
    let equals = body.iter().position(|&byte| byte == b'=')?;
    let (key, value) = (&body[..equals], &body[equals + 1..]);
    (!key.is_empty() && !key.contains(&0)).then_some((key, value, rest))
}

/// A decimal number without sign.
pub(super) fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0_u64, |value, &digit| match digit {
        b'0'..=b'9' => value.checked_mul(10)?.checked_add(u64::from(digit - b'0')),
        _ => None,
    })
}

/// The whole seconds of a time such as `-1.5`, rounded down.
pub(super) fn seconds(text: &[u8]) -> Option<i64> {
    let (negative, text) = match text.strip_prefix(b"-") {
        Some(text) => (true, text),
        None => (false, text),
    };
    let mut parts = text.splitn(2, |&byte| byte == b'.');
    let whole = i64::try_from(decimal(parts.next()?)?).ok()?;
    let fraction = parts.next().unwrap_or(b"");
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let beyond = negative && fraction.iter().any(|&digit| digit != b'0');
    Some(if negative { -whole } else { whole } - i64::from(beyond))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_count_themselves() {
        for size in (0..300).chain(9_970..10_010) {
            let value = vec![b'v'; size];
            let mut out = Vec::new();
            put_record(&mut out, b"path", &value);
            let all: Result<Vec<_>, _> = records(&out).collect();
            assert_eq!(all.unwrap(), [(&b"path"[..], value.as_slice())], "{size}");
        }
    }

    #[test]
    fn malformed_records_are_errors() {
        for text in [
            &b"5 a=b"[..],
            b"6 a=b\nx",
            b"7 a=b\n",
            b"6 =ab\n",
            b"5 ab\n",
            b"99999999999999999999 a=b\n",
            b"-6 a=b\n",
            b" a=b\n",
            b"0 a=b\n",
            b"2 a=b\n",
        ] {
            assert!(records(text).any(|record| record.is_err()), "{text:?}");
        }
    }

    #[test]
    fn times_round_down() {
        for (text, value) in [
            ("1", Some(1)),
            ("1.9", Some(1)),
            ("-1", Some(-1)),
            ("-1.0", Some(-1)),
            ("-1.5", Some(-2)),
            ("-0.5", Some(-1)),
            ("", None),
            (".5", None),
            ("1.x", None),
            ("1e3", None),
        ] {
            assert_eq!(seconds(text.as_bytes()), value, "{text}");
        }
    }
}
