//! Independent work on a bounded number of threads.

use std::panic;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// How many processors this process may use.
pub(crate) fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// How many scripts or archives are worked on at the same time: they wait for files and other processes, so it
/// pays to have a few more than cores.
pub(crate) fn limit() -> usize {
    cores().min(16) + 2
}

/// Does `work` for every item and gives the results in the order of the items.
pub(crate) fn for_each<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let next_item = || {
        let at = next.fetch_add(1, Ordering::Relaxed);
        items.get(at).map(|item| (at, item))
    };
    let work_on = || {
        let mut done = Vec::new();
        while let Some((at, item)) = next_item() {
            done.push((at, work(item)));
        }
        done
    };
    let mut results = thread::scope(|scope| {
        let threads: Vec<_> = (0..limit().min(items.len()))
            .map(|_| scope.spawn(work_on))
            .collect();
        let join = |thread: thread::ScopedJoinHandle<'_, Vec<(usize, R)>>| {
            thread.join().unwrap_or_else(|cause| panic::resume_unwind(cause))
        };
        threads.into_iter().flat_map(join).collect::<Vec<_>>()
    });
    results.sort_by_key(|(at, _)| *at);
    results.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn results_are_in_the_order_of_the_items() {
        let items: Vec<u32> = (0..100).collect();
        assert_eq!(
            super::for_each(&items, |item| item * 2),
            items.iter().map(|item| item * 2).collect::<Vec<_>>()
        );
        assert!(super::for_each(&[], |item: &u32| *item).is_empty());
    }
}
