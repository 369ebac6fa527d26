//! RUN (section I).

use crate::support::Bench;

#[test]
fn a_command_changes_the_image_i1() {
    let bench = Bench::new();
    let built = bench.build("FROM busybox\nENV A=b\nLABEL l=1\nRUN echo $A > /out && rm /bin/nc && mkdir -p /d/e\nRUN [\"cat\", \"/out\"]\n");
    assert_eq!(built.content("out"), "b\n");
    assert_eq!(built.output, "b\n");
    assert!(!built.files().contains_key("bin/nc"));
    assert_eq!(built.order(1), ["bin", "bin/.wh.nc", "d", "d/e", "out"]);
}
