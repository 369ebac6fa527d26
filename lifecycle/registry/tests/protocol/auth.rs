//! Who we are, and whom we tell.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use lifecycle_image::{Layer, TransferErrorKind};
use lifecycle_registry::{Credential, Keychain, Registry, Secret, Settings};

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
    std::fs::write(&helper, script).unwrap();
    std::fs::set_permissions(&helper, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let fake = guarded(Tokens {
        anonymous: false,
        ..tokens()
    });
    stock(&fake, "a", "t", &[b"x"]);
    let keychain = Keychain::default()
        .with_file_text("config.json", r#"{"credsStore": "once"}"#)
        .unwrap()
        .with_helpers(vec![directory.path().to_owned()], Duration::from_secs(10));
    let (settings, _) = settings();
    let registry = Registry::new(Settings { keychain, ..settings }).unwrap();
    let name = reference(&format!("{}/a:t", fake.address()));
    registry
        .look_up_credentials(&[name.repository().clone()])
        .unwrap();
    std::fs::remove_file(&helper).unwrap();
    assert!(registry.exists(&name).unwrap());
}
