//! What ends a build, with which exit code, and what it leaves alone.

use super::*;

#[test]
fn a_process_that_does_not_exist_fails_and_names_those_that_do_kb_06() {
    let world = world_with_layers();
    let mut options = world.create_options();
    options.export.process_type = Some("wbe".to_owned());
    let error = world.create_with(&options).unwrap_err();
    assert_eq!(error.exit_code(), ExitCode::Export);
    assert_eq!(
        error.to_string(),
        "there is no process of type 'wbe'; the image has web; choose one with -process-type, or leave it empty for the buildpacks' default"
    );
    options.export.process_type = Some(String::new());
    world.create_with(&options).unwrap();
}

#[test]
fn a_launch_layer_without_contents_needs_the_previous_image_exp_19() {
    let mut world = World::of_script("printf '[types]\\nlaunch = true\\n' > $1/x.toml");
    let error = world.create().unwrap_err();
    assert!(
        matches!(&error, CreateError::Export(ExportError::NoContents { layer, .. }) if layer == "a:x"),
        "{error}"
    );
    assert_eq!(error.exit_code(), ExitCode::Export);
    // The previous image has it now, but the cache cannot hold what is not there.
    let types =
        |more: &str, make: &str| format!("{make}; printf '[types]\\nlaunch = true\\n{more}' > $1/x.toml");
    world.builds("a", &types("", "mkdir $1/x"));
    world.create().unwrap();
    world.builds("a", &types("cache = true\\n", "rm -rf $1/x"));
    let error = world.create().unwrap_err();
    assert!(
        matches!(&error, CreateError::Export(ExportError::NoContents { layer, .. }) if layer == "a:x"),
        "{error}"
    );
}

#[test]
fn extensions_are_refused_cre_04() {
    let mut world = world_with_layers();
    world.extension("x", "exit 0", "exit 0");
    let text = world.read("order.toml") + &crate::testing::extension_order_toml(&["x"]);
    world.write("order.toml", &text);
    let error = world.create().unwrap_err();
    assert_eq!(
        (error.exit_code(), error.phase()),
        (ExitCode::Detect, crate::Phase::Detect)
    );
}

#[test]
fn a_failed_build_leaves_the_old_image_and_cache_alone() {
    let mut world = world_with_layers();
    world.create().unwrap();
    let digest = world.image(APP_IMAGE).digest().unwrap();
    let cache = world.read("cache/committed/io.buildpacks.lifecycle.cache.metadata");
    world.buildpack("acme/a", "0.10", CYCLONE, "", "exit 1");
    let error = world.create().unwrap_err();
    assert_eq!(error.exit_code(), ExitCode::BuildpackFailed);
    assert_eq!(world.image(APP_IMAGE).digest().unwrap(), digest);
    assert_eq!(
        world.read("cache/committed/io.buildpacks.lifecycle.cache.metadata"),
        cache
    );
}

#[test]
fn what_makes_no_sense_fails_the_export_exp_02_exp_22() {
    let world = world_with_layers();
    build_only(&world);
    world.write("layers/acme_a/l.toml", "[types\n");
    let error = export_only(&world, &world.export_options()).unwrap_err();
    assert!(error.to_string().contains("l.toml:1:"), "{error}");
    assert_eq!(error.exit_code(), ExitCode::Export);
    world.write("layers/analyzed.toml", "[image]\nreference = ''\n");
    let error = export_only(&world, &world.export_options()).unwrap_err();
    assert_eq!(error.to_string(), "run image not found in analyzed metadata");
    assert_eq!(error.exit_code(), ExitCode::InvalidArguments);
}
