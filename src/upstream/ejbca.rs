//! The REST interface of EJBCA: enrollment with the device's own CSR, search, revocation, chain and CRL.
//!
//! EJBCA files every certificate under the name of an end entity. Ours has the idempotency key in it, so that the outcome of an unclear
//! submission is found by searching for that name (see [`search`]). The words of the wire are in [`api`].

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, StatusCode};
use serde::Serialize;
use zeroize::Zeroizing;

use super::http::{Answer, Http};
use super::remote::{Abilities, CallError, Connector, RemoteCa, RemoteError};
use super::secret::SecretSource;
use super::{IdempotencyKey, IssuanceOrder, Submission};
use crate::algorithm::KeyRule;
use crate::crypto::provider;
use crate::x509::crl::RevocationReason;
use crate::x509::{Certificate, DistinguishedName};

mod api;
mod profile;
mod search;
mod template;
#[cfg(test)]
mod tests;

pub use template::NameTemplate;

use search::{Look, Searches, Trace};

/// What an EJBCA is configured with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EjbcaSettings {
    /// The OAuth bearer token, where it is not the client certificate that says who we are. Read anew for each request.
    pub token: Option<SecretSource>,
    /// How long after an unclear submission the absence of a certificate proves that it never arrived.
    pub settle: Duration,
    /// How often an order is searched for where EJBCA shows us no certificates.
    pub poll_interval: Duration,
    /// What each CA is there.
    pub cas: BTreeMap<String, EjbcaCa>,
}

/// One CA at an EJBCA, and what it issues by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EjbcaCa {
    /// What EJBCA calls the CA.
    pub authority: String,
    /// The certificate profile.
    pub certificate_profile: String,
    /// The end entity profile.
    pub end_entity_profile: String,
    /// The name of the end entity.
    pub username: NameTemplate,
    /// The account binding ID, if there is to be one.
    pub account: Option<NameTemplate>,
    /// The e-mail address of the end entity, if there is to be one.
    pub email: Option<NameTemplate>,
    /// The subject of the CA as EJBCA writes it, where that differs from what we make of its certificate.
    pub dn: Option<String>,
}

impl EjbcaCa {
    /// By what an order can be found again, and its value: whatever has the idempotency key in it.
    fn handle(&self) -> Option<(&'static str, &NameTemplate)> {
        let account = self.account.as_ref().map(|account| ("EXTERNAL_ACCOUNT_BINDING_ID", account));
        std::iter::once(("USERNAME", &self.username)).chain(account).find(|(_, template)| template.is_unique())
    }
}

/// An EJBCA.
pub struct Ejbca {
    http: Http,
    token: Option<SecretSource>,
    settle: Duration,
    poll_interval: Duration,
    cas: BTreeMap<String, EjbcaCa>,
    searches: Searches,
}

impl Ejbca {
    /// Reads the token. Blocks.
    pub fn open(settings: &EjbcaSettings, http: Http) -> Result<Self, RemoteError> {
        // A token that is not there would be found out with the first request only.
        settings.token.as_ref().map(SecretSource::read).transpose()?;
        Ok(Self {
            http,
            token: settings.token.clone(),
            settle: settings.settle,
            poll_interval: settings.poll_interval,
            cas: settings.cas.clone(),
            searches: Searches::default(),
        })
    }

    fn at(&self, ca: &RemoteCa) -> Result<&EjbcaCa, CallError> {
        self.cas.get(ca.name()).ok_or_else(|| CallError::not_taken(format!("there is no CA {:?}", ca.name())))
    }

    /// Sends a request and gives the answer if it is a success; otherwise what the failure says of the request.
    async fn call(&self, method: Method, path: &str, body: Option<&(impl Serialize + Sync)>) -> Result<Answer, CallError> {
        let unfit = |error: &dyn std::fmt::Display| CallError::Refused(error.to_string());
        let mut request =
            Request::builder().method(method).uri(format!("{}{path}", self.http.url())).header(ACCEPT, "application/json");
        let mut octets = Bytes::new();
        if let Some(body) = body {
            request = request.header(CONTENT_TYPE, "application/json");
            octets = serde_json::to_vec(body).map_err(|error| unfit(&error))?.into();
        }
        let mut request = request.body(octets).map_err(|error| unfit(&error))?;
        if let Some(source) = self.token.clone() {
            // Whoever renews the token writes it into the file.
            let token = tokio::task::spawn_blocking(move || source.read()).await;
            let token = token.map_err(|error| CallError::not_taken(error.to_string()))?;
            let token = token.map_err(|error| CallError::not_taken(error.to_string()))?;
            let mut value = HeaderValue::try_from(format!("Bearer {}", token.as_str()))
                .map_err(|_| CallError::not_taken("the token has characters that cannot stand in a header field"))?;
            value.set_sensitive(true);
            request.headers_mut().insert(AUTHORIZATION, value);
        }
        api::judged(self.http.send(request).await?)
    }

    async fn get(&self, path: &str) -> Result<Answer, CallError> {
        self.call(Method::GET, path, None::<&()>).await
    }

    /// Enrolls, whatever happened before.
    async fn enroll(&self, ca: &RemoteCa, order: &IssuanceOrder, key: &IdempotencyKey) -> Result<Submission, CallError> {
        let at = self.at(ca)?;
        let fill = |template: &Option<NameTemplate>| template.as_ref().map(|one| one.fill(order, key)).transpose();
        let filled = || Ok((at.username.fill(order, key)?, fill(&at.account)?, fill(&at.email)?));
        let (username, account, email) = match filled() {
            Ok(filled) => filled,
            // Nothing was sent that could be searched for.
            Err(reason) => return Ok(Submission::Rejected { reason }),
        };
        // Nobody needs it again: the end entity has its certificate, or is rolled back.
        let code = Zeroizing::new(hex::encode(provider().random::<16>()));
        let body = api::Enroll {
            certificate_request: &STANDARD.encode(&order.csr),
            certificate_profile_name: &at.certificate_profile,
            end_entity_profile_name: &at.end_entity_profile,
            certificate_authority_name: &at.authority,
            username: &username,
            password: &code,
            account_binding_id: account.as_deref(),
            email: email.as_deref(),
            // EJBCA would look for it after it has issued, and tell of a failure there as of one of the enrollment.
            include_chain: false,
            response_format: "DER",
        };
        self.searches.sent(key);
        let answer = self.call(Method::POST, "/v1/certificate/pkcs10enroll", Some(&body)).await?;
        let issued: api::Issued = api::read(&answer)?;
        let certificate = api::certificate(&issued.certificate)?;
        if certificate.spki() != order.spki {
            return Err(CallError::Unclear("the certificate in the answer is not for the key of the request".to_owned()));
        }
        Ok(Submission::Issued { certificate, chain: Vec::new() })
    }

    /// After a refusal: EJBCA answers 400 to inner errors too, so it is believed only where a search that would show a certificate finds
    /// none.
    async fn refused(&self, ca: &RemoteCa, order: &IssuanceOrder, key: &IdempotencyKey, reason: String) -> Submission {
        match self.look(ca, order, key).await {
            Ok(Look::Found(found)) => found,
            Ok(Look::Nothing) if api::is_about_ejbca(&reason) => Submission::NotTaken { reason, retry_after: None },
            Ok(Look::Nothing) => Submission::Rejected { reason },
            Ok(Look::Blind) => {
                Submission::Unknown { reason: format!("{reason}; and that no certificate is found proves nothing: {BLIND}") }
            }
            Err(error) => Submission::Unknown { reason: format!("{reason}; and the search for a certificate failed: {error}") },
        }
    }

    async fn enroll_surely(&self, ca: &RemoteCa, order: &IssuanceOrder, key: &IdempotencyKey) -> Submission {
        let can_search = self.at(ca).is_ok_and(|at| at.handle().is_some());
        let submission = match self.enroll(ca, order, key).await {
            Err(CallError::Refused(reason)) if can_search => self.refused(ca, order, key, reason).await,
            // It may have come to that after it has issued, and nobody can look.
            Err(CallError::Refused(reason)) if api::is_about_ejbca(&reason) => Submission::Unknown { reason },
            outcome => outcome.unwrap_or_else(CallError::submission),
        };
        if !matches!(submission, Submission::Unknown { .. }) {
            self.searches.settled(key);
        }
        submission
    }

    /// The subject of a CA as it stands in paths.
    fn dn(&self, ca: &RemoteCa) -> Result<String, CallError> {
        let dn = self.at(ca)?.dn.clone();
        Ok(api::segment(&dn.unwrap_or_else(|| api::dn(ca.certificate().subject()))))
    }

    /// The issuer of a certificate as it stands in paths: that of an earlier CA, where it was renamed since.
    fn issuer_of(&self, ca: &RemoteCa, certificate: &Certificate) -> Result<String, CallError> {
        match certificate.issuer().matches(ca.certificate().subject()) {
            true => self.dn(ca),
            false => Ok(api::segment(&api::dn(certificate.issuer()))),
        }
    }
}

#[async_trait]
impl Connector for Ejbca {
    fn abilities(&self, ca: &RemoteCa) -> Abilities {
        Abilities {
            can_wait: true,
            can_revoke: true,
            can_find_again: self.at(ca).is_ok_and(|at| at.handle().is_some()),
            sees_challenge: true,
            ..Abilities::default()
        }
    }

    async fn submit(&self, ca: &RemoteCa, order: &IssuanceOrder, key: &IdempotencyKey) -> Submission {
        self.enroll_surely(ca, order, key).await
    }

    async fn poll(&self, ca: &RemoteCa, order: &IssuanceOrder, reference: &str) -> Submission {
        match read_reference(reference) {
            Some(key) => self.find(ca, order, &key).await,
            None => Submission::Unknown { reason: format!("{reference:?} is no reference of EJBCA") },
        }
    }

    async fn find(&self, ca: &RemoteCa, order: &IssuanceOrder, key: &IdempotencyKey) -> Submission {
        let later = |retry_after| Submission::Waiting { reference: format!("{SENT}{key}"), retry_after };
        match self.trace(ca, order, key).await {
            Ok(Trace::Found(found)) => {
                self.searches.settled(key);
                found
            }
            Ok(Trace::Absent) => self.enroll_surely(ca, order, key).await,
            Ok(Trace::TooEarly(rest)) => later(rest),
            Ok(Trace::Blind) => {
                tracing::warn!(upstream_ca = ca.name(), "An order is not found, and not sent again: {BLIND}");
                later(self.poll_interval)
            }
            // Whatever keeps us from finding out, the earlier submission may have arrived.
            Err(error) => Submission::Unknown { reason: error.to_string() },
        }
    }

    async fn certificates(&self, ca: &RemoteCa) -> Result<Vec<Arc<Certificate>>, CallError> {
        let answer = self.get(&format!("/v1/ca/{}/certificate/download", self.dn(ca)?)).await?;
        let unclear = |error: &dyn std::fmt::Display| CallError::Unclear(format!("the answer has no certificates: {error}"));
        let text = std::str::from_utf8(&answer.body).map_err(|error| unclear(&error))?;
        let certificates = Certificate::chain_from_pem(text).map_err(|error| unclear(&error))?;
        Ok(certificates.into_iter().map(Arc::new).collect())
    }

    async fn check(&self, ca: &RemoteCa) -> Result<Vec<String>, CallError> {
        self.check_names(ca).await
    }

    async fn subject_keys(&self, ca: &RemoteCa) -> Result<Option<Vec<KeyRule>>, CallError> {
        let info = self.profile(self.at(ca)?).await?;
        Ok(info.map(|info| info.key_rules()))
    }

    async fn revoke(&self, ca: &RemoteCa, certificate: &Certificate, reason: RevocationReason) -> Result<(), CallError> {
        let place = format!("/v1/certificate/{}/{}", self.issuer_of(ca, certificate)?, certificate.serial_hex());
        let path = format!("{place}/revoke?reason={}", api::reason(reason));
        let refused = match self.call(Method::PUT, &path, None::<&()>).await {
            Ok(answer) if answer.status == StatusCode::ACCEPTED => {
                let waiting: api::Approval = api::read(&answer)?;
                let request = waiting.request_id;
                return Err(CallError::Unclear(format!("the revocation waits for approval request {request} at EJBCA")));
            }
            Ok(_) => return Ok(()),
            Err(CallError::Refused(said)) => said,
            Err(other) => return Err(other),
        };
        // It may be revoked already.
        let answer = self.get(&format!("{place}/revocationstatus")).await;
        match answer.and_then(|answer| api::read::<api::RevocationStatus>(&answer)) {
            Ok(status) if status.revoked => Ok(()),
            _ => Err(CallError::Refused(refused)),
        }
    }

    async fn crl(&self, ca: &RemoteCa) -> Result<Option<Vec<u8>>, CallError> {
        let answer = self.get(&format!("/v1/ca/{}/getLatestCrl?deltaCrl=false", self.dn(ca)?)).await?;
        let crl: api::LatestCrl = api::read(&answer)?;
        api::octets(&crl.crl).map(Some)
    }
}

/// Why a search that finds nothing may prove nothing.
const BLIND: &str = "EJBCA shows us no certificate at all of this CA and its profiles: may our role search there?";

/// What an order that was sent, and may not have arrived, is asked after by; the key of the attempt follows.
const SENT: &str = "sent/";

fn read_reference(text: &str) -> Option<IdempotencyKey> {
    let octets = hex::decode(text.strip_prefix(SENT)?).ok()?;
    octets.try_into().ok().map(IdempotencyKey)
}

/// The names of a CA are compared in either order: EJBCA writes the common name first, whatever the certificate does.
fn same_name(text: &str, name: &DistinguishedName) -> bool {
    [true, false].into_iter().any(|order| DistinguishedName::parse(text, order).is_ok_and(|parsed| parsed.matches(name)))
}
