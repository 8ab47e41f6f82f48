//! What comes of a certificate that came too late: another was delivered in its place, or its transaction has ended otherwise.

use serde_json::json;

use super::carry::Work;
use super::conclude::event_of;
use super::core::Core;
use crate::inventory::CertificateRecord;
use crate::x509::Certificate;
use crate::x509::crl::RevocationReason;

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
    let reason = RevocationReason::CessationOfOperation;
    if let Err(error) = revoke.revoke(&work.order.issuer.ca, &certificate, reason).await {
        tracing::error!(serial, transaction = %work.transaction.id, "A certificate that nobody is given could not be revoked: {error}.");
        return;
    }
    let at = core.now();
    let event =
        event_of(work, at, "certificate.revoked", json!({ "serial": serial, "reason": reason.name(), "told_upstream": true }));
    if let Err(error) = core.inventory.revoke(&fingerprint, reason, at, event).await {
        tracing::error!(serial, "That a certificate is revoked could not be written down: {error}.");
    }
}
