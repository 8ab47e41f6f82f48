//! The inventory in one SQLite file.
//!
//! One thread writes ([`writer`]) and shares each flush to the disk among all who wait. Reads by key take tens of microseconds
//! and run where they are called; lists and searches run on the threads for blocking work.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;

use self::readers::Readers;
use self::upkeep::Purge;
use self::writer::Writer;
use super::{
    Attempt, AuditEvent, AuditRecord, Census, CertificateRecord, CertificateSearch, Challenge, Concluded, Conclusion, Decision,
    DeviceFinding, DeviceStore, Due, Inventory, InventoryError, Known, Looked, Movable, NewTransaction, Opened, PurgeBefore,
    RefusedTransaction, RolloutChange, RolloutStore, Room, Setback, SetbackSearch, ShadowOutcome, ShadowStore, ShadowTally,
    StandingPage, Statistics, Transaction, TransactionId, TransactionKey, TransactionState,
};
use crate::algorithm::IssuerRef;
use crate::rollout::{DeviceKnowledge, Figures, Given, RolloutState};
use crate::x509::crl::{RevocationReason, RevokedCertificate};

mod attempts;
mod audit;
mod certificates;
mod challenges;
mod devices;
#[cfg(test)]
mod faults;
mod readers;
mod rollouts;
mod rows;
mod schema;
mod shadow;
mod transactions;
mod upkeep;
mod writer;

/// The inventory in one SQLite file. Dropping it waits for what is queued.
pub struct SqliteInventory {
    writer: Writer,
    /// For reads by key, on the caller's thread.
    near: Arc<Readers>,
    /// For lists and searches, on other threads.
    far: Arc<Readers>,
    clock: fn() -> Timestamp,
}

/// How to run the inventory; the defaults are right for nearly all.
#[derive(Clone, Debug)]
pub struct SqliteOptions {
    /// How many writes may wait before the answer is [`InventoryError::Busy`].
    pub queue: usize,
    /// How many writes may share one commit.
    pub batch: usize,
    /// How many idle connections to keep for reading.
    pub readers: usize,
    /// How long to wait for another process that writes to the same file.
    pub busy_timeout: Duration,
    /// The time, for what depends on now and is not told it: which challenges are outstanding, which certificates are in force.
    pub clock: fn() -> Timestamp,
}

impl Default for SqliteOptions {
    fn default() -> Self {
        Self { queue: 1024, batch: 256, readers: 4, busy_timeout: Duration::from_secs(5), clock: Timestamp::now }
    }
}

impl SqliteInventory {
    /// Opens the file, which is made if it is not there, and brings its schema up to date.
    pub fn open(path: impl AsRef<Path>, options: SqliteOptions) -> Result<Self, InventoryError> {
        let path: PathBuf = path.as_ref().to_owned();
        let connection = schema::open_writer(&path, options.busy_timeout)?;
        let writer = Writer::start(connection, options.queue, options.batch)?;
        let near = Readers::new(path.clone(), options.busy_timeout, options.readers)?;
        let far = Readers::new(path, options.busy_timeout, options.readers)?;
        Ok(Self { writer, near: Arc::new(near), far: Arc::new(far), clock: options.clock })
    }

    /// Runs a longer read away from the async threads.
    async fn read_far<T, F>(&self, work: F) -> Result<T, InventoryError>
    where
        T: Send + 'static,
        F: FnOnce(&rusqlite::Connection) -> Result<T, InventoryError> + Send + 'static,
    {
        let readers = Arc::clone(&self.far);
        let done = tokio::task::spawn_blocking(move || readers.read(work)).await;
        done.unwrap_or_else(|_| Err(InventoryError::Unavailable("the read broke off".to_owned())))
    }
}

#[async_trait]
impl Inventory for SqliteInventory {
    async fn recall(&self, message: &[u8; 32], key: &TransactionKey) -> Result<Option<Known>, InventoryError> {
        self.near.read(|connection| transactions::recall(connection, message, key))
    }

    async fn open(&self, new: NewTransaction) -> Result<Opened, InventoryError> {
        self.writer.write_again(move |write| transactions::open(write, &new)).await
    }

    async fn join(&self, transaction: TransactionId, wire_id: &str) -> Result<(), InventoryError> {
        let wire_id = wire_id.to_owned();
        self.writer.write(move |write| transactions::join(write, transaction, &wire_id)).await
    }

    async fn refuse(&self, refused: RefusedTransaction) -> Result<(), InventoryError> {
        self.writer.write(move |write| transactions::refuse(write, refused)).await
    }

    async fn conclude(&self, conclusion: Conclusion) -> Result<Concluded, InventoryError> {
        self.writer.write_again(move |write| attempts::conclude(write, &conclusion)).await
    }

    async fn store_reply(&self, transaction: TransactionId, message: &[u8; 32], reply: &[u8]) -> Result<(), InventoryError> {
        let (message, reply, at) = (*message, reply.to_vec(), rows::time((self.clock)()));
        self.writer.write(move |write| transactions::store_reply(write, transaction, &message, &reply, at)).await
    }

    async fn transaction(&self, id: TransactionId) -> Result<Option<Transaction>, InventoryError> {
        self.near.read(|connection| transactions::by_id(connection, id))
    }

    async fn attempts(&self, transaction: TransactionId) -> Result<Vec<Attempt>, InventoryError> {
        self.near.read(|connection| attempts::of_transaction(connection, transaction))
    }

    async fn find_transaction(
        &self,
        endpoint: &str,
        wire_id: &str,
        signer_key: &[u8; 32],
    ) -> Result<Option<Transaction>, InventoryError> {
        self.near.read(|connection| transactions::by_wire_id(connection, endpoint, wire_id, signer_key))
    }

    async fn transactions(&self, state: TransactionState, limit: usize) -> Result<Vec<Transaction>, InventoryError> {
        self.read_far(move |connection| transactions::in_state(connection, state, limit)).await
    }

    async fn decide(&self, id: TransactionId, decision: Decision) -> Result<Option<Transaction>, InventoryError> {
        self.writer.write(move |write| attempts::decide(write, id, decision)).await
    }

    async fn claim(
        &self,
        node: &str,
        now: Timestamp,
        until: Timestamp,
        limit: usize,
        room: &BTreeMap<String, Room>,
    ) -> Result<Vec<(Transaction, Attempt)>, InventoryError> {
        let (node, room) = (node.to_owned(), room.clone());
        self.writer.write(move |write| attempts::claim(write, &node, now, until, limit, &room)).await
    }

    async fn submits_again(&self, transaction: TransactionId, attempt: &Attempt) -> Result<bool, InventoryError> {
        let attempt = attempt.clone();
        self.writer.write(move |write| attempts::submits_again(write, transaction, &attempt)).await
    }

    async fn movable(&self, upstream: &str, now: Timestamp, after: Looked, limit: usize) -> Result<Movable, InventoryError> {
        let upstream = upstream.to_owned();
        self.read_far(move |connection| attempts::movable(connection, &upstream, now, after, limit)).await
    }

    async fn move_on(&self, attempt: &Attempt, to: &IssuerRef, event: AuditEvent) -> Result<bool, InventoryError> {
        let (attempt, to) = (attempt.clone(), to.clone());
        self.writer.write(move |write| attempts::move_on(write, &attempt, &to, event)).await
    }

    async fn open_attempts(&self) -> Result<BTreeMap<String, u64>, InventoryError> {
        self.read_far(attempts::open_by_upstream).await
    }

    async fn due(&self, upstream: &str, now: Timestamp) -> Result<Due, InventoryError> {
        self.near.read(|connection| attempts::due(connection, upstream, now))
    }

    async fn release(&self, node: &str) -> Result<u64, InventoryError> {
        let node = node.to_owned();
        self.writer.write(move |write| attempts::release(write, &node)).await
    }

    async fn add_challenges(&self, new: Vec<Challenge>) -> Result<(), InventoryError> {
        self.writer.write(move |write| challenges::add(write, &new)).await
    }

    async fn challenge(&self, digest: &[u8; 32]) -> Result<Option<Challenge>, InventoryError> {
        self.near.read(|connection| challenges::by_digest(connection, digest))
    }

    async fn challenges(&self, group: Option<&str>, include_spent: bool, limit: usize) -> Result<Vec<Challenge>, InventoryError> {
        let (group, now) = (group.map(str::to_owned), (self.clock)());
        self.read_far(move |connection| challenges::list(connection, group.as_deref(), include_spent, limit, now)).await
    }

    async fn revoke_challenge(&self, prefix: &str, event: AuditEvent) -> Result<bool, InventoryError> {
        let prefix = prefix.to_owned();
        self.writer.write(move |write| challenges::revoke(write, &prefix, event)).await
    }

    async fn certificate(&self, fingerprint: &[u8; 32]) -> Result<Option<CertificateRecord>, InventoryError> {
        self.near.read(|connection| certificates::by_fingerprint(connection, fingerprint))
    }

    async fn certificate_by_serial(&self, issuer: &[u8], serial: &[u8]) -> Result<Option<CertificateRecord>, InventoryError> {
        self.near.read(|connection| certificates::by_serial(connection, issuer, serial))
    }

    async fn set_aside(&self, certificate: CertificateRecord, event: AuditEvent) -> Result<bool, InventoryError> {
        self.writer.write(move |write| certificates::set_aside(write, &certificate, event)).await
    }

    async fn owed(
        &self,
        upstream: &str,
        after: Timestamp,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<CertificateRecord>, InventoryError> {
        let upstream = upstream.to_owned();
        self.read_far(move |connection| certificates::owed(connection, &upstream, after, now, limit)).await
    }

    async fn told(
        &self,
        fingerprint: &[u8; 32],
        reason: RevocationReason,
        at: Timestamp,
        event: Option<AuditEvent>,
    ) -> Result<bool, InventoryError> {
        let fingerprint = *fingerprint;
        self.writer.write(move |write| certificates::told(write, &fingerprint, reason, at, event)).await
    }

    async fn certificates(&self, search: &CertificateSearch) -> Result<Vec<CertificateRecord>, InventoryError> {
        let search = search.clone();
        self.read_far(move |connection| certificates::search(connection, &search)).await
    }

    async fn sibling(&self, fingerprint: &[u8; 32]) -> Result<Option<CertificateRecord>, InventoryError> {
        self.near.read(|connection| certificates::sibling(connection, fingerprint))
    }

    async fn revoke(
        &self,
        fingerprint: &[u8; 32],
        reason: RevocationReason,
        at: Timestamp,
        event: AuditEvent,
    ) -> Result<bool, InventoryError> {
        let fingerprint = *fingerprint;
        self.writer.write(move |write| certificates::revoke(write, &fingerprint, reason, at, event)).await
    }

    async fn revoked(&self, issuer: &[u8], now: Timestamp) -> Result<Vec<RevokedCertificate>, InventoryError> {
        let issuer = issuer.to_owned();
        self.read_far(move |connection| certificates::revoked(connection, &issuer, now)).await
    }

    async fn next_crl_number(&self, issuer: &[u8]) -> Result<u64, InventoryError> {
        let issuer = issuer.to_owned();
        self.writer.write(move |write| certificates::next_crl_number(write, &issuer)).await
    }

    async fn issued_to_device(&self, group: &str, device: &str, since: Timestamp) -> Result<u64, InventoryError> {
        self.near.read(|connection| certificates::count_of_device(connection, group, device, since))
    }

    async fn key_used_elsewhere(
        &self,
        spki: &[u8; 32],
        group: &str,
        device: &str,
    ) -> Result<Option<CertificateRecord>, InventoryError> {
        let now = (self.clock)();
        self.near.read(|connection| certificates::of_key_elsewhere(connection, spki, group, device, now))
    }

    async fn statistics(&self) -> Result<Statistics, InventoryError> {
        let now = (self.clock)();
        self.read_far(move |connection| upkeep::statistics(connection, now)).await
    }

    async fn audit(&self, events: Vec<AuditEvent>) -> Result<(), InventoryError> {
        self.writer.write(move |write| write.chain.append(write.connection, events)).await
    }

    async fn audit_log(&self, after: u64, limit: usize) -> Result<Vec<AuditRecord>, InventoryError> {
        self.read_far(move |connection| audit::log(connection, after, limit)).await
    }

    async fn check(&self) -> Result<(), InventoryError> {
        self.writer.write(upkeep::check).await
    }

    /// Deletes in portions, so that enrollments do not wait behind it.
    async fn purge(&self, before: PurgeBefore) -> Result<u64, InventoryError> {
        let mut total = 0;
        for kind in Purge::ALL {
            let mut from = Some(0);
            while let Some(number) = from {
                let step = self.writer.write(move |write| upkeep::purge(write, kind, before, number, PURGE_PORTION)).await?;
                total += step.deleted;
                from = step.next;
            }
        }
        Ok(total)
    }
}

#[async_trait]
impl RolloutStore for SqliteInventory {
    async fn rollout(&self, group: &str, candidate: &str) -> Result<Option<RolloutState>, InventoryError> {
        self.near.read(|connection| rollouts::state(connection, group, candidate))
    }

    async fn rollouts(&self) -> Result<Vec<RolloutState>, InventoryError> {
        self.near.read(rollouts::states)
    }

    async fn change_rollout(&self, change: RolloutChange) -> Result<bool, InventoryError> {
        self.writer.write(move |write| rollouts::change(write, change)).await
    }

    async fn device_knowledge(&self, group: &str, device: &str) -> Result<DeviceKnowledge, InventoryError> {
        self.near.read(|connection| rollouts::knowledge(connection, group, device))
    }

    async fn add_setback(&self, setback: Setback) -> Result<(), InventoryError> {
        self.writer.write(move |write| rollouts::add_setback(write, &setback)).await
    }

    async fn setbacks(&self, search: &SetbackSearch) -> Result<Vec<Setback>, InventoryError> {
        let search = search.clone();
        self.read_far(move |connection| rollouts::setbacks(connection, &search)).await
    }

    async fn figures(
        &self,
        group: &str,
        since: Timestamp,
        within: Duration,
    ) -> Result<BTreeMap<String, Figures>, InventoryError> {
        let group = group.to_owned();
        self.read_far(move |connection| rollouts::figures(connection, &group, since, within)).await
    }

    async fn census(&self, group: &str) -> Result<Vec<Census>, InventoryError> {
        let (group, now) = (group.to_owned(), (self.clock)());
        self.read_far(move |connection| rollouts::census(connection, &group, now)).await
    }
}

#[async_trait]
impl DeviceStore for SqliteInventory {
    async fn given(&self, group: &str, device: &str, limit: usize) -> Result<Vec<Given>, InventoryError> {
        self.near.read(|connection| devices::given(connection, group, device, limit))
    }

    async fn standing(&self, group: &str, after: i64, limit: usize) -> Result<StandingPage, InventoryError> {
        let (group, now) = (group.to_owned(), (self.clock)());
        self.read_far(move |connection| devices::standing(connection, &group, after, limit, now)).await
    }

    async fn renewal_shares(&self, group: &str, limit: usize) -> Result<Vec<f64>, InventoryError> {
        let group = group.to_owned();
        self.read_far(move |connection| devices::renewal_shares(connection, &group, limit)).await
    }

    async fn findings_of(&self, group: &str, device: &str) -> Result<Vec<DeviceFinding>, InventoryError> {
        self.near.read(|connection| devices::of(connection, group, device))
    }

    async fn findings(&self, group: Option<&str>, limit: usize) -> Result<Vec<DeviceFinding>, InventoryError> {
        let group = group.map(str::to_owned);
        self.read_far(move |connection| devices::all(connection, group.as_deref(), limit)).await
    }

    async fn learn(&self, finding: DeviceFinding, event: AuditEvent) -> Result<bool, InventoryError> {
        self.writer.write(move |write| devices::learn(write, &finding, event)).await
    }

    async fn unlearn(
        &self,
        group: &str,
        device: &str,
        profile: &str,
        at: Timestamp,
        event: AuditEvent,
    ) -> Result<bool, InventoryError> {
        let [group, device, profile] = [group, device, profile].map(str::to_owned);
        self.writer.write(move |write| devices::unlearn(write, [&group, &device, &profile], at, event)).await
    }
}

#[async_trait]
impl ShadowStore for SqliteInventory {
    async fn add_shadow(&self, outcome: ShadowOutcome) -> Result<(), InventoryError> {
        self.writer.write(move |write| shadow::add(write, &outcome)).await
    }

    async fn shadow_tally(&self, group: &str, candidate: &str, examples: usize) -> Result<ShadowTally, InventoryError> {
        let (group, candidate) = (group.to_owned(), candidate.to_owned());
        self.read_far(move |connection| shadow::tally(connection, &group, &candidate, examples)).await
    }
}

/// How many rows one command of a purge looks at.
const PURGE_PORTION: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::conformance;

    /// An inventory in a folder that goes with it.
    struct Temporary {
        inventory: Arc<dyn Inventory>,
        _folder: tempfile::TempDir,
    }

    fn make() -> Temporary {
        let folder = tempfile::tempdir().expect("folder");
        let inventory = SqliteInventory::open(folder.path().join("inventory.db"), SqliteOptions::default()).expect("opens");
        Temporary { inventory: Arc::new(inventory), _folder: folder }
    }

    conformance::tests!(make);
}
