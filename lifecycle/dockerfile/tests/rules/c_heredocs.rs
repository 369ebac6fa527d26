//! C. Heredocs.

use lifecycle_dockerfile::{Command, CopySource, Heredoc};

use crate::build::{Build, command, command_error, instructions, strings};

fn heredocs(text: &str) -> Vec<Heredoc> {
    match command(text) {
        Command::Run(run) => run.heredocs,
        Command::Copy(copy) => copy.files.heredocs,
        other => panic!("{other:?}"),
    }
}

fn inline(text: &str) -> Vec<(String, String)> {
    let copy = Build::on_base(text).base_env(&["P=VALUE"]).copy();
    let files = copy.sources.into_iter().filter_map(|source| match source {
        CopySource::Inline { name, content } => Some((name, String::from_utf8(content).unwrap())),
        _ => None,
    });
    files.collect()
}

#[test]
fn only_run_copy_and_add_take_heredocs_c1() {
    assert_eq!(heredocs("RUN <<E\nx\nE").len(), 1);
    assert_eq!(heredocs("COPY <<E /x\nx\nE").len(), 1);
    assert!(matches!(command("ADD <<E /x\nx\nE"), Command::Add(add) if add.files.heredocs.len() == 1));
    assert!(matches!(command("ONBUILD RUN <<E\nx\nE"), Command::Onbuild(o) if o.trigger == "RUN <<E\nx\nE"));
    assert_eq!(instructions("CMD cat <<E\nUSER x").len(), 2);
    assert_eq!(instructions("RUN [\"cat\", \"<<E\"]\nUSER x").len(), 2);
    assert!(command_error("COPY [\"<<E\", \"/x\"]").contains("heredoc E has no body"));
}

#[test]
fn forms_of_the_operator_c2() {
    for (operator, name, expand, strip_tabs) in [
        ("<<EOF", "EOF", true, false),
        ("<<'EOF'", "EOF", false, false),
        ("<<\"EOF\"", "EOF", false, false),
        ("<<-EOF", "EOF", true, true),
        ("<<-E\"O\"F", "EOF", false, true),
        ("3<<EOF", "EOF", true, false),
    ] {
        let heredocs = heredocs(&format!("RUN cat {operator}\nx\nEOF"));
        let [only] = heredocs.as_slice() else {
            panic!("{operator}")
        };
        assert_eq!(
            (only.name.as_str(), only.expand, only.strip_tabs),
            (name, expand, strip_tabs),
            "{operator}"
        );
    }
    let body = &heredocs("RUN cat <<-E\n\t\ta\n\tb \tc\n\tE")[0];
    assert_eq!(body.content(), b"a\nb \tc\n");
    assert!(heredocs("RUN cat <<<E").is_empty());
    // A text that is no list of words announces nothing: the shell will judge it.
    assert!(heredocs("RUN echo it's <<E").is_empty());
}

#[test]
fn several_bodies_in_order_c3() {
    let all = heredocs("RUN cat <<A <<B\n1\nA\n2\nB");
    let bodies: Vec<_> = all.iter().map(|heredoc| heredoc.body.bytes().to_vec()).collect();
    assert_eq!(bodies, [b"1\n", b"2\n"]);
    assert_eq!(
        command_error("RUN <<E\nx\nE \n"),
        "2:1 unterminated heredoc (end it with a line that holds E and nothing else)"
    );
}

#[test]
fn nothing_is_special_in_a_body_c4() {
    let body = &heredocs("RUN <<E\n# not a comment\na \\\n\n FROM x\nE")[0];
    assert_eq!(body.content(), b"# not a comment\na \\\n\n FROM x\n");
}

#[test]
fn copy_makes_a_file_named_like_the_word_c5() {
    let text = "COPY <<A <<B other /dir/\n1\nA\n2\nB";
    let copy = Build::on_base(text).copy();
    assert_eq!(copy.sources[0], CopySource::Path("/other".to_owned()));
    assert_eq!(
        inline(text),
        [
            ("A".to_owned(), "1\n".to_owned()),
            ("B".to_owned(), "2\n".to_owned())
        ]
    );
    assert!(command_error("COPY a <<E\nE").contains("heredoc as a destination"));
}

#[test]
fn copy_expands_with_backslash_and_keeps_quotes_c6() {
    for (body, expected) in [
        ("$P ${P:-x} ${Q:-y}", "VALUE VALUE y"),
        ("'$P' \"$P\"", "'VALUE' \"VALUE\""),
        ("\\$P \\\\ \\x", "$P \\ x"),
    ] {
        assert_eq!(
            inline(&format!("COPY <<E /x\n{body}\nE"))[0].1,
            format!("{expected}\n"),
            "{body}"
        );
        assert_eq!(
            inline(&format!("COPY <<'E' /x\n{body}\nE"))[0].1,
            format!("{body}\n"),
            "{body}"
        );
    }
    let backtick = "# escape=`\nFROM base\nCOPY <<E /x\n\\$P `$P\nE";
    let copy = Build::new(backtick).base_env(&["P=VALUE"]).copy();
    assert_eq!(
        copy.sources,
        [CopySource::Inline {
            name: "E".to_owned(),
            content: b"$P `VALUE\n".to_vec()
        }]
    );
}

#[test]
fn run_never_expands_c7() {
    let run = Build::on_base("ENV P=1\nRUN <<E\necho $P\nE").run();
    assert_eq!(run.arguments, strings(&["/bin/sh", "-c", "echo $P\n"]));
}

#[test]
fn body_alone_is_the_script_c8() {
    let run = Build::on_base("SHELL [\"bash\", \"-e\"]\nRUN <<-E\n\tfalse\n\techo x\nE").run();
    assert_eq!(run.arguments, strings(&["bash", "-e", "false\necho x\n"]));
    assert_eq!(run.script, None);
}

#[test]
fn body_with_an_interpreter_is_a_program_c9() {
    let run = Build::on_base("RUN <<prog\n#!/usr/bin/python3\nprint(1)\nprog").run();
    assert_eq!(run.arguments, strings(&["/bin/sh", "-c", "/dev/pipes/prog"]));
    let script = run.script.unwrap();
    assert_eq!(
        (script.name.as_str(), script.content.as_slice()),
        ("prog", &b"#!/usr/bin/python3\nprint(1)\n"[..])
    );
}

#[test]
fn command_with_heredocs_goes_back_to_the_shell_c10() {
    let run = Build::on_base("RUN cat <<A <<-B > /x\n1\nA\n\t2\n\tB").run();
    assert_eq!(run.arguments[2], "cat <<A <<-B > /x\n1\nA\n\t2\nB");
}

#[test]
fn history_of_heredocs_c11() {
    let build = Build::on_base("RUN <<E\na\nb\nE\nCOPY <<W /dest\nx\nW");
    assert_eq!(
        build.history(),
        ["RUN /bin/sh -c a\nb\n # buildkit", "COPY <<W /dest # buildkit"]
    );
}

#[test]
fn body_that_is_a_file_may_hold_any_bytes() {
    let bytes = b"FROM scratch\nCOPY <<'E' /x\n\xff\xfe\nE\n".to_vec();
    let file = crate::build::parse(bytes).unwrap();
    let Command::Copy(copy) = &file.stages()[0].instructions()[0].command else {
        panic!()
    };
    assert_eq!(copy.files.heredocs[0].content(), b"\xff\xfe\n");
}
