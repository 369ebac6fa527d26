//! Registries on a bad day: what they forget, how long they are busy, and lists without an end.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use lifecycle_image::{Digest, Layer, Sink, TransferErrorKind};
use lifecycle_registry::{Credential, Keychain, Registry, Secret, Settings};

use crate::fake_registry::{Action, Auth, FakeRegistry, Options, Tokens};
use crate::samples::{
    Making, MakingLayer, chain, image, image_of, noise, pull, push, reference, registry, settings, stock,
};

/// Somebody who sends large blobs in pieces.
fn in_pieces(piece: u64) -> Registry {
    Registry::new(Settings {
        chunk: Some(piece),
        ..settings().0
    })
    .unwrap()
}

#[test]
fn an_upload_that_a_registry_forgets_between_two_pieces_begins_anew() {
    let gone = br#"{"errors":[{"code":"BLOB_UPLOAD_UNKNOWN","message":"upload unknown"}]}"#;
    let fake = FakeRegistry::start();
    let content = noise(1, 1_000_000);
    let answer = Action::Answer(404, Vec::new(), gone.to_vec());
    fake.rule_after(1, "PATCH", "uploads", 1, answer.clone());
    // Nor does it know how far it was.
    fake.rule("GET", "uploads", 1, answer);
    let name = format!("{}/a:t", fake.address());
    push(&in_pieces(400_000), &image(&[&content]), &[&name]).unwrap();
    assert_eq!(fake.blob("a", &Digest::of(&content)), Some(content));
    // One more beginning, besides that of the configuration.
    assert_eq!(fake.count("POST", "uploads"), 3, "{}", fake.log());
}

#[test]
fn a_stream_whose_upload_is_forgotten_before_its_end_begins_anew() {
    let fake = FakeRegistry::start();
    let making = Arc::new(Making::default());
    let made: Arc<dyn Layer> = Arc::new(MakingLayer(Arc::clone(&making)));
    let name = reference(&format!("{}/a:t", fake.address()));
    let mut upload = registry().begin(std::slice::from_ref(&name)).unwrap();
    upload.layer(Arc::clone(&made));
    let content = noise(2, 500_000);
    making.write(&content[..100_000]);
    while fake.count("POST", "uploads") == 0 {
        thread::sleep(Duration::from_millis(5));
    }
    fake.forget_uploads();
    making.write(&content[100_000..]);
    making.finish();
    upload.finish(&image_of(&[made])).unwrap();
    assert_eq!(fake.blob("a", &Digest::of(&content)), Some(content));
}

#[test]
fn a_burst_of_errors_between_pieces_costs_no_byte_twice() {
    let fake = FakeRegistry::start();
    let content = noise(3, 1_000_000);
    for status in [500, 502, 503, 504] {
        let busy = Action::Answer(status, Vec::new(), b"<html>busy</html>".to_vec());
        fake.rule_after(0, "PATCH", "uploads", 1, busy);
    }
    let name = format!("{}/a:t", fake.address());
    push(&in_pieces(400_000), &image(&[&content]), &[&name]).unwrap();
    let taken: usize = fake
        .seen()
        .iter()
        .filter(|seen| seen.method == "PATCH" && seen.status == 202)
        .map(|seen| seen.body.len())
        .sum();
    assert_eq!(taken, content.len(), "{}", fake.log());
    assert_eq!(fake.blob("a", &Digest::of(&content)), Some(content));
}

#[test]
fn a_date_after_which_to_try_again_is_waited_for() {
    let fake = FakeRegistry::start();
    stock(&fake, "a", "t", &[b"x"]);
    let (settings, clock) = settings();
    let registry = Registry::new(settings).unwrap();
    // Nine seconds after the clock of the tests begins.
    let date = vec![("Retry-After", "Tue, 14 Nov 2023 22:13:29 GMT".to_owned())];
    fake.rule("GET", "manifests", 1, Action::Answer(429, date, b"busy".to_vec()));
    pull(&registry, &format!("{}/a:t", fake.address())).unwrap();
    assert_eq!(clock.slept(), [Duration::from_secs(9)]);
}

#[test]
fn a_token_that_is_revoked_while_a_layer_is_made_is_renewed() {
    let fake = FakeRegistry::start();
    let tokens = Tokens {
        user: Some(("me".to_owned(), "hunter22".to_owned())),
        lifetime: 300,
        ..Tokens::default()
    };
    fake.change(|options| options.auth = Auth::Token(tokens));
    let credential = Credential::Basic {
        username: "me".to_owned(),
        password: Secret::new("hunter22"),
    };
    let (settings, clock) = settings();
    let registry = Registry::new(Settings {
        keychain: Keychain::default().with_credential("the test", fake.address(), credential),
        ..settings
    })
    .unwrap();
    let making = Arc::new(Making::default());
    let made: Arc<dyn Layer> = Arc::new(MakingLayer(Arc::clone(&making)));
    let name = reference(&format!("{}/a:t", fake.address()));
    let mut upload = registry.begin(std::slice::from_ref(&name)).unwrap();
    upload.layer(Arc::clone(&made));
    let content = noise(4, 500_000);
    making.write(&content[..100_000]);
    let has_begun = || {
        let begun = |seen: &crate::fake_registry::Seen| seen.method == "POST" && seen.status == 202;
        fake.seen().iter().any(begun)
    };
    while !has_begun() {
        thread::sleep(Duration::from_millis(5));
    }
    // One that was given out a moment ago would not be better the second time.
    clock.pass(Duration::from_mins(1));
    fake.revoke_tokens();
    making.write(&content[100_000..]);
    making.finish();
    upload.finish(&image_of(&[made])).unwrap();
    assert_eq!(fake.blob("a", &Digest::of(&content)), Some(content));
    assert_eq!(fake.count("", "/token"), 2, "{}", fake.log());
}

#[test]
fn a_blob_of_another_length_than_it_should_have_is_sent_again() {
    let fake = FakeRegistry::start();
    let content = noise(5, 10_000);
    let digest = fake.put_blob("a", &content);
    for (length, sent) in [("9999", true), ("10000", false)] {
        fake.forget();
        let answer = Action::Answer(200, vec![("Content-Length", length.to_owned())], Vec::new());
        fake.rule("HEAD", digest.as_str(), 1, answer);
        let name = format!("{}/a:t", fake.address());
        push(&registry(), &image(&[&content]), &[&name]).unwrap();
        let whole = |seen: &crate::fake_registry::Seen| seen.body == content;
        assert_eq!(fake.seen().iter().any(whole), sent, "{length}\n{}", fake.log());
    }
}

#[test]
fn an_answer_that_ends_before_its_length_is_not_believed() {
    let fake = FakeRegistry::start();
    let stocked = stock(&fake, "a", "t", &[b"x"]);
    let config = stocked.encode_config().unwrap().descriptor.digest;
    let name = format!("{}/a:t", fake.address());
    // Once is a broken connection; always is a registry that cannot be read from.
    for part in ["manifests", config.as_str()] {
        fake.rule("GET", part, 1, Action::CutAnswer(20));
        pull(&registry(), &name).unwrap();
        let cut = FakeRegistry::start();
        stock(&cut, "a", "t", &[b"x"]);
        cut.rule("GET", part, 1000, Action::CutAnswer(20));
        let error = pull(&registry(), &format!("{}/a:t", cut.address())).unwrap_err();
        assert_eq!(error.kind, TransferErrorKind::Unavailable, "{}", chain(&error));
    }
}

#[test]
fn a_list_of_tags_without_an_end_is_given_up() {
    let fake = FakeRegistry::start_with(Options {
        endless: Some(4_000_000),
        ..Options::default()
    });
    let repository = reference(&format!("{}/a", fake.address())).repository().clone();
    let error = registry().tags(&repository).unwrap_err();
    assert_eq!(error.kind, TransferErrorKind::Corrupt);
    assert!(chain(&error).contains("has no end"), "{}", chain(&error));
    assert_eq!(fake.count("GET", "tags/list"), 17, "64 MiB of it");
}
