//! `/v1/status`, `/v1/groups` and `/v1/profiles`: what serves now.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use super::control::{Control, Handled};
use super::{Problem, views};
use crate::rollout::Phase;

pub(super) async fn status(control: &Control) -> Handled {
    let snapshot = control.enroller.snapshot();
    let statistics = control.inventory().statistics().await?;
    let readiness = control.health.readiness().await;
    Ok(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "node": control.node,
        "started_at": control.started_at,
        "generation": snapshot.generation,
        "digest": snapshot.digest_hex(),
        "loaded_at": snapshot.loaded_at,
        "endpoints": snapshot.endpoints.iter().map(|endpoint| endpoint.path.as_str()).collect::<Vec<_>>(),
        "groups": snapshot.groups.keys().collect::<Vec<_>>(),
        "inventory": statistics,
        "crypto_free": control.enroller.pool().free(),
        "backends": views::backends(),
        "ready": readiness.ready(),
        "reasons": readiness.reasons,
        "notes": readiness.notes,
        "upstreams": control.enroller.upstreams(),
        "warnings": control.enroller.expiry_warnings(),
    }))
}

pub(super) fn groups(control: &Control) -> Value {
    let snapshot = control.enroller.snapshot();
    json!({ "groups": snapshot.groups.values().map(|group| views::group(group, &snapshot)).collect::<Vec<_>>() })
}

pub(super) async fn group(control: &Control, name: &str) -> Handled {
    let snapshot = control.enroller.snapshot();
    let group = snapshot.groups.get(name).ok_or_else(|| {
        let known = snapshot.groups.keys().cloned().collect::<Vec<_>>().join(", ");
        Problem::not_found("unknown-group", format!("there is no group {name:?}; known are {known}"))
    })?;
    let mut shown = views::group(group, &snapshot);
    if let Some(plan) = &group.rollout {
        let phase = control.inventory().rollout(&group.name, &plan.candidate).await?.map(|state| state.phase);
        shown["rollout"]["phase"] = json!(phase.unwrap_or(Phase::Running));
        shown["rollout"]["percent"] = json!(plan.share_at(control.enroller.now()).to_string());
    }
    Ok(shown)
}

pub(super) fn profiles(control: &Control) -> Value {
    let snapshot = control.enroller.snapshot();
    json!({ "profiles": snapshot.profiles.values().map(|profile| views::profile(profile, &snapshot)).collect::<Vec<_>>() })
}

pub(super) fn profile(control: &Control, name: &str) -> Handled {
    let snapshot = control.enroller.snapshot();
    let profile = snapshot.profiles.get(name).ok_or_else(|| {
        let known = snapshot.profiles.keys().cloned().collect::<Vec<_>>().join(", ");
        Problem::not_found("unknown-profile", format!("there is no profile {name:?}; known are {known}"))
    })?;
    Ok(views::profile(profile, &snapshot))
}

pub(super) async fn crl(control: &Control, upstream: &str, ca: &str) -> Handled {
    let der = control.enroller.crl(upstream, ca).await?;
    Ok(json!({ "upstream": upstream, "ca": ca, "der": BASE64_STANDARD.encode(der) }))
}
