//! Ends a step when the build is asked to stop.

use std::convert::Infallible;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use lifecycle_phases::Cancellation;
use lifecycle_sandbox::Remote;
use rustix::process::Signal;

/// How often it is looked whether somebody asked to stop.
const TICK: Duration = Duration::from_millis(100);
/// How long a step may take to end by itself.
const GRACE: Duration = Duration::from_secs(5);

/// Hands a request to stop on to the step: first a SIGTERM, and when that did not help the end of every process.
/// Returns as soon as nobody holds the other end of `ended` any more.
pub(super) fn forward(cancellation: &Cancellation, step: &Remote, ended: &Receiver<Infallible>) {
    let mut asked: Option<Instant> = None;
    loop {
        match asked {
            None if cancellation.is_cancelled() => {
                // A step that has just ended cannot be signalled, and need not be.
                drop(step.signal(Signal::TERM.as_raw()));
                asked = Some(Instant::now());
            }
            Some(since) if since.elapsed() > GRACE => drop(step.kill()),
            _ => {}
        }
        if ended.recv_timeout(TICK) != Err(RecvTimeoutError::Timeout) {
            return;
        }
    }
}
