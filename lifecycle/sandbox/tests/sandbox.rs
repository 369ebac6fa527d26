//! What a command sees and can do in namespaces, as root here.

mod support;

use support::{Fixture, collect};

#[test]
fn first_light() {
    let fixture = Fixture::new();
    println!("{}", fixture.output("id; pwd; hostname; ls /dev; cat /proc/self/status; ls -l /proc/self/fd; cat /proc/mounts; ps"));
}
