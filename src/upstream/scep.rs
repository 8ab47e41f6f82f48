//! Another SCEP server (RFC 8894) as the CA: NDES, a CA with SCEP in front, another Ravelin.
//!
//! The CSR is the device's and is handed on as it is: nobody but the device could change anything in it, its challengePassword included.
//! So the CA either knows the challenge that the device brings ([`Trust::DeviceChallenge`]), or trusts our certificate
//! ([`Trust::RaCertificate`]). Messages are signed with one configured key, and replies are encrypted to it: an order that waits is asked
//! after with the same key, however often this process was started since.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use jiff::Timestamp;

use super::excerpt::short;
use super::http::Http;
use super::remote::{Abilities, CallError, Connector, RemoteCa, RemoteError};
use super::{IdempotencyKey, IssuanceOrder, Submission};
use crate::algorithm::{ContentCipher, Digest};
use crate::crypto::keystore;
use crate::scep::client::{DeviceKey, Failure, Found, Identity, Outcome, Pin, Query, Transaction, crl_in};
use crate::scep::issuer_and::IssuerAndSerialNumber;
use crate::scep::{FailInfo, MessageType};
use crate::x509::crl::RevocationReason;
use crate::x509::{Certificate, VerifiedCsr};

mod exchange;

use exchange::{Server, blocking};

/// What a SCEP server is configured with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScepSettings {
    /// Why the server lets a request in.
    pub trust: Trust,
    /// PEM: the certificate of the key that signs our messages.
    pub certificate: PathBuf,
    /// PEM: that key, RSA: replies are encrypted to it.
    pub key: PathBuf,
    /// Whether requests are sent as RenewalReq, not as PKCSReq.
    pub renews: bool,
    /// Whether the server answers a CertPoll for an order that it has, whatever became of it, and says badCertId for one that it
    /// never had.
    pub finds_again: bool,
    /// Whether the server answers GetCRL.
    pub gives_crl: bool,
    /// How often orders that wait are asked after.
    pub poll: Duration,
    /// The digest of our messages, if not the best that the server names.
    pub digest: Option<Digest>,
    /// The cipher of our messages, if not the best that the server names.
    pub cipher: Option<ContentCipher>,
    /// Outdated digests that are taken in replies.
    pub accept_digests: Vec<Digest>,
    /// Outdated ciphers that are taken in replies.
    pub accept_ciphers: Vec<ContentCipher>,
    /// Where each CA is.
    pub cas: BTreeMap<String, ScepCa>,
}

/// One CA of a SCEP server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScepCa {
    /// What is added to the address.
    pub path: Option<String>,
    /// What GetCACert and GetCACaps name it by.
    pub identifier: Option<String>,
    /// PEM: the only certificates that requests may be encrypted to and replies signed with; those that lead to the CA, if not said.
    pub recipients: Option<PathBuf>,
}

/// Why the server lets a request in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// The device brings a challenge that the server knows.
    DeviceChallenge,
    /// Our certificate; it asks for no challenge.
    RaCertificate,
}

/// A SCEP server.
pub struct Scep {
    http: Http,
    settings: ScepSettings,
    identity: Identity,
    recipients: BTreeMap<String, Vec<Pin>>,
    /// What the servers said of themselves.
    known: Mutex<HashMap<String, (Instant, Server)>>,
}

impl Scep {
    /// Reads the certificate and its key. Blocks.
    pub fn open(settings: &ScepSettings, passphrase: &str, http: Http) -> Result<Self, RemoteError> {
        let failed = |path: &Path, why: &dyn std::fmt::Display| RemoteError::File {
            path: path.display().to_string(),
            why: why.to_string(),
        };
        let read = |path: &Path| std::fs::read_to_string(path).map_err(|error| failed(path, &error));
        let certificate =
            Certificate::from_pem(&read(&settings.certificate)?).map_err(|error| failed(&settings.certificate, &error))?;
        let encrypted = read(&settings.key)?.contains("-----BEGIN ENCRYPTED ");
        let pkcs8 =
            keystore::read_key(&settings.key, encrypted.then_some(passphrase)).map_err(|error| failed(&settings.key, &error))?;
        let key = DeviceKey::from_pkcs8(&pkcs8).map_err(|error| failed(&settings.key, &error))?;
        if !key.algorithm().can_decrypt() {
            return Err(failed(&settings.key, &"SCEP replies are encrypted to this key, so it has to be an RSA key"));
        }
        let identity = Identity::new(key, certificate)
            .map_err(|_| failed(&settings.key, &format!("not the key of {}", settings.certificate.display())))?;
        let mut recipients = BTreeMap::new();
        for (name, ca) in &settings.cas {
            if let Some(path) = &ca.recipients {
                let certificates = Certificate::chain_from_pem(&read(path)?).map_err(|error| failed(path, &error))?;
                let pins = certificates.into_iter().map(|certificate| Pin::Certificate(Box::new(certificate)));
                recipients.insert(name.clone(), pins.collect());
            }
        }
        Ok(Self { http, settings: settings.clone(), identity, recipients, known: Mutex::default() })
    }

    /// The transaction of an order. Its messages are made anew each time, and belong together by their transactionID.
    async fn transaction(&self, order: &IssuanceOrder, id: &str, server: &Server) -> Result<Transaction, CallError> {
        let (csr, identity, id) = (zeroize::Zeroizing::new(order.csr.clone()), self.identity.clone(), id.to_owned());
        let kind = if self.settings.renews { MessageType::RenewalReq } else { MessageType::PkcsReq };
        let server = server.clone();
        let made = blocking(move || {
            let csr = VerifiedCsr::from_der(&csr)?;
            Transaction::relayed(csr, identity, kind, id, server.authority, &server.capabilities, &server.options)
        });
        made.await.map_err(|error| CallError::not_taken(format!("the message cannot be made: {error}")))
    }

    /// Sends the request of an order.
    async fn request(&self, ca: &RemoteCa, order: &IssuanceOrder, id: &str) -> Result<Submission, CallError> {
        let harmless = |error: CallError| match error {
            // Nothing but questions was sent so far.
            CallError::Unclear(reason) | CallError::Refused(reason) => CallError::not_taken(reason),
            not_taken => not_taken,
        };
        // Who asks lets us go when one answer is overdue. Learning the server must not use that up, or nobody would know that the request
        // was never sent.
        let (half, until) = (self.http.timeout() / 2, Instant::now() + self.http.timeout());
        let slow = |_| CallError::not_taken(format!("the server did not tell its certificates within {} ms", half.as_millis()));
        let server = tokio::time::timeout(half, self.server(ca)).await.map_err(slow)?.map_err(harmless)?;
        let transaction = self.transaction(order, id, &server).await?;
        if self.settings.trust == Trust::DeviceChallenge && transaction.csr().challenge_password().is_none() {
            let reason = "the SCEP server wants the challenge of the device, and its CSR has none (most clients leave it out when they renew)";
            return Err(CallError::Refused(reason.to_owned()));
        }
        let answer = self.exchange(ca, &server, transaction.outgoing().der()).await?;
        let outcome = self.read_reply(ca, server, transaction, answer, None, until).await?;
        Ok(self.submission(outcome, id))
    }

    /// Asks after the order of a transaction.
    async fn cert_poll(&self, ca: &RemoteCa, order: &IssuanceOrder, id: &str) -> Result<Outcome, CallError> {
        let until = Instant::now() + self.http.timeout();
        let server = self.server(ca).await?;
        let transaction = self.transaction(order, id, &server).await?;
        let asks = transaction.clone();
        let poll = blocking(move || asks.poll_message()).await.map_err(|error| CallError::not_taken(error.to_string()))?;
        let answer = self.exchange(ca, &server, poll.der()).await?;
        self.read_reply(ca, server, transaction, answer, Some(poll), until).await
    }

    fn submission(&self, outcome: Outcome, id: &str) -> Submission {
        match outcome {
            Outcome::Issued(issued) => Submission::Issued {
                certificate: Arc::new(issued.certificate),
                chain: issued.chain.into_iter().map(Arc::new).collect(),
            },
            Outcome::Pending => Submission::Waiting { reference: self.reference(id), retry_after: self.settings.poll },
            Outcome::Failed(failure) => Submission::Rejected { reason: describe(&failure) },
        }
    }

    /// What an order that waits is asked after by: its transactionID, and which key signed.
    fn reference(&self, id: &str) -> String {
        format!("{id} {}", self.key_name())
    }

    fn key_name(&self) -> String {
        hex::encode(&crate::crypto::provider().digester.sha256(self.identity.certificate.spki())[..8])
    }
}

#[async_trait]
impl Connector for Scep {
    fn abilities(&self, _ca: &RemoteCa) -> Abilities {
        Abilities {
            can_wait: true,
            can_find_again: self.settings.finds_again,
            sees_challenge: true,
            wants_challenge: self.settings.trust == Trust::DeviceChallenge,
            ..Abilities::default()
        }
    }

    async fn submit(&self, ca: &RemoteCa, order: &IssuanceOrder, key: &IdempotencyKey) -> Submission {
        self.request(ca, order, &key.to_string()).await.unwrap_or_else(CallError::submission)
    }

    async fn poll(&self, ca: &RemoteCa, order: &IssuanceOrder, reference: &str) -> Submission {
        let (id, key) = reference.split_once(' ').unwrap_or((reference, ""));
        if key != self.key_name() {
            return Submission::Lost {
                reason: format!(
                    "the order waits under transactionID {id}, and was signed with another key than the one of `signer-key` now: \
                     the server answers only to that"
                ),
            };
        }
        match self.cert_poll(ca, order, id).await {
            Ok(Outcome::Failed(failure)) if failure.fail_info == Some(FailInfo::BadCertId) => Submission::Lost {
                reason: format!("the server does not know the order any more that waits under transactionID {id}"),
            },
            Ok(Outcome::Failed(failure)) if is_about_the_message(&failure) => {
                CallError::Refused(describe(&failure)).poll_again(reference)
            }
            Ok(outcome) => self.submission(outcome, id),
            Err(error) => error.poll_again(reference),
        }
    }

    async fn find(&self, ca: &RemoteCa, order: &IssuanceOrder, key: &IdempotencyKey) -> Submission {
        let id = key.to_string();
        let unclear = |why: &dyn std::fmt::Display| Submission::Unknown {
            reason: format!("the earlier request with transactionID {id} is not found again yet: {why}"),
        };
        match self.cert_poll(ca, order, &id).await {
            Ok(Outcome::Failed(failure)) if failure.fail_info == Some(FailInfo::BadCertId) => {
                // It has none under this transactionID; should it have lost it, the same ID goes out again.
                self.submit(ca, order, key).await
            }
            Ok(Outcome::Failed(failure)) => unclear(&describe(&failure)),
            Ok(outcome) => self.submission(outcome, &id),
            Err(error) => unclear(&error),
        }
    }

    async fn certificates(&self, ca: &RemoteCa) -> Result<Vec<Arc<Certificate>>, CallError> {
        let server = self.ask_server(ca).await?;
        Ok(server.authority.ca_certificates().map(|certificate| Arc::new(certificate.clone())).collect())
    }

    async fn check(&self, ca: &RemoteCa) -> Result<Vec<String>, CallError> {
        let server = self.ask_server(ca).await?;
        let mut wrong = Vec::new();
        if self.settings.renews && !server.capabilities.renewal() {
            wrong.push("`message` is RenewalReq, and the server does not name the capability Renewal".to_owned());
        }
        let encryption = server.authority.encryption();
        if encryption.not_after() < Timestamp::now() {
            wrong.push(format!("the certificate that requests are encrypted to ended {}", encryption.not_after()));
        }
        if let Err(error) = server.capabilities.digest(self.identity.key.algorithm())
            && self.settings.digest.is_none()
        {
            wrong.push(error.to_string());
        }
        if let Err(error) = server.capabilities.cipher()
            && self.settings.cipher.is_none()
        {
            wrong.push(error.to_string());
        }
        Ok(wrong)
    }

    async fn revoke(&self, _ca: &RemoteCa, _certificate: &Certificate, _reason: RevocationReason) -> Result<(), CallError> {
        Err(CallError::Refused("SCEP has no revocation".to_owned()))
    }

    async fn crl(&self, ca: &RemoteCa) -> Result<Option<Vec<u8>>, CallError> {
        if !self.settings.gives_crl {
            return Ok(None);
        }
        let server = self.server(ca).await?;
        // Servers go by the issuer; the serial number is that of a certificate that might be on the list.
        let own = &self.identity.certificate;
        let issuer = ca.certificate();
        let serial = match own.issuer().matches(issuer.subject()) {
            true => own.serial().to_vec(),
            false => vec![1],
        };
        let wanted = IssuerAndSerialNumber { issuer: issuer.subject().der().to_vec(), serial };
        let (identity, asked) = (self.identity.clone(), server.clone());
        let query = blocking(move || {
            Query::new(MessageType::GetCrl, identity, &wanted, asked.authority, &asked.capabilities, &asked.options)
        });
        let query = query.await.map_err(|error| CallError::not_taken(error.to_string()))?;
        let answer = self.exchange(ca, &server, query.outgoing().der()).await?;
        let found = blocking(move || match query.open(&answer)? {
            Found::Found(content) => crl_in(&content, &server.authority).map(Ok),
            Found::Failed(failure) => Ok(Err(failure)),
        });
        match found.await.map_err(|error| CallError::Unclear(error.to_string()))? {
            Ok(crl) => Ok(Some(crl)),
            Err(failure) => Err(CallError::Refused(describe(&failure))),
        }
    }
}

/// Whether the server refuses the message, and says nothing of the order that is asked after with it.
fn is_about_the_message(failure: &Failure) -> bool {
    matches!(failure.fail_info, Some(FailInfo::BadAlg | FailInfo::BadMessageCheck | FailInfo::BadTime))
}

/// A refusal in words.
fn describe(failure: &Failure) -> String {
    let code = match (failure.fail_info, failure.number) {
        (Some(known), _) => known.name().to_owned(),
        (None, Some(number)) => format!("failInfo {number}"),
        (None, None) => "no failInfo".to_owned(),
    };
    match failure.text.as_deref().map(short).as_deref() {
        None | Some("") => format!("the SCEP server refuses: {code}"),
        Some(text) => format!("the SCEP server refuses: {code}, {text:?}"),
    }
}

#[cfg(test)]
mod tests;
