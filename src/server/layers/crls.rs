//! Answers with the CRLs of embedded CAs, where their certificates say that they are (RFC 5280 section 4.2.1.13, RFC 2585).
//!
//! ```text
//! /crl/UPSTREAM/CA/KEY.crl   by one key: what a certificate that this key signed names, before and after a rollover
//! /crl/UPSTREAM/CA.crl       by the current key
//! ```
//!
//! Everything else goes on to the service within. A CRL is public, so nobody is asked who he is.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, ETAG, EXPIRES, IF_NONE_MATCH, LAST_MODIFIED, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use jiff::Timestamp;
use tower::{Layer, Service};

use super::polite;
use crate::crypto;
use crate::enroll::operate::OperateError;
use crate::enroll::{Enroller, Peer};
use crate::telemetry::Metrics;
use crate::upstream::UpstreamError;
use crate::x509::crl::read_crl;

/// What the metrics call these requests.
const OPERATION: &str = "crl";

/// Answers with CRLs.
#[derive(Clone)]
pub struct CrlsLayer {
    shared: Arc<Shared>,
}

struct Shared {
    enroller: Enroller,
    metrics: Arc<Metrics>,
    /// What the headers of each CRL are made of, by path. Only paths of CRLs that exist come in.
    known: Mutex<HashMap<String, Served>>,
}

/// A CRL as it was given last.
#[derive(Clone)]
struct Served {
    der: Bytes,
    tag: String,
    this_update: Timestamp,
    next_update: Option<Timestamp>,
}

impl CrlsLayer {
    /// Gives the CRLs of the upstreams in the current snapshot.
    pub fn new(enroller: Enroller, metrics: Arc<Metrics>) -> Self {
        Self { shared: Arc::new(Shared { enroller, metrics, known: Mutex::default() }) }
    }
}

impl<S> Layer<S> for CrlsLayer {
    type Service = Crls<S>;

    fn layer(&self, inner: S) -> Crls<S> {
        Crls { inner, shared: Arc::clone(&self.shared) }
    }
}

/// The service of [`CrlsLayer`].
#[derive(Clone)]
pub struct Crls<S> {
    inner: S,
    shared: Arc<Shared>,
}

impl<S, B> Service<Request<B>> for Crls<S>
where
    S: Service<Request<B>, Response = Response<Full<Bytes>>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        if !request.uri().path().starts_with("/crl/") {
            return Box::pin(self.inner.call(request));
        }
        let shared = Arc::clone(&self.shared);
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let seen = request.headers().get(IF_NONE_MATCH).cloned();
        let peer = request.extensions().get::<Peer>().map(|peer| peer.address);
        Box::pin(async move {
            let (code, response) = shared.answer(&method, &path, seen.as_ref()).await;
            let status = response.status().as_u16();
            shared.metrics.wire("none", OPERATION, status);
            // The path is the client's, and may be as long as a request head.
            let path: String = path.chars().take(128).collect();
            tracing::info!(operation = OPERATION, path, peer = ?peer, code, status, "CRL request answered.");
            Ok(response)
        })
    }
}

impl Shared {
    async fn answer(&self, method: &Method, path: &str, seen: Option<&HeaderValue>) -> (&'static str, Response<Full<Bytes>>) {
        if method != Method::GET && method != Method::HEAD {
            let mut response = polite(StatusCode::METHOD_NOT_ALLOWED, "use GET\n");
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return ("method", response);
        }
        // Whoever is in front of another CA does not fetch that CA's CRL for strangers.
        let snapshot = self.enroller.snapshot();
        let is_ours = |upstream: &str| {
            snapshot.upstreams.get(upstream).and_then(|upstream| upstream.crl()).is_some_and(|source| source.makes_them())
        };
        let found = match Wanted::read(path).filter(|wanted| is_ours(wanted.upstream)) {
            Some(Wanted { upstream, ca, key: None }) => self.enroller.crl(upstream, ca).await.map(Some),
            Some(Wanted { upstream, ca, key: Some(key) }) => self.enroller.crl_by_key(upstream, ca, key).await,
            None => Ok(None),
        };
        match found {
            Ok(Some(der)) => ("ok", self.served(path, der).response(self.enroller.now(), method, seen)),
            Ok(None) | Err(OperateError::Upstream(UpstreamError::NoSuchCa { .. } | UpstreamError::Unsupported { .. })) => {
                ("no-crl", polite(StatusCode::NOT_FOUND, "there is no such CRL\n"))
            }
            Err(error) => {
                tracing::warn!("A CRL could not be given: {error}.");
                let mut response = polite(StatusCode::SERVICE_UNAVAILABLE, "no CRL now, please come again\n");
                response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("5"));
                ("crl-failed", response)
            }
        }
    }

    /// The CRL with what its headers need, which is worked out once for each.
    fn served(&self, path: &str, der: Vec<u8>) -> Served {
        let mut known = self.known.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(served) = known.get(path)
            && served.der == der
        {
            return served.clone();
        }
        let crl = read_crl(&der).ok();
        let served = Served {
            tag: format!("\"{}\"", hex::encode(&crypto::provider().digester.sha256(&der)[..16])),
            this_update: crl.as_ref().map_or(Timestamp::UNIX_EPOCH, |crl| crl.this_update),
            next_update: crl.and_then(|crl| crl.next_update),
            der: der.into(),
        };
        known.insert(path.to_owned(), served.clone());
        served
    }
}

impl Served {
    fn response(self, now: Timestamp, method: &Method, seen: Option<&HeaderValue>) -> Response<Full<Bytes>> {
        let unchanged = seen.and_then(|seen| seen.to_str().ok()).is_some_and(|seen| {
            seen.split(',').map(str::trim).any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == self.tag)
        });
        let length = self.der.len();
        let body = if unchanged || method == Method::HEAD { Bytes::new() } else { self.der };
        let mut response = Response::new(Full::new(body));
        let headers = response.headers_mut();
        let left = self.next_update.map_or(0, |next| next.duration_since(now).as_secs().max(0));
        text(headers, CACHE_CONTROL, format!("public, max-age={left}"));
        text(headers, ETAG, self.tag);
        text(headers, LAST_MODIFIED, http_date(self.this_update));
        if let Some(next) = self.next_update {
            text(headers, EXPIRES, http_date(next));
        }
        if unchanged {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
        } else {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/pkix-crl"));
            if method == Method::HEAD {
                text(headers, http::header::CONTENT_LENGTH, length.to_string());
            }
        }
        response
    }
}

/// What a path asks for.
#[derive(Debug, PartialEq, Eq)]
struct Wanted<'a> {
    upstream: &'a str,
    ca: &'a str,
    key: Option<&'a str>,
}

impl<'a> Wanted<'a> {
    fn read(path: &'a str) -> Option<Self> {
        let mut pieces = path.strip_prefix("/crl/")?.strip_suffix(".crl")?.split('/');
        let (upstream, ca) = (pieces.next()?, pieces.next()?);
        let wanted = Wanted { upstream, ca, key: pieces.next() };
        pieces.next().is_none().then_some(wanted)
    }
}

fn text(headers: &mut HeaderMap, name: http::HeaderName, value: String) {
    headers.insert(name, HeaderValue::from_str(&value).expect("digits, letters and punctuation"));
}

/// A date as HTTP writes it (RFC 9110 section 5.6.7).
fn http_date(at: Timestamp) -> String {
    at.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read() {
        let wanted = |path| Wanted::read(path).map(|wanted| (wanted.upstream, wanted.ca, wanted.key));
        assert_eq!(wanted("/crl/local/root.crl"), Some(("local", "root", None)));
        assert_eq!(wanted("/crl/local/a.b/00ff.crl"), Some(("local", "a.b", Some("00ff"))));
        for bad in ["/crl/local.crl", "/crl/local/root", "/crl/local/root/a/b.crl", "/crl/", "/scep/local/root.crl"] {
            assert_eq!(wanted(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_crl_is_good_until_the_next_and_not_sent_twice() {
        let now: Timestamp = "2026-03-01T12:00:00Z".parse().unwrap();
        let served = Served {
            der: Bytes::from_static(b"crl"),
            tag: "\"abc\"".into(),
            this_update: now,
            next_update: Some("2026-03-01T13:00:00Z".parse().unwrap()),
        };
        let full = served.clone().response(now, &Method::GET, None);
        assert_eq!(full.headers()[CACHE_CONTROL], "public, max-age=3600");
        assert_eq!(full.headers()[LAST_MODIFIED], "Sun, 01 Mar 2026 12:00:00 GMT");
        assert_eq!(full.headers()[CONTENT_TYPE], "application/pkix-crl");
        for tag in ["\"abc\"", "\"x\", W/\"abc\"", "*"] {
            let seen = HeaderValue::from_static(tag);
            assert_eq!(served.clone().response(now, &Method::GET, Some(&seen)).status(), 304, "{tag}");
        }
        let other = HeaderValue::from_static("\"abd\"");
        assert_eq!(served.clone().response(now, &Method::GET, Some(&other)).status(), 200);
        // What ended is not said to be good for a negative time.
        let late = served.response("2026-03-02T00:00:00Z".parse().unwrap(), &Method::GET, None);
        assert_eq!(late.headers()[CACHE_CONTROL], "public, max-age=0");
    }
}
