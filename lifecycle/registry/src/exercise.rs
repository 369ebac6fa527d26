//! One function that drives every reader with one input, for fuzzers.

use std::time::SystemTime;

use http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue};

use crate::error::read_reports;
use crate::tags::next_link;
use crate::transport::{Challenge, retry_after};
use crate::{Keychain, Secret};

/// Reads `bytes` as what a registry may answer (a challenge, a pause, a link to the next page, an error report) and
/// as each kind of credentials. Whatever the input, this returns; nothing is sent and no program is started.
pub fn exercise(bytes: &[u8]) {
    read_reports(bytes, &[&Secret::new("secret")]);
    if let Ok(value) = HeaderValue::from_bytes(bytes) {
        let headers = HeaderMap::from_iter([(WWW_AUTHENTICATE, value.clone()), (RETRY_AFTER, value)]);
        Challenge::choose(&headers).ok();
        retry_after(&headers, SystemTime::UNIX_EPOCH);
    }
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    next_link(text);
    let keychains = [
        Keychain::default().with_map("map", text),
        Keychain::default().with_file_text("file", text),
    ];
    // Nobody said where helpers are, so none is found.
    for keychain in keychains.into_iter().flatten() {
        keychain.find("registry.test", "a/b");
    }
}
