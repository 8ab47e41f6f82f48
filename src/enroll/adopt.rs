//! What an operator is told of an order whose outcome nobody knows, and the third way out of it, beside asking anew and giving up: to
//! hand in the certificate that the CA turned out to have issued.

use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::json;

use super::carry::{Ask, Work, as_ordered, for_its_leg, write_first_of_pair};
use super::conclude::{conclude, event_of, issued_event, record_of};
use super::operate::{OperateError, stored_order};
use super::{EnrollError, Enroller, IssuedCertificate, Outcome, stray};
use crate::crypto::provider;
use crate::inventory::{Attempt, AttemptResult, AuditEvent, Transaction, TransactionId, TransactionState};
use crate::x509::{Certificate, DistinguishedName};

/// All that is known of an order at its issuer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KnownOrder {
    /// The upstream.
    pub upstream: String,
    /// The CA there.
    pub ca: String,
    /// Where the attempt stands.
    pub state: &'static str,
    /// When it began.
    pub since: Option<Timestamp>,
    /// When the CA was asked last, or somebody last set out to ask it. Not known while it is to be asked again.
    pub asked_at: Option<Timestamp>,
    /// When it is asked next, where it is.
    pub next_try_at: Option<Timestamp>,
    /// What the CA gave to ask again with.
    pub reference: Option<String>,
    /// The key that the connector sent along, where the CA takes one.
    pub idempotency_key: String,
    /// The subject that was ordered.
    pub subject: String,
    /// SHA-256 of the SubjectPublicKeyInfo, hex.
    pub public_key: String,
    /// How to find out whether the CA issued.
    pub look_up: String,
}

impl Enroller {
    /// All that is known of the order of a transaction at the issuer that was asked last; `None` if none was.
    pub async fn known_order(&self, transaction: &Transaction) -> Result<Option<KnownOrder>, OperateError> {
        let core = self.core();
        let Some(attempt) = core.inventory.attempts(transaction.id).await?.pop() else { return Ok(None) };
        let order = stored_order(core, transaction)?;
        let subject = DistinguishedName::from_der(&order.subject).map(|name| name.to_string()).unwrap_or_default();
        let public_key = hex::encode(provider().digester.sha256(&order.spki));
        let since = attempt.id.made_at();
        // Nobody has taken it up yet.
        let is_to_be_asked = attempt.state.is_open() && attempt.held_by.is_none();
        let look_up = match &attempt.reference {
            Some(reference) => format!("ask {} for request {reference}", attempt.issuer()),
            None => format!(
                "look at {} for a certificate of {subject}, issued since {}, whose public key has the SHA-256 {public_key}",
                attempt.issuer(),
                since.unwrap_or(attempt.due_at).strftime("%Y-%m-%d %H:%M:%SZ"),
            ),
        };
        Ok(Some(KnownOrder {
            since,
            asked_at: (!is_to_be_asked).then_some(attempt.due_at),
            next_try_at: is_to_be_asked.then_some(attempt.due_at),
            idempotency_key: hex::encode(attempt.id.0.as_bytes()),
            upstream: attempt.upstream,
            ca: attempt.ca,
            state: attempt.state.name(),
            reference: attempt.reference,
            subject,
            public_key,
            look_up,
        }))
    }

    /// Delivers a certificate that the CA turned out to have issued. It is held against the order like any answer of the CA.
    pub async fn adopt(&self, id: TransactionId, certificate: Certificate, operator: &str) -> Result<Transaction, OperateError> {
        let core = self.core();
        let transaction = core.inventory.transaction(id).await?.ok_or(OperateError::NotUnknown(id))?;
        if transaction.state != TransactionState::Unknown {
            return Err(OperateError::NotUnknown(id));
        }
        let attempt: Option<Attempt> = core.inventory.attempts(id).await?.pop();
        let attempt = attempt.ok_or(OperateError::NotUnknown(id))?;
        let stored = Arc::new(stored_order(core, &transaction)?);
        let work = Work::new(self.snapshot(), transaction, attempt, stored, Ask::Find, None);
        let work = for_its_leg(core, work).await?;
        let gone = || OperateError::NotAsOrdered { id, why: format!("{} is not configured any more", work.order.issuer) };
        let upstream = work.upstream().cloned().ok_or_else(gone)?;
        let capabilities = upstream.capabilities(&work.order.issuer.ca).ok_or_else(gone)?;
        if let Some(why) = stray::on_record(core, &work, &certificate).await? {
            return Err(OperateError::NotAsOrdered { id, why });
        }
        let certificate = Arc::new(certificate);
        let chain = upstream.chain_above(&work.order.issuer.ca, &certificate).unwrap_or_default();
        let check = as_ordered(&work, upstream.as_ref(), capabilities, &certificate, &chain, core.now());
        core.finish(check).await?.map_err(|why| OperateError::NotAsOrdered { id, why })?;

        let record = record_of(&work, &certificate, core.now());
        let fingerprint = record.fingerprint;
        let by = json!({ "fingerprint": hex::encode(record.fingerprint), "serial": hex::encode(&record.serial) });
        let by = AuditEvent { actor: format!("operator:{operator}"), ..event_of(&work, core.now(), "certificate.adopted", by) };
        let events = vec![by, issued_event(&work, &record)];
        let concluded = match work.order.sibling.is_some() {
            // Its sibling is ordered in its turn.
            true => write_first_of_pair(core, &work, record, events).await.map(drop),
            false => {
                let issued = IssuedCertificate { transaction: id, certificate, chain, password: None };
                let result = AttemptResult::Issued { certificate: Arc::new(record), keep_secret: true };
                conclude(core, &work, result, Some((Outcome::Issued(issued), None)), events).await.map(drop)
            }
        };
        concluded?;
        let after = core.inventory.transaction(id).await?;
        let after = after.ok_or_else(|| EnrollError::Internal(format!("transaction {id} is gone")))?;
        // Who was overtaken finds the certificate set aside.
        match core.inventory.certificate(&fingerprint).await? {
            Some(adopted) if !adopted.set_aside => Ok(after),
            _ => Err(OperateError::Overtaken { id, state: after.state }),
        }
    }
}
