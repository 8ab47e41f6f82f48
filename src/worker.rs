//! Carries on what outlives a request: approved orders, issuers that said "later", what a crash left behind; and upkeep.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::enroll::core::{LEASE, after, before};
use crate::enroll::issue::{Work, carry};
use crate::enroll::operate::stored_order;
use crate::enroll::{EnrollError, Enroller};
use crate::inventory::{Attempt, AttemptState, InventoryError, PurgeBefore, Transaction};

mod gates;
mod shadow;

/// How often the worker looks for due work when nobody wakes it.
const TICK: Duration = Duration::from_secs(1);

/// How often old rows are deleted.
const UPKEEP: Duration = Duration::from_secs(3600);

/// How many attempts one round takes.
const BATCH: usize = 16;

/// How many attempts may be under way at one upstream: one that is slow holds up nobody but itself.
const PLACES: usize = 16;

const PLACES_U32: u32 = PLACES as u32;

/// The worker of one node.
pub struct Worker {
    enroller: Enroller,
    retention: Retention,
    /// The free places by upstream.
    places: Mutex<HashMap<String, Arc<Semaphore>>>,
}

/// How long what is done with is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Refused transactions, replies, and challenges that are spent, revoked or expired.
    pub leavings: Duration,
    /// Transactions that were issued or failed. Their certificates stay.
    pub transactions: Duration,
}

impl Worker {
    /// A worker that deletes what is older than `retention`.
    pub fn new(enroller: Enroller, retention: Retention) -> Self {
        Self { enroller, retention, places: Mutex::default() }
    }

    /// Works until `stop` changes. What this node held before a restart is taken up first.
    pub async fn run(self, mut stop: watch::Receiver<bool>) {
        let core = self.enroller.core();
        match core.inventory.release(&core.node).await {
            Ok(0) => {}
            Ok(count) => tracing::info!(count, "Transactions left open by an earlier run are taken up."),
            Err(error) => tracing::error!("Open transactions could not be taken up: {error}."),
        }
        // Apart: there may be much to delete, and no transaction waits for it.
        let upkeep = tokio::spawn(upkeep(self.enroller.clone(), self.retention));
        // Beside the rest: neither waits for the other.
        let gates = tokio::spawn(gates::watch(self.enroller.clone(), stop.clone()));
        let shadows = tokio::spawn(shadow::run(self.enroller.clone(), stop.clone()));
        let mut failing = String::new();
        loop {
            let full = match self.round().await {
                Ok(count) => {
                    failing.clear();
                    count == BATCH
                }
                Err(error) => {
                    // Once for each cause: rounds come every second.
                    let error = error.to_string();
                    if error != failing {
                        tracing::warn!("The worker's round failed: {error}.");
                        failing = error;
                    }
                    false
                }
            };
            if full {
                continue;
            }
            tokio::select! {
                _ = stop.changed() => break,
                () = core.work.notified() => {}
                () = tokio::time::sleep(TICK) => {}
            }
        }
        upkeep.abort();
        gates.abort();
        shadows.abort();
        self.settle().await;
    }

    /// Takes what is due and begins to carry it on, as far as there are places for it; gives how many there were. Nothing is taken
    /// that would have to wait for a place: its lease would run out over it.
    pub async fn round(&self) -> Result<usize, EnrollError> {
        let core = self.enroller.core();
        let mut taken = 0;
        while taken < BATCH {
            let (full, free) = self.room();
            let most = free.min(BATCH - taken);
            let now = core.now();
            let due = core.inventory.claim(&core.node, now, after(now, LEASE), most, &full).await?;
            let count = due.len();
            for (transaction, attempt) in due {
                let place = self.places_of(&attempt.upstream);
                // Taken at once, so that the next look around counts it.
                let place = Arc::clone(&place).try_acquire_owned().map_err(|_| place);
                tokio::spawn(run_one(self.enroller.clone(), transaction, attempt, place));
            }
            taken += count;
            if count < most {
                break;
            }
        }
        Ok(taken)
    }

    /// Waits until nothing is under way that a [`round`](Self::round) began.
    pub async fn settle(&self) {
        let all: Vec<_> = self.lock().values().cloned().collect();
        for places in all {
            // Nobody closes it, and all places are given back when their work ends.
            let _ = places.acquire_many(PLACES_U32).await;
        }
    }

    /// The upstreams that have no free place, and how many each of the others has at least.
    fn room(&self) -> (Vec<String>, usize) {
        let places = self.lock();
        let full = places.iter().filter(|(_, places)| places.available_permits() == 0).map(|(name, _)| name.clone()).collect();
        let free = places.values().map(|places| places.available_permits()).filter(|free| *free > 0).min();
        (full, free.unwrap_or(PLACES))
    }

    fn places_of(&self, upstream: &str) -> Arc<Semaphore> {
        let mut places = self.lock();
        match places.get(upstream) {
            Some(known) => Arc::clone(known),
            None => Arc::clone(places.entry(upstream.to_owned()).or_insert_with(|| Arc::new(Semaphore::new(PLACES)))),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<Semaphore>>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Deletes what is old; the run does so every hour.
    pub async fn purge(&self) -> Result<u64, InventoryError> {
        purge(&self.enroller, self.retention).await
    }
}

/// Deletes what is old, now and every hour.
async fn upkeep(enroller: Enroller, retention: Retention) {
    let mut due = tokio::time::interval(UPKEEP);
    let mut hours: u64 = 0;
    loop {
        due.tick().await;
        // At the start and every day: often enough to be seen, seldom enough to be read.
        if hours.is_multiple_of(24) {
            for warning in enroller.expiry_warnings() {
                tracing::warn!(code = "certificate-expires", "A certificate has to be replaced: {warning}.");
            }
        }
        hours += 1;
        match purge(&enroller, retention).await {
            Ok(0) => {}
            Ok(count) => tracing::info!(count, "Old transactions, replies and challenges were deleted."),
            Err(error) => tracing::warn!("Old rows could not be deleted: {error}."),
        }
    }
}

async fn purge(enroller: &Enroller, retention: Retention) -> Result<u64, InventoryError> {
    let core = enroller.core();
    let now = core.now();
    let old = PurgeBefore { leavings: before(now, retention.leavings), transactions: before(now, retention.transactions) };
    core.inventory.purge(old).await
}

/// Carries one attempt on, in a place at its upstream.
async fn run_one(
    enroller: Enroller,
    transaction: Transaction,
    attempt: Attempt,
    place: Result<OwnedSemaphorePermit, Arc<Semaphore>>,
) {
    let _place = match place {
        Ok(place) => Ok(place),
        Err(places) => places.acquire_owned().await,
    };
    match tokio::spawn(async move { carry_on(&enroller, transaction, attempt).await }).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!("A transaction could not be carried on, and is tried again: {error}."),
        Err(join) => tracing::error!("A transaction's task failed: {join}."),
    }
}

async fn carry_on(enroller: &Enroller, transaction: Transaction, attempt: Attempt) -> Result<(), EnrollError> {
    let core = Arc::clone(enroller.core());
    let order = Arc::new(stored_order(&core, &transaction)?);
    let snapshot = enroller.snapshot();
    if attempt.state == AttemptState::Submitted {
        // It may have reached the issuer before a crash: only an issuer that finds it again may be asked again. The local CA, for
        // one, gives the same serial for the same key.
        let finds = snapshot.upstreams.get(&attempt.upstream).and_then(|upstream| upstream.capabilities(&attempt.ca));
        if !finds.is_some_and(|capabilities| capabilities.can_find_again) {
            return crate::enroll::issue::leave_unknown(
                &core,
                &transaction,
                &attempt,
                "the node stopped while the issuer was asked",
            )
            .await;
        }
    }
    carry(core, Work::new(snapshot, transaction, attempt, order, None)).await.map(drop)
}
