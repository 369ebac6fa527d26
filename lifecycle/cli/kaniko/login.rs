//! `executor login`: a registry's credentials, into the file that kaniko reads them from.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use super::settings::Settings;
use crate::environment::Environment;
use crate::failure::Failure;

/// What docker calls its own registry in its file.
const DEFAULT_KEY: &str = "https://index.docker.io/v1/";

pub(super) fn run(settings: &Settings, words: &[String], environment: &Environment) -> Result<(), Failure> {
    let wrong = |message: &str| Failure::new("login", message);
    let [registry] = words else {
        return Err(wrong("executor login takes one registry"));
    };
    if settings.user.is_empty() {
        return Err(wrong("there is no user").help("name it with --username"));
    }
    let password = match (&settings.password, settings.password_from_input) {
        (Some(password), false) => password.clone(),
        (None, true) => {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text)?;
            text.trim_end_matches(['\n', '\r']).to_owned()
        }
        _ => {
            return Err(
                wrong("there has to be one password").help("give it with --password or --password-stdin")
            );
        }
    };
    if password.is_empty() {
        return Err(wrong("the password is empty"));
    }
    let directory = environment
        .path("DOCKER_CONFIG")
        .or_else(|| Some(environment.home()?.join(".docker")))
        .ok_or_else(|| wrong("there is no place for credentials").help("set DOCKER_CONFIG"))?;
    let key = match registry.as_str() {
        "index.docker.io" | "docker.io" => DEFAULT_KEY,
        registry => registry,
    };
    save(&directory, key, &settings.user, &password)
}

/// Adds an entry to `config.json`; everything else in it stays. Nobody else can read the file.
fn save(directory: &Path, key: &str, user: &str, password: &str) -> Result<(), Failure> {
    let path: PathBuf = directory.join("config.json");
    let mut document: Value = match fs_err::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map_err(|_| Failure::new("login", format!("{} is not JSON", path.display())))?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => json!({}),
        Err(error) => return Err(error.into()),
    };
    document["auths"][key] = json!({ "auth": BASE64_STANDARD.encode(format!("{user}:{password}")) });
    fs_err::create_dir_all(directory)?;
    let mut file = tempfile::Builder::new();
    file.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600));
    let mut file = file.tempfile_in(directory)?;
    serde_json::to_writer_pretty(&mut file, &document)?;
    file.persist(&path)?;
    Ok(())
}
