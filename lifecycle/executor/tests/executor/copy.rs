//! COPY and ADD (section H).

use crate::support::Bench;

#[test]
fn files_go_from_the_context_to_a_layer_h8() {
    let bench = Bench::new();
    bench.file("a", "A");
    bench.file("d/b", "B");
    let built = bench.build("FROM busybox\nCOPY a /x/y\nCOPY d /z\nRUN cat /x/y /z/b\n");
    assert_eq!(built.output, "AB");
    assert_eq!(built.order(1), ["z", "z/b"]);
}
