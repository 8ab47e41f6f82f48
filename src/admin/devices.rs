//! `/v1/devices`: what was learned of devices.

use serde::Deserialize;
use serde_json::json;

use super::control::{Call, Control, Handled};

/// How many a list has where nobody says.
const LIMIT: usize = 100;

pub(super) async fn list(control: &Control, call: &Call) -> Handled {
    let group = call.query.get("group").map(String::as_str);
    let limit = call.parameter("limit")?.unwrap_or(LIMIT);
    Ok(json!({ "devices": control.inventory().findings(group, limit).await? }))
}

pub(super) async fn show(control: &Control, group: &str, device: &str) -> Handled {
    Ok(json!(control.enroller.device(group, device).await?))
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Forget {
    profile: Option<String>,
    reason: String,
}

pub(super) async fn forget(control: &Control, call: &Call, group: &str, device: &str) -> Handled {
    let Forget { profile, reason } = if call.body.is_empty() { Forget::default() } else { call.json()? };
    let forgotten = control.enroller.forget_device(group, device, profile.as_deref(), &reason, &call.operator).await?;
    Ok(json!({ "forgotten": forgotten }))
}
