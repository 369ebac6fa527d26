//! Builds from source to image and again, through all phases.

mod caches;
mod contents;
mod labels;
mod refusals;

use fs_err as fs;
use lifecycle_image::Source as _;
use lifecycle_image::layout::Layout;
use lifecycle_spec::label::{self, AppLayers, BuildLabel, LifecycleLabel};
use lifecycle_spec::{ExitCode, PlatformApi};

use super::*;
use crate::LayerOrigin::{self, Base, Built, Reused};
use crate::Restored::{Contents, Metadata};
use crate::testing::{APP_IMAGE, CYCLONE, LAYERS, RUN_IMAGE, World, count_contents, world_with_layers};
use crate::{ExportError, Identifiers};

/// All phases but the last.
fn build_only(world: &World) {
    let cancellation = Cancellation::default();
    crate::analyze(
        &world.analyze_options(),
        &world.images(),
        None,
        &*world.reporter(),
    )
    .unwrap();
    crate::detect(&world.detect_options(), &cancellation, &*world.reporter()).unwrap();
    crate::build(&world.build_options(), &cancellation, &*world.reporter()).unwrap();
}

fn export_only(world: &World, options: &crate::ExportOptions) -> Result<crate::ExportReport, ExportError> {
    let cache = CacheOptions::default();
    crate::export(options, &world.images(), &cache, &world.store, &world.reporter())
}
