//! The packages that an image's own database lists.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, BufReader, Read};
use std::sync::Arc;

use lifecycle_image::{Image, Layer};
use lifecycle_layers::{FormatError, Kind, TarReader, open_tar};

/// A database larger than this is not read.
const LARGEST: u64 = 64 << 20;

/// A package that is installed in an image.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its architecture, if the database says.
    pub architecture: String,
    /// Its licence as the database has it, if it does.
    pub license: String,
    /// Who answers for it.
    pub supplier: String,
    /// Its package URL.
    pub purl: String,
}

/// What the databases of an image say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Packages {
    /// The packages by name.
    pub list: Vec<Package>,
    /// `debian 12`, if the image says what it is.
    pub distribution: Option<String>,
    /// Databases that are there and cannot be read, as RPM's binary ones.
    pub unread: Vec<&'static str>,
}

/// An image's files could not be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the package database of the image")]
pub struct PackagesError(#[source] FormatError);

/// What is looked for.
const DPKG: &str = "var/lib/dpkg/status";
const DPKG_PARTS: &str = "var/lib/dpkg/status.d/";
const APK: [&str; 2] = ["lib/apk/db/installed", "usr/lib/apk/db/installed"];
const RELEASES: [&str; 2] = ["usr/lib/os-release", "etc/os-release"];
const RPM: [&str; 4] = [
    "var/lib/rpm/rpmdb.sqlite",
    "var/lib/rpm/Packages",
    "var/lib/rpm/Packages.db",
    "usr/lib/sysimage/rpm/rpmdb.sqlite",
];

/// Reads the package databases of an image's files: dpkg's and apk's. All layers are read, none is unpacked.
///
/// # Errors
/// When a layer cannot be read.
pub fn packages(image: &Image) -> Result<Packages, PackagesError> {
    let mut files = BTreeMap::new();
    for layer in image.layers() {
        collect(layer, &mut files).map_err(PackagesError)?;
    }
    let text = |path: &str| {
        files
            .get(path)
            .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
    };
    let release = RELEASES
        .iter()
        .rev()
        .find_map(|path| text(path))
        .unwrap_or_default();
    let (id, version) = (field(&release, "ID"), field(&release, "VERSION_ID"));
    let mut list = Vec::new();
    let parts = files.range(DPKG_PARTS.to_owned()..);
    let parts = parts.take_while(|(path, _)| path.starts_with(DPKG_PARTS));
    let parts = parts.filter(|(path, _)| !path.ends_with(".md5sums"));
    let parts: Vec<String> = parts
        .map(|(_, bytes)| String::from_utf8_lossy(bytes).into_owned())
        .collect();
    for status in text(DPKG).into_iter().chain(parts) {
        list.extend(dpkg(&status, &id, &version));
    }
    for installed in APK.iter().filter_map(|path| text(path)) {
        list.extend(apk(&installed, &id, &version));
    }
    list.sort();
    list.dedup();
    Ok(Packages {
        list,
        distribution: (!id.is_empty()).then(|| format!("{id} {version}").trim_end().to_owned()),
        unread: RPM.into_iter().filter(|path| files.contains_key(*path)).collect(),
    })
}

fn is_wanted(path: &str) -> bool {
    path == DPKG
        || (path.starts_with(DPKG_PARTS) && path.len() > DPKG_PARTS.len())
        || APK.contains(&path)
        || RELEASES.contains(&path)
}

/// Takes in what a layer has of the wanted files, and lets go of what it hides.
fn collect(layer: &Arc<dyn Layer>, files: &mut BTreeMap<String, Vec<u8>>) -> Result<(), FormatError> {
    let plain = open_tar(&**layer).map_err(FormatError::Read)?;
    let mut reader = TarReader::new(BufReader::with_capacity(256 << 10, plain));
    let mut own = BTreeMap::new();
    while let Some(entry) = reader.next_entry()? {
        let path = String::from_utf8_lossy(&entry.path);
        let path = path.trim_start_matches("./").trim_matches('/').to_owned();
        let (above, name) = path.rsplit_once('/').unwrap_or(("", &path));
        if let Some(hidden) = name.strip_prefix(".wh.") {
            let gone = match hidden {
                ".wh..opq" => above.to_owned(),
                hidden if above.is_empty() => hidden.to_owned(),
                hidden => format!("{above}/{hidden}"),
            };
            files.retain(|known, _| *known != gone && !known.starts_with(&format!("{gone}/")));
            continue;
        }
        let Kind::File { size } = entry.kind else { continue };
        if RPM.contains(&path.as_str()) {
            own.insert(path, Vec::new());
        } else if is_wanted(&path) && size <= LARGEST && entry.sparse.is_none() {
            let mut bytes = Vec::new();
            loop {
                let piece = reader.chunk()?;
                if piece.is_empty() {
                    break;
                }
                let count = piece.len();
                bytes.extend_from_slice(piece);
                reader.consume(count);
            }
            own.insert(path, bytes);
        }
    }
    files.extend(own);
    // The blob is verified at its end.
    io::copy(&mut reader.into_inner().by_ref(), &mut io::sink()).map_err(FormatError::Read)?;
    Ok(())
}

/// A field of `os-release`, without quotes.
fn field(release: &str, name: &str) -> String {
    let value = release
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    value.unwrap_or_default().trim_matches(['"', '\'']).to_owned()
}

/// Stanzas of `Name: value` lines (deb822).
fn dpkg(status: &str, id: &str, version: &str) -> Vec<Package> {
    let mut packages = Vec::new();
    for stanza in status.split("\n\n") {
        let value = |name: &str| {
            let line = stanza
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.unwrap_or_default().trim().to_owned()
        };
        let (name, own_version) = (value("Package"), value("Version"));
        let state = value("Status");
        // The parts of minimal images have no state: what is there is installed.
        if name.is_empty() || own_version.is_empty() || !(state.is_empty() || state.ends_with(" installed")) {
            continue;
        }
        let architecture = value("Architecture");
        let distribution = if id.is_empty() { "debian" } else { id };
        packages.push(Package {
            purl: purl("deb", distribution, &name, &own_version, &architecture, version),
            license: String::new(),
            supplier: value("Maintainer"),
            name,
            version: own_version,
            architecture,
        });
    }
    packages
}

/// Stanzas of `X:value` lines.
fn apk(installed: &str, id: &str, version: &str) -> Vec<Package> {
    let mut packages = Vec::new();
    for stanza in installed.split("\n\n") {
        let value = |key: &str| {
            let line = stanza.lines().find_map(|line| line.strip_prefix(key));
            line.unwrap_or_default().trim().to_owned()
        };
        let (name, own_version) = (value("P:"), value("V:"));
        if name.is_empty() || own_version.is_empty() {
            continue;
        }
        let architecture = value("A:");
        let distribution = if id.is_empty() { "alpine" } else { id };
        packages.push(Package {
            purl: purl("apk", distribution, &name, &own_version, &architecture, version),
            license: value("L:"),
            supplier: value("m:"),
            name,
            version: own_version,
            architecture,
        });
    }
    packages
}

/// A package URL (package-url specification).
fn purl(
    kind: &str,
    distribution: &str,
    name: &str,
    version: &str,
    architecture: &str,
    release: &str,
) -> String {
    let mut purl = format!(
        "pkg:{kind}/{}/{}@{}",
        encode(distribution),
        encode(name),
        encode(version)
    );
    let qualifiers = [
        (!architecture.is_empty()).then(|| format!("arch={}", encode(architecture))),
        (!release.is_empty()).then(|| format!("distro={}-{}", encode(distribution), encode(release))),
    ];
    let qualifiers: Vec<String> = qualifiers.into_iter().flatten().collect();
    if !qualifiers.is_empty() {
        purl.push('?');
        purl.push_str(&qualifiers.join("&"));
    }
    purl
}

pub(crate) fn encode(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'_' | b'~' | b':' => {
                encoded.push(char::from(byte));
            }
            byte => {
                let _written = write!(encoded, "%{byte:02X}");
            }
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn databases_are_read_stanza_by_stanza() {
        let status = "Package: bash\nStatus: install ok installed\nMaintainer: M <m@x>\nArchitecture: amd64\nVersion: 5.2+dfsg-1\n\n\
                      Package: gone\nStatus: deinstall ok config-files\nVersion: 1\n\nno package\n";
        let found = dpkg(status, "debian", "12");
        assert_eq!(found.len(), 1);
        assert_eq!(
            found[0].purl,
            "pkg:deb/debian/bash@5.2%2Bdfsg-1?arch=amd64&distro=debian-12"
        );
        assert_eq!(found[0].supplier, "M <m@x>");
        let installed = "C:Q1\nP:musl\nV:1.2.5-r0\nA:x86_64\nL:MIT\n\nP:\nV:2\n";
        let found = apk(installed, "alpine", "3.20");
        assert_eq!(found.len(), 1);
        assert_eq!(
            found[0].purl,
            "pkg:apk/alpine/musl@1.2.5-r0?arch=x86_64&distro=alpine-3.20"
        );
        assert_eq!(field("ID=\"x\"\nVERSION_ID=1\n", "ID"), "x");
    }
}
