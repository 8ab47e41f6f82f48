//! `ravelin rollout`: a profile that is tried on some devices of a group first.

use clap::Subcommand;
use serde_json::{Value, json};

use super::change_profile::{self, ChangeArgs};
use super::connect::{Connection, segment};
use super::{Exit, Global, Outcome, forecast, output};

/// `ravelin rollout`.
#[derive(Debug, Subcommand)]
pub enum RolloutCommand {
    /// Say how rollouts stand: whom they reach, how devices fare, how near the gates are
    Status {
        /// Of this group only, with all there is to say
        group: Option<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Say what would have become of live requests under the profile in the shadow of a group
    Shadow {
        /// The device group
        group: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Say what will still be classical only on a day, given how groups renew
    Forecast(forecast::ForecastArgs),
    /// Let no further device have the candidate; those that have it keep it
    Halt {
        /// The device group
        group: String,
        /// Why, for the audit log
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Give every device the profile of the group again
    RollBack {
        /// The device group
        group: String,
        /// Why, for the audit log
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Go on as the plan says; what was counted before does not count again
    Resume {
        /// The device group
        group: String,
        /// Why, for the audit log
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Make the candidate the profile of the group, and end the rollout
    Promote {
        /// The device group
        group: String,
        /// How
        #[command(flatten)]
        args: ChangeArgs,
    },
}

impl RolloutCommand {
    /// Runs it.
    pub async fn run(self, global: &Global) -> Outcome {
        let (group, action, reason) = match self {
            RolloutCommand::Promote { group, args } => return change_profile::promote(global, &group, args).await,
            RolloutCommand::Status { group, json } => return status(global, group, json).await,
            RolloutCommand::Forecast(args) => return forecast::run(global, args).await,
            RolloutCommand::Shadow { group, json } => return super::shadow::show(global, &group, json).await,
            RolloutCommand::Halt { group, reason } => (group, "halt", reason),
            RolloutCommand::RollBack { group, reason } => (group, "roll-back", reason),
            RolloutCommand::Resume { group, reason } => (group, "resume", reason),
        };
        let connection = Connection::open(global).await?;
        let target = format!("/v1/rollouts/{}/{action}", segment(&group));
        let state = connection.post(&target, &json!({ "reason": reason })).await?;
        let (candidate, phase) = (output::text(&state, "candidate"), output::text(&state, "phase"));
        output::print(&format!("The rollout of {candidate} in group {group} is {phase} from the next request on.\n"));
        Ok(Exit::Ok)
    }
}

async fn status(global: &Global, group: Option<String>, json: bool) -> Outcome {
    let connection = Connection::open(global).await?;
    let Some(group) = group else {
        let listed = connection.get("/v1/rollouts").await?;
        if json {
            output::json(&listed);
            return Ok(Exit::Ok);
        }
        let head = ["GROUP", "PROFILE", "CANDIDATE", "PHASE", "PERCENT", "NEXT RING", "CERTIFICATES", "DEVICES", "NEAREST GATE"];
        let mut table = output::Table::new(&head);
        for one in listed["rollouts"].as_array().into_iter().flatten() {
            let candidate = output::text(one, "candidate");
            table.row([
                output::text(one, "group"),
                output::text(one, "incumbent"),
                candidate.clone(),
                output::text(one, "phase"),
                output::text(one, "percent"),
                output::time(one, "next_ring"),
                of_all(&one["certificates"], &candidate),
                one["figures"][&candidate]["devices"].as_u64().unwrap_or(0).to_string(),
                nearest(one),
            ]);
        }
        table.print("No group tries a candidate; a rollout is a table [rollout] in a policy.");
        return Ok(Exit::Ok);
    };
    let one = connection.get(&format!("/v1/rollouts/{}", segment(&group))).await?;
    if json {
        output::json(&one);
    } else {
        output::print(&detailed(&one));
    }
    Ok(Exit::Ok)
}

/// So many of so many.
fn of_all(counts: &Value, candidate: &str) -> String {
    let all: u64 = counts.as_object().into_iter().flatten().filter_map(|(_, count)| count.as_u64()).sum();
    format!("{} of {all}", counts[candidate].as_u64().unwrap_or(0))
}

/// The gate that is nearest to its limit.
fn nearest(one: &Value) -> String {
    let near = |gate: &&Value| (gate["near"].as_f64().unwrap_or(0.0) * 1000.0) as u64;
    match one["gates"].as_array().into_iter().flatten().max_by_key(near) {
        Some(gate) => format!("{} {:.0} %", output::text(gate, "gate"), gate["near"].as_f64().unwrap_or(0.0) * 100.0),
        None => "none".to_owned(),
    }
}

fn detailed(one: &Value) -> String {
    let text = |field: &str| output::text(one, field);
    let rings: Vec<String> = one["rings"].as_array().into_iter().flatten().map(ring).collect();
    let candidate = text("candidate");
    let mut shown = output::fields(&[
        ("group", text("group")),
        ("profile", text("incumbent")),
        ("candidate", candidate.clone()),
        ("phase", text("phase")),
        ("since", output::time(one, "since")),
        ("because", text("why")),
        ("by", text("by")),
        ("percent now", text("percent")),
        ("devices named", text("devices")),
        ("rings", rings.join("\n")),
        ("next ring", output::time(one, "next_ring")),
        ("certificates", format!("{} are of the candidate", of_all(&one["certificates"], &candidate))),
        ("counted since", output::time(one, "counted_since")),
    ]);
    let mut figures = output::Table::new(&["PROFILE", "DEVICES", "ISSUED", "REFUSED", "UPSTREAM ERRORS", "CAME BACK"]);
    for (profile, counted) in one["figures"].as_object().into_iter().flatten() {
        let mut cells = vec![profile.clone()];
        cells.extend(["devices", "issued", "refused", "upstream_errors", "returned"].map(|field| output::text(counted, field)));
        figures.row(cells);
    }
    if !figures.is_empty() {
        shown.push_str(&format!("\n{}", figures.render()));
    }
    let mut gates = output::Table::new(&["GATE", "LIMIT", "NEAR", "WHAT IT SEES"]);
    for gate in one["gates"].as_array().into_iter().flatten() {
        let near = format!("{:.0} %", gate["near"].as_f64().unwrap_or(0.0) * 100.0);
        gates.row([output::text(gate, "gate"), output::text(gate, "threshold"), near, output::text(gate, "text")]);
    }
    if !gates.is_empty() {
        shown.push_str(&format!("\n{}", gates.render()));
        if one["enough"] == json!(false) {
            shown.push_str(&format!("No gate trips before the candidate has met {} devices.\n", text("min_devices")));
        }
        shown.push_str(&format!("A gate that trips: {}.\n", text("on_trip")));
    }
    let mut setbacks = output::Table::new(&["DEVICE", "WHAT", "CODE", "TIMES", "LAST", "WHY"]);
    for setback in one["setbacks"].as_array().into_iter().flatten() {
        let field = |name: &str| output::text(setback, name);
        setbacks.row([
            field("device"),
            field("kind"),
            field("code"),
            field("count"),
            output::time(setback, "at"),
            field("detail"),
        ]);
    }
    if !setbacks.is_empty() {
        shown.push_str(&format!("\nDevices that fared badly under {candidate}:\n{}", setbacks.render()));
    }
    shown
}

fn ring(ring: &Value) -> String {
    let mut parts = vec![output::time(ring, "from")];
    let (percent, devices) = (output::text(ring, "percent"), output::text(ring, "devices"));
    parts.extend([percent, devices].into_iter().filter(|part| !part.is_empty()));
    if ring["begun"] == json!(true) {
        parts.push("(begun)".to_owned());
    }
    parts.join(" ")
}
