use lifecycle_image::{BytesLayer, Compression, DiffId, Digest, Family, MediaType};

use super::*;
use crate::entry::show;

/// A layer, an entry a line: `directory/`, `file content`, `link -> target`.
fn layer(entries: &str) -> Arc<dyn Layer> {
    let mut tar = TarWriter::new(Vec::new(), Style::Oci { latest: None });
    for line in entries.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (path, rest) = line.split_once(' ').unwrap_or((line, ""));
        let (kind, data) = match rest.strip_prefix("-> ") {
            Some(target) => (Kind::HardLink(target.as_bytes().to_vec().into()), ""),
            None if path.ends_with('/') => (Kind::Directory, ""),
            None => {
                let size = rest.len() as u64;
                (Kind::File { size }, rest)
            }
        };
        let entry = Entry {
            path: path.trim_end_matches('/').as_bytes().to_vec().into(),
            kind,
            mode: 0o644,
            owner: crate::Owner::new(7, 8),
            mtime: 9,
            xattrs: Vec::new(),
        };
        tar.entry(&entry).unwrap();
        if !data.is_empty() {
            tar.data(data.as_bytes()).unwrap();
        }
    }
    bytes_layer(tar.finish().unwrap())
}

fn bytes_layer(bytes: Vec<u8>) -> Arc<dyn Layer> {
    let diff_id = DiffId(Digest::of(&bytes));
    let media_type = MediaType::layer(Family::Oci, Compression::None);
    Arc::new(BytesLayer::new(media_type, bytes, diff_id))
}

/// What is left of the layers, in the notation of [`layer`].
fn list(layers: &[Arc<dyn Layer>]) -> Vec<String> {
    let tar = flatten(layers, Some(5), Vec::new()).unwrap();
    let mut reader = TarReader::new(&tar[..]);
    let mut found = Vec::new();
    while let Some(entry) = reader.next_entry().unwrap() {
        let mut data = Vec::new();
        loop {
            let piece = reader.chunk().unwrap();
            if piece.is_empty() {
                break;
            }
            let count = piece.len();
            data.extend_from_slice(piece);
            reader.consume(count);
        }
        assert_eq!((entry.owner.uid, entry.mtime), (7, 5));
        let rest = match &entry.kind {
            Kind::HardLink(target) => format!("-> {}", show(target)),
            _ => String::from_utf8(data).unwrap(),
        };
        found.push(format!("{} {rest}", show(&entry.path)).trim_end().to_owned());
    }
    found
}

#[test]
fn what_shows_is_written_once_o5() {
    let lower = layer(
        "d/
         d/gone 1
         d/kept 2
         opaque/
         opaque/old 3
         turned/
         turned/child 4
         a 5
         b -> a
         c -> a",
    );
    let upper = layer(
        "a 6
         d/.wh.gone
         opaque/.wh..wh..opq
         opaque/new 7
         turned 8",
    );
    assert_eq!(
        list(&[lower, upper]),
        [
            "d/",
            "opaque/",
            "d/kept 2",
            "b 5",
            "c -> b",
            "a 6",
            "opaque/new 7",
            "turned 8"
        ]
    );
}

#[test]
fn nothing_is_an_empty_tar() {
    assert!(list(&[]).is_empty());
}

/// What one layer after the other leaves of a file system, and what the one in their place does.
#[test]
fn a_merged_layer_does_what_its_layers_do_kaniko_1_1() {
    let base = layer(
        "d/
         d/a a
         d/b b
         anew/
         anew/old o
         turned/
         turned/old o
         file f
         emptied/
         emptied/old o
         kept k",
    );
    let first = layer(
        "d/
         d/.wh.a
         d/new n
         .wh.anew
         turned t
         .wh.file
         emptied/
         emptied/.wh..wh..opq
         made m",
    );
    let second = layer(
        "d/.wh.new
         anew/
         anew/young y
         turned/
         turned/young y
         file g
         .wh.made
         link -> file",
    );
    let mut bytes = Vec::new();
    MergedLayer::new(vec![Arc::clone(&first), Arc::clone(&second)])
        .write(&mut bytes)
        .unwrap();
    let sorted = |layers: &[Arc<dyn Layer>]| {
        let mut found = list(layers);
        found.sort();
        found
    };
    let apart = sorted(&[Arc::clone(&base), first, second]);
    assert!(
        apart.contains(&"anew/young y".to_owned()) && !apart.contains(&"d/a a".to_owned()),
        "{apart:?}"
    );
    assert_eq!(sorted(&[base, bytes_layer(bytes)]), apart);
}
