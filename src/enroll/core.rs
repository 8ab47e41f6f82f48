//! What all steps share.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use jiff::Timestamp;
use tokio::sync::{Notify, Semaphore, SemaphorePermit, watch};

use super::budget::RefusalBudget;
use super::gate::{Gate, Gates};
use super::seal::Sealer;
use super::shadow::ShadowQueue;
use super::stray::ToldUpTo;
use super::wait::Waits;
use super::{EnrollError, Outcome, Reply};
use crate::clock::Clock;
use crate::crypto::CryptoPool;
use crate::crypto::pool::PoolError;
use crate::inventory::Inventory;
use crate::snapshot::Snapshot;
use crate::telemetry::Metrics;
use crate::upstream::{Limits, UpstreamCa};

/// How long a node holds an attempt before others may think that it died over it.
pub(crate) const LEASE: Duration = Duration::from_secs(120);

/// How long a request waits for its turn to have a password hashed.
const HASH_TURN: Duration = Duration::from_secs(2);

/// The longest that an issuer may take for an answer.
pub(crate) const ANSWER: Duration = Duration::from_secs(75);

/// How long writing down an answer is tried again.
pub(crate) const WRITE: Duration = Duration::from_secs(30);

// Who holds an attempt is done with it, one way or another, before somebody else may take it.
const _: () = assert!(ANSWER.as_secs() + WRITE.as_secs() < LEASE.as_secs());

/// What all steps share: the store, the pool, the clock. Behind an `Arc` everywhere.
pub(crate) struct Core {
    pub(crate) snapshot: Arc<ArcSwap<Snapshot>>,
    pub(crate) inventory: Arc<dyn Inventory>,
    pub(crate) pool: CryptoPool,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) sealer: Sealer,
    /// How many refusals of strangers may still be written down.
    pub(super) refusals: RefusalBudget,
    /// Passwords are hashed one after the other: it is the costliest thing that a stranger can ask for.
    pub(super) hashing: Semaphore,
    /// Requests that wait for their shadow run.
    pub(crate) shadow: ShadowQueue,
    /// Name of this node in leases.
    pub(crate) node: String,
    /// Wakes the worker when there is something new to carry on.
    pub(crate) work: Arc<Notify>,
    /// Wakes requests that wait for a transaction that another task carries on.
    pub(crate) concluded: Waits,
    /// What keeps each upstream from being asked too much.
    pub(super) gates: Gates,
    /// How many orders are being carried by the tasks of their requests.
    pub(super) under_way: watch::Sender<usize>,
    /// Up to where CAs were told again of certificates that nobody is given.
    pub(super) told_up_to: ToldUpTo,
}

/// An order that is being carried by the task of its request, until this is dropped.
pub(super) struct UnderWay(Arc<Core>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.under_way.send_modify(|count| *count -= 1);
    }
}

impl Core {
    /// Counts an order that the task of its request carries.
    pub(super) fn carries(self: &Arc<Self>) -> UnderWay {
        self.under_way.send_modify(|count| *count += 1);
        UnderWay(Arc::clone(self))
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The gate before an upstream; `None` before one without limits.
    pub(crate) fn gate(&self, upstream: &dyn UpstreamCa) -> Option<Arc<Gate>> {
        let limits = upstream.limits();
        if limits == Limits::NONE {
            return None;
        }
        let current = self.snapshot.load();
        let now = current.upstreams.get(upstream.name()).map(|upstream| upstream.limits()).filter(|now| *now != Limits::NONE);
        Some(self.gates.of(upstream.name(), limits, now, &self.work))
    }

    /// The gate before the upstream of this name.
    pub(crate) fn gate_of(&self, snapshot: &Snapshot, upstream: &str) -> Option<Arc<Gate>> {
        self.gate(snapshot.upstreams.get(upstream)?.as_ref())
    }

    /// Waits for a turn to hash a password that came from outside. Who has to wait for long is told to come again.
    pub(super) async fn turn_to_hash(&self) -> Result<SemaphorePermit<'_>, EnrollError> {
        match tokio::time::timeout(HASH_TURN, self.hashing.acquire()).await {
            Ok(Ok(turn)) => Ok(turn),
            // Nobody closes it.
            Ok(Err(_)) | Err(_) => Err(EnrollError::Busy),
        }
    }

    /// Encodes an answer on the pool.
    pub(crate) async fn encode(&self, reply: &Arc<dyn Reply>, outcome: &Outcome) -> Result<Vec<u8>, EnrollError> {
        let (reply, outcome) = (Arc::clone(reply), outcome.clone());
        self.finish(move || reply.encode(&outcome)).await?.map_err(|error| EnrollError::Internal(error.to_string()))
    }

    /// Runs slow work on the pool; a full pool is [`EnrollError::Busy`].
    pub(crate) async fn blocking<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, EnrollError> {
        self.pool.run(work).await.map_err(pool_error)
    }

    /// Runs slow work for what was begun already: it waits its turn, and is not refused.
    pub(crate) async fn finish<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, EnrollError> {
        self.pool.run_admitted(work).await.map_err(pool_error)
    }
}

fn pool_error(error: PoolError) -> EnrollError {
    match error {
        PoolError::Full => EnrollError::Busy,
        PoolError::Panicked => EnrollError::Internal(error.to_string()),
    }
}

/// Adds a duration to a timestamp; the calendar's end is the limit.
pub(crate) fn after(at: Timestamp, duration: Duration) -> Timestamp {
    jiff::SignedDuration::try_from(duration).ok().and_then(|d| at.checked_add(d).ok()).unwrap_or(Timestamp::MAX)
}

/// Takes a duration from a timestamp; the calendar's start is the limit.
pub(crate) fn before(at: Timestamp, duration: Duration) -> Timestamp {
    jiff::SignedDuration::try_from(duration).ok().and_then(|d| at.checked_sub(d).ok()).unwrap_or(Timestamp::MIN)
}
