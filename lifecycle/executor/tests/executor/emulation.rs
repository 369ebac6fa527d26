//! Commands of other processors (F12).

use std::path::Path;
use std::process::Command;

use crate::rungs::{NOBODY, build_with, is_root};

/// A program for another processor, by class, byte order and machine of the ELF specification, with nothing but a header.
fn header(class: u8, is_little: bool, machine: u16) -> Vec<u8> {
    let number = |value: u16| {
        if is_little {
            value.to_le_bytes()
        } else {
            value.to_be_bytes()
        }
    };
    let mut header = b"\x7fELF".to_vec();
    header.extend([class, if is_little { 1 } else { 2 }, 1]);
    header.resize(16, 0);
    header.extend(number(2));
    header.extend(number(machine));
    header
}

/// Instructions of arm64: as many as there are have to be known before an address is.
type Code<'a> = &'a dyn Fn(usize) -> Vec<u32>;

const BASE: u64 = 0x40_0000;
/// Where the instructions begin in the file.
const START: usize = 64 + 56;

fn set(register: u32, value: usize) -> u32 {
    0xd280_0000 | (u32::try_from(value).unwrap() << 5) | register
}

fn call(number: usize) -> [u32; 2] {
    [set(8, number), 0xd400_0001]
}

/// A whole program with these instructions and this data after them.
fn program(code: Code<'_>, data: &[u8]) -> Vec<u8> {
    let length = code(0).len();
    let mut program = header(2, true, 183);
    program.extend(1_u32.to_le_bytes());
    for number in [BASE + START as u64, 64, 0] {
        program.extend(number.to_le_bytes());
    }
    program.extend(0_u32.to_le_bytes());
    for number in [64_u16, 56, 1, 0, 0, 0] {
        program.extend(number.to_le_bytes());
    }
    // One segment that is all of the file: to be loaded, readable and executable.
    let size = (START + length * 4 + data.len()) as u64;
    program.extend([1, 0, 0, 0, 5, 0, 0, 0]);
    for number in [0, BASE, BASE, size, size, 0x1000] {
        program.extend(number.to_le_bytes());
    }
    assert_eq!(program.len(), START);
    program.extend(code(length).into_iter().flat_map(u32::to_le_bytes));
    program.extend(data);
    program
}

/// Makes the file /made, gives it to 7:8, and says where it ran.
fn program_for_arm64() -> Vec<u8> {
    let (path, text) = (&b"/made\0"[..], &b"on arm64\n"[..]);
    // The working directory (-100), which an absolute path does not need.
    let here = 0x9280_0000 | (99 << 5);
    let (write_only_and_create, mode) = (0o101, 0o644);
    let code = |length: usize| {
        // The address of a place of the data, from the instruction at this number.
        let address = |register: u32, at: usize, place: usize| {
            let ahead = u32::try_from((length.max(at) - at) * 4 + place).unwrap();
            0x1000_0000 | ((ahead & 3) << 29) | ((ahead >> 2) << 5) | register
        };
        let mut code = vec![
            here,
            address(1, 1, 0),
            set(2, write_only_and_create),
            set(3, mode),
        ];
        code.extend(call(56)); // openat
        code.extend([here, address(1, 7, 0), set(2, 7), set(3, 8), set(4, 0)]);
        code.extend(call(54)); // fchownat
        code.extend([set(0, 1), address(1, 14, path.len()), set(2, text.len())]);
        code.extend(call(64)); // write
        code.push(set(0, 0));
        code.extend(call(93)); // exit
        code
    };
    program(&code, &[path, text].concat())
}

/// Waits for ever.
fn sleeper_for_arm64() -> Vec<u8> {
    let code = |_: usize| {
        let mut code: Vec<u32> = (0..4).map(|register| set(register, 0)).collect();
        code.extend(call(73)); // ppoll
        code
    };
    program(&code, &[])
}

/// A table of interpreters with nothing in it, whatever this machine's has; nothing where user namespaces have none.
fn without_interpreters() -> Option<[&'static str; 6]> {
    const BEFORE: [&str; 6] = [
        "unshare",
        "-rm",
        "sh",
        "-c",
        "mount -t binfmt_misc none /proc/sys/fs/binfmt_misc && exec \"$@\"",
        "sh",
    ];
    let status = Command::new(BEFORE[0]).args(&BEFORE[1..]).arg("true").output();
    if status.is_ok_and(|output| output.status.success()) {
        return Some(BEFORE);
    }
    println!("skipped: a user namespace has no binfmt_misc here (Linux before 6.7)");
    None
}

fn has_interpreter(machine: &str) -> bool {
    let name = format!("qemu-{machine}-static");
    ["/usr/bin", "/usr/local/bin"]
        .iter()
        .any(|directory| Path::new(directory).join(&name).is_file())
}

const DOCKERFILE: &str = "FROM scratch\nCOPY --chmod=755 program /\nRUN [\"/program\"]\n";

#[test]
fn a_missing_interpreter_is_named_with_what_to_do_f12() {
    let Some(before) = without_interpreters() else {
        return;
    };
    if has_interpreter("mips64el") {
        println!("skipped: qemu-mips64el-static is here");
        return;
    }
    let program = header(2, true, 8);
    let (success, output) = build_with(
        "program",
        &program,
        &before,
        &["auto", "linux/mips64le"],
        DOCKERFILE,
    );
    assert!(!success, "{output}");
    assert!(
        output.contains(
            "Dockerfile:3:1: a command for linux/mips64le cannot be run on this machine, which is linux/"
        ),
        "{output}"
    );
    assert!(
        output.contains("no interpreter for mips64el is registered (binfmt_misc)"),
        "{output}"
    );
    assert!(output.contains("install qemu-mips64el-static"), "{output}");
}

/// In a container the machine's table is out of sight: what it holds shows when the command is to start.
#[test]
fn an_interpreter_that_shows_to_be_missing_is_named_f12() {
    let program = header(2, false, 43);
    let (success, output) = build_with(
        "program",
        &program,
        &["env"],
        &["auto", "linux/sparc64"],
        DOCKERFILE,
    );
    assert!(!success, "{output}");
    assert!(
        output.contains("Dockerfile:3:1: a command for linux/sparc64 cannot be run on this machine")
            && output.contains("install qemu-sparc64-static"),
        "{output}"
    );
}

/// As root and as an ordinary user, where nothing is registered: the step gets an interpreter of its own.
#[test]
fn commands_of_another_processor_run_with_an_interpreter_of_their_own_f12() {
    let Some(before) = without_interpreters() else {
        return;
    };
    if std::env::consts::ARCH == "aarch64" || !has_interpreter("aarch64") {
        println!("skipped: qemu-aarch64-static not found");
        return;
    }
    let program = program_for_arm64();
    let mut ways = vec![(vec!["env"], "auto"), (before.to_vec(), "single")];
    if is_root() {
        ways.push((NOBODY.to_vec(), "single"));
    }
    for (before, isolation) in ways {
        let (success, output) = build_with(
            "program",
            &program,
            &before,
            &[isolation, "linux/arm64"],
            DOCKERFILE,
        );
        assert!(success, "{before:?}: {output}");
        assert!(
            output.lines().any(|line| line == "on arm64"),
            "{before:?}: {output}"
        );
        assert!(
            output.lines().any(|line| line == "made 644 7:8"),
            "{before:?}: {output}"
        );
    }
}

/// The interpreter is a program of this machine: root of a step sees it, and cannot change it (CVE-2019-5736).
#[test]
fn an_interpreter_of_its_own_cannot_be_changed_by_a_step_cve_2019_5736() {
    let Some(before) = without_interpreters() else {
        return;
    };
    if std::env::consts::ARCH == "aarch64" || !has_interpreter("aarch64") {
        println!("skipped: qemu-aarch64-static not found");
        return;
    }
    let dockerfile = "FROM --platform=$BUILDPLATFORM busybox AS tools\nFROM scratch\nCOPY --from=tools /bin /bin\n\
        ENV PATH=/bin\nCOPY --chmod=755 program /\n\
        RUN /program & p=$!; for i in $(seq 600); do test \"$(readlink /proc/$p/exe)\" = /bin/busybox || break; \
        sleep 0.1; done; chmod 777 /proc/$p/exe && echo CHANGED; kill $p; true\n";
    let words = ["auto", "linux/arm64"];
    for before in [&["env"][..], &before] {
        let (success, output) = build_with("program", &sleeper_for_arm64(), before, &words, dockerfile);
        assert!(success, "{output}");
        assert!(
            output.contains("Read-only file system") && !output.contains("CHANGED"),
            "{output}"
        );
    }
}
