//! Who a step's processes would be, if there were more than one id.
//!
//! A program that becomes another user, as `apt` does for its downloads, asks the kernel afterwards whether that
//! worked, and whether it could become root again. So the calls that set and tell ids follow the kernel's own
//! rules on numbers kept here. What a process may do is not touched by it: for the kernel it stays what it was.

use std::collections::HashMap;

use rustix::io::Errno;

/// Real, effective and saved id, in this order.
type Ids = [u32; 3];

/// Leaves an id as it is.
const SAME: u32 = u32::MAX;

/// The ids of a process.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(crate) struct Credentials {
    pub(crate) users: Ids,
    pub(crate) groups: Ids,
    /// Nothing was set: the kernel knows them.
    pub(crate) others: Option<Vec<u32>>,
}

/// A call that sets ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Switch {
    /// `setuid`
    User(u32),
    /// `setgid`
    Group(u32),
    /// `setreuid`
    RealUser(u32, u32),
    /// `setregid`
    RealGroup(u32, u32),
    /// `setresuid`
    Users(Ids),
    /// `setresgid`
    Groups(Ids),
    /// `setgroups`
    Others(Vec<u32>),
}

impl Credentials {
    /// What the kernel would do (credentials(7), setuid(2) and its kin).
    pub(crate) fn switch(&mut self, switch: Switch) -> Result<(), Errno> {
        let is_root = self.users[1] == 0;
        match switch {
            Switch::User(id) => set_one(&mut self.users, id, is_root),
            Switch::Group(id) => set_one(&mut self.groups, id, is_root),
            Switch::RealUser(real, effective) => set_two(&mut self.users, real, effective, is_root),
            Switch::RealGroup(real, effective) => set_two(&mut self.groups, real, effective, is_root),
            Switch::Users(ids) => set_three(&mut self.users, ids, is_root),
            Switch::Groups(ids) => set_three(&mut self.groups, ids, is_root),
            Switch::Others(_) if !is_root => Err(Errno::PERM),
            Switch::Others(groups) => {
                self.others = Some(groups);
                Ok(())
            }
        }
    }
}

fn set_one(ids: &mut Ids, id: u32, is_root: bool) -> Result<(), Errno> {
    if id == SAME {
        return Err(Errno::INVAL);
    }
    let [real, _, saved] = *ids;
    if is_root {
        *ids = [id; 3];
    } else if id == real || id == saved {
        ids[1] = id;
    } else {
        return Err(Errno::PERM);
    }
    Ok(())
}

fn set_two(ids: &mut Ids, real: u32, effective: u32, is_root: bool) -> Result<(), Errno> {
    let old = *ids;
    let allowed = |id: u32, among: &[u32]| is_root || id == SAME || among.contains(&id);
    if !allowed(real, &old[..2]) || !allowed(effective, &old) {
        return Err(Errno::PERM);
    }
    if real != SAME {
        ids[0] = real;
    }
    if effective != SAME {
        ids[1] = effective;
    }
    if real != SAME || (effective != SAME && effective != old[0]) {
        ids[2] = ids[1];
    }
    Ok(())
}

fn set_three(ids: &mut Ids, new: Ids, is_root: bool) -> Result<(), Errno> {
    let old = *ids;
    if !is_root && new.iter().any(|id| *id != SAME && !old.contains(id)) {
        return Err(Errno::PERM);
    }
    for (id, new) in ids.iter_mut().zip(new) {
        if new != SAME {
            *id = new;
        }
    }
    Ok(())
}

/// The threads that have become somebody else.
#[derive(Debug, Default)]
pub(crate) struct Switched(HashMap<u32, (u64, Credentials)>);

/// What /proc tells of a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Thread {
    /// When it began: numbers are given anew, times are not.
    pub(crate) began: u64,
    /// Whom it has its ids from: of a thread its process, of a process its parent.
    pub(crate) from: u32,
}

/// More ancestors than any step has; a loop in what /proc tells while processes end would be longer.
const MOST_ANCESTORS: usize = 64;

impl Switched {
    /// Whether nobody is anybody else.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The ids of a thread: its own, or those of the nearest ancestor that has any. Nothing if none has.
    pub(crate) fn find(&self, thread: u32, look: impl Fn(u32) -> Option<Thread>) -> Option<Credentials> {
        let mut at = thread;
        for _ in 0..MOST_ANCESTORS {
            let found = look(at)?;
            match self.0.get(&at) {
                Some((began, credentials)) if *began == found.began => return Some(credentials.clone()),
                _ if found.from == 0 || found.from == at => return None,
                _ => at = found.from,
            }
        }
        None
    }

    /// Remembers the ids of a thread.
    pub(crate) fn set(&mut self, thread: u32, began: u64, credentials: Credentials) {
        self.0.insert(thread, (began, credentials));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_gives_its_ids_up_for_good_as_the_kernel_has_it() {
        let mut apt = Credentials::default();
        for switch in [
            Switch::Others(vec![65534]),
            Switch::Groups([65534; 3]),
            Switch::Users([42; 3]),
        ] {
            apt.switch(switch).unwrap();
        }
        assert_eq!((apt.users, apt.groups), ([42; 3], [65534; 3]));
        assert_eq!(apt.switch(Switch::User(0)), Err(Errno::PERM));
        assert_eq!(apt.switch(Switch::Users([SAME, 0, SAME])), Err(Errno::PERM));
        assert_eq!(apt.switch(Switch::Others(vec![])), Err(Errno::PERM));
        assert_eq!(apt.switch(Switch::User(42)), Ok(()));
    }

    #[test]
    fn who_keeps_a_saved_id_comes_back() {
        let mut daemon = Credentials::default();
        daemon.switch(Switch::Users([SAME, 33, SAME])).unwrap();
        assert_eq!(daemon.users, [0, 33, 0]);
        daemon.switch(Switch::User(0)).unwrap();
        assert_eq!(daemon.users, [0, 0, 0]);
        daemon.switch(Switch::RealUser(33, 33)).unwrap();
        assert_eq!(daemon.users, [33, 33, 33]);
        assert_eq!(daemon.switch(Switch::RealUser(SAME, 0)), Err(Errno::PERM));
        let mut swapped = Credentials {
            users: [5, 6, 6],
            ..Credentials::default()
        };
        swapped.switch(Switch::RealUser(6, 5)).unwrap();
        assert_eq!(swapped.users, [6, 5, 5]);
        assert_eq!(swapped.switch(Switch::User(SAME)), Err(Errno::INVAL));
    }

    #[test]
    fn children_have_what_their_parents_have_and_recycled_numbers_nothing() {
        let mut switched = Switched::default();
        let them = Credentials {
            users: [7; 3],
            ..Credentials::default()
        };
        switched.set(10, 100, them.clone());
        let look = |began| {
            move |thread| match thread {
                10 => Some(Thread { began, from: 1 }),
                11 => Some(Thread { began: 101, from: 10 }),
                1 => Some(Thread { began: 1, from: 0 }),
                _ => None,
            }
        };
        assert_eq!(switched.find(11, look(100)), Some(them));
        assert_eq!(switched.find(11, look(200)), None);
        assert_eq!(switched.find(12, look(100)), None);
    }
}
