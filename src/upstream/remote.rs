//! CAs behind a network: what their connectors have in common.
//!
//! A [`Connector`] knows the wire of one kind of CA. [`Remote`] makes an [`UpstreamCa`] of it: it knows the CAs that are configured at
//! that upstream, their certificates, what they can sign with, and where their CRLs are. The core keeps the rate, the queue and the
//! circuit breaker ([`Limits`](super::Limits)), asks [`find`](UpstreamCa::find) after an unclear failure, and looks at every certificate
//! before a device sees it: a connector need not do any of that.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use jiff::Timestamp;

use super::http::Http;
use super::{
    Capabilities, CrlSource, IdempotencyKey, IssuanceOrder, Limits, RevocationRegister, Revoke, Submission, UpstreamCa,
    UpstreamError,
};
use crate::algorithm::{KeyAlgorithm, KeyRule, SignatureAlgorithm};
use crate::x509::Certificate;
use crate::x509::crl::RevocationReason;

mod ca;
mod call;
mod crl_cache;
mod health;
mod open;

pub use ca::{RemoteCa, RemoteCaSettings};
pub use call::CallError;
pub use open::{ConnectorSettings, RemoteUpstream, open};

use crl_cache::{CrlCache, Fetched};

/// The wire of one kind of CA.
///
/// Whatever a method is given was recorded before; whatever it gives is inspected afterwards. A method may be dropped at any await: who
/// asks waits no longer than [`Remote::patience`].
#[async_trait]
pub trait Connector: Send + Sync {
    /// What it can do at this CA. What the CA signs with follows from its certificate.
    fn abilities(&self, ca: &RemoteCa) -> Abilities;

    /// Submits an order. [`Submission::NotTaken`] means that the CA surely has not issued; whatever may have reached it is
    /// [`Submission::Unknown`] ([`CallError::submission`] tells them apart).
    ///
    /// The chain of [`Submission::Issued`], here as in the other methods, is what the CA gave beside the certificate: in any order, with
    /// others among it, and not believed. [`Remote`] looks in it for a CA that was rolled over.
    async fn submit(&self, ca: &RemoteCa, order: &IssuanceOrder, key: &IdempotencyKey) -> Submission;

    /// Asks after an order that was [`Waiting`](Submission::Waiting), by the reference that came with that.
    async fn poll(&self, ca: &RemoteCa, _order: &IssuanceOrder, _reference: &str) -> Submission {
        Submission::Unknown { reason: format!("{} never lets an order wait", ca.name()) }
    }

    /// Finds out what became of an order that may have reached the CA, by the CA's own means (a search, the same idempotency token), and
    /// submits it if it surely did not. Called only where [`Abilities::can_find_again`] says so.
    async fn find(&self, ca: &RemoteCa, order: &IssuanceOrder, key: &IdempotencyKey) -> Submission {
        self.submit(ca, order, key).await
    }

    /// The certificates of this CA as it tells them now, in any order, roots or not; empty if it does not tell. Nothing is believed
    /// that does not lead to a certificate that is configured. It also serves to see whether the CA can be reached, so it has to ask.
    async fn certificates(&self, ca: &RemoteCa) -> Result<Vec<Arc<Certificate>>, CallError>;

    /// What can be found out with the real CA and not without: whether the profile, template, role or label is there, and whether the
    /// credentials are good. Each string is one thing that is wrong. `ravelin check-config --online` asks this.
    async fn check(&self, _ca: &RemoteCa) -> Result<Vec<String>, CallError> {
        Ok(Vec::new())
    }

    /// The longest validity that the real CA gives, where it tells that. `ravelin check-config --online` asks this of a CA of which
    /// nothing is wrong.
    async fn longest_validity(&self, _ca: &RemoteCa) -> Result<Option<Duration>, CallError> {
        Ok(None)
    }

    /// The subject keys that the real CA says it takes from us; `None` if it does not say. `ravelin check-config --online` asks this.
    async fn subject_keys(&self, _ca: &RemoteCa) -> Result<Option<Vec<KeyRule>>, CallError> {
        Ok(None)
    }

    /// What the last [`check`](Self::check) found worth a look that stops nothing.
    fn remarks(&self, _ca: &RemoteCa) -> Vec<String> {
        Vec::new()
    }

    /// Revokes a certificate; called only where [`Abilities::can_revoke`] says so. Revoking it again is no error.
    async fn revoke(&self, ca: &RemoteCa, certificate: &Certificate, reason: RevocationReason) -> Result<(), CallError>;

    /// The current CRL of this CA, DER; `None` if the CA gives none by this protocol. Not called where `crl-url` is configured.
    async fn crl(&self, _ca: &RemoteCa) -> Result<Option<Vec<u8>>, CallError> {
        Ok(None)
    }
}

/// What a connector can do: [`Capabilities`] without what follows from the CA's certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Abilities {
    /// The subject keys that it takes; `None` is all.
    pub subject_keys: Option<Vec<KeyRule>>,
    /// Whether the subject of the certificate may differ from that of the CSR.
    pub overrides_subject: bool,
    /// Whether the subject alternative names may differ from those of the CSR.
    pub overrides_subject_alt_names: bool,
    /// Whether key usages may differ from those of the CSR. Otherwise the CA decides, and what it decided is inspected.
    pub overrides_usages: bool,
    /// Whether the validity can be asked for.
    pub overrides_validity: bool,
    /// Whether it may answer `Waiting`.
    pub can_wait: bool,
    /// Whether it revokes.
    pub can_revoke: bool,
    /// Whether the outcome of an unclear submission can be found again.
    pub can_find_again: bool,
    /// Whether asking after an order may issue another certificate.
    pub poll_may_issue: bool,
    /// Whether the CA sees the CSR with its challengePassword.
    pub sees_challenge: bool,
    /// Whether the CA lets a request in by that challenge.
    pub wants_challenge: bool,
}

/// What all remote upstreams are configured with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteSettings {
    /// Name of the `[[upstream]]`.
    pub name: String,
    /// The CAs there.
    pub cas: Vec<RemoteCaSettings>,
    /// How long one answer may take.
    pub patience: Duration,
    /// How much it is asked.
    pub limits: Limits,
}

/// An upstream behind a network.
pub struct Remote {
    name: String,
    cas: BTreeMap<String, Arc<RemoteCa>>,
    connector: Arc<dyn Connector>,
    /// For what is at an address of its own, such as a CRL: with the trust, the proxy and the limits of this upstream, and without its
    /// credentials.
    http: Http,
    patience: Duration,
    limits: Limits,
    crls: CrlCache,
    remarks: health::Remarks,
}

impl Remote {
    /// Reads the certificates of its CAs. Asks nobody. Blocks.
    pub fn open(settings: &RemoteSettings, connector: Box<dyn Connector>, http: Http) -> Result<Self, RemoteError> {
        let mut cas = BTreeMap::new();
        for ca in &settings.cas {
            cas.insert(ca.name.clone(), Arc::new(RemoteCa::open(ca)?));
        }
        Ok(Self {
            name: settings.name.clone(),
            cas,
            connector: Arc::from(connector),
            http,
            patience: settings.patience,
            limits: settings.limits,
            crls: CrlCache::default(),
            remarks: health::Remarks::default(),
        })
    }

    /// One of its CAs.
    pub fn ca(&self, name: &str) -> Option<&Arc<RemoteCa>> {
        self.cas.get(name)
    }

    fn known(&self, ca: &str) -> Result<&Arc<RemoteCa>, UpstreamError> {
        self.ca(ca).ok_or_else(|| UpstreamError::NoSuchCa { upstream: self.name.clone(), ca: ca.to_owned() })
    }

    fn failed(&self) -> impl Fn(CallError) -> UpstreamError + '_ {
        |error| UpstreamError::Failed { upstream: self.name.clone(), reason: error.to_string() }
    }

    /// Learns what certificates a CA has now.
    async fn refresh(&self, ca: &RemoteCa) -> Result<(), UpstreamError> {
        let told = self.connector.certificates(ca).await.map_err(self.failed())?;
        health::learn(&self.name, ca, &told).await.map_err(|reason| UpstreamError::Failed { upstream: self.name.clone(), reason })
    }

    /// Sees to it that the CA whose key signed a certificate is known: one that was rolled over is learned from what came with the
    /// certificate, or else from what the CA tells of itself, before anybody looks at the certificate. `since` is when the CA was asked:
    /// who waits for the certificate has to be given it in time.
    async fn recognized(&self, ca: &RemoteCa, since: Instant, submission: Submission) -> Submission {
        let Submission::Issued { certificate, chain } = submission else { return submission };
        if ca.knows_issuer_of(&certificate).await {
            return Submission::Issued { certificate, chain: Vec::new() };
        }
        let mut learned = ca.learn_issuer_of(&certificate, &chain).await;
        if learned.is_err() {
            let left = self.patience.saturating_sub(since.elapsed()) / 2;
            learned = match tokio::time::timeout(left, self.connector.certificates(ca)).await {
                Ok(Ok(mut told)) => {
                    told.extend(chain.iter().cloned());
                    ca.learn_issuer_of(&certificate, &told).await
                }
                Ok(Err(error)) => Err(format!("it did not tell its certificates: {error}")),
                Err(_) => Err("it did not tell its certificates in time".to_owned()),
            };
        }
        let serial = certificate.serial_hex();
        match learned {
            Ok(()) => {
                tracing::info!(upstream = self.name, ca = ca.name(), serial, "The CA has another certificate or chain.");
                Submission::Issued { certificate, chain: Vec::new() }
            }
            Err(reason) => {
                tracing::warn!(
                    upstream = self.name,
                    ca = ca.name(),
                    serial,
                    "A certificate is signed by a key that is not known as the CA's: {reason}."
                );
                Submission::Issued { certificate, chain }
            }
        }
    }
}

/// Why a remote upstream cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RemoteError {
    /// A file cannot be read or used.
    #[error("{path}: {why}")]
    File {
        /// Which.
        path: String,
        /// Why.
        why: String,
    },
    /// A key cannot be read; the text names the file.
    #[error("{why}")]
    Key {
        /// Why.
        why: String,
    },
    /// A setting that cannot be.
    #[error("upstream {upstream:?}: {why}")]
    Setting {
        /// Which upstream.
        upstream: String,
        /// Why.
        why: String,
    },
}

#[async_trait]
impl UpstreamCa for Remote {
    fn name(&self) -> &str {
        &self.name
    }

    fn capabilities(&self, ca: &str) -> Option<Capabilities> {
        let ca = self.ca(ca)?;
        let able = self.connector.abilities(ca);
        Some(Capabilities {
            signatures: ca.signatures(),
            alternatives: Vec::new(),
            binds_related: false,
            takes_extensions: false,
            subject_keys: able.subject_keys.unwrap_or_else(all_subject_keys),
            overrides_subject: able.overrides_subject,
            overrides_subject_alt_names: able.overrides_subject_alt_names,
            overrides_usages: able.overrides_usages,
            overrides_validity: able.overrides_validity,
            names: ca.names(),
            can_wait: able.can_wait,
            can_revoke: able.can_revoke,
            can_find_again: able.can_find_again,
            poll_may_issue: able.poll_may_issue,
            sees_challenge: able.sees_challenge,
            wants_challenge: able.wants_challenge,
        })
    }

    fn patience(&self) -> Duration {
        self.patience
    }

    fn limits(&self) -> Limits {
        self.limits
    }

    async fn submit(&self, order: &IssuanceOrder, key: &IdempotencyKey) -> Submission {
        match self.known(&order.issuer.ca) {
            Ok(ca) => {
                let begun = Instant::now();
                self.recognized(ca, begun, self.connector.submit(ca, order, key).await).await
            }
            Err(error) => Submission::Rejected { reason: error.to_string() },
        }
    }

    async fn poll(&self, order: &IssuanceOrder, reference: &str) -> Submission {
        match self.known(&order.issuer.ca) {
            Ok(ca) => {
                let begun = Instant::now();
                self.recognized(ca, begun, self.connector.poll(ca, order, reference).await).await
            }
            Err(error) => Submission::Unknown { reason: error.to_string() },
        }
    }

    async fn find(&self, order: &IssuanceOrder, key: &IdempotencyKey) -> Submission {
        match self.known(&order.issuer.ca) {
            Ok(ca) => {
                let begun = Instant::now();
                self.recognized(ca, begun, self.connector.find(ca, order, key).await).await
            }
            Err(error) => Submission::Unknown { reason: error.to_string() },
        }
    }

    fn chain(&self, ca: &str) -> Option<Arc<[Arc<Certificate>]>> {
        Some(self.ca(ca)?.chain())
    }

    fn chain_above(&self, ca: &str, certificate: &Certificate) -> Option<Arc<[Arc<Certificate>]>> {
        Some(self.ca(ca)?.chain_above(certificate))
    }

    fn previous_certificates(&self, ca: &str) -> Vec<Arc<Certificate>> {
        self.ca(ca).map(|ca| ca.previous()).unwrap_or_default()
    }

    async fn health(&self) -> Result<(), UpstreamError> {
        health::ask(&self.name, &self.connector, self.cas.values(), &self.remarks).await.map_err(self.failed())
    }

    async fn check_online(&self, ca: &str) -> Result<Vec<String>, UpstreamError> {
        let ca = self.known(ca)?;
        self.refresh(ca).await?;
        self.connector.check(ca).await.map_err(self.failed())
    }

    async fn longest_validity_online(&self, ca: &str) -> Result<Option<Duration>, UpstreamError> {
        self.connector.longest_validity(self.known(ca)?).await.map_err(self.failed())
    }

    async fn subject_keys_online(&self, ca: &str) -> Result<Option<Vec<KeyRule>>, UpstreamError> {
        self.connector.subject_keys(self.known(ca)?).await.map_err(self.failed())
    }

    fn remarks(&self, ca: &str) -> Vec<String> {
        self.ca(ca).map(|ca| self.connector.remarks(ca)).unwrap_or_default()
    }

    fn revoke(&self) -> Option<&dyn Revoke> {
        self.cas.values().any(|ca| self.connector.abilities(ca).can_revoke).then_some(self)
    }

    fn crl(&self) -> Option<&dyn CrlSource> {
        Some(self)
    }
}

#[async_trait]
impl Revoke for Remote {
    async fn revoke(&self, ca: &str, certificate: &Certificate, reason: RevocationReason) -> Result<(), UpstreamError> {
        let ca = self.known(ca)?;
        let call = self.connector.revoke(ca, certificate, reason);
        let done = tokio::time::timeout(self.patience, call).await.unwrap_or_else(|_| Err(CallError::no_answer(self.patience)));
        done.map_err(self.failed())?;
        self.crls.forget(ca.name());
        Ok(())
    }
}

#[async_trait]
impl CrlSource for Remote {
    async fn crl(&self, ca: &str, _register: &dyn RevocationRegister) -> Result<Vec<u8>, UpstreamError> {
        let ca = self.known(ca)?;
        let fetch = async {
            let given = match ca.crl_url() {
                Some(url) => Some(self.http.get(url).await?.into()),
                None => self.connector.crl(ca).await?,
            };
            match given {
                Some(der) => Fetched::look(ca, der).await.map(Some),
                None => Ok(None),
            }
        };
        let unsupported = || UpstreamError::Unsupported {
            upstream: self.name.clone(),
            what: "give a CRL; set crl-url for this CA to where it publishes one",
        };
        let given = self.crls.current(ca.name(), Timestamp::now(), self.patience, fetch).await;
        given.map_err(self.failed())?.ok_or_else(unsupported)
    }

    async fn crl_of(
        &self,
        ca: &str,
        issuer: &Certificate,
        register: &dyn RevocationRegister,
    ) -> Result<Option<Vec<u8>>, UpstreamError> {
        match self.known(ca)?.chain().first() {
            Some(current) if current.der() == issuer.der() => CrlSource::crl(self, ca, register).await.map(Some),
            _ => Ok(None),
        }
    }
}

/// All that a device could bring: what a CA takes that does not say.
fn all_subject_keys() -> Vec<KeyRule> {
    let mut rules = vec![KeyRule::RsaRange { min: 1024, max: 16384 }];
    rules.extend(KeyAlgorithm::all_but_rsa().filter(|key| key.can_sign()).map(KeyRule::Exactly));
    rules
}

/// The signatures that a key can make, the usual one first.
fn signatures_by(key: KeyAlgorithm) -> Vec<SignatureAlgorithm> {
    SignatureAlgorithm::ALL
        .iter()
        .copied()
        .filter(|signature| signature.fits(key) && !signature.digest().is_some_and(|d| d.is_legacy()))
        .collect()
}
