//! Requests that wait for what becomes of a transaction which another task carries on: one wake-up for each, and none for the others.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::core::Core;
use super::gate::Gate;
use super::issue::pending;
use super::record::stored_outcome;
use super::{EnrollError, Outcome};
use crate::inventory::{Transaction, TransactionId, TransactionState};
use crate::snapshot::Snapshot;

/// How often a row is looked at that nobody spoke of: another node may have concluded it.
const LOOK: Duration = Duration::from_secs(1);

/// Who waits for which transaction.
#[derive(Default)]
pub(crate) struct Waits {
    count: AtomicUsize,
    by_transaction: Mutex<HashMap<TransactionId, Listeners>>,
}

struct Listeners {
    count: usize,
    notify: Arc<Notify>,
}

impl Waits {
    /// Something has become of a transaction.
    pub(super) fn tell(&self, id: TransactionId) {
        // Nearly always nobody waits.
        if self.count.load(Ordering::SeqCst) > 0
            && let Some(listeners) = self.lock().get(&id)
        {
            listeners.notify.notify_waiters();
        }
    }

    fn listen(&self, id: TransactionId) -> Listener<'_> {
        self.count.fetch_add(1, Ordering::SeqCst);
        let mut all = self.lock();
        let listeners = all.entry(id).or_insert_with(|| Listeners { count: 0, notify: Arc::new(Notify::new()) });
        listeners.count += 1;
        Listener { waits: self, id, notify: Arc::clone(&listeners.notify) }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<TransactionId, Listeners>> {
        self.by_transaction.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Listener<'a> {
    waits: &'a Waits,
    id: TransactionId,
    notify: Arc<Notify>,
}

impl Drop for Listener<'_> {
    fn drop(&mut self) {
        let mut all = self.waits.lock();
        if let Some(listeners) = all.get_mut(&self.id) {
            listeners.count -= 1;
            if listeners.count == 0 {
                all.remove(&self.id);
            }
        }
        self.waits.count.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Waits for another task that works on the same transaction, as long as the client is likely to have patience. Only so many wait
/// for one upstream, and nobody for one that is left alone: the others are told to come again at once.
pub(super) async fn await_conclusion(core: &Core, snapshot: &Snapshot, transaction: Transaction) -> Result<Outcome, EnrollError> {
    let deadline = Instant::now() + snapshot.patience;
    await_until(core, snapshot, transaction.id, deadline).await
}

/// The same, until then.
pub(super) async fn await_until(
    core: &Core,
    snapshot: &Snapshot,
    id: TransactionId,
    deadline: Instant,
) -> Result<Outcome, EnrollError> {
    let mut gate = gate_before(core, snapshot, id).await?;
    let mut place = gate.as_ref().map(|gate| gate.wait(snapshot.most_waiting));
    let mut was_open = false;
    let listener = core.concluded.listen(id);
    loop {
        let told = listener.notify.notified();
        tokio::pin!(told);
        // From here on nothing that is told is missed.
        told.as_mut().enable();
        let Some(now) = core.inventory.transaction(id).await? else {
            return Err(EnrollError::Internal(format!("transaction {id} is gone")));
        };
        if now.state != TransactionState::Issuing {
            return stored_outcome(core, snapshot, &now).await;
        }
        if matches!(place, Some(None)) || Instant::now() >= deadline {
            return Ok(pending(id));
        }
        let is_open = gate.as_ref().is_some_and(|gate| gate.is_open());
        if is_open && was_open {
            // It had its time to go to another issuer.
            let next = gate_before(core, snapshot, id).await?;
            if next.as_ref().is_some_and(|next| next.is_open()) {
                return Ok(pending(id));
            }
            drop(place);
            place = next.as_ref().map(|next| next.wait(snapshot.most_waiting));
            gate = next;
            was_open = false;
            continue;
        }
        was_open = is_open;
        let _ = tokio::time::timeout_at((Instant::now() + LOOK).min(deadline), told).await;
    }
}

/// The gate before the issuer that is asked last.
async fn gate_before(core: &Core, snapshot: &Snapshot, id: TransactionId) -> Result<Option<Arc<Gate>>, EnrollError> {
    let attempts = core.inventory.attempts(id).await?;
    Ok(attempts.last().and_then(|attempt| core.gate_of(snapshot, &attempt.upstream)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_who_waits_for_a_transaction_is_woken() {
        let waits = Waits::default();
        let (one, other) = (TransactionId::new(), TransactionId::new());
        waits.tell(one);
        let (first, second, third) = (waits.listen(one), waits.listen(one), waits.listen(other));
        let mut woken = Vec::new();
        for listener in [&first, &second, &third] {
            let mut told = Box::pin(listener.notify.notified());
            told.as_mut().enable();
            woken.push(told);
        }
        waits.tell(one);
        let short = Duration::from_millis(10);
        let mut heard = Vec::new();
        for told in woken {
            heard.push(tokio::time::timeout(short, told).await.is_ok());
        }
        assert_eq!(heard, [true, true, false]);
        drop((first, second, third));
        assert!(waits.lock().is_empty() && waits.count.load(Ordering::SeqCst) == 0);
    }
}
