//! `ravelin status`.

use clap::Args;

use super::connect::Connection;
use super::{Exit, Global, Outcome, output};

/// `ravelin status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

impl StatusArgs {
    /// Prints the state of the running server.
    pub async fn run(self, global: &Global) -> Outcome {
        let status = Connection::to_server(global).await?.get("/v1/status").await?;
        if self.json {
            output::json(&status);
            return Ok(Exit::Ok);
        }
        let mut pairs = Vec::new();
        for name in ["version", "node", "generation", "digest"] {
            pairs.push((name, output::text(&status, name)));
        }
        pairs.push(("started", output::time(&status, "started_at")));
        pairs.push(("loaded", output::time(&status, "loaded_at")));
        pairs.push(("groups", output::text(&status, "groups")));
        pairs.push(("backends", output::text(&status, "backends")));
        pairs.push(("inventory", output::text(&status, "inventory")));
        pairs.push(("ready", output::text(&status, "ready")));
        pairs.push((
            "reasons",
            status["reasons"].as_array().map_or(String::new(), |reasons| {
                reasons.iter().filter_map(|reason| reason.as_str()).collect::<Vec<_>>().join("\n")
            }),
        ));
        let upstreams: Vec<_> = status["upstreams"].as_array().into_iter().flatten().map(upstream).collect();
        if !upstreams.is_empty() {
            pairs.push(("upstreams", upstreams.join("\n")));
        }
        let notes = status["notes"].as_array().map(|all| all.iter().filter_map(|one| one.as_str()).collect::<Vec<_>>());
        if let Some(notes) = notes.filter(|notes| !notes.is_empty()) {
            pairs.push(("notes", notes.join("\n")));
        }
        let warnings = status["warnings"].as_array().map(|all| all.iter().filter_map(|one| one.as_str()).collect::<Vec<_>>());
        if let Some(warnings) = warnings.filter(|warnings| !warnings.is_empty()) {
            pairs.push(("warnings", warnings.join("\n")));
        }
        output::print(&output::fields(&pairs));
        Ok(Exit::Ok)
    }
}

/// One upstream with limits, in a line.
fn upstream(one: &serde_json::Value) -> String {
    let text = |field: &str| output::text(one, field);
    let breaker = match text("breaker").as_str() {
        "closed" => "asked".to_owned(),
        "half-open" => "asked one order at a time, after failures".to_owned(),
        _ => match text("probe_in") {
            none if none.is_empty() => "left alone after failures, being looked at".to_owned(),
            seconds => format!("left alone after failures, looked at in {seconds} s"),
        },
    };
    let error = match text("last_error") {
        none if none.is_empty() => String::new(),
        error => format!("; {}: {error}", output::time(one, "last_error_at")),
    };
    format!("{}: {breaker}; {} orders open, {} under way{error}", text("upstream"), text("open"), text("under_way"))
}
