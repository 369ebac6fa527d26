//! What the user wishes of the builds of one command.

use std::io::{IsTerminal, Write};
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use lifecycle_kubernetes::{Control, Outcome, Wish};
use signal_hook::consts::SIGINT;

use crate::arguments::OnInterrupt;
use crate::console::Console;
use crate::failure::Failure;
use crate::session::Session;

/// How far a command is with its builds. It says what a signal can mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    /// None is submitted: there is nothing to detach from.
    Preparing,
    /// Some are, and lack something that this command has yet to give them.
    Submitting,
    /// They have all they need.
    UnderWay,
    /// All have ended. What is left is done here, and there is nothing to detach from any more.
    Gathering,
}

/// How long something that others carry out may take to come to its end after a wish to cancel, so that it is known and can
/// be undone.
const LAST_REQUESTS: Duration = Duration::from_secs(10);

/// Hears every signal from when it is made until the process ends: one that comes while it is ending has nothing more to
/// end. A wish is kept until somebody looks.
pub(super) struct Wishes(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    /// Something about the state has changed.
    changed: Condvar,
    /// Tells whoever follows a build.
    control: Control,
    /// What is wished without being asked.
    given: Option<OnInterrupt>,
    console: Console,
}

struct State {
    stage: Stage,
    /// The user has been asked, and has not answered.
    is_asked: bool,
    /// The signal that cancelled, or was to be answered by it.
    signal: i32,
    is_cancelled: bool,
}

impl Wishes {
    /// Listens from now on.
    pub(super) fn listen(given: Option<OnInterrupt>, stage: Stage, session: &Session) -> Self {
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                stage,
                is_asked: false,
                signal: SIGINT,
                is_cancelled: false,
            }),
            changed: Condvar::new(),
            control: Control::default(),
            given,
            console: session.console.clone(),
        });
        let told = session.interruption.always({
            let shared = Arc::clone(&shared);
            move |signal| {
                shared.hear(signal);
                true
            }
        });
        std::mem::forget(told);
        Self(shared)
    }

    /// For whoever follows a build.
    pub(super) fn control(&self) -> &Control {
        &self.0.control
    }

    /// From now on signals mean something else.
    pub(super) fn reach(&self, stage: Stage) {
        self.0.state().stage = stage;
    }

    pub(super) fn stage(&self) -> Stage {
        self.0.state().stage
    }

    pub(super) fn is_cancelled(&self) -> bool {
        self.0.state().is_cancelled
    }

    /// An error, once the user has cancelled.
    pub(super) fn check(&self) -> Result<(), Failure> {
        if self.is_cancelled() {
            return Err(self.cancelled());
        }
        Ok(())
    }

    /// What a cancelled command ends with.
    fn cancelled(&self) -> Failure {
        let state = self.0.state();
        if state.stage == Stage::Preparing {
            let code = u8::try_from(128 + state.signal).unwrap_or(u8::MAX);
            return Failure::new("stopped", "stopped before anything was submitted").with_code(code);
        }
        Failure::new("build", "the build was cancelled").with_code(Outcome::Cancelled.exit_code())
    }

    /// Does what nobody misses when it is left where it is: a wish to cancel does not wait for it.
    pub(super) fn leaving<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        self.check()?;
        let done = self.within(Duration::ZERO, work);
        self.check()?;
        done.unwrap_or_else(|| Err(self.cancelled()))
    }

    /// Does what is to be undone if the user cancels meanwhile. It is waited for, for a while.
    pub(super) fn finishing<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        self.check()?;
        self.within(LAST_REQUESTS, work)
            .unwrap_or_else(|| Err(self.cancelled()))
    }

    /// Does work on a thread of its own, and leaves it there when it takes longer than `patience` after a wish to cancel.
    /// The process ends soon after that, and the thread with it.
    pub(super) fn within<T: Send + 'static>(
        &self,
        patience: Duration,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let is_done = Arc::new(AtomicBool::new(false));
        let working = Working {
            is_done: Arc::clone(&is_done),
            shared: Arc::clone(&self.0),
        };
        let is_working = || !is_done.load(Ordering::Relaxed);
        let worker = thread::spawn(move || {
            // Dropped at the end, however that comes.
            let _working = working;
            work()
        });
        let changed = &self.0.changed;
        let state = changed
            .wait_while(self.0.state(), |state| is_working() && !state.is_cancelled)
            .unwrap_or_else(PoisonError::into_inner);
        let (state, _) = changed
            .wait_timeout_while(state, patience, |_| is_working())
            .unwrap_or_else(PoisonError::into_inner);
        drop(state);
        if is_working() {
            return None;
        }
        Some(worker.join().unwrap_or_else(|panic| resume_unwind(panic)))
    }
}

/// Says when work is done.
struct Working {
    is_done: Arc<AtomicBool>,
    shared: Arc<Shared>,
}

impl Drop for Working {
    fn drop(&mut self) {
        // Under the lock, so that nobody who has just looked begins to wait.
        let _state = self.shared.state();
        self.is_done.store(true, Ordering::Relaxed);
        self.shared.changed.notify_all();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first Ctrl-C asks, on a terminal and where there are two answers; the second cancels (JC-24).
    fn hear(self: &Arc<Self>, signal: i32) {
        let mut state = self.state();
        let is_second = std::mem::replace(&mut state.is_asked, true);
        state.signal = signal;
        let can_detach = !is_second && matches!(state.stage, Stage::Submitting | Stage::UnderWay);
        drop(state);
        let is_terminal = || std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
        match self.given {
            Some(OnInterrupt::Detach) if can_detach => self.detach(),
            None if can_detach && signal == SIGINT && is_terminal() => self.ask(),
            _ => self.cancel(),
        }
    }

    fn ask(self: &Arc<Self>) {
        self.console.clear();
        // What cannot be written to a terminal that has gone is of no use to anybody.
        drop(write!(
            std::io::stderr(),
            "[d]etach and let the build run, or [c]ancel it? Ctrl-C cancels. "
        ));
        let shared = Arc::clone(self);
        // The answer is read elsewhere, so that a second Ctrl-C is heard meanwhile.
        thread::spawn(move || {
            let mut answer = String::new();
            let read = std::io::stdin().read_line(&mut answer);
            match (read, answer.trim()) {
                (Ok(1..), "d" | "detach") => shared.detach(),
                (Ok(1..), "c" | "cancel") => shared.cancel(),
                _ => {
                    shared.state().is_asked = false;
                    shared.console.info("the build goes on; Ctrl-C asks again");
                }
            }
        });
    }

    fn detach(&self) {
        if self.state().stage == Stage::Submitting {
            self.console
                .info("detaching as soon as the build has all it needs");
        }
        self.control.wish(Wish::Detach);
    }

    fn cancel(&self) {
        self.console.clear();
        self.console.warning("stopping, and removing what was begun");
        self.state().is_cancelled = true;
        self.control.wish(Wish::Cancel);
        self.changed.notify_all();
    }
}
