//! `ravelin certificate`: what was issued.

use std::path::PathBuf;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::connect::{Connection, query, segment};
use super::{Exit, Failed, Global, Outcome, output};
use crate::x509::crl::RevocationReason;

/// `ravelin certificate`.
#[derive(Debug, Subcommand)]
pub enum CertificateCommand {
    /// Search certificates, newest first
    List(ListArgs),
    /// Show one
    Show {
        /// Serial or SHA-256 fingerprint in hex, or the start of it if that is unique
        id: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Write one to a file or stdout
    Export {
        /// Serial or SHA-256 fingerprint in hex, or the start of it if that is unique
        id: String,
        /// The other certificate of the pair instead
        #[arg(long)]
        sibling: bool,
        /// PEM or DER
        #[arg(long, value_enum, default_value_t = Format::Pem)]
        format: Format,
        /// The file; stdout if not set
        #[arg(long, short, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Revoke one, at the CA that issued it too, and its sibling with it
    Revoke {
        /// Serial or SHA-256 fingerprint in hex, or the start of it if that is unique
        id: String,
        /// Why: keyCompromise, superseded, cessationOfOperation, ...
        #[arg(long, default_value = "unspecified")]
        reason: RevocationReason,
    },
}

/// How a certificate is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Text.
    Pem,
    /// Bytes.
    Der,
}

/// `ravelin certificate list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Part of the subject, an alternative name or the device, or the start of serial or fingerprint
    pub text: Option<String>,
    /// Of this group
    #[arg(long, short)]
    pub group: Option<String>,
    /// Of this algorithm profile
    #[arg(long)]
    pub profile: Option<String>,
    /// Of this device
    #[arg(long)]
    pub device: Option<String>,
    /// valid, superseded or revoked
    #[arg(long)]
    pub status: Option<crate::inventory::CertificateStatus>,
    /// Expiring before, such as 2027-01-01T00:00:00Z
    #[arg(long, value_name = "TIME")]
    pub expires_before: Option<jiff::Timestamp>,
    /// Signed with, such as ecdsa-sha256
    #[arg(long, value_name = "ALGORITHM")]
    pub signature_algorithm: Option<String>,
    /// With such a key, such as rsa-2048
    #[arg(long, value_name = "KEY")]
    pub key_algorithm: Option<String>,
    /// Only the second certificates of pairs (true), or none of them (false)
    #[arg(long, value_name = "BOOLEAN")]
    pub siblings: Option<bool>,
    /// The most to list
    #[arg(long, default_value_t = 100)]
    pub limit: usize,
    /// How many to leave out first
    #[arg(long, default_value_t = 0)]
    pub offset: usize,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

impl CertificateCommand {
    /// Runs it.
    pub async fn run(self, global: &Global) -> Outcome {
        let connection = Connection::open(global).await?;
        match self {
            CertificateCommand::List(args) => list(&connection, args).await?,
            CertificateCommand::Show { id, json } => {
                let one = fetch(&connection, &id).await?;
                if json { output::json(&one) } else { output::print(&describe(&one)) }
            }
            CertificateCommand::Export { id, sibling, format, out } => {
                let mut one = fetch(&connection, &id).await?;
                if sibling {
                    let Some(other) = one["sibling"]["fingerprint"].as_str().map(str::to_owned) else {
                        return Err(Failed::new(format!("certificate {id} is of no pair")));
                    };
                    one = fetch(&connection, &other).await?;
                }
                let bytes = match format {
                    Format::Pem => output::text(&one, "pem").into_bytes(),
                    Format::Der => BASE64_STANDARD.decode(output::text(&one, "der"))?,
                };
                match out {
                    Some(path) => {
                        std::fs::write(&path, bytes).map_err(|error| Failed::new(format!("{}: {error}", path.display())))?;
                    }
                    None => std::io::Write::write_all(&mut std::io::stdout().lock(), &bytes)?,
                }
            }
            CertificateCommand::Revoke { id, reason } => {
                let target = format!("/v1/certificates/{}/revoke", segment(&id));
                let done = connection.post(&target, &json!({ "reason": reason })).await?;
                output::print(&format!("Revoked {} ({}).\n", output::text(&done, "serial"), output::text(&done, "subject")));
            }
        }
        Ok(Exit::Ok)
    }
}

async fn fetch(connection: &Connection, id: &str) -> Result<Value, Failed> {
    connection.get(&format!("/v1/certificates/{}", segment(id))).await
}

async fn list(connection: &Connection, args: ListArgs) -> Result<(), Failed> {
    let target = query(
        "/v1/certificates",
        &[
            ("text", args.text),
            ("group", args.group),
            ("profile", args.profile),
            ("device", args.device),
            ("status", args.status.map(|status| status.to_string())),
            ("expires_before", args.expires_before.map(|at| at.to_string())),
            ("signature_algorithm", args.signature_algorithm),
            ("key_algorithm", args.key_algorithm),
            ("siblings", args.siblings.map(|only| only.to_string())),
            ("limit", Some(args.limit.to_string())),
            ("offset", Some(args.offset.to_string())),
        ],
    );
    let listed = connection.get(&target).await?;
    if args.json {
        output::json(&listed);
        return Ok(());
    }
    let mut table = output::Table::new(&["SERIAL", "SUBJECT", "GROUP", "PROFILE", "KEY", "SIGNED WITH", "STATUS", "EXPIRES"]);
    for one in listed["certificates"].as_array().into_iter().flatten() {
        table.row([
            output::text(one, "serial"),
            output::text(one, "subject"),
            output::text(one, "group"),
            output::text(one, "profile"),
            output::text(one, "key_algorithm"),
            output::text(one, "signature_algorithm"),
            output::text(one, "status"),
            output::time(one, "not_after"),
        ]);
    }
    table.print("No certificate fits.");
    Ok(())
}

fn describe(one: &Value) -> String {
    let text = |field: &str| output::text(one, field);
    let sibling = match &one["sibling"] {
        Value::Null => String::new(),
        other => {
            let which = if one["sibling_of"].is_null() { "second" } else { "first" };
            let (serial, signature) = (output::text(other, "serial"), output::text(other, "signature_algorithm"));
            format!("{serial}, the {which} of the pair, signed with {signature} by {}", output::text(other, "issuer"))
        }
    };
    output::fields(&[
        ("subject", text("subject")),
        ("names", text("subject_alt_names")),
        ("serial", text("serial")),
        ("fingerprint", text("fingerprint")),
        ("issuer", text("issuer")),
        ("valid from", output::time(one, "not_before")),
        ("valid until", output::time(one, "not_after")),
        ("key", text("key_algorithm")),
        ("signed with", text("signature_algorithm")),
        ("and besides with", text("alternative_signature_algorithm")),
        ("sibling", sibling),
        ("status", text("status")),
        ("given to", if one["set_aside"] == true { "nobody".to_owned() } else { String::new() }),
        ("revoked", output::time(one, "revoked_at")),
        ("reason", text("revocation_reason")),
        ("group", text("group")),
        ("profile", text("profile")),
        ("upstream", format!("{} / {}", text("upstream"), text("ca"))),
        ("device", text("device")),
        ("transaction", text("transaction")),
        ("authenticated by", text("authenticated_by")),
        ("source", text("source")),
        ("renews", text("renews")),
        ("issued", output::time(one, "issued_at")),
    ])
}
