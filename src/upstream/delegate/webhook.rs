//! A CA that is asked in JSON by HTTP: each question is a POST to one address, signed with a secret that both know, or over mutual TLS.

use async_trait::async_trait;
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, Request, StatusCode};
use jiff::Timestamp;
use zeroize::Zeroizing;

use super::{Carrier, Delegate, DelegateSettings};
use crate::crypto::provider;
use crate::upstream::http::Http;
use crate::upstream::remote::{CallError, RemoteError};
use crate::upstream::secret::SecretSource;

/// What a webhook is configured with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WebhookSettings {
    /// What it can do.
    pub delegate: DelegateSettings,
    /// The secret that questions are signed with.
    pub secret: Option<SecretSource>,
    /// The header field `Authorization` of every question.
    pub authorization: Option<SecretSource>,
}

/// When a question was signed: seconds since 1970.
const TIMESTAMP: HeaderName = HeaderName::from_static("ravelin-timestamp");

/// `v1=` and the HMAC-SHA-256 in hex.
const SIGNATURE: HeaderName = HeaderName::from_static("ravelin-signature");

struct Webhook {
    http: Http,
    secret: Option<Zeroizing<String>>,
    authorization: Option<HeaderValue>,
}

/// Opens a webhook: reads its secrets.
pub fn open(settings: &WebhookSettings, http: Http) -> Result<Delegate, RemoteError> {
    let authorization = match &settings.authorization {
        Some(source) => {
            let bad = |_| RemoteError::File { path: source.to_string(), why: "is no value of a header field".to_owned() };
            let mut value = HeaderValue::try_from(source.read()?.as_str()).map_err(bad)?;
            value.set_sensitive(true);
            Some(value)
        }
        None => None,
    };
    let secret = settings.secret.as_ref().map(SecretSource::read).transpose()?;
    Ok(Delegate::new(settings.delegate.clone(), Box::new(Webhook { http, secret, authorization })))
}

/// The signature of a question: over `v1`, the time and the body, with a colon between them.
pub fn signature(secret: &str, timestamp: i64, body: &[u8]) -> String {
    let mut signed = format!("v1:{timestamp}:").into_bytes();
    signed.extend_from_slice(body);
    format!("v1={}", hex::encode(provider().digester.hmac_sha256(secret.as_bytes(), &signed)))
}

#[async_trait]
impl Carrier for Webhook {
    async fn carry(&self, question: Vec<u8>) -> Result<Vec<u8>, CallError> {
        let mut request =
            Request::post(self.http.address()).header(CONTENT_TYPE, "application/json").header(ACCEPT, "application/json");
        if let Some(secret) = &self.secret {
            let now = Timestamp::now().as_second();
            request = request.header(TIMESTAMP, now).header(SIGNATURE, signature(secret, now, &question));
        }
        let mut request = request.body(Bytes::from(question)).map_err(|error| CallError::Refused(error.to_string()))?;
        if let Some(authorization) = &self.authorization {
            request.headers_mut().insert(AUTHORIZATION, authorization.clone());
        }
        let answer = self.http.send(request).await?;
        if answer.status == StatusCode::OK {
            return Ok(answer.body.to_vec());
        }
        let said = format!("{}: {}", answer.status, answer.excerpt());
        // What is wrong with the order is told by an answer. A 4xx says that the question itself was not taken: a wrong address or
        // secret, which people mend while devices wait.
        Err(match answer.status {
            // What has the same request sent elsewhere has not taken it.
            StatusCode::MOVED_PERMANENTLY | StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT => {
                let said = answer.status_line();
                CallError::not_taken(format!("{said}; redirects are not followed, set `url` to where it leads"))
            }
            StatusCode::REQUEST_TIMEOUT => CallError::Unclear(said),
            StatusCode::SERVICE_UNAVAILABLE if answer.takes_nothing_now() => {
                CallError::NotTaken { reason: said, after: answer.retry_after() }
            }
            status if status.is_client_error() => CallError::NotTaken { reason: said, after: answer.retry_after() },
            _ => CallError::Unclear(said),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_hmac_over_time_and_body() {
        // Computed with: printf 'v1:1700000000:{}' | openssl dgst -sha256 -hmac secret
        assert_eq!(
            signature("secret", 1_700_000_000, b"{}"),
            "v1=14ea7fd0a36d8557c745d82072f653f4e553e593c57ac365fab425da48e1c495"
        );
    }
}
