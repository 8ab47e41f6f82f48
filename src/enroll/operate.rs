//! What operators do: make challenges, decide what waits, revoke.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;

use super::challenge::{ChallengeOrder, mint};
use super::core::Core;
use super::issue::fields;
use super::query::Register;
use super::{EnrollError, Enroller, pair};
use crate::algorithm::IssuerRef;
use crate::inventory::{
    Attempt, AttemptId, AttemptState, AuditEvent, CertificateRecord, Challenge, Decision, InventoryError, Transaction,
    TransactionId, TransactionState,
};
use crate::policy::ChallengePolicy;
use crate::rollout::Ruling;
use crate::upstream::{IssuanceOrder, UpstreamError, crl_key_name};
use crate::x509::Certificate;
use crate::x509::crl::RevocationReason;

/// What an operator asked for cannot be done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OperateError {
    /// There is no such group.
    #[error("there is no group {0:?}")]
    NoSuchGroup(String),
    /// There is no such profile.
    #[error("there is no algorithm profile {0:?}")]
    NoSuchProfile(String),
    /// The group tries no candidate.
    #[error("group {0:?} tries no candidate: add a table [rollout] to its policy")]
    NoRollout(String),
    /// The group has no shadow.
    #[error("group {0:?} tries nothing in its shadow: add a table [shadow] to its policy")]
    NoShadow(String),
    /// No day was given, and the group has no deadline.
    #[error("group {0:?} has no deadline: say which day")]
    NoDeadline(String),
    /// The rollout stands so already.
    #[error("the rollout of group {group:?} is {phase} already")]
    RolloutPhase {
        /// Which group.
        group: String,
        /// How it stands.
        phase: crate::rollout::Phase,
    },
    /// A rollout cannot be rolled back to what is no longer issued.
    #[error(
        "group {group:?} cannot go back to {profile}, which signs classically only: its deadline has passed; halt the rollout instead"
    )]
    BelowDeadline {
        /// Which group.
        group: String,
        /// The profile that it would go back to.
        profile: String,
    },
    /// The group does not take one-time challenges.
    #[error(
        "group {0:?} takes no one-time challenges: add `challenge = {{ kind = \"one-time\" }}` to the [authenticate] table of its policy"
    )]
    NoOneTimeChallenges(String),
    /// The challenge has to be bound, and the value is missing.
    #[error("group {group:?} binds its challenges: say what {selector} has to be")]
    BindMissing {
        /// Which group.
        group: String,
        /// Which selector.
        selector: String,
    },
    /// There is no such transaction, or its outcome is known.
    #[error("no transaction {0} has an unknown outcome")]
    NotUnknown(TransactionId),
    /// A certificate that was handed in is not the one that was ordered.
    #[error("this is not the certificate that was ordered for {id}: {why}")]
    NotAsOrdered {
        /// The transaction.
        id: TransactionId,
        /// What differs.
        why: String,
    },
    /// Another decided about the transaction while a certificate was handed in for it.
    #[error("{id} is {state} meanwhile: another decided about it, or its issuer answered; this certificate is given to nobody")]
    Overtaken {
        /// The transaction.
        id: TransactionId,
        /// How it stands.
        state: TransactionState,
    },
    /// There is no such transaction, or it does not wait.
    #[error("no transaction {0} waits for a decision")]
    NotWaiting(TransactionId),
    /// The certificate that was ordered would be expired.
    #[error("what {id} asked for would have ended at {ended}, too late to approve it: deny it, and let the device ask again")]
    OrderEnded {
        /// The transaction.
        id: TransactionId,
        /// The end of the ordered validity.
        ended: jiff::Timestamp,
    },
    /// The deadline of the group came while the request waited.
    #[error(
        "what {id} asked for would be signed classically only, which ended for group {group:?} at {from}: deny it, and let the device ask again"
    )]
    DeadlinePassed {
        /// The transaction.
        id: TransactionId,
        /// The group.
        group: String,
        /// Its deadline.
        from: jiff::Timestamp,
    },
    /// There is no such certificate.
    #[error("there is no certificate {0:?}")]
    NoSuchCertificate(String),
    /// Nothing is known of the device.
    #[error("nothing is known of device {device:?} in group {group:?}")]
    NoSuchDevice {
        /// The group.
        group: String,
        /// The device.
        device: String,
    },
    /// Several certificates fit.
    #[error("{0:?} fits several certificates: give more of the serial or fingerprint")]
    Ambiguous(String),
    /// The upstream did not revoke, or gave no CRL; the inventory has not changed.
    #[error("the CA did not do it: {0}")]
    Upstream(#[from] UpstreamError),
    /// The store failed.
    #[error(transparent)]
    Inventory(#[from] InventoryError),
    /// Something that should not happen.
    #[error(transparent)]
    Internal(#[from] EnrollError),
}

/// What to make challenges for.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct NewChallenges {
    /// The device group.
    pub group: String,
    /// How many; 0 is 1.
    pub count: usize,
    /// How long they can be redeemed, in seconds; the group's `ttl` if not given.
    pub ttl_seconds: Option<u64>,
    /// Selector → value.
    pub bind: BTreeMap<String, String>,
    /// A note for people.
    pub note: Option<String>,
}

impl Enroller {
    /// Makes one-time challenges. Their texts are shown here and never again.
    pub async fn mint_challenges(&self, new: NewChallenges, operator: &str) -> Result<Vec<(String, Challenge)>, OperateError> {
        let core = self.core();
        let snapshot = self.snapshot();
        let group = snapshot.groups.get(&new.group).ok_or_else(|| OperateError::NoSuchGroup(new.group.clone()))?;
        let policy = group.challenges.iter().find_map(|way| match way {
            ChallengePolicy::OneTime { ttl, bind } => Some((*ttl, bind)),
            ChallengePolicy::Shared(_) => None,
        });
        let (ttl, bind) = policy.ok_or_else(|| OperateError::NoOneTimeChallenges(new.group.clone()))?;
        if let Some(selector) = bind.iter().find(|selector| !new.bind.contains_key(*selector)) {
            return Err(OperateError::BindMissing { group: new.group, selector: selector.clone() });
        }
        let now = core.now();
        let order = ChallengeOrder {
            group: new.group.clone(),
            ttl: new.ttl_seconds.map_or(ttl, Duration::from_secs),
            bind: new.bind,
            note: new.note,
            created_by: operator.to_owned(),
        };
        let minted: Vec<_> = (0..new.count.max(1)).map(|_| mint(&order, now)).collect();
        core.inventory.add_challenges(minted.iter().map(|(_, row)| row.clone()).collect()).await?;
        let event = AuditEvent {
            at: now,
            event: "challenge.created".into(),
            actor: format!("operator:{operator}"),
            object: minted.first().map(|(_, row)| row.id.clone()).unwrap_or_default(),
            fields: fields(json!({ "group": order.group, "count": minted.len(), "bind": order.bind, "note": order.note })),
        };
        core.inventory.audit(vec![event]).await?;
        Ok(minted)
    }

    /// Lets a waiting transaction go on: the worker takes it at once.
    pub async fn approve(&self, id: TransactionId, operator: &str) -> Result<Transaction, OperateError> {
        let core = self.core();
        let waiting = core.inventory.transaction(id).await?.ok_or(OperateError::NotWaiting(id))?;
        if !matches!(waiting.state, TransactionState::AwaitingApproval | TransactionState::Unknown) {
            return Err(OperateError::NotWaiting(id));
        }
        let order = stored_order(core, &waiting)?;
        let (now, snapshot) = (core.now(), self.snapshot());
        if order.not_after <= now {
            return Err(OperateError::OrderEnded { id, ended: order.not_after });
        }
        // What a CA was asked for before the deadline is carried to its end; what waits for people was not asked for yet.
        let group = snapshot.groups.get(&order.group);
        let deadline =
            group.and_then(|group| group.deadline.as_ref()).filter(|_| waiting.state == TransactionState::AwaitingApproval);
        if let Some(deadline) = deadline
            && deadline.rule(order.is_post_quantum(), order.device.as_deref(), now) == Ruling::Passed
        {
            return Err(OperateError::DeadlinePassed { id, group: order.group, from: deadline.from });
        }
        let IssuerRef { upstream, ca } = pair::issuer_of_leg(core, &snapshot, &order, &waiting);
        let gate = core.gate_of(&snapshot, &upstream);
        let turn = gate.as_ref().map(|gate| gate.queue());
        let attempt = Attempt {
            id: AttemptId::new(),
            state: AttemptState::Prepared,
            upstream,
            ca,
            reference: None,
            due_at: now,
            held_by: None,
            held_until: None,
        };
        let event = decision_event(core, &waiting, "approval.granted", operator, None);
        let decided =
            core.inventory.decide(id, Decision::Approve { attempt, event }).await?.ok_or(OperateError::NotWaiting(id))?;
        if let Some(gate) = gate {
            gate.opened();
        }
        drop(turn);
        core.work.notify_one();
        Ok(decided)
    }

    /// Refuses a waiting transaction.
    pub async fn deny(&self, id: TransactionId, reason: &str, operator: &str) -> Result<Transaction, OperateError> {
        let core = self.core();
        let waiting = core.inventory.transaction(id).await?.ok_or(OperateError::NotWaiting(id))?;
        let event = decision_event(core, &waiting, "approval.denied", operator, Some(reason));
        let detail = if reason.is_empty() { "denied by an operator".to_owned() } else { reason.to_owned() };
        // First of all: until it is refused its certificate may be one that was delivered.
        let denied = core.inventory.decide(id, Decision::Deny { detail, event }).await?.ok_or(OperateError::NotWaiting(id))?;
        if let Some(first) = &denied.certificate
            && let Some(record) = core.inventory.certificate(first).await?
        {
            // The first of a pair whose second one never came.
            let certificate = Certificate::from_der(&record.der).map_err(|error| EnrollError::Internal(error.to_string()))?;
            let issuer = IssuerRef { upstream: record.upstream, ca: record.ca };
            pair::withdraw(core, &self.snapshot(), &certificate, &issuer).await;
        }
        Ok(denied)
    }

    /// Finds one certificate by the start of its serial or fingerprint in hex.
    pub async fn find_certificate(&self, prefix: &str) -> Result<CertificateRecord, OperateError> {
        let prefix = prefix.replace([':', ' '], "").to_ascii_lowercase();
        let search = crate::inventory::CertificateSearch { text: Some(prefix.clone()), limit: 50, ..Default::default() };
        let mut found = self.core().inventory.certificates(&search).await?;
        found.retain(|record| {
            // Other programs leave out the zero octet that only says that the number is positive.
            let serial = hex::encode(&record.serial);
            let trimmed = serial.strip_prefix("00").unwrap_or(&serial);
            trimmed.starts_with(&prefix) || serial.starts_with(&prefix) || hex::encode(record.fingerprint).starts_with(&prefix)
        });
        match found.len() {
            0 => Err(OperateError::NoSuchCertificate(prefix)),
            1 => Ok(found.remove(0)),
            _ => Err(OperateError::Ambiguous(prefix)),
        }
    }

    /// Revokes a certificate and its sibling, each at its issuer first; `false` if it was revoked before.
    pub async fn revoke(
        &self,
        record: &CertificateRecord,
        reason: RevocationReason,
        operator: &str,
    ) -> Result<bool, OperateError> {
        let core = self.core();
        let snapshot = self.snapshot();
        let sibling = core.inventory.sibling(&record.fingerprint).await?;
        let mut told = Vec::new();
        for one in std::iter::once(record).chain(&sibling) {
            let certificate = Certificate::from_der(&one.der).map_err(|error| EnrollError::Internal(error.to_string()))?;
            let upstream = snapshot.upstreams.get(&one.upstream).and_then(|upstream| upstream.revoke());
            if let Some(revoke) = upstream {
                revoke.revoke(&one.ca, &certificate, reason).await?;
            }
            told.push(upstream.is_some());
        }
        let at = core.now();
        let event = AuditEvent {
            at,
            event: "certificate.revoked".into(),
            actor: format!("operator:{operator}"),
            object: hex::encode(record.fingerprint),
            fields: fields(json!({
                "serial": hex::encode(&record.serial), "subject": record.subject, "reason": reason.name(),
                "upstream": record.upstream, "told_upstream": told[0],
                "sibling": sibling.as_ref().map(|sibling| json!({
                    "fingerprint": hex::encode(sibling.fingerprint), "serial": hex::encode(&sibling.serial),
                    "upstream": sibling.upstream, "told_upstream": told.get(1),
                })),
            })),
        };
        Ok(core.inventory.revoke(&record.fingerprint, reason, at, event).await?)
    }

    /// The current CRL of a CA.
    pub async fn crl(&self, upstream: &str, ca: &str) -> Result<Vec<u8>, OperateError> {
        let snapshot = self.snapshot();
        let no_such = || UpstreamError::NoSuchCa { upstream: upstream.to_owned(), ca: ca.to_owned() };
        let connector = snapshot.upstreams.get(upstream).ok_or_else(no_such)?;
        let source =
            connector.crl().ok_or_else(|| UpstreamError::Unsupported { upstream: upstream.to_owned(), what: "give a CRL" })?;
        Ok(source.crl(ca, &Register(self.core())).await?)
    }

    /// The CRL by the key of this name ([`crl_key_name`]), of the current generation of a CA or an earlier one. `None` if there
    /// is no such CA or key.
    pub async fn crl_by_key(&self, upstream: &str, ca: &str, key: &str) -> Result<Option<Vec<u8>>, OperateError> {
        let snapshot = self.snapshot();
        let Some(connector) = snapshot.upstreams.get(upstream) else { return Ok(None) };
        let (Some(source), Some(chain)) = (connector.crl(), connector.chain(ca)) else { return Ok(None) };
        let generations = chain.first().cloned().into_iter().chain(connector.previous_certificates(ca));
        let Some(issuer) = generations.into_iter().find(|issuer| crl_key_name(issuer) == key) else { return Ok(None) };
        Ok(source.crl_of(ca, &issuer, &Register(self.core())).await?)
    }
}

/// The order of a stored transaction.
pub(crate) fn stored_order(core: &Core, transaction: &Transaction) -> Result<IssuanceOrder, EnrollError> {
    let json = transaction
        .order
        .as_deref()
        .ok_or_else(|| EnrollError::Internal(format!("transaction {} has no order", transaction.id)))?;
    super::seal::stored_order(&core.sealer, json)
        .map_err(|error| EnrollError::Internal(format!("the order of transaction {}: {error}", transaction.id)))
}

fn decision_event(core: &Core, transaction: &Transaction, event: &str, operator: &str, reason: Option<&str>) -> AuditEvent {
    AuditEvent {
        at: core.now(),
        event: event.into(),
        actor: format!("operator:{operator}"),
        object: transaction.id.to_string(),
        fields: fields(json!({ "group": transaction.group, "subject": transaction.subject, "reason": reason })),
    }
}
