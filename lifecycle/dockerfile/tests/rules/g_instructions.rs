//! G. Other instructions.

use lifecycle_dockerfile::{Action, Command};

use crate::build::{Build, command_error, strings};

fn actions(text: &str) -> Vec<Action> {
    Build::on_base(text)
        .steps()
        .into_iter()
        .map(|step| step.action)
        .collect()
}

fn last(text: &str) -> Action {
    actions(text).pop().unwrap()
}

#[test]
fn cmd_is_wrapped_with_the_shell_in_force_g1() {
    assert!(matches!(last("CMD a b"), Action::Cmd(argv) if argv == strings(&["/bin/sh", "-c", "a b"])));
    assert!(matches!(last("SHELL [\"x\"]\nCMD a"), Action::Cmd(argv) if argv == strings(&["x", "a"])));
    assert!(matches!(last("CMD [\"a\"]"), Action::Cmd(argv) if argv == strings(&["a"])));
    assert!(matches!(last("CMD []"), Action::Cmd(argv) if argv.is_empty()));
}

#[test]
fn entrypoint_clears_an_inherited_cmd_only_g2() {
    let clears = |text: &str| match last(text) {
        Action::Entrypoint { clears_cmd, .. } => clears_cmd,
        other => panic!("{other:?}"),
    };
    assert!(clears("ENTRYPOINT [\"a\"]"));
    assert!(!clears("CMD [\"b\"]\nENTRYPOINT [\"a\"]"));
    assert!(clears("ENTRYPOINT []"));
    let child = Build::new("FROM base AS p\nCMD b\nFROM p\nENTRYPOINT a").steps();
    assert!(matches!(
        child[0].action,
        Action::Entrypoint { clears_cmd: true, .. }
    ));
}

#[test]
fn shell_is_json_and_lasts_g3() {
    assert!(command_error("SHELL sh -c").contains("JSON form"));
    let child = Build::new("FROM base AS p\nSHELL [\"s\", \"-x\"]\nFROM p\nRUN a").run();
    assert_eq!(child.arguments, strings(&["s", "-x", "a"]));
    assert_eq!(
        Build::on_base("SHELL [\"/bin/sh\", \"-ec\"]").history(),
        ["SHELL [/bin/sh -ec]"]
    );
}

#[test]
fn env_keeps_its_order_g4() {
    assert!(matches!(last("ENV B=1 A=2"), Action::Env(pairs) if pairs[0].0 == "B" && pairs[1].0 == "A"));
    let names: Vec<String> = Build::on_base("ENV B=1 A=2\nENV B=3")
        .scope()
        .environment()
        .iter()
        .map(|(n, v)| format!("{n}={v}"))
        .collect();
    assert_eq!(names[1..], ["B=3", "A=2"]);
}

#[test]
fn labels_g5() {
    assert!(matches!(last("LABEL \"a b\"=\"c d\" e=f"), Action::Label(pairs)
        if pairs == [("a b".to_owned(), "c d".to_owned()), ("e".to_owned(), "f".to_owned())]));
}

#[test]
fn ports_g6() {
    for (text, expected) in [
        ("EXPOSE 80", "EXPOSE [80/tcp]"),
        ("EXPOSE 8080 80/UDP", "EXPOSE [80/udp 8080/tcp]"),
        ("EXPOSE 80-82/sctp", "EXPOSE [80/sctp 81/sctp 82/sctp]"),
        ("EXPOSE 127.0.0.1:8080:80", "EXPOSE [80/tcp]"),
        ("EXPOSE [::1]::80", "EXPOSE [80/tcp]"),
        ("EXPOSE 8080:80/", "EXPOSE [80/tcp]"),
    ] {
        assert_eq!(Build::on_base(text).history(), [expected], "{text}");
    }
    for text in [
        "65536",
        "80/icmp",
        "a",
        "82-80",
        "/tcp",
        "80-",
        "x:80",
        "1-3:80-81",
        "nope:80:80",
    ] {
        let error = Build::on_base(&format!("EXPOSE {text}")).error();
        assert!(error.starts_with("2:8 invalid"), "{text}: {error}");
    }
}

#[test]
fn volumes_g7() {
    assert_eq!(
        Build::on_base("VOLUME [\"/a\", \"/b c\"]").history(),
        ["VOLUME [/a /b c]"]
    );
    assert!(command_error("VOLUME [\"/a\", \" \"]").contains("VOLUME can not be an empty string"));
    assert!(
        Build::on_base("VOLUME $NOTHING")
            .error()
            .starts_with("2:8 VOLUME can not be")
    );
}

#[test]
fn user_is_stored_as_written_g8() {
    assert!(matches!(last("USER 1000:grp"), Action::User(user) if user == "1000:grp"));
    assert_eq!(Build::on_base("USER u\nRUN x").run().user, "u");
}

#[test]
fn workdir_joins_and_makes_a_layer_g10() {
    let build = Build::on_base("WORKDIR rel\nWORKDIR ../up\nWORKDIR /\nRUN x");
    assert_eq!(build.history()[..3], ["WORKDIR /rel", "WORKDIR /up", "WORKDIR /"]);
    let empty: Vec<bool> = build
        .steps()
        .iter()
        .map(|step| step.history.as_ref().unwrap().empty_layer)
        .collect();
    assert_eq!(empty, [false, false, true, false]);
    assert_eq!(build.run().working_directory, "/");
    assert!(matches!(last("USER u\nWORKDIR a"), Action::Workdir { user, .. } if user == "u"));
}

#[test]
fn healthcheck_g11() {
    let history = |text: &str| Build::on_base(text).history().remove(0);
    assert_eq!(
        history(
            "HEALTHCHECK --interval=5s --timeout=1m30s --start-period=0 --start-interval=100ms --retries=3 CMD x  y"
        ),
        "HEALTHCHECK {Test:[CMD-SHELL x  y] Interval:5s Timeout:1m30s StartPeriod:0s StartInterval:100ms Retries:3}"
    );
    assert!(history("HEALTHCHECK cmd [\"a\", \"b\"]").contains("Test:[CMD a b]"));
    assert!(history("HEALTHCHECK NONE").contains("Test:[NONE]"));
    for (text, message) in [
        ("--interval=1us CMD x", "cannot be less than 1ms"),
        ("--interval=-1s CMD x", "cannot be less than 1ms"),
        ("--interval=5 CMD x", "invalid duration"),
        ("--retries=-1 CMD x", "--retries cannot be negative (-1)"),
        ("--retries=x CMD x", "not a number"),
        ("NONE x", "HEALTHCHECK NONE takes no arguments"),
        ("CMD", "missing command"),
        ("CMD []", "missing command"),
        ("FOO x", "unknown type \"FOO\""),
    ] {
        let error = command_error(&format!("HEALTHCHECK {text}"));
        assert!(error.contains(message), "{text}: {error}");
    }
}

#[test]
fn stop_signal_is_checked_and_kept_g12() {
    assert_eq!(
        Build::on_base("STOPSIGNAL sigterm").history(),
        ["STOPSIGNAL sigterm"]
    );
    assert_eq!(
        Build::on_base("STOPSIGNAL SIGTREM").error(),
        "2:12 invalid signal: SIGTREM (did you mean SIGTERM?)"
    );
}

#[test]
fn maintainer_sets_the_author_g13() {
    assert!(
        matches!(last("MAINTAINER me <m@host.test>"), Action::Maintainer(author) if author == "me <m@host.test>")
    );
    assert_eq!(Build::on_base("MAINTAINER me").history(), ["MAINTAINER me"]);
}

#[test]
fn onbuild_is_stored_raw_without_history_g14() {
    let steps = Build::on_base("ONBUILD  ENV A=$B").steps();
    assert!(matches!(&steps[0].action, Action::Onbuild(trigger) if trigger == "ENV A=$B"));
    assert_eq!(steps[0].history, None);
    for text in ["ONBUILD ONBUILD RUN x", "ONBUILD FROM x", "ONBUILD maintainer x"] {
        assert!(command_error(text).starts_with("2:9 "), "{}", command_error(text));
    }
    assert!(command_error("ONBUILD --x RUN y").contains("unknown flag: --x"));
}

#[test]
fn triggers_fire_once_right_behind_from_g14() {
    let text =
        "FROM base AS parent\nONBUILD ENV T=1\nENV P=1\nFROM parent AS child\nENV C=$T\nFROM child\nENV G=1";
    assert_eq!(Build::new(text).target("child").history(), ["ENV T=1", "ENV C=1"]);
    assert_eq!(Build::new(text).history(), ["ENV G=1"]);
    let steps = Build::new(text).target("child").steps();
    assert_eq!((steps[0].on_build, steps[1].on_build), (true, false));
}

#[test]
fn triggers_of_an_image_may_need_more_stages_g14() {
    let text = "FROM base AS tools\nFROM base";
    let build = Build::new(text).trigger("COPY --from=tools a b");
    let needed = build.with_plan(|plan| plan.stages().count());
    // The trigger fires in the stage called tools as well, which only then is needed.
    assert!(needed.is_ok_and(|needed| needed == 2));
    let broken = Build::on_base("RUN x").trigger("NOPE").error();
    assert!(broken.contains("unknown instruction: NOPE"), "{broken}");
    assert!(
        Build::on_base("RUN x")
            .trigger("RUN a\nRUN b")
            .error()
            .contains("single instruction")
    );
    let heredoc = Build::on_base("USER x").trigger("RUN <<E\nhi\nE").runs();
    assert_eq!(heredoc[0].arguments[2], "hi\n");
}

#[test]
fn escape_directive_does_not_reach_triggers_g14() {
    let text = "# escape=`\nFROM base AS p\nONBUILD RUN a \\\nFROM p\nUSER x";
    assert!(Build::new(text).try_run().is_ok());
    assert!(
        matches!(crate::build::command("ONBUILD RUN a # b"), Command::Onbuild(o) if o.trigger == "RUN a # b")
    );
}
