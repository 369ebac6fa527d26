//! The pod around this process, as /proc shows it: which lines of its manifest would let a build do more.

use rustix::process::geteuid;
use rustix::thread::CapabilitySet;

use crate::host::Missing;

/// What a pod's manifest keeps from this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pod {
    uid: u32,
    /// Its user namespace is that of the node.
    shares_users: bool,
    /// A seccomp filter is installed.
    is_filtered: bool,
    no_new_privileges: bool,
    effective: CapabilitySet,
    bounding: CapabilitySet,
    /// Other file systems lie over parts of /proc.
    masks_proc: bool,
    /// The AppArmor profile that is enforced.
    profile: Option<String>,
}

/// What it takes to make the files of a root, to enter it, and to become its users.
const OF_ROOTS: [(&str, CapabilitySet); 9] = [
    ("CHOWN", CapabilitySet::CHOWN),
    ("DAC_OVERRIDE", CapabilitySet::DAC_OVERRIDE),
    ("FOWNER", CapabilitySet::FOWNER),
    ("FSETID", CapabilitySet::FSETID),
    ("MKNOD", CapabilitySet::MKNOD),
    ("SETFCAP", CapabilitySet::SETFCAP),
    ("SETGID", CapabilitySet::SETGID),
    ("SETUID", CapabilitySet::SETUID),
    ("SYS_CHROOT", CapabilitySet::SYS_CHROOT),
];

impl Pod {
    /// The pod, if this process is in one.
    pub(crate) fn around() -> Option<Self> {
        let read = |name: &str| std::fs::read_to_string(format!("/proc/self/{name}")).unwrap_or_default();
        Self::parse(
            geteuid().as_raw(),
            &read("mountinfo"),
            &read("status"),
            &read("uid_map"),
            &read("attr/current"),
        )
    }

    fn parse(uid: u32, mounts: &str, status: &str, uid_map: &str, profile: &str) -> Option<Self> {
        // `ID PARENT DEVICE ROOT POINT …`, where ROOT is the part of the file system that is mounted at POINT.
        let mounts = mounts.lines().filter_map(|line| {
            let mut words = line.split(' ').skip(3);
            Some((words.next()?, words.next()?))
        });
        let (mut is_pod, mut masks_proc) = (false, false);
        for (root, point) in mounts {
            is_pod |= point == TERMINATION_LOG || (point == "/etc/hosts" && root.ends_with("/etc-hosts"));
            masks_proc |= point.starts_with("/proc/");
        }
        let value = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key));
            line.map(str::trim).unwrap_or_default()
        };
        let capabilities =
            |key| CapabilitySet::from_bits_retain(u64::from_str_radix(value(key), 16).unwrap_or_default());
        is_pod.then(|| Self {
            uid,
            shares_users: uid_map.split_whitespace().eq(["0", "0", "4294967295"]),
            is_filtered: value("Seccomp:") == "2",
            no_new_privileges: value("NoNewPrivs:") == "1",
            effective: capabilities("CapEff:"),
            bounding: capabilities("CapBnd:"),
            masks_proc,
            profile: profile
                .trim_end_matches(['\n', '\0'])
                .strip_suffix(" (enforce)")
                .map(str::to_owned),
        })
    }

    /// What stands against namespaces with all ids. The first line is the one that makes the others harmless: what is
    /// granted in a user namespace of the pod's own is worth nothing on the node.
    pub(crate) fn against_namespaces(&self) -> Vec<Missing> {
        let is_admin = self.effective.contains(CapabilitySet::SYS_ADMIN);
        let mut missing = Vec::new();
        if self.shares_users {
            missing.push(Missing::new(
                "the pod shares the users of its node",
                "`hostUsers: false` in the pod's spec",
            ));
        }
        if self.is_filtered && !is_admin {
            missing.push(Missing::new(
                "a seccomp profile refuses namespaces and mounts",
                "`seccompProfile: {type: Unconfined}`; RuntimeDefault permits them too where CAP_SYS_ADMIN is added",
            ));
        }
        missing.extend(self.not_root());
        missing.extend(self.without(&[&[("SYS_ADMIN", CapabilitySet::SYS_ADMIN)], &OF_ROOTS[..]].concat()));
        if self.no_new_privileges && !is_admin {
            missing.push(Missing::new(
                "no_new_privs takes their powers from newuidmap and whatever else is setuid",
                "`allowPrivilegeEscalation: true`, without which CAP_SYS_ADMIN is not granted either",
            ));
        }
        if self.masks_proc {
            missing.push(Missing::new(
                "parts of /proc are masked, so that no other /proc can be mounted",
                "`procMount: Unmasked`",
            ));
        }
        if let Some(profile) = &self.profile {
            missing.push(Missing::new(
                format!("AppArmor's profile {profile} refuses mounts"),
                "`appArmorProfile: {type: Unconfined}`",
            ));
        }
        missing
    }

    /// What stands against chroot.
    pub(crate) fn against_chroot(&self) -> Vec<Missing> {
        self.not_root()
            .into_iter()
            .chain(self.without(&OF_ROOTS))
            .collect()
    }

    /// Those of these capabilities that the container does not have.
    fn without(&self, needed: &[(&str, CapabilitySet)]) -> Option<Missing> {
        let lacking = needed.iter().filter(|(_, bit)| !self.bounding.contains(*bit));
        let lacking: Vec<&str> = lacking.map(|(name, _)| *name).collect();
        (!lacking.is_empty()).then(|| {
            Missing::new(
                format!("the container has no CAP_{}", lacking.join(", CAP_")),
                format!("`capabilities: {{add: [\"{}\"]}}`", lacking.join("\", \"")),
            )
        })
    }

    /// A container's capabilities are root's.
    fn not_root(&self) -> Option<Missing> {
        (self.uid != 0).then(|| {
            Missing::new(
                format!("this process is user {}, who has no capabilities", self.uid),
                "`runAsUser: 0`, and no `runAsNonRoot: true`",
            )
        })
    }
}

/// Where every container of a pod says what it ended with.
const TERMINATION_LOG: &str = "/dev/termination-log";

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
        1 0 0:1 / / ro - overlay overlay ro\n\
        2 1 8:1 /var/lib/kubelet/pods/0c0d/etc-hosts /etc/hosts rw - ext4 /dev/sda1 rw\n";

    fn pod(uid: u32, mounts: &str, status: &str, uid_map: &str, profile: &str) -> Vec<String> {
        let pod = Pod::parse(uid, mounts, status, uid_map, profile).unwrap();
        let grant = |missing: Missing| missing.grant.split('`').nth(1).unwrap().to_owned();
        pod.against_namespaces().into_iter().map(grant).collect()
    }

    #[test]
    fn a_restricted_pod_lacks_these_lines_host_users_first() {
        let status = "NoNewPrivs:\t1\nSeccomp:\t2\nCapEff:\t0000000000000000\nCapBnd:\t0000000000000000\n";
        let masked = format!("{MOUNTS}3 1 0:5 /null /proc/kcore rw - tmpfs tmpfs rw\n");
        let lines = pod(
            1000,
            &masked,
            status,
            "         0          0 4294967295\n",
            "cri-containerd.apparmor.d (enforce)\n",
        );
        assert_eq!(
            lines,
            [
                "hostUsers: false",
                "seccompProfile: {type: Unconfined}",
                "runAsUser: 0",
                "capabilities: {add: [\"SYS_ADMIN\", \"CHOWN\", \"DAC_OVERRIDE\", \"FOWNER\", \"FSETID\", \"MKNOD\", \"SETFCAP\", \
                 \"SETGID\", \"SETUID\", \"SYS_CHROOT\"]}",
                "allowPrivilegeEscalation: true",
                "procMount: Unmasked",
                "appArmorProfile: {type: Unconfined}",
            ]
        );
    }

    #[test]
    fn a_pod_with_users_of_its_own_and_all_lines_lacks_none() {
        let status = "NoNewPrivs:\t0\nSeccomp:\t2\nCapEff:\t00000000a82425fb\nCapBnd:\t00000000a82425fb\n";
        let lines = pod(0, MOUNTS, status, "0 1879048192 65536\n", "unconfined\n");
        assert_eq!(lines, [""; 0]);
    }

    #[test]
    fn what_the_manifest_drops_is_what_chroot_lacks() {
        let of = |uid, bounding: &str| {
            let status = format!("CapEff:\t0\nCapBnd:\t{bounding}\n");
            Pod::parse(uid, MOUNTS, &status, "", "").unwrap().against_chroot()
        };
        assert_eq!(of(0, "00000000a80425fb"), []);
        let missing = of(1000, "00000000a80025fb");
        assert!(missing[0].grant.contains("`runAsUser: 0`"), "{missing:?}");
        assert!(
            missing[1].grant.contains("{add: [\"SYS_CHROOT\"]}"),
            "{missing:?}"
        );
    }

    #[test]
    fn other_containers_are_no_pods() {
        let mounts =
            "1 0 0:1 / / rw - overlay overlay rw\n2 1 8:1 /docker/hosts /etc/hosts rw - ext4 /dev/sda1 rw\n";
        assert_eq!(Pod::parse(0, mounts, "", "", ""), None);
    }
}
