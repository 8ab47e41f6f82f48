//! step-ca (smallstep certificates): `sign` and `revoke` with one-time tokens of a JWK or an x5c provisioner.
//!
//! A token names the order in its `jti`. step-ca writes that down before it checks the token's times and signature, and refuses it the next
//! time: what was sent may be sent again, and is issued at most once. That is how the outcome of a submission is found out, as far as it
//! can be: step-ca gives nobody a certificate for asking.
//!
//! So a token that is refused at the first time (by a clock that is wrong) is used up, though nothing was issued by it. The order then goes
//! on with a second token. As it must not be forgotten which one was sent, that order is one that waits: the name of its token is its
//! reference, and is kept before the token is sent.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Request, StatusCode};
use serde_json::{Value, json};

use super::http::{Answer, Http};
use super::remote::{Abilities, CallError, Connector, RemoteCa, RemoteError};
use super::{IdempotencyKey, IssuanceOrder, Submission};
use crate::algorithm::{KeyAlgorithm, KeyRule};
use crate::crypto::provider;
use crate::x509::crl::RevocationReason;
use crate::x509::{Certificate, DistinguishedName, SubjectAltName, extension, pem};

mod check;
mod provisioner;
mod wire;

pub use provisioner::ProvisionerSettings;

use provisioner::{Provisioner, TokenRequest};

/// What step-ca is configured with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepCaSettings {
    /// How the CA calls itself, where that is not the address at which it is reached: `https://ca.example.net`, one of its `dnsNames`.
    pub authority: Option<String>,
    /// Whether it keeps used tokens in a database that outlives it, and that all its instances share.
    pub keeps_tokens: bool,
    /// The provisioner of each CA.
    pub provisioners: BTreeMap<String, ProvisionerSettings>,
}

/// A step-ca.
pub struct StepCa {
    http: Http,
    authority: String,
    keeps_tokens: bool,
    provisioners: BTreeMap<String, Provisioner>,
}

/// When an order is tried again that step-ca did not take because of our token.
const RETRY_AFTER: Duration = Duration::from_secs(60);

/// When an order goes on whose first token was used up for nothing.
const SOON: Duration = Duration::from_secs(1);

/// What became of a token.
enum Signed {
    /// It was taken, and this was issued, with these above it.
    Issued(Arc<Certificate>, Vec<Arc<Certificate>>),
    /// It was taken, and the request was refused.
    Refused(String),
    /// It was not taken: not good, or used before. step-ca says no more than that (HTTP 401).
    NotTrusted(String),
}

impl StepCa {
    /// Reads keys and certificates. Blocks.
    pub fn open(settings: &StepCaSettings, http: Http, passphrase: &str) -> Result<Self, RemoteError> {
        let mut provisioners = BTreeMap::new();
        for (ca, provisioner) in &settings.provisioners {
            provisioners.insert(ca.clone(), Provisioner::open(provisioner, passphrase)?);
        }
        let authority = settings.authority.as_deref().unwrap_or(http.url()).trim_end_matches('/').to_owned();
        Ok(Self { http, authority, keeps_tokens: settings.keeps_tokens, provisioners })
    }

    fn provisioner(&self, ca: &RemoteCa) -> Result<&Provisioner, CallError> {
        let unknown = || CallError::Refused(format!("no provisioner is configured for {:?}", ca.name()));
        self.provisioners.get(ca.name()).ok_or_else(unknown)
    }

    async fn post(&self, path: &str, body: &Value) -> Result<Answer, CallError> {
        let request = Request::post(format!("{}{path}", self.http.url()))
            .header(CONTENT_TYPE, "application/json")
            .body(Bytes::from(body.to_string()))
            .map_err(|error| CallError::Refused(error.to_string()))?;
        self.http.send(request).await
    }

    async fn get(&self, path: &str) -> Result<Answer, CallError> {
        let request = Request::get(format!("{}{path}", self.http.url()))
            .body(Bytes::new())
            .map_err(|error| CallError::Refused(error.to_string()))?;
        self.http.send(request).await
    }

    /// Sends an order with a token of this name.
    async fn sign(&self, provisioner: &Provisioner, order: &IssuanceOrder, id: &str) -> Result<Signed, CallError> {
        let names = match order.subject_alt_names.as_slice() {
            [] => Vec::new(),
            value => extension::read_subject_alt_names(value).map_err(|error| CallError::Refused(error.to_string()))?,
        };
        let sans: Vec<String> = names.iter().filter_map(as_text).collect();
        let subject = DistinguishedName::from_der(&order.subject).map_err(|error| CallError::Refused(error.to_string()))?;
        let Some(name) = subject.common_name().or_else(|| sans.first().map(String::as_str)) else {
            let why =
                "step-ca needs a common name, or an alternative name that is a DNS name, an address, a URI or a mail address";
            return Err(CallError::Refused(why.to_owned()));
        };
        let digest = provider().digester.sha256(&order.csr);
        let token = provisioner
            .token(TokenRequest {
                authority: &self.authority,
                path: "/1.0/sign",
                subject: name,
                id,
                // A token that somebody catches is good for this CSR only.
                more: json!({ "sans": sans, "cnf": { "x5rt#S256": super::jose::encode(digest) } }),
            })
            .await?;
        let body = json!({
            "csr": pem::write("CERTIFICATE REQUEST", &order.csr),
            "ott": token,
            "notAfter": provisioner.end_of(order).to_string(),
            "templateData": provisioner.template_data(order, &subject),
        });
        let answer = self.post("/1.0/sign", &body).await?;
        match answer.status {
            status if status.is_success() => {
                let (issued, chain) = wire::issued(&answer.body, order)?;
                Ok(Signed::Issued(issued, chain))
            }
            StatusCode::UNAUTHORIZED => Ok(Signed::NotTrusted(wire::said(answer))),
            StatusCode::TOO_MANY_REQUESTS => Err(failure(answer)),
            status if status.is_client_error() && wire::is_its_own(&answer) => Ok(Signed::Refused(wire::said(answer))),
            _ => Err(failure(answer)),
        }
    }

    /// Whether step-ca takes our tokens now, if it says so within that time.
    async fn takes_tokens_within(&self, provisioner: &Provisioner, within: Duration) -> Result<bool, CallError> {
        let asked = tokio::time::timeout(within, self.takes_tokens(provisioner)).await;
        asked.unwrap_or_else(|_| Err(CallError::no_answer(within)))
    }

    /// The time that is left to who began then: who asks lets us go a moment later, and knows nothing of what we know by then.
    fn left(&self, begun: Instant) -> Duration {
        self.http.timeout().saturating_sub(begun.elapsed())
    }

    /// Whether step-ca takes our tokens now. It is asked to revoke a certificate with a token for another one: it looks at the token
    /// first, and then refuses.
    async fn takes_tokens(&self, provisioner: &Provisioner) -> Result<bool, CallError> {
        let path = "/1.0/revoke";
        let request = TokenRequest { authority: &self.authority, path, subject: "1", id: &random_id(), more: json!({}) };
        let token = provisioner.token(request).await?;
        let body = json!({ "serial": "0", "ott": token, "reasonCode": 0, "reason": "", "passive": true });
        let answer = self.post(path, &body).await?;
        let taken = match answer.status {
            StatusCode::UNAUTHORIZED => false,
            StatusCode::BAD_REQUEST | StatusCode::FORBIDDEN if wire::is_its_own(&answer) => true,
            _ => return Err(failure(answer)),
        };
        provisioner.note_trust(taken);
        Ok(taken)
    }

    /// Why nothing is to be sent now: our tokens were refused lately, and still are. So the tokens of orders are not used up for nothing.
    async fn obstacle(&self, provisioner: &Provisioner) -> Option<String> {
        if provisioner.is_trusted() {
            return None;
        }
        // With little time left for the answer the order would become unclear for nothing.
        match self.takes_tokens_within(provisioner, self.http.timeout() / 2).await {
            Ok(true) => None,
            Ok(false) => Some(NO_TRUST.to_owned()),
            Err(error) => Some(error.to_string()),
        }
    }
}

const NO_TRUST: &str = "step-ca takes no token of ours: is the provisioner there, with this key; is the clock right; is it reached by one of its dnsNames \
                        (or does `authority` name one)? Its log says more";

/// A token was used, and what became of it is not told.
fn lost(id: &str) -> Submission {
    Submission::Lost {
        reason: format!(
            "step-ca received the order, for its token was used, and the answer was lost. What it did stands in its log, beside the token \
             with the jti {id}: hand in the certificate that it issued, or order anew if it issued none"
        ),
    }
}

/// What an answer means that is none of those that step-ca gives when all is well. A refusal in other words than its own is that of
/// somebody before it, a gateway or a firewall: the order did not get there, and no device is at fault.
fn failure(answer: Answer) -> CallError {
    let status = answer.status;
    match answer.success() {
        Ok(_) => CallError::Unclear(format!("{status}: the answer makes no sense")),
        Err(CallError::Refused(said)) => CallError::not_taken(format!("what answers is not step-ca: {said}")),
        Err(error) => error,
    }
}

#[async_trait]
impl Connector for StepCa {
    fn abilities(&self, _ca: &RemoteCa) -> Abilities {
        let keys = [KeyAlgorithm::EcdsaP256, KeyAlgorithm::EcdsaP384, KeyAlgorithm::EcdsaP521, KeyAlgorithm::Ed25519];
        let rsa = KeyRule::RsaRange { min: 2048, max: 16384 };
        Abilities {
            subject_keys: Some(std::iter::once(rsa).chain(keys.map(KeyRule::Exactly)).collect()),
            overrides_validity: true,
            can_wait: self.keeps_tokens,
            can_revoke: true,
            can_find_again: self.keeps_tokens,
            sees_challenge: true,
            ..Abilities::default()
        }
    }

    async fn submit(&self, ca: &RemoteCa, order: &IssuanceOrder, key: &IdempotencyKey) -> Submission {
        let provisioner = match self.provisioner(ca) {
            Ok(provisioner) => provisioner,
            Err(error) => return error.submission(),
        };
        let begun = Instant::now();
        if let Some(reason) = self.obstacle(provisioner).await {
            return Submission::NotTaken { reason, retry_after: Some(RETRY_AFTER) };
        }
        // Without a memory of tokens nothing is ever sent again to find something out, so no two of them need the same name.
        let id = if self.keeps_tokens { key.to_string() } else { format!("{key}.{}", random_id()) };
        match self.sign(provisioner, order, &id).await {
            Ok(Signed::Issued(certificate, chain)) => Submission::Issued { certificate, chain },
            Ok(Signed::Refused(reason)) => Submission::Rejected { reason },
            // Nothing was issued: a token that is not taken goes no further, and the order surely got no further before.
            Ok(Signed::NotTrusted(said)) => match self.takes_tokens_within(provisioner, self.left(begun)).await {
                // It was used up when it was refused.
                Ok(true) if self.keeps_tokens => {
                    tracing::warn!(
                        ca = ca.name(),
                        "The token of an order was used up for nothing, and it goes on with another: {said}."
                    );
                    Submission::Waiting { reference: format!("{key}.1"), retry_after: SOON }
                }
                Ok(true) if provisioner.was_refused_before(key) => {
                    Submission::Rejected { reason: format!("step-ca takes our tokens, but not that of this order: {said}") }
                }
                Ok(true) => Submission::NotTaken { reason: said, retry_after: Some(RETRY_AFTER) },
                Ok(false) => Submission::NotTaken { reason: NO_TRUST.to_owned(), retry_after: Some(RETRY_AFTER) },
                Err(error) => Submission::NotTaken { reason: error.to_string(), retry_after: Some(RETRY_AFTER) },
            },
            Err(error) => error.submission(),
        }
    }

    /// Sends an order with its second token, whose name is the reference. It may have been sent already; it is good once. What is unclear
    /// is asked again with that token and no other: nothing here may end in a search, which goes by the first one.
    async fn poll(&self, ca: &RemoteCa, order: &IssuanceOrder, reference: &str) -> Submission {
        // It was not the question that counts, but the order: it waits on.
        let wait = |reason: String| Submission::NotTaken { reason, retry_after: Some(RETRY_AFTER) };
        if !self.keeps_tokens {
            return lost(reference);
        }
        let provisioner = match self.provisioner(ca) {
            Ok(provisioner) => provisioner,
            Err(error) => return wait(error.to_string()),
        };
        let begun = Instant::now();
        if let Some(reason) = self.obstacle(provisioner).await {
            return wait(reason);
        }
        match self.sign(provisioner, order, reference).await {
            Ok(Signed::Issued(certificate, chain)) => Submission::Issued { certificate, chain },
            Ok(Signed::Refused(reason)) => Submission::Rejected { reason },
            Ok(Signed::NotTrusted(_)) => match self.takes_tokens_within(provisioner, self.left(begun)).await {
                Ok(true) => lost(reference),
                Ok(false) => wait(NO_TRUST.to_owned()),
                Err(error) => wait(error.to_string()),
            },
            Err(error) => wait(error.to_string()),
        }
    }

    async fn find(&self, ca: &RemoteCa, order: &IssuanceOrder, key: &IdempotencyKey) -> Submission {
        let unknown = |reason: String| Submission::Unknown { reason };
        let provisioner = match self.provisioner(ca) {
            Ok(provisioner) => provisioner,
            Err(error) => return unknown(error.to_string()),
        };
        if !self.keeps_tokens {
            return unknown("the outcome cannot be found out without `keeps-tokens`".to_owned());
        }
        let begun = Instant::now();
        if let Some(reason) = self.obstacle(provisioner).await {
            return unknown(reason);
        }
        match self.sign(provisioner, order, &key.to_string()).await {
            // It had not arrived.
            Ok(Signed::Issued(certificate, chain)) => Submission::Issued { certificate, chain },
            Ok(Signed::Refused(reason)) => Submission::Rejected { reason },
            Ok(Signed::NotTrusted(_)) => match self.takes_tokens_within(provisioner, self.left(begun)).await {
                Ok(true) => lost(&key.to_string()),
                Ok(false) => unknown(NO_TRUST.to_owned()),
                Err(error) => unknown(error.to_string()),
            },
            Err(error) => unknown(error.to_string()),
        }
    }

    async fn certificates(&self, _ca: &RemoteCa) -> Result<Vec<Arc<Certificate>>, CallError> {
        let answer = self.get("/1.0/intermediates").await?;
        if answer.status == StatusCode::NOT_FOUND {
            // Before step-ca 0.25 there is no such address, and roots alone say nothing of who signs.
            return Ok(Vec::new());
        }
        let mut told = wire::certificates(&answer.success()?.body)?;
        if !told.is_empty() {
            told.extend(wire::certificates(&self.get("/1.0/roots").await?.success()?.body)?);
        }
        Ok(told)
    }

    async fn check(&self, ca: &RemoteCa) -> Result<Vec<String>, CallError> {
        let provisioner = self.provisioner(ca)?;
        let mut findings = check::provisioner(self, provisioner).await?;
        if findings.is_empty() && !self.takes_tokens(provisioner).await? {
            findings.push(NO_TRUST.to_owned());
        }
        Ok(findings)
    }

    async fn longest_validity(&self, ca: &RemoteCa) -> Result<Option<Duration>, CallError> {
        check::longest_validity(self, self.provisioner(ca)?).await
    }

    async fn revoke(&self, ca: &RemoteCa, certificate: &Certificate, reason: RevocationReason) -> Result<(), CallError> {
        let path = "/1.0/revoke";
        let serial = wire::decimal(certificate.serial());
        let request = TokenRequest { authority: &self.authority, path, subject: &serial, id: &random_id(), more: json!({}) };
        let token = self.provisioner(ca)?.token(request).await?;
        let body =
            json!({ "serial": serial, "ott": token, "reasonCode": reason.code(), "reason": reason.name(), "passive": true });
        let answer = self.post(path, &body).await?;
        match answer.status {
            StatusCode::BAD_REQUEST if answer.excerpt().contains("is already revoked") => Ok(()),
            _ => answer.success().map(drop),
        }
    }

    async fn crl(&self, _ca: &RemoteCa) -> Result<Option<Vec<u8>>, CallError> {
        let answer = self.get("/1.0/crl").await?;
        match answer.status {
            // Not enabled, or no database to keep one in.
            StatusCode::NOT_FOUND | StatusCode::NOT_IMPLEMENTED => Ok(None),
            _ => answer.success().map(|answer| Some(answer.body.to_vec())),
        }
    }
}

/// A name as `sans` of a token have it; `None` for what they cannot say.
fn as_text(name: &SubjectAltName) -> Option<String> {
    match name {
        SubjectAltName::Directory(_) | SubjectAltName::Other(_) => None,
        _ => Some(name.value()),
    }
}

/// An identifier for a token that belongs to no order.
fn random_id() -> String {
    hex::encode(provider().random::<16>())
}

#[cfg(test)]
mod tests;
