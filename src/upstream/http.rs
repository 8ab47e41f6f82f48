//! HTTP to a CA: pinned roots, client certificates, proxies, limits on time and size; and what a failure says about whether the CA has
//! heard of the request.
//!
//! A request that surely was not sent is [`CallError::NotTaken`]: no address, no connection, no proxy, no TLS, and a kept connection that
//! ended before the request was begun (which is then begun on another one). From the first octet on everything that is no answer is
//! [`CallError::Unclear`], unless the server says itself that it did not look at the request. Redirects are not followed.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{HeaderValue, PROXY_AUTHORIZATION, USER_AGENT};
use http::{Extensions, Method, Request, Uri};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{CaptureConnection, capture_connection};
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::remote::{CallError, RemoteError};
use super::secret::SecretSource;

mod answer;
mod connect;
mod failure;
mod route;
#[cfg(test)]
mod tests;
mod tls;

pub use answer::Answer;
pub(crate) use route::basic;

use connect::{Carried, IsTls13, Way};
use route::{HopKind, Route};
use tls::Tls;

/// How a CA is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpSettings {
    /// Where it is: `https://ca.example.net/`, or `http://` for protocols that protect their own messages.
    pub url: String,
    /// PEM: what the TLS certificate of the server has to chain to, or the certificate itself. No other root is trusted.
    pub trust: Option<PathBuf>,
    /// What we show the server.
    pub client: Option<ClientCertificate>,
    /// The way there.
    pub proxy: Proxy,
    /// How long connecting may take, TLS and a proxy's part included.
    pub connect_timeout: Duration,
    /// How long an answer may take, connecting included.
    pub timeout: Duration,
    /// The largest answer in octets.
    pub max_answer: usize,
}

/// A certificate that we show to a TLS server, with its key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientCertificate {
    /// PEM: the certificate, then those above it.
    pub certificate: PathBuf,
    /// PEM: PKCS#8, plain or encrypted with the passphrase of the data folder.
    pub key: PathBuf,
    /// PEM: more of those above it, if the file is there.
    pub chain: Option<PathBuf>,
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
    Url {
        /// `http://proxy.example.net:3128`, or with socks5.
        address: String,
        /// `name:password`.
        credentials: Option<SecretSource>,
    },
}

/// Sends requests to one CA, over connections that are kept.
#[derive(Clone)]
pub struct Http {
    client: Client<Way, Full<Bytes>>,
    route: Arc<Route>,
    address: String,
    timeout: Duration,
    max_answer: usize,
}

/// How long a connection is kept that nobody uses: less than the shortest that servers are known for (5 s), because a request that meets
/// the server's farewell on the way leaves open what became of it.
const KEPT: Duration = Duration::from_secs(3);

/// Room for the head of an answer.
const MAX_HEAD: usize = 64 * 1024;

impl Http {
    /// Reads certificates and keys; asks nobody. Blocks. `passphrase` opens keys that are encrypted.
    pub fn open(settings: &HttpSettings, passphrase: &str) -> Result<Self, RemoteError> {
        let bad = |why: String| RemoteError::File { path: settings.url.clone(), why };
        let uri: Uri = settings.url.parse().map_err(|error: http::uri::InvalidUri| bad(error.to_string()))?;
        let tls = Tls::open(settings, passphrase)?;
        if uri.scheme_str() == Some("https") && tls.is_none() {
            return Err(bad("set `trust` to the certificates that the server's certificate has to chain to".to_owned()));
        }
        let route = Arc::new(Route::open(&settings.proxy)?);
        route.to(&uri).map_err(bad)?;
        let way = Way::new(uri, Arc::clone(&route), tls, settings.connect_timeout);
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(KEPT)
            .pool_timer(TokioTimer::new())
            .timer(TokioTimer::new())
            .http1_max_buf_size(MAX_HEAD)
            .http2_max_header_list_size(MAX_HEAD as u32)
            // A connection over which nothing comes any more is found out before a request is given to it.
            .http2_keep_alive_interval(Duration::from_secs(10))
            .http2_keep_alive_timeout(Duration::from_secs(5))
            .build(way);
        Ok(Self { client, route, address: settings.url.clone(), timeout: settings.timeout, max_answer: settings.max_answer })
    }

    /// How long an answer may take.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// The address of the CA, without a slash at the end: for paths to be added.
    pub fn url(&self) -> &str {
        self.address.trim_end_matches('/')
    }

    /// The address of the CA as it is configured: for what is asked there itself.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Sends a request, and gives the answer whatever its status. A GET is taken for a question that changes nothing (RFC 9110 section
    /// 9.2.1): where a connection that had been kept ended under it, it is asked once more. What acts by GET has
    /// [`send_once`](Self::send_once).
    pub async fn send(&self, request: Request<Bytes>) -> Result<Answer, CallError> {
        let asks = request.method() == Method::GET;
        self.carry(request, asks).await
    }

    /// Sends a request that may act on its way, whatever its method: it leaves here once, or not at all.
    pub async fn send_once(&self, request: Request<Bytes>) -> Result<Answer, CallError> {
        self.carry(request, false).await
    }

    async fn carry(&self, mut request: Request<Bytes>, asks: bool) -> Result<Answer, CallError> {
        let ours = HeaderValue::from_static(concat!("ravelin/", env!("CARGO_PKG_VERSION")));
        request.headers_mut().entry(USER_AGENT).or_insert(ours);
        self.tell_proxy(&mut request);
        let mut request = request.map(Full::new);
        let given = capture_connection(&mut request);
        let again = asks.then(|| request.clone());
        let exchange = async {
            match (self.exchange(request, &given).await, again) {
                (Err(Failed { ended: true, .. }), Some(again)) => self.exchange(again, &given).await,
                (first, _) => first,
            }
            .map_err(|failed| failed.error)
        };
        let answered = tokio::time::timeout(self.timeout, exchange).await;
        answered.unwrap_or_else(|_| match given.connection_metadata().is_some() {
            true => Err(CallError::no_answer(self.timeout)),
            false => Err(CallError::not_taken(format!("no connection within {} ms", self.timeout.as_millis()))),
        })
    }

    /// `given` tells over which connection the request goes, once it does.
    async fn exchange(&self, request: Request<Full<Bytes>>, given: &CaptureConnection) -> Result<Answer, Failed> {
        let answered = self.client.request(request).await;
        let was_kept = was_kept(given);
        let response = answered.map_err(|error| Failed {
            error: failure::of_exchange(&error, is_tls13(given)),
            ended: was_kept && failure::is_end(&error),
        })?;
        let (head, body) = response.into_parts();
        let unclear = |why: String| Failed { error: CallError::Unclear(why), ended: false };
        let body = match Limited::new(body, self.max_answer).collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) if error.is::<LengthLimitError>() => {
                return Err(unclear(format!("the answer is longer than {} octets (`max-answer`)", self.max_answer)));
            }
            Err(error) => {
                let why = failure::of_broken(&*error);
                return Err(unclear(format!("{}, then the answer broke off: {why}", head.status)));
            }
        };
        Ok(Answer { status: head.status, headers: head.headers, body })
    }

    /// A proxy that is sent the request itself is told there who we are; others when the tunnel is made.
    fn tell_proxy(&self, request: &mut Request<Bytes>) {
        if request.uri().scheme_str() == Some("http")
            && let Ok(Some(hop)) = self.route.to(request.uri())
            && let (HopKind::Http, Some(basic)) = (hop.kind, hop.basic)
        {
            request.headers_mut().insert(PROXY_AUTHORIZATION, basic);
        }
    }

    /// Fetches what is at a URL. A server that is not the CA is shown no certificate of ours.
    pub async fn get(&self, url: &str) -> Result<Bytes, CallError> {
        let request = Request::get(url).body(Bytes::new()).map_err(|error| CallError::Refused(error.to_string()))?;
        Ok(self.send(request).await?.success()?.body)
    }
}

/// Why a request has no answer.
struct Failed {
    error: CallError,
    /// A connection that had carried requests before ended under it: the usual end of one that is kept.
    ended: bool,
}

fn extras(given: &CaptureConnection) -> Extensions {
    let mut extras = Extensions::new();
    if let Some(connected) = &*given.connection_metadata() {
        connected.get_extras(&mut extras);
    }
    extras
}

fn is_tls13(given: &CaptureConnection) -> bool {
    extras(given).get::<IsTls13>().is_some()
}

/// Whether the connection had carried a request before this one. From now on it has.
fn was_kept(given: &CaptureConnection) -> bool {
    extras(given).get::<Carried>().is_some_and(Carried::mark)
}
