//! How many owners this thread has looked at: so that tests see a walk over a zone where there should be none.

use std::cell::Cell;

thread_local! {
    static VISITS: Cell<usize> = const { Cell::new(0) };
}

/// Counts looks at owners.
pub(super) fn count(owners: usize) {
    VISITS.set(VISITS.get() + owners);
}

/// Does some work, on this thread alone, and says how often it has looked at an owner or copied one.
pub(crate) fn of<T: Send>(work: impl FnOnce() -> T + Send) -> (T, usize) {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a thread");
    // What the work hands to other threads stays on the one that counts.
    pool.install(|| {
        VISITS.set(0);
        let done = work();
        (done, VISITS.get())
    })
}
