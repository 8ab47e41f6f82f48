//! Enrollment over Secure Transport (RFC 7030, RFC 8951, RFC 9908), as an RA: `cacerts`, `simpleenroll`, `csrattrs`.
//!
//! The device's request goes to the server as it is. A server that lets it wait (202) is sent the same request again, which is all
//! that EST has for that (RFC 7030 section 4.2.3). There is no other name for a request, no search and no revocation: after a lost
//! answer nobody can tell whether a certificate was issued, unless the server is known to answer the same request with the same
//! certificate ([`EstSettings::repeats`]).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, StatusCode};
use zeroize::Zeroizing;

use super::http::{Answer, Http, basic};
use super::remote::{Abilities, CallError, Connector, RemoteCa, RemoteError};
use super::secret::SecretSource;
use super::{IdempotencyKey, IssuanceOrder, Submission};
use crate::x509::crl::RevocationReason;
use crate::x509::{Certificate, VerifiedCsr};

mod bodies;
mod csr_attributes;
#[cfg(test)]
mod tests;

use csr_attributes::CsrAttributes;

/// What an EST server is configured with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EstSettings {
    /// The user name for HTTP Basic.
    pub username: Option<String>,
    /// Its password.
    pub password: Option<SecretSource>,
    /// What the server does with a request that it has answered already.
    pub repeats: Repeats,
    /// How long an order waits at most before it is asked after again, whatever the server says.
    pub longest_wait: Duration,
    /// The label of each CA; none is the server's default.
    pub labels: BTreeMap<String, Option<String>>,
}

/// What a server does with a request that it has answered already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Repeats {
    /// It may issue another certificate.
    #[default]
    NewCertificate,
    /// It gives the same certificate again.
    SameCertificate,
}

crate::algorithm::named!(Repeats, "way to treat repeated requests", {
    NewCertificate => "new-certificate",
    SameCertificate => "same-certificate",
});

/// An EST server.
pub struct Est {
    http: Http,
    /// Up to and with `/.well-known/est`.
    base: String,
    authorization: Option<HeaderValue>,
    repeats: Repeats,
    longest_wait: Duration,
    labels: BTreeMap<String, Option<String>>,
    /// What there was to remark when the server was checked last, by CA.
    remarks: Mutex<BTreeMap<String, Vec<String>>>,
}

const WELL_KNOWN: &str = "/.well-known/est";

/// How long a device waits where the server does not say.
const RETRY_AFTER: Duration = Duration::from_secs(60);

/// What a waiting order is called: EST has no name for it.
const REFERENCE: &str = "simpleenroll";

const NOT_AN_RA: &str = "the server does not accept us as an RA: look at the credentials";

/// Servers take a challengePassword for what ties the request to the TLS connection (RFC 7030 section 3.5), unless an RA is at its other end.
const NOT_AN_RA_OR_CHALLENGE: &str = "the server does not accept us as an RA: look at the credentials; the request has a challenge, which many \
     servers let pass only from a client certificate with the extended key usage id-kp-cmcRA";

impl Est {
    /// Reads the password.
    pub fn open(settings: &EstSettings, http: Http) -> Result<Self, RemoteError> {
        let authorization = match (&settings.username, &settings.password) {
            (Some(name), Some(password)) => {
                let pair = Zeroizing::new(format!("{name}:{}", password.read()?.as_str()));
                Some(basic(&pair))
            }
            _ => None,
        };
        let base = format!("{}{WELL_KNOWN}", http.url().trim_end_matches(WELL_KNOWN));
        let (repeats, longest_wait, labels) = (settings.repeats, settings.longest_wait, settings.labels.clone());
        Ok(Self { http, base, authorization, repeats, longest_wait, labels, remarks: Mutex::default() })
    }

    fn url(&self, ca: &RemoteCa, operation: &str) -> String {
        match self.labels.get(ca.name()).and_then(Option::as_deref) {
            Some(label) => format!("{}/{label}/{operation}", self.base),
            None => format!("{}/{operation}", self.base),
        }
    }

    async fn send(&self, method: Method, url: &str, accept: &'static str, body: Option<Bytes>) -> Result<Answer, CallError> {
        let mut request = Request::builder().method(method).uri(url).header(ACCEPT, accept);
        if body.is_some() {
            // The second field is for servers from before RFC 8951.
            request = request.header(CONTENT_TYPE, "application/pkcs10").header("content-transfer-encoding", "base64");
        }
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let request = request.body(body.unwrap_or_default());
        self.http.send(request.map_err(|error| CallError::not_taken(format!("{url}: {error}")))?).await
    }

    /// What the server said to `simpleenroll`, if it is a certificate or a wait. What is wrong on our side is no device's fault: the order
    /// stays, and is sent again when somebody has mended it.
    async fn enroll(&self, ca: &RemoteCa, order: &IssuanceOrder) -> Result<Submission, CallError> {
        let url = self.url(ca, "simpleenroll");
        let body = Bytes::from(bodies::base64_lines(&order.csr));
        let answer = self.send(Method::POST, &url, "application/pkcs7-mime", Some(body)).await?;
        match answer.status {
            StatusCode::ACCEPTED => {
                let wait = answer.retry_after().unwrap_or(RETRY_AFTER).clamp(Duration::from_secs(1), self.longest_wait);
                Ok(Submission::Waiting { reference: REFERENCE.into(), retry_after: wait })
            }
            StatusCode::OK => issued(order, &bodies::certificates(&answer)?),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                let has_challenge = VerifiedCsr::from_der(&order.csr).is_ok_and(|csr| csr.challenge_password().is_some());
                Err(self.ours(&url, &answer, if has_challenge { NOT_AN_RA_OR_CHALLENGE } else { NOT_AN_RA }))
            }
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED => {
                Err(self.ours(&url, &answer, "there is no enrollment at this address: look at `url` and `label`"))
            }
            StatusCode::NO_CONTENT => Err(CallError::Unclear(format!("an answer without a certificate: {}", answer.status))),
            _ => match answer.success() {
                Ok(other) => Err(CallError::Unclear(format!("an answer that EST does not know: {}", other.status_line()))),
                Err(error) => Err(error),
            },
        }
    }

    /// A failure that is on our side, said loudly.
    fn ours(&self, url: &str, answer: &Answer, what: &str) -> CallError {
        let reason = format!("{what} ({url}: {})", answer.status_line());
        tracing::error!("No device gets a certificate there: {reason}.");
        CallError::NotTaken { reason, after: answer.retry_after() }
    }

    /// What the server wants of requests; `None` if it does not say.
    async fn csr_attributes(&self, ca: &RemoteCa) -> Result<Option<CsrAttributes>, CallError> {
        let answer = self.send(Method::GET, &self.url(ca, "csrattrs"), "application/csrattrs", None).await?;
        // RFC 7030 section 4.5.2: 204 and 404 say that there are none.
        let none = [StatusCode::NO_CONTENT, StatusCode::NOT_FOUND, StatusCode::NOT_IMPLEMENTED];
        if none.contains(&answer.status) {
            return Ok(None);
        }
        let answer = answer.success()?;
        if answer.body.is_empty() {
            return Ok(None);
        }
        let unclear = |error: &dyn std::fmt::Display| CallError::Unclear(format!("what csrattrs gave cannot be read: {error}"));
        let der = bodies::der(&answer.body).map_err(|error| unclear(&error))?;
        CsrAttributes::read(&der).map(Some).map_err(|error| unclear(&error))
    }

    /// What a server wants of requests, as remarks: it may take others, and who does not ask does not know.
    async fn demands(&self, ca: &RemoteCa) -> Vec<String> {
        match self.csr_attributes(ca).await {
            Ok(attributes) => attributes.unwrap_or_default().demands(),
            Err(error) => vec![error.to_string()],
        }
    }

    fn remarked(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Vec<String>>> {
        self.remarks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The certificate for the key of the request, and those above it; or the only one that is of no CA, which is looked at further on.
fn issued(order: &IssuanceOrder, told: &[Arc<Certificate>]) -> Result<Submission, CallError> {
    let mut leaves = told.iter().filter(|one| !one.is_ca());
    let ours = told.iter().find(|one| one.spki() == order.spki);
    let only = || leaves.next().filter(|_| leaves.next().is_none());
    let Some(certificate) = ours.or_else(only) else {
        return Err(CallError::Unclear("the answer has no certificate for the key of the request".to_owned()));
    };
    // Most servers give the certificate alone: what is above it is known then.
    let mut chain: Vec<Arc<Certificate>> = Vec::new();
    while chain.len() < told.len() {
        let last = chain.last().unwrap_or(certificate);
        let is_above = |one: &&Arc<Certificate>| {
            one.der() != last.der() && last.issuer().matches(one.subject()) && last.verify_signed_by(one.spki()).is_ok()
        };
        match told.iter().find(is_above) {
            Some(above) => chain.push(Arc::clone(above)),
            None => break,
        }
    }
    Ok(Submission::Issued { certificate: Arc::clone(certificate), chain })
}

#[async_trait]
impl Connector for Est {
    fn abilities(&self, _ca: &RemoteCa) -> Abilities {
        Abilities {
            can_wait: true,
            can_find_again: self.repeats == Repeats::SameCertificate,
            poll_may_issue: self.repeats == Repeats::NewCertificate,
            sees_challenge: true,
            ..Abilities::default()
        }
    }

    async fn submit(&self, ca: &RemoteCa, order: &IssuanceOrder, _key: &IdempotencyKey) -> Submission {
        self.enroll(ca, order).await.unwrap_or_else(CallError::submission)
    }

    async fn poll(&self, ca: &RemoteCa, order: &IssuanceOrder, _reference: &str) -> Submission {
        match (self.enroll(ca, order).await, self.repeats) {
            (Ok(submission), _) => submission,
            // The same request once more may be answered with a second certificate: the first one may have been in the lost answer.
            (Err(CallError::Unclear(reason)), Repeats::NewCertificate) => Submission::Unknown { reason },
            (Err(error), _) => error.poll(),
        }
    }

    async fn certificates(&self, ca: &RemoteCa) -> Result<Vec<Arc<Certificate>>, CallError> {
        let url = self.url(ca, "cacerts");
        let answer = self.send(Method::GET, &url, "application/pkcs7-mime", None).await?;
        bodies::certificates(&answer.success().map_err(|error| at(&url, error))?)
    }

    async fn check(&self, ca: &RemoteCa) -> Result<Vec<String>, CallError> {
        let remarks = self.demands(ca).await.into_iter().map(|demand| format!("csrattrs: {demand}")).collect();
        self.remarked().insert(ca.name().to_owned(), remarks);
        let mut findings = Vec::new();
        // What is no request at all shows whether we are let in: it is looked at last.
        let url = self.url(ca, "simpleenroll");
        let empty = Bytes::from(bodies::base64_lines(&[0x30, 0x00]));
        let answer = self.send(Method::POST, &url, "application/pkcs7-mime", Some(empty)).await?;
        match answer.status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                findings.push(format!("{url}: the server does not accept us as an RA: {}", answer.status_line()));
            }
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED => {
                findings.push(format!("{url}: there is no enrollment at this address: {}", answer.status_line()));
            }
            status if status.is_success() => {
                findings.push(format!("{url}: what is no request at all was answered with {}", answer.status_line()));
            }
            _ => {}
        }
        Ok(findings)
    }

    fn remarks(&self, ca: &RemoteCa) -> Vec<String> {
        self.remarked().get(ca.name()).cloned().unwrap_or_default()
    }

    async fn revoke(&self, _ca: &RemoteCa, _certificate: &Certificate, _reason: RevocationReason) -> Result<(), CallError> {
        Err(CallError::Refused("EST has no revocation".to_owned()))
    }
}

/// Says where something failed.
fn at(url: &str, error: CallError) -> CallError {
    match error {
        CallError::NotTaken { reason, after } => CallError::NotTaken { reason: format!("{url}: {reason}"), after },
        CallError::Unclear(reason) => CallError::Unclear(format!("{url}: {reason}")),
        CallError::Refused(reason) => CallError::Refused(format!("{url}: {reason}")),
    }
}
