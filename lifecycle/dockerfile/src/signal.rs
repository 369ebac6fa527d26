//! Signal names for STOPSIGNAL (G12).

/// Names without `SIG`, beside the real-time ones.
const NAMES: [&str; 34] = [
    "ABRT", "ALRM", "BUS", "CHLD", "CLD", "CONT", "FPE", "HUP", "ILL", "INT", "IO", "IOT", "KILL", "PIPE",
    "POLL", "PROF", "PWR", "QUIT", "SEGV", "STKFLT", "STOP", "SYS", "TERM", "TRAP", "TSTP", "TTIN", "TTOU",
    "URG", "USR1", "USR2", "VTALRM", "WINCH", "XCPU", "XFSZ",
];

/// Whether a text is a signal's number, or its name with or without `SIG`, in any case.
pub(crate) fn is_signal(text: &str) -> bool {
    if let Ok(number) = text.parse::<i64>() {
        return number != 0;
    }
    let name = text.to_uppercase();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    NAMES.contains(&name) || is_real_time(name)
}

fn is_real_time(name: &str) -> bool {
    let within = |rest: &str, sign: char, most: u8| match rest.strip_prefix(sign) {
        Some(digits) if !digits.starts_with(['0', '+']) => {
            digits.parse().is_ok_and(|offset: u8| offset <= most)
        }
        _ => rest.is_empty(),
    };
    match (name.strip_prefix("RTMIN"), name.strip_prefix("RTMAX")) {
        (Some(rest), _) => within(rest, '+', 15),
        (_, Some(rest)) => within(rest, '-', 14),
        _ => false,
    }
}

/// The names to propose for a misspelt one.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    NAMES.into_iter()
}

#[cfg(test)]
mod tests {
    use super::is_signal;

    #[test]
    fn names_and_numbers_g12() {
        for good in [
            "9",
            "SIGTERM",
            "term",
            "sigkill",
            "RTMIN",
            "RTMIN+3",
            "SIGRTMIN+15",
            "RTMAX-14",
            "-1",
            "64",
        ] {
            assert!(is_signal(good), "{good}");
        }
        for bad in [
            "", "0", "SIGFOO", "RTMIN+16", "RTMAX-15", "RTMIN-1", "RTMIN+0", "TERM ", "RTMINx",
        ] {
            assert!(!is_signal(bad), "{bad}");
        }
    }
}
