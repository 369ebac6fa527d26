//! The daemon that `-daemon` means, by the variables of docker's client (lifecycle.md 1.3).

use std::io;
use std::path::PathBuf;

use lifecycle_daemon::{Address, Daemon, Tls, TlsFiles};
use lifecycle_spec::ExitCode;

use super::PhaseError;
use crate::environment::Environment;
use crate::failure;

/// Connects to it.
pub(super) fn connect(environment: &Environment) -> Result<Daemon, PhaseError> {
    let address = address(environment).map_err(failed)?;
    let version = environment.text("DOCKER_API_VERSION");
    Daemon::connect(&address, version, environment.temporary_directory())
        .map_err(|error| failed(failure::sentence(&error)))
}

fn failed(cause: String) -> PhaseError {
    PhaseError::new("initialize docker client", cause, ExitCode::Generic)
}

/// Where it listens: `DOCKER_HOST`, with the TLS that the variables ask for.
fn address(environment: &Environment) -> Result<Address, String> {
    let address = match environment.text("DOCKER_HOST") {
        Some(text) => Address::parse(text).map_err(|error| error.to_string())?,
        None => Address::usual(),
    };
    // Nobody has to have certificates for a socket.
    if !matches!(address, Address::Tcp(..)) {
        return Ok(address);
    }
    let Some(files) = tls_files(environment)? else {
        return Ok(address);
    };
    let tls = Tls::new(&files).map_err(|error| error.to_string())?;
    Ok(address.with_tls(tls))
}

/// `DOCKER_TLS_VERIFY` asks for TLS that is verified; `DOCKER_CERT_PATH` names the directory of the files, and alone asks
/// for TLS that is not.
fn tls_files(environment: &Environment) -> Result<Option<TlsFiles>, String> {
    let verifies = environment.text("DOCKER_TLS_VERIFY").is_some();
    let directory = match environment.text("DOCKER_CERT_PATH") {
        Some(directory) => PathBuf::from(directory),
        None if verifies => usual_directory(environment),
        None => return Ok(None),
    };
    let read = |name: &str| match fs_err::read(directory.join(name)) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.to_string()),
    };
    let missing =
        |name: &str, why: &str| format!("{} is not there, but {why}", directory.join(name).display());
    let authority = match read("ca.pem")? {
        _ if !verifies => None,
        None => return Err(missing("ca.pem", "DOCKER_TLS_VERIFY is set")),
        found => found,
    };
    let identity = match (read("cert.pem")?, read("key.pem")?) {
        (None, None) => None,
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (Some(_), None) => return Err(missing("key.pem", "cert.pem is")),
        (None, Some(_)) => return Err(missing("cert.pem", "key.pem is")),
    };
    Ok(Some(TlsFiles { authority, identity }))
}

/// Where docker's client has its files.
fn usual_directory(environment: &Environment) -> PathBuf {
    match (environment.text("DOCKER_CONFIG"), environment.text("HOME")) {
        (Some(directory), _) => PathBuf::from(directory),
        (None, home) => PathBuf::from(home.unwrap_or("/")).join(".docker"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tls_is_asked_for_as_of_dockers_client() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().to_str().unwrap();
        let files = |pairs: &[(&str, &str)]| {
            let found = tls_files(&Environment::from_pairs(pairs))?;
            Ok::<_, String>(found.map(|files| (files.authority.is_some(), files.identity.is_some())))
        };
        let (here, verify) = (("DOCKER_CERT_PATH", path), ("DOCKER_TLS_VERIFY", "1"));
        assert_eq!(files(&[]), Ok(None));
        assert_eq!(
            files(&[here, ("DOCKER_TLS_VERIFY", "")]),
            Ok(Some((false, false)))
        );
        assert!(
            files(&[here, verify])
                .unwrap_err()
                .contains("ca.pem is not there")
        );
        fs_err::write(directory.path().join("ca.pem"), "x").unwrap();
        assert_eq!(files(&[here, verify]), Ok(Some((true, false))));
        assert_eq!(files(&[("DOCKER_CONFIG", path), verify]), Ok(Some((true, false))));
        // What is not verified needs no authority.
        assert_eq!(files(&[here]), Ok(Some((false, false))));
        fs_err::write(directory.path().join("cert.pem"), "x").unwrap();
        assert!(files(&[here]).unwrap_err().contains("key.pem is not there"));
        fs_err::write(directory.path().join("key.pem"), "x").unwrap();
        assert_eq!(files(&[here, verify]), Ok(Some((true, true))));

        let of = |pairs: &[(&str, &str)]| address(&Environment::from_pairs(pairs));
        let host = |text| ("DOCKER_HOST", text);
        assert!(
            of(&[host("tcp://h:2376"), here])
                .unwrap_err()
                .contains("cert.pem cannot be used")
        );
        // Sockets and ssh have no use for them.
        for text in ["unix:///run/docker.sock", "ssh://me@h"] {
            assert_eq!(of(&[host(text), here]).unwrap().to_string(), text);
        }
    }
}
