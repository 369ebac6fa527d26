//! Threads that move blobs while their caller goes on.

use std::collections::BTreeMap;
use std::fmt;
use std::panic;
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
    jobs: Sender<Job<T>>,
    queue: Arc<Mutex<Receiver<Job<T>>>>,
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
            jobs,
            queue: Arc::new(Mutex::new(queue)),
            threads: Vec::new(),
        }
    }

    /// Hands in a job and returns at once.
    pub fn submit(&mut self, work: impl FnOnce() -> T + Send + 'static) {
        let job = Job {
            place: self.submitted,
            work: Box::new(work),
        };
        self.submitted += 1;
        // The queue cannot be closed: this crew holds its other end.
        let sent = self.jobs.send(job);
        debug_assert!(sent.is_ok(), "the queue is open");
        if self.threads.len() < self.limit.min(self.submitted) {
            let queue = Arc::clone(&self.queue);
            self.threads.push(thread::spawn(move || work_on(&queue)));
        }
    }

    /// Waits for all jobs; their results, in the order the jobs were handed in.
    pub fn finish(self) -> Vec<T> {
        drop(self.jobs);
        let mut results = BTreeMap::new();
        for thread in self.threads {
            match thread.join() {
                Ok(done) => results.extend(done),
                Err(cause) => panic::resume_unwind(cause),
            }
        }
        results.into_values().collect()
    }
}

fn work_on<T>(queue: &Mutex<Receiver<Job<T>>>) -> Vec<(usize, T)> {
    let mut done = Vec::new();
    loop {
        // The lock is held while waiting for a job and released before the work begins.
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        match job {
            Ok(Job { place, work }) => done.push((place, work())),
            Err(mpsc::RecvError) => return done,
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
}
