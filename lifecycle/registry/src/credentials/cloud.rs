//! Clouds whose registries have a credential helper of their own.

use super::Credential;
use super::helper::Helpers;

/// A cloud with registries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cloud {
    /// Container Registry and Artifact Registry: `docker-credential-gcr`.
    Google,
    /// Elastic Container Registry, private and public: `docker-credential-ecr-login`.
    Amazon,
    /// Azure Container Registry: `docker-credential-acr-env`.
    Azure,
}

impl Cloud {
    pub(super) fn helper(self) -> &'static str {
        match self {
            Self::Google => "gcr",
            Self::Amazon => "ecr-login",
            Self::Azure => "acr-env",
        }
    }

    /// Whether a host is a registry of this cloud: whole labels at the end of the name, and no port. A host that only
    /// looks like one gets no token of the cloud (kaniko O#1004).
    pub(super) fn has(self, host: &str) -> bool {
        let below = |domain: &str| {
            host.strip_suffix(domain)
                .is_some_and(|rest| rest.ends_with('.') && is_name(rest))
        };
        match self {
            Self::Google => host == "gcr.io" || below("gcr.io") || below("pkg.dev"),
            Self::Amazon => {
                let labels: Vec<&str> = host.split('.').collect();
                let account =
                    |label: &str| label.len() == 12 && label.bytes().all(|byte| byte.is_ascii_digit());
                host == "public.ecr.aws"
                    || match labels.as_slice() {
                        [id, "dkr", "ecr" | "ecr-fips", region, rest @ ..] => {
                            account(id)
                                && is_name(&format!("{region}."))
                                && matches!(rest, ["amazonaws", "com"] | ["amazonaws", "com", "cn"])
                        }
                        _ => false,
                    }
            }
            Self::Azure => ["azurecr.io", "azurecr.cn", "azurecr.de", "azurecr.us"]
                .iter()
                .any(|domain| below(domain)),
        }
    }

    pub(super) fn find(self, host: &str, helpers: &Helpers, notes: &mut Vec<String>) -> Option<Credential> {
        if !self.has(host) || !helpers.has(self.helper()) {
            return None;
        }
        helpers.ask(self.helper(), host).unwrap_or_else(|reason| {
            notes.push(format!("docker-credential-{} {reason}", self.helper()));
            None
        })
    }
}

/// Labels with a dot after each.
fn is_name(text: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    text.strip_suffix('.')
        .is_some_and(|text| text.split('.').all(label))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_of_a_cloud_go_to_its_own_registries_o_1004() {
        for (cloud, own, others) in [
            (
                Cloud::Google,
                &["gcr.io", "eu.gcr.io", "europe-docker.pkg.dev"][..],
                &[
                    "gcr.io.evil.test",
                    "evilgcr.io",
                    "pkg.dev",
                    "gcr.io:444",
                    "a@gcr.io",
                    ".gcr.io",
                    "gcr.io@evil",
                ][..],
            ),
            (
                Cloud::Amazon,
                &[
                    "public.ecr.aws",
                    "123456789012.dkr.ecr.eu-west-1.amazonaws.com",
                    "123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn",
                ],
                &[
                    "123456789012.dkr.ecr.eu-west-1.amazonaws.com.evil.test",
                    "evil.dkr.ecr.eu-west-1.amazonaws.com",
                    "123456789012.dkr.ecr.eu@evil.amazonaws.com",
                    "amazonaws.com",
                ],
            ),
            (
                Cloud::Azure,
                &["foo.azurecr.io", "foo.azurecr.cn"],
                &[
                    "foo.azurecr.io.evil.test",
                    "azurecr.io@evil",
                    "azurecr.io",
                    "fooazurecr.io",
                    "a/foo.azurecr.io",
                ],
            ),
        ] {
            for host in own {
                assert!(cloud.has(host), "{host}");
            }
            for host in others {
                assert!(!cloud.has(host), "{host}");
            }
        }
    }
}
