//! Ctrl-C and its relatives.
//!
//! Work that runs commands says how they are told ([`Interruption::during`]). When none runs, at the second signal, and
//! when they have not ended some seconds after the first, the process ends here, whatever it is doing: what it has open
//! under a temporary name is removed, and nothing half-written keeps a name.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use lifecycle_layers::tree;
use lifecycle_sandbox::Forwarding;
use lifecycle_store::LiveScratch;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::console::Console;

/// What is asked when somebody wants the work to end. Starts to listen, on a thread of its own, when it is first
/// used; cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Interruption(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    listening: bool,
    /// How the present work is told.
    tell: Option<Tell>,
    /// The first signal that has been passed on.
    told: Option<i32>,
    /// The process ends on the signals' thread.
    ending: bool,
    /// Directories that are removed when the process ends here.
    scratch: Vec<PathBuf>,
    /// Those of an open store.
    live: Option<LiveScratch>,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State")
            .field("listening", &self.listening)
            .field("told", &self.told)
            .finish_non_exhaustive()
    }
}

enum Tell {
    /// The first signal; the second one ends the process. Says whether the work will end by itself.
    Once(Box<dyn Fn() -> bool + Send>),
    /// Every signal: somebody else decides what they mean, and says whether they mean anything to it.
    Always(Box<dyn Fn(i32) -> bool + Send>),
}

/// While this lives, a signal is told to the work that it stands for.
#[derive(Debug)]
pub(crate) struct Told(Interruption);

impl Drop for Told {
    fn drop(&mut self) {
        self.0.state().tell = None;
        self.0.wait_if_ending();
    }
}

impl Interruption {
    /// Listens from now on. Must not be called before a namespace is entered, which wants a single thread.
    pub(crate) fn listen(&self, console: &Console) -> io::Result<()> {
        let console = console.clone();
        self.listen_saying(move |text| {
            console.clear();
            console.warning(text);
        })
    }

    /// The same, for a log that is no console.
    pub(crate) fn listen_saying(&self, say: impl Fn(&str) + Send + Sync + 'static) -> io::Result<()> {
        let mut state = self.state();
        if state.listening {
            return Ok(());
        }
        let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
        let (all, say) = (self.clone(), Arc::new(say) as Say);
        thread::Builder::new().name("signals".to_owned()).spawn(move || {
            for signal in signals.forever() {
                all.handle(signal, &say);
            }
        })?;
        state.listening = true;
        Ok(())
    }

    /// While the result lives, the first signal calls `stop`, which says whether the work will end by itself now. If not,
    /// the process ends at once.
    pub(crate) fn during(&self, stop: impl Fn() -> bool + Send + 'static) -> Told {
        self.state().tell = Some(Tell::Once(Box::new(stop)));
        Told(self.clone())
    }

    /// A flag that the first signal raises, for work that looks at it and ends by itself.
    pub(crate) fn raised_flag(&self) -> (Arc<AtomicBool>, Told) {
        let flag = Arc::new(AtomicBool::new(false));
        let told = self.during({
            let flag = Arc::clone(&flag);
            move || {
                flag.store(true, Ordering::Relaxed);
                true
            }
        });
        (flag, told)
    }

    /// While the result lives, every signal is the commands' that are started with `to`; before the first of them, it
    /// ends the process.
    pub(crate) fn forwarded(&self, to: Forwarding) -> Told {
        self.always(move |signal| to.signal(signal))
    }

    /// While the result lives, every signal is passed on by number. Where `to` says that it means nothing, the process
    /// ends.
    pub(crate) fn always(&self, to: impl Fn(i32) -> bool + Send + 'static) -> Told {
        self.state().tell = Some(Tell::Always(Box::new(to)));
        Told(self.clone())
    }

    /// A directory to remove when the process ends here.
    pub(crate) fn remove_at_end(&self, directory: &Path) {
        self.state().scratch.push(directory.to_owned());
    }

    /// The store whose unfinished work is removed when the process ends here.
    pub(crate) fn remove_live(&self, live: LiveScratch) {
        self.state().live = Some(live);
    }

    /// Removes scratch directories for a moment. Who has pressed Ctrl-C does not wait for a disk that is slow at it; the
    /// next build removes the rest.
    pub(crate) fn tidy_up(&self) {
        let (scratch, live) = {
            let state = self.state();
            (state.scratch.clone(), state.live.clone())
        };
        let (done, wait) = mpsc::channel();
        let remove = move || {
            for directory in &scratch {
                drop(tree::remove_path(directory));
            }
            if let Some(live) = live {
                live.remove_all();
            }
            // Nobody may be waiting any more.
            done.send(()).ok();
        };
        if thread::Builder::new()
            .name("tidy-up".to_owned())
            .spawn(remove)
            .is_ok()
        {
            wait.recv_timeout(MOMENT).ok();
        }
    }

    /// When the process is being ended, work fails over what is taken away from it. What is said and what code it ends
    /// with is decided elsewhere, so whoever comes here waits for that.
    pub(crate) fn wait_if_ending(&self) {
        while self.state().ending {
            thread::park();
        }
    }

    /// What the process ends with, whose work failed with a code of its own. What fails over being told to stop, in
    /// whatever way, ends as if the signal had ended it: platforms tell by that what to do again.
    pub(crate) fn code(&self, own: u8) -> u8 {
        self.wait_if_ending();
        self.state().told.map_or(own, code_of)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn handle(&self, signal: i32, say: &Say) {
        let mut state = self.state();
        match &state.tell {
            Some(Tell::Always(forward)) if forward(signal) => return,
            Some(Tell::Once(stop)) if state.told.is_none() => {
                let ends_itself = stop();
                state.told = Some(signal);
                drop(state);
                if ends_itself {
                    say("stopping; once more to stop at once");
                    return self.end_unless_done(signal, say);
                }
            }
            _ => drop(state),
        }
        self.end(signal, say);
    }

    /// A command may not end when it is told to.
    fn end_unless_done(&self, signal: i32, say: &Say) {
        let (all, later) = (self.clone(), Arc::clone(say));
        let watch = move || {
            thread::sleep(GRACE);
            if all.state().tell.is_some() {
                all.end(signal, &later);
            }
        };
        if thread::Builder::new()
            .name("grace".to_owned())
            .spawn(watch)
            .is_err()
        {
            self.end(signal, say);
        }
    }

    fn end(&self, signal: i32, say: &Say) {
        self.state().ending = true;
        say("stopped");
        // Afterwards nobody begins a file any more.
        self.tidy_up();
        for path in unfinished_files() {
            drop(fs::remove_file(path));
        }
        end(code_of(signal));
    }
}

/// Tells the user.
type Say = Arc<dyn Fn(&str) + Send + Sync>;

/// How long work may take to end after it was told to. Programs of a build have five seconds of it.
const GRACE: Duration = Duration::from_secs(7);

/// How long scratch directories may take to be removed.
const MOMENT: Duration = Duration::from_secs(1);

/// The main thread is in the middle of something; nothing would bring it back here.
#[expect(clippy::exit, reason = "the signal thread cannot return from main")]
fn end(code: u8) -> ! {
    std::process::exit(code.into())
}

/// As shells say it: 130 for SIGINT, 143 for SIGTERM.
fn code_of(signal: i32) -> u8 {
    u8::try_from(128 + signal).unwrap_or(u8::MAX)
}

/// The files that this process has open under a temporary name: `.tmp-…`, as everything below writes what is not
/// whole yet, in layouts, beside archives and in the store.
fn unfinished_files() -> Vec<PathBuf> {
    let Ok(descriptors) = fs::read_dir("/proc/self/fd") else {
        return Vec::new();
    };
    let path = |descriptor: io::Result<fs::DirEntry>| {
        let path = fs::read_link(descriptor.ok()?.path()).ok()?;
        let name = path.file_name()?.to_str()?;
        let is_temporary = name.starts_with(TEMPORARY) && path.is_absolute();
        // The name may have been taken by something else since.
        (is_temporary && fs::symlink_metadata(&path).is_ok_and(|found| found.is_file() && found.nlink() == 1))
            .then_some(path)
    };
    descriptors.filter_map(path).collect()
}

/// What the names of unfinished files begin with.
const TEMPORARY: &str = ".tmp-";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unfinished_files_are_those_open_under_a_temporary_name() {
        let directory = tempfile::tempdir().unwrap();
        let open = directory.path().join(".tmp-open");
        let closed = directory.path().join(".tmp-closed");
        let whole = directory.path().join("whole");
        let _open = fs::File::create(&open).unwrap();
        let _whole = fs::File::create(&whole).unwrap();
        drop(fs::File::create(&closed).unwrap());
        let found = unfinished_files();
        assert!(found.contains(&open));
        assert!(!found.contains(&closed) && !found.contains(&whole));
    }
}
