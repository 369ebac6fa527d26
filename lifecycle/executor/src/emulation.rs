//! Whether commands of another platform can be run here: by the processor itself, or by an interpreter that the kernel was
//! told of (binfmt_misc).

use std::path::Path;

use lifecycle_image::Platform;

use crate::error::StepError;

/// Where the kernel lists its interpreters.
const BINFMT: &str = "/proc/sys/fs/binfmt_misc";

/// Makes sure that a command for `platform` has a chance.
pub(crate) fn check(platform: &Platform) -> Result<(), StepError> {
    let host = Platform::host();
    let foreign = || StepError::Foreign {
        platform: platform.to_string(),
        host: host.to_string(),
    };
    if platform.os != host.os {
        return Err(foreign());
    }
    if runs_natively(&host.architecture, &platform.architecture) {
        return Ok(());
    }
    let Some(header) = elf_header(&platform.architecture) else {
        return Err(foreign());
    };
    if is_registered(Path::new(BINFMT), &header) {
        Ok(())
    } else {
        Err(foreign())
    }
}

/// What a processor runs besides its own.
fn runs_natively(host: &str, wanted: &str) -> bool {
    host == wanted || matches!((host, wanted), ("amd64", "386") | ("arm64", "arm"))
}

/// The first bytes of a program: class, byte order, type and machine (ELF specification).
fn elf_header(architecture: &str) -> Option<[u8; 20]> {
    let (class, is_little, machine): (u8, bool, u16) = match architecture {
        "386" => (1, true, 3),
        "amd64" => (2, true, 62),
        "arm" => (1, true, 40),
        "arm64" => (2, true, 183),
        "loong64" => (2, true, 258),
        "mips64le" => (2, true, 8),
        "ppc64le" => (2, true, 21),
        "riscv64" => (2, true, 243),
        "s390x" => (2, false, 22),
        _ => return None,
    };
    let mut header = [0; 20];
    header[..4].copy_from_slice(b"\x7fELF");
    header[4] = class;
    header[5] = if is_little { 1 } else { 2 };
    header[6] = 1;
    let number = |value: u16| {
        if is_little {
            value.to_le_bytes()
        } else {
            value.to_be_bytes()
        }
    };
    header[16..18].copy_from_slice(&number(2));
    header[18..20].copy_from_slice(&number(machine));
    Some(header)
}

/// Whether an enabled interpreter takes such programs. It must have been opened when it was registered (flag F): in the
/// root of an image there is none.
fn is_registered(directory: &Path, header: &[u8]) -> bool {
    let Ok(entries) = std::fs::read_dir(directory) else {
        return false;
    };
    entries
        .flatten()
        .filter_map(|entry| std::fs::read_to_string(entry.path()).ok())
        .any(|text| takes(&text, header))
}

fn takes(entry: &str, header: &[u8]) -> bool {
    let value = |name: &str| {
        entry
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .map(str::trim)
    };
    let (Some(magic), Some(flags)) = (value("magic ").and_then(bytes), value("flags:")) else {
        return false;
    };
    let mask = value("mask ")
        .and_then(bytes)
        .unwrap_or_else(|| vec![0xff; magic.len()]);
    let matches = |at: usize| header.get(at).copied().unwrap_or_default() & mask[at] == magic[at] & mask[at];
    entry.starts_with("enabled")
        && flags.contains('F')
        && value("offset ").is_none_or(|offset| offset == "0")
        && mask.len() == magic.len()
        && (0..magic.len()).all(matches)
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    let digits = hex.as_bytes().chunks(2);
    digits
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const QEMU: &str = "enabled\ninterpreter /usr/bin/qemu-aarch64-static\nflags: OCF\noffset 0\n\
                        magic 7f454c460201010000000000000000000200b700\nmask ffffffffffffff00fffffffffffffffffeffffff\n";

    #[test]
    fn an_interpreter_must_be_enabled_open_and_for_the_machine_f12() {
        let arm = elf_header("arm64").unwrap();
        assert!(takes(QEMU, &arm));
        assert!(!takes(QEMU, &elf_header("riscv64").unwrap()));
        assert!(
            !takes(&QEMU.replace("OCF", "OC"), &arm),
            "not open in another root"
        );
        assert!(!takes(&QEMU.replace("enabled", "disabled"), &arm));
        assert!(!takes("enabled\n", &arm));
        assert!(!is_registered(Path::new("/nowhere"), &arm));
    }

    #[test]
    fn processors_run_their_smaller_kin() {
        assert!(runs_natively("amd64", "386"));
        assert!(!runs_natively("386", "amd64"));
        let foreign = if lifecycle_image::Platform::host().architecture == "s390x" {
            "amd64"
        } else {
            "sparc64"
        };
        let error = check(&Platform::linux(foreign)).unwrap_err().to_string();
        assert!(error.contains(foreign), "{error}");
        assert!(check(&"windows/amd64".parse().unwrap()).is_err());
    }
}
