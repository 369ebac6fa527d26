use std::fs;

use proptest::prelude::*;

use self::executable::write_program;
use super::*;

#[path = "../../../../tests/support/executable.rs"]
#[expect(dead_code, reason = "shared with tests that copy programs")]
mod executable;

fn basic(username: &str, password: &str) -> Credential {
    Credential::Basic {
        username: username.into(),
        password: Secret::new(password),
    }
}

fn found(keychain: &Keychain, host: &str, path: &str) -> Option<Credential> {
    keychain.find(host, path).credential
}

#[test]
fn the_map_reads_all_three_schemes_auth_01() {
    let json = r#"{
        "https://r.test/v2/": "Basic dTpwOnE=",
        "b.test": "bearer abc",
        "i.test:5000/team": "X-Identity xyz"
    }"#;
    let keychain = Keychain::default().with_map("CNB_REGISTRY_AUTH", json).unwrap();
    assert_eq!(found(&keychain, "r.test", "a"), Some(basic("u", "p:q")));
    assert_eq!(
        found(&keychain, "b.test", "a"),
        Some(Credential::RegistryToken(Secret::new("abc")))
    );
    // The reference lifecycle drops the paths of keys.
    let identity = Some(Credential::IdentityToken(Secret::new("xyz")));
    assert_eq!(found(&keychain, "i.test:5000", "other/app"), identity);
    assert_eq!(found(&keychain, "i.test", "team"), None);
    assert_eq!(found(&keychain, "r.test.evil.test", "a"), None);
    for nothing in ["{}", "null"] {
        assert!(Keychain::default().with_map("CNB_REGISTRY_AUTH", nothing).is_ok());
    }
}

#[test]
fn a_bad_map_is_an_error_that_shows_no_value() {
    for json in [
        r#"{"r.test": "Digest hunter22"}"#,
        r#"{"r.test": "hunter22"}"#,
        r#"{"r.test": "Basic hunter22!"}"#,
        r#"{"r.test": {"hunter22": 1}}"#,
        r#"["hunter22"]"#,
        r#""hunter22""#,
        "hunter22",
    ] {
        let error = Keychain::default()
            .with_map("CNB_REGISTRY_AUTH", json)
            .unwrap_err();
        let text = format!("{error} {error:?}");
        assert!(text.contains("CNB_REGISTRY_AUTH"), "{text}");
        assert!(!text.contains("hunter22"), "{text}");
    }
}

#[test]
fn the_longest_path_prefix_wins_complaint_4() {
    let json = r#"{"auths": {
        "r.test": {"auth": "aG9zdDpw"},
        "r.test/team": {"auth": "dGVhbTpw"},
        "r.test/team/app": {"username": "app", "password": "p"},
        "r.test/teamwork": {"identitytoken": "t", "auth": "eDp5"},
        "empty.test": {},
        "null.test": null
    }}"#;
    let keychain = Keychain::default().with_file_text("config.json", json).unwrap();
    for (path, user) in [
        ("other", "host"),
        ("team/x", "team"),
        ("team/app", "app"),
        ("team/app/sub", "app"),
    ] {
        assert_eq!(found(&keychain, "r.test", path), Some(basic(user, "p")), "{path}");
    }
    let identity = Some(Credential::IdentityToken(Secret::new("t")));
    assert_eq!(found(&keychain, "r.test", "teamwork"), identity);
    assert_eq!(found(&keychain, "empty.test", "a"), None);
    assert_eq!(found(&keychain, "null.test", "a"), None);
    assert_eq!(found(&keychain, "r.test:5000", "a"), None);
}

#[test]
fn the_default_registry_is_found_under_its_old_key() {
    let hub = "x"
        .parse::<lifecycle_image::Reference>()
        .unwrap()
        .registry()
        .to_owned();
    let json = format!(r#"{{"auths": {{"https://{hub}/v1/": {{"auth": "dTpw"}}}}}}"#);
    let keychain = Keychain::default().with_file_text("config.json", &json).unwrap();
    assert_eq!(found(&keychain, &hub, "library/x"), Some(basic("u", "p")));
}

#[test]
fn earlier_sources_win_and_none_is_anonymous_auth_03() {
    let keychain = Keychain::default()
        .with_map("first", r#"{"a.test": "Bearer one"}"#)
        .unwrap()
        .with_file_text(
            "second",
            r#"{"auths": {"a.test": {"auth": "dTpw"}, "b.test": {"auth": "dTpw"}}}"#,
        )
        .unwrap();
    let first = keychain.find("a.test", "x");
    assert_eq!(first.source, "first");
    assert_eq!(keychain.find("b.test", "x").source, "second");
    assert_eq!(found(&keychain, "c.test", "x"), None);
    assert!(!format!("{keychain:?}").contains("one\""), "{keychain:?}");
}

#[test]
fn files_that_are_missing_unreadable_or_broken_kb_09() {
    let directory = tempfile::tempdir().unwrap();
    let keychain = Keychain::default()
        .with_file(&directory.path().join("none.json"))
        .unwrap();
    assert_eq!(found(&keychain, "a.test", "x"), None);
    let unreadable = Keychain::default().with_file(directory.path()).unwrap_err();
    assert!(
        matches!(unreadable, KeychainError::Unreadable { .. }),
        "{unreadable}"
    );
    let broken = directory.path().join("config.json");
    fs::write(&broken, r#"{"auths": {"r.test": {"auth": 5}}}"#).unwrap();
    let error = Keychain::default().with_file(&broken).unwrap_err().to_string();
    assert!(
        error.contains("config.json") && error.contains("line 1"),
        "{error}"
    );
}

fn install(directory: &Path, name: &str, script: &str) {
    let path = directory.join(format!("docker-credential-{name}"));
    write_program(&path, &format!("#!/bin/sh\n{script}\n"));
}

#[test]
fn helpers_are_asked_and_their_failures_are_notes_auth_02() {
    let directory = tempfile::tempdir().unwrap();
    let get = r#"[ "$1" = get ] && read server; printf '{"ServerURL":"%s","Username":"%s","Secret":"s1"}' "$server" "#;
    install(directory.path(), "echo", &format!("{get} \"$server\""));
    install(directory.path(), "token", &format!("{get} '<token>'"));
    install(
        directory.path(),
        "none",
        "echo 'credentials not found in native keychain'; exit 1",
    );
    install(directory.path(), "broken", "echo hunter22; exit 1");
    install(directory.path(), "garbled", "echo hunter22");
    install(directory.path(), "slow", "exec sleep 86400");
    let json = r#"{
        "auths": {"none.test": {"auth": "dTpw"}, "slow.test": {"auth": "dTpw"}},
        "credHelpers": {
            "echo.test": "echo", "token.test": "token", "none.test": "none", "broken.test": "broken",
            "garbled.test": "garbled", "slow.test": "slow", "missing.test": "missing", "evil.test": "../evil"
        },
        "credsStore": "none"
    }"#;
    let patient_for = |limit| {
        let path = vec!["relative".into(), directory.path().to_owned()];
        let keychain = Keychain::default().with_file_text("config.json", json);
        keychain.unwrap().with_helpers(path, limit)
    };
    let keychain = patient_for(Duration::from_mins(5));
    assert_eq!(found(&keychain, "echo.test", "a"), Some(basic("echo.test", "s1")));
    let token = Some(Credential::IdentityToken(Secret::new("s1")));
    assert_eq!(found(&keychain, "token.test", "a"), token);
    let fallback = keychain.find("none.test", "a");
    assert_eq!(fallback.credential, Some(basic("u", "p")));
    assert!(fallback.notes.is_empty());
    for (host, note) in [
        ("broken.test", "failed for broken.test"),
        ("garbled.test", "not JSON"),
        ("missing.test", "not installed"),
        ("evil.test", "no program may have"),
    ] {
        let found = keychain.find(host, "a");
        assert_eq!(found.credential, None, "{host}");
        assert!(found.notes[0].contains(note), "{host}: {:?}", found.notes);
        assert!(!found.notes[0].contains("hunter22"));
    }
    let found = patient_for(Duration::from_millis(200)).find("slow.test", "a");
    assert_eq!(found.credential, Some(basic("u", "p")));
    assert!(found.notes[0].contains("did not answer"), "{:?}", found.notes);
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused_without_showing_it(text in "\\PC{0,60}") {
        let json = serde_json::json!({"auths": {"r.test": {"auth": text}}}).to_string();
        if let Err(error) = Keychain::default().with_file_text("f", &json) {
            prop_assert!(!error.to_string().contains(&text) || text.len() < 4);
        }
        drop(Keychain::default().with_file_text("f", &text));
        drop(Keychain::default().with_map("f", &text));
    }

    #[test]
    fn what_is_stored_for_a_registry_is_found(host in "[a-z]{1,8}\\.test(:[1-9][0-9]{0,3})?", user in "[^:\\x00-\\x1f<]{1,12}", password in "\\PC{1,20}") {
        use base64::Engine as _;
        let auth = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
        for key in [host.clone(), format!("https://{host}"), format!("http://{host}/v2/")] {
            let json = serde_json::json!({"auths": {key: {"auth": auth}}}).to_string();
            let keychain = Keychain::default().with_file_text("f", &json).unwrap();
            prop_assert_eq!(found(&keychain, &host, "a/b"), Some(basic(&user, &password)));
        }
    }
}
