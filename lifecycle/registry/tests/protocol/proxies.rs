//! Through a proxy, with TLS that ends at the registry.

use lifecycle_image::TransferErrorKind;
use lifecycle_registry::{Pem, Proxies, Registry, Secret};

use crate::fake_registry::FakeRegistry;
use crate::proxy::Proxy;
use crate::samples::{chain, image, noise, pull, push, read_layer, settings};
use crate::tls_front::TlsFront;

/// `me:hunter22`
const PASSWORD: &str = "Basic bWU6aHVudGVyMjI=";

#[test]
fn tls_goes_through_a_tunnel_to_a_registry_of_a_private_authority() {
    let fake = FakeRegistry::start();
    let front = TlsFront::before(fake.address());
    let proxy = Proxy::start(&[("files.test:443", front.address())], Some(PASSWORD));
    let ca = Pem {
        origin: "ca.pem".into(),
        text: std::fs::read(front.authority()).unwrap(),
    };
    let with = |user: &str, trusted: bool, no_proxy: &str| {
        let mut settings = settings().0;
        settings.proxies = Proxies {
            http: None,
            https: Some(Secret::new(proxy.url(user))),
            no_proxy: no_proxy.to_owned(),
        };
        settings.roots.extra.extend(trusted.then(|| ca.clone()));
        Registry::new(settings).unwrap()
    };
    let content = noise(11, 300_000);
    let registry = with("me:hunter22@", true, "");
    push(&registry, &image(&[&content]), &["files.test/a:t"]).unwrap();
    let pulled = pull(&registry, "files.test/a:t").unwrap();
    assert_eq!(read_layer(&pulled, 0).unwrap(), content);
    // The proxy has seen where the tunnel leads, and the registry no proxy.
    let asked = proxy.take();
    assert!(
        !asked.is_empty() && asked.iter().all(|line| line == "CONNECT files.test:443"),
        "{asked:?}"
    );
    assert!(
        fake.seen()
            .iter()
            .all(|seen| !seen.headers.contains_key("proxy-authorization"))
    );

    // What goes wrong says what it was, and no password.
    let error = pull(&with("me:wr0ng-pw@", true, ""), "files.test/a:t").unwrap_err();
    assert_eq!(error.kind, TransferErrorKind::Unavailable);
    let text = format!("{} {error:?}", chain(&error));
    assert!(
        !text.contains("wr0ng-pw") && text.to_lowercase().contains("proxy"),
        "{text}"
    );
    let error = pull(&with("me:hunter22@", false, ""), "files.test/a:t").unwrap_err();
    assert!(chain(&error).contains("name its authority"), "{}", chain(&error));
    proxy.take();
    for direct in ["files.test", ".test", "*"] {
        let error = pull(&with("me:hunter22@", true, direct), "files.test/a:t").unwrap_err();
        assert!(
            chain(&error).contains("no such host"),
            "{direct}: {}",
            chain(&error)
        );
    }
    assert_eq!(proxy.take(), [] as [&str; 0]);
}
