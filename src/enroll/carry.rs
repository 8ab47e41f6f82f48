//! Carries a transaction on: asks the issuer, looks at what it gave back, and has it written down. A request's own task does so where the
//! issuer can be asked at once; the worker does for all that waited.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;

use super::breaker::Heard;
use super::conclude::{conclude, event_of, issued_event, leave_unknown, note_setback, record_of, reject, write_down};
use super::core::{ANSWER, Core, after};
use super::gate::{Entry, Pass};
use super::inspect::{Allowed, inspect};
use super::pair::{self, First};
use super::stage::Settled;
use super::{EnrollError, IssuedCertificate, Outcome, RejectionCode, Reply, backoff, failover, fault, stray};
use crate::inventory::{Attempt, AttemptResult, AttemptState, AuditEvent, CertificateRecord, Concluded, Conclusion, Transaction};
use crate::snapshot::Snapshot;
use crate::upstream::{Capabilities, IdempotencyKey, IssuanceOrder, Submission, UpstreamCa};
use crate::x509::Certificate;

/// How soon an order has to be asked after, for a client to be kept waiting for that.
const SHORTLY: Duration = Duration::from_secs(1);

/// How long an order that was surely not sent waits for an upstream that was taken out of the configuration.
const PUT_BACK: Duration = Duration::from_secs(3600);

/// An attempt that is carried on: by the request's own task, or by the worker.
#[derive(Clone)]
pub(crate) struct Work {
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) transaction: Transaction,
    pub(crate) attempt: Attempt,
    /// The order as it is stored.
    pub(crate) stored: Arc<IssuanceOrder>,
    /// What the issuer of this attempt is asked: the same at that issuer, or the order for the second of a pair.
    pub(crate) order: Arc<IssuanceOrder>,
    /// How it is asked.
    pub(crate) ask: Ask,
    /// The right to ask it, where it has limits.
    pub(crate) pass: Option<Arc<Pass>>,
    /// Makes the reply, and the digest of the message that it answers, where somebody waits for it.
    pub(crate) reply: Option<(Arc<dyn Reply>, [u8; 32])>,
    /// The first certificate of a pair, where the order is for the second.
    pub(crate) first: Option<First>,
}

/// How an issuer is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    /// It surely has not heard of the order.
    Submit,
    /// It said that it will decide later, and gave this to ask with.
    Poll(String),
    /// It may have heard of it.
    Find,
}

impl Ask {
    /// How the issuer of an attempt that was taken up is asked: by what is known of the attempt, and not by what is likely.
    pub(crate) fn of(attempt: &Attempt) -> Self {
        match (attempt.state, &attempt.reference) {
            (AttemptState::Prepared, _) => Ask::Submit,
            (AttemptState::Waiting, Some(reference)) => Ask::Poll(reference.clone()),
            _ => Ask::Find,
        }
    }
}

impl Work {
    /// Work on an order as it is stored.
    pub(crate) fn new(
        snapshot: Arc<Snapshot>,
        transaction: Transaction,
        attempt: Attempt,
        stored: Arc<IssuanceOrder>,
        ask: Ask,
        pass: Option<Arc<Pass>>,
    ) -> Self {
        Work { snapshot, transaction, attempt, order: Arc::clone(&stored), stored, ask, pass, reply: None, first: None }
    }

    /// The upstream that is asked.
    pub(super) fn upstream(&self) -> Option<&Arc<dyn UpstreamCa>> {
        self.snapshot.upstreams.get(&self.order.issuer.upstream)
    }
}

/// How far a transaction was carried.
pub(crate) enum Carried {
    /// It has its answer, or waits for its issuer.
    Settled(Settled),
    /// It waits for its turn at an issuer, or is asked after in a moment.
    Queued,
}

/// What one leg of the work came to.
enum Leg {
    Carried(Carried),
    /// The first certificate of a pair is there, and its sibling can be asked for at once.
    First(Box<Work>),
}

impl Leg {
    fn settled(settled: Settled) -> Self {
        Leg::Carried(Carried::Settled(settled))
    }
}

/// Carries a transaction on as far as it gets now: to its certificate, or to both certificates of a pair.
pub(crate) async fn carry(core: Arc<Core>, mut work: Work) -> Result<Carried, EnrollError> {
    loop {
        work = for_its_leg(&core, work).await?;
        match leg(&core, work).await? {
            Leg::Carried(carried) => return Ok(carried),
            Leg::First(next) => work = *next,
        }
    }
}

/// The work with the order for the issuer of its attempt.
pub(super) async fn for_its_leg(core: &Core, mut work: Work) -> Result<Work, EnrollError> {
    match pair::second_leg(core, &work).await? {
        Some((order, first)) => (work.order, work.first) = (Arc::new(order), Some(first)),
        None if work.attempt.issuer() != work.order.issuer => work.order = Arc::new(work.stored.at(work.attempt.issuer())),
        None => {}
    }
    Ok(work)
}

/// Asks the issuer, looks at the answer, and writes it down.
async fn leg(core: &Arc<Core>, mut work: Work) -> Result<Leg, EnrollError> {
    let upstream = work.upstream().cloned();
    let capabilities = upstream.as_ref().and_then(|upstream| upstream.capabilities(&work.order.issuer.ca));
    let (Some(upstream), Some(capabilities)) = (upstream, capabilities) else {
        let mut detail =
            format!("upstream {:?} with CA {:?} is not configured any more", work.order.issuer.upstream, work.order.issuer.ca);
        if work.ask == Ask::Submit {
            // What it surely has not heard of may go to another one, or waits for a while until somebody has put it back.
            let is_old = work.attempt.id.made_at().is_some_and(|made| after(made, PUT_BACK) < core.now());
            if !is_old || failover::next(core, &work).is_some() {
                return not_taken(core, work, detail, None).await;
            }
            detail += "; the order was never sent there";
        }
        return leave_unknown(core, &work, detail).await.map(Leg::settled);
    };
    if work.ask == Ask::Find && !capabilities.can_find_again {
        // It may have reached the issuer before a crash: only an issuer that finds it again may be asked again. The local CA, for
        // one, gives the same serial for the same key.
        return leave_unknown(core, &work, "the node stopped while the issuer was asked".to_owned()).await.map(Leg::settled);
    }
    if capabilities.poll_may_issue
        && matches!(work.ask, Ask::Poll(_))
        && !core.inventory.submits_again(work.transaction.id, &work.attempt).await?
    {
        let now = core.inventory.transaction(work.transaction.id).await?.unwrap_or(work.transaction);
        return super::record::stored_outcome(core, &work.snapshot, &now).await.map(Settled::recorded).map(Leg::settled);
    }
    let submission = ask(core, upstream.as_ref(), &capabilities, &work).await;
    fault::point("after-submit");
    // Others may ask now: what is left to do concerns the CA no more.
    work.pass = None;
    let settled = match submission {
        Submission::Issued { certificate, chain } => {
            return take(core, work, upstream.as_ref(), capabilities, certificate, chain).await;
        }
        Submission::Waiting { reference, retry_after } => {
            let due_at = after(core.now(), retry_after);
            let settled = conclude(core, &work, AttemptResult::Waiting { reference, due_at }, None, Vec::new()).await?;
            if retry_after <= SHORTLY && matches!(settled.outcome, Outcome::Pending { .. }) {
                // Issuers that give an order its name first, and its certificate a moment later: whoever waits may wait on.
                core.work.notify_one();
                return Ok(Leg::Carried(Carried::Queued));
            }
            Ok(settled)
        }
        Submission::NotTaken { reason, retry_after } => return not_taken(core, work, reason, retry_after).await,
        Submission::Rejected { reason } => reject(core, &work, RejectionCode::UpstreamRejected, reason).await,
        Submission::Unknown { reason } if capabilities.can_find_again => {
            tracing::warn!(transaction = %work.transaction.id, upstream = upstream.name(), "The outcome is unclear and will be asked for: {reason}.");
            note_setback(core, &work, "upstream-unclear", &reason).await;
            let due_at = after(core.now(), backoff::rest(&work.attempt, core.now(), None));
            conclude(core, &work, AttemptResult::Unclear { due_at }, None, Vec::new()).await
        }
        Submission::Unknown { reason } | Submission::Lost { reason } => {
            note_setback(core, &work, "upstream-unclear", &reason).await;
            leave_unknown(core, &work, reason).await
        }
    };
    settled.map(Leg::settled)
}

/// Looks at a certificate, and writes it down.
async fn take(
    core: &Arc<Core>,
    work: Work,
    upstream: &dyn UpstreamCa,
    capabilities: Capabilities,
    certificate: Arc<Certificate>,
    chain: Vec<Arc<Certificate>>,
) -> Result<Leg, EnrollError> {
    // What is known of the CA is preferred to what came along, which may hold more than was asked for.
    let known = upstream.chain_above(&work.order.issuer.ca, &certificate).unwrap_or_default();
    let chain: Arc<[Arc<Certificate>]> = match chain.first() {
        Some(first) if known.first().is_none_or(|ours| ours.der() != first.der()) => chain.into(),
        _ => known,
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
    if let Some(why) = stray::on_record(core, &work, &certificate).await? {
        tracing::error!(
            transaction = %work.transaction.id, upstream = upstream.name(), serial = certificate.serial_hex(),
            "The issuer gave what was not ordered: {why}."
        );
        return reject(core, &work, RejectionCode::UpstreamMisbehaved, why).await.map(Leg::settled);
    }
    let reply = work.reply.clone().filter(|_| work.order.sibling.is_none());
    let check = as_ordered(&work, upstream, capabilities, &certificate, &chain, core.now());
    let seen = outcome.clone();
    // One trip to the pool: look at the certificate, and encode the reply.
    let checked = core
        .finish(move || {
            check()?;
            Ok::<_, String>(reply.map(|(reply, _)| reply.encode(&seen)).transpose())
        })
        .await?;
    let now = core.now();
    let record = record_of(&work, &certificate, now);
    match checked {
        Ok(encoded) => {
            // That is our fault, and not the issuer's: the certificate is good, and the device comes for it again.
            let encoded = encoded.unwrap_or_else(|error| {
                tracing::error!(transaction = %work.transaction.id, serial = certificate.serial_hex(), "The reply could not be made: {error}.");
                None
            });
            let event = issued_event(&work, &record);
            if work.order.sibling.is_some() {
                return first_of_pair(core, work, record, event).await;
            }
            // A client that lost patience with a CA asks by another message: its reply is still to be made.
            let may_be_late = core.gate_of(&work.snapshot, upstream.name()).is_some();
            let keep_secret = encoded.is_none() || may_be_late;
            let result = AttemptResult::Issued { certificate: Arc::new(record), keep_secret };
            conclude(core, &work, result, Some((outcome, encoded)), vec![event]).await.map(Leg::settled)
        }
        Err(why) => {
            tracing::error!(
                transaction = %work.transaction.id, upstream = upstream.name(), serial = certificate.serial_hex(),
                "The issuer gave what was not ordered: {why}."
            );
            stray::set_aside(core, &work, record, &why).await;
            reject(core, &work, RejectionCode::UpstreamMisbehaved, why).await.map(Leg::settled)
        }
    }
}

/// What is to be done on the pool to see whether a certificate is what was ordered.
pub(super) fn as_ordered(
    work: &Work,
    upstream: &dyn UpstreamCa,
    capabilities: Capabilities,
    certificate: &Arc<Certificate>,
    chain: &Arc<[Arc<Certificate>]>,
    now: jiff::Timestamp,
) -> impl FnOnce() -> Result<(), String> + Send + 'static {
    let anchors = anchors(upstream, &work.order.issuer.ca, certificate);
    let (order, first) = (Arc::clone(&work.order), work.first.clone());
    let (certificate, chain) = (Arc::clone(certificate), Arc::clone(chain));
    move || {
        inspect(&Allowed { order: &order, issuer: &capabilities, anchors: &anchors, now }, &certificate, &chain)?;
        match first.filter(|_| capabilities.binds_related) {
            Some(first) if certificate.is_related_to(&first.certificate) != Some(true) => {
                Err("it is not bound to the first certificate of the pair (RFC 9763)".to_owned())
            }
            _ => Ok(()),
        }
    }
}

/// The certificates that what a CA issues has to lead to.
fn anchors(upstream: &dyn UpstreamCa, ca: &str, certificate: &Certificate) -> Vec<Arc<Certificate>> {
    // Of the generation that signed it, and of the others.
    let known = [upstream.chain_above(ca, certificate), upstream.chain(ca)];
    let known = known.iter().flatten().flat_map(|chain| chain.iter().cloned());
    known.chain(upstream.previous_certificates(ca)).collect()
}

/// The issuer surely did not take an order: it goes to the next one, or is tried again later.
async fn not_taken(core: &Arc<Core>, work: Work, reason: String, asked_for: Option<Duration>) -> Result<Leg, EnrollError> {
    let upstream = &work.order.issuer.upstream;
    tracing::warn!(transaction = %work.transaction.id, upstream, "The issuer cannot now: {reason}.");
    note_setback(core, &work, "upstream-busy", &reason).await;
    let now = core.now();
    let later = after(now, backoff::rest(&work.attempt, now, asked_for));
    let Some(next) = failover::next(core, &work) else {
        let result = AttemptResult::NotTaken { due_at: later, next: None };
        return conclude(core, &work, result, None, Vec::new()).await.map(Leg::settled);
    };
    tracing::warn!(transaction = %work.transaction.id, from = %work.order.issuer, to = %next.issuer, "An order goes to another issuer.");
    let event = event_of(
        &work,
        now,
        "issuance.failover",
        json!({ "from": work.order.issuer.to_string(), "to": next.issuer.to_string(), "reason": reason }),
    );
    let gate = core.gate_of(&work.snapshot, &next.issuer.upstream);
    let turn = gate.as_ref().map(|gate| gate.queue());
    let due_at = if next.is_new { now } else { later };
    let settled = conclude(core, &work, AttemptResult::NotTaken { due_at, next: Some(next.issuer) }, None, vec![event]).await?;
    if let Some(gate) = gate {
        gate.opened();
    }
    drop(turn);
    core.work.notify_one();
    Ok(Leg::Carried(match settled.outcome {
        Outcome::Pending { .. } => Carried::Queued,
        _ => Carried::Settled(settled),
    }))
}

/// Writes down the first certificate of a pair, and hands on the work on the second.
async fn first_of_pair(core: &Arc<Core>, work: Work, record: CertificateRecord, event: AuditEvent) -> Result<Leg, EnrollError> {
    Ok(match write_first_of_pair(core, &work, record, vec![event]).await? {
        Written::Now(transaction, next, pass) => {
            Leg::First(Box::new(Work { transaction: *transaction, attempt: next, ask: Ask::Submit, pass, ..work }))
        }
        Written::Later => Leg::Carried(Carried::Queued),
        Written::Lost(settled) => Leg::settled(settled),
    })
}

/// How a pair goes on once its first certificate is written down.
pub(super) enum Written {
    /// Whoever wrote it asks for the second one.
    Now(Box<Transaction>, Attempt, Option<Arc<Pass>>),
    /// The second one waits for its turn.
    Later,
    /// Another was first.
    Lost(Settled),
}

/// Writes down the first certificate of a pair.
pub(super) async fn write_first_of_pair(
    core: &Core,
    work: &Work,
    record: CertificateRecord,
    events: Vec<AuditEvent>,
) -> Result<Written, EnrollError> {
    let issuer = work.order.sibling.as_ref().map(|sibling| &sibling.issuer);
    let issuer = issuer.ok_or_else(|| EnrollError::Internal("an order for no pair".into()))?;
    let gate = core.gate_of(&work.snapshot, &issuer.upstream);
    // What comes after a certificate that an operator brought is nobody's work yet.
    let adopted = work.attempt.state == AttemptState::Unknown;
    let entry = gate.as_ref().map(|gate| if adopted { Entry::Later(gate.queue()) } else { gate.go_on() });
    let is_now = !adopted && !matches!(entry, Some(Entry::Later(_)));
    let next = pair::second_attempt(core, issuer, is_now);
    let (record, at) = (Arc::new(record), core.now());
    let fingerprint = record.fingerprint;
    let result = AttemptResult::FirstOfPair { certificate: Arc::clone(&record), next: next.clone() };
    let (id, attempt, lease) = (work.transaction.id, work.attempt.id, work.attempt.lease());
    fault::point("before-first-of-pair");
    let conclusion = Conclusion { transaction: id, attempt, lease, result, at, reply: None, events };
    match write_down(core, &conclusion).await? {
        Concluded::Done => {
            fault::point("after-first-of-pair");
            if let Some(first) = core.gate_of(&work.snapshot, &work.attempt.upstream) {
                first.closed();
            }
            if let Some(gate) = gate {
                gate.opened();
            }
            if !is_now {
                drop(entry);
                core.work.notify_one();
                return Ok(Written::Later);
            }
            let pass = match entry {
                Some(Entry::Now(pass)) => Some(Arc::new(pass)),
                Some(Entry::Later(_)) | None => None,
            };
            let transaction = Transaction { certificate: Some(fingerprint), ..work.transaction.clone() };
            Ok(Written::Now(Box::new(transaction), next, pass))
        }
        // Another was first; what it wrote is the truth.
        Concluded::AlreadyFinal(transaction) | Concluded::Lost(transaction) => {
            stray::set_aside(core, work, Arc::unwrap_or_clone(record), stray::TOO_LATE).await;
            let outcome = super::record::stored_outcome(core, &work.snapshot, &transaction).await?;
            Ok(Written::Lost(Settled::recorded(outcome)))
        }
    }
}

/// Asks the issuer, no longer than it may take: an attempt that outlives its lease is asked for by two.
async fn ask(core: &Core, upstream: &dyn UpstreamCa, capabilities: &Capabilities, work: &Work) -> Submission {
    let patience = upstream.patience().min(ANSWER);
    let key = IdempotencyKey(*work.attempt.id.0.as_bytes());
    let started = Instant::now();
    if let Some(pass) = &work.pass {
        pass.used();
    }
    fault::point("before-submit");
    let answer = async {
        match &work.ask {
            Ask::Submit => upstream.submit(&work.order, &key).await,
            Ask::Poll(reference) => upstream.poll(&work.order, reference).await,
            Ask::Find => upstream.find(&work.order, &key).await,
        }
    };
    let no_answer = || Submission::Unknown { reason: format!("no answer within {} ms", patience.as_millis()) };
    let answer = tokio::time::timeout(patience, answer).await;
    let in_time = answer.is_ok();
    let submission = answer.unwrap_or_else(|_| no_answer());
    core.metrics.upstream(upstream.name(), outcome_of(&submission), started.elapsed());
    if let Some(pass) = &work.pass {
        let heard = match &submission {
            Submission::NotTaken { reason, .. } | Submission::Unknown { reason } => Heard::Failure(reason),
            _ => Heard::Answer,
        };
        pass.heard(heard, started, core.now());
    }
    match (&work.ask, submission) {
        // Asking after an order changes nothing, for most: it is asked again. It was not the order that was not taken, but the question.
        (Ask::Poll(reference), Submission::NotTaken { reason, retry_after }) => {
            tracing::warn!(transaction = %work.transaction.id, upstream = upstream.name(), "The issuer did not say how the order stands: {reason}.");
            Submission::Waiting { reference: reference.clone(), retry_after: backoff::ask_again(retry_after) }
        }
        (Ask::Poll(reference), Submission::Unknown { reason }) if !in_time && !capabilities.poll_may_issue => {
            tracing::warn!(transaction = %work.transaction.id, upstream = upstream.name(), "The issuer did not say how the order stands: {reason}.");
            Submission::Waiting { reference: reference.clone(), retry_after: backoff::ask_again(None) }
        }
        // Nor does it say anything about what became of the order at the first time.
        (Ask::Find, Submission::NotTaken { reason, .. }) => Submission::Unknown { reason },
        (_, submission) => submission,
    }
}

fn outcome_of(submission: &Submission) -> &'static str {
    match submission {
        Submission::Issued { .. } => "issued",
        Submission::Waiting { .. } => "waiting",
        Submission::NotTaken { .. } => "not-taken",
        Submission::Rejected { .. } => "rejected",
        Submission::Unknown { .. } => "unknown",
        Submission::Lost { .. } => "lost",
    }
}
