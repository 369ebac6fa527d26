//! `--chown` (H14, H15).

use lifecycle_layers::Owner;

use crate::error::StepError;

/// Whose names count: the contents of `/etc/passwd` and `/etc/group`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Accounts {
    pub(crate) passwd: Vec<u8>,
    pub(crate) group: Vec<u8>,
}

/// Whether an owner can be told without looking into any file.
pub(crate) fn is_numeric(chown: &str) -> bool {
    chown
        .split(':')
        .all(|part| part.is_empty() || number(part).is_some())
}

/// The ids that `--chown` means in the destination's file system (H14).
///
/// A user name alone takes the group of its passwd entry; a number alone is used for the group as well; an empty
/// part is 0. A name that nobody knows is an error here: silently becoming root would be the wrong image (H15).
pub(crate) fn resolve(chown: &str, accounts: &Accounts) -> Result<Owner, StepError> {
    let (user, group) = match chown.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (chown, None),
    };
    let unknown = |reason: String| StepError::Owner {
        chown: chown.to_owned(),
        reason,
    };
    let (uid, primary) = match number(user) {
        _ if user.is_empty() => (0, 0),
        Some(uid) => (uid, uid),
        None => match entry(&accounts.passwd, user) {
            Some(fields) => (id(&fields, 2), id(&fields, 3)),
            // Every system has root.
            None if user == "root" => (Some(0), Some(0)),
            None => return Err(unknown(format!("/etc/passwd of this stage has no user {user}"))),
        }
        .pair()
        .ok_or_else(|| unknown(format!("the entry of {user} in /etc/passwd makes no sense")))?,
    };
    let gid = match group {
        None => primary,
        Some("") => 0,
        Some(group) => match (number(group), entry(&accounts.group, group)) {
            (Some(gid), _) => gid,
            (None, Some(fields)) => id(&fields, 2)
                .ok_or_else(|| unknown(format!("the entry of {group} in /etc/group makes no sense")))?,
            (None, None) if group == "root" => 0,
            (None, None) => return Err(unknown(format!("/etc/group of this stage has no group {group}"))),
        },
    };
    Ok(Owner::new(uid, gid))
}

trait Pair {
    fn pair(self) -> Option<(u32, u32)>;
}

impl Pair for (Option<u32>, Option<u32>) {
    fn pair(self) -> Option<(u32, u32)> {
        Some((self.0?, self.1?))
    }
}

fn number(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

/// The fields of a name's line.
fn entry(file: &[u8], name: &str) -> Option<Vec<String>> {
    let text = String::from_utf8_lossy(file);
    let mut lines = text
        .lines()
        .map(|line| line.split(':').map(str::to_owned).collect::<Vec<_>>());
    lines.find(|fields| fields.first().is_some_and(|first| first == name))
}

fn id(fields: &[String], at: usize) -> Option<u32> {
    fields.get(at).and_then(|field| number(field))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accounts() -> Accounts {
        Accounts {
            passwd: b"root:x:0:0::/:/bin/sh\nbin:x:2:3:bin:/bin:/bin/sh\nbroken:x:y:z::/:\n".to_vec(),
            group: b"root:x:0:\nstaff:x:50:bin\n".to_vec(),
        }
    }

    #[test]
    fn chown_names_and_numbers_h14() {
        for (chown, uid, gid) in [
            ("bin", 2, 3),
            ("5", 5, 5),
            ("bin:", 2, 0),
            (":staff", 0, 50),
            ("bin:staff", 2, 50),
            ("7:8", 7, 8),
            ("7:staff", 7, 50),
            ("root", 0, 0),
            (":", 0, 0),
        ] {
            assert_eq!(
                resolve(chown, &accounts()).unwrap(),
                Owner::new(uid, gid),
                "{chown}"
            );
        }
        let none = Accounts::default();
        assert_eq!(resolve("root:root", &none).unwrap(), Owner::ROOT);
    }

    #[test]
    fn chown_of_unknown_names_is_an_error_h15() {
        for chown in ["nobody", "bin:nogroup", "broken", "-1", "99999999999"] {
            assert!(resolve(chown, &accounts()).is_err(), "{chown}");
        }
    }
}
