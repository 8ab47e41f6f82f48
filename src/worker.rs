//! Carries on what outlives a request: approved orders, issuers that said "later", what a crash left behind; and upkeep.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::enroll::core::{LEASE, after, before};
use crate::enroll::issue::{Work, carry};
use crate::enroll::operate::stored_order;
use crate::enroll::{EnrollError, Enroller};
use crate::inventory::{Attempt, AttemptState, Transaction};

/// How often the worker looks for due work when nobody wakes it.
const TICK: Duration = Duration::from_secs(1);

/// How often old rows are deleted.
const UPKEEP: Duration = Duration::from_secs(3600);

/// How many attempts one round takes.
const BATCH: usize = 16;

/// The worker of one node.
pub struct Worker {
    enroller: Enroller,
    retention: Duration,
}

impl Worker {
    /// A worker that keeps replies, refusals and spent challenges for `retention`.
    pub fn new(enroller: Enroller, retention: Duration) -> Self {
        Self { enroller, retention }
    }

    /// Works until `stop` changes. What this node held before a restart is taken up first.
    pub async fn run(self, mut stop: watch::Receiver<bool>) {
        let core = self.enroller.core();
        match core.inventory.release(&core.node).await {
            Ok(0) => {}
            Ok(count) => tracing::info!(count, "Transactions left open by an earlier run are taken up."),
            Err(error) => tracing::error!("Open transactions could not be taken up: {error}."),
        }
        let mut upkeep = tokio::time::interval(UPKEEP);
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
                _ = upkeep.tick() => self.upkeep().await,
                () = core.work.notified() => {}
                () = tokio::time::sleep(TICK) => {}
            }
        }
    }

    /// Takes what is due and carries it on; gives how many there were.
    pub async fn round(&self) -> Result<usize, EnrollError> {
        let core = self.enroller.core();
        let now = core.now();
        let due = core.inventory.claim(&core.node, now, after(now, LEASE), BATCH).await?;
        let count = due.len();
        let mut tasks = tokio::task::JoinSet::new();
        for (transaction, attempt) in due {
            let enroller = self.enroller.clone();
            tasks.spawn(async move { carry_on(&enroller, transaction, attempt).await });
        }
        while let Some(done) = tasks.join_next().await {
            match done {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!("A transaction could not be carried on, and is tried again: {error}."),
                Err(join) => tracing::error!("A transaction's task failed: {join}."),
            }
        }
        Ok(count)
    }

    async fn upkeep(&self) {
        let core = self.enroller.core();
        match core.inventory.purge(before(core.now(), self.retention)).await {
            Ok(0) => {}
            Ok(count) => tracing::info!(count, "Old replies, refusals and challenges were deleted."),
            Err(error) => tracing::warn!("Old rows could not be deleted: {error}."),
        }
    }
}

async fn carry_on(enroller: &Enroller, transaction: Transaction, attempt: Attempt) -> Result<(), EnrollError> {
    let core = Arc::clone(enroller.core());
    let order = Arc::new(stored_order(&core, &transaction)?);
    let snapshot = enroller.snapshot();
    if attempt.state == AttemptState::Submitted {
        // It may have reached the issuer before a crash: only an issuer that finds it again may be asked again. The local CA, for
        // one, gives the same serial for the same key.
        let finds = snapshot.upstreams.get(&order.issuer.upstream).and_then(|upstream| upstream.capabilities(&order.issuer.ca));
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
    carry(core, Work { snapshot, transaction, attempt, order, reply: None }).await.map(drop)
}
