//! The words of the wire: what is sent, what comes, and what a failure means.
//!
//! Names are those of EJBCA's published description (`openapi.json` of ejbca-ce), typing errors included. What comes is read with
//! tolerance: a property that we do not need may be missing, and octets may be base64 once or twice, or PEM.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::upstream::excerpt::short;
use crate::upstream::http::Answer;
use crate::upstream::remote::CallError;
use crate::x509::crl::RevocationReason;
use crate::x509::name::{Attribute, attribute_name};
use crate::x509::{Certificate, DistinguishedName, pem};

/// `EnrollCertificateRestRequest`
#[derive(Serialize)]
pub(super) struct Enroll<'a> {
    pub certificate_request: &'a str,
    pub certificate_profile_name: &'a str,
    pub end_entity_profile_name: &'a str,
    pub certificate_authority_name: &'a str,
    pub username: &'a str,
    pub password: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account_binding_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<&'a str>,
    pub include_chain: bool,
    pub response_format: &'a str,
}

/// `SearchCertificatesRestRequestV2`
#[derive(Serialize)]
pub(super) struct Search<'a> {
    pub pagination: Pagination,
    pub criteria: Vec<Criterion<'a>>,
}

/// `Pagination`; pages are counted from 1.
#[derive(Serialize)]
pub(super) struct Pagination {
    pub page_size: u32,
    pub current_page: u32,
}

/// `SearchCertificateCriteriaRestRequest`
#[derive(Serialize)]
pub(super) struct Criterion<'a> {
    property: &'a str,
    value: &'a str,
    operation: &'a str,
}

impl<'a> Criterion<'a> {
    pub(super) fn equal(property: &'a str, value: &'a str) -> Self {
        Self { property, value, operation: "EQUAL" }
    }
}

/// `CertificateEnrollmentRestResponse`, `CertificateRestResponse`
#[derive(Deserialize)]
pub(super) struct Issued {
    pub certificate: String,
}

/// What comes with 202 where a revocation has to be approved.
#[derive(Deserialize)]
pub(super) struct Approval {
    pub request_id: i64,
}

/// `SearchCertificatesRestResponseV2`
#[derive(Deserialize)]
pub(super) struct SearchResult {
    /// A success without this list is no answer to a search.
    pub certificates: Vec<FoundCertificate>,
}

/// `CertificateRestResponseV2`
#[derive(Deserialize)]
pub(super) struct FoundCertificate {
    pub base64_cert: Option<String>,
    pub revocation_reason: Option<i64>,
}

impl FoundCertificate {
    /// The reason of what is not revoked is -1.
    pub(super) fn is_revoked(&self) -> bool {
        self.revocation_reason.is_some_and(|reason| reason >= 0)
    }
}

/// `RevokeStatusRestResponse`
#[derive(Deserialize)]
pub(super) struct RevocationStatus {
    pub revoked: bool,
}

/// `CrlRestResponse`
#[derive(Deserialize)]
pub(super) struct LatestCrl {
    pub crl: String,
}

/// `CaInfosRestResponse`
#[derive(Deserialize)]
pub(super) struct Authorities {
    pub certificate_authorities: Vec<Authority>,
}

/// `CaInfoRestResponse`
#[derive(Deserialize)]
pub(super) struct Authority {
    pub name: String,
    pub subject_dn: String,
}

/// `CertificateProfileInfoRestResponseV2`
#[derive(Deserialize)]
pub(super) struct ProfileInfo {
    #[serde(default)]
    pub available_key_algs: Vec<String>,
    /// So spelt in the description.
    #[serde(default, alias = "available_bit_lengths")]
    pub available_bit_lenghts: Vec<u32>,
    #[serde(default)]
    pub available_ecdsa_curves: Vec<String>,
    #[serde(default)]
    pub available_cas: Vec<String>,
}

/// What EJBCA says when it fails; the description does not have it.
#[derive(Deserialize)]
struct Failure {
    error_code: i64,
    #[serde(default)]
    error_message: Option<String>,
}

/// An answer if it is a success; otherwise what the failure says of the request.
///
/// 401 and 403 are about us and not about the order: nothing was issued, and nothing is wrong with the device. 404 without EJBCA's own
/// words means that there is no such interface. Enrollment answers 400 to nearly everything, to a CA that is offline too
/// ([`is_about_ejbca`]).
pub(super) fn judged(answer: Answer) -> Result<Answer, CallError> {
    if answer.status.is_success() {
        return Ok(answer);
    }
    let failure: Option<Failure> = serde_json::from_slice(&answer.body).ok();
    let said = match failure.as_ref().map(|failure| (failure.error_code, failure.error_message.as_deref().unwrap_or_default())) {
        Some((code, "")) => format!("{} (EJBCA error {code})", answer.status),
        Some((_, message)) => format!("{}: {}", answer.status, short(message)),
        None => answer.status_line(),
    };
    match answer.status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(CallError::not_taken(format!("EJBCA does not let us: {said}"))),
        StatusCode::NOT_FOUND if failure.is_none() => Err(CallError::not_taken(format!("there is no such interface: {said}"))),
        // In its own words: a CA or a key that is not there now.
        StatusCode::SERVICE_UNAVAILABLE if failure.is_some() => {
            Err(CallError::NotTaken { reason: said, after: answer.retry_after() })
        }
        _ => answer.success().map_err(|error| match error {
            CallError::NotTaken { after, .. } => CallError::NotTaken { reason: said, after },
            CallError::Refused(_) => CallError::Refused(said),
            CallError::Unclear(_) => CallError::Unclear(said),
        }),
    }
}

/// Whether what is said with a refusal is about the CA and how it is set up, which people mend while devices wait. It is free text, and
/// proves nothing by itself.
pub(super) fn is_about_ejbca(said: &str) -> bool {
    let said = said.to_ascii_lowercase();
    ["offline", "approvals are enabled"].iter().any(|words| said.contains(words))
}

/// Reads what a success says.
pub(super) fn read<T: DeserializeOwned>(answer: &Answer) -> Result<T, CallError> {
    serde_json::from_slice(&answer.body)
        .map_err(|error| CallError::Unclear(format!("the answer ({}) is not what EJBCA's interface has: {error}", answer.status)))
}

/// Octets in base64; some versions encode them twice, and some formats are PEM.
pub(super) fn octets(text: &str) -> Result<Vec<u8>, CallError> {
    let bad = |what: &dyn std::fmt::Display| CallError::Unclear(format!("the answer has no octets in base64: {what}"));
    let mut text = text.to_owned();
    for _ in 0..3 {
        for label in ["CERTIFICATE", "X509 CRL"] {
            if let Some(first) = pem::read(&text, label).map_err(|error| bad(&error))?.into_iter().next() {
                return Ok(first);
            }
        }
        let compact: String = text.split_ascii_whitespace().collect();
        let decoded = STANDARD.decode(compact).map_err(|error| bad(&error))?;
        // A certificate and a CRL are a SEQUENCE, whose tag is the digit 0: base64 of one begins with M.
        text = match String::from_utf8(decoded) {
            Ok(inner) if inner.starts_with(['M', '-']) => inner,
            Ok(inner) => return Ok(inner.into_bytes()),
            Err(octets) => return Ok(octets.into_bytes()),
        };
    }
    Err(bad(&"it is encoded again and again"))
}

/// A certificate in base64.
pub(super) fn certificate(text: &str) -> Result<Arc<Certificate>, CallError> {
    let unclear = |error: &dyn std::fmt::Display| CallError::Unclear(format!("the certificate cannot be read: {error}"));
    Certificate::from_der(&octets(text)?).map(Arc::new).map_err(|error| unclear(&error))
}

/// A reason as it stands in a query.
pub(super) fn reason(reason: RevocationReason) -> &'static str {
    match reason {
        RevocationReason::Unspecified => "UNSPECIFIED",
        RevocationReason::KeyCompromise => "KEY_COMPROMISE",
        RevocationReason::CaCompromise => "CA_COMPROMISE",
        RevocationReason::AffiliationChanged => "AFFILIATION_CHANGED",
        RevocationReason::Superseded => "SUPERSEDED",
        RevocationReason::CessationOfOperation => "CESSATION_OF_OPERATION",
        RevocationReason::CertificateHold => "CERTIFICATE_HOLD",
        RevocationReason::PrivilegeWithdrawn => "PRIVILEGES_WITHDRAWN",
    }
}

/// A name as EJBCA writes it: the common name in front, whatever the order of the encoding.
pub(super) fn dn(name: &DistinguishedName) -> String {
    let is_cn =
        |rdn: Option<&Vec<Attribute>>| rdn.and_then(|rdn| rdn.first()).is_some_and(|first| attribute_name(&first.oid) == "CN");
    let rdns = name.rdns();
    if !is_cn(rdns.first()) && is_cn(rdns.last()) {
        let reversed = DistinguishedName::from_rdns(rdns.iter().rev().cloned().collect());
        return reversed.map_or_else(|_| name.to_string(), |name| name.to_string());
    }
    name.to_string()
}

/// Text as one segment of a path.
pub(super) fn segment(text: &str) -> String {
    const SET: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    utf8_percent_encode(text, SET).to_string()
}
