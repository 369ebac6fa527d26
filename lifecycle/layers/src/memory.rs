//! The memory that this process and its children may use: that of their control group.

use std::fs;
use std::path::{Path, PathBuf};

/// The memory control group of this process, of either version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryGroup {
    directory: PathBuf,
    is_unified: bool,
}

impl MemoryGroup {
    /// The group, if it can be seen from here.
    pub fn own() -> Option<Self> {
        Self::find(
            Path::new("/sys/fs/cgroup"),
            &fs::read_to_string("/proc/self/cgroup").ok()?,
        )
    }

    /// `groups` are lines `NUMBER:CONTROLLERS:PATH`; the second version has one without number and controllers.
    fn find(root: &Path, groups: &str) -> Option<Self> {
        let path_of = |wanted: &str| {
            groups.lines().find_map(|line| {
                let mut words = line.splitn(3, ':').skip(1);
                let controllers = words.next()?;
                let is_wanted = controllers.split(',').any(|controller| controller == wanted);
                is_wanted.then(|| words.next().unwrap_or_default().trim_start_matches('/'))
            })
        };
        let candidates = [
            (
                root.join("memory"),
                path_of("memory"),
                "memory.limit_in_bytes",
                false,
            ),
            (root.to_owned(), path_of(""), "memory.max", true),
        ];
        candidates
            .into_iter()
            .find_map(|(mount, path, file, is_unified)| {
                // A container sees its own group at the top, whatever the path on its machine is.
                let directory = [mount.join(path?), mount];
                let directory = directory
                    .into_iter()
                    .find(|directory| directory.join(file).is_file())?;
                Some(Self {
                    directory,
                    is_unified,
                })
            })
    }

    fn read(&self, file: &str) -> String {
        fs::read_to_string(self.directory.join(file)).unwrap_or_default()
    }

    /// The most bytes that it may use, if there is a limit.
    pub fn limit(&self) -> Option<u64> {
        /// What the first version says when there is none: the largest number of whole pages.
        const NONE: u64 = 1 << 62;
        let text = self.read(if self.is_unified {
            "memory.max"
        } else {
            "memory.limit_in_bytes"
        });
        text.trim().parse().ok().filter(|limit| *limit < NONE)
    }

    /// How many of its processes the kernel has ended so far because they used more.
    pub fn kills(&self) -> u64 {
        let text = self.read(if self.is_unified {
            "memory.events"
        } else {
            "memory.oom_control"
        });
        let count = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
        count
            .and_then(|count| count.trim().parse().ok())
            .unwrap_or_default()
    }
}

/// Looks whether the limit is hit while something runs.
#[derive(Debug)]
pub struct MemoryWatch(Option<(MemoryGroup, u64)>);

impl MemoryWatch {
    /// Looks from now on.
    pub fn begin() -> Self {
        Self(MemoryGroup::own().map(|group| {
            let kills = group.kills();
            (group, kills)
        }))
    }

    /// What to say when the kernel ended a process since.
    pub fn exceeded(&self) -> Option<String> {
        let (group, before) = self.0.as_ref()?;
        if group.kills() <= *before {
            return None;
        }
        let limit = group.limit()?;
        Some(format!(
            "out of memory: {} MiB is the limit of this container (in a pod: `resources: {{limits: {{memory: …}}}}`, which \
             --pod-memory sets)",
            limit >> 20
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(root: &Path, files: &[(&str, &str)]) {
        for (path, text) in files {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
    }

    #[test]
    fn the_limit_of_either_version_is_found_where_containers_see_it() {
        let root = tempfile::tempdir().unwrap();
        write(
            root.path(),
            &[
                ("memory.max", "268435456\n"),
                ("memory.events", "low 0\nmax 7\noom 1\noom_kill 2\n"),
            ],
        );
        let unified = MemoryGroup::find(root.path(), "0::/kubepods/pod1/2\n").unwrap();
        assert_eq!((unified.limit(), unified.kills()), (Some(256 << 20), 2));
        write(
            root.path(),
            &[
                ("memory/a/memory.limit_in_bytes", "9223372036854771712\n"),
                (
                    "memory/a/memory.oom_control",
                    "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n",
                ),
            ],
        );
        let first = MemoryGroup::find(root.path(), "4:memory:/a\n1:name=systemd:/\n").unwrap();
        assert_eq!((first.limit(), first.kills()), (None, 3));
        assert_eq!(MemoryGroup::find(root.path(), "1:name=systemd:/\n"), None);
    }
}
