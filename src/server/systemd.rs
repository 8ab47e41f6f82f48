//! What systemd is told (sd_notify(3)), if it started us. Nothing happens otherwise.

use sd_notify::NotifyState;

/// All sockets answer.
pub fn ready() {
    tell(&[NotifyState::Ready]);
}

/// A reload begins: since systemd 253 both have to stand in one datagram.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => tracing::debug!("No monotonic clock for systemd: {error}."),
    }
}

/// The end begins.
pub fn stopping() {
    tell(&[NotifyState::Stopping]);
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(false, state) {
        tracing::warn!("systemd cannot be told: {error}.");
    }
}
