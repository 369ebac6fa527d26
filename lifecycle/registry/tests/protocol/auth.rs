//! Who we are, and whom we tell.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use lifecycle_image::{Layer, TransferErrorKind};
use lifecycle_registry::{Credential, Keychain, Registry, Secret, Settings};

use crate::executable::write_program;
use crate::fake_registry::{Action, Auth, FakeRegistry, Options, Tokens};
use crate::samples::{
    FromElsewhere, QuickClock, chain, image, image_of, layer, pull, push, reference, settings, stock,
};

fn user(password: &str) -> Credential {
    Credential::Basic {
        username: "me".to_owned(),
        password: Secret::new(password),
    }
}

fn known_as(fake: &FakeRegistry, credential: Credential) -> (Registry, Arc<QuickClock>) {
    let (settings, clock) = settings();
    let keychain = Keychain::default().with_credential("the test", fake.address(), credential);
    (Registry::new(Settings { keychain, ..settings }).unwrap(), clock)
}

fn anonymous() -> Registry {
    Registry::new(settings().0).unwrap()
}

fn tokens() -> Tokens {
    Tokens {
        user: Some(("me".to_owned(), "hunter22".to_owned())),
        anonymous: true,
        lifetime: 300,
        ..Tokens::default()
    }
}

fn guarded(tokens: Tokens) -> FakeRegistry {
    FakeRegistry::start_with(Options {
        auth: Auth::Token(tokens),
        ..Options::default()
    })
}

#[test]
fn basic_authentication_is_asked_for_once_and_then_sent_along() {
    let fake = FakeRegistry::start_with(Options {
        auth: Auth::Basic("me".into(), "hunter22".into()),
        ..Options::default()
    });
    stock(&fake, "a", "t", &[b"x"]);
    let name = format!("{}/a:t", fake.address());
    let (registry, _) = known_as(&fake, user("hunter22"));
    pull(&registry, &name).unwrap();
    pull(&registry, &name).unwrap();
    let refused = fake.seen().iter().filter(|seen| seen.status == 401).count();
    assert_eq!(refused, 1, "{}", fake.log());
    // The wrong password is tried once, and the message says whose it was and not what it was.
    fake.forget();
    let (registry, _) = known_as(&fake, user("wrong-hunter"));
    let error = pull(&registry, &name).unwrap_err();
    assert_eq!(error.kind, TransferErrorKind::Unauthorized);
    let text = format!("{} {error:?}", chain(&error));
    assert!(
        text.contains("user \\\"me\\\" of the test") || text.contains("user \"me\" of the test"),
        "{text}"
    );
    assert!(!text.contains("wrong-hunter"), "{text}");
    assert_eq!(fake.seen().len(), 2, "{}", fake.log());
    let error = pull(&anonymous(), &name).unwrap_err();
    assert!(chain(&error).contains("no credentials for"), "{}", chain(&error));
}

#[test]
fn one_token_serves_many_requests_at_once() {
    let fake = guarded(tokens());
    stock(&fake, "a", "t", &[b"x"]);
    fake.rule("GET", "/token", 1, Action::Delay(Duration::from_millis(200)));
    let registry = anonymous();
    let name = format!("{}/a:t", fake.address());
    let readers: Vec<_> = (0..16)
        .map(|_| {
            let (registry, name) = (registry.clone(), name.clone());
            thread::spawn(move || pull(&registry, &name).map(drop))
        })
        .collect();
    for reader in readers {
        reader.join().unwrap().unwrap();
    }
    assert_eq!(fake.count("", "/token"), 1, "{}", fake.log());
}

#[test]
fn a_push_asks_for_one_token_and_a_mount_for_one_more() {
    let fake = guarded(tokens());
    fake.put_blob("base", b"from the base");
    let from: Arc<dyn Layer> = Arc::new(FromElsewhere {
        layer: layer(b"from the base"),
        origin: reference(&format!("{}/base", fake.address())),
    });
    let image = image_of(&[from, layer(b"own")]);
    let (registry, _) = known_as(&fake, user("hunter22"));
    let receipt = push(&registry, &image, &[&format!("{}/app:t", fake.address())]).unwrap();
    assert_eq!(receipt.mounted, 1);
    let asked: Vec<String> = fake
        .seen()
        .iter()
        .filter(|seen| seen.target.starts_with("/token"))
        .map(|seen| seen.target.clone())
        .collect();
    assert_eq!(asked.len(), 2, "{asked:?}");
    assert!(asked[0].contains("repository%3Aapp%3Apull%2Cpush"), "{asked:?}");
    assert!(asked[1].contains("repository%3Abase%3Apull"), "{asked:?}");
}

#[test]
fn who_may_not_read_the_source_sends_instead_of_mounting() {
    let fake = guarded(Tokens {
        forbidden: ["base".to_owned()].into(),
        ..tokens()
    });
    fake.put_blob("base", b"from the base");
    let from: Arc<dyn Layer> = Arc::new(FromElsewhere {
        layer: layer(b"from the base"),
        origin: reference(&format!("{}/base", fake.address())),
    });
    let (registry, _) = known_as(&fake, user("hunter22"));
    let receipt = push(
        &registry,
        &image_of(&[from]),
        &[&format!("{}/app:t", fake.address())],
    )
    .unwrap();
    assert_eq!(receipt.mounted, 0);
    assert!(receipt.sent > 0);
}

#[test]
fn tokens_expire_and_may_be_revoked() {
    let fake = guarded(tokens());
    stock(&fake, "a", "t", &[b"x"]);
    let name = format!("{}/a:t", fake.address());
    let (registry, clock) = known_as(&fake, user("hunter22"));
    pull(&registry, &name).unwrap();
    clock.pass(Duration::from_secs(280));
    pull(&registry, &name).unwrap();
    assert_eq!(fake.count("", "/token"), 1);
    // Not used in the last seconds of its life.
    clock.pass(Duration::from_secs(12));
    pull(&registry, &name).unwrap();
    assert_eq!(fake.count("", "/token"), 2);
    clock.pass(Duration::from_secs(30));
    fake.revoke_tokens();
    pull(&registry, &name).unwrap();
    assert_eq!(fake.count("", "/token"), 3);
}

#[test]
fn a_refusal_of_the_token_server_is_remembered() {
    let fake = guarded(tokens());
    stock(&fake, "a", "t", &[b"x"]);
    let name = format!("{}/a:t", fake.address());
    let (registry, clock) = known_as(&fake, user("wrong-hunter"));
    for _ in 0..20 {
        let error = pull(&registry, &name).unwrap_err();
        assert_eq!(error.kind, TransferErrorKind::Unauthorized);
        let text = chain(&error);
        for part in [
            "cannot get a token for",
            "incorrect username or password",
            "user \"me\" of the test",
        ] {
            assert!(text.contains(part), "{text}");
        }
    }
    assert_eq!(fake.count("", "/token"), 1, "{}", fake.log());
    clock.pass(Duration::from_secs(61));
    pull(&registry, &name).unwrap_err();
    assert_eq!(fake.count("", "/token"), 2);
}

#[test]
fn a_token_that_does_not_allow_enough_is_not_asked_for_again_and_again() {
    let fake = guarded(tokens());
    let registry = anonymous();
    let repository = reference(&format!("{}/a", fake.address())).repository().clone();
    for _ in 0..10 {
        let error = registry.check_write(&repository).unwrap_err();
        assert_eq!(error.kind, TransferErrorKind::Unauthorized);
    }
    assert_eq!(fake.count("", "/token"), 1, "{}", fake.log());
}

#[test]
fn a_busy_token_server_is_waited_for() {
    let fake = guarded(tokens());
    stock(&fake, "a", "t", &[b"x"]);
    fake.rule("GET", "/token", 2, Action::Answer(503, Vec::new(), Vec::new()));
    pull(&anonymous(), &format!("{}/a:t", fake.address())).unwrap();
    assert_eq!(fake.count("", "/token"), 3);
}

#[test]
fn identity_tokens_are_exchanged_by_post() {
    let fake = guarded(Tokens {
        refresh: Some("refresh & me".to_owned()),
        anonymous: false,
        ..tokens()
    });
    let (registry, _) = known_as(&fake, Credential::IdentityToken(Secret::new("refresh & me")));
    push(&registry, &image(&[b"x"]), &[&format!("{}/a:t", fake.address())]).unwrap();
    let exchange = fake
        .seen()
        .into_iter()
        .find(|seen| seen.target.starts_with("/token"))
        .unwrap();
    assert_eq!(exchange.method, "POST");
    let form = String::from_utf8(exchange.body).unwrap();
    for part in [
        "grant_type=refresh_token",
        "service=fake",
        "scope=repository%3Aa%3Apull%2Cpush",
    ] {
        assert!(form.contains(part), "{form}");
    }
    let (registry, _) = known_as(&fake, Credential::IdentityToken(Secret::new("stolen-token")));
    let error = push(&registry, &image(&[b"x"]), &[&format!("{}/a:t", fake.address())]).unwrap_err();
    assert_eq!(error.kind, TransferErrorKind::Unauthorized);
    assert!(!chain(&error).contains("stolen-token"), "{}", chain(&error));
}

#[test]
fn registry_tokens_are_sent_as_they_are() {
    let fake = guarded(tokens());
    stock(&fake, "a", "t", &[b"x"]);
    let name = format!("{}/a:t", fake.address());
    pull(&anonymous(), &name).unwrap();
    let token = fake
        .seen()
        .into_iter()
        .find_map(|seen| seen.headers.get("authorization").cloned())
        .unwrap();
    fake.forget();
    let token = token.strip_prefix("Bearer ").unwrap().to_owned();
    let map = serde_json::json!({ fake.address(): format!("Bearer {token}") }).to_string();
    let keychain = Keychain::default().with_map("CNB_REGISTRY_AUTH", &map).unwrap();
    let (settings, _) = settings();
    let registry = Registry::new(Settings { keychain, ..settings }).unwrap();
    pull(&registry, &name).unwrap();
    assert_eq!(fake.count("", "/token"), 0);
}

#[test]
fn anonymous_pulls_work_where_pushes_do_not() {
    let fake = guarded(tokens());
    stock(&fake, "a", "t", &[b"x"]);
    let registry = anonymous();
    pull(&registry, &format!("{}/a:t", fake.address())).unwrap();
    let error = push(&registry, &image(&[b"y"]), &[&format!("{}/a:u", fake.address())]).unwrap_err();
    assert_eq!(error.kind, TransferErrorKind::Unauthorized);
    let text = chain(&error);
    assert!(
        text.contains("cannot push") && text.contains("401") && text.contains("no credentials for"),
        "{text}"
    );
}

#[test]
fn a_token_that_runs_out_while_a_blob_is_sent_is_renewed() {
    let fake = guarded(tokens());
    let (registry, clock) = known_as(&fake, user("hunter22"));
    let challenge = format!(
        "Bearer realm=\"http://{}/token\",service=\"fake\"",
        fake.address()
    );
    fake.rule(
        "PUT",
        "uploads",
        1,
        Action::Answer(401, vec![("WWW-Authenticate", challenge)], Vec::new()),
    );
    push(&registry, &image(&[b"x"]), &[&format!("{}/a:t", fake.address())]).unwrap();
    assert_eq!(clock.slept().len(), 1);
}

#[test]
fn credentials_can_be_looked_up_before_they_are_needed_auth_04() {
    let directory = tempfile::tempdir().unwrap();
    let helper = directory.path().join("docker-credential-once");
    let script = "#!/bin/sh\ncat >/dev/null\necho '{\"ServerURL\":\"s\",\"Username\":\"me\",\"Secret\":\"hunter22\"}'\n";
    write_program(&helper, script);
    let fake = guarded(Tokens {
        anonymous: false,
        ..tokens()
    });
    stock(&fake, "a", "t", &[b"x"]);
    let keychain = Keychain::default()
        .with_file_text("config.json", r#"{"credsStore": "once"}"#)
        .unwrap()
        .with_helpers(vec![directory.path().to_owned()], Duration::from_mins(5));
    let (settings, _) = settings();
    let registry = Registry::new(Settings { keychain, ..settings }).unwrap();
    let name = reference(&format!("{}/a:t", fake.address()));
    registry
        .look_up_credentials(&[name.repository().clone()])
        .unwrap();
    std::fs::remove_file(&helper).unwrap();
    assert!(registry.exists(&name).unwrap());
}

/// A credential helper of the name that says this to whoever asks, and notes who asked.
fn install_helper(directory: &std::path::Path, name: &str, username: &str, secret: &str) {
    let path = directory.join(format!("docker-credential-{name}"));
    let script = format!(
        "#!/bin/sh\nread server\necho \"{name} $1 $server\" >>\"${{0%/*}}/asked\"\n\
         printf '{{\"ServerURL\":\"%s\",\"Username\":\"{username}\",\"Secret\":\"{secret}\"}}' \"$server\"\n"
    );
    write_program(&path, &script);
}

/// From the file of a Docker client to the wire: helpers of one registry, the store of all others, identity tokens.
#[test]
fn what_a_helper_gives_opens_its_own_registry_auth_02() {
    let directory = tempfile::tempdir().unwrap();
    let closed = || Tokens {
        anonymous: false,
        ..tokens()
    };
    let refreshed = || Tokens {
        refresh: Some("refresh & me".to_owned()),
        ..closed()
    };
    let (own, session, file, other) = (
        guarded(closed()),
        guarded(refreshed()),
        guarded(refreshed()),
        guarded(closed()),
    );
    install_helper(directory.path(), "own", "me", "hunter22");
    install_helper(directory.path(), "session", "<token>", "refresh & me");
    install_helper(directory.path(), "all", "me", "wr0ng-pw");
    let json = serde_json::json!({
        "auths": { file.address(): { "identitytoken": "refresh & me" } },
        "credHelpers": { own.address(): "own", session.address(): "session", file.address(): "none" },
        "credsStore": "all",
    });
    let keychain = Keychain::default()
        .with_file_text("config.json", &json.to_string())
        .unwrap()
        .with_helpers(vec![directory.path().to_owned()], Duration::from_mins(5));
    let registry = Registry::new(Settings {
        keychain,
        ..settings().0
    })
    .unwrap();
    for fake in [&own, &session] {
        push(&registry, &image(&[b"x"]), &[&format!("{}/a:t", fake.address())]).unwrap();
        pull(&registry, &format!("{}/a:t", fake.address())).unwrap();
    }
    for (fake, exchanged) in [(&own, 0), (&session, 1)] {
        let posts = fake.count("POST", "/token");
        assert!(
            posts >= exchanged && (exchanged > 0 || posts == 0),
            "{}",
            fake.log()
        );
    }
    // The store of all others says something wrong, which is told without the password.
    let error = push(&registry, &image(&[b"x"]), &[&format!("{}/a:t", other.address())]).unwrap_err();
    assert_eq!(error.kind, TransferErrorKind::Unauthorized);
    assert!(!chain(&error).contains("wr0ng-pw"), "{}", chain(&error));
    // Each was asked once, for its own registry alone.
    let asked = std::fs::read_to_string(directory.path().join("asked")).unwrap();
    let mut asked: Vec<_> = asked.lines().collect();
    asked.sort_unstable();
    assert_eq!(
        asked,
        [
            format!("all get {}", other.address()),
            format!("own get {}", own.address()),
            format!("session get {}", session.address()),
        ]
    );
}

/// The file itself may hold the identity token.
#[test]
fn an_identity_token_of_the_file_is_exchanged_auth_01() {
    let fake = guarded(Tokens {
        refresh: Some("refresh & me".to_owned()),
        anonymous: false,
        ..tokens()
    });
    for (token, opens) in [("refresh & me", true), ("stolen-token", false)] {
        let json = serde_json::json!({ "auths": { fake.address(): { "auth": "", "identitytoken": token } } });
        let keychain = Keychain::default()
            .with_file_text("config.json", &json.to_string())
            .unwrap();
        let registry = Registry::new(Settings {
            keychain,
            ..settings().0
        })
        .unwrap();
        let pushed = push(&registry, &image(&[b"x"]), &[&format!("{}/a:t", fake.address())]);
        assert_eq!(pushed.is_ok(), opens, "{token}");
    }
    assert!(fake.count("POST", "/token") >= 2);
}

/// A mirror is another registry: it is told what is known of itself, and nothing of what it mirrors.
#[test]
fn a_mirror_is_not_told_who_we_are_at_the_origin() {
    let closed = || Tokens {
        anonymous: false,
        ..tokens()
    };
    let (mirror, origin) = (guarded(closed()), guarded(closed()));
    stock(&origin, "a", "t", &[b"from the origin"]);
    stock(&mirror, "a", "t", &[b"from the mirror"]);
    let with = |known: &[&FakeRegistry]| {
        let keychain = known.iter().fold(Keychain::default(), |keychain, fake| {
            keychain.with_credential("the test", fake.address(), user("hunter22"))
        });
        let mirrors = vec![lifecycle_registry::Mirrors {
            of: origin.address().to_owned(),
            at: vec![mirror.address().to_owned()],
            fallback: true,
        }];
        Registry::new(Settings {
            keychain,
            mirrors,
            ..settings().0
        })
        .unwrap()
    };
    let name = format!("{}/a:t", origin.address());
    let first = |registry: &Registry| crate::samples::read_layer(&pull(registry, &name).unwrap(), 0).unwrap();
    assert_eq!(first(&with(&[&origin])), b"from the origin");
    let told = mirror.seen();
    assert!(!told.is_empty());
    assert!(
        told.iter()
            .all(|seen| !seen.headers.contains_key("authorization")),
        "{}",
        mirror.log()
    );
    assert_eq!(first(&with(&[&origin, &mirror])), b"from the mirror");
}
