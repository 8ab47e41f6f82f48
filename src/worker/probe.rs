//! Sees whether CAs that are left alone answer again. It asks them nothing that changes anything.

use std::sync::Arc;
use std::time::Duration;

use crate::enroll::Enroller;

/// How long a CA may take to say that it is well.
const PATIENCE: Duration = Duration::from_secs(20);

/// Begins to ask those whose time has come.
pub(super) fn look(enroller: &Enroller) {
    let core = enroller.core();
    for upstream in enroller.snapshot().upstreams.values() {
        let Some(gate) = core.gate(upstream.as_ref()).filter(|gate| gate.is_to_be_probed()) else { continue };
        let (core, upstream) = (Arc::clone(core), Arc::clone(upstream));
        tokio::spawn(async move {
            let patience = upstream.patience().min(PATIENCE);
            // On a task of its own: whatever becomes of it, the gate hears of it.
            let asked = tokio::spawn(async move { tokio::time::timeout(patience, upstream.health()).await });
            let answer = match asked.await {
                Ok(Ok(answer)) => answer.map_err(|error| error.to_string()),
                Ok(Err(_)) => Err(format!("no answer within {} ms", patience.as_millis())),
                Err(join) => Err(join.to_string()),
            };
            gate.probed(answer, core.now());
        });
    }
}
