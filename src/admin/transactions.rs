//! `/v1/transactions`.

use http::StatusCode;
use serde::Deserialize;
use serde_json::json;

use super::control::{Call, Control, Handled};
use super::{Problem, views};
use crate::inventory::{Transaction, TransactionId, TransactionState};
use crate::x509::Certificate;

pub(super) async fn list(control: &Control, call: &Call) -> Handled {
    let state = call.parameter::<TransactionState>("state")?.unwrap_or(TransactionState::AwaitingApproval);
    let limit = call.parameter("limit")?.unwrap_or(100);
    let rows = control.inventory().transactions(state, limit).await?;
    let mut shown = Vec::with_capacity(rows.len());
    for row in &rows {
        shown.push(view(control, row).await?);
    }
    Ok(json!({ "transactions": shown }))
}

/// A transaction, with what is known of its order at the issuer while that is of interest.
async fn view(control: &Control, row: &Transaction) -> Handled {
    let mut shown = views::transaction(row);
    if matches!(row.state, TransactionState::Unknown | TransactionState::Issuing) {
        shown["order"] = json!(control.enroller.known_order(row).await?);
    }
    Ok(shown)
}

pub(super) async fn show(control: &Control, id: &str) -> Handled {
    let id = find(control, id, &WAITING).await?;
    match control.inventory().transaction(id).await? {
        Some(row) => view(control, &row).await,
        None => Err(Problem::not_found("unknown-transaction", format!("there is no transaction {id}"))),
    }
}

pub(super) async fn approve(control: &Control, call: &Call, id: &str) -> Handled {
    let id = find(control, id, &WAITING).await?;
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
    let id = find(control, id, &WAITING).await?;
    Ok(views::transaction(&control.enroller.deny(id, &deny.reason, &call.operator).await?))
}

/// What `adopt` takes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Adopt {
    /// PEM.
    certificate: String,
}

pub(super) async fn adopt(control: &Control, call: &Call, id: &str) -> Handled {
    let adopt: Adopt = call.json()?;
    let certificate = Certificate::from_pem(&adopt.certificate)
        .map_err(|error| Problem::bad_request(format!("the certificate cannot be read: {error}")))?;
    let id = find(control, id, &[TransactionState::Unknown]).await?;
    Ok(views::transaction(&control.enroller.adopt(id, certificate, &call.operator).await?))
}

/// What people decide about.
const WAITING: [TransactionState; 2] = [TransactionState::AwaitingApproval, TransactionState::Unknown];

/// An identifier in full, or, for one that waits, the start or end of it: version 7 UUIDs of the same minute begin alike.
async fn find(control: &Control, id: &str, among: &[TransactionState]) -> Result<TransactionId, Problem> {
    if let Ok(uuid) = id.parse() {
        return Ok(TransactionId(uuid));
    }
    let mut rows = Vec::new();
    for state in among {
        rows.extend(control.inventory().transactions(*state, 10_000).await?);
    }
    let mut fitting = rows.iter().map(|row| row.id).filter(|known| {
        let known = known.to_string();
        id.len() >= 4 && (known.starts_with(id) || known.ends_with(id))
    });
    match (fitting.next(), fitting.next()) {
        (Some(one), None) => Ok(one),
        (Some(_), Some(_)) => Err(Problem::new(StatusCode::CONFLICT, "ambiguous", format!("{id:?} fits several transactions"))),
        (None, _) => {
            let states = among.iter().map(|state| state.name()).collect::<Vec<_>>().join(" or ");
            Err(Problem::not_found("unknown-transaction", format!("no transaction {id:?} is {states}")))
        }
    }
}
