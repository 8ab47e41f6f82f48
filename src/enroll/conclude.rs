//! Writes down what became of an attempt: the certificate, a refusal, or that nobody knows.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::json;

use super::carry::Work;
use super::core::{Core, WRITE};
use super::issue::{fields, pending};
use super::stage::Settled;
use super::{EnrollError, Outcome, Rejection, RejectionCode, fault, pair, stray};
use crate::inventory::{
    AttemptResult, AuditEvent, CertificateRecord, CertificateStatus, Concluded, Conclusion, InventoryError, Setback, SetbackKind,
};
use crate::x509::Certificate;

/// How long to wait before a conclusion that could not be written is written again.
const REWRITE: Duration = Duration::from_secs(1);

/// Writes what became of an attempt; the answer is made of what is written.
pub(super) async fn conclude(
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
    core.concluded.tell(work.transaction.id);
    match concluded {
        Concluded::Done => {
            if let Some(gate) = core.gate_of(&work.snapshot, &work.attempt.upstream).filter(|_| leaves(&conclusion.result)) {
                gate.closed();
            }
            if let Outcome::Issued(issued) = &outcome {
                let order = &work.order;
                tracing::info!(
                    transaction = %work.transaction.id, group = order.group, profile = order.profile,
                    serial = issued.certificate.serial_hex(), subject = %issued.certificate.subject(), "Certificate issued."
                );
            }
            if let (AttemptResult::Rejected { .. }, Some(first)) = (&conclusion.result, &work.first) {
                pair::withdraw(core, &work.snapshot, &first.certificate, &first.issuer).await;
            }
            Ok(Settled { outcome, reply: encoded, recorded: true })
        }
        // Another was first; what it wrote is the truth.
        Concluded::AlreadyFinal(transaction) | Concluded::Lost(transaction) => {
            tracing::warn!(transaction = %transaction.id, "Another has carried this transaction on meanwhile.");
            if let AttemptResult::Issued { certificate: record, .. } = conclusion.result {
                stray::set_aside(core, work, Arc::unwrap_or_clone(record), stray::TOO_LATE).await;
            }
            super::record::stored_outcome(core, &work.snapshot, &transaction).await.map(Settled::recorded)
        }
    }
}

/// Whether an attempt is open no more at its upstream.
fn leaves(result: &AttemptResult) -> bool {
    match result {
        AttemptResult::Waiting { .. } | AttemptResult::Unclear { .. } | AttemptResult::NotTaken { next: None, .. } => false,
        AttemptResult::Issued { .. }
        | AttemptResult::FirstOfPair { .. }
        | AttemptResult::NotTaken { next: Some(_), .. }
        | AttemptResult::Rejected { .. }
        | AttemptResult::Unknown { .. } => true,
    }
}

/// Writes a conclusion. What an issuer said is not thrown away because the disk is full for a moment: it is tried again while this
/// node holds the attempt. After that, as after a crash, the worker asks the issuer again.
pub(super) async fn write_down(core: &Core, conclusion: &Conclusion) -> Result<Concluded, EnrollError> {
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

/// Refuses for good because of the issuer.
pub(super) async fn reject(core: &Arc<Core>, work: &Work, code: RejectionCode, detail: String) -> Result<Settled, EnrollError> {
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
pub(super) async fn note_setback(core: &Core, work: &Work, code: &str, detail: &str) {
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

pub(super) fn record_of(work: &Work, certificate: &Certificate, now: jiff::Timestamp) -> CertificateRecord {
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
        subject_alt_names: super::inspect::names_in(certificate),
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
        set_aside: false,
        issued_at: now,
    }
}

pub(super) fn issued_event(work: &Work, record: &CertificateRecord) -> AuditEvent {
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

/// Leaves an attempt to an operator: nobody can tell whether the issuer issued.
pub(super) async fn leave_unknown(core: &Arc<Core>, work: &Work, why: String) -> Result<Settled, EnrollError> {
    tracing::error!(
        transaction = %work.transaction.id, upstream = work.order.issuer.upstream,
        "The outcome is unclear; an operator has to decide: {why}."
    );
    let event = event_of(work, core.now(), "issuance.unclear", json!({ "reason": why }));
    conclude(core, work, AttemptResult::Unknown { detail: why }, None, vec![event]).await
}
