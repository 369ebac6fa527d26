//! Certificates for loopback, made by openssl.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// An authority, and what it signed, in a directory: `ca.pem`, `server.pem` (for loopback and `files.test`), `client.pem`,
/// and their keys.
pub(crate) fn make_certificates(directory: &Path) {
    let at = |name: &str| directory.join(name).display().to_string();
    let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
    let authority = [
        "-x509",
        "-days",
        "2",
        "-subj",
        "/CN=test authority",
        "-addext",
        "basicConstraints=critical,CA:TRUE",
    ];
    let files = ["-keyout", &at("ca.key"), "-out", &at("ca.pem")];
    openssl(&[&["req"], &key[..], &authority, &files].concat());
    for (name, extension) in [
        (
            "server",
            "subjectAltName=IP:127.0.0.1,DNS:localhost,DNS:files.test\n",
        ),
        ("client", "extendedKeyUsage=clientAuth\n"),
    ] {
        let (request, extensions) = (at(&format!("{name}.csr")), at(&format!("{name}.ext")));
        fs::write(&extensions, extension).unwrap();
        let subject = format!("/CN={name}");
        let files = [
            "-subj",
            &subject,
            "-keyout",
            &at(&format!("{name}.key")),
            "-out",
            &request,
        ];
        openssl(&[&["req"], &key[..], &files].concat());
        let signer = [
            "-CA",
            &at("ca.pem"),
            "-CAkey",
            &at("ca.key"),
            "-CAcreateserial",
            "-days",
            "2",
        ];
        let files = [
            "-in",
            &request,
            "-extfile",
            &extensions,
            "-out",
            &at(&format!("{name}.pem")),
        ];
        openssl(&[&["x509", "-req"], &signer[..], &files].concat());
    }
}

fn openssl(arguments: &[&str]) {
    let mut command = Command::new("openssl");
    let output = command.args(arguments).stdin(Stdio::null()).output();
    let output =
        output.unwrap_or_else(|cause| panic!("openssl cannot be started (run tests/setup): {cause}"));
    assert!(
        output.status.success(),
        "openssl {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}
