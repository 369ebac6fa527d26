//! Id maps of user namespaces: reading the own one, deriving a step's, finding subordinate ids.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use rustix::process::Pid;

use crate::users::Identity;

/// One line of a map: `count` ids from `inside` on are those from `outside` on in the parent namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdRange {
    /// First id inside.
    pub inside: u32,
    /// First id outside.
    pub outside: u32,
    /// How many.
    pub count: u32,
}

/// The ids that exist in a user namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdMap(pub Vec<IdRange>);

impl IdMap {
    pub(crate) fn one(inside: u32, outside: u32) -> Self {
        Self(vec![IdRange {
            inside,
            outside,
            count: 1,
        }])
    }

    /// Whether an id exists inside.
    pub fn contains(&self, id: u32) -> bool {
        self.0.iter().any(|range| {
            id.checked_sub(range.inside)
                .is_some_and(|offset| offset < range.count)
        })
    }

    /// The only id inside, when there is just one.
    pub fn single(&self) -> Option<u32> {
        match self.0.as_slice() {
            [IdRange { inside, count: 1, .. }] => Some(*inside),
            _ => None,
        }
    }

    /// Parses the kernel's text form.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        text.lines()
            .map(|line| {
                let mut fields = line.split_whitespace().map(str::parse);
                Some(IdRange {
                    inside: fields.next()?.ok()?,
                    outside: fields.next()?.ok()?,
                    count: fields.next()?.ok()?,
                })
            })
            .collect::<Option<_>>()
            .map(Self)
    }

    pub(crate) fn to_text(&self) -> String {
        self.0.iter().fold(String::new(), |mut text, range| {
            writeln!(text, "{} {} {}", range.inside, range.outside, range.count).ok();
            text
        })
    }

    /// Every id of this namespace mapped to itself: a child namespace that changes no id.
    fn identity(&self) -> Self {
        Self(
            self.0
                .iter()
                .map(|range| IdRange {
                    outside: range.inside,
                    ..*range
                })
                .collect(),
        )
    }
}

/// The maps of one user namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdMaps {
    /// User ids.
    pub users: IdMap,
    /// Group ids.
    pub groups: IdMap,
    /// Whether processes inside may change their supplementary groups.
    pub setgroups: bool,
}

impl IdMaps {
    /// The maps of this process's own namespace.
    pub(crate) fn own() -> std::io::Result<Self> {
        let read = |name: &str| {
            let text = std::fs::read_to_string(Path::new("/proc/self").join(name))?;
            IdMap::parse(&text).ok_or_else(|| std::io::Error::from(std::io::ErrorKind::InvalidData))
        };
        let setgroups =
            std::fs::read_to_string("/proc/self/setgroups").is_ok_and(|text| text.trim() == "allow");
        Ok(Self {
            users: read("uid_map")?,
            groups: read("gid_map")?,
            setgroups,
        })
    }

    /// Maps for a step's own namespace in which `identity` exists: every id to itself, or, where this
    /// namespace has only one id, that one under the name the step asks for.
    pub(crate) fn for_step(&self, identity: &Identity) -> Option<Self> {
        Some(Self {
            users: step_map(&self.users, identity.uid)?,
            groups: step_map(&self.groups, identity.gid)?,
            setgroups: self.setgroups,
        })
    }

    /// Gives the maps to a process that has just been put into a new user namespace.
    pub(crate) fn write(&self, pid: Pid) -> std::io::Result<()> {
        let directory = PathBuf::from(format!("/proc/{}", pid.as_raw_nonzero()));
        if !self.setgroups {
            std::fs::write(directory.join("setgroups"), "deny")?;
        }
        std::fs::write(directory.join("uid_map"), self.users.to_text())?;
        std::fs::write(directory.join("gid_map"), self.groups.to_text())
    }
}

fn step_map(own: &IdMap, id: u32) -> Option<IdMap> {
    if own.contains(id) {
        Some(own.identity())
    } else {
        own.single().map(|only| IdMap::one(id, only))
    }
}

/// Subordinate ids granted to a user, from `/etc/subuid` or `/etc/subgid`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubordinateIds {
    /// First id.
    pub start: u32,
    /// How many.
    pub count: u32,
}

impl SubordinateIds {
    /// The first range granted to the user by name or number in the text of a subid file.
    pub(crate) fn find(text: &str, name: Option<&str>, uid: u32) -> Option<Self> {
        let uid = uid.to_string();
        text.lines().find_map(|line| {
            let mut fields = line.trim().split(':');
            let owner = fields.next()?;
            if owner != uid && Some(owner) != name {
                return None;
            }
            let start = fields.next()?.parse().ok()?;
            let count = fields.next()?.parse().ok().filter(|count| *count > 0)?;
            Some(Self { start, count })
        })
    }

    /// A map of the caller to `0` and of these ids to `1` and up.
    pub(crate) fn map_with(self, caller: u32) -> IdMap {
        IdMap(vec![
            IdRange {
                inside: 0,
                outside: caller,
                count: 1,
            },
            IdRange {
                inside: 1,
                outside: self.start,
                count: self.count,
            },
        ])
    }
}

/// The user name of `uid` on this host, from its passwd file.
pub(crate) fn host_user_name(uid: u32) -> Option<String> {
    let passwd = std::fs::read_to_string("/etc/passwd").ok()?;
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_keeps_every_id_or_borrows_the_only_one() {
        let full =
            IdMap::parse("         0       1000          1\n         1     100000      65536\n").unwrap();
        assert_eq!(step_map(&full, 1000).unwrap().to_text(), "0 0 1\n1 1 65536\n");
        assert_eq!(step_map(&full, 65537), None);
        let one = IdMap::parse("0 1000 1\n").unwrap();
        assert_eq!(step_map(&one, 0).unwrap().to_text(), "0 0 1\n");
        assert_eq!(step_map(&one, 1000).unwrap().to_text(), "1000 0 1\n");
        assert_eq!(IdMap::parse("0 x 1"), None);
    }

    #[test]
    fn subordinate_ids_by_name_or_number() {
        let text = "other:1:2\nann:100000:65536\n1001:200000:10\nann:1:1\n";
        let found = |name, uid| SubordinateIds::find(text, name, uid);
        assert_eq!(
            found(Some("ann"), 1000),
            Some(SubordinateIds {
                start: 100_000,
                count: 65536
            })
        );
        assert_eq!(
            found(None, 1001),
            Some(SubordinateIds {
                start: 200_000,
                count: 10
            })
        );
        assert_eq!(found(Some("bob"), 1002), None);
    }
}
