//! Debian's docker-registry, and other people's clients.

use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use lifecycle_image::{Layer, Sink, TransferErrorKind};
use lifecycle_registry::{
    Credential, HostTls, Identity, Keychain, Pem, Registry, Secret, Settings, Trust, TrustRule,
};
use tempfile::TempDir;

use crate::certificates::make_certificates;
use crate::port::Port;
use crate::samples::{
    FromElsewhere, Making, MakingLayer, chain, image, image_of, layer, noise, pull, push, read_layer,
    reference, registry,
};

/// A registry as people run it, on a free port, until it is dropped.
struct Real {
    child: Child,
    address: String,
    _port: Port,
    directory: TempDir,
}

impl Real {
    fn start(configure: impl FnOnce(&Path) -> String) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let port = Port::reserve();
        let address = format!("127.0.0.1:{}", port.number());
        let root = directory.path().join("data");
        let more = configure(directory.path());
        let config = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage:\n  filesystem: {{rootdirectory: {}}}\n  delete: {{enabled: true}}\n\
             http:\n  addr: {address}\n{more}",
            root.display()
        );
        let path = directory.path().join("config.yml");
        fs::write(&path, config).unwrap();
        let log = fs::File::create(directory.path().join("log")).unwrap();
        let mut child = Command::new("docker-registry")
            .arg("serve")
            .arg(&path)
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .expect("docker-registry is not installed: apt-get install docker-registry");
        let deadline = Instant::now() + Duration::from_mins(5);
        while TcpStream::connect(&address).is_err() {
            assert!(
                child.try_wait().unwrap().is_none() && Instant::now() < deadline,
                "{}",
                fs::read_to_string(directory.path().join("log")).unwrap()
            );
            thread::sleep(Duration::from_millis(20));
        }
        Self {
            child,
            address,
            _port: port,
            directory,
        }
    }

    fn open() -> Self {
        Self::start(|_| String::new())
    }

    fn name(&self, rest: &str) -> String {
        format!("{}/{rest}", self.address)
    }
}

impl Drop for Real {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{program} {arguments:?}\n{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    text
}

#[test]
fn push_pull_mount_and_delete() {
    let real = Real::open();
    let registry = registry();
    let content = noise(1, 5_000_000);
    let image = image(&[&content, b"small"]);
    let receipt = push(&registry, &image, &[&real.name("a/b:t"), &real.name("a/b:u")]).unwrap();
    assert!(receipt.sent > 5_000_000);
    let again = push(&registry, &image, &[&real.name("a/b:t")]).unwrap();
    assert_eq!((again.sent, again.existed), (0, 3));
    let pulled = pull(&registry, &real.name("a/b:u")).unwrap();
    assert_eq!(
        pulled.encode_manifest().unwrap(),
        image.encode_manifest().unwrap()
    );
    assert_eq!(read_layer(&pulled, 0).unwrap(), content);
    // What was pulled from one repository is mounted into another.
    let mounted = push(&registry, &pulled, &[&real.name("c:t")]).unwrap();
    assert_eq!(mounted.mounted, 3);
    let repository = reference(&real.name("a/b")).repository().clone();
    let mut tags = registry.tags(&repository).unwrap();
    tags.sort();
    assert_eq!(tags, ["t", "u"]);
    registry.check_write(&repository).unwrap();
    registry.delete(&reference(&real.name("c:t"))).unwrap();
    assert!(!registry.exists(&reference(&real.name("c:t"))).unwrap());
}

#[test]
fn pieces_and_streams() {
    let real = Real::open();
    let (settings, _) = crate::samples::settings();
    let in_pieces = Registry::new(Settings {
        chunk: Some(700_000),
        ..settings
    })
    .unwrap();
    let content = noise(2, 3_000_000);
    push(&in_pieces, &image(&[&content]), &[&real.name("pieces:t")]).unwrap();
    let pulled = pull(&in_pieces, &real.name("pieces:t")).unwrap();
    assert_eq!(read_layer(&pulled, 0).unwrap(), content);

    let registry = registry();
    let making = Arc::new(Making::default());
    let made: Arc<dyn Layer> = Arc::new(MakingLayer(Arc::clone(&making)));
    let mut upload = registry.begin(&[reference(&real.name("stream:t"))]).unwrap();
    upload.layer(Arc::clone(&made));
    let content = noise(3, 2_000_000);
    for part in content.chunks(300_000) {
        making.write(part);
        thread::sleep(Duration::from_millis(5));
    }
    making.finish();
    upload.finish(&image_of(&[made])).unwrap();
    let pulled = pull(&registry, &real.name("stream:t")).unwrap();
    assert_eq!(read_layer(&pulled, 0).unwrap(), content);
}

#[test]
fn htpasswd() {
    let real = Real::start(|directory| {
        let file = directory.join("htpasswd");
        fs::write(&file, run("htpasswd", &["-Bbn", "me", "hunter22"])).unwrap();
        format!(
            "auth:\n  htpasswd:\n    realm: fake\n    path: {}\n",
            file.display()
        )
    });
    let error = push(&registry(), &image(&[b"x"]), &[&real.name("a:t")]).unwrap_err();
    assert_eq!(error.kind, TransferErrorKind::Unauthorized);
    assert!(chain(&error).contains("no credentials for"), "{}", chain(&error));
    let with = |password: &str| {
        let credential = Credential::Basic {
            username: "me".into(),
            password: Secret::new(password),
        };
        Registry::new(Settings {
            keychain: Keychain::default().with_credential("the test", &real.address, credential),
            ..Settings::default()
        })
        .unwrap()
    };
    push(&with("hunter22"), &image(&[b"x"]), &[&real.name("a:t")]).unwrap();
    pull(&with("hunter22"), &real.name("a:t")).unwrap();
    assert_eq!(
        pull(&with("wrong"), &real.name("a:t")).unwrap_err().kind,
        TransferErrorKind::Unauthorized
    );
}

#[test]
fn tls_with_a_private_authority_complaints_2_and_3() {
    let mutual = |directory: &Path| {
        format!(
            "  tls:\n    certificate: {0}/server.pem\n    key: {0}/server.key\n    clientcas: [{0}/ca.pem]\n",
            directory.display()
        )
    };
    let plain = |directory: &Path| {
        let text = mutual(directory);
        text[..text.find("    clientcas").unwrap()].to_owned()
    };
    let real = Real::start(|directory| {
        make_certificates(directory);
        plain(directory)
    });
    let file = |name: &str| fs::read(real.directory.path().join(name)).unwrap();
    let ca = Pem {
        origin: "ca.pem".into(),
        text: file("ca.pem"),
    };
    let with = |change: &dyn Fn(&mut Settings)| {
        let mut settings = crate::samples::settings().0;
        change(&mut settings);
        Registry::new(settings).unwrap()
    };
    let image = image(&[b"x"]);
    let name = real.name("a:t");
    // Not trusted, and no way round it without being told: the message says what to do.
    let error = push(&with(&|_| {}), &image, &[&name]).unwrap_err();
    assert_eq!(error.kind, TransferErrorKind::Unavailable);
    assert!(chain(&error).contains("name its authority"), "{}", chain(&error));
    let trust = |trust| TrustRule {
        prefix: real.address.clone(),
        trust,
    };
    for registry in [
        with(&|settings| settings.roots.extra.push(ca.clone())),
        with(&|settings| settings.roots.store.push(ca.clone())),
        with(&|settings| {
            let host = HostTls {
                roots: vec![ca.clone()],
                identity: None,
            };
            settings.hosts.insert(real.address.clone(), host);
        }),
        with(&|settings| settings.trust.push(trust(Trust::SkipVerify))),
        with(&|settings| settings.trust.push(trust(Trust::Insecure))),
    ] {
        push(&registry, &image, &[&name]).unwrap();
        pull(&registry, &name).unwrap();
    }
    // The name in the certificate counts.
    let registry = with(&|settings| settings.roots.extra.push(ca.clone()));
    let port = real.address.rsplit_once(':').unwrap().1;
    pull(&registry, &format!("localhost:{port}/a:t")).unwrap();
    assert!(pull(&registry, &format!("127.0.0.2:{port}/a:t")).is_err());

    // A registry that wants to know us by a certificate.
    let strict = Real::start(|directory| {
        for name in ["ca.pem", "server.pem", "server.key"] {
            fs::write(directory.join(name), file(name)).unwrap();
        }
        mutual(directory)
    });
    let name = strict.name("a:t");
    let unknown = with(&|settings| settings.roots.extra.push(ca.clone()));
    let error = push(&unknown, &image, &[&name]).unwrap_err();
    assert_eq!(error.kind, TransferErrorKind::Unavailable);
    assert!(
        chain(&error).contains("know us by a certificate"),
        "{}",
        chain(&error)
    );
    let known = with(&|settings| {
        let identity = Identity {
            origin: "client.pem".into(),
            certificates: file("client.pem"),
            key: Secret::new(String::from_utf8(file("client.key")).unwrap()),
        };
        let host = HostTls {
            roots: vec![ca.clone()],
            identity: Some(identity),
        };
        settings.hosts.insert(strict.address.clone(), host);
    });
    push(&known, &image, &[&name]).unwrap();
}

#[test]
fn another_client_reads_what_we_pushed_and_the_other_way_round() {
    use oci_client::client::{ClientConfig, ClientProtocol, Config, ImageLayer};
    use oci_client::secrets::RegistryAuth;

    let real = Real::open();
    let registry = registry();
    let content = noise(4, 1_000_000);
    let ours = image(&[&content]);
    push(&registry, &ours, &[&real.name("ours:t")]).unwrap();
    let config = ClientConfig {
        protocol: ClientProtocol::Http,
        ..ClientConfig::default()
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let client = oci_client::Client::new(config);
        let accepted = vec!["application/vnd.oci.image.layer.v1.tar"];
        let name = real.name("ours:t").parse().unwrap();
        let read = client
            .pull(&name, &RegistryAuth::Anonymous, accepted)
            .await
            .unwrap();
        assert_eq!(read.layers[0].data, content);
        assert_eq!(read.digest.as_deref(), Some(ours.digest().unwrap().as_str()));
        let layers = [ImageLayer::oci_v1(content.clone(), None)];
        let config = ours.encode_config().unwrap();
        let config = Config::oci_v1(config.bytes.to_vec(), None);
        let name = real.name("theirs:t").parse().unwrap();
        client
            .push(&name, &layers, config, &RegistryAuth::Anonymous, None)
            .await
            .unwrap();
    });
    let theirs = pull(&registry, &real.name("theirs:t")).unwrap();
    assert_eq!(read_layer(&theirs, 0).unwrap(), content);
}

#[test]
fn skopeo_copies_what_we_pushed_and_keeps_its_digest() {
    let real = Real::open();
    let registry = registry();
    // skopeo looks into layers: this one is a tar with nothing in it.
    let ours = image(&[&[0; 1024]]);
    push(&registry, &ours, &[&real.name("ours:t")]).unwrap();
    let layout = real.directory.path().join("layout").display().to_string();
    run(
        "skopeo",
        &[
            "copy",
            "--src-tls-verify=false",
            "--preserve-digests",
            &format!("docker://{}", real.name("ours:t")),
            &format!("oci:{layout}:t"),
        ],
    );
    run(
        "skopeo",
        &[
            "copy",
            "--dest-tls-verify=false",
            "--preserve-digests",
            &format!("oci:{layout}:t"),
            &format!("docker://{}", real.name("theirs:t")),
        ],
    );
    let theirs = pull(&registry, &real.name("theirs:t")).unwrap();
    assert_eq!(theirs.digest().unwrap(), ours.digest().unwrap());
}

#[test]
fn a_registry_that_is_killed_while_we_push_is_unavailable() {
    let mut real = Real::open();
    let making = Arc::new(Making::default());
    let made: Arc<dyn Layer> = Arc::new(MakingLayer(Arc::clone(&making)));
    let elsewhere: Arc<dyn Layer> = Arc::new(FromElsewhere {
        layer: layer(b"x"),
        origin: reference(&real.name("base")),
    });
    let mut upload = registry().begin(&[reference(&real.name("a:t"))]).unwrap();
    upload.layer(elsewhere);
    upload.layer(Arc::clone(&made));
    making.write(&noise(5, 1_000_000));
    thread::sleep(Duration::from_millis(200));
    real.child.kill().unwrap();
    real.child.wait().unwrap();
    making.write(&noise(6, 1_000_000));
    making.finish();
    let error = upload.finish(&image_of(&[made])).unwrap_err();
    assert_eq!(error.kind, TransferErrorKind::Unavailable, "{}", chain(&error));
}
