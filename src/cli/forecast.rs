//! `ravelin rollout forecast`: what will still be classical only on a day.

use clap::Args;
use serde_json::{Value, json};

use super::connect::{Connection, query, segment};
use super::{Exit, Failed, Global, Outcome, output};

/// `ravelin rollout forecast`.
#[derive(Debug, Args)]
pub struct ForecastArgs {
    /// Of this group only, with the devices that will be late
    pub group: Option<String>,
    /// The day, such as 2028-01-01; that of the group's deadline if not given
    #[arg(long, value_name = "DATE")]
    pub at: Option<String>,
    /// How many devices to name
    #[arg(long, default_value_t = 20)]
    pub limit: usize,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Asks, and prints the forecast.
pub async fn run(global: &Global, args: ForecastArgs) -> Outcome {
    let connection = Connection::open(global).await?;
    let limit = args.limit.to_string();
    let target = |group: &str| {
        query(&format!("/v1/groups/{}/forecast", segment(group)), &[("at", args.at.clone()), ("limit", Some(limit.clone()))])
    };
    if let Some(group) = &args.group {
        let one = connection.get(&target(group)).await?;
        match args.json {
            true => output::json(&one),
            false => output::print(&detailed(&one)),
        }
        return Ok(Exit::Ok);
    }
    let listed = connection.get("/v1/groups").await?;
    let mut all = Vec::new();
    for group in listed["groups"].as_array().into_iter().flatten() {
        let name = output::text(group, "name");
        // Without a day there is nothing to say of a group that has no deadline.
        if args.at.is_some() || !group["deadline"].is_null() {
            all.push(connection.get(&target(&name)).await?);
        }
    }
    if all.is_empty() && !args.json {
        return Err(Failed::new("no group has a deadline: say which day, as in --at 2028-01-01".to_owned()));
    }
    if args.json {
        output::json(&json!({ "forecasts": all }));
        return Ok(Exit::Ok);
    }
    let head =
        ["GROUP", "PROFILE", "ON", "CERTIFICATES", "POST-QUANTUM NOW", "BY RENEWAL", "ENDED", "STILL CLASSICAL", "EXCEPTED"];
    let mut table = output::Table::new(&head);
    for one in &all {
        let field = |name: &str| output::text(one, name);
        table.row([
            field("group"),
            field("profile"),
            output::time(one, "at"),
            field("certificates"),
            field("already"),
            field("renewed"),
            field("ended"),
            field("classical"),
            field("excepted"),
        ]);
    }
    table.print("No group has a deadline.");
    Ok(Exit::Ok)
}

fn detailed(one: &Value) -> String {
    let text = |field: &str| output::text(one, field);
    let percent = one["pace"]["share"].as_f64().unwrap_or(0.0) * 100.0;
    let pace = match one["pace"]["renewals"].as_u64() {
        Some(0) | None => format!("after {percent:.0} % of a life, by the group's settings: no renewal was seen yet"),
        Some(renewals) => format!("after {percent:.0} % of a life, the median of {renewals} renewals"),
    };
    let mut shown = output::fields(&[
        ("group", text("group")),
        ("profile", text("profile")),
        ("deadline", output::time(one, "deadline")),
        ("on", output::time(one, "at")),
        ("renewed", pace),
        ("certificates", text("certificates")),
        ("post-quantum now", text("already")),
        ("by renewal", text("renewed")),
        ("will have ended", text("ended")),
        ("still classical", text("classical")),
        ("of those excepted", text("excepted")),
        ("silent devices", text("silent")),
        ("the last ends", output::time(one, "last_ends")),
    ]);
    let mut late = output::Table::new(&["DEVICE", "PROFILE NOW", "CLASSICAL UNTIL", "DAYS OVER", "NOTE"]);
    for example in one["examples"].as_array().into_iter().flatten() {
        let field = |name: &str| output::text(example, name);
        let notes = [("silent", "silent"), ("excepted", "excepted")];
        let notes: Vec<&str> = notes.into_iter().filter(|(key, _)| example[key] == true).map(|(_, note)| note).collect();
        late.row([field("device"), field("profile"), output::time(example, "ends"), field("days_over"), notes.join(", ")]);
    }
    if !late.is_empty() {
        shown.push_str(&format!("\nClassical the longest:\n{}", late.render()));
    }
    shown
}
