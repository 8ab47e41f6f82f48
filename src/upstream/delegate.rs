//! CAs that are asked in JSON: by HTTP ([`webhook`]) or by running a program ([`exec`]).
//!
//! Both speak the same messages ([`message`]); they differ in how a question gets there and an answer comes back, which is a
//! [`Carrier`]. What the CA behind can do nobody can tell from here, so the configuration says it ([`Can`]).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::excerpt::short;
use super::remote::{Abilities, CallError, Connector, RemoteCa};
use super::{IdempotencyKey, IssuanceOrder, Submission};
use crate::x509::Certificate;
use crate::x509::crl::RevocationReason;

pub mod exec;
pub mod message;
pub mod webhook;

use message::{Answer, Operation, Question};

/// What the CA behind can do, as the configuration says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Can {
    /// The subject of the certificate is the one of the order, whatever the CSR says.
    SetSubject,
    /// So are the subject alternative names.
    SetNames,
    /// So are the usages.
    SetUsages,
    /// So is the validity.
    SetValidity,
    /// It may answer `waiting`, and is polled then.
    Wait,
    /// It revokes.
    Revoke,
    /// It finds an earlier order again by its idempotency key: it knows the operation `find`.
    Find,
    /// It answers the same order with the same idempotency key with the same certificate: `submit` may be repeated.
    Repeat,
}

crate::algorithm::named!(Can, "ability", {
    SetSubject => "set-subject",
    SetNames => "set-names",
    SetUsages => "set-usages",
    SetValidity => "set-validity",
    Wait => "wait",
    Revoke => "revoke",
    Find => "find",
    Repeat => "repeat",
});

/// What webhooks and programs are configured with alike.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DelegateSettings {
    /// What the CA behind can do.
    pub can: BTreeSet<Can>,
    /// What each CA is called there, if that is not its name here.
    pub selectors: BTreeMap<String, Option<String>>,
}

/// Brings a question there and its answer back.
#[async_trait]
pub trait Carrier: Send + Sync {
    /// Gives the octets of the answer. [`CallError::NotTaken`] only if the question surely changed nothing there.
    async fn carry(&self, question: Vec<u8>) -> Result<Vec<u8>, CallError>;
}

/// A CA that is asked in JSON.
pub struct Delegate {
    settings: DelegateSettings,
    carrier: Box<dyn Carrier>,
}

/// How long a device waits where the answer does not say.
const RETRY_AFTER: Duration = Duration::from_secs(60);

impl Delegate {
    /// Asks by this carrier.
    pub fn new(settings: DelegateSettings, carrier: Box<dyn Carrier>) -> Self {
        Self { settings, carrier }
    }

    fn can(&self, what: Can) -> bool {
        self.settings.can.contains(&what)
    }

    async fn ask(&self, ca: &RemoteCa, operation: Operation<'_>) -> Result<Answer, CallError> {
        let selector = self.settings.selectors.get(ca.name()).and_then(Option::as_deref);
        let question = Question::new(ca.name(), selector, operation);
        Answer::read(&self.carrier.carry(question.to_json()).await?)
    }

    /// The answer to a question about an order.
    async fn order(&self, ca: &RemoteCa, operation: Operation<'_>) -> Result<Submission, CallError> {
        submission(self.ask(ca, operation).await?)
    }
}

/// What an answer says of an order.
fn submission(answer: Answer) -> Result<Submission, CallError> {
    Ok(match answer {
        Answer::Issued { certificate, chain } => {
            let mut certificates = message::certificates(std::iter::once(&certificate).chain(&chain))?.into_iter();
            let certificate = certificates.next().ok_or_else(|| CallError::Unclear("`issued` without a certificate".into()))?;
            Submission::Issued { certificate, chain: certificates.collect() }
        }
        Answer::Waiting { reference, retry_after } => {
            Submission::Waiting { reference, retry_after: retry_after.map_or(RETRY_AFTER, Duration::from_secs) }
        }
        Answer::NotTaken { reason, retry_after } => {
            Submission::NotTaken { reason: short(&reason), retry_after: retry_after.map(Duration::from_secs) }
        }
        Answer::Rejected { reason } => Submission::Rejected { reason: short(&reason) },
        Answer::Unknown { reason } => Submission::Unknown { reason: short(&reason) },
        other => Submission::Unknown { reason: format!("`{}` is no answer to a question about an order", other.name()) },
    })
}

#[async_trait]
impl Connector for Delegate {
    fn abilities(&self, _ca: &RemoteCa) -> Abilities {
        Abilities {
            overrides_subject: self.can(Can::SetSubject),
            overrides_subject_alt_names: self.can(Can::SetNames),
            overrides_usages: self.can(Can::SetUsages),
            overrides_validity: self.can(Can::SetValidity),
            can_wait: self.can(Can::Wait),
            can_revoke: self.can(Can::Revoke),
            can_find_again: self.can(Can::Find) || self.can(Can::Repeat),
            sees_challenge: true,
            ..Abilities::default()
        }
    }

    async fn submit(&self, ca: &RemoteCa, order: &IssuanceOrder, key: &IdempotencyKey) -> Submission {
        let operation = match Operation::submit(order, key) {
            Ok(operation) => operation,
            Err(error) => return Submission::Rejected { reason: error.to_string() },
        };
        self.order(ca, operation).await.unwrap_or_else(CallError::submission)
    }

    async fn poll(&self, ca: &RemoteCa, order: &IssuanceOrder, reference: &str) -> Submission {
        let operation = match Operation::poll(order, reference) {
            Ok(operation) => operation,
            Err(error) => return Submission::Unknown { reason: error.to_string() },
        };
        self.order(ca, operation).await.unwrap_or_else(CallError::poll)
    }

    async fn find(&self, ca: &RemoteCa, order: &IssuanceOrder, key: &IdempotencyKey) -> Submission {
        if self.can(Can::Repeat) {
            return self.submit(ca, order, key).await;
        }
        let operation = match Operation::find(order, key) {
            Ok(operation) => operation,
            Err(error) => return Submission::Unknown { reason: error.to_string() },
        };
        // Whatever goes wrong with this question, the earlier one may have been heard: nothing here may say otherwise.
        let unclear =
            |why: &dyn std::fmt::Display| Submission::Unknown { reason: format!("the earlier order is not found yet: {why}") };
        match self.ask(ca, operation).await {
            Ok(Answer::NotFound) => self.submit(ca, order, key).await,
            Ok(Answer::NotTaken { reason, .. }) => unclear(&short(&reason)),
            Ok(answer) => submission(answer).unwrap_or_else(|error| unclear(&error)),
            Err(error) => unclear(&error),
        }
    }

    async fn certificates(&self, ca: &RemoteCa) -> Result<Vec<Arc<Certificate>>, CallError> {
        match self.ask(ca, Operation::Certificates {}).await? {
            Answer::Ok { certificates, .. } => message::certificates(&certificates),
            Answer::Unsupported => Ok(Vec::new()),
            other => Err(other.failure()),
        }
    }

    async fn check(&self, ca: &RemoteCa) -> Result<Vec<String>, CallError> {
        match self.ask(ca, Operation::Check {}).await? {
            Answer::Ok { problems, .. } => Ok(problems.iter().map(|problem| short(problem)).collect()),
            Answer::Unsupported => Ok(Vec::new()),
            other => Err(other.failure()),
        }
    }

    async fn revoke(&self, ca: &RemoteCa, certificate: &Certificate, reason: RevocationReason) -> Result<(), CallError> {
        match self.ask(ca, Operation::revoke(certificate, reason)).await? {
            Answer::Ok { .. } => Ok(()),
            other => Err(other.failure()),
        }
    }

    async fn crl(&self, ca: &RemoteCa) -> Result<Option<Vec<u8>>, CallError> {
        match self.ask(ca, Operation::Crl {}).await? {
            Answer::Ok { crl: Some(crl), .. } => message::octets(&crl, "X509 CRL").map(Some),
            Answer::Ok { crl: None, .. } | Answer::Unsupported => Ok(None),
            other => Err(other.failure()),
        }
    }
}

#[cfg(test)]
mod tests;
