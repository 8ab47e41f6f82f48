//! What became of an order that may have reached EJBCA: a search for the end entity's name, which only this attempt has.
//!
//! That nothing is found proves something only if the submission is not still on its way through EJBCA, and if the search would have
//! shown us the certificate. So some time has to have passed since the submission, longer than EJBCA lets a request run; and the same
//! search has to show other certificates of the same CA and profiles: to a role that may not see them EJBCA gives an empty list, and no
//! error.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::Method;

use super::{Ejbca, EjbcaCa, api};
use crate::upstream::remote::{CallError, RemoteCa};
use crate::upstream::{IdempotencyKey, IssuanceOrder, Submission};
use crate::x509::Certificate;
use crate::x509::crl::RevocationReason;

/// When the orders were sent whose outcome is not known. After a restart nothing is known of that: the time is then counted from the
/// first search.
#[derive(Default)]
pub(super) struct Searches {
    sent: Mutex<HashMap<IdempotencyKey, Instant>>,
}

/// How many unclear orders are remembered; the oldest go first, and are counted anew.
const MOST: usize = 100_000;

impl Searches {
    /// It is being sent now.
    pub(super) fn sent(&self, key: &IdempotencyKey) {
        self.note(*key, Instant::now());
    }

    /// Its outcome is known.
    pub(super) fn settled(&self, key: &IdempotencyKey) {
        self.lock().remove(key);
    }

    /// How long ago it was sent for the last time, as far as we know.
    fn age(&self, key: &IdempotencyKey) -> Duration {
        let known = self.lock().get(key).copied();
        known.map_or_else(
            || {
                self.note(*key, Instant::now());
                Duration::ZERO
            },
            |sent| sent.elapsed(),
        )
    }

    fn note(&self, key: IdempotencyKey, at: Instant) {
        let mut sent = self.lock();
        if sent.len() >= MOST
            && let Some(oldest) = sent.iter().min_by_key(|(_, at)| **at).map(|(key, _)| *key)
        {
            sent.remove(&oldest);
        }
        sent.insert(key, at);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<IdempotencyKey, Instant>> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is known of an order that may have reached EJBCA.
pub(super) enum Trace {
    /// It was issued, or issued and revoked since.
    Found(Submission),
    /// It surely never arrived.
    Absent,
    /// It may still be on its way, for so long.
    TooEarly(Duration),
    /// We see no certificate at all where it would be, so that seeing none of this order proves nothing.
    Blind,
}

/// What a search shows.
pub(super) enum Look {
    /// It was issued, or issued and revoked since.
    Found(Submission),
    /// Nothing, and other certificates would be shown.
    Nothing,
    /// Nothing, and nothing of others either.
    Blind,
}

/// How many certificates of one attempt are looked at: there is one, or something is amiss.
const PAGE: u32 = 10;

impl Ejbca {
    /// What was issued for this attempt; `None` if the search shows nothing now.
    async fn search(&self, ca: &RemoteCa, order: &IssuanceOrder, key: &IdempotencyKey) -> Result<Option<Submission>, CallError> {
        let (property, template) =
            self.at(ca)?.handle().ok_or_else(|| CallError::Unclear("nothing in the order's names is unique to it".to_owned()))?;
        let value = template.fill(order, key).map_err(CallError::Unclear)?;
        let found = self.matching(PAGE, vec![api::Criterion::equal(property, &value)]).await?;
        let mut ours: Vec<(Arc<Certificate>, bool)> = Vec::new();
        for entry in &found {
            let octets = entry.base64_cert.as_deref();
            let octets = octets.ok_or_else(|| CallError::Unclear(format!("{value} was found without its certificate")))?;
            let certificate = api::certificate(octets)?;
            if certificate.spki() == order.spki {
                ours.push((certificate, entry.is_revoked()));
            }
        }
        if ours.is_empty() {
            return match found.is_empty() {
                true => Ok(None),
                false => Err(CallError::Unclear(format!("what EJBCA has of {value} is for another key"))),
            };
        }
        ours.sort_by_key(|(certificate, _)| certificate.not_before());
        let mut living = ours.into_iter().filter(|(_, revoked)| !revoked).map(|(certificate, _)| certificate);
        let Some(certificate) = living.next() else {
            return Ok(Some(Submission::Rejected { reason: format!("it was issued to {value}, and revoked since") }));
        };
        for surplus in living {
            tracing::error!(upstream_ca = ca.name(), "EJBCA issued twice to {value}; {} is revoked.", surplus.serial_hex());
            use crate::upstream::remote::Connector as _;
            if let Err(error) = self.revoke(ca, &surplus, RevocationReason::Superseded).await {
                tracing::error!(upstream_ca = ca.name(), "{} could not be revoked: {error}.", surplus.serial_hex());
            }
        }
        Ok(Some(Submission::Issued { certificate, chain: Vec::new() }))
    }

    /// What became of an order that may have reached EJBCA.
    pub(super) async fn trace(&self, ca: &RemoteCa, order: &IssuanceOrder, key: &IdempotencyKey) -> Result<Trace, CallError> {
        // Taken before the search: what arrives while we search is not overlooked.
        let age = self.searches.age(key);
        if let Some(found) = self.search(ca, order, key).await? {
            return Ok(Trace::Found(found));
        }
        if let Some(rest) = self.settle.checked_sub(age).filter(|rest| !rest.is_zero()) {
            return Ok(Trace::TooEarly(rest));
        }
        if self.sees_others(self.at(ca)?).await? { Ok(Trace::Absent) } else { Ok(Trace::Blind) }
    }

    /// What the search shows now.
    pub(super) async fn look(&self, ca: &RemoteCa, order: &IssuanceOrder, key: &IdempotencyKey) -> Result<Look, CallError> {
        Ok(match self.search(ca, order, key).await? {
            Some(found) => Look::Found(found),
            None if self.sees_others(self.at(ca)?).await? => Look::Nothing,
            None => Look::Blind,
        })
    }

    /// Whether we see any certificate of the same CA and profiles.
    pub(super) async fn sees_others(&self, at: &EjbcaCa) -> Result<bool, CallError> {
        let criteria = vec![
            api::Criterion::equal("CA", &at.authority),
            api::Criterion::equal("END_ENTITY_PROFILE", &at.end_entity_profile),
            api::Criterion::equal("CERTIFICATE_PROFILE", &at.certificate_profile),
        ];
        Ok(!self.matching(1, criteria).await?.is_empty())
    }

    async fn matching(&self, page_size: u32, criteria: Vec<api::Criterion<'_>>) -> Result<Vec<api::FoundCertificate>, CallError> {
        let body = api::Search { pagination: api::Pagination { page_size, current_page: 1 }, criteria };
        let answer = self.call(Method::POST, "/v2/certificate/search", Some(&body)).await?;
        api::read::<api::SearchResult>(&answer).map(|result| result.certificates)
    }
}
