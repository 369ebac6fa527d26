//! Which modules run on which images (cnb.md 2.5).

use std::path::Path;

use lifecycle_image::ImageConfig;
use lifecycle_spec::{BuildpackApi, Distro, Environment, Stack, Target, TargetData, label};

use crate::FileError;

/// The targets of a module that may have none of its own: those of its stacks, else what its programs are for
/// (TGT-02, TGT-03, TGT-08).
pub(crate) fn effective(
    targets: Vec<Target>,
    stacks: &[Stack],
    api: BuildpackApi,
    root: &Path,
) -> Vec<Target> {
    if !targets.is_empty() {
        return targets;
    }
    // Before there were targets, a buildpack for many stacks did not mean that it is for bionic only.
    let counts = |stack: &&Stack| stack.id == "*" || stacks.len() == 1 || api.has_target_variables();
    let of_stacks: Vec<_> = stacks
        .iter()
        .filter(counts)
        .filter_map(|stack| Target::of_stack(&stack.id))
        .collect();
    if !of_stacks.is_empty() {
        return of_stacks;
    }
    let target = |os: &str| Target {
        os: os.to_owned(),
        ..Target::default()
    };
    let has = |program: &str| root.join("bin").join(program).is_file();
    let mut inferred = Vec::new();
    if has("build") {
        inferred.push(target("linux"));
    }
    if has("build.bat") || has("build.exe") {
        inferred.push(target("windows"));
    }
    inferred
}

/// Whether one of the targets is the image; no targets are for any image.
pub(crate) fn include(targets: &[Target], image: &TargetData) -> bool {
    targets.is_empty() || targets.iter().any(|target| target.is(image))
}

/// What an image is, by its configuration and labels (AN-09), or by its deprecated stack (FILE-02).
pub(crate) fn of_image(config: &ImageConfig) -> TargetData {
    let label = |key| {
        config
            .label(key)
            .filter(|value| !value.is_empty())
            .map(str::to_owned)
    };
    let name = label(label::BASE_DISTRO_NAME);
    let version = label(label::BASE_DISTRO_VERSION);
    let distro = (name.is_some() || version.is_some()).then(|| Distro {
        name: name.unwrap_or_default(),
        version: version.unwrap_or_default(),
    });
    let of_stack = config.label(label::STACK_ID).and_then(TargetData::of_stack);
    let platform = config.platform();
    TargetData {
        id: label(label::BASE_ID),
        os: platform.os,
        arch: platform.architecture,
        variant: platform.variant,
        distro: distro.or_else(|| of_stack.and_then(|stack| stack.distro)),
    }
}

/// Completes target data without a distribution by an `os-release` file (FILE-01).
pub(crate) fn complete(target: &mut TargetData, os_release: &Path) -> Result<(), FileError> {
    if target.distro.is_some() {
        return Ok(());
    }
    let bytes = match fs_err::read(os_release) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let text = String::from_utf8_lossy(&bytes);
    let value = |key: &str| {
        text.lines().find_map(|line| {
            let value = line.trim().strip_prefix(key)?.strip_prefix('=')?.trim();
            Some(value.trim_matches(['"', '\'']).to_owned())
        })
    };
    if let Some(name) = value("ID") {
        target.distro = Some(Distro {
            name,
            version: value("VERSION_ID").unwrap_or_default(),
        });
    }
    Ok(())
}

/// Tells a program what it builds for: only what is known (TGT-06).
pub(crate) fn announce(target: &TargetData, environment: &mut Environment) {
    let distro = target.distro.clone().unwrap_or_default();
    let variant = target.variant.clone().unwrap_or_default();
    environment.set("CNB_TARGET_OS", &target.os);
    environment.set("CNB_TARGET_ARCH", &target.arch);
    for (name, value) in [
        ("CNB_TARGET_ARCH_VARIANT", variant),
        ("CNB_TARGET_DISTRO_NAME", distro.name),
        ("CNB_TARGET_DISTRO_VERSION", distro.version),
    ] {
        if !value.is_empty() {
            environment.set(name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(os: &str, arch: &str, variant: &str, distros: &[(&str, &str)]) -> Target {
        let distro = |(name, version): &(&str, &str)| Distro {
            name: (*name).into(),
            version: (*version).into(),
        };
        Target {
            os: os.into(),
            arch: arch.into(),
            variant: variant.into(),
            distros: distros.iter().map(distro).collect(),
            path: None,
        }
    }

    fn image(variant: Option<&str>, distro: Option<(&str, &str)>) -> TargetData {
        TargetData {
            id: None,
            os: "linux".into(),
            arch: "arm64".into(),
            variant: variant.map(str::to_owned),
            distro: distro.map(|(name, version)| Distro {
                name: name.into(),
                version: version.into(),
            }),
        }
    }

    #[test]
    fn targets_match_what_is_known_tgt_01() {
        let debian = Some(("debian", "12"));
        for (wanted, found, matches) in [
            (target("", "", "", &[]), image(None, None), true),
            (target("linux", "arm64", "", &[]), image(Some("v8"), debian), true),
            (target("linux", "amd64", "", &[]), image(None, None), false),
            (target("linux", "arm64", "v8", &[]), image(None, None), true),
            (
                target("linux", "arm64", "v7", &[]),
                image(Some("v8"), None),
                false,
            ),
            (
                target("linux", "", "", &[("debian", "12")]),
                image(None, debian),
                true,
            ),
            (
                target("linux", "", "", &[("debian", "")]),
                image(None, debian),
                true,
            ),
            (
                target("linux", "", "", &[("ubuntu", "22.04"), ("debian", "12")]),
                image(None, debian),
                true,
            ),
            (
                target("linux", "", "", &[("debian", "11")]),
                image(None, debian),
                false,
            ),
            (
                target("linux", "", "", &[("debian", "12")]),
                image(None, None),
                false,
            ),
        ] {
            assert_eq!(
                include(std::slice::from_ref(&wanted), &found),
                matches,
                "{wanted:?} {found:?}"
            );
        }
        assert!(include(&[], &image(None, None)));
    }

    #[test]
    fn targets_are_inferred_tgt_02_tgt_03() {
        let root = tempfile::tempdir().unwrap();
        let stack = |id: &str| Stack {
            id: id.into(),
            mixins: Vec::new(),
        };
        let infer = |stacks: &[Stack], api| effective(Vec::new(), stacks, api, root.path());
        assert_eq!(infer(&[], BuildpackApi::V0_10), []);
        fs_err::create_dir(root.path().join("bin")).unwrap();
        fs_err::write(root.path().join("bin/build"), "").unwrap();
        assert_eq!(infer(&[], BuildpackApi::V0_10)[0].os, "linux");
        assert_eq!(infer(&[stack("heroku-24")], BuildpackApi::V0_10)[0].os, "linux");
        assert_eq!(infer(&[stack("*")], BuildpackApi::V0_9), [Target::default()]);
        let bionic = "io.buildpacks.stacks.bionic";
        assert_eq!(
            infer(&[stack(bionic)], BuildpackApi::V0_9)[0].distros[0].version,
            "18.04"
        );
        assert_eq!(
            infer(&[stack(bionic), stack("x")], BuildpackApi::V0_9)[0].distros,
            []
        );
        assert_eq!(
            infer(&[stack(bionic), stack("x")], BuildpackApi::V0_10)[0].distros[0].version,
            "18.04"
        );
    }

    #[test]
    fn os_release_fills_in_the_distribution_file_01() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("os-release");
        let mut target = image(None, None);
        complete(&mut target, &path).unwrap();
        assert_eq!(target.distro, None);
        fs_err::write(&path, "NAME=\"D\"\nVERSION_ID=\"12\"\nID=debian\n").unwrap();
        complete(&mut target, &path).unwrap();
        assert_eq!(target, image(None, Some(("debian", "12"))));
        fs_err::write(&path, "ID=other\n").unwrap();
        complete(&mut target, &path).unwrap();
        assert_eq!(target, image(None, Some(("debian", "12"))));
    }
}
