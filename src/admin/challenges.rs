//! `/v1/challenges`.

use std::collections::BTreeMap;

use http::StatusCode;
use serde::Deserialize;
use serde_json::json;

use super::control::{Call, Control, Handled};
use super::{Problem, views};
use crate::enroll::operate::NewChallenges;
use crate::inventory::AuditEvent;

/// What `POST /v1/challenges` takes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct New {
    group: String,
    #[serde(default = "one")]
    count: usize,
    ttl: Option<String>,
    #[serde(default)]
    bind: BTreeMap<String, String>,
    note: Option<String>,
}

fn one() -> usize {
    1
}

/// The most challenges that one request makes.
const MOST: usize = 10_000;

pub(super) async fn mint(control: &Control, call: &Call) -> Handled {
    let new: New = call.json()?;
    if !(1..=MOST).contains(&new.count) {
        return Err(Problem::bad_request(format!("count has to be from 1 to {MOST}")));
    }
    let ttl_seconds = match &new.ttl {
        None => None,
        Some(text) => match views::parse_span(text) {
            Some(ttl) if !ttl.is_zero() => Some(ttl.as_secs()),
            _ => return Err(Problem::bad_request(format!("ttl {text:?} is no time span; write 90s, 15m, 24h or 7d"))),
        },
    };
    let order = NewChallenges { group: new.group, count: new.count, ttl_seconds, bind: new.bind, note: new.note };
    let minted = control.enroller.mint_challenges(order, &call.operator).await?;
    let now = control.enroller.now();
    let challenges: Vec<_> = minted
        .iter()
        .map(|(secret, row)| {
            let mut view = views::challenge(row, now);
            view["challenge"] = json!(secret);
            view
        })
        .collect();
    Ok(json!({ "challenges": challenges }))
}

pub(super) async fn list(control: &Control, call: &Call) -> Handled {
    let group: Option<String> = call.parameter("group")?;
    let all = call.parameter::<bool>("all")?.unwrap_or(false);
    let limit = call.parameter("limit")?.unwrap_or(100);
    let now = control.enroller.now();
    let mut rows = control.inventory().challenges(group.as_deref(), all, limit).await?;
    if !all {
        rows.retain(|row| row.revoked_at.is_none() && row.expires_at > now);
    }
    Ok(json!({ "challenges": rows.iter().map(|row| views::challenge(row, now)).collect::<Vec<_>>() }))
}

pub(super) async fn revoke(control: &Control, call: &Call, id: &str) -> Handled {
    if id.len() < 4 {
        return Err(Problem::bad_request("give at least four digits of the identifier"));
    }
    let event = AuditEvent {
        at: control.enroller.now(),
        event: "challenge.revoked".to_owned(),
        actor: format!("operator:{}", call.operator),
        object: id.to_owned(),
        fields: serde_json::Map::new(),
    };
    if control.inventory().revoke_challenge(id, event).await? {
        Ok(json!({ "revoked": id }))
    } else {
        let detail = format!("no outstanding challenge starts with {id:?}; see: ravelin challenge list --all");
        Err(Problem::new(StatusCode::NOT_FOUND, "unknown-challenge", detail))
    }
}
