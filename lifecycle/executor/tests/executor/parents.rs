//! Base images whose layers leave out the directories above their files.

use std::sync::Arc;

use lifecycle_executor::{IsolationMode, NoCache};
use lifecycle_image::{
    BytesLayer, Compression, DiffId, Digest, Family, History, MediaType, Platform, Source as _, mutate,
};
use lifecycle_layers::{Entry, Owner, Xattr};
use lifecycle_sandbox::Rung;

use crate::support::{Bench, tar};

/// Puts the image `base`: a layer that describes directories, and two that put files into them without a word.
fn put_base(bench: &Bench) {
    let directory = |path: &str, mode, owner| Entry {
        mode,
        owner,
        mtime: 1_500_000_000,
        ..Entry::directory(path.as_bytes().to_vec())
    };
    let file = |path: &str| Entry::file(path.as_bytes().to_vec(), 0);
    let mut data = directory("srv/data", 0o2750, Owner::new(1000, 1001));
    data.xattrs.push(Xattr {
        name: b"user.note".to_vec(),
        value: b"kept".to_vec(),
    });
    let layers = [
        vec![
            directory("srv", 0o711, Owner::new(5, 6)),
            data,
            directory("opaque", 0o701, Owner::new(7, 8)),
            directory("opaque/in", 0o700, Owner::new(7, 8)),
            file("opaque/old"),
        ],
        vec![
            file("tmp/a"),
            file("srv/data/a"),
            file("opaque/.wh..wh..opq"),
            file("opaque/in/a"),
        ],
        vec![file("srv/data/deep/b"), file("tmp/b")],
    ];
    let busybox = "busybox".parse().unwrap();
    let mut image = bench.store.image(&busybox, &Platform::linux("amd64")).unwrap();
    for entries in layers {
        let entries: Vec<_> = entries.into_iter().map(|entry| (entry, &b""[..])).collect();
        let bytes = tar(&entries);
        let diff_id = DiffId(Digest::of(&bytes));
        let layer = BytesLayer::new(MediaType::layer(Family::Oci, Compression::None), bytes, diff_id);
        image = mutate::append(image, Arc::new(layer), History::default());
    }
    bench.put("base", image);
}

const DOCKERFILE: &str = "FROM base AS one
RUN stat -c '%n %a %u:%g' / /tmp /srv /srv/data /srv/data/deep /opaque /opaque/in && \
    stat -c %Y /srv && ls -A /opaque /srv/data && true > /tmp/a && touch /tmp/by
COPY f /srv/data/copied
RUN stat -c '%n %a %u:%g' /srv/data /tmp
FROM busybox
COPY --from=one /srv /srv
";

const SEEN: &str = "/ 755 0:0
/tmp 1777 0:0
/srv 711 5:6
/srv/data 2750 1000:1001
/srv/data/deep 755 0:0
/opaque 701 7:8
/opaque/in 755 0:0
1500000000
/opaque:
in

/srv/data:
a
deep
/srv/data 2750 1000:1001
/tmp 1777 0:0
";

#[test]
fn directories_that_a_layer_leaves_out_look_as_lower_layers_say_on_every_rung() {
    let bench = Bench::new();
    put_base(&bench);
    bench.file("f", "F");
    for rung in [Rung::Overlay, Rung::Copy, Rung::Chroot] {
        let options = |target: Option<&str>| {
            let mut options = bench.options(DOCKERFILE);
            options.isolation = IsolationMode::Forced(rung);
            options.no_cache = NoCache::All;
            options.target = target.map(str::to_owned);
            options
        };
        let one = bench.build_with(&options(Some("one")));
        assert_eq!(one.output, SEEN, "{rung}");
        // The first RUN changed what is in /tmp, and nothing else.
        let changed: Vec<_> = one.layer(2).into_keys().collect();
        assert_eq!(changed, ["tmp", "tmp/a", "tmp/by"], "{rung}");
        assert_eq!(one.layer(2)["tmp"].mode, 0o1777, "{rung}");
        let copied = one.layer(1);
        assert_eq!(
            (copied["srv/data"].mode, copied["srv/data"].owner),
            (0o2750, (1000, 1001)),
            "{rung}"
        );
        let two = bench.build_with(&options(None)).layer(0);
        let data = &two["srv/data"];
        assert_eq!((data.mode, data.owner), (0o2750, (1000, 1001)), "{rung}");
    }
}
