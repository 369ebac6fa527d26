//! `RUN --mount` (I7 to I12). The values are expanded field by field when the RUN is reached, so even `type` may
//! hold a variable; only `from` may not (D11).

use lifecycle_diagnostics::{Diagnostic, nearest};

use crate::boolean;
use crate::csv::parse_fields;
use crate::line::Word;

/// A mount of one RUN.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Mount {
    /// What is mounted.
    pub kind: MountKind,
    /// `from`: a stage, image or named context; the build context if absent. For cache mounts: the seed.
    pub from: Option<String>,
    /// `source`: the path in `from`; for a secret another name of `id`.
    pub source: String,
    /// `target` as given; empty if it was not.
    pub target: String,
    /// Whether writes are refused. Writes to a writable bind mount are thrown away (I8).
    pub read_only: bool,
    /// `id` of a cache, secret or ssh agent.
    pub id: Option<String>,
    /// `sharing` of a cache (I9).
    pub sharing: Sharing,
    /// Whether a missing secret or agent fails the step (I11, I12).
    pub required: bool,
    /// The variable that holds a secret (I11).
    pub env: Option<String>,
    /// Limit of a tmpfs in bytes; zero for none (I10).
    pub size: u64,
    /// Owner of a cache, secret or ssh mount.
    pub uid: Option<u32>,
    /// Group of a cache, secret or ssh mount.
    pub gid: Option<u32>,
    /// Mode of a cache, secret or ssh mount.
    pub mode: Option<u32>,
}

/// What is mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MountKind {
    /// Files of the context, a stage or an image (I8).
    #[default]
    Bind,
    /// A directory that outlives the build (I9).
    Cache,
    /// Memory (I10).
    Tmpfs,
    /// A secret (I11).
    Secret,
    /// An ssh agent (I12).
    Ssh,
}

/// What happens when two steps want the same cache (I9).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sharing {
    /// Both use it.
    #[default]
    Shared,
    /// The second gets its own.
    Private,
    /// The second waits.
    Locked,
}

const KINDS: [(&str, MountKind); 5] = [
    ("bind", MountKind::Bind),
    ("cache", MountKind::Cache),
    ("tmpfs", MountKind::Tmpfs),
    ("secret", MountKind::Secret),
    ("ssh", MountKind::Ssh),
];

const SHARINGS: [(&str, Sharing); 3] = [
    ("shared", Sharing::Shared),
    ("private", Sharing::Private),
    ("locked", Sharing::Locked),
];

const KEYS: [&str; 19] = [
    "type",
    "from",
    "source",
    "src",
    "target",
    "dst",
    "destination",
    "readonly",
    "ro",
    "readwrite",
    "rw",
    "id",
    "sharing",
    "required",
    "size",
    "mode",
    "uid",
    "gid",
    "env",
];

impl MountKind {
    fn name(self) -> &'static str {
        KINDS
            .iter()
            .find(|(_, kind)| *kind == self)
            .map_or("", |(name, _)| name)
    }

    fn may_be_required(self) -> bool {
        matches!(self, Self::Secret | Self::Ssh)
    }

    fn has_owner(self) -> bool {
        matches!(self, Self::Cache | Self::Secret | Self::Ssh)
    }
}

/// What can be said of a `--mount` before its variables are known.
pub(super) fn check_spec(spec: &Word) -> Result<(), Diagnostic> {
    from_of(spec).map(|_| ())
}

/// The `from` of a `--mount`, exactly as written.
pub(crate) fn from_of(spec: &Word) -> Result<Option<String>, Diagnostic> {
    let mut from = None;
    for field in fields(spec)? {
        let Some((key, value)) = field.split_once('=') else {
            continue;
        };
        if !key.eq_ignore_ascii_case("from") {
            continue;
        }
        if value.find('$').is_some_and(|at| at + 1 != value.len()) {
            return Err(fault(spec, "'from' doesn't support variable expansion")
                .help("define a stage with FROM and the variable, and mount from that stage"));
        }
        from = Some(value.to_owned()).filter(|from| !from.is_empty());
    }
    Ok(from)
}

impl Mount {
    /// Reads a `--mount`, expanding every value with `expand`.
    pub(crate) fn parse(
        spec: &Word,
        mut expand: impl FnMut(&str) -> Result<String, Diagnostic>,
    ) -> Result<Self, Diagnostic> {
        let mut mount = Self::default();
        let mut read_only = None;
        let mut sharing = None;
        for field in fields(spec)? {
            let Some((key, value)) = field.split_once('=') else {
                match field.to_lowercase().as_str() {
                    "readonly" | "ro" => read_only = Some(true),
                    "readwrite" | "rw" => read_only = Some(false),
                    "required" if mount.kind.may_be_required() => mount.required = true,
                    "required" => return Err(unexpected(spec, "required", mount.kind)),
                    _ => {
                        return Err(fault(
                            spec,
                            &format!("invalid field '{field}' must be a key=value pair"),
                        ));
                    }
                }
                continue;
            };
            let value = expand(value)?;
            let key = key.to_lowercase();
            let invalid = || fault(spec, &format!("invalid value for {key}: {value}"));
            match key.as_str() {
                "type" => mount.kind = choose(spec, "mount type", &value, &KINDS)?,
                "from" => mount.from = Some(value).filter(|from| !from.is_empty()),
                "source" | "src" => mount.source = value,
                "target" | "dst" | "destination" => mount.target = value,
                "readonly" | "ro" => read_only = Some(boolean::parse(&value).ok_or_else(invalid)?),
                "readwrite" | "rw" => read_only = Some(!boolean::parse(&value).ok_or_else(invalid)?),
                "required" if mount.kind.may_be_required() => {
                    mount.required = boolean::parse(&value).ok_or_else(invalid)?;
                }
                "size" if mount.kind == MountKind::Tmpfs => {
                    mount.size = parse_size(&value).ok_or_else(invalid)?;
                }
                "required" | "size" => return Err(unexpected(spec, &key, mount.kind)),
                "id" => mount.id = Some(value).filter(|id| !id.is_empty()),
                "sharing" => sharing = Some(choose(spec, "sharing value", &value, &SHARINGS)?),
                "mode" => mount.mode = Some(u32::from_str_radix(&value, 8).map_err(|_| invalid())?),
                "uid" => mount.uid = Some(value.parse().map_err(|_| invalid())?),
                "gid" => mount.gid = Some(value.parse().map_err(|_| invalid())?),
                "env" => mount.env = Some(value),
                _ => return Err(unknown_key(spec, &key)),
            }
        }
        let writable_by_default = matches!(mount.kind, MountKind::Cache | MountKind::Tmpfs);
        mount.read_only = read_only.unwrap_or(!writable_by_default);
        mount.check(spec, sharing)?;
        mount.sharing = sharing.unwrap_or_default();
        Ok(mount)
    }

    /// Refuses options that do not go with the type.
    fn check(&self, spec: &Word, sharing: Option<Sharing>) -> Result<(), Diagnostic> {
        let name = self.kind.name();
        let owner = [
            ("mode", self.mode.is_some()),
            ("uid", self.uid.is_some()),
            ("gid", self.gid.is_some()),
        ];
        if let Some((key, _)) = owner.iter().find(|(_, given)| *given && !self.kind.has_owner()) {
            return Err(fault(
                spec,
                &format!("{key} not allowed for {name:?} type mounts"),
            ));
        }
        if sharing.is_some() && self.kind != MountKind::Cache {
            return Err(fault(
                spec,
                &format!("invalid cache sharing set for {name} mount"),
            ));
        }
        match self.kind {
            MountKind::Secret if self.from.is_some() => {
                Err(fault(spec, "secret mount should not have a from"))
            }
            MountKind::Secret if self.source.is_empty() && self.target.is_empty() && self.id.is_none() => {
                Err(fault(
                    spec,
                    "invalid secret mount: one of id, source, target required",
                ))
            }
            MountKind::Secret if !self.source.is_empty() && self.id.is_some() => {
                Err(fault(spec, "both source and id can't be set"))
            }
            MountKind::Ssh if !self.source.is_empty() => Err(fault(spec, "ssh does not support source")),
            _ => Ok(()),
        }
    }
}

fn fields(spec: &Word) -> Result<Vec<String>, Diagnostic> {
    parse_fields(&spec.text).map_err(|error| fault(spec, &format!("--mount: {error}")))
}

fn choose<T: Copy>(
    spec: &Word,
    what: &str,
    value: &str,
    choices: &[(&'static str, T)],
) -> Result<T, Diagnostic> {
    let lower = value.to_lowercase();
    if let Some(&(_, found)) = choices.iter().find(|(name, _)| *name == lower) {
        return Ok(found);
    }
    let diagnostic = fault(spec, &format!("unsupported {what} {value:?}"));
    let names = choices.iter().map(|(name, _)| *name);
    Err(match nearest(value, names.clone()) {
        Some(known) => diagnostic.help(format!("did you mean {known}?")),
        None => diagnostic.help(format!("use one of {}", names.collect::<Vec<_>>().join(", "))),
    })
}

fn unexpected(spec: &Word, key: &str, kind: MountKind) -> Diagnostic {
    fault(
        spec,
        &format!("unexpected key '{key}' for mount type '{}'", kind.name()),
    )
    .help("type has to come before the keys that depend on it")
}

fn unknown_key(spec: &Word, key: &str) -> Diagnostic {
    let diagnostic = fault(spec, &format!("unexpected key '{key}' in --mount"));
    match nearest(key, KEYS) {
        Some(known) => diagnostic.help(format!("did you mean {known}?")),
        None => diagnostic,
    }
}

fn fault(spec: &Word, message: &str) -> Diagnostic {
    Diagnostic::error("invalid-mount", message).at(spec.span.clone())
}

/// A number of bytes with an optional binary unit: `64m`, `1.5 GiB`, `512`.
fn parse_size(text: &str) -> Option<u64> {
    let end = text.rfind(|character: char| character.is_ascii_digit() || matches!(character, '.' | ' '))? + 1;
    let (number, unit) = text.split_at(end);
    let number: f64 = number.strip_suffix(' ').unwrap_or(number).parse().ok()?;
    let unit = unit.to_lowercase();
    let exponent = match unit
        .strip_suffix("ib")
        .filter(|unit| !unit.is_empty())
        .or(unit.strip_suffix('b'))
        .unwrap_or(&unit)
    {
        "" => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        "p" => 5,
        _ => return None,
    };
    let bytes = number * 1024_f64.powi(exponent);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the range is checked"
    )]
    (0.0..9.2e18).contains(&bytes).then_some(bytes as u64)
}

#[cfg(test)]
mod tests {
    use super::parse_size;

    #[test]
    fn sizes_take_binary_units_i10() {
        for (text, bytes) in [
            ("512", Some(512)),
            ("1k", Some(1024)),
            ("1KiB", Some(1024)),
            ("1kb", Some(1024)),
            ("1.5m", Some(1_572_864)),
            ("2 g", Some(2 << 30)),
            ("5b", Some(5)),
            ("5ib", None),
            ("", None),
            ("m", None),
            ("-1", None),
            ("1x", None),
            ("1kib2", None),
        ] {
            assert_eq!(parse_size(text), bytes, "{text}");
        }
    }
}
