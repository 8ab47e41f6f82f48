//! Which of the issuers of an order is asked: the first one that has a prospect, or another by turns; and where an order goes that an
//! issuer surely did not take.

use std::sync::Arc;

use serde_json::json;
use tokio::task::JoinSet;

use super::EnrollError;
use super::carry::Work;
use super::core::Core;
use super::gate::{Entry, Gate};
use super::issue::fields;
use super::operate::stored_order;
use crate::algorithm::IssuerRef;
use crate::inventory::{Attempt, AuditEvent, Looked, TransactionId};
use crate::snapshot::Snapshot;
use crate::upstream::IssuanceOrder;

/// How a new order begins.
pub(super) struct Start {
    /// The transaction.
    pub(super) id: TransactionId,
    /// Who is asked first.
    pub(super) issuer: IssuerRef,
    /// The gate before it, and what it says; `None` before an issuer without limits, which is asked at once.
    pub(super) entry: Option<(Arc<Gate>, Entry)>,
}

impl Start {
    /// Whether the issuer is asked at once.
    pub(super) fn is_now(&self) -> bool {
        !matches!(self.entry, Some((_, Entry::Later(_))))
    }
}

/// Finds an issuer for a new order that lets it in: those that are left alone or have a full queue come last. If all queues are full,
/// the request has to come again.
pub(super) fn start(core: &Core, snapshot: &Snapshot, order: &IssuanceOrder, id: TransactionId) -> Result<Start, EnrollError> {
    if order.failover.is_empty() && core.gate_of(snapshot, &order.issuer.upstream).is_none() {
        return Ok(Start { id, issuer: order.issuer.clone(), entry: None });
    }
    let gates: Vec<_> = ranked(order, id).into_iter().map(|issuer| (issuer, core.gate_of(snapshot, &issuer.upstream))).collect();
    let is_shut = |gate: &Option<Arc<Gate>>| gate.as_ref().is_some_and(|gate| gate.is_shut());
    let (shut, open): (Vec<_>, Vec<_>) = gates.into_iter().partition(|(_, gate)| is_shut(gate));
    for (issuer, gate) in open.into_iter().chain(shut) {
        let Some(gate) = gate else { return Ok(Start { id, issuer: issuer.clone(), entry: None }) };
        if let Some(entry) = gate.enter() {
            return Ok(Start { id, issuer: issuer.clone(), entry: Some((gate, entry)) });
        }
        tracing::warn!(upstream = gate.name(), "A request is told to come again: too many orders are open at its CA.");
    }
    Err(EnrollError::Busy)
}

/// Who issues what people let through: as for a new order, but it is never turned away.
pub(super) fn issuer_for_approved(core: &Core, snapshot: &Snapshot, order: &IssuanceOrder, id: TransactionId) -> IssuerRef {
    let ranked = ranked(order, id);
    let open = ranked.iter().find(|issuer| !core.gate_of(snapshot, &issuer.upstream).is_some_and(|gate| gate.is_shut()));
    IssuerRef::clone(open.unwrap_or(&ranked[0]))
}

/// All issuers of an order, in the order in which this transaction asks them.
fn ranked(order: &IssuanceOrder, id: TransactionId) -> Vec<&IssuerRef> {
    let mut issuers: Vec<_> = std::iter::once(&order.issuer).chain(&order.failover).collect();
    if order.spread {
        let count = issuers.len();
        // The end of an identifier is random.
        issuers.rotate_left((id.0.as_u128() % count as u128) as usize);
    }
    issuers
}

/// Where an order goes that its issuer surely did not take.
pub(super) struct Next {
    /// The next issuer.
    pub(super) issuer: IssuerRef,
    /// Whether it was not asked before this one. One that was gets the order back, but not at once.
    pub(super) is_new: bool,
}

/// The next issuer with a prospect, if there is one.
pub(super) fn next(core: &Core, work: &Work) -> Option<Next> {
    // The sibling of a pair has one issuer.
    let is_second = work.first.is_some();
    next_of(core, &work.snapshot, &work.stored, &work.attempt, work.transaction.id).filter(|_| !is_second)
}

/// Takes what waits before an upstream that is left alone to the next issuer, where an order names one; gives how many that were.
pub(crate) async fn move_on(core: &Arc<Core>, snapshot: &Snapshot, upstream: &str) -> Result<usize, EnrollError> {
    let now = core.now();
    let (mut after, mut moved) = (Looked::default(), 0);
    loop {
        let looked = core.inventory.movable(upstream, now, after, AT_A_TIME).await?;
        // Side by side: they share a commit.
        let mut moves = JoinSet::new();
        for (transaction, attempt) in looked.found {
            let order = match stored_order(core, &transaction) {
                Ok(order) => order,
                Err(error) => {
                    // It is for whoever takes it up; the others can go.
                    tracing::warn!("An order cannot go to another issuer: {error}.");
                    continue;
                }
            };
            let Some(Next { issuer, .. }) = next_of(core, snapshot, &order, &attempt, transaction.id) else { continue };
            let event = AuditEvent {
                at: now,
                event: "issuance.failover".into(),
                actor: "system".into(),
                object: transaction.id.to_string(),
                fields: fields(json!({
                    "group": order.group, "profile": order.profile, "from": attempt.issuer().to_string(),
                    "to": issuer.to_string(), "reason": "the issuer is left alone after failures",
                })),
            };
            let (from, to) = (core.gate_of(snapshot, upstream), core.gate_of(snapshot, &issuer.upstream));
            let core = Arc::clone(core);
            // It counts at once: the others see how full the queue gets.
            let turn = to.as_ref().map(|to| to.queue());
            to.iter().for_each(|to| to.opened());
            moves.spawn(async move {
                let done = core.inventory.move_on(&attempt, &issuer, event).await;
                let gate = if matches!(done, Ok(true)) { from } else { to };
                gate.iter().for_each(|gate| gate.closed());
                drop(turn);
                done
            });
        }
        while let Some(done) = moves.join_next().await {
            moved += usize::from(done.map_err(|join| EnrollError::Internal(join.to_string()))??);
        }
        match looked.next {
            Some(next) if core.gate_of(snapshot, upstream).is_some_and(|gate| gate.is_open()) => after = next,
            _ => return Ok(moved),
        }
    }
}

/// How many attempts are looked at at a time.
const AT_A_TIME: usize = 64;

fn next_of(core: &Core, snapshot: &Snapshot, order: &IssuanceOrder, attempt: &Attempt, id: TransactionId) -> Option<Next> {
    if order.failover.is_empty() {
        return None;
    }
    let ranked = ranked(order, id);
    let asked = attempt.issuer();
    let at = ranked.iter().position(|issuer| **issuer == asked)?;
    let later = ranked[at + 1..].iter().map(|issuer| (issuer, true));
    let earlier = ranked[..at].iter().map(|issuer| (issuer, false));
    later
        .chain(earlier)
        .find(|(issuer, _)| {
            let upstream = snapshot.upstreams.get(&issuer.upstream);
            let knows = upstream.is_some_and(|upstream| upstream.capabilities(&issuer.ca).is_some());
            knows && !core.gate_of(snapshot, &issuer.upstream).is_some_and(|gate| gate.is_shut())
        })
        .map(|(issuer, is_new)| Next { issuer: IssuerRef::clone(issuer), is_new })
}
