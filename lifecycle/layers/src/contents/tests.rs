use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::net::UnixListener;

use super::*;
use crate::{Contents, Owner};

fn names(contents: &dyn Contents) -> Vec<String> {
    let mut tar = Vec::new();
    contents.write(&mut tar).unwrap();
    let mut reader = crate::TarReader::new(tar.as_slice());
    let mut names = Vec::new();
    while let Some(entry) = reader.next_entry().unwrap() {
        names.push(String::from_utf8(entry.path).unwrap());
    }
    names
}

fn layer(root: &Path) -> DirectoryLayer {
    DirectoryLayer::new(root, "/l").parents(Parents::Absent)
}

/// An output that does something to the tree once the header of the big file has passed.
struct Meddling<F: FnMut()> {
    seen: usize,
    meddle: Option<F>,
}

impl<F: FnMut()> Write for Meddling<F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.seen += bytes.len();
        // The directory's header, the file's header, and the first piece of its data.
        if self.seen > 2_000
            && let Some(mut meddle) = self.meddle.take()
        {
            meddle();
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn meddle(root: &Path, act: impl FnMut()) -> Result<(), PackError> {
    let mut out = Meddling {
        seen: 0,
        meddle: Some(act),
    };
    layer(root).write(&mut out)
}

#[test]
fn files_that_grow_or_shrink_are_named() {
    let size = 1 << 20;
    let check = |act: &dyn Fn(&File)| {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("big");
        fs::write(&path, vec![1; size]).unwrap();
        let file = File::options().append(true).open(&path).unwrap();
        match meddle(root.path(), || act(&file)).unwrap_err() {
            PackError::Changed {
                path: named,
                expected,
                actual,
            } => {
                assert_eq!(named, path.display().to_string());
                (expected, actual)
            }
            other => panic!("{other}"),
        }
    };
    let (expected, actual) = check(&|file| {
        let mut file = file;
        file.write_all(b"more").unwrap();
    });
    assert_eq!((expected, actual), (size as u64, size as u64 + 1));
    let (expected, actual) = check(&|file| file.set_len(600_000).unwrap());
    assert_eq!((expected, actual), (size as u64, 600_000));
}

#[test]
fn files_that_vanish_are_named() {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("a"), vec![1; 1 << 20]).unwrap();
    fs::write(root.path().join("b"), "x").unwrap();
    let gone = root.path().join("b");
    let error = meddle(root.path(), || fs::remove_file(&gone).unwrap()).unwrap_err();
    assert!(matches!(error, PackError::Vanished { path } if path == gone.display().to_string()));
}

/// A link that takes a file's place between being looked at and being opened is not followed.
#[test]
fn files_that_become_links_are_not_read() {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("file"), "x").unwrap();
    let handle = File::open(root.path()).unwrap();
    let stat = rustix::fs::statat(&handle, c"file", rustix::fs::AtFlags::SYMLINK_NOFOLLOW).unwrap();
    fs::remove_file(root.path().join("file")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", root.path().join("file")).unwrap();
    let found = Found {
        path: b"file",
        name: c"file",
        directory: handle.as_fd(),
        stat,
    };
    assert_eq!(open_file(&found).unwrap_err().kind(), io::ErrorKind::NotFound);
}

#[test]
fn sockets_are_skipped_and_pipes_are_not_own_06() {
    let root = tempfile::tempdir().unwrap();
    let _listener = UnixListener::bind(root.path().join("socket")).unwrap();
    let handle = File::open(root.path()).unwrap();
    let mode = Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(&handle, c"fifo", FileType::Fifo, mode, 0).unwrap();
    assert_eq!(names(&layer(root.path())), ["/l", "/l/fifo"]);
}

/// Who makes a buildpack's layers does not choose what of this machine is packed.
#[test]
fn what_took_the_place_of_the_directory_is_packed_and_no_link_followed() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join("secret")).unwrap();
    fs::write(root.path().join("secret/file"), "x").unwrap();
    std::os::unix::fs::symlink("secret", root.path().join("link")).unwrap();
    assert_eq!(names(&layer(&root.path().join("link"))), ["/l"]);
    assert_eq!(names(&layer(&root.path().join("secret/file"))), ["/l"]);
    assert_eq!(names(&layer(&root.path().join("secret"))), ["/l", "/l/file"]);
    // The user's own word for it is.
    let archive = DirectoryLayer::archive(root.path().join("link"));
    assert_eq!(names(&archive), ["/.", "/./file"]);
    let missing = layer(&root.path().join("none"))
        .write(&mut io::sink())
        .unwrap_err();
    assert!(matches!(missing, PackError::Vanished { .. }), "{missing}");
}

#[test]
fn hard_links_are_files_in_one_style_and_links_in_the_other_own_06() {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("a"), "x").unwrap();
    fs::hard_link(root.path().join("a"), root.path().join("b")).unwrap();
    let kinds = |layer: DirectoryLayer| {
        let mut tar = Vec::new();
        layer.write(&mut tar).unwrap();
        let mut reader = crate::TarReader::new(tar.as_slice());
        let mut kinds = Vec::new();
        while let Some(entry) = reader.next_entry().unwrap() {
            kinds.push(entry.kind);
        }
        kinds
    };
    let file = Kind::File { size: 1 };
    assert_eq!(
        kinds(layer(root.path())),
        [Kind::Directory, file.clone(), file.clone()]
    );
    let link = Kind::HardLink(b"l/a"[..].into());
    let oci = layer(root.path()).style(Style::Oci { latest: None });
    assert_eq!(kinds(oci), [Kind::Directory, file, link]);
}

#[test]
fn what_a_shared_volume_gives_is_not_in_the_layer_ps_05() {
    use std::os::unix::fs::PermissionsExt as _;

    let write = |contents: &dyn Contents| {
        let mut tar = Vec::new();
        contents.write(&mut tar).unwrap();
        tar
    };
    let owner = Owner::new(1000, 1000);
    let layers = |volume_mode: u32| {
        let volume = tempfile::tempdir().unwrap();
        let set = |path: &str, mode| {
            fs::set_permissions(volume.path().join(path), fs::Permissions::from_mode(mode)).unwrap();
        };
        set("", volume_mode);
        fs::create_dir_all(volume.path().join("bp/layer/bin")).unwrap();
        fs::write(volume.path().join("bp/layer/bin/tool"), "x").unwrap();
        // A program's own bit is nothing that a volume gives.
        set("bp/layer/bin/tool", 0o2755);
        let shared = volume_mode & 0o2000 != 0;
        assert_eq!(
            fs::metadata(volume.path().join("bp/layer"))
                .unwrap()
                .permissions()
                .mode()
                & 0o2000,
            volume_mode & 0o2000
        );
        let parents = Parents::FixedBelow {
            depth: 0,
            mode: 0o755,
            owner,
        };
        let layer = DirectoryLayer::new(volume.path().join("bp/layer"), "/layers/bp/layer")
            .owners(Owners::Fixed(owner))
            .parents(parents)
            .shared(shared);
        let app = AppLayer::new(volume.path(), "/workspace")
            .owners(Owners::Fixed(owner))
            .parents(Parents::Absent)
            .shared(shared);
        (write(&layer), write(&app))
    };
    let (layer, app) = layers(0o755);
    assert_eq!(layers(0o2777), (layer.clone(), app));
    let mut reader = crate::TarReader::new(layer.as_slice());
    let mut modes = Vec::new();
    while let Some(entry) = reader.next_entry().unwrap() {
        modes.push(entry.mode);
    }
    assert_eq!(modes, [0o755, 0o755, 0o755, 0o755, 0o2755]);
}

#[test]
fn parents_below_a_depth_are_fixed_and_those_above_as_on_disk_ps_05() {
    use std::os::unix::fs::PermissionsExt as _;

    let root = tempfile::tempdir().unwrap();
    let layer = root.path().join("srv/layers/bp");
    fs::create_dir_all(&layer).unwrap();
    for (path, mode) in [("srv", 0o711), ("srv/layers", 0o777)] {
        fs::set_permissions(root.path().join(path), fs::Permissions::from_mode(mode)).unwrap();
    }
    let parents = Parents::FixedBelow {
        depth: 1,
        mode: 0o755,
        owner: Owner::new(7, 8),
    };
    let mut tar = Vec::new();
    DirectoryLayer::new(&layer, "/srv/layers/bp")
        .parents(parents)
        .write(&mut tar)
        .unwrap();
    let mut reader = crate::TarReader::new(tar.as_slice());
    let mut found = Vec::new();
    while let Some(entry) = reader.next_entry().unwrap() {
        found.push((entry.mode, entry.owner == Owner::new(7, 8)));
    }
    assert_eq!(found[..2], [(0o711, false), (0o755, true)]);
}

#[test]
fn parents_are_as_on_disk_and_never_the_root_own_01() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir_all(root.path().join("layers/bp/x")).unwrap();
    let contents = DirectoryLayer::new(root.path().join("layers/bp/x"), "/layers/bp/x");
    assert_eq!(names(&contents), ["/layers", "/layers/bp", "/layers/bp/x"]);
    let whole = DirectoryLayer::new(root.path(), "/").style(Style::Oci { latest: None });
    assert_eq!(names(&whole), ["layers/", "layers/bp/", "layers/bp/x/"]);
}

#[test]
fn image_paths_are_cleaned() {
    for (path, expected) in [
        ("/layers//bp/./x/", "layers/bp/x"),
        ("/a/../b", "b"),
        ("/../..", ""),
        ("/", ""),
        ("relative", "relative"),
    ] {
        assert_eq!(image_path(path), expected.as_bytes(), "{path}");
    }
}
