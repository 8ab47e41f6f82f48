//! The HTTP side of the client: GET and POST, over TCP or TLS, with a limit on time and size (RFC 8894 section 4.1).

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue, USER_AGENT};
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::{ClientError, Options};
use crate::x509::Certificate;

/// Sends to one address.
#[derive(Clone)]
pub(super) struct Transport {
    http: HttpClient<HttpsConnector<HttpConnector>, Full<Bytes>>,
    /// Without the parameters that SCEP adds.
    url: String,
    timeout: Duration,
    max_reply: usize,
}

/// What came back with status 200.
pub(super) struct Answer {
    pub(super) body: Bytes,
    pub(super) content_type: Option<String>,
}

impl Transport {
    pub(super) fn new(url: &str, options: &Options) -> Result<Self, ClientError> {
        let bad = |why: &str| ClientError::Url { url: url.to_owned(), why: why.to_owned() };
        let uri: Uri = url.parse().map_err(|error: http::uri::InvalidUri| bad(&error.to_string()))?;
        if uri.host().is_none_or(str::is_empty) {
            return Err(bad("it names no host"));
        }
        match uri.scheme_str() {
            Some("http") => {}
            Some("https") if options.tls_roots.is_empty() => return Err(ClientError::NoTlsRoots),
            Some("https") => {}
            _ => return Err(bad("it has to begin with http:// or https://")),
        }
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_connect_timeout(Some(options.timeout));
        tcp.set_nodelay(true);
        let https = HttpsConnectorBuilder::new()
            .with_tls_config(tls_config(&options.tls_roots)?)
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let http = HttpClient::builder(TokioExecutor::new()).build(https);
        // A path has to be there before a query can follow.
        let url = if uri.path_and_query().is_none_or(|path| path.as_str() == "/") && !url.ends_with('/') {
            format!("{url}/")
        } else {
            url.to_owned()
        };
        Ok(Self { http, url, timeout: options.timeout, max_reply: options.max_reply })
    }

    /// `GET …?operation=OPERATION&message=MESSAGE`.
    pub(super) async fn get(&self, operation: &'static str, message: Option<&str>) -> Result<Answer, ClientError> {
        let target = self.target(operation, message);
        self.send(operation, Request::get(target).body(Full::default())).await
    }

    /// PKIOperation by GET: the message in base64, with all that is special in a query escaped.
    pub(super) async fn get_message(&self, message: &[u8]) -> Result<Answer, ClientError> {
        self.get(PKI_OPERATION, Some(&STANDARD.encode(message))).await
    }

    /// PKIOperation by POST.
    pub(super) async fn post_message(&self, message: &[u8]) -> Result<Answer, ClientError> {
        let request = Request::post(self.target(PKI_OPERATION, None))
            .header(CONTENT_TYPE, HeaderValue::from_static("application/x-pki-message"))
            .body(Full::from(message.to_vec()));
        self.send(PKI_OPERATION, request).await
    }

    fn target(&self, operation: &str, message: Option<&str>) -> String {
        let separator = if self.url.contains('?') { '&' } else { '?' };
        let message = message.map(|text| format!("&message={}", utf8_percent_encode(text, NON_ALPHANUMERIC))).unwrap_or_default();
        format!("{}{separator}operation={operation}{message}", self.url)
    }

    async fn send(&self, operation: &'static str, request: http::Result<Request<Full<Bytes>>>) -> Result<Answer, ClientError> {
        let unreachable = |why: String| ClientError::Unreachable { operation, why };
        let mut request = request.map_err(|error| unreachable(error.to_string()))?;
        request.headers_mut().insert(USER_AGENT, HeaderValue::from_static(concat!("ravelin/", env!("CARGO_PKG_VERSION"))));
        let exchange = async {
            let response = self.http.request(request).await.map_err(|error| unreachable(chain(&error)))?;
            let status = response.status();
            let content_type = response.headers().get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).map(str::to_owned);
            let limited = Limited::new(response.into_body(), self.max_reply);
            let body = match limited.collect().await {
                Ok(body) => body.to_bytes(),
                Err(error) if error.is::<http_body_util::LengthLimitError>() => {
                    return Err(ClientError::TooLarge { operation, limit: self.max_reply });
                }
                Err(error) => return Err(unreachable(chain(&*error))),
            };
            tracing::debug!(operation, %status, octets = body.len(), "The server answered.");
            if status == StatusCode::OK {
                Ok(Answer { body, content_type })
            } else {
                Err(ClientError::Status { operation, status, text: excerpt(&body) })
            }
        };
        match tokio::time::timeout(self.timeout, exchange).await {
            Ok(answer) => answer,
            Err(_) => Err(ClientError::Timeout { operation, after: self.timeout }),
        }
    }
}

pub(super) const PKI_OPERATION: &str = "PKIOperation";

/// Without roots it can check nobody; [`Transport::new`] lets no https address come that far.
fn tls_config(roots: &[Certificate]) -> Result<rustls::ClientConfig, ClientError> {
    let bad = |error: rustls::Error| ClientError::BadTlsRoots(error.to_string());
    let mut store = rustls::RootCertStore::empty();
    for root in roots {
        store.add(root.der().to_vec().into()).map_err(bad)?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().map_err(bad)?;
    Ok(config.with_root_certificates(store).with_no_client_auth())
}

/// An error with what caused it; the outer ones of HTTP clients say little by themselves.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
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

/// The first line of a body that is text, for error messages; nothing that could move a terminal's cursor.
fn excerpt(body: &[u8]) -> String {
    let Ok(text) = std::str::from_utf8(&body[..body.len().min(4096)]) else { return String::new() };
    let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    line.chars().filter(|c| !c.is_control()).take(160).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transport(url: &str) -> Result<Transport, ClientError> {
        Transport::new(url, &Options::default())
    }

    #[test]
    fn addresses_that_cannot_be_used_are_refused_at_once() {
        assert!(matches!(transport("https://ra.example/scep"), Err(ClientError::NoTlsRoots)));
        for bad in ["", "ra.example/scep", "ftp://ra.example/", "http:///scep", "/scep", "http://a b/"] {
            assert!(matches!(transport(bad), Err(ClientError::Url { .. })), "{bad}");
        }
    }

    #[test]
    fn the_message_is_escaped() {
        let url = |base: &str, message| transport(base).unwrap().target("PKIOperation", message);
        assert_eq!(url("http://h/scep/x", Some("a+/=")), "http://h/scep/x?operation=PKIOperation&message=a%2B%2F%3D");
        assert_eq!(url("http://h", None), "http://h/?operation=PKIOperation");
        assert_eq!(url("http://h/x?ca=1", None), "http://h/x?ca=1&operation=PKIOperation");
    }

    #[test]
    fn excerpts_are_short_and_harmless() {
        assert_eq!(excerpt(b"\n\x1b[2Jno such endpoint\nmore"), "[2Jno such endpoint");
        assert_eq!(excerpt(&[0xff, 0xfe]), "");
        assert_eq!(excerpt("ä".repeat(300).as_bytes()).chars().count(), 160);
    }
}
