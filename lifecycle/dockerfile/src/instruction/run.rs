//! RUN and its flags (section I).

use lifecycle_diagnostics::{Diagnostic, nearest};

use super::flags::{Flag, Flags};
use super::{CommandLine, Request, command_line, mount};
use crate::boolean;
use crate::csv::parse_fields;
use crate::heredoc::Heredoc;
use crate::line::Word;

/// RUN as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// The command; with heredocs always in shell form.
    pub command: CommandLine,
    /// The bodies its text announces, in order (C3).
    pub heredocs: Vec<Heredoc>,
    /// `--mount` values, before expansion.
    pub mounts: Vec<Word>,
    /// `--network` (I14)
    pub network: Network,
    /// `--security` (I15)
    pub security: Security,
    /// `--device` (I16)
    pub devices: Vec<Device>,
}

/// What a RUN sees of the network (I14).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Network {
    /// The build's default.
    #[default]
    Default,
    /// Loopback only.
    None,
    /// The host's; needs permission.
    Host,
}

/// How confined a RUN is (I15).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Security {
    /// As confined as every step.
    #[default]
    Sandbox,
    /// All capabilities and devices; needs permission.
    Insecure,
}

/// A device by its CDI name (I16).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// `vendor/class=name`, a class, or a wildcard.
    pub name: String,
    /// Whether the step fails without it.
    pub required: bool,
}

pub(super) fn parse(request: &Request<'_>) -> Result<Run, Diagnostic> {
    let flags = request.flags(&[
        ("mount", Flag::Texts),
        ("network", Flag::Text),
        ("security", Flag::Text),
        ("device", Flag::Texts),
    ])?;
    let mounts = flags.texts("mount");
    mounts.iter().try_for_each(mount::check_spec)?;
    Ok(Run {
        command: command_line::parse_part(request.arguments)?,
        heredocs: request.heredocs.clone(),
        mounts,
        network: choice(
            &flags,
            "network",
            &[
                ("default", Network::Default),
                ("none", Network::None),
                ("host", Network::Host),
            ],
        )?,
        security: choice(
            &flags,
            "security",
            &[("sandbox", Security::Sandbox), ("insecure", Security::Insecure)],
        )?,
        devices: flags
            .texts("device")
            .iter()
            .map(parse_device)
            .collect::<Result<_, _>>()?,
    })
}

/// The value of a flag that takes one of a few words.
fn choice<T: Copy + Default>(
    flags: &Flags,
    name: &'static str,
    choices: &[(&'static str, T)],
) -> Result<T, Diagnostic> {
    let Some(given) = flags.text(name) else {
        return Ok(T::default());
    };
    let found = choices.iter().find(|(word, _)| *word == given.text);
    found.map(|&(_, value)| value).ok_or_else(|| {
        let names: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
        Diagnostic::error("invalid-flag", format!("--{name} {:?} is not valid", given.text))
            .at(given.span)
            .help(format!("use one of {}", names.join(", ")))
    })
}

fn parse_device(spec: &Word) -> Result<Device, Diagnostic> {
    let fault = |message: String| Diagnostic::error("invalid-device", message).at(spec.span.clone());
    let mut device = Device {
        name: String::new(),
        required: false,
    };
    for field in parse_fields(&spec.text).map_err(|error| fault(format!("--device: {error}")))? {
        let (key, value) = match field.split_once('=') {
            Some((key, value)) => (key.to_lowercase(), Some(value)),
            None => (field.to_lowercase(), None),
        };
        match (key.as_str(), value) {
            ("required", None) => device.required = true,
            ("required", Some(value)) => {
                device.required = boolean::parse(value)
                    .ok_or_else(|| fault(format!("invalid value for required: {value}")))?;
            }
            ("name", Some(_)) if !device.name.is_empty() => {
                return Err(fault(format!("device name already set to {}", device.name)));
            }
            ("name", Some(value)) => value.clone_into(&mut device.name),
            _ if device.name.is_empty() => device.name = field,
            (key, _) => {
                let diagnostic = fault(format!("unexpected key '{key}' in --device"));
                return Err(match nearest(key, ["name", "required"]) {
                    Some(known) => diagnostic.help(format!("did you mean {known}?")),
                    None => diagnostic,
                });
            }
        }
    }
    Ok(device)
}
