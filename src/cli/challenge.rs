//! `ravelin challenge`: one-time challenges.

use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use serde_json::json;

use super::connect::{Connection, query, segment};
use super::{Exit, Global, Outcome, output};

/// `ravelin challenge`.
#[derive(Debug, Subcommand)]
pub enum ChallengeCommand {
    /// Make challenges; they are shown now and never again
    New(NewArgs),
    /// List challenges
    List(ListArgs),
    /// Revoke a challenge that was not used yet
    Revoke {
        /// Its identifier, or the start of it
        id: String,
    },
}

/// `ravelin challenge new`.
#[derive(Debug, Args)]
pub struct NewArgs {
    /// The device group
    #[arg(long, short)]
    pub group: String,
    /// How many
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub count: u32,
    /// How long they can be redeemed, such as 1h or 7d; what the group says if not set
    #[arg(long, value_name = "TIME")]
    pub ttl: Option<String>,
    /// What the request must have, such as subject.serialNumber=FOC1234; may be repeated
    #[arg(long, value_name = "SELECTOR=VALUE", value_parser = binding)]
    pub bind: Vec<(String, String)>,
    /// A note for people
    #[arg(long)]
    pub note: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `ravelin challenge list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Of this group only
    #[arg(long, short)]
    pub group: Option<String>,
    /// Spent, revoked and expired ones too
    #[arg(long)]
    pub all: bool,
    /// The most to list
    #[arg(long, default_value_t = 100)]
    pub limit: usize,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

impl ChallengeCommand {
    /// Runs it.
    pub async fn run(self, global: &Global) -> Outcome {
        let connection = Connection::open(global).await?;
        match self {
            ChallengeCommand::New(args) => {
                let bind: BTreeMap<_, _> = args.bind.into_iter().collect();
                let body = json!({
                    "group": args.group, "count": args.count, "ttl": args.ttl, "bind": bind, "note": args.note,
                });
                let made = connection.post("/v1/challenges", &body).await?;
                if args.json {
                    output::json(&made);
                    return Ok(Exit::Ok);
                }
                let challenges = made["challenges"].as_array().cloned().unwrap_or_default();
                if let [one] = challenges.as_slice() {
                    // Alone on its line, so that a script can take it.
                    output::print(&format!("{}\n", output::text(one, "challenge")));
                    eprintln!("id {}, good until {}", output::text(one, "id"), output::time(one, "expires_at"));
                } else {
                    let mut table = output::Table::new(&["ID", "CHALLENGE", "EXPIRES"]);
                    for one in &challenges {
                        table.row([output::text(one, "id"), output::text(one, "challenge"), output::time(one, "expires_at")]);
                    }
                    table.print("No challenge was made.");
                }
            }
            ChallengeCommand::List(args) => {
                let target = query(
                    "/v1/challenges",
                    &[
                        ("group", args.group),
                        ("all", args.all.then(|| "true".to_owned())),
                        ("limit", Some(args.limit.to_string())),
                    ],
                );
                let listed = connection.get(&target).await?;
                if args.json {
                    output::json(&listed);
                    return Ok(Exit::Ok);
                }
                let mut table = output::Table::new(&["ID", "GROUP", "STATE", "EXPIRES", "BOUND TO", "MADE BY", "NOTE"]);
                for one in listed["challenges"].as_array().into_iter().flatten() {
                    table.row([
                        output::text(one, "id"),
                        output::text(one, "group"),
                        output::text(one, "state"),
                        output::time(one, "expires_at"),
                        output::text(one, "bind"),
                        output::text(one, "created_by"),
                        output::text(one, "note"),
                    ]);
                }
                table.print("There are no challenges; make one with: ravelin challenge new --group GROUP");
            }
            ChallengeCommand::Revoke { id } => {
                connection.delete(&format!("/v1/challenges/{}", segment(&id))).await?;
                output::print(&format!("Revoked challenge {id}.\n"));
            }
        }
        Ok(Exit::Ok)
    }
}

fn binding(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((selector, value)) if !selector.is_empty() && !value.is_empty() => Ok((selector.to_owned(), value.to_owned())),
        _ => Err("write SELECTOR=VALUE, such as subject.serialNumber=FOC1234".to_owned()),
    }
}
