//! `ravelin rollout shadow`: what would have become of live requests under another profile.

use serde_json::Value;

use super::connect::{Connection, segment};
use super::{Exit, Global, Outcome, output};

/// Asks, and prints the sum.
pub async fn show(global: &Global, group: &str, json: bool) -> Outcome {
    let connection = Connection::open(global).await?;
    let one = connection.get(&format!("/v1/groups/{}/shadow", segment(group))).await?;
    match json {
        true => output::json(&one),
        false => output::print(&detailed(&one)),
    }
    Ok(Exit::Ok)
}

fn detailed(one: &Value) -> String {
    let text = |field: &str| output::text(one, field);
    let devices = one["devices"].as_object();
    let all: u64 = devices.into_iter().flatten().filter_map(|(_, count)| count.as_u64()).sum();
    let issued = one["devices"]["ok"].as_u64().unwrap_or(0);
    let spread = |field: &str, unit: &str, factor: f64| {
        let value = |which: &str| one[field][which].as_u64().map(|value| value as f64 / factor);
        match (value("median"), value("max")) {
            (Some(median), Some(max)) => format!("{median:.1} {unit} in the middle, {max:.1} {unit} at most"),
            _ => String::new(),
        }
    };
    let mut shown = output::fields(&[
        ("group", text("group")),
        ("profile", text("profile")),
        ("in its shadow", text("candidate")),
        ("since", output::time(one, "since")),
        ("runs", text("runs")),
        ("devices", all.to_string()),
        ("would be issued", issued.to_string()),
        ("would be refused", (all - issued).to_string()),
        ("replies", spread("reply", "KiB", 1024.0)),
        ("largest allowed", text("max_reply")),
        ("signing", spread("signing_micros", "ms", 1000.0)),
    ]);
    let mut codes = output::Table::new(&["REFUSED BECAUSE", "DEVICES"]);
    for (code, count) in devices.into_iter().flatten().filter(|(code, _)| *code != "ok") {
        codes.row([code.clone(), count.to_string()]);
    }
    if !codes.is_empty() {
        shown.push_str(&format!("\n{}", codes.render()));
    }
    let mut examples = output::Table::new(&["DEVICE", "CODE", "TIMES", "LAST", "WHY"]);
    for example in one["examples"].as_array().into_iter().flatten() {
        let field = |name: &str| output::text(example, name);
        examples.row([field("device"), field("code"), field("count"), output::time(example, "at"), field("detail")]);
    }
    if !examples.is_empty() {
        shown.push_str(&format!("\n{}", examples.render()));
    }
    shown
}
