//! Writes the order, redeems the challenge with the same write, asks the issuer, looks at what came back, and writes what became of
//! it. The worker carries on from the same place.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::json;
use tower::Service;

use super::approve::Approved;
use super::core::{ANSWER, Core, LEASE, WRITE, after, before};
use super::fault;
use super::inspect::inspect;
use super::pair::{self, First};
use super::select_profile::Ordered;
use super::stage::{Settled, StageFuture};
use super::{EnrollError, IssuedCertificate, Outcome, Rejection, RejectionCode, Reply, challenge};
use crate::inventory::{
    Attempt, AttemptId, AttemptResult, AttemptState, AuditEvent, CertificateRecord, CertificateStatus, Concluded, Conclusion,
    DeviceLimit, InventoryError, NewTransaction, Opened, Setback, SetbackKind, Transaction, TransactionId, TransactionState,
};
use crate::rollout::ChoiceReason;
use crate::snapshot::Snapshot;
use crate::upstream::{IdempotencyKey, IssuanceOrder, Submission, UpstreamCa};
use crate::x509::Certificate;
use crate::x509::crl::RevocationReason;

/// When a client is told to ask again.
const RETRY_AFTER: Duration = Duration::from_secs(10);

/// How long an attempt rests after the issuer said "not now".
const BACKOFF: Duration = Duration::from_secs(15);

/// How long to wait before a conclusion that could not be written is written again.
const REWRITE: Duration = Duration::from_secs(1);

/// The last step.
#[derive(Clone)]
pub(crate) struct Issue(pub(crate) Arc<Core>);

impl Service<Approved> for Issue {
    type Response = Settled;
    type Error = EnrollError;
    type Future = StageFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), EnrollError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, approved: Approved) -> StageFuture {
        let core = Arc::clone(&self.0);
        Box::pin(async move { issue(core, approved.ordered).await })
    }
}

async fn issue(core: Arc<Core>, ordered: Ordered) -> Result<Settled, EnrollError> {
    let new = new_transaction(&core, &ordered, TransactionState::Issuing)?;
    let (transaction, attempt) = (new.transaction.clone(), new.attempt.clone());
    let attempt = attempt.ok_or_else(|| EnrollError::Internal("an issuing transaction has an attempt".into()))?;
    fault::point("before-open");
    match core.inventory.open(new).await? {
        Opened::Created => {}
        Opened::Existing(known) => {
            let snapshot = &ordered.permitted.authenticated.grouped.recorded.request.snapshot;
            return super::record::await_conclusion(&core, snapshot, known).await.map(Settled::recorded);
        }
        Opened::ChallengeSpent => {
            let rejection = Rejection::new(RejectionCode::ChallengeSpent, "the challenge was used meanwhile");
            return Ok(Settled::unrecorded(Outcome::Refused(rejection)));
        }
        Opened::LimitReached => {
            let rejection = Rejection::new(RejectionCode::LimitReached, "the device has had its share of certificates");
            return Ok(Settled::unrecorded(Outcome::Refused(rejection)));
        }
    }
    fault::point("after-open");
    let request = &ordered.permitted.authenticated.grouped.recorded.request;
    let (id, patience) = (transaction.id, request.snapshot.patience);
    let reply = Some((Arc::clone(&request.reply), request.message));
    let work = Work::new(Arc::clone(&request.snapshot), transaction, attempt, Arc::new(ordered.order), reply);
    // On a task of its own: a client that hangs up, or loses patience, does not stop what was begun.
    let carried = tokio::spawn(carry(core, work));
    match tokio::time::timeout(patience, carried).await {
        Ok(Ok(settled)) => settled,
        Ok(Err(join)) => Err(EnrollError::Internal(join.to_string())),
        Err(_) => Ok(Settled::recorded(pending(id))),
    }
}

/// The answer "come again".
pub(super) fn pending(transaction: TransactionId) -> Outcome {
    Outcome::Pending { transaction, retry_after: RETRY_AFTER }
}

/// The rows of a new transaction.
pub(super) fn new_transaction(core: &Core, ordered: &Ordered, state: TransactionState) -> Result<NewTransaction, EnrollError> {
    let authenticated = &ordered.permitted.authenticated;
    let (grouped, order) = (&authenticated.grouped, &ordered.order);
    let request = &grouped.recorded.request;
    let now = core.now();
    let json = super::seal::order_to_store(&core.sealer, order)?;
    let sealed_challenge = match &request.challenge {
        Some(text) if request.reply.needs_challenge() => core.sealer.seal(text),
        _ => None,
    };
    let transaction = Transaction {
        id: TransactionId::new(),
        key: grouped.recorded.key.clone(),
        state,
        protocol: request.protocol.to_owned(),
        group: Some(grouped.group.name.clone()),
        csr: request.csr.without_challenge(),
        subject: request.csr.subject().to_string(),
        source: Some(request.peer.ip()),
        received_at: request.received_at,
        updated_at: now,
        order: Some(json),
        rejection: None,
        detail: None,
        snapshot: order.snapshot.clone(),
        certificate: None,
        challenge: request.challenge.as_ref().map(|text| challenge::digest(text)),
        sealed_challenge,
    };
    let attempt = (state == TransactionState::Issuing).then(|| Attempt {
        id: AttemptId::new(),
        state: AttemptState::Submitted,
        upstream: order.issuer.upstream.clone(),
        ca: order.issuer.ca.clone(),
        reference: None,
        due_at: now,
        held_by: Some(core.node.clone()),
        held_until: Some(after(now, LEASE)),
    });
    let chosen = &ordered.permitted.chosen;
    let mut event = AuditEvent {
        at: now,
        event: if attempt.is_some() { "order.placed" } else { "approval.requested" }.into(),
        actor: "device".into(),
        object: transaction.id.to_string(),
        fields: fields(json!({
            "group": order.group, "rule": order.rule, "profile": order.profile,
            "chosen_by": chosen.choice.why.code(), "subject": transaction.subject,
            "source": transaction.source, "snapshot": order.snapshot, "changes": ordered.permitted.permit.changes,
        })),
    };
    if let Some(exception) = chosen.exception() {
        event.fields.insert("deadline_exception".into(), exception.into());
    }
    if !chosen.lesson.known.is_empty() {
        let known: Vec<&str> = chosen.lesson.known.iter().map(|known| known.profile.as_str()).collect();
        event.fields.insert("cannot_digest".into(), known.into());
    }
    if chosen.lesson.held {
        event.fields.insert("held".into(), "no profile of its ladder is left that its group may have".into());
    }
    if let ChoiceReason::Learned { from } | ChoiceReason::TooLarge { from, .. } = &chosen.choice.why {
        event.fields.insert("fallback_from".into(), from.as_str().into());
        event.fields.insert("fallback_because".into(), chosen.choice.why.to_string().into());
    }
    let limit = match (&grouped.group.per_device, &order.device) {
        (Some(rule), Some(device)) => Some(DeviceLimit {
            group: order.group.clone(),
            device: device.clone(),
            since: before(now, rule.period),
            count: rule.count,
        }),
        _ => None,
    };
    Ok(NewTransaction { transaction, attempt, redeem: authenticated.proof.redeem(), limit, events: vec![event] })
}

/// An attempt that is carried on: by the request's own task, or by the worker.
#[derive(Clone)]
pub(crate) struct Work {
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) transaction: Transaction,
    pub(crate) attempt: Attempt,
    pub(crate) order: Arc<IssuanceOrder>,
    /// Makes the reply, and the digest of the message that it answers, where somebody waits for it.
    pub(crate) reply: Option<(Arc<dyn Reply>, [u8; 32])>,
    /// The first certificate of a pair, where the order is for the second.
    pub(crate) first: Option<First>,
}

impl Work {
    /// Work on an order as it is stored.
    pub(crate) fn new(
        snapshot: Arc<Snapshot>,
        transaction: Transaction,
        attempt: Attempt,
        order: Arc<IssuanceOrder>,
        reply: Option<(Arc<dyn Reply>, [u8; 32])>,
    ) -> Self {
        Work { snapshot, transaction, attempt, order, reply, first: None }
    }
}

/// What one leg of the work came to.
enum Leg {
    /// The transaction has its answer, or has to wait.
    Settled(Settled),
    /// The first certificate of a pair is there.
    First(Box<Work>),
}

/// Carries a transaction on as far as it gets now: to its certificate, or to both certificates of a pair.
pub(crate) async fn carry(core: Arc<Core>, mut work: Work) -> Result<Settled, EnrollError> {
    loop {
        if let Some(second) = pair::second_leg(&core, &work).await? {
            work = second;
        }
        match leg(&core, work).await? {
            Leg::Settled(settled) => return Ok(settled),
            Leg::First(next) => work = *next,
        }
    }
}

/// Asks the issuer, looks at the answer, and writes it down.
async fn leg(core: &Arc<Core>, work: Work) -> Result<Leg, EnrollError> {
    let upstream = work.snapshot.upstreams.get(&work.order.issuer.upstream).cloned();
    let capabilities = upstream.as_ref().and_then(|upstream| upstream.capabilities(&work.order.issuer.ca));
    let (Some(upstream), Some(capabilities)) = (upstream, capabilities) else {
        let detail =
            format!("upstream {:?} with CA {:?} is not configured any more", work.order.issuer.upstream, work.order.issuer.ca);
        tracing::error!(transaction = %work.transaction.id, "An order cannot be carried on: {detail}.");
        return conclude(core, &work, AttemptResult::Unknown { detail }, None, Vec::new()).await.map(Leg::Settled);
    };
    let key = IdempotencyKey(*work.attempt.id.0.as_bytes());
    let started = Instant::now();
    let submission = ask(upstream.as_ref(), &work, &key).await;
    fault::point("after-submit");
    core.metrics.upstream(upstream.name(), outcome_of(&submission), started.elapsed());
    let settled = match submission {
        Submission::Issued { certificate, chain } => {
            let chain: Arc<[Arc<Certificate>]> = match chain.is_empty() {
                true => upstream.chain_above(&work.order.issuer.ca, &certificate).unwrap_or_default(),
                false => chain.into(),
            };
            let outcome = Outcome::Issued(match &work.first {
                // The device is given the first of a pair, with its own chain.
                Some(first) => IssuedCertificate {
                    transaction: work.transaction.id,
                    certificate: Arc::clone(&first.certificate),
                    chain: work
                        .snapshot
                        .upstreams
                        .get(&first.issuer.upstream)
                        .and_then(|upstream| upstream.chain_above(&first.issuer.ca, &first.certificate))
                        .unwrap_or_default(),
                    password: None,
                },
                None => IssuedCertificate {
                    transaction: work.transaction.id,
                    certificate: Arc::clone(&certificate),
                    chain: Arc::clone(&chain),
                    password: None,
                },
            });
            let last = work.order.sibling.is_none();
            let (order, first, reply) = (Arc::clone(&work.order), work.first.clone(), work.reply.clone().filter(|_| last));
            let (issued, seen) = (Arc::clone(&certificate), outcome.clone());
            // One trip to the pool: look at the certificate, and encode the reply.
            let checked = core
                .finish(move || {
                    inspect(&order, &capabilities, &issued, &chain)?;
                    if let Some(first) = first.filter(|_| capabilities.binds_related)
                        && issued.is_related_to(&first.certificate) != Some(true)
                    {
                        return Err("it is not bound to the first certificate of the pair (RFC 9763)".to_owned());
                    }
                    reply
                        .map(|(reply, _)| reply.encode(&seen).map_err(|error| format!("encoding the reply: {error}")))
                        .transpose()
                })
                .await?;
            match checked {
                Ok(encoded) => {
                    let now = core.now();
                    let record = record_of(&work, &certificate, now);
                    let event = issued_event(&work, &record);
                    if let Some(sibling) = &work.order.sibling {
                        let next = pair::second_attempt(core, &sibling.issuer);
                        return first_of_pair(core, work, record, next, event).await;
                    }
                    let keep_secret = encoded.is_none();
                    let result = AttemptResult::Issued { certificate: Arc::new(record), keep_secret };
                    conclude(core, &work, result, Some((outcome, encoded)), vec![event]).await
                }
                Err(why) => {
                    tracing::error!(transaction = %work.transaction.id, upstream = upstream.name(), "The issuer gave what was not ordered: {why}.");
                    if let Some(revoke) = upstream.revoke()
                        && let Err(error) =
                            revoke.revoke(&work.order.issuer.ca, &certificate, RevocationReason::CessationOfOperation).await
                    {
                        tracing::error!(serial = certificate.serial_hex(), "The certificate could not be revoked: {error}.");
                    }
                    reject(core, &work, RejectionCode::UpstreamMisbehaved, why).await
                }
            }
        }
        Submission::Waiting { reference, retry_after } => {
            let due_at = after(core.now(), retry_after);
            conclude(core, &work, AttemptResult::Waiting { reference: Some(reference), due_at }, None, Vec::new()).await
        }
        Submission::NotTaken { reason, .. } => {
            tracing::warn!(transaction = %work.transaction.id, upstream = upstream.name(), "The issuer cannot now: {reason}.");
            note_setback(core, &work, "upstream-busy", &reason).await;
            let due_at = after(core.now(), BACKOFF);
            conclude(core, &work, AttemptResult::Waiting { reference: None, due_at }, None, Vec::new()).await
        }
        Submission::Rejected { reason } => reject(core, &work, RejectionCode::UpstreamRejected, reason).await,
        Submission::Unknown { reason } if capabilities.can_find_again => {
            tracing::warn!(transaction = %work.transaction.id, upstream = upstream.name(), "The outcome is unclear and will be asked for: {reason}.");
            note_setback(core, &work, "upstream-unclear", &reason).await;
            let due_at = after(core.now(), BACKOFF);
            conclude(core, &work, AttemptResult::Waiting { reference: None, due_at }, None, Vec::new()).await
        }
        Submission::Unknown { reason } => {
            tracing::error!(transaction = %work.transaction.id, upstream = upstream.name(), "The outcome is unclear; an operator has to decide: {reason}.");
            note_setback(core, &work, "upstream-unclear", &reason).await;
            let event = event_of(&work, core.now(), "issuance.unclear", json!({ "reason": reason }));
            conclude(core, &work, AttemptResult::Unknown { detail: reason }, None, vec![event]).await
        }
    };
    settled.map(Leg::Settled)
}

/// Writes down the first certificate of a pair, and hands on the work on the second.
async fn first_of_pair(
    core: &Arc<Core>,
    work: Work,
    record: CertificateRecord,
    next: Attempt,
    event: AuditEvent,
) -> Result<Leg, EnrollError> {
    let (record, at) = (Arc::new(record), core.now());
    let fingerprint = record.fingerprint;
    let result = AttemptResult::FirstOfPair { certificate: Arc::clone(&record), next: next.clone() };
    let (id, attempt, lease) = (work.transaction.id, work.attempt.id, work.attempt.lease());
    fault::point("before-first-of-pair");
    let conclusion = Conclusion { transaction: id, attempt, lease, result, at, reply: None, events: vec![event] };
    match write_down(core, &conclusion).await? {
        Concluded::Done => {
            fault::point("after-first-of-pair");
            let transaction = Transaction { certificate: Some(fingerprint), ..work.transaction.clone() };
            Ok(Leg::First(Box::new(Work { transaction, attempt: next, ..work })))
        }
        // Another was first; what it wrote is the truth.
        Concluded::AlreadyFinal(transaction) | Concluded::Lost(transaction) => {
            super::stray::set_aside(core, &work, Arc::unwrap_or_clone(record)).await;
            let outcome = super::record::stored_outcome(core, &work.snapshot, &transaction).await?;
            Ok(Leg::Settled(Settled::recorded(outcome)))
        }
    }
}

/// Asks the issuer, no longer than it may take: an attempt that outlives its lease is asked for by two.
async fn ask(upstream: &dyn UpstreamCa, work: &Work, key: &IdempotencyKey) -> Submission {
    let patience = upstream.patience().min(ANSWER);
    match (work.attempt.state, &work.attempt.reference) {
        (AttemptState::Waiting, Some(reference)) => {
            let answer = tokio::time::timeout(patience, upstream.poll(&work.order, reference)).await;
            // Asking after an order changes nothing: it is asked again.
            answer.unwrap_or_else(|_| {
                tracing::warn!(transaction = %work.transaction.id, upstream = upstream.name(), "The issuer did not say how the order stands.");
                Submission::Waiting { reference: reference.clone(), retry_after: BACKOFF }
            })
        }
        _ => {
            let answer = tokio::time::timeout(patience, upstream.submit(&work.order, key)).await;
            answer.unwrap_or_else(|_| Submission::Unknown { reason: format!("no answer within {} ms", patience.as_millis()) })
        }
    }
}

/// Refuses for good because of the issuer.
async fn reject(core: &Arc<Core>, work: &Work, code: RejectionCode, detail: String) -> Result<Settled, EnrollError> {
    tracing::warn!(transaction = %work.transaction.id, code = code.name(), "The issuer refused: {detail}.");
    note_setback(core, work, code.name(), &detail).await;
    let outcome = Outcome::Refused(Rejection::new(code, detail.clone()));
    let encoded = match &work.reply {
        Some((reply, _)) => Some(core.encode(reply, &outcome).await?),
        None => None,
    };
    let mut event = event_of(work, core.now(), "issuance.failed", json!({ "code": code.name(), "reason": detail }));
    if let Some(first) = &work.first {
        event.fields.insert("withdrawn".into(), hex::encode(first.certificate.fingerprint()).into());
    }
    let result = AttemptResult::Rejected { code: code.name().to_owned(), detail };
    conclude(core, work, result, Some((outcome, encoded)), vec![event]).await
}

/// Remembers that the issuer failed a device under a profile, while its group tries a candidate. Whatever became of that, the answer
/// of the issuer counts more: an error is logged.
async fn note_setback(core: &Core, work: &Work, code: &str, detail: &str) {
    let order = &work.order;
    let tries = work.snapshot.groups.get(&order.group).is_some_and(|group| group.rollout.is_some());
    let Some(device) = order.device.clone().filter(|_| tries) else { return };
    let now = core.now();
    let setback = Setback {
        group: order.group.clone(),
        profile: order.profile.clone(),
        device,
        kind: SetbackKind::UpstreamError,
        code: code.to_owned(),
        detail: detail.to_owned(),
        first_at: now,
        at: now,
        count: 1,
    };
    if let Err(error) = core.inventory.add_setback(setback).await {
        tracing::warn!(transaction = %work.transaction.id, "The rollout's gates do not know of this: {error}.");
    }
}

/// Writes what became of an attempt; the answer is made of what is written.
async fn conclude(
    core: &Arc<Core>,
    work: &Work,
    result: AttemptResult,
    settled: Option<(Outcome, Option<Vec<u8>>)>,
    events: Vec<AuditEvent>,
) -> Result<Settled, EnrollError> {
    let (outcome, encoded) = settled.unwrap_or_else(|| (pending(work.transaction.id), None));
    let encoded = encoded.map(Bytes::from);
    let reply = match (&encoded, &work.reply) {
        (Some(bytes), Some((_, message))) => Some((*message, bytes.clone())),
        _ => None,
    };
    fault::point("before-conclude");
    let conclusion = Conclusion {
        transaction: work.transaction.id,
        attempt: work.attempt.id,
        lease: work.attempt.lease(),
        result,
        at: core.now(),
        reply,
        events,
    };
    let concluded = write_down(core, &conclusion).await?;
    fault::point("after-conclude");
    core.concluded.notify_waiters();
    match concluded {
        Concluded::Done => {
            if let Outcome::Issued(issued) = &outcome {
                let order = &work.order;
                tracing::info!(
                    transaction = %work.transaction.id, group = order.group, profile = order.profile,
                    serial = issued.certificate.serial_hex(), subject = %issued.certificate.subject(), "Certificate issued."
                );
            }
            if let (AttemptResult::Rejected { .. }, Some(first)) = (&conclusion.result, &work.first) {
                pair::withdraw(&work.snapshot, &first.certificate, &first.issuer).await;
            }
            Ok(Settled { outcome, reply: encoded, recorded: true })
        }
        // Another was first; what it wrote is the truth.
        Concluded::AlreadyFinal(transaction) | Concluded::Lost(transaction) => {
            tracing::warn!(transaction = %transaction.id, "Another has carried this transaction on meanwhile.");
            if let AttemptResult::Issued { certificate: record, .. } = conclusion.result {
                super::stray::set_aside(core, work, Arc::unwrap_or_clone(record)).await;
            }
            super::record::stored_outcome(core, &work.snapshot, &transaction).await.map(Settled::recorded)
        }
    }
}

/// Writes a conclusion. What an issuer said is not thrown away because the disk is full for a moment: it is tried again while this
/// node holds the attempt. After that, as after a crash, the worker asks the issuer again.
async fn write_down(core: &Core, conclusion: &Conclusion) -> Result<Concluded, EnrollError> {
    let deadline = Instant::now() + WRITE;
    loop {
        match core.inventory.conclude(conclusion.clone()).await {
            Err(InventoryError::Unavailable(_) | InventoryError::Busy) if Instant::now() < deadline => {
                tokio::time::sleep(REWRITE).await;
            }
            other => return Ok(other?),
        }
    }
}

fn outcome_of(submission: &Submission) -> &'static str {
    match submission {
        Submission::Issued { .. } => "issued",
        Submission::Waiting { .. } => "waiting",
        Submission::NotTaken { .. } => "not-taken",
        Submission::Rejected { .. } => "rejected",
        Submission::Unknown { .. } => "unknown",
    }
}

fn record_of(work: &Work, certificate: &Certificate, now: jiff::Timestamp) -> CertificateRecord {
    let order = &work.order;
    let digester = crate::crypto::provider().digester;
    CertificateRecord {
        fingerprint: certificate.fingerprint(),
        der: certificate.der().to_vec(),
        serial: certificate.serial().to_vec(),
        issuer: certificate.issuer().der().to_vec(),
        issuer_text: certificate.issuer().to_string(),
        subject: certificate.subject().to_string(),
        common_name: certificate.subject().common_name().map(str::to_owned),
        subject_alt_names: super::inspect::names_of(order),
        not_before: certificate.not_before(),
        not_after: certificate.not_after(),
        key_algorithm: order.key.to_string(),
        spki_digest: digester.sha256(certificate.spki()),
        signature_algorithm: order.signature.name().to_owned(),
        status: CertificateStatus::Valid,
        revoked_at: None,
        revocation_reason: None,
        group: order.group.clone(),
        profile: order.profile.clone(),
        upstream: order.issuer.upstream.clone(),
        ca: order.issuer.ca.clone(),
        device: order.device.clone(),
        transaction: work.transaction.id,
        authenticated_by: order.rule.clone(),
        source: work.transaction.source,
        renews: match &work.first {
            Some(first) => first.renewed,
            None => order.renews.as_deref().and_then(|hex| hex::decode(hex).ok()).and_then(|bytes| bytes.try_into().ok()),
        },
        sibling_of: work.first.as_ref().map(|first| first.certificate.fingerprint()),
        issued_at: now,
    }
}

fn issued_event(work: &Work, record: &CertificateRecord) -> AuditEvent {
    event_of(
        work,
        record.issued_at,
        "certificate.issued",
        json!({
            "serial": hex::encode(&record.serial), "fingerprint": hex::encode(record.fingerprint), "issuer": record.issuer_text,
            "subject": record.subject, "not_after": record.not_after.to_string(), "signature": record.signature_algorithm,
            "alternative_signature": work.order.alternative, "key": record.key_algorithm, "renews": record.renews.map(hex::encode),
            "sibling_of": record.sibling_of.map(hex::encode),
        }),
    )
}

pub(super) fn event_of(work: &Work, at: jiff::Timestamp, event: &str, more: serde_json::Value) -> AuditEvent {
    let mut all =
        fields(json!({ "group": work.order.group, "profile": work.order.profile, "upstream": work.order.issuer.upstream }));
    all.extend(fields(more));
    AuditEvent { at, event: event.to_owned(), actor: "system".into(), object: work.transaction.id.to_string(), fields: all }
}

/// The fields of an audit event out of a JSON object.
pub(super) fn fields(value: serde_json::Value) -> serde_json::Map<String, serde_json::Value> {
    match value {
        serde_json::Value::Object(map) => map,
        _ => serde_json::Map::new(),
    }
}

/// Leaves an attempt to an operator: nobody can tell whether the issuer issued.
pub(crate) async fn leave_unknown(
    core: &Arc<Core>,
    transaction: &Transaction,
    attempt: &Attempt,
    why: &str,
) -> Result<(), EnrollError> {
    tracing::error!(transaction = %transaction.id, "The outcome is unclear; an operator has to decide: {why}.");
    let at = core.now();
    let event = AuditEvent {
        at,
        event: "issuance.unclear".into(),
        actor: "system".into(),
        object: transaction.id.to_string(),
        fields: fields(json!({ "group": transaction.group, "reason": why })),
    };
    let conclusion = Conclusion {
        transaction: transaction.id,
        attempt: attempt.id,
        lease: attempt.lease(),
        result: AttemptResult::Unknown { detail: why.to_owned() },
        at,
        reply: None,
        events: vec![event],
    };
    core.inventory.conclude(conclusion).await?;
    Ok(())
}
