//! docker's `config.json` and podman's `auth.json`.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::auth_map::{decode_basic, named};
use super::helper::Helpers;
use super::key::{Scope, normalize};
use super::{Credential, KeychainError};
use crate::Secret;

/// A file of credentials, as far as it is about credentials.
#[derive(Debug, Clone)]
pub(super) struct AuthFile {
    pub(super) name: String,
    auths: BTreeMap<String, Credential>,
    helpers: BTreeMap<String, String>,
    store: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    #[serde(default)]
    auths: Option<BTreeMap<String, Option<Entry>>>,
    #[serde(default)]
    cred_helpers: Option<BTreeMap<String, String>>,
    #[serde(default)]
    creds_store: Option<String>,
}

#[derive(Default, Deserialize)]
struct Entry {
    #[serde(default)]
    auth: Option<String>,
    #[serde(default)]
    username: Option<String>,
    #[serde(default)]
    password: Option<String>,
    #[serde(default)]
    identitytoken: Option<String>,
    #[serde(default)]
    registrytoken: Option<String>,
}

impl AuthFile {
    pub(super) fn parse(name: &str, json: &str) -> Result<Self, KeychainError> {
        let document: Document =
            serde_json::from_str(json).map_err(|error| KeychainError::json(name, &error))?;
        let mut auths = BTreeMap::new();
        for (key, entry) in document.auths.unwrap_or_default() {
            let credential = entry
                .unwrap_or_default()
                .credential()
                .map_err(|reason| KeychainError::invalid(name, format!("the entry for {key:?} {reason}")))?;
            // An empty entry is docker's note that the credential store has it.
            if let Some(credential) = credential {
                let normal = normalize(&key);
                // Of two spellings of one registry, the plain one counts.
                if key == normal || !auths.contains_key(&normal) {
                    auths.insert(normal, credential);
                }
            }
        }
        let helpers = document.cred_helpers.unwrap_or_default();
        Ok(Self {
            name: name.to_owned(),
            auths,
            helpers: helpers
                .into_iter()
                .map(|(key, helper)| (normalize(&key), helper))
                .collect(),
            store: document.creds_store.filter(|store| !store.is_empty()),
        })
    }

    /// The registry's own helper first, then the store for all, then the file itself. A helper that fails is
    /// noted and passed over: files are copied to machines that do not have the helper, and most images are public.
    pub(super) fn find(
        &self,
        scope: &Scope,
        helpers: &Helpers,
        notes: &mut Vec<String>,
    ) -> Option<Credential> {
        let own = scope.candidates().find_map(|key| self.helpers.get(key));
        for helper in own.into_iter().chain(&self.store) {
            match helpers.ask(helper, &scope.helper_key()) {
                Ok(Some(credential)) => return Some(credential),
                Ok(None) => {}
                Err(reason) => {
                    let note = format!("docker-credential-{helper}, named in {}, {reason}", self.name);
                    tracing::warn!("{note}");
                    notes.push(note);
                }
            }
        }
        scope.candidates().find_map(|key| self.auths.get(key)).cloned()
    }
}

impl Entry {
    fn credential(self) -> Result<Option<Credential>, &'static str> {
        let given = |text: Option<String>| text.filter(|text| !text.is_empty());
        if let Some(token) = given(self.registrytoken) {
            return Ok(Some(Credential::RegistryToken(Secret::new(token))));
        }
        if let Some(token) = given(self.identitytoken) {
            return Ok(Some(Credential::IdentityToken(Secret::new(token))));
        }
        if let Some(auth) = given(self.auth) {
            return decode_basic(&auth)
                .map(Some)
                .ok_or("has an `auth` that is not base64 of user:password");
        }
        Ok(match (given(self.username), given(self.password)) {
            (Some(username), Some(password)) => Some(named(&username, &password)),
            _ => None,
        })
    }
}
