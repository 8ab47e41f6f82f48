//! What a reload means for device groups, for the audit log.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::inventory::AuditEvent;
use crate::policy::DeviceGroup;
use crate::rollout::Plan;
use crate::snapshot::Snapshot;

/// An event for each group whose profile or candidate is another one, however its file was changed.
pub(super) fn of_groups(before: &Snapshot, after: &Snapshot, at: Timestamp, actor: &str, cause: &str) -> Vec<AuditEvent> {
    let mut events = Vec::new();
    for (name, group) in &after.groups {
        let Some(earlier) = before.groups.get(name) else { continue };
        let mut tell = |event: &str, fields: Value| {
            let mut fields = fields.as_object().cloned().unwrap_or_default();
            fields.insert("group".into(), name.as_str().into());
            fields.insert("cause".into(), cause.into());
            fields.insert("snapshot".into(), after.digest_hex().into());
            events.push(AuditEvent { at, event: event.to_owned(), actor: actor.to_owned(), object: name.clone(), fields });
        };
        if earlier.profile != group.profile {
            tell("group.profile-changed", json!({ "from": earlier.profile, "to": group.profile }));
        }
        if earlier.rollout != group.rollout {
            match &group.rollout {
                Some(plan) => tell("rollout.planned", planned(group, plan)),
                None => tell("rollout.removed", json!({ "candidate": earlier.rollout.as_ref().map(|plan| &plan.candidate) })),
            }
        }
    }
    events
}

fn planned(group: &DeviceGroup, plan: &Plan) -> Value {
    json!({
        "incumbent": group.profile, "candidate": plan.candidate, "percent": plan.share.to_string(),
        "devices": plan.devices.iter().map(|one| one.text()).collect::<Vec<_>>(),
        "rings": plan.rings.iter().map(|ring| json!({
            "from": ring.from, "percent": ring.share.map(|share| share.to_string()),
            "devices": ring.devices.iter().map(|one| one.text()).collect::<Vec<_>>(),
        })).collect::<Vec<_>>(),
        "on_trip": plan.gates.on_trip,
    })
}
