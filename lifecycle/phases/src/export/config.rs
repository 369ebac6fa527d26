//! How the app image starts, and what it says about itself apart from labels (lifecycle.md 3.4).

use jiff::Timestamp;
use lifecycle_image::{Image, mutate};
use lifecycle_spec::MetadataToml;

use super::{CREATED, ExportError, ExportOptions};
use crate::Reporter;

/// Where the launcher lies in the image.
pub(super) const LAUNCHER: &str = "/cnb/lifecycle/launcher";
/// The directory of links to the launcher, one for each process type.
pub(super) const PROCESS_DIRECTORY: &str = "/cnb/process";

/// The program that the image starts (EXP-07). An empty process type is none (KB-01).
pub(super) fn entrypoint(options: &ExportOptions, metadata: &MetadataToml) -> Result<String, ExportError> {
    for process in &metadata.processes {
        let process_type = &process.process_type;
        if process_type.is_empty() || process_type.contains(['/', '>', '<', ':', '|', '&', '\\']) {
            return Err(ExportError::ProcessType {
                process_type: process_type.clone(),
            });
        }
    }
    let wanted = options.process_type.as_ref().filter(|wanted| !wanted.is_empty());
    if let Some(wanted) = wanted
        && metadata.process(wanted).is_none()
    {
        let known = metadata
            .processes
            .iter()
            .map(|process| process.process_type.clone())
            .collect();
        return Err(ExportError::Process {
            process_type: wanted.clone(),
            known,
        });
    }
    Ok(match wanted.or(metadata.default_process.as_ref()) {
        Some(process_type) => format!("{PROCESS_DIRECTORY}/{process_type}"),
        None => LAUNCHER.to_owned(),
    })
}

/// When the image was made: a constant, or the second that `SOURCE_DATE_EPOCH` names (OWN-03).
pub(super) fn created(options: &ExportOptions, reporter: &dyn Reporter) -> String {
    let epoch = options
        .source_date_epoch
        .as_deref()
        .filter(|_| options.api.has_source_date_epoch());
    let Some(text) = epoch.filter(|text| !text.is_empty()) else {
        return CREATED.to_owned();
    };
    let second = text
        .parse()
        .ok()
        .and_then(|second| Timestamp::from_second(second).ok());
    if second.is_none() {
        reporter.warning(&format!(
            "ignoring SOURCE_DATE_EPOCH: {text:?} is not a number of seconds"
        ));
    }
    second.map_or_else(|| CREATED.to_owned(), |second| second.to_string())
}

/// The image with what is said about it.
pub(super) fn configure(
    image: Image,
    options: &ExportOptions,
    labels: &[(String, String)],
    entrypoint: &str,
    created: &str,
) -> Image {
    mutate::configure(image, |config| {
        let container = &mut config.config;
        // New ones come behind in this order, the others keep their places (lifecycle.md 3.4).
        container.set_env("CNB_LAYERS_DIR", &options.layers.shown.to_string_lossy());
        container.set_env("CNB_APP_DIR", &options.app.shown.to_string_lossy());
        // Without it the launcher would refuse to start.
        container.set_env("CNB_PLATFORM_API", options.api.as_str());
        container.set_env("CNB_DEPRECATION_MODE", "quiet");
        let path = match container.env("PATH").filter(|path| !path.is_empty()) {
            Some(path) => format!("{PROCESS_DIRECTORY}:/cnb/lifecycle:{path}"),
            None => format!("{PROCESS_DIRECTORY}:/cnb/lifecycle"),
        };
        container.set_env("PATH", &path);
        container.working_dir = Some(options.app.shown.to_string_lossy().into_owned());
        container.entrypoint = Some(vec![entrypoint.to_owned()]);
        container.cmd = None;
        for (key, value) in labels {
            config.set_label(key, value);
        }
        config.created = Some(created.to_owned());
        for line in &mut config.history {
            line.created = Some(created.to_owned());
        }
        // The container that an engine made the base in has nothing to do with this image.
        config.other.remove("container");
    })
}
