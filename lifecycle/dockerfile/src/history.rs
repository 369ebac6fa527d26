//! The `created_by` texts of image histories (L1). Other tools read them, so they are exact.

use crate::environment::Environment;
use crate::instruction::Healthcheck;

/// The `comment` of every history entry that a Dockerfile makes (L2).
pub const COMMENT: &str = "buildkit.dockerfile.v0";

/// What follows the text of instructions that run or copy.
const SUFFIX: &str = " # buildkit";

/// `RUN |2 A=x B= /bin/sh -c text # buildkit`: the ARGs in scope with their current values, then the arguments
/// joined with blanks.
pub fn run(args_in_scope: &Environment, argv: &[String]) -> String {
    let mut words = Vec::new();
    if !args_in_scope.is_empty() {
        words.push(format!("|{}", args_in_scope.len()));
        words.extend(
            args_in_scope
                .iter()
                .map(|(name, value)| format!("{name}={value}")),
        );
    }
    words.extend(argv.iter().cloned());
    format!("RUN {}{SUFFIX}", words.join(" "))
}

/// `COPY [--parents] [--chown=…] [--chmod=…] src… <<NAME… dest # buildkit`, and the same for ADD. Sources and flags
/// are expanded; --link, --from and --exclude do not show (H20).
pub fn copy(
    keyword: &str,
    parents: bool,
    chown: Option<&str>,
    chmod: Option<&str>,
    sources: &[String],
    heredocs: &[String],
    destination: &str,
) -> String {
    let flag = |name: &str, value: Option<&str>| {
        value
            .filter(|value| !value.is_empty())
            .map(|value| format!("--{name}={value}"))
    };
    let mut words = vec![keyword.to_owned()];
    words.extend(parents.then(|| "--parents".to_owned()));
    words.extend(flag("chown", chown));
    words.extend(flag("chmod", chmod));
    words.extend(sources.iter().cloned());
    words.extend(heredocs.iter().map(|name| format!("<<{name}")));
    words.push(destination.to_owned());
    words.join(" ") + SUFFIX
}

/// `ENV k=v k2=v2`, `LABEL k=v`.
pub fn pairs(keyword: &str, pairs: &[(String, String)]) -> String {
    let words: Vec<String> = pairs
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    format!("{keyword} {}", words.join(" "))
}

/// `ARG k=v k2`.
pub fn arg(definitions: &[(String, Option<String>)]) -> String {
    let word = |(name, value): &(String, Option<String>)| match value {
        Some(value) => format!("{name}={value}"),
        None => name.clone(),
    };
    let words: Vec<String> = definitions.iter().map(word).collect();
    format!("ARG {}", words.join(" "))
}

/// `CMD ["a" "b"]`, `ENTRYPOINT [...]`: quoted, no commas.
pub fn quoted_list(keyword: &str, items: &[String]) -> String {
    let words: Vec<String> = items.iter().map(|item| quote(item)).collect();
    format!("{keyword} [{}]", words.join(" "))
}

/// `EXPOSE [80/tcp]`, `VOLUME [/v]`, `SHELL [/bin/sh -c]`: not quoted.
pub fn list(keyword: &str, items: &[String]) -> String {
    format!("{keyword} [{}]", items.join(" "))
}

/// `WORKDIR /abs`, `USER u`, `STOPSIGNAL s`, `MAINTAINER m`.
pub fn value(keyword: &str, value: &str) -> String {
    format!("{keyword} {value}")
}

/// `HEALTHCHECK {Test:[CMD-SHELL x] Interval:5s Timeout:0s StartPeriod:0s StartInterval:0s Retries:0}`.
pub fn healthcheck(check: &Healthcheck) -> String {
    format!(
        "HEALTHCHECK {{Test:[{}] Interval:{} Timeout:{} StartPeriod:{} StartInterval:{} Retries:{}}}",
        check.test.to_list().join(" "),
        check.interval,
        check.timeout,
        check.start_period,
        check.start_interval,
        check.retries,
    )
}

/// A text in double quotes, with what is not printable escaped: `\n`, `\x00`, `\u00a0`.
fn quote(text: &str) -> String {
    let characters: Vec<String> = text.chars().map(escape).collect();
    format!("\"{}\"", characters.concat())
}

fn escape(character: char) -> String {
    let code = u32::from(character);
    match character {
        '"' => "\\\"".to_owned(),
        '\\' => "\\\\".to_owned(),
        '\x07' => "\\a".to_owned(),
        '\x08' => "\\b".to_owned(),
        '\x0c' => "\\f".to_owned(),
        '\n' => "\\n".to_owned(),
        '\r' => "\\r".to_owned(),
        '\t' => "\\t".to_owned(),
        '\x0b' => "\\v".to_owned(),
        printable if is_printable(printable) => printable.to_string(),
        '\0'..='\x7f' => format!("\\x{code:02x}"),
        '\u{80}'..='\u{ffff}' => format!("\\u{code:04x}"),
        _ => format!("\\U{code:08x}"),
    }
}

/// Letters, marks, numbers, punctuation, symbols and the ASCII blank.
fn is_printable(character: char) -> bool {
    if character.is_ascii() {
        return !character.is_ascii_control();
    }
    // The standard library knows what is printable but shows it only through this escape; a mark counts as
    // printable when it follows something.
    let mut pair = String::from("a");
    pair.push(character);
    pair.escape_debug().eq(pair.chars())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(items: &[&str]) -> Vec<String> {
        items.iter().map(|&item| item.to_owned()).collect()
    }

    #[test]
    fn run_lists_args_in_scope_l1() {
        let mut args = Environment::default();
        assert_eq!(
            run(&args, &strings(&["/bin/sh", "-c", "a b"])),
            "RUN /bin/sh -c a b # buildkit"
        );
        args.set("A", "x");
        args.set("B", "");
        assert_eq!(
            run(&args, &strings(&["/bin/sh", "-c", "t"])),
            "RUN |2 A=x B= /bin/sh -c t # buildkit"
        );
    }

    #[test]
    fn copy_hides_link_from_and_exclude_l1() {
        let text = copy(
            "COPY",
            true,
            Some("1:2"),
            Some("644"),
            &strings(&["a", "b"]),
            &strings(&["EOF"]),
            "/d/",
        );
        assert_eq!(
            text,
            "COPY --parents --chown=1:2 --chmod=644 a b <<EOF /d/ # buildkit"
        );
        assert_eq!(
            copy("ADD", false, None, None, &strings(&["a"]), &[], "."),
            "ADD a . # buildkit"
        );
    }

    #[test]
    fn lists_have_no_commas_l1() {
        assert_eq!(
            quoted_list("CMD", &strings(&["a", "b \"c\"\n"])),
            r#"CMD ["a" "b \"c\"\n"]"#
        );
        assert_eq!(quoted_list("ENTRYPOINT", &[]), "ENTRYPOINT []");
        assert_eq!(
            quoted_list("CMD", &strings(&["ü\u{a0}\u{7f}\0"])),
            r#"CMD ["ü\u00a0\x7f\x00"]"#
        );
        assert_eq!(
            list("SHELL", &strings(&["/bin/sh", "-ec"])),
            "SHELL [/bin/sh -ec]"
        );
        assert_eq!(
            arg(&[("A".into(), Some("1".into())), ("B".into(), None)]),
            "ARG A=1 B"
        );
        assert_eq!(
            pairs("ENV", &[("a".into(), "1 2".into()), ("b".into(), String::new())]),
            "ENV a=1 2 b="
        );
    }
}
