//! What comes of a certificate that nobody is given: it came too late, because another was delivered in its place or its transaction has
//! ended otherwise; it is not what was ordered; or it is the first of a pair that came to nothing. It is kept and revoked, and a CA
//! that could not be told at once is told again every hour.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::json;

use super::Enroller;
use super::carry::Work;
use super::conclude::event_of;
use super::core::{ANSWER, Core};
use super::gate::{Gate, Pass};
use super::issue::fields;
use crate::inventory::{AuditEvent, CertificateRecord, CertificateStatus, Due, InventoryError};
use crate::upstream::Revoke;
use crate::x509::Certificate;
use crate::x509::crl::RevocationReason;

/// Why such a certificate is revoked.
const REASON: RevocationReason = RevocationReason::CessationOfOperation;

/// How many a CA is told again of at most in one round.
const AT_A_TIME: usize = 50;

/// After so many failures in a row a CA is left in peace until the next round.
const FAILURES: usize = 3;

/// How long it is waited for a turn at the gate before a CA.
const TURN: Duration = Duration::from_secs(60);

/// How often it is looked whether it has come.
const LOOK: Duration = Duration::from_secs(1);

/// By upstream, how far the last round came: what fails again and again holds up nothing behind it.
#[derive(Default)]
pub(super) struct ToldUpTo(Mutex<BTreeMap<String, Timestamp>>);

/// Why a certificate that came too late is given to nobody.
pub(super) const TOO_LATE: &str = "another was delivered, or the transaction has ended";

/// Writes down a certificate that nobody will be given, with the reason, and revokes it where the issuer can. The very certificate that
/// was delivered, or the same one signed anew, is none of those. Nobody waits for this: what fails is told to the operator.
pub(super) async fn set_aside(core: &Core, work: &Work, record: CertificateRecord, why: &str) {
    let Ok(certificate) = Certificate::from_der(&record.der) else { return };
    // It is of no pair: what becomes of it does not concern the certificate that it was to be a sibling of.
    let record = CertificateRecord { sibling_of: None, ..record };
    let (fingerprint, serial) = (record.fingerprint, certificate.serial_hex());
    let event = event_of(
        work,
        record.issued_at,
        "certificate.set-aside",
        json!({ "serial": serial, "fingerprint": hex::encode(fingerprint), "subject": record.subject, "reason": why }),
    );
    match core.inventory.set_aside(record, event).await {
        Ok(true) => {}
        Ok(false) => return,
        Err(error) => {
            tracing::error!(serial, transaction = %work.transaction.id, "A certificate that nobody is given could not be written down: {error}.");
            // It may be the one that was delivered: nothing is revoked that is not known to be another.
            return;
        }
    }
    let upstream = work.snapshot.upstreams.get(&work.order.issuer.upstream);
    let Some(revoke) = upstream.and_then(|upstream| upstream.revoke()) else {
        tracing::error!(
            serial, transaction = %work.transaction.id, upstream = work.order.issuer.upstream,
            "The issuer gave a certificate which nobody is given, and which it cannot be told to revoke: {why}."
        );
        return;
    };
    if let Err(error) = revoke.revoke(&work.order.issuer.ca, &certificate, REASON).await {
        tracing::error!(
            serial, transaction = %work.transaction.id,
            "A certificate that nobody is given could not be revoked, and the CA will be told again: {error}."
        );
        return;
    }
    let at = core.now();
    let event =
        event_of(work, at, "certificate.revoked", json!({ "serial": serial, "reason": REASON.name(), "told_upstream": true }));
    write_told(core, &certificate, at, Some(event)).await;
}

/// Writes that a CA was told.
pub(super) async fn write_told(core: &Core, certificate: &Certificate, at: Timestamp, event: Option<AuditEvent>) {
    if let Err(error) = core.inventory.told(&certificate.fingerprint(), REASON, at, event).await {
        tracing::error!(serial = certificate.serial_hex(), "That a certificate is revoked could not be written down: {error}.");
    }
}

/// Why a certificate cannot be what was ordered now: it is on record, as that of another transaction or as one that nobody is to be
/// given any more. It may be somebody's, and is left alone.
pub(super) async fn on_record(core: &Core, work: &Work, certificate: &Certificate) -> Result<Option<String>, InventoryError> {
    let Some(known) = core.inventory.certificate(&certificate.fingerprint()).await? else { return Ok(None) };
    let can_revoke = work.upstream().is_some_and(|upstream| upstream.revoke().is_some());
    Ok(if known.transaction != work.transaction.id {
        Some(format!("it is no new one: it was written down at {} for transaction {}", known.issued_at, known.transaction))
    } else if known.status == CertificateStatus::Revoked {
        Some("it is revoked already".to_owned())
    } else if known.set_aside && can_revoke {
        Some("it was set aside before, and is being revoked".to_owned())
    } else {
        None
    })
}

impl ToldUpTo {
    fn of(&self, upstream: &str) -> Timestamp {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(upstream).copied().unwrap_or(Timestamp::MIN)
    }

    fn set(&self, upstream: &str, at: Timestamp) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(upstream.to_owned(), at);
    }
}

impl Enroller {
    /// Tells CAs again of certificates that nobody is given, where they could not be told when that came up; gives how many were revoked.
    pub async fn tell_again(&self) -> Result<usize, InventoryError> {
        let (core, snapshot) = (self.core(), self.snapshot());
        let mut count = 0;
        for (name, upstream) in &snapshot.upstreams {
            if let Some(revoke) = upstream.revoke() {
                count += tell_again_at(core, name, revoke, core.gate(upstream.as_ref())).await?;
            }
        }
        Ok(count)
    }
}

async fn tell_again_at(
    core: &Core,
    upstream: &str,
    revoke: &dyn Revoke,
    gate: Option<Arc<Gate>>,
) -> Result<usize, InventoryError> {
    let after = core.told_up_to.of(upstream);
    let owed = core.inventory.owed(upstream, after, core.now(), AT_A_TIME).await?;
    let all = owed.len() < AT_A_TIME;
    let (mut count, mut failures) = (0, 0);
    for record in owed {
        let Some(_pass) = turn(gate.as_ref()).await else { return Ok(count) };
        core.told_up_to.set(upstream, record.issued_at);
        match tell(core, &record, revoke).await {
            Ok(()) => (count, failures) = (count + 1, 0),
            Err(why) => {
                tracing::warn!(
                    upstream, serial = hex::encode(&record.serial), transaction = %record.transaction,
                    "A certificate that nobody is given is valid at its CA still, which will be told again: {why}."
                );
                failures += 1;
                if failures == FAILURES {
                    return Ok(count);
                }
            }
        }
    }
    if all {
        // From the first one again next time.
        core.told_up_to.set(upstream, Timestamp::MIN);
    }
    Ok(count)
}

/// The right to ask a CA once; `None` if it is left alone, or others need all that it does.
async fn turn(gate: Option<&Arc<Gate>>) -> Option<Option<Pass>> {
    let Some(gate) = gate else { return Some(None) };
    let until = Instant::now() + TURN;
    while !gate.is_open() {
        if let Some(pass) = gate.reserve(Due { orders: true, polls: false }, 1).orders.pop() {
            pass.used();
            return Some(Some(pass));
        }
        if Instant::now() >= until {
            break;
        }
        tokio::time::sleep(LOOK).await;
    }
    None
}

/// Tells the CA of one.
async fn tell(core: &Core, record: &CertificateRecord, revoke: &dyn Revoke) -> Result<(), String> {
    let certificate = Certificate::from_der(&record.der).map_err(|error| error.to_string())?;
    let answer = tokio::time::timeout(ANSWER, revoke.revoke(&record.ca, &certificate, REASON)).await;
    answer.map_err(|_| "no answer".to_owned())?.map_err(|error| error.to_string())?;
    let serial = certificate.serial_hex();
    tracing::info!(serial, transaction = %record.transaction, "A certificate that nobody is given was revoked at its CA.");
    let at = core.now();
    let event = AuditEvent {
        at,
        event: "certificate.revoked".into(),
        actor: "system".into(),
        object: record.transaction.to_string(),
        fields: fields(json!({
            "group": record.group, "profile": record.profile, "upstream": record.upstream,
            "serial": serial, "reason": REASON.name(), "told_upstream": true, "late": true,
        })),
    };
    write_told(core, &certificate, at, Some(event)).await;
    Ok(())
}
