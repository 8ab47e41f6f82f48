//! Carries on what outlives a request: approved orders, orders that wait for their turn at an issuer, issuers that said "later", what a
//! crash left behind; and upkeep.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::enroll::carry::{Ask, Work, carry};
use crate::enroll::core::{LEASE, after, before};
use crate::enroll::gate::{Gate, Pass, Reserved};
use crate::enroll::operate::stored_order;
use crate::enroll::{EnrollError, Enroller};
use crate::inventory::{Attempt, InventoryError, PurgeBefore, Room, Transaction};

mod gates;
mod moving;
mod probe;
mod shadow;

/// How often the worker looks for due work when nobody wakes it.
const TICK: Duration = Duration::from_secs(1);

/// How often old rows are deleted.
const UPKEEP: Duration = Duration::from_secs(3600);

/// How many attempts at one upstream are taken up at a time.
const BATCH: usize = 16;

/// How often that is done in one round.
const STEPS: usize = 16;

/// How many attempts may be under way at an upstream without limits of its own, such as the embedded CA: one that is slow holds up
/// nobody but itself.
const PLACES: usize = 16;

/// How often open attempts are counted.
const COUNT: Duration = Duration::from_secs(1);

/// The worker of one node.
pub struct Worker {
    enroller: Enroller,
    retention: Retention,
    /// The free places at upstreams without limits.
    places: Mutex<HashMap<String, Arc<Semaphore>>>,
    /// How many attempts are being carried on.
    under_way: watch::Sender<usize>,
    counted_at: Mutex<Option<Instant>>,
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
        Self { enroller, retention, places: Mutex::default(), under_way: watch::Sender::new(0), counted_at: Mutex::default() }
    }

    /// Gives back what this node held before a restart. To be called before any request is: it would take the lease from a live one.
    pub async fn release(&self) {
        let core = self.enroller.core();
        match core.inventory.release(&core.node).await {
            Ok(0) => {}
            Ok(count) => tracing::info!(count, "Transactions left open by an earlier run are taken up."),
            Err(error) => tracing::error!("Open transactions could not be taken up: {error}."),
        }
    }

    /// Works until `stop` changes, and then until what it has begun is done.
    pub async fn run(self, mut stop: watch::Receiver<bool>) {
        let core = self.enroller.core();
        // Apart: there may be much to delete, and no transaction waits for it.
        let upkeep = tokio::spawn(upkeep(self.enroller.clone(), self.retention));
        // Beside the rest: neither waits for the other.
        let gates = tokio::spawn(gates::watch(self.enroller.clone(), stop.clone()));
        let moving = tokio::spawn(moving::run(self.enroller.clone(), stop.clone()));
        let shadows = tokio::spawn(shadow::run(self.enroller.clone(), stop.clone()));
        let mut failing = String::new();
        loop {
            let more = match self.round().await {
                Ok(count) => {
                    failing.clear();
                    count > 0
                }
                Err(error) => {
                    // Once for each cause: rounds come every second.
                    let error = error.to_string();
                    if error != failing {
                        tracing::warn!("The worker's round failed: {error}.");
                        failing = error;
                    }
                    // Whoever cannot write now can do nothing now, whatever there is to do and whoever says so.
                    tokio::select! {
                        _ = stop.changed() => break,
                        () = tokio::time::sleep(TICK) => continue,
                    }
                }
            };
            if *stop.borrow() {
                break;
            }
            if more {
                continue;
            }
            tokio::select! {
                _ = stop.changed() => break,
                () = core.work.notified() => {}
                () = tokio::time::sleep(self.nap()) => {}
            }
        }
        upkeep.abort();
        gates.abort();
        moving.abort();
        shadows.abort();
        self.settle().await;
    }

    /// Takes what is due and begins to carry it on, as far as there is room for it; gives how many there were. Nothing is taken that
    /// would have to wait for a place: its lease would run out over it.
    pub async fn round(&self) -> Result<usize, EnrollError> {
        let mut taken = 0;
        let everything = self.is_time_to_count();
        if everything {
            self.count().await?;
        }
        for _ in 0..STEPS {
            probe::look(&self.enroller);
            match self.step(everything).await? {
                0 => break,
                count => taken += count,
            }
        }
        Ok(taken)
    }

    /// `everything` is to look also for what is for upstreams that are not configured any more.
    async fn step(&self, everything: bool) -> Result<usize, EnrollError> {
        let core = self.enroller.core();
        let snapshot = self.enroller.snapshot();
        let now = core.now();
        let mut room = BTreeMap::new();
        let mut passes: HashMap<String, Reserved> = HashMap::new();
        for (name, upstream) in &snapshot.upstreams {
            let most = match core.gate(upstream.as_ref()) {
                Some(gate) => {
                    let before = gate.before_look();
                    let due = core.inventory.due(name, now).await?;
                    gate.looked(before, due);
                    // Taken before the attempts are: whoever is claimed can be asked for at once.
                    let reserved = gate.reserve(due, BATCH);
                    let most = Room { orders: reserved.orders.len(), polls: reserved.polls.len() };
                    passes.insert(name.clone(), reserved);
                    most
                }
                None => {
                    let free = self.places_of(name).available_permits().min(BATCH);
                    let due = core.inventory.due(name, now).await?;
                    let polls = if due.polls { free.div_ceil(if due.orders { 2 } else { 1 }) } else { 0 };
                    Room { orders: if due.orders { free - polls } else { 0 }, polls }
                }
            };
            room.insert(name.clone(), most);
        }
        if !everything && room.values().all(|room| *room == Room::default()) {
            return Ok(0);
        }
        let due = core.inventory.claim(&core.node, now, after(now, LEASE), BATCH, &room).await?;
        let count = due.len();
        for (transaction, attempt) in due {
            let reserved = passes.get_mut(&attempt.upstream);
            let pass = reserved.and_then(|reserved| match Ask::of(&attempt) {
                Ask::Poll(_) => reserved.polls.pop(),
                Ask::Submit | Ask::Find => reserved.orders.pop(),
            });
            let right = match pass {
                Some(pass) => Right::Pass(pass),
                // Taken at once, so that the next look around counts it. What is for an upstream that is gone may find none.
                None => Right::Place(self.places_of(&attempt.upstream).try_acquire_owned().ok()),
            };
            self.under_way.send_modify(|count| *count += 1);
            tokio::spawn(run_one(self.enroller.clone(), transaction, attempt, right, self.under_way.clone()));
        }
        Ok(count)
    }

    /// Waits until nothing is under way that a [`round`](Self::round) began.
    pub async fn settle(&self) {
        // The sender is ours: it does not fail.
        let _ = self.under_way.subscribe().wait_for(|count| *count == 0).await;
    }

    fn is_time_to_count(&self) -> bool {
        let mut counted_at = self.counted_at.lock().unwrap_or_else(PoisonError::into_inner);
        if counted_at.is_some_and(|at| at.elapsed() < COUNT) {
            return false;
        }
        *counted_at = Some(Instant::now());
        true
    }

    /// Tells the gates how many attempts are open.
    async fn count(&self) -> Result<(), EnrollError> {
        let gates = self.gates();
        if !gates.is_empty() {
            let open = self.enroller.core().inventory.open_attempts().await?;
            for gate in gates {
                gate.counted(open.get(gate.name()).copied().unwrap_or_default());
            }
        }
        Ok(())
    }

    fn gates(&self) -> Vec<Arc<Gate>> {
        let core = self.enroller.core();
        self.enroller.snapshot().upstreams.values().filter_map(|upstream| core.gate(upstream.as_ref())).collect()
    }

    /// How long there is nothing to do, unless something happens.
    fn nap(&self) -> Duration {
        // Never none at all: a clock may be coarse.
        self.gates()
            .iter()
            .filter_map(|gate| gate.next_look())
            .min()
            .map_or(TICK, |nap| nap.clamp(Duration::from_millis(1), TICK))
    }

    fn places_of(&self, upstream: &str) -> Arc<Semaphore> {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        match places.get(upstream) {
            Some(known) => Arc::clone(known),
            None => Arc::clone(places.entry(upstream.to_owned()).or_insert_with(|| Arc::new(Semaphore::new(PLACES)))),
        }
    }

    /// Deletes what is old; the run does so every hour.
    pub async fn purge(&self) -> Result<u64, InventoryError> {
        purge(&self.enroller, self.retention).await
    }
}

/// Deletes what is old, and tells CAs again what they could not be told, now and every hour.
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
        if let Err(error) = enroller.tell_again().await {
            tracing::warn!("It could not be found out which CA is to be told again: {error}.");
        }
    }
}

async fn purge(enroller: &Enroller, retention: Retention) -> Result<u64, InventoryError> {
    let core = enroller.core();
    let now = core.now();
    let old = PurgeBefore { leavings: before(now, retention.leavings), transactions: before(now, retention.transactions) };
    core.inventory.purge(old).await
}

/// What lets an attempt be carried on.
enum Right {
    /// At an upstream with limits.
    Pass(Pass),
    /// At any other.
    Place(Option<OwnedSemaphorePermit>),
}

/// Carries one attempt on.
async fn run_one(enroller: Enroller, transaction: Transaction, attempt: Attempt, right: Right, under_way: watch::Sender<usize>) {
    let (pass, _place) = match right {
        Right::Pass(pass) => (Some(Arc::new(pass)), None),
        Right::Place(place) => (None, place),
    };
    match tokio::spawn(async move { carry_on(&enroller, transaction, attempt, pass).await }).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!("A transaction could not be carried on, and is tried again: {error}."),
        Err(join) => tracing::error!("A transaction's task failed: {join}."),
    }
    under_way.send_modify(|count| *count -= 1);
}

async fn carry_on(
    enroller: &Enroller,
    transaction: Transaction,
    attempt: Attempt,
    pass: Option<Arc<Pass>>,
) -> Result<(), EnrollError> {
    let core = Arc::clone(enroller.core());
    let order = Arc::new(stored_order(&core, &transaction)?);
    let snapshot = enroller.snapshot();
    let ask = Ask::of(&attempt);
    carry(core, Work::new(snapshot, transaction, attempt, order, ask, pass)).await.map(drop)
}
