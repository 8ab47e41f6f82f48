//! `ravelin pending`: requests that wait for a decision.

use clap::Subcommand;
use serde_json::json;

use super::connect::{Connection, query, segment};
use super::{Exit, Global, Outcome, output};

/// `ravelin pending`.
#[derive(Debug, Subcommand)]
pub enum PendingCommand {
    /// List them, oldest first
    List {
        /// Transactions in this state instead, such as unknown or issuing
        #[arg(long, default_value = "awaiting-approval")]
        state: crate::inventory::TransactionState,
        /// The most to list
        #[arg(long, default_value_t = 100)]
        limit: usize,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Let a request go on to the issuer
    Approve {
        /// Its identifier, or the start of it if that is unique
        id: String,
    },
    /// Refuse a request
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
                let pairs = [("state", Some(state.name().to_owned())), ("limit", Some(limit.to_string()))];
                let listed = connection.get(&query("/v1/transactions", &pairs)).await?;
                if json {
                    output::json(&listed);
                    return Ok(Exit::Ok);
                }
                let mut table = output::Table::new(&["ID", "GROUP", "SUBJECT", "RECEIVED", "SOURCE", "DETAIL"]);
                for one in listed["transactions"].as_array().into_iter().flatten() {
                    table.row([
                        output::text(one, "id"),
                        output::text(one, "group"),
                        output::text(one, "subject"),
                        output::time(one, "received_at"),
                        output::text(one, "source"),
                        output::text(one, "detail"),
                    ]);
                }
                table.print("Nothing waits.");
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
