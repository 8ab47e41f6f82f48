//! `/v1/transactions`.

use http::StatusCode;
use serde::Deserialize;
use serde_json::json;

use super::control::{Call, Control, Handled};
use super::{Problem, views};
use crate::inventory::{TransactionId, TransactionState};

pub(super) async fn list(control: &Control, call: &Call) -> Handled {
    let state = call.parameter::<TransactionState>("state")?.unwrap_or(TransactionState::AwaitingApproval);
    let limit = call.parameter("limit")?.unwrap_or(100);
    let rows = control.inventory().transactions(state, limit).await?;
    Ok(json!({ "transactions": rows.iter().map(views::transaction).collect::<Vec<_>>() }))
}

pub(super) async fn show(control: &Control, id: &str) -> Handled {
    let id = find(control, id, None).await?;
    match control.inventory().transaction(id).await? {
        Some(row) => Ok(views::transaction(&row)),
        None => Err(Problem::not_found("unknown-transaction", format!("there is no transaction {id}"))),
    }
}

pub(super) async fn approve(control: &Control, call: &Call, id: &str) -> Handled {
    let id = find(control, id, Some(TransactionState::AwaitingApproval)).await?;
    Ok(views::transaction(&control.enroller.approve(id, &call.operator).await?))
}

/// What `deny` takes.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Deny {
    reason: String,
}

pub(super) async fn deny(control: &Control, call: &Call, id: &str) -> Handled {
    let deny: Deny = if call.body.is_empty() { Deny::default() } else { call.json()? };
    let id = find(control, id, Some(TransactionState::AwaitingApproval)).await?;
    Ok(views::transaction(&control.enroller.deny(id, &deny.reason, &call.operator).await?))
}

/// An identifier in full, or, for one that waits, the start or end of it: version 7 UUIDs of the same minute begin alike.
async fn find(control: &Control, id: &str, among: Option<TransactionState>) -> Result<TransactionId, Problem> {
    if let Ok(uuid) = id.parse() {
        return Ok(TransactionId(uuid));
    }
    let state = among.unwrap_or(TransactionState::AwaitingApproval);
    let rows = control.inventory().transactions(state, 10_000).await?;
    let mut fitting = rows.iter().map(|row| row.id).filter(|known| {
        let known = known.to_string();
        id.len() >= 4 && (known.starts_with(id) || known.ends_with(id))
    });
    match (fitting.next(), fitting.next()) {
        (Some(one), None) => Ok(one),
        (Some(_), Some(_)) => Err(Problem::new(StatusCode::CONFLICT, "ambiguous", format!("{id:?} fits several transactions"))),
        (None, _) => Err(Problem::not_found("unknown-transaction", format!("no transaction {id:?} is {state}"))),
    }
}
