//! `--chmod` (H16, H17): octal or symbolic.

/// A mode to set, or changes to make to one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Chmod {
    /// The mode of every file and directory, implicit parents included (H17).
    Octal(u32),
    /// Changes computed from each entry's own mode, with umask 0; implicit parents are left alone (H17).
    Symbolic(Vec<ModeClause>),
}

/// One `who`, operator and permissions of a symbolic mode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModeClause {
    who: u32,
    operator: Operator,
    permissions: Permissions,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Add,
    Remove,
    Set,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Permissions {
    Bits {
        bits: u32,
        execute_if_any: bool,
    },
    /// The permissions that this class has, as a shift: 6, 3 or 0.
    Copy(u32),
}

const USER: u32 = 0o4700;
const GROUP: u32 = 0o2070;
const OTHER: u32 = 0o0007;
const STICKY: u32 = 0o1000;

impl Chmod {
    /// Reads a mode; the error is a message.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.starts_with(|first: char| first.is_ascii_digit()) {
            return match u32::from_str_radix(text, 8) {
                Ok(mode) if mode <= 0o7777 => Ok(Self::Octal(mode)),
                _ => Err(format!(
                    "invalid chmod parameter: '{text}'; it should be octal and between 0 and 07777"
                )),
            };
        }
        let clauses: Option<Vec<Vec<ModeClause>>> = text.split(',').map(parse_clauses).collect();
        match clauses {
            Some(clauses) => Ok(Self::Symbolic(clauses.concat())),
            None => Err(format!(
                "invalid chmod parameter: '{text}'; it is neither octal nor like u=rwX,go=rX"
            )),
        }
    }

    /// The mode that `mode` (the low twelve bits) becomes.
    pub fn apply(&self, mode: u32, is_directory: bool) -> u32 {
        match self {
            Self::Octal(mode) => *mode,
            Self::Symbolic(clauses) => clauses.iter().fold(mode & 0o7777, |current, clause| {
                let executable = is_directory || mode & 0o111 != 0;
                clause.apply(current, executable)
            }),
        }
    }
}

/// `who` and one or more operators with permissions, as in `u+r-x`.
fn parse_clauses(text: &str) -> Option<Vec<ModeClause>> {
    let operators = text.find(['+', '-', '='])?;
    let mut who = 0;
    for class in text[..operators].chars() {
        who |= match class {
            'a' => USER | GROUP | OTHER,
            'u' => USER,
            'g' => GROUP,
            'o' => OTHER,
            _ => return None,
        };
    }
    let mut clauses = Vec::new();
    let mut rest = &text[operators..];
    while let Some(operator) = rest.chars().next() {
        let operator = match operator {
            '+' => Operator::Add,
            '-' => Operator::Remove,
            _ => Operator::Set,
        };
        let behind = &rest[1..];
        let end = behind.find(['+', '-', '=']).unwrap_or(behind.len());
        clauses.extend(parse_permissions(who, operator, &behind[..end])?);
        rest = &behind[end..];
    }
    Some(clauses)
}

fn parse_permissions(who: u32, operator: Operator, text: &str) -> Option<Vec<ModeClause>> {
    let only_other = who == OTHER;
    let affected = if who == 0 { USER | GROUP | OTHER } else { who };
    let mut clauses = Vec::new();
    let mut bits = 0;
    let mut execute_if_any = false;
    let mut sticky = 0;
    let mut first = operator;
    for permission in text.chars() {
        match permission {
            'r' => bits |= 0o444,
            'w' => bits |= 0o222,
            'x' => bits |= 0o111,
            'X' if operator == Operator::Remove => bits |= 0o111,
            'X' => execute_if_any = true,
            's' if !only_other => bits |= 0o6000,
            't' if !only_other => sticky = STICKY,
            's' | 't' => {}
            'u' | 'g' | 'o' => {
                let shift = match permission {
                    'u' => 6,
                    'g' => 3,
                    _ => 0,
                };
                let permissions = Permissions::Copy(shift);
                clauses.push(ModeClause {
                    who: affected,
                    operator: first,
                    permissions,
                });
                // After `=` has cleared once, more permissions only add.
                if operator == Operator::Set {
                    first = Operator::Add;
                }
            }
            _ => return None,
        }
    }
    let bits = bits | sticky;
    let clears = first == Operator::Set;
    if bits != 0 || execute_if_any || clears {
        let permissions = Permissions::Bits { bits, execute_if_any };
        clauses.push(ModeClause {
            who: affected | sticky,
            operator: first,
            permissions,
        });
    }
    Some(clauses)
}

impl ModeClause {
    fn apply(&self, mode: u32, executable: bool) -> u32 {
        let bits = match self.permissions {
            Permissions::Bits { bits, execute_if_any } => {
                bits | if execute_if_any && executable { 0o111 } else { 0 }
            }
            Permissions::Copy(shift) => (mode >> shift & 0o7) * 0o111,
        };
        let affected = bits & self.who;
        match self.operator {
            Operator::Add => mode | affected,
            Operator::Remove => mode & !affected,
            // A copy of another class's permissions leaves the bits beside them.
            Operator::Set if matches!(self.permissions, Permissions::Copy(_)) => {
                mode & !(self.who & 0o777) | affected
            }
            Operator::Set => mode & !self.who | affected,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octal_within_bounds_h16() {
        assert_eq!(Chmod::parse("0644"), Ok(Chmod::Octal(0o644)));
        assert_eq!(Chmod::parse("7777"), Ok(Chmod::Octal(0o7777)));
        for bad in ["10000", "888", "64x", "0x1"] {
            assert!(Chmod::parse(bad).unwrap_err().contains(bad), "{bad}");
        }
    }

    #[test]
    fn symbolic_changes_each_mode_h16() {
        for (text, mode, directory, expected) in [
            ("u=rwX,go=rX", 0o600, false, 0o644),
            ("u=rwX,go=rX", 0o600, true, 0o755),
            ("u=rwX,go=rX", 0o700, false, 0o755),
            ("u+x,g-r", 0o644, false, 0o704),
            ("+x", 0o644, false, 0o755),
            ("a-w", 0o666, false, 0o444),
            ("go=", 0o777, false, 0o700),
            ("g=u", 0o740, false, 0o770),
            ("u=g", 0o4711, false, 0o4111),
            ("o=u-w", 0o640, false, 0o644),
            ("u+s", 0o755, false, 0o4755),
            ("+t", 0o777, true, 0o1777),
            ("u=r", 0o4755, false, 0o455),
            ("a+rX", 0o640, false, 0o644),
            ("u+r-w", 0o200, false, 0o400),
        ] {
            let chmod = Chmod::parse(text).unwrap();
            assert_eq!(
                format!("{:o}", chmod.apply(mode, directory)),
                format!("{expected:o}"),
                "{text} {mode:o}"
            );
        }
        for bad in ["", "rwx", "z+x", "u+q", "u", ",", "u+x,"] {
            assert!(Chmod::parse(bad).is_err(), "{bad}");
        }
    }
}
