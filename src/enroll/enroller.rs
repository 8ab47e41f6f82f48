//! The way into the core: builds the stack, and hands requests to it.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{Semaphore, watch};
use tower::util::BoxCloneSyncService;
use tower::{ServiceBuilder, ServiceExt};

use super::approve::Approve;
use super::authenticate::Authenticate;
use super::budget::RefusalBudget;
use super::choose::Choose;
use super::core::{ANSWER, Core};
use super::enforce::Enforce;
use super::gate::{GateView, Gates};
use super::issue::Issue;
use super::match_group::MatchGroup;
use super::record::RecordLayer;
use super::seal::Sealer;
use super::select_profile::SelectProfile;
use super::shadow::ShadowQueue;
use super::stage::StepLayer;
use super::stray::ToldUpTo;
use super::wait::Waits;
use super::{Answer, EnrollError, EnrollmentRequest, Outcome, Query, query};
use crate::clock::Clock;
use crate::crypto::CryptoPool;
use crate::inventory::Inventory;
use crate::snapshot::Snapshot;
use crate::telemetry::Metrics;

/// The core, as front ends, the worker and the control socket see it. Cheap to clone.
#[derive(Clone)]
pub struct Enroller {
    core: Arc<Core>,
    stack: BoxCloneSyncService<EnrollmentRequest, Answer, EnrollError>,
}

/// What the core is made of.
pub struct Parts {
    /// The current snapshot; a reload swaps it.
    pub snapshot: Arc<ArcSwap<Snapshot>>,
    /// The store.
    pub inventory: Arc<dyn Inventory>,
    /// Where slow work runs.
    pub pool: CryptoPool,
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Key under which challenges are sealed while a transaction is open.
    pub seal_key: [u8; 32],
    /// Name of this node in leases.
    pub node: String,
}

impl Enroller {
    /// Builds the stack.
    pub fn new(parts: Parts) -> Self {
        let Parts { snapshot, inventory, pool, metrics, clock, seal_key, node } = parts;
        let core = Arc::new(Core {
            snapshot,
            inventory,
            pool,
            metrics,
            clock,
            sealer: Sealer::new(seal_key),
            refusals: RefusalBudget::new(),
            hashing: Semaphore::new(1),
            shadow: ShadowQueue::new(),
            node,
            work: Arc::default(),
            concluded: Waits::default(),
            gates: Gates::default(),
            under_way: watch::Sender::new(0),
            told_up_to: ToldUpTo::default(),
        });
        let stack = ServiceBuilder::new()
            // First, so that a message that was answered before is answered from the record, whatever policy says now.
            .layer(RecordLayer(Arc::clone(&core)))
            // Credentials mean something only within a group.
            .layer(StepLayer(MatchGroup(Arc::clone(&core))))
            // Before policy looks at names, so that a stranger learns nothing about them.
            .layer(StepLayer(Authenticate(Arc::clone(&core))))
            // Once, and before anything depends on it: one request never mixes two profiles.
            .layer(StepLayer(Choose(Arc::clone(&core))))
            // Names, keys, usages, and whether the answer can be delivered.
            .layer(StepLayer(Enforce(Arc::clone(&core))))
            // From here on the order stands, whatever the configuration says later.
            .layer(StepLayer(SelectProfile(Arc::clone(&core))))
            // People decide about an order, not about a request.
            .layer(StepLayer(Approve(Arc::clone(&core))))
            // The only step that writes before it acts, and the only one that acts.
            .service(Issue(Arc::clone(&core)));
        Self { core, stack: BoxCloneSyncService::new(stack) }
    }

    /// The current snapshot: a front end takes it once per request and hands it on.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.core.snapshot.load_full()
    }

    /// Where slow work runs.
    pub fn pool(&self) -> &CryptoPool {
        &self.core.pool
    }

    /// The store, for reading.
    pub fn inventory(&self) -> &Arc<dyn Inventory> {
        &self.core.inventory
    }

    /// The clock.
    pub fn now(&self) -> jiff::Timestamp {
        self.core.now()
    }

    /// Takes a request through the whole stack.
    pub async fn enroll(&self, request: EnrollmentRequest) -> Result<Answer, EnrollError> {
        self.stack.clone().oneshot(request).await
    }

    /// Answers a question.
    pub async fn query(&self, query: Query) -> Result<Outcome, EnrollError> {
        query::answer(&self.core, &query).await
    }

    /// How the upstreams with limits stand: whether they are asked, and how much is open there.
    pub fn upstreams(&self) -> Vec<GateView> {
        let snapshot = self.snapshot();
        snapshot.upstreams.values().filter_map(|upstream| Some(self.core.gate(upstream.as_ref())?.view())).collect()
    }

    /// Waits until no request's own task carries an order. A client that had its answer does not stop what was begun for it.
    pub async fn settle(&self) {
        // The sender is ours: it does not fail.
        let _ = self.core.under_way.subscribe().wait_for(|count| *count == 0).await;
    }

    /// How long the slowest of the CAs behind a network may take for an answer.
    pub fn longest_answer(&self) -> Duration {
        let snapshot = self.snapshot();
        let patience =
            snapshot.upstreams.values().map(|upstream| upstream.patience()).filter(|patience| *patience < Duration::MAX);
        patience.max().unwrap_or_default().min(ANSWER)
    }

    pub(crate) fn core(&self) -> &Arc<Core> {
        &self.core
    }
}
