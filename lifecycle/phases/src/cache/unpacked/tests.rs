//! Whole builds, the second of which finds layers unpacked.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt};
use std::sync::Arc;
use std::time::SystemTime;

use super::*;
use crate::testing::{APP_IMAGE, World, world_with_layers};
use crate::{CacheOptions, Cancellation, CreateError, CreateReport, Reporter, Restored};

/// An inode with its time of birth, where the file system tells: numbers of inodes are given out again.
type FileId = (u64, Option<SystemTime>);

fn file_at(path: &Path) -> FileId {
    let found = fs::metadata(path).unwrap();
    (found.ino(), found.created().ok())
}

/// A world whose layers belong to whoever runs the tests.
struct Kept {
    world: World,
    unpacked: UnpackedLayers,
}

impl Kept {
    fn new() -> Self {
        let world = world_with_layers();
        let own = Owner::new(
            rustix::process::geteuid().as_raw(),
            rustix::process::getegid().as_raw(),
        );
        let unpacked = UnpackedLayers::open(world.path("unpacked"), own).unwrap();
        Self { world, unpacked }
    }

    fn build(&self) -> Result<CreateReport, CreateError> {
        let world = &self.world;
        fs::remove_dir_all(world.path("layers")).unwrap();
        fs::create_dir_all(world.path("layers")).unwrap();
        let cache = CacheOptions {
            unpacked: Some(self.unpacked.clone()),
            ..world.cache()
        };
        let reporter: Arc<dyn Reporter> = Arc::clone(&world.recorder) as Arc<dyn Reporter>;
        let (options, go_on) = (world.create_options(), Cancellation::default());
        crate::create(&options, &world.images(), &cache, &world.store, &go_on, &reporter)
    }

    fn digest(&self) -> Digest {
        self.world.image(APP_IMAGE).digest().unwrap()
    }

    /// Where a layer of the only buildpack lies between builds.
    fn tree(&self, layer: &str) -> PathBuf {
        let cache = super::super::CacheDirectory::new(self.world.path("cache"));
        let label = cache.label().unwrap();
        self.unpacked
            .tree(&label.buildpacks[0].layers[layer].sha.parse().unwrap())
    }

    fn file(&self, layer: &str) -> FileId {
        file_at(&self.tree(layer).join("made"))
    }

    /// Makes the tars useless, so that what comes back was not in them.
    fn spoil_tars(&self) {
        for layer in ["bc", "bcl", "c", "cl"] {
            let tree = self.tree(layer);
            let tar = format!("cache/committed/{}.tar", tree.file_name().unwrap().display());
            self.world.write(&tar, "no tar");
        }
    }
}

#[test]
fn cached_layers_are_moved_out_and_back_and_not_read() {
    let kept = Kept::new();
    // The app holds what its buildpack found, so that two builds are the same only from the second on.
    kept.build().unwrap();
    kept.build().unwrap();
    let (digest, files) = (
        kept.digest(),
        ["bc", "bcl", "c", "cl"].map(|layer| kept.file(layer)),
    );
    assert!(!kept.world.path("layers/acme_a/bcl").exists() && kept.world.path("layers/acme_a/b").exists());
    kept.spoil_tars();
    let report = kept.build().unwrap();
    let restored = |layer: &crate::RestoredLayer| layer.restored != Restored::Damaged;
    assert!(report.restored.layers.iter().all(restored));
    let found = kept.world.read("app/found");
    assert!(
        ["bc ", "bcl ", "c ", "cl "]
            .iter()
            .all(|layer| found.contains(layer)),
        "{found}"
    );
    assert_eq!(["bc", "bcl", "c", "cl"].map(|layer| kept.file(layer)), files);
    assert_eq!(kept.digest(), digest);
    assert!(kept.world.recorder.has("info: Reusing layer 'acme/a:bcl'"));
    assert!(kept.world.recorder.has("info: Reusing cache layer 'acme/a:c'"));
}

#[test]
fn what_comes_back_moved_is_what_comes_back_unpacked() {
    let look = |kept: &Kept| {
        let made = fs::metadata(kept.world.path("layers/acme_a/c/made")).unwrap();
        let top = fs::metadata(kept.world.path("layers/acme_a/c")).unwrap();
        [made, top].map(|found| (found.mode(), found.uid(), found.mtime(), found.mtime_nsec()))
    };
    let looks = [true, false].map(|moved| {
        let mut kept = Kept::new();
        kept.build().unwrap();
        let before = kept.file("c");
        if !moved {
            // What was not flushed is not believed after the machine was started anew.
            kept.unpacked.boot = "another".to_owned();
        }
        // The next buildpack run fails, so that the layers stay where they are.
        kept.world.script("buildpacks/acme_a/1/bin/build", "exit 1");
        kept.build().unwrap_err();
        let now = file_at(&kept.world.path("layers/acme_a/c/made"));
        assert_eq!(now == before, moved);
        look(&kept)
    });
    assert_eq!(looks[0], looks[1]);
}

#[test]
fn layers_that_were_changed_in_the_cache_come_from_their_tars() {
    let kept = Kept::new();
    kept.build().unwrap();
    kept.build().unwrap();
    let digest = kept.digest();
    fs::write(kept.tree("bcl").join("made"), "bcX\n").unwrap();
    fs::set_permissions(kept.tree("cl").join("made"), PermissionsExt::from_mode(0o600)).unwrap();
    fs::write(kept.tree("c").join("more"), "").unwrap();
    kept.build().unwrap();
    assert_eq!(kept.digest(), digest);
    assert_eq!(
        fs::read_to_string(kept.tree("bcl").join("made")).unwrap(),
        "bcl\n"
    );
    assert!(!kept.tree("c").join("more").exists());
}

#[test]
fn a_layer_that_a_buildpack_changes_is_read_and_the_old_one_forgotten() {
    let kept = Kept::new();
    kept.build().unwrap();
    let (digest, old) = (kept.digest(), kept.tree("bcl"));
    let script = format!(
        "{}\necho more >> \"$CNB_LAYERS_DIR/bcl/made\"",
        crate::testing::LAYERS
    );
    kept.world.script("buildpacks/acme_a/1/bin/build", &script);
    kept.build().unwrap();
    assert_ne!(kept.digest(), digest);
    assert!(!old.exists() && !old.with_extension("state").exists());
    assert_eq!(
        fs::read_to_string(kept.tree("bcl").join("made")).unwrap(),
        "bcl\nmore\n"
    );
}

#[test]
fn a_build_that_fails_puts_back_what_it_has_not_changed() {
    let kept = Kept::new();
    kept.build().unwrap();
    let [c, cl] = ["c", "cl"].map(|layer| kept.tree(layer));
    kept.world.script(
        "buildpacks/acme_a/1/bin/build",
        "rm -r $CNB_LAYERS_DIR/cl/made; exit 1",
    );
    kept.build().unwrap_err();
    assert!(!c.exists());
    kept.unpacked.put_back(&kept.world.layers()).unwrap();
    assert!(c.join("made").exists() && !cl.exists());
}

#[test]
fn what_a_tar_would_not_bring_back_the_same_does_not_stay_unpacked() {
    let kept = Kept::new();
    let script = format!(
        "{}\nln \"$CNB_LAYERS_DIR/c/made\" \"$CNB_LAYERS_DIR/c/linked\"\n[ -e $CNB_LAYERS_DIR/bc/pipe ] || mkfifo $CNB_LAYERS_DIR/bc/pipe",
        crate::testing::LAYERS
    );
    kept.world.script("buildpacks/acme_a/1/bin/build", &script);
    kept.build().unwrap();
    assert!(!kept.tree("c").exists() && !kept.tree("bc").exists() && kept.tree("cl").exists());
}
