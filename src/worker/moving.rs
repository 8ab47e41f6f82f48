//! Takes what waits before upstreams that are left alone to others, where orders name others.

use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::algorithm::AlgorithmProfile;
use crate::enroll::{EnrollError, Enroller, failover};

/// How long it rests at least.
const REST: Duration = Duration::from_secs(1);

/// It rests so many times as long as it looked in vain: the queue may be long.
const REST_FACTOR: u32 = 20;

/// Looks until `stop` changes.
pub(super) async fn run(enroller: Enroller, mut stop: watch::Receiver<bool>) {
    loop {
        let began = Instant::now();
        let rest = match look(&enroller).await {
            Ok(0) => REST.max(began.elapsed() * REST_FACTOR),
            Ok(_) => REST,
            Err(error) => {
                tracing::warn!("Orders could not go to other issuers: {error}.");
                REST * REST_FACTOR
            }
        };
        tokio::select! {
            _ = stop.changed() => break,
            () = tokio::time::sleep(rest) => {}
        }
    }
}

async fn look(enroller: &Enroller) -> Result<usize, EnrollError> {
    let (core, snapshot) = (enroller.core(), enroller.snapshot());
    let mut moved = 0;
    for (name, upstream) in &snapshot.upstreams {
        let is_one_of = |profile: &AlgorithmProfile| profile.primary_issuers().any(|issuer| issuer.upstream == *name);
        if core.gate(upstream.as_ref()).is_some_and(|gate| gate.is_open())
            && snapshot.profiles.values().any(|profile| !profile.failover.is_empty() && is_one_of(profile))
        {
            moved += failover::move_on(core, &snapshot, name).await?;
        }
    }
    Ok(moved)
}
