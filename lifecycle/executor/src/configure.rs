//! Instructions that change the configuration only (section G), and how the history tells of all (section L).

use std::collections::BTreeMap;

use lifecycle_dockerfile::{
    Action, BaseConfig, DEFAULT_PATH, Healthcheck as Check, History as Line, Platform as Target, history,
};
use lifecycle_image::{ContainerConfig, Healthcheck, History, ImageConfig, Platform};
use serde_json::Value;

/// Applies an action to a configuration; those without one in it do nothing.
pub(crate) fn configure(config: &mut ImageConfig, action: &Action) {
    let container = &mut config.config;
    match action {
        Action::Run(_) | Action::Copy(_) | Action::Arg => {}
        Action::Workdir { path, .. } => container.working_dir = Some(path.clone()),
        Action::Cmd(arguments) => {
            container.cmd = unless_empty(arguments);
            container.args_escaped = Some(true);
        }
        Action::Entrypoint {
            arguments,
            clears_cmd,
        } => {
            container.entrypoint = unless_empty(arguments);
            if *clears_cmd {
                container.cmd = None;
            }
        }
        Action::Env(pairs) => {
            for (name, value) in pairs {
                container.set_env(name, value);
            }
        }
        // Variables may leave no port.
        Action::Expose(ports) if ports.is_empty() => {}
        Action::Expose(ports) => {
            let exposed = container.exposed_ports.get_or_insert_default();
            exposed.extend(ports.iter().map(|port| (port.clone(), nothing())));
        }
        Action::Healthcheck(check) => container.healthcheck = Some(healthcheck(check)),
        Action::Label(labels) => {
            let known = container.labels.get_or_insert_default();
            known.extend(labels.iter().cloned());
        }
        Action::Maintainer(author) => config.author = Some(author.clone()),
        Action::Onbuild(trigger) => container.on_build.get_or_insert_default().push(trigger.clone()),
        Action::Shell(shell) => container.shell = Some(shell.clone()),
        Action::StopSignal(signal) => container.stop_signal = Some(signal.clone()),
        Action::User(user) => container.user = Some(user.clone()),
        Action::Volume(paths) => {
            let volumes = container.volumes.get_or_insert_default();
            volumes.extend(paths.iter().map(|path| (path.clone(), nothing())));
        }
    }
}

/// An empty list says what none says: BuildKit leaves it out (G1, G2).
fn unless_empty(arguments: &[String]) -> Option<Vec<String>> {
    (!arguments.is_empty()).then(|| arguments.to_vec())
}

fn nothing() -> Value {
    Value::Object(serde_json::Map::new())
}

fn healthcheck(check: &Check) -> Healthcheck {
    let positive = |nanoseconds: i64| u64::try_from(nanoseconds).ok().filter(|value| *value > 0);
    Healthcheck {
        test: Some(check.test.to_list()),
        interval: positive(check.interval.nanoseconds()),
        timeout: positive(check.timeout.nanoseconds()),
        start_period: positive(check.start_period.nanoseconds()),
        start_interval: positive(check.start_interval.nanoseconds()),
        retries: u64::try_from(check.retries).ok().filter(|value| *value > 0),
    }
}

/// What the first instruction of a stage finds (E10, F8, L4).
pub(crate) fn begin(config: &mut ImageConfig, adds_path: bool) {
    // Fired, and not inherited (G14).
    config.config.on_build = None;
    if adds_path {
        config.config.set_env("PATH", DEFAULT_PATH);
    }
    if config.config.working_dir.as_deref().is_none_or(str::is_empty) {
        config.config.working_dir = Some("/".to_owned());
    }
    config.created = None;
}

/// What the language looks at in a base.
pub(crate) fn base_config(config: &ImageConfig) -> BaseConfig {
    let container: &ContainerConfig = &config.config;
    BaseConfig {
        env: container.env.clone().unwrap_or_default(),
        working_dir: container.working_dir.clone().unwrap_or_default(),
        user: container.user.clone().unwrap_or_default(),
        shell: container.shell.clone().unwrap_or_default(),
        platform: Some(Target {
            os: config.os.clone(),
            architecture: config.architecture.clone(),
            variant: config.variant.clone().unwrap_or_default(),
            os_version: config.os_version.clone().unwrap_or_default(),
        }),
    }
}

/// A platform of the language as a platform of images.
pub(crate) fn image_platform(platform: &Target) -> Platform {
    let some = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    Platform {
        architecture: platform.architecture.clone(),
        os: platform.os.clone(),
        os_version: some(&platform.os_version),
        variant: some(&platform.variant),
    }
}

/// A line of history; its time comes later (L2).
pub(crate) fn line(line: &Line) -> History {
    History {
        created: None,
        created_by: Some(line.created_by.clone()),
        author: None,
        comment: Some(history::COMMENT.to_owned()),
        empty_layer: line.empty_layer,
    }
}

/// Seconds since the epoch as images write times.
pub(crate) fn timestamp(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds)
        .map_or_else(|_| "1970-01-01T00:00:00Z".to_owned(), |time| time.to_string())
}

/// Gives the lines of this build that have no time the one of the line before, or, at the beginning, of the first
/// that has one; `otherwise` where none has (L2). Returns the time of the last line.
pub(crate) fn fill_times(lines: &mut [History], otherwise: String) -> String {
    let first = lines.iter().find_map(|line| line.created.clone());
    let mut time = first.unwrap_or(otherwise);
    for line in lines {
        match &line.created {
            Some(created) => time.clone_from(created),
            None => line.created = Some(time.clone()),
        }
    }
    time
}

/// The history of a base, with one line for each of its layers: missing ones are added (L2).
pub(crate) fn base_history(config: &ImageConfig, layers: usize) -> Vec<History> {
    let mut lines = config.history.clone();
    let told = lines.iter().filter(|line| !line.empty_layer).count();
    for _ in told..layers {
        lines.push(History {
            comment: Some("buildkit.exporter.image.v0".to_owned()),
            ..History::default()
        });
    }
    lines
}

/// `--label`, last and without history (G5).
pub(crate) fn set_labels(config: &mut ImageConfig, labels: &[(String, String)]) {
    if labels.is_empty() {
        return;
    }
    let known: &mut BTreeMap<String, String> = config.config.labels.get_or_insert_default();
    known.extend(labels.iter().cloned());
}
