//! Builds the launcher that every app image gets, so that the program can carry it, and lists which crates are in both.
//!
//! The launcher is a program of its own: small, static, without the rest. Cargo cannot yet make one package's
//! binary a dependency of another, so this script builds it, in a target directory of its own (cargo holds
//! the lock of the main one) and with the size profile whatever the profile of the main build is.

#![expect(
    clippy::disallowed_methods,
    reason = "cargo speaks to build scripts in variables"
)]

use std::env;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;

use lifecycle_sbom::{Crates, Package};

fn main() -> Result<(), Box<dyn Error>> {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    let target = env::var("TARGET")?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    // OUT_DIR is <target dir>/[<triple>/]<profile>/build/<package>/out; debug and release share one launcher.
    let directory = out.ancestors().nth(4).unwrap_or(&out).join("embedded-launcher");

    for source in ["lifecycle/launcher", "lifecycle/spec", "Cargo.lock", "Cargo.toml"] {
        println!("cargo:rerun-if-changed={}", root.join(source).display());
    }
    let cargo = env::var("CARGO")?;
    for (name, default_features) in [
        ("lifecycle", env::var_os("CARGO_FEATURE_KUBERNETES").is_some()),
        ("lifecycle-launcher", true),
    ] {
        let package = Package {
            name,
            target: &target,
            default_features,
        };
        let crates = Crates::of(&cargo, &root, package)?;
        std::fs::write(out.join(format!("{name}.crates.json")), crates.to_text()?)?;
    }
    let built = Command::new(cargo)
        .current_dir(&root)
        .args([
            "build",
            "--quiet",
            "--package",
            "lifecycle-launcher",
            "--profile",
            "launcher",
            "--target",
            &target,
        ])
        .arg("--target-dir")
        .arg(&directory)
        // Clippy and rustc wrappers of the outer build are not for this one.
        .env_remove("RUSTC_WORKSPACE_WRAPPER")
        .env_remove("CLIPPY_ARGS")
        .status()?;
    if !built.success() {
        return Err(format!("building the launcher failed: {built}").into());
    }
    let launcher = directory.join(&target).join("launcher").join("launcher");
    println!("cargo:rustc-env=LAUNCHER={}", existing(&launcher)?.display());
    Ok(())
}

fn existing(path: &Path) -> Result<&Path, Box<dyn Error>> {
    if path.is_file() {
        Ok(path)
    } else {
        Err(format!("{} was not built", path.display()).into())
    }
}
