//! `CNB_REGISTRY_AUTH`: a JSON object, registry → value of an `Authorization` header.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};

use super::key::normalize;
use super::{Credential, KeychainError};
use crate::Secret;

/// Base64 as found in the wild: with and without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

pub(super) fn parse(name: &str, json: &str) -> Result<BTreeMap<String, Credential>, KeychainError> {
    // Go writes a map that nobody made as null.
    let map: Option<BTreeMap<String, String>> =
        serde_json::from_str(json).map_err(|error| KeychainError::json(name, &error))?;
    map.unwrap_or_default()
        .into_iter()
        .map(|(key, value)| {
            let credential = parse_header(&value)
                .map_err(|reason| KeychainError::invalid(name, format!("the value for {key:?} {reason}")))?;
            Ok((normalize(&key), credential))
        })
        .collect()
}

fn parse_header(value: &str) -> Result<Credential, &'static str> {
    let (scheme, rest) = value
        .trim()
        .split_once(' ')
        .ok_or("is not a scheme and a value")?;
    let rest = rest.trim();
    match scheme.to_ascii_lowercase().as_str() {
        "basic" => decode_basic(rest).ok_or("is not base64 of user:password"),
        "bearer" => Ok(Credential::RegistryToken(Secret::new(rest))),
        "x-identity" => Ok(Credential::IdentityToken(Secret::new(rest))),
        _ => Err("has a scheme other than Basic, Bearer and X-Identity"),
    }
}

/// Reads base64 of `user:password`. A user called `<token>` is how helpers and old files write identity tokens.
pub(super) fn decode_basic(text: &str) -> Option<Credential> {
    let bytes = BASE64.decode(text.trim().as_bytes()).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    // Some old files end the password with NUL.
    let (username, password) = text.trim_end_matches('\0').split_once(':')?;
    Some(named(username, password))
}

/// The credential that a name and a secret stand for.
pub(super) fn named(username: &str, secret: &str) -> Credential {
    if username == "<token>" {
        return Credential::IdentityToken(Secret::new(secret));
    }
    Credential::Basic {
        username: username.to_owned(),
        password: Secret::new(secret),
    }
}
