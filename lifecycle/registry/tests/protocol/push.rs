//! Writing.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use lifecycle_image::{Digest, Family, Index, Layer, Outcome, Platform, Sink, Step, TransferErrorKind};
use lifecycle_registry::{Registry, Retry, Settings, Timeouts};

use crate::fake_registry::{Action, FakeRegistry, Mount, Options};
use crate::samples::{
    FromElsewhere, Making, MakingLayer, Witness, chain, image, image_of, layer, noise, pull, push,
    read_layer, reference, registry, settings, stock,
};

fn methods(fake: &FakeRegistry) -> Vec<String> {
    let line = |seen: crate::fake_registry::Seen| {
        let kind = ["uploads", "blobs", "manifests"];
        let kind = kind
            .iter()
            .find(|kind| seen.target.contains(**kind))
            .unwrap_or(&"");
        format!("{} {kind}", seen.method)
    };
    fake.seen().into_iter().map(line).collect()
}

#[test]
fn a_new_blob_costs_three_requests_an_old_one_one_and_a_known_one_none() {
    let fake = FakeRegistry::start();
    let registry = registry();
    let content = noise(1, 3_000_000);
    let image = image(&[&content]);
    let name = format!("{}/a/b:t", fake.address());
    let receipt = push(&registry, &image, &[&name]).unwrap();
    let config = image.encode_config().unwrap();
    assert_eq!(receipt.sent, 3_000_000 + config.descriptor.size);
    assert_eq!((receipt.existed, receipt.mounted), (0, 0));
    assert_eq!(receipt.digest, image.digest().unwrap());
    assert_eq!(receipt.names, [reference(&name)]);
    let blob = ["HEAD blobs", "POST uploads", "PUT uploads"];
    // The configuration is sent without asking.
    let end = ["POST uploads", "PUT uploads", "PUT manifests"];
    assert_eq!(methods(&fake), [&blob[..], &end].concat());
    let put = &fake.seen()[2];
    assert_eq!(put.headers["content-length"], "3000000");
    assert!(!put.headers.contains_key("transfer-encoding"));
    assert!(put.target.contains("state=x&digest="), "{}", put.target);
    assert_eq!(fake.seen()[1].headers["content-length"], "0");
    fake.forget();
    // Who sent it knows that it is there.
    let receipt = push(&registry, &image, &[&name]).unwrap();
    assert_eq!((receipt.sent, receipt.existed), (0, 2));
    assert_eq!(methods(&fake), ["PUT manifests"]);
    fake.forget();
    // Anybody else asks, and sends nothing.
    let receipt = push(&crate::samples::registry(), &image, &[&name]).unwrap();
    assert_eq!((receipt.sent, receipt.existed), (0, 2));
    assert_eq!(methods(&fake), ["HEAD blobs", "HEAD blobs", "PUT manifests"]);
    let pulled = pull(&registry, &name).unwrap();
    assert_eq!(read_layer(&pulled, 0).unwrap(), content);
}

#[test]
fn more_names_cost_one_request_each_and_equal_layers_move_once() {
    let fake = FakeRegistry::start();
    let twice = layer(b"twice");
    let image = image_of(&[Arc::clone(&twice), layer(b"twice"), twice]);
    let name = |tag: &str| format!("{}/a:{tag}", fake.address());
    push(&registry(), &image, &[&name("1"), &name("2"), &name("3")]).unwrap();
    assert_eq!(fake.count("PUT", "manifests"), 3);
    assert_eq!(fake.count("POST", "uploads"), 2, "{}", fake.log());
    assert_eq!(fake.tags("a"), ["1", "2", "3"]);
}

#[test]
fn another_repository_of_the_same_registry_mounts() {
    let (fake, other) = (FakeRegistry::start(), FakeRegistry::start());
    let image = image(&[b"x"]);
    let names = [
        format!("{}/a:t", fake.address()),
        format!("{}/b:t", fake.address()),
        format!("{}/c:t", other.address()),
    ];
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let receipt = push(&registry(), &image, &names).unwrap();
    let size = 1 + image.encode_config().unwrap().descriptor.size;
    assert_eq!((receipt.sent, receipt.mounted), (2 * size, 2));
    assert_eq!(fake.manifest("b", "t"), other.manifest("c", "t"));
}

#[test]
fn an_image_moves_from_registry_to_registry_on_the_same_threads() {
    let (from, to) = (FakeRegistry::start(), FakeRegistry::start());
    let contents: Vec<Vec<u8>> = (0..8).map(|seed| noise(200 + seed, 800_000)).collect();
    let contents: Vec<&[u8]> = contents.iter().map(Vec::as_slice).collect();
    let image = stock(&from, "a", "t", &contents);
    let registry = registry();
    let pulled = pull(&registry, &format!("{}/a:t", from.address())).unwrap();
    let digest = image.layers()[3].descriptor().unwrap().digest;
    from.rule("GET", digest.as_str(), 1, Action::CutAnswer(123_456));
    let receipt = push(&registry, &pulled, &[&format!("{}/b:t", to.address())]).unwrap();
    assert_eq!(receipt.digest, image.digest().unwrap());
    assert_eq!(receipt.mounted, 0);
    for content in contents {
        assert_eq!(to.blob("b", &Digest::of(content)).as_deref(), Some(content));
    }
}

#[test]
fn a_mount_is_answered_in_three_ways() {
    for (mount, mounted, posts) in [
        (Mount::Created, 1, 1),
        (Mount::Accepted, 0, 1),
        (Mount::Refused, 0, 2),
    ] {
        let fake = FakeRegistry::start_with(Options {
            mount,
            ..Options::default()
        });
        let content = noise(2, 1000);
        let digest = fake.put_blob("base", &content);
        let from: Arc<dyn Layer> = Arc::new(FromElsewhere {
            layer: layer(&content),
            origin: reference(&format!("{}/base", fake.address())),
        });
        let receipt = push(
            &registry(),
            &image_of(&[from]),
            &[&format!("{}/app:t", fake.address())],
        )
        .unwrap();
        assert_eq!(receipt.mounted, mounted);
        let posts_for_layer = fake.count("POST", "uploads") - 1;
        assert_eq!(posts_for_layer, posts, "{}", fake.log());
        assert_eq!(fake.count("POST", &format!("mount={digest}&from=base")), 1);
        assert_eq!(fake.blob("app", &digest), Some(content));
    }
    // Another registry's repository is no use.
    let fake = FakeRegistry::start();
    let from: Arc<dyn Layer> = Arc::new(FromElsewhere {
        layer: layer(b"x"),
        origin: reference("elsewhere.test/base"),
    });
    push(
        &registry(),
        &image_of(&[from]),
        &[&format!("{}/app:t", fake.address())],
    )
    .unwrap();
    assert_eq!(fake.count("POST", "mount="), 0);
}

#[test]
fn a_layer_in_the_making_is_sent_while_it_is_made() {
    let fake = FakeRegistry::start();
    let registry = registry();
    let making = Arc::new(Making::default());
    let made: Arc<dyn Layer> = Arc::new(MakingLayer(Arc::clone(&making)));
    let name = reference(&format!("{}/a:t", fake.address()));
    let mut upload = registry.begin(std::slice::from_ref(&name)).unwrap();
    upload.layer(Arc::clone(&made));
    let content = noise(3, 2_000_000);
    making.write(&content[..700_000]);
    // The upload has begun before the layer is known.
    while fake.count("POST", "uploads") == 0 {
        thread::sleep(Duration::from_millis(5));
    }
    making.write(&content[700_000..]);
    making.finish();
    let receipt = upload.finish(&image_of(&[made])).unwrap();
    assert!(receipt.sent > 2_000_000);
    assert_eq!(fake.blob("a", &Digest::of(&content)), Some(content));
    assert_eq!(fake.count("PATCH", "uploads"), 1);
    let patch = fake
        .seen()
        .into_iter()
        .find(|seen| seen.method == "PATCH")
        .unwrap();
    assert_eq!(patch.headers["transfer-encoding"], "chunked");
}

#[test]
fn an_upload_in_the_making_that_breaks_goes_on_where_the_registry_stopped() {
    for cut in [300_000, 0] {
        let fake = FakeRegistry::start();
        let content = noise(4, 1_000_000);
        let making = Arc::new(Making::default());
        let made: Arc<dyn Layer> = Arc::new(MakingLayer(Arc::clone(&making)));
        fake.rule("PATCH", "uploads", 1, Action::CutRequest(cut));
        let name = reference(&format!("{}/a:t", fake.address()));
        let mut upload = registry().begin(std::slice::from_ref(&name)).unwrap();
        upload.layer(Arc::clone(&made));
        making.write(&content[..900_000]);
        // The connection is cut before the layer is known.
        while fake.count("PATCH", "uploads") == 0 {
            thread::sleep(Duration::from_millis(5));
        }
        making.write(&content[900_000..]);
        making.finish();
        upload.finish(&image_of(&[made])).unwrap();
        assert_eq!(fake.blob("a", &Digest::of(&content)), Some(content.clone()));
        let patches: Vec<usize> = fake
            .seen()
            .iter()
            .filter(|seen| seen.method == "PATCH")
            .map(|seen| seen.body.len())
            .collect();
        assert_eq!(patches, [cut, content.len() - cut], "{}", fake.log());
    }
}

#[test]
fn a_layer_whose_maker_fails_fails_the_upload_and_nothing_is_named() {
    let fake = FakeRegistry::start();
    let making = Arc::new(Making::default());
    let made: Arc<dyn Layer> = Arc::new(MakingLayer(Arc::clone(&making)));
    let name = reference(&format!("{}/a:t", fake.address()));
    let mut upload = registry().begin(std::slice::from_ref(&name)).unwrap();
    upload.layer(Arc::clone(&made));
    making.write(b"some");
    making.fail();
    let error = upload.finish(&image_of(&[made])).unwrap_err();
    assert_eq!(error.kind, TransferErrorKind::Local);
    assert!(chain(&error).contains("the maker gave up"), "{}", chain(&error));
    assert_eq!(fake.count("POST", "uploads"), 1, "no second try: {}", fake.log());
    assert_eq!(fake.count("PUT", "uploads"), 0, "{}", fake.log());
    assert!(fake.tags("a").is_empty());
}

#[test]
fn a_blob_that_breaks_on_the_way_begins_again() {
    let content = noise(5, 2_000_000);
    for (method, part, action) in [
        ("PUT", "uploads", Action::CutRequest(500_000)),
        ("PUT", "uploads", Action::Answer(500, Vec::new(), Vec::new())),
        (
            "PUT",
            "uploads",
            Action::Answer(404, Vec::new(), b"gone".to_vec()),
        ),
        (
            "PUT",
            "uploads",
            Action::Answer(429, vec![("Retry-After", "1".into())], Vec::new()),
        ),
        ("POST", "uploads", Action::Answer(503, Vec::new(), Vec::new())),
        ("HEAD", "blobs", Action::Answer(502, Vec::new(), Vec::new())),
        ("PUT", "manifests", Action::LoseAnswer),
    ] {
        let fake = FakeRegistry::start();
        fake.rule(method, part, 1, action);
        let receipt = push(
            &registry(),
            &image(&[&content]),
            &[&format!("{}/a:t", fake.address())],
        )
        .unwrap();
        assert!(receipt.sent > 2_000_000);
        assert_eq!(fake.blob("a", &Digest::of(&content)), Some(content.clone()));
        assert_eq!(fake.tags("a"), ["t"], "{method} {part}");
    }
}

#[test]
fn an_answer_that_is_lost_is_not_a_blob_that_is_lost() {
    let fake = FakeRegistry::start();
    let content = noise(6, 100_000);
    fake.rule("PUT", "uploads", 1, Action::LoseAnswer);
    push(
        &registry(),
        &image(&[&content]),
        &[&format!("{}/a:t", fake.address())],
    )
    .unwrap();
    let sent = |seen: &&crate::fake_registry::Seen| seen.body.len() == 100_000;
    assert_eq!(fake.seen().iter().filter(sent).count(), 1, "{}", fake.log());
}

#[test]
fn pieces_are_sent_only_above_the_limit_and_never_smaller_than_the_registry_takes() {
    let content = noise(7, 1_000_000);
    for (chunk, smallest, expected) in [
        (Some(1_000_000), None, vec![]),
        (Some(400_000), None, vec![400_000, 400_000, 200_000]),
        (Some(1), Some(600_000), vec![600_000, 400_000]),
    ] {
        let fake = FakeRegistry::start_with(Options {
            smallest_piece: smallest,
            ..Options::default()
        });
        let registry = Registry::new(Settings {
            chunk,
            ..settings().0
        })
        .unwrap();
        push(
            &registry,
            &image(&[&content]),
            &[&format!("{}/a:t", fake.address())],
        )
        .unwrap();
        assert_eq!(fake.blob("a", &Digest::of(&content)), Some(content.clone()));
        let pieces: Vec<usize> = fake
            .seen()
            .iter()
            .filter(|seen| seen.method == "PATCH" && seen.body.len() > 100_000)
            .map(|seen| seen.body.len())
            .collect();
        assert_eq!(pieces, expected);
    }
}

#[test]
fn a_piece_that_breaks_goes_on_where_the_registry_stopped() {
    let fake = FakeRegistry::start();
    let content = noise(8, 1_000_000);
    fake.rule_after(1, "PATCH", "uploads", 1, Action::CutRequest(150_000));
    let registry = Registry::new(Settings {
        chunk: Some(400_000),
        ..settings().0
    })
    .unwrap();
    push(
        &registry,
        &image(&[&content]),
        &[&format!("{}/a:t", fake.address())],
    )
    .unwrap();
    assert_eq!(fake.blob("a", &Digest::of(&content)), Some(content));
    let ranges: Vec<String> = fake
        .seen()
        .iter()
        .filter_map(|seen| seen.headers.get("content-range").cloned())
        .take(4)
        .collect();
    assert_eq!(
        ranges,
        ["0-399999", "400000-799999", "550000-949999", "950000-999999"]
    );
}

#[test]
fn a_request_that_is_too_large_is_sent_in_pieces() {
    let fake = FakeRegistry::start();
    fake.rule("PUT", "uploads", 1, Action::Answer(413, Vec::new(), Vec::new()));
    let content = noise(9, 500_000);
    push(
        &registry(),
        &image(&[&content]),
        &[&format!("{}/a:t", fake.address())],
    )
    .unwrap();
    assert_eq!(fake.blob("a", &Digest::of(&content)), Some(content));
}

#[test]
fn a_patient_client_outlasts_a_registry_that_is_away_for_half_a_minute() {
    let fake = FakeRegistry::start();
    let (settings, clock) = settings();
    // Its clock has no jitter: these are the shortest pauses that there can be.
    let retry = Retry::patient();
    let registry = Registry::new(Settings { retry, ..settings }).unwrap();
    let away = Action::Answer(503, Vec::new(), Vec::new());
    fake.rule("", "", usize::try_from(retry.attempts).unwrap() - 1, away);
    let name = format!("{}/a:t", fake.address());
    let receipt = push(&registry, &image(&[b"x"]), &[&name]).unwrap();
    let slept: Duration = clock.slept().iter().sum();
    assert!(slept >= Duration::from_secs(30), "{slept:?}");
    let manifest = fake.manifest("a", "t").unwrap();
    assert_eq!(Digest::of(&manifest), receipt.digest);
    assert_eq!(fake.count("PUT", "/manifests/"), 1, "pushed once\n{}", fake.log());
}

#[test]
fn a_registry_that_takes_nothing_more_is_given_up_but_a_slow_maker_is_not() {
    let fake = FakeRegistry::start();
    let (settings, _) = settings();
    let registry = Registry::new(Settings {
        timeouts: Timeouts {
            idle: Duration::from_secs(5),
            commit: Duration::from_secs(6),
            ..Timeouts::default()
        },
        retry: Retry {
            attempts: 2,
            ..Retry::default()
        },
        ..settings
    })
    .unwrap();
    let making = Arc::new(Making::default());
    let made: Arc<dyn Layer> = Arc::new(MakingLayer(Arc::clone(&making)));
    let name = reference(&format!("{}/a:t", fake.address()));
    let mut upload = registry.begin(std::slice::from_ref(&name)).unwrap();
    upload.layer(Arc::clone(&made));
    making.write(b"begin");
    thread::sleep(Duration::from_secs(7));
    making.write(b"end");
    making.finish();
    upload.finish(&image_of(&[made])).unwrap();
    fake.rule("PUT", "uploads", 1000, Action::Delay(Duration::from_hours(1)));
    let error = push(&registry, &image(&[b"x"]), &[&format!("{}/a:u", fake.address())]).unwrap_err();
    assert_eq!(error.kind, TransferErrorKind::Unavailable);
    assert!(chain(&error).contains("no answer for 6 s"), "{}", chain(&error));
}

#[test]
fn an_index_is_pushed_after_its_members() {
    let fake = FakeRegistry::start();
    let registry = registry();
    let name = reference(&format!("{}/a:all", fake.address()));
    let mut upload = registry.begin(std::slice::from_ref(&name)).unwrap();
    let mut members = Vec::new();
    for (architecture, content) in [("amd64", b"one"), ("arm64", b"two")] {
        let image = image(&[content]);
        let receipt = upload.member(&image).unwrap();
        assert_eq!(receipt.digest, image.digest().unwrap());
        assert!(receipt.sent > 3 && receipt.names.is_empty());
        let mut member = image.encode_manifest().unwrap().descriptor;
        member.platform = Some(Platform::linux(architecture));
        members.push(member);
    }
    assert!(fake.tags("a").is_empty());
    let index = Index::new(Family::Oci, members);
    let receipt = upload.finish_index(&index).unwrap();
    assert_eq!(receipt.digest, index.encode().unwrap().descriptor.digest);
    assert_eq!(fake.tags("a"), ["all"]);
    assert_eq!(
        fake.manifest("a", "all").as_deref(),
        Some(&*index.encode().unwrap().bytes)
    );
}

#[test]
fn a_name_with_another_digest_is_refused() {
    let fake = FakeRegistry::start();
    let name = format!("{}/a@{}", fake.address(), Digest::of(b"other"));
    let error = push(&registry(), &image(&[b"x"]), &[&name]).unwrap_err();
    assert_eq!(error.kind, TransferErrorKind::Unsupported);
    let image = image(&[b"x"]);
    let digest = image.digest().unwrap();
    push(&registry(), &image, &[&format!("{}/a@{digest}", fake.address())]).unwrap();
    assert!(fake.manifest("a", digest.as_str()).is_some());
    assert!(fake.tags("a").is_empty());
}

#[test]
fn immutable_tags_are_an_error_unless_told_otherwise() {
    let answer = br#"{"errors":[{"code":"TAG_INVALID","message":"The image tag is immutable"}]}"#;
    let fake = FakeRegistry::start();
    let name = format!("{}/a:t", fake.address());
    let image = image(&[b"x"]);
    fake.rule(
        "PUT",
        "manifests",
        1,
        Action::Answer(400, Vec::new(), answer.to_vec()),
    );
    let error = push(&registry(), &image, &[&name]).unwrap_err();
    assert!(chain(&error).contains("immutable"), "{}", chain(&error));
    fake.rule(
        "PUT",
        "manifests",
        1,
        Action::Answer(400, Vec::new(), answer.to_vec()),
    );
    let registry = Registry::new(Settings {
        ignore_immutable_tags: true,
        ..settings().0
    })
    .unwrap();
    push(&registry, &image, &[&name]).unwrap();
}

#[test]
fn progress_counts_every_byte_once() {
    let fake = FakeRegistry::start();
    let content = noise(10, 1_000_000);
    fake.rule("PUT", "uploads", 1, Action::CutRequest(900_000));
    let witness = Arc::new(Witness::default());
    let registry = registry().watched(Arc::clone(&witness) as Arc<_>);
    let image = image(&[&content]);
    let name = format!("{}/a:t", fake.address());
    push(&registry, &image, &[&name]).unwrap();
    push(&registry, &image, &[&name]).unwrap();
    let told = witness.told();
    assert_eq!(told[0], (Step::Upload, 1_000_000, Some(Outcome::Done)));
    assert_eq!(told[2], (Step::Upload, 0, Some(Outcome::Existed)));
    assert_eq!(told.len(), 4);
}

#[test]
fn check_write_leaves_nothing_behind() {
    let fake = FakeRegistry::start();
    let repository = reference(&format!("{}/a", fake.address())).repository().clone();
    registry().check_write(&repository).unwrap();
    assert_eq!(methods(&fake), ["POST uploads", "DELETE uploads"]);
    let denied = br#"{"errors":[{"code":"DENIED","message":"not yours"}]}"#;
    fake.rule(
        "POST",
        "uploads",
        1,
        Action::Answer(403, Vec::new(), denied.to_vec()),
    );
    let error = registry().check_write(&repository).unwrap_err();
    assert_eq!(error.kind, TransferErrorKind::Unauthorized);
    let text = chain(&error);
    for part in [
        "cannot write to",
        "403 Forbidden",
        "DENIED: not yours",
        "no credentials for",
    ] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn many_layers_move_at_once_but_not_all() {
    let fake = FakeRegistry::start();
    fake.rule("PUT", "uploads", 1000, Action::Delay(Duration::from_millis(100)));
    let contents: Vec<Vec<u8>> = (0..10).map(|seed| noise(100 + seed, 1000)).collect();
    let contents: Vec<&[u8]> = contents.iter().map(Vec::as_slice).collect();
    let start = std::time::Instant::now();
    let registry = Registry::new(Settings {
        parallel: 5,
        ..settings().0
    })
    .unwrap();
    push(
        &registry,
        &image(&contents),
        &[&format!("{}/a:t", fake.address())],
    )
    .unwrap();
    // Ten layers in two rounds and the configuration: a lower bound that no machine is too slow for.
    assert!(
        start.elapsed() >= Duration::from_millis(300),
        "{:?}",
        start.elapsed()
    );
}
