//! What the command line gives to the build of a Dockerfile: arguments, contexts, secrets, agents, powers.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use lifecycle_dockerfile::BuildArgs;
use lifecycle_executor::{
    DeviceEntitlement, Entitlements, NamedContext, NetworkMode, NoCache, Options, Secret,
};
use lifecycle_image::Platform;

use super::dockerfile::{find, usual_options};
use crate::arguments::{BuildArguments, DockerfileArguments, NetworkArgument, Power};
use crate::caches;
use crate::context::{Context, LayoutImage, Location, shown};
use crate::failure::Failure;
use crate::session::Session;
use crate::variables;

/// What the command line asks of a build. What was fetched for named contexts is kept in `fetched`.
pub(super) fn options(
    arguments: &BuildArguments,
    file: Option<&Path>,
    context: &Context,
    session: &Session,
    fetched: &mut Vec<Context>,
) -> Result<Options, Failure> {
    let given = &arguments.dockerfile;
    let mut dockerfile = find(file, context)?;
    dockerfile.ignore.get_or_insert_with(|| context.ignore());
    let platform = arguments
        .platforms
        .first()
        .cloned()
        .unwrap_or_else(Platform::host);
    let epoch = super::created(arguments, session)?;
    let mut options = usual_options(dockerfile, context.files(), &platform, epoch);
    options.build_args = build_args(&given.build_args, session)?;
    options.target.clone_from(&given.target);
    options.labels.clone_from(&given.labels);
    options.contexts = contexts(given, session, fetched)?;
    options.secrets = secrets(&given.secrets, session)?;
    options.ssh = agents(given, session)?;
    options.network = match given.network {
        NetworkArgument::Default => NetworkMode::Shared,
        NetworkArgument::None => NetworkMode::None,
    };
    options.allow = entitlements(&given.allow);
    if !given.cdi_spec_dir.is_empty() {
        options.device_specifications.clone_from(&given.cdi_spec_dir);
    }
    options.no_cache = match &given.no_cache {
        None => NoCache::Off,
        Some(stages) if stages.iter().all(String::is_empty) => NoCache::All,
        Some(stages) => NoCache::Stages(stages.iter().map(|stage| stage.to_lowercase()).collect()),
    };
    options.imports = given
        .cache_from
        .iter()
        .map(|text| caches::source(text, session))
        .collect::<Result<_, _>>()?;
    Ok(options)
}

/// `NAME=VALUE`, or `NAME` for the variable of that name; the proxies of this process go before them.
pub(crate) fn build_args(given: &[String], session: &Session) -> Result<BuildArgs, Failure> {
    let mut pairs = variables::Variables::default();
    for (name, value) in session.environment.proxies() {
        pairs.set(&name, value.into());
    }
    pairs.add(given, &session.environment)?;
    let mut args = BTreeMap::new();
    for (name, value) in pairs.into_pairs() {
        let value = value.into_string().map_err(|_| {
            Failure::new(
                "build-arg",
                format!("the value of the build argument {name} is not UTF-8"),
            )
        })?;
        args.insert(name, value);
    }
    Ok(args.into_iter().collect())
}

/// The named contexts (F9). What was fetched for them is kept in `fetched`.
fn contexts(
    given: &DockerfileArguments,
    session: &Session,
    fetched: &mut Vec<Context>,
) -> Result<BTreeMap<String, NamedContext>, Failure> {
    let mut contexts = BTreeMap::new();
    for (name, value) in &given.contexts {
        let named = if let Some(image) = value.strip_prefix("docker-image://") {
            NamedContext::Image {
                source: None,
                reference: image.parse()?,
            }
        } else if let Some(layout) = value.strip_prefix("oci-layout://") {
            LayoutImage::find(layout)?
        } else {
            let context = Location::parse(value)?.open(session)?;
            let path = context.directory().ok_or_else(|| {
                Failure::new(
                    "context",
                    format!(
                        "the build context {name} has no files: {} is a Dockerfile",
                        shown(value)
                    ),
                )
            })?;
            let named = NamedContext::Directory {
                path: path.to_owned(),
                ignore: context.ignore(),
            };
            fetched.push(context);
            named
        };
        contexts.insert(name.to_lowercase(), named);
    }
    Ok(contexts)
}

/// `id=ID[,src=FILE|,env=NAME][,type=file|env]`; without either, the variable of that name, else the file (I11).
pub(crate) fn secrets(given: &[String], session: &Session) -> Result<BTreeMap<String, Secret>, Failure> {
    let mut secrets = BTreeMap::new();
    for text in given {
        let wrong = |reason: String| {
            Failure::new("secret", format!("--secret {text}: {reason}"))
                .help("write id=ID,src=FILE or id=ID,env=NAME")
        };
        let mut fields = BTreeMap::new();
        for field in text.split(',') {
            let (key, value) = field
                .split_once('=')
                .ok_or_else(|| wrong(format!("{field:?} is no KEY=VALUE")))?;
            match key {
                "id" | "src" | "env" | "type" => fields.insert(key, value),
                "source" => fields.insert("src", value),
                _ => return Err(wrong(format!("there is no {key}"))),
            };
        }
        let field = |key: &str| fields.get(key).copied();
        let id = field("id").ok_or_else(|| wrong("it has no id".to_owned()))?;
        let variable = |name: &str| session.environment.os(name);
        let (file, name) = match (field("type"), field("src"), field("env")) {
            (_, Some(_), Some(_)) => return Err(wrong("it has both a file and a variable".to_owned())),
            (None | Some("env"), None, Some(name)) | (Some("env"), Some(name), None) => (None, Some(name)),
            (None | Some("file"), Some(file), None) => (Some(file), None),
            (Some("env"), None, None) => (None, Some(id)),
            (None, None, None) if variable(id).is_some() => (None, Some(id)),
            (None | Some("file"), None, None) => (Some(id), None),
            (Some(kind), ..) => return Err(wrong(format!("it cannot be of the type {kind}"))),
        };
        let value = match (file, name) {
            (Some(file), _) => fs_err::read(file)?,
            (None, name) => {
                let name = name.unwrap_or(id);
                let value = variable(name).ok_or_else(|| wrong(format!("there is no variable {name}")))?;
                std::os::unix::ffi::OsStrExt::as_bytes(value.as_os_str()).to_vec()
            }
        };
        let secret = Secret::new(value).ok_or_else(|| wrong("it is larger than 500 KiB".to_owned()))?;
        if secrets.insert(id.to_owned(), secret).is_some() {
            return Err(wrong("there is another one with this id".to_owned()));
        }
    }
    Ok(secrets)
}

/// `ID[=SOCKET]`; without a socket, that of the running agent (I12).
fn agents(given: &DockerfileArguments, session: &Session) -> Result<BTreeMap<String, PathBuf>, Failure> {
    let mut agents = BTreeMap::new();
    for text in &given.ssh {
        let (id, socket) = match text.split_once('=') {
            Some((id, socket)) => (id, Some(PathBuf::from(socket))),
            None => (text.as_str(), session.environment.path("SSH_AUTH_SOCK")),
        };
        let socket = socket.ok_or_else(|| {
            Failure::new("ssh", format!("--ssh {text}: no agent is running"))
                .help("set SSH_AUTH_SOCK, or name a socket: --ssh ID=SOCKET")
        })?;
        agents.insert(id.to_owned(), socket);
    }
    Ok(agents)
}

fn entitlements(allow: &[Power]) -> Entitlements {
    let names = allow.iter().filter_map(|power| match power {
        Power::Device(name) => name.clone(),
        Power::NetworkHost | Power::SecurityInsecure => None,
    });
    Entitlements {
        network_host: allow.contains(&Power::NetworkHost),
        security_insecure: allow.contains(&Power::SecurityInsecure),
        devices: if allow.contains(&Power::Device(None)) {
            DeviceEntitlement::All
        } else {
            DeviceEntitlement::These(names.collect())
        },
    }
}
