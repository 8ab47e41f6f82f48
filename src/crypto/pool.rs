//! A bounded pool of threads for work that is too slow for an async thread.
//!
//! It has two lanes, each with threads and a queue of its own: one for what takes some milliseconds at most, and one for signatures
//! that take up to a second, so that a queue of those never stands before the others. The threads of the slow lane give way to all else.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::algorithm::SignatureAlgorithm;

/// Runs blocking work (signatures, decryption, key generation) on its own threads, with a bound on how much may wait.
///
/// The threads end, after what is queued, when the last clone of the pool is dropped.
#[derive(Clone)]
pub struct CryptoPool {
    quick: LaneOfPool,
    slow: LaneOfPool,
}

/// Where in the pool work runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lane {
    /// What takes some milliseconds at most: almost everything.
    Quick,
    /// Signatures that take longer.
    Slow,
}

impl Lane {
    /// The lane for work that signs with these algorithms.
    pub fn of(signatures: impl IntoIterator<Item = SignatureAlgorithm>) -> Self {
        if signatures.into_iter().any(SignatureAlgorithm::is_slow) { Lane::Slow } else { Lane::Quick }
    }
}

/// How large one lane is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaneSize {
    /// How many threads work.
    pub threads: usize,
    /// How many jobs there may be, running ones included.
    pub queue: usize,
}

/// Why the pool gave nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PoolError {
    /// The pool has as much waiting as it may have: the answer is "come again later".
    #[error("the crypto pool is full")]
    Full,
    /// The work panicked: a fault of ours, and told in the log. The thread goes on with the next job.
    #[error("work on the crypto pool panicked")]
    Panicked,
}

impl CryptoPool {
    /// The slow lane of a pool that was told of none: for tools, which sign little.
    pub const SLOW: LaneSize = LaneSize { threads: 1, queue: 32 };

    /// Starts `threads` threads that together hold at most `queue` jobs, running ones included, and a [small](Self::SLOW) slow lane.
    pub fn start(threads: usize, queue: usize) -> Self {
        Self::start_lanes(LaneSize { threads, queue }, Self::SLOW)
    }

    /// Starts both lanes.
    pub fn start_lanes(quick: LaneSize, slow: LaneSize) -> Self {
        let quick = LaneOfPool::start("crypto", quick, || {
            // AWS-LC gathers entropy of its own at the first random octet of a process, which takes some 80 ms: now, while nobody
            // waits, rather than in the first request.
            super::provider().random::<1>();
        });
        Self { quick, slow: LaneOfPool::start("crypto-slow", slow, super::ffi::lower_thread_priority) }
    }

    /// Runs `work` in the quick lane and waits for what it gives. A full lane refuses at once.
    ///
    /// A caller that stops waiting does not stop the work.
    pub async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, PoolError> {
        self.run_in(Lane::Quick, work).await
    }

    /// The same in a lane that was chosen.
    pub async fn run_in<T: Send + 'static>(&self, lane: Lane, work: impl FnOnce() -> T + Send + 'static) -> Result<T, PoolError> {
        let lane = self.lane(lane);
        let permit = Arc::clone(&lane.slots).try_acquire_owned().map_err(|_| PoolError::Full)?;
        lane.run(permit, work).await
    }

    /// Runs `work` in the quick lane for a request that was let in before: it waits for a slot instead of being refused, so that
    /// what was begun is finished before new work starts to wait.
    pub async fn run_admitted<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, PoolError> {
        let lane = &self.quick;
        let permit = Arc::clone(&lane.slots).acquire_owned().await.map_err(|_| PoolError::Full)?;
        lane.run(permit, work).await
    }

    /// Signs for a request that was let in before: in the quick lane like [`run_admitted`](Self::run_admitted); the slow lane refuses
    /// when it is full, since a wait there has no end in sight, and such an order is asked for again later.
    pub async fn run_signature<T: Send + 'static>(
        &self,
        lane: Lane,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, PoolError> {
        match lane {
            Lane::Quick => self.run_admitted(work).await,
            Lane::Slow => self.run_in(Lane::Slow, work).await,
        }
    }

    /// How many more jobs the quick lane would take now.
    pub fn free(&self) -> usize {
        self.free_in(Lane::Quick)
    }

    /// How many more jobs a lane would take now.
    pub fn free_in(&self, lane: Lane) -> usize {
        self.lane(lane).slots.available_permits()
    }

    fn lane(&self, lane: Lane) -> &LaneOfPool {
        match lane {
            Lane::Quick => &self.quick,
            Lane::Slow => &self.slow,
        }
    }
}

/// The threads and the queue of one lane.
#[derive(Clone)]
struct LaneOfPool {
    owner: Arc<Owner>,
    slots: Arc<Semaphore>,
}

impl LaneOfPool {
    /// Starts the threads; each calls `begin` first.
    fn start(name: &str, size: LaneSize, begin: fn()) -> Self {
        let jobs = Arc::new(Queue::default());
        for number in 0..size.threads.max(1) {
            let jobs = Arc::clone(&jobs);
            std::thread::Builder::new()
                .name(format!("{name}-{number}"))
                .spawn(move || {
                    begin();
                    while let Some(job) = jobs.next() {
                        job();
                    }
                })
                .expect("the system can start a thread");
        }
        Self { owner: Arc::new(Owner(jobs)), slots: Arc::new(Semaphore::new(size.queue.max(1))) }
    }

    async fn run<T: Send + 'static>(
        &self,
        permit: OwnedSemaphorePermit,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, PoolError> {
        let (done, result) = oneshot::channel();
        let span = tracing::Span::current();
        self.owner.0.push(Box::new(move || {
            let value = span.in_scope(|| {
                catch_unwind(AssertUnwindSafe(work)).map_err(|_| {
                    // The panic hook has told where and why; this says in which request.
                    tracing::error!("Work on the crypto pool panicked.");
                    PoolError::Panicked
                })
            });
            // The slot is held while the job waits and runs, and free before the caller can ask for the next.
            drop(permit);
            let _ = done.send(value);
        }));
        // The sender always sends; it could only be dropped by a panic in a `Drop` of the work itself.
        result.await.unwrap_or(Err(PoolError::Panicked))
    }
}

type Job = Box<dyn FnOnce() + Send>;

/// Closes the queue when the last clone of the pool goes.
struct Owner(Arc<Queue>);

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Jobs in the order in which they came. The lock is held for a push or a pop and never while anybody waits or works.
#[derive(Default)]
struct Queue {
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    closed: bool,
}

impl Queue {
    fn push(&self, job: Job) {
        self.lock().jobs.push_back(job);
        self.wake.notify_one();
    }

    /// The next job, or `None` once the queue is closed and empty.
    fn next(&self) -> Option<Job> {
        let mut state = self
            .wake
            .wait_while(self.lock(), |state| state.jobs.is_empty() && !state.closed)
            .unwrap_or_else(PoisonError::into_inner);
        state.jobs.pop_front()
    }

    fn close(&self) {
        self.lock().closed = true;
        self.wake.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while the lock is held, and a queue is whole between any two steps.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn runs_work_and_gives_its_value() {
        let pool = CryptoPool::start(2, 4);
        assert_eq!(pool.run(|| 6 * 7).await, Ok(42));
        assert_eq!(pool.free(), 4);
    }

    #[tokio::test]
    async fn refuses_at_once_when_full() {
        let pool = CryptoPool::start(1, 2);
        let (release, wait) = mpsc::channel::<()>();
        let first = tokio::spawn({
            let pool = pool.clone();
            async move { pool.run(move || wait.recv()).await }
        });
        let second = tokio::spawn({
            let pool = pool.clone();
            async move { pool.run(|| ()).await }
        });
        while pool.free() > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(pool.run(|| ()).await, Err(PoolError::Full));
        release.send(()).unwrap();
        assert_eq!(first.await.unwrap(), Ok(Ok(())));
        assert_eq!(second.await.unwrap(), Ok(()));
        assert_eq!(pool.run(|| 1).await, Ok(1));
    }

    #[tokio::test]
    async fn admitted_work_waits_for_a_slot_and_goes_before_new_work() {
        let pool = CryptoPool::start(1, 1);
        let (release, wait) = mpsc::channel::<()>();
        let first = tokio::spawn({
            let pool = pool.clone();
            async move { pool.run(move || wait.recv()).await }
        });
        while pool.free() > 0 {
            tokio::task::yield_now().await;
        }
        let mut admitted = Box::pin(pool.run_admitted(|| 7));
        assert!(tokio::time::timeout(std::time::Duration::from_millis(20), &mut admitted).await.is_err());
        release.send(()).unwrap();
        assert_eq!(first.await.unwrap(), Ok(Ok(())));
        // The slot went to who waited for it.
        assert_eq!(pool.run(|| ()).await, Err(PoolError::Full));
        assert_eq!(admitted.await, Ok(7));
        assert_eq!(pool.run(|| 8).await, Ok(8));
    }

    #[tokio::test]
    async fn slow_work_holds_nobody_up_and_has_a_bound_of_its_own() {
        use crate::algorithm::SlhDsa;
        let slow = Lane::of([SignatureAlgorithm::EcdsaSha256, SignatureAlgorithm::SlhDsa(SlhDsa::Sha2_256s)]);
        let quick = Lane::of([SignatureAlgorithm::EcdsaSha256, SignatureAlgorithm::MlDsa87]);
        assert_eq!((slow, quick), (Lane::Slow, Lane::Quick));
        let pool = CryptoPool::start_lanes(LaneSize { threads: 1, queue: 2 }, LaneSize { threads: 1, queue: 2 });
        let (release, wait) = mpsc::channel::<()>();
        let wait = Arc::new(Mutex::new(wait));
        let jobs: Vec<_> = (0..2)
            .map(|_| {
                let (pool, wait) = (pool.clone(), Arc::clone(&wait));
                tokio::spawn(async move { pool.run_signature(slow, move || wait.lock().unwrap().recv()).await })
            })
            .collect();
        while pool.free_in(Lane::Slow) > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(pool.run_signature(slow, || ()).await, Err(PoolError::Full));
        assert_eq!(pool.free(), 2, "the quick lane has nothing to do with it");
        assert_eq!(pool.run(|| 1).await, Ok(1));
        assert_eq!(pool.run_signature(quick, || 2).await, Ok(2));
        for job in jobs {
            release.send(()).unwrap();
            assert!(job.await.unwrap().is_ok());
        }
        assert_eq!(pool.run_signature(slow, || 3).await, Ok(3));
    }

    #[tokio::test]
    #[cfg(target_os = "linux")]
    async fn slow_threads_give_way() {
        let nice = || {
            let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
            // The name stands in parentheses and may have blanks; niceness is the 19th field, the 17th after the name.
            stat.rsplit_once(')').unwrap().1.split_whitespace().nth(16).unwrap().parse::<i32>().unwrap()
        };
        let pool = CryptoPool::start(1, 1);
        let (quick, slow) = (pool.run(nice).await.unwrap(), pool.run_in(Lane::Slow, nice).await.unwrap());
        assert!(slow > quick || quick == 19, "{quick} {slow}");
    }

    #[tokio::test]
    async fn a_panic_is_an_error_and_the_thread_goes_on() {
        let pool = CryptoPool::start(1, 1);
        for _ in 0..3 {
            assert_eq!(pool.run(|| panic!("on purpose")).await, Err::<(), _>(PoolError::Panicked));
        }
        assert_eq!(pool.run(|| 1).await, Ok(1));
        assert_eq!(pool.free(), 1);
    }

    #[tokio::test]
    async fn finishes_what_is_queued_after_the_last_handle_is_gone() {
        let pool = CryptoPool::start(1, 8);
        let (tell, told) = mpsc::channel();
        let (release, wait) = mpsc::channel::<()>();
        let jobs: Vec<_> = std::iter::once(tokio::spawn({
            let pool = pool.clone();
            async move { pool.run(move || wait.recv().is_ok()).await.map(drop) }
        }))
        .chain((0..3).map(|n| {
            let (pool, tell) = (pool.clone(), tell.clone());
            tokio::spawn(async move { pool.run(move || tell.send(n).unwrap()).await })
        }))
        .collect();
        while pool.free() > 4 {
            tokio::task::yield_now().await;
        }
        jobs.iter().for_each(|job| job.abort());
        drop((pool, tell));
        release.send(()).unwrap();
        let mut seen: Vec<_> = tokio::task::spawn_blocking(move || told.iter().collect()).await.unwrap();
        seen.sort_unstable();
        assert_eq!(seen, [0, 1, 2]);
    }
}
