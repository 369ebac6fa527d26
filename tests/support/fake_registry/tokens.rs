//! Who is let in, and the token server.

use std::collections::BTreeMap;

use super::routes::error;
use super::wire::Answer;
use super::{Auth, State};

impl State {
    /// What keeps a request out, if anything does.
    pub(super) fn refuse(
        &self,
        method: &str,
        route: &str,
        query: &[(String, String)],
        headers: &BTreeMap<String, String>,
    ) -> Option<Answer> {
        let sent = headers.get("authorization");
        let unauthorized = |challenge: String| {
            Some(error(401, "UNAUTHORIZED", "authentication required").header("WWW-Authenticate", challenge))
        };
        match &self.options.auth {
            Auth::Nobody => None,
            Auth::Basic(user, password) if sent == Some(&basic(user, password)) => None,
            Auth::Basic(..) => unauthorized("Basic realm=\"fake\"".to_owned()),
            Auth::Token(tokens) => {
                let markers = ["/blobs/", "/manifests/", "/tags/", "/referrers/"];
                let repository = markers
                    .iter()
                    .find_map(|marker| route.split_once(marker))
                    .map_or("", |found| found.0);
                let mut wanted = match method {
                    _ if repository.is_empty() => Vec::new(),
                    "GET" | "HEAD" if !route.contains("/uploads/") => {
                        vec![format!("repository:{repository}:pull")]
                    }
                    "DELETE" if !route.contains("/uploads/") => {
                        vec![format!("repository:{repository}:delete")]
                    }
                    _ => vec![format!("repository:{repository}:push")],
                };
                if let Some((_, from)) = query.iter().find(|(name, _)| name == "from") {
                    wanted.push(format!("repository:{from}:pull"));
                }
                let granted = sent
                    .and_then(|sent| sent.strip_prefix("Bearer "))
                    .and_then(|token| self.tokens.get(token));
                if granted.is_some_and(|granted| wanted.iter().all(|scope| granted.contains(scope))) {
                    return None;
                }
                let realm = tokens
                    .realm
                    .clone()
                    .unwrap_or_else(|| format!("http://{}/token", self.host));
                let scope = wanted
                    .first()
                    .map(|scope| format!(",scope=\"{}\"", scope.replace(":push", ":pull,push")));
                let scope = scope.unwrap_or_default();
                unauthorized(format!("Bearer realm=\"{realm}\",service=\"fake\"{scope}"))
            }
        }
    }

    pub(super) fn give_token(
        &mut self,
        method: &str,
        query: &[(String, String)],
        headers: &BTreeMap<String, String>,
        body: &[u8],
    ) -> Answer {
        let Auth::Token(tokens) = self.options.auth.clone() else {
            return error(404, "NOT_FOUND", "no token server here");
        };
        let form = fields(std::str::from_utf8(body).unwrap());
        let given = |name: &str| {
            form.iter()
                .find(|(field, _)| field == name)
                .map(|(_, value)| value.clone())
        };
        let sent = headers.get("authorization").cloned();
        let known = match (method, &sent) {
            ("POST", _) => {
                given("grant_type").as_deref() == Some("refresh_token")
                    && tokens.refresh.is_some()
                    && given("refresh_token") == tokens.refresh
            }
            (_, Some(sent)) => tokens
                .user
                .as_ref()
                .is_some_and(|(user, password)| *sent == basic(user, password)),
            (_, None) => false,
        };
        let anonymous = method == "GET" && sent.is_none() && tokens.anonymous;
        if !known && !anonymous {
            return error(401, "UNAUTHORIZED", "incorrect username or password");
        }
        let asked = query.iter().chain(&form).filter(|(name, _)| name == "scope");
        let mut granted = Vec::new();
        for scope in asked.flat_map(|(_, scopes)| scopes.split(' ')) {
            let (resource, actions) = scope.rsplit_once(':').unwrap();
            if tokens
                .forbidden
                .iter()
                .any(|name| resource.ends_with(name.as_str()))
            {
                continue;
            }
            let allowed = |action: &&str| known || *action == "pull";
            granted.extend(
                actions
                    .split(',')
                    .filter(allowed)
                    .map(|action| format!("{resource}:{action}")),
            );
        }
        self.counter += 1;
        let token = format!("token-{}", self.counter);
        self.tokens.insert(token.clone(), granted);
        let key = if method == "POST" { "access_token" } else { "token" };
        let lifetime = tokens.lifetime.max(1);
        Answer::new(200).body(format!(r#"{{"{key}":"{token}","expires_in":{lifetime}}}"#))
    }
}

/// Query or form fields, decoded.
pub(super) fn fields(text: &str) -> Vec<(String, String)> {
    let decode = |text: &str| {
        let mut bytes = Vec::new();
        let mut rest = text.bytes();
        while let Some(byte) = rest.next() {
            bytes.push(match byte {
                b'+' => b' ',
                b'%' => {
                    let digits = [rest.next().unwrap(), rest.next().unwrap()];
                    u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
                }
                other => other,
            });
        }
        String::from_utf8(bytes).unwrap()
    };
    let pair = |field: &str| {
        let (name, value) = field.split_once('=').unwrap_or((field, ""));
        (decode(name), decode(value))
    };
    text.split('&')
        .filter(|field| !field.is_empty())
        .map(pair)
        .collect()
}

fn basic(user: &str, password: &str) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut encoded = "Basic ".to_owned();
    for group in format!("{user}:{password}").as_bytes().chunks(3) {
        let bits = group
            .iter()
            .fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte))
            << (8 * (3 - group.len()));
        for place in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * place)) as usize & 63];
            encoded.push(if place <= group.len() {
                char::from(digit)
            } else {
                '='
            });
        }
    }
    encoded
}
