//! Users and groups of a root file system, read as text from its own files, never through libc.
//!
//! A C library would load whatever plug-ins the root's nsswitch.conf names into this process
//! (CVE-2019-14271), and a careless reader follows a link out of the root, blocks on a FIFO or swallows ten
//! gigabytes (CVE-2024-9676). Here the kernel resolves the path inside the root, only a regular file of
//! bounded size is read, and lines that make no sense are passed over as every C library does.

use std::io::Read;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, OFlags, fstat};
use rustix::io::Errno;

use crate::mountpoint::open_beneath;

/// The largest passwd or group file that is read, in bytes.
pub const MAX_FILE_SIZE: u64 = 16 << 20;

/// User and group ids of a process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// User id, real, effective and saved.
    pub uid: u32,
    /// Group id, real, effective and saved.
    pub gid: u32,
    /// Supplementary groups; nothing is inherited (CVE-2022-2990).
    pub groups: Vec<u32>,
}

impl Identity {
    /// Root and its group, without supplementary groups.
    pub fn root() -> Self {
        Self::default()
    }

    /// A user and group without supplementary groups.
    pub fn new(uid: u32, gid: u32) -> Self {
        Self {
            uid,
            gid,
            groups: Vec::new(),
        }
    }
}

/// What a `USER` setting means in a root: the ids and the home directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The ids.
    pub identity: Identity,
    /// From the passwd entry, `/` without one.
    pub home: PathBuf,
}

/// Why users could not be read or resolved.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UserError {
    /// The file cannot be read.
    #[error("cannot read {} of the root file system", path.display())]
    Read {
        /// Within the root.
        path: PathBuf,
        /// The kernel's answer.
        source: std::io::Error,
    },
    /// A FIFO, device, socket or directory.
    #[error("{} of the root file system is not a regular file", path.display())]
    NotAFile {
        /// Within the root.
        path: PathBuf,
    },
    /// More than [`MAX_FILE_SIZE`].
    #[error("{} of the root file system is larger than {MAX_FILE_SIZE} bytes", path.display())]
    TooLarge {
        /// Within the root.
        path: PathBuf,
    },
    /// No entry has this name.
    #[error("unable to find user {name}: no matching entries in passwd file")]
    UnknownUser {
        /// As asked for.
        name: String,
    },
    /// No entry has this name.
    #[error("unable to find group {name}: no matching entries in group file")]
    UnknownGroup {
        /// As asked for.
        name: String,
    },
    /// The id does not fit.
    #[error("`{user}` is not a user: expected user, user:group, uid or uid:gid with ids up to 2147483647")]
    Malformed {
        /// As asked for.
        user: String,
    },
}

#[derive(Debug)]
struct User {
    name: String,
    uid: u32,
    gid: u32,
    home: PathBuf,
}

#[derive(Debug)]
struct Group {
    name: String,
    gid: u32,
    members: Vec<String>,
}

/// The users and groups of one root.
#[derive(Debug, Default)]
pub struct Users {
    users: Vec<User>,
    groups: Vec<Group>,
}

impl Users {
    /// Reads `/etc/passwd` and `/etc/group` beneath `root`, a directory descriptor. A missing file is empty.
    pub fn read(root: impl AsFd) -> Result<Self, UserError> {
        let passwd = read_bounded(&root, Path::new("etc/passwd"))?;
        let group = read_bounded(&root, Path::new("etc/group"))?;
        Ok(Self::parse(&passwd, &group))
    }

    /// Parses the contents of the two files.
    pub fn parse(passwd: &[u8], group: &[u8]) -> Self {
        let users = String::from_utf8_lossy(passwd)
            .lines()
            .filter_map(|line| {
                let mut fields = line.trim().split(':');
                Some(User {
                    name: fields.next().filter(|name| !name.is_empty())?.to_owned(),
                    uid: fields.nth(1).and_then(parse_id)?,
                    gid: fields.next().and_then(parse_id)?,
                    home: fields
                        .nth(1)
                        .filter(|home| !home.is_empty())
                        .unwrap_or("/")
                        .into(),
                })
            })
            .collect();
        let groups = String::from_utf8_lossy(group)
            .lines()
            .filter_map(|line| {
                let mut fields = line.trim().split(':');
                Some(Group {
                    name: fields.next().filter(|name| !name.is_empty())?.to_owned(),
                    gid: fields.nth(1).and_then(parse_id)?,
                    members: fields
                        .next()
                        .unwrap_or("")
                        .split(',')
                        .map(str::to_owned)
                        .collect(),
                })
            })
            .collect();
        Self { users, groups }
    }

    /// What `user`, `user:group`, `uid` or `uid:gid` means here (rule G9). No user is root, no group is the user's.
    pub fn resolve(&self, user: &str) -> Result<Account, UserError> {
        let (name, group) = user.split_once(':').unwrap_or((user, ""));
        let name = if name.is_empty() { "0" } else { name };
        let group = Some(group).filter(|group| !group.is_empty());
        let number = id_or_name(name).map_err(|()| UserError::Malformed {
            user: user.to_owned(),
        })?;
        let entry = self
            .users
            .iter()
            .find(|entry| entry.name == name)
            .or_else(|| self.users.iter().find(|entry| Some(entry.uid) == number));
        let uid = match (entry, number) {
            (Some(entry), _) => entry.uid,
            (None, Some(uid)) => uid,
            (None, None) => {
                return Err(UserError::UnknownUser {
                    name: name.to_owned(),
                });
            }
        };
        let home = entry.map_or_else(|| PathBuf::from("/"), |entry| entry.home.clone());
        let (gid, groups) = match (group, entry) {
            (Some(group), _) => (self.group(group, user)?, Vec::new()),
            (None, Some(entry)) => (entry.gid, self.groups_of(&entry.name)),
            (None, None) => (0, Vec::new()),
        };
        Ok(Account {
            identity: Identity { uid, gid, groups },
            home,
        })
    }

    fn group(&self, name: &str, user: &str) -> Result<u32, UserError> {
        if let Some(group) = self.groups.iter().find(|group| group.name == name) {
            return Ok(group.gid);
        }
        id_or_name(name)
            .map_err(|()| UserError::Malformed {
                user: user.to_owned(),
            })?
            .ok_or_else(|| UserError::UnknownGroup {
                name: name.to_owned(),
            })
    }

    fn groups_of(&self, user: &str) -> Vec<u32> {
        let mut groups: Vec<u32> = self
            .groups
            .iter()
            .filter(|group| group.members.iter().any(|member| member == user))
            .map(|group| group.gid)
            .collect();
        groups.sort_unstable();
        groups.dedup();
        groups
    }
}

fn parse_id(text: &str) -> Option<u32> {
    text.parse().ok().filter(|id| i32::try_from(*id).is_ok())
}

/// A number, `None` for a name, an error for a number that is no id.
fn id_or_name(text: &str) -> Result<Option<u32>, ()> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        parse_id(text).map(Some).ok_or(())
    } else {
        Ok(None)
    }
}

fn read_bounded(root: impl AsFd, path: &Path) -> Result<Vec<u8>, UserError> {
    let failed = |errno: Errno| UserError::Read {
        path: path.to_owned(),
        source: errno.into(),
    };
    // O_NONBLOCK: opening a FIFO must not wait for its other end.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = match open_beneath(root, path, flags) {
        Ok(file) => file,
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(Vec::new()),
        // A socket, or a device without a driver.
        Err(Errno::NXIO | Errno::NODEV) => {
            return Err(UserError::NotAFile {
                path: path.to_owned(),
            });
        }
        Err(errno) => return Err(failed(errno)),
    };
    if FileType::from_raw_mode(fstat(&file).map_err(failed)?.st_mode) != FileType::RegularFile {
        return Err(UserError::NotAFile {
            path: path.to_owned(),
        });
    }
    let mut content = Vec::new();
    // Counted while reading: a size in metadata is only a promise.
    std::fs::File::from(file)
        .take(MAX_FILE_SIZE + 1)
        .read_to_end(&mut content)
        .map_err(|source| UserError::Read {
            path: path.to_owned(),
            source,
        })?;
    if content.len() as u64 > MAX_FILE_SIZE {
        return Err(UserError::TooLarge {
            path: path.to_owned(),
        });
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    const PASSWD: &[u8] = b"root:x:0:0:root:/root:/bin/sh\nbroken line\ncnb:x:1000:1001::/home/cnb:/bin/sh\n1234:x:77:78::/odd:\n+nis\n";
    const GROUP: &[u8] = b"root:x:0:\ncnb:x:1001:\naudio:x:29:cnb,other\nvideo:x:44:cnb\n";

    #[test]
    fn identities_follow_rule_g9() {
        let users = Users::parse(PASSWD, GROUP);
        let rows: [(&str, u32, u32, &[u32], &str); 12] = [
            ("", 0, 0, &[], "/root"),
            (":", 0, 0, &[], "/root"),
            (":audio", 0, 29, &[], "/root"),
            ("cnb:", 1000, 1001, &[29, 44], "/home/cnb"),
            ("cnb", 1000, 1001, &[29, 44], "/home/cnb"),
            ("1000", 1000, 1001, &[29, 44], "/home/cnb"),
            ("cnb:audio", 1000, 29, &[], "/home/cnb"),
            ("cnb:5", 1000, 5, &[], "/home/cnb"),
            ("4242", 4242, 0, &[], "/"),
            ("4242:99", 4242, 99, &[], "/"),
            ("4242:video", 4242, 44, &[], "/"),
            ("1234", 77, 78, &[], "/odd"),
        ];
        for (text, uid, gid, groups, home) in rows {
            let account = users.resolve(text).unwrap();
            assert_eq!(
                account.identity,
                Identity {
                    uid,
                    gid,
                    groups: groups.to_vec()
                },
                "{text}"
            );
            assert_eq!(account.home, Path::new(home), "{text}");
        }
        assert!(matches!(
            users.resolve("nobody"),
            Err(UserError::UnknownUser { .. })
        ));
        assert!(matches!(
            users.resolve("cnb:none"),
            Err(UserError::UnknownGroup { .. })
        ));
        for text in ["4294967295", "2147483648", "cnb:99999999999"] {
            assert!(
                matches!(users.resolve(text), Err(UserError::Malformed { .. })),
                "{text}"
            );
        }
        assert_eq!(
            users.resolve("nobody").unwrap_err().to_string(),
            "unable to find user nobody: no matching entries in passwd file"
        );
    }

    fn root_with(prepare: impl Fn(&Path)) -> Result<Users, UserError> {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("etc")).unwrap();
        prepare(&root.path().join("etc/passwd"));
        Users::read(std::fs::File::open(root.path()).unwrap())
    }

    #[test]
    fn passwd_is_bounded_and_stays_in_the_root_cve_2024_9676() {
        let outside = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(outside.path(), "evil:x:666:666::/:\n").unwrap();

        assert!(root_with(|_| ()).unwrap().users.is_empty());
        let linked = root_with(|passwd| symlink(outside.path(), passwd).unwrap()).unwrap();
        assert!(linked.users.is_empty(), "a link out of the root leads nowhere");
        let fifo = root_with(|passwd| {
            rustix::fs::mkfifoat(rustix::fs::CWD, passwd, 0o644.into()).unwrap();
        });
        assert!(matches!(fifo, Err(UserError::NotAFile { .. })));
        assert!(matches!(
            root_with(|p| std::fs::create_dir(p).unwrap()),
            Err(UserError::NotAFile { .. })
        ));
        let huge = root_with(|passwd| std::fs::File::create(passwd).unwrap().set_len(10 << 30).unwrap());
        assert!(matches!(huge, Err(UserError::TooLarge { .. })));
        assert!(matches!(
            root_with(|p| symlink("passwd", p).unwrap()),
            Err(UserError::Read { .. })
        ));
    }
}
