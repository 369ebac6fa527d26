//! Numbers for people.

use std::time::{Duration, SystemTime};

/// A number of bytes with a decimal unit, as in `12.3 MB`.
pub(crate) fn human_size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    // Precise enough for three digits; exactness is not the point here.
    #[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
    let mut value = bytes as f64 / 1000.0;
    let mut unit = 0;
    while value >= 999.95 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// A duration as in `412 ms`, `3.4 s` or `2 min 5 s`.
pub(crate) fn human_duration(duration: Duration) -> String {
    match duration.as_secs() {
        0 => format!("{} ms", duration.as_millis()),
        1..60 => format!("{:.1} s", duration.as_secs_f64()),
        seconds => format!("{} min {} s", seconds / 60, seconds % 60),
    }
}

/// How long ago something was, as in `just now`, `5 min ago` or `3 days ago`.
pub(crate) fn human_age(then: SystemTime) -> String {
    let seconds = then.elapsed().unwrap_or_default().as_secs();
    let (count, unit) = match seconds {
        0..60 => return "just now".to_owned(),
        60..3600 => (seconds / 60, "min"),
        3600..7200 => (1, "hour"),
        7200..86_400 => (seconds / 3600, "hours"),
        86_400..172_800 => (1, "day"),
        _ => (seconds / 86_400, "days"),
    };
    format!("{count} {unit} ago")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (bytes, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (999_949, "999.9 kB"),
            (999_950, "1.0 MB"),
            (12_345_678, "12.3 MB"),
            (5_000_000_000_000_000, "5000.0 TB"),
        ] {
            assert_eq!(human_size(bytes), text);
        }
    }

    #[test]
    fn durations() {
        assert_eq!(human_duration(Duration::from_millis(412)), "412 ms");
        assert_eq!(human_duration(Duration::from_millis(3400)), "3.4 s");
        assert_eq!(human_duration(Duration::from_secs(125)), "2 min 5 s");
    }

    #[test]
    fn ages() {
        for (seconds, text) in [
            (0, "just now"),
            (61, "1 min ago"),
            (3600, "1 hour ago"),
            (7300, "2 hours ago"),
            (90_000, "1 day ago"),
            (864_000, "10 days ago"),
        ] {
            assert_eq!(human_age(SystemTime::now() - Duration::from_secs(seconds)), text);
        }
    }
}
