//! Writes down what came in, and answers what is known already.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll};

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use const_oid::db::rfc5280::{ID_CE_EXT_KEY_USAGE, ID_CE_KEY_USAGE, ID_CE_SUBJECT_ALT_NAME};
use jiff::Timestamp;
use serde_json::json;
use tower::{Layer, Service};

use super::choose::{ChosenProfile, may_be_chosen_otherwise};
use super::core::{Core, after};
use super::issue::{fields, pending};
use super::shadow::{self, ShadowJob};
use super::stage::Settled;
use super::wait::await_conclusion;
use super::{
    Answer, EnrollError, EnrollmentRequest, Intent, IssuedCertificate, Outcome, Rejection, RejectionCode, challenge, fault,
};
use crate::inventory::{
    AuditEvent, CertificateStatus, Known, RefusedTransaction, Setback, SetbackKind, Transaction, TransactionId, TransactionKey,
    TransactionState,
};
use crate::policy::DeviceGroup;
use crate::snapshot::Snapshot;
use crate::x509::{Certificate, VerifiedCsr};

/// A request that is not an old one.
pub struct Recorded {
    pub(super) request: EnrollmentRequest,
    pub(super) key: TransactionKey,
    /// Set by the step that finds the group; read when the answer is counted and a refusal is written.
    pub(super) group: Arc<OnceLock<Arc<DeviceGroup>>>,
    /// Set by the step that chooses the profile, and by a later one that falls back to another; read likewise.
    pub(super) chosen: Arc<ArcSwapOption<ChosenProfile>>,
    /// Set by the same step, where the group has a shadow; taken when the answer is made.
    pub(super) shadow: Arc<Mutex<Option<ShadowJob>>>,
}

/// The layer.
#[derive(Clone)]
pub(crate) struct RecordLayer(pub(crate) Arc<Core>);

impl<S> Layer<S> for RecordLayer {
    type Service = Record<S>;

    fn layer(&self, inner: S) -> Record<S> {
        Record { core: Arc::clone(&self.0), inner }
    }
}

/// Answers what is known, hands on what is new, and sees to it that the answer is stored before it leaves.
#[derive(Clone)]
pub(crate) struct Record<S> {
    core: Arc<Core>,
    inner: S,
}

impl<S> Service<EnrollmentRequest> for Record<S>
where
    S: Service<Recorded, Response = Settled, Error = EnrollError> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Answer;
    type Error = EnrollError;
    type Future = std::pin::Pin<Box<dyn Future<Output = Result<Answer, EnrollError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), EnrollError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: EnrollmentRequest) -> Self::Future {
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        let core = Arc::clone(&self.core);
        Box::pin(async move {
            fault::point("received");
            let key = transaction_key(&request);
            let seen = Seen::default();
            let settled = match recall(&core, &request, &key).await? {
                Recall::Reply(reply) => {
                    let (group, profile) = labels(&request, &seen);
                    core.metrics.enrollment(request.protocol, group, &profile, "replayed");
                    return Ok(Answer { outcome: None, reply });
                }
                Recall::Outcome(outcome) => Settled::recorded(deliverable(&request, outcome)),
                Recall::New => {
                    let recorded = Recorded {
                        request: request.clone(),
                        key: key.clone(),
                        group: Arc::clone(&seen.group),
                        chosen: Arc::clone(&seen.chosen),
                        shadow: Arc::clone(&seen.shadow),
                    };
                    let settled = inner.call(recorded).await?;
                    match overtaken(&core, &request, &key, &settled).await? {
                        Some(outcome) => Settled::recorded(deliverable(&request, outcome)),
                        None => settled,
                    }
                }
            };
            let answer = complete(&core, &request, key, &seen, settled).await;
            let job = seen.shadow.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(job) = job {
                shadow::offer(&core, job);
            }
            answer
        })
    }
}

/// What the steps below found out, as far as a request got.
#[derive(Default)]
struct Seen {
    group: Arc<OnceLock<Arc<DeviceGroup>>>,
    chosen: Arc<ArcSwapOption<ChosenProfile>>,
    shadow: Arc<Mutex<Option<ShadowJob>>>,
}

/// What makes a request's transaction unique.
pub(super) fn transaction_key(request: &EnrollmentRequest) -> TransactionKey {
    let digester = crate::crypto::provider().digester;
    TransactionKey {
        endpoint: request.endpoint.name.clone(),
        wire_id: request.wire_id.clone(),
        signer_key: digester.sha256(request.signer.spki()),
        csr_key: digester.sha256(request.csr.spki()),
        renews: match &request.intent {
            Intent::Initial => None,
            Intent::Renewal(certificate) => Some(certificate.fingerprint()),
        },
        wish: wish(&request.csr),
    }
}

/// Digest of what a request asks for, as far as an order could say it: subject, alternative names, usages and an alternative key. The challenge, a fresh
/// signature and extensions that nobody takes over make no other wish.
fn wish(csr: &VerifiedCsr) -> [u8; 32] {
    let mut asked: Vec<_> = csr
        .extensions()
        .iter()
        .filter(|extension| [ID_CE_SUBJECT_ALT_NAME, ID_CE_KEY_USAGE, ID_CE_EXT_KEY_USAGE].contains(&extension.oid))
        .map(|extension| (extension.oid, extension.value.as_slice()))
        .collect();
    asked.sort();
    // Each part tells its own length, or has the same always: no two wishes run into one.
    let mut text = csr.subject().der().to_vec();
    for (oid, value) in asked {
        text.extend_from_slice(oid.as_bytes());
        text.extend_from_slice(value);
    }
    if let Some(alternative) = csr.alternative() {
        text.extend_from_slice(&alternative.spki);
    }
    crate::crypto::provider().digester.sha256(&text)
}

enum Recall {
    /// The same bytes were answered for good.
    Reply(Bytes),
    /// The transaction is known.
    Outcome(Outcome),
    /// It is new, or is to be looked at afresh.
    New,
}

async fn recall(core: &Core, request: &EnrollmentRequest, key: &TransactionKey) -> Result<Recall, EnrollError> {
    Ok(match core.inventory.recall(&request.message, key).await? {
        None => Recall::New,
        Some(Known::Reply { transaction, reply }) => match transaction.state {
            // Policy may have changed its mind since.
            TransactionState::Refused if transaction.snapshot != request.snapshot.digest_hex() => Recall::New,
            TransactionState::Refused if may_be_chosen_otherwise(core, request, &transaction).await? => Recall::New,
            _ => Recall::Reply(reply.into()),
        },
        Some(Known::Transaction(transaction)) => {
            if transaction.key.wire_id != key.wire_id {
                // The client started over under another transactionID: from now on polls under that one find it too.
                core.inventory.join(transaction.id, &key.wire_id).await?;
            }
            known(core, request, transaction).await?
        }
    })
}

/// What another request's transaction brought, or a refusal in its place if it could not be encrypted to this requester: it joined
/// without the challenge that its key makes necessary. The transaction stays as it is.
fn deliverable(request: &EnrollmentRequest, outcome: Outcome) -> Outcome {
    match (&outcome, request.reply.deliverable()) {
        (Outcome::Issued(issued), Err(why)) if issued.password.is_none() => {
            Outcome::Refused(Rejection::new(RejectionCode::NotDeliverable, why))
        }
        _ => outcome,
    }
}

/// What to do with a transaction that is known.
async fn known(core: &Core, request: &EnrollmentRequest, transaction: Transaction) -> Result<Recall, EnrollError> {
    Ok(match transaction.state {
        TransactionState::Issuing => Recall::Outcome(await_conclusion(core, &request.snapshot, transaction).await?),
        TransactionState::AwaitingApproval | TransactionState::Unknown => Recall::Outcome(pending(transaction.id)),
        // People said no to this very wish: a device that polls by asking again hears that, and not that its challenge is spent.
        TransactionState::Refused if was_denied(&transaction) && same_credential(request, &transaction) => {
            Recall::Outcome(stored_outcome(core, &request.snapshot, &transaction).await?)
        }
        TransactionState::Refused | TransactionState::Failed => Recall::New,
        TransactionState::Issued => match is_retry(request, &transaction, core.now()) {
            true => match stored_certificate(core, &request.snapshot, &transaction).await? {
                Some(issued) => Recall::Outcome(Outcome::Issued(issued)),
                None => Recall::New,
            },
            false => Recall::New,
        },
    })
}

/// A copy of a request that was a moment slower finds the challenge spent by its twin: it gets what the twin gets.
async fn overtaken(
    core: &Core,
    request: &EnrollmentRequest,
    key: &TransactionKey,
    settled: &Settled,
) -> Result<Option<Outcome>, EnrollError> {
    let spent = matches!(&settled.outcome, Outcome::Refused(rejection) if rejection.code == RejectionCode::ChallengeSpent);
    if !spent {
        return Ok(None);
    }
    Ok(match core.inventory.recall(&request.message, key).await? {
        Some(Known::Reply { transaction, .. } | Known::Transaction(transaction))
            if transaction.challenge == request.challenge.as_ref().map(|text| challenge::digest(text)) =>
        {
            match transaction.state {
                TransactionState::Refused | TransactionState::Failed => None,
                _ => Some(await_conclusion(core, &request.snapshot, transaction).await?),
            }
        }
        _ => None,
    })
}

/// Whether a new message is the same wish again: the same credential, soon enough. A device that enrolls anew with the same key brings
/// another challenge.
fn is_retry(request: &EnrollmentRequest, transaction: &Transaction, now: Timestamp) -> bool {
    let replay =
        request.endpoint.groups.iter().find(|group| Some(&group.name) == transaction.group.as_ref()).map(|group| group.replay);
    let soon = replay.is_some_and(|replay| now <= after(transaction.updated_at, replay));
    soon && same_credential(request, transaction)
}

fn same_credential(request: &EnrollmentRequest, transaction: &Transaction) -> bool {
    request.challenge.as_ref().map(|text| challenge::digest(text)) == transaction.challenge
}

fn was_denied(transaction: &Transaction) -> bool {
    transaction.rejection.as_deref() == Some(RejectionCode::Denied.name())
}

/// The outcome that a stored transaction stands for.
pub(super) async fn stored_outcome(core: &Core, snapshot: &Snapshot, transaction: &Transaction) -> Result<Outcome, EnrollError> {
    Ok(match transaction.state {
        TransactionState::AwaitingApproval | TransactionState::Issuing | TransactionState::Unknown => pending(transaction.id),
        TransactionState::Refused | TransactionState::Failed => {
            let code = transaction.rejection.as_deref().and_then(RejectionCode::from_name).unwrap_or(RejectionCode::Denied);
            Outcome::Refused(Rejection::new(code, transaction.detail.clone().unwrap_or_default()))
        }
        TransactionState::Issued => match stored_certificate(core, snapshot, transaction).await? {
            Some(issued) => Outcome::Issued(issued),
            None => Outcome::Refused(Rejection::new(RejectionCode::NotFound, "the certificate was revoked or is expired")),
        },
    })
}

/// The certificate of a transaction, unless it is revoked or expired.
async fn stored_certificate(
    core: &Core,
    snapshot: &Snapshot,
    transaction: &Transaction,
) -> Result<Option<IssuedCertificate>, EnrollError> {
    let Some(fingerprint) = transaction.certificate else { return Ok(None) };
    let Some(record) = core.inventory.certificate(&fingerprint).await? else { return Ok(None) };
    if record.status == CertificateStatus::Revoked || record.not_after <= core.now() {
        return Ok(None);
    }
    let upstream = snapshot.upstreams.get(&record.upstream);
    let certificate = Certificate::from_octets(record.der).map_err(|error| EnrollError::Internal(error.to_string()))?;
    let chain = upstream.and_then(|upstream| upstream.chain_above(&record.ca, &certificate)).unwrap_or_default();
    let password = transaction.sealed_challenge.as_deref().and_then(|sealed| core.sealer.open(sealed)).map(Arc::new);
    Ok(Some(IssuedCertificate { transaction: transaction.id, certificate: Arc::new(certificate), chain, password }))
}

/// Encodes the answer where that is still to do, and stores a refusal before it leaves.
async fn complete(
    core: &Core,
    request: &EnrollmentRequest,
    key: TransactionKey,
    seen: &Seen,
    settled: Settled,
) -> Result<Answer, EnrollError> {
    let Settled { outcome, reply, recorded } = settled;
    let reply = match reply {
        Some(reply) => reply,
        None => Bytes::from(core.encode(&request.reply, &outcome).await?),
    };
    let (group_name, profile) = labels(request, seen);
    let profile = profile.as_str();
    match &outcome {
        Outcome::Refused(rejection) => {
            core.metrics.denial(group_name, rejection.code.name());
            core.metrics.enrollment(request.protocol, group_name, profile, "refused");
            tracing::warn!(
                endpoint = request.endpoint.name, peer = %request.peer.address, transaction = request.wire_id,
                subject = %request.csr.subject(), code = rejection.code.name(), "Request refused: {}.", rejection.detail
            );
            if !recorded {
                let refused = refuse(core, request, key, group_name, rejection, &reply);
                // Both in one commit of the store.
                let (refused, noted) = tokio::join!(refused, note_setback(core, seen, rejection));
                refused?;
                noted?;
            }
        }
        Outcome::Pending { transaction, .. } => {
            core.metrics.enrollment(request.protocol, group_name, profile, "pending");
            tracing::info!(endpoint = request.endpoint.name, peer = %request.peer.address, %transaction, "Request waits.");
        }
        _ => core.metrics.enrollment(request.protocol, group_name, profile, "issued"),
    }
    fault::point("before-reply");
    Ok(Answer { outcome: Some(outcome), reply })
}

/// Writes a refusal with its reply, so that the same message gets the same answer.
async fn refuse(
    core: &Core,
    request: &EnrollmentRequest,
    key: TransactionKey,
    group: &str,
    rejection: &Rejection,
    reply: &Bytes,
) -> Result<(), EnrollError> {
    let stranger = rejection.code.is_unauthenticated();
    if stranger && !core.refusals.pays() {
        core.metrics.shed("refusal-record");
        return Ok(());
    }
    let now = core.now();
    let transaction = Transaction {
        id: TransactionId::new(),
        key,
        state: TransactionState::Refused,
        protocol: request.protocol.to_owned(),
        group: Some(group.to_owned()).filter(|name| !name.is_empty()),
        // What a stranger sends may be large, and nobody will act on it.
        csr: if stranger { Vec::new() } else { request.csr.without_challenge() },
        subject: shortened(&request.csr.subject().to_string()),
        source: Some(request.peer.ip()),
        received_at: request.received_at,
        updated_at: now,
        order: None,
        rejection: Some(rejection.code.name().to_owned()),
        detail: Some(shortened(&rejection.detail)),
        snapshot: request.snapshot.digest_hex(),
        certificate: None,
        challenge: None,
        sealed_challenge: None,
    };
    let event = AuditEvent {
        at: now,
        event: "request.refused".into(),
        actor: "device".into(),
        object: transaction.id.to_string(),
        fields: fields(json!({
            "endpoint": request.endpoint.name, "code": rejection.code.name(), "detail": transaction.detail,
            "subject": transaction.subject, "source": transaction.source,
        })),
    };
    let refused = RefusedTransaction { transaction, reply: Some((request.message, reply.clone())), events: vec![event] };
    Ok(core.inventory.refuse(refused).await?)
}

/// Remembers which device was refused under which profile, while its group tries a candidate.
async fn note_setback(core: &Core, seen: &Seen, rejection: &Rejection) -> Result<(), EnrollError> {
    let (Some(group), Some(chosen)) = (seen.group.get(), seen.chosen.load_full()) else { return Ok(()) };
    let Some(device) = &chosen.device else { return Ok(()) };
    if group.rollout.is_none() || rejection.code.is_unauthenticated() {
        return Ok(());
    }
    let now = core.now();
    let setback = Setback {
        group: group.name.clone(),
        profile: chosen.profile.name.clone(),
        device: device.clone(),
        kind: SetbackKind::Refused,
        code: rejection.code.name().to_owned(),
        detail: shortened(&rejection.detail),
        first_at: now,
        at: now,
        count: 1,
    };
    Ok(core.inventory.add_setback(setback).await?)
}

/// The start of what a stranger wrote. Audit events are kept for good, and nobody who is refused shall fill the disk with long names.
fn shortened(text: &str) -> String {
    const MOST: usize = 512;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Labels for metrics: names out of the configuration only. A request that was not matched to a group counts for the endpoint's only
/// one, or for none; one that ended before its profile was chosen counts for that of the group.
fn labels<'a>(request: &'a EnrollmentRequest, seen: &'a Seen) -> (&'a str, String) {
    let group = seen.group.get().or(match request.endpoint.groups.as_slice() {
        [only] => Some(only),
        _ => None,
    });
    let chosen = seen.chosen.load();
    let profile = |group: &DeviceGroup| chosen.as_ref().map_or(&group.profile, |chosen| &chosen.profile.name).clone();
    group.map_or(("", String::new()), |group| (&group.name, profile(group)))
}
