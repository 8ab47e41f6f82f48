//! Makes the shadow runs, one after the other.

use tokio::sync::watch;

use crate::enroll::Enroller;

/// Makes them until `stop` changes.
pub(super) async fn run(enroller: Enroller, mut stop: watch::Receiver<bool>) {
    loop {
        tokio::select! {
            _ = stop.changed() => break,
            () = enroller.next_shadow() => {}
        }
    }
}
