//! `ravelin pending`: requests that wait for a decision.

use std::path::PathBuf;

use clap::Subcommand;
use serde_json::{Value, json};

use super::connect::{Connection, query, segment};
use super::{Exit, Failed, Global, Outcome, output};
use crate::inventory::TransactionState;
use crate::x509::Certificate;

/// `ravelin pending`.
#[derive(Debug, Subcommand)]
pub enum PendingCommand {
    /// List what waits for people, oldest first: requests to approve, and orders whose outcome is unknown
    List {
        /// Transactions in this state instead, such as issuing or refused
        #[arg(long)]
        state: Option<TransactionState>,
        /// The most to list
        #[arg(long, default_value_t = 100)]
        limit: usize,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show all that is known of a transaction
    Show {
        /// Its identifier, or the start of it if that is unique
        id: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Let a request go on to the issuer; an order whose outcome is unknown is submitted anew
    Approve {
        /// Its identifier, or the start of it if that is unique
        id: String,
    },
    /// Hand in the certificate that the CA issued for an order whose outcome is unknown; it is checked like any answer of the CA
    Adopt {
        /// Its identifier, or the start of it if that is unique
        id: String,
        /// The certificate, PEM or DER
        #[arg(long, value_name = "FILE")]
        certificate: PathBuf,
    },
    /// Refuse a request, or give up an order whose outcome is unknown
    Deny {
        /// Its identifier, or the start of it if that is unique
        id: String,
        /// Why, for the log and the audit
        #[arg(long, default_value = "denied by an operator")]
        reason: String,
    },
}

impl PendingCommand {
    /// Runs it.
    pub async fn run(self, global: &Global) -> Outcome {
        let connection = Connection::open(global).await?;
        match self {
            PendingCommand::List { state, limit, json } => {
                let states = match state {
                    Some(state) => vec![state],
                    None => vec![TransactionState::AwaitingApproval, TransactionState::Unknown],
                };
                let mut all = Vec::new();
                for state in states {
                    let pairs = [("state", Some(state.name().to_owned())), ("limit", Some(limit.to_string()))];
                    let listed = connection.get(&query("/v1/transactions", &pairs)).await?;
                    all.extend(listed["transactions"].as_array().into_iter().flatten().cloned());
                }
                if json {
                    output::json(&json!({ "transactions": all }));
                    return Ok(Exit::Ok);
                }
                let mut table =
                    output::Table::new(&["ID", "STATE", "GROUP", "SUBJECT", "RECEIVED", "SOURCE", "ISSUER", "DETAIL"]);
                for one in &all {
                    table.row([
                        output::text(one, "id"),
                        output::text(one, "state"),
                        output::text(one, "group"),
                        output::text(one, "subject"),
                        output::time(one, "received_at"),
                        output::text(one, "source"),
                        issuer(one),
                        output::text(one, "detail"),
                    ]);
                }
                table.print("Nothing waits.");
                if all.iter().any(|one| one["state"] == "unknown") {
                    output::print(
                        "\nNobody knows whether the CA issued what is `unknown`. See `ravelin pending show ID` for how to find out; then\n\
                         `adopt` hands in the certificate that it issued, `approve` orders anew, and `deny` gives up.\n",
                    );
                }
            }
            PendingCommand::Show { id, json } => {
                let one = connection.get(&format!("/v1/transactions/{}", segment(&id))).await?;
                if json {
                    output::json(&one);
                } else {
                    output::print(&describe(&one));
                }
            }
            PendingCommand::Adopt { id, certificate } => {
                let bytes =
                    std::fs::read(&certificate).map_err(|error| Failed::new(format!("{}: {error}", certificate.display())))?;
                let pem = match Certificate::from_der(&bytes) {
                    Ok(certificate) => certificate.to_pem(),
                    Err(_) => String::from_utf8_lossy(&bytes).into_owned(),
                };
                let done =
                    connection.post(&format!("/v1/transactions/{}/adopt", segment(&id)), &json!({ "certificate": pem })).await?;
                output::print(&format!(
                    "Adopted for {}: it is {} now.\n",
                    output::text(&done, "id"),
                    output::text(&done, "state")
                ));
            }
            PendingCommand::Approve { id } => {
                let done = connection.post(&format!("/v1/transactions/{}/approve", segment(&id)), &json!({})).await?;
                output::print(&format!("Approved {}: it is {} now.\n", output::text(&done, "id"), output::text(&done, "state")));
            }
            PendingCommand::Deny { id, reason } => {
                let body = json!({ "reason": reason });
                let done = connection.post(&format!("/v1/transactions/{}/deny", segment(&id)), &body).await?;
                output::print(&format!("Denied {}.\n", output::text(&done, "id")));
            }
        }
        Ok(Exit::Ok)
    }
}

fn issuer(one: &Value) -> String {
    match one.get("order").filter(|order| !order.is_null()) {
        Some(order) => format!("{}/{}", output::text(order, "upstream"), output::text(order, "ca")),
        None => String::new(),
    }
}

fn describe(one: &Value) -> String {
    let text = |field: &str| output::text(one, field);
    let order = |field: &str| output::text(&one["order"], field);
    output::fields(&[
        ("id", text("id")),
        ("state", text("state")),
        ("group", text("group")),
        ("profile", text("profile")),
        ("subject", text("subject")),
        ("device", text("device")),
        ("let in by", text("rule")),
        ("source", text("source")),
        ("received", output::time(one, "received_at")),
        ("changed", output::time(one, "updated_at")),
        ("issuer", issuer(one)),
        ("attempt", order("state")),
        ("begun", output::time(&one["order"], "since")),
        ("asked last", output::time(&one["order"], "asked_at")),
        ("next try", output::time(&one["order"], "next_try_at")),
        ("reference", order("reference")),
        ("idempotency key", order("idempotency_key")),
        ("public key", order("public_key")),
        ("rejection", text("rejection")),
        ("detail", text("detail")),
        ("look it up", order("look_up")),
    ])
}
