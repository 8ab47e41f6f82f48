//! Pairs: the two legs of one transaction ([`Form::Paired`](crate::algorithm::Form::Paired)).
//!
//! The classical certificate is ordered first. When it is in the inventory, the transaction stays open and goes on with a second attempt,
//! for the sibling, which says by RFC 9763 whose sibling it is. The device is answered when both are there: it never holds a
//! certificate whose sibling nobody knows of. Each leg is written down before its issuer hears of it, and a crash between them
//! leaves an open attempt that the worker takes up. If the second leg is refused for good, the first certificate, which nobody
//! was given, is revoked.

use std::sync::Arc;

use super::carry::Work;
use super::core::{Core, LEASE, after};
use super::{EnrollError, failover, stray};
use crate::algorithm::IssuerRef;
use crate::crypto::provider;
use crate::inventory::{Attempt, AttemptId, AttemptState, Transaction};
use crate::snapshot::Snapshot;
use crate::upstream::{IssuanceOrder, RelatedCertificate};
use crate::x509::crl::RevocationReason;
use crate::x509::{Certificate, related};

/// The first certificate of a pair, while the second is being issued.
#[derive(Clone)]
pub(crate) struct First {
    /// The certificate.
    pub(super) certificate: Arc<Certificate>,
    /// Who issued it.
    pub(super) issuer: IssuerRef,
    /// What the second certificate takes the place of: the sibling of what the first one renews, or that itself.
    pub(super) renewed: Option<[u8; 32]>,
}

/// Who the next attempt of a transaction is at: an issuer of its order, or that of the sibling once the first certificate is there.
pub(super) fn issuer_of_leg(core: &Core, snapshot: &Snapshot, order: &IssuanceOrder, transaction: &Transaction) -> IssuerRef {
    match &order.sibling {
        Some(sibling) if transaction.certificate.is_some() => sibling.issuer.clone(),
        _ => failover::issuer_for_approved(core, snapshot, order, transaction.id),
    }
}

/// The attempt for the sibling: held by this node if it asks at once, or prepared for its turn.
pub(super) fn second_attempt(core: &Core, issuer: &IssuerRef, is_now: bool) -> Attempt {
    let now = core.now();
    Attempt {
        id: AttemptId::new(),
        state: if is_now { AttemptState::Submitted } else { AttemptState::Prepared },
        upstream: issuer.upstream.clone(),
        ca: issuer.ca.clone(),
        reference: None,
        due_at: now,
        held_by: is_now.then(|| core.node.clone()),
        held_until: is_now.then(|| after(now, LEASE)),
    }
}

/// The order for the second leg, and the first certificate, if that one is there.
pub(super) async fn second_leg(core: &Core, work: &Work) -> Result<Option<(IssuanceOrder, First)>, EnrollError> {
    let (Some(sibling), Some(first)) = (&work.stored.sibling, &work.transaction.certificate) else { return Ok(None) };
    let missing = || EnrollError::Internal(format!("the first certificate of transaction {} is gone", work.transaction.id));
    let record = core.inventory.certificate(first).await?.ok_or_else(missing)?;
    let certificate = Certificate::from_der(&record.der).map_err(|error| EnrollError::Internal(error.to_string()))?;
    let capabilities = work.snapshot.upstreams.get(&sibling.issuer.upstream).and_then(|u| u.capabilities(&sibling.issuer.ca));
    let binds = capabilities.is_some_and(|capabilities| capabilities.binds_related);
    let related = binds.then(|| {
        let digest = related::digest_for(&certificate);
        RelatedCertificate { digest, hash: provider().digester.digest(digest, certificate.der()) }
    });
    let renewed = match &record.renews {
        Some(renewed) => Some(core.inventory.sibling(renewed).await?.map_or(*renewed, |sibling| sibling.fingerprint)),
        None => None,
    };
    let issuer = IssuerRef { upstream: record.upstream, ca: record.ca };
    let first = First { certificate: Arc::new(certificate), issuer, renewed };
    let order = work.stored.for_sibling(related).ok_or_else(|| EnrollError::Internal("an order for no pair".into()))?;
    Ok(Some((order, first)))
}

/// Tells the issuer of the first certificate that nobody will be given it. The inventory has heard of it with the conclusion.
pub(super) async fn withdraw(core: &Core, snapshot: &Snapshot, certificate: &Certificate, issuer: &IssuerRef) {
    let revoke = snapshot.upstreams.get(&issuer.upstream).and_then(|upstream| upstream.revoke());
    let Some(revoke) = revoke else { return };
    match revoke.revoke(&issuer.ca, certificate, RevocationReason::CessationOfOperation).await {
        Ok(()) => stray::write_told(core, certificate, core.now(), None).await,
        Err(error) => {
            tracing::error!(
                serial = certificate.serial_hex(),
                "The first certificate of a pair could not be revoked, and its CA will be told again: {error}."
            );
        }
    }
}
