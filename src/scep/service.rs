//! The HTTP service (RFC 8894 section 4): finds the endpoint, reads the operation, and translates between messages and the core.
//!
//! Whatever a device did wrong has become a response here; the error type is `Infallible`.

use std::convert::Infallible;
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll};

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, HOST, RETRY_AFTER, USER_AGENT};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Body;
use jiff::Timestamp;

use super::WireError;
use super::wire_error::WireAnswer;
use crate::crypto::CryptoPool;
use crate::crypto::pool::PoolError;
use crate::crypto::ra::RaPhase;
use crate::enroll::{Answer, EnrollError, Enroller, EnrollmentRequest, Outcome, Peer, Query, Reply};
use crate::policy::Endpoint;
use crate::snapshot::Snapshot;
use crate::telemetry::Metrics;

pub mod ca_certificates;
pub mod capabilities;
mod intake;
pub mod next_ca;
pub mod query_string;
mod reply;

pub use reply::fail_info;

use intake::{Context, Intake, Traits, take_in};
use query_string::{Operation, Parameters, decode_message};

/// What the service needs of the core: [`Enroller`] in the product, a stand-in in tests.
pub trait Core: Clone + Send + Sync + 'static {
    /// The current snapshot.
    fn snapshot(&self) -> Arc<Snapshot>;
    /// Where slow work runs.
    fn pool(&self) -> &CryptoPool;
    /// The time.
    fn now(&self) -> Timestamp;
    /// Takes a request through the stack.
    fn enroll(&self, request: EnrollmentRequest) -> impl Future<Output = Result<Answer, EnrollError>> + Send;
    /// Answers a question.
    fn query(&self, query: Query) -> impl Future<Output = Result<Outcome, EnrollError>> + Send;
}

impl Core for Enroller {
    fn snapshot(&self) -> Arc<Snapshot> {
        Enroller::snapshot(self)
    }

    fn pool(&self) -> &CryptoPool {
        Enroller::pool(self)
    }

    fn now(&self) -> Timestamp {
        Enroller::now(self)
    }

    fn enroll(&self, request: EnrollmentRequest) -> impl Future<Output = Result<Answer, EnrollError>> + Send {
        Enroller::enroll(self, request)
    }

    fn query(&self, query: Query) -> impl Future<Output = Result<Outcome, EnrollError>> + Send {
        Enroller::query(self, query)
    }
}

/// Answers SCEP over HTTP. The listener puts a [`Peer`] into the extensions of every request.
#[derive(Clone)]
pub struct ScepService<C = Enroller> {
    core: C,
    metrics: Arc<Metrics>,
}

impl<C: Core> ScepService<C> {
    /// A service in front of `core`.
    pub fn new(core: C, metrics: Arc<Metrics>) -> Self {
        Self { core, metrics }
    }

    async fn answer<B>(self, request: Request<B>) -> Response<Full<Bytes>>
    where
        B: Body<Data = Bytes> + Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let snapshot = self.core.snapshot();
        let (parts, body) = request.into_parts();
        let peer = parts.extensions.get::<Peer>().copied().unwrap_or(NOBODY);
        let client = parts.headers.get(USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let client = client.get(..client.len().min(MAX_CLIENT)).unwrap_or_default();
        let host = parts.uri.host().or_else(|| parts.headers.get(HOST).and_then(|host| without_port(host.to_str().ok()?)));
        let parameters = Parameters::read(parts.uri.query().unwrap_or_default());
        // POST is there for PKIOperation alone (RFC 8894 section 4.1), and some clients do not repeat it.
        let named = match parameters.operation.as_deref() {
            None if parts.method == Method::POST => Some(Operation::PkiOperation),
            None => None,
            Some(name) => Operation::from_name(name),
        };

        let Some(endpoint) = snapshot.endpoint(host, parts.uri.path(), peer.ip()).cloned() else {
            let operation = named.map_or("unknown", Operation::name);
            self.metrics.wire("none", operation, 404);
            tracing::info!(operation, peer = %peer.address, client, code = "no-endpoint", status = 404, "No endpoint answers this.");
            return text(StatusCode::NOT_FOUND, "There is no such endpoint.\n");
        };
        let exchange = Exchange { service: &self, snapshot, endpoint, peer, client };
        match (&parts.method, named) {
            (method, _) if method != Method::GET && method != Method::POST => {
                let mut response = exchange.status("unknown", "method", StatusCode::METHOD_NOT_ALLOWED, "Use GET or POST.\n");
                response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, POST"));
                response
            }
            (_, None) => exchange.status("unknown", "unknown-operation", StatusCode::BAD_REQUEST, "The operation is unknown.\n"),
            (_, Some(Operation::GetCaCaps)) => {
                let octets = capabilities::capabilities(&exchange.snapshot, &exchange.endpoint);
                exchange.done(Operation::GetCaCaps, "text/plain", octets)
            }
            (_, Some(Operation::GetCaCert)) => {
                let (media_type, octets) = ca_certificates::ca_certificates(&exchange.snapshot, &exchange.endpoint);
                exchange.done(Operation::GetCaCert, media_type, octets)
            }
            (_, Some(Operation::GetNextCaCert)) => exchange.next_ca().await,
            (method, Some(Operation::PkiOperation)) => {
                let limit = exchange.endpoint.scep.max_message;
                let octets = if method == Method::POST {
                    collect(body, limit).await
                } else {
                    decode_message(parameters.message.unwrap_or_default(), limit).map(Bytes::from)
                };
                exchange.pki_operation(octets).await
            }
        }
    }
}

/// Takes a message in as the service would, and gives the enrollment request in it: for `explain`, which answers nobody. Blocks:
/// run it on the crypto pool.
pub fn open_request(
    octets: &Bytes,
    snapshot: Arc<Snapshot>,
    endpoint: Arc<Endpoint>,
    peer: Peer,
    now: Timestamp,
) -> Result<EnrollmentRequest, String> {
    match take_in(octets, &Context { snapshot, endpoint, peer, now }).1 {
        Intake::Enroll(request) => Ok(request),
        Intake::Query(..) => Err("it asks a question, and requests nothing".to_owned()),
        Intake::Failed(error, _) => Err(format!("{}: {error}", error.code())),
    }
}

impl<C, B> tower::Service<Request<B>> for ScepService<C>
where
    C: Core,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut task::Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let service = self.clone();
        Box::pin(async move { Ok(service.answer(request).await) })
    }
}

/// One request at one endpoint.
struct Exchange<'a, C> {
    service: &'a ScepService<C>,
    snapshot: Arc<Snapshot>,
    endpoint: Arc<Endpoint>,
    peer: Peer,
    client: &'a str,
}

/// What a PKIOperation came to: for the log.
struct Verdict {
    /// A stable code: of the refusal, of the [`WireError`], or how it went.
    code: &'static str,
    fail_info: Option<&'static str>,
    detail: String,
    response: Response<Full<Bytes>>,
}

impl<C: Core> Exchange<'_, C> {
    async fn next_ca(&self) -> Response<Full<Bytes>> {
        let operation = Operation::GetNextCaCert;
        let Some(next) = next_ca::next_ca(&self.snapshot, &self.endpoint) else {
            return self.status(operation.name(), "no-next-ca", StatusCode::NOT_FOUND, "There is no next CA certificate.\n");
        };
        match self.service.core.pool().run(move || next.sign()).await {
            Ok(Ok(octets)) => self.done(operation, "application/x-x509-next-ca-cert", Bytes::from(octets)),
            Ok(Err(_)) | Err(PoolError::Panicked) => {
                self.status(operation.name(), "internal", StatusCode::INTERNAL_SERVER_ERROR, INTERNAL)
            }
            Err(PoolError::Full) => {
                let mut response = self.status(operation.name(), "busy", StatusCode::SERVICE_UNAVAILABLE, BUSY);
                response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_SECONDS));
                response
            }
        }
    }

    async fn pki_operation(&self, octets: Result<Bytes, WireError>) -> Response<Full<Bytes>> {
        let size = octets.as_ref().map_or(0, Bytes::len);
        let (traits, verdict) = match octets {
            Ok(octets) => self.message(octets).await,
            Err(error) => (Traits::default(), wire_failure(&error, None)),
        };
        let Verdict { code, fail_info, detail, response } = verdict;
        let status = response.status().as_u16();
        self.service.metrics.wire(&self.endpoint.name, Operation::PkiOperation.name(), status);
        let Traits { message_type, transaction, digest, cipher, recipient } = traits;
        let phase = recipient.map(|recipient| self.snapshot.ra_of(&self.endpoint).phase_of(&recipient));
        if let Some(phase) = phase {
            let ra = self.endpoint.scep.ra.as_deref().unwrap_or("default");
            self.service.metrics.ra_request(ra, phase.name());
        }
        let legacy = cipher.is_some_and(|c| c.is_legacy()) || digest.is_some_and(|d| d.is_legacy());
        tracing::info!(
            operation = Operation::PkiOperation.name(),
            endpoint = %self.endpoint.name,
            peer = %self.peer.address,
            client = self.client,
            message_type,
            transaction,
            digest = digest.map(|d| d.name()),
            cipher = cipher.map(|c| c.name()),
            legacy,
            ra = phase.filter(|phase| *phase != RaPhase::Current).map(RaPhase::name),
            size,
            code,
            fail_info,
            detail,
            status,
            "Message answered."
        );
        response
    }

    async fn message(&self, octets: Bytes) -> (Traits, Verdict) {
        let core = &self.service.core;
        let context = Context {
            snapshot: Arc::clone(&self.snapshot),
            endpoint: Arc::clone(&self.endpoint),
            peer: self.peer,
            now: core.now(),
        };
        let (traits, intake) = match core.pool().run(move || take_in(&octets, &context)).await {
            Ok(understood) => understood,
            Err(error) => return (Traits::default(), fault(pool_error(error))),
        };
        let verdict = match intake {
            Intake::Failed(error, reply) => wire_failure(&error, reply),
            Intake::Enroll(request) => match core.enroll(request).await {
                Ok(Answer { outcome, reply }) => answered(outcome.as_ref(), reply),
                Err(error) => fault(error),
            },
            Intake::Query(query, reply) => self.question(query, reply).await.unwrap_or_else(fault),
        };
        (traits, verdict)
    }

    async fn question(&self, query: Query, reply: Arc<reply::ScepReply>) -> Result<Verdict, EnrollError> {
        let core = &self.service.core;
        let outcome = reply.deliver(core.query(query).await?);
        let (outcome, encoded) = core
            .pool()
            .run_admitted(move || {
                let encoded = reply.encode(&outcome);
                (outcome, encoded)
            })
            .await
            .map_err(pool_error)?;
        let encoded = encoded.map_err(|error| EnrollError::Internal(error.to_string()))?;
        Ok(answered(Some(&outcome), Bytes::from(encoded)))
    }

    /// An answer that needs no message.
    fn done(&self, operation: Operation, media_type: &'static str, octets: Bytes) -> Response<Full<Bytes>> {
        self.service.metrics.wire(&self.endpoint.name, operation.name(), 200);
        tracing::info!(
            operation = operation.name(),
            endpoint = %self.endpoint.name,
            peer = %self.peer.address,
            client = self.client,
            code = "ok",
            status = 200,
            "Operation answered."
        );
        response(StatusCode::OK, media_type, octets)
    }

    /// A bare HTTP status.
    fn status(
        &self,
        operation: &'static str,
        code: &'static str,
        status: StatusCode,
        body: &'static str,
    ) -> Response<Full<Bytes>> {
        self.service.metrics.wire(&self.endpoint.name, operation, status.as_u16());
        tracing::info!(
            operation,
            endpoint = %self.endpoint.name,
            peer = %self.peer.address,
            client = self.client,
            code,
            status = status.as_u16(),
            "Operation refused."
        );
        text(status, body)
    }
}

fn answered(outcome: Option<&Outcome>, reply: Bytes) -> Verdict {
    let (code, fail_info, detail) = match outcome {
        None => ("replayed", None, String::new()),
        Some(Outcome::Issued(_)) => ("issued", None, String::new()),
        Some(Outcome::Pending { .. }) => ("pending", None, String::new()),
        Some(Outcome::Certificate(_)) => ("certificate", None, String::new()),
        Some(Outcome::Crl(_)) => ("crl", None, String::new()),
        Some(Outcome::Refused(rejection)) => {
            (rejection.code.name(), Some(reply::fail_info(rejection.code).name()), rejection.detail.clone())
        }
    };
    Verdict { code, fail_info, detail, response: response(StatusCode::OK, PKI_MESSAGE, reply) }
}

fn wire_failure(error: &WireError, reply: Option<Vec<u8>>) -> Verdict {
    let code = error.code();
    let detail = error.to_string();
    match (error.answer(), reply) {
        (WireAnswer::Failure(info), Some(reply)) => {
            let response = response(StatusCode::OK, PKI_MESSAGE, Bytes::from(reply));
            Verdict { code, fail_info: Some(info.name()), detail, response }
        }
        (WireAnswer::Status(status), _) => Verdict { code, fail_info: None, detail, response: text(status, &line(error)) },
        // No transactionID to answer to.
        (WireAnswer::Failure(_), None) => {
            Verdict { code, fail_info: None, detail, response: text(StatusCode::BAD_REQUEST, &line(error)) }
        }
    }
}

fn line(error: &WireError) -> String {
    format!("{}\n", error.public())
}

/// Nothing that a device did: it may come again.
fn fault(error: EnrollError) -> Verdict {
    let (code, status, body) = match &error {
        EnrollError::Busy => ("busy", StatusCode::SERVICE_UNAVAILABLE, BUSY),
        EnrollError::Inventory(_) => ("inventory", StatusCode::SERVICE_UNAVAILABLE, BUSY),
        _ => ("internal", StatusCode::INTERNAL_SERVER_ERROR, INTERNAL),
    };
    let mut response = text(status, body);
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_SECONDS));
    } else {
        tracing::error!(%error, "A message could not be answered.");
    }
    Verdict { code, fail_info: None, detail: error.to_string(), response }
}

fn pool_error(error: PoolError) -> EnrollError {
    match error {
        PoolError::Full => EnrollError::Busy,
        PoolError::Panicked => EnrollError::Internal(error.to_string()),
    }
}

/// Reads a body of at most `limit` octets.
async fn collect<B>(body: B, limit: usize) -> Result<Bytes, WireError>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    match Limited::new(body, limit).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(WireError::TooLarge { limit }),
        Err(error) => Err(WireError::Malformed(format!("the body ended early: {error}"))),
    }
}

/// A response with this media type and nothing else: clients exist that stumble over parameters and other headers.
fn response(status: StatusCode, media_type: &'static str, octets: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(octets));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}

fn text(status: StatusCode, body: &str) -> Response<Full<Bytes>> {
    response(status, "text/plain", Bytes::copy_from_slice(body.as_bytes()))
}

/// `host` or `[v6]` out of a Host header.
fn without_port(host: &str) -> Option<&str> {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) && !name.ends_with(':') => name,
        _ => host,
    };
    (!name.is_empty()).then_some(name)
}

/// Stands for a peer that the listener did not name.
const NOBODY: Peer = Peer { address: SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0), tls: false };

/// Longest User-Agent that is logged.
const MAX_CLIENT: usize = 128;

const PKI_MESSAGE: &str = "application/x-pki-message";
const BUSY: &str = "The server is busy. Try again later.\n";
const INTERNAL: &str = "The server failed.\n";
const RETRY_AFTER_SECONDS: &str = "10";
