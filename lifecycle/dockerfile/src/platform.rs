//! Platforms as `--platform` and the platform ARGs spell them.

use std::fmt;

/// Operating system and processor.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Platform {
    /// `linux`
    pub os: String,
    /// `amd64`, `arm64`
    pub architecture: String,
    /// `v7`; empty if there is none.
    pub variant: String,
    /// Empty if there is none.
    pub os_version: String,
}

/// The platform that builds and the one that is built for (E8).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Platforms {
    /// Where the build runs.
    pub build: Platform,
    /// What the image is for.
    pub target: Platform,
}

impl Platforms {
    /// Building for the platform one builds on.
    pub fn native(platform: Platform) -> Self {
        Self {
            build: platform.clone(),
            target: platform,
        }
    }
}

const KNOWN_SYSTEMS: [&str; 5] = ["linux", "windows", "darwin", "freebsd", "wasip1"];

const KNOWN_ARCHITECTURES: [&str; 14] = [
    "386", "amd64", "arm", "arm64", "loong64", "mips", "mipsle", "mips64", "mips64le", "ppc64", "ppc64le",
    "riscv64", "s390x", "wasm",
];

impl Platform {
    /// A platform without variant and version.
    pub fn new(os: impl Into<String>, architecture: impl Into<String>) -> Self {
        Self {
            os: os.into(),
            architecture: architecture.into(),
            variant: String::new(),
            os_version: String::new(),
        }
    }

    /// Reads `os[(version)]/architecture[/variant]`, or one of the two alone, which `default` completes. Common
    /// other spellings (`x86_64`, `aarch64`) become the registry's.
    pub fn parse(text: &str, default: &Self) -> Option<Self> {
        let parts: Vec<&str> = text.split('/').collect();
        let (system, architecture, variant) = match parts.as_slice() {
            [one] => return Self::parse_alone(one, default),
            [system, architecture] => (system, architecture, ""),
            [system, architecture, variant] => (system, architecture, *variant),
            _ => return None,
        };
        if !is_component(architecture) || (parts.len() == 3 && !is_component(variant)) {
            return None;
        }
        let (os, os_version) = parse_system(system)?;
        let (architecture, mut variant) = normalize(architecture, variant);
        match (architecture.as_str(), parts.len()) {
            ("arm", 2) if variant == "v7" => variant.clear(),
            ("arm64", 3) if variant.is_empty() => "v8".clone_into(&mut variant),
            _ => {}
        }
        Some(Self {
            os,
            architecture,
            variant,
            os_version,
        })
    }

    fn parse_alone(text: &str, default: &Self) -> Option<Self> {
        let (os, os_version) = parse_system(text)?;
        if KNOWN_SYSTEMS.contains(&os.as_str()) {
            let Self {
                architecture,
                variant,
                ..
            } = default.clone();
            return Some(Self {
                os,
                architecture,
                variant,
                os_version,
            });
        }
        let (architecture, variant) = normalize(text, "");
        let variant = if architecture == "arm" && variant == "v7" {
            String::new()
        } else {
            variant
        };
        KNOWN_ARCHITECTURES
            .contains(&architecture.as_str())
            .then(|| Self {
                os: default.os.clone(),
                architecture,
                variant,
                os_version: String::new(),
            })
    }
}

/// `os/architecture[/variant]`, with `(version)` behind the system where there is one.
impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.os)?;
        if !self.os_version.is_empty() {
            write!(f, "({})", self.os_version)?;
        }
        write!(f, "/{}", self.architecture)?;
        if !self.variant.is_empty() {
            write!(f, "/{}", self.variant)?;
        }
        Ok(())
    }
}

fn parse_system(text: &str) -> Option<(String, String)> {
    let (name, version) = match text.split_once('(') {
        Some((name, rest)) => (name, rest.strip_suffix(')')?),
        None => (text, ""),
    };
    if !is_component(name) {
        return None;
    }
    let name = match name.to_lowercase() {
        name if name == "macos" => "darwin".to_owned(),
        name => name,
    };
    Some((name, version.to_owned()))
}

fn is_component(text: &str) -> bool {
    !text.is_empty()
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'))
}

fn normalize(architecture: &str, variant: &str) -> (String, String) {
    let (architecture, variant) = (architecture.to_lowercase(), variant.to_lowercase());
    let (architecture, variant) = match (architecture.as_str(), variant.as_str()) {
        ("i386", _) => ("386", ""),
        ("x86_64" | "x86-64" | "amd64", "v1") => ("amd64", ""),
        ("x86_64" | "x86-64", variant) => ("amd64", variant),
        ("aarch64" | "arm64", "8" | "v8" | "v8.0") => ("arm64", ""),
        ("aarch64" | "arm64", "9" | "9.0" | "v9.0") => ("arm64", "v9"),
        ("aarch64", variant) => ("arm64", variant),
        ("armhf", _) | ("arm", "" | "7") => ("arm", "v7"),
        ("armel", _) | ("arm", "6") => ("arm", "v6"),
        ("arm", "5") => ("arm", "v5"),
        ("arm", "8") => ("arm", "v8"),
        (architecture, variant) => (architecture, variant),
    };
    (architecture.to_owned(), variant.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_become_the_registrys_e8() {
        let default = Platform {
            variant: "v9".to_owned(),
            ..Platform::new("linux", "arm64")
        };
        for (text, expected) in [
            ("linux/amd64", "linux/amd64"),
            ("linux/x86_64", "linux/amd64"),
            ("Linux/AArch64", "linux/arm64"),
            ("linux/arm64/v8", "linux/arm64/v8"),
            ("linux/arm", "linux/arm"),
            ("linux/arm/v7", "linux/arm/v7"),
            ("linux/armel", "linux/arm/v6"),
            ("linux", "linux/arm64/v9"),
            ("amd64", "linux/amd64"),
            ("macos/arm64", "darwin/arm64"),
            ("windows(10.0.1)/amd64", "windows(10.0.1)/amd64"),
            ("linux/amd64/v1", "linux/amd64"),
            ("linux/odd", "linux/odd"),
        ] {
            assert_eq!(
                Platform::parse(text, &default).unwrap().to_string(),
                expected,
                "{text}"
            );
        }
        for text in ["", "/", "odd", "linux/", "a/b/c/d", "linux/*", "linux(1/amd64"] {
            assert_eq!(Platform::parse(text, &default), None, "{text}");
        }
    }
}
