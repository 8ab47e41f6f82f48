//! Looks at the gates of rollouts, time and again.

use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::enroll::Enroller;

/// How long it rests at least.
const REST: Duration = Duration::from_secs(1);

/// It rests so many times as long as it looked: with many certificates a look is no longer for free.
const REST_FACTOR: u32 = 20;

/// Looks until `stop` changes.
pub(super) async fn watch(enroller: Enroller, mut stop: watch::Receiver<bool>) {
    let mut failing = String::new();
    loop {
        let began = Instant::now();
        match enroller.watch_rollouts().await {
            Ok(_) => failing.clear(),
            Err(error) => {
                let error = error.to_string();
                if error != failing {
                    tracing::warn!("The gates of rollouts cannot be looked at: {error}.");
                    failing = error;
                }
            }
        }
        let rest = REST.max(began.elapsed() * REST_FACTOR);
        tokio::select! {
            _ = stop.changed() => break,
            () = tokio::time::sleep(rest) => {}
        }
    }
}
