//! The way into the core for front ends.

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::{Answer, EnrollError, EnrollmentRequest, Outcome, Query};
use crate::crypto::CryptoPool;
use crate::snapshot::Snapshot;

/// The core, as front ends see it. Cheap to clone.
#[derive(Clone)]
pub struct Enroller {
    snapshot: Arc<ArcSwap<Snapshot>>,
    pool: CryptoPool,
}

impl Enroller {
    /// The current snapshot: a front end takes it once per request and hands it on.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// Where slow work runs.
    pub fn pool(&self) -> &CryptoPool {
        &self.pool
    }

    /// Takes a request through the whole stack.
    pub async fn enroll(&self, _request: EnrollmentRequest) -> Result<Answer, EnrollError> {
        todo!()
    }

    /// Answers a question.
    pub async fn query(&self, _query: Query) -> Result<Outcome, EnrollError> {
        todo!()
    }
}
