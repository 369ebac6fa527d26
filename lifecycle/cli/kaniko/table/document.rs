//! docs/kaniko.md says what the tables say.

use super::{
    EXECUTOR, Effect, FEATURES, Flag, Holds, LOGGING, LOGIN, PREFIX, PUSH, REGISTRY, VARIABLES, WARMER,
};

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/kaniko.md");
const BEGIN: &str = "<!-- tables: begin -->\n";
const END: &str = "<!-- tables: end -->\n";

fn said(effect: Effect) -> String {
    match effect {
        Effect::Same => "the same".to_owned(),
        Effect::Differs(how) => format!("works; {how}"),
        Effect::Nothing(why) => format!("no effect: {why}"),
    }
}

fn flags(title: &str, table: &[Flag]) -> String {
    let rows = table.iter().map(|flag| {
        let kind = flag.kind.shown().trim();
        let value = if kind.is_empty() {
            String::new()
        } else {
            format!(" {kind}")
        };
        format!(
            "| `{}{value}` | {} | {} |\n",
            flag.written(),
            flag.about,
            said(flag.effect)
        )
    });
    format!(
        "### {title}\n\n| Flag | For | Here |\n|---|---|---|\n{}\n",
        rows.collect::<String>()
    )
}

fn tables() -> String {
    let variables = VARIABLES.iter().map(|variable| {
        format!(
            "| `{}` | {} | {} |\n",
            variable.name,
            variable.about,
            said(variable.effect)
        )
    });
    let features = FEATURES.iter().map(|(name, holds)| {
        let here = match holds {
            Holds::Always => "always so".to_owned(),
            Holds::Never(why) => format!("never so: {why}"),
            Holds::Gone(why) => format!("no meaning: {why}"),
        };
        format!("| `{PREFIX}{name}` | {here} |\n")
    });
    [
        flags("executor", EXECUTOR),
        flags("Registries", REGISTRY),
        flags("Messages", LOGGING),
        flags("warmer", WARMER),
        flags("executor login", LOGIN),
        flags("executor push", PUSH),
        format!(
            "### Variables\n\n| Variable | For | Here |\n|---|---|---|\n{}\n",
            variables.collect::<String>()
        ),
        format!(
            "### Feature flags\n\n| Variable | Here |\n|---|---|\n{}\n",
            features.collect::<String>()
        ),
    ]
    .concat()
}

/// `SNAPSHOTS=overwrite` writes the tables anew.
#[test]
fn docs_say_what_every_flag_and_variable_does() {
    let document = fs_err::read_to_string(PATH).unwrap();
    let (head, rest) = document.split_once(BEGIN).unwrap();
    let (written, tail) = rest.split_once(END).unwrap();
    let tables = tables();
    if crate::environment::Environment::of_process().text("SNAPSHOTS") == Some("overwrite") {
        fs_err::write(PATH, [head, BEGIN, &tables, END, tail].concat()).unwrap();
        return;
    }
    assert!(
        written == tables,
        "docs/kaniko.md differs from the tables: SNAPSHOTS=overwrite cargo test --bin lifecycle docs_say"
    );
}
