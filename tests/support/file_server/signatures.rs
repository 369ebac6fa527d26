//! How object stores find out who asks: the signature of a request, computed again from what arrived.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

/// Who may ask, and how the store knows them.
#[derive(Debug, Clone)]
pub enum Signer {
    /// AWS Signature Version 4.
    S3 {
        key_id: &'static str,
        secret: &'static str,
        region: &'static str,
        /// The session token that has to come along.
        token: Option<&'static str>,
    },
    /// Azure's shared key.
    Azure {
        account: &'static str,
        /// In base64.
        key: &'static str,
    },
}

/// A request as it arrived.
pub(super) struct Asked<'a> {
    pub(super) method: &'a str,
    /// Path and query.
    pub(super) target: &'a str,
    /// Names in lower case.
    pub(super) headers: &'a BTreeMap<String, String>,
    pub(super) body: &'a [u8],
}

impl Signer {
    /// Whether a request is signed as it should be; else what is wrong with it.
    pub(super) fn check(&self, asked: &Asked<'_>) -> Result<(), String> {
        match self {
            Self::S3 {
                key_id,
                secret,
                region,
                token,
            } => check_s3(asked, key_id, secret, region, *token),
            Self::Azure { account, key } => check_azure(asked, account, key),
        }
    }
}

impl Asked<'_> {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(String::as_str).unwrap_or_default()
    }

    fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// Names and values of the query, decoded, sorted.
    fn query(&self) -> Vec<(String, String)> {
        let query = self.target.split_once('?').map_or("", |(_, query)| query);
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        let mut pairs: Vec<_> = pairs
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .map(|(name, value)| (decoded(name), decoded(value)))
            .collect();
        pairs.sort();
        pairs
    }
}

fn check_s3(
    asked: &Asked<'_>,
    key_id: &str,
    secret: &str,
    region: &str,
    token: Option<&str>,
) -> Result<(), String> {
    let authorization = asked.header("authorization");
    let time = asked.header("x-amz-date");
    let day = time.get(..8).ok_or("there is no x-amz-date")?;
    let scope = format!("{day}/{region}/s3/aws4_request");
    let begin = format!("AWS4-HMAC-SHA256 Credential={key_id}/{scope}, SignedHeaders=");
    let rest = authorization
        .strip_prefix(&begin)
        .ok_or_else(|| format!("{authorization:?} does not begin with {begin:?}"))?;
    let (signed, signature) = rest.split_once(", Signature=").ok_or("there is no signature")?;

    let digest = hex(&Sha256::digest(asked.body));
    if asked.header("x-amz-content-sha256") != digest {
        return Err("x-amz-content-sha256 is not the digest of the body".to_owned());
    }
    if asked.headers.get("x-amz-security-token").map(String::as_str) != token {
        return Err("it is the token of another session".to_owned());
    }
    let names: Vec<&str> = signed.split(';').collect();
    let mut needed = vec!["host", "x-amz-content-sha256", "x-amz-date"];
    needed.extend(token.map(|_| "x-amz-security-token"));
    if let Some(name) = needed.iter().find(|name| !names.contains(name)) {
        return Err(format!("{name} is not signed"));
    }
    let line = |name: &&str| format!("{name}:{}\n", asked.header(name).trim());
    let headers: String = names.iter().map(line).collect();
    let path = asked.path().split('/').map(|part| encoded(&decoded(part)));
    let query = asked.query();
    let query = query
        .iter()
        .map(|(name, value)| format!("{}={}", encoded(name), encoded(value)));
    let request = format!(
        "{}\n{}\n{}\n{headers}\n{signed}\n{digest}",
        asked.method,
        path.collect::<Vec<_>>().join("/"),
        query.collect::<Vec<_>>().join("&"),
    );
    let text = format!(
        "AWS4-HMAC-SHA256\n{time}\n{scope}\n{}",
        hex(&Sha256::digest(request.as_bytes()))
    );
    let first = hmac(format!("AWS4{secret}").as_bytes(), day.as_bytes());
    let key = [region, "s3", "aws4_request"]
        .iter()
        .fold(first, |key, part| hmac(&key, part.as_bytes()));
    compare(signature, &hex(&hmac(&key, text.as_bytes())), &request)
}

fn check_azure(asked: &Asked<'_>, account: &str, key: &str) -> Result<(), String> {
    let begin = format!("SharedKey {account}:");
    let signature = asked
        .header("authorization")
        .strip_prefix(&begin)
        .ok_or_else(|| {
            format!(
                "{:?} does not begin with {begin:?}",
                asked.header("authorization")
            )
        })?;
    let is_dated = ["date", "x-ms-date"]
        .iter()
        .any(|name| !asked.header(name).is_empty());
    if !is_dated || asked.header("x-ms-version").is_empty() {
        return Err("a date and x-ms-version have to be there".to_owned());
    }
    let mut text = format!("{}\n", asked.method);
    for name in [
        "content-encoding",
        "content-language",
        "content-length",
        "content-md5",
        "content-type",
        "date",
        "if-modified-since",
        "if-match",
        "if-none-match",
        "if-unmodified-since",
        "range",
    ] {
        let value = asked.header(name);
        // No bytes are signed as nothing.
        let value = if name == "content-length" && value == "0" {
            ""
        } else {
            value
        };
        text.extend([value, "\n"]);
    }
    for (name, value) in asked.headers.iter().filter(|(name, _)| name.starts_with("x-ms-")) {
        text.extend([name, ":", value, "\n"]);
    }
    text.extend(["/", account, asked.path()]);
    for (name, value) in asked.query() {
        text.extend(["\n", &name.to_lowercase(), ":", &value]);
    }
    let key = STANDARD.decode(key).map_err(|error| error.to_string())?;
    compare(signature, &STANDARD.encode(hmac(&key, text.as_bytes())), &text)
}

fn compare(signature: &str, expected: &str, of: &str) -> Result<(), String> {
    if signature == expected {
        return Ok(());
    }
    Err(format!("the signature is not that of {of:?}"))
}

/// HMAC with SHA-256 (RFC 2104).
fn hmac(key: &[u8], text: &[u8]) -> Vec<u8> {
    const BLOCK: usize = 64;
    let mut block = if key.len() > BLOCK {
        Sha256::digest(key).to_vec()
    } else {
        key.to_vec()
    };
    block.resize(BLOCK, 0);
    let padded = |byte: u8| block.iter().map(|own| own ^ byte).collect::<Vec<_>>();
    let inner = Sha256::digest([&padded(0x36)[..], text].concat());
    Sha256::digest([&padded(0x5c)[..], &inner].concat()).to_vec()
}

fn hex(bytes: &[u8]) -> String {
    let digits = |byte: &u8| format!("{byte:02x}");
    bytes.iter().map(digits).collect()
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let escaped = tail.get(..2).filter(|_| *first == b'%');
        let escaped = escaped.and_then(|digits| std::str::from_utf8(digits).ok());
        let byte = escaped.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8(bytes).unwrap()
}

/// As AWS wants it: all but letters, digits and four marks.
fn encoded(text: &str) -> String {
    let one = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The second test case of RFC 4231.
    #[test]
    fn the_code_of_a_text_is_that_of_the_standard_rfc_4231() {
        assert_eq!(
            hex(&hmac(b"Jefe", b"what do ya want for nothing?")),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }
}
