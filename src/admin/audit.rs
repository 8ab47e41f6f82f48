//! `/v1/audit`.

use serde_json::json;

use super::control::{Call, Control, Handled};
use crate::inventory::audit::ChainVerifier;

/// The most events that one answer holds.
const MOST: usize = 1000;

pub(super) async fn list(control: &Control, call: &Call) -> Handled {
    let after = call.parameter("after")?.unwrap_or(0);
    let limit = call.parameter::<usize>("limit")?.unwrap_or(100).min(MOST);
    Ok(json!({ "events": control.inventory().audit_log(after, limit).await? }))
}

pub(super) async fn verify(control: &Control) -> Handled {
    let mut verifier = ChainVerifier::default();
    loop {
        let records = control.inventory().audit_log(verifier.verified(), MOST).await?;
        for record in &records {
            if let Err(broken) = verifier.check(record) {
                return Ok(json!({ "whole": false, "events": verifier.verified(), "detail": broken.to_string() }));
            }
        }
        if records.len() < MOST {
            return Ok(json!({ "whole": true, "events": verifier.verified(), "hash": verifier.head() }));
        }
    }
}
