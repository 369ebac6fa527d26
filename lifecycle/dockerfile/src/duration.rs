//! Durations as flags write them (`1m30s`) and as history texts show them (`1m30s`, `500ms`, `0s`).

use std::fmt;

/// A length of time in nanoseconds, the unit image configurations use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct GoDuration(i64);

const UNITS: [(&str, i64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("\u{b5}s", 1_000),
    ("\u{3bc}s", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

impl GoDuration {
    /// Nanoseconds.
    pub fn nanoseconds(self) -> i64 {
        self.0
    }

    /// Reads decimal numbers with units, as in `-1.5h` or `2m3.25s`; `None` if it is none or too long to count.
    pub fn parse(text: &str) -> Option<Self> {
        let (negative, mut rest) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        if rest == "0" {
            return Some(Self(0));
        }
        if rest.is_empty() {
            return None;
        }
        let mut total: i64 = 0;
        while !rest.is_empty() {
            let digits = rest.find(|character: char| !character.is_ascii_digit() && character != '.')?;
            let (number, behind) = rest.split_at(digits);
            let unit_length = behind
                .find(|character: char| character.is_ascii_digit() || character == '.')
                .unwrap_or(behind.len());
            let (unit, next) = behind.split_at(unit_length);
            let &(_, scale) = UNITS.iter().find(|(name, _)| *name == unit)?;
            total = total.checked_add(scaled(number, scale)?)?;
            rest = next;
        }
        Some(Self(if negative { -total } else { total }))
    }
}

/// A decimal number times `scale`; what is below a nanosecond is dropped.
fn scaled(number: &str, scale: i64) -> Option<i64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
        return None;
    }
    let whole = if whole.is_empty() {
        0
    } else {
        whole.parse::<i64>().ok()?
    };
    let mut total = whole.checked_mul(scale)?;
    let mut weight = i128::from(scale);
    let mut divisor: i128 = 1;
    let mut part: i128 = 0;
    for digit in fraction.bytes().take(18) {
        divisor *= 10;
        part = part * 10 + i128::from(digit - b'0');
    }
    weight = part * weight / divisor;
    total = total.checked_add(i64::try_from(weight).ok()?)?;
    Some(total)
}

impl fmt::Display for GoDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let size = self.0.unsigned_abs();
        if self.0 < 0 {
            f.write_str("-")?;
        }
        match size {
            0 => f.write_str("0s"),
            1..1_000 => write!(f, "{size}ns"),
            1_000..1_000_000 => write!(f, "{}\u{b5}s", decimal(size, 1_000)),
            1_000_000..1_000_000_000 => write!(f, "{}ms", decimal(size, 1_000_000)),
            _ => {
                let (minutes, rest) = (size / 60_000_000_000, size % 60_000_000_000);
                if minutes >= 60 {
                    write!(f, "{}h", minutes / 60)?;
                }
                if minutes > 0 {
                    write!(f, "{}m", minutes % 60)?;
                }
                write!(f, "{}s", decimal(rest, 1_000_000_000))
            }
        }
    }
}

/// `value / unit` without trailing zeros.
fn decimal(value: u64, unit: u64) -> String {
    let digits = unit.ilog10() as usize;
    let text = format!("{}.{:0digits$}", value / unit, value % unit);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_shows() {
        for (text, shown) in [
            ("5s", "5s"),
            ("90s", "1m30s"),
            ("1h", "1h0m0s"),
            ("1.5h", "1h30m0s"),
            (".5s", "500ms"),
            ("1.", ""),
            ("1.s", "1s"),
            ("1500us", "1.5ms"),
            ("1500\u{b5}s", "1.5ms"),
            ("2ns", "2ns"),
            ("1234ns", "1.234\u{b5}s"),
            ("-3s", "-3s"),
            ("+3s", "3s"),
            ("0", "0s"),
            ("0s", "0s"),
            ("100m100s", "1h41m40s"),
            ("5", ""),
            ("", ""),
            ("s", ""),
            (".s", ""),
            ("1..2s", ""),
            ("1d", ""),
            ("9999999h", ""),
        ] {
            let result = GoDuration::parse(text)
                .map(|duration| duration.to_string())
                .unwrap_or_default();
            assert_eq!(result, shown, "{text}");
        }
    }
}
