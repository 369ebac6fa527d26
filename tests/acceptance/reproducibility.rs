//! The same source gives the same digest.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::support::accounts::Account;
use crate::support::{Invocation, Machine};

/// What a build of `app` gives, by a machine with nothing cached under this name.
fn digest(machine: &Machine, app: &Path, name: &str) -> String {
    machine.build(app, &["--tag", name]).succeeds();
    machine.digest(name)
}

#[test]
fn neither_directory_nor_times_nor_umask_show() {
    let machine = Machine::with_builder();
    let first = digest(&machine, &machine.app(), "same/first");
    let files = [("page.txt", "first\n"), ("folder/data.txt", "data\n")];
    let other = machine.files("somewhere/quite/else with a space", &files);
    // Written in another order, at another time, with a directory that grew larger in between.
    for number in 0..500 {
        fs::write(other.join(format!("folder/{number}")), "").unwrap();
    }
    for number in 0..500 {
        fs::remove_file(other.join(format!("folder/{number}"))).unwrap();
    }
    Invocation::new(
        "touch",
        &[
            "-d",
            "2001-02-03T04:05:06",
            other.join("page.txt").to_str().unwrap(),
        ],
    )
    .succeeds();
    assert_eq!(digest(&machine, &other, "same/second"), first);
    let build = machine.build(&other, &["--tag", "same/third"]);
    build
        .under(&["sh", "-c", "umask 077; exec \"$@\"", "sh"])
        .succeeds();
    assert_eq!(machine.digest("same/third"), first);
    // What does show: the mode of a file.
    fs::set_permissions(other.join("page.txt"), fs::Permissions::from_mode(0o755)).unwrap();
    assert_ne!(digest(&machine, &other, "same/fourth"), first);
}

#[test]
fn neither_cores_nor_a_cold_store_show() {
    let warm = Machine::with_builder();
    // Larger than the blocks that cores share.
    let content = (0..400_000)
        .map(|number: u32| number.to_string())
        .collect::<Vec<_>>()
        .join("\n");
    let app = warm.files("large", &[("large.txt", &content)]);
    let first = digest(&warm, &app, "cores/all");
    let one = warm
        .build(&app, &["--tag", "cores/one"])
        .under(&["taskset", "--cpu-list", first_core()]);
    one.succeeds();
    assert_eq!(warm.digest("cores/one"), first);
    assert_eq!(digest(&warm, &app, "cores/all"), first, "warm");

    let (cold, program) = Account::ordinary().machine();
    let copy = cold.files("large", &[("large.txt", &content)]);
    Account::ordinary().own_tree(&copy);
    let build = cold
        .build(&copy, &["--tag", "cores/cold"])
        .program(&program)
        .under(&["taskset", "--cpu-list", first_core()]);
    Account::ordinary().invoke(build).succeeds();
    let shown = cold
        .lifecycle(&["inspect", "cores/cold", "--output", "json"])
        .program(&program);
    assert_eq!(
        Account::ordinary().invoke(shown).succeeds().json()["digest"],
        first.as_str(),
        "cold, another user, one core"
    );
}

#[test]
fn the_builder_is_reproducible() {
    let machine = Machine::with_builder();
    let (one, two) = (machine.text("one"), machine.text("two"));
    let definition = crate::support::images::definition();
    for layout in [&one, &two] {
        let words = [
            "builder",
            "create",
            definition,
            "--tag",
            "same/builder",
            "--output",
            &format!("oci:{layout}"),
        ];
        machine.lifecycle(&words).succeeds();
    }
    assert_eq!(
        machine.digest(&format!("oci:{one}")),
        machine.digest(&format!("oci:{two}"))
    );
}

/// A core that this process may use.
fn first_core() -> &'static str {
    static CORE: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    CORE.get_or_init(|| {
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let list = status
            .lines()
            .find_map(|line| line.strip_prefix("Cpus_allowed_list:"))
            .unwrap()
            .trim();
        list.split(['-', ',']).next().unwrap().to_owned()
    })
}
