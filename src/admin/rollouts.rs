//! `/v1/rollouts`: how rollouts stand, and what operators do with them; and what a change of profile would mean.

use serde::Deserialize;
use serde_json::json;

use super::Problem;
use super::control::{Call, Control, Handled};
use crate::enroll::operate::OperateError;
use crate::rollout::Phase;

pub(super) async fn list(control: &Control) -> Handled {
    let snapshot = control.enroller.snapshot();
    let mut reports = Vec::new();
    for group in snapshot.groups.values().filter(|group| group.rollout.is_some()) {
        match control.enroller.rollout(&group.name).await {
            Ok(report) => reports.push(report),
            // A reload came between.
            Err(OperateError::NoRollout(_) | OperateError::NoSuchGroup(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(json!({ "rollouts": reports }))
}

pub(super) async fn show(control: &Control, group: &str) -> Handled {
    Ok(json!(control.enroller.rollout(group).await?))
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Reason {
    reason: String,
}

pub(super) async fn shadow(control: &Control, group: &str) -> Handled {
    Ok(json!(control.enroller.shadow(group).await?))
}

/// How many late devices a forecast names where nobody says.
const NAMED: usize = 20;

pub(super) async fn forecast(control: &Control, call: &Call, group: &str) -> Handled {
    let at = match call.query.get("at") {
        Some(text) => Some(crate::config::value::date(text).map_err(Problem::bad_request)?),
        None => None,
    };
    let named = call.parameter("limit")?.unwrap_or(NAMED);
    Ok(json!(control.enroller.forecast(group, at, named).await?))
}

pub(super) async fn change(control: &Control, call: &Call, group: &str, action: &str) -> Handled {
    let phase = match action {
        "halt" => Phase::Halted,
        "resume" => Phase::Running,
        "roll-back" => Phase::RolledBack,
        other => {
            let detail = format!("there is no action {other:?}; known are halt, resume and roll-back");
            return Err(Problem::not_found("unknown-path", detail));
        }
    };
    let reason = if call.body.is_empty() { Reason::default() } else { call.json()? };
    Ok(json!(control.enroller.change_rollout(group, phase, &reason.reason, &call.operator).await?))
}

pub(super) async fn preview(control: &Control, call: &Call, group: &str) -> Handled {
    let profile = call.query.get("profile").ok_or_else(|| Problem::bad_request("say which profile: ?profile=NAME"))?;
    Ok(json!(control.enroller.preview(group, profile).await?))
}
