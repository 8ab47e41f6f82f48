//! What is exchanged with a SCEP server: what it says of itself, messages, and replies that are checked.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Request, StatusCode};
use jiff::Timestamp;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::{Scep, describe};
use crate::scep::client::{Authority, Capabilities, ClientError, Options, Outcome, Outgoing, Pin, Transaction};
use crate::upstream::http::Answer;
use crate::upstream::remote::{CallError, RemoteCa};

/// What a server says of itself.
#[derive(Clone)]
pub(super) struct Server {
    pub(super) capabilities: Arc<Capabilities>,
    pub(super) authority: Arc<Authority>,
    pub(super) options: Arc<Options>,
    /// Whether it was said just now.
    pub(super) fresh: bool,
}

/// How long that is believed.
const BELIEVED: Duration = Duration::from_secs(600);

impl Scep {
    fn url(&self, ca: &RemoteCa, operation: &str, message: Option<&str>) -> String {
        let path = self.settings.cas.get(ca.name()).and_then(|ca| ca.path.as_deref()).unwrap_or_default();
        let base = format!("{}{path}", self.http.url());
        let separator = if base.contains('?') { '&' } else { '?' };
        let message = message.map(|text| format!("&message={}", utf8_percent_encode(text, NON_ALPHANUMERIC))).unwrap_or_default();
        format!("{base}{separator}operation={operation}{message}")
    }

    async fn get(&self, ca: &RemoteCa, operation: &str) -> Result<Answer, CallError> {
        let identifier = self.settings.cas.get(ca.name()).and_then(|ca| ca.identifier.as_deref());
        let request = Request::get(self.url(ca, operation, identifier)).body(Bytes::new());
        self.http.send(request.map_err(|error| CallError::Refused(error.to_string()))?).await
    }

    /// What the server says of itself, now or a while ago.
    pub(super) async fn server(&self, ca: &RemoteCa) -> Result<Server, CallError> {
        if let Some((at, server)) = self.lock().get(ca.name())
            && at.elapsed() < BELIEVED
        {
            return Ok(Server { fresh: false, ..server.clone() });
        }
        self.ask_server(ca).await
    }

    pub(super) async fn ask_server(&self, ca: &RemoteCa) -> Result<Server, CallError> {
        let capabilities = self.get(ca, "GetCACaps").await?;
        // One that answers with an error has none (RFC 8894 section 3.5.2), unless it is down.
        let capabilities = match capabilities.status {
            StatusCode::OK => Capabilities::parse(&String::from_utf8_lossy(&capabilities.body)),
            status if status.is_client_error() => Capabilities::default(),
            _ => return Err(capabilities.success().err().unwrap_or_else(|| CallError::Unclear("GetCACaps".into()))),
        };
        let certificates = self.get(ca, "GetCACert").await?.success()?;
        let pins = match self.recipients.get(ca.name()) {
            Some(pins) => pins.clone(),
            None => ca.chain().iter().map(|certificate| Pin::Certificate(Box::new((**certificate).clone()))).collect(),
        };
        let authority = Authority::read(&certificates.body, &pins, Timestamp::now())
            .map_err(|error| CallError::Unclear(format!("GetCACert: {error}")))?;
        let options = Options {
            digest: self.settings.digest,
            cipher: self.settings.cipher,
            accept_digests: self.settings.accept_digests.clone(),
            accept_ciphers: self.settings.accept_ciphers.clone(),
            ..Options::default()
        };
        let server = Server {
            capabilities: Arc::new(capabilities),
            authority: Arc::new(authority),
            options: Arc::new(options),
            fresh: true,
        };
        self.lock().insert(ca.name().to_owned(), (Instant::now(), server.clone()));
        Ok(server)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, (Instant, Server)>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// PKIOperation.
    pub(super) async fn exchange(&self, ca: &RemoteCa, server: &Server, message: &[u8]) -> Result<Bytes, CallError> {
        const OPERATION: &str = "PKIOperation";
        let request = match server.capabilities.post() {
            true => Request::post(self.url(ca, OPERATION, None))
                .header(CONTENT_TYPE, "application/x-pki-message")
                .body(Bytes::copy_from_slice(message)),
            false => Request::get(self.url(ca, OPERATION, Some(&STANDARD.encode(message)))).body(Bytes::new()),
        };
        // By GET too it may have the CA issue.
        let answer = self.http.send_once(request.map_err(|error| CallError::Refused(error.to_string()))?).await?;
        match answer.status {
            // Somebody has to mend the address, or the way in, while devices wait: a refusal by the CA is a signed message.
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => {
                Err(CallError::not_taken(format!("{}: {}", answer.status, answer.excerpt())))
            }
            _ => Ok(answer.success()?.body),
        }
    }

    /// Checks an answer to the request, or to another message of the transaction. Where that is no good, or a refusal, the server is
    /// asked for its certificates again, until then at the latest: it may have others by now, and what was encrypted to an earlier key
    /// it cannot open, so its refusal says nothing of the order.
    pub(super) async fn read_reply(
        &self,
        ca: &RemoteCa,
        server: Server,
        transaction: Transaction,
        answer: Bytes,
        other: Option<Outgoing>,
        until: Instant,
    ) -> Result<Outcome, CallError> {
        let try_open = async |transaction: Transaction| {
            let (answer, other) = (answer.clone(), other.clone());
            blocking(move || transaction.open(other.as_ref().unwrap_or(transaction.outgoing()), &answer)).await
        };
        let opened = try_open(transaction.clone()).await;
        let unclear = |error: ClientError| CallError::Unclear(error.to_string());
        if server.fresh || matches!(opened, Ok(Outcome::Issued(_) | Outcome::Pending)) {
            return opened.map_err(unclear);
        }
        let asked = tokio::time::timeout_at(until.into(), self.ask_server(ca)).await;
        let asked = asked.unwrap_or_else(|_| Err(CallError::no_answer(self.http.timeout())));
        let (outcome, now) = match (opened, asked) {
            (Ok(outcome), Ok(now)) => (outcome, now),
            // It signed that it refuses, so it issued nothing; whether it could read the request is open.
            (Ok(_), Err(error)) => return Err(CallError::not_taken(format!("a refusal, and then: {error}"))),
            (Err(_), Ok(now)) => {
                let transaction = transaction.with_authority(Arc::clone(&now.authority));
                (try_open(transaction).await.map_err(unclear)?, now)
            }
            (Err(error), Err(_)) => return Err(unclear(error)),
        };
        match outcome {
            Outcome::Failed(failure) if now.authority.encryption().der() != server.authority.encryption().der() => {
                Err(CallError::not_taken(format!("the server has another certificate by now ({})", describe(&failure))))
            }
            outcome => Ok(outcome),
        }
    }
}

/// Runs slow work off the async threads.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ClientError> + Send + 'static,
) -> Result<T, ClientError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
