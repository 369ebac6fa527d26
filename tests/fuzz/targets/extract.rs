//! Layers unpacked one over the other: whatever their entries are called and link to, nothing beside the directory
//! that they are unpacked into is made, changed or removed, and no one reads through them.
#![no_main]

use std::fs::{self, File};
use std::os::fd::AsFd as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use lifecycle_image::NoProgress;
use lifecycle_layers::{
    Device, Entry, ExtractOptions, Kind, Limits, OpaqueXattr, Owner, Ownership, Refused, Style, TarWriter,
    Whiteouts, Xattr, extract,
};

#[derive(Debug, Arbitrary)]
struct Input {
    layers: Vec<Vec<Item>>,
    squash: bool,
    whiteouts: u8,
}

#[derive(Debug, Arbitrary)]
struct Item {
    path: Vec<Part>,
    absolute: bool,
    what: What,
    mode: u16,
    owner: (u16, u16),
    mtime: i64,
    xattr: Option<(u8, Vec<u8>)>,
}

#[derive(Debug, Arbitrary)]
enum What {
    File(Vec<u8>),
    Directory,
    Symlink(Vec<Part>, bool),
    HardLink(Vec<Part>, bool),
    Fifo,
    CharDevice(u8, u8),
    BlockDevice(u8, u8),
}

/// A name between slashes. There are few, so that entries meet.
#[derive(Debug, Arbitrary)]
enum Part {
    A,
    B,
    Up,
    Here,
    Empty,
    Canary,
    Outside,
    WhiteoutA,
    WhiteoutUp,
    WhiteoutNothing,
    Opaque,
    LayersDirectory,
    Bytes(Vec<u8>),
}

impl Part {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::A => b"a",
            Self::B => b"b",
            Self::Up => b"..",
            Self::Here => b".",
            Self::Empty => b"",
            Self::Canary => b"canary",
            Self::Outside => b"outside",
            Self::WhiteoutA => b".wh.a",
            Self::WhiteoutUp => b".wh...",
            Self::WhiteoutNothing => b".wh.",
            Self::Opaque => b".wh..wh..opq",
            Self::LayersDirectory => b".wh..wh.plnk",
            Self::Bytes(bytes) => bytes,
        }
    }
}

/// A path of parts; an absolute one begins with where the canaries really lie.
fn path(parts: &[Part], absolute: bool, outer: &Path) -> Vec<u8> {
    let joined = parts.iter().map(Part::bytes).collect::<Vec<_>>().join(&b'/');
    let start = if absolute {
        outer.as_os_str().as_encoded_bytes()
    } else {
        b""
    };
    let separator: &[u8] = if absolute { b"/" } else { b"" };
    [start, separator, &joined].concat()
}

impl Item {
    fn write(&self, writer: &mut TarWriter<Vec<u8>>, outer: &Path) {
        const XATTRS: [&[u8]; 4] = [
            b"user.a",
            b"trusted.overlay.opaque",
            b"security.capability",
            b"system.posix_acl_access",
        ];
        let data: &[u8] = match &self.what {
            What::File(bytes) => bytes,
            _ => b"",
        };
        let device = |major: u8, minor: u8| Device {
            major: major.into(),
            minor: minor.into(),
        };
        let kind = match &self.what {
            What::File(bytes) => Kind::File {
                size: bytes.len() as u64,
            },
            What::Directory => Kind::Directory,
            What::Symlink(target, absolute) => Kind::Symlink(path(target, *absolute, outer).into()),
            What::HardLink(target, absolute) => Kind::HardLink(path(target, *absolute, outer).into()),
            What::Fifo => Kind::Fifo,
            What::CharDevice(major, minor) => Kind::CharDevice(device(*major, *minor)),
            What::BlockDevice(major, minor) => Kind::BlockDevice(device(*major, *minor)),
        };
        let xattrs = self.xattr.iter().map(|(name, value)| Xattr {
            name: XATTRS[usize::from(*name) % XATTRS.len()].to_vec(),
            value: value.clone(),
        });
        let entry = Entry {
            path: path(&self.path, self.absolute, outer).into(),
            kind,
            mode: self.mode.into(),
            owner: Owner::new(self.owner.0.into(), self.owner.1.into()),
            mtime: self.mtime,
            xattrs: xattrs.collect(),
        };
        // Names that no tar can hold are not written at all.
        if writer.entry(&entry).is_ok() && !data.is_empty() {
            writer.data(data).expect("memory takes everything");
        }
    }
}

/// What is beside the root: name, links, mode, owner, times and content.
fn outside(outer: &Path) -> Vec<(String, u64, u32, u32, i64, i64, Vec<u8>)> {
    let mut found = Vec::new();
    let mut directories = vec![outer.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).expect("the directory can be listed") {
            let path = entry.expect("its entries can be read").path();
            if path == outer.join("root") {
                continue;
            }
            let metadata = fs::symlink_metadata(&path).expect("the entry is there");
            let content = if metadata.is_file() {
                fs::read(&path).expect("it can be read")
            } else {
                Vec::new()
            };
            let name = path.display().to_string();
            let (mode, uid) = (metadata.permissions().mode(), metadata.uid());
            found.push((
                name,
                metadata.nlink(),
                mode,
                uid,
                metadata.mtime(),
                metadata.ctime_nsec(),
                content,
            ));
            if metadata.is_dir() {
                directories.push(path);
            }
        }
    }
    found.sort();
    found
}

fuzz_target!(|input: Input| {
    let outer = tempfile::tempdir().expect("a temporary directory");
    let outer = outer.path();
    fs::create_dir_all(outer.join("outside/a")).expect("a directory outside");
    fs::create_dir(outer.join("root")).expect("a root");
    for name in ["canary", "a", "outside/canary", "outside/a/b"] {
        fs::write(outer.join(name), "alive").expect("a file outside");
    }
    let before = outside(outer);
    let root = File::open(outer.join("root")).expect("the root can be opened");
    let options = ExtractOptions {
        whiteouts: match input.whiteouts % 4 {
            0 | 1 => Whiteouts::Apply,
            2 => Whiteouts::Overlay(OpaqueXattr::User),
            _ => Whiteouts::Literal,
        },
        ownership: if input.squash {
            Ownership::Squash
        } else {
            Ownership::Keep
        },
        refused: Refused::Skip,
        limits: Limits {
            entries: Some(1000),
            bytes: Some(1 << 20),
        },
        ..ExtractOptions::default()
    };
    for layer in input.layers.iter().take(4) {
        let mut writer = TarWriter::new(Vec::new(), Style::Oci { latest: None });
        for item in layer {
            item.write(&mut writer, outer);
        }
        let tar = writer.finish().expect("memory takes everything");
        let result = extract(tar.as_slice(), None, root.as_fd(), &options, &NoProgress);
        assert_eq!(before, outside(outer), "{result:?}");
    }
});
