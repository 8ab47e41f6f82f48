//! A transaction from the request to the certificate (RFC 9483 sections 4.1 and 4.4).
//!
//! What an answer means depends on where it comes. A "no" to the first request says that nothing was issued; a "no" to the same request
//! sent again, or to a poll whose form the CA does not like, says nothing about what became of the first. A certificate that has to be
//! confirmed is delivered only when the CA has taken the confirmation: until then it may be revoked at any time (RFC 9810 section 5.3.18).

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::exchange::{Answer, Ask, exchange};
use super::look::{Look, certificate_hash};
use super::message::body_tag;
use super::peer::{Belief, Peer};
use super::reference::Open;
use super::status::{Failure, PkiStatus, StatusInfo};
use super::{Cmp, abilities, body};
use crate::upstream::remote::{CallError, Connector, RemoteCa};
use crate::upstream::{ASK_AGAIN, IdempotencyKey, IssuanceOrder, Submission};
use crate::x509::Certificate;
use crate::x509::crl::RevocationReason;

/// When a CA that lets an order wait is asked first: it says then when to come again.
const FIRST_POLL: Duration = Duration::from_secs(1);

/// What an answer is an answer to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The first request.
    First,
    /// The same request, whose answer was lost, or a poll in its place.
    Repeated,
    /// A poll.
    Polled,
}

/// What a certificate is asked for with: who, where, and until when an answer is any good.
struct Way<'a> {
    ca: &'a RemoteCa,
    peer: &'a Arc<Peer>,
    order: &'a IssuanceOrder,
    until: Instant,
}

impl Cmp {
    /// Sends the request; `repeated` if the CA may have had it before.
    pub(super) async fn enroll(&self, ca: &RemoteCa, order: &IssuanceOrder, key: &IdempotencyKey, repeated: bool) -> Submission {
        let stage = if repeated { Stage::Repeated } else { Stage::First };
        let way = match self.way(ca, order) {
            Ok(way) => way,
            Err(error) => return stage.failed(error),
        };
        if let (Stage::First, Err(error)) = (stage, self.prove(&way).await) {
            return stage.failed(error);
        }
        let (number, content) = match way.peer.request(order) {
            Ok(request) => request,
            Err(error) => return stage.failed(CallError::Refused(format!("the order cannot be put into a message: {error}"))),
        };
        let ask = Ask::about(key, number, content);
        let transaction = ask.transaction.clone();
        tracing::debug!(ca = ca.name(), transaction = hex::encode(&transaction), repeated, "A certificate is asked for.");
        match exchange(&self.http, way.peer, ca, ask).await {
            Ok(answer) => self.take(&way, stage, &transaction, way.peer.request_id(), answer).await,
            Err(error) => stage.failed(error),
        }
    }

    /// Asks the CA something harmless before the first order, and after an answer that could not be believed. With a secret that is not
    /// the CA's, its "no" cannot be told from a forgery, and every order would be left in the dark.
    async fn prove(&self, way: &Way<'_>) -> Result<(), CallError> {
        if way.peer.belief() == Belief::Good {
            return Ok(());
        }
        let call = self.ask(way.ca, body_tag::GENM, body::ask_ca_certificates());
        // Whoever does not answer such questions at all is asked for the certificate nevertheless.
        let answer = tokio::time::timeout(self.patience / 4, call).await;
        match (answer, way.peer.belief()) {
            (Ok(Err(error @ CallError::NotTaken { .. })), _) => Err(error),
            (_, Belief::Bad(why)) => Err(CallError::not_taken(format!("the answers of the CA cannot be believed: {why}"))),
            _ => Ok(()),
        }
    }

    /// Polls in a transaction whose only answer was lost (RFC 9483 section 4.4).
    pub(super) async fn poll_blindly(&self, ca: &RemoteCa, order: &IssuanceOrder, key: &IdempotencyKey) -> Submission {
        let way = match self.way(ca, order) {
            Ok(way) => way,
            Err(error) => return Stage::Repeated.failed(error),
        };
        let transaction = Ask::about(key, 0, Vec::new()).transaction;
        let ask = Ask::further(&transaction, &[], body_tag::POLL_REQ, body::poll(way.peer.request_id()));
        match exchange(&self.http, way.peer, ca, ask).await {
            Ok(answer) => self.take(&way, Stage::Repeated, &transaction, way.peer.request_id(), answer).await,
            Err(error) => Stage::Repeated.failed(error),
        }
    }

    /// Goes on with a transaction that is open: polls, or confirms.
    pub(super) async fn go_on(&self, ca: &RemoteCa, order: &IssuanceOrder, reference: &str) -> Submission {
        let (way, open) = match (self.way(ca, order), Open::read(reference)) {
            (Ok(way), Some(open)) => (way, open),
            (Err(error), _) => return Submission::Unknown { reason: error.to_string() },
            (_, None) => return Submission::Unknown { reason: "what is kept of the transaction cannot be read".to_owned() },
        };
        match open.certificate.as_deref().map(Certificate::from_der) {
            Some(Ok(certificate)) => return self.confirm(&way, open, Arc::new(certificate), way.peer.told()).await,
            Some(Err(error)) => return Submission::Unknown { reason: format!("the certificate that is kept: {error}") },
            None => {}
        }
        let ask = Ask::further(&open.transaction, &open.nonce, body_tag::POLL_REQ, body::poll(open.id));
        match exchange(&self.http, way.peer, ca, ask).await {
            Ok(answer) => self.take(&way, Stage::Polled, &open.transaction, open.id, answer).await,
            Err(error) => error.poll_again(reference),
        }
    }

    fn way<'a>(&'a self, ca: &'a RemoteCa, order: &'a IssuanceOrder) -> Result<Way<'a>, CallError> {
        // Who asks lets us go when its patience ends; what is known by then has to be handed over before.
        let until = Instant::now() + self.patience * 9 / 10;
        Ok(Way { ca, peer: self.peer(ca)?, order, until })
    }

    /// Takes an answer for what it is; `id` is the certReqId that was asked with.
    async fn take(&self, way: &Way<'_>, stage: Stage, transaction: &[u8], id: i64, answer: Answer) -> Submission {
        let open = |id| Open { transaction: transaction.to_vec(), nonce: answer.nonce.clone(), id, certificate: None };
        let wait = |id, retry_after| Submission::Waiting { reference: open(id).reference(), retry_after };
        let nonsense = |error: &dyn std::fmt::Display| Submission::Unknown { reason: format!("the answer of the CA: {error}") };
        match answer.body_tag {
            body_tag::IP | body_tag::CP => {}
            body_tag::POLL_REP if stage != Stage::First => {
                return match body::read_poll(&answer.content) {
                    Ok(after) => wait(id, after.max(FIRST_POLL)),
                    Err(error) => nonsense(&error),
                };
            }
            body_tag::ERROR => {
                return match body::read_error(&answer.content) {
                    // Whatever message it was about, it is polled for by this (RFC 9483 section 4.4).
                    Ok(said) if said.status == PkiStatus::Waiting => wait(-1, FIRST_POLL),
                    Ok(said) => stage.error(&said, || wait(id, ASK_AGAIN)),
                    Err(error) => nonsense(&error),
                };
            }
            other => return nonsense(&format_args!("a CMP body {other} where a certificate was expected")),
        }
        let rep = match body::CertRep::read(&answer.content) {
            Ok(rep) => rep,
            Err(error) => return nonsense(&error),
        };
        if !matches!(rep.id, 0 | -1) {
            return nonsense(&format_args!("it answers request {}, which was not made", rep.id));
        }
        match rep.status.status {
            PkiStatus::Rejection => return stage.rejection(&rep.status, || wait(rep.id, ASK_AGAIN)),
            PkiStatus::Waiting => {
                tracing::debug!(ca = way.ca.name(), "The CA lets an order wait: {}.", rep.status);
                return wait(rep.id, FIRST_POLL);
            }
            PkiStatus::Accepted | PkiStatus::GrantedWithMods | PkiStatus::Warning => {}
        }
        let Some(certificate) = rep.certificate else {
            return nonsense(&"it grants a certificate, and has none in it");
        };
        let certificate = match Certificate::from_der(certificate) {
            Ok(certificate) => Arc::new(certificate),
            Err(error) => return nonsense(&error),
        };
        if rep.status.status != PkiStatus::Accepted {
            tracing::info!(ca = way.ca.name(), serial = certificate.serial_hex(), "The CA has {}.", rep.status);
        }
        let told = rep.ca_pubs.iter().filter_map(|der| Certificate::from_der(der).ok()).filter(Certificate::is_ca);
        let told: Vec<_> = told.map(Arc::new).collect();
        way.peer.remember(told.clone());
        // What stands beside a message is not protected: it has to lead to what is configured, as all has.
        let chain = told.into_iter().chain(answer.beside.iter().cloned()).collect();
        if answer.implicit_confirm {
            return Submission::Issued { certificate, chain };
        }
        self.confirm(way, open(rep.id), certificate, chain).await
    }

    /// Tells the CA whether we take a certificate. It counts as issued once the CA has heard that we do. `chain` is what came with it.
    async fn confirm(
        &self,
        way: &Way<'_>,
        open: Open,
        certificate: Arc<Certificate>,
        chain: Vec<Arc<Certificate>>,
    ) -> Submission {
        let refused = self.look(way, &certificate, &chain).await.err();
        let (hash, named) = certificate_hash(&certificate);
        let status = refused.as_ref().map(|why| StatusInfo::rejection(Failure::INCORRECT_DATA, why));
        let content = body::confirmation(open.id, &hash, named, status.as_ref());
        let mut ask = Ask::further(&open.transaction, &open.nonce, body_tag::CERT_CONF, content);
        ask.needs_2021 = named.is_some();
        let call = exchange(&self.http, way.peer, way.ca, ask);
        let answer = match tokio::time::timeout_at(way.until.into(), call).await {
            Ok(answer) => answer,
            Err(_) => Err(CallError::Unclear("no answer to the confirmation in time".to_owned())),
        };
        let later = |error: &dyn std::fmt::Display, retry_after| {
            let serial = certificate.serial_hex();
            tracing::warn!(ca = way.ca.name(), serial, "The CA has not said that it knows our confirmation: {error}.");
            let open = Open { certificate: Some(certificate.der().to_vec()), ..open.clone() };
            Submission::Waiting { reference: open.reference(), retry_after }
        };
        let said = match answer {
            Ok(Answer { body_tag: body_tag::PKI_CONF, .. }) => None,
            Ok(Answer { body_tag: body_tag::ERROR, content, .. }) => match body::read_error(&content) {
                Ok(said) => Some(said),
                Err(error) => return later(&error, ASK_AGAIN),
            },
            Ok(Answer { body_tag: other, .. }) => return later(&format_args!("a CMP body {other} came instead"), ASK_AGAIN),
            // Nothing has changed since it was written down how far this is.
            Err(error) if open.certificate.is_some() => return error.poll_again(&open.reference()),
            Err(error) => return later(&error, pause(&error)),
        };
        let confirmed = said.as_ref().is_none_or(|said| said.has(Failure::CERT_CONFIRMED));
        match (refused, said) {
            (None, _) if confirmed => Submission::Issued { certificate, chain },
            (None, Some(said)) if said.has_any(&[Failure::SYSTEM_UNAVAILABLE, Failure::SYSTEM_FAILURE]) => {
                later(&said, ASK_AGAIN)
            }
            // The CA has heard that we do not want it, and has to revoke it; some need to be told.
            (Some(why), said) => match (self.withdraw(way, &certificate, &why).await, said) {
                (Submission::Unknown { reason }, None) => Submission::Rejected { reason },
                (withdrawn, _) => withdrawn,
            },
            (None, said) => {
                let said = said.map(|said| said.to_string()).unwrap_or_default();
                self.withdraw(way, &certificate, &format!("it did not take the confirmation: {said}")).await
            }
        }
    }

    /// Looks at a certificate on a thread of its own. One by a key that we do not know may be by the new one of the CA, if the CA tells
    /// of it: beside the certificate, or when it is asked.
    async fn look(&self, way: &Way<'_>, certificate: &Arc<Certificate>, chain: &[Arc<Certificate>]) -> Result<(), String> {
        let looking = || {
            let (look, certificate) = (Look::of(way.order, abilities(&way.peer.settings), way.ca), Arc::clone(certificate));
            let looked = tokio::task::spawn_blocking(move || look.at(&certificate));
            async move { looked.await.unwrap_or_else(|join| Err(join.to_string())) }
        };
        let Err(why) = looking().await else { return Ok(()) };
        if way.ca.knows_issuer_of(certificate).await {
            return Err(why);
        }
        if way.ca.learn_issuer_of(certificate, chain).await.is_err() {
            let within = way.until.saturating_duration_since(Instant::now()) / 3;
            let Ok(Ok(told)) = tokio::time::timeout(within, self.certificates(way.ca)).await else { return Err(why) };
            if way.ca.learn_issuer_of(certificate, &told).await.is_err() {
                return Err(why);
            }
        }
        looking().await
    }

    /// Revokes a certificate whose confirmation went wrong: the CA may take it for good, or revoke it by itself.
    async fn withdraw(&self, way: &Way<'_>, certificate: &Certificate, why: &str) -> Submission {
        let serial = certificate.serial_hex();
        let call = self.revoke(way.ca, certificate, RevocationReason::CessationOfOperation);
        let revoked = tokio::time::timeout_at(way.until.into(), call).await;
        match revoked.unwrap_or_else(|_| Err(CallError::Unclear("no answer in time".to_owned()))) {
            Ok(()) => Submission::Rejected { reason: format!("the CA issued {serial}, which was revoked again: {why}") },
            Err(error) => Submission::Unknown {
                reason: format!("the CA issued {serial}, and may or may not take it for valid: {why}; revoking it: {error}"),
            },
        }
    }
}

impl Stage {
    /// What it means that there was no answer, or none to be believed.
    fn failed(self, error: CallError) -> Submission {
        match self {
            Stage::First => error.submission(),
            // What could not be asked now may be known to the CA nevertheless.
            Stage::Repeated | Stage::Polled => Submission::Unknown { reason: error.to_string() },
        }
    }

    /// What an error message means.
    fn error(self, said: &StatusInfo, wait: impl FnOnce() -> Submission) -> Submission {
        let reason = format!("the CA says: {said}");
        let system = said.has_any(&[Failure::SYSTEM_UNAVAILABLE, Failure::SYSTEM_FAILURE]);
        match self {
            // It has this transaction, so it has had the request.
            Stage::First if said.has(Failure::TRANSACTION_ID_IN_USE) => Submission::Unknown { reason },
            // What failed, and when, nobody knows.
            Stage::First if said.has(Failure::SYSTEM_FAILURE) => Submission::Unknown { reason },
            Stage::First if said.has(Failure::SYSTEM_UNAVAILABLE) || said.has_any(&Failure::OF_THE_SENDER) => {
                Submission::NotTaken { reason, retry_after: None }
            }
            Stage::First => Submission::Rejected { reason },
            Stage::Repeated => Submission::Unknown { reason },
            Stage::Polled if system => wait(),
            // It does not like our message, which says nothing about the order; nor does an error without a name.
            Stage::Polled if said.failures().is_empty() || said.has_any(&Failure::OF_THE_MESSAGE) => {
                Submission::Unknown { reason }
            }
            Stage::Polled => Submission::Rejected { reason },
        }
    }

    /// What it means that the CA answers with a rejection in the place of a certificate.
    fn rejection(self, said: &StatusInfo, wait: impl FnOnce() -> Submission) -> Submission {
        let reason = format!("the CA says: {said}");
        match self {
            Stage::First if said.has(Failure::TRANSACTION_ID_IN_USE) => Submission::Unknown { reason },
            // As in an error message: a CA whose database fails after it has signed says so too.
            Stage::First | Stage::Polled if said.has(Failure::SYSTEM_FAILURE) => Submission::Unknown { reason },
            Stage::First if said.has(Failure::SYSTEM_UNAVAILABLE) => Submission::NotTaken { reason, retry_after: None },
            Stage::Polled if said.has(Failure::SYSTEM_UNAVAILABLE) => wait(),
            Stage::First | Stage::Polled => Submission::Rejected { reason },
            // It may refuse a second certificate because it has issued the first.
            Stage::Repeated => Submission::Unknown { reason },
        }
    }
}

/// When to ask again after a failure.
fn pause(error: &CallError) -> Duration {
    match error {
        CallError::NotTaken { after: Some(after), .. } => *after,
        _ => ASK_AGAIN,
    }
}
