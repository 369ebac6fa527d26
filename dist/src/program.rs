//! Programs that were built: what their ELF headers say.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use fs_err as fs;
use lifecycle_image::Platform;

/// The launcher lies in every app image; a larger one is a mistake (LT-03).
pub(crate) const LARGEST_LAUNCHER: u64 = 4 << 20;

/// An architecture under its many names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Architecture {
    /// The number in ELF headers.
    machine: u16,
    /// In names of release files (LT-05).
    pub(crate) name: &'static str,
    /// In images.
    image: &'static str,
    /// In compiler targets.
    rust: &'static str,
}

#[rustfmt::skip]
const ARCHITECTURES: [Architecture; 4] = [
    Architecture { machine: 62, name: "x86-64", image: "amd64", rust: "x86_64" },
    Architecture { machine: 183, name: "arm64", image: "arm64", rust: "aarch64" },
    Architecture { machine: 21, name: "ppc64le", image: "ppc64le", rust: "powerpc64le" },
    Architecture { machine: 22, name: "s390x", image: "s390x", rust: "s390x" },
];

impl Architecture {
    pub(crate) fn platform(self) -> Platform {
        Platform::linux(self.image)
    }

    /// The compiler's target, which decides on the crates that are linked.
    pub(crate) fn target(self) -> String {
        format!("{}-unknown-linux-gnu", self.rust)
    }
}

/// A static program.
#[derive(Debug)]
pub(crate) struct Program {
    /// Where it lies.
    pub(crate) path: PathBuf,
    architecture: Architecture,
    size: u64,
}

impl Program {
    /// Looks at a program. One that needs a dynamic linker is refused: it would not start in an image without a C
    /// library (LT-03).
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let bytes = fs::read(path)?;
        let header = Header::parse(&bytes)
            .with_context(|| format!("{} is not a 64-bit ELF program", path.display()))?;
        let architecture = ARCHITECTURES
            .into_iter()
            .find(|known| known.machine == header.machine);
        let architecture = architecture
            .with_context(|| format!("{} is for the unknown machine {}", path.display(), header.machine))?;
        ensure!(
            !header.has_interpreter,
            "{} is not static: it asks for a dynamic linker; build it with `-C target-feature=+crt-static`",
            path.display()
        );
        Ok(Self {
            path: path.to_owned(),
            architecture,
            size: bytes.len() as u64,
        })
    }

    /// Refuses a program that is larger than `most` bytes.
    pub(crate) fn check_size(&self, most: u64) -> Result<()> {
        ensure!(
            self.size <= most,
            "{} has {} bytes, more than the {most} that are allowed; build it with the profile `launcher`",
            self.path.display(),
            self.size
        );
        Ok(())
    }

    /// The architecture of both.
    pub(crate) fn architecture_with(&self, other: &Self) -> Result<Architecture> {
        if self.architecture == other.architecture {
            return Ok(self.architecture);
        }
        let (one, two) = (self.architecture.name, other.architecture.name);
        bail!(
            "{} is for {one} and {} for {two}",
            self.path.display(),
            other.path.display()
        )
    }
}

/// What is needed of an ELF header.
struct Header {
    machine: u16,
    has_interpreter: bool,
}

impl Header {
    /// Nothing when the bytes are no ELF file of 64 bits, or cut off.
    fn parse(bytes: &[u8]) -> Option<Self> {
        const INTERPRETER: u32 = 3;
        let is_elf64 = bytes.get(..5)? == b"\x7fELF\x02";
        let little = match (is_elf64, bytes.get(5)?) {
            (true, 1) => true,
            (true, 2) => false,
            _ => return None,
        };
        // Fields of any width, in the file's byte order.
        let number = |at: usize, width: usize| -> Option<u64> {
            let field = bytes.get(at..at.checked_add(width)?)?;
            let join = |sum: u64, byte: &u8| sum << 8 | u64::from(*byte);
            Some(if little {
                field.iter().rev().fold(0, join)
            } else {
                field.iter().fold(0, join)
            })
        };
        let segments = usize::try_from(number(32, 8)?).ok()?;
        let (size, count) = (
            usize::try_from(number(54, 2)?).ok()?,
            usize::try_from(number(56, 2)?).ok()?,
        );
        let mut has_interpreter = false;
        for segment in 0..count {
            has_interpreter |= number(segments.checked_add(segment * size)?, 4)? == u64::from(INTERPRETER);
        }
        Some(Self {
            machine: u16::try_from(number(18, 2)?).ok()?,
            has_interpreter,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A program without code: the header, and one segment of a type.
    fn elf(machine: u16, segment: u32, little: bool) -> Vec<u8> {
        let order = |bytes: &[u8]| {
            let mut bytes = bytes.to_vec();
            if !little {
                bytes.reverse();
            }
            bytes
        };
        let mut file = vec![0; 64];
        file[..6].copy_from_slice(&[0x7f, b'E', b'L', b'F', 2, if little { 1 } else { 2 }]);
        file[18..20].copy_from_slice(&order(&machine.to_le_bytes()));
        file[32..40].copy_from_slice(&order(&64_u64.to_le_bytes()));
        file[54..56].copy_from_slice(&order(&56_u16.to_le_bytes()));
        file[56..58].copy_from_slice(&order(&1_u16.to_le_bytes()));
        file.extend(order(&segment.to_le_bytes()));
        file
    }

    fn read(bytes: &[u8]) -> Result<Program> {
        let file = tempfile::NamedTempFile::new()?;
        fs::write(file.path(), bytes)?;
        Program::read(file.path())
    }

    #[test]
    fn only_static_programs_of_known_architectures_lt_03() {
        for known in ARCHITECTURES {
            let program = read(&elf(known.machine, 1, known.name != "s390x")).unwrap();
            assert_eq!(program.architecture, known);
        }
        let error = |bytes: &[u8]| read(bytes).unwrap_err().to_string();
        assert!(error(&elf(62, 3, true)).contains("is not static"));
        assert!(error(&elf(8, 1, true)).contains("unknown machine 8"));
        assert!(error(b"#!/bin/sh\n").contains("is not a 64-bit ELF program"));
        assert!(error(&elf(62, 1, true)[..60]).contains("is not a 64-bit ELF program"));
    }

    #[test]
    fn a_large_launcher_and_mixed_architectures_are_refused_lt_03() {
        let program = read(&elf(62, 1, true)).unwrap();
        program.check_size(68).unwrap();
        assert!(
            program
                .check_size(67)
                .unwrap_err()
                .to_string()
                .contains("has 68 bytes")
        );
        let other = read(&elf(183, 1, true)).unwrap();
        let error = program.architecture_with(&other).unwrap_err().to_string();
        assert!(
            error.contains("is for x86-64") && error.ends_with("for arm64"),
            "{error}"
        );
    }
}
