//! `ravelin device`: what was learned of devices.

use clap::Subcommand;
use serde_json::json;

use super::connect::{Connection, query, segment};
use super::{Exit, Global, Outcome, output};

/// `ravelin device`.
#[derive(Debug, Subcommand)]
pub enum DeviceCommand {
    /// List devices that get a fallback because they cannot digest a profile
    List {
        /// Of this group only
        #[arg(long, short)]
        group: Option<String>,
        /// The most to list
        #[arg(long, default_value_t = 100)]
        limit: usize,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Say what is known of one: what it was given, and what was learned of it
    Show {
        /// The device group
        group: String,
        /// The device, such as serialNumber=FOC1234
        device: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Forget what was learned of one: it gets the profile of its group again
    Forget {
        /// The device group
        group: String,
        /// The device, such as serialNumber=FOC1234
        device: String,
        /// Under this profile only
        #[arg(long)]
        profile: Option<String>,
        /// Why, for the audit log
        #[arg(long, default_value = "")]
        reason: String,
    },
}

impl DeviceCommand {
    /// Runs it.
    pub async fn run(self, global: &Global) -> Outcome {
        let connection = Connection::open(global).await?;
        match self {
            DeviceCommand::List { group, limit, json } => {
                let listed =
                    connection.get(&query("/v1/devices", &[("group", group), ("limit", Some(limit.to_string()))])).await?;
                if json {
                    output::json(&listed);
                    return Ok(Exit::Ok);
                }
                let mut table = output::Table::new(&["GROUP", "DEVICE", "CANNOT DIGEST", "SINCE", "BECAUSE"]);
                for one in listed["devices"].as_array().into_iter().flatten() {
                    let field = |name: &str| output::text(one, name);
                    table.row([field("group"), field("device"), field("profile"), output::time(one, "at"), field("detail")]);
                }
                table.print("Nothing was learned of any device.");
            }
            DeviceCommand::Show { group, device, json } => {
                let one = connection.get(&format!("/v1/devices/{}/{}", segment(&group), segment(&device))).await?;
                if json {
                    output::json(&one);
                    return Ok(Exit::Ok);
                }
                let mut findings = output::Table::new(&["CANNOT DIGEST", "SINCE", "TAKEN BACK", "BECAUSE"]);
                for finding in one["findings"].as_array().into_iter().flatten() {
                    let (since, gone) = (output::time(finding, "at"), output::time(finding, "gone_at"));
                    findings.row([output::text(finding, "profile"), since, gone, output::text(finding, "detail")]);
                }
                findings.print("Nothing was learned of it.");
                let mut given = output::Table::new(&["GIVEN", "PROFILE", "VALID UNTIL", "FINGERPRINT"]);
                for certificate in one["certificates"].as_array().into_iter().flatten() {
                    let (issued, ends) = (output::time(certificate, "issued_at"), output::time(certificate, "not_after"));
                    let fingerprint = output::text(certificate, "fingerprint").chars().take(16).collect();
                    given.row([issued, output::text(certificate, "profile"), ends, fingerprint]);
                }
                output::print("\n");
                given.print("It was given no certificate.");
            }
            DeviceCommand::Forget { group, device, profile, reason } => {
                let target = format!("/v1/devices/{}/{}/forget", segment(&group), segment(&device));
                let done = connection.post(&target, &json!({ "profile": profile, "reason": reason })).await?;
                for one in done["forgotten"].as_array().into_iter().flatten() {
                    let profile = output::text(one, "profile");
                    output::print(&format!(
                        "Forgotten: {device} of group {group} may get {profile} again from the next request on.\n"
                    ));
                }
            }
        }
        Ok(Exit::Ok)
    }
}
