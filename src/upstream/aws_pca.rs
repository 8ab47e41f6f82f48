//! AWS Private CA: its JSON API, signed with Signature Version 4.
//!
//! `IssueCertificate` takes an order with an idempotency token and gives the name (ARN) of a certificate to come, which is what is asked
//! after then. The token holds for five minutes: within them, an order whose answer was lost is sent again and is the same order. Later
//! nobody can tell.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::http::Http;
use super::remote::{Abilities, CallError, Connector, RemoteCa, RemoteError};
use super::{IdempotencyKey, IssuanceOrder, Submission};
use crate::algorithm::SignatureAlgorithm;
use crate::x509::crl::RevocationReason;
use crate::x509::{Certificate, pem};

mod client;
mod credentials;
mod passthrough;
mod sigv4;

pub use credentials::CredentialSource;

use client::{Client, Failure};

/// What AWS Private CA is configured with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AwsPcaSettings {
    /// The region.
    pub region: String,
    /// Where credentials come from.
    pub credentials: CredentialSource,
    /// The CAs.
    pub cas: BTreeMap<String, AwsCa>,
}

/// One CA.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AwsCa {
    /// Its ARN.
    pub arn: String,
    /// The ARN of the template.
    pub template: Option<String>,
}

impl AwsCa {
    /// Whether the template takes names from the request to the API.
    fn passes_names(&self) -> bool {
        self.template.as_deref().is_some_and(|arn| arn.contains("_APIPassthrough") || arn.contains("_APICSRPassthrough"))
    }

    /// Whether it takes usages from there. What a template says itself counts more, so it has to be one that says nothing.
    fn passes_usages(&self) -> bool {
        self.passes_names() && self.template.as_deref().is_some_and(|arn| arn.contains("/Blank"))
    }

    /// Whether it copies the usages of the CSR when it is given none there.
    fn copies_usages(&self) -> bool {
        self.passes_usages() && self.template.as_deref().is_some_and(|arn| arn.contains("_APICSRPassthrough"))
    }
}

/// AWS Private CA.
pub struct AwsPca {
    client: Client,
    cas: BTreeMap<String, AwsCa>,
}

/// How long a token is relied on: less than the five minutes for which it holds, by what clocks may be off.
const TOKEN: Duration = Duration::from_secs(240);

/// When to ask for a certificate that was ordered just now.
const SOON: Duration = Duration::from_millis(500);

/// When to ask again.
const PAUSE: Duration = Duration::from_secs(2);

impl AwsPca {
    /// Reads credentials out of files. Blocks.
    pub fn open(settings: &AwsPcaSettings, http: Http) -> Result<Self, RemoteError> {
        Ok(Self { client: Client::open(settings, http)?, cas: settings.cas.clone() })
    }

    fn ca(&self, ca: &RemoteCa) -> Result<&AwsCa, CallError> {
        self.cas.get(ca.name()).ok_or_else(|| CallError::Refused(format!("{} has no ARN", ca.name())))
    }

    async fn issue(&self, ca: &RemoteCa, order: &IssuanceOrder, key: &IdempotencyKey) -> Result<Submission, CallError> {
        let settings = self.ca(ca)?;
        let signing = signing_algorithm(order.signature)
            .ok_or_else(|| CallError::Refused(format!("AWS Private CA does not sign with {}", order.signature)))?;
        let absolute = |at: Timestamp| json!({ "Type": "ABSOLUTE", "Value": at.as_second() });
        let mut wanted = json!({
            "CertificateAuthorityArn": settings.arn,
            "Csr": STANDARD.encode(pem::write("CERTIFICATE REQUEST", &order.csr)),
            "SigningAlgorithm": signing,
            "Validity": absolute(order.not_after),
            "ValidityNotBefore": absolute(order.not_before),
            "IdempotencyToken": key.to_string(),
        });
        if let Some(template) = &settings.template {
            wanted["TemplateArn"] = template.as_str().into();
        }
        if settings.passes_names() {
            wanted["ApiPassthrough"] = passthrough::of(order, settings.passes_usages()).map_err(CallError::Refused)?;
            // What the API is not given is taken from the request.
            passthrough::nothing_left_out(order, settings.copies_usages()).map_err(CallError::Refused)?;
        }
        let answer = self.client.call("IssueCertificate", &wanted).await.map_err(Failure::into_call_error)?;
        let arn = answer["CertificateArn"].as_str();
        let arn = arn.ok_or_else(|| CallError::Unclear("the answer names no certificate".to_owned()))?;
        Ok(Submission::Waiting { reference: arn.to_owned(), retry_after: SOON })
    }

    async fn fetch_certificate(&self, ca: &RemoteCa, order: &IssuanceOrder, arn: &str) -> Result<Submission, CallError> {
        let wanted = json!({ "CertificateAuthorityArn": self.ca(ca)?.arn, "CertificateArn": arn });
        let answer = match self.client.call("GetCertificate", &wanted).await {
            Ok(answer) => answer,
            Err(failure) if failure.is("RequestInProgressException") => {
                return Ok(Submission::Waiting { reference: arn.to_owned(), retry_after: PAUSE });
            }
            // Whatever else is said is said of the question. The order was taken, and the certificate may be there.
            Err(failure) => return Err(failure.into_call_error()),
        };
        let certificates = certificates(&answer)?;
        let certificate = certificates.iter().find(|certificate| certificate.spki() == order.spki).cloned();
        let certificate =
            certificate.ok_or_else(|| CallError::Unclear("it is no certificate for the key of the request".into()))?;
        let chain = certificates.into_iter().filter(|one| one.der() != certificate.der()).collect();
        Ok(Submission::Issued { certificate, chain })
    }
}

#[async_trait]
impl Connector for AwsPca {
    fn abilities(&self, ca: &RemoteCa) -> Abilities {
        let settings = self.cas.get(ca.name());
        let passes_names = settings.is_some_and(AwsCa::passes_names);
        Abilities {
            overrides_subject: passes_names,
            overrides_subject_alt_names: passes_names,
            overrides_usages: settings.is_some_and(AwsCa::passes_usages),
            overrides_validity: true,
            can_wait: true,
            can_revoke: true,
            can_find_again: true,
            sees_challenge: true,
            ..Abilities::default()
        }
    }

    async fn submit(&self, ca: &RemoteCa, order: &IssuanceOrder, key: &IdempotencyKey) -> Submission {
        self.issue(ca, order, key).await.unwrap_or_else(CallError::submission)
    }

    async fn poll(&self, ca: &RemoteCa, order: &IssuanceOrder, reference: &str) -> Submission {
        self.fetch_certificate(ca, order, reference).await.unwrap_or_else(|error| error.poll_again(reference))
    }

    async fn find(&self, ca: &RemoteCa, order: &IssuanceOrder, key: &IdempotencyKey) -> Submission {
        let age = made_at(key).and_then(|made| Duration::try_from(Timestamp::now().duration_since(made)).ok());
        if age.is_none_or(|age| age > TOKEN) {
            return Submission::Lost {
                reason: format!(
                    "AWS Private CA knows an order again for five minutes only, and those are over for the token {key}: an audit report \
                     of the CA tells whether it issued"
                ),
            };
        }
        match self.issue(ca, order, key).await {
            Ok(submission) => submission,
            // The first one may have been taken, whatever is said of this one.
            Err(error) => Submission::Unknown { reason: error.to_string() },
        }
    }

    async fn certificates(&self, ca: &RemoteCa) -> Result<Vec<Arc<Certificate>>, CallError> {
        let wanted = json!({ "CertificateAuthorityArn": self.ca(ca)?.arn });
        let answer = self.client.call("GetCertificateAuthorityCertificate", &wanted).await.map_err(Failure::into_call_error)?;
        certificates(&answer)
    }

    async fn check(&self, ca: &RemoteCa) -> Result<Vec<String>, CallError> {
        let wanted = json!({ "CertificateAuthorityArn": self.ca(ca)?.arn });
        let answer = self.client.call("DescribeCertificateAuthority", &wanted).await.map_err(Failure::into_call_error)?;
        Ok(match answer["CertificateAuthority"]["Status"].as_str() {
            Some("ACTIVE") => Vec::new(),
            status => vec![format!("the CA is {}", status.unwrap_or("in a state that is not told"))],
        })
    }

    async fn revoke(&self, ca: &RemoteCa, certificate: &Certificate, reason: RevocationReason) -> Result<(), CallError> {
        let reason = revocation_reason(reason)
            .ok_or_else(|| CallError::Refused(format!("AWS Private CA does not know the reason {reason}")))?;
        let wanted = json!({
            "CertificateAuthorityArn": self.ca(ca)?.arn,
            "CertificateSerial": serial(certificate),
            "RevocationReason": reason,
        });
        match self.client.call("RevokeCertificate", &wanted).await {
            Ok(_) => Ok(()),
            Err(failure) if failure.is("RequestAlreadyProcessedException") => Ok(()),
            Err(failure) => Err(failure.into_call_error()),
        }
    }
}

/// The certificates of an answer: `Certificate`, and those above it.
fn certificates(answer: &Value) -> Result<Vec<Arc<Certificate>>, CallError> {
    let mut all = Vec::new();
    for field in ["Certificate", "CertificateChain"] {
        let text = answer[field].as_str().unwrap_or_default();
        let read = Certificate::chain_from_pem(text).map_err(|error| CallError::Unclear(format!("{field}: {error}")))?;
        all.extend(read.into_iter().map(Arc::new));
    }
    Ok(all)
}

/// What the API calls a signature; the CA's key has to be of that family.
fn signing_algorithm(signature: SignatureAlgorithm) -> Option<&'static str> {
    Some(match signature {
        SignatureAlgorithm::RsaSha256 => "SHA256WITHRSA",
        SignatureAlgorithm::RsaSha384 => "SHA384WITHRSA",
        SignatureAlgorithm::RsaSha512 => "SHA512WITHRSA",
        SignatureAlgorithm::EcdsaSha256 => "SHA256WITHECDSA",
        SignatureAlgorithm::EcdsaSha384 => "SHA384WITHECDSA",
        SignatureAlgorithm::EcdsaSha512 => "SHA512WITHECDSA",
        SignatureAlgorithm::MlDsa44 => "ML_DSA_44",
        SignatureAlgorithm::MlDsa65 => "ML_DSA_65",
        SignatureAlgorithm::MlDsa87 => "ML_DSA_87",
        _ => return None,
    })
}

/// A serial number as AWS writes them, which is how it says to send them: `67:07:44…`.
fn serial(certificate: &Certificate) -> String {
    let digits = certificate.serial_hex();
    digits.as_bytes().chunks(2).map(String::from_utf8_lossy).collect::<Vec<_>>().join(":")
}

fn revocation_reason(reason: RevocationReason) -> Option<&'static str> {
    Some(match reason {
        RevocationReason::Unspecified => "UNSPECIFIED",
        RevocationReason::KeyCompromise => "KEY_COMPROMISE",
        RevocationReason::CaCompromise => "CERTIFICATE_AUTHORITY_COMPROMISE",
        RevocationReason::AffiliationChanged => "AFFILIATION_CHANGED",
        RevocationReason::Superseded => "SUPERSEDED",
        RevocationReason::CessationOfOperation => "CESSATION_OF_OPERATION",
        RevocationReason::PrivilegeWithdrawn => "PRIVILEGE_WITHDRAWN",
        RevocationReason::CertificateHold => return None,
    })
}

/// When an attempt was made: its key is a UUID of version 7 (RFC 9562 section 5.7), which says so. It was submitted at that moment or
/// later, so that a token is never thought younger than it is. A key of another make says nothing.
fn made_at(key: &IdempotencyKey) -> Option<Timestamp> {
    let is_version_7 = key.0[6] >> 4 == 7 && key.0[8] >> 6 == 0b10;
    let milliseconds = key.0[..6].iter().fold(0_i64, |all, octet| all << 8 | i64::from(*octet));
    is_version_7.then(|| Timestamp::from_millisecond(milliseconds).ok()).flatten()
}

#[cfg(test)]
mod tests;
