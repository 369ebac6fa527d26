//! EXPOSE (G6).

use lifecycle_diagnostics::Diagnostic;

use super::Request;
use crate::line::{Part, Word};

/// One word of an expanded EXPOSE, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Port {
    /// `80/tcp`, one for each port of a range.
    pub(crate) ports: Vec<String>,
    /// The protocol is not in lower case.
    pub(crate) odd_protocol_case: bool,
    /// An address or a host port was given; it is ignored.
    pub(crate) has_host_part: bool,
}

/// Words are sorted before anything is expanded.
pub(super) fn parse(request: &Request<'_>) -> Result<Vec<Word>, Diagnostic> {
    if request.arguments.is_empty() {
        return Err(request.at_least_one());
    }
    request.no_flags()?;
    let mut words: Vec<Word> = request.arguments.split_blanks().map(Part::word).collect();
    words.sort_by(|one, other| one.text.cmp(&other.text));
    Ok(words)
}

/// Reads `[[address:]host:]port[-last][/protocol]`; the error is a message.
pub(crate) fn parse_port(text: &str) -> Result<Port, String> {
    let (host, container) = match text.rsplit_once(':') {
        Some((host, container)) => (Some(host), container),
        None => (None, text),
    };
    let (address, host_port) = match host.map(|host| host.rsplit_once(':').unwrap_or(("", host))) {
        Some((address, port)) => (address, port),
        None => ("", ""),
    };
    let (range, protocol) = container.split_once('/').unwrap_or((container, ""));
    if range.is_empty() {
        return Err(format!("invalid port: {text:?}: no port specified"));
    }
    let lower = match protocol.to_lowercase() {
        lower if lower.is_empty() => "tcp".to_owned(),
        lower if matches!(lower.as_str(), "tcp" | "udp" | "sctp") => lower,
        _ => return Err(format!("invalid port: {text:?}: invalid proto: {protocol}")),
    };
    check_address(address)?;
    let (first, last) = parse_range(range).ok_or_else(|| format!("invalid containerPort: {range}"))?;
    if !host_port.is_empty() {
        let host = parse_range(host_port).ok_or_else(|| format!("invalid hostPort: {host_port}"))?;
        // A host range may be longer only to choose one container port's place from.
        if last - first != host.1 - host.0 && first != last {
            return Err(format!(
                "invalid ranges specified for container and host ports: {range} and {host_port}"
            ));
        }
    }
    Ok(Port {
        ports: (first..=last).map(|port| format!("{port}/{lower}")).collect(),
        odd_protocol_case: !protocol.is_empty() && protocol != lower,
        has_host_part: !address.is_empty() || !host_port.is_empty(),
    })
}

fn check_address(address: &str) -> Result<(), String> {
    let bare = address
        .strip_prefix('[')
        .and_then(|inner| inner.strip_suffix(']'))
        .unwrap_or(address);
    if bare.is_empty() || bare.parse::<std::net::IpAddr>().is_ok() {
        Ok(())
    } else {
        Err(format!("invalid IP address: {bare}"))
    }
}

fn parse_range(text: &str) -> Option<(u16, u16)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (parse_number(first)?, parse_number(last)?);
    (first <= last).then_some((first, last))
}

fn parse_number(text: &str) -> Option<u16> {
    text.parse().ok()
}
