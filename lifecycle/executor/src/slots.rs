//! How many commands run at the same time, and how all of them are ended.

use std::num::NonZero;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lifecycle_sandbox::Remote;

use crate::options::Cancellation;

/// How long a cancelled build may take to notice.
const GLANCE: Duration = Duration::from_millis(50);

/// Room for commands.
#[derive(Debug)]
pub(crate) struct Slots {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    free: usize,
    running: Vec<(u64, Remote)>,
    next: u64,
    /// Nothing may begin any more.
    stopped: bool,
    /// The build is over.
    over: bool,
}

/// A command's place.
#[derive(Debug)]
pub(crate) struct Slot<'a> {
    slots: &'a Slots,
    number: u64,
}

impl Slots {
    pub(crate) fn new(count: NonZero<usize>) -> Self {
        Self {
            state: Mutex::new(State {
                free: count.get(),
                running: Vec::new(),
                next: 0,
                stopped: false,
                over: false,
            }),
            changed: Condvar::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a place; nothing when the build was stopped.
    pub(crate) fn take(&self) -> Option<Slot<'_>> {
        let mut state = self.state();
        loop {
            if state.stopped {
                return None;
            }
            if state.free > 0 {
                state.free -= 1;
                state.next += 1;
                return Some(Slot {
                    slots: self,
                    number: state.next,
                });
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Ends every command, and lets no other begin.
    pub(crate) fn stop(&self) {
        let mut state = self.state();
        state.stopped = true;
        for (_, remote) in &state.running {
            // One that ended by itself needs no end.
            drop(remote.kill());
        }
        drop(state);
        self.changed.notify_all();
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.state().stopped
    }

    /// Stops when the build is cancelled; returns when it is over.
    pub(crate) fn watch(&self, cancellation: &Cancellation) {
        let _attended = cancellation.attend();
        loop {
            let state = self.state();
            if state.over {
                return;
            }
            let waited = self.changed.wait_timeout(state, GLANCE);
            drop(waited);
            if cancellation.is_cancelled() && !self.is_stopped() {
                self.stop();
            }
        }
    }

    pub(crate) fn close(&self) {
        self.state().over = true;
        self.changed.notify_all();
    }
}

impl Slot<'_> {
    /// The command that runs here, so that it can be ended.
    pub(crate) fn occupy(&self, remote: Remote) {
        let mut state = self.slots.state();
        if state.stopped {
            drop(remote.kill());
        }
        state.running.push((self.number, remote));
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        let mut state = self.slots.state();
        state.free += 1;
        state.running.retain(|(number, _)| *number != self.number);
        drop(state);
        self.slots.changed.notify_all();
    }
}
