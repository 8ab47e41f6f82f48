//! Enrollment over Secure Transport (RFC 7030, RFC 8951): `cacerts` and `simpleenroll`, as an RA.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use http::{Request, StatusCode};
use zeroize::Zeroizing;

use super::http::{Answer, Http};
use super::remote::{Abilities, CallError, Connector, RemoteCa, RemoteError};
use super::secret::SecretSource;
use super::{IdempotencyKey, IssuanceOrder, Submission};
use crate::scep::certs_only::CertsOnly;
use crate::x509::crl::RevocationReason;
use crate::x509::{Certificate, ber};

/// What an EST server is configured with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EstSettings {
    /// The user name for HTTP Basic.
    pub username: Option<String>,
    /// Its password.
    pub password: Option<SecretSource>,
    /// The label of each CA; none is the server's default.
    pub labels: BTreeMap<String, Option<String>>,
}

/// An EST server.
pub struct Est {
    http: Http,
    authorization: Option<HeaderValue>,
    labels: BTreeMap<String, Option<String>>,
}

/// How long a device waits where the server does not say.
const RETRY_AFTER: Duration = Duration::from_secs(60);

impl Est {
    /// Reads the password.
    pub fn open(settings: &EstSettings, http: Http) -> Result<Self, RemoteError> {
        let authorization = match (&settings.username, &settings.password) {
            (Some(name), Some(password)) => {
                let pair = Zeroizing::new(format!("{name}:{}", password.read()?.as_str()));
                let mut value = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(pair.as_bytes())))
                    .expect("base64 fits into a header field");
                value.set_sensitive(true);
                Some(value)
            }
            _ => None,
        };
        Ok(Self { http, authorization, labels: settings.labels.clone() })
    }

    fn url(&self, ca: &RemoteCa, operation: &str) -> String {
        let base = format!("{}/.well-known/est", self.http.url());
        match self.labels.get(ca.name()).and_then(Option::as_deref) {
            Some(label) => format!("{base}/{label}/{operation}"),
            None => format!("{base}/{operation}"),
        }
    }

    async fn send(&self, mut request: Request<Bytes>) -> Result<Answer, CallError> {
        if let Some(authorization) = &self.authorization {
            request.headers_mut().insert(AUTHORIZATION, authorization.clone());
        }
        self.http.send(request).await
    }

    async fn enroll(&self, ca: &RemoteCa, order: &IssuanceOrder) -> Result<Submission, CallError> {
        let request = Request::post(self.url(ca, "simpleenroll"))
            .header(CONTENT_TYPE, "application/pkcs10")
            .header("content-transfer-encoding", "base64")
            .header(ACCEPT, "application/pkcs7-mime")
            .body(Bytes::from(STANDARD.encode(&order.csr)))
            .map_err(|error| CallError::Refused(error.to_string()))?;
        let answer = self.send(request).await?;
        if answer.status == StatusCode::ACCEPTED {
            // RFC 7030 section 4.2.3: the same request is sent again later; there is nothing to name it by.
            let retry_after = answer.retry_after().unwrap_or(RETRY_AFTER);
            return Ok(Submission::Waiting { reference: "simpleenroll".into(), retry_after });
        }
        let certificates = certificates(&answer.success()?.body)?;
        let is_ours = |one: &&Arc<Certificate>| one.spki() == order.spki;
        match certificates.iter().find(is_ours) {
            Some(issued) => Ok(Submission::Issued { certificate: Arc::clone(issued), chain: Vec::new() }),
            None => Err(CallError::Unclear("the answer has no certificate for the key of the request".to_owned())),
        }
    }
}

#[async_trait]
impl Connector for Est {
    fn abilities(&self, _ca: &RemoteCa) -> Abilities {
        Abilities { can_wait: true, sees_challenge: true, ..Abilities::default() }
    }

    async fn submit(&self, ca: &RemoteCa, order: &IssuanceOrder, _key: &IdempotencyKey) -> Submission {
        self.enroll(ca, order).await.unwrap_or_else(CallError::submission)
    }

    async fn poll(&self, ca: &RemoteCa, order: &IssuanceOrder, reference: &str) -> Submission {
        self.enroll(ca, order).await.unwrap_or_else(|error| error.still_waiting(reference))
    }

    async fn certificates(&self, ca: &RemoteCa) -> Result<Vec<Arc<Certificate>>, CallError> {
        let request = Request::get(self.url(ca, "cacerts")).body(Bytes::new());
        let request = request.map_err(|error| CallError::Refused(error.to_string()))?;
        certificates(&self.http.send(request).await?.success()?.body)
    }

    async fn revoke(&self, _ca: &RemoteCa, _certificate: &Certificate, _reason: RevocationReason) -> Result<(), CallError> {
        Err(CallError::Refused("EST has no revocation".to_owned()))
    }

    async fn fetch(&self, url: &str) -> Result<Vec<u8>, CallError> {
        self.http.get(url).await.map(Vec::from)
    }
}

/// The certificates of a certs-only message in base64 (RFC 8951 section 3.1: whatever the header fields say).
fn certificates(body: &[u8]) -> Result<Vec<Arc<Certificate>>, CallError> {
    let unclear = |what: &dyn std::fmt::Display| CallError::Unclear(format!("the answer is no certs-only message: {what}"));
    let compact: Vec<u8> = body.iter().copied().filter(|octet| !octet.is_ascii_whitespace()).collect();
    let message = STANDARD.decode(compact).map_err(|error| unclear(&error))?;
    let message = ber::to_der(&message).map_err(|error| unclear(&error))?;
    let read = CertsOnly::read(&message).map_err(|error| unclear(&error))?;
    read.certificates.iter().map(|der| Certificate::from_der(der).map(Arc::new).map_err(|error| unclear(&error))).collect()
}
