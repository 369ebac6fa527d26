//! Where kaniko finds the context and the Dockerfile.

use std::path::{Path, PathBuf};

use lifecycle_registry::Secret;
use lifecycle_remote::{GitAuthorization, Object};

use super::settings::{GitSettings, Settings};
use crate::context::{Context, FoundDockerfile, Location};
use crate::environment::Environment;
use crate::failure::Failure;
use crate::session::Session;

/// What a context is called in a bucket where nothing says more.
const OBJECT: &str = "context.tar.gz";

/// Brings the context here (kaniko.md 1.5).
pub(super) fn open(settings: &Settings, session: &Session) -> Result<Context, Failure> {
    let context = location(settings, session)?.open(session)?;
    match &settings.context_sub_path {
        Some(subdirectory) => context.within(subdirectory),
        None => Ok(context),
    }
}

fn location(settings: &Settings, session: &Session) -> Result<Location, Failure> {
    let text = match &settings.bucket {
        Some(bucket) if bucket.contains("://") => bucket.clone(),
        Some(bucket) => format!("gs://{bucket}"),
        None => settings.context.clone(),
    };
    let Some((scheme, rest)) = text.split_once("://") else {
        return match text.as_str() {
            "" => Err(Failure::new("context", "there is no build context").help("name it with --context")),
            path => Ok(Location::Directory(PathBuf::from(path))),
        };
    };
    match (scheme, rest) {
        ("dir", path) => Ok(Location::Directory(PathBuf::from(path))),
        ("tar", "stdin") => Ok(Location::Input),
        ("tar", path) => Ok(Location::File(PathBuf::from(path))),
        ("git", rest) => Ok(git(rest, &settings.git, &session.environment)),
        ("https" | "http" | "s3" | "gs", _) => {
            // A bucket alone holds the context under this name.
            let is_bucket = matches!(scheme, "s3" | "gs")
                && rest.trim_end_matches('/') == rest.split('/').next().unwrap_or_default();
            let address = if is_bucket {
                format!("{scheme}://{}/{OBJECT}", rest.trim_end_matches('/'))
            } else {
                text.clone()
            };
            Ok(match Object::parse(&address) {
                Some(object) => Location::Object(Box::new(object?)),
                None => Location::Web(address),
            })
        }
        _ => {
            let message = format!("{scheme}:// is no scheme of a build context");
            Err(Failure::new("context", message)
                .help("it is one of dir://, tar://, git://, s3://, gs://, https:// and http://"))
        }
    }
}

/// `host/path[#reference[#commit]]`, with what `--git` and variables add.
fn git(text: &str, given: &GitSettings, environment: &Environment) -> Location {
    let protocol = match environment.text("GIT_PULL_METHOD") {
        Some("http") => "http",
        _ => "https",
    };
    let mut parts = text.split('#');
    let url = format!("{protocol}://{}", parts.next().unwrap_or_default());
    let (reference, commit) = (parts.next(), parts.next());
    let reference = commit
        .or(given.branch.as_deref())
        .or(reference)
        .filter(|text| !text.is_empty());
    let user = environment.text("GIT_USERNAME").unwrap_or_default();
    let authorization = match (environment.text("GIT_TOKEN"), environment.text("GIT_PASSWORD")) {
        (Some(token), _) => Some((token, token)),
        (None, Some(password)) => Some((user, password)),
        (None, None) => (!user.is_empty()).then_some((user, "")),
    };
    let repository = lifecycle_remote::Repository {
        submodules: given.submodules,
        // A Dockerfile may ask git what it is building.
        keep_git_directory: true,
        authorization: authorization.map(|(user, password)| GitAuthorization::Basic {
            username: user.to_owned(),
            password: Secret::new(password),
        }),
        ..lifecycle_remote::Repository::new(url).at(reference)
    };
    let settings = lifecycle_remote::GitSettings {
        verify: !given.skip_tls_verify,
        ..lifecycle_remote::GitSettings::default()
    };
    Location::Git(Box::new(repository), Box::new(settings))
}

/// The Dockerfile: an address, a path from here, else from the context.
pub(super) fn dockerfile(
    settings: &Settings,
    context: &Context,
    session: &Session,
) -> Result<FoundDockerfile, Failure> {
    let name = &settings.dockerfile;
    if name.starts_with("https://") || name.starts_with("http://") {
        return FoundDockerfile::fetch(name, session);
    }
    let path = Path::new(name);
    let found = match FoundDockerfile::at(path)? {
        Some(found) => Some(found),
        None => context.dockerfile(path)?,
    };
    found.ok_or_else(|| {
        Failure::new(
            "dockerfile",
            format!("there is no Dockerfile {name}, neither here nor in the build context"),
        )
        .help("name it with --dockerfile")
    })
}
