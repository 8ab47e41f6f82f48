//! What Ravelin remembers: transactions and their attempts, certificates, challenges, audit. SQLite by default; PostgreSQL will
//! implement the same trait.
//!
//! Every method that changes something is one atomic write, durable when it returns. Answers are given only after the write that
//! they rest on.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::algorithm::IssuerRef;
use crate::x509::crl::{RevocationReason, RevokedCertificate};

pub mod audit;
#[cfg(test)]
mod conformance;
pub mod devices;
pub mod rollouts;
pub mod shadow;
pub mod sqlite;

pub use audit::{AuditEvent, AuditRecord};
pub use devices::{DeviceFinding, DeviceStore, StandingPage};
pub use rollouts::{Census, RolloutChange, RolloutStore, Setback, SetbackKind, SetbackSearch};
pub use shadow::{ShadowOutcome, ShadowStore, ShadowTally, Spread};

/// The store.
#[async_trait]
pub trait Inventory: RolloutStore + DeviceStore + ShadowStore + Send + Sync {
    // --- transactions ---

    /// What is already known of a request: the stored reply to the very same message, the transaction with this key, or else an
    /// open transaction of the same keys under another transaction identifier. A reply that refuses counts only as long as the
    /// transaction with this key was refused too.
    async fn recall(&self, message: &[u8; 32], key: &TransactionKey) -> Result<Option<Known>, InventoryError>;

    /// Writes a transaction with its order and first attempt, redeems its challenge for it, and appends the audit events, all
    /// or nothing. Called again for a transaction that exists, it changes nothing and says so.
    async fn open(&self, new: NewTransaction) -> Result<Opened, InventoryError>;

    /// Remembers a further wire identifier of a transaction, when a request of the same keys joined it under another one, so that
    /// its polls and retries find it, also once it is final. [`open`](Self::open) does this by itself.
    async fn join(&self, transaction: TransactionId, wire_id: &str) -> Result<(), InventoryError>;

    /// Writes a transaction that ends before it began: refused, with the reply, if one was made.
    async fn refuse(&self, refused: RefusedTransaction) -> Result<(), InventoryError>;

    /// Writes what became of an attempt, and of its transaction with it. Only an open transaction takes it: when it is final
    /// already, nothing changes and the stored one comes back, so that the certificate that was first is the one delivered.
    ///
    /// Who lost the attempt to another meanwhile, because its lease ran out, changes nothing either ([`Concluded::Lost`]): what
    /// it thinks of the issuer is out of date. A certificate counts all the same while the attempt is the transaction's newest,
    /// since whoever asks for the same order again gets that one. Once people had the order placed anew, it does not.
    async fn conclude(&self, conclusion: Conclusion) -> Result<Concluded, InventoryError>;

    /// Stores the bytes of a final reply under the digest of the message that they answer. The first reply stays; only that of a
    /// refused transaction gives way to a later one.
    async fn store_reply(&self, transaction: TransactionId, message: &[u8; 32], reply: &[u8]) -> Result<(), InventoryError>;

    /// One transaction.
    async fn transaction(&self, id: TransactionId) -> Result<Option<Transaction>, InventoryError>;

    /// Its attempts, oldest first.
    async fn attempts(&self, transaction: TransactionId) -> Result<Vec<Attempt>, InventoryError>;

    /// The newest transaction of this endpoint with this wire identifier and signer key: what a CertPoll asks for.
    async fn find_transaction(
        &self,
        endpoint: &str,
        wire_id: &str,
        signer_key: &[u8; 32],
    ) -> Result<Option<Transaction>, InventoryError>;

    /// Transactions in this state, oldest first.
    async fn transactions(&self, state: TransactionState, limit: usize) -> Result<Vec<Transaction>, InventoryError>;

    /// Lets a waiting transaction go on (`Some` attempt) or refuses it. Gives the transaction as it is then; `None` if it was
    /// not waiting.
    async fn decide(&self, id: TransactionId, decision: Decision) -> Result<Option<Transaction>, InventoryError>;

    /// Takes transactions whose work is due and that nobody holds (or whose holder's time is up), and holds them until `until`: of
    /// each upstream as many as `room` says, and of those that it does not name up to `limit` of each kind, what is due longest first. The
    /// attempts come back as they were; what was `Prepared` is `Submitted` on disk from then on, so that after a crash nobody
    /// believes that the issuer surely has not heard of it.
    async fn claim(
        &self,
        node: &str,
        now: Timestamp,
        until: Timestamp,
        limit: usize,
        room: &BTreeMap<String, Room>,
    ) -> Result<Vec<(Transaction, Attempt)>, InventoryError>;

    /// Makes an attempt that waits a submitted one, if it is held as `attempt` says still: its issuer is about to be asked in a way that
    /// may issue, and after a crash nobody believes that it surely was not.
    async fn submits_again(&self, transaction: TransactionId, attempt: &Attempt) -> Result<bool, InventoryError>;

    /// Attempts at this upstream that [`claim`](Self::claim) would take, which are prepared, and whose orders name other issuers too, among
    /// the next `limit` after a place: what is due longest first.
    async fn movable(&self, upstream: &str, now: Timestamp, after: Looked, limit: usize) -> Result<Movable, InventoryError>;

    /// Makes an attempt one at another issuer, if it is as `attempt` says still: prepared, and held by nobody.
    async fn move_on(&self, attempt: &Attempt, to: &IssuerRef, event: AuditEvent) -> Result<bool, InventoryError>;

    /// How many attempts are open at each upstream: those that wait for their turn, those under way, and those that wait for the CA.
    async fn open_attempts(&self) -> Result<BTreeMap<String, u64>, InventoryError>;

    /// What there is at this upstream that [`claim`](Self::claim) would take.
    async fn due(&self, upstream: &str, now: Timestamp) -> Result<Due, InventoryError>;

    /// Gives back everything that `node` holds: after a restart under the same name.
    async fn release(&self, node: &str) -> Result<u64, InventoryError>;

    // --- challenges ---

    /// Stores a challenge.
    async fn add_challenges(&self, new: Vec<Challenge>) -> Result<(), InventoryError>;

    /// The challenge with this digest.
    async fn challenge(&self, digest: &[u8; 32]) -> Result<Option<Challenge>, InventoryError>;

    /// Challenges, newest first.
    async fn challenges(&self, group: Option<&str>, include_spent: bool, limit: usize) -> Result<Vec<Challenge>, InventoryError>;

    /// Revokes the challenge whose id starts with `prefix`; `false` if there is none, or it is spent.
    async fn revoke_challenge(&self, prefix: &str, event: AuditEvent) -> Result<bool, InventoryError>;

    // --- certificates ---

    /// The certificate with this fingerprint.
    async fn certificate(&self, fingerprint: &[u8; 32]) -> Result<Option<CertificateRecord>, InventoryError>;

    /// The certificate with this issuer (DER Name) and serial (content octets).
    async fn certificate_by_serial(&self, issuer: &[u8], serial: &[u8]) -> Result<Option<CertificateRecord>, InventoryError>;

    /// Writes a certificate that no transaction hands out, such as one that came after another was delivered; `false` if there is
    /// one with this issuer and serial already. It supersedes nothing, and its CA is owed the word that it is revoked.
    async fn set_aside(&self, certificate: CertificateRecord, event: AuditEvent) -> Result<bool, InventoryError>;

    /// Unexpired certificates of this upstream that nobody is given, written later than `after`, whose CA was not told yet that they are
    /// revoked: oldest first.
    async fn owed(
        &self,
        upstream: &str,
        after: Timestamp,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<CertificateRecord>, InventoryError>;

    /// Writes that the CA of such a certificate was told; it is revoked from then on, if it was not before. `false` if nothing was owed.
    async fn told(
        &self,
        fingerprint: &[u8; 32],
        reason: RevocationReason,
        at: Timestamp,
        event: Option<AuditEvent>,
    ) -> Result<bool, InventoryError>;

    /// Certificates that fit the search, newest first.
    async fn certificates(&self, search: &CertificateSearch) -> Result<Vec<CertificateRecord>, InventoryError>;

    /// The other certificate of a pair, whichever of the two this one is; the newest, should there be several.
    async fn sibling(&self, fingerprint: &[u8; 32]) -> Result<Option<CertificateRecord>, InventoryError>;

    /// Writes that a certificate is revoked, and its sibling with it; `false` if it was already, or is not there.
    async fn revoke(
        &self,
        fingerprint: &[u8; 32],
        reason: RevocationReason,
        at: Timestamp,
        event: AuditEvent,
    ) -> Result<bool, InventoryError>;

    /// Revoked, unexpired certificates of an issuer (DER Name).
    async fn revoked(&self, issuer: &[u8], now: Timestamp) -> Result<Vec<RevokedCertificate>, InventoryError>;

    /// A number greater than any given before for this issuer (DER Name).
    async fn next_crl_number(&self, issuer: &[u8]) -> Result<u64, InventoryError>;

    /// How many certificates this device of this group was given since then; a pair counts once.
    async fn issued_to_device(&self, group: &str, device: &str, since: Timestamp) -> Result<u64, InventoryError>;

    /// A certificate that forbids this key (SHA-256 of the SPKI) to this device, if there is one: any that was revoked because the
    /// key is compromised, or else a valid one of another device.
    async fn key_used_elsewhere(
        &self,
        spki: &[u8; 32],
        group: &str,
        device: &str,
    ) -> Result<Option<CertificateRecord>, InventoryError>;

    /// How many rows there are of each kind: for metrics and readiness.
    async fn statistics(&self) -> Result<Statistics, InventoryError>;

    // --- audit ---

    /// Appends events to the chain.
    async fn audit(&self, events: Vec<AuditEvent>) -> Result<(), InventoryError>;

    /// Events after `after` (0: from the start), oldest first.
    async fn audit_log(&self, after: u64, limit: usize) -> Result<Vec<AuditRecord>, InventoryError>;

    // --- upkeep ---

    /// Writes nothing and says whether writing would work: for readiness.
    async fn check(&self) -> Result<(), InventoryError>;

    /// Deletes what is older than that, in steps that let other writes through. Certificates and audit events stay, and so does what
    /// is open. A message whose transaction and reply are gone is a new one; a challenge that is gone is as good as a wrong one.
    async fn purge(&self, before: PurgeBefore) -> Result<u64, InventoryError>;
}

/// What is old enough to be deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PurgeBefore {
    /// Stored replies, refused transactions, spent or expired challenges and sealed secrets from before then.
    pub leavings: Timestamp,
    /// Transactions that were issued or failed before then, with all that belongs to them but the certificate.
    pub transactions: Timestamp,
}

/// Identifies a transaction in the inventory (UUID version 7: it sorts by time).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TransactionId(pub Uuid);

/// Identifies an attempt at an issuer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AttemptId(pub Uuid);

impl TransactionId {
    /// A fresh identifier.
    pub fn new() -> Self {
        Self(Uuid::now_v7())
    }
}

impl Default for TransactionId {
    fn default() -> Self {
        Self::new()
    }
}

impl AttemptId {
    /// A fresh identifier; its 16 octets are the idempotency key.
    pub fn new() -> Self {
        Self(Uuid::now_v7())
    }

    /// When it was made.
    pub fn made_at(&self) -> Option<Timestamp> {
        let (seconds, nanoseconds) = self.0.get_timestamp()?.to_unix();
        Timestamp::new(i64::try_from(seconds).ok()?, i32::try_from(nanoseconds).ok()?).ok()
    }
}

impl Default for AttemptId {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Display for TransactionId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::fmt::Display for AttemptId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// What makes a transaction one and the same: (endpoint, wire identifier, signer key, CSR key, intent, wish). Two requests that differ in
/// the wire identifier alone share a transaction while it is open.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TransactionKey {
    /// Name of the endpoint.
    pub endpoint: String,
    /// transactionID as the client gave it.
    pub wire_id: String,
    /// SHA-256 of the signer's SubjectPublicKeyInfo.
    pub signer_key: [u8; 32],
    /// SHA-256 of the CSR's SubjectPublicKeyInfo.
    pub csr_key: [u8; 32],
    /// Empty for a first enrollment; the fingerprint of the certificate that is renewed otherwise.
    pub renews: Option<[u8; 32]>,
    /// Digest of what is asked for: subject, alternative names and usages.
    pub wish: [u8; 32],
}

/// Where a transaction stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TransactionState {
    /// People have to decide.
    AwaitingApproval,
    /// An attempt at an issuer is under way.
    Issuing,
    /// The certificate is in the inventory.
    Issued,
    /// Policy or people said no.
    Refused,
    /// The issuer said no.
    Failed,
    /// It is unclear whether the issuer issued; an operator decides.
    Unknown,
}

crate::algorithm::named!(TransactionState, "transaction state", {
    AwaitingApproval => "awaiting-approval",
    Issuing => "issuing",
    Issued => "issued",
    Refused => "refused",
    Failed => "failed",
    Unknown => "unknown",
});

impl TransactionState {
    /// Whether nothing will change any more.
    pub const fn is_final(self) -> bool {
        matches!(self, TransactionState::Issued | TransactionState::Refused | TransactionState::Failed)
    }
}

/// A transaction as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// Its identifier.
    pub id: TransactionId,
    /// What makes it unique.
    pub key: TransactionKey,
    /// Where it stands.
    pub state: TransactionState,
    /// `scep`, later others.
    pub protocol: String,
    /// The device group, if it got that far.
    pub group: Option<String>,
    /// The CSR, DER.
    pub csr: Vec<u8>,
    /// The subject of the CSR as text.
    pub subject: String,
    /// Where it came from.
    pub source: Option<IpAddr>,
    /// When it came.
    pub received_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// The order as JSON, if it got that far.
    pub order: Option<String>,
    /// Stable code of the rejection, if it was refused or failed.
    pub rejection: Option<String>,
    /// What to tell people about it.
    pub detail: Option<String>,
    /// Hex digest of the configuration snapshot that decided.
    pub snapshot: String,
    /// Fingerprint of the certificate, if one was issued; of a pair, the first one.
    pub certificate: Option<[u8; 32]>,
    /// Digest of the challenge that it holds.
    pub challenge: Option<[u8; 32]>,
    /// The challenge, sealed, for a reply that needs it as a password.
    pub sealed_challenge: Option<Vec<u8>>,
}

/// What [`Inventory::recall`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Known {
    /// The very same message was answered for good: these are the bytes.
    Reply {
        /// The transaction that they belong to.
        transaction: Transaction,
        /// The reply.
        reply: Vec<u8>,
    },
    /// The transaction is known.
    Transaction(Transaction),
}

/// What [`Inventory::open`] writes.
#[derive(Clone, Debug)]
pub struct NewTransaction {
    /// The row; its state is `Issuing` or `AwaitingApproval`.
    pub transaction: Transaction,
    /// The attempt to prepare, if it goes straight to the issuer.
    pub attempt: Option<Attempt>,
    /// A one-time challenge to redeem for it, by digest: fails the whole if it is spent by another, revoked or expired.
    pub redeem: Option<[u8; 32]>,
    /// A limit to keep: at most `count` transactions issued or open of this group and device since then.
    pub limit: Option<DeviceLimit>,
    /// Events to append.
    pub events: Vec<AuditEvent>,
}

/// At most so many certificates for a device in a period, counted in the same write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceLimit {
    /// The device group.
    pub group: String,
    /// The device.
    pub device: String,
    /// Start of the period.
    pub since: Timestamp,
    /// The most that there may be, this one included.
    pub count: u32,
}

/// What [`Inventory::open`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::large_enum_variant, reason = "it lives for a moment on the stack, one a request")]
pub enum Opened {
    /// It was written, and is held by this node.
    Created,
    /// A transaction of the same key, or an open one of the same keys, was there before.
    Existing(Transaction),
    /// The challenge was spent, revoked or expired in between: nothing was written.
    ChallengeSpent,
    /// The device has had its share: nothing was written.
    LimitReached,
}

/// One try at one issuer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Its identifier; also the idempotency key.
    pub id: AttemptId,
    /// Where it stands.
    pub state: AttemptState,
    /// The upstream.
    pub upstream: String,
    /// The CA there.
    pub ca: String,
    /// What the upstream gave to ask again with.
    pub reference: Option<String>,
    /// When to look at it again; once somebody has taken it up, when that was.
    pub due_at: Timestamp,
    /// Who works on it.
    pub held_by: Option<String>,
    /// Until when.
    pub held_until: Option<Timestamp>,
}

/// How far the attempts at an upstream were looked through; at first not at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Looked {
    due_at: i64,
    number: i64,
}

impl Default for Looked {
    fn default() -> Self {
        Looked { due_at: i64::MIN, number: i64::MIN }
    }
}

/// What [`Inventory::movable`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Movable {
    /// What could go elsewhere.
    pub found: Vec<(Transaction, Attempt)>,
    /// Where to look on; `None` at the end.
    pub next: Option<Looked>,
}

/// How much there is room for at an upstream: what an issuer gave a reference for is asked after, and everything else is an order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Room {
    /// Orders.
    pub orders: usize,
    /// Questions after orders that wait at the issuer.
    pub polls: usize,
}

/// What is due at an upstream, in the same two kinds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Due {
    /// Whether there are orders.
    pub orders: bool,
    /// Whether there are questions.
    pub polls: bool,
}

/// A hold on an attempt. No two claims of an attempt end at the same time, so that who holds it and until when tells one from another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Who works on it.
    pub node: String,
    /// Until when.
    pub until: Timestamp,
}

impl Attempt {
    /// Who is asked.
    pub fn issuer(&self) -> IssuerRef {
        IssuerRef { upstream: self.upstream.clone(), ca: self.ca.clone() }
    }

    /// The hold that somebody has on it.
    pub fn lease(&self) -> Option<Lease> {
        Some(Lease { node: self.held_by.clone()?, until: self.held_until? })
    }
}

/// Where an attempt stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AttemptState {
    /// On disk; the issuer surely has not heard of it.
    Prepared,
    /// On disk; the issuer may have heard of it.
    Submitted,
    /// The issuer said "later".
    Waiting,
    /// The issuer issued.
    Issued,
    /// The issuer said no.
    Rejected,
    /// Nobody knows.
    Unknown,
}

crate::algorithm::named!(AttemptState, "attempt state", {
    Prepared => "prepared",
    Submitted => "submitted",
    Waiting => "waiting",
    Issued => "issued",
    Rejected => "rejected",
    Unknown => "unknown",
});

impl AttemptState {
    /// Whether there is work left to do.
    pub const fn is_open(self) -> bool {
        matches!(self, AttemptState::Prepared | AttemptState::Submitted | AttemptState::Waiting)
    }
}

/// What [`Inventory::refuse`] writes.
#[derive(Clone, Debug)]
pub struct RefusedTransaction {
    /// The row, in state `Refused`, with its rejection.
    pub transaction: Transaction,
    /// Digest of the message, and the reply that it got.
    pub reply: Option<([u8; 32], Bytes)>,
    /// Events to append.
    pub events: Vec<AuditEvent>,
}

/// What [`Inventory::conclude`] writes.
#[derive(Clone, Debug)]
pub struct Conclusion {
    /// The transaction.
    pub transaction: TransactionId,
    /// The attempt.
    pub attempt: AttemptId,
    /// The hold that the writer has on it.
    pub lease: Option<Lease>,
    /// What became of it.
    pub result: AttemptResult,
    /// When.
    pub at: Timestamp,
    /// Digest of the message, and the final reply to it.
    pub reply: Option<([u8; 32], Bytes)>,
    /// Events to append.
    pub events: Vec<AuditEvent>,
}

/// What became of an attempt.
#[derive(Clone, Debug)]
pub enum AttemptResult {
    /// Issued: transaction `Issued`; the sealed challenge is kept only if `keep_secret`; what it renews becomes superseded.
    ///
    /// If the certificate is a sibling, the transaction's own is the one that it belongs to, and what that one renews becomes
    /// superseded with it.
    Issued {
        /// The certificate's row.
        certificate: Arc<CertificateRecord>,
        /// Whether a later poll still needs the sealed challenge.
        keep_secret: bool,
    },
    /// The first certificate of a pair was issued. It stands in the inventory, and the transaction remembers it and stays `Issuing`,
    /// with a further attempt for the sibling, which its holder goes on with, or which waits for its turn. Nothing is superseded yet.
    FirstOfPair {
        /// The certificate's row.
        certificate: Arc<CertificateRecord>,
        /// The attempt for the sibling.
        next: Attempt,
    },
    /// The issuer surely did not take it: the attempt is `Prepared` again, nobody holds it, and the transaction stays `Issuing`.
    NotTaken {
        /// When to submit it again.
        due_at: Timestamp,
        /// To whom, if to another one.
        next: Option<IssuerRef>,
    },
    /// The issuer may have taken it: the attempt stays `Submitted`, nobody holds it, and whoever takes it up finds out what became of
    /// it before anything else.
    Unclear {
        /// When to find out.
        due_at: Timestamp,
    },
    /// The issuer will decide later: the transaction stays `Issuing`, nobody holds it.
    Waiting {
        /// What to ask with.
        reference: String,
        /// When.
        due_at: Timestamp,
    },
    /// Rejected for good: transaction `Failed`, its one-time challenge is free again. The first certificate of a pair, which nobody
    /// was given, is revoked.
    Rejected {
        /// Stable code.
        code: String,
        /// What the issuer said.
        detail: String,
    },
    /// Unclear: transaction `Unknown`.
    Unknown {
        /// What happened.
        detail: String,
    },
}

/// What [`Inventory::conclude`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::large_enum_variant, reason = "it lives for a moment on the stack, one a request")]
pub enum Concluded {
    /// Written.
    Done,
    /// It was final before; this is how.
    AlreadyFinal(Transaction),
    /// Another took the attempt over, or people had the order placed anew; this is how the transaction stands.
    Lost(Transaction),
}

/// What people decided about a waiting transaction.
#[derive(Clone, Debug)]
pub enum Decision {
    /// Go on with this attempt, due at once.
    Approve {
        /// The attempt to prepare.
        attempt: Attempt,
        /// The audit event.
        event: AuditEvent,
    },
    /// Refuse; the one-time challenge stays spent. The first certificate of a pair, which nobody was given, is revoked.
    Deny {
        /// Why, for the device and the log.
        detail: String,
        /// The audit event.
        event: AuditEvent,
    },
}

/// A one-time challenge. Only its digest is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Challenge {
    /// Public identifier, for lists and logs: 16 hex digits that say nothing about the challenge.
    pub id: String,
    /// SHA-256 of the challenge (it has at least 128 random bits, so no salt or iteration is needed).
    pub digest: [u8; 32],
    /// The group that it is for.
    pub group: String,
    /// What the request must have for it, as `subject.serialNumber` → value.
    pub bind: BTreeMap<String, String>,
    /// A note for people.
    pub note: Option<String>,
    /// Who made it.
    pub created_by: String,
    /// When.
    pub created_at: Timestamp,
    /// Until when it can be redeemed.
    pub expires_at: Timestamp,
    /// The transaction that redeemed it.
    pub redeemed_by: Option<TransactionId>,
    /// When.
    pub redeemed_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

/// A certificate as it is stored, with what people search for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateRecord {
    /// SHA-256 over the DER.
    pub fingerprint: [u8; 32],
    /// The certificate.
    pub der: Vec<u8>,
    /// Content octets of the serial.
    pub serial: Vec<u8>,
    /// DER Name of the issuer.
    pub issuer: Vec<u8>,
    /// The issuer as text.
    pub issuer_text: String,
    /// The subject as text.
    pub subject: String,
    /// The first common name.
    pub common_name: Option<String>,
    /// The subject alternative names, as `dns:name`, `ip:…`.
    pub subject_alt_names: Vec<String>,
    /// Start of the validity.
    pub not_before: Timestamp,
    /// End of the validity.
    pub not_after: Timestamp,
    /// The kind of the subject's key.
    pub key_algorithm: String,
    /// SHA-256 of the SPKI.
    pub spki_digest: [u8; 32],
    /// What signed it.
    pub signature_algorithm: String,
    /// `valid`, `superseded` or `revoked`; expiry follows from the date.
    pub status: CertificateStatus,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
    /// Why.
    pub revocation_reason: Option<RevocationReason>,
    /// The device group.
    pub group: String,
    /// The algorithm profile.
    pub profile: String,
    /// The upstream.
    pub upstream: String,
    /// The CA there.
    pub ca: String,
    /// The device, as the group recognises it.
    pub device: Option<String>,
    /// The transaction.
    pub transaction: TransactionId,
    /// How the device proved itself: `one-time challenge`, `shared challenge`, `certificate`.
    pub authenticated_by: String,
    /// Where the request came from.
    pub source: Option<IpAddr>,
    /// The certificate that this one renews.
    pub renews: Option<[u8; 32]>,
    /// The first certificate of the pair that this one is the second of.
    pub sibling_of: Option<[u8; 32]>,
    /// Whether nobody is given it: it came too late, is not what was ordered, or is the first of a pair that came to nothing.
    pub set_aside: bool,
    /// When it was issued.
    pub issued_at: Timestamp,
}

/// Where a certificate stands; whether it is expired follows from its dates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CertificateStatus {
    /// In use as far as we know.
    Valid,
    /// A later one took its place.
    Superseded,
    /// Revoked.
    Revoked,
}

crate::algorithm::named!(CertificateStatus, "certificate status", {
    Valid => "valid",
    Superseded => "superseded",
    Revoked => "revoked",
});

/// What to look for; everything that is set has to fit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CertificateSearch {
    /// Part of the subject, a SAN, the device, or the start of the serial or fingerprint in hex.
    pub text: Option<String>,
    /// The device group.
    pub group: Option<String>,
    /// The algorithm profile.
    pub profile: Option<String>,
    /// The device.
    pub device: Option<String>,
    /// The status.
    pub status: Option<CertificateStatus>,
    /// Expires before then.
    pub expires_before: Option<Timestamp>,
    /// Expires after then.
    pub expires_after: Option<Timestamp>,
    /// Issued after then.
    pub issued_after: Option<Timestamp>,
    /// What signed it.
    pub signature_algorithm: Option<String>,
    /// The kind of the subject's key.
    pub key_algorithm: Option<String>,
    /// Only siblings, or none of them.
    pub siblings: Option<bool>,
    /// The most to give; 0 is 100.
    pub limit: usize,
    /// How many to leave out first.
    pub offset: usize,
}

/// Row counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statistics {
    /// Certificates.
    pub certificates: u64,
    /// Transactions that wait for people.
    pub awaiting_approval: u64,
    /// Transactions at an issuer.
    pub issuing: u64,
    /// Transactions that an operator has to look at.
    pub unknown: u64,
    /// One-time challenges that can still be redeemed.
    pub outstanding_challenges: u64,
}

/// What went wrong in the store. Nothing was written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InventoryError {
    /// The store refuses writes: disk full, read-only, or gone.
    #[error("the inventory cannot be written: {0}")]
    Unavailable(String),
    /// The store is as busy as it may be.
    #[error("the inventory is busy")]
    Busy,
    /// What is stored is not what should be there.
    #[error("the inventory is damaged: {0}")]
    Damaged(String),
    /// The file is of a newer version than this program.
    #[error("the inventory has schema version {found}, this program knows {known}: use a newer program")]
    TooNew {
        /// Version of the file.
        found: i64,
        /// Version of the program.
        known: i64,
    },
}
