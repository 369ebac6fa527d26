//! Commands of another platform: run by the processor itself, or by an interpreter that the kernel was told of
//! (binfmt_misc), for the whole machine or for the step alone.

use std::path::{Path, PathBuf};

use lifecycle_image::Platform;
use lifecycle_sandbox::{Interpreter, Isolation, SandboxError, UserNamespace};

use crate::error::StepError;

/// Where the kernel lists its interpreters.
const BINFMT: &str = "/proc/sys/fs/binfmt_misc";

/// Where interpreters that are linked statically lie. Fixed: what runs in the place of every program of a step is not
/// looked up in a PATH.
const DIRECTORIES: [&str; 3] = ["/usr/bin", "/usr/local/bin", "/run/binfmt"];

/// How commands of a platform come to run here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Emulation {
    /// The processor runs them.
    None,
    /// The machine has an interpreter for them, as far as can be seen from here: in a container its table is out of sight.
    OfMachine(Foreign),
    /// The step gets an interpreter of its own.
    Own(Interpreter),
}

/// Another processor's programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Foreign {
    platform: String,
    /// The processor as QEMU calls it.
    machine: String,
}

impl Emulation {
    /// What a command for `platform` needs.
    ///
    /// # Errors
    /// When it is known to have no chance.
    pub(crate) fn find(platform: &Platform, isolation: Isolation) -> Result<Self, StepError> {
        let host = Platform::host();
        let foreign = Foreign {
            platform: platform.to_string(),
            machine: machine(&platform.architecture).to_owned(),
        };
        if platform.os != host.os {
            return Err(foreign.refused(None));
        }
        if runs_natively(&host.architecture, &platform.architecture) {
            return Ok(Self::None);
        }
        let Some(header) = elf_header(&platform.architecture) else {
            return Ok(Self::OfMachine(foreign));
        };
        let table = Path::new(BINFMT);
        if is_registered(table, &header) {
            return Ok(Self::OfMachine(foreign));
        }
        let is_own = isolation == Isolation::Namespaces(UserNamespace::Own) && Interpreter::are_supported();
        if let Some(program) = foreign.program().filter(|_| is_own) {
            return Ok(Self::Own(interpreter(program, &header)));
        }
        if table.join("status").exists() {
            return Err(foreign.refused(None));
        }
        Ok(Self::OfMachine(foreign))
    }

    /// The interpreter for the step alone.
    pub(crate) fn interpreter(&self) -> Option<Interpreter> {
        match self {
            Self::Own(interpreter) => Some(interpreter.clone()),
            Self::None | Self::OfMachine(_) => None,
        }
    }

    /// What a command that did not start comes to: the kernel says ENOEXEC when nothing takes its program.
    pub(crate) fn explain(&self, error: SandboxError) -> StepError {
        match (self, &error) {
            (Self::OfMachine(foreign), SandboxError::Execute { source, .. })
                if source.raw_os_error() == Some(rustix::io::Errno::NOEXEC.raw_os_error()) =>
            {
                foreign.refused(Some(error))
            }
            _ => error.into(),
        }
    }
}

impl Foreign {
    fn program(&self) -> Option<PathBuf> {
        let name = format!("qemu-{}-static", self.machine);
        let paths = DIRECTORIES
            .iter()
            .map(|directory| Path::new(directory).join(&name));
        paths.into_iter().find(|path| path.is_file())
    }

    fn refused(&self, cause: Option<SandboxError>) -> StepError {
        StepError::Foreign {
            platform: self.platform.clone(),
            host: Platform::host().to_string(),
            machine: self.machine.clone(),
            cause: cause.map(Box::new),
        }
    }
}

/// What QEMU calls a processor.
fn machine(architecture: &str) -> &str {
    match architecture {
        "386" => "i386",
        "amd64" => "x86_64",
        "arm64" => "aarch64",
        "loong64" => "loongarch64",
        "mips64le" => "mips64el",
        other => other,
    }
}

/// For executables and position-independent ones, of whatever system's conventions.
fn interpreter(program: PathBuf, header: &[u8; 20]) -> Interpreter {
    let mut mask = vec![0xff; header.len()];
    // What the header says of the system's conventions, and padding.
    mask[7..16].fill(0);
    // Type 2 is an executable, 3 a position-independent one.
    let is_little = header[5] == 1;
    mask[if is_little { 16 } else { 17 }] = 0xfe;
    Interpreter {
        program,
        magic: header.to_vec(),
        mask,
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
    fn an_interpreter_of_ones_own_takes_what_qemus_takes_f12() {
        for (architecture, expected) in [
            (
                "arm64",
                "7f454c460201010000000000000000000200b700 ffffffffffffff000000000000000000feffffff",
            ),
            (
                "s390x",
                "7f454c4602020100000000000000000000020016 ffffffffffffff000000000000000000fffeffff",
            ),
        ] {
            let Interpreter { magic, mask, .. } =
                interpreter(PathBuf::new(), &elf_header(architecture).unwrap());
            let hex = |bytes: &[u8]| {
                let digits: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
                digits.concat()
            };
            assert_eq!(format!("{} {}", hex(&magic), hex(&mask)), expected);
        }
    }

    #[test]
    fn processors_run_their_smaller_kin() {
        assert!(runs_natively("amd64", "386"));
        assert!(!runs_natively("386", "amd64"));
        let isolation = Isolation::Namespaces(UserNamespace::Own);
        let find = |platform: &str| Emulation::find(&platform.parse().unwrap(), isolation);
        assert_eq!(find(&Platform::host().to_string()).unwrap(), Emulation::None);
        let error = find("windows/amd64").unwrap_err().to_string();
        assert!(error.contains("windows/amd64"), "{error}");
    }
}
