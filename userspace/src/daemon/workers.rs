//! A bounded number of threads that work on zones, those for large zones apart: however many large zones there are to be
//! read, signed and verified, small ones have threads of their own.
//!
//! | lane | threads | what signing and verifying run on |
//! |---|---|---|
//! | small zones | one for each core | the thread itself |
//! | large zones | one, and more on a machine with many cores | all cores |
//! | large zones that are verified while they are served | one | half of the cores |
//!
//! Work that was queued is begun in the order of its deadlines. A thread is started when there is work for it, and ends
//! when there is none. One that waits for the disk stands aside ([`Workers::aside`]): another one works in its place, and
//! what both wait for is one commit of the file system.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Condvar;

use super::locks::{Lock, Rank};

/// Cores for each thread that works on large zones.
const CORES_PER_LARGE: usize = 4;

/// Threads of a lane that stand aside at most.
///
/// A thousand small zones changed at once, each with a journal of its own on ext4, on two cores: with two threads in all
/// 2.5 s, with eight 0.3 s.
const MOST_ASIDE: usize = 16;

thread_local! {
    /// Of which lane this thread is.
    static LANE: Cell<Option<LaneKind>> = const { Cell::new(None) };
}

/// Something to be done.
pub type Job = Box<dyn FnOnce() + Send>;

/// Whose threads do it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LaneKind {
    /// Those for small zones.
    Small,
    /// Those for large zones.
    Large,
    /// The one that looks at large zones, which may take minutes: changes of others need not wait for it.
    Background,
}

/// The threads, and what waits for them. Clones share them.
#[derive(Clone)]
pub struct Workers(Arc<[Lane; 3]>);

struct Lane {
    kind: LaneKind,
    most: usize,
    queue: Lock<Queue>,
    /// Told when something is begun.
    has_begun: Condvar,
}

#[derive(Default)]
struct Queue {
    /// By deadline, and in the order in which it came.
    jobs: BTreeMap<(Instant, u64), Job>,
    count: u64,
    threads: usize,
    /// Those of them that wait for the disk.
    aside: usize,
}

impl Queue {
    /// Notes one more thread, if there is work for it and no more than `most` work. Whoever is told so starts it.
    fn is_short_of_threads(&mut self, most: usize) -> bool {
        let is_short = !self.jobs.is_empty() && self.threads - self.aside < most;
        self.threads += usize::from(is_short);
        is_short
    }
}

impl Workers {
    /// As many as this machine's cores can keep busy.
    pub fn new() -> Workers {
        Workers::of(cores(), (cores() / CORES_PER_LARGE).max(1))
    }

    fn of(small: usize, large: usize) -> Workers {
        let lane = |kind, most| {
            let queue = Lock::new(Rank::Queue, Queue::default());
            Lane { kind, most, queue, has_begun: Condvar::new() }
        };
        Workers(Arc::new([
            lane(LaneKind::Small, small),
            lane(LaneKind::Large, large),
            lane(LaneKind::Background, 1),
        ]))
    }

    /// Has something done, those first whose deadlines are first. Never waits.
    pub fn submit(&self, kind: LaneKind, deadline: Instant, job: Job) {
        let lane = self.lane(kind);
        let is_short_of_threads = {
            let mut queue = lane.queue.hold();
            queue.count += 1;
            let key = (deadline, queue.count);
            queue.jobs.insert(key, job);
            queue.is_short_of_threads(lane.most)
        };
        if is_short_of_threads {
            self.start_thread(kind);
        }
    }

    /// Does something that waits for the disk, while another thread works in the place of this one if this is one for small
    /// zones. Others do their own work as if this were not there.
    pub fn aside<T>(&self, wait: impl FnOnce() -> T) -> T {
        if LANE.get() != Some(LaneKind::Small) {
            return wait();
        }
        let lane = self.lane(LaneKind::Small);
        let is_short_of_threads = {
            let mut queue = lane.queue.hold();
            if queue.aside >= MOST_ASIDE {
                drop(queue);
                return wait();
            }
            queue.aside += 1;
            queue.is_short_of_threads(lane.most)
        };
        let _back = Aside(lane);
        if is_short_of_threads {
            self.start_thread(LaneKind::Small);
        }
        wait()
    }

    fn lane(&self, kind: LaneKind) -> &Lane {
        match kind {
            LaneKind::Small => &self.0[0],
            LaneKind::Large => &self.0[1],
            LaneKind::Background => &self.0[2],
        }
    }

    fn start_thread(&self, kind: LaneKind) {
        let workers = self.clone();
        let work = move || workers.lane(kind).work();
        let started = match kind {
            // A pool of this one thread: signing and verifying run in it, and wait for no large zone's.
            LaneKind::Small => spawn_in_pool(1, work),
            LaneKind::Background => spawn_in_pool((cores() / 2).max(1), work),
            LaneKind::Large => thread::Builder::new()
                .name("large zones".to_owned())
                .spawn(work)
                .map(drop)
                .map_err(|error| error.to_string()),
        };
        if let Err(error) = started {
            // Others do it, or one that is started later.
            tracing::error!("a thread for zones cannot be started: {error}");
            self.lane(kind).queue.hold().threads -= 1;
        }
    }

    /// Starts threads that could not be had when there was work for them.
    pub fn catch_up(&self) {
        for kind in [LaneKind::Small, LaneKind::Large, LaneKind::Background] {
            let is_stuck = {
                let mut queue = self.lane(kind).queue.hold();
                let is_stuck = queue.threads == 0 && !queue.jobs.is_empty();
                queue.threads += usize::from(is_stuck);
                is_stuck
            };
            if is_stuck {
                self.start_thread(kind);
            }
        }
    }

    /// Waits until all work for small zones is begun that has an earlier deadline, no longer than `patience`.
    pub fn let_small_ones_pass(&self, before: Instant, patience: Duration) {
        let lane = self.lane(LaneKind::Small);
        let end = Instant::now() + patience;
        let mut queue = lane.queue.hold();
        while queue.jobs.first_key_value().is_some_and(|((deadline, _), _)| *deadline < before) {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            queue.wait_for(&lane.has_begun, left);
        }
    }
}

/// Starts a pool of so many threads for this work; they end with it.
fn spawn_in_pool(threads: usize, work: impl FnOnce() + Send + 'static) -> Result<(), String> {
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .thread_name(|_| "zones".to_owned())
        .build();
    pool.map(|pool| pool.spawn(work)).map_err(|error| error.to_string())
}

fn cores() -> usize {
    thread::available_parallelism().map_or(1, |cores| cores.get())
}

/// A thread that stands aside until this is dropped, whatever ends the wait.
struct Aside<'a>(&'a Lane);

impl Drop for Aside<'_> {
    fn drop(&mut self) {
        self.0.queue.hold().aside -= 1;
    }
}

impl Lane {
    /// Does what there is to be done until nothing is left, or those that stood aside are back.
    fn work(&self) {
        LANE.set(Some(self.kind));
        loop {
            let job = {
                let mut queue = self.queue.hold();
                let is_one_too_many = queue.threads - queue.aside > self.most;
                let next = if is_one_too_many { None } else { queue.jobs.pop_first() };
                match next {
                    Some((_, job)) => {
                        self.has_begun.notify_all();
                        job
                    }
                    None => {
                        queue.threads -= 1;
                        return;
                    }
                }
            };
            // What it panics of was said where it happened.
            if catch_unwind(AssertUnwindSafe(job)).is_err() {
                tracing::error!("work on {:?} zones was not finished", self.kind);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    use std::sync::{Barrier, mpsc};

    #[test]
    fn large_zones_leave_the_threads_of_small_ones_alone() {
        let workers = Workers::of(2, 1);
        let (open, gate) = mpsc::channel::<()>();
        let (done, ended) = mpsc::channel();
        let gate = Arc::new(std::sync::Mutex::new(gate));
        // Large ones that stand.
        for _ in 0..10 {
            let (gate, done) = (Arc::clone(&gate), done.clone());
            let stand = move || {
                let _ = gate.lock().map(|gate| gate.recv());
                done.send("large").unwrap();
            };
            workers.submit(LaneKind::Large, Instant::now(), Box::new(stand));
        }
        for _ in 0..1000 {
            let done = done.clone();
            let job = move || done.send("small").unwrap();
            workers.submit(LaneKind::Small, Instant::now(), Box::new(job));
        }
        assert!((0..1000).all(|_| ended.recv() == Ok("small")));
        drop(open);
        assert!((0..10).all(|_| ended.recv() == Ok("large")));
    }

    #[test]
    fn there_are_never_more_threads_than_meant_and_a_panic_takes_none() {
        let workers = Workers::of(3, 1);
        let (at_work, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        // Three at once: who comes alone would wait for ever.
        let barrier = Arc::new(Barrier::new(3));
        let (done, ended) = mpsc::channel();
        for number in 0..300 {
            let (at_work, most) = (Arc::clone(&at_work), Arc::clone(&most));
            let (barrier, done) = (Arc::clone(&barrier), done.clone());
            let job = move || {
                let now = at_work.fetch_add(1, SeqCst) + 1;
                most.fetch_max(now, SeqCst);
                barrier.wait();
                at_work.fetch_sub(1, SeqCst);
                done.send(()).unwrap();
                assert_ne!(number % 7, 0, "injected");
            };
            workers.submit(LaneKind::Small, Instant::now(), Box::new(job));
        }
        (0..300).for_each(|_| ended.recv().unwrap());
        assert_eq!(most.load(SeqCst), 3);
    }

    /// One thread for small zones, which stands until what opens its gate is dropped, and since when.
    fn held_up() -> (Workers, mpsc::Sender<()>, Instant) {
        let workers = Workers::of(1, 1);
        let (open, gate) = mpsc::channel::<()>();
        let start = Instant::now();
        let first = move || {
            let _ = gate.recv();
        };
        workers.submit(LaneKind::Small, start, Box::new(first));
        (workers, open, start)
    }

    #[test]
    fn who_lets_small_ones_pass_waits_for_those_before_a_deadline() {
        let (workers, open, start) = held_up();
        let (done, ended) = mpsc::channel();
        for number in [1u64, 2, 100] {
            let done = done.clone();
            let job = move || done.send(number).unwrap();
            workers.submit(LaneKind::Small, start + Duration::from_secs(number), Box::new(job));
        }
        let (hour, other) = (Duration::from_secs(3600), workers.clone());
        let waiting =
            thread::spawn(move || other.let_small_ones_pass(start + Duration::from_secs(5), hour));
        // Patience ends, too.
        workers.let_small_ones_pass(start + Duration::from_secs(5), Duration::ZERO);
        assert!(!waiting.is_finished());
        drop(open);
        waiting.join().unwrap();
        drop(done);
        assert_eq!(ended.iter().collect::<Vec<_>>(), [1, 2, 100]);
    }

    /// One that waits for what another one does, on the only thread.
    #[test]
    fn who_stands_aside_holds_up_nobody() {
        let workers = Workers::of(1, 1);
        let (open, gate) = mpsc::channel();
        let (done, ended) = mpsc::channel();
        let (other, first) = (workers.clone(), done.clone());
        let wait = move || {
            other.aside(|| gate.recv()).unwrap();
            first.send("waited").unwrap();
        };
        let go = move || {
            done.send("went").unwrap();
            open.send(()).unwrap();
        };
        let start = Instant::now();
        workers.submit(LaneKind::Small, start, Box::new(wait));
        workers.submit(LaneKind::Small, start, Box::new(go));
        assert_eq!(ended.iter().collect::<Vec<_>>(), ["went", "waited"]);
    }

    #[test]
    fn no_more_stand_aside_than_meant_and_those_that_come_back_are_not_too_many() {
        let workers = Workers::of(2, 1);
        let (asides, at_work) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let most = [Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0))];
        let (done, ended) = mpsc::channel();
        for number in 0..500 {
            let (workers_of_job, done, most) = (workers.clone(), done.clone(), most.clone());
            let (asides, at_work) = (Arc::clone(&asides), Arc::clone(&at_work));
            let job = move || {
                let now = at_work.fetch_add(1, SeqCst) + 1;
                most[0].fetch_max(now, SeqCst);
                workers_of_job.aside(|| {
                    at_work.fetch_sub(1, SeqCst);
                    most[1].fetch_max(asides.fetch_add(1, SeqCst) + 1, SeqCst);
                    thread::sleep(Duration::from_micros(500));
                    asides.fetch_sub(1, SeqCst);
                });
                done.send(number).unwrap();
            };
            workers.submit(LaneKind::Small, Instant::now(), Box::new(job));
        }
        drop(done);
        assert_eq!(ended.iter().count(), 500);
        let [at_work, asides] = most.map(|most| most.load(SeqCst));
        // Beside those that work there are those that have come back, or are about to wait.
        assert!(at_work <= 2 + MOST_ASIDE, "{at_work}");
        assert!(asides > 2 && asides <= 2 + MOST_ASIDE, "{asides}");
        let lane = workers.lane(LaneKind::Small);
        while lane.queue.hold().threads > 0 {
            thread::yield_now();
        }
        assert_eq!(lane.queue.hold().aside, 0);
    }

    #[test]
    fn what_is_wanted_sooner_is_done_sooner() {
        let (workers, open, start) = held_up();
        let (done, ended) = mpsc::channel();
        for number in [5u64, 3, 9, 3, 1, 7] {
            let done = done.clone();
            let job = move || done.send(number).unwrap();
            workers.submit(LaneKind::Small, start + Duration::from_secs(number), Box::new(job));
        }
        drop((open, done));
        assert_eq!(ended.iter().collect::<Vec<_>>(), [1, 3, 3, 5, 7, 9]);
    }
}
