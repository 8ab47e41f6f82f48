//! What is asked and answered in JSON. `docs/src/upstream-webhook.md` tells it in words, `upstream-webhook.schema.json` beside it as a
//! schema; a test holds both against what is written here.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use der::oid::ObjectIdentifier;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::upstream::excerpt::short;
use crate::upstream::remote::CallError;
use crate::upstream::{IdempotencyKey, IssuanceOrder};
use crate::x509::crl::RevocationReason;
use crate::x509::extension::{extended_key_usage_name, read_subject_alt_names};
use crate::x509::name::{Attribute, attribute_name};
use crate::x509::{Certificate, DistinguishedName, KeyUsage, X509Error, pem};

/// The version of the messages.
pub const VERSION: u32 = 1;

/// A question.
#[derive(Debug, Serialize)]
pub struct Question<'a> {
    version: u32,
    ca: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    selector: Option<&'a str>,
    #[serde(flatten)]
    operation: Operation<'a>,
}

/// What is asked.
#[derive(Debug, Serialize)]
#[serde(tag = "operation", rename_all = "kebab-case")]
pub enum Operation<'a> {
    /// Issue this.
    Submit {
        /// Names the attempt.
        idempotency_key: String,
        /// What is ordered.
        order: Box<Order>,
    },
    /// What became of this order, which may have been submitted earlier?
    Find {
        /// As in the submission.
        idempotency_key: String,
        /// As in the submission.
        order: Box<Order>,
    },
    /// What became of this order, which was waiting?
    Poll {
        /// What the answer `waiting` said.
        reference: &'a str,
        /// As in the submission.
        order: Box<Order>,
    },
    /// Revoke this certificate.
    Revoke {
        /// PEM.
        certificate: String,
        /// Hex, as certificates are listed.
        serial: String,
        /// The issuer's name as text.
        issuer: String,
        /// The name in RFC 5280.
        reason: &'static str,
        /// The number in RFC 5280.
        reason_code: u8,
    },
    /// Which certificates does the CA have?
    Certificates {},
    /// What is its CRL?
    Crl {},
    /// Is everything there that orders will need?
    Check {},
}

/// An order.
#[derive(Debug, Serialize)]
pub struct Order {
    group: String,
    profile: String,
    rule: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    renews: Option<String>,
    signature: &'static str,
    key: String,
    csr: String,
    csr_pem: String,
    subject: Subject,
    subject_alt_names: Vec<AltName>,
    key_usages: Vec<&'static str>,
    extended_key_usages: Vec<Usage>,
    not_before: String,
    not_after: String,
    validity_seconds: u64,
}

#[derive(Debug, Serialize)]
struct Subject {
    text: String,
    der: String,
    rdns: Vec<Vec<NameAttribute>>,
}

#[derive(Debug, Serialize)]
struct NameAttribute {
    #[serde(rename = "type")]
    kind: String,
    oid: String,
    value: String,
}

#[derive(Debug, Serialize)]
struct AltName {
    kind: &'static str,
    value: String,
}

#[derive(Debug, Serialize)]
struct Usage {
    name: String,
    oid: String,
}

impl<'a> Question<'a> {
    /// A question about this CA.
    pub fn new(ca: &'a str, selector: Option<&'a str>, operation: Operation<'a>) -> Self {
        Self { version: VERSION, ca, selector, operation }
    }

    /// As it is sent.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("it has text for keys, and nothing that refuses to be written")
    }
}

impl<'a> Operation<'a> {
    /// Issue this.
    pub fn submit(order: &IssuanceOrder, key: &IdempotencyKey) -> Result<Self, X509Error> {
        Ok(Operation::Submit { idempotency_key: key.to_string(), order: Order::of(order)? })
    }

    /// What became of this order?
    pub fn find(order: &IssuanceOrder, key: &IdempotencyKey) -> Result<Self, X509Error> {
        Ok(Operation::Find { idempotency_key: key.to_string(), order: Order::of(order)? })
    }

    /// What became of this order, which was waiting?
    pub fn poll(order: &IssuanceOrder, reference: &'a str) -> Result<Self, X509Error> {
        Ok(Operation::Poll { reference, order: Order::of(order)? })
    }

    /// Revoke this certificate.
    pub fn revoke(certificate: &Certificate, reason: RevocationReason) -> Self {
        Operation::Revoke {
            certificate: certificate.to_pem(),
            serial: certificate.serial_hex(),
            issuer: certificate.issuer().to_string(),
            reason: reason.name(),
            reason_code: reason.code(),
        }
    }
}

impl Order {
    fn of(order: &IssuanceOrder) -> Result<Box<Self>, X509Error> {
        let subject = DistinguishedName::from_der(&order.subject)?;
        let names = match order.subject_alt_names.as_slice() {
            [] => Vec::new(),
            value => read_subject_alt_names(value)?,
        };
        let attribute = |attribute: &Attribute| NameAttribute {
            kind: attribute_name(&attribute.oid),
            oid: attribute.oid.to_string(),
            value: attribute.value.clone(),
        };
        let usage = |dotted: &String| Usage {
            name: ObjectIdentifier::new(dotted).map_or_else(|_| dotted.clone(), |oid| extended_key_usage_name(&oid)),
            oid: dotted.clone(),
        };
        Ok(Box::new(Order {
            group: order.group.clone(),
            profile: order.profile.clone(),
            rule: order.rule.clone(),
            device: order.device.clone(),
            renews: order.renews.clone(),
            signature: order.signature.name(),
            key: order.key.to_string(),
            csr: STANDARD.encode(&order.csr),
            csr_pem: pem::write("CERTIFICATE REQUEST", &order.csr),
            subject: Subject {
                text: subject.to_string(),
                der: STANDARD.encode(&order.subject),
                rdns: subject.rdns().iter().map(|rdn| rdn.iter().map(attribute).collect()).collect(),
            },
            subject_alt_names: names.iter().map(|name| AltName { kind: name.kind(), value: name.value() }).collect(),
            key_usages: KEY_USAGES.iter().filter(|(bit, _)| order.key_usage.contains(*bit)).map(|(_, name)| *name).collect(),
            extended_key_usages: order.extended_key_usages.iter().map(usage).collect(),
            not_before: seconds(order.not_before),
            not_after: seconds(order.not_after),
            validity_seconds: order.validity().as_secs(),
        }))
    }
}

/// RFC 3339, without fractions: certificates have none.
fn seconds(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// The names of RFC 5280 section 4.2.1.3.
const KEY_USAGES: &[(KeyUsage, &str)] = &[
    (KeyUsage::DIGITAL_SIGNATURE, "digitalSignature"),
    (KeyUsage::NON_REPUDIATION, "nonRepudiation"),
    (KeyUsage::KEY_ENCIPHERMENT, "keyEncipherment"),
    (KeyUsage::DATA_ENCIPHERMENT, "dataEncipherment"),
    (KeyUsage::KEY_AGREEMENT, "keyAgreement"),
    (KeyUsage::KEY_CERT_SIGN, "keyCertSign"),
    (KeyUsage::CRL_SIGN, "cRLSign"),
    (KeyUsage::ENCIPHER_ONLY, "encipherOnly"),
    (KeyUsage::DECIPHER_ONLY, "decipherOnly"),
];

/// An answer. Keys that are not known are passed over, so that a later version can say more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "kebab-case")]
pub enum Answer {
    /// The certificate, and those above it.
    Issued {
        /// PEM, or DER in base64.
        certificate: String,
        /// The same, the issuer first.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        chain: Vec<String>,
    },
    /// It is decided later.
    Waiting {
        /// What to poll by.
        reference: String,
        /// Seconds.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_after: Option<u64>,
    },
    /// Nothing was done, and it may be tried again.
    NotTaken {
        /// For the log.
        reason: String,
        /// Seconds.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_after: Option<u64>,
    },
    /// No, and no again.
    Rejected {
        /// For the log and the operator.
        reason: String,
    },
    /// Nobody knows.
    Unknown {
        /// For the operator.
        reason: String,
    },
    /// There is no order with this idempotency key, and nothing was issued for one: the answer to `find`.
    NotFound,
    /// This operation is not known here.
    Unsupported,
    /// The answer to all other questions.
    Ok {
        /// To `certificates`: each PEM, or DER in base64.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        certificates: Vec<String>,
        /// To `crl`: PEM, or DER in base64.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        crl: Option<String>,
        /// To `check`: what is wrong.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        problems: Vec<String>,
    },
}

impl Answer {
    /// Reads an answer. One that makes no sense leaves it unclear what was done.
    pub fn read(octets: &[u8]) -> Result<Self, CallError> {
        serde_json::from_slice(octets).map_err(|error| CallError::Unclear(format!("the answer is not as it should be: {error}")))
    }

    /// Its status.
    pub const fn name(&self) -> &'static str {
        match self {
            Answer::Issued { .. } => "issued",
            Answer::Waiting { .. } => "waiting",
            Answer::NotTaken { .. } => "not-taken",
            Answer::Rejected { .. } => "rejected",
            Answer::Unknown { .. } => "unknown",
            Answer::NotFound => "not-found",
            Answer::Unsupported => "unsupported",
            Answer::Ok { .. } => "ok",
        }
    }

    /// What it means where only `ok` is good.
    pub fn failure(self) -> CallError {
        match self {
            Answer::NotTaken { reason, retry_after } => {
                CallError::NotTaken { reason: short(&reason), after: retry_after.map(std::time::Duration::from_secs) }
            }
            Answer::Rejected { reason } => CallError::Refused(short(&reason)),
            Answer::Unknown { reason } => CallError::Unclear(short(&reason)),
            Answer::Unsupported => CallError::Refused("the operation is not supported there".to_owned()),
            other => CallError::Unclear(format!("`{}` is no answer to this", other.name())),
        }
    }
}

/// Reads certificates: PEM, of which one text may have several, or DER in base64.
pub fn certificates<'a>(texts: impl IntoIterator<Item = &'a String>) -> Result<Vec<Arc<Certificate>>, CallError> {
    let unclear = |error: X509Error| CallError::Unclear(format!("a certificate in the answer: {error}"));
    let mut certificates = Vec::new();
    for text in texts {
        if text.contains(PEM) {
            certificates.extend(Certificate::chain_from_pem(text).map_err(unclear)?.into_iter().map(Arc::new));
        } else {
            certificates.push(Arc::new(Certificate::from_octets(base64(text)?).map_err(unclear)?));
        }
    }
    Ok(certificates)
}

/// Reads DER: PEM with this label, or base64.
pub fn octets(text: &str, label: &str) -> Result<Vec<u8>, CallError> {
    if !text.contains(PEM) {
        return base64(text);
    }
    let blocks = pem::read(text, label).map_err(|error| CallError::Unclear(error.to_string()))?;
    blocks.into_iter().next().ok_or_else(|| CallError::Unclear(format!("the answer has no {label} in its PEM")))
}

fn base64(text: &str) -> Result<Vec<u8>, CallError> {
    let compact: String = text.split_ascii_whitespace().collect();
    STANDARD.decode(compact).map_err(|error| CallError::Unclear(format!("the answer has bad base64: {error}")))
}

const PEM: &str = "-----BEGIN ";
