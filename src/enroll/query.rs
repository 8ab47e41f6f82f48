//! Questions that read and never decide.

use std::sync::Arc;

use super::core::Core;
use super::record::stored_outcome;
use super::{EnrollError, Outcome, Rejection, RejectionCode};
use crate::crypto;
use crate::inventory::{CertificateRecord, CertificateStatus};
use crate::policy::Endpoint;
use crate::snapshot::Snapshot;
use crate::upstream::{RevocationRegister, UpstreamError};
use crate::x509::Certificate;
use crate::x509::crl::RevokedCertificate;

/// A question from a device.
#[derive(Clone)]
pub struct Query {
    /// The snapshot that answers.
    pub snapshot: Arc<Snapshot>,
    /// Where it came in.
    pub endpoint: Arc<Endpoint>,
    /// The certificate whose key signed it.
    pub signer: Arc<Certificate>,
    /// What is asked.
    pub question: Question,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// What became of the transaction with this wire identifier (CertPoll).
    Poll {
        /// transactionID.
        wire_id: String,
    },
    /// The certificate with this issuer (DER Name) and serial (content octets) (GetCert).
    Certificate {
        /// DER Name.
        issuer: Vec<u8>,
        /// Content octets.
        serial: Vec<u8>,
    },
    /// The CRL that covers the certificate with this issuer and serial (GetCRL).
    Crl {
        /// DER Name: of the CA, or of whoever issued the RA's certificates.
        issuer: Vec<u8>,
        /// Content octets.
        serial: Vec<u8>,
    },
}

/// Answers a question.
pub(super) async fn answer(core: &Core, query: &Query) -> Result<Outcome, EnrollError> {
    match &query.question {
        Question::Poll { wire_id } => poll(core, query, wire_id).await,
        Question::Certificate { issuer, serial } => certificate(core, query, issuer, serial).await,
        Question::Crl { issuer, serial } => crl(core, query, issuer, serial).await,
    }
}

/// A transaction is known by its wire identifier and the signer's key; the names in a CertPoll are redundant
/// (RFC 8894 section 4.4).
async fn poll(core: &Core, query: &Query, wire_id: &str) -> Result<Outcome, EnrollError> {
    let signer = crypto::provider().digester.sha256(query.signer.spki());
    match core.inventory.find_transaction(&query.endpoint.name, wire_id, &signer).await? {
        Some(transaction) => stored_outcome(core, &query.snapshot, &transaction).await,
        None => Ok(not_found(format!("no transaction {wire_id:?} of this signer"))),
    }
}

/// Gives a certificate to a requester that shows one of ours: its own, or one of the same endpoint's groups. The CA's own
/// certificates are for everybody.
async fn certificate(core: &Core, query: &Query, issuer: &[u8], serial: &[u8]) -> Result<Outcome, EnrollError> {
    let public = ca_certificates(&query.snapshot).find(|ca| ca.issuer().der() == issuer && ca.serial() == serial);
    if let Some(ca) = public {
        return Ok(Outcome::Certificate(ca));
    }
    let missing = || not_found(format!("no certificate with serial {} for this requester", hex::encode(serial)));
    let known = match core.inventory.certificate(&query.signer.fingerprint()).await? {
        Some(record) => record.status != CertificateStatus::Revoked && record.not_after > core.now(),
        None => false,
    };
    if !known {
        return Ok(missing());
    }
    let mut found = core.inventory.certificate_by_serial(issuer, serial).await?;
    if found.is_none() && names_ra(&query.snapshot, issuer) {
        for ca in endpoint_issuers(query) {
            found = core.inventory.certificate_by_serial(ca.subject().der(), serial).await?;
            if found.is_some() {
                break;
            }
        }
    }
    match found {
        Some(record) if query.endpoint.groups.iter().any(|group| group.name == record.group) => {
            let certificate = Certificate::from_octets(record.der).map_err(|error| EnrollError::Internal(error.to_string()))?;
            Ok(Outcome::Certificate(Arc::new(certificate)))
        }
        _ => Ok(missing()),
    }
}

/// Gives the CRL of the CA with this name; a client that names the RA's certificate, or the RA itself, means the CA of the endpoint
/// (clients mix them up when RA and CA differ).
async fn crl(core: &Core, query: &Query, issuer: &[u8], serial: &[u8]) -> Result<Outcome, EnrollError> {
    let profiles = query.endpoint.groups.iter().filter_map(|group| query.snapshot.profile_of(group));
    let mut candidates = Vec::new();
    for profile in query.snapshot.profiles.values().chain(profiles) {
        // The sibling's issuer, then those that sign in the place of the profile's own, then that one.
        for issuer in profile.alternative_issuer.iter().chain(&profile.failover).chain([&profile.issuer]) {
            if let Some(upstream) = query.snapshot.upstreams.get(&issuer.upstream)
                && let Some(certificate) = query.snapshot.chain_of(issuer).first().cloned()
            {
                candidates.push((upstream, &issuer.ca, certificate));
            }
        }
    }
    // Those of the endpoint stand last, and count first where CAs have one name.
    let named = candidates.iter().rev().find(|(_, _, certificate)| certificate.subject().der() == issuer);
    let ra = query.snapshot.ra_of(&query.endpoint);
    let of_ra = ra.signer_certificate.subject().der() == issuer
        || ra.decrypters.iter().any(|ra| ra.certificate.subject().der() == issuer);
    // The endpoint's own CA comes last in the list of candidates.
    let Some((upstream, ca, _)) = named.or_else(|| candidates.last().filter(|_| of_ra)) else {
        return Ok(not_found("no CRL of that issuer".into()));
    };
    let Some(source) = upstream.crl() else {
        return Ok(not_found(format!("upstream {:?} gives no CRL", upstream.name())));
    };
    let failed = |error: UpstreamError| EnrollError::Internal(error.to_string());
    // After a rollover, a certificate of the generation before needs a CRL signed by the key that signed it.
    if let Some(record) = core.inventory.certificate_by_serial(issuer, serial).await?
        && let Some(generation) = generation_of(core, &record, upstream.previous_certificates(ca)).await?
        && let Some(crl) = source.crl_of(ca, &generation, &Register(core)).await.map_err(failed)?
    {
        return Ok(Outcome::Crl(crl.into()));
    }
    Ok(Outcome::Crl(source.crl(ca, &Register(core)).await.map_err(failed)?.into()))
}

/// The earlier certificate of the CA whose key signed this one, if it was not the current key.
async fn generation_of(
    core: &Core,
    record: &CertificateRecord,
    previous: Vec<Arc<Certificate>>,
) -> Result<Option<Arc<Certificate>>, EnrollError> {
    if previous.is_empty() {
        return Ok(None);
    }
    let certificate = Certificate::from_der(&record.der).map_err(|error| EnrollError::Internal(error.to_string()))?;
    core.blocking(move || previous.into_iter().find(|ca| certificate.verify_signed_by(ca.spki()).is_ok())).await
}

/// Whether this names the RA, or a CA above it: what a client that knows no more than GetCACert takes for the issuer of its
/// certificate.
fn names_ra(snapshot: &Snapshot, name: &[u8]) -> bool {
    let ra = &snapshot.ra;
    let decrypters = ra.decrypters.iter().map(|decrypter| &decrypter.certificate);
    std::iter::once(&ra.signer_certificate)
        .chain(decrypters)
        .chain(&ra.chain)
        .any(|certificate| certificate.subject().der() == name)
}

/// The certificates of the CAs that issue for the groups of the endpoint.
fn endpoint_issuers(query: &Query) -> impl Iterator<Item = Arc<Certificate>> + '_ {
    let profiles = query.endpoint.groups.iter().flat_map(|group| query.snapshot.profiles_of(group));
    profiles.flat_map(|profile| profile.issuers()).filter_map(|issuer| query.snapshot.chain_of(issuer).first().cloned())
}

fn ca_certificates(snapshot: &Snapshot) -> impl Iterator<Item = Arc<Certificate>> + '_ {
    let issuing = snapshot.profiles.values().flat_map(|profile| profile.issuers()).map(|issuer| snapshot.chain_of(issuer));
    issuing.flat_map(|chain| chain.to_vec()).chain(snapshot.ra.chain.iter().cloned())
}

fn not_found(why: String) -> Outcome {
    Outcome::Refused(Rejection::new(RejectionCode::NotFound, why))
}

/// What the inventory knows of revocations, for CAs that sign CRLs themselves.
pub(super) struct Register<'a>(pub(super) &'a Core);

#[async_trait::async_trait]
impl RevocationRegister for Register<'_> {
    async fn revoked(&self, issuer: &Certificate) -> Result<Vec<RevokedCertificate>, UpstreamError> {
        self.0.inventory.revoked(issuer.subject().der(), self.0.now()).await.map_err(inventory_failed)
    }

    async fn next_crl_number(&self, issuer: &Certificate) -> Result<u64, UpstreamError> {
        self.0.inventory.next_crl_number(issuer.subject().der()).await.map_err(inventory_failed)
    }
}

fn inventory_failed(error: crate::inventory::InventoryError) -> UpstreamError {
    UpstreamError::Failed { upstream: "inventory".into(), reason: error.to_string() }
}
