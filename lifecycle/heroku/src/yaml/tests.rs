use proptest::prelude::*;

use super::Yaml::{self, List, Map, Null};

fn parse(text: &str) -> Yaml {
    Yaml::parse("release", text).unwrap()
}

fn text(text: &str) -> Yaml {
    Yaml::Scalar(text.to_owned())
}

fn map(entries: &[(&str, Yaml)]) -> Yaml {
    Map(entries
        .iter()
        .map(|(key, value)| ((*key).to_owned(), value.clone()))
        .collect())
}

#[test]
fn what_buildpacks_write() {
    let node = map(&[
        ("addons", List(vec![text("heroku-postgresql")])),
        ("default_process_types", map(&[("web", text("npm start"))])),
    ]);
    for document in [
        "---\naddons:\n  - heroku-postgresql\ndefault_process_types:\n  web: npm start\n",
        "addons:\n- heroku-postgresql # the first\n\ndefault_process_types:\n    web:   npm start\n...\n",
        "--- \naddons: [heroku-postgresql]\ndefault_process_types: {web: npm start}",
        "{\"addons\": [\"heroku-postgresql\"],\n \"default_process_types\": {\"web\": \"npm start\"}}\n",
        "'addons':\n  -\n    heroku-postgresql\n\"default_process_types\":\n  \"web\": 'npm start'\n",
    ] {
        assert_eq!(parse(document), node, "{document}");
    }
}

#[test]
fn nothing_in_many_forms() {
    for document in [
        "",
        "\n",
        "---\n",
        "--- ~\n",
        "null",
        "# only a comment\n",
        "---\n...\n",
    ] {
        assert_eq!(parse(document), Null, "{document:?}");
    }
    assert_eq!(parse("--- {}\n"), map(&[]));
    assert_eq!(
        parse("default_process_types:\naddons: []\n"),
        map(&[("default_process_types", Null), ("addons", List(vec![]))])
    );
}

#[test]
fn commands_keep_their_characters() {
    for (written, command) in [
        (
            "bundle exec rails server -p $PORT",
            "bundle exec rails server -p $PORT",
        ),
        ("run a:b --x=#1 http://h/p", "run a:b --x=#1 http://h/p"),
        ("'it''s: fine # here'", "it's: fine # here"),
        ("\"tab\\t \\\"q\\\" \\u00e9\"", "tab\t \"q\" é"),
        ("run one\n    and two", "run one and two"),
        ("\"run one\n    and \\\n    two\"", "run one and two"),
        (">-\n    run one\n    and two", "run one and two"),
        ("|\n    a\n      b", "a\n  b\n"),
    ] {
        let node = parse(&format!("types:\n  web: {written}\nlast: 1\n"));
        assert_eq!(node.get("types").get("web"), &text(command), "{written}");
        assert_eq!(node.get("last"), &text("1"));
    }
}

#[test]
fn what_could_be_misread_is_refused_with_its_line() {
    for (document, message) in [
        ("a: 1\na: 2", "release:2: key `a` is given twice"),
        (
            "web: a: b",
            "release:1: `a: b` has a `: ` in it; put it in quotes",
        ),
        (
            "a: &x 1",
            "release:1: `&x 1`: anchors, aliases and tags are not supported",
        ),
        (
            "a: !ruby/object {}",
            "release:1: `!ruby/object {}`: anchors, aliases and tags are not supported",
        ),
        (
            "? a\n: b",
            "release:1: keys that are not plain names are not supported",
        ),
        (
            "a: 1\n---\nb: 2",
            "release:2: a second document begins; only one is allowed",
        ),
        ("a:\n\tb: 1", "release:2: a tab cannot indent; use spaces"),
        ("a: \"open", "release:1: a quote is not closed"),
        ("a: [1, 2", "release:1: `]` is missing"),
        ("a: {b: 1", "release:1: `}` is missing"),
        ("a: [1] 2", "release:1: unexpected `2`"),
        (
            "a: 1\n  b: 2",
            "release:2: `b: 2` does not belong to what is above it",
        ),
        (
            "a: 1\njust text",
            "release:2: expected `key: value`, found `just text`",
        ),
        (
            "a:\n    b: 1\n  c: 2",
            "release:3: `c: 2` does not belong to what is above it",
        ),
        ("a: \"\\q\"", "release:1: `\\q` is not an escape"),
    ] {
        assert_eq!(
            Yaml::parse("release", document).unwrap_err().to_string(),
            message,
            "{document}"
        );
    }
    let deep = "[".repeat(50);
    assert_eq!(
        Yaml::parse("r", &deep).unwrap_err().to_string(),
        "r:1: more than 16 levels"
    );
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(document in "[-a: #\\[\\]{},'\"|>\\\\\n~x]{0,60}") {
        drop(Yaml::parse("r", &document));
    }

    #[test]
    fn any_value_survives_quotes(value: String) {
        let written = serde_json::to_string(&serde_json::json!({ "k": value })).unwrap();
        // JSON escapes that YAML lacks or does not need here.
        prop_assume!(!written.contains("\\b") && !written.contains("\\f") && !written.contains("\\u00"));
        prop_assume!(!value.contains(['\n', '\r']) && value.trim() == value);
        prop_assert_eq!(parse(&written), map(&[("k", text(&value))]));
    }
}
