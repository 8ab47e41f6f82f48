//! A SCEP client (RFC 8894): enrolls, renews, polls, fetches certificates and CRLs, from any server.
//!
//! It is as strict as a client can be: a reply counts only if a certificate from GetCACert signed it, if it belongs to the
//! transaction and answers the nonce that was sent, and if the certificate in it is for the key that was asked for. What is outdated
//! (MD5, SHA-1, DES, triple DES) is neither sent nor taken unless the caller names it. With other servers' looseness in form it lives:
//! replies without certificates, bags in any order, BER, a CA certificate whose key usage does not fit.
//!
//! GetCACert is authenticated by nothing. Who does not trust the network gives a [`Pin`].

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::algorithm::{ContentCipher, Digest, KeyTransport};
use crate::crypto::provider;
use crate::x509::Certificate;

mod authority;
mod capabilities;
mod error;
mod identity;
mod query;
mod reply;
mod state;
mod transaction;
mod transport;

pub use authority::Authority;
pub use capabilities::Capabilities;
pub use error::ClientError;
pub use identity::{DeviceKey, Identity, ReplyKey};
pub use query::{Found, Query, crl_in};
pub use reply::{Failure, Protection};
pub use state::{SavedTransaction, key_transport, key_transport_name};
pub use transaction::{CsrSource, Issued, Outcome, Outgoing, Request, Transaction};

use transport::{Answer, PKI_OPERATION, Transport};

/// How a client goes about its work.
#[derive(Clone, Debug)]
pub struct Options {
    /// How messages are sent.
    pub method: Method,
    /// The digest of signatures; by the server's capabilities if not said.
    pub digest: Option<Digest>,
    /// The content cipher; by the server's capabilities if not said.
    pub cipher: Option<ContentCipher>,
    /// How content keys travel.
    pub key_transport: KeyTransport,
    /// Outdated digests that are taken in replies, besides the one that is sent.
    pub accept_digests: Vec<Digest>,
    /// Outdated ciphers that are taken in replies, besides the one that is sent.
    pub accept_ciphers: Vec<ContentCipher>,
    /// What the certificates of GetCACert have to lead to; nothing trusts whoever answers.
    pub pins: Vec<Pin>,
    /// The roots that an https server is checked with.
    pub tls_roots: Vec<Certificate>,
    /// The name of the CA that servers with several want in GetCACaps and GetCACert.
    pub ca_identifier: Option<String>,
    /// How long one exchange may take.
    pub timeout: Duration,
    /// Longest answer that is read, in octets.
    pub max_reply: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            method: Method::default(),
            digest: None,
            cipher: None,
            key_transport: KeyTransport::Pkcs1v15,
            accept_digests: Vec::new(),
            accept_ciphers: Vec::new(),
            pins: Vec::new(),
            tls_roots: Vec::new(),
            ca_identifier: None,
            timeout: Duration::from_secs(30),
            max_reply: 1024 * 1024,
        }
    }
}

/// How PKIOperation is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Method {
    /// By POST where the server names it, else by GET (RFC 8894 section 4.1).
    #[default]
    Auto,
    /// In the query, in base64.
    Get,
    /// In the body.
    Post,
}

/// A certificate that is known to be good before the server is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pin {
    /// A CA certificate, or an RA certificate.
    Certificate(Box<Certificate>),
    /// Its SHA-256.
    Fingerprint([u8; 32]),
}

impl Pin {
    fn is(&self, certificate: &Certificate) -> bool {
        match self {
            Pin::Certificate(pinned) => pinned.der() == certificate.der(),
            Pin::Fingerprint(pinned) => *pinned == certificate.fingerprint(),
        }
    }
}

/// How a transaction that is pending is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Polling {
    /// Time between two questions.
    pub interval: Duration,
    /// Most questions.
    pub max: u32,
    /// Whether the same request is sent again instead of a CertPoll, as some devices do.
    pub resend: bool,
}

/// A client of one server.
#[derive(Clone)]
pub struct Client {
    transport: Transport,
    options: Arc<Options>,
}

/// What an enrollment came to so far.
#[derive(Clone, Debug)]
pub struct Enrollment {
    /// For [`Client::poll`] and [`Transaction::save`].
    pub transaction: Transaction,
    /// The first answer.
    pub outcome: Outcome,
}

impl Client {
    /// A client for this address, such as `http://ra.example.net/scep/routers`.
    pub fn new(url: &str, options: Options) -> Result<Self, ClientError> {
        Ok(Self { transport: Transport::new(url, &options)?, options: Arc::new(options) })
    }

    /// GetCACaps. A server that answers with an HTTP error has none (RFC 8894 section 3.5.2).
    pub async fn capabilities(&self) -> Result<Capabilities, ClientError> {
        match self.transport.get("GetCACaps", self.options.ca_identifier.as_deref()).await {
            Ok(answer) => Ok(Capabilities::parse(&String::from_utf8_lossy(&answer.body))),
            Err(ClientError::Status { status, .. }) => {
                tracing::info!(%status, "The server does not tell its capabilities.");
                Ok(Capabilities::default())
            }
            Err(other) => Err(other),
        }
    }

    /// GetCACert.
    pub async fn ca_certificates(&self) -> Result<Authority, ClientError> {
        let answer = self.transport.get("GetCACert", self.options.ca_identifier.as_deref()).await?;
        Authority::read(&answer.body, &self.options.pins, Timestamp::now()).map_err(|error| match error {
            ClientError::X509(why) => {
                let content_type = answer.content_type;
                ClientError::BadAnswer { operation: "GetCACert", content_type, why: why.to_string() }
            }
            other => other,
        })
    }

    /// Makes everything ready and sends nothing but the questions for capabilities and certificates.
    pub async fn prepare(&self, request: Request) -> Result<Transaction, ClientError> {
        let capabilities = self.capabilities().await?;
        let authority = Arc::new(self.ca_certificates().await?);
        self.prepare_with(request, authority, &capabilities).await
    }

    /// Makes everything ready, with what is known already.
    pub async fn prepare_with(
        &self,
        request: Request,
        authority: Arc<Authority>,
        capabilities: &Capabilities,
    ) -> Result<Transaction, ClientError> {
        let (options, capabilities) = (Arc::clone(&self.options), capabilities.clone());
        blocking(move || Transaction::new(request, authority, &capabilities, &options, Timestamp::now())).await
    }

    /// Enrolls or renews: sends one request and gives its first answer.
    pub async fn enroll(&self, request: Request) -> Result<Enrollment, ClientError> {
        let capabilities = self.capabilities().await?;
        let authority = Arc::new(self.ca_certificates().await?);
        let transaction = self.prepare_with(request, authority, &capabilities).await?;
        let post = self.posts_by(&capabilities);
        let outcome = self.exchange(&transaction, Arc::clone(&transaction.message), post).await?;
        Ok(Enrollment { transaction, outcome })
    }

    /// Sends the request of a transaction, or the same octets again.
    pub async fn send(&self, transaction: &Transaction) -> Result<Outcome, ClientError> {
        let post = self.posts().await?;
        self.exchange(transaction, Arc::clone(&transaction.message), post).await
    }

    /// CertPoll: asks what became of a request.
    pub async fn poll(&self, transaction: &Transaction) -> Result<Outcome, ClientError> {
        let post = self.posts().await?;
        let asks = transaction.clone();
        let message = blocking(move || asks.poll_message()).await?;
        self.exchange(transaction, Arc::new(message), post).await
    }

    /// Polls until there is another answer than PENDING, or `polling.max` times.
    pub async fn wait(&self, transaction: &Transaction, polling: Polling) -> Result<Outcome, ClientError> {
        for _ in 0..polling.max {
            tokio::time::sleep(polling.interval).await;
            let outcome = if polling.resend { self.send(transaction).await? } else { self.poll(transaction).await? };
            if outcome != Outcome::Pending {
                return Ok(outcome);
            }
        }
        Ok(Outcome::Pending)
    }

    /// Takes up a transaction that was saved. The server is asked for its certificates again, for they may be new; if none is
    /// pinned, they have to continue those that were saved. `signing_key` is the key that signed, if not `key` itself; `reply_key` the
    /// one that replies are encrypted to, if there is one of its own.
    pub async fn resume(
        &self,
        saved: &SavedTransaction,
        key: &DeviceKey,
        signing_key: Option<&DeviceKey>,
        reply_key: Option<&ReplyKey>,
    ) -> Result<Transaction, ClientError> {
        let authority = self.ca_certificates().await?;
        saved.resume(key, signing_key.unwrap_or(key), reply_key, authority, &self.options)
    }

    async fn exchange(&self, transaction: &Transaction, message: Arc<Outgoing>, post: bool) -> Result<Outcome, ClientError> {
        let answer = self.deliver(&message, post).await?;
        let transaction = transaction.clone();
        blocking(move || transaction.open(&message, &answer.body)).await
    }

    async fn deliver(&self, message: &Outgoing, post: bool) -> Result<Answer, ClientError> {
        let answer = if post {
            self.transport.post_message(&message.der).await?
        } else {
            self.transport.get_message(&message.der).await?
        };
        let textual = answer.content_type.as_deref().is_some_and(|kind| kind.starts_with("text/"));
        if answer.body.is_empty() || textual && answer.body.first() != Some(&SEQUENCE) {
            let why = if answer.body.is_empty() { "it is empty" } else { "it is text" };
            let content_type = answer.content_type;
            return Err(ClientError::BadAnswer { operation: PKI_OPERATION, content_type, why: why.into() });
        }
        Ok(answer)
    }

    async fn posts(&self) -> Result<bool, ClientError> {
        Ok(match self.options.method {
            Method::Auto => self.capabilities().await?.post(),
            _ => self.posts_by(&Capabilities::default()),
        })
    }

    /// Whether messages go by POST, given what the server can do.
    pub fn posts_by(&self, capabilities: &Capabilities) -> bool {
        match self.options.method {
            Method::Post => true,
            Method::Get => false,
            Method::Auto => capabilities.post(),
        }
    }
}

/// Runs slow work off the async threads.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, ClientError> + Send + 'static) -> Result<T, ClientError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// A transactionID for messages that belong to no enrollment.
fn random_transaction_id() -> String {
    hex::encode(provider().random::<16>())
}

/// First octet of every CMS message.
const SEQUENCE: u8 = 0x30;

#[cfg(test)]
mod tests;
