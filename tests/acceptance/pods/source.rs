//! How the source comes into a pod.

use std::fs;
use std::path::Path;

use super::archive;
use crate::support::Machine;

#[test]
fn a_streamed_source_is_taken_whole_or_not_at_all_jc_02_jc_03() {
    let machine = Machine::new();
    let source = machine.files("source", &[("page.txt", "first\n")]);
    let sent = machine.path("source.tar");
    archive(&source, &sent);
    let bytes = fs::read(&sent).unwrap();
    let size = bytes.len().to_string();
    let digest = lifecycle_image::Digest::of(&bytes).to_string();
    let temporary = machine.path("tmp");
    fs::create_dir(&temporary).unwrap();
    let (short, long, other) = (machine.path("short"), machine.path("long"), machine.path("other"));
    fs::write(&short, &bytes[..bytes.len() - 1]).unwrap();
    fs::write(&long, [&bytes[..], b"and more"].concat()).unwrap();
    let mut changed = bytes.clone();
    changed[0] ^= 1;
    fs::write(&other, changed).unwrap();
    let pod = |words: &[&str]| {
        machine
            .lifecycle(&[&["pod"], words].concat())
            .env("TMPDIR", &temporary)
    };
    let receive = |input: &Path| pod(&["receive", "--size", &size, "--digest", &digest]).input(input);
    let received = || fs::read_dir(&temporary).unwrap().count();
    let into = machine.text("workspace");
    // What is cut off, or something else, is not shown to the step that waits; it gives up in the end.
    for wrong in [&short, &other] {
        receive(wrong).fails(1);
        assert_eq!(received(), 0, "{}", wrong.display());
    }
    pod(&["source", &into, "--wait", "1"])
        .fails(1)
        .says("no source came within 1 seconds");
    // The client's end of the stream stays open: no more is read than was announced.
    let waiting = pod(&["source", &into, "--wait", "60"]).start();
    receive(&long).succeeds().says("received");
    let waited = waiting.wait();
    assert!(waited.status().success(), "{}", waited.text());
    assert_eq!(
        fs::read_to_string(machine.path("workspace/page.txt")).unwrap(),
        "first\n"
    );
    assert_eq!(received(), 0, "the archive is gone when it is unpacked");
}
