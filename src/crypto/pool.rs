//! A bounded pool of threads for work that is too slow for an async thread.

use std::sync::Arc;

use tokio::sync::{Semaphore, oneshot};

/// Runs blocking work (signatures, decryption, key generation) on its own threads, with a bound on how much may wait.
#[derive(Clone)]
pub struct CryptoPool {
    jobs: std::sync::mpsc::Sender<Job>,
    slots: Arc<Semaphore>,
}

type Job = Box<dyn FnOnce() + Send>;

/// The pool has as much waiting as it may have: the answer is "come again later".
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the crypto pool is full")]
pub struct PoolFull;

impl CryptoPool {
    /// Starts `threads` threads that together hold at most `queue` jobs, running ones included.
    pub fn start(threads: usize, queue: usize) -> Self {
        let (jobs, receiver) = std::sync::mpsc::channel::<Job>();
        let receiver = Arc::new(std::sync::Mutex::new(receiver));
        for number in 0..threads.max(1) {
            let receiver = Arc::clone(&receiver);
            std::thread::Builder::new()
                .name(format!("crypto-{number}"))
                .spawn(move || {
                    loop {
                        let next = receiver.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).recv();
                        match next {
                            Ok(job) => job(),
                            Err(_) => break,
                        }
                    }
                })
                .expect("the system can start a thread");
        }
        Self { jobs, slots: Arc::new(Semaphore::new(queue.max(1))) }
    }

    /// Runs `work` and waits for what it gives. A full pool refuses at once.
    pub async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, PoolFull> {
        let permit = Arc::clone(&self.slots).try_acquire_owned().map_err(|_| PoolFull)?;
        let (done, result) = oneshot::channel();
        let span = tracing::Span::current();
        let job = Box::new(move || {
            // The permit is held while the job waits and runs.
            let _permit = permit;
            let _entered = span.enter();
            if let Ok(value) = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)) {
                let _ = done.send(value);
            }
        });
        self.jobs.send(job).map_err(|_| PoolFull)?;
        // The sender is dropped without a value only if the work panicked; the caller sees that as a panic of its own.
        Ok(result.await.expect("work on the crypto pool does not panic"))
    }

    /// How many more jobs the pool would take now.
    pub fn free(&self) -> usize {
        self.slots.available_permits()
    }
}
