//! `ravelin audit`: what happened, and whether the record of it is whole.

use clap::Subcommand;

use super::connect::{Connection, query};
use super::{Exit, Failed, Global, Outcome, output};

/// `ravelin audit`.
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// List events, oldest first
    List {
        /// After this number
        #[arg(long, default_value_t = 0)]
        after: u64,
        /// The most to list
        #[arg(long, default_value_t = 100)]
        limit: usize,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Check the hash chain from the first event to the last
    Verify,
}

impl AuditCommand {
    /// Runs it.
    pub async fn run(self, global: &Global) -> Outcome {
        let connection = Connection::open(global).await?;
        match self {
            AuditCommand::List { after, limit, json } => {
                let pairs = [("after", Some(after.to_string())), ("limit", Some(limit.to_string()))];
                let listed = connection.get(&query("/v1/audit", &pairs)).await?;
                if json {
                    output::json(&listed);
                    return Ok(Exit::Ok);
                }
                let mut table = output::Table::new(&["NUMBER", "AT", "EVENT", "ACTOR", "OBJECT", "FIELDS"]);
                for one in listed["events"].as_array().into_iter().flatten() {
                    let event = &one["event"];
                    table.row([
                        output::text(one, "sequence"),
                        output::time(event, "at"),
                        output::text(event, "event"),
                        output::text(event, "actor"),
                        output::text(event, "object"),
                        output::text(event, "fields"),
                    ]);
                }
                table.print("There are no such events.");
            }
            AuditCommand::Verify => {
                let found = connection.get("/v1/audit/verify").await?;
                if found["whole"].as_bool() != Some(true) {
                    return Err(Failed::new(format!("the audit chain is broken: {}", output::text(&found, "detail"))));
                }
                output::print(&format!(
                    "The chain of {} events is whole; its last hash is {}.\n",
                    output::text(&found, "events"),
                    output::text(&found, "hash")
                ));
            }
        }
        Ok(Exit::Ok)
    }
}
