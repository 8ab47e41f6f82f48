//! The seam to the CA behind: one contract for every connector, the embedded CA included.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::algorithm::{KeyRule, SignatureAlgorithm};
use crate::x509::Certificate;
use crate::x509::crl::{RevocationReason, RevokedCertificate};

pub mod acme;
pub mod ad_cs;
pub mod aws_pca;
pub mod cmp;
pub mod delegate;
pub mod ejbca;
pub mod est;
mod excerpt;
mod files;
pub mod http;
pub mod jose;
mod limits;
pub mod local;
pub mod order;
pub mod remote;
pub mod scep;
pub mod secret;
pub mod step_ca;
pub mod vault;
// No connector's tests use all of it.
#[cfg(test)]
#[allow(dead_code)]
pub(crate) mod testing;

pub use limits::{ASK_AGAIN, Limits, NamesRule, Rate};
pub use order::{AllowedUsages, IdempotencyKey, IssuanceOrder, RelatedCertificate, SiblingOrder};

/// A CA that issues what an [`IssuanceOrder`] says.
///
/// `ca` in the methods is the selector of the algorithm profile ([`crate::algorithm::IssuerRef::ca`]): the CA, alias, role or
/// label at this upstream.
#[async_trait]
pub trait UpstreamCa: Send + Sync {
    /// Name of the `[[upstream]]`.
    fn name(&self) -> &str;

    /// What this upstream can do with this selector; `None` if it has no such CA.
    fn capabilities(&self, ca: &str) -> Option<Capabilities>;

    /// How long an answer may take. Who asks stops waiting then, and at the latest well before its lease on the attempt runs out:
    /// a submission without an answer is [`Submission::Unknown`].
    fn patience(&self) -> Duration {
        Duration::MAX
    }

    /// How much it may be asked. The core keeps to it.
    fn limits(&self) -> Limits {
        Limits::NONE
    }

    /// Submits an order that surely has not reached the CA before.
    async fn submit(&self, order: &IssuanceOrder, key: &IdempotencyKey) -> Submission;

    /// Asks after an order that was [`Waiting`](Submission::Waiting). [`NotTaken`](Submission::NotTaken) means that this question was not
    /// taken: it is asked again.
    async fn poll(&self, order: &IssuanceOrder, reference: &str) -> Submission;

    /// Finds out what became of an order that may have reached the CA, and submits it if it did not: where the outcome of a submission
    /// was unclear, or the node stopped over it. Gives the certificate that was issued then, if one was. Asked only where
    /// [`can_find_again`](Capabilities::can_find_again) says so. What could not be found out stays unclear:
    /// [`NotTaken`](Submission::NotTaken) means no more here than that this question was not taken, and
    /// [`Rejected`](Submission::Rejected) that the CA refused the order, not the question.
    async fn find(&self, order: &IssuanceOrder, key: &IdempotencyKey) -> Submission {
        self.submit(order, key).await
    }

    /// The chain of this CA as last known: the issuing certificate first, the root last.
    fn chain(&self, ca: &str) -> Option<Arc<[Arc<Certificate>]>>;

    /// The chain above a certificate that this CA issued: that of the generation whose key signed it, where the CA was rolled over.
    fn chain_above(&self, ca: &str, _certificate: &Certificate) -> Option<Arc<[Arc<Certificate>]>> {
        self.chain(ca)
    }

    /// The name of the key that signs for this CA now ([`crl_key_name`]), where orders can name it. An order that does is carried
    /// out with that key, however late, so that no order is carried out half by one generation and half by the next.
    fn issuer_key(&self, _ca: &str) -> Option<String> {
        None
    }

    /// The living generations of the CA that this certificate is one of, the current one first, then earlier ones; empty if it is no CA
    /// of this upstream, or one that can have only one.
    fn generations(&self, _certificate: &Certificate) -> Vec<Arc<Certificate>> {
        Vec::new()
    }

    /// The next certificate of a CA whose key we hold, once it was prepared (RFC 8894 section 4.7).
    fn next_certificate(&self, _ca: &str) -> Option<Arc<Certificate>> {
        None
    }

    /// Earlier certificates of this CA that leaves may still chain to: what they signed counts for renewals.
    fn previous_certificates(&self, _ca: &str) -> Vec<Arc<Certificate>> {
        Vec::new()
    }

    /// Whether a CA of this upstream can be reached, with the reason if none can; one that says no can be. Refreshes what
    /// [`chain`](Self::chain) gives.
    async fn health(&self) -> Result<(), UpstreamError>;

    /// Asks the real CA what can be known of it only so, for `ravelin check-config --online`: each string is one thing that is wrong.
    async fn check_online(&self, _ca: &str) -> Result<Vec<String>, UpstreamError> {
        self.health().await.map(|()| Vec::new())
    }

    /// The longest validity that the real CA gives, where it tells that: for `ravelin check-config --online` too.
    async fn longest_validity_online(&self, _ca: &str) -> Result<Option<Duration>, UpstreamError> {
        Ok(None)
    }

    /// The subject keys that the real CA says it takes, for `ravelin check-config --online`; `None` if it does not say.
    async fn subject_keys_online(&self, _ca: &str) -> Result<Option<Vec<KeyRule>>, UpstreamError> {
        Ok(None)
    }

    /// What the last [`check_online`](Self::check_online) found worth a look that stops nothing.
    fn remarks(&self, _ca: &str) -> Vec<String> {
        Vec::new()
    }

    /// The ability to revoke, where there is one.
    fn revoke(&self) -> Option<&dyn Revoke> {
        None
    }

    /// The ability to give a CRL, where there is one.
    fn crl(&self) -> Option<&dyn CrlSource> {
        None
    }

    /// The ability to sign on behalf of a CA whose key we hold, where there is one: GetNextCACert answers are signed so.
    fn ca_signer(&self, _ca: &str) -> Option<Arc<dyn crate::crypto::Signer>> {
        None
    }

    /// The same, of the CA whose current certificate this is.
    fn signer_of(&self, _certificate: &Certificate) -> Option<Arc<dyn crate::crypto::Signer>> {
        None
    }
}

/// Revokes certificates.
#[async_trait]
pub trait Revoke: Send + Sync {
    /// Revokes one certificate. Revoking it again is no error.
    async fn revoke(&self, ca: &str, certificate: &Certificate, reason: RevocationReason) -> Result<(), UpstreamError>;
}

/// Gives the current CRL.
#[async_trait]
pub trait CrlSource: Send + Sync {
    /// The current CRL of this CA, DER. An embedded CA makes it from the register; others fetch it.
    async fn crl(&self, ca: &str, register: &dyn RevocationRegister) -> Result<Vec<u8>, UpstreamError>;

    /// Whether it makes its CRLs itself, so that to give one to a stranger costs no CA anything.
    fn makes_them(&self) -> bool {
        false
    }

    /// The CRL by the key in `issuer`, the current certificate of this CA or a previous one: what covers the certificates that
    /// this key signed. `None` if there is none by that key.
    async fn crl_of(
        &self,
        _ca: &str,
        _issuer: &Certificate,
        _register: &dyn RevocationRegister,
    ) -> Result<Option<Vec<u8>>, UpstreamError> {
        Ok(None)
    }
}

/// What the CRL of one generation of a CA is called, by the key that signs it: the first 16 hex digits of its key identifier.
pub fn crl_key_name(issuer: &Certificate) -> String {
    let identifier = issuer.subject_key_identifier().filter(|identifier| identifier.len() >= 8);
    let digest = || crate::crypto::provider().digester.sha256(issuer.spki()).to_vec();
    hex::encode(&identifier.unwrap_or_else(digest)[..8])
}

/// What the inventory knows of revocations: given to connectors that sign CRLs themselves.
#[async_trait]
pub trait RevocationRegister: Send + Sync {
    /// Revoked, unexpired certificates of the issuer with this certificate.
    async fn revoked(&self, issuer: &Certificate) -> Result<Vec<RevokedCertificate>, UpstreamError>;

    /// A number greater than any given before for this issuer.
    async fn next_crl_number(&self, issuer: &Certificate) -> Result<u64, UpstreamError>;
}

/// What an upstream can do with one of its CAs: compared with what groups need when a configuration is loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// The signature algorithms that it can sign with.
    pub signatures: Vec<SignatureAlgorithm>,
    /// The alternative signatures that it can put beside them ([`Form::Catalyst`](crate::algorithm::Form::Catalyst)).
    pub alternatives: Vec<SignatureAlgorithm>,
    /// Whether it can bind a certificate to another one of the same device (RFC 9763).
    pub binds_related: bool,
    /// Whether it takes [`ProfileExtensions`](crate::algorithm::ProfileExtensions).
    pub takes_extensions: bool,
    /// The subject keys that it takes.
    pub subject_keys: Vec<KeyRule>,
    /// Whether the subject of the certificate may differ from that of the CSR.
    pub overrides_subject: bool,
    /// Whether the subject alternative names may differ from those of the CSR.
    pub overrides_subject_alt_names: bool,
    /// Whether it issues the usages that were ordered. Otherwise the CA decides, and what it decided has to be what policy allows.
    pub overrides_usages: bool,
    /// Whether the validity can be asked for.
    pub overrides_validity: bool,
    /// How much of the names is the CA's to decide.
    pub names: NamesRule,
    /// Whether it may answer `Waiting`.
    pub can_wait: bool,
    /// Whether it revokes.
    pub can_revoke: bool,
    /// Whether the outcome of an unclear submission can be found again with its idempotency key.
    pub can_find_again: bool,
    /// Whether asking after an order may issue another certificate: it is the same request once more.
    pub poll_may_issue: bool,
    /// Whether the CA sees the CSR with its challengePassword.
    pub sees_challenge: bool,
    /// Whether the CA lets a request in by the challenge in the CSR: the device has to bring one that the CA knows.
    pub wants_challenge: bool,
}

/// What became of a submission.
#[derive(Clone, Debug)]
pub enum Submission {
    /// The certificate, and the chain above it (issuer first) if the CA gave one.
    Issued {
        /// The certificate.
        certificate: Arc<Certificate>,
        /// The chain above it.
        chain: Vec<Arc<Certificate>>,
    },
    /// The CA will decide later.
    Waiting {
        /// What [`UpstreamCa::poll`] needs to ask again.
        reference: String,
        /// When to ask again at the earliest.
        retry_after: Duration,
    },
    /// The CA surely did not take the order, and issued nothing: it may be submitted again, later or at another upstream.
    NotTaken {
        /// What happened, for the log.
        reason: String,
        /// When it may be tried again, if the CA said so.
        retry_after: Option<Duration>,
    },
    /// The CA said no, and will say so again.
    Rejected {
        /// What it said, for the log.
        reason: String,
    },
    /// Nobody knows: the request may have reached the CA.
    Unknown {
        /// What happened, for the operator.
        reason: String,
    },
    /// The CA surely received it, and does not tell what became of it, however often it is asked: an operator has to look there.
    Lost {
        /// What is known, for the operator.
        reason: String,
    },
}

/// What went wrong at an upstream outside a submission.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UpstreamError {
    /// It has no such CA.
    #[error("upstream {upstream:?} has no CA {ca:?}")]
    NoSuchCa {
        /// Which upstream.
        upstream: String,
        /// Which selector.
        ca: String,
    },
    /// It cannot be reached, or failed.
    #[error("upstream {upstream:?}: {reason}")]
    Failed {
        /// Which upstream.
        upstream: String,
        /// What happened.
        reason: String,
    },
    /// It cannot do this.
    #[error("upstream {upstream:?} cannot {what}")]
    Unsupported {
        /// Which upstream.
        upstream: String,
        /// What was asked.
        what: &'static str,
    },
}
