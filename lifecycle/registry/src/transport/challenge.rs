//! `WWW-Authenticate`: how a registry wants to be told who we are (RFC 9110, section 11).

use std::collections::BTreeMap;

use http::HeaderMap;
use http::header::WWW_AUTHENTICATE;
use url::Url;

/// What a registry asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// A name and a password with each request (RFC 7617).
    Basic,
    /// A token from a token server.
    Bearer {
        /// The token server.
        realm: Url,
        /// What it knows the registry by.
        service: Option<String>,
        /// What the token should allow. Registries name what the refused request would have needed.
        scope: Option<String>,
    },
}

/// One challenge as written.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Raw {
    scheme: String,
    parameters: BTreeMap<String, String>,
}

impl Challenge {
    /// The best challenge of an answer that we can meet.
    ///
    /// # Errors
    /// The schemes that were offered instead, for a message.
    pub(crate) fn choose(headers: &HeaderMap) -> Result<Self, String> {
        let raw: Vec<Raw> = headers
            .get_all(WWW_AUTHENTICATE)
            .iter()
            .filter_map(|value| std::str::from_utf8(value.as_bytes()).ok())
            .flat_map(parse)
            .collect();
        let bearer = raw.iter().find_map(|challenge| {
            let parameters = &challenge.parameters;
            let given = |name: &str| parameters.get(name).filter(|value| !value.is_empty()).cloned();
            (challenge.scheme == "bearer")
                .then(|| given("realm")?.parse().ok())
                .flatten()
                .map(|realm| Self::Bearer {
                    realm,
                    service: given("service"),
                    scope: given("scope"),
                })
        });
        if let Some(bearer) = bearer {
            return Ok(bearer);
        }
        if raw.iter().any(|challenge| challenge.scheme == "basic") {
            return Ok(Self::Basic);
        }
        let schemes: Vec<String> = raw.into_iter().map(|challenge| challenge.scheme).collect();
        Err(if schemes.is_empty() {
            "it does not say how to authenticate".to_owned()
        } else {
            format!(
                "it wants to authenticate with {}, which is not supported or incomplete",
                schemes.join(", ")
            )
        })
    }
}

/// Splits a header into challenges. What does not follow the grammar ends the reading; what came before it counts.
fn parse(header: &str) -> Vec<Raw> {
    let mut scanner = Scanner { rest: header };
    let mut challenges: Vec<Raw> = Vec::new();
    loop {
        scanner.skip(|c| matches!(c, ' ' | '\t' | ','));
        let Some(word) = scanner.token() else {
            return challenges;
        };
        if let Some(current) = challenges.last_mut()
            && let Some(value) = scanner.value()
        {
            // A repeated parameter is an error; the first one counts, so that a second cannot replace it.
            current
                .parameters
                .entry(word.to_ascii_lowercase())
                .or_insert(value);
            continue;
        }
        challenges.push(Raw {
            scheme: word.to_ascii_lowercase(),
            parameters: BTreeMap::new(),
        });
        scanner.skip_token68();
    }
}

struct Scanner<'a> {
    rest: &'a str,
}

impl<'a> Scanner<'a> {
    fn skip(&mut self, skipped: impl Fn(char) -> bool) {
        self.rest = self.rest.trim_start_matches(skipped);
    }

    fn take(&mut self, taken: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|c| !taken(c)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word
    }

    fn token(&mut self) -> Option<&'a str> {
        let word = self.take(|c| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c));
        (!word.is_empty()).then_some(word)
    }

    /// `= value` after a parameter's name; nothing is read if there is none.
    fn value(&mut self) -> Option<String> {
        let before = self.rest;
        self.skip(|c| matches!(c, ' ' | '\t'));
        let Some(rest) = self.rest.strip_prefix('=') else {
            self.rest = before;
            return None;
        };
        self.rest = rest;
        self.skip(|c| matches!(c, ' ' | '\t'));
        match self.rest.strip_prefix('"') {
            Some(rest) => {
                self.rest = rest;
                Some(self.quoted())
            }
            // Some registries leave the quotes away from addresses, which are no tokens.
            None => Some(self.take(|c| !matches!(c, ' ' | '\t' | ',')).to_owned()),
        }
    }

    /// The rest of a quoted string; a backslash makes the next character a plain one.
    fn quoted(&mut self) -> String {
        let mut text = String::new();
        let mut characters = self.rest.char_indices();
        while let Some((place, character)) = characters.next() {
            match character {
                '"' => {
                    self.rest = &self.rest[place + 1..];
                    return text;
                }
                '\\' => text.extend(characters.next().map(|(_, escaped)| escaped)),
                other => text.push(other),
            }
        }
        self.rest = "";
        text
    }

    /// Some schemes have one opaque value instead of parameters. None of ours has.
    fn skip_token68(&mut self) {
        let before = self.rest;
        self.skip(|c| matches!(c, ' ' | '\t'));
        let word = self.take(|c| c.is_ascii_alphanumeric() || "-._~+/".contains(c));
        let padding = self.take(|c| c == '=');
        let ends = self.rest.trim_start_matches([' ', '\t']);
        let is_token68 = !word.is_empty() && (ends.is_empty() || ends.starts_with(','));
        let is_parameter = padding.len() == 1 && !ends.is_empty() && !ends.starts_with(',');
        if !is_token68 || is_parameter {
            self.rest = before;
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn choose(headers: &[&str]) -> Result<Challenge, String> {
        let mut map = HeaderMap::new();
        for header in headers {
            map.append(WWW_AUTHENTICATE, HeaderValue::from_str(header).unwrap());
        }
        Challenge::choose(&map)
    }

    fn bearer(realm: &str, service: Option<&str>, scope: Option<&str>) -> Challenge {
        Challenge::Bearer {
            realm: realm.parse().unwrap(),
            service: service.map(str::to_owned),
            scope: scope.map(str::to_owned),
        }
    }

    #[test]
    fn challenges_in_all_their_forms() {
        for (header, expected) in [
            (
                r#"Bearer realm="https://auth.test/token",service="r.test",scope="repository:a/b:pull,push""#,
                bearer(
                    "https://auth.test/token",
                    Some("r.test"),
                    Some("repository:a/b:pull,push"),
                ),
            ),
            (
                r#"bearer  Realm = "https://auth.test/t?x=\"y\"" , service=r.test"#,
                bearer("https://auth.test/t?x=\"y\"", Some("r.test"), None),
            ),
            (
                "BEARER realm=https://auth.test/t",
                bearer("https://auth.test/t", None, None),
            ),
            (r#"Basic realm="r, Bearer realm=x""#, Challenge::Basic),
            ("Basic", Challenge::Basic),
            (
                r#"Negotiate YII=, Basic realm="r", Bearer realm="https://auth.test/t""#,
                bearer("https://auth.test/t", None, None),
            ),
            (
                r#"Bearer realm="not an address", Basic realm="r""#,
                Challenge::Basic,
            ),
            (
                r#"Bearer realm="https://a.test/", realm="https://evil.test/""#,
                bearer("https://a.test/", None, None),
            ),
            (
                r#", ,Bearer realm="https://a.test/",, scope="" ,"#,
                bearer("https://a.test/", None, None),
            ),
        ] {
            assert_eq!(choose(&[header]).as_ref(), Ok(&expected), "{header}");
        }
        let two = choose(&["Basic realm=\"r\"", "Bearer realm=\"https://a.test/\""]);
        assert_eq!(two, Ok(bearer("https://a.test/", None, None)));
    }

    #[test]
    fn challenges_that_cannot_be_met_are_named() {
        assert!(choose(&[]).unwrap_err().contains("does not say"));
        assert!(choose(&["Negotiate abc=="]).unwrap_err().contains("negotiate"));
        assert!(choose(&["Bearer service=\"x\""]).unwrap_err().contains("bearer"));
    }

    fn quote(text: &str) -> String {
        format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
    }

    proptest! {
        #[test]
        fn any_header_is_read(header in "\\PC{0,80}") {
            drop(parse(&header));
        }

        #[test]
        fn quoted_values_come_back(values in proptest::collection::btree_map("[a-z]{1,8}", "[ -~]{0,20}", 1..5)) {
            let parameters: Vec<String> = values.iter().map(|(name, value)| format!("{name}={}", quote(value))).collect();
            let header = format!("Negotiate, X {}, Basic realm=\"r\"", parameters.join(", "));
            let parsed = parse(&header);
            prop_assert_eq!(parsed.len(), 3);
            prop_assert_eq!(&parsed[1].parameters, &values);
        }
    }
}
