//! Tars of every dialect, entry by entry with their data.
#![no_main]

mod headers;

use libfuzzer_sys::fuzz_target;
use lifecycle_layers::TarReader;

fuzz_target!(|bytes: &[u8]| {
    let tar = headers::repair(bytes);
    let mut reader = TarReader::new(tar.as_slice());
    while let Ok(Some(entry)) = reader.next_entry() {
        let mut data = 0;
        loop {
            match reader.chunk() {
                Ok([]) => break,
                Ok(chunk) => {
                    let count = chunk.len();
                    data += count as u64;
                    reader.consume(count);
                }
                Err(_) => return,
            }
        }
        // What is read was in the archive, and a sparse file's pieces lie in order within its size.
        assert!(data <= tar.len() as u64);
        let mut end = 0;
        for segment in entry.sparse.iter().flatten() {
            assert!(segment.offset >= end, "{:?}", entry.sparse);
            end = segment
                .offset
                .checked_add(segment.length)
                .expect("a piece ends somewhere");
        }
        if entry.sparse.is_some() {
            assert!(
                matches!(entry.kind, lifecycle_layers::Kind::File { size } if end <= size),
                "{entry:?}"
            );
        }
    }
});
