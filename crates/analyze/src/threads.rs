//! Threads that share the work of an analysis.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Returns the number of threads of an analysis, which is the number of processors.
pub(crate) fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Calls `work` for each item, on as many threads as there are processors. Each thread accumulates a result of its own.
pub(crate) fn fold<T: Sync, R: Send + Default>(items: &[T], work: impl Fn(&T, &mut R) + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let run = || {
        let mut result = R::default();
        while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
            work(item, &mut result);
        }
        result
    };
    std::thread::scope(|scope| {
        // This thread takes part, so that the work gets done even if no other thread can be started.
        let others = 1..threads().min(items.len());
        let threads: Vec<_> = others.filter_map(|_| worker().spawn_scoped(scope, run).ok()).collect();
        let mine = run();
        // The panic of a thread has been printed, and ends the process.
        std::iter::once(mine).chain(threads.into_iter().filter_map(|thread| thread.join().ok())).collect()
    })
}

/// Returns the builder of a named analysis thread.
pub(crate) fn worker() -> std::thread::Builder {
    std::thread::Builder::new().name("analysis".to_owned())
}
