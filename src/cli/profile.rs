//! `ravelin profile`: algorithm profiles.

use clap::Subcommand;
use serde_json::Value;

use super::connect::{Connection, segment};
use super::{Exit, Global, Outcome, output};

/// `ravelin profile`.
#[derive(Debug, Subcommand)]
pub enum ProfileCommand {
    /// List them
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show one
    Show {
        /// Its name
        name: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

impl ProfileCommand {
    /// Runs it.
    pub async fn run(self, global: &Global) -> Outcome {
        let connection = Connection::open(global).await?;
        match self {
            ProfileCommand::List { json } => {
                let listed = connection.get("/v1/profiles").await?;
                if json {
                    output::json(&listed);
                    return Ok(Exit::Ok);
                }
                let mut table =
                    output::Table::new(&["NAME", "FORM", "SIGNATURE", "LEVEL", "CERTIFICATE", "ISSUER", "VALIDITY", "GROUPS"]);
                for one in listed["profiles"].as_array().into_iter().flatten() {
                    table.row([
                        output::text(one, "name"),
                        output::text(one, "form"),
                        signatures(one),
                        level(one),
                        octets(one, "certificate_octets"),
                        output::text(one, "issuer"),
                        output::text(one, "validity"),
                        output::text(one, "groups"),
                    ]);
                }
                table.print("There are no profiles; a profile is a file in the algorithms folder.");
            }
            ProfileCommand::Show { name, json } => {
                let one = connection.get(&format!("/v1/profiles/{}", segment(&name))).await?;
                if json {
                    output::json(&one);
                } else {
                    output::print(&describe(&one));
                }
            }
        }
        Ok(Exit::Ok)
    }
}

/// What signs, with the second signature where there is one.
fn signatures(one: &Value) -> String {
    match output::text(one, "alternative") {
        none if none.is_empty() => output::text(one, "signature"),
        alternative => format!("{} + {alternative}", output::text(one, "signature")),
    }
}

/// `PQ 3` by NIST category, or that a quantum computer breaks it.
fn level(one: &Value) -> String {
    match one["nist_level"].as_u64() {
        Some(level) => format!("PQ {level}"),
        None => "classical".to_owned(),
    }
}

/// About so many octets, from the smallest key that is accepted to the largest.
fn octets(one: &Value, field: &str) -> String {
    match (one[field][0].as_u64(), one[field][1].as_u64()) {
        (Some(smallest), Some(largest)) if smallest != largest => format!("{smallest}..{largest}"),
        (Some(only), _) => only.to_string(),
        _ => String::new(),
    }
}

fn describe(one: &Value) -> String {
    let text = |field: &str| output::text(one, field);
    let size = |field: &str| match text(field) {
        none if none.is_empty() => none,
        octets => format!("{octets} octets"),
    };
    let about = |field: &str| format!("about {} octets", octets(one, field));
    let extensions = |field: &str| output::text(&one["extensions"], field);
    let strength = match one["nist_level"].as_u64() {
        Some(level) => format!("post-quantum, NIST category {level}"),
        None => "classical: a quantum computer forges it".to_owned(),
    };
    output::fields(&[
        ("name", text("name")),
        ("description", text("description")),
        ("accepts", text("accepts")),
        ("form", text("form")),
        ("signature", text("signature")),
        ("issuer", text("issuer")),
        (if one["spread"] == true { "spread over" } else { "failover" }, text("failover")),
        ("alternative", text("alternative")),
        ("alternative issuer", text("alternative_issuer")),
        ("backend", text("backend")),
        ("strength", strength),
        ("signature size", size("signature_octets")),
        ("alternative size", size("alternative_octets")),
        ("certificate", about("certificate_octets")),
        ("reply", about("reply_octets")),
        ("largest reply", size("max_reply")),
        ("fallback", text("fallback")),
        ("unfit key usages", text("key_usage")),
        ("policies", extensions("policies")),
        ("CRL", extensions("crl_urls")),
        ("issuer certificate", extensions("ca_issuers")),
        ("OCSP", extensions("ocsp")),
        ("validity", text("validity")),
        ("groups", text("groups")),
        ("candidate of", text("candidate_of")),
        ("fallback of", text("fallback_of")),
    ])
}
