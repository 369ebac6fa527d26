//! What the layers of an exported image hold, and what its labels say of them.

use std::io::BufReader;

use lifecycle_layers::{Kind, TarReader, open_tar};

use super::*;

/// The entries of the layer that the export calls `name`: owner, path, and where a link leads.
fn entries(world: &World, report: &CreateReport, name: &str) -> Vec<String> {
    let layers = &report.exported.layers;
    let at = layers.iter().position(|layer| layer.name == name).unwrap();
    let layer = &world.image(APP_IMAGE).layers()[at].clone();
    let mut reader = TarReader::new(BufReader::new(open_tar(&**layer).unwrap()));
    let mut found = Vec::new();
    while let Some(entry) = reader.next_entry().unwrap() {
        assert_eq!(entry.mtime, crate::export::CREATED_SECONDS, "EXP-12");
        let path = String::from_utf8(entry.path).unwrap();
        let path = path.trim_end_matches('/');
        let link = match entry.kind {
            Kind::Symlink(target) => format!(" -> {}", String::from_utf8_lossy(&target)),
            _ => String::new(),
        };
        found.push(format!("{}:{} {path}{link}", entry.owner.uid, entry.owner.gid));
    }
    found
}

#[test]
fn layers_lie_where_they_were_made_exp_05_exp_20_own_01_ps_05() {
    let mut world = world_with_layers();
    let report = world.create().unwrap();
    let of = |name| entries(&world, &report, name);
    assert_eq!(
        of("acme/a:l"),
        // Not the owner that these have here, which is the builder's matter (PS-05).
        [
            "1234:1000 /layers",
            "1234:1000 /layers/acme_a",
            "1234:1000 /layers/acme_a/l",
            "1234:1000 /layers/acme_a/l/made",
        ]
    );
    assert!(of("app").contains(&"1234:1000 /workspace/hello.txt".to_owned()));
    assert_eq!(
        of("buildpacksio/lifecycle:launcher"),
        ["0:0 /cnb", "0:0 /cnb/lifecycle", "0:0 /cnb/lifecycle/launcher"]
    );
    assert_eq!(
        of("buildpacksio/lifecycle:process-types"),
        [
            "0:0 /cnb",
            "0:0 /cnb/process",
            "0:0 /cnb/process/web -> /cnb/lifecycle/launcher"
        ]
    );
    let config = of("buildpacksio/lifecycle:config");
    assert_eq!(config.last().unwrap(), "1234:1000 /layers/config/metadata.toml");
}

#[test]
fn the_image_has_the_sboms_of_launch_only_sbom_01_exp_14() {
    let mut world = world_with_layers();
    let report = world.create().unwrap();
    let of_image = entries(&world, &report, "launch.sbom");
    let tree = "/layers/sbom/launch";
    let inside = of_image.iter().filter(|entry| entry.contains(tree));
    assert_eq!(inside.count(), of_image.len() - 2, "{of_image:?}");
    assert!(of_image.contains(&format!("1234:1000 {tree}/acme_a/l/sbom.cdx.json")));
    assert!(world.path("layers/sbom/build/acme_a/b/sbom.cdx.json").exists());
}

#[test]
fn sboms_came_with_platform_api_0_8_lbl_02_sbom_01() {
    for (api, has_sbom) in [
        (PlatformApi::V0_7, false),
        (PlatformApi::V0_8, true),
        (PlatformApi::V0_15, true),
    ] {
        let mut world = world_with_layers();
        world.api = api;
        world.write("stack.toml", &format!("[run-image]\nimage = '{RUN_IMAGE}'\n"));
        let report = world.create().unwrap();
        assert_eq!(world.label(APP_IMAGE).sbom.is_some(), has_sbom, "{api}");
        let layers = &report.exported.layers;
        assert_eq!(
            layers.iter().any(|layer| layer.name == "launch.sbom"),
            has_sbom,
            "{api}"
        );
    }
}

#[test]
fn the_last_label_of_a_key_is_the_images_exp_10_lch_03() {
    let mut world = World::new();
    let label = |key: &str, value: &str| {
        format!("printf '[[labels]]\\nkey = \"{key}\"\\nvalue = \"{value}\"\\n' >> $1/launch.toml\n")
    };
    let first = label("both", "first") + &label("only", "first");
    world.builds("a", &first);
    world.builds("b", &label("both", "second"));
    world.order(&["a b"]);
    world.create().unwrap();
    let image = world.image(APP_IMAGE);
    assert_eq!(image.config().label("both"), Some("second"));
    assert_eq!(image.config().label("only"), Some("first"));
}

#[test]
fn a_cache_that_cannot_be_written_costs_a_warning_exp_15() {
    let world = world_with_layers();
    super::build_only(&world);
    let cache = CacheOptions {
        directory: Some(world.write("no-directory", "")),
        ..CacheOptions::default()
    };
    let options = world.export_options();
    let exported = crate::export(&options, &world.images(), &cache, &world.store, &world.reporter());
    assert_eq!(
        exported.unwrap().receipt.digest,
        world.image(APP_IMAGE).digest().unwrap()
    );
    assert!(world.recorder.has("warning: Failed to export cache: "));
}

#[test]
fn every_sbom_in_a_directory_of_the_users_is_the_launchers_sbom_04() {
    let world = world_with_layers();
    for name in ["w.sbom.cdx.json", "x.sbom.cdx.json", "y.sbom.spdx.json", "z.txt"] {
        world.write(&format!("sbom/{name}"), "{}");
    }
    let mut options = world.create_options();
    options.export.launcher_sbom_is_default = false;
    world.create_with(&options).unwrap();
    let directory = world.path("layers/sbom/launch/buildpacksio_lifecycle/launcher");
    let found = crate::contributed::names(&directory).unwrap();
    assert_eq!(found, ["w.sbom.cdx.json", "x.sbom.cdx.json", "y.sbom.spdx.json"]);
    assert!(!world.path("layers/sbom/build/buildpacksio_lifecycle").exists());
}
