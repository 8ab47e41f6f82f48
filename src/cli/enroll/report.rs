//! What `ravelin enroll` says at the end: to people, or as JSON.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::super::{Exit, Failed, output};
use crate::scep::client::{Failure, Issued, Outcome, Transaction, key_transport_name};
use crate::x509::Certificate;

/// An enrollment that came to some answer.
pub(super) struct Report {
    pub(super) url: String,
    pub(super) key: PathBuf,
    pub(super) made_key: bool,
    pub(super) out: PathBuf,
    pub(super) chain_out: Option<PathBuf>,
    pub(super) state: Option<PathBuf>,
    pub(super) transaction: Transaction,
    pub(super) outcome: Outcome,
}

impl Report {
    /// How the program ends.
    pub(super) fn exit(&self) -> Exit {
        match self.outcome {
            Outcome::Issued(_) => Exit::Ok,
            Outcome::Failed(_) => Exit::Failure,
            Outcome::Pending => Exit::Pending,
        }
    }

    /// The outcome in one sentence.
    pub(super) fn sentence(&self) -> String {
        match &self.outcome {
            Outcome::Issued(issued) => format!("{} was issued", issued.certificate.subject()),
            Outcome::Pending => "the request is still pending".to_owned(),
            Outcome::Failed(failure) => format!("the server refused: {}", reason(failure)),
        }
    }

    /// Writes what was issued to its files. If that fails, the error brings the certificate along: it may not come twice.
    pub(super) fn write_certificates(&self) -> Result<(), Failed> {
        let Outcome::Issued(issued) = &self.outcome else { return Ok(()) };
        let pem = issued.certificate.to_pem();
        fs::write(&self.out, &pem)
            .map_err(|error| Failed::new(format!("{}: {error}; the certificate is:\n{pem}", self.out.display())))?;
        if let Some(path) = &self.chain_out {
            let chain: String = issued.chain.iter().map(Certificate::to_pem).collect();
            fs::write(path, chain).map_err(|error| Failed::new(format!("{}: {error}", path.display())))?;
        }
        Ok(())
    }

    /// Prints it.
    pub(super) fn print(&self, as_json: bool) {
        if as_json {
            output::json(&self.to_json());
        } else {
            output::print(&self.to_text());
        }
    }

    fn to_text(&self) -> String {
        let transaction = &self.transaction;
        let key = transaction.csr().key();
        let sent = format!(
            "{} signed with {}, in {}, to {}",
            transaction.message_type().name(),
            transaction.digest(),
            transaction.cipher(),
            transaction.authority().encryption().subject()
        );
        let mut lines = vec![
            ("server", self.url.clone()),
            ("sent", sent),
            ("transaction", transaction.id().to_owned()),
            ("key", format!("{key} in {}{}", self.key.display(), if self.made_key { ", new" } else { "" })),
        ];
        match &self.outcome {
            Outcome::Issued(issued) => lines.extend(issued_lines(issued, &self.out, self.chain_out.as_ref())),
            Outcome::Pending => {
                lines.push(("answer", "PENDING: somebody has to decide first".to_owned()));
                lines.push((
                    "go on with",
                    self.state.as_ref().map_or_else(
                        || "the same key, later; --state FILE would have remembered the request".to_owned(),
                        |state| format!("the same command, later; the request is remembered in {}", state.display()),
                    ),
                ));
            }
            Outcome::Failed(failure) => lines.push(("answer", format!("FAILURE: {}", reason(failure)))),
        }
        output::fields(&lines)
    }

    fn to_json(&self) -> Value {
        let transaction = &self.transaction;
        let mut value = json!({
            "url": self.url,
            "transaction_id": transaction.id(),
            "message_type": transaction.message_type().name(),
            "digest": transaction.digest(),
            "cipher": transaction.cipher(),
            "encrypted_to": transaction.authority().encryption().subject().to_string(),
            "key": { "type": transaction.csr().key().to_string(), "file": self.key, "made": self.made_key },
        });
        let (status, field, details) = match &self.outcome {
            Outcome::Issued(issued) => ("issued", "certificate", self.certificate_json(issued)),
            Outcome::Pending => ("pending", "state", json!(self.state)),
            Outcome::Failed(failure) => {
                let name = failure.fail_info.map(|info| info.name());
                ("refused", "fail_info", json!({ "name": name, "number": failure.number, "text": failure.text }))
            }
        };
        value["status"] = status.into();
        value[field] = details;
        if let Outcome::Issued(issued) = &self.outcome {
            let protection = &issued.protection;
            value["reply"] = json!({
                "signed_by": protection.signer.subject().to_string(),
                "digest": protection.digest,
                "cipher": protection.cipher,
                "key_transport": match (protection.transport, protection.kem) {
                    (Some(transport), _) => key_transport_name(transport),
                    (None, Some(kem)) => kem.name().to_owned(),
                    (None, None) => "password".to_owned(),
                },
            });
        }
        value
    }

    fn certificate_json(&self, issued: &Issued) -> Value {
        let certificate = &issued.certificate;
        json!({
            "subject": certificate.subject().to_string(),
            "issuer": certificate.issuer().to_string(),
            "serial": certificate.serial_hex(),
            "not_before": certificate.not_before().to_string(),
            "not_after": certificate.not_after().to_string(),
            "fingerprint": hex::encode(certificate.fingerprint()),
            "signature_algorithm": certificate.signature_algorithm().map(|algorithm| algorithm.name()),
            "file": self.out,
            "chain": issued.chain.iter().map(|ca| ca.subject().to_string()).collect::<Vec<_>>(),
            "chain_file": self.chain_out,
        })
    }
}

fn issued_lines(issued: &Issued, out: &std::path::Path, chain_out: Option<&PathBuf>) -> Vec<(&'static str, String)> {
    let (certificate, protection) = (&issued.certificate, &issued.protection);
    let how = match (protection.cipher, protection.transport) {
        (Some(cipher), Some(_)) => format!(", in {cipher}"),
        (Some(cipher), None) => match protection.kem {
            Some(kem) => format!(", in {cipher} by {kem}"),
            None => format!(", in {cipher} under the challenge"),
        },
        (None, _) => String::new(),
    };
    let digest = protection.digest.map(|digest| format!(" with {digest}")).unwrap_or_default();
    let chain: Vec<String> = issued.chain.iter().map(|ca| ca.subject().to_string()).collect();
    let seconds = |at: jiff::Timestamp| at.strftime("%Y-%m-%d %H:%M:%SZ").to_string();
    vec![
        ("answer", format!("SUCCESS, signed{digest} by {}{how}", protection.signer.subject())),
        ("subject", certificate.subject().to_string()),
        ("issuer", certificate.issuer().to_string()),
        ("serial", certificate.serial_hex()),
        ("valid", format!("{} to {}", seconds(certificate.not_before()), seconds(certificate.not_after()))),
        ("signed with", certificate.signature_algorithm().map_or("an unknown algorithm", |known| known.name()).to_owned()),
        ("chain", if chain.is_empty() { "no issuer came along".to_owned() } else { chain.join("\n") }),
        ("certificate", out.display().to_string()),
        ("chain in", chain_out.map(|path| path.display().to_string()).unwrap_or_default()),
    ]
}

/// `badRequest (text)`.
fn reason(failure: &Failure) -> String {
    let name = match (failure.fail_info, failure.number) {
        (Some(info), _) => info.name().to_owned(),
        (None, Some(number)) => format!("failInfo {number}"),
        (None, None) => "no reason given".to_owned(),
    };
    match &failure.text {
        Some(text) => {
            // It comes from the network, and goes to a terminal.
            let text: String = text.chars().filter(|c| !c.is_control()).collect();
            format!("{name} ({text})")
        }
        None => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scep::FailInfo;

    #[test]
    fn reasons_are_told_without_control_characters() {
        let failure = |fail_info, number, text: Option<&str>| Failure { fail_info, number, text: text.map(str::to_owned) };
        assert_eq!(reason(&failure(Some(FailInfo::BadAlg), Some(0), None)), "badAlg");
        assert_eq!(reason(&failure(None, Some(9), Some("a\x1b[2Jb"))), "failInfo 9 (a[2Jb)");
        assert_eq!(reason(&failure(None, None, None)), "no reason given");
    }
}
