//! The web enrollment pages of Active Directory Certificate Services (`/certsrv`).
//!
//! They are made for people. What they say is read by what no translation touches ([`page`]). An order is known by the request ID that the
//! CA gives it; if the answer with that is lost, nothing here can find it again, and an operator looks at the CA's database.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, USER_AGENT};
use http::{Request, StatusCode};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use zeroize::Zeroizing;

use super::http::{Answer, Http, basic};
use super::remote::{Abilities, CallError, Connector, RemoteCa, RemoteError};
use super::secret::SecretSource;
use super::{IdempotencyKey, IssuanceOrder, Submission};
use crate::scep::certs_only::CertsOnly;
use crate::x509::crl::RevocationReason;
use crate::x509::{Certificate, ber, pem};

mod page;
#[cfg(test)]
mod tests;

use page::{Page, Verdict};

/// What web enrollment pages are configured with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdCsSettings {
    /// The account for HTTP Basic; none where a client certificate says who we are.
    pub username: Option<String>,
    /// Its password.
    pub password: Option<SecretSource>,
    /// How often a request that waits for a manager is asked after.
    pub poll_interval: Duration,
    /// What each CA asks for.
    pub cas: BTreeMap<String, AdCsCa>,
}

/// What is asked for: one CA of ours is one template of theirs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AdCsCa {
    /// The name of the template; none at a standalone CA.
    pub template: Option<String>,
    /// Further request attributes, `name:value`.
    pub attributes: Vec<String>,
}

/// The pages of one CA.
pub struct AdCs {
    http: Http,
    authorization: Option<HeaderValue>,
    poll_interval: Duration,
    cas: BTreeMap<String, AdCsCa>,
}

/// When a certificate that was issued, but could not be fetched, is asked for again.
const SOON: Duration = Duration::from_secs(5);

/// To whom it does not take for a browser IIS gives certificates as text/html; we read them all the same, but proxies may not.
const BROWSER: HeaderValue =
    HeaderValue::from_static(concat!("Mozilla/5.0 (compatible; ravelin/", env!("CARGO_PKG_VERSION"), ")"));

impl AdCs {
    /// Reads the password. Blocks.
    pub fn open(settings: &AdCsSettings, http: Http) -> Result<Self, RemoteError> {
        let authorization = match (&settings.username, &settings.password) {
            (Some(name), Some(password)) => {
                let pair = Zeroizing::new(format!("{name}:{}", password.read()?.as_str()));
                Some(basic(&pair))
            }
            _ => None,
        };
        Ok(Self { http, authorization, poll_interval: settings.poll_interval, cas: settings.cas.clone() })
    }

    async fn send(&self, mut request: Request<Bytes>) -> Result<Answer, CallError> {
        request.headers_mut().insert(USER_AGENT, BROWSER);
        if let Some(authorization) = &self.authorization {
            request.headers_mut().insert(AUTHORIZATION, authorization.clone());
        }
        let answer = self.http.send(request).await?;
        let said = answer.status;
        Err(match answer.status {
            status if status.is_success() => return Ok(answer),
            // About us, and not about the order: the pages did not run.
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => CallError::not_taken(format!(
                "IIS does not let us ({said}): check the account or client certificate, and which ways of authentication the site has"
            )),
            StatusCode::NOT_FOUND => {
                CallError::not_taken(format!("there are no enrollment pages at {} ({said})", self.http.url()))
            }
            _ => return answer.success(),
        })
    }

    async fn get(&self, target: &str) -> Result<Answer, CallError> {
        let request = Request::get(format!("{}/{target}", self.http.url())).body(Bytes::new());
        self.send(request.map_err(|error| CallError::Refused(error.to_string()))?).await
    }

    /// Sends the form of the enrollment page.
    async fn finish(&self, fields: &[(&str, &str)]) -> Result<Page, CallError> {
        let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let form: Vec<_> = fields.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
        let request = Request::post(format!("{}/certfnsh.asp", self.http.url()))
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Bytes::from(form.join("&")))
            .map_err(|error| CallError::Refused(error.to_string()))?;
        self.send(request).await.map(Page::from)
    }

    async fn enroll(&self, ca: &RemoteCa, order: &IssuanceOrder) -> Result<Submission, CallError> {
        let at = self.cas.get(ca.name()).ok_or_else(|| CallError::not_taken(format!("there is no CA {:?}", ca.name())))?;
        let template = at.template.iter().map(|template| format!("CertificateTemplate:{template}"));
        let attributes: String = template.chain(at.attributes.iter().cloned()).map(|line| line + "\r\n").collect();
        let request = pem::write("CERTIFICATE REQUEST", &order.csr);
        let fields = [
            ("Mode", "newreq"),
            ("CertRequest", request.as_str()),
            ("CertAttrib", attributes.as_str()),
            ("FriendlyType", "Saved-Request Certificate"),
            ("TargetStoreFlags", "0"),
            ("SaveCert", "yes"),
        ];
        let page = self.finish(&fields).await?;
        match page.verdict() {
            // The ID is all that it can be found by: it is on record before anything else is asked, which may take too long.
            Verdict::Issued { request } => Ok(Submission::Waiting { reference: request, retry_after: Duration::ZERO }),
            Verdict::Pending { request: Some(request) } => {
                Ok(Submission::Waiting { reference: request, retry_after: self.poll_interval })
            }
            Verdict::Pending { request: None } => {
                Err(CallError::Unclear(format!("the request waits at the CA, and no ID can be read: {}", page.text())))
            }
            Verdict::Denied => Err(CallError::Refused(page.text())),
            Verdict::NotTaken => Err(CallError::not_taken(page.text())),
            Verdict::NoSuchRequest | Verdict::Unreadable => Err(CallError::Unclear(format!(
                "the CA's page says neither that it issued nor that it refused nor that it waits: {}",
                page.text()
            ))),
        }
    }

    /// The certificate of a request, or the page that comes in its place.
    async fn certificate_or_page(&self, order: &IssuanceOrder, request: &str) -> Result<Result<Submission, Page>, CallError> {
        let answer = self.get(&format!("certnew.cer?ReqID={request}&Enc=b64")).await?;
        let Some(certificate) = read_certificates(&answer.body).into_iter().next() else { return Ok(Err(Page::from(answer))) };
        if certificate.spki() != order.spki {
            return Err(CallError::Unclear(format!("what the CA has as request {request} is not for the key of the order")));
        }
        Ok(Ok(Submission::Issued { certificate, chain: Vec::new() }))
    }

    async fn ask_after(&self, order: &IssuanceOrder, request: &str) -> Result<Submission, CallError> {
        let mut page = match self.certificate_or_page(order, request).await? {
            Ok(issued) => return Ok(issued),
            Err(page) => page,
        };
        // The page that comes in the place of a certificate is that of an error; the one for people who ask again says more, if it can
        // be read.
        let first = page.verdict();
        if matches!(first, Verdict::Unreadable | Verdict::Denied) {
            let other = self.finish(&[("Mode", "chkpnd"), ("ReqID", request)]).await?;
            if first == Verdict::Unreadable || other.verdict() != Verdict::Unreadable {
                page = other;
            }
        }
        match page.verdict() {
            Verdict::Denied => Err(CallError::Refused(page.text())),
            Verdict::NoSuchRequest => {
                Ok(Submission::Unknown { reason: format!("the CA knows no request {request}: {}", page.text()) })
            }
            Verdict::NotTaken => Err(CallError::not_taken(page.text())),
            Verdict::Issued { .. } => Ok(Submission::Waiting { reference: request.to_owned(), retry_after: SOON }),
            Verdict::Pending { .. } => Ok(Submission::Waiting { reference: request.to_owned(), retry_after: self.poll_interval }),
            Verdict::Unreadable => {
                Err(CallError::Unclear(format!("the CA's page about request {request} says: {}", page.text())))
            }
        }
    }

    /// Which of its certificates is the newest: how often the CA was renewed; -1 asks for the newest where it does not say.
    async fn renewals(&self) -> Result<String, CallError> {
        let answer = self.get("certcarc.asp").await?;
        let text = String::from_utf8_lossy(&answer.body);
        let digits =
            text.split_once("nRenewals=").map(|(_, after)| after.chars().take_while(char::is_ascii_digit).collect::<String>());
        Ok(digits.filter(|digits| !digits.is_empty()).unwrap_or_else(|| "-1".to_owned()))
    }
}

#[async_trait]
impl Connector for AdCs {
    fn abilities(&self, _ca: &RemoteCa) -> Abilities {
        Abilities { can_wait: true, sees_challenge: true, ..Abilities::default() }
    }

    async fn submit(&self, ca: &RemoteCa, order: &IssuanceOrder, _key: &IdempotencyKey) -> Submission {
        let outcome = self.enroll(ca, order).await;
        match outcome.unwrap_or_else(CallError::submission) {
            Submission::Unknown { reason } => Submission::Unknown { reason: format!("{reason}. {}", where_to_look(order)) },
            outcome => outcome,
        }
    }

    async fn poll(&self, _ca: &RemoteCa, order: &IssuanceOrder, reference: &str) -> Submission {
        match reference.bytes().all(|octet| octet.is_ascii_digit()) && !reference.is_empty() {
            true => self.ask_after(order, reference).await.unwrap_or_else(CallError::poll),
            false => Submission::Unknown { reason: format!("{reference:?} is no request ID") },
        }
    }

    async fn certificates(&self, _ca: &RemoteCa) -> Result<Vec<Arc<Certificate>>, CallError> {
        let renewals = self.renewals().await?;
        let answer = self.get(&format!("certnew.p7b?ReqID=CACert&Renewal={renewals}&Enc=b64")).await?;
        let chain = read_certificates(&answer.body);
        if !chain.is_empty() {
            return Ok(chain);
        }
        let answer = self.get(&format!("certnew.cer?ReqID=CACert&Renewal={renewals}&Enc=b64")).await?;
        match read_certificates(&answer.body) {
            none if none.is_empty() => {
                Err(CallError::Unclear(format!("no certificate of the CA came, but: {}", Page::from(answer).text())))
            }
            certificates => Ok(certificates),
        }
    }

    async fn revoke(&self, _ca: &RemoteCa, _certificate: &Certificate, _reason: RevocationReason) -> Result<(), CallError> {
        Err(CallError::Refused("the web enrollment pages have no revocation".to_owned()))
    }

    async fn crl(&self, _ca: &RemoteCa) -> Result<Option<Vec<u8>>, CallError> {
        let renewals = self.renewals().await?;
        let answer = self.get(&format!("certcrl.crl?Type=base&Renewal={renewals}&Enc=b64")).await?;
        let text = String::from_utf8_lossy(&answer.body);
        let crl = pem::read(&text, "X509 CRL").ok().and_then(|blocks| blocks.into_iter().next());
        // DER begins with a SEQUENCE in the long form; a page does not.
        let crl = crl.or_else(|| answer.body.starts_with(&[0x30]).then(|| answer.body.to_vec()));
        crl.map(Some).ok_or_else(|| CallError::Unclear(format!("no CRL came, but: {}", Page::from(answer).text())))
    }
}

/// For the operator, after an answer that was lost: how the CA is asked whether it has the request.
fn where_to_look(order: &IssuanceOrder) -> String {
    let name = crate::x509::DistinguishedName::from_der(&order.subject).ok();
    let name = name.as_ref().and_then(|name| name.common_name().map(str::to_owned)).unwrap_or_default();
    let quoted = name.replace(['"', ',', '%', '\\'], "?");
    format!(
        "The pages cannot find a request again: look in the CA's database, with certutil -view -restrict \"Request.CommonName={quoted}\" \
         -out Request.RequestID,Request.SubmittedWhen,Request.Disposition,SerialNumber"
    )
}

/// The certificates in an answer: PEM, bare base64 or DER, of a certificate or of a certs-only message; none where it is a page.
fn read_certificates(body: &[u8]) -> Vec<Arc<Certificate>> {
    let text = String::from_utf8_lossy(body);
    let mut blocks = Vec::new();
    // PKCS #7 is labelled CERTIFICATE too.
    for label in ["CERTIFICATE", "PKCS7", "CMS"] {
        blocks.extend(pem::read(&text, label).unwrap_or_default());
    }
    if blocks.is_empty() {
        let compact: Vec<u8> = body.iter().copied().filter(|octet| !octet.is_ascii_whitespace()).collect();
        blocks.push(STANDARD.decode(compact).unwrap_or_else(|_| body.to_vec()));
    }
    let one = |der: &[u8]| Certificate::from_der(der).map(|certificate| vec![Arc::new(certificate)]).ok();
    blocks.iter().filter_map(|der| certs_only(der).or_else(|| one(der))).flatten().collect()
}

/// The certificates of a certs-only message.
fn certs_only(message: &[u8]) -> Option<Vec<Arc<Certificate>>> {
    let message = ber::to_der(message).ok()?;
    let read = CertsOnly::read(&message).ok()?;
    read.certificates.iter().map(|der| Certificate::from_der(der).map(Arc::new).ok()).collect()
}
