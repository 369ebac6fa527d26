//! Whether a base fits an app image (REB-03, REB-08, REB-10).

use lifecycle_image::Image;
use lifecycle_spec::label::{self, LifecycleLabel, parse_mixins};
use lifecycle_spec::{PlatformApi, TargetData};

use super::{RebaseError, RebaseOptions, records};
use crate::{Reporter, targets};

/// Checks by the rules of the app image's own Platform API, whatever the platform's is; with force, what does not fit is
/// only told. That the app image names the new base is a rule of the platform's.
pub(super) fn check(
    options: &RebaseOptions,
    app: &Image,
    label: &LifecycleLabel,
    run_image: &str,
    base: &Image,
    reporter: &dyn Reporter,
) -> Result<(), RebaseError> {
    let mut objections = Vec::new();
    let app_has_targets = app
        .config()
        .config
        .env("CNB_PLATFORM_API")
        .and_then(|text| PlatformApi::negotiate(Some(text)).ok())
        .is_some_and(PlatformApi::has_targets);
    let rebasable = app.config().label(label::REBASABLE);
    if (app_has_targets || options.api.has_rebasable()) && rebasable == Some("false") {
        objections.push("the app image is labelled as not rebasable".to_owned());
    }
    if app_has_targets {
        let (old, new) = (targets::of_image(app.config()), targets::of_image(base.config()));
        objections.extend(target_objections(&old, &new));
    } else {
        // Stacks cannot be forced: programs built for one do not run on another.
        stack_rules(app, base)?;
    }
    if options.api.has_targets() && !records(label, run_image) {
        objections.push(format!(
            "the new base image '{run_image}' is not among the run images that the app image names"
        ));
    }
    for objection in objections {
        if !options.force {
            return Err(RebaseError::Unfit { reason: objection });
        }
        reporter.warning(&objection);
    }
    Ok(())
}

fn target_objections(old: &TargetData, new: &TargetData) -> Vec<String> {
    let distro = |target: &TargetData| target.distro.clone().unwrap_or_default();
    let (old_distro, new_distro) = (distro(old), distro(new));
    let variant = |target: &TargetData| target.variant.clone().unwrap_or_default();
    let (old_variant, new_variant) = (variant(old), variant(new));
    [
        ("operating system", &old.os, &new.os),
        ("architecture", &old.arch, &new.arch),
        ("variant", &old_variant, &new_variant),
        ("distribution", &old_distro.name, &new_distro.name),
        ("distribution version", &old_distro.version, &new_distro.version),
    ]
    .into_iter()
    // Images got variants later than the rest.
    .filter(|(what, old, new)| old != new && (*what != "variant" || !old.is_empty()))
    .map(|(what, old, new)| format!("the {what} of the new base is '{new}', that of the app image '{old}'"))
    .collect()
}

/// The rules of before there were targets: the same stack, with at least the mixins of the old base (REB-10).
fn stack_rules(app: &Image, base: &Image) -> Result<(), RebaseError> {
    let stack = |image: &Image| {
        image
            .config()
            .label(label::STACK_ID)
            .unwrap_or_default()
            .to_owned()
    };
    let (old, new) = (stack(app), stack(base));
    let reason = if old.is_empty() {
        Some("stack not defined on app image".to_owned())
    } else if new.is_empty() {
        Some("stack not defined on new base image".to_owned())
    } else {
        (old != new).then(|| format!("incompatible stack: '{new}' is not compatible with '{old}'"))
    };
    if let Some(reason) = reason {
        return Err(RebaseError::Unfit { reason });
    }
    let mixins = |image: &Image| match image.config().label(label::STACK_MIXINS) {
        Some(text) => parse_mixins(text),
        None => Ok(Vec::new()),
    };
    let new = mixins(base)?;
    // What was for the build only does not have to be there when the app runs.
    let plain = |mixin: &String| mixin.strip_prefix("run:").unwrap_or(mixin).to_owned();
    let present: Vec<_> = new.iter().map(plain).collect();
    let missing: Vec<_> = mixins(app)?
        .iter()
        .filter(|mixin| !mixin.starts_with("build:"))
        .map(plain)
        .filter(|mixin| !present.contains(mixin))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(RebaseError::Unfit {
        reason: format!("missing required mixin(s): {}", missing.join(", ")),
    })
}

#[cfg(test)]
mod tests {
    use lifecycle_spec::Distro;

    use super::*;

    #[test]
    fn what_has_to_be_the_same_reb_08() {
        let old = TargetData {
            id: None,
            os: "linux".into(),
            arch: "arm64".into(),
            variant: Some("v8".into()),
            distro: Some(Distro {
                name: "debian".into(),
                version: "12".into(),
            }),
        };
        let with = |change: fn(&mut TargetData)| {
            let mut new = old.clone();
            change(&mut new);
            let objections = target_objections(&old, &new);
            let what = objections.iter().map(|text| text.strip_prefix("the ").unwrap());
            what.map(|text| text.split_once(" of the new base").unwrap().0.to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(with(|_| ()), [""; 0]);
        assert_eq!(with(|new| new.id = Some("other".into())), [""; 0]);
        assert_eq!(with(|new| new.os = "other".into()), ["operating system"]);
        assert_eq!(with(|new| new.arch = "amd64".into()), ["architecture"]);
        assert_eq!(with(|new| new.variant = None), ["variant"]);
        assert_eq!(
            with(|new| new.distro.as_mut().unwrap().name = "ubuntu".into()),
            ["distribution"]
        );
        assert_eq!(
            with(|new| new.distro.as_mut().unwrap().version = "13".into()),
            ["distribution version"]
        );
        // What the app image does not say was not looked at when it was built, but for the variant.
        let mut unsaid = old.clone();
        unsaid.variant = None;
        assert!(target_objections(&unsaid, &old).is_empty());
        unsaid.distro = None;
        assert_eq!(target_objections(&unsaid, &old).len(), 2);
    }
}
