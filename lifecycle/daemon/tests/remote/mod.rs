//! Daemons on other machines: TLS with certificates on both sides, and ssh.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use lifecycle_daemon::{Address, Daemon, DaemonError, Tls, TlsFiles};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

use super::executable::write_program;
use super::fake::{FakeDaemon, Manner};
use super::{image, read, write};

/// Makes `ca.pem`, and `server.pem` and `client.pem` with their keys. Says whether there is a program to do so.
fn make_certificates(directory: &Path) -> bool {
    let script = r#"
set -eu
new() { openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes "$@" 2>/dev/null; }
new -x509 -days 2 -subj "/CN=authority" -addext basicConstraints=critical,CA:TRUE -keyout ca.key -out ca.pem
echo subjectAltName=IP:127.0.0.1 >server.ext
echo extendedKeyUsage=clientAuth >client.ext
for name in server client; do
    new -subj "/CN=$name" -keyout $name.key -out $name.csr
    openssl x509 -req -days 2 -in $name.csr -CA ca.pem -CAkey ca.key -CAcreateserial -extfile $name.ext -out $name.pem 2>/dev/null
done
"#;
    let made = Command::new("sh")
        .args(["-c", script])
        .current_dir(directory)
        .status();
    if !made.unwrap().success() {
        println!("skipped: openssl not found");
        return false;
    }
    true
}

/// A server that wants to know its clients.
fn server(directory: &Path) -> ServerConfig {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let certificate = |name: &str| CertificateDer::from_pem_file(directory.join(name)).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certificate("ca.pem")).unwrap();
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let key = PrivateKeyDer::from_pem_file(directory.join("server.key")).unwrap();
    ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_single_cert(vec![certificate("server.pem")], key)
        .unwrap()
}

#[test]
fn tls_with_certificates_on_both_sides() {
    let directory = tempfile::tempdir().unwrap();
    let certificates = directory.path();
    if !make_certificates(certificates) {
        return;
    }
    let (fake, address) = FakeDaemon::start_with_tls(server(certificates));
    let file = |name: &str| fs::read(certificates.join(name)).unwrap();
    let connect = |authority: Option<&str>, knows_us: bool| {
        let files = TlsFiles {
            authority: authority.map(file),
            identity: knows_us.then(|| (file("client.pem"), file("client.key"))),
        };
        let address = address.clone().with_tls(Tls::new(&files).unwrap());
        Daemon::connect(&address, None, certificates)
    };
    let daemon = connect(Some("ca.pem"), true).unwrap();
    let image = image(&["one", "two"]);
    write(&daemon, &image, &["app"]);
    // On one connection, with what TLS itself sends in between.
    for _ in 0..3 {
        read(&daemon, "app");
    }
    assert_eq!(fake.tags(), ["app:latest"]);
    // Without DOCKER_TLS_VERIFY nothing is verified.
    read(&connect(None, true).unwrap(), "app");

    // Another authority, no certificate of ours, and no TLS at all.
    for refused in [
        connect(Some("client.pem"), true),
        connect(Some("ca.pem"), false),
        Daemon::connect(&address, None, certificates),
    ] {
        let error = refused.unwrap_err();
        assert!(matches!(error, DaemonError::Unreachable { .. }), "{error}");
    }
    let broken = TlsFiles {
        authority: Some(b"no certificate".to_vec()),
        identity: None,
    };
    assert_eq!(
        Tls::new(&broken).unwrap_err().to_string(),
        "ca.pem cannot be used: there is no certificate in it"
    );
}

/// A program in ssh's place: it keeps its arguments, and is the docker client on the other machine.
fn ssh(directory: &Path, socket: &Path) -> std::path::PathBuf {
    let program = directory.join("ssh");
    let script = format!(
        r#"#!/bin/sh
printf '%s\n' "$@" >>{0}/arguments
exec python3 -c '
import os, socket, sys, threading
daemon = socket.socket(socket.AF_UNIX)
daemon.connect(sys.argv[1])
def send():
    while data := os.read(0, 65536):
        daemon.sendall(data)
    daemon.shutdown(socket.SHUT_WR)
threading.Thread(target=send, daemon=True).start()
while data := daemon.recv(65536):
    view = memoryview(data)
    while view:
        view = view[os.write(1, view):]
' {1}
"#,
        directory.display(),
        socket.display()
    );
    write_program(&program, &script);
    program
}

#[test]
fn ssh_runs_the_docker_client_of_the_other_machine() {
    let fake = FakeDaemon::start(Manner::default());
    let directory = tempfile::tempdir().unwrap();
    let program = ssh(directory.path(), &fake.socket());
    let through = |text: &str| {
        let Address::Ssh(mut ssh) = Address::parse(text).unwrap() else {
            panic!("{text} is another address")
        };
        ssh.program.clone_from(&program);
        Daemon::connect(&Address::Ssh(ssh), None, directory.path())
    };
    let daemon = through("ssh://me@there:2222/run/other.sock").unwrap();
    write(&daemon, &image(&["one"]), &["app"]);
    read(&daemon, "app");
    // All of it in one run of the program.
    let arguments = fs::read_to_string(directory.path().join("arguments")).unwrap();
    let expected = "-o ConnectTimeout=30 -T -l me -p 2222 -- there docker --host=unix:///run/other.sock system dial-stdio";
    assert_eq!(arguments.lines().collect::<Vec<_>>().join(" "), expected);

    // A name is no option of ssh, and a machine that is not there is no daemon.
    write_program(&program, "#!/bin/sh\nexit 255\n");
    let error = through("ssh://-oProxyCommand=x").unwrap_err();
    assert!(matches!(error, DaemonError::Unreachable { .. }), "{error}");
}
