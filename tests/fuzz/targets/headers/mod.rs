//! Makes mutated tars worth reading.

const BLOCK: usize = 512;

/// Gives every header of a tar the checksum it should have, so that mutations get past the first check.
pub fn repair(bytes: &[u8]) -> Vec<u8> {
    let mut tar = bytes.to_vec();
    let mut at = 0;
    while let Some(header) = tar.get_mut(at..at + BLOCK) {
        if header.iter().all(|&byte| byte == 0) {
            at += BLOCK;
            continue;
        }
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        let size = std::str::from_utf8(&header[124..135]).ok();
        let size = size
            .and_then(|digits| usize::from_str_radix(digits, 8).ok())
            .unwrap_or(0);
        at = at.saturating_add(BLOCK + size.next_multiple_of(BLOCK));
    }
    tar
}
