//! Reading.

use std::io::Read;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lifecycle_image::{
    Artifact, Descriptor, Digest, Documents, Family, Index, MediaType, Outcome, Platform, RawDocument,
    Source, Step, TransferErrorKind,
};
use lifecycle_registry::{Mirrors, Proxies, Registry, Retry, Secret, Settings, Timeouts, Trust, TrustRule};

use crate::fake_registry::{Action, FakeRegistry, Options};
use crate::port::Port;
use crate::samples::{Witness, chain, noise, pull, read_layer, reference, registry, settings, stock};

#[test]
fn an_image_comes_back_byte_for_byte() {
    let fake = FakeRegistry::start();
    let content = noise(1, 1_000_000);
    let image = stock(&fake, "a/b", "t", &[&content, b"second"]);
    let witness = Arc::new(Witness::default());
    let registry = registry().watched(Arc::clone(&witness) as Arc<_>);
    let name = format!("{}/a/b:t", fake.address());
    let pulled = pull(&registry, &name).unwrap();
    assert_eq!(
        pulled.encode_manifest().unwrap(),
        image.encode_manifest().unwrap()
    );
    assert_eq!(read_layer(&pulled, 0).unwrap(), content);
    assert_eq!(read_layer(&pulled, 1).unwrap(), b"second");
    assert_eq!(
        pulled.layers()[0].origins(),
        [reference(&name).repository().clone()]
    );
    let told = witness.told();
    assert_eq!(told[0], (Step::Download, 1_000_000, Some(Outcome::Done)));
    // One manifest, one configuration, two layers, and nothing else but the look whether there is TLS.
    assert_eq!(fake.count("GET", ""), 4, "{}", fake.log());
    let accept = &fake.seen()[0].headers["accept"];
    for kind in MediaType::manifests() {
        assert!(accept.contains(kind.as_str()), "{accept}");
    }
    // Again from the middle.
    let mut rest = Vec::new();
    pulled.layers()[0]
        .open(999_990)
        .unwrap()
        .read_to_end(&mut rest)
        .unwrap();
    assert_eq!(rest, content[999_990..]);
}

#[test]
fn resolve_exists_and_delete() {
    for no_digest_header in [false, true] {
        let fake = FakeRegistry::start_with(Options {
            no_digest_header,
            ..Options::default()
        });
        let image = stock(&fake, "a", "t", &[b"x"]);
        let registry = registry();
        let name = reference(&format!("{}/a:t", fake.address()));
        let descriptor = registry.resolve(&name).unwrap();
        assert_eq!(descriptor, image.encode_manifest().unwrap().descriptor);
        assert_eq!(fake.count("HEAD", "manifests/t"), 1);
        assert_eq!(fake.count("GET", "manifests/t"), usize::from(no_digest_header));
        assert!(registry.exists(&name).unwrap());
        let no_head = Action::Answer(405, Vec::new(), Vec::new());
        fake.rule("HEAD", "manifests", 1, no_head);
        assert_eq!(registry.resolve(&name).unwrap(), descriptor);
        registry.delete(&name).unwrap();
        assert!(!registry.exists(&name).unwrap());
        assert_eq!(
            registry.delete(&name).unwrap_err().kind,
            TransferErrorKind::NotFound
        );
    }
}

#[test]
fn an_index_is_resolved_for_a_platform() {
    let fake = FakeRegistry::start();
    let image = stock(&fake, "a", "amd64", &[b"x"]);
    let mut member = image.encode_manifest().unwrap().descriptor;
    member.platform = Some(Platform::linux("amd64"));
    let index = Index::new(Family::Oci, vec![member]).encode().unwrap();
    fake.put_manifest("a", "all", index.descriptor.media_type.as_str(), &index.bytes);
    let registry = registry();
    let name = reference(&format!("{}/a:all", fake.address()));
    let found = registry.image(&name, &Platform::linux("amd64")).unwrap();
    assert_eq!(found.digest().unwrap(), image.digest().unwrap());
    let error = registry.image(&name, &Platform::linux("s390x")).unwrap_err();
    assert_eq!(error.kind, TransferErrorKind::NoPlatform);
    assert!(error.message.contains("linux/amd64"), "{error}");
    let Artifact::Index(read) = registry.artifact(&name).unwrap() else {
        panic!("no index")
    };
    assert_eq!(read.encode().unwrap(), index);
}

/// Documents in memory.
#[derive(Debug, Default)]
struct Kept(Mutex<Vec<RawDocument>>);

impl Documents for Kept {
    fn find(&self, digest: &Digest, limit: u64) -> Option<Vec<u8>> {
        let kept = self.0.lock().unwrap();
        let found = kept
            .iter()
            .find(|document| document.descriptor.digest == *digest && document.bytes.len() as u64 <= limit);
        found.map(|document| document.bytes.to_vec())
    }

    fn keep(&self, document: &RawDocument) {
        self.0.lock().unwrap().push(document.clone());
    }
}

#[test]
fn what_is_known_by_its_digest_is_read_once_and_names_are_always_asked() {
    let fake = FakeRegistry::start();
    let image = stock(&fake, "a", "amd64", &[b"x"]);
    let mut member = image.encode_manifest().unwrap().descriptor;
    member.platform = Some(Platform::linux("amd64"));
    let digest = member.digest.clone();
    let index = Index::new(Family::Oci, vec![member]).encode().unwrap();
    fake.put_manifest("a", "all", index.descriptor.media_type.as_str(), &index.bytes);
    let kept = Arc::new(Kept::default());
    let name = reference(&format!("{}/a:all", fake.address()));
    for _ in 0..3 {
        let registry = registry().remembering(Arc::clone(&kept) as Arc<_>);
        let found = registry.image(&name, &Platform::linux("amd64")).unwrap();
        assert_eq!(found.digest().unwrap(), digest);
        assert_eq!(found.encode_config().unwrap(), image.encode_config().unwrap());
        assert_eq!(read_layer(&found, 0).unwrap(), b"x");
    }
    let config = image.encode_config().unwrap().descriptor.digest;
    assert_eq!(fake.count("GET", "manifests/all"), 3, "{}", fake.log());
    assert_eq!(fake.count("GET", digest.as_str()), 1, "{}", fake.log());
    assert_eq!(fake.count("GET", config.as_str()), 1, "{}", fake.log());
    // Somebody who names a manifest by its digest asks for it as well.
    let registry = registry().remembering(kept);
    let name = reference(&format!("{}/a@{digest}", fake.address()));
    registry.image(&name, &Platform::linux("amd64")).unwrap();
    assert_eq!(fake.count("GET", digest.as_str()), 2, "{}", fake.log());
}

#[test]
fn a_cut_blob_goes_on_where_it_stopped_complaint_20() {
    for no_ranges in [false, true] {
        let fake = FakeRegistry::start_with(Options {
            no_ranges,
            ..Options::default()
        });
        let content = noise(2, 600_000);
        stock(&fake, "a", "t", &[&content]);
        let pulled = pull(&registry(), &format!("{}/a:t", fake.address())).unwrap();
        let digest = pulled.layers()[0].descriptor().unwrap().digest;
        fake.rule("GET", digest.as_str(), 1, Action::CutAnswer(100_000));
        fake.rule("GET", digest.as_str(), 1, Action::CutAnswer(250_000));
        assert_eq!(read_layer(&pulled, 0).unwrap(), content);
        let ranges: Vec<_> = fake
            .seen()
            .iter()
            .filter(|seen| seen.target.contains(digest.as_str()))
            .map(|seen| seen.headers.get("range").cloned().unwrap_or_default())
            .collect();
        assert_eq!(ranges.len(), 3, "{}", fake.log());
        assert_eq!(ranges[..2], ["", "bytes=100000-"]);
    }
}

#[test]
fn a_registry_that_keeps_cutting_is_given_up() {
    let fake = FakeRegistry::start();
    stock(&fake, "a", "t", &[&noise(3, 100_000)]);
    let pulled = pull(&registry(), &format!("{}/a:t", fake.address())).unwrap();
    let digest = pulled.layers()[0].descriptor().unwrap().digest;
    fake.rule("GET", digest.as_str(), 1000, Action::CutAnswer(0));
    let error = read_layer(&pulled, 0).unwrap_err();
    assert!(chain(&error).contains("connection broke"), "{}", chain(&error));
    assert_eq!(fake.count("GET", digest.as_str()), 5);
}

#[test]
fn busy_registries_are_waited_for_complaint_21() {
    let fake = FakeRegistry::start();
    stock(&fake, "a", "t", &[b"x"]);
    let (settings, clock) = settings();
    let registry = Registry::new(settings).unwrap();
    let busy = |status, header: Option<&str>| {
        let headers = header
            .map(|value| ("Retry-After", value.to_owned()))
            .into_iter()
            .collect();
        Action::Answer(status, headers, b"busy".to_vec())
    };
    fake.rule("GET", "manifests", 1, busy(429, Some("7")));
    fake.rule("GET", "manifests", 1, busy(503, None));
    fake.rule("GET", "manifests", 1, busy(408, None));
    let name = format!("{}/a:t", fake.address());
    pull(&registry, &name).unwrap();
    let millis: Vec<_> = clock.slept().iter().map(Duration::as_millis).collect();
    assert_eq!(millis, [7000, 500, 1000]);
    // Who asks for an hour is not waited for.
    fake.rule("GET", "manifests", 1, busy(429, Some("3600")));
    let error = pull(&registry, &name).unwrap_err();
    assert_eq!(error.kind, TransferErrorKind::Unavailable);
    assert!(
        chain(&error).contains("3600 s") && chain(&error).contains("busy"),
        "{}",
        chain(&error)
    );
    // And nobody for ever.
    fake.forget();
    fake.rule("GET", "manifests", 1000, busy(502, None));
    assert_eq!(
        pull(&registry, &name).unwrap_err().kind,
        TransferErrorKind::Unavailable
    );
    assert_eq!(fake.count("GET", "manifests"), 5);
}

#[test]
fn silence_has_an_end_and_a_slow_line_does_not() {
    let fake = FakeRegistry::start();
    let content = noise(4, 1_000_000);
    stock(&fake, "a", "t", &[&content]);
    let with_idle = |idle| {
        Registry::new(Settings {
            timeouts: Timeouts {
                idle,
                ..Timeouts::default()
            },
            ..settings().0
        })
        .unwrap()
    };
    let name = format!("{}/a:t", fake.address());
    // The whole drip takes longer than a silence may.
    let pulled = pull(&with_idle(Duration::from_secs(8)), &name).unwrap();
    let digest = pulled.layers()[0].descriptor().unwrap().digest;
    fake.rule(
        "GET",
        digest.as_str(),
        1,
        Action::Drip(25, Duration::from_millis(350)),
    );
    assert_eq!(read_layer(&pulled, 0).unwrap(), content);
    assert_eq!(fake.count("GET", digest.as_str()), 1);
    fake.rule("GET", "manifests", 1000, Action::Delay(Duration::from_hours(1)));
    let error = pull(&with_idle(Duration::from_millis(300)), &name).unwrap_err();
    assert_eq!(error.kind, TransferErrorKind::Unavailable);
    assert!(chain(&error).contains("no answer for 0.3 s"), "{}", chain(&error));
}

/// Whoever sends a byte now and then keeps nobody waiting for ever: neither with a layer nor with a document, neither in one
/// answer nor in one after another.
#[test]
fn who_drips_is_left_kaniko_5_2() {
    let fake = FakeRegistry::start();
    stock(&fake, "a", "t", &[&noise(4, 50_000)]);
    let (settings, _) = settings();
    // Long enough for a first byte on a busy machine, and few attempts, each of which takes as long.
    let registry = Registry::new(Settings {
        timeouts: Timeouts {
            idle: Duration::from_secs(3),
            ..Timeouts::default()
        },
        retry: Retry {
            attempts: 2,
            ..Retry::default()
        },
        ..settings
    })
    .unwrap();
    let name = format!("{}/a:t", fake.address());
    let pulled = pull(&registry, &name).unwrap();
    let digest = pulled.layers()[0].descriptor().unwrap().digest;
    let drip = || Action::Drip(50_000, Duration::from_millis(20));
    fake.rule("GET", digest.as_str(), 1000, drip());
    let error = read_layer(&pulled, 0).unwrap_err();
    assert!(
        chain(&error).contains("less than 64 KiB came"),
        "{}",
        chain(&error)
    );
    assert!(fake.count("GET", digest.as_str()) <= 3);
    fake.rule("GET", "manifests", 1000, drip());
    let error = pull(&registry, &name).unwrap_err();
    assert_eq!(error.kind, TransferErrorKind::Unavailable);
    assert!(
        chain(&error).contains("less than 64 KiB came"),
        "{}",
        chain(&error)
    );
}

#[test]
fn mirrors_are_asked_first_and_the_origin_last() {
    let (first, second, origin) = (
        FakeRegistry::start(),
        FakeRegistry::start(),
        FakeRegistry::start(),
    );
    let content = noise(5, 10_000);
    stock(&second, "cache/a", "t", &[&content]);
    stock(&origin, "a", "t", &[b"from the origin"]);
    stock(&origin, "a", "only", &[b"from the origin"]);
    let with = |fallback| {
        Registry::new(Settings {
            mirrors: vec![Mirrors {
                of: origin.address().to_owned(),
                at: vec![first.address().to_owned(), format!("{}/cache", second.address())],
                fallback,
            }],
            ..settings().0
        })
        .unwrap()
    };
    let name = |tag: &str| format!("{}/a:{tag}", origin.address());
    let pulled = pull(&with(true), &name("t")).unwrap();
    assert_eq!(read_layer(&pulled, 0).unwrap(), content);
    assert_eq!(origin.seen().len(), 0);
    // Blobs that the mirror has lost come from the origin.
    let pulled = pull(&with(true), &name("only")).unwrap();
    assert_eq!(read_layer(&pulled, 0).unwrap(), b"from the origin");
    let error = pull(&with(false), &name("only")).unwrap_err();
    assert_eq!(error.kind, TransferErrorKind::NotFound);
    // A mirror that lies is passed over.
    let digest = origin
        .manifest("a", "only")
        .map(|bytes| lifecycle_image::Digest::of(&bytes))
        .unwrap();
    stock(&second, "cache/a", "only", &[b"from the origin"]);
    second.rule("GET", "manifests", 1, Action::FlipByte);
    pull(&with(true), &format!("{}/a@{digest}", origin.address())).unwrap();
}

#[test]
fn a_mirror_that_is_busy_or_gone_holds_nobody_up() {
    let (busy, origin) = (FakeRegistry::start(), FakeRegistry::start());
    stock(&origin, "a", "t", &[b"from the origin"]);
    stock(&busy, "a", "t", &[b"from the mirror"]);
    busy.rule("GET", "", 1000, Action::Answer(503, Vec::new(), Vec::new()));
    // Nobody listens there.
    let port = Port::reserve();
    let gone = format!("127.0.0.1:{}", port.number());
    for mirror in [busy.address().to_owned(), gone] {
        let mirrors = vec![Mirrors {
            of: origin.address().to_owned(),
            at: vec![mirror.clone()],
            fallback: true,
        }];
        let registry = Registry::new(Settings {
            mirrors,
            ..settings().0
        })
        .unwrap();
        let pulled = pull(&registry, &format!("{}/a:t", origin.address())).unwrap();
        assert_eq!(read_layer(&pulled, 0).unwrap(), b"from the origin", "{mirror}");
    }
    // One that is alone is waited for, and then said to be what it is.
    let registry = Registry::new(Settings {
        mirrors: vec![Mirrors {
            of: origin.address().to_owned(),
            at: vec![busy.address().to_owned()],
            fallback: false,
        }],
        ..settings().0
    })
    .unwrap();
    let error = pull(&registry, &format!("{}/a:t", origin.address())).unwrap_err();
    assert_eq!(error.kind, TransferErrorKind::Unavailable);
    assert!(chain(&error).contains(busy.address()), "{}", chain(&error));
}

/// The rest of a blob that was cut is checked with what came before: a registry that has something else now, or sends
/// another part than it was asked for, is found out.
#[test]
fn the_rest_of_a_cut_blob_is_what_was_promised_or_an_error_complaint_20() {
    let content = noise(4, 600_000);
    for second in [
        Action::FlipByte,
        // Another part, as long as the right one.
        Action::Answer(
            206,
            vec![("Content-Range", "bytes 0-499999/600000".to_owned())],
            content[..500_000].to_vec(),
        ),
        // All of it is fine, but not as the rest.
        Action::Answer(206, Vec::new(), content.clone()),
    ] {
        let fake = FakeRegistry::start();
        stock(&fake, "a", "t", &[&content]);
        let pulled = pull(&registry(), &format!("{}/a:t", fake.address())).unwrap();
        let digest = pulled.layers()[0].descriptor().unwrap().digest;
        fake.rule("GET", digest.as_str(), 1, Action::CutAnswer(100_000));
        fake.rule("GET", digest.as_str(), 1, second);
        // Whatever is made of it, nothing else than the promised bytes comes out.
        if let Ok(read) = read_layer(&pulled, 0) {
            assert!(read == content);
        }
        assert!(fake.count("GET", digest.as_str()) >= 2, "{}", fake.log());
        assert!(read_layer(&pulled, 0).unwrap() == content);
    }
}

#[test]
fn tags_come_in_pages() {
    let fake = FakeRegistry::start_with(Options {
        page: Some(2),
        ..Options::default()
    });
    for tag in ["a", "b", "c", "d", "e"] {
        stock(&fake, "x", tag, &[b"x"]);
    }
    let repository = reference(&format!("{}/x", fake.address())).repository().clone();
    assert_eq!(registry().tags(&repository).unwrap(), ["a", "b", "c", "d", "e"]);
    assert_eq!(fake.count("GET", "tags/list"), 3);
    let none = reference(&format!("{}/none", fake.address()))
        .repository()
        .clone();
    assert_eq!(
        registry().tags(&none).unwrap_err().kind,
        TransferErrorKind::NotFound
    );
    // A list that leads to itself, in a circle, or away, ends.
    for link in [
        "</v2/x/tags/list?n=2&last=b>",
        "</v2/x/tags/list?n=1000>",
        "<http://elsewhere.test/v2/x/tags/list>",
    ] {
        fake.rule(
            "GET",
            "tags/list",
            2,
            Action::Header("Link", format!("{link}; rel=\"next\"")),
        );
        assert_eq!(
            registry().tags(&repository).unwrap_err().kind,
            TransferErrorKind::Corrupt
        );
    }
}

#[test]
fn what_is_no_image_is_said_to_be_none() {
    let fake = FakeRegistry::start();
    let schema1 = "application/vnd.docker.distribution.manifest.v1+prettyjws";
    fake.put_manifest("a", "old", schema1, b"{}");
    let error = pull(&registry(), &format!("{}/a:old", fake.address())).unwrap_err();
    assert_eq!(error.kind, TransferErrorKind::Unsupported);
    assert!(chain(&error).contains("v1+prettyjws"), "{}", chain(&error));
    let config = Descriptor::of(MediaType::new("application/vnd.example+json"), b"{}");
    let manifest = serde_json::json!({"schemaVersion": 2, "config": config, "layers": []}).to_string();
    fake.put_manifest(
        "a",
        "chart",
        "application/vnd.oci.image.manifest.v1+json",
        manifest.as_bytes(),
    );
    fake.put_blob("a", b"{}");
    let name = reference(&format!("{}/a:chart", fake.address()));
    let error = registry()
        .image(&name, &lifecycle_image::Platform::host())
        .unwrap_err();
    assert_eq!(error.kind, TransferErrorKind::Unsupported);
    // It can be moved all the same, byte for byte.
    let moved = pull(&registry(), &format!("{}/a:chart", fake.address())).unwrap();
    assert_eq!(&*moved.encode_manifest().unwrap().bytes, manifest.as_bytes());
    assert!(
        chain(&error).contains("application/vnd.example+json"),
        "{}",
        chain(&error)
    );
    fake.put_manifest("a", "broken", "application/vnd.oci.image.manifest.v1+json", b"{");
    let error = pull(&registry(), &format!("{}/a:broken", fake.address())).unwrap_err();
    assert_eq!(error.kind, TransferErrorKind::Corrupt);
}

#[test]
fn nobody_there_is_said_at_once() {
    let free = Port::reserve();
    let (settings, clock) = settings();
    let error = pull(
        &Registry::new(settings).unwrap(),
        &format!("127.0.0.1:{}/a:t", free.number()),
    )
    .unwrap_err();
    assert_eq!(error.kind, TransferErrorKind::Unavailable);
    assert!(chain(&error).contains("refused"), "{}", chain(&error));
    assert!(clock.slept().is_empty());
}

#[test]
fn a_host_that_cannot_exist_is_said_to_be_none() {
    let (settings, clock) = settings();
    let error = pull(&Registry::new(settings).unwrap(), "nowhere.invalid/a:t").unwrap_err();
    assert_eq!(error.kind, TransferErrorKind::Unavailable);
    assert!(
        chain(&error).contains("there is no such host"),
        "{}",
        chain(&error)
    );
    assert!(clock.slept().is_empty());
}

#[test]
fn proxies_are_used_for_other_machines_only() {
    let (proxy, fake) = (FakeRegistry::start(), FakeRegistry::start());
    stock(&fake, "a", "t", &[b"x"]);
    let with = |no_proxy: &str| {
        let (settings, _) = settings();
        let rule = TrustRule {
            prefix: "r.invalid".into(),
            trust: Trust::PlainHttp,
        };
        let proxies = Proxies {
            http: Some(Secret::new(format!("http://me:hunter22@{}", proxy.address()))),
            https: None,
            no_proxy: no_proxy.into(),
        };
        Registry::new(Settings {
            proxies,
            trust: vec![rule],
            ..settings
        })
        .unwrap()
    };
    let error = pull(&with(""), "r.invalid/a:t").unwrap_err();
    assert_eq!(error.kind, TransferErrorKind::NotFound);
    assert!(!format!("{error:?}").contains("hunter22"));
    let seen = proxy.seen();
    assert_eq!(seen[0].target, "http://r.invalid/v2/a/manifests/t");
    assert!(seen[0].headers["proxy-authorization"].starts_with("Basic "));
    proxy.forget();
    assert!(chain(&pull(&with("x.test, .invalid"), "r.invalid/a:t").unwrap_err()).contains("no such host"));
    pull(&with(""), &format!("{}/a:t", fake.address())).unwrap();
    assert_eq!(proxy.seen().len(), 0, "{}", proxy.log());
}
