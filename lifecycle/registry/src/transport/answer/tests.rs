use proptest::prelude::*;

use std::sync::Arc;

use http::HeaderValue;

use super::*;
use crate::Settings;

fn headers(value: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(header::RETRY_AFTER, HeaderValue::from_str(value).unwrap());
    headers
}

#[test]
fn retry_after_is_seconds_or_a_date() {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_770);
    for (value, expected) in [
        ("7", Some(7)),
        (" 120 ", Some(120)),
        ("Sun, 06 Nov 1994 08:49:37 GMT", Some(7)),
        ("Sun, 06 Nov 1994 08:49:29 GMT", Some(0)),
        ("Thu, 29 Feb 1996 00:00:00 GMT", Some(825_552_000 - 784_111_770)),
        ("soon", None),
        ("-1", None),
        ("Sun, 40 Nov 1994 08:49:37 GMT", None),
        ("Sun, 06 Nov 0000 08:49:37 GMT", None),
    ] {
        assert_eq!(
            retry_after(&headers(value), now),
            expected.map(Duration::from_secs),
            "{value}"
        );
    }
}

#[test]
fn locations_lead_where_they_say_and_never_out_of_tls() {
    for (asked, location, expected) in [
        (
            "https://r.test/v2/a",
            "/v2/b?x=1",
            Some("https://r.test/v2/b?x=1"),
        ),
        ("https://r.test/v2/a/", "b", Some("https://r.test/v2/a/b")),
        (
            "https://r.test/v2/a",
            "https://s.test/b",
            Some("https://s.test/b"),
        ),
        ("https://r.test/v2/a", "http://r.test/b", Some("https://r.test/b")),
        (
            "https://r.test:5000/a",
            "http://r.test:5000/b",
            Some("https://r.test:5000/b"),
        ),
        (
            "https://r.test:5000/a",
            "http://r.test/b",
            Some("https://r.test:5000/b"),
        ),
        (
            "https://r.test/a",
            "http://r.test:8080/b",
            Some("http://r.test:8080/b"),
        ),
        ("http://r.test/a", "http://r.test/b", Some("http://r.test/b")),
        ("https://r.test/a", "https://u:p@r.test/b", None),
        ("https://r.test/a", "file:///etc/passwd", None),
        ("https://r.test/a", "http://[", None),
    ] {
        let led = lead(&asked.parse().unwrap(), Some(location));
        assert_eq!(led.ok().as_ref().map(Url::as_str), expected, "{asked} {location}");
    }
    assert!(lead(&"https://r.test/".parse().unwrap(), None).is_err());
}

#[test]
fn pauses_double_up_to_a_limit_and_heed_the_registry() {
    #[derive(Debug)]
    struct Still;
    impl crate::Clock for Still {
        fn now(&self) -> SystemTime {
            SystemTime::UNIX_EPOCH
        }
        fn jitter(&self) -> f64 {
            0.5
        }
        fn sleep(&self, _: Duration) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>> {
            Box::pin(std::future::ready(()))
        }
    }
    let transport = Transport::new(Settings {
        clock: Arc::new(Still),
        ..Settings::default()
    })
    .unwrap();
    let answer = |status, seconds: Option<u64>| {
        Error::Status(Box::new(Answer {
            method: "GET".into(),
            url: String::new(),
            status,
            reports: Vec::new(),
            retry_after: seconds.map(Duration::from_secs),
            note: None,
        }))
    };
    let pause = |status, asked, tries| transport.pause(&answer(status, asked), tries);
    let millis = |n| Some(Duration::from_millis(n));
    assert_eq!(pause(503, None, 1), millis(375));
    assert_eq!(pause(503, None, 2), millis(750));
    assert_eq!(pause(503, None, 4), millis(3000));
    assert_eq!(pause(503, None, 5), None, "no more tries than allowed");
    assert_eq!(pause(429, Some(60), 1), millis(60_000));
    assert_eq!(pause(429, Some(0), 1), millis(375));
    assert_eq!(pause(429, Some(3600), 1), None, "nobody waits that long");
    assert_eq!(pause(404, None, 1), None);
}

proptest! {
    #[test]
    fn any_retry_after_is_read(value in "[ -~]{0,40}", seconds in 0_u64..10_000_000_000) {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        retry_after(&headers(&value), now);
    }

    #[test]
    fn no_redirect_shows_secrets(user in "[a-z]{4,8}", password in "[a-z]{4,8}X", signature in "[a-f0-9]{16}") {
        let url: Url = format!("https://{user}:{password}@s.test/b?sig={signature}").parse().unwrap();
        let text = shown(&url);
        prop_assert!(!text.contains(&password) && !text.contains(&signature));
    }
}
