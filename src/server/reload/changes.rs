//! What a reload means for device groups, for the audit log.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::inventory::AuditEvent;
use crate::policy::DeviceGroup;
use crate::rollout::Plan;
use crate::snapshot::Snapshot;
use crate::upstream::crl_key_name;

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

/// An event for each CA that signs with another key than before.
pub(super) fn of_issuers(before: &Snapshot, after: &Snapshot, at: Timestamp, actor: &str, cause: &str) -> Vec<AuditEvent> {
    let issuers: BTreeSet<_> = after
        .profiles
        .values()
        .flat_map(|profile| profile.issuers().map(|issuer| (issuer.upstream.clone(), issuer.ca.clone())).collect::<Vec<_>>())
        .collect();
    let mut events = Vec::new();
    for (upstream, ca) in issuers {
        let first = |snapshot: &Snapshot| snapshot.upstreams.get(&upstream)?.chain(&ca)?.first().cloned();
        let (Some(from), Some(to)) = (first(before), first(after)) else { continue };
        if from == to {
            continue;
        }
        let fields = json!({
            "upstream": upstream, "ca": ca, "cause": cause, "snapshot": after.digest_hex(),
            "from": crl_key_name(&from), "from_key": from.key(), "to": crl_key_name(&to), "to_key": to.key(),
        });
        let fields = fields.as_object().cloned().unwrap_or_default();
        let object = format!("{upstream}/{ca}");
        events.push(AuditEvent { at, event: "ca.key-changed".to_owned(), actor: actor.to_owned(), object, fields });
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
