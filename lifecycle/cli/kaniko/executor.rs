//! `executor`: the build.

use std::sync::Arc;
use std::time::Instant;

use lifecycle_executor::BuildReport;
use lifecycle_image::{Compression, Family, Image, NoProgress, Platform, Reference, mutate};
use lifecycle_layers::{MergedLayer, Packing};
use lifecycle_store::{Expected, Store};

use super::settings::Settings;
use super::warmer::Warmed;
use super::{cache, context, outputs, plan, registries};
use crate::caches;
use crate::commands::build::{build_args, build_dockerfile, seconds, secrets, usual_options};
use crate::console::{Console, human_duration};
use crate::environment::Environment;
use crate::failure::Failure;
use crate::session::Session;
use crate::signals::Interruption;

pub(super) fn run(
    settings: &Settings,
    environment: Environment,
    console: &Console,
    interruption: &Interruption,
) -> Result<(), Failure> {
    let start = Instant::now();
    check(settings)?;
    let names = destinations(settings)?;
    let speaking = registries::settings(&settings.registry, &names, &environment)?;
    let own_store = settings
        .directory
        .as_ref()
        .map(|directory| directory.join("store"));
    let store = settings.store.clone().or(own_store);
    let session = Session::with_registry(
        store,
        speaking,
        environment,
        console.clone(),
        interruption.clone(),
    )?;
    // A namespace can only be entered while there is one thread.
    let host = if settings.plan_only {
        None
    } else {
        crate::isolation::prepare(&session)?
    };
    interruption.listen(console)?;
    if !settings.plan_only && !settings.skip_push_check {
        let cache = cache::pushed_to(settings, &names)?;
        let pushed = names.iter().filter(|_| !settings.no_push);
        check_push(pushed.chain(&cache), &session)?;
    }
    let context = context::open(settings, &session)?;
    let dockerfile = context::dockerfile(settings, &context, &session)?;
    let platform = settings.platform.clone().unwrap_or_else(Platform::host);
    let epoch = epoch(settings, &session.environment)?;
    let mut options = usual_options(dockerfile, context.files(), &platform, epoch);
    options.host = host;
    options.build_args = build_args(&settings.build_args, &session)?;
    options.labels.clone_from(&settings.labels);
    options.secrets = secrets(&settings.secrets, &session)?;
    options.ignored_paths.clone_from(&settings.ignored_paths);
    if settings.ignore_var_run {
        options.ignored_paths.push("/var/run".into());
    }
    options.packing = packing(settings);
    options.no_cache = cache::allowed(settings);
    options.imports = cache::source(settings, &names, &session)?.into_iter().collect();
    options.target = settings.targets.first().cloned();
    if settings.plan_only || session.environment.flag("KANIKO_PRINT_PLAN") {
        plan::print(&options, console)?;
        if settings.plan_only {
            return Ok(());
        }
    }
    let source = Warmed::new(settings, &session)?;
    let keeping = cache::keeping(settings, &names, &session)?;
    let told = session.interruption.during({
        let cancellation = options.cancellation.clone();
        move || cancellation.cancel()
    });
    let of_target = [options.platforms.target.clone()];
    // Further targets are built for what happens in them; only the first is kept.
    for target in settings.targets.iter().skip(1) {
        let mut further = options.clone();
        further.target = Some(target.clone());
        let (reports, ()) = build_dockerfile(&further, &of_target, &source, &session, &|_| Ok(()))?;
        for report in reports {
            report.finish()?;
        }
    }
    let store = session.store()?;
    let (reports, ()) = build_dockerfile(&options, &of_target, &source, &session, &|reports| {
        reports.iter().try_for_each(|report| {
            let image = finish(report, settings, store);
            outputs::write(&image, &names, settings, &session)
        })
    })?;
    drop(told);
    let executed: usize = reports.iter().map(|report| report.executed).sum();
    let cached: usize = reports.iter().map(|report| report.cached).sum();
    let pushed = names.first().filter(|_| !settings.no_push);
    let pushed = pushed.map(Reference::repository);
    caches::keep(
        keeping.into_iter().collect(),
        &reports.iter().collect::<Vec<_>>(),
        pushed,
        &session,
    )?;
    for report in reports {
        report.finish()?;
    }
    console.info(format!(
        "Time: {}; {executed} steps carried out, {cached} taken from earlier builds",
        human_duration(start.elapsed()),
    ));
    Ok(())
}

/// What makes no sense together, before anything is done.
fn check(settings: &Settings) -> Result<(), Failure> {
    let wrong = |message: &str, help: &str| Err(Failure::new("argument", message).help(help));
    let is_zstd = settings.compression == Compression::Zstd;
    if !settings.no_push && settings.destinations.is_empty() {
        return wrong(
            "you must provide --destination, or use --no-push",
            "name the image with --destination",
        );
    }
    if settings.format == Some(Family::Docker) && is_zstd {
        return wrong(
            "--compression=zstd is not for --image-format=docker",
            "use --image-format=oci",
        );
    }
    if settings.tar_path.is_some() && (is_zstd || settings.format == Some(Family::Oci)) {
        return wrong(
            "--tar-path writes what docker save does, which has neither zstd nor the media types of OCI",
            "write an OCI layout with --oci-layout-path",
        );
    }
    if settings.cache && settings.no_push && !settings.no_push_cache && settings.cache_repo.is_none() {
        return wrong(
            "if using cache with --no-push, specify cache repo with --cache-repo",
            "or use --no-push-cache",
        );
    }
    if settings.destinations.is_empty()
        && (settings.name_digest_file.is_some() || settings.name_tag_digest_file.is_some())
    {
        return wrong(
            "there is no name to write a digest of",
            "name the image with --destination",
        );
    }
    Ok(())
}

/// The names that the image gets.
pub(super) fn destinations(settings: &Settings) -> Result<Vec<Reference>, Failure> {
    let names = settings.destinations.iter().map(|name| name.parse());
    Ok(names.collect::<Result<_, _>>()?)
}

/// Asks registries whether the image may be pushed, so that nobody waits for a build to learn that it may not.
pub(super) fn check_push<'n>(
    names: impl IntoIterator<Item = &'n Reference>,
    session: &Session,
) -> Result<(), Failure> {
    for name in names {
        session.registry()?.check_write(name.repository())?;
    }
    Ok(())
}

/// No time in the image is later: 1970 for `--reproducible`, else `SOURCE_DATE_EPOCH`.
fn epoch(settings: &Settings, environment: &Environment) -> Result<Option<i64>, Failure> {
    if settings.reproducible {
        return Ok(Some(0));
    }
    seconds(environment.text("SOURCE_DATE_EPOCH"))
}

fn packing(settings: &Settings) -> Packing {
    Packing {
        compression: settings.compression,
        level: settings.compression_level,
        ..Packing::default()
    }
}

/// What is done with the image as a whole.
fn finish(report: &BuildReport, settings: &Settings, store: &Store) -> Image {
    let image = report.image.clone();
    let image = match image.layers().get(report.base_layers..) {
        Some(own) if settings.single_layer && own.len() > 1 => {
            let merged = MergedLayer::new(own.to_vec());
            let layer = store.pack(
                Arc::new(merged),
                packing(settings),
                Expected::New,
                Arc::new(NoProgress),
            );
            mutate::merge_layers(image, report.base_layers, layer)
        }
        _ => image,
    };
    let image = match settings.format {
        // A tar of docker's has docker's media types, whatever is pushed.
        Some(family) => mutate::convert(image, family),
        None => image,
    };
    let annotations = settings.annotations.clone();
    mutate::annotate(image, |own| own.extend(annotations))
}
