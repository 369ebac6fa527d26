//! How the RUN instructions of a Dockerfile are confined.

use clap::{Args, ValueEnum};
use lifecycle_sandbox::Rung;

/// The isolation of RUN, and its limits.
#[derive(Debug, Args)]
#[command(next_help_heading = "Options of RUN")]
pub(crate) struct ConfinementArguments {
    /// Isolation of RUN [default: the strongest that works here, see `lifecycle doctor`]
    #[arg(long, value_enum, value_name = "KIND")]
    pub(crate) isolation: Option<IsolationArgument>,
    /// Most memory of one RUN, as 512m or 2g
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub(crate) memory: Option<u64>,
    /// Most processor time of one RUN, in cores, as 1.5
    #[arg(long, value_name = "CORES", value_parser = parse_cores)]
    pub(crate) cpus: Option<u64>,
    /// Size of /dev/shm, as 128m
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub(crate) shm_size: Option<u64>,
    /// Line of /etc/hosts
    #[arg(long = "add-host", value_name = "NAME:ADDRESS", value_parser = parse_host)]
    pub(crate) hosts: Vec<String>,
}

/// The rungs of the isolation ladder that run commands of a Dockerfile, and the one that runs none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum IsolationArgument {
    /// Namespaces with all ids, roots are overlays
    Overlay,
    /// Namespaces with all ids, roots are copies
    Copy,
    /// Namespaces with one id, owners are kept aside
    SingleId,
    /// chroot, as root with a container runtime's default capabilities
    Chroot,
    /// RUN is refused, everything else builds
    None,
}

impl IsolationArgument {
    /// The rung; none for no commands at all.
    pub(crate) fn rung(self) -> Option<Rung> {
        match self {
            Self::Overlay => Some(Rung::Overlay),
            Self::Copy => Some(Rung::Copy),
            Self::SingleId => Some(Rung::SingleId),
            Self::Chroot => Some(Rung::Chroot),
            Self::None => None,
        }
    }
}

/// A number of bytes with one of the usual suffixes, powers of 1024.
fn parse_size(text: &str) -> Result<u64, String> {
    let lower = text.to_lowercase();
    let number = lower.strip_suffix('b').unwrap_or(&lower);
    let (digits, shift) = match number.as_bytes().last() {
        Some(b'k') => (&number[..number.len() - 1], 10),
        Some(b'm') => (&number[..number.len() - 1], 20),
        Some(b'g') => (&number[..number.len() - 1], 30),
        _ => (number, 0),
    };
    let count: Option<u64> = digits.parse().ok();
    count
        .and_then(|count| count.checked_mul(1 << shift))
        .filter(|bytes| *bytes > 0)
        .ok_or_else(|| "expected a size like 512m or 2g".to_owned())
}

/// Cores, in thousandths.
fn parse_cores(text: &str) -> Result<u64, String> {
    let wrong = || "expected a number of cores like 2 or 0.5".to_owned();
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(part) || part.len() > 3 || whole.len() + part.len() == 0 {
        return Err(wrong());
    }
    let thousandths = format!("0{whole}{part:0<3}").parse().map_err(|_| wrong())?;
    if thousandths == 0 {
        Err(wrong())
    } else {
        Ok(thousandths)
    }
}

/// `name:address` as a line of /etc/hosts.
fn parse_host(text: &str) -> Result<String, String> {
    let wrong = || "expected NAME:ADDRESS".to_owned();
    let (name, address) = text.split_once([':', '=']).ok_or_else(wrong)?;
    let address = address.trim_start_matches('[').trim_end_matches(']');
    let address: std::net::IpAddr = address
        .parse()
        .map_err(|_| format!("{address} is not an address"))?;
    if name.is_empty() || name.contains(char::is_whitespace) {
        return Err(wrong());
    }
    Ok(format!("{address}\t{name}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_cores_and_hosts() {
        assert_eq!(parse_size("512m"), Ok(512 << 20));
        assert_eq!(parse_size("2GB"), Ok(2 << 30));
        assert_eq!(parse_size("4096"), Ok(4096));
        for wrong in ["", "m", "-1", "1t", "0", "99999999999999999999g"] {
            assert!(parse_size(wrong).is_err(), "{wrong}");
        }
        assert_eq!(parse_cores("1.5"), Ok(1500));
        assert_eq!(parse_cores("2"), Ok(2000));
        assert_eq!(parse_cores(".25"), Ok(250));
        for wrong in ["", ".", "0", "1.2345", "x", "-1", "1e3"] {
            assert!(parse_cores(wrong).is_err(), "{wrong}");
        }
        assert_eq!(parse_host("db:10.0.0.1"), Ok("10.0.0.1\tdb\n".to_owned()));
        assert_eq!(parse_host("db:[::1]"), Ok("::1\tdb\n".to_owned()));
        for wrong in ["db", ":1.2.3.4", "a b:1.2.3.4", "db:here"] {
            assert!(parse_host(wrong).is_err(), "{wrong}");
        }
    }
}
