//! The flags about registries and messages, which all tools have.

use super::super::settings::{boolean, maps, one_of, pair, tries};
use super::Effect::{Differs, Nothing, Same};
use super::Kind::{List, Number, Switch, Text};
use super::{Flag, flag, letter, push, retries, set};

/// How registries are spoken to.
pub(in super::super) const REGISTRY: &[Flag] = &[
    flag(
        "insecure",
        Switch,
        |s, v| set(&mut s.registry.insecure, boolean(v)?),
        Differs("TLS is tried first, and this machine needs no flag"),
        "Push without TLS",
    ),
    flag(
        "insecure-pull",
        Switch,
        |s, v| set(&mut s.registry.insecure_pull, boolean(v)?),
        Differs("TLS is tried first, and this machine needs no flag"),
        "Pull without TLS",
    ),
    flag(
        "skip-tls-verify",
        Switch,
        |s, v| set(&mut s.registry.skip_tls_verify, boolean(v)?),
        Same,
        "Push whatever the registry's certificate is",
    ),
    flag(
        "skip-tls-verify-pull",
        Switch,
        |s, v| set(&mut s.registry.skip_tls_verify_pull, boolean(v)?),
        Same,
        "Pull whatever the registry's certificate is",
    ),
    flag(
        "insecure-registry",
        List,
        |s, v| push(&mut s.registry.insecure_registries, v),
        Same,
        "Registry to speak to without TLS",
    ),
    flag(
        "skip-tls-verify-registry",
        List,
        |s, v| push(&mut s.registry.skip_tls_verify_registries, v),
        Same,
        "Registry whose certificate is not checked",
    ),
    flag(
        "registry-certificate",
        List,
        |s, v| push(&mut s.registry.certificates, pair(v)?),
        Same,
        "Certificate authorities of a registry: HOST=FILE",
    ),
    flag(
        "registry-client-cert",
        List,
        |s, v| push(&mut s.registry.client_certificates, pair(v)?),
        Same,
        "Our certificate for a registry: HOST=CERTIFICATE,KEY",
    ),
    flag(
        "registry-mirror",
        List,
        |s, v| push(&mut s.registry.maps, ("docker.io".to_owned(), v.to_owned())),
        Same,
        "What is asked in place of docker.io",
    ),
    flag(
        "registry-map",
        List,
        |s, v| {
            s.registry.maps.extend(maps(v)?);
            Ok(())
        },
        Differs("a part of a registry may be mapped too: host/path=mirror/path"),
        "What is asked in place of registries: ORIGIN=MIRROR[;…]",
    ),
    flag(
        "skip-default-registry-fallback",
        Switch,
        |s, v| set(&mut s.registry.skip_fallback, boolean(v)?),
        Same,
        "Do not ask the registry itself when no mirror has an image",
    ),
    flag(
        "image-download-retry",
        Number,
        |s, v| retries(s, tries(v)?),
        Differs("five tries are made anyway; a larger number raises that"),
        "Tries to download",
    ),
    flag(
        "push-retry",
        Number,
        |s, v| retries(s, tries(v)?),
        Differs("five tries are made anyway; a larger number raises that"),
        "Tries to push",
    ),
    flag(
        "push-ignore-immutable-tag-errors",
        Switch,
        |s, v| set(&mut s.registry.ignore_immutable_tags, boolean(v)?),
        Same,
        "Take it for success that a tag cannot be changed",
    ),
    flag(
        "credential-helpers",
        List,
        |s, v| {
            one_of(v, &["", "env", "google", "ecr", "acr", "gitlab"])?;
            let helpers = s.registry.credential_helpers.get_or_insert_default();
            helpers.extend((!v.is_empty()).then(|| v.to_owned()));
            Ok(())
        },
        Differs(
            "google, ecr and acr are the programs docker-credential-gcr, -ecr-login and -acr-env, if they are installed",
        ),
        "Which credential helpers to ask; empty for none",
    ),
    flag(
        "azure-container-registry-config",
        Text,
        |_, _| Ok(()),
        Nothing("docker-credential-acr-env has its configuration in the environment"),
        "File for the registry of Azure",
    ),
];

/// What is said, and how.
pub(in super::super) const LOGGING: &[Flag] = &[
    letter(
        'v',
        "verbosity",
        Text,
        |s, v| {
            one_of(
                v,
                &[
                    "trace", "debug", "info", "warn", "warning", "error", "fatal", "panic",
                ],
            )?;
            set(&mut s.log.level, v.to_owned())
        },
        Differs("trace is debug; error, fatal and panic are warn"),
        "How much is said",
    ),
    flag(
        "log-format",
        Text,
        |s, v| {
            one_of(v, &["text", "color", "json"])?;
            set(&mut s.log.format, v.to_owned())
        },
        Differs(
            "color means colours on a terminal; the fields of json are those of `lifecycle --log-format json`",
        ),
        "Form of what is said: text, color or json",
    ),
    flag(
        "log-timestamp",
        Switch,
        |s, v| set(&mut s.log.timestamps, boolean(v)?),
        Same,
        "Times in what is said",
    ),
];
