//! Threads that move blobs while their caller goes on.

use std::collections::BTreeMap;
use std::fmt;
use std::mem;
use std::panic;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

/// A few threads that work on jobs in the order given.
///
/// Threads start when there is work for them. Dropping a crew without [`Crew::finish`] gives up the jobs that
/// have not begun; those that have end on their own.
pub struct Crew<T> {
    limit: usize,
    submitted: usize,
    /// Nothing once the crew is finished.
    jobs: Option<Sender<Job<T>>>,
    queue: Arc<Mutex<Receiver<Job<T>>>>,
    given_up: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Vec<(usize, T)>>>,
}

struct Job<T> {
    place: usize,
    work: Box<dyn FnOnce() -> T + Send>,
}

impl<T: Send + 'static> Crew<T> {
    /// A crew of at most `limit` threads.
    pub fn new(limit: usize) -> Self {
        let (jobs, queue) = mpsc::channel();
        Self {
            limit: limit.max(1),
            submitted: 0,
            jobs: Some(jobs),
            queue: Arc::new(Mutex::new(queue)),
            given_up: Arc::default(),
            threads: Vec::new(),
        }
    }

    /// Hands in a job and returns at once.
    pub fn submit(&mut self, work: impl FnOnce() -> T + Send + 'static) {
        let job = Job {
            place: self.submitted,
            work: Box::new(work),
        };
        // The queue is open: this crew holds both ends of it.
        if self.jobs.as_ref().is_some_and(|jobs| jobs.send(job).is_ok()) {
            self.submitted += 1;
        }
        if self.threads.len() < self.limit.min(self.submitted) {
            let (queue, given_up) = (Arc::clone(&self.queue), Arc::clone(&self.given_up));
            self.threads
                .push(thread::spawn(move || work_on(&queue, &given_up)));
        }
    }

    /// Waits for all jobs; their results, in the order the jobs were handed in.
    pub fn finish(mut self) -> Vec<T> {
        self.jobs = None;
        let mut results = BTreeMap::new();
        for thread in mem::take(&mut self.threads) {
            match thread.join() {
                Ok(done) => results.extend(done),
                Err(cause) => panic::resume_unwind(cause),
            }
        }
        results.into_values().collect()
    }
}

impl<T> Drop for Crew<T> {
    fn drop(&mut self) {
        self.given_up.store(true, Ordering::Relaxed);
    }
}

fn work_on<T>(queue: &Mutex<Receiver<Job<T>>>, given_up: &AtomicBool) -> Vec<(usize, T)> {
    let mut done = Vec::new();
    loop {
        // The lock is held while waiting for a job and released before the work begins.
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        match job {
            Ok(Job { place, work }) if !given_up.load(Ordering::Relaxed) => done.push((place, work())),
            _ => return done,
        }
    }
}

impl<T> fmt::Debug for Crew<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Crew")
            .field("submitted", &self.submitted)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_the_order_of_the_jobs() {
        for threads in [1, 3] {
            let mut crew = Crew::new(threads);
            for number in 0..50 {
                crew.submit(move || {
                    if number % 7 == 0 {
                        thread::yield_now();
                    }
                    number
                });
            }
            assert_eq!(crew.finish(), (0..50).collect::<Vec<_>>());
        }
        assert_eq!(Crew::<()>::new(2).finish(), []);
    }

    #[test]
    fn a_crew_that_is_dropped_begins_nothing_more() {
        let mut crew = Crew::new(1);
        let (begun, has_begun) = mpsc::channel();
        let (go_on, may_go_on) = mpsc::channel::<()>();
        let (second, ran) = mpsc::channel::<()>();
        crew.submit(move || {
            begun.send(()).unwrap();
            may_go_on.recv().unwrap();
        });
        crew.submit(move || second.send(()).unwrap());
        has_begun.recv().unwrap();
        drop(crew);
        go_on.send(()).unwrap();
        assert_eq!(ran.recv(), Err(mpsc::RecvError), "the job was dropped unused");
    }
}
