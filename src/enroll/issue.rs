//! Writes the order, and redeems the challenge with the same write; then the issuer is asked, by this request's own task if it can be
//! asked at once, or by the worker in its turn.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, timeout_at};
use tower::Service;

use super::approve::Approved;
use super::carry::{Ask, Carried, Work, carry};
use super::core::{Core, LEASE, after, before};
use super::failover::{self, Start};
use super::gate::Entry;
use super::select_profile::Ordered;
use super::stage::{Settled, StageFuture};
use super::wait::{await_conclusion, await_until};
use super::{EnrollError, Outcome, Rejection, RejectionCode, challenge, fault};
use crate::inventory::{
    Attempt, AttemptId, AttemptState, AuditEvent, DeviceLimit, NewTransaction, Opened, Transaction, TransactionId,
    TransactionState,
};
use crate::rollout::ChoiceReason;

/// When a client is told to ask again.
const RETRY_AFTER: Duration = Duration::from_secs(10);

/// The last step.
#[derive(Clone)]
pub(crate) struct Issue(pub(crate) Arc<Core>);

impl Service<Approved> for Issue {
    type Response = Settled;
    type Error = EnrollError;
    type Future = StageFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), EnrollError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, approved: Approved) -> StageFuture {
        let core = Arc::clone(&self.0);
        Box::pin(async move { issue(core, approved.ordered).await })
    }
}

async fn issue(core: Arc<Core>, ordered: Ordered) -> Result<Settled, EnrollError> {
    let request = &ordered.permitted.authenticated.grouped.recorded.request;
    let snapshot = Arc::clone(&request.snapshot);
    let deadline = Instant::now() + snapshot.patience;
    let id = TransactionId::new();
    let start = failover::start(&core, &snapshot, &ordered.order, id)?;
    let new = new_transaction(&core, &ordered, Some(&start))?;
    let (transaction, attempt) = (new.transaction.clone(), new.attempt.clone());
    let attempt = attempt.ok_or_else(|| EnrollError::Internal("an issuing transaction has an attempt".into()))?;
    fault::point("before-open");
    match core.inventory.open(new).await? {
        Opened::Created => {}
        Opened::Existing(known) => {
            drop(start);
            return await_conclusion(&core, &snapshot, known).await.map(Settled::recorded);
        }
        Opened::ChallengeSpent => {
            let rejection = Rejection::new(RejectionCode::ChallengeSpent, "the challenge was used meanwhile");
            return Ok(Settled::unrecorded(Outcome::Refused(rejection)));
        }
        Opened::LimitReached => {
            let rejection = Rejection::new(RejectionCode::LimitReached, "the device has had its share of certificates");
            return Ok(Settled::unrecorded(Outcome::Refused(rejection)));
        }
    }
    fault::point("after-open");
    let (place, pass) = match start.entry {
        None => (None, None),
        Some((gate, entry)) => {
            gate.opened();
            let pass = match entry {
                Entry::Now(pass) => Arc::new(pass),
                Entry::Later(turn) => {
                    // It is written: the worker hears of it.
                    drop(turn);
                    return await_until(&core, &snapshot, id, deadline).await.map(Settled::recorded);
                }
            };
            (Some(gate.wait(snapshot.most_waiting)), Some(pass))
        }
    };
    let reply = Some((Arc::clone(&request.reply), request.message));
    let order = Arc::new(ordered.order);
    let work = Work { reply, ..Work::new(Arc::clone(&snapshot), transaction, attempt, order, Ask::Submit, pass) };
    // On a task of its own: a client that hangs up, or loses patience, does not stop what was begun. Nor does the end of the server, as
    // long as it can wait.
    let under_way = core.carries();
    let carried = tokio::spawn({
        let core = Arc::clone(&core);
        async move {
            let _under_way = under_way;
            carry(core, work).await
        }
    });
    if matches!(place, Some(None)) {
        return Ok(Settled::recorded(pending(id)));
    }
    match timeout_at(deadline, carried).await {
        Ok(Ok(Ok(Carried::Settled(settled)))) => Ok(settled),
        Ok(Ok(Ok(Carried::Queued))) => {
            drop(place);
            await_until(&core, &snapshot, id, deadline).await.map(Settled::recorded)
        }
        Ok(Ok(Err(error))) => Err(error),
        Ok(Err(join)) => Err(EnrollError::Internal(join.to_string())),
        Err(_) => Ok(Settled::recorded(pending(id))),
    }
}

/// The answer "come again".
pub(super) fn pending(transaction: TransactionId) -> Outcome {
    Outcome::Pending { transaction, retry_after: RETRY_AFTER }
}

/// The rows of a new transaction.
///
/// With a start it goes to an issuer; without one people decide.
pub(super) fn new_transaction(core: &Core, ordered: &Ordered, start: Option<&Start>) -> Result<NewTransaction, EnrollError> {
    let authenticated = &ordered.permitted.authenticated;
    let (grouped, order) = (&authenticated.grouped, &ordered.order);
    let request = &grouped.recorded.request;
    let now = core.now();
    let json = super::seal::order_to_store(&core.sealer, order)?;
    let sealed_challenge = match &request.challenge {
        Some(text) if request.reply.needs_challenge() => core.sealer.seal(text),
        _ => None,
    };
    let transaction = Transaction {
        id: start.map_or_else(TransactionId::new, |start| start.id),
        key: grouped.recorded.key.clone(),
        state: if start.is_some() { TransactionState::Issuing } else { TransactionState::AwaitingApproval },
        protocol: request.protocol.to_owned(),
        group: Some(grouped.group.name.clone()),
        csr: request.csr.without_challenge(),
        subject: request.csr.subject().to_string(),
        source: Some(request.peer.ip()),
        received_at: request.received_at,
        updated_at: now,
        order: Some(json),
        rejection: None,
        detail: None,
        snapshot: order.snapshot.clone(),
        certificate: None,
        challenge: request.challenge.as_ref().map(|text| challenge::digest(text)),
        sealed_challenge,
    };
    let attempt = start.map(|start| Attempt {
        id: AttemptId::new(),
        // Who has to wait for its turn is nobody's until the worker takes it up.
        state: if start.is_now() { AttemptState::Submitted } else { AttemptState::Prepared },
        upstream: start.issuer.upstream.clone(),
        ca: start.issuer.ca.clone(),
        reference: None,
        due_at: now,
        held_by: start.is_now().then(|| core.node.clone()),
        held_until: start.is_now().then(|| after(now, LEASE)),
    });
    let chosen = &ordered.permitted.chosen;
    let mut event = AuditEvent {
        at: now,
        event: if attempt.is_some() { "order.placed" } else { "approval.requested" }.into(),
        actor: "device".into(),
        object: transaction.id.to_string(),
        fields: fields(json!({
            "group": order.group, "rule": order.rule, "profile": order.profile,
            "chosen_by": chosen.choice.why.code(), "subject": transaction.subject,
            "source": transaction.source, "snapshot": order.snapshot, "changes": ordered.permitted.permit.changes,
        })),
    };
    if let Some(start) = start.filter(|_| !order.failover.is_empty()) {
        event.fields.insert("issuer".into(), start.issuer.to_string().into());
    }
    if let Some(exception) = chosen.exception() {
        event.fields.insert("deadline_exception".into(), exception.into());
    }
    if !chosen.lesson.known.is_empty() {
        let known: Vec<&str> = chosen.lesson.known.iter().map(|known| known.profile.as_str()).collect();
        event.fields.insert("cannot_digest".into(), known.into());
    }
    if chosen.lesson.held {
        event.fields.insert("held".into(), "no profile of its ladder is left that its group may have".into());
    }
    if let ChoiceReason::Learned { from } | ChoiceReason::TooLarge { from, .. } = &chosen.choice.why {
        event.fields.insert("fallback_from".into(), from.as_str().into());
        event.fields.insert("fallback_because".into(), chosen.choice.why.to_string().into());
    }
    let limit = match (&grouped.group.per_device, &order.device) {
        (Some(rule), Some(device)) => Some(DeviceLimit {
            group: order.group.clone(),
            device: device.clone(),
            since: before(now, rule.period),
            count: rule.count,
        }),
        _ => None,
    };
    Ok(NewTransaction { transaction, attempt, redeem: authenticated.proof.redeem(), limit, events: vec![event] })
}

/// The fields of an audit event out of a JSON object.
pub(super) fn fields(value: serde_json::Value) -> serde_json::Map<String, serde_json::Value> {
    match value {
        serde_json::Value::Object(map) => map,
        _ => serde_json::Map::new(),
    }
}
