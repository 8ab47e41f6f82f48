//! `ravelin explain`: what would happen to a request, dry.

use std::io::Read;
use std::net::IpAddr;
use std::path::PathBuf;

use clap::Args;

use super::connect::{Connection, query};
use super::{Exit, Failed, Global, Outcome, output};

/// `ravelin explain`.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// A certification request (PEM or DER) or a SCEP message as it came (DER); - is stdin
    pub file: PathBuf,
    /// The endpoint that it would come to, by name or path; the default one if not set
    #[arg(long)]
    pub endpoint: Option<String>,
    /// As if it were of this group
    #[arg(long, short)]
    pub group: Option<String>,
    /// The address that it would come from
    #[arg(long, value_name = "ADDRESS")]
    pub source: Option<IpAddr>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

impl ExplainArgs {
    /// Asks, and prints the way of the request.
    pub async fn run(self, global: &Global) -> Outcome {
        let mut bytes = Vec::new();
        if self.file.as_os_str() == "-" {
            std::io::stdin().take(1 << 20).read_to_end(&mut bytes)?;
        } else {
            bytes = std::fs::read(&self.file).map_err(|error| Failed::new(format!("{}: {error}", self.file.display())))?;
        }
        let pairs =
            [("endpoint", self.endpoint), ("group", self.group), ("source", self.source.map(|source| source.to_string()))];
        let connection = Connection::open(global).await?;
        let report = connection.post_bytes(&query("/v1/explain", &pairs), bytes).await?;
        if self.json {
            output::json(&report);
        } else {
            let certificate = &report["certificate"];
            let text = |field: &str| output::text(&report, field);
            output::print(&output::fields(&[
                ("endpoint", text("endpoint")),
                ("subject", text("subject")),
                ("names", text("names")),
                ("key", text("key")),
                ("group", text("group")),
                ("rule", text("rule")),
                ("profile", text("profile")),
                ("because", text("choice")),
                ("known of it", text("findings")),
                ("exception", text("exception")),
                ("issuer", text("issuer")),
                (if report["spread"] == true { "spread over" } else { "failover" }, text("failover")),
                ("signed with", text("signature")),
                ("and besides with", text("alternative")),
                ("device", output::text(certificate, "device")),
                ("issued subject", output::text(certificate, "subject")),
                ("issued names", output::text(certificate, "names")),
                ("valid until", output::time(certificate, "not_after")),
                ("changed", output::text(certificate, "changes")),
                ("verdict", text("verdict")),
                ("code", text("code")),
                ("why", text("why")),
            ]));
        }
        Ok(Exit::Ok)
    }
}
