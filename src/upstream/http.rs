//! HTTP to a CA: pinned roots, client certificates, proxies, limits on time and size; and what a failure says about whether the CA has
//! heard of the request.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{HeaderMap, HeaderValue, RETRY_AFTER, USER_AGENT};
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use super::remote::{CallError, RemoteError};
use crate::x509::Certificate;

/// How a CA is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpSettings {
    /// Where it is: `https://ca.example.net/`, or `http://` for protocols that protect their own messages.
    pub url: String,
    /// PEM: what the TLS certificate of the server has to chain to. No other root is trusted.
    pub trust: Option<PathBuf>,
    /// What we show the server.
    pub client: Option<ClientCertificate>,
    /// The way there.
    pub proxy: Proxy,
    /// How long connecting may take.
    pub connect_timeout: Duration,
    /// How long an answer may take, from the first octet that is sent.
    pub timeout: Duration,
    /// The largest answer in octets.
    pub max_answer: usize,
}

/// A certificate that we show to a TLS server, with its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// PEM: the certificate, then those above it.
    pub certificate: PathBuf,
    /// PEM: PKCS#8, plain or encrypted with the passphrase of the data folder.
    pub key: PathBuf,
}

/// The way to a CA.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Proxy {
    /// As `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY` say.
    #[default]
    Environment,
    /// Straight.
    None,
    /// By this proxy.
    Url(String),
}

/// Sends requests to one CA, over connections that are kept.
#[derive(Clone)]
pub struct Http {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    url: String,
    timeout: Duration,
    max_answer: usize,
}

/// What the CA answered, whatever its status.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The header fields.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Http {
    /// Reads certificates and keys; asks nobody. Blocks. `passphrase` opens keys that are encrypted.
    pub fn open(settings: &HttpSettings, _passphrase: &str) -> Result<Self, RemoteError> {
        let bad = |why: String| RemoteError::File { path: settings.url.clone(), why };
        let uri: Uri = settings.url.parse().map_err(|error: http::uri::InvalidUri| bad(error.to_string()))?;
        let mut roots = rustls::RootCertStore::empty();
        if let Some(path) = &settings.trust {
            let failed = |why: String| RemoteError::File { path: path.display().to_string(), why };
            let text = std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
            for root in Certificate::chain_from_pem(&text).map_err(|error| failed(error.to_string()))? {
                roots.add(root.der().to_vec().into()).map_err(|error| failed(error.to_string()))?;
            }
        }
        if uri.scheme_str() == Some("https") && roots.is_empty() {
            return Err(bad("set `trust` to the certificates that the server's certificate has to chain to".to_owned()));
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| bad(error.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_connect_timeout(Some(settings.connect_timeout));
        tcp.set_nodelay(true);
        let https = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().wrap_connector(tcp);
        Ok(Self {
            client: Client::builder(TokioExecutor::new()).build(https),
            url: settings.url.trim_end_matches('/').to_owned(),
            timeout: settings.timeout,
            max_answer: settings.max_answer,
        })
    }

    /// The address of the CA, without a slash at the end.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Sends a request, and gives the answer whatever its status.
    pub async fn send(&self, mut request: Request<Bytes>) -> Result<Answer, CallError> {
        request.headers_mut().insert(USER_AGENT, HeaderValue::from_static(concat!("ravelin/", env!("CARGO_PKG_VERSION"))));
        let exchange = async {
            let response = self.client.request(request.map(Full::new)).await.map_err(|error| match error.is_connect() {
                true => CallError::not_taken(with_causes(&error)),
                false => CallError::Unclear(with_causes(&error)),
            })?;
            let (head, body) = response.into_parts();
            let body = match Limited::new(body, self.max_answer).collect().await {
                Ok(body) => body.to_bytes(),
                Err(error) => return Err(CallError::Unclear(with_causes(&*error))),
            };
            Ok(Answer { status: head.status, headers: head.headers, body })
        };
        tokio::time::timeout(self.timeout, exchange).await.unwrap_or_else(|_| Err(CallError::no_answer(self.timeout)))
    }

    /// Fetches what is at a URL.
    pub async fn get(&self, url: &str) -> Result<Bytes, CallError> {
        let request = Request::get(url).body(Bytes::new()).map_err(|error| CallError::Refused(error.to_string()))?;
        Ok(self.send(request).await?.success()?.body)
    }
}

impl Answer {
    /// The answer if its status is 2xx; otherwise what the status says: 429 and 503 that nothing was taken, 4xx that it was refused,
    /// anything else leaves it unclear.
    pub fn success(self) -> Result<Self, CallError> {
        if self.status.is_success() {
            return Ok(self);
        }
        let said = match self.excerpt() {
            said if said.is_empty() => self.status.to_string(),
            said => format!("{}: {said}", self.status),
        };
        Err(match self.status {
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                CallError::NotTaken { reason: said, after: self.retry_after() }
            }
            status if status.is_client_error() => CallError::Refused(said),
            _ => CallError::Unclear(said),
        })
    }

    /// When to come again: Retry-After in seconds or as a date (RFC 9110 section 10.2.3).
    pub fn retry_after(&self) -> Option<Duration> {
        let text = self.headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
        if let Ok(seconds) = text.parse() {
            return Some(Duration::from_secs(seconds));
        }
        let at = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
        Some(Duration::try_from(at.duration_since(jiff::Timestamp::now())).unwrap_or_default())
    }

    /// The beginning of a body that is text, for logs; nothing that could move a terminal's cursor.
    pub fn excerpt(&self) -> String {
        let Ok(text) = std::str::from_utf8(&self.body[..self.body.len().min(4096)]) else { return String::new() };
        let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
        words.chars().filter(|c| !c.is_control()).take(300).collect()
    }
}

/// An error with what caused it; the outer ones of HTTP clients say little by themselves.
fn with_causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut inner = error.source();
    while let Some(cause) = inner {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        inner = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Play, Scripted, TestCa, one_by_one};
    use super::*;
    use crate::algorithm::KeyAlgorithm;

    #[tokio::test]
    async fn what_a_failure_says_of_the_request() {
        let plays = [
            Play::body(200, "text/plain", "well"),
            Play::body(503, "text/plain", "later").header("Retry-After", "7"),
            Play::body(400, "text/plain", "no"),
            Play::body(500, "text/plain", "oh"),
            Play::body(200, "text/plain", "a long answer").cut_in_body(3),
            Play::Cut,
        ];
        let peer = Scripted::playing(plays).await;
        let http = peer.http();
        let url = format!("{}/a?b=c", peer.url());
        assert_eq!(http.get(&url).await.unwrap(), "well");
        let busy = http.get(&url).await.unwrap_err();
        let CallError::NotTaken { reason, after: Some(after) } = busy else { panic!("{busy:?}") };
        assert_eq!((reason.as_str(), after.as_secs()), ("503 Service Unavailable: later", 7));
        assert!(matches!(http.get(&url).await, Err(CallError::Refused(said)) if said == "400 Bad Request: no"));
        for _ in 0..3 {
            let unclear = http.get(&url).await;
            assert!(matches!(unclear, Err(CallError::Unclear(_))), "{unclear:?}");
        }
        let seen = peer.seen();
        assert_eq!((seen.len(), peer.connections()), (6, 2));
        assert_eq!((seen[0].method.as_str(), seen[0].target.as_str()), ("GET", "/a?b=c"));
        assert!(seen[0].header("user-agent").starts_with("ravelin/"));
    }

    #[tokio::test]
    async fn tls_is_spoken_with_whom_we_trust() {
        let ca = TestCa::new(KeyAlgorithm::EcdsaP256);
        let peer = Scripted::over_tls(&ca, one_by_one([Play::body(200, "text/plain", "well")])).await;
        assert_eq!(peer.http().get(&peer.url()).await.unwrap(), "well");
    }
}
