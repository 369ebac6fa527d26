//! A. Lexing and parsing.

use lifecycle_dockerfile::{Command, CommandLine};

use crate::build::{command, command_error, instructions, parse, parse_error};

fn shell(command: Command) -> String {
    match command {
        Command::Run(run) => match run.command {
            CommandLine::Shell(text) => text.text,
            CommandLine::Exec(arguments) => format!("exec {arguments:?}"),
        },
        other => panic!("{other:?}"),
    }
}

fn pairs(command: Command) -> Vec<(String, String)> {
    match command {
        Command::Env(pairs) | Command::Label(pairs) => pairs
            .into_iter()
            .map(|pair| (pair.key.text, pair.value.text))
            .collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn byte_order_mark_and_crlf_are_dropped_a1() {
    let file = parse("\u{feff}FROM scratch\r\nRUN a \\\r\n  b\r\nUSER x\r\n").unwrap();
    let instructions = file.stages()[0].instructions();
    assert_eq!(shell(instructions[0].command.clone()), "a   b");
    assert!(matches!(&instructions[1].command, Command::User(user) if user.text == "x"));
}

#[test]
fn physical_line_is_at_most_65535_bytes_a2() {
    let fits = format!("FROM scratch\nRUN {}\n", "x".repeat(65_535 - 4));
    assert!(parse(fits).is_ok());
    let too_long = format!("FROM scratch\nRUN {}\n", "x".repeat(65_536 - 4));
    assert_eq!(parse_error(too_long), "2:65536 line is longer than 65535 bytes");
    let in_body = format!("FROM scratch\nRUN <<E\n{}\nE\n", "x".repeat(65_536));
    assert!(parse_error(in_body).contains("longer than"));
}

#[test]
fn indentation_goes_on_the_first_line_and_stays_on_others_a3() {
    assert_eq!(shell(command("  \t RUN a \\\n    b")), "a     b");
    assert_eq!(
        pairs(command("LABEL multi=\"x \\\n  y\"")),
        [("multi".to_owned(), "\"x   y\"".to_owned())]
    );
}

#[test]
fn comment_line_vanishes_even_inside_an_instruction_a4() {
    assert_eq!(shell(command("RUN a \\\n # comment \\\nb")), "a b");
    assert_eq!(shell(command("RUN echo \"a \\\n# not text\nb\"")), "echo \"a b\"");
}

#[test]
fn hash_behind_text_belongs_to_the_instruction_a5() {
    assert_eq!(shell(command("RUN a # b")), "a # b");
}

#[test]
fn line_continues_after_one_escape_and_blanks_a6() {
    for (text, expected) in [
        ("RUN a \\\nb", "a b"),
        ("RUN a \\ \t\nb", "a b"),
        ("RUN a\\\\", "a\\\\"),
        ("RUN a \\\\ ", "a \\\\"),
        // The test looks back one character only.
        ("RUN a \\\\\\", "a \\\\\\"),
    ] {
        assert_eq!(shell(command(text)), expected, "{text:?}");
    }
}

#[test]
fn blank_line_in_a_continuation_is_skipped_a7() {
    assert_eq!(shell(command("RUN a \\\n\n  \nb")), "a b");
}

#[test]
fn end_of_file_behind_a_continuation_is_fine_a8() {
    assert_eq!(shell(command("RUN a \\")), "a");
    assert_eq!(shell(command("\\\nRUN a")), "a");
    assert_eq!(shell(command("RUN a \\\n\\\nb")), "a b");
    assert!(command_error("\\\n").contains("unknown instruction"));
}

#[test]
fn words_in_any_case_flags_in_lower_case_a9() {
    let file = parse("from scratch aS x\nrUn a\nhealthcheck Cmd b\n").unwrap();
    assert_eq!(file.stages()[0].name(), Some("x"));
    assert_eq!(file.stages()[0].instructions().len(), 2);
    assert_eq!(
        command_error("COPY --From=a b c"),
        "2:6 unknown flag: --From (did you mean --from?)"
    );
}

#[test]
fn unknown_instruction_proposes_a_near_one_a10() {
    assert_eq!(
        command_error("COPPY a b"),
        "2:1 unknown instruction: COPPY (did you mean COPY?)"
    );
    assert_eq!(command_error("frobnicate"), "2:1 unknown instruction: frobnicate");
}

#[test]
fn empty_and_headless_files_a11() {
    for (text, message) in [
        ("", "1:1 the Dockerfile cannot be empty"),
        ("\n \n", "1:1 file with no instructions"),
        ("# only\n# comments", "1:1 file with no instructions"),
        ("ARG A\nARG B=1", "1:1 dockerfile contains no stages to build"),
        ("ARG A\nRUN x\nFROM y", "2:1 no build stage in current context"),
    ] {
        assert_eq!(parse_error(text), message, "{text:?}");
    }
}

#[test]
fn every_error_is_reported_not_only_the_first() {
    let errors =
        lifecycle_dockerfile::Dockerfile::parse("f", "FROM a\nCOPPY b c\nWORKDIR\nRUN --x y\n").unwrap_err();
    let lines: Vec<usize> = errors
        .iter()
        .map(|error| error.span().unwrap().start().line)
        .collect();
    assert_eq!(lines, [2, 3, 4]);
}

#[test]
fn flags_lead_and_two_dashes_end_them_a12() {
    let Command::Copy(copy) = command("COPY --chown=\"1 2\" --exclude=a --exclude=b\\ c -- --from=x y")
    else {
        panic!()
    };
    assert_eq!(copy.chown.unwrap().text, "1 2");
    let exclude: Vec<&str> = copy.exclude.iter().map(|word| word.text.as_str()).collect();
    assert_eq!(exclude, ["a", "b c"]);
    assert_eq!(copy.files.sources[0].text, "--from=x");
    assert_eq!(
        command_error("COPY --chmd=1 a b"),
        "2:6 unknown flag: --chmd (did you mean --chmod?)"
    );
    assert_eq!(
        command_error("COPY --chmod=1 --chmod=2 a b"),
        "2:16 duplicate flag specified: --chmod"
    );
    let Command::Run(run) = command("RUN --mount=a=b --mount=c=d --device=x --device=y z") else {
        panic!()
    };
    assert_eq!((run.mounts.len(), run.devices.len()), (2, 2));
}

#[test]
fn switches_take_true_and_false_in_any_case_a13() {
    for (flag, expected) in [("--link", true), ("--link=TRUE", true), ("--link=False", false)] {
        let Command::Copy(copy) = command(&format!("COPY {flag} a b")) else {
            panic!()
        };
        assert_eq!(copy.link, expected, "{flag}");
    }
    assert_eq!(
        command_error("COPY --link= a b"),
        "2:6 missing a value on flag: --link"
    );
    assert_eq!(
        command_error("COPY --link=1 a b"),
        "2:6 expecting boolean value for flag --link, not: 1"
    );
    assert_eq!(
        command_error("COPY --from a b"),
        "2:6 missing a value on flag: --from"
    );
}

#[test]
fn flags_are_scanned_on_every_instruction_a14() {
    assert_eq!(command_error("CMD --foo x"), "2:5 unknown flag: --foo");
    assert!(
        matches!(command("STOPSIGNAL --x SIGTERM"), Command::StopSignal(signal) if signal.text == "SIGTERM")
    );
    assert!(matches!(command("ARG --x A"), Command::Arg(args) if args[0].name == "A"));
    assert!(matches!(command("HEALTHCHECK --x NONE"), Command::Healthcheck(_)));
}

#[test]
fn arguments_have_the_shape_of_their_instruction_a15() {
    assert!(matches!(command("EXPOSE 1  2\t3"), Command::Expose(ports) if ports.len() == 3));
    assert!(matches!(command("VOLUME /a /b"), Command::Volume(volumes) if volumes.len() == 2));
    assert!(matches!(command("VOLUME [\"/a b\"]"), Command::Volume(volumes) if volumes[0].text == "/a b"));
    assert_eq!(
        pairs(command("ENV a=\"x y\" b='z w' c=d\\ e")),
        [("a", "\"x y\""), ("b", "'z w'"), ("c", "d\\ e")].map(|(k, v)| (k.to_owned(), v.to_owned()))
    );
    assert!(command_error("SHELL /bin/bash").contains("JSON form"));
}

#[test]
fn only_valid_json_is_json_form_a16() {
    for (text, expected) in [
        ("RUN [\"a\", \"b\"]", "exec [\"a\", \"b\"]"),
        ("RUN [\"echo\"] x", "[\"echo\"] x"),
        ("RUN ['a']", "['a']"),
        ("RUN [\"a\"", "[\"a\""),
        ("RUN []", "exec []"),
    ] {
        assert_eq!(shell(command(text)), expected, "{text}");
    }
    for text in [
        "CMD [\"a\", 1]",
        "CMD [[\"a\"]]",
        "COPY [\"a\", null]",
        "CMD [{}]",
    ] {
        assert!(command_error(text).contains("strings only"), "{text}");
    }
}

#[test]
fn user_and_workdir_take_the_whole_line_a17() {
    assert!(matches!(command("USER a b"), Command::User(user) if user.text == "a b"));
    assert!(matches!(command("WORKDIR a  b "), Command::Workdir(path) if path.text == "a  b"));
}

#[test]
fn words_are_cut_before_expansion_a18() {
    let error = command_error("ENV A=${X:?must be set}");
    assert!(error.starts_with("2:17 can't find = in \"be\""), "{error}");
    assert_eq!(pairs(command("ENV A=\"${X:?must be set}\"")).len(), 1);
}

#[test]
fn legacy_pair_keeps_inner_blanks_a19() {
    assert_eq!(
        pairs(command("ENV KEY a  b  c")),
        [("KEY".to_owned(), "a  b  c".to_owned())]
    );
    assert!(command_error("ENV KEY").contains("ENV must have two arguments"));
    assert!(command_error("LABEL KEY").contains("LABEL must have two arguments"));
}

#[test]
fn wrong_numbers_of_arguments_a20() {
    for (text, message) in [
        ("FROM", "either one or three"),
        ("FROM a b", "either one or three"),
        ("FROM a is b", "either one or three"),
        ("WORKDIR", "exactly one"),
        ("USER", "exactly one"),
        ("STOPSIGNAL", "exactly one"),
        ("MAINTAINER", "exactly one"),
        ("COPY a", "at least two"),
        ("ADD", "at least two"),
        ("EXPOSE", "at least one"),
        ("VOLUME", "at least one"),
        ("ARG", "at least one"),
        ("ENV", "at least one"),
        ("LABEL", "at least one"),
        ("ONBUILD", "at least one"),
        ("HEALTHCHECK", "at least one"),
        ("SHELL []", "at least one"),
        ("ENV =x", "names can not be blank"),
        ("ARG =x", "names can not be blank"),
    ] {
        let error = command_error(text);
        assert!(
            error.starts_with("2:") && error.contains(message),
            "{text}: {error}"
        );
    }
    for text in ["RUN", "RUN \\"] {
        assert_eq!(shell(command(text)), "");
    }
    assert!(matches!(command("CMD"), Command::Cmd(CommandLine::Shell(text)) if text.text.is_empty()));
}

#[test]
fn lines_cover_continuations_and_heredocs_a21() {
    let all = instructions("RUN a \\\n  b\nRUN <<E\nx\nE\nUSER x");
    let lines: Vec<_> = all
        .iter()
        .map(|i| (i.span.start().line, i.span.end().line))
        .collect();
    assert_eq!(lines, [(2, 3), (4, 6), (7, 7)]);
    assert_eq!(
        command_error("COPY a \\\n  --nope \\\n  b <<E\nE"),
        "4:5 COPY cannot accept a heredoc as a destination"
    );
}
