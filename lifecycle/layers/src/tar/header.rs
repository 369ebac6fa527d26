//! The 512 bytes of a header: where fields lie, and how numbers are written in them.

use std::ops::Range;

use super::BLOCK;

pub(super) const NAME: Range<usize> = 0..100;
pub(super) const MODE: Range<usize> = 100..108;
pub(super) const UID: Range<usize> = 108..116;
pub(super) const GID: Range<usize> = 116..124;
pub(super) const SIZE: Range<usize> = 124..136;
pub(super) const MTIME: Range<usize> = 136..148;
pub(super) const CHECKSUM: Range<usize> = 148..156;
pub(super) const TYPE: usize = 156;
pub(super) const LINK: Range<usize> = 157..257;
pub(super) const MAGIC: Range<usize> = 257..265;
pub(super) const DEV_MAJOR: Range<usize> = 329..337;
pub(super) const DEV_MINOR: Range<usize> = 337..345;
pub(super) const PREFIX: Range<usize> = 345..500;
/// star keeps times in the last bytes of the prefix, and says so at the end of the header.
pub(super) const STAR_PREFIX: Range<usize> = 345..476;
pub(super) const STAR_MAGIC: Range<usize> = 508..512;

pub(super) const USTAR: &[u8; 8] = b"ustar\x0000";
pub(super) const GNU: &[u8; 8] = b"ustar  \0";

/// A header as bytes.
pub(super) type Header = [u8; BLOCK];

/// Whether `value` fits a field of `width` bytes as octal digits with a final NUL.
pub(super) fn fits_octal(width: usize, value: i64) -> bool {
    let bits = 3 * (width - 1);
    value >= 0 && (bits >= 63 || value < 1 << bits)
}

/// Writes zero-padded octal digits and a NUL; a value that does not fit is written as 0, as PAX wants it.
pub(super) fn put_octal(field: &mut [u8], value: i64) {
    let mut rest = if fits_octal(field.len(), value) { value } else { 0 };
    if let Some((last, digits)) = field.split_last_mut() {
        *last = 0;
        for digit in digits.iter_mut().rev() {
            *digit = b'0' + u8::try_from(rest & 7).unwrap_or(0);
            rest >>= 3;
        }
    }
}

/// Writes text, cut to the field.
pub(super) fn put_text(field: &mut [u8], text: &[u8]) {
    let length = text.len().min(field.len());
    field[..length].copy_from_slice(&text[..length]);
    field[length..].fill(0);
}

/// Writes the checksum: six octal digits, a NUL and a space.
pub(super) fn put_checksum(header: &mut Header) {
    header[CHECKSUM].fill(b' ');
    let sum: i64 = header.iter().map(|&byte| i64::from(byte)).sum();
    put_octal(&mut header[CHECKSUM.start..CHECKSUM.end - 1], sum);
}

/// Whether the checksum holds. Some old writers summed signed bytes, so both sums are right.
pub(super) fn checksum_holds(header: &Header) -> bool {
    let Some(written) = number(&header[CHECKSUM]) else {
        return false;
    };
    let sum = |value: fn(u8) -> i64| -> i64 {
        header
            .iter()
            .enumerate()
            .map(|(at, &byte)| value(if CHECKSUM.contains(&at) { b' ' } else { byte }))
            .sum()
    };
    written == sum(i64::from) || written == sum(|byte| i64::from(byte.cast_signed()))
}

/// Reads a number: octal digits with blanks or NULs around them, or GNU's base 256 (which may be negative).
/// An empty field is 0. `None` if it is no number, or too large.
pub(super) fn number(field: &[u8]) -> Option<i64> {
    match field.first() {
        Some(first) if first & 0x80 != 0 => base256(field),
        _ => octal(field),
    }
}

fn octal(field: &[u8]) -> Option<i64> {
    let text = field
        .split(|&byte| byte == 0)
        .find(|part| !part.is_empty())
        .unwrap_or(b"")
        .trim_ascii();
    text.iter().try_fold(0_i64, |value, &digit| match digit {
        b'0'..=b'7' => value.checked_mul(8)?.checked_add(i64::from(digit - b'0')),
        _ => None,
    })
}

/// Two's complement over all bits of the field except the first one, which marks the encoding.
fn base256(field: &[u8]) -> Option<i64> {
    let negative = field[0] & 0x40 != 0;
    let first = if negative { field[0] } else { field[0] & 0x7f };
    let start = if negative { -1 } else { 0 };
    std::iter::once(first)
        .chain(field[1..].iter().copied())
        .try_fold(start, |value: i64, byte| {
            value.checked_mul(256)?.checked_add(i64::from(byte))
        })
}

/// The text of a field, up to its first NUL.
pub(super) fn text(field: &[u8]) -> &[u8] {
    field.split(|&byte| byte == 0).next().unwrap_or(b"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_every_writer() {
        for (field, value) in [
            (&b"0000644\0"[..], Some(0o644)),
            (b"   644 \0", Some(0o644)),
            (b"644\0\0\0\0\0", Some(0o644)),
            (b"\0\0\0\0\0\0\0\0", Some(0)),
            (b"        ", Some(0)),
            (b"77777777", Some(0o77_777_777)),
            (b"0000648\0", None),
            (b"-000001\0", None),
            (b"\x80\0\0\0\0\0\x01\0", Some(256)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff", Some(-1)),
            (b"\x80\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff", None),
        ] {
            assert_eq!(number(field), value, "{field:?}");
        }
    }

    #[test]
    fn octal_round_trip_and_limit() {
        let mut field = [0; 8];
        put_octal(&mut field, 0o7_777_777);
        assert_eq!(&field, b"7777777\0");
        put_octal(&mut field, 0o10_000_000);
        assert_eq!(&field, b"0000000\0");
        assert!(fits_octal(12, (8 << 30) - 1));
        assert!(!fits_octal(12, 8 << 30));
    }
}
